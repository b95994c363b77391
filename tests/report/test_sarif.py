"""The SARIF report is valid, has a rule for each kind of violation, and points into the documents."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from simulator.apis.contract import Kind
from simulator.report.model import Run, Tested
from simulator.report.sarif import RULES, as_sarif
from tests.report.parts import hostile_run, small_run, violation


@cache
def schema() -> jsonschema_rs.Draft4Validator:
    text = (Path(__file__).parent / "schemas" / "sarif-2.1.0-rtm.5.json").read_text()
    # The pattern of languages has a bracket too many, which only lenient readers take.
    mended = text.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}?$")
    assert mended != text
    return jsonschema_rs.Draft4Validator(json.loads(mended), validate_formats=True)


def written(run: Run) -> dict[str, Any]:
    log = json.loads(as_sarif(run))
    problems = [f"{list(error.instance_path)}: {error.message[:200]}" for error in schema().iter_errors(log)]
    assert not problems
    only: dict[str, Any] = log["runs"][0]
    return only


def results(*violations: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = written(Run((Tested("a.py::t", violations=violations),)))["results"]
    return found


@pytest.mark.parametrize("run", [Run(), small_run(), hostile_run()])
def test_the_report_is_valid_for_the_published_schema(run: Run) -> None:
    rules = written(run)["tool"]["driver"]["rules"]
    for result in written(run)["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]


def test_the_schema_refuses_what_is_no_report() -> None:
    assert not schema().is_valid({"version": "2.1.0", "runs": [{}]})


def test_every_kind_of_refusal_of_a_client_has_a_rule() -> None:
    ours = {Kind.ASKED_FOR, Kind.INTERNAL}
    assert {kind.word for kind in Kind if kind not in ours} <= RULES.keys()


def test_a_result_points_into_the_document() -> None:
    location = results(violation())[0]["locations"][0]
    place = location["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "openapi/ogc.yaml"
    line = Path("openapi/ogc.yaml").read_text().splitlines()[place["region"]["startLine"] - 1]
    assert line[place["region"]["startColumn"] - 1 : place["region"]["endColumn"] - 1] == "inputs"
    assert location["logicalLocations"][0]["name"] == "execute_processes__processId__execution_post"


def test_the_same_violation_in_many_calls_is_one_result() -> None:
    found = results(violation(), violation("another value"), violation(pointer="/outputs"))
    assert [one["occurrenceCount"] for one in found] == [2, 1]
    assert "2 times, in a.py::t" in found[0]["message"]["text"]


def test_a_fingerprint_stays_when_values_and_places_in_lists_change() -> None:
    one = results(violation("1 is no text", pointer="/a/0/b"))[0]["partialFingerprints"]
    other = results(violation("2 is no text", pointer="/a/17/b"))[0]["partialFingerprints"]
    third = results(violation("2 is no text", pointer="/a/17/c"))[0]["partialFingerprints"]
    assert one == other != third


def test_what_a_scenario_asked_for_is_no_finding() -> None:
    assert results(violation(declared=True)) == []


def test_a_violation_without_a_document_has_a_logical_place_only() -> None:
    assert "physicalLocation" not in results(violation(api="elsewhere"))[0]["locations"][0]


def test_an_unknown_kind_gets_a_rule_of_its_own() -> None:
    run = written(Run((Tested("t", violations=(violation(kind="odd_thing"),)),)))
    assert run["results"][0]["ruleId"] == "odd-thing"
    assert run["tool"]["driver"]["rules"][-1]["name"] == "OddThing"
