"""What one job will do: a list of timed states, and what cancelling it does."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from simulator.engine.job import Failure, State

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
class Step:
    """One state of a script. A final state has no duration and ends the script."""

    state: State
    lasts: Span | Lasting = Lasting.FOREVER
    progress: tuple[int, int] | None = None
    """Percent at the beginning and at the end of this step; it does not fall."""
    message: str | None = None
    failure: Failure | None = None
    result: Any = None
    cause: str = ""
    """Where it was written, `scenarios/x.yaml:12`."""


@dataclass(frozen=True, slots=True)
class Script:
    """The steps of one job in order. Without a final step the job stays in its last state."""

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
    """The job is cancelling for this long, then cancelled."""

    lasts: Span


@dataclass(frozen=True, slots=True)
class Part:
    """What the scenario gives to one job: its script, what cancelling does (None: as the API does), and who said so."""

    script: Script
    on_cancel: CancelEffect | CancelAfter | None = None
    cause: str = ""


class Playbook(Protocol):
    """What a scenario is to the engine."""

    @property
    def name(self) -> str:
        """How a person calls it."""
        ...

    def part_for(self, submit: Submit, number: int) -> Part:
        """The part of the first rule that matches this submit."""
        ...

    def workers(self, api: str) -> int | None:
        """How many jobs of this API run at once; None is no limit, 0 means that only an external worker runs them."""
        ...
