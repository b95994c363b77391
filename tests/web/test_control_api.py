"""The control API: the server, its worlds, their clocks, jobs and calls."""

from __future__ import annotations

import gc
import json
import weakref
from typing import Any

import pytest

from simulator import __version__
from simulator.assemble import API_MODULES
from tests.kit import Answer, Kit
from tests.web.made_up import Bakery, Wire

EXECUTION = "/ogc/processes/echo/execution"
ASYNC = {"Prefer": "respond-async"}
ADVANCE = "/__admin/worlds/default/clock/advance"


def assert_problem(answer: Answer, status: int) -> dict[str, Any]:
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = answer.json()
    assert problem["status"] == status
    assert problem["detail"]
    return problem


def test_health_tells_what_is_running() -> None:
    answer = Kit(seed=11, scenario="slow").get("/__admin/health")
    assert answer.status == 200
    assert answer.json() == {
        "status": "ok",
        "version": __version__,
        "apis": list(API_MODULES),
        "time": {"mode": "frozen", "now": "2030-01-01T00:00:00.000Z"},
        "scenario": "slow",
        "seed": 11,
    }


def test_health_tells_the_time_of_the_world() -> None:
    kit = Bakery(time="60x", timesource=iter(range(0, 10**9, 1000)).__next__)
    first = kit.get("/__admin/health").json()["time"]
    second = kit.get("/__admin/health").json()["time"]
    assert first["mode"] == "60x"
    assert first["now"] < second["now"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_health_can_only_be_read(method: str) -> None:
    answer = Bakery().request(method, "/__admin/health")
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    assert Bakery().request("HEAD", "/__admin/health").content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_the_clock_is_moved_by_post_alone(method: str) -> None:
    kit = Bakery()
    answer = kit.request(method, ADVANCE, json={"by": "1h"})
    assert answer.status == 405
    assert answer.headers["allow"] == "POST, OPTIONS"
    assert kit.get("/__admin/health").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "path",
    [
        "/__admin/",
        "/__admin/nothing",
        "/__admin/worlds/default/nothing",
        "/__admin/worlds//clock/advance",
        "/__admin/a%2Fb",
        "/__admin//health",
    ],
)
def test_any_other_path_is_a_problem_that_says_what_there_is(path: str) -> None:
    problem = assert_problem(Bakery().get(path), 404)
    assert "/__admin/health" in problem["hint"]


@pytest.mark.parametrize(
    ("by", "now"),
    [
        ("5s", "2030-01-01T00:00:05.000Z"),
        ("250ms", "2030-01-01T00:00:00.250Z"),
        ("1d2h", "2030-01-02T02:00:00.000Z"),
        ("PT1M", "2030-01-01T00:01:00.000Z"),
        ("0s", "2030-01-01T00:00:00.000Z"),
        ("100d", "2030-04-11T00:00:00.000Z"),
    ],
)
def test_time_moves_by_a_duration(by: str, now: str) -> None:
    kit = Bakery()
    answer = kit.post(ADVANCE, json={"by": by})
    assert (answer.status, answer.json()) == (200, {"now": now, "events": []})
    assert kit.get("/__admin/health").json()["time"]["now"] == now


def test_all_that_happened_meanwhile_is_told_in_order() -> None:
    kit = Kit("jobs:\n  - script: [queued: 1s, running: 3s, succeeded]\n")
    answer = kit.post("/titan/v1/jobs", json={"jobs": [{"image": "a"}, {"image": "b", "delay": 2}]})
    first, second = [job["id"] for job in answer.json()["jobs"]]
    kit.post(EXECUTION, json={"inputs": {"message": "x"}}, headers=ASYNC)
    events = kit.advance("1h")
    assert [(event["at"][17:], event["api"], event["state"]) for event in events] == [
        ("01.000Z", "titan", "running"),
        ("01.000Z", "ogc", "running"),
        ("02.000Z", "titan", "queued"),
        ("03.000Z", "titan", "running"),
        ("04.000Z", "titan", "succeeded"),
        ("04.000Z", "ogc", "succeeded"),
        ("06.000Z", "titan", "succeeded"),
    ]
    assert [event["job"] for event in events if event["api"] == "titan"] == [
        first,
        second,
        second,
        first,
        second,
    ]
    assert {event["cause"] for event in events} == {"inline:2"}
    assert kit.advance("1h") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5s",
        b"{",
        b"\xff",
        b"null",
        b"[]",
        b'"5s"',
        b"{}",
        b'{"by": 5}',
        b'{"by": null}',
        b'{"by": ""}',
        b'{"by": "soon"}',
        b'{"by": "-5s"}',
        b'{"by": "5"}',
        b'{"by": "5 s"}',
        b'{"by": "1e3s"}',
        b'{"by": "P"}',
        b'{"by": "101000d"}',
        b'{"by": "' + b"9" * 10_000 + b's"}',
        b'{"by": "5s", "to": "now"}',
        b'{"BY": "5s"}',
        b"[" * 10_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_duration_moves_nothing(body: bytes) -> None:
    kit = Bakery()
    assert_problem(kit.post(ADVANCE, data=body, headers={"Content-Type": "application/json"}), 400)
    assert kit.get("/__admin/health").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


def test_a_wrong_key_is_named() -> None:
    problem = assert_problem(Bakery().post(ADVANCE, json={"by": "5s", "bye": 1}), 400)
    assert "'bye'" in problem["detail"]


def test_time_ends_with_the_year_9999() -> None:
    kit = Kit(apis=("ogc",))
    for _ in range(79):
        assert kit.post(ADVANCE, json={"by": "36500d"}).status == 200
    at_the_end = kit.get("/__admin/health").json()["time"]["now"]
    assert at_the_end > "9920"
    problem = assert_problem(kit.post(ADVANCE, json={"by": "36500d"}), 400)
    assert "9999" in problem["detail"]
    assert kit.get("/__admin/health").json()["time"]["now"] == at_the_end
    # Everything is still served, with dates that can be written.
    answer = kit.post(EXECUTION, json={"inputs": {"message": "x"}}, headers=ASYNC)
    assert answer.status == 201
    assert answer.json()["created"] == at_the_end
    assert answer.headers["date"][12:16] == at_the_end[:4]


def test_time_ends_where_the_clock_is_and_not_where_the_world_was_last_seen() -> None:
    now_ms = 0
    kit = Bakery(time="real", timesource=lambda: now_ms)
    now_ms = 253_402_300_790_000
    assert_problem(kit.post(ADVANCE, json={"by": "10s"}), 400)
    assert kit.post(ADVANCE, json={"by": "9s"}).json()["now"] == "9999-12-31T23:59:59.000Z"


def test_an_unknown_world_is_a_problem_that_names_the_known_ones() -> None:
    problem = assert_problem(Bakery().post("/__admin/worlds/nowhere/clock/advance", json={"by": "5s"}), 404)
    assert problem["detail"] == "there is no world 'nowhere'; there are: default"


@pytest.mark.parametrize(
    "name", ["Default", "%2F", "..%2F..", "default%2F", "-a", "a" * 65, "%00", "a%0A", "%C3%A4"]
)
def test_what_can_be_no_name_is_no_world(name: str) -> None:
    problem = assert_problem(Bakery().post(f"/__admin/worlds/{name}/clock/advance", json={"by": "5s"}), 400)
    assert "parameter world" in problem["detail"]


def test_a_body_is_no_larger_than_it_needs_to_be() -> None:
    large = b'{"by": "5s"' + b" " * 1_100_000 + b"}"
    kit = Bakery()
    for more in ({"data": large}, {"chunks": [large[:10], large[10:]]}):
        answer = kit.post(ADVANCE, headers={"Content-Type": "application/json"}, **more)
        assert_problem(answer, 413)
        assert answer.headers["connection"] == "close"


def test_a_body_in_pieces_is_the_same_body() -> None:
    body = json.dumps({"by": "5s"}).encode()
    answer = Bakery().post(ADVANCE, chunks=[body[:3], b"", body[3:]])
    assert answer.json()["now"] == "2030-01-01T00:00:05.000Z"


def test_a_client_that_goes_away_gets_no_answer_and_moves_nothing() -> None:
    kit = Bakery()
    begun = [{"type": "http.request", "body": b'{"by"', "more_body": True}]
    assert Wire(kit.front).exchange("POST", ADVANCE.encode(), messages=begun).sent == []
    assert kit.get("/__admin/health").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


# ---- the server -------------------------------------------------------------------------------------------------


def test_the_server_tells_what_it_is_and_what_it_has() -> None:
    kit = Kit(apis=("ogc", "titan"))
    assert kit.get("/__admin/version").json() == {"name": "understudy", "version": __version__}
    [ogc, titan] = kit.get("/__admin/apis").json()["apis"]
    assert (ogc["name"], ogc["path"], titan["path"]) == ("ogc", "/ogc", "/titan/v1")
    assert titan["operations"] == len(kit.front.services["titan"].api.operations)
    assert "happy" in kit.get("/__admin/scenarios").json()["scenarios"]


def test_the_control_api_is_none_of_the_simulated_ones() -> None:
    kit = Bakery()
    assert kit.get("/__admin/health").json()["apis"] == ["bakery"]
    assert [api["name"] for api in kit.get("/").json()["apis"]] == ["bakery"]
    assert kit.get("/control/health").status == 404


def test_the_ledger_tells_who_broke_which_document() -> None:
    kit = Bakery()
    kit.get("/bakery/shop/tally/1000")
    kit.get("/bakery/shop/tally/2000")
    kit.get("/__admin/worlds/BAD")
    ledger = kit.get("/__admin/ledger?by=client").json()
    assert ledger["total"] == 2
    assert [(line["api"], line["operation"], line["pointer"]) for line in ledger["lines"]] == [
        ("bakery", "tally", "number")
    ] * 2
    assert [(line["world"], line["at"], line["declared"]) for line in ledger["lines"]] == [
        ("default", "2030-01-01T00:00:00.000Z", False)
    ] * 2
    [last] = kit.get("/__admin/ledger?limit=1").json()["lines"]
    assert "2000" in last["message"]
    assert kit.get("/__admin/ledger?by=server").json()["lines"] == []


def test_each_world_has_a_ledger_of_its_own() -> None:
    kit = Bakery()
    kit.get("/bakery/shop/tally/1000")
    kit.get("/worlds/w/bakery/shop/tally/2000")
    kit.post("/__admin/worlds/w/clock/advance", json={"by": "5s"})
    kit.get("/worlds/w/bakery/shop/tally/3000")
    ledger = kit.get("/__admin/worlds/w/ledger").json()
    assert (ledger["total"], [(line["world"], line["at"][17:]) for line in ledger["lines"]]) == (
        2,
        [("w", "00.000Z"), ("w", "05.000Z")],
    )
    assert kit.get("/__admin/worlds/w/ledger?limit=1").json()["lines"] == ledger["lines"][1:]
    assert kit.get("/__admin/worlds/w/ledger?by=server").json()["lines"] == []
    assert [line["world"] for line in kit.get("/__admin/ledger").json()["lines"]] == ["default", "w", "w"]
    kit.post("/__admin/worlds/w/reset")
    assert kit.get("/__admin/worlds/w/ledger").json() == {"total": 0, "lines": []}
    assert kit.get("/__admin/ledger").json()["total"] == 3
    assert_problem(kit.get("/__admin/worlds/nowhere/ledger"), 404)


def test_what_a_scenario_breaks_on_purpose_is_declared_and_nobodys_mistake() -> None:
    rule = "{when: {role: list}, answer: {status: 418}, violates: [status]}"
    kit = Kit(f"{SCRIPTED}calls: [{rule}]\n", apis=("ogc",))
    answer = kit.get("/ogc/jobs")
    assert (answer.status, "x-understudy-violation" in answer.headers) == (418, False)
    [line] = kit.get("/__admin/worlds/default/ledger").json()["lines"]
    assert (line["by"], line["operation"], line["declared"]) == ("server", "get_jobs_jobs_get", True)
    assert kit.ledger.lines("server") == []


def test_a_scenario_and_a_client_cannot_disturb_the_control_api() -> None:
    kit = Bakery(scenario="jobs: [{script: [succeeded]}]\ncalls: [{answer: {status: 404}}]\n")
    assert kit.get("/bakery/shop/cake").status == 404
    headers = {"Prefer": "code=503", "X-Understudy-Delay": "1h", "X-Understudy-World": "NO NAME"}
    assert kit.get("/__admin/health", headers=headers).status == 200


def test_a_scenario_that_is_served_does_not_change_what_the_control_api_is_asked_about() -> None:
    kit = Bakery()
    kit.get("/__admin/health")
    assert kit.get("/__admin/worlds/default/calls").json() == {"calls": []}


# ---- the token --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "credentials", [None, "Bearer wrong", "Basic secret", "secret", "Bearer", "Bearer \xff"]
)
def test_without_the_token_nothing_but_health_is_answered(credentials: str | None) -> None:
    kit = Bakery(admin_token="secret")
    headers = {} if credentials is None else {"Authorization": credentials}
    answer = kit.get("/__admin/worlds", headers=headers)
    problem = assert_problem(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "secret" not in problem["detail"]
    assert kit.post(ADVANCE, json={"by": "5s"}, headers=headers).status == 401
    assert kit.get("/__admin/health", headers=headers).json()["time"]["now"] == "2030-01-01T00:00:00.000Z"
    assert kit.get("/__admin/openapi.json", headers=headers).status == 200


def test_with_the_token_everything_is_answered() -> None:
    kit = Bakery(admin_token="secret")
    for scheme in ("Bearer", "bearer"):
        answer = kit.post(ADVANCE, json={"by": "5s"}, headers={"Authorization": f"{scheme} secret"})
        assert answer.status == 200


# ---- worlds -----------------------------------------------------------------------------------------------------


def test_a_world_is_made_looked_at_and_taken_away() -> None:
    kit = Kit(apis=("ogc",))
    wish = {"scenario": "slow", "seed": 3, "time": "60x"}
    made = kit.put("/__admin/worlds/mine", json=wish)
    assert made.status == 201
    assert made.headers["location"] == "http://127.0.0.1:4010/__admin/worlds/mine"
    world = made.json()
    assert (world["name"], world["scenario"], world["seed"], world["path"]) == (
        "mine",
        "slow",
        3,
        "/worlds/mine",
    )
    assert world["time"]["mode"] == "60x"
    names = [one["name"] for one in kit.get("/__admin/worlds").json()["worlds"]]
    assert names == ["default", "mine"]
    assert kit.delete("/__admin/worlds/mine").status == 204
    assert_problem(kit.get("/__admin/worlds/mine"), 404)
    assert_problem(kit.delete("/__admin/worlds/mine"), 404)


def test_what_is_not_wished_for_is_as_the_server_was_started() -> None:
    kit = Kit(apis=("ogc",), seed=11, scenario="slow")
    for more in ({}, {"json": {}}):
        world = kit.put("/__admin/worlds/plain", **more).json()
        assert (world["scenario"], world["seed"], world["time"]["mode"]) == ("slow", 11, "frozen")


def test_a_world_that_is_there_is_made_anew() -> None:
    kit = Kit(apis=("ogc",))
    kit.post(f"/worlds/w{EXECUTION}", json={"inputs": {"message": "x"}}, headers=ASYNC)
    kit.post("/__admin/worlds/w/clock/advance", json={"by": "1h"})
    assert kit.get("/__admin/worlds/w").json()["jobs"] == 1
    again = kit.put("/__admin/worlds/w", json={"seed": 99})
    assert again.status == 200
    assert (again.json()["jobs"], again.json()["calls"], again.json()["seed"]) == (0, 0, 99)
    assert again.json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


def test_a_reset_keeps_the_settings_of_a_world() -> None:
    kit = Kit(apis=("ogc",))
    kit.put("/__admin/worlds/w", json={"scenario": "slow", "seed": 5})
    path = f"/worlds/w{EXECUTION}"
    first = kit.post(path, json={"inputs": {"message": "x"}}, headers=ASYNC)
    kit.post("/__admin/worlds/w/clock/advance", json={"by": "1h"})
    world = kit.post("/__admin/worlds/w/reset").json()
    assert (world["scenario"], world["seed"], world["jobs"], world["calls"]) == ("slow", 5, 0, 0)
    assert kit.post(path, json={"inputs": {"message": "x"}}, headers=ASYNC).content == first.content


def test_the_default_world_is_reset_and_never_deleted() -> None:
    kit = Bakery()
    kit.advance("1h")
    assert "reset it" in assert_problem(kit.delete("/__admin/worlds/default"), 409)["detail"]
    assert kit.post("/__admin/worlds/default/reset").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"
    assert kit.get("/bakery/shop/cake").headers["date"] == "Tue, 01 Jan 2030 00:00:00 GMT"


@pytest.mark.parametrize(
    "scenario",
    [{"jobs": [{"script": [{"queued": "7s"}, "succeeded"]}]}, "jobs:\n  - script: [queued: 7s, succeeded]\n"],
    ids=["object", "text"],
)
def test_a_world_plays_a_scenario_that_came_with_the_wish(scenario: Any) -> None:
    kit = Kit(apis=("ogc",))
    assert kit.put("/__admin/worlds/w", json={"scenario": scenario}).json()["scenario"] == "inline"
    kit.post(f"/worlds/w{EXECUTION}", json={"inputs": {"message": "x"}}, headers=ASYNC)
    [event] = kit.post("/__admin/worlds/w/clock/advance", json={"by": "1h"}).json()["events"]
    assert (event["at"], event["state"]) == ("2030-01-01T00:00:07.000Z", "succeeded")


def test_all_that_is_wrong_with_a_scenario_is_told_at_once() -> None:
    kit = Kit(apis=("ogc",))
    wish = {"scenario": {"jobs": [{"script": ["succeded"]}], "wrokers": {}}}
    problem = assert_problem(kit.put("/__admin/worlds/w", json=wish), 400)
    assert len(problem["problems"]) == 2
    assert "did you mean" in problem["problems"][0]
    assert kit.get("/__admin/worlds/w").status == 404


@pytest.mark.parametrize("name", ["/etc/passwd", "../happy.yaml", "scenarios/happy.yaml", "nowhere"])
def test_no_file_is_read_because_somebody_asks_for_it(name: str) -> None:
    kit = Kit(apis=("ogc",))
    problem = assert_problem(kit.put("/__admin/worlds/w", json={"scenario": name}), 400)
    assert problem["detail"].startswith(f"there is no scenario '{name}', ")
    text = f"extends: {name}\n"
    assert_problem(kit.put("/__admin/worlds/w", json={"scenario": text}), 400)


@pytest.mark.parametrize("time", ["0x", "10000000x", "9999999x", "fast", "-1x", "", "1e3x", 60, None])
def test_what_is_no_way_of_time_makes_no_world(time: Any) -> None:
    kit = Bakery()
    assert_problem(kit.put("/__admin/worlds/w", json={"time": time}), 400)
    assert_problem(kit.put("/__admin/worlds/default/clock", json={"mode": time}), 400)
    assert kit.get("/__admin/worlds/w").status == 404


def test_where_a_scenario_is_wrong_is_told_by_line_and_column() -> None:
    kit = Kit(apis=("ogc",))
    text = "jobs:\n  - script: [queued: 1s, succeded]\nwrokers: {}\n"
    problem = assert_problem(kit.put("/__admin/worlds/w", json={"scenario": text}), 400)
    assert [one[: one.index(": ")] for one in problem["problems"]] == ["inline:2:26", "inline:3:1"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/clock"),
        ("POST", "/clock/advance"),
        ("GET", "/jobs"),
        ("GET", "/calls"),
        ("GET", "/ledger"),
        ("GET", "/events?for=0s"),
    ],
)
def test_a_world_that_somebody_controls_is_in_use(method: str, path: str) -> None:
    now_ms = 0
    kit = Bakery(worlds_max=3, idle_ms=1000, timesource=lambda: now_ms)
    for name in ("idle", "steered"):
        kit.get(f"/worlds/{name}/bakery/shop/cake")
    now_ms = 900
    body = {"json": {"by": "1s"}} if method == "POST" else {}
    assert kit.request(method, f"/__admin/worlds/steered{path}", **body).status == 200
    now_ms = 1500
    # To look at all of them is to use none.
    assert len(kit.get("/__admin/worlds").json()["worlds"]) == 3
    kit.get("/worlds/new/bakery/shop/cake")
    assert kit.front.worlds.names() == ["default", "steered", "new"]


def test_there_are_no_more_worlds_than_there_may_be() -> None:
    kit = Bakery(worlds_max=3)
    assert [kit.put(f"/__admin/worlds/w{number}").status for number in range(3)] == [201, 201, 503]
    problem = assert_problem(kit.put("/__admin/worlds/one-more"), 503)
    assert problem["detail"] == "the limit of 3 worlds is reached; raise it with --max-worlds"
    assert kit.put("/__admin/worlds/w0").status == 200
    assert kit.delete("/__admin/worlds/w1").status == 204
    assert kit.put("/__admin/worlds/one-more").status == 201


# ---- clocks -----------------------------------------------------------------------------------------------------


def with_jobs(kit: Kit, count: int = 1) -> list[str]:
    """So many jobs in the world `w`; their ids."""
    answers = [
        kit.post(f"/worlds/w{EXECUTION}", json={"inputs": {"message": "x"}}, headers=ASYNC)
        for _ in range(count)
    ]
    return [answer.json()["jobID"] for answer in answers]


def advance(kit: Kit, **wish: Any) -> Any:
    """What a clock that was moved answers."""
    answer = kit.post("/__admin/worlds/w/clock/advance", json=wish)
    assert answer.status == 200, answer.text
    return answer.json()


SCRIPTED = "jobs:\n  - script: [queued: 1s, running: 3s, succeeded]\n"


def test_a_clock_says_when_something_happens_next() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    with_jobs(kit)
    clock = kit.get("/__admin/worlds/w/clock").json()
    assert clock == {
        "now": "2030-01-01T00:00:00.000Z",
        "mode": "frozen",
        "next": "2030-01-01T00:00:01.000Z",
    }


def test_time_moves_to_the_next_events() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    with_jobs(kit, 2)
    first = advance(kit, next=1)
    assert (first["now"], len(first["events"])) == ("2030-01-01T00:00:01.000Z", 2)
    both = advance(kit, next=5)
    assert (both["now"], len(both["events"])) == ("2030-01-01T00:00:04.000Z", 2)


def test_time_moves_until_nothing_is_due_any_more() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    with_jobs(kit)
    short = advance(kit, until="idle", limit="2s")
    assert (short["is_idle"], [event["state"] for event in short["events"]]) == (False, ["running"])
    whole = advance(kit, until="idle")
    assert (whole["is_idle"], whole["now"]) == (True, "2030-01-01T00:00:04.000Z")
    assert [event["state"] for event in whole["events"]] == ["succeeded"]


def test_time_moves_to_an_instant_and_never_back() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    with_jobs(kit)
    assert advance(kit, to="2030-01-01T01:00:02.5+01:00")["now"] == "2030-01-01T00:00:02.500Z"
    answer = kit.post("/__admin/worlds/w/clock/advance", json={"to": "2030-01-01T00:00:02Z"})
    problem = assert_problem(answer, 409)
    assert problem["detail"].startswith("time does not go back: it is 2030-01-01T00:00:02.500Z")
    assert kit.get("/__admin/worlds/w/clock").json()["now"] == "2030-01-01T00:00:02.500Z"


@pytest.mark.parametrize(
    "wish",
    [
        {"by": "1s", "to": "2030-01-01T00:00:05Z"},
        {"next": 1, "until": "idle"},
        {"by": "1s", "limit": "1s"},
        {"limit": "1s"},
        {"next": 0},
        {"next": 1.5},
        {"next": 10**9},
        {"until": "later"},
        {"to": "tomorrow"},
        {"to": "2030-01-01"},
        {"to": "2030-02-30T00:00:00Z"},
        {"to": "9999-12-31T23:59:59-01:00"},
        {"to": "2200-01-01T00:00:00Z"},
    ],
    ids=str,
)
def test_what_cannot_be_meant_moves_nothing(wish: dict[str, Any]) -> None:
    kit = Bakery()
    assert_problem(kit.post(ADVANCE, json=wish), 400)
    assert kit.get("/__admin/health").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


def test_time_moves_a_hundred_years_at_once_and_no_further() -> None:
    kit = Kit(apis=("ogc",))
    assert kit.post(ADVANCE, json={"to": "2129-12-07T00:00:00Z"}).status == 200
    for wish in ({"to": "2230-01-01T00:00:00Z"}, {"by": "36501d"}):
        problem = assert_problem(kit.post(ADVANCE, json=wish), 400)
        assert "hundred years" in problem["detail"] or "36500" in problem["detail"]
    assert kit.post(ADVANCE, json={"by": "36500d"}).json()["now"] == "2229-11-13T00:00:00.000Z"


def test_a_clock_is_set_going_and_stopped_where_it_is() -> None:
    now_ms = 0
    kit = Bakery(timesource=lambda: now_ms)
    clock = "/__admin/worlds/default/clock"
    assert kit.put(clock, json={"mode": "60x"}).json()["mode"] == "60x"
    now_ms = 1000
    assert kit.get(clock).json()["now"] == "2030-01-01T00:01:00.000Z"
    assert kit.put(clock, json={"mode": "frozen"}).json()["now"] == "2030-01-01T00:01:00.000Z"
    now_ms = 5000
    assert kit.get(clock).json() == {"now": "2030-01-01T00:01:00.000Z", "mode": "frozen", "next": None}


# ---- jobs -------------------------------------------------------------------------------------------------------


def test_jobs_of_all_apis_are_listed_in_the_order_in_which_they_came() -> None:
    kit = Kit(SCRIPTED, apis=("ogc", "titan"))
    for _ in range(3):
        kit.post(EXECUTION, json={"inputs": {"message": "x"}}, headers=ASYNC)
        kit.post("/titan/v1/jobs", json={"jobs": [{"image": "a"}]})
    listed = "/__admin/worlds/default/jobs"
    found = kit.get(listed).json()
    assert (found["total"], [job["api"] for job in found["jobs"]]) == (6, ["ogc", "titan"] * 3)
    page = kit.get(f"{listed}?limit=2&offset=3").json()
    assert (page["total"], page["jobs"]) == (6, found["jobs"][3:5])
    assert kit.get(f"{listed}?api=titan").json()["jobs"] == found["jobs"][1::2]
    assert kit.get(f"{listed}?state=running").json() == {"total": 0, "jobs": []}
    assert kit.get(f"{listed}?state=queued&api=ogc").json()["total"] == 3
    assert_problem(kit.get(f"{listed}?api=nothing"), 404)
    assert_problem(kit.get(f"{listed}?state=asleep"), 400)


def test_jobs_are_found_by_their_kind_and_by_who_holds_them() -> None:
    kit = Kit(SCRIPTED, apis=("ogc", "titan"))
    for image in ("acme/resize:3", "acme/rotate:1", "other"):
        kit.post("/titan/v1/jobs", json={"jobs": [{"image": image}]})
        kit.post(EXECUTION, json={"inputs": {"message": "x"}}, headers=ASYNC)
    listed = "/__admin/worlds/default/jobs"
    jobs = kit.get(listed).json()["jobs"]
    assert [job["kind"] for job in jobs[::2]] == ["acme/resize:3", "acme/rotate:1", "other"]
    for number in (0, 3, 4):
        job = jobs[number]
        jobs[number] = kit.post(f"{listed}/{job['api']}/{job['id']}/hold").json()

    def found(query: str) -> tuple[int, list[int]]:
        page = kit.get(f"{listed}?{query}").json()
        ids = [job["id"] for job in jobs]
        return page["total"], [ids.index(job["id"]) for job in page["jobs"]]

    assert found("kind=ACME/") == (2, [0, 2])
    assert found("kind=nothing") == (0, [])
    assert found("held=true") == (3, [0, 3, 4])
    assert found("held=false&api=titan") == (1, [2])
    assert found("held=true&kind=e&newest_first=true") == (3, [4, 3, 0])
    assert found("held=true&limit=1&offset=1") == (3, [3])
    assert found("held=true&state=running") == (0, [])
    assert found("newest_first=true") == (6, [5, 4, 3, 2, 1, 0])
    assert found("newest_first=true&api=ogc&limit=2") == (3, [5, 3])
    assert found("newest_first=true&offset=4&limit=1") == (6, [1])
    for query in ("held=perhaps", "kind=", "newest_first=1"):
        assert_problem(kit.get(f"{listed}?{query}"), 400)


def test_a_job_is_shown_with_its_history() -> None:
    kit = Kit(
        "jobs:\n  - script: [running: 4s, failed: {error: {code: boom, message: Bang}}]\n", apis=("ogc",)
    )
    [job_id] = with_jobs(kit)
    advance(kit, by="1h")
    job = kit.get(f"/__admin/worlds/w/jobs/ogc/{job_id}").json()
    assert (job["state"], job["word"], job["held"]) == ("failed", "failed", False)
    assert [(move["state"], move["cause"]) for move in job["history"]] == [
        ("running", "client"),
        ("failed", "inline:2"),
    ]
    assert job["error"] == {"code": "boom", "message": "Bang", "at": "2030-01-01T00:00:04.000Z"}
    assert (job["errors"], job["request"], job["rule"]) == (
        [job["error"]],
        {"inputs": {"message": "x"}},
        "inline:2",
    )


@pytest.mark.parametrize("verb", ["", "/hold", "/release", "/step"])
@pytest.mark.parametrize("path", ["ogc/nobody", "nothing/nobody", "titan/nobody"])
def test_a_job_that_is_not_there_is_a_problem(verb: str, path: str) -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    assert_problem(kit.request("POST" if verb else "GET", f"/__admin/worlds/default/jobs/{path}{verb}"), 404)


def test_a_held_job_stands_still_and_goes_on_with_the_time_it_had_left() -> None:
    kit = Kit("jobs:\n  - script: [{running: 10s, progress: 0..100}, succeeded]\n", apis=("ogc",))
    [job_id] = with_jobs(kit)
    here = f"/__admin/worlds/w/jobs/ogc/{job_id}"
    advance(kit, by="4s")
    held = kit.post(f"{here}/hold").json()
    assert (held["held"], held["progress"], "due" in held) == (True, 40, False)
    assert advance(kit, by="1h")["events"] == []
    assert kit.get(f"/worlds/w/ogc/jobs/{job_id}").json()["progress"] == 40
    assert_problem(kit.post("/__admin/worlds/w/jobs/ogc/nobody/hold"), 404)
    released = kit.post(f"{here}/release").json()
    assert (released["held"], released["due"]) == (False, "2030-01-01T01:00:10.000Z")
    assert_problem(kit.post(f"{here}/release"), 409)


def test_a_job_is_held_by_its_script_as_well() -> None:
    kit = Kit("jobs:\n  - script: [running: hold, succeeded]\n", apis=("ogc",))
    [job_id] = with_jobs(kit)
    here = f"/__admin/worlds/w/jobs/ogc/{job_id}"
    assert kit.get(here).json()["held"] is True
    assert kit.post(f"{here}/release").json()["state"] == "succeeded"


def test_a_step_ends_when_somebody_says_so() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    [job_id] = with_jobs(kit)
    here = f"/__admin/worlds/w/jobs/ogc/{job_id}"
    assert [kit.post(f"{here}/step").json()["state"] for _ in range(2)] == ["running", "succeeded"]
    assert_problem(kit.post(f"{here}/step"), 409)


def test_a_job_is_forced_into_a_state() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    first, second = with_jobs(kit, 2)
    jobs = "/__admin/worlds/w/jobs/ogc"
    running = kit.post(f"{jobs}/{first}/force", json={"state": "running", "progress": 60}).json()
    assert (running["state"], running["progress"]) == ("running", 60)
    wish = {"state": "failed", "error": {"code": "out_of_memory", "message": "Killed"}}
    failed = kit.post(f"{jobs}/{second}/force", json=wish).json()
    assert (failed["state"], failed["error"]["code"]) == ("failed", "out_of_memory")
    assert failed["history"][-1]["cause"] == "operator"
    assert kit.get(f"/worlds/w/ogc/jobs/{second}").json()["status"] == "failed"
    assert_problem(kit.post(f"{jobs}/{second}/force", json={"state": "running"}), 409)
    assert_problem(kit.post(f"{jobs}/{second}/force", json={"state": "asleep"}), 400)


# ---- calls ------------------------------------------------------------------------------------------------------


def test_calls_are_listed_found_counted_and_forgotten() -> None:
    kit = Bakery()
    kit.get("/worlds/w/bakery/shop/echo/a?q=b")
    kit.get("/worlds/w/bakery/shop/tally/1000")
    kit.post("/worlds/w/bakery/shop/orders", json={"count": 3})
    calls = "/__admin/worlds/w/calls"
    listed = kit.get(calls).json()["calls"]
    assert [(one["number"], one["method"], one["status"], one["operation"]) for one in listed] == [
        (1, "GET", 200, "echo"),
        (2, "GET", 400, "tally"),
        (3, "POST", 200, "order"),
    ]
    assert kit.get(f"{calls}?status=400").json()["calls"] == listed[1:2]
    assert kit.get(f"{calls}?path=/shop/e").json()["calls"] == listed[:1]
    assert kit.get(f"{calls}?after=1&limit=1").json()["calls"] == listed[1:2]
    assert [
        kit.get(f"{calls}/count{query}").json()["count"]
        for query in ("", "?method=GET", "?operation=order", "?api=mill", "?method=GET&status=200")
    ] == [3, 2, 1, 0, 1]
    assert kit.delete(calls).status == 204
    assert kit.get(calls).json() == {"calls": []}
    assert kit.get("/__admin/worlds/default/calls").json() == {"calls": []}


def test_a_world_that_is_deleted_is_let_go_whoever_wanted_to_be_told_of_its_jobs() -> None:
    kit = Kit(SCRIPTED, apis=("ogc",))
    wish = {"inputs": {"message": "x"}, "subscriber": {"successUri": "http://127.0.0.1:9/told"}}
    assert kit.post(f"/worlds/gone{EXECUTION}", json=wish, headers=ASYNC).status == 201
    gone = weakref.ref(kit.front.worlds.find("gone"))
    kit.delete("/__admin/worlds/gone")
    gc.collect()
    assert gone() is None


def test_what_curl_sends_by_itself_is_understood() -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert Bakery().post(ADVANCE, data=b'{"by": "5s"}', headers=form).status == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_pages_of_other_sites_steer_nothing(site: str, status: int) -> None:
    kit = Bakery()
    assert kit.post(ADVANCE, json={"by": "5s"}, headers={"Sec-Fetch-Site": site}).status == status
