"""What one job will do: a list of timed states, and what cancelling it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from simulator.engine.job import FINAL, Failure, State

if TYPE_CHECKING:
    from simulator.engine.command import Submit


class Lasting(Enum):
    """How a step lasts when no time ends it."""

    FOREVER = "forever"
    HOLD = "hold"
    """Until somebody releases it."""


@dataclass(frozen=True, slots=True)
class Span:
    """A duration in milliseconds; when `low_ms` and `high_ms` differ it is drawn by seed, job and step."""

    low_ms: int
    high_ms: int


@dataclass(frozen=True, slots=True)
class Polls:
    """So many status calls; when `low` and `high` differ their number is drawn by seed, job and step."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Step:
    """One state of a script. A final state has no duration and ends the script.

    In `message`, `failure`, `result` and `log` there may be templates (`simulator.engine.fill`); then `has_variables` says so.
    """

    state: State
    lasts: Span | Polls | Lasting = Lasting.FOREVER
    progress: tuple[int, int] | None = None
    """Percent at the beginning and at the end of this step; it does not fall."""
    message: str | None = None
    failure: Failure | None = None
    result: Any = None
    cause: str = ""
    """Where it was written, `scenarios/x.yaml:12`."""
    log: str | None = None
    """What the job leaves as its log, at a final step; None: as the rule says."""
    no_log: bool = False
    """There is none, whatever the rule says, and the API makes none up."""
    no_result: bool = False
    """There is none, and the API makes none up."""
    has_variables: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one job in order. Without a final step the job stays in its last state.

    After a failed step that another attempt follows there may be a retrying one: how long the job waits for that attempt where
    the service itself has no say in it.
    """

    steps: tuple[Step, ...]

    @property
    def first_running(self) -> int:
        """Index of the step at which a worker takes the job (0 when none says so)."""
        return next((index for index, step in enumerate(self.steps) if step.state is State.RUNNING), 0)

    @property
    def last_timed_running(self) -> int:
        """Index of the last running step that time ends, -1 when there is none."""
        return max(
            (
                index
                for index, step in enumerate(self.steps)
                if step.state is State.RUNNING and isinstance(step.lasts, Span)
            ),
            default=-1,
        )

    @property
    def end(self) -> Step | None:
        """Its first final step."""
        return next((step for step in self.steps if step.state in FINAL), None)


class CancelEffect(Enum):
    """What a cancel does to a job in a given state."""

    AT_ONCE = "at_once"
    """It becomes cancelled."""
    FLAG = "flag"
    """It is marked as asked to stop, and goes on."""
    IGNORED = "ignored"
    """Nothing happens, and the client is told that all is well."""
    REFUSED = "refused"
    """The client is told that it cannot be."""
    REMOVED = "removed"
    """A finished job is taken away."""


@dataclass(frozen=True, slots=True)
class CancelAfter:
    """The job is cancelling for this long, then cancelled, or whatever the final step `then` says."""

    lasts: Span
    then: Step | None = None


@dataclass(frozen=True, slots=True)
class CancelTooLate:
    """The job is faster: it comes to the end of its script at this very instant, and the cancel meets a finished job."""


OnCancel = CancelEffect | CancelAfter | CancelTooLate


@dataclass(frozen=True, slots=True)
class Part:
    """What the scenario gives to one job: its script, what cancelling does (None: as the API does), and who said so.

    A rule with several attempts is a chain of parts, each with the script of one; the last one repeats.
    """

    script: Script
    on_cancel: OnCancel | None = None
    cause: str = ""
    log: str | None = None
    """What the job leaves as its log, however it ends, unless its final step or its worker says otherwise; may be a template."""
    no_log: bool = False
    """It leaves none, and the API makes none up."""
    attempt: int = 1
    """Its place in the chain."""
    next_attempt: Part | None = None

    @property
    def again(self) -> Part:
        """What the next attempt plays."""
        return self.next_attempt or self

    def on_attempt(self, attempt: int) -> Part:
        """What this attempt plays, as seen from the first."""
        part = self
        while part.attempt < attempt and part.next_attempt is not None:
            part = part.next_attempt
        return part

    @property
    def end(self) -> Step:
        """How it all ends: the final step of the last attempt; one that never ends would succeed."""
        part = self
        while part.next_attempt is not None:
            part = part.next_attempt
        return part.script.end or Step(State.SUCCEEDED, cause=part.cause)


class Playbook(Protocol):
    """What a scenario is to the engine."""

    @property
    def name(self) -> str:
        """How a person calls it."""
        ...

    def part_for(self, submit: Submit, number: int, seed: int) -> Part:
        """The part of the first rule that matches this submit, in a world of this seed."""
        ...

    def workers(self, api: str) -> int | None:
        """How many jobs of this API run at once; None is no limit, 0 means that only an external worker runs them."""
        ...
