"""A world as one call is shown it: the real one, with its jobs mapped and its submits changed.

A fault such as a stale answer is a question of what a call sees, not of what is. A handler runs against a view as it would
against the world; what it reads comes mapped, what it changes is changed in the world itself.

What a job was like some time ago is made out of its history and its script, as nothing else is stored. Exact are the state,
its times, the step, the progress and the message of a script that time moves. What no history holds is as it is now (a request
amended since), or missing (the progress of an earlier attempt with a script of its own, or of a step that lasts polls, the time for
which a person held it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, TypeVar

from simulator.engine.command import Command, Submit
from simulator.engine.draw import draw_between
from simulator.engine.errors import UnknownJob
from simulator.engine.job import FINAL, Job, Move, State
from simulator.engine.script import Playbook, Span
from simulator.engine.shelf import Label, SortKey
from simulator.engine.world import World

Answer = TypeVar("Answer")


class View(World):
    """A world behind glass.

    Args:
        world: the real one.
        ago_ms: the view shows the time so long ago, and the jobs as they were then.
        shows: which of the jobs are shown.
        doubles: a submit is applied twice; the client hears of the second job.
        playbook: submits follow this scenario instead of the world's.
    """

    def __init__(
        self,
        world: World,
        *,
        ago_ms: int = 0,
        shows: Callable[[Job], bool] | None = None,
        doubles: bool = False,
        playbook: Playbook | None = None,
    ) -> None:
        # World's own initialiser would make another world; whatever is not here is the real one's, see __getattr__.
        self._world = world
        self._ago_ms = ago_ms
        self._shows = shows
        self._doubles = doubles
        self._playbook = playbook
        self.told: list[Job] = []
        """Stays empty: who is told is the business of whoever holds the world."""
        self.refresh()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._world, name)

    def refresh(self) -> None:
        """Take the time from the world again."""
        self.now_ms = self._world.now_ms - self._ago_ms

    def job(self, api: str, job_id: str) -> Job:
        """As of the world, mapped."""
        shown = self._shown(self._world.job(api, job_id))
        if shown is None:
            raise UnknownJob(api, job_id)
        return shown

    def jobs(
        self,
        api: str,
        *,
        states: Iterable[State] | None = None,
        labels: Iterable[Iterable[Label]] = (),
        offset: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """A page as it is now, its jobs mapped; those that are not shown are missing from it."""
        page = self._world.jobs(
            api, states=states, labels=labels, offset=offset, limit=limit, newest_first=newest_first
        )
        return self._all_shown(page)

    def jobs_sorted_by(
        self, api: str, name: str, key: SortKey, *, offset: int, limit: int, descending: bool = False
    ) -> list[Job]:
        """As `jobs`."""
        page = self._world.jobs_sorted_by(api, name, key, offset=offset, limit=limit, descending=descending)
        return self._all_shown(page)

    def count(
        self, api: str, *, states: Iterable[State] | None = None, labels: Iterable[Iterable[Label]] = ()
    ) -> int:
        """Of the world, whatever is shown."""
        return self._world.count(api, states=states, labels=labels)

    @property
    def next_due_ms(self) -> int | None:
        """Of the world."""
        return self._world.next_due_ms

    def snapshot(self) -> dict[str, Any]:
        """Of the world."""
        return self._world.snapshot()

    def apply(self, command: Command[Answer], *, at_ms: int | None = None) -> Answer:
        """Change the world itself; a job that is not shown cannot be changed."""
        job_id = getattr(command, "job_id", None)
        if job_id is not None:
            self.job(command.api, job_id)  # type: ignore[attr-defined]  # a command that names a job names its API
        wanted: Command[Any] = command
        if isinstance(wanted, Submit):
            if self._playbook is not None:
                wanted = replace(wanted, playbook=self._playbook)
            if self._doubles:
                self._world.require_room(2)
                self._world.apply(wanted, at_ms=at_ms)
        answer = self._world.apply(wanted, at_ms=at_ms)
        if type(answer) is Job:
            answer = self._shown(answer) or answer
        self.refresh()
        return answer  # type: ignore[no-any-return]  # a job stays a job

    def advance(self, to_ms: int) -> None:
        """Let the world's time pass."""
        self._world.advance(to_ms)
        self.refresh()

    def _shown(self, job: Job) -> Job | None:
        if self._shows is not None and not self._shows(job):
            return None
        return as_it_was(job, self.now_ms, self.seed) if self._ago_ms else job

    def _all_shown(self, jobs: list[Job]) -> list[Job]:
        return [shown for job in jobs if (shown := self._shown(job)) is not None]


def as_it_was(job: Job, at_ms: int, seed: int) -> Job | None:
    """The job at an earlier instant; None when it was not there yet."""
    moves = [move for move in job.history if move.at_ms <= at_ms]
    if not moves:
        return None
    if 3 * len(moves) == len(job.moves) and job.step_ms <= at_ms:
        return job
    # A remark repeats the state; the move itself is the first line of it.
    entered = [
        move for place, move in enumerate(moves) if place == 0 or moves[place - 1].state is not move.state
    ]
    state, since_ms, _ = entered[-1]
    states = [move.state for move in entered]
    failures = tuple(failure for failure in job.failures if failure.at_ms <= at_ms)
    started = [move.at_ms for move in entered if move.state is State.RUNNING]
    is_stopping = state in (State.CANCELLING, State.CANCELLED)
    requeued = sum(pair == (State.FAILED, State.QUEUED) for pair in pairwise(states))
    was = job.altered(
        state=state,
        since_ms=since_ms,
        moves=tuple(part for move in moves for part in move),
        attempt=job.submit.attempt + states.count(State.RETRYING) + requeued,
        executions=len(failures) + (state is State.SUCCEEDED),
        retries_left=max(job.submit.retries - len(failures), 0),
        failures=failures,
        result=job.result if state is State.SUCCEEDED else None,
        log=job.log if state in FINAL else None,
        started_ms=started[-1] if started else None,
        finished_ms=since_ms if state in FINAL else None,
        reported_ms=job.reported_ms if state in FINAL or is_stopping else None,
        cancel_requested=job.cancel_requested and is_stopping,
        deadline_ms=None,
        event=0,
        until_ms=None,
        polls=None,
        step=-1,
        step_ms=since_ms,
        message=job.submit.message,
        progress_mark=None,
    )
    return _at_its_step(was, _step_of(job, entered), at_ms, seed)


def _step_of(job: Job, entered: Sequence[Move]) -> int:
    """Which step brought the last of these moves; -1 when it was none."""
    steps = job.part.script.steps
    # A job is born into its first step without a move of its own.
    index = last = 0 if steps[0].state is entered[0].state and not job.submit.delay_ms else -1
    for move in entered[1:]:
        fitting = [
            place for place, step in enumerate(steps) if step.state is move.state and step.cause == move.cause
        ]
        # A step behind the present one, or an earlier one again, when the script was begun anew.
        index = next((place for place in fitting if place > last), fitting[0] if fitting else -1)
        last = index if fitting else last
    return index


def _at_its_step(job: Job, index: int, at_ms: int, seed: int) -> Job:
    """The job with its place in the script, when step `index` brought its state; without one it stands still."""
    if index < 0:
        return job
    steps = job.part.script.steps
    began_ms, until_ms = job.since_ms, None
    while True:
        step = steps[index]
        until_ms = None
        if isinstance(step.lasts, Span):
            low_ms, high_ms = step.lasts.low_ms, step.lasts.high_ms
            length_ms = draw_between(low_ms, high_ms, seed, "step", job.number, job.attempt, index)
            if index == job.part.script.last_timed_running:
                length_ms = max(length_ms, job.submit.lasts_ms)
            until_ms = began_ms + length_ms
        goes_on = index + 1 < len(steps) and steps[index + 1].state is job.state
        if until_ms is None or until_ms > at_ms or not goes_on:
            break
        began_ms, index = until_ms, index + 1
    behind = steps[: index + 1]
    message = next((step.message for step in reversed(behind) if step.message is not None), job.message)
    mark = next((step.progress[1] for step in reversed(behind[:-1]) if step.progress is not None), None)
    if step.progress is not None:
        mark = step.progress[0]
    if job.state is State.SUCCEEDED:
        mark, message = 100 if mark is not None else None, step.message
    return job.altered(step=index, step_ms=began_ms, until_ms=until_ms, message=message, progress_mark=mark)
