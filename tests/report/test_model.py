"""Runs are written, read and merged without loss, and a file that is none is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.report.model import FORMAT, Run, RunError, Tested, merge, read_run, write_run
from tests.kit import Kit
from tests.report.parts import STATUS, call, hostile_run, job, played, small_run, violation


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    run = small_run()
    again = read_run(write_run(run, tmp_path / "run.json"))
    assert again.tests == run.tests
    assert [tested.seen_calls for tested in again.tests] == [tested.seen_calls for tested in run.tests]


def test_what_a_server_tells_is_a_run(tmp_path: Path) -> None:
    kit = Kit(apis=("ogc",))
    submitted = kit.post(
        "/ogc/processes/echo/execution",
        json={"inputs": {"message": "hello"}},
        headers={"Prefer": "respond-async"},
    )
    kit.advance("1m")
    kit.get(submitted.headers["location"].removeprefix("http://127.0.0.1:4010"))
    tested = read_run(write_run(Run((played(kit),)), tmp_path / "run.json")).tests[0]
    assert [call.status for call in tested.seen_calls] == [201, 200]
    assert tested.seen_jobs[0].moves[-1].state == "succeeded"
    assert tested.seen_calls[1].at_ms - tested.seen_calls[0].at_ms == 60_000


def test_unknown_members_are_kept(tmp_path: Path) -> None:
    told = call(0, STATUS) | {"nearest": "rule 3", "duration": 0.25}
    again = read_run(write_run(Run((Tested("t", calls=(told,)),)), tmp_path / "run.json"))
    assert again.tests[0].calls[0]["nearest"] == "rule 3"


def test_half_a_surrogate_pair_does_not_spoil_the_file(tmp_path: Path) -> None:
    assert "lone ? surrogate" in read_run(write_run(hostile_run(), tmp_path / "run.json")).tests[0].failure


def test_a_run_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_run(small_run(), tmp_path / "run.json")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_run(Run((Tested("t", jobs=({"id": object()},)),)), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_the_order_of_a_merged_run_does_not_depend_on_the_order_of_its_parts() -> None:
    one = Run((Tested("b"), Tested("a", world="2")))
    other = Run((Tested("c"), Tested("a", world="1")))
    assert merge([one, other]) == merge([other, one])
    assert [name for name, _ in merge([one, other]).with_names()] == ["a in 1", "a in 2", "b", "c"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[1]", f'it has no "format": "{FORMAT}"'),
        (b"{}", f'it has no "format": "{FORMAT}"'),
        (b"[" * 100_000, "not JSON"),
        (json.dumps({"format": FORMAT, "version": 99, "tests": []}).encode(), "version 99"),
        (json.dumps({"format": FORMAT, "version": 1, "tests": {}}).encode(), "tests"),
        (
            json.dumps(
                {"format": FORMAT, "version": 1, "tests": [{"test": "t", "outcome": "green"}]}
            ).encode(),
            "tests/0/outcome",
        ),
        (
            json.dumps(
                {
                    "format": FORMAT,
                    "version": 1,
                    "tests": [
                        {
                            "test": "t",
                            "outcome": "passed",
                            "calls": [call(0, STATUS) | {"at": "2030-13-01T00:00:00Z"}],
                        }
                    ],
                }
            ).encode(),
            "tests/0/calls/0/at",
        ),
    ],
    ids=["empty", "binary", "list", "foreign", "deep", "newer", "shape", "outcome", "time"],
)
def test_a_file_that_is_no_run_is_refused_by_name(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "some.json"
    path.write_bytes(content)
    with pytest.raises(RunError) as refusal:
        read_run(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert reason in str(refusal.value)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.json: cannot be read: No such file"):
        read_run(tmp_path / "none.json")


def test_an_undeclared_violation_fails_a_test_that_passed() -> None:
    assert Tested("t", violations=(violation(),)).verdict == "failed"
    assert Tested("t", violations=(violation(declared=True),)).verdict == "passed"
    assert Tested("t", "error", violations=(violation(),)).verdict == "error"


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        (violation(), "bad_body"),
        (violation(pointer="limit"), "bad_parameter"),
        (violation(operation="", pointer=""), "no_such_path"),
        (violation(by="server"), "bad_reply"),
        (violation(kind="missing_body"), "missing_body"),
    ],
)
def test_the_kind_of_a_violation_is_told_or_seen_by_its_place(told: dict[str, str], kind: str) -> None:
    assert Tested("t", violations=(told,)).seen_violations[0].kind == kind


def test_missing_credentials_are_known_by_the_status_of_their_call() -> None:
    calls = (call(0, "GetTaskRun", 401, api="ica", violations=("no token",)),)
    told = violation("no token", api="ica", operation="GetTaskRun", pointer="")
    assert Tested("t", calls=calls, violations=(told,)).seen_violations[0].kind == "unauthorized"


@pytest.mark.parametrize(
    ("value", "wait_ms"),
    [
        ("2", 2_000),
        ("Tue, 01 Jan 2030 00:00:10 GMT", 9_000),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 0),
        ("soon", None),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_date(value: str, wait_ms: int | None) -> None:
    assert (
        Tested("t", calls=(call(1_000, STATUS, retry_after=value),)).seen_calls[0].retry_after_ms == wait_ms
    )


def test_calls_are_in_the_order_of_their_numbers() -> None:
    tested = Tested("t", calls=(call(5, STATUS, number=2), call(0, STATUS, number=1)))
    assert [one.number for one in tested.seen_calls] == [1, 2]
    assert Tested("t", jobs=(job("1", (3, "queued")),)).seen_jobs[0].moves[0].state == "queued"
