"""Names, tokens and floods that mean no good: refused by name, at no cost to anybody else, and in bounded memory."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from simulator.assemble import Settings, assemble
from simulator.runtime.calls import BODY_BYTES_MAX, KEPT_BYTES_MAX
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import WORLDS_MAX
from tests.kit import Kit
from tests.running import Running, serving
from tests.worlds.speech import SPEECHES
from tests.worlds.wire import Client, Straight, Wired

TOKEN = "the-token-of-this-server"
PROBLEM = "application/problem+json"
OGC = SPEECHES["ogc"]


# ---- raw connections ------------------------------------------------------------------------------------------------


@contextmanager
def server_with(*options: str) -> Iterator[Running]:
    """A server process with these options; it must end well and have logged nothing but that somebody spoke no HTTP."""
    with serving("--time", "frozen", *options) as server:
        yield server
        code, errors = server.stop()
    assert code == 0
    assert "Traceback" not in errors
    logged = {line for line in errors.splitlines() if re.match(r"[A-Z]+ ", line)}
    assert logged <= {"WARNING uvicorn.error: Invalid HTTP request received."}


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with server_with("--strict") as server:
        yield server


def shouted(url: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes as they are; status, headers and body of the answer. The server must have hung up afterwards."""
    address = urlsplit(url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 80), timeout=10) as connection:
        connection.sendall(request)
        received = b""
        while piece := connection.recv(65_536):
            received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split(" ")[1]), headers, body


def asked(
    url: str, target: bytes, *headers: bytes, method: bytes = b"GET"
) -> tuple[int, dict[str, str], bytes]:
    lines = [method + b" " + target + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    return shouted(url, b"\r\n".join([*lines, b"", b""]))


def worlds_of(url: str) -> list[str]:
    _, _, body = asked(url, b"/__admin/worlds")
    return [world["name"] for world in json.loads(body)["worlds"]]


def assert_harmless(answer: tuple[int, dict[str, str], bytes], *statuses: int) -> dict[str, Any]:
    status, headers, body = answer
    assert status in statuses, answer
    assert headers["content-type"] == PROBLEM
    assert "x-injected" not in headers
    assert b"Traceback" not in body
    assert len(body) < 1_500
    problem: dict[str, Any] = json.loads(body)
    assert problem["status"] == status
    return problem


# ---- names ----------------------------------------------------------------------------------------------------------

NAMES = [
    b"", b".", b"..", b"...", b"%2e", b"%2e%2e", b"%2E%2E", b"%252e%252e", b".%2e", b"a%2fb", b"a%2Fb", b"..%2f..%2fetc",
    b"a%5cb", b"a\\b", b"%00", b"a%00", b"a%0d%0aX-Injected:%20yes", b"a%0aX-Injected:%20yes", b"a%0d", b"%0a", b"a%20b",
    b"a%09", b"W", b"Default", b"DEFAULT", b"%C3%A4", b"%ff", b"%F0%9F%98%80", b"%E2%80%AE", b"-a",
    b"_a", b"a" * 65, b"a" * 4_000, b"a%", b"a%zz", b"a;b", b"a:b", b"a@b", b"a,b", b"a*", b"<b>", b"%22", b"'",
]  # fmt: skip
PLACES = [
    b"/worlds/%s/ogc/jobs",
    b"/worlds/%s/titan/v1/jobs",
    b"/worlds/%s/",
    b"/worlds/%s/ogc/ui/",
    b"/worlds/%s/__admin/health",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:30]))
def test_a_path_with_a_name_that_can_be_none_is_refused(running: Running, name: bytes) -> None:
    for place in PLACES:
        problem = assert_harmless(asked(running.url, place.replace(b"%s", name)), 400)
        assert "a-z, 0-9, dot, dash and underscore" in problem["detail"]
    assert worlds_of(running.url) == ["default"]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: repr(name[:30]))
def test_a_control_path_with_a_name_that_can_be_none_is_refused(running: Running, name: bytes) -> None:
    place = b"/__admin/worlds/" + name
    for method, path in (
        (b"GET", place), (b"PUT", place), (b"DELETE", place), (b"POST", place + b"/reset"), (b"GET", place + b"/clock"),
        (b"GET", place + b"/jobs"), (b"GET", place + b"/calls"), (b"DELETE", place + b"/calls"),
    ):  # fmt: skip
        if (method, name) == (b"GET", b""):
            continue  # With a slash at its end it is the list of worlds.
        assert_harmless(asked(running.url, path, b"Content-Length: 0", method=method), 400, 404, 405)
    assert worlds_of(running.url) == ["default"]


HEADER_NAMES = [name for name in NAMES if b"\x00" not in name]


@pytest.mark.parametrize("name", HEADER_NAMES, ids=lambda name: repr(name[:30]))
def test_a_header_with_a_name_that_can_be_none_is_refused(running: Running, name: bytes) -> None:
    for path in (b"/ogc/jobs", b"/titan/v1/jobs", b"/", b"/ogc/ui/"):
        assert_harmless(asked(running.url, path, b"X-Understudy-World: " + name), 400)
    # Where the path names a world, nobody looks at the header.
    assert asked(running.url, b"/worlds/default/ogc/jobs", b"X-Understudy-World: " + name)[0] == 200
    assert worlds_of(running.url) == ["default"]


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Understudy-World: a", b"X-Understudy-World: b"),
        (b"X-Understudy-World: a", b"X-Understudy-World: a"),
        (b"x-understudy-world: a", b"X-UNDERSTUDY-WORLD: default"),
        (b"X-Understudy-World: a, b",),
    ],
)
def test_several_headers_name_no_world(running: Running, lines: tuple[bytes, ...]) -> None:
    assert_harmless(asked(running.url, b"/ogc/jobs", *lines), 400)
    assert worlds_of(running.url) == ["default"]


@pytest.mark.parametrize(
    "value",
    [
        b"a\r\n b",
        b"a\r\n\tX-Injected: yes",
        b"a\rX-Injected: yes",
        b"a\nX-Injected yes",
        b"a\x00b",
        b"a\x7f",
        b"a\x01",
    ],
)
def test_a_header_that_is_broken_in_itself_makes_no_world(running: Running, value: bytes) -> None:
    status, headers, body = asked(running.url, b"/ogc/jobs", b"X-Understudy-World: " + value)
    assert status == 400
    assert "x-injected" not in headers
    assert b"Traceback" not in body
    assert worlds_of(running.url) == ["default"]


def test_a_name_is_never_a_way_to_files(running: Running) -> None:
    for path in (
        b"/worlds/x/ogc/ui/../../../../pyproject.toml", b"/worlds/x/ogc/ui/%2e%2e/%2e%2e/pyproject.toml",
        b"/worlds/../../../etc/passwd", b"/ogc/ui/..%2f..%2f..%2fetc%2fpasswd", b"/__admin/ui/../../../../etc/passwd",
        b"/__admin/../etc/passwd", b"//etc/passwd", b"/worlds/x/../../__admin/worlds",
    ):  # fmt: skip
        assert_harmless(asked(running.url, path), 400, 404)
    assert worlds_of(running.url) == ["default"]


def test_a_world_in_the_path_wins_over_the_header() -> None:
    with server_with() as server:
        assert asked(server.url, b"/worlds/mine/ogc/jobs", b"X-Understudy-World: other")[0] == 200
        assert worlds_of(server.url) == ["default", "mine"]
        assert asked(server.url, b"/ogc/jobs", b"X-Understudy-World: other")[0] == 200
        assert worlds_of(server.url) == ["default", "mine", "other"]
        # Dots are harmless where there are others.
        assert asked(server.url, b"/worlds/a../ogc/jobs")[0] == 200
        assert asked(server.url, b"/worlds/" + b"x" * 64 + b"/ogc/jobs")[0] == 200


def test_who_speaks_no_http_is_hung_up_on_and_nobody_else_notices(running: Running) -> None:
    for noise in (
        b"GET /worlds/\xc3\xa4/ogc/jobs HTTP/1.1\r\n\r\n", b"GET /worlds/\xff/ogc/jobs HTTP/1.1\r\n\r\n",
        b"GET /worlds/a\x00/ogc/jobs HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n\r\n\x00\r\n\r\n",
    ):  # fmt: skip
        status, _, body = shouted(running.url, noise)
        assert status == 400
        assert b"Traceback" not in body
    assert worlds_of(running.url) == ["default"]


# ---- unknown worlds -------------------------------------------------------------------------------------------------


def test_to_look_for_a_world_that_is_not_there_makes_none(running: Running) -> None:
    for method, path in (
        (b"GET", b""), (b"DELETE", b""), (b"POST", b"/reset"), (b"GET", b"/clock"), (b"GET", b"/jobs"), (b"GET", b"/calls"),
        (b"DELETE", b"/calls"), (b"GET", b"/calls/count"), (b"GET", b"/jobs/ogc/x"), (b"POST", b"/jobs/ogc/x/hold"),
    ):  # fmt: skip
        answer = asked(running.url, b"/__admin/worlds/nobody" + path, b"Content-Length: 0", method=method)
        assert assert_harmless(answer, 404)["detail"] == "there is no world 'nobody'; there are: default"
    for path in (b"/worlds/nobody/", b"/worlds/nobody/ogc/ui/", b"/worlds/nobody/ogc/openapi.json"):
        assert asked(running.url, path)[0] == 200
    assert_harmless(asked(running.url, b"/worlds/nobody/nothing"), 404)
    assert worlds_of(running.url) == ["default"]


# ---- tokens ---------------------------------------------------------------------------------------------------------

CREDENTIALS = [
    None, b"", b"Bearer", b"Bearer ", b"Bearer wrong", b"Bearer " + TOKEN.encode()[:-1], b"Bearer " + TOKEN.encode() + b"x",
    b"Bearer " + TOKEN.upper().encode(), b"Basic " + TOKEN.encode(), TOKEN.encode(), b"Bearer \xff\xfe",
    b"Bearer " + b"x" * 100_000, b"Bearer " + TOKEN.encode() + b", Bearer " + TOKEN.encode(), b"Bearer null", b"Bearer None",
]  # fmt: skip


def test_without_its_token_a_server_is_not_steered() -> None:
    with server_with("--admin-token", TOKEN) as server:
        for credentials in CREDENTIALS:
            headers = [] if credentials is None else [b"Authorization: " + credentials]
            for method, path in (
                (b"GET", b"/__admin/worlds"), (b"PUT", b"/__admin/worlds/mine"), (b"DELETE", b"/__admin/worlds/default"),
                (b"GET", b"/__admin/worlds/default/calls"), (b"POST", b"/__admin/worlds/default/reset"),
            ):  # fmt: skip
                answer = asked(server.url, path, b"Content-Length: 0", *headers, method=method)
                assert_harmless(answer, 401)
                assert answer[1]["www-authenticate"] == "Bearer"
                assert TOKEN.encode() not in answer[2]
            assert asked(server.url, b"/__admin/health", *headers)[0] == 200
        twice = [b"Authorization: Bearer " + TOKEN.encode()] * 2
        assert asked(server.url, b"/__admin/worlds", *twice)[0] == 401
        right = asked(server.url, b"/__admin/worlds", b"Authorization: bearer " + TOKEN.encode())
        assert [world["name"] for world in json.loads(right[2])["worlds"]] == ["default"]


# ---- floods ---------------------------------------------------------------------------------------------------------


async def flood(client: Client, count: int, most: int, first: int = 0) -> int:
    """Call for so many new worlds, by their first use, by header and by the control API in turn; how many were made."""
    made = 0
    for number in range(first, first + count):
        name = f"flood-{number}"
        match number % 3:
            case 0:
                said = await client.ask("GET", f"/worlds/{name}/ogc/jobs")
            case 1:
                said = await client.ask("GET", "/titan/v1/jobs", headers=(("x-understudy-world", name),))
            case _:
                said = await client.ask("PUT", f"/__admin/worlds/{name}")
        if said.status in (200, 201):
            made += 1
            continue
        assert said.status == 503, said
        assert said.header("content-type") == PROBLEM
        problem = said.json()
        assert problem["title"] == "Service Unavailable"
        assert "worlds" in problem["detail"]
        assert str(most) in problem["detail"].replace(",", "")
        assert "--max-worlds" in problem["detail"]
    return made


async def bystander(client: Client) -> str:
    """A world with a job in it."""
    await client.ask("PUT", "/__admin/worlds/bystander", {"scenario": "slow", "seed": 5, "time": "frozen"})
    return await OGC.submit(client, "/worlds/bystander")


def test_a_flood_over_the_wire_is_refused_and_takes_no_memory() -> None:
    with server_with("--max-worlds", "50") as server:
        process = psutil.Process(server.process.pid)

        async def story() -> tuple[int, int]:
            client = await Wired.to(server.url)
            job = await bystander(client)
            before = await OGC.status(client, "/worlds/bystander", job)
            # Refusals leave cycles that are searched for now and then; after the first flood that is paid for.
            assert await flood(client, 5_000, 50) == 48
            small = process.memory_info().rss
            assert await flood(client, 5_000, 50, first=5_000) == 0
            large = process.memory_info().rss
            assert await OGC.status(client, "/worlds/bystander", job) == before
            # Who is there already is served, and whoever deletes one makes room for one.
            assert (await client.ask("GET", "/worlds/flood-0/ogc/jobs")).status == 200
            assert (await client.ask("DELETE", "/__admin/worlds/flood-0")).status == 204
            assert await flood(client, 3, 50, first=10_000) == 1
            client.close()
            return small, large

        small, large = asyncio.run(story())
    assert large - small < 4 * 1_048_576


def test_a_flood_stops_at_a_thousand_worlds_where_nobody_said_otherwise() -> None:
    kit = Kit()

    async def story() -> None:
        client = Straight(kit.front)
        job = await bystander(client)
        before = await OGC.status(client, "/worlds/bystander", job)
        assert await flood(client, 5_000, WORLDS_MAX) == WORLDS_MAX - 2
        assert await OGC.status(client, "/worlds/bystander", job) == before
        assert len((await client.ask("GET", "/__admin/worlds")).json()["worlds"]) == WORLDS_MAX
        unknown = await client.ask("GET", "/__admin/worlds/nobody")
        assert len(unknown.body) < 1_000

    asyncio.run(story())


def test_idle_worlds_make_room_and_the_others_keep_what_they_have() -> None:
    wall_ms = 0
    settings = Settings(time=TimeMode(0), worlds_max=20, worlds_idle_ms=60_000)
    client = Straight(assemble(settings, timesource=lambda: wall_ms))

    async def story() -> None:
        nonlocal wall_ms
        job = await bystander(client)
        first = await OGC.submit(client, "")
        assert await flood(client, 40, 20) == 18
        wall_ms += 59_999
        before = await OGC.status(client, "/worlds/bystander", job)
        assert await flood(client, 40, 20, first=100) == 0
        wall_ms += 1
        assert await flood(client, 40, 20, first=200) == 18
        assert await OGC.status(client, "/worlds/bystander", job) == before
        assert (await OGC.status(client, "", first)).status == 200
        names = [world["name"] for world in (await client.ask("GET", "/__admin/worlds")).json()["worlds"]]
        assert names[:2] == ["default", "bystander"]
        assert all(name.startswith("flood-2") for name in names[2:])
        # Whoever comes back to a world that was forgotten finds a new one.
        wall_ms += 60_000
        assert (await OGC.status(client, "/worlds/bystander", job)).status == 200
        wall_ms += 60_000
        await client.ask("GET", "/worlds/another/ogc/jobs")
        again = await client.ask("GET", "/worlds/bystander/ogc/jobs")
        assert again.json()["jobs"] == []

    asyncio.run(story())


# ---- memory ---------------------------------------------------------------------------------------------------------

WORLD_BYTES = 40_000
"""A world in which nothing is, and what belongs to it outside."""
JOB_BYTES = 6_000
"""A job with its place in the lists and its entry in the journal, without its body."""
CALL_BYTES = 4_000
"""A call in the log with the headers of both sides, without its bodies. In sum, these are a fifth more than was measured."""


@pytest.mark.slow
def test_worlds_that_come_and_go_leave_nothing_behind() -> None:
    worlds, calls, jobs, body = 8, 40, 25, 2_000
    kit = Kit(strict=False, worlds_max=worlds + 1, calls_max=calls)
    client = Straight(kit.front)

    async def fill(name: str) -> None:
        for number in range(jobs):
            said = await client.ask(
                "POST",
                f"/worlds/{name}/ogc/processes/echo/execution",
                {"inputs": {"message": "x" * body}, "subscriber": {"successUri": "http://example.org/hook"}},
                OGC.headers,
            )
            assert said.status == 201, said
            await client.ask("GET", f"/worlds/{name}/ogc/jobs?limit=1")
            await client.ask("GET", f"/worlds/{name}/titan/v1/job/{number}")
        await client.ask("POST", f"/__admin/worlds/{name}/clock/advance", {"by": "2s"})
        assert (await client.ask("GET", f"/__admin/worlds/{name}")).json()["calls"] == calls

    async def story() -> tuple[list[int], list[int]]:
        full: list[int] = []
        empty: list[int] = []
        for round_ in range(8):
            for number in range(worlds):
                # Every other round they are made anew in the same names, some by a reset.
                await fill(f"w{number}" if round_ % 2 else f"w{round_}-{number}")
            full.append(_allocated())
            for name in kit.front.worlds.names():
                if name != "default":
                    how = ("DELETE", "") if round_ % 3 else ("POST", "/reset")
                    assert (await client.ask(how[0], f"/__admin/worlds/{name}{how[1]}")).status in (200, 204)
                    if how[1]:
                        assert (await client.ask("DELETE", f"/__admin/worlds/{name}")).status == 204
            empty.append(_allocated())
        return full, empty

    asyncio.run(fill_once(client, fill))
    gc.collect()
    tracemalloc.start()
    try:
        before = _allocated()
        full, empty = asyncio.run(story())
    finally:
        tracemalloc.stop()
    each = WORLD_BYTES + jobs * (JOB_BYTES + body) + calls * (CALL_BYTES + body)
    print(
        f"full: {[(one - before) // worlds for one in full]} bytes per world, empty: {[one - before for one in empty]}"
    )
    assert max(full) - before < worlds * each
    # What one world takes is the least that somebody could forget to give back.
    assert max(empty) - before < each
    assert empty[-1] - empty[1] < WORLD_BYTES


async def fill_once(client: Client, fill: Any) -> None:
    """Everything that is compiled or cached at the first use is there before anybody measures."""
    await fill("warm")
    await client.ask("DELETE", "/__admin/worlds/warm")


def _allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.slow
def test_a_log_of_large_calls_is_bounded_in_bytes() -> None:
    kit = Kit(strict=False, apis=("ogc",))
    client = Straight(kit.front)
    body = {"inputs": {"message": "x" * (BODY_BYTES_MAX * 2)}}

    async def shout(count: int) -> None:
        for _ in range(count):
            # A process that is not there: nothing of it is kept but the call.
            assert (
                await client.ask("POST", "/ogc/processes/none/execution", body, OGC.headers)
            ).status == 404

    asyncio.run(shout(3))
    gc.collect()
    tracemalloc.start()
    try:
        before = _allocated()
        asyncio.run(shout(2 * KEPT_BYTES_MAX // BODY_BYTES_MAX))
        grown = _allocated() - before
    finally:
        tracemalloc.stop()
    kept = len(kit.front.worlds.default.calls)
    assert kept * BODY_BYTES_MAX <= KEPT_BYTES_MAX
    assert KEPT_BYTES_MAX / 2 < grown < KEPT_BYTES_MAX + kept * CALL_BYTES + 1_048_576


@pytest.mark.slow
def test_a_log_takes_about_as_much_as_it_says() -> None:
    kit = Kit(apis=("ogc", "titan"))
    client = Straight(kit.front)

    async def talk(count: int) -> None:
        for _ in range(count):
            assert (await client.ask("GET", "/titan/v1/jobs")).status == 200
            assert (await client.ask("GET", "/ogc/processes")).status == 200
            assert (await client.ask("GET", "/ogc/jobs/nobody")).status == 404

    asyncio.run(talk(3))
    log = kit.front.worlds.default.calls
    log.clear()
    gc.collect()
    tracemalloc.start()
    try:
        before = _allocated()
        asyncio.run(talk(1_000))
        grown = _allocated() - before
    finally:
        tracemalloc.stop()
    assert len(log) == 3_000
    assert grown < 1.25 * log.kept_bytes
    # Small answers take little.
    assert grown < 3_000 * CALL_BYTES
