"""The composition root: what it wires, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.assemble import (
    API_MODULES,
    Settings,
    ShippedScenarios,
    UsageError,
    abilities_of,
    assemble,
    declared_in,
    find_scenario,
    load_apis,
    load_document,
    load_scenario,
    scenario_files,
)
from simulator.engine.world import Limits
from simulator.scenario.read import ScenarioError
from tests.kit import Kit


def test_all_apis_are_served_unless_some_are_named() -> None:
    assert tuple(assemble(Settings()).services) == API_MODULES
    assert list(assemble(Settings(apis=("titan", "ogc"))).services) == ["ogc", "titan"]


def test_an_unknown_api_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="there is no API 'nope'; there are: synapse, jbpm, ogc, ica, titan"):
        load_apis(("nope",))


def test_a_scenario_is_found_by_name_by_path_and_from_text(tmp_path: Path) -> None:
    apis = load_apis()
    assert load_scenario("happy", apis).name == "happy"
    path = tmp_path / "mine.yaml"
    path.write_text("jobs:\n  - script: [succeeded]\n")
    assert load_scenario(path, apis).name == "mine"
    assert load_scenario(str(path), apis).name == "mine"
    assert load_scenario("jobs:\n  - script: [succeeded]\n", apis).name == "inline"


def test_an_unknown_scenario_names_the_shipped_ones() -> None:
    with pytest.raises(UsageError, match=r"neither a file nor one of .*happy"):
        load_scenario("nope", load_apis())


def test_a_scenario_may_speak_of_an_api_that_is_not_served() -> None:
    kit = Kit("apis:\n  ica: {tokens: [x]}\njobs:\n  - script: [succeeded]\n", apis=("titan",))
    assert kit.get("/titan/v1/jobs").status == 200


def test_problems_of_a_scenario_come_with_their_places() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("jobs:\n  - script: []\n", load_apis())
    assert str(caught.value.problems[0]).startswith("inline:2:13: ")


def test_limits_reach_the_worlds_and_are_told_in_the_envelope() -> None:
    kit = Kit(apis=("titan",), limits=Limits(jobs=2))
    two = {"jobs": [{"image": "a"}, {"image": "b"}]}
    assert kit.post("/titan/v1/jobs", json={"jobs": [{"image": "a"}] * 3}).status == 503
    assert kit.get("/titan/v1/jobs").json() == {"jobs": []}
    assert kit.post("/titan/v1/jobs", json=two).status == 201
    refused = kit.post("/titan/v1/jobs", json=two)
    assert refused.status == 503
    assert (
        "limit of 2 jobs in a world is reached; raise it with --max-jobs"
        in refused.json()["error"]["message"]
    )


def test_the_body_limit_can_be_set_for_all() -> None:
    kit = Kit(apis=("titan",), body_bytes_max=100)
    refused = kit.post("/titan/v1/jobs", json={"jobs": [{"image": "x" * 100}]})
    assert refused.status == 413
    assert "100 bytes" in refused.json()["error"]["message"]


def test_the_shipped_scenarios_are_read_when_they_are_asked_for() -> None:
    shipped = ShippedScenarios(load_apis())
    assert "happy" in shipped
    assert "unhappy" not in shipped
    assert len(shipped) == len(list(shipped)) > 1
    assert shipped["happy"].name == "happy"
    assert shipped["happy"] is shipped["happy"]
    with pytest.raises(KeyError):
        shipped["unhappy"]


def test_what_the_documents_declare_is_known_by_operation() -> None:
    apis = load_apis(("titan",))
    declared = declared_in({"titan": load_document(apis["titan"])}, apis)
    assert len(declared) == len(apis["titan"].operations)
    claim = declared["titan", "jobs_consume_get"]
    assert (claim.role, claim.declares(429), claim.declares(418)) == ("claim", True, True)
    assert not declared["titan", "job_id_delete"].declares(418)


def test_an_answer_that_a_document_does_not_allow_keeps_the_server_from_starting() -> None:
    rule = "when: {operation: job_id_delete}, answer: {status: 418}"
    with pytest.raises(ScenarioError, match="418 is not declared by titan job_id_delete"):
        assemble(Settings(scenario=f"jobs: [{{script: [succeeded]}}]\ncalls: [{{{rule}}}]\n"))


def test_what_an_api_can_do_follows_from_its_document() -> None:
    apis = load_apis(("titan",))
    ability = abilities_of({"titan": load_document(apis["titan"])}, apis)["titan"]
    assert "claim" in ability.roles
    assert "amend" not in ability.roles
    assert "job_id_get" in ability.job_operations
    assert "jobs_post" not in ability.job_operations
    assert ability.cannot is apis["titan"].cannot


def test_a_scenario_is_found_by_name_or_by_path(tmp_path: Path) -> None:
    path, shown_as = find_scenario("happy")
    assert (path.name, shown_as) == ("happy.yaml", "scenarios/happy.yaml")
    mine = tmp_path / "mine.yaml"
    mine.write_text("")
    assert find_scenario(mine) == (mine, str(mine))
    with pytest.raises(UsageError, match="there is no scenario 'unhappy'"):
        find_scenario("unhappy")


def test_the_files_of_a_scenario_are_those_that_it_extends_too(tmp_path: Path) -> None:
    for name, text in {
        "mine": "extends: [./base.yaml, ./absent.yaml, happy]",
        "base": "extends: ./deep.yaml",
        "deep": "jobs: 1",
    }.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    found = scenario_files(tmp_path / "mine.yaml")
    assert [path.name for path in found if path.parent == tmp_path] == ["mine.yaml", "base.yaml", "deep.yaml"]
    (tmp_path / "mine.yaml").write_text("jobs: [")
    assert scenario_files(tmp_path / "mine.yaml") == [tmp_path / "mine.yaml"]
