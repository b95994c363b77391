"""Subscribers are told in the order of a job's moves, at allowed hosts only, again when it did not work; history says it all."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from simulator.apis.contract import Announcement, Api, Reply, status_of
from simulator.engine.command import Cancel, Remove, Submit
from simulator.engine.job import Job, State
from simulator.engine.rules import Rules
from simulator.engine.world import Limits, World
from simulator.runtime.timesource import TimeMode, wall_clock
from simulator.runtime.worlds import Stage, Worlds
from simulator.scenario.read import read_scenario
from simulator.web.callbacks import Callbacks

SCENARIO = """
jobs:
  - when: {kind: fails}
    script: [queued: 1s, running: 3s, failed]
  - script: [queued: 1s, running: 3s, succeeded]
"""
LOOPBACK = ("127.0.0.1",)


def announce(job: Job, settings: Mapping[str, Any]) -> Announcement | None:
    if job.state is State.QUEUED:
        return None
    return Announcement(job.state.value, str(job.request), {"state": job.state.value}, LOOPBACK)


def an_api() -> Api:
    return Api(
        name="bakery",
        title="Bakery",
        document="bakery.yaml",
        rules=Rules(identify=lambda seed, number: f"b{number}"),
        words={state: state.value for state in State},
        error=lambda refusal, call: Reply(status_of(refusal)),
        announce=announce,
    )


def a_stage(mode: TimeMode | None = None) -> Stage:
    return Worlds(
        rules={"bakery": an_api().rules},
        scenario=read_scenario(SCENARIO, apis={"bakery": {}}),
        seed=7,
        mode=mode or TimeMode(0),
        limits=Limits(),
        timesource=wall_clock,
    ).default


class Receiver:
    """Stands for the subscribers: gives the answers it was told to give, and keeps what it was sent."""

    def __init__(self, *answers: int | Exception) -> None:
        self.answers = list(answers)
        self.got: list[tuple[str, Any]] = []

    async def __call__(self, url: str, body: bytes) -> int:
        self.got.append((url, json.loads(body)))
        answer = self.answers.pop(0) if self.answers else 202
        if isinstance(answer, Exception):
            raise answer
        return answer


URL = "http://127.0.0.1:9/told"


def submit(stage: Stage, url: str = URL, kind: str = "cake", *, watched: bool = True) -> Job:
    return stage.world.apply(Submit(api="bakery", kind=kind, request=url, watched=watched))


def play(stage: Stage, receiver: Receiver, *steps_ms: int) -> None:
    """Move the clock step by step and let everything be told after each."""
    callbacks = Callbacks([an_api()], receiver)
    for step_ms in steps_ms:
        stage.advance(step_ms)
        asyncio.run(callbacks.settle(stage))


def remarks(stage: Stage, job: Job) -> list[str]:
    history = stage.world.job("bakery", job.id).history
    return [move.cause for move in history if move.cause.startswith("callback ")]


def test_a_subscriber_is_told_of_each_move_in_order() -> None:
    stage, receiver = a_stage(), Receiver()
    job = submit(stage)
    play(stage, receiver, 10_000)
    assert receiver.got == [(URL, {"state": "running"}), (URL, {"state": "succeeded"})]
    assert remarks(stage, job) == [
        "callback running http://127.0.0.1:9/told (try 1): answered 202",
        "callback succeeded http://127.0.0.1:9/told (try 1): answered 202",
    ]


def test_a_remark_changes_nothing_but_the_history() -> None:
    told, quiet = a_stage(), a_stage()
    one, other = submit(told), submit(quiet, watched=False)
    play(told, Receiver(), 2_000, 3_000)
    quiet.advance(5_000)
    seen, expected = told.world.job("bakery", one.id), quiet.world.job("bakery", other.id)
    assert seen.altered(moves=(), submit=expected.submit) == expected.altered(moves=())


def test_nobody_is_told_of_a_job_that_nobody_watches() -> None:
    stage, receiver = a_stage(), Receiver()
    submit(stage, watched=False)
    play(stage, receiver, 10_000)
    assert receiver.got == []


@pytest.mark.parametrize("problem", [503, 429, ConnectionRefusedError("refused")], ids=str)
def test_what_may_work_later_is_tried_again(problem: Any) -> None:
    stage, receiver = a_stage(), Receiver(problem, 202)
    job = submit(stage)
    play(stage, receiver, 1_000, 1_000)
    assert receiver.got == [(URL, {"state": "running"})] * 2
    assert [text.partition(" (")[2] for text in remarks(stage, job)] == [
        f"try 1): {'not reached: ' if isinstance(problem, OSError) else 'answered '}{problem}; again in 1s",
        "try 2): answered 202",
    ]


def test_tries_follow_the_virtual_clock_and_end_after_the_third() -> None:
    stage, receiver = a_stage(), Receiver(202, 500, 500, 500, 202)
    job = submit(stage)
    callbacks = Callbacks([an_api()], receiver)
    tries = []
    for step_ms in (4_000, 999, 1, 4_999, 1, 60_000):
        stage.advance(step_ms)
        asyncio.run(callbacks.settle(stage))
        tries.append(len(receiver.got))
    assert tries == [2, 2, 3, 3, 4, 4]
    assert [text.rpartition(": ")[2] for text in remarks(stage, job)] == [
        "answered 202",
        "answered 500; again in 1s",
        "answered 500; again in 5s",
        "answered 500; given up",
    ]


def test_a_refusal_that_will_not_change_is_not_tried_again() -> None:
    stage, receiver = a_stage(), Receiver(404)
    submit(stage)
    play(stage, receiver, 1_000, 2_000)
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.org/told", "example.org is not among the hosts that may be called (127.0.0.1)"),
        (
            "http://127.0.0.1@example.org/",
            "example.org is not among the hosts that may be called (127.0.0.1)",
        ),
        ("http://127.0.0.1.example.org/", "127.0.0.1.example.org is not among"),
        ("ftp://127.0.0.1/told", "only http and https URLs are called"),
        ("file:///etc/passwd", "only http and https URLs are called"),
        ("//127.0.0.1/", "only http and https URLs are called"),
        ("http://127.0.0.1:port/", "Port could not be cast"),
        ("http://[broken/", "Invalid IPv6 URL"),
        ("", "only http and https URLs are called"),
    ],
)
def test_only_allowed_hosts_are_called(url: str, why: str) -> None:
    stage, receiver = a_stage(), Receiver()
    job = submit(stage, url)
    play(stage, receiver, 10_000)
    assert receiver.got == []
    assert all("not sent: " in text and why in text for text in remarks(stage, job))
    assert remarks(stage, job)


def test_secrets_in_a_url_stay_out_of_the_history() -> None:
    stage = a_stage()
    job = submit(stage, "http://me:secret@127.0.0.1:9/told?token=hidden#part")
    play(stage, Receiver(), 1_000)
    (text,) = remarks(stage, job)
    assert text == "callback running http://127.0.0.1:9/told (try 1): answered 202"


def test_a_job_that_was_removed_meanwhile_harms_nobody() -> None:
    stage, receiver = a_stage(), Receiver()
    job = submit(stage)
    stage.world.apply(Cancel("bakery", job.id))
    stage.world.apply(Remove("bakery", job.id))
    play(stage, receiver, 0)
    assert receiver.got == [(URL, {"state": "cancelled"})]


def test_the_journal_replays_to_the_same_history() -> None:
    stage = a_stage()
    job = submit(stage)
    submit(stage, kind="fails")
    play(stage, Receiver(202, 500, 202), 2_000, 2_000, 1_000)
    again = World.replay(stage.journal, seed=7, rules={"bakery": an_api().rules}, playbook=stage.scenario)
    again.advance(stage.world.now_ms)
    assert again.snapshot() == stage.world.snapshot()
    assert remarks(stage, job)


# ---- a server that runs -----------------------------------------------------------------------------------------


class _Handler(BaseHTTPRequestHandler):
    got: list[tuple[str, str, Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        self.send_response(202)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def subscriber() -> Iterator[tuple[str, list[tuple[str, str, Any]]]]:
    got: list[tuple[str, str, Any]] = []
    server = HTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"got": got}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_under_a_running_clock_they_are_told_without_anybody_asking(
    subscriber: tuple[str, list[tuple[str, str, Any]]],
) -> None:
    url, got = subscriber
    stage = a_stage(TimeMode(20))

    async def serve() -> None:
        callbacks = Callbacks([an_api()])
        runner = asyncio.ensure_future(callbacks.run())
        await asyncio.sleep(0)
        submit(stage, f"{url}/told")
        callbacks.notice(stage)
        for _ in range(500):
            if len(got) == 2:
                break
            await asyncio.sleep(0.01)
        runner.cancel()

    asyncio.run(serve())
    assert got == [
        ("/told", "application/json", {"state": "running"}),
        ("/told", "application/json", {"state": "succeeded"}),
    ]


def test_a_host_that_does_not_answer_is_not_reached() -> None:
    stage = a_stage()
    job = submit(stage, "http://127.0.0.1:1/nobody")
    callbacks = Callbacks([an_api()])
    stage.advance(1_000)
    asyncio.run(callbacks.settle(stage))
    (text,) = remarks(stage, job)
    assert "(try 1): not reached: " in text


def test_one_that_never_answers_is_given_up_for_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.web.callbacks.TIMEOUT_SECONDS", 0.05)

    async def never(url: str, body: bytes) -> int:
        await asyncio.sleep(60)
        return 202

    stage = a_stage()
    job = submit(stage)
    stage.advance(1_000)
    asyncio.run(Callbacks([an_api()], never).settle(stage))
    (text,) = remarks(stage, job)
    assert text.endswith("no answer within 0.05 s; again in 1s")


def test_the_settings_of_the_scenario_are_at_hand() -> None:
    seen: list[Mapping[str, Any]] = []

    def curious(job: Job, settings: Mapping[str, Any]) -> Announcement | None:
        seen.append(settings)
        return None

    stage = a_stage()
    submit(stage)
    asyncio.run(Callbacks([replace(an_api(), announce=curious)], Receiver()).settle(stage))
    assert seen == [stage.scenario.settings["bakery"]]
