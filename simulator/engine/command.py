"""What changes a world. Frozen values; `World.apply` is the only thing that carries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from simulator.engine.job import Failure, Job, State

if TYPE_CHECKING:
    from simulator.engine.script import Playbook

Outcome = TypeVar("Outcome", covariant=True)


class Command(Generic[Outcome]):
    """Something to be done, whose doing answers with an `Outcome`."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Submit(Command[Job]):
    """Make a job. The scenario's first matching rule gives its script.

    Raises `LimitReached` when the world is full.
    """

    api: str
    kind: str
    """What is asked for: concreteType, command class, process id, image."""
    request: Any = None
    """The body as the client sent it, decoded."""
    labels: tuple[tuple[str, str], ...] = ()
    """Fields that lists filter by, as (name, value)."""
    priority: int = 0
    """Higher runs first."""
    delay_ms: int = 0
    timeout_ms: int | None = None
    """How long an external worker may be silent."""
    retries: int = 0
    retry_delays_ms: tuple[int, ...] = ()
    """Wait before the n-th retry; the last one repeats, none at all means at once."""
    attempt: int = 1
    """Which attempt at the same work this is: a job that was made to try another one again goes on counting."""
    retry_of: str | None = None
    repeat_of: str | None = None
    message: str | None = None
    fails_with: Failure | None = None
    """The work itself cannot succeed: where the script would succeed, the job fails with this."""
    lasts_ms: int = 0
    """The work itself takes at least this long, whatever the script says."""
    repeat_after_ms: int | None = None
    """After each success the same job is submitted again, this much later."""
    facts: Mapping[str, Any] | None = None
    """What the API wants to remember about the job, opaque to the engine."""
    watched: bool = False
    """Somebody outside wants to be told of each of its moves; `World.told` collects them."""
    playbook: Playbook | None = None
    """The scenario that gives its script; None: the world's."""


@dataclass(frozen=True, slots=True)
class Claim(Command[tuple[Job, ...]]):
    """Hand up to `count` waiting jobs to an external worker, by priority, then first come, first served."""

    api: str
    count: int = 1


@dataclass(frozen=True, slots=True)
class Touch(Command[Job]):
    """The external worker is alive: its timeout begins anew. Raises `UnknownJob`, `NotAllowed` (not running)."""

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Finish(Command[Job]):
    """A worker reports the end: success, or failure when `failure` is given. Raises `UnknownJob`, `NotAllowed`."""

    api: str
    job_id: str
    failure: Failure | None = None
    log: bytes | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Cancel(Command[Job]):
    """Ask a job to stop; what that does is up to the API's rules and the scenario. Raises `UnknownJob`, `NotAllowed`."""

    api: str
    job_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Conclude(Command[Job]):
    """A job comes to the final step of its script now, and is not tried again. Raises `UnknownJob`, `NotAllowed` (finished).

    A cancel that comes too late does this first, as a command of its own: it may then be refused, and what is refused is not
    written down.
    """

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Poll(Command[Job]):
    """A client's status call about a job was answered. Raises `UnknownJob`.

    Where the step lasts polls it counts, and the last one that is wanted brings the next step; elsewhere it changes nothing.
    """

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Retry(Command[Job]):
    """Run a job again: the same job, or a new one that points to it. Raises `UnknownJob`, `NotAllowed`."""

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Amend(Command[Job]):
    """Replace the request of a job that has not run yet. Raises `UnknownJob`, `NotAllowed`."""

    api: str
    job_id: str
    request: Any
    fails_with: Failure | None = None
    lasts_ms: int = 0
    repeat_after_ms: int | None = None
    """What the work itself does with the new request, as in `Submit`."""


@dataclass(frozen=True, slots=True)
class Remove(Command[Job]):
    """Take a job away with everything about it. Raises `UnknownJob`, `NotAllowed`."""

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Hold(Command[Job]):
    """A person stops a job where it is: its time, its progress and its place among those who wait are kept for `Release`.

    A hold ends with the next move of the job, whoever makes it. Raises `UnknownJob`, `NotAllowed` (it is finished, or an
    external worker has it).
    """

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Release(Command[Job]):
    """Let a job go on that is held, by a person or because its script says `hold`. Raises `UnknownJob`, `NotAllowed` (it is not).

    One that a person held goes on with the time that was left of its step; one that was forced, with the next step.
    """

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class StepOn(Command[Job]):
    """The present step of a job ends now; one that a person holds is held again in the step that follows.

    Raises `UnknownJob`, `NotAllowed` (its script does not move it, or it waits for a worker).
    """

    api: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Force(Command[Job]):
    """A person puts a job into a state, whatever its script says; unless that is a final one, it is then held there.

    A failure that is forced is not tried again by the same job, and a worker is found for what is forced to run. Raises
    `UnknownJob`, `NotAllowed` (the table of moves has no such move; to stay in a state that is not final is always possible).
    """

    api: str
    job_id: str
    state: State
    failure: Failure | None = None
    """What went wrong, where `state` is failed or retrying."""
    progress: int | None = None
    """Percent; from here it goes on to what the present step says."""
    result: Any = None
    """Where `state` is succeeded."""


@dataclass(frozen=True, slots=True)
class Remark(Command[Job]):
    """Write a line into a job's history without changing anything else. Raises `UnknownJob`."""

    api: str
    job_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Keep(Command[None]):
    """Remember something of an API that is no job: a task's definition, when a token was first seen.

    Raises `LimitReached` when there is too much of it.
    """

    api: str
    key: str
    value: Any
    """Not to be changed afterwards; None forgets the key."""


@dataclass(frozen=True, slots=True)
class CountCall(Command[int]):
    """Count one more call under this key; answers with how many there were, this one included.

    Raises `LimitReached` when a new key finds no room.
    """

    api: str
    key: str
    window_ms: int | None = None
    """Begin anew with the first call so long after the one that began the count."""


@dataclass(frozen=True, slots=True)
class SetScenario(Command[None]):
    """From now on new jobs follow this scenario; jobs under way keep their scripts."""

    playbook: Playbook


@dataclass(frozen=True, slots=True)
class MoveClock(Command[None]):
    """Move a world's time to this instant. Raises `TimeGoesBack`."""

    to_ms: int
