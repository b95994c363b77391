"""Random conversations with a server in this process, under an event loop whose time jumps instead of passing.

Clients overlap, lose patience and go away; time passes, is moved and changes its way; somebody steers jobs meanwhile. Everything
follows from one number.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from simulator.assemble import Settings, assemble, find_scenario, serving_of
from simulator.capsule.model import Capsule
from simulator.capsule.record import capsule_of
from simulator.engine.command import Force, Hold, Release, StepOn
from simulator.engine.errors import EngineError
from simulator.engine.job import State
from simulator.engine.world import Limits
from simulator.resources import shipped_scenarios
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import Stage
from simulator.web.faults import Broken
from simulator.web.front import Front
from tests.kit import scope_of
from tests.worlds.speech import SPEECHES
from tests.worlds.wire import Said

STARTED_MS = 1_780_000_000_123
MODES = ("frozen", "poll", "real", "60x", "0.5x", "frozen")
PATIENCE = (0.05, 1.5, 30.0, 400.0)
SCENARIOS = tuple(shipped_scenarios())


class Jumping(asyncio.SelectorEventLoop):
    """An event loop that never waits: when nothing can happen, it is later at once."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.now


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: Jumping) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everybody waits for somebody else"
        self._loop.now += timeout
        return super().select(0)


def run(talk: Coroutine[Any, Any, None], loop: Jumping) -> None:
    """Hold a conversation."""
    try:
        loop.run_until_complete(talk)
    finally:
        loop.close()


class Client:
    """Says something to a server, and goes away when it takes too long."""

    def __init__(self, front: Front, prefix: str = "") -> None:
        self.front = front
        self.prefix = prefix
        self.patience = PATIENCE[-1]

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Any = (), *, data: bytes | None = None
    ) -> Said:
        told = [("host", "localhost:4010"), *headers]
        body = b""
        if json is not None or data is not None:
            body = jsonlib.dumps(json).encode() if data is None else data
            if data is None:
                told.append(("content-type", "application/json"))
            told.append(("content-length", str(len(body))))
        scope = scope_of(method, f"{self.prefix}{path}", told)
        loop = asyncio.get_running_loop()
        heard = [{"type": "http.request", "body": body, "more_body": False}]
        leaves_at = loop.time() + self.patience
        sent: list[Any] = []

        async def receive() -> Any:
            if heard:
                return heard.pop()
            await asyncio.sleep(max(leaves_at - loop.time(), 0))
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        try:
            await self.front(scope, receive, send)
        except Broken:
            pass
        status = sent[0]["status"] if sent else 0
        raw = sent[0]["headers"] if sent else ()
        return Said(
            status,
            tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in raw),
            b"".join(one.get("body", b"") for one in sent),
        )


def made(settings: Settings, loop: Jumping, name: str = "default", **more: Any) -> tuple[Front, Stage]:
    """A server whose real time is that of the loop, and one of its worlds."""
    front = assemble(settings, timesource=lambda: STARTED_MS + int(loop.now * 1000))
    stage, _ = front.worlds.create(name, **more)
    return front, stage


def random_conversation(number: int) -> Capsule:
    """Hold the conversation of this number; what came of it."""
    chance = random.Random(number)
    scenario = SCENARIOS[number % len(SCENARIOS)]
    settings = Settings(
        scenario=scenario,
        seed=chance.randrange(50),
        time=TimeMode.parse(MODES[number % len(MODES)]),
        strict=chance.random() < 0.5,
        apis=tuple(chance.sample([*SPEECHES], 2)) if chance.random() < 0.7 else (),
        retry_after_s=chance.choice((None, None, 3)),
        poll_step_ms=chance.choice((5_000, 700)),
        limits=Limits(jobs=chance.choice((6, 1_000_000))),
    )
    loop = Jumping()
    name = chance.choice(("default", f"world-{number}"))
    front, stage = made(settings, loop, name)
    run(_talk(front, stage, chance), loop)
    return capsule_of(stage, serving_of(settings))


async def _talk(front: Front, stage: Stage, chance: random.Random) -> None:
    await front.build()
    prefix = "" if stage.name == "default" else f"/worlds/{stage.name}"
    speakers = [
        _speak(front, stage, prefix, random.Random(chance.random())) for _ in range(chance.randint(1, 3))
    ]
    await asyncio.gather(*speakers, _steer(front, stage, random.Random(chance.random())))


async def _speak(front: Front, stage: Stage, prefix: str, chance: random.Random) -> None:
    """One client."""
    client = Client(front, prefix)
    jobs: list[tuple[str, str]] = []
    for turn in range(chance.randint(3, 9)):
        client.patience = chance.choice(PATIENCE)
        api = chance.choice([*front.services])
        speech = SPEECHES[api]
        headers = [*speech.headers]
        if chance.random() < 0.1:
            headers.append(("x-understudy-delay", chance.choice(("120ms", "2s"))))
        if chance.random() < 0.05:
            headers.append(("prefer", "code=503"))
        what = chance.choice(
            ("submit", "submit", "status", "status", "status", "list", "stop", "result", "odd")
        )
        if what == "submit" or not jobs:
            if api == "ogc" and chance.random() < 0.5:
                headers = [("prefer", "respond-sync")]
            said = await client.ask("POST", f"/{api}{speech.submit_path}", speech.body(turn), headers)
            try:
                jobs.append((api, str(speech.job_of(said.json()))))
            except (ValueError, LookupError, TypeError):
                pass
        elif what == "odd":
            odd = chance.choice(
                ("/v1/nothing", "/jobs/%2e%2f?x=1&x=%ff", "/jobs?limit=many", "/repo/v1/x%2Fy")
            )
            await client.ask(
                chance.choice(("GET", "PUT", "HEAD", "OPTIONS")), f"/{api}{odd}", headers=headers
            )
            await client.ask("POST", f"/{api}{speech.submit_path}", headers=headers, data=b'{"half": \xff')
        else:
            about, job = chance.choice(jobs)
            speech = SPEECHES[about]
            path = {
                "status": speech.status_path,
                "stop": speech.cancel[1],
                "result": speech.result_path,
                "list": speech.list_path or "/repo/v1/userProfile",
            }[what].format(job)
            method = speech.cancel[0] if what == "stop" else "GET"
            body = {} if method in ("POST", "PUT") else None
            await client.ask(
                method, f"/{about}{path}", body, [*speech.headers, *headers[len(speech.headers) :]]
            )
        await asyncio.sleep(chance.choice((0, 0, 0.004, 0.3, 2.7)))


async def _steer(front: Front, stage: Stage, chance: random.Random) -> None:
    """The person at the controls."""
    doings: list[Callable[[], object]] = [
        lambda: stage.advance(chance.randrange(9_000)),
        lambda: stage.advance(chance.randrange(90_000)),
        lambda: stage.advance_to_next(chance.randint(1, 3)),
        lambda: stage.advance_until_idle(3_600_000),
        lambda: stage.set_rate(TimeMode.parse(chance.choice(MODES))),
        lambda: stage.set_scenario(_another(front, chance)),
        lambda: stage.steer(Hold(*_job(stage, front, chance))),
        lambda: stage.steer(Release(*_job(stage, front, chance))),
        lambda: stage.steer(StepOn(*_job(stage, front, chance))),
        lambda: stage.steer(Force(*_job(stage, front, chance), chance.choice((State.FAILED, State.RUNNING)))),
    ]
    for _ in range(chance.randint(0, 6)):
        await asyncio.sleep(chance.choice((0, 0.2, 1.1)))
        try:
            chance.choice(doings)()
        except (EngineError, IndexError):
            pass
        front.callbacks.notice(stage)


def _job(stage: Stage, front: Front, chance: random.Random) -> tuple[str, str]:
    jobs = [job for api in front.services for job in stage.world.jobs(api)]
    job = jobs[chance.randrange(len(jobs))] if jobs else [][0]
    return job.api, job.id


def _another(front: Front, chance: random.Random) -> Any:
    assert find_scenario("happy")
    return front.services[next(iter(front.services))].scenarios[chance.choice(SCENARIOS)]
