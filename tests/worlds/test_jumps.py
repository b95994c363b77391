"""How time is moved makes no difference: one jump of an hour, 3600 of a second, or any others, and the same things happen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kit import Kit
from tests.worlds.speech import SPEECHES
from tests.worlds.wire import Client, Straight

HOUR_MS = 3_600_000
ATTEMPTS = """
description: Several attempts, ranges, one or two workers, a hold that nobody releases, and cancels of three kinds.
workers: {titan: unlimited, synapse: 1, ica: 2}
jobs:
  - when: {number: 2}
    script: [queued: 3s, {running: hold}]
  - when: {number: 3}
    on_cancel: {after: 4s..9s}
    attempts:
      - [running: 2s..40s, {failed: {error: {code: locked, message: The table is locked.}}}, retrying: 5s..2m]
      - [running: 1m, succeeded]
  - on_cancel: ignored
    attempts:
      - [queued: 250ms, {running: 999ms}, {failed: {error: {code: one, message: first}}}]
      - [{running: 1s..3s}, {failed: {error: {code: two, message: second}}}]
      - [{running: 10m..20m, progress: 0..100}, succeeded]
"""
POLLS = """
description: Steps that end by polls, so that they end in no jump.
workers: {titan: unlimited}
jobs:
  - when: {number: 1..2}
    script: [queued: 2 polls, running: 5s, succeeded]
  - script: [queued: 1s, {running: 7s}, {failed: {error: {code: a, message: b}}}]
"""
SCENARIOS: dict[str, Any] = {
    **{
        name: name
        for name in (
            *("happy", "slow", "titan-self-running", "retry-chain", "retry-waiting", "retry-exhausted"),
            *("cancel-slow", "cancel-ignored", "queue-one-worker", "worker-dies", "never-finishes"),
        )
    },
    "attempts": ATTEMPTS,
    "polls": POLLS,
}
REFUSING = {"inProgressUri": "http://127.0.0.1:9/run", "successUri": "http://127.0.0.1:9/done"}
FORBIDDEN = {"failedUri": "http://example.org/no", "successUri": "http://example.org/hook"}

Steps = Sequence[dict[str, Any]]
Happened = tuple[list[dict[str, Any]], list[Any]]
"""The events in order, and how every job looks at the end."""


class Jumper:
    """A server of this process; each drive is a world of its own."""

    def __init__(self) -> None:
        self.kit = Kit()
        self.kit.front.callbacks.post = _refuse
        self._numbers = count()

    def drive(self, scenario: Any, steps: Steps) -> Happened:
        """Submit to all APIs, cancel and claim some, and move the clock by these steps."""
        return asyncio.run(self._drive(Straight(self.kit.front), scenario, steps))

    async def _drive(self, client: Client, scenario: Any, steps: Steps) -> Happened:
        name = f"drive-{next(self._numbers)}"
        world = f"/worlds/{name}"
        made = await client.ask("PUT", f"/__admin{world}", {"scenario": scenario, "seed": 3})
        assert made.status == 201, made
        events: list[dict[str, Any]] = []

        async def move(how: dict[str, Any]) -> None:
            said = await client.ask("POST", f"/__admin{world}/clock/advance", how)
            assert said.status == 200, said
            events.extend(said.json()["events"])

        jobs = await _begin(client, world)
        await move({"by": "1200ms"})
        for api, speech in SPEECHES.items():
            await speech.stop(client, world, jobs[api][0])
        await client.ask("GET", f"{world}/titan/v1/jobs/consume?n=1")
        events.clear()
        for step in steps:
            await move(step)
        views = [
            (await client.ask("GET", f"/__admin{world}/jobs/{api}/{job}")).json()
            for api, each in jobs.items()
            for job in each
        ]
        clock = (await client.ask("GET", f"/__admin{world}/clock")).json()
        await client.ask("DELETE", f"/__admin{world}")
        for view in views:
            # When a subscriber was told depends on when somebody moved the clock; what happened to the job does not.
            view["history"] = [move for move in view["history"] if not move["cause"].startswith("callback ")]
        return events, [*views, clock]


async def _begin(client: Client, world: str) -> dict[str, list[str]]:
    """Four jobs of each API, two of OGC watched by somebody who is not there."""
    jobs: dict[str, list[str]] = {}
    for number in range(4):
        for api, speech in SPEECHES.items():
            jobs.setdefault(api, []).append(await speech.submit(client, world, number))
    ogc = SPEECHES["ogc"]
    for subscriber in (REFUSING, FORBIDDEN):
        body = {**ogc.body(9), "subscriber": subscriber}
        said = await client.ask("POST", f"{world}/ogc{ogc.submit_path}", body, ogc.headers)
        assert said.status == 201, said
        jobs["ogc"].append(said.json()["jobID"])
    late = {"jobs": [{"image": "late", "delay": 30, "timeout": 20, "max_retries": 1, "retries_delay": 10}]}
    said = await client.ask("POST", f"{world}/titan/v1/jobs", late)
    jobs["titan"].append(said.json()["jobs"][0]["id"])
    return jobs


async def _refuse(url: str, body: bytes) -> int:
    raise ConnectionRefusedError(url)


@pytest.fixture(scope="module")
def jumper() -> Iterator[Jumper]:
    jumper = Jumper()
    yield jumper
    assert not [line for line in jumper.kit.ledger.lines() if line.by == "server"]


ONE_JUMP: Steps = [{"by": "1h"}]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_jump_of_an_hour_is_3600_jumps_of_a_second(jumper: Jumper, scenario: str) -> None:
    at_once = jumper.drive(SCENARIOS[scenario], ONE_JUMP)
    assert jumper.drive(SCENARIOS[scenario], [{"by": "1s"}] * 3600) == at_once


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_events_are_told_in_the_order_of_time_with_their_causes(jumper: Jumper, scenario: str) -> None:
    events, _ = jumper.drive(SCENARIOS[scenario], ONE_JUMP)
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    for event in events:
        assert re.fullmatch(
            r"(scenarios/[\w-]+\.yaml|inline):\d+|timeout|client|retry.*|worker.*", event["cause"]
        ), event


def test_things_happen_in_every_api(jumper: Jumper) -> None:
    happened = {name: jumper.drive(scenario, ONE_JUMP)[0] for name, scenario in SCENARIOS.items()}
    for name in ("slow", "retry-chain", "attempts", "cancel-slow", "titan-self-running"):
        assert {event["api"] for event in happened[name]} == set(SPEECHES), name
    states = {event["state"] for events in happened.values() for event in events}
    assert states >= {"queued", "running", "retrying", "succeeded", "failed", "cancelled"}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_to_next_and_to_an_instant_lead_through_the_same_events(jumper: Jumper, scenario: str) -> None:
    at_once = jumper.drive(SCENARIOS[scenario], ONE_JUMP)
    # All but the last event come one instant after the other; the hour is then filled up.
    instants = len({event["at"] for event in at_once[0]})
    end = "2030-01-01T01:00:01.200Z"
    steps = [*[{"next": 1}] * instants, {"to": end}]
    assert jumper.drive(SCENARIOS[scenario], steps) == at_once
    assert jumper.drive(SCENARIOS[scenario], [{"next": max(instants, 1)}, {"to": end}])[1][-1]["now"] >= end


@given(data=st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_jumps_of_an_hour_in_all_are_one_jump_of_an_hour(jumper: Jumper, data: st.DataObject) -> None:
    scenario = SCENARIOS[data.draw(st.sampled_from(sorted(SCENARIOS)))]
    # Mostly near to the beginning, where most happens, and not seldom twice the same.
    instant = st.one_of(
        st.integers(0, 20_000), st.integers(0, HOUR_MS), st.sampled_from([1_000, 2_000, 4_000, 60_000])
    )
    instants = sorted(data.draw(st.lists(instant, max_size=12)))
    steps = [
        {"by": f"{later - before}ms"}
        for before, later in zip([0, *instants], [*instants, HOUR_MS], strict=True)
    ]
    assert jumper.drive(scenario, steps) == jumper.drive(scenario, ONE_JUMP)
