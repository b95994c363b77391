"""A journal in memory: the commands of one world in order, up to a limit."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.engine.world import Entry

DEFAULT_LIMIT = 100_000


class MemoryJournal:
    """Keeps the first `limit` entries. Past it the world goes on, and the journal says that it is no longer complete."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self.limit = limit
        self.is_complete = True
        self._entries: list[Entry] = []

    def append(self, entry: Entry) -> None:
        """Keep one more entry, or give up on completeness: what is no longer of use for a replay is let go."""
        if not self.is_complete:
            return
        if len(self._entries) < self.limit:
            self._entries.append(entry)
        else:
            self.is_complete = False
            self._entries.clear()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
