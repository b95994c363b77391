from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from simulator.cli import main
from simulator.report import write_run
from simulator.report.model import Run, Tested
from tests.report.parts import small_run


def report(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, arguments)])


def good(folder: Path) -> Path:
    return write_run(Run((Tested("test_fine"),)), folder / "good.json")


def bad(folder: Path) -> Path:
    return write_run(small_run(), folder / "bad.json")


def test_a_run_in_which_all_passed_is_exit_code_0(tmp_path: Path) -> None:
    done = report(good(tmp_path))
    assert done.exit_code == 0, done.output
    assert "1 tests: 1 passed" in done.output


def test_a_run_with_failures_is_exit_code_1_and_names_them(tmp_path: Path) -> None:
    done = report(bad(tmp_path))
    assert done.exit_code == 1
    assert "failed  " in done.output


def test_reports_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    done = report(good(tmp_path), "-o", tmp_path / "out", "--only", "html", "--only", "sarif")
    assert done.exit_code == 0, done.output
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["report.html", "understudy.sarif"]


def test_several_runs_become_one(tmp_path: Path) -> None:
    done = report(good(tmp_path), bad(tmp_path), "--format", "json")
    told = json.loads(done.stdout)
    assert sum(told["summary"].values()) == 1 + len(small_run().tests)


def test_too_little_coverage_is_exit_code_1(tmp_path: Path) -> None:
    done = report(good(tmp_path), "--fail-under", "50")
    assert done.exit_code == 1
    assert "less than --fail-under 50" in done.stderr


def test_a_file_that_is_no_run_is_exit_code_2_and_named(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    done = report(tmp_path / "other.json")
    assert done.exit_code == 2
    assert "other.json: is no run of tests" in done.stderr


def test_an_unknown_format_is_exit_code_2(tmp_path: Path) -> None:
    done = report(good(tmp_path), "-o", tmp_path / "out", "--only", "pdf")
    assert done.exit_code == 2
    assert "there is no report format 'pdf'" in done.stderr
