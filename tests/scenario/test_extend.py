"""Scenarios that extend others: what comes first, what wins, and what leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.engine.command import Submit
from simulator.engine.job import State
from simulator.scenario.model import Scenario
from simulator.scenario.read import ScenarioError, check_scenario, read_scenario
from simulator.scenario.setting import Setting

APIS = {
    "ica": {"page_size": Setting(int, 50, "Jobs on a page."), "strict": Setting(bool, True, "Refuse.")},
    "titan": {},
}
BASE = """\
description: The base
apis: {ica: {page_size: 7, strict: false}}
workers: {titan: external, ica: 3}
jobs:
  - when: {api: titan}
    script: [failed]
  - script: [succeeded]
"""


class Folder:
    """Scenario files, some of them shipped."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / "shipped").mkdir()
        self.write("shipped/base", BASE)

    def write(self, name: str, text: str) -> Path:
        file = self.path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def find(self, name: str) -> Path | None:
        file = self.path / "shipped" / f"{name}.yaml"
        return file if file.is_file() else None

    def read(self, text: str, name: str = "mine") -> Scenario:
        return read_scenario(self.write(name, text), apis=APIS, shown_as=f"dir/{name}.yaml", find=self.find)

    def problems(self, text: str) -> list[str]:
        file = self.write("mine", text)
        return [
            str(it) for it in check_scenario(file, apis=APIS, shown_as="dir/mine.yaml", find=self.find)[1]
        ]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def causes(scenario: Scenario) -> list[str]:
    return [rule.part.cause for rule in scenario.rules]


def test_the_rules_of_a_file_come_before_those_it_extends(folder: Folder) -> None:
    scenario = folder.read("extends: base\njobs: [{when: {number: 2}, script: [cancelled]}]")
    assert causes(scenario) == ["dir/mine.yaml:2", "scenarios/base.yaml:5", "scenarios/base.yaml:7"]
    ends = [scenario.part_for(Submit("titan", "x"), number).script.steps[-1].state for number in (1, 2)]
    assert ends == [State.FAILED, State.CANCELLED]
    assert (scenario.name, scenario.description, scenario.source) == ("mine", "", "dir/mine.yaml")


def test_settings_and_workers_are_merged_and_the_extending_file_wins(folder: Folder) -> None:
    scenario = folder.read("extends: base\napis: {ica: {page_size: 9}}\nworkers: {ica: unlimited}")
    assert scenario.settings == {"ica": {"page_size": 9, "strict": False}, "titan": {}}
    assert scenario.crew == {"titan": 0, "ica": None}


def test_a_default_that_is_written_wins_over_what_is_extended(folder: Folder) -> None:
    assert folder.read("extends: base\napis: {ica: {page_size: 50}}").settings["ica"]["page_size"] == 50


def test_rules_for_calls_are_merged_and_know_their_places(folder: Folder) -> None:
    call = "calls: [{when: {role: status}, fault: connection_reset}]"
    folder.write("other", call)
    scenario = folder.read(f"extends: ./other.yaml\njobs: [{{script: [succeeded]}}]\n{call}")
    assert [(rule.place, rule.cause) for rule in scenario.calls.rules] == [
        (0, "dir/mine.yaml:3"),
        (1, "dir/other.yaml:1"),
    ]


def test_of_several_the_first_one_written_counts_more(folder: Folder) -> None:
    folder.write("a", "workers: {ica: 1}\njobs: [{when: {number: 1}, script: [failed]}]")
    folder.write("b", "workers: {ica: 2, titan: 2}\njobs: [{script: [failed]}]")
    scenario = folder.read("extends: [./a.yaml, b.yaml, base]")
    assert scenario.crew == {"ica": 1, "titan": 2}
    assert causes(scenario) == [
        "dir/a.yaml:2",
        "dir/b.yaml:2",
        "scenarios/base.yaml:5",
        "scenarios/base.yaml:7",
    ]


def test_what_is_extended_may_extend_others_seen_from_its_own_folder(folder: Folder) -> None:
    folder.write("deep/one", "extends: [two.yaml, ../far.yaml, base]\njobs: [{script: [failed]}]")
    folder.write("deep/two", "jobs: [{script: [failed]}]")
    folder.write("far", "jobs: [{script: [failed]}]")
    scenario = folder.read("extends: deep/one.yaml")
    assert causes(scenario) == [
        "dir/deep/one.yaml:2",
        "dir/deep/two.yaml:1",
        "dir/far.yaml:1",
        "scenarios/base.yaml:5",
        "scenarios/base.yaml:7",
    ]


def test_a_file_that_is_reached_twice_counts_once(folder: Folder) -> None:
    folder.write("a", "extends: base\njobs: [{when: {number: 1}, script: [failed]}]")
    folder.write("b", "extends: base\njobs: [{when: {number: 2}, script: [failed]}]")
    scenario = folder.read("extends: [./a.yaml, ./b.yaml, ./a.yaml]")
    assert causes(scenario) == [
        "dir/a.yaml:2",
        "scenarios/base.yaml:5",
        "scenarios/base.yaml:7",
        "dir/b.yaml:2",
    ]


def test_what_is_extended_needs_no_rules_of_its_own(folder: Folder) -> None:
    folder.write("settings", "workers: {ica: 4}")
    assert folder.read("extends: ./settings.yaml\njobs: [{script: [succeeded]}]").crew == {"ica": 4}


def test_a_text_may_extend_shipped_scenarios_only(folder: Folder) -> None:
    assert causes(read_scenario("extends: base", apis=APIS, find=folder.find))[0] == "scenarios/base.yaml:5"
    for written in ("./base.yaml", "/etc/passwd", "base.yaml", "../base"):
        scenario, found = check_scenario(f"extends: {written}", apis=APIS, name="inline", find=folder.find)
        assert scenario is None
        assert [str(problem) for problem in found] == [
            "inline:1:10: extends: a scenario that is no file has no folder to begin from; extend a shipped one by its name"
        ]


def test_rules_with_the_same_chance_draw_apart_wherever_they_were_written(folder: Folder) -> None:
    rule = "jobs: [{when: {chance: 0.5}, script: [failed]}]"
    folder.write("other", rule)
    scenario = folder.read(f"extends: ./other.yaml\n{rule}")
    first, second = (rule.when for rule in scenario.rules)
    submit = Submit("ica", "x")
    drawn = [(first.holds(submit, number, 1), second.holds(submit, number, 1)) for number in range(1, 60)]
    assert set(drawn) == {(True, True), (True, False), (False, True), (False, False)}


# ---- problems -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extends", "expected"),
    [
        ("bsae", "1:10: extends: there is no shipped scenario 'bsae'"),
        ("other", "1:10: extends: there is no shipped scenario 'other', did you mean './other.yaml'?"),
        ("./othr.yaml", "1:10: extends: there is no file './othr.yaml', did you mean './other.yaml'?"),
        ("./nothing/at-all.yaml", "1:10: extends: there is no file './nothing/at-all.yaml'"),
        ("./shipped/", "1:10: extends: there is no file './shipped/'"),
        ('"./a\\0.yaml"', "1:10: extends: there is no file './a\\x00.yaml'"),
        ("[base, 5]", "1:17: extends[1]: must be the name of a shipped scenario or the path of a file, such as ./base.yaml"),
        ("{base: 1}", "1:10: extends: must be the name of a shipped scenario or the path of a file, such as ./base.yaml"),
        ("''", "1:10: extends: must be the name of a shipped scenario or the path of a file, such as ./base.yaml"),
        ("[]", "1:10: extends: an empty list extends nothing; leave `extends` out"),
        ("./mine.yaml", "1:10: extends: goes round in a circle: dir/mine.yaml → dir/mine.yaml"),
    ],
)  # fmt: skip
def test_what_leads_nowhere_is_told_with_its_place(folder: Folder, extends: str, expected: str) -> None:
    folder.write("other", "jobs: [{script: [succeeded]}]")
    assert folder.problems(f"extends: {extends}") == [f"dir/mine.yaml:{expected}"]


def test_without_a_way_to_find_them_no_scenario_is_shipped() -> None:
    with pytest.raises(ScenarioError, match="there is no shipped scenario 'base'"):
        read_scenario("extends: base", apis=APIS)


def test_a_circle_is_told_where_it_closes(folder: Folder) -> None:
    folder.write("a", "extends: ./b.yaml")
    folder.write("b", "jobs: [{script: [succeeded]}]\nextends: ./a.yaml")
    assert folder.problems("extends: a.yaml") == [
        "dir/b.yaml:2:10: extends: goes round in a circle: dir/a.yaml → dir/b.yaml → dir/a.yaml"
    ]


def test_ten_in_a_row_are_enough(folder: Folder) -> None:
    for number in range(1, 12):
        folder.write(f"n{number}", f"extends: ./n{number + 1}.yaml")
    folder.write("n10", "workers: {ica: 5}")
    assert folder.read("extends: ./n1.yaml").crew == {"ica": 5}
    folder.write("n10", "extends: ./n11.yaml")
    assert folder.problems("extends: ./n1.yaml") == [
        "dir/n10.yaml:1:10: extends: more than 10 files extend one another in a row"
    ]


def test_problems_are_told_with_the_file_they_are_in_those_of_the_extending_one_first(folder: Folder) -> None:
    folder.write("other", "jobs:\n- script: [runing: 1s, failed]\n- script: [running: 1s]")
    found = folder.problems("extends: ./other.yaml\njobs: [{scrpt: []}]")
    assert [problem.split(": ")[0] for problem in found] == [
        "dir/mine.yaml:2:8",
        "dir/mine.yaml:2:9",
        "dir/other.yaml:2:12",
        "dir/other.yaml:3:3",
        "dir/other.yaml:3:12",
    ]


def test_a_file_that_is_no_yaml_is_one_problem(folder: Folder) -> None:
    folder.write("other", "jobs: [")
    assert [problem.split(": ")[0] for problem in folder.problems("extends: ./other.yaml")] == [
        "dir/other.yaml:1:8"
    ]


def test_a_scenario_knows_the_texts_it_was_read_from_and_can_be_read_from_them(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("inner/low", "extends: base\nworkers: {ica: 9}\n")
    top = folder.write("top", "extends: [./inner/low.yaml, base]\napis: {ica: {page_size: 1}}\n")
    files = {"base": tmp_path / "shipped" / "base.yaml"}
    read = read_scenario(top, apis=APIS, shown_as="mine/top.yaml", find=files.get)
    assert [shown for shown, _ in read.sources] == [
        "mine/top.yaml",
        "mine/inner/low.yaml",
        "scenarios/base.yaml",
    ]
    assert dict(read.sources)["scenarios/base.yaml"] == BASE
    again = read_scenario(
        "mine/top.yaml", apis=APIS, name="top", shown_as="mine/top.yaml", texts=dict(read.sources)
    )
    assert again == read
    inline = read_scenario("extends: base\n", apis=APIS, find=files.get)
    assert read_scenario("inline", apis=APIS, shown_as="inline", texts=dict(inline.sources)) == inline
