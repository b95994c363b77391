"""`understudy traps`: lists, refusals, and output that nothing can steer."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from simulator.cli_traps import traps as command
from tests.test_traps import GOOD, HOSTILE, chosen, run, script


def test_the_list_says_what_a_good_client_does_and_whom_a_trap_concerns() -> None:
    listed = CliRunner().invoke(command, ["list", "--api", "titan", "--format", "json"])
    rows = {row["trap"]: row for row in json.loads(listed.stdout)}
    assert rows["worker-late"]["apis"] == ["titan"]
    assert rows["never-finishes"]["exit"] == "not 0"
    assert "gives up" in rows["never-finishes"]["good_client"]
    assert "token-expires" not in rows
    assert "token-expires" in CliRunner().invoke(command, ["list"]).stdout


@pytest.mark.parametrize("more", [(), ("--no-baseline",)])
def test_a_command_that_cannot_be_started_is_a_mistake_of_usage(more: tuple[str, ...]) -> None:
    result = run(*more, "--api", "ica", *chosen("fault-*"), "--", "/no/such\x1b/program")
    assert result.exit_code == 2
    assert result.stderr == "understudy: cannot start '/no/such\\x1b/program': No such file or directory\n"


def test_wrong_words_are_told_with_what_is_meant(tmp_path: Path) -> None:
    assert "did you mean fault-hang" in run("--trap", "fault-hangs", "--", "true").stderr
    assert "there is no API 'icy'" in run("--api", "icy", "--", "true").stderr
    assert (
        "none of these traps concerns clients of ogc"
        in run("--api", "ogc", "--trap", "worker-late", "--", "true").stderr
    )
    assert "there is no folder" in run("--junit", str(tmp_path / "no" / "x.xml"), "--", "true").stderr
    assert run().exit_code == 2
    missing = run("--baseline", "hapy", "--", "true")
    assert (missing.exit_code, "there is no scenario 'hapy'" in missing.stderr) == (2, True)


def test_hostile_output_cannot_steer_a_terminal_and_is_well_formed_xml(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    wanted = ("--no-baseline", "--api", "ica", *chosen("fault-hang", "fails-halfway"), "--junit", str(report))
    result = run(*wanted, "--", *script(tmp_path, HOSTILE))
    assert result.exit_code == 1
    assert all(character.isprintable() or character == "\n" for character in result.output)
    assert "\\x1b]0;owned\\x07" in result.stdout
    suite = ElementTree.parse(report).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("2", "2", "0")
    case = suite.find("testcase[@name='fault-hang']")
    assert case is not None
    assert case.get("classname") == "understudy.traps.fault"
    failure = case.find("failure")
    assert failure is not None
    assert "exit code 1" in str(failure.get("message"))
    assert "understudy serve --scenario fault-hang" in str(failure.text)
    assert "second\\rline" in str(case.findtext("system-out"))


def test_a_report_shows_what_passed_and_what_was_not_tested(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    wanted = ("--api", "ica", *chosen("fails-halfway", "cancel-slow"), "--junit", str(report))
    assert run(*wanted, "--", *script(tmp_path, GOOD)).exit_code == 0
    cases = {str(case.get("name")): case for case in ElementTree.parse(report).iter("testcase")}
    assert cases["fails-halfway"].find("skipped") is None
    assert cases["fails-halfway"].find("failure") is None
    skipped = cases["cancel-slow"].find("skipped")
    assert skipped is not None
    assert "nobody cancelled" in str(skipped.get("message"))
