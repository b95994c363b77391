"""The call log: every exchange with an API as it went over the wire, without its credentials."""

from __future__ import annotations

import gc
from types import FunctionType, ModuleType
from typing import Any

import orjson
import pytest

from simulator.apis.contract import Api
from simulator.engine.job import Job
from simulator.engine.world import World
from simulator.runtime.calls import Exchange
from tests.kit import Kit
from tests.web.made_up import Bakery, Wire


def recorded(kit: Kit) -> list[Exchange]:
    return kit.front.worlds.default.calls.list()


def test_an_exchange_is_written_down_as_it_went_over_the_wire() -> None:
    kit = Bakery()
    answer = kit.post("/bakery/shop/orders?a=1", json={"count": 3}, headers={"X-Mine": "yes"})
    [call] = recorded(kit)
    assert (call.number, call.api, call.operation, call.method) == (1, "bakery", "order", "POST")
    assert (call.path, call.status, call.job_id) == ("/bakery/shop/orders?a=1", 200, None)
    assert call.request_body == b'{"count": 3}'
    assert call.response_body == answer.content
    assert ("x-mine", "yes") in call.request_headers
    assert dict(call.response_headers) == answer.headers
    assert call.at_ms == kit.world.now_ms
    assert (call.cause, call.violations) == ("", ())


def test_a_call_says_which_job_it_was_about() -> None:
    kit = Bakery()
    kit.get("/bakery/shop/echo/a%2Fb")
    kit.get("/bakery/shop/nothing/at-all")
    assert [(call.operation, call.job_id, call.path) for call in recorded(kit)] == [
        ("echo", "a/b", "/bakery/shop/echo/a%2Fb"),
        ("", None, "/bakery/shop/nothing/at-all"),
    ]


def test_a_world_has_its_own_log() -> None:
    kit = Bakery()
    kit.get("/worlds/w/bakery/shop/cake")
    kit.get("/bakery/shop/echo/here")
    kit.get("/worlds/w/bakery/shop/cake")
    world = kit.front.worlds.find("w")
    assert world is not None
    assert [(call.number, call.path) for call in world.calls.list()] == [
        (1, "/worlds/w/bakery/shop/cake"),
        (2, "/worlds/w/bakery/shop/cake"),
    ]
    assert [call.path for call in recorded(kit)] == ["/bakery/shop/echo/here"]


def test_pages_and_the_control_api_are_no_calls() -> None:
    kit = Bakery()
    for path in ("/", "/bakery", "/bakery/ui/", "/bakery/openapi.json", "/__admin/health", "/nothing/at/all"):
        kit.get(path)
    assert [call.path for call in recorded(kit)] == ["/nothing/at/all"]


def test_credentials_do_not_come_into_the_log() -> None:
    kit = Bakery()
    kit.get("/bakery/shop/vault?token=sesame", headers={"Authorization": "sesame", "Cookie": "a=sesame"})
    [call] = recorded(kit)
    assert call.status == 200
    assert "sesame" not in repr(call)


def test_what_breaks_the_document_is_told_with_the_call() -> None:
    kit = Bakery(cake=lambda call: _bad_cake())
    kit.get("/bakery/shop/tally/1000")
    kit.get("/bakery/shop/vault")
    kit.get("/bakery/shop/cake")
    client, keyless, server = recorded(kit)
    assert (client.status, len(client.violations)) == (400, 1)
    assert "number" in client.violations[0]
    assert (keyless.status, keyless.violations) == (401, ("no key",))
    assert "cake 200" in server.violations[0]


def _bad_cake() -> Any:
    from simulator.apis.contract import Reply

    return Reply(200, {"slices": "many"}, {"X-Taste": "sweet"})


def test_what_a_rule_did_is_told_with_the_call() -> None:
    kit = Bakery(
        scenario="""
jobs: [{script: [succeeded]}]
calls:
  - {when: {operation: cake}, answer: {status: 404}}
  - {when: {operation: links}, fault: connection_reset}
"""
    )
    kit.get("/bakery/shop/cake")
    with pytest.raises(Exception, match="connection_reset"):
        kit.get("/bakery/shop/links")
    answered, broken = recorded(kit)
    assert (answered.status, answered.cause) == (404, "inline:4 answer 404")
    assert (broken.operation, broken.status, broken.response_body) == ("links", 0, b"")


def test_a_call_that_a_client_or_a_rule_breaks_off_tells_why_all_the_same() -> None:
    kit = Bakery(
        scenario="jobs: [{script: [succeeded]}]\ncalls: [{when: {operation: links}, fault: connection_reset}]\n"
    )
    with pytest.raises(Exception, match="connection_reset"):
        kit.get("/bakery/shop/links")
    kit.get("/bakery/shop/cake", headers={"Prefer": "code=404"})
    broken, wished = recorded(kit)
    assert (broken.status, broken.cause, broken.nearest) == (0, "inline:2 connection_reset", "")
    assert (wished.status, wished.cause) == (404, "Prefer code=404")


RULES = """
jobs: [{script: [succeeded]}]
calls:
  - {when: {operation: cake, call: 3}, answer: {status: 404}}
  - {when: {operation: cake, header.x-client: old, query.a: "1"}, answer: {status: 404}}
  - {when: {operation: order, request.count: 3}, delay: 1ms}
"""


def test_a_call_that_no_rule_took_says_which_was_nearest_if_there_are_rules_for_it() -> None:
    kit = Bakery(scenario=RULES)
    kit.get("/bakery/shop/cake")
    kit.get("/bakery/shop/cake", headers={"X-Client": "old"})
    kit.get("/bakery/shop/cake")
    kit.post("/bakery/shop/orders", json={"count": 4})
    kit.get("/bakery/shop/links")
    assert [(call.nearest, call.cause) for call in recorded(kit)] == [
        ("inline:4 answer 404, which wants call: 3 (this is 1)", ""),
        ("inline:4 answer 404, which wants call: 3 (this is 2)", ""),
        ("", "inline:4 answer 404"),
        ("inline:6 delay, which wants request.count", ""),
        ("", ""),
    ]


def test_which_rule_was_nearest_keeps_no_job_alive() -> None:
    kit = Kit(
        HELD + "calls: [{when: {role: status, state: failed}, answer: {status: 503}}]\n", apis=("titan",)
    )
    job_id = kit.post("/titan/v1/jobs", json=TWO_JOBS).json()["jobs"][0]["id"]
    kit.get(f"/titan/v1/job/{job_id}")
    [_, polled] = recorded(kit)
    assert polled.nearest == "inline:3 answer 503, which wants state: failed"
    found, seen = [polled], set()
    # Whatever the log refers to, however indirectly, holds no job and no world.
    for _ in range(8):
        found = [
            one
            for one in gc.get_referents(*found)
            if id(one) not in seen and not isinstance(one, type | ModuleType)
        ]
        found = [one for one in found if not isinstance(one, Api | FunctionType)]
        seen.update(map(id, found))
        assert not any(isinstance(one, Job | World) for one in found)


HELD = """
jobs: [{script: [running: forever]}]
"""
TWO_JOBS = {"jobs": [{"image": "a/b:1", "payload": "x"}, {"image": "a/b:1", "payload": "y"}]}


def test_a_submit_says_which_jobs_it_made() -> None:
    kit = Kit(HELD, apis=("titan", "ogc"))
    made = [job["id"] for job in kit.post("/titan/v1/jobs", json=TWO_JOBS).json()["jobs"]]
    refused = kit.post("/titan/v1/jobs", json={"jobs": [{}]})
    kit.get(f"/titan/v1/job/{made[1]}")
    both, none, polled = recorded(kit)
    assert (both.job_id, both.jobs, both.jobs_made) == (made[0], tuple(made), 2)
    assert (refused.status // 100, none.job_id, none.jobs) == (4, None, ())
    assert (polled.job_id, polled.jobs) == (made[1], ())


def test_of_very_many_jobs_the_first_hundred_are_named() -> None:
    kit = Kit(HELD, apis=("titan",))
    kit.post("/titan/v1/jobs", json={"jobs": TWO_JOBS["jobs"] * 75})
    [call] = recorded(kit)
    assert (len(call.jobs), call.jobs_made) == (100, 150)


def test_a_job_that_was_made_twice_by_a_fault_is_told_twice() -> None:
    kit = Kit(HELD + "calls: [{when: {role: submit}, fault: duplicate}]\n", apis=("titan",))
    kit.post("/titan/v1/jobs", json={"jobs": TWO_JOBS["jobs"][:1]})
    [call] = recorded(kit)
    assert (len(call.jobs), call.cause) == (2, "inline:3 duplicate")


def test_calls_that_lead_nowhere_are_written_down_with_what_was_wrong() -> None:
    kit = Bakery()
    kit.get("/bakery/shop/nothing")
    kit.delete("/bakery/shop/cake")
    kit.request("HEAD", "/bakery/shop/orders")
    kit.get("/bakery/shop/echo/" + "x" * 5_000)
    assert [(call.status, call.operation, call.role, len(call.violations)) for call in recorded(kit)] == [
        (404, "", "", 1),
        (405, "", "", 1),
        (405, "", "", 1),
        (414, "", "", 1),
    ]


def test_a_call_says_when_it_came_and_when_it_was_answered() -> None:
    kit = Kit("jobs: [{script: [running: 5s, succeeded]}]\n", apis=("ogc",))
    kit.post("/ogc/processes/echo/execution", json={"inputs": {"message": "x"}})
    [call] = recorded(kit)
    assert (call.status, call.answered_ms - call.at_ms) == (200, 5_000)
    assert call.took_us > 0


def test_the_same_conversation_in_two_worlds_of_one_seed_leaves_the_same_log() -> None:
    def talk() -> bytes:
        kit = Kit(time="poll", scenario=SAME, seed=3)
        for api, submit, wish in (
            ("titan", "/titan/v1/jobs", TWO_JOBS),
            ("ica", "/ica/v1/tasks/runs", {"name": "x", "execution": {"image": {"name": "u"}}}),
            ("ogc", "/ogc/processes/echo/execution", {"inputs": {"message": "x"}}),
        ):
            headers = {"Authorization": "Bearer x", "Prefer": "respond-async"}
            kit.post(submit, json=wish, headers=headers)
            job = kit.front.worlds.default.world.jobs(api)[0].id
            for _ in range(4):
                for path in ("/titan/v1/job/", "/ica/v1/tasks/runs/", "/ogc/jobs/", f"/{api}/none/"):
                    kit.get(f"{path}{job}?token=x", headers=headers)
        calls = kit.get("/__admin/worlds/default/calls?limit=1000").json()["calls"]
        assert len(calls) == 51
        assert {"cause", "nearest", "answered"} <= {key for one in calls for key in one}
        for one in calls:
            del one["wall"], one["wall_ms"]
        return orjson.dumps(calls)

    assert talk() == talk()


SAME = """
jobs: [{script: [queued: 1s..9s, {running: 5s..30s, progress: 0..100}, succeeded]}]
calls:
  - {when: {role: status, call: 2}, answer: {status: 503}}
  - {when: {role: status, chance: 0.5}, fault: stale}
"""


def test_worlds_that_are_gone_give_back_what_their_logs_took() -> None:
    kit = Bakery(call_bytes_max=1_000_000, body_bytes_max=1_000_000)
    allowance = kit.front.worlds.default.calls._allowance
    for name in ("a", "b"):
        for _ in range(3):
            kit.get(f"/worlds/{name}/bakery/shop/cake")
    assert allowance.kept_bytes > 6_000
    kit.delete("/__admin/worlds/a")
    kit.put("/__admin/worlds/b")
    assert (allowance.kept_bytes, len(allowance.logs)) == (0, 2)
    for name in ("default", "b"):
        for _ in range(20):
            kit.post(f"/worlds/{name}/bakery/shop/orders", data=b"x" * 100_000)
    assert 500_000 < allowance.kept_bytes <= 1_000_000


def test_a_body_that_was_refused_unread_is_told_with_its_length() -> None:
    kit = Bakery(body_bytes_max=10)
    kit.post("/bakery/shop/orders", data=b"x" * 100, headers={"Content-Type": "text/plain"})
    [call] = recorded(kit)
    assert (call.status, call.request_body, call.request_bytes, call.is_request_cut) == (413, b"", 100, True)


def test_a_body_in_pieces_is_one_body_and_a_long_one_is_cut() -> None:
    kit = Bakery(body_bytes_max=1_000_000)
    kit.post(
        "/bakery/shop/orders", chunks=[b'{"count"', b": 3}"], headers={"Content-Type": "application/json"}
    )
    long = b"x" * 300_000
    kit.post("/bakery/shop/orders", data=long, headers={"Content-Type": "text/plain"})
    kit.post("/bakery/shop/orders", chunks=[long[:10], long[10:]], headers={"Content-Type": "text/plain"})
    first, whole, pieces = recorded(kit)
    assert (first.request_body, first.is_request_cut) == (b'{"count": 3}', False)
    for cut in (whole, pieces):
        assert (len(cut.request_body), cut.request_bytes) == (65_536, 300_000)


def test_a_client_that_went_away_is_written_down_without_an_answer() -> None:
    kit = Bakery()
    begun = [{"type": "http.request", "body": b'{"co', "more_body": True}]
    Wire(kit.front).exchange("POST", b"/bakery/shop/orders", messages=begun)
    [call] = recorded(kit)
    assert (call.status, call.request_body) == (0, b'{"co')


def test_nothing_is_kept_where_nothing_is_wanted() -> None:
    kit = Bakery(calls_max=0)
    assert kit.get("/bakery/shop/cake").status == 200
    assert recorded(kit) == []
    assert kit.front.worlds.default.calls.total == 0
