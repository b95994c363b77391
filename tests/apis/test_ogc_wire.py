"""The status of an OGC job on its way through its states."""

from __future__ import annotations

import pytest

from tests.apis.ogc_parts import (
    FAIL,
    REL,
    STATES,
    execute,
    job_in,
    link,
    local,
    serve,
    status,
)


def test_a_job_goes_from_accepted_over_running_to_successful() -> None:
    kit = serve()
    job_id = execute(kit)["jobID"]
    seen = []
    for _ in range(5):
        info = status(kit, job_id)
        seen.append((info["status"], info.get("progress"), info["updated"][17:]))
        kit.advance("1s")
    assert seen == [
        ("accepted", None, "00.000Z"),
        ("running", 0, "01.000Z"),
        ("running", 33, "01.990Z"),
        ("running", 66, "02.980Z"),
        ("successful", 100, "04.000Z"),
    ]


def test_a_successful_job_says_when_it_ran_and_where_its_results_are() -> None:
    kit = serve()
    job_id = job_in(kit, "successful")
    info = status(kit, job_id)
    assert [info[name][17:] for name in ("created", "started", "finished", "updated")] == [
        "00.000Z",
        "01.000Z",
        "04.000Z",
        "04.000Z",
    ]
    assert link(info, f"{REL}results") == f"/ogc/jobs/{job_id}/results"
    assert link(info, "monitor") is None


@pytest.mark.parametrize(
    ("state", "rels"),
    [
        ("accepted", ["self", "monitor"]),
        ("running", ["self", "monitor"]),
        ("successful", ["self", f"{REL}results"]),
        ("failed", ["self", f"{REL}exceptions"]),
        ("dismissed", ["self"]),
    ],
)
def test_each_state_has_its_links(state: str, rels: list[str]) -> None:
    kit = serve()
    info = status(kit, job_in(kit, state))
    assert [one["rel"] for one in info["links"]] == rels
    for one in info["links"]:
        assert local(one["href"]).startswith(f"/ogc/jobs/{info['jobID']}")


@pytest.mark.parametrize("state", STATES[:-1])
def test_no_member_is_null(state: str) -> None:
    kit = serve()
    answer = kit.get(f"/ogc/jobs/{job_in(kit, state)}")
    assert "null" not in answer.text
    assert "null" not in kit.get("/ogc/jobs").text


def test_progress_and_message_come_from_the_scenario() -> None:
    kit = serve(
        """
jobs:
  - script:
      - running: 4s
        progress: 0..60
        message: Copying inputs
      - succeeded
"""
    )
    job_id = execute(kit)["jobID"]
    kit.advance("2500ms")
    info = status(kit, job_id)
    assert (info["status"], info["progress"], info["message"]) == ("running", 37, "Copying inputs")
    assert type(info["progress"]) is int


def test_a_pause_keeps_the_job_active_for_so_many_seconds() -> None:
    kit = serve()
    job_id = execute(kit, pause=60)["jobID"]
    kit.advance("60s")
    assert status(kit, job_id)["status"] == "running"
    kit.advance("1s")
    assert status(kit, job_id)["status"] == "successful"


def test_a_failed_job_answers_200_with_the_reason_and_its_results_tell_it_again() -> None:
    kit = serve()
    job_id = execute(kit, FAIL)["jobID"]
    kit.advance("10s")
    answer = kit.get(f"/ogc/jobs/{job_id}")
    assert answer.status == 200
    info = answer.json()
    assert (info["status"], info["message"]) == ("failed", "The process gave up.")
    assert info["exception"] == {
        "type": "about:blank",
        "title": "Job failed",
        "status": 500,
        "detail": "The process gave up.",
    }
    assert kit.get(f"/ogc/jobs/{job_id}/results").json() == info["exception"]


def test_the_failure_of_a_scenario_is_the_exception() -> None:
    kit = serve(
        """
jobs:
  - script:
      - running: 1s
        message: Copying inputs
      - failed: {error: {code: out_of_memory, message: Container killed, details: at line 3}}
"""
    )
    job_id = execute(kit)["jobID"]
    kit.advance("1s")
    assert status(kit, job_id)["message"] == "Container killed"
    answer = kit.get(f"/ogc/jobs/{job_id}/results")
    assert answer.status == 500
    assert answer.json() == {
        "type": "out_of_memory",
        "title": "Job failed",
        "status": 500,
        "detail": "Container killed\nat line 3",
    }
