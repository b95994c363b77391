"""The front door: which path belongs to whom, with all APIs and with one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from simulator.assemble import API_MODULES
from tests.kit import Kit
from tests.web.made_up import Bakery, Wire

# ---- which path belongs to whom ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "//",
        "//bakery/shop/cake",
        "/Bakery/shop/cake",
        "/bakery%2Fshop/cake",
        "/bakery%2fopenapi.json",
        "/%2F",
        "/a%2Fb/%2F",
        "/%00",
        "/%FF%2F",
        "/%0A",
        "/" + "x" * 10_000,
        "/<script>",
        "/__administration",
    ],
)
def test_what_belongs_to_nobody_is_a_problem_that_says_what_is_served(path: str) -> None:
    kit = Bakery(names=("bakery", "mill"))
    for method in ("GET", "POST", "OPTIONS"):
        answer = kit.request(method, path)
        assert answer.status == 404
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert (problem["status"], problem["title"], problem["type"]) == (404, "Not Found", "about:blank")
        assert problem["detail"].startswith("there is nothing at /")
        assert "/bakery, /mill" in problem["hint"]
    assert kit.request("HEAD", path).content == b""


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a%2Fb", "/a%2Fb"),
        ("/a%2fb", "/a%2Fb"),
        ("/a%252Fb", "/a%2Fb"),
        ("/%C3%A4", "/ä"),
        ("/%FF%2F", "/�%2F"),
    ],
)
def test_a_path_is_told_so_that_people_can_read_it(path: str, shown: str) -> None:
    assert Bakery(names=("a", "b")).get(path).json()["detail"] == f"there is nothing at {shown}"


def test_an_encoded_slash_is_no_slash() -> None:
    kit = Bakery()
    assert kit.get("/bakery/shop%2Fcake").status == 404
    assert kit.get("/bakery/shop/cake%2F").status == 404
    assert kit.get("/bakery/shop/echo/a%2Fb/c").status == 404
    assert kit.get("/bakery%2Fshop/cake").status == 404
    assert kit.get("/bakery/ui%2F").status == 404
    assert kit.get("/__admin%2Fhealth").status == 404
    assert kit.get("/__admin/health%2F").status == 404


def test_two_apis_of_the_same_paths_do_not_meet() -> None:
    kit = Bakery(names=("bakery", "mill"))
    for name in ("bakery", "mill"):
        answer = kit.get(f"/{name}/shop/links")
        assert answer.headers["location"] == f"http://127.0.0.1:4010/{name}/shop/orders"
    assert kit.get("/shop/links").status == 404


def test_one_api_alone_is_served_at_its_documented_path_as_well() -> None:
    kit = Bakery()
    assert kit.get("/shop/links").headers["location"] == "http://127.0.0.1:4010/shop/orders"
    assert kit.get("/bakery/shop/links").headers["location"] == "http://127.0.0.1:4010/bakery/shop/orders"
    nothing = kit.get("/nothing")
    assert (nothing.status, nothing.json()) == (404, {"oops": "there is nothing at /nothing"})
    assert kit.get("/").json()["name"] == "understudy"
    assert kit.get("/__admin/health").json()["status"] == "ok"
    assert kit.get("/__admin").headers["content-type"] == "application/problem+json"
    assert kit.get("/bakery/openapi.json").status == 200


@pytest.mark.parametrize("name", API_MODULES)
def test_each_of_the_five_can_be_served_alone(name: str) -> None:
    kit = Kit(apis=(name,))
    service = kit.front.services[name]
    assert list(kit.front.services) == [name]
    headers = {"Authorization": "Bearer a-token"}
    for template, item in service.document["paths"].items():
        if "get" in item and "{" not in template:
            bare = kit.get(service.base_path + template, headers=headers)
            below = kit.get(f"/{name}{service.base_path}{template}", headers=headers)
            assert bare.status == below.status == 200
            prefix = f"http://127.0.0.1:4010/{name}"
            # Examples in a document name the usual prefix, wherever it is served.
            root = "http://127.0.0.1:4010"
            assert bare.text.replace(prefix, root) == below.text.replace(prefix, root)
    assert kit.get("/openapi.json").json() == service.document | {
        "servers": [{"url": service.base_path or "/"}]
    }
    assert kit.get("/ui/").content == kit.get(f"/{name}/ui/").content
    others = [one for one in API_MODULES if one != name]
    assert [kit.get(f"/{one}/openapi.json").status for one in others] == [404] * 4


def test_the_prefix_of_a_proxy_is_part_of_every_link() -> None:
    kit = Bakery()
    for path, location in [
        (b"/bakery/shop/links", "http://127.0.0.1:4010/behind/bakery/shop/orders"),
        (b"/shop/links", "http://127.0.0.1:4010/behind/shop/orders"),
        (b"/bakery", "/behind/bakery/ui/"),
    ]:
        wire = Wire(kit.front).exchange("GET", path, root_path="/behind")
        assert wire.answer.headers["location"] == location


def test_a_server_that_gives_no_raw_path_is_served_as_well() -> None:
    wire = Wire(Bakery().front).exchange("GET", b"", path="/bakery/shop/echo/ä b")
    assert wire.answer.json() == {"id": "ä b"}


def test_the_query_is_no_part_of_a_raw_path() -> None:
    wire = Wire(Bakery().front).exchange(
        "GET", b"/bakery/shop/echo/a%2Fb?q=%2F", path="/bakery/shop/echo/a/b", query=b"q=%2F"
    )
    assert wire.answer.json() == {"id": "a/b", "q": "/"}


def test_bytes_that_are_no_utf_8_anywhere_are_no_crash() -> None:
    wire = Wire(Bakery().front).exchange(
        "GET",
        b"/bakery/shop/echo/\xff%2F",
        query=b"q=\xff\xfe&\x00=\xff",
        headers=[
            (b"accept", b"\xff\xfe"),
            (b"host", b"\xff"),
            (b"\xff", b"\xff"),
            (b"content-type", b"\xff"),
        ],
    )
    assert wire.answer.status == 406
    wire = Wire(Bakery().front).exchange("GET", b"/bakery/shop/echo/\xff%2F", query=b"q=\xff")
    assert wire.answer.json() == {"id": "�/", "q": "ÿ"}


# ---- pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/", "/bakery", "/bakery/ui", "/bakery/ui/", "/bakery/openapi.json", "/bakery/ui/swagger-ui.css"]
)
def test_pages_can_only_be_read(path: str) -> None:
    kit = Bakery()
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        answer = kit.request(method, path)
        assert answer.status == 405
        assert answer.headers["allow"] == "GET, HEAD"
        assert answer.headers["content-type"] == "application/problem+json"
    got, head = kit.get(path), kit.request("HEAD", path)
    assert (head.status, head.headers, head.content) == (got.status, got.headers, b"")


# ---- life -------------------------------------------------------------------------------------------------------


def test_the_server_is_ready_when_every_stack_is_built() -> None:
    front = Bakery(names=("bakery", "mill")).front
    assert [len(service.endpoints) for service in front.services.values()] == [0, 0]
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append((message["type"], [len(service.endpoints) for service in front.services.values()]))

    asyncio.run(front({"type": "lifespan"}, receive, send))
    assert sent == [("lifespan.startup.complete", [7, 7]), ("lifespan.shutdown.complete", [7, 7])]


def test_a_web_socket_is_closed() -> None:
    sent: list[Any] = []

    async def receive() -> dict[str, str]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(Bakery().front({"type": "websocket", "path": "/"}, receive, send))
    assert sent == ["websocket.close"]


def test_calls_side_by_side_do_not_mix() -> None:
    """Many at once, some of which wait for their bodies."""
    front = Bakery().front

    async def talk(number: int) -> bytes:
        pieces = [b'{"cou', b'nt": %d' % number, b"}"]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0)
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/bakery/shop/orders",
            "raw_path": b"/bakery/shop/orders",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
        }
        await front(scope, receive, send)
        return bytes(sent[1]["body"])

    async def talk_all() -> list[bytes]:
        return await asyncio.gather(*map(talk, range(100)))

    bodies = asyncio.run(talk_all())
    assert bodies == [b'{"body":{"count":%d},"format":"application/json"}' % number for number in range(100)]
