"""Subscribers of OGC jobs: what they are told at which URI, where they may be, and that it stands in the job's history."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kit import Kit

HOOK = "http://127.0.0.1:9"
URIS = {name: f"{HOOK}/{name}" for name in ("successUri", "inProgressUri", "failedUri")}
ASYNC = {"Prefer": "respond-async"}


class Told:
    """Stands for the subscriber."""

    def __init__(self, kit: Kit, status: int = 202) -> None:
        self.got: list[tuple[str, Any]] = []
        self.status = status
        kit.front.callbacks.post = self.post

    async def post(self, url: str, body: bytes) -> int:
        self.got.append((url, json.loads(body)))
        return self.status


def execute(kit: Kit, process: str = "echo", subscriber: Any = None, **more: Any) -> str:
    body = {"inputs": {"message": "hello"}, "subscriber": URIS if subscriber is None else subscriber, **more}
    answer = kit.post(f"/ogc/processes/{process}/execution", json=body, headers=ASYNC)
    assert answer.status in (200, 201), answer.text
    return str(kit.world.jobs("ogc")[-1].id)


def history(kit: Kit, job_id: str) -> list[str]:
    return [move.cause for move in kit.world.job("ogc", job_id).history if move.cause.startswith("callback")]


def test_a_subscriber_is_told_when_the_job_runs_and_gets_its_results() -> None:
    kit = Kit()
    told = Told(kit)
    job_id = execute(kit)
    kit.advance("2s")
    running = kit.get(f"/ogc/jobs/{job_id}").json()
    kit.advance("1m")
    (first, status), second = told.got
    assert first == URIS["inProgressUri"]
    # As a status call at the moment of the move would have answered.
    assert status == running | {"updated": "2030-01-01T00:00:01.000Z", "progress": 0}
    assert second == (URIS["successUri"], {"message": "hello"})
    assert history(kit, job_id) == [
        f"callback inProgressUri {URIS['inProgressUri']} (try 1): answered 202",
        f"callback successUri {URIS['successUri']} (try 1): answered 202",
    ]


def test_results_are_told_as_the_execution_wants_them() -> None:
    kit = Kit()
    told = Told(kit)
    job_id = execute(kit, outputs={"message": {"transmissionMode": "reference"}})
    kit.advance("1m")
    href = told.got[-1][1]["message"]["href"]
    assert href == f"http://127.0.0.1:4010/ogc/jobs/{job_id}/results/message"
    assert kit.get(href.removeprefix("http://127.0.0.1:4010")).text == "hello"


def test_a_failure_is_told_with_its_reason() -> None:
    kit = Kit()
    told = Told(kit)
    job_id = execute(kit, "fail")
    kit.advance("1m")
    assert told.got[-1] == (URIS["failedUri"], kit.get(f"/ogc/jobs/{job_id}").json())
    assert told.got[-1][1]["status"] == "failed"


def test_who_dismisses_a_job_leaves_no_subscriber_waiting() -> None:
    kit = Kit()
    told = Told(kit)
    job_id = execute(kit)
    kit.delete(f"/ogc/jobs/{job_id}")
    kit.advance("0s")
    assert [(url, body["status"]) for url, body in told.got] == [(URIS["failedUri"], "dismissed")]


@pytest.mark.parametrize("missing", ["inProgressUri", "failedUri"])
def test_who_gives_no_uri_for_it_is_not_told(missing: str) -> None:
    kit = Kit()
    told = Told(kit)
    execute(kit, "fail", URIS | {missing: None})
    kit.advance("1m")
    assert missing not in [url.rpartition("/")[2] for url, _ in told.got]
    assert len(told.got) == 1


def test_a_host_that_is_not_allowed_is_never_called_and_the_history_says_so() -> None:
    kit = Kit()
    told = Told(kit)
    job_id = execute(kit, subscriber={"successUri": "http://example.org/hook"})
    kit.advance("1m")
    assert told.got == []
    assert history(kit, job_id) == [
        "callback successUri http://example.org/hook (try 1): not sent: example.org is not among the hosts that may be"
        " called (127.0.0.1, localhost, ::1)"
    ]


def test_a_scenario_allows_other_hosts_instead() -> None:
    scenario = "apis: {ogc: {callback_hosts: [example.org]}}\njobs: [{script: [running: 1s, succeeded]}]"
    kit = Kit(scenario)
    told = Told(kit)
    execute(kit, subscriber={"successUri": "http://example.org/hook", "inProgressUri": f"{HOOK}/no"})
    kit.advance("1m")
    assert [url for url, _ in told.got] == ["http://example.org/hook"]


def test_a_subscriber_that_is_down_is_tried_again() -> None:
    kit = Kit()
    told = Told(kit, status=503)
    job_id = execute(kit, subscriber={"successUri": URIS["successUri"]})
    for by in ("4s", "1s", "5s", "1m"):
        kit.advance(by)
    assert len(told.got) == 3
    assert history(kit, job_id)[-1].endswith("(try 3): answered 503; given up")


def test_the_flavour_unity_takes_a_subscriber_and_tells_nobody() -> None:
    kit = Kit("apis: {ogc: {flavour: unity}}\njobs: [{script: [running: 1s, succeeded]}]")
    told = Told(kit)
    execute(kit)
    kit.advance("1m")
    assert told.got == []
