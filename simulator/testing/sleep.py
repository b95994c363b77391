"""Linked sleep: while a block lasts, the client's own waiting moves a world's clock instead of taking time.

**What is caught.** `time.sleep`, `asyncio.sleep`, `threading.Condition.wait` with a timeout, and what the standard library
builds on it: `Event.wait`, `Timer`, `Semaphore`, `Barrier`, `queue.Queue.get` and `put`, `concurrent.futures` (`result`, `wait`,
`as_completed`). Libraries that call these in the usual way (`urllib3.Retry`, tenacity, backoff) are caught with them.

**What stays real.** Timeouts of sockets and HTTP clients; `asyncio.wait_for`, `asyncio.timeout` and all else that lives by
`loop.call_later` and `loop.time`, as libraries guard real input and output with them; `Thread.join`, `Lock.acquire`,
`SimpleQueue.get` and `select` with a timeout; trio; other processes; `datetime.now`, even in modules that are followed. A module
that said `from time import sleep` before the block cannot be reached from outside, except where `follow` names it or the
package it is in, such as `follow=["anyio"]`. There is no way to follow everything: pytest measures its own times.

**Whose waiting.** The thread that enters the block is a client, and so is each thread that a client starts inside. All others
go on in real time: those that began before the block are servers, test runners and other people's, and what these start is
theirs. A thread that began earlier and belongs to the client, such as a background event loop, is handed in as `threads`. A
server that is started inside is started `with unlinked():`, which also holds for tasks made there; it needs a loop of its own,
as the tasks of one loop wait for each other. The clock is moved by a thread that is nobody's client.

**When the clock moves.** When all client threads, and all tasks beside a sleeping one, are asleep or stand still, the one who
wakes up first is looked for, the clock is moved to that instant, never past it, and that one is woken. Several that are due at
the same instant go one after the other, in the order in which they went to sleep. Whoever was woken holds the clock until it
sleeps again, ends, waits for another thread without a timeout, or has stood still for `GRACE_S` of real time, as one does in
real input and output. That is paid once per place: a thread that waits at a lock for an hour of polls costs it once. So the
order is always the same where one thread or one event loop is at work and no answer takes longer than the grace. A thread that
computes holds the clock; a loop so tight that it is always found at the same place is known to compute on Linux alone.

**How.** One thread, the conductor, owns all that is known about sleepers and alone moves the clock; everybody else sends it
letters through a deque. There are only bare locks in here, which nobody patches, and none is held that a signal handler needs.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import concurrent.futures._base
import concurrent.futures.thread
import itertools
import math
import operator
import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple, Protocol, TypeVar

GRACE_S = 0.05
"""Who stands still for so long of real time waits for something that is no sleep, and holds the clock no longer."""
GRACE_LOOKS = 10
"""And was seen there so often meanwhile: a machine that stopped for a moment has stopped for everybody."""
LOOK_S = 0.001
"""So often the conductor looks whether those who run have come to rest."""
PATIENCE_S = 0.2
"""So often a sleeper looks up, which lets Ctrl-C through on systems where a lock does not."""
ROUNDS_OF_UNKNOWN_LOOPS = 8
"""After so many rounds an event loop that does not show what it has to do, such as uvloop, is taken to be at rest."""

_MILLISECOND_NS = 1_000_000
_SECOND_NS = 1_000_000_000

_sleep = time.sleep
_monotonic = time.monotonic
_async_sleep = asyncio.sleep
_wait = threading.Condition.wait
_start = threading.Thread.start

_unlinked: ContextVar[bool] = ContextVar("unlinked", default=False)
_conductor: _Conductor | None = None
_entry = threading.Lock()
_Result = TypeVar("_Result")


class MovableClock(Protocol):
    """The clock of a world; both may be called by several threads and may take a while."""

    def now_ms(self) -> int:
        """Virtual time in milliseconds since the epoch."""

    def advance_to(self, to_ms: int) -> None:
        """Move it forward to this instant."""


@contextmanager
def linked_sleep(
    clock: MovableClock,
    *,
    follow: Iterable[ModuleType | str] = (),
    threads: Iterable[threading.Thread] = (),
) -> Iterator[None]:
    """Let the client's sleeps move this clock until the end of the block; see the module for whose and which.

    At the end everything is as it was before, and whoever is still asleep is woken. There can be one block at a time. An error
    of the clock is raised by the sleep that needed it.

    Args:
        follow: modules of the client, or names of packages (`"mine"` stands for `mine.poller`, too), in which `time.time`,
            `monotonic` and `perf_counter` with their `_ns` forms tell virtual time to clients, and in which names count that were
            imported by `from time import sleep`.
        threads: those that began before the block and are clients all the same.

    Raises:
        RuntimeError: there is such a block already.
        ValueError: `follow` names what is not imported.
    """
    global _conductor
    modules = _modules([follow] if isinstance(follow, str) else follow)
    with ExitStack() as stack:
        if not _entry.acquire(blocking=False):
            raise RuntimeError("sleeping is linked to a clock already; there can be one such block at a time")
        stack.callback(_entry.release)
        with unlinked():
            conductor = _Conductor(clock, [threading.current_thread(), *threads])
        stack.callback(conductor.close)
        for owner, name, value in [
            (time, "sleep", _linked_sleep),
            (asyncio, "sleep", _linked_async_sleep),
            (asyncio.tasks, "sleep", _linked_async_sleep),
            (threading.Condition, "wait", _linked_wait),
            (threading.Thread, "start", _linked_start),
            *_followed_names([threading, queue, concurrent.futures._base, *modules]),
        ]:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        _conductor = conductor
        stack.callback(_forget_conductor)
        yield


@contextmanager
def unlinked() -> Iterator[None]:
    """What this thread or task does in the block, and threads and tasks that it starts there, wait in real time."""
    token = _unlinked.set(True)
    try:
        yield
    finally:
        _unlinked.reset(token)


def _forget_conductor() -> None:
    global _conductor
    _conductor = None


def _conductor_here() -> _Conductor | None:
    """Who conducts the thread and task that asks; None where time is real.

    Names that were imported inside a block outlive it, so each function that is put in place asks this first.
    """
    conductor = _conductor
    if conductor is None or _unlinked.get() or threading.current_thread() not in conductor.clients:
        return None
    return conductor


class _Sleeper:
    """A thread that waits for virtual time, for another thread, or for what comes first."""

    def __init__(self, conductor: _Conductor, duration_ms: int | None) -> None:
        self.thread = threading.current_thread()
        self.duration_ms = duration_ms
        """None waits for another thread as long as it takes."""
        self.wake_ms = 0
        self.number = 0
        self.is_notified = False
        self.error: BaseException | None = None
        self._conductor = conductor
        self._is_awake = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def lie_down(self) -> None:
        """Begin to sleep; from now on it can be woken."""
        self._conductor.send(self, is_asleep=True)

    def sleep(self) -> None:
        """Stay asleep until woken.

        Raises:
            BaseException: what went wrong with the clock.
        """
        try:
            while not self._gate.acquire(timeout=PATIENCE_S):
                pass
        finally:
            if not self._is_awake:
                self._conductor.send(self, is_asleep=False)
        if self.error is not None:
            raise self.error

    def wake(self, error: BaseException | None = None) -> None:
        """Let it go on; called by the conductor."""
        self.error = error
        self._open()

    def release(self) -> None:
        """Let it go on; called by `Condition.notify`, to which this is one of the locks that waiters wait at."""
        self.is_notified = True
        self._conductor.send(self, is_asleep=False)
        self._open()

    def _open(self) -> None:
        self._is_awake = True
        try:
            self._gate.release()
        except RuntimeError:
            pass  # Time was up and somebody notified at once.


class _TaskSleeper(_Sleeper):
    """A task of an event loop that waits for virtual time."""

    def __init__(self, conductor: _Conductor, duration_ms: int) -> None:
        super().__init__(conductor, duration_ms)
        self.loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()

    async def sleep_on_loop(self) -> None:
        """As `sleep`, for the task alone."""
        try:
            await self.future
        finally:
            if not self._is_awake:
                self._conductor.send(self, is_asleep=False)

    def wake(self, error: BaseException | None = None) -> None:
        """Let it go on in the loop's next round."""
        self._is_awake = True
        try:
            self.loop.call_soon_threadsafe(self._settle, error)
        except RuntimeError:
            pass  # The loop was closed while it slept.

    def _settle(self, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)


class _Probe:
    """Finds out at which futures the tasks of a loop wait once the loop has nothing else to do."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.waits: dict[asyncio.Task[Any], object] = {}
        self._loop = loop
        self._rounds = 0
        self._until = _monotonic() + GRACE_S
        self._answered = threading.Lock()
        self._answered.acquire()

    def is_answered(self) -> bool:
        """Ask the loop; False when its thread is held up by something else."""
        try:
            self._loop.call_soon_threadsafe(self._round)
        except RuntimeError:
            return False
        # A little longer than the loop gives itself.
        return self._answered.acquire(timeout=2 * GRACE_S)

    def _round(self) -> None:
        self._rounds += 1
        ready = getattr(self._loop, "_ready", None)
        # Two at least: input that has come is seen between two rounds.
        is_at_rest = self._rounds > 2 and (
            self._rounds > ROUNDS_OF_UNKNOWN_LOOPS if ready is None else not ready
        )
        if not is_at_rest and _monotonic() < self._until:
            self._loop.call_soon(self._round)
            return
        for task in asyncio.all_tasks(self._loop):
            future = getattr(task, "_fut_waiter", None)
            self.waits[task] = None if future is None or future.done() else future
        self._answered.release()


class _Seen(NamedTuple):
    """Where a thread or task was seen."""

    place: object
    since: float
    computed_s: float
    looks: int = 1
    is_at_rest: bool = False


def _seen(who: object, place: object, now: float, before: _Seen | None) -> _Seen:
    """Where it is now, which is rest if it has been there for long and not because it is in a tight loop."""
    if before is None or before.place != place:
        return _Seen(place, now, _computed_s(who))
    if before.is_at_rest:
        return before
    looks = before.looks + 1
    if now - before.since < GRACE_S or looks < GRACE_LOOKS:
        return before._replace(looks=looks)
    computed_s = _computed_s(who)
    if computed_s - before.computed_s > GRACE_S / 10:
        return _Seen(place, now, computed_s)
    return before._replace(is_at_rest=True)


def _computed_s(who: object) -> float:
    """For how long a thread has been on a processor; 0 where the system does not tell, and for tasks."""
    if isinstance(who, threading.Thread) and sys.platform == "linux":
        try:
            with open(f"/proc/self/task/{who.native_id}/schedstat", "rb") as file:  # noqa: PTH123  # it is read often
                return int(file.read().split()[0]) / _SECOND_NS
        except (OSError, ValueError, IndexError):
            pass
    return 0


class _Conductor:
    """Knows who sleeps, moves the clock when nobody runs, and wakes who is due."""

    def __init__(self, clock: MovableClock, clients: Iterable[threading.Thread]) -> None:
        self.clients: dict[threading.Thread, bool] = dict.fromkeys(clients, True)
        """Whose waiting is virtual, and whether it has begun to run."""
        self.is_over = False
        self._clock = clock
        self._began_ms = self._now_ms = self._moved_ms = clock.now_ms()
        self._looks = itertools.count()
        self._began_ns = {"monotonic": time.monotonic_ns(), "perf_counter": time.perf_counter_ns()}
        self._look_at_clock_at = 0.0
        self._letters: deque[tuple[_Sleeper, bool]] = deque()
        self._doorbell = threading.Lock()
        self._asleep: dict[_Sleeper, None] = {}
        self._numbers = 0
        # Where each thread and task was seen last, and since when it is there.
        self._places: dict[object, _Seen] = {}
        self._thread = threading.Thread(target=self._run, name="understudy linked sleep", daemon=True)
        self._thread.start()

    def nanoseconds(self, counter: str) -> int:
        """What this clock of the module `time` says: `time` is virtual time, the others go on from where they were by as much.

        The others grow by a nanosecond with each look, as code that waits until a deadline has been *passed* would try it for ever
        at the very instant of the deadline.
        """
        with unlinked():
            now_ms = self._clock.now_ms()
        if counter == "time":
            return now_ms * _MILLISECOND_NS
        passed_ns = (now_ms - self._began_ms) * _MILLISECOND_NS
        return self._began_ns[counter] + passed_ns + next(self._looks)

    def send(self, sleeper: _Sleeper, *, is_asleep: bool) -> None:
        """Tell that somebody begins or ends to sleep; the order of these letters is the order of what happened."""
        self._letters.append((sleeper, is_asleep))
        self._ring()
        if self.is_over and is_asleep and sleeper.duration_ms is not None:
            sleeper.wake()  # The conductor may have read its last letter before this one.

    def close(self) -> None:
        """Wake everybody and end; a call of the clock that is under way is waited for."""
        self.is_over = True
        self._ring()
        self._thread.join()

    def _ring(self) -> None:
        try:
            self._doorbell.release()
        except RuntimeError:
            pass  # It rings already.

    def _run(self) -> None:
        patience = -1.0
        while not self.is_over:
            self._doorbell.acquire(timeout=patience)
            try:
                patience = self._turn()
            except BaseException as error:
                # Sleepers that cannot be woken by the clock must not sleep forever.
                patience = -1.0
                self._wake_timed(error)
        self._read_letters()
        self._wake_timed(None)
        self._places.clear()

    def _turn(self) -> float:
        """Do what can be done now; how long to wait for letters before the next turn, -1 for as long as it takes."""
        new = self._read_letters()
        if new:
            self._look_at_clock()
            for sleeper, duration_ms in new.items():
                sleeper.wake_ms = self._now_ms + duration_ms
        first = min(self._timed(), key=lambda sleeper: (sleeper.wake_ms, sleeper.number), default=None)
        if first is None:
            return -1
        is_busy = self._is_anybody_busy()
        if self._letters or self.is_over:
            return 0
        if is_busy:
            # Somebody else may have moved the clock, or it runs by itself.
            if _monotonic() >= self._look_at_clock_at:
                self._look_at_clock()
            if first.wake_ms > self._now_ms or self._now_ms == self._moved_ms:
                return LOOK_S
        elif first.wake_ms > self._now_ms:
            self._move_clock(first.wake_ms)
        del self._asleep[first]
        first.wake()
        return 0

    def _read_letters(self) -> dict[_Sleeper, int]:
        """Who went to sleep since the last time, is still asleep, and for how many milliseconds."""
        new: dict[_Sleeper, int] = {}
        while self._letters:
            sleeper, is_asleep = self._letters.popleft()
            self._places.pop(sleeper.thread, None)
            if is_asleep:
                self._numbers += 1
                sleeper.number = self._numbers
                self._asleep[sleeper] = None
                if sleeper.duration_ms is not None:
                    new[sleeper] = sleeper.duration_ms
            else:
                self._asleep.pop(sleeper, None)
                new.pop(sleeper, None)
        return new

    def _timed(self) -> list[_Sleeper]:
        return [sleeper for sleeper in self._asleep if sleeper.duration_ms is not None]

    def _wake_timed(self, error: BaseException | None) -> None:
        for sleeper in self._timed():
            del self._asleep[sleeper]
            sleeper.wake(error)

    def _look_at_clock(self) -> None:
        self._now_ms = self._clock.now_ms()
        self._look_at_clock_at = _monotonic() + GRACE_S

    def _move_clock(self, to_ms: int) -> None:
        try:
            self._clock.advance_to(to_ms)
            self._now_ms = self._moved_ms = to_ms
        except Exception:
            # Somebody else may have moved it past that instant meanwhile, which is as good.
            self._look_at_clock()
            if self._now_ms < to_ms:
                raise

    def _is_anybody_busy(self) -> bool:
        """Whether a client runs, or has come to where it is only just now."""
        is_busy, leans_on_threads = self._look_around()
        if is_busy or not leans_on_threads:
            return is_busy
        # A lock may just have been released for a thread that has not begun to run again: let it.
        _sleep(LOOK_S)
        return self._look_around()[0]

    def _look_around(self) -> tuple[bool, bool]:
        """Whether anybody is busy, and whether somebody else is not only because its thread stands still."""
        places: dict[object, object] = {}
        blocked = {sleeper.thread for sleeper in self._asleep if not isinstance(sleeper, _TaskSleeper)}
        sleeps = {sleeper.future for sleeper in self._asleep if isinstance(sleeper, _TaskSleeper)}
        loops = {
            sleeper.thread: sleeper.loop for sleeper in self._asleep if isinstance(sleeper, _TaskSleeper)
        }
        leans_on_threads = False
        probed: set[threading.Thread] = set()
        for thread, loop in loops.items():
            if thread in blocked or not loop.is_running():
                continue
            probe = _Probe(loop)
            if probe.is_answered():
                probed.add(thread)
                places.update((task, future) for task, future in probe.waits.items() if future not in sleeps)
        frames = sys._current_frames()
        # With its own frame among its values this function would be garbage that only the collector finds.
        del frames[threading.get_ident()]
        for thread, has_begun in [*self.clients.items()]:
            if has_begun and not thread.is_alive():
                del self.clients[thread]
            elif thread not in blocked and thread not in probed:
                frame = frames.get(thread.ident or 0)
                leans_on_threads = True
                if frame is None or frame.f_code not in _WAITING:
                    places[thread] = frame and (frame, frame.f_lasti)
        now = _monotonic()
        self._places = {who: _seen(who, place, now, self._places.get(who)) for who, place in places.items()}
        return not all(seen.is_at_rest for seen in self._places.values()), leans_on_threads


def _milliseconds(seconds: object) -> int | None:
    """How long a sleep is, rounded up; None for what only the original can answer: no wait at all, endless, not a number."""
    try:
        exact = seconds if isinstance(seconds, float) else operator.index(seconds)  # type: ignore[arg-type]
    except TypeError:
        return None
    # No sleep is longer for the sake of the last bit of a binary fraction.
    return math.ceil(round(exact * 1000, 6)) or 1 if 0 < exact < math.inf else None


def _linked_sleep(seconds: float, /) -> None:
    """`time.sleep`, by the world's clock for clients."""
    duration_ms = _milliseconds(seconds)
    conductor = None if duration_ms is None else _conductor_here()
    if conductor is None:
        _sleep(seconds)
    else:
        sleeper = _Sleeper(conductor, duration_ms)
        sleeper.lie_down()
        sleeper.sleep()


async def _linked_async_sleep(delay: float, result: _Result | None = None) -> _Result | None:
    """`asyncio.sleep`, by the world's clock for clients."""
    duration_ms = _milliseconds(delay)
    conductor = None if duration_ms is None else _conductor_here()
    if conductor is None or duration_ms is None:
        return await _async_sleep(delay, result)
    sleeper = _TaskSleeper(conductor, duration_ms)
    sleeper.lie_down()
    await sleeper.sleep_on_loop()
    return result


def _linked_wait(condition: Any, timeout: float | None = None) -> bool:
    """`Condition.wait`, by the world's clock for clients; it is done as the original does it.

    One without a timeout is watched as well: so it is known at once, not after `GRACE_S`, that a client waits for another one.
    """
    duration_ms = _milliseconds(timeout)
    conductor = None if duration_ms is None and timeout is not None else _conductor_here()
    if conductor is None or not condition._is_owned():
        return _wait(condition, timeout)
    sleeper = _Sleeper(conductor, duration_ms)
    condition._waiters.append(sleeper)
    # Before the lock is free: nobody must be told to wake up who is not known to sleep.
    sleeper.lie_down()
    state = condition._release_save()
    try:
        sleeper.sleep()
    finally:
        condition._acquire_restore(state)
        if not sleeper.is_notified:
            try:
                condition._waiters.remove(sleeper)
            except ValueError:
                pass
    return sleeper.is_notified


def _linked_start(thread: threading.Thread) -> None:
    """`Thread.start`: what a client starts is a client."""
    conductor = _conductor_here()
    if conductor is None:
        _start(thread)
        return
    conductor.clients[thread] = False
    try:
        _start(thread)
    except BaseException:
        conductor.clients.pop(thread, None)
        raise
    conductor.clients[thread] = True


def _stand_in(original: Callable[[], float], counter: str, unit_ns: int) -> Callable[[], float]:
    """What tells virtual time to clients, and to all others what the original tells."""

    def tell() -> float:
        conductor = _conductor_here()
        if conductor is None:
            return original()
        nanoseconds = conductor.nanoseconds(counter)
        return nanoseconds if unit_ns == 1 else nanoseconds / unit_ns

    return tell


_WAITING = {
    concurrent.futures.thread._worker.__code__,
    threading.Thread.join.__code__,
    getattr(threading.Thread, "_wait_for_tstate_lock", threading.Thread.join).__code__,
}
"""Who is in one of these very functions waits for another thread: as the worker of a pool for work, or in `join`."""

_STAND_INS: dict[str, Callable[..., Any]] = {
    "sleep": _linked_sleep,
    "time": _stand_in(time.time, "time", _SECOND_NS),
    "time_ns": _stand_in(time.time_ns, "time", 1),
    "monotonic": _stand_in(time.monotonic, "monotonic", _SECOND_NS),
    "monotonic_ns": _stand_in(time.monotonic_ns, "monotonic", 1),
    "perf_counter": _stand_in(time.perf_counter, "perf_counter", _SECOND_NS),
    "perf_counter_ns": _stand_in(time.perf_counter_ns, "perf_counter", 1),
}
"""By their names in the module `time`."""
_ORIGINALS = {name: getattr(time, name) for name in _STAND_INS}


def _modules(follow: Iterable[ModuleType | str]) -> list[ModuleType]:
    """These modules and what is in them, each once.

    Raises:
        ValueError: one is not imported, so that nothing could be put in place in it.
    """
    found: dict[ModuleType, None] = {}
    for wanted in follow:
        name = wanted if isinstance(wanted, str) else wanted.__name__
        here = [
            module
            for key, module in [*sys.modules.items()]
            if isinstance(module, ModuleType) and (key == name or key.startswith(f"{name}."))
        ]
        if isinstance(wanted, ModuleType):
            here.append(wanted)
        if not here:
            raise ValueError(f"follow names {name!r}, which is not imported; import it before the block")
        found.update(dict.fromkeys(here))
    return [*found]


def _followed_names(modules: Iterable[ModuleType]) -> Iterator[tuple[ModuleType, str, object]]:
    """What to put in place of which names, so that clients find virtual time in these modules."""
    linked_time = ModuleType("time", time.__doc__)
    vars(linked_time).update({**vars(time), **_STAND_INS})
    new: dict[int, object] = {id(original): _STAND_INS[name] for name, original in _ORIGINALS.items()}
    new |= {id(time): linked_time, id(_async_sleep): _linked_async_sleep}
    for module in modules:
        for name, value in [*vars(module).items()]:
            if id(value) in new:
                yield module, name, new[id(value)]
