from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from simulator.control_client import Violation
from simulator.report.model import read_run
from simulator.testing import Server, Understudy
from simulator.testing.recording import SHOWN_MAX, Recorder, begin, conclude, explain, undeclared
from tests.testing.ogc import state, submit


class Passed(NamedTuple):
    """What pytest says of a test."""

    outcome: str = "passed"
    duration: float = 0.5
    longreprtext: str = ""


def line(**members: Any) -> Violation:
    known: dict[str, Any] = {
        "by": "client",
        "api": "titan",
        "operation": "jobs_post",
        "pointer": "/jobs/0/image",
        "message": '"image" is a required property',
        "kind": "bad_body",
        "declared": False,
    }
    violation: Violation = {**known, **members}  # type: ignore[typeddict-item]
    return violation


@pytest.fixture(scope="module")
def world() -> Iterator[Understudy]:
    with Server(["ogc"], time="frozen") as server:
        yield server.world("fails-halfway", seed=3)


def test_what_a_scenario_declares_is_held_against_nobody() -> None:
    assert undeclared([line(declared=True), line()]) == [line()]


def test_violations_are_told_once_each_with_operation_pointer_and_line_of_the_document() -> None:
    told = explain([line(), line(), line(pointer="/jobs/1/image")], "understudy replay x.yaml").splitlines()
    assert len(told) == 3
    assert told[0].startswith("client breaks the document: titan jobs_post at /jobs/0/image: ")
    assert "(openapi/titan.yaml:" in told[0]
    assert told[2] == "to see it again: understudy replay x.yaml"


def test_of_very_many_violations_the_first_are_told() -> None:
    told = explain([line(pointer=f"/jobs/{number}/image") for number in range(100)], "").splitlines()
    assert len(told) == SHOWN_MAX + 1
    assert told[-1] == f"… and {100 - SHOWN_MAX} more"


def test_a_test_is_written_down_with_all_that_its_world_saw(world: Understudy, tmp_path: Path) -> None:
    begin(tmp_path)
    recorder = Recorder(tmp_path, "gw0")
    job = submit(world.url("ogc"))
    world.advance("1h")
    assert state(world.url("ogc"), job) == "failed"
    recorder.add("test_a", world, Passed(), [], "")
    recorder.add("test_b", world, None, [line()], "understudy replay b.yaml")
    recorder.close()
    first, second = read_run(tmp_path / "parts" / "gw0.json").tests
    assert (first.outcome, first.scenario, first.seed, first.seconds) == ("passed", "fails-halfway", 3, 0.5)
    assert [seen.moves[-1].state for seen in first.seen_jobs] == ["failed"]
    assert [call.role for call in first.seen_calls] == ["submit", "status"]
    assert (second.outcome, second.replay) == ("error", "understudy replay b.yaml")
    assert len(second.undeclared) == 1


def test_the_parts_of_all_processes_become_one_report(world: Understudy, tmp_path: Path) -> None:
    for worker in ("gw0", "gw1"):
        recorder = Recorder(tmp_path, worker)
        recorder.add(f"test_{worker}", world, Passed(), [], "")
        recorder.close()
    told, is_enough = conclude(tmp_path, Recorder(tmp_path, "main"), None)
    assert is_enough
    assert f"{tmp_path / 'report.html'}" in told
    assert {tested.test for tested in read_run(tmp_path / "run.json").tests} == {"test_gw0", "test_gw1"}
    assert not (tmp_path / "parts").exists()


def test_parts_of_an_earlier_run_are_no_part_of_this_one(world: Understudy, tmp_path: Path) -> None:
    old = Recorder(tmp_path, "gw7")
    old.add("test_old", world, Passed(), [], "")
    old.close()
    begin(tmp_path)
    conclude(tmp_path, Recorder(tmp_path, "main"), None)
    assert read_run(tmp_path / "run.json").tests == ()


def test_too_little_coverage_is_not_enough(world: Understudy) -> None:
    recorder = Recorder(None, "main")
    recorder.add("test_a", world, Passed(), [], "")
    told, is_enough = conclude(None, recorder, 99)
    assert not is_enough
    assert "less than the 99 %" in told
