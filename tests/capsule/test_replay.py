"""Whatever was said and done in a world is said and done again, in another process, and every byte is the same."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulator.assemble import Settings, assemble, assemble_for, scenarios_in, serving_of
from simulator.capsule.compare import differences
from simulator.capsule.model import ActionStep, Answer, CallStep, Capsule, read_capsule, to_yaml
from simulator.capsule.record import capsule_of
from simulator.capsule.replay import Played, ScriptedClock, compared, play
from simulator.control_client import ControlClient
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import Stage
from simulator.web import server
from tests.capsule.talk import Client, Jumping, made, random_conversation, run
from tests.kit import Kit

ROOT = Path(__file__).resolve().parents[2]
CONVERSATIONS = 100
QUICK = "jobs:\n  - script: [queued: 1s, {running: 4s, progress: 0..100}, succeeded]\n"
SUBMIT = ("POST", "/ogc/processes/echo/execution", {"inputs": {"message": "hello"}})
ASYNC = (("prefer", "respond-async"),)


def played(capsule: Capsule) -> Played:
    return play(capsule, assemble_for(capsule), scenarios_in(capsule))


def again(capsule: Capsule) -> Capsule:
    return capsule_of(played(capsule).stage, capsule.serving)


def recorded(
    talk: Callable[[Client, Stage, Jumping], Awaitable[None]],
    scenario: str = QUICK,
    time: str = "real",
    **more: Any,
) -> Capsule:
    """What came of this conversation."""
    loop = Jumping()
    settings = Settings(scenario=scenario, time=TimeMode.parse(time), seed=3, apis=("ogc",), **more)
    front, stage = made(settings, loop)

    async def whole() -> None:
        await front.build()
        await talk(Client(front), stage, loop)

    run(whole(), loop)
    return capsule_of(stage, serving_of(settings))


@pytest.mark.slow
def test_a_hundred_random_conversations_are_the_same_in_another_process(tmp_path: Path) -> None:
    capsules = [random_conversation(number) for number in range(CONVERSATIONS)]
    files = []
    for number, capsule in enumerate(capsules):
        assert not capsule.gaps, f"random_conversation({number})"
        files.append(tmp_path / f"{number}.yaml")
        files[-1].write_text(to_yaml(capsule))
    command = [sys.executable, "-c", "from simulator.cli_replay import replay; replay()", *map(str, files)]
    other = {**os.environ, "PYTHONHASHSEED": "77", "TZ": "Asia/Tokyo"}
    ran = subprocess.run(command, cwd=ROOT, env=other, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr
    assert ran.stdout.count("every answer is the same") == CONVERSATIONS
    # They met what they are meant to meet.
    steps = [step for capsule in capsules for step in capsule.steps]
    calls = [step for step in steps if isinstance(step, CallStep)]
    assert any(step.turns for step in calls)
    assert any(len(step.waits) > 1 for step in calls)
    assert any(step.answer.is_left for step in calls)
    assert any(step.answer.is_broken for step in calls)
    assert any(b"\xff" in step.body for step in calls)
    assert {type(step.doing).__name__ for step in steps if isinstance(step, ActionStep)} == {
        *("Advance", "TimeMode", "Play", "Steering"),
    }
    assert {capsule.mode for capsule in capsules} >= {TimeMode(0), TimeMode(1), TimeMode(0, is_poll=True)}


def test_a_replay_makes_the_same_capsule_again() -> None:
    for number in (1, 4, 9):
        capsule = random_conversation(number)
        assert to_yaml(again(capsule)) == to_yaml(capsule), f"random_conversation({number})"


async def _overlapping(client: Client, stage: Stage, loop: Jumping) -> None:
    slow = asyncio.ensure_future(
        client.ask(*SUBMIT, headers=(("prefer", "respond-sync"), ("x-understudy-delay", "2s")))
    )
    await asyncio.sleep(3)
    await client.ask("GET", "/ogc/jobs")
    await client.ask(*SUBMIT, headers=ASYNC)
    assert not slow.done()
    assert (await slow).status == 200
    await client.ask("GET", "/ogc/jobs")


def test_who_had_to_wait_twice_waits_again_at_the_same_places() -> None:
    capsule = recorded(_overlapping)
    first = next(capsule.calls)
    assert len(first.waits) == 2
    assert b'"jobs":[{' in [*capsule.calls][1].answer.body, "the job was there while its client waited for it"
    assert [*differences(capsule, again(capsule))] == []


async def _leaving(client: Client, stage: Stage, loop: Jumping) -> None:
    client.patience = 2.0
    assert (await client.ask(*SUBMIT, headers=(("prefer", "respond-sync"),))).status == 0
    client.patience = 60.0
    assert b'"jobs":[{' in (await client.ask("GET", "/ogc/jobs")).body


def test_a_client_that_went_away_goes_away_again() -> None:
    capsule = recorded(_leaving)
    assert [step.answer.is_left for step in capsule.calls] == [True, False]
    assert [*differences(capsule, again(capsule))] == []


async def _slow_body(client: Client, stage: Stage, loop: Jumping) -> None:
    """One that begins first, and whose body comes last."""
    body = b'{"inputs": {"message": "late"}}'
    pieces = [body[:5], body[5:]]
    heard = []

    async def receive() -> dict[str, Any]:
        if len(pieces) == 1:
            await asyncio.sleep(5)
        return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        heard.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "scheme": "http",
        "path": SUBMIT[1],
        "raw_path": SUBMIT[1].encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"localhost:4010"),
            (b"prefer", b"respond-async"),
            (b"content-length", str(len(body)).encode()),
        ],
    }
    late = asyncio.ensure_future(client.front(scope, receive, send))
    await asyncio.sleep(1)
    await client.ask(*SUBMIT, headers=ASYNC)
    await late
    assert heard[0]["status"] == 201


def test_a_body_that_came_late_comes_late_again() -> None:
    capsule = recorded(_slow_body)
    assert [step.number for step in capsule.calls] == [2, 1]
    assert [*differences(capsule, again(capsule))] == []


async def _quiet(client: Client, stage: Stage, loop: Jumping) -> None:
    job = (await client.ask(*SUBMIT, headers=ASYNC)).json()["jobID"]
    await asyncio.sleep(2)
    await client.ask("GET", f"/ogc/jobs/{job}")
    stage.advance(10_000)
    await client.ask("GET", f"/ogc/jobs/{job}")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda answer: replace(answer, status=202), "status"),
        (lambda answer: replace(answer, body=answer.body.replace(b"successful", b"successfuk")), "body"),
        (lambda answer: replace(answer, headers=(("x-a", "1"), *answer.headers)), "header x-a"),
        (lambda answer: replace(answer, headers=answer.headers[::-1]), "header content-type"),
        (lambda answer: replace(answer, is_broken=True), "connection"),
    ],
)
def test_every_change_of_an_answer_is_found(change: Callable[[Answer], Answer], what: str) -> None:
    capsule = recorded(_quiet)
    *others, last = capsule.steps
    assert isinstance(last, CallStep)
    changed = replace(capsule, steps=(*others, replace(last, answer=change(last.answer))))
    (found,) = differences(changed, again(changed))
    assert (found.call, found.what.partition(" ")[0]) == (3, what.partition(" ")[0])
    assert found.step == 4


def test_another_scenario_is_found_where_it_first_shows() -> None:
    text = to_yaml(recorded(_quiet)).replace("queued: 1s", "queued: 3s")
    capsule = read_capsule(text)
    first = next(differences(capsule, again(capsule)))
    assert (first.call, first.what, first.place) == (2, "body", "/status")
    assert (first.recorded, first.now) == ('"running"', '"accepted"')


def test_the_world_goes_on_as_the_first_one_would() -> None:
    async def talk(client: Client, stage: Stage, loop: Jumping) -> None:
        await _quiet(client, stage, loop)
        said.append(await client.ask(*SUBMIT, headers=ASYNC))
        await asyncio.sleep(2)
        said.append(await client.ask("GET", "/ogc/jobs"))

    said: list[Any] = []
    capsule = recorded(talk)
    short = replace(capsule, steps=capsule.steps[:-2])
    front = assemble_for(short)
    one = play(short, front, scenarios_in(short))
    now_ms = 5_000
    one.go_on(lambda: now_ms)
    client = Client(front)
    wanted = [*capsule.calls][-2:]
    one.stage.clock.move_to(wanted[0].at_ms)

    async def more() -> None:
        nonlocal now_ms
        heard.append(await client.ask(*SUBMIT, headers=ASYNC))
        now_ms += 2_000
        heard.append(await client.ask("GET", "/ogc/jobs"))

    heard: list[Any] = []
    asyncio.run(more())
    assert heard == said


def test_a_server_that_waits_where_it_did_not_is_told() -> None:
    capsule = recorded(_quiet)
    slower = read_capsule(
        to_yaml(capsule).replace(
            "jobs:\n", "calls: [{when: {role: status}, fault: {hang: 1m}}]\n      jobs:\n"
        )
    )
    report = compared(slower, played(slower))
    assert [(one["call"], one["what"]) for one in report["differences"]] == [(2, "status"), (3, "status")]


def test_a_job_that_is_not_there_to_be_steered_is_told() -> None:
    kit = Kit(QUICK, apis=("ogc",))
    job = kit.post(SUBMIT[1], json=SUBMIT[2], headers=dict(ASYNC)).json()["jobID"]
    kit.post(f"/__admin/worlds/default/jobs/ogc/{job}/hold")
    text = kit.get("/__admin/worlds/default/capsule").text
    capsule = read_capsule(re.sub("job: .*", "job: nobody", text))
    assert [step for step, _ in played(capsule).stuck] == [2]


FAULTS = """
jobs:
  - script: [queued: 1s, {running: 4s, progress: 0..100}, succeeded]
calls:
  - {when: {role: status, call: 1}, fault: truncated_body}
  - {when: {role: status, call: 2}, fault: connection_reset}
  - {when: {role: status, call: 3}, fault: {dribble: 5s}}
  - {when: {role: status, call: 4}, delay: 20s}
  - {when: {role: status, call: 5}, fault: {hang: 30s}}
  - {when: {role: submit, call: 2}, fault: response_lost}
"""


@pytest.mark.slow
@pytest.mark.parametrize("time", ["real", "60x", "frozen", "1000x"])
def test_what_happened_on_real_connections_happens_again(time: str) -> None:
    settings = Settings(scenario=FAULTS, time=TimeMode.parse(time), apis=("ogc",))
    front = assemble(settings)
    running = server.Background(front, server.listen("127.0.0.1", 0))
    running.start()
    statuses = []

    def ask(method: str, path: str, timeout_s: float = 5, **more: Any) -> None:
        try:
            answer = httpx.request(method, f"{running.url}/ogc{path}", timeout=timeout_s, **more)
            statuses.append(answer.status_code)
        except httpx.HTTPError:
            statuses.append(0)

    try:
        echo, hello = "/processes/echo/execution", {"inputs": {"message": "hello"}}
        for _ in range(2):
            ask("POST", echo, json=hello, headers={"Prefer": "respond-async"})
        job = front.worlds.default.world.jobs("ogc")[0].id
        for _ in range(7):
            ask("GET", f"/jobs/{job}", 0.4)
        with ThreadPoolExecutor(4) as pool:
            for _ in range(3):
                pool.submit(ask, "POST", echo, json=hello)
                pool.submit(ask, "GET", "/jobs")
        ask("GET", "/jobs")
        with ControlClient(running.url) as control:
            while control.world("default")["calls"] < 16:
                pass
            capsule = read_capsule(control.capsule("default"))
    finally:
        running.stop()
    assert capsule.gaps == ()
    assert statuses[:4] == [201, 0, 0, 0]
    assert any(step.answer.is_broken for step in capsule.calls)
    found = [*differences(capsule, again(capsule))]
    assert found == [], found[0]


def test_a_clock_shows_what_it_is_told_and_never_goes_back() -> None:
    clock = ScriptedClock(TimeMode(1), 1_000)
    clock.tell(1_500, 1_600)
    assert [clock.now_ms(), clock.now_ms(), clock.now_ms()] == [1_500, 1_600, 1_600]
    clock.tell(1_200)
    assert clock.now_ms() == 1_600
    clock.run_by_itself(lambda: 77)
    assert clock.now_ms() == 1_600
