from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from simulator.testing import AsyncUnderstudy, ControlError, Server, Understudy
from tests.testing.ogc import state, submit

FAILS = "jobs:\n  - script: [queued: 1s, running: 1h, failed: Disk full]\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(["ogc", "titan"], time="frozen", strict=True) as running:
        yield running


@pytest.fixture
def world(server: Server) -> Iterator[Understudy]:
    made = server.world()
    yield made
    made.close()


def test_a_client_is_given_the_base_url_of_its_api(world: Understudy) -> None:
    assert world.url("titan") == f"{world.control.url}/worlds/{world.name}/titan/v1"
    assert state(world.url("ogc"), submit(world.url("ogc"))) == "accepted"


def test_an_api_that_is_not_served_is_named_with_those_that_are(world: Understudy) -> None:
    with pytest.raises(ValueError, match="no API 'ica' here; there are: ogc, titan"):
        world.url("ica")


def test_a_client_that_knows_only_the_server_is_led_here_by_a_header(world: Understudy) -> None:
    submit(f"{world.control.url}/ogc", **world.headers)
    assert len(world.jobs()) == 1


def test_worlds_do_not_see_each_other(server: Server) -> None:
    one, other = server.world(), server.world()
    submit(one.url("ogc"))
    one.advance("1h")
    assert (len(one.jobs()), len(other.jobs())) == (1, 0)
    assert one.now - other.now == timedelta(hours=1)


@pytest.mark.parametrize("wait", ["1m", 60, timedelta(minutes=1)])
def test_time_is_moved_by_durations_of_all_kinds(world: Understudy, wait: str | float | timedelta) -> None:
    submit(world.url("ogc"))
    events = world.advance(wait)["events"]
    assert [event["state"] for event in events] == ["running", "succeeded"]
    assert world.now == datetime(2030, 1, 1, 0, 1, tzinfo=UTC)


def test_time_is_moved_to_an_instant_to_events_and_until_idle(world: Understudy) -> None:
    submit(world.url("ogc"))
    assert len(world.advance(next=1)["events"]) == 1
    assert len(world.advance(until_idle=True, limit="1h")["events"]) == 1
    world.advance(to=datetime(2031, 1, 1, tzinfo=UTC))
    assert world.now.year == 2031
    with pytest.raises(ControlError, match="time does not go back"):
        world.advance(to="2030-06-01T00:00:00Z")


def test_a_scenario_is_given_by_name_text_mapping_or_file(world: Understudy, tmp_path: Path) -> None:
    file = tmp_path / "fails.yaml"
    file.write_text(FAILS)
    mapping = {"jobs": [{"script": [{"queued": "1s"}, {"running": "1h"}, {"failed": "Disk full"}]}]}
    for scenario in ("fail-not-found", FAILS, mapping, file):
        job = submit(world.use(scenario).url("ogc"))
        world.advance("2h")
        assert world.job(job)["state"] == "failed"


def test_a_broken_scenario_is_refused_with_its_places(world: Understudy) -> None:
    with pytest.raises(ControlError, match="inline:2:14") as refusal:
        world.use("jobs:\n  - script: [walking: 1s]\n")
    assert refusal.value.status == 400


def test_what_was_said_of_seed_and_time_stays_when_the_scenario_changes(server: Server) -> None:
    world = server.world(seed=9, time="poll").use("slow")
    assert (world.facts()["seed"], world.time) == (9, "poll")
    world.time = "60x"
    assert world.time == "60x"


def test_reset_begins_anew_with_the_same_ids(world: Understudy) -> None:
    first = submit(world.url("ogc"))
    assert submit(world.reset().url("ogc")) == first


def test_jobs_are_found_by_their_id_alone(world: Understudy) -> None:
    job = submit(world.url("ogc"))
    assert world.job(job)["api"] == "ogc"
    with pytest.raises(LookupError, match=f"there is no job 'nope'.*{job} \\(ogc\\)"):
        world.job("nope")


def test_a_job_is_held_released_stepped_and_forced(world: Understudy) -> None:
    job = submit(world.url("ogc"))
    assert world.hold(job)["held"]
    world.advance("1h")
    assert state(world.url("ogc"), job) == "accepted"
    assert not world.release(job)["held"]
    assert world.step(job)["state"] == "running"
    forced = world.force(job, "failed", error={"code": "oom", "message": "Killed"})
    assert (forced["state"], forced["error"]["code"]) == ("failed", "oom")
    assert [job["id"] for job in world.jobs(api="ogc", state="failed")] == [job]


def test_calls_are_found_by_what_they_are(world: Understudy) -> None:
    job = submit(world.url("ogc"))
    state(world.url("ogc"), job)
    assert [call.role for call in world.calls()] == ["submit", "status"]
    assert [call.job for call in world.calls(role="status")] == [job]
    with pytest.raises(TypeError, match="not found by rolle, but by api, operation, role"):
        world.calls(rolle="status")


def test_linked_sleep_moves_this_world_and_then_gives_its_clock_back(server: Server) -> None:
    world = server.world(FAILS, time="poll")
    job = submit(world.url("ogc"))
    began = time.monotonic()
    with world.linked_sleep():
        assert world.time == "frozen"
        while state(world.url("ogc"), job) != "failed":
            time.sleep(60)
    assert world.time == "poll"
    assert world.now - datetime(2030, 1, 1, tzinfo=UTC) >= timedelta(hours=1)
    assert time.monotonic() - began < 1800
    assert 60 < len(world.calls(role="status")) < 64


def test_a_world_may_be_used_from_an_event_loop(server: Server) -> None:
    async def converse() -> list[str]:
        world = AsyncUnderstudy(server.world())
        job = await asyncio.to_thread(submit, world.url("ogc"))
        events = (await world.advance("1h"))["events"]
        assert (await world.job(job))["state"] == "succeeded"
        assert len(await world.calls()) == 1
        return [event["state"] for event in events]

    assert asyncio.run(converse()) == ["running", "succeeded"]
