"""Telling the subscribers of jobs: the only connections that the server opens by itself.

What is told when, and to whom, is the API module's business (`Api.announce`); here it is sent, in the order of a job's moves,
and only to hosts that the scenario allows. What came of it is written into the job's history. A refusal or no answer is tried
again after a while of virtual time, so under a clock that stands still the next try waits for the clock to be moved.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from heapq import heappop, heappush
from urllib.parse import urlsplit

import orjson

from simulator.apis.contract import Announcement, Api
from simulator.engine.command import Remark
from simulator.engine.errors import UnknownJob
from simulator.engine.job import Job
from simulator.runtime.worlds import LONGEST_WAIT_SECONDS, Stage

logger = logging.getLogger("understudy")

WAITS_MS = (1_000, 5_000)
"""Virtual time before the second and the third try; there is no fourth."""
TIMEOUT_SECONDS = 5.0
"""How long a subscriber may take to answer, in real time."""
CONNECTIONS_MAX = 20
SHORTEST_WAIT_SECONDS = 0.01
TEMPORARY = frozenset({408, 425, 429})

Post = Callable[[str, bytes], Awaitable[int]]
"""Sends JSON to a URL and answers with the status; raises `OSError` when there is none."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One announcement on its way."""

    api: str
    job_id: str
    announcement: Announcement
    attempt: int = 1


class Callbacks:
    """The announcements of all worlds of a server.

    Args:
        apis: those that have something to announce.
        post: how one is sent.
    """

    def __init__(self, apis: Iterable[Api], post: Post | None = None) -> None:
        self.post = post or _post
        self._apis = {api.name: api for api in apis if api.announce is not None}
        self._outboxes: dict[Stage, _Outbox] = {}
        self._woken: asyncio.Event | None = None

    def notice(self, stage: Stage) -> None:
        """Take up what the watched jobs of this world have done, and let `run` send it."""
        told = stage.world.told
        if told:
            self._outboxes.setdefault(stage, _Outbox(stage)).take(told, self._apis)
            told.clear()
        if self._woken is not None:
            self._woken.set()

    def forget(self, stage: Stage) -> None:
        """Nobody of this world is told any more: it is gone."""
        self._outboxes.pop(stage, None)

    async def settle(self, stage: Stage) -> None:
        """Send everything that is due in this world, and wait until all of it is answered or given up for now."""
        self.notice(stage)
        outbox = self._outboxes.get(stage)
        while outbox is not None and (outbox.send_due(self.post) or outbox.under_way):
            await asyncio.wait(set(outbox.under_way))

    async def run(self) -> None:
        """Send what becomes due as time passes, until cancelled."""
        self._woken = asyncio.Event()
        while True:
            for stage in list(self._outboxes):
                stage.catch_up()
                self.notice(stage)
                self._outboxes[stage].send_due(self.post)
            self._woken.clear()
            waits = [outbox.wait_seconds() for outbox in self._outboxes.values()]
            shortest = min((wait for wait in waits if wait is not None), default=None)
            try:
                await asyncio.wait_for(self._woken.wait(), shortest)
            except TimeoutError:
                pass


class _Outbox:
    """What one world has to announce."""

    def __init__(self, stage: Stage) -> None:
        self.under_way: dict[asyncio.Task[None], None] = {}
        self._stage = stage
        self._waiting: list[tuple[int, int, Delivery]] = []
        self._sequence = 0
        self._watched: set[tuple[str, str]] = set()
        self._latest: dict[str, asyncio.Task[None]] = {}
        self._connections = asyncio.Semaphore(CONNECTIONS_MAX)

    def take(self, told: Iterable[Job], apis: dict[str, Api]) -> None:
        """Word what these jobs have done."""
        for job in told:
            key = (job.api, job.id)
            if job.state.is_final:
                self._watched.discard(key)
            else:
                self._watched.add(key)
            announce = apis[job.api].announce
            assert announce is not None
            announcement = announce(job, self._stage.scenario.settings[job.api])
            if announcement is not None:
                self._put(job.since_ms, Delivery(job.api, job.id, announcement))

    def _put(self, due_ms: int, delivery: Delivery) -> None:
        self._sequence += 1
        heappush(self._waiting, (due_ms, self._sequence, delivery))

    def wait_seconds(self) -> float | None:
        """How long nothing can become due here, in real time; None when only a call can change that."""
        world = self._stage.world
        dues = [self._waiting[0][0]] if self._waiting else []
        if self._watched and world.next_due_ms is not None:
            dues.append(world.next_due_ms)
        rate = self._stage.clock.mode.rate
        if not dues or rate == 0:
            return None
        seconds = (min(dues) - world.now_ms) / rate / 1000
        return min(max(seconds, SHORTEST_WAIT_SECONDS), LONGEST_WAIT_SECONDS)

    def send_due(self, post: Post) -> bool:
        """Begin to send what is due; whether there was anything."""
        begun = False
        while self._waiting and self._waiting[0][0] <= self._stage.world.now_ms:
            _, _, delivery = heappop(self._waiting)
            before = self._latest.get(delivery.job_id)
            task = asyncio.ensure_future(self._send(delivery, before, post))
            self._latest[delivery.job_id] = task
            self.under_way[task] = None
            task.add_done_callback(partial(self._done, delivery.job_id))
            begun = True
        return begun

    def _done(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self.under_way[task]
        if self._latest.get(job_id) is task:
            del self._latest[job_id]

    async def _send(self, delivery: Delivery, before: asyncio.Task[None] | None, post: Post) -> None:
        if before is not None:
            await asyncio.wait({before})
        announcement = delivery.announcement
        refused = _why_not(announcement)
        if refused is not None:
            self._remark(delivery, f"not sent: {refused}")
            return
        try:
            async with self._connections:
                status = await asyncio.wait_for(
                    post(announcement.url, orjson.dumps(announcement.body)), TIMEOUT_SECONDS
                )
        except TimeoutError:
            outcome, is_over = f"no answer within {TIMEOUT_SECONDS:g} s", False
        except OSError as problem:
            outcome, is_over = f"not reached: {problem}", False
        else:
            outcome, is_over = f"answered {status}", status < 500 and status not in TEMPORARY
        if is_over or delivery.attempt > len(WAITS_MS):
            self._remark(delivery, outcome if is_over else f"{outcome}; given up")
            return
        wait_ms = WAITS_MS[delivery.attempt - 1]
        self._remark(delivery, f"{outcome}; again in {wait_ms // 1000}s")
        self._put(self._stage.world.now_ms + wait_ms, replace(delivery, attempt=delivery.attempt + 1))

    def _remark(self, delivery: Delivery, outcome: str) -> None:
        announcement = delivery.announcement
        text = f"callback {announcement.label} {_shown(announcement.url)} (try {delivery.attempt}): {outcome}"
        logger.info("%s job %s: %s", delivery.api, delivery.job_id, text)
        try:
            self._stage.catch_up().apply(Remark(delivery.api, delivery.job_id, text))
        except UnknownJob:
            pass  # It was removed meanwhile, and its history with it.


def _why_not(announcement: Announcement) -> str | None:
    """Why this one must not be sent."""
    try:
        parts = urlsplit(announcement.url)
        host, _ = parts.hostname, parts.port
    except ValueError as problem:
        return str(problem)
    if parts.scheme not in ("http", "https") or not host:
        return "only http and https URLs are called"
    if host not in announcement.hosts:
        return f"{host} is not among the hosts that may be called ({', '.join(announcement.hosts)})"
    return None


def _shown(url: str) -> str:
    """A URL for the history: without user, password and query, which may be secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "(not a URL)"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


async def _post(url: str, body: bytes) -> int:
    # Imported when the first subscriber is told: most servers never have one.
    import httpx

    try:
        async with httpx.AsyncClient(trust_env=False, timeout=None) as client:
            response = await client.post(url, content=body, headers={"Content-Type": "application/json"})
            return response.status_code
    except (httpx.HTTPError, httpx.InvalidURL) as problem:
        raise OSError(str(problem) or type(problem).__name__) from None
