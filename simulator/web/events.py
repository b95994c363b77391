"""What happens in a world, told as it happens: a stream of server-sent events for each who listens.

A world is listened to from its first subscriber on, and until it is gone; before that it costs nothing but three questions
whether anybody listens. What happened is kept in a ring, and each stream is a place in it: who reads slowly, or comes back with the
id of the last event that it saw, goes on from there, and is told of a gap when the ring has moved on meanwhile. So nothing
grows with the number or the slowness of those who listen.

Where time runs by itself, a stream brings its world to the present when the next event is due: things are told when they happen,
although nobody calls.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from functools import partial
from typing import Any, NamedTuple

import orjson

from simulator.apis.contract import Kind, Problem, Stream, iso
from simulator.engine.job import Job
from simulator.runtime.calls import Exchange
from simulator.runtime.worlds import Stage, Worlds

MEDIA_TYPE = "text/event-stream"
KEPT_MAX = 1_000
STREAMS_MAX = 100
KEEPALIVE_SECONDS = 15.0
SHORTEST_WAIT_SECONDS = 0.001

JOB, CALL, CLOCK, WORLD = KINDS = ("job", "call", "clock", "world")
GAP = "gap"

_ID = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})")


class Events:
    """The streams of a server.

    Args:
        worlds: a stream is a use of its world, however long it lasts.
        keepalive_seconds: after so long without an event a comment is sent, so that nobody in between hangs up.
    """

    def __init__(
        self,
        worlds: Worlds,
        *,
        streams_max: int = STREAMS_MAX,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self.streams_max = streams_max
        self.keepalive_seconds = keepalive_seconds
        self._worlds = worlds
        self._reporters: dict[Stage, _Reporter] = {}
        self._begun = 0
        self._listeners: set[_Listener] = set()

    def stream(
        self,
        stage: Stage,
        *,
        kinds: Collection[str] = KINDS,
        last_id: str | None = None,
        limit: int | None = None,
        seconds: float | None = None,
    ) -> Stream:
        """The events of a world, from now on or from the one after `last_id`.

        Args:
            kinds: only these; a gap is told of in any case.
            limit: the stream ends after so many events.
            seconds: it ends after so long in real time.

        Raises:
            Problem: there are too many streams.
        """
        if len(self._listeners) >= self.streams_max:
            raise Problem(
                Kind.FORBIDDEN,
                f"the limit of {self.streams_max} event streams is reached; end one of them",
                status=503,
            )
        reporter = self._reporters.get(stage)
        if reporter is None:
            self._begun += 1
            reporter = self._reporters[stage] = _Reporter(stage, self._begun)
        listener = _Listener(reporter, frozenset(kinds), last_id, limit)
        self._listeners.add(listener)

        def close() -> None:
            self._listeners.discard(listener)
            listener.close()

        on_idle = partial(self._worlds.use, stage.name)
        return Stream(listener.listen(seconds, self.keepalive_seconds, on_idle), close, MEDIA_TYPE)

    def forget(self, stage: Stage) -> None:
        """This world is gone: whoever listens to it is told, and then the stream ends."""
        reporter = self._reporters.pop(stage, None)
        if reporter is not None:
            reporter.end("deleted" if self._worlds.find(stage.name) is None else "reset")

    def close(self) -> None:
        """End all streams: the server stops."""
        self.streams_max = 0
        for listener in self._listeners:
            listener.close()


class _Event(NamedTuple):
    kind: str
    text: bytes
    """As it is sent."""


class _Reporter:
    """What has happened in one world since somebody first listened.

    Args:
        number: tells it from others, also from those of earlier worlds of the same name.
    """

    def __init__(self, stage: Stage, number: int) -> None:
        self.stage = stage
        self.number = number
        self.last = 0
        """The number of the latest event; they count from 1."""
        self.kept: deque[_Event] = deque(maxlen=KEPT_MAX)
        self.is_over = False
        self.asleep: set[asyncio.Event] = set()
        """Whom to wake when something happens."""
        stage.world.on_move = self._on_move
        stage.calls.on_add = self._on_call
        stage.clock.on_change = self._on_clock

    @property
    def oldest(self) -> int:
        """The number of the oldest event that is kept, or of the next one."""
        return self.last - len(self.kept) + 1

    def since(self, number: int) -> list[_Event]:
        """The kept events from this number on."""
        return [self.kept[-place] for place in range(self.last - number + 1, 0, -1)]

    def end(self, change: str) -> None:
        """Tell that the world is gone, and nothing more."""
        stage = self.stage
        stage.world.on_move = stage.calls.on_add = stage.clock.on_change = None
        self.is_over = True
        self._tell(WORLD, {"at": iso(stage.world.now_ms), "world": stage.name, "change": change})

    def _on_move(self, job: Job, cause: str) -> None:
        world = self.stage.world
        event: dict[str, Any] = {
            "at": iso(world.now_ms),
            "api": job.api,
            "job": job.id,
            "state": job.state.value,
            "cause": cause,
            "held": world.is_held(job),
        }
        progress = job.progress_percent(world.now_ms)
        if progress is not None:
            event["progress"] = progress
        self._tell(JOB, event)

    def _on_call(self, call: Exchange) -> None:
        event = {
            "at": iso(call.at_ms),
            "number": call.number,
            "api": call.api,
            "operation": call.operation,
            "method": call.method,
            "path": call.path,
            "job": call.job_id,
            "status": call.status or None,
        }
        self._tell(CALL, event)

    def _on_clock(self) -> None:
        clock = self.stage.clock
        self._tell(CLOCK, {"at": iso(clock.now_ms()), "mode": str(clock.mode)})

    def _tell(self, kind: str, event: dict[str, Any]) -> None:
        self.last += 1
        text = _written(kind, orjson.dumps(event), f"{self.number}.{self.last}")
        self.kept.append(_Event(kind, text))
        for sleeper in self.asleep:
            sleeper.set()
        self.asleep.clear()


def _written(kind: str, data: bytes, event_id: str) -> bytes:
    return b"id: %s\nevent: %s\ndata: %s\n\n" % (event_id.encode(), kind.encode(), data)


class _Listener:
    """One who listens to a world: which event comes next, and how many may."""

    def __init__(
        self, reporter: _Reporter, kinds: frozenset[str], last_id: str | None, limit: int | None
    ) -> None:
        self._reporter = reporter
        self._kinds = kinds
        self._left = limit
        self._next = reporter.last + 1
        self._knows_missed = True
        self._is_closed = False
        self._woken = asyncio.Event()
        if last_id is not None:
            self._go_back_to(last_id)

    def _go_back_to(self, last_id: str) -> None:
        found = _ID.fullmatch(last_id)
        reporter = self._reporter
        if found is not None and int(found[1]) == reporter.number and int(found[2]) <= reporter.last:
            self._next = int(found[2]) + 1
        else:
            # It is of another world, or none of ours: all that is kept is new, and nobody knows what was before.
            self._next = reporter.oldest
            self._knows_missed = False

    def close(self) -> None:
        """Say nothing more."""
        self._is_closed = True
        self._woken.set()

    async def listen(
        self, seconds: float | None, keepalive_seconds: float, on_idle: Callable[[], object]
    ) -> AsyncIterator[bytes]:
        """Pieces of the stream, until it is over or closed; `on_idle` is called with each comment that keeps it alive."""
        now = asyncio.get_running_loop().time
        ends = None if seconds is None else now() + seconds
        silent_until = now() + keepalive_seconds
        while not self._is_closed:
            self._reporter.stage.catch_up()
            piece = self._news()
            if piece:
                yield piece
                silent_until = now() + keepalive_seconds
                if self._left != 0:
                    # There may be more: to send takes time.
                    continue
            if self._left == 0 or self._reporter.is_over or (ends is not None and now() >= ends):
                return
            if now() >= silent_until:
                on_idle()
                yield b": nothing has happened\n\n"
                silent_until = now() + keepalive_seconds
                continue
            await self._sleep(min(silent_until, silent_until if ends is None else ends) - now())

    def _news(self) -> bytes:
        """What is to be sent now; nothing when nothing has happened."""
        reporter = self._reporter
        missed = reporter.oldest - self._next
        pieces = []
        if missed > 0 or not self._knows_missed:
            told = {"missed": missed if self._knows_missed else None}
            self._next = reporter.oldest
            self._knows_missed = True
            # Its id is that of the last event that is missing.
            pieces.append(_written(GAP, orjson.dumps(told), f"{reporter.number}.{self._next - 1}"))
        for event in reporter.since(self._next):
            if self._left == 0:
                break
            self._next += 1
            if event.kind in self._kinds:
                pieces.append(event.text)
                if self._left is not None:
                    self._left -= 1
        return b"".join(pieces)

    async def _sleep(self, seconds: float) -> None:
        """Wait until something happens or is due, at most so long."""
        stage = self._reporter.stage
        rate = stage.clock.mode.rate
        due_ms = stage.world.next_due_ms if rate else None
        if due_ms is not None:
            due_seconds = (due_ms - stage.world.now_ms) / rate / 1000
            seconds = min(seconds, max(due_seconds, SHORTEST_WAIT_SECONDS))
        self._woken.clear()
        self._reporter.asleep.add(self._woken)
        try:
            await asyncio.wait_for(self._woken.wait(), max(seconds, 0))
        except TimeoutError:
            pass
        finally:
            self._reporter.asleep.discard(self._woken)
