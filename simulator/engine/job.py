"""A job: a frozen value with a state, a history and one table that says which moves are allowed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.engine.errors import NotAllowed

if TYPE_CHECKING:
    from simulator.engine.command import Submit
    from simulator.engine.script import Part


class State(int, Enum):
    """Our words for what a job is doing; each API has its own.

    An integer underneath, whose hash is itself: sets of states are in the same order in every process, and quick to look into
    (the hash of a plain Enum is that of its name, different in each process, and Python code).
    """

    def __new__(cls, word: str) -> State:
        """A member whose value is its word and whose integer is its place, from 1."""
        member = int.__new__(cls, len(cls.__members__) + 1)
        member._value_ = word
        return member

    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    __hash__ = int.__hash__

    def __repr__(self) -> str:
        return f"State.{self.name}"

    @property
    def is_final(self) -> bool:
        """No script goes on from here; only a person's or a client's command can."""
        return self in FINAL


FINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
ACTIVE = frozenset(State) - FINAL

ALLOWED: dict[State, frozenset[State]] = {
    State.DELAYED: frozenset(
        {
            State.QUEUED,
            State.RUNNING,
            State.CANCELLING,
            State.CANCELLED,
            State.SUCCEEDED,
            State.FAILED,
        }
    ),
    State.QUEUED: frozenset(
        {State.RUNNING, State.CANCELLING, State.CANCELLED, State.SUCCEEDED, State.FAILED, State.RETRYING}
    ),
    State.RUNNING: frozenset(
        {State.QUEUED, State.RETRYING, State.CANCELLING, State.CANCELLED, State.SUCCEEDED, State.FAILED}
    ),
    State.RETRYING: frozenset(
        {State.QUEUED, State.RUNNING, State.CANCELLING, State.CANCELLED, State.SUCCEEDED, State.FAILED}
    ),
    State.CANCELLING: frozenset({State.CANCELLED, State.SUCCEEDED, State.FAILED}),
    State.SUCCEEDED: frozenset(),
    # Some services let a client put a failed job back into the queue, or cancel it for good.
    State.FAILED: frozenset({State.QUEUED, State.CANCELLED}),
    State.CANCELLED: frozenset(),
}
"""The one table of moves. Staying in a state (a new step of the script) is no move and always allowed."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an execution failed, written once and worded by each API.

    `code` is a short stable word (`timeout`, `out_of_memory`), `message` one line, `details` longer text such as a stack
    trace. `at_ms` is filled in by the engine.
    """

    message: str = "The job failed."
    code: str = "failed"
    details: str | None = None
    at_ms: int = 0


class Move(NamedTuple):
    """One line of a job's history: it became `state` at `at_ms` because of `cause`.

    A line whose state is that of the line before is a remark: the job did not move.
    """

    state: State
    at_ms: int
    cause: str


class Job(NamedTuple):
    """One job as it is now. Times are virtual milliseconds since the epoch.

    A named tuple rather than a dataclass: a copy with a few changes costs a quarter and a million of them fit in memory.
    """

    id: str
    number: int
    """Counts from 1 over all jobs of a world and is never used twice."""
    submit: Submit
    part: Part
    """The script it follows, what cancelling does, and the rule that said so."""
    request: Any
    """The request as amended so far; `submit.request` is the one that came first."""
    created_ms: int
    state: State
    since_ms: int
    """When it came into this state."""
    until_ms: int | None = None
    """When the present step of its script ends, if time ends it."""
    step: int = -1
    step_ms: int = 0
    """When the present step began (a state may last several steps); once it is over and no other has begun, its last
    visible change."""
    progress_mark: int | None = None
    """Percent reached when the present step began, or when time stopped moving it."""
    attempt: int = 1
    executions: int = 0
    """Executions begun and ended, whatever their outcome."""
    retries_left: int = 0
    failures: tuple[Failure, ...] = ()
    """One per failed execution, kept for ever."""
    result: Any = None
    """What the script or the worker said the result is; None lets the API make one."""
    log: bytes | None = None
    message: str | None = None
    cancel_requested: bool = False
    claimed: bool = False
    """An external worker has it: the script no longer moves it."""
    has_worker: bool = False
    """A simulated worker is busy with it."""
    deadline_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    reported_ms: int | None = None
    """When it last changed visibly before it began to cancel or ended."""
    event: int = 0
    """Which agenda entry is this job's pending one, the end of a step or a worker's deadline; any other is stale."""
    moves: tuple[Any, ...] = ()
    """The history, flat: state, time, cause, state, time, cause… (a third of the memory of a tuple of tuples)."""
    polls: tuple[int, int] | None = None
    """How many status calls the present step has seen and how many it lasts; None when it does not last polls."""
    no_result: bool = False
    """It succeeded without a result: the scenario wants none made up."""
    no_log: bool = False
    """It ended without a log: the scenario wants none made up."""
    held: tuple[int, bool] | None = None
    """When a person stopped it, and whether its step was over by then; None when nobody did. `until_ms` stays what it was."""

    @property
    def api(self) -> str:
        """Name of the API it was submitted to."""
        return self.submit.api

    @property
    def kind(self) -> str:
        """What was asked for: a command class, a process id, an image."""
        return self.submit.kind

    @property
    def history(self) -> Iterator[Move]:
        """Its moves, oldest first."""
        flat = self.moves
        return (Move(*flat[place : place + 3]) for place in range(0, len(flat), 3))

    @property
    def failure(self) -> Failure | None:
        """The latest failure."""
        return self.failures[-1] if self.failures else None

    @property
    def waits_for_polls(self) -> bool:
        """Status calls move it on: each one answered is to be told to the world by a `Poll`."""
        return self.polls is not None

    @property
    def due_ms(self) -> int:
        """When it was first meant to run."""
        return self.created_ms + self.submit.delay_ms

    def become(self, state: State, *, at_ms: int, cause: str, **changes: Any) -> Job:
        """This job after a move, with the move in its history.

        Raises:
            NotAllowed: the table of moves has no such move.
        """
        if state not in ALLOWED[self.state]:
            raise NotAllowed(self, state.value)
        fields = list(self)
        if state in FINAL:
            fields[_FINISHED_MS] = at_ms
            fields[_DEADLINE_MS] = None
        fields[_POLLS] = fields[_HELD] = None
        for name, value in changes.items():
            fields[_PLACES[name]] = value
        fields[_STATE] = state
        fields[_SINCE_MS] = fields[_STEP_MS] = at_ms
        fields[_MOVES] = (*self.moves, state, at_ms, cause)
        return tuple.__new__(Job, fields)

    def altered(self, **changes: Any) -> Job:
        """This job with some fields changed, as `_replace`, which takes twice as long."""
        fields = list(self)
        for name, value in changes.items():
            fields[_PLACES[name]] = value
        return tuple.__new__(Job, fields)

    def progress_percent(self, now_ms: int) -> int | None:
        """Progress at `now_ms`, interpolated over the present step; None when the script never speaks of progress."""
        span = self._progress_span()
        if span is None:
            return self.progress_mark
        start, end, began_ms, ends_ms = span
        if self.held is not None:
            now_ms = min(now_ms, self.held[0])
        if now_ms >= ends_ms:
            return end
        if now_ms <= began_ms:
            return start
        return start + (end - start) * (now_ms - began_ms) // (ends_ms - began_ms)

    def changed_ms(self, now_ms: int) -> int:
        """When the job last changed visibly: its last move or step, or the last whole percent of progress."""
        span = self._progress_span()
        if span is None:
            return self.step_ms
        start, end, began_ms, ends_ms = span
        percent = self.progress_percent(now_ms)
        if percent is None or percent <= start:
            return began_ms
        # The first millisecond at which the floor in progress_percent() reaches this percent.
        return began_ms - (-(percent - start) * (ends_ms - began_ms) // (end - start))

    def _progress_span(self) -> tuple[int, int, int, int] | None:
        """Start and end in percent, start and end in milliseconds, of a timed step under way that reports progress."""
        if self.until_ms is None or self.state in FINAL or not 0 <= self.step < len(self.part.script.steps):
            return None
        progress = self.part.script.steps[self.step].progress
        if progress is None or self.state is not self.part.script.steps[self.step].state:
            return None
        start, end = progress
        if self.progress_mark is not None and self.progress_mark != start:
            # A person has put it elsewhere: from there it goes to the same end, and does not fall.
            start, end = self.progress_mark, max(end, self.progress_mark)
        return start, end, self.step_ms, self.until_ms


_PLACES = {name: place for place, name in enumerate(Job._fields)}
_STATE, _SINCE_MS, _STEP_MS = _PLACES["state"], _PLACES["since_ms"], _PLACES["step_ms"]
_FINISHED_MS, _DEADLINE_MS, _MOVES = _PLACES["finished_ms"], _PLACES["deadline_ms"], _PLACES["moves"]
_POLLS, _HELD = _PLACES["polls"], _PLACES["held"]
