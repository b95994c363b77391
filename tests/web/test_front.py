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
    assert kit.get("/__admin").headers["location"] == "/__admin/ui/"
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


# ---- worlds -----------------------------------------------------------------------------------------------------


def test_a_path_leads_into_a_world_and_every_link_stays_in_it() -> None:
    kit = Bakery(names=("bakery", "mill"))
    root = "http://127.0.0.1:4010/worlds/w1"
    assert kit.get("/worlds/w1/bakery/shop/links").headers["location"] == f"{root}/bakery/shop/orders"
    assert kit.get("/worlds/w1/bakery").headers["location"] == "/worlds/w1/bakery/ui/"
    [server] = kit.get("/worlds/w1/bakery/openapi.json").json()["servers"]
    assert server == {"url": "/worlds/w1/bakery/shop"}
    assert kit.get("/worlds/w1/").json()["apis"][0]["base_url"] == f"{root}/bakery/shop"
    assert kit.get("/worlds/w1").json() == kit.get("/worlds/w1/").json()
    wire = Wire(kit.front).exchange("GET", b"/worlds/w1/mill/shop/links", root_path="/behind")
    assert wire.answer.headers["location"] == "http://127.0.0.1:4010/behind/worlds/w1/mill/shop/orders"


def test_one_api_alone_is_served_at_its_documented_path_in_every_world() -> None:
    kit = Bakery()
    answer = kit.get("/worlds/w1/shop/links")
    assert answer.headers["location"] == "http://127.0.0.1:4010/worlds/w1/shop/orders"
    assert kit.get("/worlds/w1/openapi.json").json()["servers"] == [{"url": "/worlds/w1/shop"}]


def test_a_header_leads_into_a_world_and_the_path_wins() -> None:
    kit = Bakery()
    for path, location in [
        ("/bakery/shop/links", "/worlds/w2/bakery/shop/orders"),
        ("/shop/links", "/worlds/w2/shop/orders"),
        ("/worlds/w1/shop/links", "/worlds/w1/shop/orders"),
        ("/worlds/default/shop/links", "/worlds/default/shop/orders"),
    ]:
        answer = kit.get(path, headers={"X-Understudy-World": "w2"})
        assert answer.headers["location"] == f"http://127.0.0.1:4010{location}"
    assert kit.front.worlds.names() == ["default", "w2", "w1"]


def test_worlds_do_not_see_each_other() -> None:
    kit = Kit(apis=("ogc",))
    body = {"inputs": {"message": "x"}}
    headers = {"Prefer": "respond-async"}
    here, there = (
        kit.post(f"/worlds/{name}/ogc/processes/echo/execution", json=body, headers=headers) for name in "ab"
    )
    job_id = here.json()["jobID"]
    # Same seed, same requests, same answers; and yet these are two jobs.
    assert there.json()["jobID"] == job_id
    kit.post("/__admin/worlds/a/clock/advance", json={"by": "1h"})
    statuses = [kit.get(f"/worlds/{name}/ogc/jobs/{job_id}").json()["status"] for name in "ab"]
    assert statuses == ["successful", "accepted"]
    assert kit.get(f"/ogc/jobs/{job_id}").status == 404


@pytest.mark.parametrize(
    "name",
    [
        "",
        "W",
        "-a",
        ".",
        "..",
        "%2E%2E",
        "a%2Fb",
        "a b",
        "ä",
        "%00",
        "a%0Ab",
        "a" * 65,
        "%F0%9F%98%80",
        "default%2F..",
    ],
)
def test_what_cannot_be_a_name_is_refused_and_makes_no_world(name: str) -> None:
    kit = Bakery()
    for path in (f"/worlds/{name}/bakery/shop/cake", f"/worlds/{name}/", f"/worlds/{name}/shop/cake"):
        answer = kit.get(path)
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
        assert "a-z, 0-9, dot, dash and underscore" in answer.json()["detail"]
        assert len(answer.content) < 500
    assert kit.front.worlds.names() == ["default"]


@pytest.mark.parametrize("name", [b"", b"W", b"../a", b"a, b", b"a\tb", b"\xff", b"a" * 10_000])
def test_a_header_that_names_nothing_is_refused(name: bytes) -> None:
    kit = Bakery()
    wire = Wire(kit.front).exchange("GET", b"/bakery/shop/cake", headers=[(b"x-understudy-world", name)])
    assert wire.answer.status == 400
    assert kit.front.worlds.names() == ["default"]


def test_two_headers_that_name_worlds_name_none() -> None:
    headers = [(b"x-understudy-world", b"a"), (b"x-understudy-world", b"b")]
    assert Wire(Bakery().front).exchange("GET", b"/bakery/shop/cake", headers=headers).answer.status == 400


@pytest.mark.parametrize(
    "path", ["/worlds/w1/nothing", "/worlds/w1/worlds/w2/bakery/shop/cake", "/worlds/w1/__admin/health"]
)
def test_what_belongs_to_nobody_makes_no_world(path: str) -> None:
    kit = Bakery(names=("bakery", "mill"))
    answer = kit.get(path)
    assert (answer.status, answer.json()["detail"]) == (404, f"there is nothing at {path}")
    assert kit.front.worlds.names() == ["default"]


def test_a_flood_of_new_worlds_is_stopped_and_the_others_go_on() -> None:
    kit = Bakery(worlds_max=3)
    statuses = [kit.get(f"/worlds/w{number}/bakery/shop/cake").status for number in range(10)]
    assert statuses == [200, 200] + [503] * 8
    problem = kit.get("/bakery/shop/cake", headers={"X-Understudy-World": "another"}).json()
    assert "--max-worlds" in problem["detail"]
    assert "DELETE /__admin/worlds/NAME" in problem["hint"]
    assert [kit.get(path).status for path in ("/worlds/w0/bakery/shop/cake", "/bakery/shop/cake")] == [
        200,
        200,
    ]


def test_a_world_that_nobody_uses_makes_room() -> None:
    now_ms = 0
    kit = Bakery(worlds_max=3, idle_ms=1000, timesource=lambda: now_ms)
    for name in ("old", "used"):
        kit.get(f"/worlds/{name}/bakery/shop/cake")
    now_ms = 900
    kit.get("/worlds/used/bakery/shop/cake")
    now_ms = 1500
    assert kit.get("/worlds/new/bakery/shop/cake").status == 200
    assert kit.front.worlds.names() == ["default", "used", "new"]


# ---- who may use the control API, and whose pages ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:4010", 200),
        ("127.0.0.1", 200),
        ("192.168.1.7:4010", 200),
        ("[::1]:4010", 200),
        ("[2001:db8::1]", 200),
        ("localhost", 200),
        ("localhost:4010", 200),
        ("LocalHost:4010", 200),
        ("tests.localhost:4010", 200),
        ("evil.example", 403),
        ("evil.example:4010", 403),
        ("localhost.evil.example", 403),
        ("evillocalhost", 403),
        ("127.0.0.1.evil.example:4010", 403),
        ("127.0.0.1:4010:evil.example", 403),
        ("[evil.example]", 403),
        ("", 403),
        ("\xff", 403),
        ("x" * 10_000, 403),
    ],
)
def test_without_a_token_the_control_api_answers_to_its_own_names_alone(host: str, status: int) -> None:
    kit = Bakery()
    here = "/__admin/worlds/default/clock/advance"
    answer = kit.post(here, json={"by": "5s"}, headers={"Host": host})
    assert answer.status == status
    assert kit.world.now_ms - kit.world.start_ms == (5_000 if status == 200 else 0)
    assert kit.get("/bakery/shop/cake", headers={"Host": host}).status == 200
    if status == 403:
        assert answer.headers["content-type"] == "application/problem+json"
        assert "--admin-token" in answer.json()["hint"]
        assert len(answer.content) < 500


def test_with_a_token_the_control_api_answers_to_any_name() -> None:
    kit = Bakery(admin_token="secret")
    headers = {"Host": "simulator.example:4010", "Authorization": "Bearer secret"}
    assert kit.get("/__admin/worlds", headers=headers).status == 200
    assert kit.get("/__admin/worlds", headers={"Host": "simulator.example"}).status == 401
    assert kit.get("/__admin/health", headers={"Host": "simulator.example"}).status == 200


def test_a_client_that_names_no_host_is_no_browser() -> None:
    assert Wire(Bakery().front).exchange("GET", b"/__admin/worlds").answer.status == 200


ORIGIN = "http://localhost:3000"
PREFLIGHT = {"Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "authorization"}


@pytest.mark.parametrize("path", ["/bakery/shop/cake", "/bakery/shop/nothing", "/__admin/worlds", "/", "/x"])
def test_no_page_of_another_origin_is_allowed_anything_unless_it_was_asked_for(path: str) -> None:
    kit = Bakery()
    for method, more in (("GET", {}), ("OPTIONS", PREFLIGHT)):
        answer = kit.request(method, path, headers={"Origin": ORIGIN, **more})
        assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize(
    "path", ["/ogc/processes", "/ogc/nothing", "/__admin/worlds", "/__admin/health", "/"]
)
def test_pages_of_an_allowed_origin_may_read_answers(path: str) -> None:
    kit = Kit(apis=("ogc",), cors=[ORIGIN, "http://127.0.0.1:8080"])
    for headers in ({"Origin": ORIGIN}, {"Origin": ORIGIN, "Sec-Fetch-Site": "cross-site"}):
        answer = kit.get(path, headers=headers)
        assert answer.status in (200, 404)
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Location", "Retry-After", "X-Understudy-Cause", "X-Understudy-Violation"} <= {*exposed}
        assert "origin" in answer.headers["vary"].lower()
    assert "access-control-allow-origin" not in kit.get(path).headers


def test_pages_of_an_allowed_origin_may_steer_and_others_may_not() -> None:
    kit = Kit(apis=("ogc",), cors=[ORIGIN])
    here = "/__admin/worlds/default/clock/advance"
    for origin, status in ((ORIGIN, 200), ("http://evil.example", 403), ("null", 403)):
        headers = {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        assert kit.post(here, json={"by": "5s"}, headers=headers).status == status
    assert kit.post(here, json={"by": "5s"}, headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    assert kit.world.now_ms - kit.world.start_ms == 5_000


@pytest.mark.parametrize("path", ["/ogc/jobs/1", "/__admin/worlds/w"])
def test_a_preflight_says_what_an_allowed_origin_may_send(path: str) -> None:
    kit = Kit(apis=("ogc",), cors=[ORIGIN])
    answer = kit.request("OPTIONS", path, headers={"Origin": ORIGIN, **PREFLIGHT})
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, ORIGIN)
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == "authorization"
    evil = kit.request("OPTIONS", path, headers={"Origin": "http://evil.example", **PREFLIGHT})
    assert (evil.status, "access-control-allow-origin" in evil.headers) == (400, False)
    plain = kit.request("OPTIONS", path)
    assert (plain.status, "DELETE" in plain.headers["allow"]) == (204, True)


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
