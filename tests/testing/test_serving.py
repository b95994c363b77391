from __future__ import annotations

import asyncio
import threading
from urllib.error import URLError

import pytest

from simulator.testing import ControlError, ServerUnreachable, server
from tests.running import serving
from tests.testing.ogc import ask, submit


def test_a_block_has_a_server_and_its_world_and_nothing_stays() -> None:
    before = set(threading.enumerate())
    with server("ogc", scenario="fails-halfway", seed=3, time="frozen", strict=True) as understudy:
        url = understudy.url("ogc")
        submit(url)
        assert understudy.advance("1h")["events"][-1]["state"] == "failed"
        assert understudy.facts()["seed"] == 3
    with pytest.raises((URLError, ConnectionError)):
        ask(f"{url}/jobs")
    assert set(threading.enumerate()) <= before


def test_the_same_seed_gives_the_same_ids_in_each_block() -> None:
    jobs = []
    for _ in range(2):
        with server("ogc", seed=5) as understudy:
            jobs.append(submit(understudy.url("ogc")))
    assert jobs[0] == jobs[1]


def test_time_lives_by_polls_unless_something_else_is_said() -> None:
    with server("ogc") as understudy:
        url, job = understudy.url("ogc"), submit(understudy.url("ogc"))
        words = [ask(f"{url}/jobs/{job}")["status"] for _ in range(5)]
    assert words[0] == "accepted"
    assert words[-1] == "successful"


def test_a_block_of_an_event_loop_has_methods_that_are_awaited() -> None:
    async def converse() -> str:
        async with server("ogc", time="frozen") as understudy:
            job = await asyncio.to_thread(submit, understudy.url("ogc"))
            await understudy.advance("1h")
            return (await understudy.job(job))["state"]

    assert asyncio.run(converse()) == "succeeded"


def test_a_running_server_is_used_and_left_as_it_was() -> None:
    with serving("ogc", "--time", "frozen") as running:
        with server(url=running.url, scenario="fails-halfway") as understudy:
            submit(understudy.url("ogc"))
            name = understudy.name
            assert [world["name"] for world in understudy.control.worlds()] == ["default", name]
        with server(url=running.url) as other:
            assert other.name != name
            assert [world["name"] for world in other.control.worlds()] == ["default", other.name]


def test_a_scenario_that_is_not_there_is_told_and_nothing_stays() -> None:
    before = set(threading.enumerate())
    with pytest.raises(ControlError, match="no scenario 'hapy'"), server("ogc", scenario="hapy"):
        pass
    assert set(threading.enumerate()) <= before


def test_a_server_that_is_not_there_is_told() -> None:
    with pytest.raises(ServerUnreachable, match="understudy serve"), server(url="http://127.0.0.1:9"):
        pass
