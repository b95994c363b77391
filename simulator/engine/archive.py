"""The jobs of a world by number: those made or changed lately as they are, the rest packed, so that a million fit in memory.

A job as Python objects takes two kilobytes and more, most of it for the dicts of its request; packed it takes a fifth. Reading a
packed job makes the very same value again and changes nothing here, so nobody can tell the difference but by the time it
takes. A job that holds what cannot be packed stays as it is.
"""

from __future__ import annotations

import marshal
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, overload

from simulator.engine.command import Submit
from simulator.engine.job import Failure, Job, State
from simulator.engine.script import Part

UNPACKED_MAX = 50_000
"""How many jobs are kept as they are: more than are under way at once in all but the largest tests."""


class Archive(Sequence[Job | None]):
    """Jobs by number, None where there is none (any more)."""

    def __init__(self, unpacked_max: int = UNPACKED_MAX) -> None:
        self._unpacked_max = unpacked_max
        self._records: list[Job | bytes | None] = []
        # Scripts are shared by many jobs and stay as they are.
        self._parts: list[Part | None] = []
        self._unpacked: deque[int] = deque()

    def append(self, job: Job | None) -> None:
        """Give the next number."""
        self._records.append(None)
        self._parts.append(None)
        if job is not None:
            self[len(self) - 1] = job

    def __setitem__(self, number: int, job: Job | None) -> None:
        """Keep a job under its number, or forget it; whoever came in first is packed when there are too many."""
        records = self._records
        if type(records[number]) is not Job and job is not None:
            unpacked = self._unpacked
            unpacked.append(number)
            if len(unpacked) > self._unpacked_max:
                self._pack(unpacked.popleft())
        records[number] = job

    @overload
    def __getitem__(self, number: int) -> Job | None: ...

    @overload
    def __getitem__(self, number: slice) -> list[Job | None]: ...

    def __getitem__(self, number: int | slice) -> Job | list[Job | None] | None:
        if isinstance(number, slice):
            return [self[place] for place in range(*number.indices(len(self)))]
        record = self._records[number]
        if type(record) is bytes:
            return unpacked(record, self._parts[number])
        return record  # type: ignore[return-value]  # what is not bytes is a job or None

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Job | None]:
        return map(self.__getitem__, range(len(self)))

    def _pack(self, number: int) -> None:
        job = self._records[number]
        if type(job) is not Job:
            return
        try:
            self._records[number] = packed(job)
        except ValueError:
            return
        self._parts[number] = job.part


_STATES = tuple(State)
_CODES = {state: code for code, state in enumerate(_STATES)}
_SUBMIT, _PART, _STATE = (Job._fields.index(name) for name in ("submit", "part", "state"))
_FAILURES, _MOVES = (Job._fields.index(name) for name in ("failures", "moves"))
_SUBMITTED = tuple(field.name for field in fields(Submit))
_FAILS_WITH = _SUBMITTED.index("fails_with")
_values_of_submit = attrgetter(*_SUBMITTED)
_values_of_failure = attrgetter(*(field.name for field in fields(Failure)))


def packed(job: Job) -> bytes:
    """Everything about a job but its part.

    Raises:
        ValueError: it holds something else than plain values.
    """
    values: list[Any] = list(job)
    submit = job.submit
    submitted = _values_of_submit(submit)
    if submit.fails_with is not None:
        submitted = _with(submitted, _FAILS_WITH, _values_of_failure(submit.fails_with))
    values[_SUBMIT] = submitted
    values[_PART] = None
    values[_STATE] = _CODES[job.state]
    if job.failures:
        values[_FAILURES] = tuple([_values_of_failure(failure) for failure in job.failures])
    moves: list[Any] = list(job.moves)
    moves[::3] = [_CODES[state] for state in moves[::3]]
    values[_MOVES] = moves
    return marshal.dumps(values)


def unpacked(record: bytes, part: Part | None) -> Job:
    """The job that was packed."""
    values: list[Any] = marshal.loads(record)
    submitted = values[_SUBMIT]
    if submitted[_FAILS_WITH] is not None:
        submitted = _with(submitted, _FAILS_WITH, Failure(*submitted[_FAILS_WITH]))
    values[_SUBMIT] = Submit(*submitted)
    values[_PART] = part
    values[_STATE] = _STATES[values[_STATE]]
    if values[_FAILURES]:
        values[_FAILURES] = tuple([Failure(*failure) for failure in values[_FAILURES]])
    moves = values[_MOVES]
    moves[::3] = [_STATES[code] for code in moves[::3]]
    values[_MOVES] = tuple(moves)
    return tuple.__new__(Job, values)


def _with(values: tuple[Any, ...], place: int, value: Any) -> tuple[Any, ...]:
    return (*values[:place], value, *values[place + 1 :])
