"""Many worlds on one server at the same time: each tells the story that it tells alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from simulator.assemble import Settings, assemble, load_apis, load_scenario, make_front, read_wish
from simulator.engine.world import Limits
from simulator.resources import shipped_scenarios
from simulator.runtime.timesource import TimeMode, wall_clock
from simulator.runtime.worlds import Worlds
from simulator.web.front import Front
from simulator.web.ledger import Ledger
from tests.running import serving
from tests.worlds.conversations import CONVERSATIONS, Conversation, converse, logged
from tests.worlds.speech import SPEECHES
from tests.worlds.wire import Client, Said, Straight, Wired

WORLDS = 200
START = "2030-01-01T00:00:00.000Z"

Story = tuple[list[Said], bytes]
"""What was answered, and the call log as bytes."""


def conversation_of(number: int) -> Conversation:
    return CONVERSATIONS[number % len(CONVERSATIONS)]


def world_of(number: int) -> str:
    return f"w-{number:03d}-{conversation_of(number).name}"


async def told(client: Client, number: int) -> Story:
    """Hold the conversation of this number, and read its world's log."""
    name = world_of(number)
    said = await converse(client, conversation_of(number), name, number)
    return said, json.dumps(await logged(client, name), indent=1).encode()


async def told_over(url: str, number: int) -> Story:
    client = await Wired.to(url)
    try:
        return await told(client, number)
    finally:
        client.close()


@pytest.fixture(scope="module")
def crowd() -> Iterator[tuple[str, list[Story]]]:
    """A server where all the conversations were held at once, each over its own connection, and what came of them."""
    with serving("--time", "frozen", "--strict") as server:

        async def all_at_once() -> list[Story]:
            return await asyncio.gather(*(told_over(server.url, number) for number in range(WORLDS)))

        yield server.url, asyncio.run(all_at_once())
        code, errors = server.stop()
    assert code == 0
    assert "ERROR" not in errors, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def fresh_server() -> Callable[[], Front]:
    """Makes servers of this process that nobody has used; what is compiled of the documents is compiled once."""
    services = assemble(Settings(strict=True)).services
    apis = load_apis()
    shipped = {name: load_scenario(name, apis) for name in shipped_scenarios()}

    def fresh() -> Front:
        worlds = Worlds(
            rules={name: api.rules for name, api in apis.items()},
            scenario=shipped["happy"],
            seed=1,
            mode=TimeMode(0),
            limits=Limits(),
            timesource=wall_clock,
        )
        read = partial(read_wish, shipped=shipped, apis=apis)
        return make_front(worlds, services, Ledger(), read, strict=True)

    return fresh


@pytest.mark.slow
def test_each_of_two_hundred_worlds_tells_the_story_that_it_tells_alone(
    crowd: tuple[str, list[Story]], fresh_server: Callable[[], Front]
) -> None:
    for number, (said, log) in enumerate(crowd[1]):
        alone, log_alone = asyncio.run(told(Straight(fresh_server()), number))
        assert log == log_alone, world_of(number)
        assert [(one.status, one.body) for one in said] == [(one.status, one.body) for one in alone]


@pytest.mark.slow
def test_a_server_process_of_its_own_tells_the_same_story_of_a_world(crowd: tuple[str, list[Story]]) -> None:
    def alone(number: int) -> Story:
        with serving("--time", "frozen", "--strict") as server:
            return asyncio.run(told_over(server.url, number))

    # One of each conversation, and not the first worlds that were made.
    numbers = range(WORLDS - len(CONVERSATIONS), WORLDS)
    with ThreadPoolExecutor(4) as starters:
        for number, story in zip(numbers, starters.map(alone, numbers), strict=True):
            assert story == crowd[1][number], world_of(number)


def test_the_conversations_meet_what_they_are_meant_to(crowd: tuple[str, list[Story]]) -> None:
    logs = [json.loads(log) for _, log in crowd[1]]
    calls = [call for log in logs for call in log]
    assert {call["api"] for call in calls} == set(SPEECHES)
    assert {200, 201, 204, 400, 401, 404, 405, 409, 500, 503} <= {call["status"] for call in calls}
    assert any("secret" in call["path"] for call in calls) is False
    assert any(call["violations"] for call in calls)
    assert any("chance" in call.get("cause", "") or "503" in call.get("cause", "") for call in calls)
    assert all(16 <= len(log) <= 100 for log in logs)
    # Other seeds, other stories: who compares equal ones compares nothing.
    stories = {log for number, (_, log) in enumerate(crowd[1]) if conversation_of(number).name == "jbpm"}
    assert len(stories) == WORLDS // len(CONVERSATIONS)


def test_numbers_counts_and_clocks_of_a_world_are_its_own(crowd: tuple[str, list[Story]]) -> None:
    url, stories = crowd
    worlds = {world["name"]: world for world in asyncio.run(_get(url, "/__admin/worlds"))["worlds"]}
    assert next(iter(worlds)) == "default"
    assert worlds.keys() == {"default", *map(world_of, range(WORLDS))}
    nobody = worlds["default"]
    assert (nobody["jobs"], nobody["calls"], nobody["time"]["now"]) == (0, 0, START)
    for number, (said, log) in enumerate(stories):
        world = worlds[world_of(number)]
        # What it said of itself at the end of its own conversation still holds now that all have ended.
        assert world == said[-1].json()
        calls = json.loads(log)
        assert [call["number"] for call in calls] == list(range(1, len(calls) + 1))
        assert world["calls"] == len(calls)
        assert all(f"/worlds/{world['name']}" in call["path"] or _is_by_header(call, world) for call in calls)


def test_worlds_of_one_seed_have_the_same_ids_and_each_knows_only_its_own_jobs() -> None:
    async def story(url: str) -> None:
        client = await Wired.to(url)
        for api, speech in SPEECHES.items():
            for name, seed in (("one", 5), ("same", 5), ("other", 6)):
                await client.ask("PUT", f"/__admin/worlds/{name}", {"seed": seed})
            first = [await speech.submit(client, "/worlds/one", number) for number in range(3)]
            other = [await speech.submit(client, "/worlds/other", number) for number in range(3)]
            assert [await speech.submit(client, "/worlds/same", number) for number in range(3)] == first
            if api != "jbpm":  # jBPM counts its jobs, whatever the seed.
                assert not set(first) & set(other)
                for job in other:
                    assert (await speech.status(client, "/worlds/one", job)).status in (400, 404)
            await client.ask("POST", "/__admin/worlds/one/clock/advance", {"by": "1h"})
            clocks = [
                (await _ask(client, f"/__admin/worlds/{name}/clock"))["now"] for name in ("same", "other")
            ]
            assert clocks == [START, START]
        client.close()

    with serving("--time", "frozen") as server:
        asyncio.run(story(server.url))


async def _get(url: str, path: str) -> Any:
    client = await Wired.to(url)
    try:
        return await _ask(client, path)
    finally:
        client.close()


async def _ask(client: Client, path: str) -> Any:
    return (await client.ask("GET", path)).json()


def _is_by_header(call: dict[str, Any], world: dict[str, Any]) -> bool:
    return ["x-understudy-world", world["name"]] in call["request"]["headers"]
