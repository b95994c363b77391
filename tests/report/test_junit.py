"""The JUnit report keeps to the form that build servers read, and shows violations as failures."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from lxml import etree

from simulator.report import coverage_of
from simulator.report.junit import as_junit
from simulator.report.model import Run, Tested
from tests.report.parts import HOSTILE, hostile_run, large_run, small_run, violation

SCHEMA = etree.XMLSchema(etree.parse(Path(__file__).parent / "schemas" / "junit-10.xsd"))


def written(run: Run) -> ElementTree.Element:
    report = as_junit(run, coverage_of(run))
    SCHEMA.assertValid(etree.fromstring(report))
    return ElementTree.fromstring(report)


@pytest.mark.parametrize("run", [Run(), small_run(), hostile_run(), large_run(50, 1)])
def test_the_report_is_valid_for_the_published_schema(run: Run) -> None:
    assert len(list(written(run).iter("testcase"))) == len(run.tests)


def test_suites_are_files_and_count_each_test_once() -> None:
    root = written(small_run())
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "time")} == {
        "tests": "5",
        "failures": "2",
        "errors": "1",
        "time": "0.661",
    }
    client, submit = root.findall("testsuite")
    assert (client.get("name"), client.get("tests"), client.get("failures")) == (
        "tests/test_client.py",
        "2",
        "1",
    )
    assert (submit.get("failures"), submit.get("errors"), submit.get("skipped")) == ("1", "1", "1")


def test_a_case_is_named_as_build_servers_want_it() -> None:
    cases = {(case.get("classname"), case.get("name")) for case in written(small_run()).iter("testcase")}
    assert ("tests.test_client.TestCancel", "test_a_job_is_cancelled[slow]") in cases
    assert ("tests.test_client", "test_a_job_is_followed_to_its_end") in cases


def test_a_parameter_with_colons_does_not_split_a_name() -> None:
    case = next(written(Run((Tested("tests/test_a.py::test_b[c::d]"),))).iter("testcase"))
    assert (case.get("classname"), case.get("name")) == ("tests.test_a", "test_b[c::d]")


def test_a_violation_is_a_failure_with_operation_pointer_and_line() -> None:
    tested = Tested("t", violations=(violation(), violation(), violation("other", pointer="limit")))
    failures = list(written(Run((tested,))).iter("failure"))
    assert [one.get("type") for one in failures] == ["bad_body", "bad_parameter"]
    message = failures[0].get("message") or ""
    assert "ogc execute_processes__processId__execution_post at /inputs:" in message
    assert "(openapi/ogc.yaml:" in message
    assert message.endswith("(2 times)")


def test_a_declared_violation_is_no_failure() -> None:
    root = written(Run((Tested("t", violations=(violation(declared=True),)),)))
    assert not list(root.iter("failure"))
    assert root.get("failures") == "0"


def test_the_reason_of_a_failure_is_its_message() -> None:
    failure = next(written(small_run()).iter("failure"))
    assert failure.get("message") == "E       AssertionError: still running"
    assert "def test_a_job_is_cancelled" in (failure.text or "")


def test_what_replays_a_test_is_in_its_output() -> None:
    case = next(written(small_run()).iter("testcase"))
    assert "replay: understudy replay capsules/test-1.json" in (case.findtext("system-out") or "")


def test_control_characters_are_written_out() -> None:
    case = next(
        written(Run((Tested("t", "failed", failure="a\x00b\x1b[31mc\ufffe\ud800d"),))).iter("failure")
    )
    assert case.text == "a\\x00b\\x1b[31mc\\ufffe\\ud800d"
    assert HOSTILE.startswith("</script>")


def test_a_test_with_two_worlds_is_two_cases() -> None:
    run = Run((Tested("a.py::t", world="one"), Tested("a.py::t", world="two")))
    assert [case.get("name") for case in written(run).iter("testcase")] == ["t in one", "t in two"]
