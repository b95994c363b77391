"""An hour in seconds, over real HTTP, from a client that knows nothing of us: its status calls move the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.kit import Kit
from tests.running import serving
from tests.worlds.speech import SPEECHES, Speech
from tests.worlds.wire import Client, Wired

HOUR = """
workers: {titan: unlimited, jbpm: unlimited}
jobs: [{script: [{running: 1h, progress: 0..100}, succeeded]}]
"""
POLLS_MAX = 2_000
GENEROUS_S = 60
"""Nobody is measured here; but whoever waits for real time waits an hour."""

Play = Callable[[Client, str], Awaitable[Any]]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server where polls move the clocks of all worlds."""
    with serving("--time", "poll", "--strict") as server:
        yield server.url


def played(url: str, world: str, play: Play, scenario: str = HOUR) -> Any:
    """Make a world and play in it; what the play gives back."""

    async def all_of_it() -> Any:
        client = await Wired.to(url)
        try:
            made = await client.ask("PUT", f"/__admin/worlds/{world}", {"scenario": scenario})
            assert made.status in (200, 201), made
            return await play(client, f"/worlds/{world}")
        finally:
            client.close()

    began = time.monotonic()
    result = asyncio.run(all_of_it())
    seconds = time.monotonic() - began
    print(f"{world}: {seconds:.2f} s")
    assert seconds < GENEROUS_S
    return result


async def watch(client: Client, speech: Speech, world: str, jobs: list[str]) -> int:
    """Ask for all the jobs round after round, as long as one is unfinished and as its reply advises; how many rounds there were."""
    rounds, left = 0, list(jobs)
    while left:
        rounds += 1
        assert rounds < POLLS_MAX
        answers = [(job, await speech.status(client, world, job)) for job in left]
        left = [job for job, said in answers if not speech.is_finished(said)]
        for job, said in answers:
            advised = said.header("retry-after")
            assert advised == ("0" if job in left else None)
        await asyncio.sleep(0)
    return rounds


async def lasted(client: Client, world: str, api: str, job: str) -> timedelta:
    """From the start to the finish of a job, by its timestamps."""
    said = await client.ask("GET", f"/__admin{world}/jobs/{api}/{job}")
    view = said.json()
    return datetime.fromisoformat(view["finished"]) - datetime.fromisoformat(view["started"])


async def passed(client: Client, world: str) -> timedelta:
    """How far a world's clock has come."""
    said = await client.ask("GET", f"/__admin{world}/clock")
    return datetime.fromisoformat(said.json()["now"]) - datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("api", SPEECHES)
def test_an_hour_is_watched_in_some_720_polls(url: str, api: str) -> None:
    speech = SPEECHES[api]

    async def play(client: Client, world: str) -> None:
        job = await speech.submit(client, world)
        assert 715 <= await watch(client, speech, world, [job]) <= 725
        assert await lasted(client, world, api, job) == timedelta(hours=1)

    played(url, f"one-{api}", play)


@pytest.mark.parametrize("api", ["synapse", "titan"])
def test_who_watches_ten_jobs_needs_as_many_rounds_as_who_watches_one(url: str, api: str) -> None:
    speech = SPEECHES[api]

    async def play(client: Client, world: str) -> None:
        jobs = [await speech.submit(client, world, number) for number in range(10)]
        assert 715 <= await watch(client, speech, world, jobs) <= 725
        assert {await lasted(client, world, api, job) for job in jobs} == {timedelta(hours=1)}
        assert await passed(client, world) == timedelta(hours=1)

    played(url, f"ten-{api}", play)


def test_two_watchers_of_one_job_share_its_polls(url: str) -> None:
    speech = SPEECHES["ica"]

    async def play(client: Client, world: str) -> None:
        job = await speech.submit(client, world)
        other = await Wired.to(url)
        both = await asyncio.gather(watch(client, speech, world, [job]), watch(other, speech, world, [job]))
        other.close()
        assert 715 <= sum(both) <= 725
        assert await lasted(client, world, "ica", job) == timedelta(hours=1)

    played(url, "two-watchers", play)


def test_watchers_of_jobs_of_different_apis_share_one_clock(url: str) -> None:
    async def play(client: Client, world: str) -> None:
        jobs = {api: await speech.submit(client, world) for api, speech in SPEECHES.items()}
        rounds = 0
        finished = False
        while not finished:
            rounds += 1
            assert rounds < POLLS_MAX
            answers = [
                (SPEECHES[api], await SPEECHES[api].status(client, world, job)) for api, job in jobs.items()
            ]
            finished = all(speech.is_finished(said) for speech, said in answers)
        assert 715 <= rounds <= 725
        for api, job in jobs.items():
            assert await lasted(client, world, api, job) == timedelta(hours=1)

    played(url, "five-apis", play)


@pytest.mark.parametrize("api", [api for api, speech in SPEECHES.items() if speech.list_path])
def test_lists_between_the_polls_move_nothing(url: str, api: str) -> None:
    speech = SPEECHES[api]

    async def play(client: Client, world: str) -> None:
        job = await speech.submit(client, world)
        polls = 0
        while True:
            before = await passed(client, world)
            assert (await speech.page(client, world)).status == 200
            assert await passed(client, world) == before
            polls += 1
            assert polls < POLLS_MAX
            if speech.is_finished(await speech.status(client, world, job)):
                break
        assert 715 <= polls <= 725
        assert await lasted(client, world, api, job) == timedelta(hours=1)

    played(url, f"list-{api}", play)


def test_clocks_of_other_worlds_stand_still(url: str) -> None:
    speech = SPEECHES["titan"]

    async def play(client: Client, world: str) -> None:
        still = "/worlds/still"
        await client.ask("PUT", f"/__admin{still}", {"scenario": HOUR})
        waiting = await speech.submit(client, still)
        await speech.status(client, still, waiting)
        job = await speech.submit(client, world)
        await watch(client, speech, world, [job])
        assert await passed(client, world) == timedelta(hours=1)
        assert await passed(client, still) == timedelta(0)
        assert not speech.is_finished(await speech.status(client, still, waiting))
        assert await passed(client, still) == timedelta(seconds=5)

    played(url, "moving", play)


def test_a_job_that_fails_late_is_met_as_late(url: str) -> None:
    speech = SPEECHES["synapse"]
    scenario = "jobs: [{script: [queued: 10m, running: 50m, {failed: {error: {code: a, message: b}}}]}]\n"

    async def play(client: Client, world: str) -> None:
        job = await speech.submit(client, world)
        assert 715 <= await watch(client, speech, world, [job]) <= 725
        assert (await speech.status(client, world, job)).json()["jobState"] == "FAILED"
        assert await lasted(client, world, "synapse", job) == timedelta(minutes=50)

    played(url, "late", play, scenario)


@pytest.mark.parametrize(
    ("options", "polls"),
    [
        (("--poll-step", "1m"), 60),
        (("--poll-step", "45m"), 2),
        (("--retry-after", "10s"), 360),
        # What a client is told comes before what nobody told it.
        (("--poll-step", "1s", "--retry-after", "20s"), 180),
    ],
)
def test_the_step_of_a_poll_is_what_the_server_was_told(options: tuple[str, ...], polls: int) -> None:
    speech = SPEECHES["ogc"]

    async def play(client: Client, world: str) -> None:
        job = await speech.submit(client, world)
        # The first poll finds the job where it was submitted; each other one comes a step later.
        assert await watch(client, speech, world, [job]) == polls + 1

    with serving("ogc", "--time", "poll", *options) as server:
        played(server.url, "stepping", play)


def test_steps_of_another_length_lead_to_the_same_end() -> None:
    kit = Kit(HOUR, apis=("ogc",), time="poll", poll_step_ms=7_000)

    async def play() -> dict[str, Any]:
        said = await kit.ask(
            "POST",
            "/ogc/processes/echo/execution",
            json={"inputs": {"message": "m"}},
            headers={"Prefer": "respond-async"},
        )
        path = f"/ogc/jobs/{said.json()['jobID']}"
        while (answer := await kit.ask("GET", path)).json()["status"] == "running":
            pass
        status: dict[str, Any] = answer.json()
        return status

    # 515 steps of seven seconds; the job ended five seconds before the clock stood still.
    assert asyncio.run(play())["finished"] == "2030-01-01T01:00:00.000Z"
    assert kit.world.now_ms - kit.world.start_ms == 515 * 7_000
