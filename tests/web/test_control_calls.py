"""The call log over the control API: reading it, finding in it, emptying it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kit import Answer, Kit
from tests.web.made_up import Bakery

CALLS = "/__admin/worlds/w/calls"


def spoken() -> Kit:
    """A world in which something was said."""
    kit = Bakery()
    kit.get("/worlds/w/bakery/shop/echo/a?q=b&token=s3cret", headers={"X-Client": "build-7"})
    kit.get("/worlds/w/bakery/shop/tally/1000")
    kit.post("/worlds/w/bakery/shop/orders", json={"count": 3, "password": "s3cret"})
    kit.get("/worlds/w/bakery/shop/nothing")
    return kit


def numbers(answer: Answer) -> list[int]:
    assert answer.status == 200, answer.text
    return [one["number"] for one in answer.json()["calls"]]


FILTERS: dict[str, list[int]] = {
    "": [1, 2, 3, 4],
    "?api=bakery": [1, 2, 3, 4],
    "?api=mill": [],
    "?operation=order": [3],
    "?role=status": [1, 2],
    "?method=POST": [3],
    "?path=/shop/e": [1],
    "?path=s3cret": [],
    "?job=a": [1],
    "?status=200": [1, 3],
    "?status=4XX": [2, 4],
    "?violations=true": [2, 4],
    "?violations=false": [1, 3],
    "?after=2": [3, 4],
    "?status=4XX&after=2": [4],
}


@pytest.mark.parametrize("filters", FILTERS)
def test_calls_are_listed_and_counted_by_the_same_filters(filters: str) -> None:
    kit = spoken()
    assert numbers(kit.get(CALLS + filters)) == FILTERS[filters]
    assert kit.get(f"{CALLS}/count{filters}").json() == {"count": len(FILTERS[filters])}


@pytest.mark.parametrize("filters", FILTERS)
def test_calls_are_deleted_by_the_same_filters(filters: str) -> None:
    kit = spoken()
    assert kit.delete(CALLS + filters).status == 204
    assert numbers(kit.get(CALLS)) == [number for number in (1, 2, 3, 4) if number not in FILTERS[filters]]
    kit.get("/worlds/w/bakery/shop/cake")
    assert numbers(kit.get(f"{CALLS}?order=newest&limit=1")) == [5]


def test_the_newest_come_first_if_that_is_wanted() -> None:
    kit = spoken()
    assert numbers(kit.get(f"{CALLS}?order=newest")) == [4, 3, 2, 1]
    assert numbers(kit.get(f"{CALLS}?order=newest&limit=1&status=2XX")) == [3]
    assert numbers(kit.get(f"{CALLS}?order=oldest&limit=1&after=1")) == [2]


@pytest.mark.parametrize(
    "filters",
    [
        "?status=9XX",
        "?status=40",
        "?violations=maybe",
        "?order=random",
        "?role=boss",
        "?limit=0",
        "?after=-1",
    ],
)
def test_a_filter_that_says_nothing_is_refused(filters: str) -> None:
    answer = spoken().get(CALLS + filters)
    assert answer.status == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_one_call_is_read_by_its_number() -> None:
    kit = spoken()
    call = kit.get(f"{CALLS}/3").json()
    assert call == kit.get(CALLS).json()["calls"][2]
    assert (call["operation"], call["role"], call["virtual_ms"]) == ("order", "submit", 0)
    assert call["request"]["body"] == '{"count": 3, "password": "…redacted…"}'
    assert call["request"]["bytes"] == len('{"count": 3, "password": "s3cret"}')
    assert call["request"]["is_cut"] is False
    gone = kit.get(f"{CALLS}/5")
    assert (gone.status, gone.json()["detail"]) == (
        404,
        "call 5 is not in the log of world 'w', which keeps 4 of 4 calls",
    )


def test_no_credential_is_shown() -> None:
    kit = spoken()
    wish = {"patterns": [{"path": "*"}]}
    for answer in (kit.get(CALLS), kit.get(f"{CALLS}/1"), kit.post(f"{CALLS}/find", json=wish)):
        assert answer.status == 200
        assert "s3cret" not in answer.text


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ({"api": "bak*"}, [1, 2, 3, 4]),
        ({"operation": ["echo", "ta*"]}, [1, 2]),
        ({"role": "status", "status": 400}, [2]),
        ({"status": ["4XX", 200], "method": "GET"}, [1, 2, 4]),
        ({"path": "/worlds/w/bakery/shop/echo/?"}, [1]),
        ({"job": "a"}, [1]),
        ({"violations": True}, [2, 4]),
        ({"header": {"X-Client": "build-*"}}, [1]),
        ({"header": {"x-client": "build-*", "accept": "*"}}, []),
        ({"query": {"q": "b"}}, [1]),
        ({"query": {"token": "s3cret"}}, []),
        ({"request": {"count": 3}}, [3]),
        ({"request": {"password": "s3*"}}, []),
        ({"response": {"id": "a", "q": "[a-c]"}}, [1]),
    ],
    ids=str,
)
def test_calls_are_found_by_patterns(pattern: dict[str, Any], found: list[int]) -> None:
    answer = spoken().post(f"{CALLS}/find", json={"patterns": [pattern]})
    assert numbers(answer) == found
    assert answer.json()["counts"] == [len(found)]


def test_several_patterns_are_counted_one_by_one_and_listed_together() -> None:
    kit = spoken()
    patterns = [{"status": "4XX"}, {"method": "DELETE"}, {"path": "*/tally/*"}]
    found = kit.post(f"{CALLS}/find", json={"patterns": patterns})
    assert (found.json()["counts"], numbers(found)) == ([2, 0, 1], [2, 4])
    some = kit.post(f"{CALLS}/find", json={"patterns": patterns, "order": "newest", "limit": 1, "after": 2})
    assert (some.json()["counts"], numbers(some)) == ([1, 0, 0], [4])


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"patterns": []},
        {"patterns": [{}]},
        {"patterns": [{"verb": "GET"}]},
        {"patterns": [{"header.x-client": "a"}]},
        {"patterns": [{"status": "6XX"}]},
        {"patterns": [{"path": "x" * 1001}]},
        {"patterns": [{"path": "*"}], "order": "random"},
    ],
    ids=str,
)
def test_a_pattern_that_cannot_be_is_refused(wish: dict[str, Any]) -> None:
    assert spoken().post(f"{CALLS}/find", json=wish).status == 400


def test_a_call_tells_what_scenario_and_clock_did_to_it() -> None:
    rules = "calls:\n  - {when: {role: list, call: 2}, answer: {status: 503}}\n"
    kit = Kit(f"jobs: [{{script: [running: 5s, succeeded]}}]\n{rules}", apis=("ogc",))
    kit.post("/ogc/processes/echo/execution", json={"inputs": {"message": "x"}})
    for _ in range(2):
        kit.get("/ogc/jobs")
    waited, missed, answered = kit.get("/__admin/worlds/default/calls").json()["calls"]
    assert (waited["at"], waited["answered"]) == ("2030-01-01T00:00:00.000Z", "2030-01-01T00:00:05.000Z")
    assert (waited["virtual_ms"], waited["jobs"], waited["jobs_made"]) == (5_000, [waited["job"]], 1)
    assert missed["nearest"] == "inline:3 answer 503, which wants call: 2 (this is 1)"
    assert (answered["cause"], answered["status"]) == ("inline:3 answer 503", 503)
    assert "nearest" not in waited | answered
    assert "cause" not in waited | missed
    assert "answered" not in missed
