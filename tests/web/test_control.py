"""The control API: health, and moving the clock of a world."""

from __future__ import annotations

import json
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


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_health_can_only_be_read(method: str) -> None:
    answer = Bakery().request(method, "/__admin/health")
    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"
    assert Bakery().request("HEAD", "/__admin/health").content == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
def test_the_clock_is_moved_by_post_alone(method: str) -> None:
    kit = Bakery()
    answer = kit.request(method, ADVANCE, json={"by": "1h"})
    assert answer.status == 405
    assert answer.headers["allow"] == "POST"
    assert kit.get("/__admin/health").json()["time"]["now"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    "path",
    [
        "/__admin",
        "/__admin/",
        "/__admin/nothing",
        "/__admin/worlds/default",
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


def test_a_wrong_key_is_named_with_the_right_one() -> None:
    problem = assert_problem(Bakery().post(ADVANCE, json={"by": "5s", "bye": 1}), 400)
    assert problem["detail"] == "unknown key 'bye'; known: by"
    assert problem["hint"] == 'send {"by": "5s"}'


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


@pytest.mark.parametrize("name", ["nowhere", "Default", "%2F", "", "default%2F"])
def test_an_unknown_world_is_a_problem_that_names_the_known_ones(name: str) -> None:
    problem = assert_problem(Bakery().post(f"/__admin/worlds/{name}/clock/advance", json={"by": "5s"}), 404)
    assert "default" in problem["hint"] + problem["detail"]


def test_a_body_is_no_larger_than_it_needs_to_be() -> None:
    large = b'{"by": "5s"' + b" " * 70_000 + b"}"
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
