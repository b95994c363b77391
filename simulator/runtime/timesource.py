"""The only reader of the wall clock, and the clocks of worlds that are made from it.

A clock answers one question: what is the virtual time now, in milliseconds since the epoch. It runs at a rate (1 is real, 60
is sixty times faster, 0 is frozen) and can be moved forward. Where polls move the time, its rate is 0 as well: who moves it is
`simulator.runtime.worlds.Stage.polled`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

from simulator.engine.errors import TimeGoesBack
from simulator.engine.world import START_MS

TimeSource = Callable[[], int]
"""Wall time in milliseconds since the epoch; tests pass another one."""

_FASTER = re.compile(r"(\d+(?:\.\d+)?)x")
MAXIMUM_RATE = 1_000_000


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


wall_clock_ns = time.time_ns
"""Nanoseconds since the epoch, to measure how long something takes."""


@dataclass(frozen=True)
class TimeMode:
    """How time passes: `rate` virtual seconds per real second, and whether the status calls of clients move it."""

    rate: float
    is_poll: bool = False

    @classmethod
    def parse(cls, text: str) -> TimeMode:
        """Read `real`, `frozen`, `poll` or `60x`.

        Raises:
            ValueError: it is none of them.
        """
        if text == "real":
            return cls(1)
        if text == "frozen":
            return cls(0)
        if text == "poll":
            return cls(0, is_poll=True)
        faster = _FASTER.fullmatch(text)
        if faster is None or not 0 < float(faster[1]) <= MAXIMUM_RATE:
            raise ValueError(
                f"{text!r} is not a way of time; write real, frozen, poll or a factor such as 60x"
            )
        return cls(float(faster[1]))

    def __str__(self) -> str:
        if self.is_poll:
            return "poll"
        if self.rate == 0:
            return "frozen"
        return "real" if self.rate == 1 else f"{self.rate:g}x"


class Clock:
    """The clock of one world.

    A world whose time does not run by itself begins at a fixed instant, so that its answers can be compared byte for byte; any
    other begins at the wall clock.

    Args:
        start_ms: where it begins instead.
    """

    def __init__(
        self, mode: TimeMode, timesource: TimeSource = wall_clock, start_ms: int | None = None
    ) -> None:
        self.mode = mode
        self._timesource = timesource
        self._wall_origin_ms = timesource() if mode.rate else 0
        if start_ms is None:
            start_ms = self._wall_origin_ms if mode.rate else START_MS
        self._origin_ms = start_ms
        self._last_ms = self._origin_ms
        self.on_change: Callable[[], None] | None = None
        """Called when somebody has moved it, or changed how time passes; not when time passes by itself."""

    def now_ms(self) -> int:
        """Virtual time; it never goes back, even when the wall clock is set back."""
        rate = self.mode.rate
        if rate:
            now_ms = self._origin_ms + int((self._timesource() - self._wall_origin_ms) * rate)
            if now_ms > self._last_ms:
                self._last_ms = now_ms
        return self._last_ms

    def move_to(self, to_ms: int) -> None:
        """Jump forward; the clock goes on from there at its rate.

        Raises:
            TimeGoesBack: `to_ms` lies before now.
        """
        now_ms = self.now_ms()
        if to_ms < now_ms:
            raise TimeGoesBack(now_ms, to_ms)
        self._origin_ms += to_ms - now_ms
        self._last_ms = to_ms
        if to_ms > now_ms and self.on_change is not None:
            self.on_change()

    def set_mode(self, mode: TimeMode) -> None:
        """From now on time passes in another way; it goes on from where it is."""
        self._origin_ms = self.now_ms()
        if mode.rate:
            self._wall_origin_ms = self._timesource()
        is_other = mode != self.mode
        self.mode = mode
        if is_other and self.on_change is not None:
            self.on_change()
