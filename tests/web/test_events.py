"""What happens in a world, told as it happens."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import weakref
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

import httpx
import pytest

from simulator.runtime.worlds import Stage
from tests.kit import Kit
from tests.running import serving

EXECUTION = "/ogc/processes/echo/execution"
ASYNC = {"Prefer": "respond-async"}
EVENTS = "/__admin/worlds/default/events"
SCRIPTED = "jobs:\n  - script: [queued: 1s, {running: 4s, progress: 0..100}, succeeded]\n"
PATIENCE_SECONDS = 10.0


class Told(NamedTuple):
    """One event as a client sees it."""

    id: str
    kind: str
    data: dict[str, Any]


def told_in(content: bytes) -> list[Told]:
    """The events of a stream, comments left out."""
    found = []
    for block in content.decode().split("\n\n")[:-1]:
        lines = [line.partition(": ") for line in block.split("\n") if not line.startswith(":")]
        fields = {name: value for name, _, value in lines}
        if fields:
            found.append(Told(fields["id"], fields["event"], json.loads(fields["data"])))
    return found


class Listening:
    """A client that reads a stream of a server in this process."""

    def __init__(self, kit: Kit, path: str = EVENTS, headers: dict[str, str] | None = None) -> None:
        self.content = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_reading = asyncio.Event()
        self.is_reading.set()
        self._kit = kit
        self._path, _, self._query = path.partition("?")
        self._sent_headers = {"host": "127.0.0.1:4010"} | (headers or {})
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self.task = asyncio.ensure_future(self._listen())

    async def _listen(self) -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "scheme": "http",
            "path": self._path,
            "raw_path": self._path.encode(),
            "query_string": self._query.encode(),
            "root_path": "",
            "headers": [
                (name.lower().encode(), value.encode()) for name, value in self._sent_headers.items()
            ],
            "server": ("127.0.0.1", 4010),
            "client": ("127.0.0.1", 50000),
        }

        async def receive() -> dict[str, Any]:
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await self.is_reading.wait()
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            self.content += message.get("body", b"")
            self._news.set()

        await self._kit.front(scope, receive, send)

    @property
    def told(self) -> list[Told]:
        return told_in(self.content)

    async def until(self, holds: Callable[[Listening], bool]) -> Listening:
        """Wait until something has come."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not holds(self):
                self._news.clear()
                await self._news.wait()
        return self

    async def begun(self) -> Listening:
        return await self.until(lambda self: self.status != 0)

    async def ended(self) -> list[Told]:
        """Wait for the end of the stream."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task
        return self.told

    async def leave(self) -> None:
        self._left.set()
        await self.ended()


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Let a story happen on an event loop of its own."""
    asyncio.run(asyncio.wait_for(story(), 60))  # type: ignore[arg-type]  # a coroutine function


async def submit(kit: Kit, world: str = "") -> str:
    answer = await kit.ask("POST", f"{world}{EXECUTION}", json={"inputs": {"message": "x"}}, headers=ASYNC)
    assert answer.status == 201, answer.text
    job_id: str = answer.json()["jobID"]
    return job_id


async def advance(kit: Kit, by: str) -> None:
    wish = {"by": by}
    assert (await kit.ask("POST", "/__admin/worlds/default/clock/advance", json=wish)).status == 200


# ---- what is told -----------------------------------------------------------------------------------------------


def test_each_move_of_a_job_is_told_with_its_time_and_cause_in_order() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit, f"{EVENTS}?types=job").begun()
        job_id = await submit(kit)
        await advance(kit, "1h")
        await listening.until(lambda it: len(it.told) == 3)
        await listening.leave()
        assert (listening.status, listening.headers["content-type"]) == (200, "text/event-stream")
        assert (listening.headers["cache-control"], "content-length" in listening.headers) == (
            "no-store",
            False,
        )
        common = {"api": "ogc", "job": job_id, "held": False}
        assert [event.data for event in listening.told] == [
            common | {"at": "2030-01-01T00:00:00.000Z", "state": "queued", "cause": "client"},
            common
            | {"at": "2030-01-01T00:00:01.000Z", "state": "running", "cause": "inline:2", "progress": 0},
            common
            | {"at": "2030-01-01T00:00:05.000Z", "state": "succeeded", "cause": "inline:2", "progress": 100},
        ]
        assert [event.id for event in listening.told] == ["1.1", "1.3", "1.4"]

    run(story)


def test_what_a_person_does_to_a_job_is_told() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit, f"{EVENTS}?types=job").begun()
        here = f"/__admin/worlds/default/jobs/ogc/{await submit(kit)}"
        await kit.ask("POST", f"{here}/hold")
        await kit.ask("POST", f"{here}/step")
        await kit.ask("POST", f"{here}/force", json={"state": "running", "progress": 60})
        await kit.ask("POST", f"{here}/release")
        await kit.ask("POST", f"{here}/force", json={"state": "failed"})
        await listening.until(lambda it: it.told[-1:] != [] and it.told[-1].data["state"] == "failed")
        await listening.leave()
        seen = [
            (event.data["state"], event.data["cause"], event.data["held"], event.data.get("progress"))
            for event in listening.told
        ]
        assert seen == [
            ("queued", "client", False, None),
            ("queued", "operator", True, None),
            # A held job takes its step, and is held again.
            ("queued", "operator", False, None),
            ("running", "inline:2", False, 0),
            ("running", "operator", True, 0),
            ("running", "operator", True, 60),
            ("running", "operator", False, 60),
            ("failed", "operator", False, 60),
        ]

    run(story)


def test_a_cancelled_job_a_call_and_a_moved_clock_are_told() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit).begun()
        job_id = await submit(kit)
        await advance(kit, "500ms")
        await kit.ask("DELETE", f"/ogc/jobs/{job_id}")
        await kit.ask("PUT", "/__admin/worlds/default/clock", json={"mode": "60x"})
        await kit.ask("PUT", "/__admin/worlds/default/clock", json={"mode": "60x"})
        await listening.until(lambda it: it.told[-1:] != [] and it.told[-1].data.get("mode") == "60x")
        await listening.leave()
        told = [(event.kind, event.data) for event in listening.told]
        assert [kind for kind, _ in told] == ["job", "call", "clock", "job", "call", "clock"]
        assert told[1][1] == {
            "at": "2030-01-01T00:00:00.000Z",
            "number": 1,
            "api": "ogc",
            "operation": "execute_processes__processId__execution_post",
            "method": "POST",
            "path": EXECUTION,
            "job": job_id,
            "status": 201,
        }
        assert told[2][1] == {"at": "2030-01-01T00:00:00.500Z", "mode": "frozen"}
        assert (told[3][1]["state"], told[3][1]["cause"]) == ("cancelled", "client")
        assert told[4][1]["method"] == "DELETE"

    run(story)


def test_the_clock_of_polls_tells_of_the_events_on_its_way_before_it_has_moved() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",), time="poll")
        listening = await Listening(kit, f"{EVENTS}?types=job,clock").begun()
        job_id = await submit(kit)
        for _ in range(2):
            await kit.ask("GET", f"/ogc/jobs/{job_id}")
        await listening.until(lambda it: len(it.told) == 4)
        await listening.leave()
        assert [(event.kind, event.data["at"][17:]) for event in listening.told] == [
            ("job", "00.000Z"),
            ("job", "01.000Z"),
            ("job", "05.000Z"),
            ("clock", "05.000Z"),
        ]

    run(story)


def test_what_came_of_a_callback_is_told_as_the_history_has_it() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))

        async def post(url: str, body: bytes) -> int:
            return 204

        kit.front.callbacks.post = post
        listening = await Listening(kit, f"{EVENTS}?types=job").begun()
        wish = {"inputs": {"message": "x"}, "subscriber": {"successUri": "http://127.0.0.1:9/told"}}
        await kit.ask("POST", EXECUTION, json=wish, headers=ASYNC)
        await advance(kit, "1h")
        await listening.until(lambda it: len(it.told) == 4)
        await listening.leave()
        job_id = listening.told[0].data["job"]
        job = (await kit.ask("GET", f"/__admin/worlds/default/jobs/ogc/{job_id}")).json()
        assert [event.data["cause"] for event in listening.told] == [one["cause"] for one in job["history"]]
        assert job["history"][-1]["cause"].endswith("answered 204")

    run(story)


def test_the_same_story_is_told_in_the_same_bytes() -> None:
    def story() -> bytes:
        heard = []

        async def listen() -> None:
            kit = Kit(SCRIPTED, apis=("ogc", "titan"))
            listening = await Listening(kit).begun()
            for _ in range(3):
                await submit(kit)
            await kit.ask("POST", "/titan/v1/jobs", json={"jobs": [{"image": "a"}]})
            await advance(kit, "1h")
            await kit.ask("POST", "/__admin/worlds/default/reset")
            await listening.ended()
            heard.append(listening.content)

        run(listen)
        return heard[0]

    assert story() == story()


# ---- which of it ------------------------------------------------------------------------------------------------


def test_a_stream_ends_after_as_many_events_as_were_wanted() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit, f"{EVENTS}?types=job&limit=2").begun()
        await submit(kit)
        await advance(kit, "1h")
        assert [event.data["state"] for event in await listening.ended()] == ["queued", "running"]

    run(story)


def test_a_stream_ends_after_as_long_as_was_wanted() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        assert await Listening(kit, f"{EVENTS}?for=0s").ended() == []
        listening = await Listening(kit, f"{EVENTS}?for=300ms&types=call").begun()
        await submit(kit)
        assert [event.kind for event in await listening.ended()] == ["call"]

    run(story)


@pytest.mark.parametrize(
    "query", ["types=", "types=moves", "types=job,job", "limit=0", "limit=x", "for=soon", "for=", "for=-1s"]
)
def test_what_cannot_be_meant_begins_no_stream(query: str) -> None:
    answer = Kit(apis=("ogc",)).get(f"{EVENTS}?{query}")
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")


def test_a_head_of_a_stream_has_an_end() -> None:
    kit = Kit(apis=("ogc",), streams_max=1)
    for _ in range(3):
        answer = kit.request("HEAD", EVENTS)
        assert (answer.status, answer.content) == (200, b"")


def test_a_world_that_is_not_there_cannot_be_listened_to() -> None:
    assert Kit(apis=("ogc",)).get("/__admin/worlds/nowhere/events").status == 404


# ---- coming back ------------------------------------------------------------------------------------------------


def test_who_comes_back_goes_on_after_the_last_event_that_it_saw() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        first = await Listening(kit, f"{EVENTS}?types=job&limit=1").begun()
        await submit(kit)
        [seen] = await first.ended()
        # Nobody listens, and it is kept all the same.
        await advance(kit, "1h")
        again = Listening(kit, f"{EVENTS}?types=job,clock&for=0s", {"Last-Event-ID": seen.id})
        assert [(event.kind, event.data.get("state")) for event in await again.ended()] == [
            ("job", "running"),
            ("job", "succeeded"),
            ("clock", None),
        ]
        last = again.told[-1].id
        assert await Listening(kit, f"{EVENTS}?for=0s", {"Last-Event-ID": last}).ended() == []

    run(story)


@pytest.mark.parametrize("last_id", ["7.1", "1.99", "nonsense", "1", "-1.0", "1.0000000000000000000000001"])
def test_who_comes_back_from_elsewhere_is_told_of_a_gap_first(last_id: str) -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit).begun()
        await submit(kit)
        await listening.leave()
        gap, *rest = await Listening(kit, f"{EVENTS}?for=0s", {"Last-Event-ID": last_id}).ended()
        assert (gap.kind, gap.data, gap.id) == ("gap", {"missed": None}, "1.0")
        assert [event.kind for event in rest] == ["job", "call"]

    run(story)


def test_who_comes_back_too_late_is_told_how_much_is_missing() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        assert await Listening(kit, f"{EVENTS}?for=0s").ended() == []
        for _ in range(1_205):
            await kit.ask("GET", "/ogc/")
        back = Listening(kit, f"{EVENTS}?for=0s", {"Last-Event-ID": "1.5"})
        gap, *rest = await back.ended()
        assert (gap.kind, gap.data, gap.id) == ("gap", {"missed": 200}, "1.205")
        assert [event.data["number"] for event in rest] == list(range(206, 1_206))

    run(story)


def test_who_reads_slowly_is_told_of_a_gap_and_holds_nobody_up() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        slow = await Listening(kit).begun()
        quick = await Listening(kit).begun()
        slow.is_reading.clear()
        for _ in range(1_500):
            await kit.ask("GET", "/ogc/")
            await asyncio.sleep(0)
        await quick.until(lambda it: b"1.1500\n" in it.content)
        slow.is_reading.set()
        await slow.until(lambda it: b"1.1500\n" in it.content)
        await slow.leave()
        await quick.leave()
        assert [event.data["number"] for event in quick.told] == list(range(1, 1_501))
        [gap] = [event for event in slow.told if event.kind == "gap"]
        numbers = [event.data["number"] for event in slow.told if event.kind == "call"]
        assert len(numbers) + gap.data["missed"] == 1_500
        assert numbers[-1_000:] == list(range(501, 1_501))

    run(story)


# ---- the end ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "change"),
    [("POST", "/reset", "reset"), ("PUT", "", "reset"), ("DELETE", "", "deleted")],
)
def test_a_stream_ends_with_its_world(method: str, path: str, change: str) -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        await submit(kit, "/worlds/w")
        listening = await Listening(kit, "/__admin/worlds/w/events").begun()
        assert (await kit.ask(method, f"/__admin/worlds/w{path}")).status in (200, 204)
        [last] = await listening.ended()
        assert (last.kind, last.data) == (
            "world",
            {"at": "2030-01-01T00:00:00.000Z", "world": "w", "change": change},
        )

    run(story)


def test_the_ids_of_a_world_that_was_made_anew_are_others() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        first = await Listening(kit, f"{EVENTS}?types=job&limit=1").begun()
        await submit(kit)
        [seen] = await first.ended()
        await kit.ask("POST", "/__admin/worlds/default/reset")
        again = await Listening(kit, f"{EVENTS}?types=job&limit=1", {"Last-Event-ID": seen.id}).begun()
        await submit(kit)
        assert [(event.kind, event.id) for event in await again.ended()] == [("gap", "2.0"), ("job", "2.1")]

    run(story)


def test_a_world_that_was_listened_to_is_let_go() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))

    async def story() -> None:
        await submit(kit, "/worlds/gone")
        listening = await Listening(kit, "/__admin/worlds/gone/events").begun()
        await kit.ask("DELETE", "/__admin/worlds/gone")
        await listening.ended()

    gone: list[weakref.ref[Stage]] = []

    async def whole_story() -> None:
        await submit(kit, "/worlds/gone")
        stage = kit.front.worlds.find("gone")
        assert stage is not None
        gone.append(weakref.ref(stage))
        del stage
        await story()

    run(whole_story)
    gc.collect()
    assert gone[0]() is None


def test_there_are_no_more_streams_than_there_may_be() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",), streams_max=2)
        one, two = await Listening(kit).begun(), await Listening(kit).begun()
        three = await kit.ask("GET", EVENTS)
        assert (three.status, three.headers["content-type"]) == (503, "application/problem+json")
        assert three.json()["detail"].startswith("the limit of 2 event streams is reached")
        await one.leave()
        assert await Listening(kit, f"{EVENTS}?for=0s").ended() == []
        await two.leave()

    run(story)


def test_a_stream_says_that_it_is_alive_and_keeps_its_world() -> None:
    async def story() -> None:
        now_ms = 0
        kit = Kit(SCRIPTED, apis=("ogc",))
        kit.front.events.keepalive_seconds = 0.05
        await submit(kit, "/worlds/watched")
        stage = kit.front.worlds.find("watched")
        assert stage is not None
        kit.front.worlds._timesource = lambda: now_ms
        listening = await Listening(kit, "/__admin/worlds/watched/events").begun()
        now_ms = 77
        await listening.until(lambda it: it.content.count(b": nothing has happened\n\n") == 2)
        assert stage.used_ms == 77
        assert listening.told == []
        await listening.leave()

    run(story)


def test_a_world_without_listeners_tells_nobody() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    stage = kit.front.worlds.default
    assert (stage.world.on_move, stage.calls.on_add, stage.clock.on_change) == (None, None, None)
    assert kit.get(f"{EVENTS}?for=0s").status == 200
    assert stage.world.on_move is not None
    kit.post("/__admin/worlds/default/reset")
    assert (stage.world.on_move, stage.calls.on_add, stage.clock.on_change) == (None, None, None)


# ---- time that runs by itself, and real connections ---------------------------------------------------------------


def test_events_come_when_they_are_due_although_nobody_calls() -> None:
    async def story() -> None:
        kit = Kit("jobs:\n  - script: [queued: 6s, running: 12s, succeeded]\n", apis=("ogc",), time="60x")
        listening = await Listening(kit, f"{EVENTS}?types=job&limit=3").begun()
        loop = asyncio.get_running_loop()
        began = loop.time()
        await submit(kit)
        told = await listening.ended()
        # 18 virtual seconds are 0.3 real ones.
        assert 0.25 < loop.time() - began < 3
        assert [event.data["state"] for event in told] == ["queued", "running", "succeeded"]

    run(story)


def test_a_clock_that_is_set_going_wakes_who_listens() -> None:
    async def story() -> None:
        kit = Kit(SCRIPTED, apis=("ogc",))
        listening = await Listening(kit, f"{EVENTS}?types=job&limit=3").begun()
        await submit(kit)
        await kit.ask("PUT", "/__admin/worlds/default/clock", json={"mode": "60x"})
        assert [event.data["state"] for event in await listening.ended()][-1] == "succeeded"

    run(story)


def test_streams_end_at_once_when_the_server_stops() -> None:
    with serving("ogc", "--time", "frozen") as running:
        heard: list[bytes] = []
        is_open = threading.Event()

        def listen() -> None:
            with httpx.stream("GET", f"{running.url}{EVENTS}", timeout=30) as stream:
                is_open.set()
                with suppress(httpx.HTTPError):
                    heard.extend(stream.iter_bytes())

        listener = threading.Thread(target=listen)
        listener.start()
        assert is_open.wait(10)
        httpx.put(f"{running.url}/__admin/worlds/default/clock", json={"mode": "poll"})
        process = running.process
        process.terminate()
        # Calls under way have five seconds to end; a stream takes none of them.
        assert process.wait(timeout=3) == 0
        listener.join(10)
        assert not listener.is_alive()
        assert [event.kind for event in told_in(b"".join(heard))] == ["clock"]


def test_a_client_that_reads_nothing_does_not_keep_a_server_that_stops() -> None:
    with (
        serving("ogc", "--time", "frozen") as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
        client.stream("GET", EVENTS),
    ):
        long = "x" * 4_000
        for _ in range(2_000):
            client.get(f"/ogc/nothing?{long}")
        process = running.process
        process.terminate()
        assert process.wait(timeout=4) == 0


def test_a_client_that_leaves_makes_room_for_another() -> None:
    with serving("ogc") as running:
        for _ in range(110):
            with httpx.stream("GET", f"{running.url}{EVENTS}", timeout=30) as stream:
                assert stream.status_code == 200
