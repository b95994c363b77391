"""Steps, scenarios, services and worlds in a line each, for tests of the engine. Nothing here asserts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.engine.command import Submit
from simulator.engine.job import ACTIVE, FINAL, Failure, Job, State
from simulator.engine.rules import Line, RetryBy, Rules, cancel_active
from simulator.engine.script import CancelEffect, Lasting, OnCancel, Part, Polls, Script, Span, Step
from simulator.engine.world import START_MS, Journal, Limits, World

API = "service"
"""The name of the one API of a world that needs no more."""

Lasts = int | tuple[int, int] | Polls | Lasting
FOREVER, HOLD = Lasting.FOREVER, Lasting.HOLD

OUT_OF_MEMORY = Failure("Container killed", code="out_of_memory")


def step(state: State, lasts: Lasts = FOREVER, **more: Any) -> Step:
    """A step that lasts so many milliseconds, a number of them between two, or as said."""
    if isinstance(lasts, int):
        lasts = (lasts, lasts)
    return Step(state, Span(*lasts) if isinstance(lasts, tuple) else lasts, **more)


def delayed(lasts: Lasts = FOREVER, **more: Any) -> Step:
    return step(State.DELAYED, lasts, **more)


def queued(lasts: Lasts = FOREVER, **more: Any) -> Step:
    return step(State.QUEUED, lasts, **more)


def running(lasts: Lasts = FOREVER, **more: Any) -> Step:
    return step(State.RUNNING, lasts, **more)


def retrying(lasts: Lasts = FOREVER, **more: Any) -> Step:
    return step(State.RETRYING, lasts, **more)


def cancelling(lasts: Lasts = FOREVER, **more: Any) -> Step:
    return step(State.CANCELLING, lasts, **more)


def succeeded(**more: Any) -> Step:
    return Step(State.SUCCEEDED, **more)


def failed(**more: Any) -> Step:
    return Step(State.FAILED, **more)


def cancelled(**more: Any) -> Step:
    return Step(State.CANCELLED, **more)


def part(*steps: Step, on_cancel: OnCancel | None = None, cause: str = "", **more: Any) -> Part:
    return Part(Script(steps), on_cancel, cause, **more)


def attempts(*scripts: tuple[Step, ...], **more: Any) -> Part:
    """A rule with the steps of each attempt."""
    made: Part | None = None
    for attempt in range(len(scripts), 0, -1):
        made = part(*scripts[attempt - 1], attempt=attempt, next_attempt=made, **more)
    assert made is not None
    return made


HAPPY = part(queued(1_000), running(3_000, progress=(0, 100)), succeeded())


def part_in(state: State) -> Part:
    """A job with this part is in this state from its birth on, with a worker if one is free."""
    return part(step(state))


@dataclass(frozen=True)
class Book:
    """A scenario whose parts are called by name: a job plays the one its request names, or else its kind."""

    parts: Mapping[str, Part]
    crew: Mapping[str, int | None] = field(default_factory=dict)
    name: str = "book"

    def part_for(self, submit: Submit, number: int, seed: int) -> Part:
        named = self.parts.get(submit.request) if isinstance(submit.request, str) else None
        return named or self.parts[submit.kind]

    def workers(self, api: str) -> int | None:
        return self.crew.get(api)


def book(*steps: Step | Part, workers: int | None = None) -> Book:
    """A scenario in which every job of `API` plays the same part."""
    given = steps[0] if isinstance(steps[0], Part) else part(*[it for it in steps if isinstance(it, Step)])
    return Book({"work": given}, {API: workers})


NOT_BEGUN = frozenset({State.DELAYED, State.QUEUED, State.RETRYING, State.FAILED})


def plain(**more: Any) -> Rules:
    """A service whose n-th job is called `job-n`."""
    return Rules(identify=lambda seed, number: f"job-{number}", **more)


SAME_JOB = plain(
    cancel={state: CancelEffect.AT_ONCE if state in NOT_BEGUN else CancelEffect.IGNORED for state in State},
    retry_by=RetryBy.SAME_JOB,
    retry_in=NOT_BEGUN | {State.RUNNING},
    amend_in=NOT_BEGUN,
    remove_in=frozenset(),
    line=Line.DUE_FIRST,
)
"""As jBPM: the same job runs again, who is due first is served first, and what runs cannot be cancelled."""

NEW_JOB = plain(
    retry_by=RetryBy.NEW_JOB,
    retry_in=FINAL,
    retry_refused_in=ACTIVE,
    retry_needs_exhaustion=True,
    claims=True,
)
"""As Titan: external workers claim jobs, and a retry is a new job."""

FLAGGING = plain(cancel=dict.fromkeys(State, CancelEffect.FLAG))
"""As Synapse: to cancel is to ask."""

DISMISSING = plain(cancel=cancel_active(finished=CancelEffect.REMOVED))
"""As OGC: cancelling a finished job removes it."""

ANYTHING = plain(
    retry_by=RetryBy.SAME_JOB,
    retry_in=frozenset({State.QUEUED, State.RUNNING, State.RETRYING, State.FAILED}),
    amend_in=frozenset(State),
    remove_in=frozenset(State),
    claims=True,
)
"""As nobody: claimed jobs are tried again, and a job can be amended and removed at any time."""


def world_of(
    scenario: Book,
    rules: Rules | None = None,
    *,
    seed: int = 7,
    jobs: int = 1_000,
    kept: int = 1_000,
    journal: Journal | None = None,
) -> World:
    """A world with one API."""
    return World(
        seed=seed,
        rules={API: rules or plain()},
        playbook=scenario,
        limits=Limits(jobs, kept),
        journal=journal,
    )


def submit(**more: Any) -> Submit:
    return Submit(**{"api": API, "kind": "work"} | more)


def at(after_ms: int) -> int:
    """The instant so long after the beginning of a world."""
    return START_MS + after_ms


def story(job: Job) -> list[tuple[str, int]]:
    """The states of a job, each with its milliseconds since the beginning of the world."""
    return [(move.state.value, move.at_ms - START_MS) for move in job.history]


def now(world: World, job: Job) -> Job:
    """The job as it is now."""
    return world.job(job.api, job.id)


def states(world: World, jobs: Iterable[Job]) -> list[str]:
    """The present states of these jobs, as words."""
    return [now(world, job).state.value for job in jobs]


def at_work(world: World) -> list[str]:
    """Who is running."""
    return [job.id for job in world.jobs(API, states=[State.RUNNING])]


def busy(world: World) -> int:
    """How many workers are busy."""
    workers: int = world.snapshot()["crews"][API][0]
    return workers
