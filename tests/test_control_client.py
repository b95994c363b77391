"""The client of the control API: against the control API in this process, and against made-up servers."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from simulator.control_client import ControlClient, ControlError, Event, ServerUnreachable, read_events
from tests.kit import Kit
from tests.running import serving

BASE = "http://127.0.0.1:4010"


class Door(httpx.BaseTransport):
    """Carries requests to a server in this process."""

    def __init__(self, kit: Kit) -> None:
        self.kit = kit
        self.asked: list[str] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        self.asked.append(f"{request.method} {path}")
        answer = self.kit.request(request.method, path, data=request.read(), headers=dict(request.headers))
        return httpx.Response(answer.status, headers=answer.headers, content=answer.content)


@pytest.fixture
def door() -> Door:
    return Door(Kit(apis=("ogc", "ica"), seed=7))


@pytest.fixture
def control(door: Door) -> Iterator[ControlClient]:
    with ControlClient(BASE, transport=door) as client:
        yield client


def made_up(answer: httpx.Response | Exception, **more: Any) -> ControlClient:
    """A client of a server that always answers so."""

    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ControlClient(BASE, transport=httpx.MockTransport(handle), **more)


def submit(door: Door, prefix: str = "") -> str:
    body = {"inputs": {"message": "hello"}}
    path = f"{prefix}/ogc/processes/echo/execution"
    answer = door.kit.post(path, json=body, headers={"Prefer": "respond-async"})
    job_id: str = answer.json()["jobID"]
    return job_id


# ---- worlds and clocks ----------------------------------------------------------------------------------------------


def test_a_world_is_made_seen_begun_anew_and_forgotten(control: ControlClient, door: Door) -> None:
    made = control.put_world("mine", scenario="slow", seed=3, time="60x")
    assert (made["name"], made["scenario"], made["seed"], made["time"]["mode"]) == ("mine", "slow", 3, "60x")
    submit(door, "/worlds/mine")
    assert control.world("mine")["jobs"] == 1
    assert [world["name"] for world in control.worlds()] == ["default", "mine"]
    anew = control.reset_world("mine")
    assert (anew["jobs"], anew["seed"]) == (0, 3)
    control.delete_world("mine")
    assert [world["name"] for world in control.worlds()] == ["default"]


def test_a_world_without_wishes_is_as_the_server_was_started(control: ControlClient) -> None:
    made = control.put_world("mine")
    assert (made["scenario"], made["seed"], made["time"]["mode"]) == ("happy", 7, "frozen")
    inline = control.put_world("mine", scenario={"jobs": [{"script": ["succeeded"]}]}, seed=0)
    assert (inline["scenario"], inline["seed"]) == ("inline", 0)


def test_health_and_ledger_are_what_the_server_says(control: ControlClient, door: Door) -> None:
    assert control.health()["apis"] == [api["name"] for api in control.apis()] == ["ogc", "ica"]
    assert "happy" in control.scenarios()
    door.kit.post("/ogc/processes/echo/execution", json={"inputs": 5})
    ledger = control.ledger(by="client")
    assert ledger["total"] == 1
    assert (ledger["lines"][0]["api"], ledger["lines"][0]["world"]) == ("ogc", "default")
    assert control.ledger("default") == ledger
    control.put_world("other")
    assert control.ledger("other")["lines"] == []
    assert control.ledger(by="server")["lines"] == []


def test_a_clock_moves_in_four_ways_and_tells_what_happened(control: ControlClient, door: Door) -> None:
    job_id = submit(door)
    assert control.clock("default") == {
        "now": "2030-01-01T00:00:00.000Z",
        "mode": "frozen",
        "next": "2030-01-01T00:00:01.000Z",
    }
    (event,) = control.advance("default", next=1)["events"]
    assert (event["job"], event["state"], event["at"]) == (job_id, "running", "2030-01-01T00:00:01.000Z")
    assert control.advance("default", by="500ms")["events"] == []
    (event,) = control.advance("default", to="2030-01-01T00:00:04Z")["events"]
    assert event["state"] == "succeeded"
    submit(door)
    assert control.advance("default", until_idle=True, limit="2s")["is_idle"] is False
    assert control.advance("default", until_idle=True)["is_idle"] is True
    assert control.set_clock("default", "poll")["mode"] == "poll"


def test_time_that_would_go_back_is_a_refusal_with_its_values(control: ControlClient) -> None:
    with pytest.raises(ControlError) as refusal:
        control.advance("default", to="2029-12-31T00:00:00Z")
    assert (refusal.value.status, refusal.value.title) == (409, "Conflict")
    assert str(refusal.value).startswith("Conflict: time does not go back: it is 2030-01-01T00:00:00.000Z")


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_a_job_is_held_released_stepped_and_forced(control: ControlClient, door: Door) -> None:
    job_id = submit(door)
    assert control.hold("default", "ogc", job_id)["held"] is True
    assert control.advance("default", by="1h")["events"] == []
    assert control.release("default", "ogc", job_id)["held"] is False
    assert control.step("default", "ogc", job_id)["state"] == "running"
    assert control.force("default", "ogc", job_id, "running", progress=60)["progress"] == 60
    error = {"code": "out_of_memory", "message": "Container killed"}
    assert (
        control.force("default", "ogc", job_id, "failed", error=error)["errors"][0]["code"] == "out_of_memory"
    )
    states = [move["state"] for move in control.job("default", "ogc", job_id)["history"]]
    assert [*dict.fromkeys(states)] == ["queued", "running", "failed"]


def test_a_forced_result_may_be_false_or_zero(control: ControlClient, door: Door) -> None:
    for result in (0, False, {"answer": 42}):
        job_id = submit(door)
        assert control.force("default", "ogc", job_id, "succeeded", result=result)["result"] == result


def test_jobs_are_asked_for_page_by_page(
    control: ControlClient, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.control_client.PAGE", 2)
    ids = [submit(door) for _ in range(5)]
    assert [job["id"] for job in control.jobs("default")] == ids
    assert [job["id"] for job in control.jobs("default", limit=3, offset=1)] == ids[1:4]
    door.asked.clear()
    assert [job["id"] for job in control.jobs("default", api="ogc", state="queued", limit=2)] == ids[:2]
    assert len(door.asked) == 1
    assert list(control.jobs("default", state="failed")) == []


# ---- calls ----------------------------------------------------------------------------------------------------------


def test_calls_are_found_counted_and_deleted(
    control: ControlClient, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulator.control_client.PAGE", 2)
    job_id = submit(door)
    for _ in range(4):
        door.kit.get(f"/ogc/jobs/{job_id}")
    door.kit.get("/ogc/jobs/nothing-here")
    assert [call["number"] for call in control.calls("default")] == [1, 2, 3, 4, 5, 6]
    assert [call["number"] for call in control.calls("default", after=2, limit=3)] == [3, 4, 5]
    assert [call["number"] for call in control.calls("default", newest_first=True, limit=2)] == [6, 5]
    assert [call["status"] for call in control.calls("default", status=404)] == [404]
    assert control.count_calls("default") == 6
    assert control.count_calls("default", method="get", job=job_id, status=None) == 4
    assert control.count_calls("default", role="submit") == 1
    assert control.count_calls("default", violations=True) == 0
    call = control.call("default", 1)
    assert json.loads(call["request"]["body"]) == {"inputs": {"message": "hello"}}
    with pytest.raises(ControlError) as refusal:
        control.call("default", 7)
    assert refusal.value.status == 404
    found = control.find_calls(
        "default", [{"role": "status"}, {"status": ["4XX"]}], newest_first=True, limit=2
    )
    assert found["counts"] == [5, 1]
    assert [call["number"] for call in found["calls"]] == [6, 5]
    control.delete_calls("default", status="4xx")
    assert [call["number"] for call in control.calls("default", after=4)] == [5]
    control.delete_calls("default")
    assert control.count_calls("default") == 0


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_every_problem_of_a_scenario_is_told(control: ControlClient) -> None:
    with pytest.raises(ControlError) as refusal:
        control.put_world("mine", scenario="jobs:\n- script: [quued: 1s]\n  on_cansel: ignored\n")
    assert refusal.value.status == 400
    assert [problem.split(": ")[0] for problem in refusal.value.problems] == ["inline:2:12", "inline:3:3"]
    assert str(refusal.value).count("\n  inline:") == 2


@pytest.mark.parametrize("name", ["nobody", "..", "../default", "a/b", "%2e%2e", "no body", "größe", "a\nb"])
def test_a_name_never_leads_elsewhere(control: ControlClient, name: str) -> None:
    control.put_world("other")
    for ask in (control.world, control.clock, control.delete_world, control.reset_world):
        with pytest.raises(ControlError) as refusal:
            ask(name)
        assert refusal.value.status in (400, 404)
        assert "world" in refusal.value.detail
    with pytest.raises(ControlError, match="job"):
        control.job("default", "ogc", "..")
    assert [world["name"] for world in control.worlds()] == ["default", "other"]


def test_a_token_is_sent_and_a_wrong_one_refused() -> None:
    door = Door(Kit(apis=("ogc",), admin_token="open sesame"))
    with ControlClient(BASE, token="open sesame", transport=door) as control:
        assert control.worlds()[0]["name"] == "default"
    for token in (None, "wrong", "größe"):
        with ControlClient(BASE, token=token, transport=door) as control:
            assert control.health()["status"] == "ok"
            with pytest.raises(ControlError) as refusal:
                control.worlds()
            assert refusal.value.status == 401
    with pytest.raises(ValueError, match="cannot be sent"):
        ControlClient(BASE, token="two\nlines")


def test_a_server_that_is_not_there_is_said_to_be_missing_and_how_to_start_one() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with ControlClient(url) as control, pytest.raises(ServerUnreachable) as refusal:
        control.health()
    assert refusal.value.url == url
    assert f"no understudy answers at {url} (" in str(refusal.value)
    assert "start one with `understudy serve`" in str(refusal.value)


def test_a_server_that_does_not_answer_in_time_is_unreachable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with (
            ControlClient(address, timeout_s=0.2) as control,
            pytest.raises(ServerUnreachable, match="in time"),
        ):
            control.health()


@pytest.mark.parametrize(
    "url", ["http://", "ftp://127.0.0.1", "http://127.0.0.1:port", "http://[::1", "", "::"]
)
def test_an_address_that_is_none_is_unreachable(url: str) -> None:
    with pytest.raises(ServerUnreachable), ControlClient(url) as control:
        control.health()


@pytest.mark.parametrize(
    ("answer", "status", "title"),
    [
        (httpx.Response(200, text="<html>hello</html>"), 200, "OK"),
        (httpx.Response(200, json=[1, 2]), 200, "OK"),
        (httpx.Response(502, text="<html>bad gateway</html>"), 502, "Bad Gateway"),
        (httpx.Response(404, json={"error": "no such page"}), 404, "Not Found"),
    ],
)
def test_another_server_is_no_understudy_and_no_traceback(
    answer: httpx.Response, status: int, title: str
) -> None:
    with made_up(answer) as control, pytest.raises(ControlError) as refusal:
        control.health()
    assert (refusal.value.status, refusal.value.title) == (status, title)
    assert refusal.value.detail


def test_the_way_to_a_server_leads_through_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with (
        ControlClient("127.0.0.1:1") as control,
        pytest.raises(ServerUnreachable, match=r"http://127\.0\.0\.1:1 "),
    ):
        control.health()


def test_members_that_a_later_server_says_besides_are_kept() -> None:
    world = {"name": "default", "colour": "green"}
    with made_up(httpx.Response(200, json={"worlds": [world], "more": 1})) as control:
        assert control.worlds() == [world]


# ---- events ---------------------------------------------------------------------------------------------------------


def test_events_have_an_id_a_type_and_a_value() -> None:
    stream = (
        b": welcome\n\nretry: 1000\n\n"
        b'id: 1.1\nevent: call\ndata: {"number": 1}\n\n'
        b"data:[1,\ndata: 2]\n\n"
        b"event: nothing\n\n"
        b"data: no json\r\nid\r\n\r\n"
        b'id: 1.4\ndata: "cut off'
    )
    assert list(read_events([stream])) == [
        Event("1.1", "call", {"number": 1}),
        Event("1.1", "message", [1, 2]),
        Event("", "message", "no json"),
    ]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_events_are_the_same_however_the_stream_is_cut(end: bytes) -> None:
    text = "a\u2028b\u0085c größe 東京"
    stream = b"\xef\xbb\xbf" + end.join(
        [b"id: 1", b"event: job", f"data: {json.dumps(text, ensure_ascii=False)}".encode(), b"", b""]
    )
    wanted = [Event("1", "job", text)]
    assert list(read_events([stream])) == wanted
    assert list(read_events(stream[place : place + 1] for place in range(len(stream)))) == wanted
    for place in range(len(stream)):
        assert list(read_events([stream[:place], b"", stream[place:]])) == wanted


def test_an_event_is_told_as_soon_as_it_is_complete() -> None:
    told: list[str] = []

    def stream() -> Iterator[bytes]:
        yield b"data: 1\r\n\r"
        told.append("one")
        yield b"\ndata: 2\n\n"

    events = read_events(stream())
    assert next(events).data == 1
    assert told == []
    assert next(events).data == 2


def test_events_of_a_world_are_asked_for_by_type_and_end_with_the_stream() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, content=b"event: call\ndata: {}\n\n")

    with ControlClient(BASE, token="t", transport=httpx.MockTransport(handle)) as control:
        events = control.events("mine", ["call", "job"], limit=9, last_id="1.7")
        assert len(asked) == 1
        assert list(events) == [Event("", "call", {})]
    assert asked[0].url.raw_path == b"/__admin/worlds/mine/events?types=call%2Cjob&limit=9"
    assert asked[0].headers["Last-Event-ID"] == "1.7"
    assert asked[0].headers["Accept"] == "text/event-stream"
    assert asked[0].headers["Authorization"] == "Bearer t"


def test_events_that_are_refused_or_broken_off_are_errors() -> None:
    problem = {"type": "about:blank", "title": "Not Found", "status": 404, "detail": "there is no world 'x'"}
    with (
        made_up(httpx.Response(404, json=problem)) as control,
        pytest.raises(ControlError, match="no world 'x'"),
    ):
        control.events("x")

    def broken() -> Iterator[bytes]:
        yield b"data: 1\n\n"
        raise httpx.ReadError("cut")

    with made_up(httpx.Response(200, content=broken())) as control:
        events = control.events("default")
        assert next(events).data == 1
        with pytest.raises(ServerUnreachable):
            next(events)


def test_a_real_server_tells_what_happens_and_whoever_comes_back_goes_on() -> None:
    with serving("ogc", "--time", "frozen") as running, ControlClient(running.url) as control:
        control.put_world("mine")
        events = control.events("mine", ["clock", "world"], limit=2)
        control.advance("mine", by="1s")
        control.set_clock("mine", "poll")
        first, second = events
        assert (first.type, first.data) == ("clock", {"at": "2030-01-01T00:00:01.000Z", "mode": "frozen"})
        assert second.data["mode"] == "poll"
        again = control.events("mine", last_id=first.id)
        assert next(again) == second
        control.delete_world("mine")
        (gone,) = again
        assert (gone.type, gone.data["change"]) == ("world", "deleted")
        with pytest.raises(ControlError, match="no world 'mine'"):
            control.events("mine")
