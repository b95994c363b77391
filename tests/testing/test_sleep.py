"""Sleeps that move a clock: threads, event loops, what is built on them, and that nothing is left behind."""

from __future__ import annotations

import asyncio
import concurrent.futures
import math
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import anyio
import httpx
import pytest
import requests
import urllib3
import uvloop

from simulator.assemble import Settings, assemble
from simulator.runtime.timesource import TimeMode
from simulator.testing import sleep
from simulator.testing.sleep import GRACE_S, linked_sleep, unlinked
from simulator.web.server import Background, listen
from tests.running import serving

START_MS = 1_893_456_000_000
real_sleep = time.sleep
real_monotonic = time.monotonic


class FakeClock:
    """A world's clock that is a millisecond away, and remembers where it was moved to."""

    def __init__(self, call_s: float = 0.001) -> None:
        self._now_ms = START_MS
        self._call_s = call_s
        self.moves: list[int] = []

    def now_ms(self) -> int:
        # The way to a server: none of these waits may be caught.
        time.sleep(self._call_s / 2)
        threading.Event().wait(self._call_s / 2)
        return self._now_ms

    def advance_to(self, to_ms: int) -> None:
        time.sleep(self._call_s)
        assert to_ms >= self._now_ms, "time goes back"
        self._now_ms = to_ms
        self.moves.append(to_ms - START_MS)

    def move_from_outside(self, by_ms: int) -> None:
        self._now_ms += by_ms

    @property
    def passed_s(self) -> float:
        return (self._now_ms - START_MS) / 1000


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(autouse=True)
def _a_deadline() -> Iterator[None]:
    """A sleep that is never woken fails its test instead of holding up the run."""

    def give_up(*_: object) -> None:
        raise AssertionError("a sleeper was forgotten")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of an exact order: answers may take as long as a machine that is busy with other things makes them."""
    monkeypatch.setattr(sleep, "GRACE_S", 1)


def in_thread(function: Callable[[], object]) -> threading.Thread:
    # One that is never woken does not hold up the end of the run.
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


# ---- one thread ---------------------------------------------------------------------------------------------------


def test_a_sleep_moves_the_clock_by_its_duration_and_takes_no_time(clock: FakeClock) -> None:
    began = real_monotonic()
    with linked_sleep(clock):
        time.sleep(3600)
        time.sleep(0.25)
    assert clock.moves == [3_600_000, 3_600_250]
    assert real_monotonic() - began < 5


def test_an_hour_of_polls_takes_less_than_five_seconds(clock: FakeClock) -> None:
    began = real_monotonic()
    with linked_sleep(clock):
        for _ in range(720):
            time.sleep(5)
    assert clock.passed_s == 3600
    assert real_monotonic() - began < 5


@pytest.mark.parametrize("seconds", [0.0001, 0.001, 0.1, 0.29, 0.57, 1.1, 4.35, 64.1, 8.2])
def test_a_duration_is_rounded_up_to_milliseconds_but_not_for_a_binary_fraction(seconds: float) -> None:
    clock = FakeClock()
    with linked_sleep(clock):
        time.sleep(seconds)
    assert clock.moves == [max(1, round(seconds * 1000))]


def test_sleeps_that_are_no_sleeps_answer_as_the_originals(clock: FakeClock) -> None:
    with linked_sleep(clock):
        time.sleep(0)
        for wrong in (-1, math.nan):
            with pytest.raises(ValueError):
                time.sleep(wrong)
        with pytest.raises(TypeError):
            time.sleep("5")  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            time.sleep(math.inf)
        assert not threading.Event().wait(0)
        assert not threading.Event().wait(-1)
        asyncio.run(asyncio.sleep(0))
        asyncio.run(asyncio.sleep(-1))
        with pytest.raises(RuntimeError, match="un-acquired"):
            threading.Condition().wait(5)
    assert clock.moves == []


def test_a_keyboard_interrupt_ends_a_sleep_and_the_next_one_works() -> None:
    clock = FakeClock(call_s=0.2)
    interrupt = threading.Timer(0.05, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
    with linked_sleep(clock):
        with unlinked():
            interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            time.sleep(10)
        assert clock.moves == []
        time.sleep(5)
    assert clock.moves == [5_000]


def test_an_error_of_the_clock_is_raised_by_the_sleep_and_the_next_one_works(clock: FakeClock) -> None:
    def refuse(to_ms: int) -> None:
        raise ConnectionError("no server")

    with linked_sleep(clock):
        clock.advance_to = refuse  # type: ignore[method-assign]
        with pytest.raises(ConnectionError, match="no server"):
            time.sleep(5)
        with pytest.raises(ConnectionError, match="no server"):
            asyncio.run(asyncio.sleep(5))
        del clock.advance_to
        time.sleep(5)
    assert clock.moves == [5_000]


def test_a_move_that_somebody_else_was_faster_with_is_no_error(clock: FakeClock) -> None:
    def lose(to_ms: int) -> None:
        clock.move_from_outside(60_000)
        raise ValueError("time goes back")

    clock.advance_to = lose  # type: ignore[method-assign]
    with linked_sleep(clock):
        time.sleep(5)
    assert clock.passed_s == 60


# ---- several threads ----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("patience")
def test_threads_wake_up_in_the_order_of_time(clock: FakeClock) -> None:
    seen: list[tuple[str, float]] = []

    def poll(name: str, step: float, count: int) -> None:
        for _ in range(count):
            time.sleep(step)
            seen.append((name, clock.passed_s))

    with linked_sleep(clock):
        threads = [
            in_thread(lambda name=name, step=step, count=count: poll(name, step, count))
            for name, step, count in (("a", 3, 4), ("b", 5, 2), ("c", 7, 1))
        ]
        for thread in threads:
            thread.join()
    assert seen == [("a", 3), ("b", 5), ("a", 6), ("c", 7), ("a", 9), ("b", 10), ("a", 12)]
    assert clock.moves == [3_000, 5_000, 6_000, 7_000, 9_000, 10_000, 12_000]


@pytest.mark.usefixtures("patience")
def test_those_who_are_due_together_go_one_after_the_other(clock: FakeClock) -> None:
    running = 0
    most = 0

    def work() -> None:
        nonlocal running, most
        for _ in range(5):
            time.sleep(5)
            running += 1
            most = max(most, running)
            real_sleep(0.002)
            running -= 1

    with linked_sleep(clock):
        for thread in [in_thread(work) for _ in range(5)]:
            thread.join()
    assert most == 1
    assert clock.moves == [5_000, 10_000, 15_000, 20_000, 25_000]


def test_a_thread_that_runs_holds_the_clock(clock: FakeClock) -> None:
    at_rest: list[float] = []

    def compute() -> None:
        until = real_monotonic() + 5 * GRACE_S
        while real_monotonic() < until:
            sum(range(100))
        at_rest.append(clock.passed_s)

    with linked_sleep(clock):
        thread = in_thread(compute)
        time.sleep(5)
        thread.join()
    assert at_rest == [0]


def test_a_thread_that_waits_for_something_real_does_not_hold_the_clock_for_ever(clock: FakeClock) -> None:
    came = threading.Lock()
    came.acquire()
    with linked_sleep(clock):
        thread = in_thread(came.acquire)
        began = real_monotonic()
        for _ in range(100):
            time.sleep(5)
        took = real_monotonic() - began
        came.release()
        thread.join()
    assert clock.passed_s == 500
    # The grace is paid once, not at each of these sleeps.
    assert GRACE_S <= took < 50 * GRACE_S


@pytest.mark.usefixtures("patience")
def test_two_hundred_threads_sleep_and_one_waits_for_them(clock: FakeClock) -> None:
    woken: list[int] = []

    def work(number: int) -> None:
        time.sleep(1 + number)
        time.sleep(1000 - number)
        woken.append(number)

    began = real_monotonic()
    with linked_sleep(clock):
        threads = [threading.Thread(target=work, args=(number,)) for number in range(200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(woken) == [*range(200)]
    assert clock.passed_s == 1001
    assert clock.moves == [1000 * second for second in (*range(1, 201), 1001)]
    assert real_monotonic() - began < 8


def test_a_pool_polls_and_its_results_are_waited_for(clock: FakeClock) -> None:
    def poll(number: int) -> float:
        for _ in range(10):
            time.sleep(number)
        return clock.passed_s

    began = real_monotonic()
    with linked_sleep(clock), concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert [*pool.map(poll, range(1, 9))] == [10 * number for number in range(1, 9)]
        futures = [pool.submit(poll, number) for number in (2, 1)]
        assert [future.result() for future in concurrent.futures.as_completed(futures)] == [90, 100]
        assert futures[0].result(timeout=5) == 100
    assert real_monotonic() - began < 5


def test_a_result_that_does_not_come_in_virtual_time_is_a_timeout(clock: FakeClock) -> None:
    with linked_sleep(clock), concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(time.sleep, 3600)
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=60)
        assert clock.passed_s == 60
        with pytest.raises(concurrent.futures.TimeoutError):
            next(concurrent.futures.as_completed([future], timeout=40))
        assert clock.passed_s == 100
        assert concurrent.futures.wait([future], timeout=50).not_done
        assert clock.passed_s == 150
        future.result(timeout=3600)
    assert clock.passed_s == 3600


# ---- events, conditions, queues ---------------------------------------------------------------------------------------


def test_a_wait_for_an_event_ends_with_its_virtual_time(clock: FakeClock) -> None:
    with linked_sleep(clock):
        assert threading.Event().wait(600) is False
    assert clock.moves == [600_000]


def test_a_wait_for_an_event_ends_at_once_when_it_is_set(clock: FakeClock) -> None:
    event = threading.Event()

    def set_later() -> None:
        time.sleep(7)
        event.set()

    with linked_sleep(clock):
        thread = in_thread(set_later)
        assert event.wait(600) is True
        assert clock.passed_s == 7
        assert event.wait(600) is True
        thread.join()
    assert clock.moves == [7_000]


def test_an_event_of_a_thread_that_lives_in_real_time_ends_a_wait(clock: FakeClock) -> None:
    event = threading.Event()
    done = threading.Event()
    with linked_sleep(clock):
        with unlinked():
            threading.Timer(0.02, event.set).start()
            in_thread(done.wait)
        assert event.wait() is True
        done.set()
    assert clock.moves == []


def test_polls_that_wait_for_a_stop_event_are_as_quick_as_sleeps(clock: FakeClock) -> None:
    stop = threading.Event()
    count = 0
    began = real_monotonic()
    with linked_sleep(clock):
        thread = in_thread(lambda: (time.sleep(3600.5), stop.set()))
        while not stop.wait(5):
            count += 1
        thread.join()
    assert count == 720
    assert clock.passed_s == 3600.5
    assert real_monotonic() - began < 5


def test_a_condition_is_waited_for_until_it_holds_or_time_is_up(clock: FakeClock) -> None:
    condition = threading.Condition()
    things: list[int] = []

    def bring() -> None:
        for number in range(3):
            time.sleep(10)
            with condition:
                things.append(number)
                condition.notify_all()

    with linked_sleep(clock):
        with condition:
            assert not condition.wait(5)
            assert not condition.wait_for(lambda: things, timeout=20)
        assert clock.passed_s == 25
        thread = in_thread(bring)
        with condition:
            assert condition.wait_for(lambda: len(things) == 3, timeout=60)
        assert clock.passed_s == 55
        assert not threading.Semaphore(0).acquire(timeout=5)
        assert clock.passed_s == 60
        thread.join()
    assert not condition._waiters  # type: ignore[attr-defined]


def test_a_queue_is_empty_when_virtual_time_is_up(clock: FakeClock) -> None:
    letters: queue.Queue[str] = queue.Queue(1)
    with linked_sleep(clock):
        with pytest.raises(queue.Empty):
            letters.get(timeout=30)
        assert clock.passed_s == 30
        thread = in_thread(lambda: (time.sleep(12), letters.put("here"), letters.put("more")))
        assert letters.get(timeout=30) == "here"
        assert clock.passed_s == 42
        thread.join()
        with pytest.raises(queue.Full):
            letters.put("too much", timeout=8)
    assert clock.passed_s == 50


def test_who_waits_for_another_thread_without_a_timeout_does_not_hold_the_clock(clock: FakeClock) -> None:
    letters: queue.Queue[float] = queue.Queue()

    def send() -> None:
        for _ in range(50):
            time.sleep(5)
            letters.put(clock.passed_s)

    began = real_monotonic()
    with linked_sleep(clock):
        thread = in_thread(send)
        assert [letters.get() for _ in range(50)] == [*range(5, 255, 5)]
        thread.join()
    # Each of these waits is a new one, and none costs the grace.
    assert real_monotonic() - began < 30 * GRACE_S


def test_a_timer_goes_off_in_virtual_time(clock: FakeClock) -> None:
    seen: list[float] = []
    with linked_sleep(clock):
        timer = threading.Timer(30, lambda: seen.append(clock.passed_s))
        timer.start()
        time.sleep(31)
        assert seen == [30]
        timer.join()


# ---- event loops --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_tasks_wake_up_in_the_order_of_time(
    clock: FakeClock, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    seen: list[tuple[str, float]] = []

    async def poll(name: str, step: float, count: int) -> str:
        for _ in range(count):
            assert await asyncio.sleep(step, "slept") == "slept"
            await asyncio.sleep(0)
            seen.append((name, clock.passed_s))
        return name

    async def main() -> list[str]:
        async with asyncio.TaskGroup() as group:
            group.create_task(poll("d", 4, 1))
            return await asyncio.gather(poll("a", 3, 3), poll("b", 5, 2), poll("c", 3, 1))

    with linked_sleep(clock), asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(main()) == ["a", "b", "c"]
    assert seen == [("a", 3), ("c", 3), ("d", 4), ("b", 5), ("a", 6), ("a", 9), ("b", 10)]


def test_an_hour_of_polls_of_tasks_takes_less_than_five_seconds(clock: FakeClock) -> None:
    async def poll(step: float) -> None:
        for _ in range(int(3600 / step)):
            await asyncio.sleep(step)

    async def main() -> None:
        await asyncio.wait_for(asyncio.gather(poll(5), poll(20)), 20)

    began = real_monotonic()
    with linked_sleep(clock):
        asyncio.run(main())
    assert clock.passed_s == 3600
    assert real_monotonic() - began < 5


def test_a_task_that_waits_for_something_real_holds_the_clock_for_a_while_only(clock: FakeClock) -> None:
    async def main() -> float:
        answer = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(0.4 * GRACE_S, answer.set_result, None)

        async def ask() -> float:
            await answer
            return clock.passed_s

        asked = asyncio.create_task(ask())
        await asyncio.sleep(5)
        never = asyncio.create_task(asyncio.Event().wait())
        await asyncio.sleep(5)
        never.cancel()
        return await asked

    with linked_sleep(clock):
        assert asyncio.run(main()) == 0
    assert clock.moves == [5_000, 10_000]


def test_the_sleep_of_anyio_is_reached_when_it_is_followed(clock: FakeClock) -> None:
    with linked_sleep(clock, follow=["anyio"]):
        anyio.run(anyio.sleep, 3600)
    assert clock.moves == [3_600_000]


def test_a_sleep_that_is_cancelled_moves_nothing(clock: FakeClock) -> None:
    async def main() -> None:
        long = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.sleep(5)
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
        await asyncio.sleep(5)

    with linked_sleep(clock):
        asyncio.run(main())
    assert clock.moves == [5_000, 10_000]


def test_loops_and_threads_share_one_time(clock: FakeClock) -> None:
    seen: list[tuple[str, float]] = []

    async def tasks(name: str, *steps: float) -> None:
        for step in steps:
            await asyncio.sleep(step)
            seen.append((name, clock.passed_s))
        await asyncio.to_thread(time.sleep, 100)

    def loop(name: str, *steps: float) -> None:
        asyncio.run(tasks(name, *steps))

    with linked_sleep(clock):
        threads = [in_thread(lambda: loop("a", 3, 3)), in_thread(lambda: loop("b", 4, 1))]
        for _ in range(2):
            time.sleep(7)
            seen.append(("main", clock.passed_s))
        for thread in threads:
            thread.join()
    assert seen == [("a", 3), ("b", 4), ("b", 5), ("a", 6), ("main", 7), ("main", 14)]
    assert clock.passed_s == 106


def test_a_blocking_sleep_blocks_the_tasks_beside_it(clock: FakeClock) -> None:
    seen: list[float] = []

    async def main() -> None:
        async def tick() -> None:
            await asyncio.sleep(1)
            seen.append(clock.passed_s)

        task = asyncio.create_task(tick())
        await asyncio.sleep(0)
        time.sleep(10)
        await task

    with linked_sleep(clock):
        asyncio.run(main())
    assert seen == [10]


def test_timeouts_of_a_loop_are_real(clock: FakeClock) -> None:
    async def main() -> None:
        async with asyncio.timeout(10):
            await asyncio.sleep(3600)

    with linked_sleep(clock):
        asyncio.run(main())
    assert clock.passed_s == 3600


# ---- whose waiting ------------------------------------------------------------------------------------------------


def test_threads_that_began_before_the_block_live_in_real_time_with_all_they_start(clock: FakeClock) -> None:
    begin, end = threading.Event(), threading.Event()
    took: list[float] = []

    def rest() -> None:
        began = real_monotonic()
        time.sleep(0.05)
        threading.Event().wait(0.05)
        asyncio.run(asyncio.sleep(0.05))
        took.append(real_monotonic() - began)

    def serve() -> None:
        begin.wait()
        rest()
        in_thread(rest).join()
        end.set()

    in_thread(serve)
    with linked_sleep(clock):
        begin.set()
        end.wait()
        assert clock.moves == []
    assert min(took) >= 0.15
    assert len(took) == 2


def test_a_thread_that_began_before_can_be_a_client(clock: FakeClock) -> None:
    loop = asyncio.new_event_loop()
    thread = in_thread(loop.run_forever)
    with linked_sleep(clock, threads=[thread]):
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(30, "slept"), loop)
        assert future.result(timeout=60) == "slept"
        assert clock.moves == [30_000]
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def test_what_is_unlinked_waits_in_real_time(clock: FakeClock) -> None:
    async def main() -> float:
        with unlinked():
            task = asyncio.create_task(asyncio.sleep(0.03))
        began = real_monotonic()
        await task
        return real_monotonic() - began

    with linked_sleep(clock):
        with unlinked():
            began = real_monotonic()
            time.sleep(0.03)
            assert real_monotonic() - began >= 0.03
            thread = in_thread(lambda: time.sleep(0.03))
        thread.join()
        assert asyncio.run(main()) >= 0.03
        assert clock.moves == []
        time.sleep(1)
    assert clock.moves == [1_000]


def test_a_clock_that_somebody_else_moves_wakes_sleepers(clock: FakeClock) -> None:
    woken = threading.Lock()
    woken.acquire()
    seen: list[float] = []

    def work() -> None:
        time.sleep(60)
        seen.append(clock.passed_s)
        woken.release()

    with linked_sleep(clock):
        in_thread(work)
        until = real_monotonic() + GRACE_S
        while real_monotonic() < until:
            pass
        clock.move_from_outside(90_000)
        while not woken.acquire(blocking=False):
            pass
    assert seen == [90]
    assert clock.moves == []


# ---- modules that are followed ------------------------------------------------------------------------------------------

CLIENT = """
import asyncio, time
from asyncio import sleep as async_sleep
from time import monotonic, perf_counter as count, sleep, time_ns

def tell():
    return time.time(), time.monotonic(), time.perf_counter(), time_ns(), time.monotonic_ns(), monotonic(), count()

def rest():
    sleep(30)
    asyncio.run(async_sleep(30))

def give_up_after(seconds):
    deadline, count = monotonic() + seconds, 0
    while monotonic() < deadline:
        sleep(5)
        count += 1
    return count
"""


@pytest.fixture
def client() -> Iterator[Any]:
    """A client's package of two modules."""
    package = ModuleType("the_client")
    module = ModuleType("the_client.poller")
    exec(CLIENT, vars(module))
    sys.modules.update({package.__name__: package, module.__name__: module})
    yield module
    del sys.modules[package.__name__], sys.modules[module.__name__]


def test_followed_modules_read_virtual_time_and_sleep_by_any_name(clock: FakeClock, client: Any) -> None:
    names = dict(vars(client))
    real = client.tell()
    with linked_sleep(clock, follow=["the_client"]):
        before = client.tell()
        client.rest()
        after = client.tell()
        assert client.give_up_after(60) == 12
        assert time.time() < START_MS / 1000, "others read real time"
    assert clock.passed_s == 120
    assert before[0] == START_MS / 1000
    assert before[3] == START_MS * 1_000_000
    assert before[1] < before[5] < before[1] + 0.001
    assert [pytest.approx(60)] * 3 == [after[place] - before[place] for place in (0, 1, 2)]
    assert after[3] - before[3] == 60_000_000_000
    assert after[4] - before[4] == pytest.approx(60_000_000_000)
    # What was read before the block can still be compared.
    assert 0 <= before[1] - real[1] < 5
    assert vars(client) == names


@pytest.mark.parametrize("form", ["module", "name", "text"])
def test_modules_are_followed_by_value_or_by_name(clock: FakeClock, client: Any, form: str) -> None:
    follow: Any = {"module": [client], "name": ["the_client.poller"], "text": "the_client"}[form]
    with linked_sleep(clock, follow=follow):
        client.rest()
    assert clock.passed_s == 60


def test_modules_that_are_not_imported_cannot_be_followed(clock: FakeClock) -> None:
    with (
        pytest.raises(ValueError, match=r"'the_clien'.*not imported"),
        linked_sleep(clock, follow=["the_clien"]),
    ):
        pass
    with linked_sleep(clock):
        pass


def test_a_name_that_was_imported_inside_is_real_afterwards(clock: FakeClock) -> None:
    inside = ModuleType("inside")
    with linked_sleep(clock):
        exec(CLIENT, vars(inside))
        inside.sleep(30)
    assert clock.passed_s == 30
    began = real_monotonic()
    inside.sleep(0.02)
    assert real_monotonic() - began >= 0.02
    assert abs(inside.time_ns() - time.time_ns()) < 10**9
    assert clock.passed_s == 30


# ---- the end ------------------------------------------------------------------------------------------------------


def everything_patched() -> dict[str, object]:
    owners = [time, asyncio, asyncio.tasks, threading, queue, concurrent.futures._base]
    classes = [threading.Condition, threading.Thread, threading.Event, queue.Queue]
    return {
        f"{owner.__name__}.{name}": value
        for owner in [*owners, *classes]
        for name, value in [*vars(owner).items()]
    }


def test_everything_is_as_it_was_after_the_block_even_after_an_error(clock: FakeClock) -> None:
    before, threads = everything_patched(), threading.enumerate()

    def fail() -> None:
        with linked_sleep(clock):
            assert time.sleep is not real_sleep
            assert everything_patched() != before
            time.sleep(1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert everything_patched() == before
    assert threading.enumerate() == threads


def test_a_clock_that_does_not_answer_leaves_nothing_behind(clock: FakeClock) -> None:
    def refuse() -> int:
        raise ConnectionError("no server")

    before, threads = everything_patched(), threading.enumerate()
    clock.now_ms = refuse  # type: ignore[method-assign]
    with pytest.raises(ConnectionError), linked_sleep(clock):
        pass
    del clock.now_ms
    assert everything_patched() == before
    assert threading.enumerate() == threads
    with linked_sleep(clock):
        time.sleep(1)


def test_a_block_in_a_block_is_refused_and_the_outer_one_goes_on(clock: FakeClock) -> None:
    before = everything_patched()
    with linked_sleep(clock):
        with pytest.raises(RuntimeError, match="already"), linked_sleep(FakeClock()):
            pass
        time.sleep(5)
    assert clock.moves == [5_000]
    assert everything_patched() == before


def functions_that_run() -> set[str]:
    """The names of all functions that some thread is in."""
    return {
        frame.f_code.co_name
        for top in sys._current_frames().values()
        for frame, _ in traceback.walk_stack(top)
    }


def test_who_is_still_asleep_at_the_end_is_woken(clock: FakeClock) -> None:
    results: list[object] = []
    with linked_sleep(clock):
        threads = [
            in_thread(lambda: results.append(time.sleep(3600))),
            in_thread(lambda: results.append(threading.Event().wait(3600))),
            in_thread(lambda: results.append(asyncio.run(asyncio.sleep(3600, "slept")))),
        ]
        asleep = {"_linked_sleep", "_linked_wait", "select"}
        # An event loop looks at its files for a moment before its task is asleep, too. Who computes holds the clock meanwhile.
        since = real_monotonic()
        while real_monotonic() - since < 0.1:
            if not asleep <= functions_that_run():
                since = real_monotonic()
    for thread in threads:
        thread.join(timeout=5)
        assert not thread.is_alive()
    assert sorted(map(str, results)) == ["False", "None", "slept"]
    assert clock.moves == []


def test_who_waits_for_another_thread_at_the_end_still_waits(clock: FakeClock) -> None:
    event = threading.Event()
    results: list[bool] = []
    with linked_sleep(clock):
        thread = in_thread(lambda: results.append(event.wait()))
        time.sleep(5)
    assert thread.is_alive()
    event.set()
    thread.join()
    assert results == [True]


# ---- clients of HTTP --------------------------------------------------------------------------------------------------


class _TiredServer(BaseHTTPRequestHandler):
    """Answers 503 twice, then 200; it takes its time, which is real."""

    calls = 0

    def do_GET(self) -> None:
        time.sleep(0.002)
        type(self).calls += 1
        self.send_response(200 if self.calls % 3 == 0 else 503)
        self.send_header("Content-Length", "0")
        if self.path == "/wait":
            self.send_header("Retry-After", "30")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class calls it so
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _TiredServer)
    server.daemon_threads = True
    thread = in_thread(lambda: server.serve_forever(poll_interval=0.01))
    _TiredServer.calls = 0
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_backoff_of_urllib3_and_requests_is_virtual(clock: FakeClock, url: str) -> None:
    retries = urllib3.Retry(5, backoff_factor=10, status_forcelist=[503])
    with linked_sleep(clock):
        with urllib3.PoolManager() as pool:
            assert pool.request("GET", url, retries=retries).status == 200
        assert clock.moves == [20_000]
        with requests.Session() as session:
            session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
            assert session.get(f"{url}/wait").status_code == 200
    assert clock.moves == [20_000, 50_000, 80_000]


def test_a_loop_that_tries_again_is_virtual(clock: FakeClock, url: str) -> None:
    with linked_sleep(clock), httpx.Client() as client:
        for attempt in range(10):
            if client.get(url).status_code == 200:
                break
            time.sleep(2**attempt)
    assert clock.moves == [1_000, 3_000]


@pytest.mark.usefixtures("patience")
def test_tasks_ask_between_their_sleeps_and_time_waits_for_the_answers(clock: FakeClock, url: str) -> None:
    asked: list[tuple[int, float]] = []

    async def poll(client: httpx.AsyncClient, number: int) -> None:
        for _ in range(5):
            await asyncio.sleep(5)
            at = clock.passed_s
            await client.get(url)
            assert clock.passed_s == at
            asked.append((number, at))

    async def main() -> None:
        async with httpx.AsyncClient() as client:
            await asyncio.gather(*(poll(client, number) for number in range(10)))

    with linked_sleep(clock):
        asyncio.run(main())
    assert asked == [(number, at) for at in (5, 10, 15, 20, 25) for number in range(10)]
    assert clock.moves == [5_000, 10_000, 15_000, 20_000, 25_000]


@pytest.mark.usefixtures("patience")
def test_threads_ask_between_their_sleeps_and_time_waits_for_the_answers(clock: FakeClock, url: str) -> None:
    asked: list[tuple[int, float]] = []

    def poll(number: int) -> None:
        for _ in range(5):
            time.sleep(5)
            at = clock.passed_s
            requests.get(url, timeout=5)
            assert clock.passed_s == at
            asked.append((number, at))

    with linked_sleep(clock), concurrent.futures.ThreadPoolExecutor(5) as pool:
        for future in [pool.submit(poll, number) for number in range(5)]:
            future.result()
    assert clock.moves == [5_000, 10_000, 15_000, 20_000, 25_000]
    rounds = [asked[place : place + 5] for place in range(0, 25, 5)]
    assert [{at for _, at in round_} for round_ in rounds] == [{5}, {10}, {15}, {20}, {25}]
    assert [[number for number, _ in round_] for round_ in rounds[1:]] == [[n for n, _ in rounds[0]]] * 4


# ---- a real server ----------------------------------------------------------------------------------------------------

HOUR = """
jobs:
  - script: [queued: 10m, running: 50m, succeeded]
"""


class WorldClock:
    """The clock of a server's default world, by HTTP."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=f"{url}/__admin/worlds/default/clock")

    def now_ms(self) -> int:
        now = datetime.fromisoformat(self._http.get("").json()["now"])
        return (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    def advance_to(self, to_ms: int) -> None:
        to = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=to_ms)
        self._http.post("/advance", json={"to": to.isoformat()}).raise_for_status()

    def close(self) -> None:
        self._http.close()


@pytest.fixture(params=["in this process", "in another one"])
def understudy_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A server whose time is frozen."""
    if request.param == "in this process":
        settings = Settings(apis=("ogc",), scenario=HOUR, time=TimeMode.parse("frozen"))
        background = Background(assemble(settings), listen("127.0.0.1", 0))
        background.start()
        yield background.url
        background.stop()
    else:
        scenario = tmp_path / "hour.yaml"
        scenario.write_text(HOUR)
        with serving("ogc", "--scenario", str(scenario), "--time", "frozen") as running:
            yield running.url


@pytest.fixture
def world_clock(understudy_url: str) -> Iterator[WorldClock]:
    world_clock = WorldClock(understudy_url)
    yield world_clock
    world_clock.close()


EXECUTION: dict[str, Any] = {"json": {"inputs": {"message": "hello"}}, "headers": {"Prefer": "respond-async"}}


def test_a_client_waits_an_hour_for_its_job(understudy_url: str, world_clock: WorldClock) -> None:
    polls = 0
    with linked_sleep(world_clock), requests.Session() as session:
        job = session.post(f"{understudy_url}/ogc/processes/echo/execution", **EXECUTION).json()
        while session.get(f"{understudy_url}/ogc/jobs/{job['jobID']}").json()["status"] != "successful":
            time.sleep(5)
            polls += 1
    assert polls == 720
    assert world_clock.now_ms() == START_MS + 3_600_000


def test_tasks_of_a_client_wait_an_hour_for_their_jobs(understudy_url: str, world_clock: WorldClock) -> None:
    async def run(client: httpx.AsyncClient, step: float) -> int:
        job = (await client.post("/processes/echo/execution", **EXECUTION)).json()
        polls = 0
        while (await client.get(f"/jobs/{job['jobID']}")).json()["status"] != "successful":
            await asyncio.sleep(step)
            polls += 1
        return polls

    async def main() -> list[int]:
        async with httpx.AsyncClient(base_url=f"{understudy_url}/ogc") as client:
            return await asyncio.gather(*(run(client, step) for step in (30, 60, 100)))

    with linked_sleep(world_clock):
        assert asyncio.run(main()) == [120, 60, 36]
    assert world_clock.now_ms() == START_MS + 3_600_000
