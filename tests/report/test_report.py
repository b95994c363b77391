"""Reports are written by format, runs are read by file and folder, and a terminal gets a summary."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from simulator.report import FILES, RunError, UnknownFormat, coverage_of, read_run, read_runs, summary, write
from simulator.report.model import Run, Tested, write_run
from tests.report.parts import hostile_run, large_run, small_run


def shown(run: Run, width: int = 200) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(summary(run, coverage_of(run)))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_all_formats_are_written_into_a_new_folder(tmp_path: Path) -> None:
    written = write(small_run(), tmp_path / "new" / "folder")
    assert {name: path.name for name, path in written.items()} == FILES
    assert all(path.stat().st_size > 100 for path in written.values())


def test_only_the_wanted_formats_are_written(tmp_path: Path) -> None:
    assert list(write(small_run(), tmp_path, ["junit", "junit"])) == ["junit"]
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownFormat, match="'pdf'; there are: html, junit, sarif, json"):
        write(small_run(), tmp_path / "out", ["html", "pdf"])
    assert not (tmp_path / "out").exists()


def test_the_json_report_is_a_run_with_its_coverage(tmp_path: Path) -> None:
    path = write(small_run(), tmp_path, ["json"])["json"]
    held = json.loads(path.read_text())
    assert held["summary"] == {"passed": 1, "failed": 2, "error": 1, "skipped": 1}
    assert held["coverage"]["percent"] == coverage_of(small_run()).percent
    assert read_run(path).tests == small_run().tests


def test_the_files_of_all_processes_are_read_as_one_run(tmp_path: Path) -> None:
    write_run(Run((Tested("b"),)), tmp_path / "gw1.json")
    write_run(Run((Tested("a"),)), tmp_path / "gw0.json")
    write(small_run(), tmp_path, ["json"])
    assert [tested.test for tested in read_runs([tmp_path]).tests] == ["a", "b"]
    assert [tested.test for tested in read_runs([tmp_path / "gw1.json"]).tests] == ["b"]


def test_a_json_report_that_is_alone_in_its_folder_is_read(tmp_path: Path) -> None:
    write(small_run(), tmp_path)
    assert len(read_runs([tmp_path]).tests) == len(small_run().tests)


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"has no \*\.json"):
        read_runs([tmp_path])


def test_the_summary_says_what_did_not_pass_and_what_was_never_met() -> None:
    text = shown(small_run())
    assert "5 tests: 1 passed, 2 failed, 1 error, 1 skipped" in text
    assert "failed  tests/test_submit.py::test_a_submit_is_well_formed" in text
    assert "ogc execute_processes__processId__execution_post at /inputs:" in text
    assert "understudy replay capsules/test-2.json" in text
    assert "ogc: 429 on submit never met" in text
    assert "28.1 %" in text


def test_the_summary_of_many_broken_tests_is_short() -> None:
    run = Run(tuple(Tested(f"t{number}", "failed") for number in range(500)))
    assert "… and 480 more that did not pass" in shown(run)
    assert shown(large_run(500, 1)).count("\n") < 40


def test_hostile_texts_do_not_reach_the_terminal_as_commands() -> None:
    text = shown(hostile_run())
    assert "\x1b" not in text
    assert "\x00" not in text


def test_only_the_wanted_roles_are_covered(tmp_path: Path) -> None:
    path = write(small_run(), tmp_path, ["json"], roles=["list"])["json"]
    assert json.loads(path.read_text())["coverage"]["percent"] == 0.0
