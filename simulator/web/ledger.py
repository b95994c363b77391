"""The ledger: contract violations found in calls, by the client or by us."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

_TEXT_CHARACTERS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Line:
    """One violation.

    `by` is `client` or `server`; `pointer` is a JSON pointer into the body or the name of a parameter or header.
    """

    by: str
    api: str
    operation: str
    pointer: str
    message: str


class Ledger:
    """The latest violations, and how many there were in all."""

    def __init__(self, limit: int = 10_000) -> None:
        self.total = 0
        self._lines: deque[Line] = deque(maxlen=limit)

    def add(self, line: Line) -> None:
        """Write one down; beyond the limit the oldest is dropped, and texts that hold a whole body are cut."""
        self.total += 1
        if len(line.pointer) + len(line.message) > _TEXT_CHARACTERS_MAX:
            half = _TEXT_CHARACTERS_MAX // 2
            line = replace(line, pointer=line.pointer[:half], message=line.message[:half])
        self._lines.append(line)

    def lines(self, by: str | None = None) -> list[Line]:
        """What is written, oldest first."""
        return [line for line in self._lines if by is None or line.by == by]
