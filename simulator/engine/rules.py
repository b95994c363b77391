"""What one API's service allows: facts about its jobs that the engine decides by, so that handlers need not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum

from simulator.engine.job import FINAL, State
from simulator.engine.script import CancelEffect


class RetryBy(Enum):
    """How a service runs a job again."""

    SAME_JOB = "same_job"
    NEW_JOB = "new_job"


class Line(Enum):
    """Who is next when several jobs wait."""

    PRIORITY_FIRST = "priority_first"
    DUE_FIRST = "due_first"


def cancel_active(
    effect: CancelEffect = CancelEffect.AT_ONCE, finished: CancelEffect = CancelEffect.REFUSED
) -> Mapping[State, CancelEffect]:
    """The usual table: one effect while a job is under way, another when it is finished."""
    return {state: finished if state in FINAL else effect for state in State}


@dataclass(frozen=True)
class Rules:
    """The rules of one API's service. Every table is total over the states it speaks of."""

    identify: Callable[[int, int], str]
    """(seed, job number) → the job's id in the API's own form, different for each number."""
    cancel: Mapping[State, CancelEffect] = field(default_factory=cancel_active)
    retry_by: RetryBy | None = None
    """Who runs again after a failure with retries left; None: nobody."""
    retry_in: frozenset[State] = frozenset()
    """States in which a client's Retry does something."""
    retry_refused_in: frozenset[State] = frozenset()
    """States in which a client's Retry is refused; in the rest it is ignored."""
    retry_needs_exhaustion: bool = False
    """A failed job is retried by a client only when it has no retries of its own left."""
    amend_in: frozenset[State] = frozenset()
    remove_in: frozenset[State] = FINAL
    claims: bool = False
    """External workers take jobs from the queue."""
    line: Line = Line.PRIORITY_FIRST
