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
    world: str = ""
    """The name of the world that it happened in."""
    at_ms: int = 0
    """Virtual time."""
    is_declared: bool = False
    """A scenario said that it would be broken, or the client itself asked for what the document does not allow."""
    kind: str = "bad_reply"
    """Of a client's violations the word of their `simulator.apis.contract.Kind`; ours are `bad_reply` or `crash`."""


class Ledger:
    """The latest violations, and how many there were in all; the same for each world, however much others break.

    Args:
        limit: how many lines are kept of all worlds.
        limit_of_world: how many are kept of each.
    """

    def __init__(self, limit: int = 10_000, limit_of_world: int = 1_000) -> None:
        self._all = _Pages(limit)
        self._of_worlds: dict[str, _Pages] = {}
        self._limit_of_world = limit_of_world

    @property
    def total(self) -> int:
        """How many there were in all worlds."""
        return self._all.total

    def total_of(self, world: str) -> int:
        """How many there were in one world."""
        pages = self._of_worlds.get(world)
        return 0 if pages is None else pages.total

    def add(self, line: Line) -> None:
        """Write one down; beyond the limit the oldest is dropped, and texts that hold a whole body are cut."""
        if len(line.pointer) + len(line.message) > _TEXT_CHARACTERS_MAX:
            half = _TEXT_CHARACTERS_MAX // 2
            line = replace(line, pointer=line.pointer[:half], message=line.message[:half])
        self._all.add(line)
        if line.world not in self._of_worlds:
            self._of_worlds[line.world] = _Pages(self._limit_of_world)
        self._of_worlds[line.world].add(line)

    def lines(
        self, by: str | None = None, *, world: str | None = None, with_declared: bool = False
    ) -> list[Line]:
        """What is written, oldest first.

        Args:
            by: only those of one side.
            world: only those of one world.
            with_declared: also those that were asked for, which are nobody's mistake.
        """
        pages = self._all if world is None else self._of_worlds.get(world)
        return [
            line
            for line in (() if pages is None else pages.lines)
            if (by is None or line.by == by) and (with_declared or not line.is_declared)
        ]

    def forget(self, world: str) -> None:
        """This world is gone, or begins anew; the lines of all worlds stay as they are."""
        self._of_worlds.pop(world, None)


class _Pages:
    """Lines, the latest of them kept."""

    def __init__(self, limit: int) -> None:
        self.total = 0
        self.lines: deque[Line] = deque(maxlen=limit)

    def add(self, line: Line) -> None:
        self.total += 1
        self.lines.append(line)
