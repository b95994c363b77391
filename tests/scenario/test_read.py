"""The scenario language: what each construct means, and every way to get it wrong with the place of the mistake."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.command import Cancel, Release, Submit
from simulator.engine.errors import NotAllowed
from simulator.engine.job import FINAL, Failure, State
from simulator.engine.rules import Rules
from simulator.engine.script import CancelAfter, CancelEffect, Lasting, Script, Span, Step
from simulator.engine.world import World
from simulator.resources import shipped_scenarios
from simulator.scenario.model import Scenario
from simulator.scenario.read import (
    RULE_KEYS,
    TOP_KEYS,
    WHEN_KEYS,
    ScenarioError,
    check_scenario,
    read_scenario,
)
from simulator.scenario.setting import Setting

APIS = {
    "ica": {
        "tokens": Setting(list, None, "Tokens that are good."),
        "colours": Setting(list, [], "Some colours.", choices=("red", "green")),
        "page_size": Setting(int, 50, "Jobs on a page."),
    },
    "jbpm": {
        "date_format": Setting(str, "wrapped", "How times look.", choices=("wrapped", "plain")),
        "strict": Setting(bool, True, "Refuse what is not documented."),
    },
    "titan": {},
}


def read(text: str) -> Scenario:
    return read_scenario(dedent(text), apis=APIS, name="s.yaml")


def problems(text: str) -> list[str]:
    """Everything `check` says of a text, without the file's name."""
    found = check_scenario(dedent(text), apis=APIS, name="s")[1]
    return [f"{'' if problem.severity == 'error' else 'warning '}{str(problem)[2:]}" for problem in found]


def script(steps: str) -> Script:
    [rule] = read(f"jobs: [{{script: {steps}}}]").rules
    return rule.part.script


def world_of(text: str) -> World:
    rules = {api: Rules(identify=lambda seed, number: str(number)) for api in APIS}
    return World(seed=1, rules=rules, playbook=read(text))


# ---- files and names ------------------------------------------------------------------------------------------------


def test_a_file_is_called_by_its_stem_and_shown_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "late-failure.yaml"
    file.write_text("jobs:\n- script: [succeeded]\n")
    scenario = read_scenario(file, apis=APIS)
    assert (scenario.name, scenario.source) == ("late-failure", str(file))
    assert scenario.rules[0].part.cause == f"{file}:2"


def test_a_name_and_a_shown_path_can_be_given(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("jobs:\n- script: [succeeded]\n")
    scenario = read_scenario(file, apis=APIS, name="mine", shown_as="scenarios/mine.yaml")
    assert (scenario.name, scenario.source) == ("mine", "scenarios/mine.yaml")
    assert scenario.rules[0].part.cause == "scenarios/mine.yaml:2"


def test_a_broken_file_raises_all_its_errors_and_no_warnings() -> None:
    text = "jobs:\n- script: [running: 3]\n- script: [runing: 3s]\n"
    with pytest.raises(ScenarioError) as caught:
        read_scenario(text, apis=APIS, name="x", shown_as="dir/x.yaml")
    found = caught.value.problems
    assert [(problem.file, problem.line, problem.column, problem.path) for problem in found] == [
        ("dir/x.yaml", 2, 21, "jobs[0].script[0].running"),
        ("dir/x.yaml", 3, 12, "jobs[1].script[0]"),
    ]
    assert str(caught.value).splitlines() == [str(problem) for problem in found]


def test_warnings_do_not_keep_a_scenario_from_loading() -> None:
    scenario, found = check_scenario("jobs: [{script: [running: 3s]}]", apis=APIS)
    assert scenario is not None
    assert [problem.severity for problem in found] == ["warning"]
    assert read("jobs: [{script: [running: 3s]}]").rules


# ---- the whole file -------------------------------------------------------------------------------------------------


def test_a_whole_file_becomes_a_scenario() -> None:
    scenario = read(
        """\
        $schema: https://example.org/scenario.json
        description: Runs, then runs out of memory.
        apis:
          ica: {tokens: [good, better], page_size: 10, colours: [red]}
          jbpm: {date_format: plain, strict: false}
        workers: {titan: external, jbpm: 2, ica: unlimited}
        jobs:
          - when: {api: ica}
            script:
              - queued: 2s
              - running: 4s
                progress: 0..60
                message: Copying inputs
              - failed: {error: {code: out_of_memory, message: Container killed, details: none}}
            on_cancel: {after: 1s..3s}
          - script: [queued: 1s, running: 2s..5s, succeeded]
        """
    )
    assert scenario.description == "Runs, then runs out of memory."
    assert scenario.settings == {
        "ica": {"tokens": ["good", "better"], "page_size": 10, "colours": ["red"]},
        "jbpm": {"date_format": "plain", "strict": False},
        "titan": {},
    }
    assert scenario.crew == {"titan": 0, "jbpm": 2, "ica": None}
    first, second = (rule.part for rule in scenario.rules)
    assert first.script.steps == (
        Step(State.QUEUED, Span(2_000, 2_000), cause="s.yaml:10"),
        Step(State.RUNNING, Span(4_000, 4_000), (0, 60), "Copying inputs", cause="s.yaml:11"),
        Step(
            State.FAILED,
            failure=Failure("Container killed", "out_of_memory", "none"),
            cause="s.yaml:14",
        ),
    )
    assert first.on_cancel == CancelAfter(Span(1_000, 3_000))
    assert first.cause == "s.yaml:8"
    assert second.script.steps[1] == Step(State.RUNNING, Span(2_000, 5_000), cause="s.yaml:16")
    assert second.on_cancel is None


def test_settings_are_complete_with_defaults() -> None:
    scenario = read("apis: {ica: {page_size: 3}}\njobs: [{script: [succeeded]}]")
    assert scenario.settings["ica"] == {"tokens": None, "colours": [], "page_size": 3}
    assert scenario.settings["jbpm"] == {"date_format": "wrapped", "strict": True}


def test_a_duration_as_a_setting_is_kept_in_milliseconds() -> None:
    apis = {"ica": {"token_lifetime": Setting(timedelta, None, "how long")}}
    good = "jobs: [{script: [succeeded]}]"
    for written, wanted in (("10m", 600_000), ("1h30m", 5_400_000), ("PT2S", 2_000), ("'250ms'", 250)):
        text = f"apis: {{ica: {{token_lifetime: {written}}}}}\n{good}"
        assert read_scenario(text, apis=apis).settings["ica"]["token_lifetime"] == wanted
    assert read_scenario(f"{good}\n", apis=apis).settings["ica"]["token_lifetime"] is None
    for written, why in (
        ("10", "10 has no unit; write 10s for seconds"),
        ("[1s]", "must be a duration like 250ms, 2s or 10m"),
        ("", "must be a duration like 250ms, 2s or 10m"),
        ("soon", "is not a duration"),
        ("-1s", "is negative"),
    ):
        _, problems = check_scenario(f"apis: {{ica: {{token_lifetime: {written}}}}}\n{good}", apis=apis)
        assert len(problems) == 1
        assert why in problems[0].message


def test_rules_may_be_written_once_and_used_again() -> None:
    scenario = read(
        """\
        jobs:
          - when: {api: ica}
            script: &way [running: 1s, succeeded]
          - script: *way
        """
    )
    first, second = (rule.part.script for rule in scenario.rules)
    assert first == second


# ---- when -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "numbers"),
    [
        ("{api: ica}", [1, 2, 3]),
        ("{api: [jbpm, titan]}", [4]),
        ("{kind: 'run*'}", [1, 2]),
        ("{kind: [walk, 'org.*']}", [3, 4]),
        ("{number: 2}", [2]),
        ("{number: 2..3}", [2, 3]),
        ("{number: '3 .. 9'}", [3, 4]),
        ("{request.name: 'nightly-*'}", [1, 2]),
        ("{request.name: [nightly-1, daily]}", [1, 3]),
        ("{request.dryRun: true}", [1]),
        ("{request.dryRun: 'true'}", [1]),
        ("{request.owner: null}", [2]),
        ("{request.size: 10}", [1]),
        ("{request.size: 0x0a}", [1]),
        ("{request.size: '1*'}", [1, 2]),
        ("{request.ratio: 0.50}", [2]),
        ("{request.inputs.0.name: raw}", [3]),
        ("{request.org.unit.id: '7'}", [3]),
        ("{request.inputs: '*'}", [3]),
        ("{api: ica, kind: run, number: 1..2, request.name: '*-1'}", [1]),
        ("{api: titan}", []),
    ],
)
def test_a_rule_is_for_the_jobs_that_meet_all_its_conditions(when: str, numbers: list[int]) -> None:
    [rule] = read(f"jobs: [{{when: {when}, script: [succeeded]}}]").rules
    submits = [
        Submit("ica", "run", request={"name": "nightly-1", "dryRun": True, "size": 10}),
        Submit("ica", "run", request={"name": "nightly-2", "owner": None, "size": 12.5, "ratio": 0.5}),
        Submit("ica", "walk", request={"name": "daily", "inputs": [{"name": "raw"}], "org.unit": {"id": 7}}),
        Submit("jbpm", "org.jbpm.Command", request=None),
    ]
    assert [n for n, submit in enumerate(submits, 1) if rule.when.holds(submit, n)] == numbers


def test_the_number_is_the_jobs_number_in_its_world_over_all_apis() -> None:
    world = world_of("jobs: [{when: {number: 2}, script: [failed]}, {script: [succeeded]}]")
    states = [world.apply(Submit(api, "x")).state for api in ("ica", "jbpm", "ica")]
    assert states == [State.SUCCEEDED, State.FAILED, State.SUCCEEDED]


# ---- scripts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[queued: 250ms]", [(State.QUEUED, Span(250, 250))]),
        ("[running: PT5M]", [(State.RUNNING, Span(300_000, 300_000))]),
        ("[running: PT1S..PT1M]", [(State.RUNNING, Span(1_000, 60_000))]),
        ("[running: '2s .. 5s']", [(State.RUNNING, Span(2_000, 5_000))]),
        ("[running: forever]", [(State.RUNNING, Lasting.FOREVER)]),
        ("[running: hold, succeeded]", [(State.RUNNING, Lasting.HOLD), (State.SUCCEEDED, Lasting.FOREVER)]),
        ("[hold]", [(State.QUEUED, Lasting.HOLD)]),
        ("[forever]", [(State.QUEUED, Lasting.FOREVER)]),
        (
            "[running: 1s, hold, hold]",
            [
                (State.RUNNING, Span(1_000, 1_000)),
                (State.RUNNING, Lasting.HOLD),
                (State.RUNNING, Lasting.HOLD),
            ],
        ),
        (
            "[retrying: 1s, forever]",
            [(State.RETRYING, Span(1_000, 1_000)), (State.RETRYING, Lasting.FOREVER)],
        ),
        (
            "[delayed: 1s, queued: 0s, cancelled]",
            [
                (State.DELAYED, Span(1_000, 1_000)),
                (State.QUEUED, Span(0, 0)),
                (State.CANCELLED, Lasting.FOREVER),
            ],
        ),
    ],
)
def test_a_step_is_a_state_and_how_long_it_lasts(
    steps: str, expected: list[tuple[State, Span | Lasting]]
) -> None:
    assert [(step.state, step.lasts) for step in script(steps).steps] == expected


@pytest.mark.parametrize(
    ("progress", "expected"),
    [("0..60", (0, 60)), ("40", (40, 40)), ("'40'", (40, 40)), ("7..7", (7, 7)), ("0 .. 100", (0, 100))],
)
@pytest.mark.parametrize("state", ["queued", "running", "retrying", "cancelling"])
def test_progress_is_a_percentage_or_a_range(state: str, progress: str, expected: tuple[int, int]) -> None:
    [step, _] = script(f"[{{{state}: 1s, progress: {progress}}}, succeeded]").steps
    assert step.progress == expected


@pytest.mark.parametrize("state", sorted(state.value for state in FINAL))
def test_a_final_step_may_be_a_bare_word_or_say_nothing(state: str) -> None:
    for written in (state, f"{state}:", f"{state}: {{}}"):
        assert script(f"[{written}]").steps == (Step(State(state), cause="s.yaml:1"),)


@pytest.mark.parametrize(
    ("written", "result"),
    [
        ("{a: [1, 2.5, true, null, text, no]}", {"a": [1, 2.5, True, None, "text", "no"]}),
        ("[]", []),
        ("0", 0),
        ("false", False),
        ("done", "done"),
        ("'12'", "12"),
    ],
)
def test_a_result_is_any_json(written: str, result: Any) -> None:
    [step] = script(f"[succeeded: {{result: {written}}}]").steps
    assert step.result == result
    assert type(step.result) is type(result)


def test_an_error_that_is_not_described_has_default_words() -> None:
    [step] = script("[failed: {error: {code: disk_full}}]").steps
    assert step.failure == Failure(code="disk_full")


@pytest.mark.parametrize("end", sorted(state.value for state in FINAL))
def test_the_message_of_a_final_step_is_the_jobs_last(end: str) -> None:
    body = "{message: That was it}" if end != "failed" else "{message: That was it, error: {}}"
    world = world_of(f"jobs: [{{script: [running: 1s, {end}: {body}]}}]")
    job = world.apply(Submit("ica", "x"))
    world.advance(world.start_ms + 1_000)
    assert world.job("ica", job.id).state.value == end
    assert world.job("ica", job.id).message == "That was it"


def test_a_held_job_goes_on_when_it_is_released() -> None:
    world = world_of("jobs: [{script: [{running: 1s, progress: 0..40}, hold, succeeded]}]")
    job = world.apply(Submit("ica", "x"))
    world.advance(world.start_ms + 3_600_000)
    held = world.job("ica", job.id)
    assert (held.state, held.progress_percent(world.now_ms)) == (State.RUNNING, 40)
    assert world.apply(Release("ica", job.id)).state is State.SUCCEEDED


def test_each_move_of_a_job_names_the_line_that_caused_it() -> None:
    world = world_of(
        """\
        jobs:
          - script:
              - queued: 1s
              - running: 1s
              - succeeded
        """
    )
    job = world.apply(Submit("ica", "x"))
    world.advance(world.start_ms + 2_000)
    assert [move.cause for move in world.job("ica", job.id).history] == ["client", "s.yaml:4", "s.yaml:5"]


@pytest.mark.parametrize(
    ("written", "effect"),
    [
        ("at_once", CancelEffect.AT_ONCE),
        ("ignored", CancelEffect.IGNORED),
        ("refused", CancelEffect.REFUSED),
        ("{after: 2s}", CancelAfter(Span(2_000, 2_000))),
        ("{after: 2s..1m}", CancelAfter(Span(2_000, 60_000))),
    ],
)
def test_a_rule_says_what_cancelling_does(written: str, effect: CancelEffect | CancelAfter) -> None:
    [rule] = read(f"jobs: [{{script: [running: forever], on_cancel: {written}}}]").rules
    assert rule.part.on_cancel == effect


def test_a_cancel_follows_the_rule_of_its_job() -> None:
    world = world_of(
        """\
        jobs:
          - {when: {number: 1}, script: [running: forever], on_cancel: refused}
          - {when: {number: 2}, script: [running: forever], on_cancel: {after: 2s}}
        """
    )
    stubborn, slow = (world.apply(Submit("ica", "x")) for _ in range(2))
    with pytest.raises(NotAllowed):
        world.apply(Cancel("ica", stubborn.id))
    assert world.apply(Cancel("ica", slow.id)).state is State.CANCELLING
    world.advance(world.start_ms + 2_000)
    assert world.job("ica", slow.id).state is State.CANCELLED


# ---- problems -------------------------------------------------------------------------------------------------------

TOP = f"Known keys: {', '.join(TOP_KEYS)}"
GOOD = "jobs: [{script: [succeeded]}]"
STATES = "delayed, queued, running, retrying, cancelling, succeeded, failed, cancelled"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", ["1:1: must be a mapping, not a list"]),
        ("happy", ["1:1: must be a mapping, not the text 'happy'"]),
        ("{}", ["1:1: `jobs` is missing: a list of rules, such as `jobs: [{script: [running: 2s, succeeded]}]`"]),
        (f"extend: happy\n{GOOD}", [f"1:1: unknown key 'extend', did you mean 'extends'? {TOP}"]),
        (f"wokers: {{}}\n{GOOD}", [f"1:1: unknown key 'wokers', did you mean 'workers'? {TOP}"]),
        (f"{GOOD}\n{GOOD}", ["2:1: key 'jobs' is written twice, first in line 1"]),
        (f"description: 5\n{GOOD}", ['1:14: description: must be a text, not 5; put it in quotes: "5"']),
        (f"description: [a]\n{GOOD}", ["1:14: description: must be a text, not a list"]),
        (f"description:\n{GOOD}", ["1:13: description: must be a text, not nothing"]),
        (f"apis: [ica]\n{GOOD}", ["1:7: apis: must be a mapping, not a list"]),
        (f"apis: {{icaa: {{}}}}\n{GOOD}", ["1:8: apis: unknown API 'icaa', did you mean 'ica'? Known APIs: ica, jbpm, titan"]),
        (f"apis: {{ICA: {{}}}}\n{GOOD}", ["1:8: apis: unknown API 'ICA', did you mean 'ica'? Known APIs: ica, jbpm, titan"]),
        (f"apis: {{ica:}}\n{GOOD}", ["1:12: apis.ica: must be a mapping, not nothing"]),
        (f"apis: {{titan: {{x: 1}}}}\n{GOOD}", ["1:16: apis.titan: unknown setting 'x'. Known settings: none"]),
        (f"apis: {{ica: {{token: [a]}}}}\n{GOOD}", ["1:14: apis.ica: unknown setting 'token', did you mean 'tokens'? Known settings: tokens, colours, page_size"]),
        (f"apis: {{ica: {{tokens: good}}}}\n{GOOD}", ["1:22: apis.ica.tokens: must be a list; write [good]"]),
        (f"apis: {{ica: {{tokens: [1]}}}}\n{GOOD}", ['1:23: apis.ica.tokens[0]: must be a text, not 1; put it in quotes: "1"']),
        (f"apis: {{ica: {{tokens: {{a: b}}}}}}\n{GOOD}", ["1:22: apis.ica.tokens: must be a list, not a mapping"]),
        (f"apis: {{ica: {{colours: [blue, red]}}}}\n{GOOD}", ["1:24: apis.ica.colours[0]: unknown value 'blue'. Known values: red, green"]),
        (f"apis: {{ica: {{page_size: '5'}}}}\n{GOOD}", ["1:25: apis.ica.page_size: must be a whole number"]),
        (f"apis: {{ica: {{page_size: true}}}}\n{GOOD}", ["1:25: apis.ica.page_size: must be a whole number"]),
        (f"apis: {{ica: {{page_size: [5]}}}}\n{GOOD}", ["1:25: apis.ica.page_size: must be a whole number"]),
        (f"apis: {{jbpm: {{strict: no}}}}\n{GOOD}", ["1:23: apis.jbpm.strict: must be true or false"]),
        (f"apis: {{jbpm: {{strict: null}}}}\n{GOOD}", ["1:23: apis.jbpm.strict: must be true or false"]),
        (f"apis: {{jbpm: {{date_format: plian}}}}\n{GOOD}", ["1:28: apis.jbpm.date_format: unknown value 'plian', did you mean 'plain'? Known values: wrapped, plain"]),
        (f"apis: {{jbpm: {{date_format: 1}}}}\n{GOOD}", ['1:28: apis.jbpm.date_format: must be a text, not 1; put it in quotes: "1"']),
        (f"workers: {{tian: 1}}\n{GOOD}", ["1:11: workers: unknown API 'tian', did you mean 'titan'? Known APIs: ica, jbpm, titan"]),
        *(
            (f"workers: {{ica: {written}}}\n{GOOD}", ["1:16: workers.ica: must be a number of workers from 1 on, `external` (nothing runs by itself) or `unlimited`"])
            for written in ("0", "-1", "2.5", "true", "null", "extern", "[1]", "'1'")
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_at_the_top_is_told_with_its_place(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


RULE = f"Known keys: {', '.join(RULE_KEYS)}"
WHEN = f"Known keys: {', '.join(WHEN_KEYS)}"
AFTER = "{after: 2s}, {after: 2s, then: failed}"
EFFECTS = f"at_once, ignored, refused, too_late, {AFTER}"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{scirpt: [succeeded]}", [
            "2:3: jobs[0]: `script` is missing: a list of steps, such as `script: [running: 2s, succeeded]`",
            f"2:4: jobs[0]: unknown key 'scirpt', did you mean 'script'? {RULE}",
        ]),
        ("succeeded", ["2:3: jobs[0]: must be a mapping, not the text 'succeeded'"]),
        ("{script: succeeded}", ["2:12: jobs[0].script: must be a list, not the text 'succeeded'"]),
        ("{script: }", ["2:11: jobs[0].script: must be a list, not nothing"]),
        ("{script: []}", ["2:12: jobs[0].script: needs at least one step, such as `running: 2s`"]),
        ("{script: [succeeded], attempts: [[failed], [succeeded]]}", ["2:35: jobs[0].attempts: a rule has one of script and attempts"]),
        ("{attemps: []}", [
            "2:3: jobs[0]: `script` is missing: a list of steps, such as `script: [running: 2s, succeeded]`",
            f"2:4: jobs[0]: unknown key 'attemps', did you mean 'attempts'? {RULE}",
        ]),
        ("{attempts: }", ["2:13: jobs[0].attempts: must be a list, not nothing"]),
        ("{attempts: []}", ["2:14: jobs[0].attempts: needs at least one script, such as `- [running: 2s, failed]`"]),
        ("{attempts: [failed, [succeeded]]}", ["2:15: jobs[0].attempts[0]: must be a list, not the text 'failed'"]),
        ("{attempts: [[runing: 1s, failed], [succeeded]]}", [f"2:16: jobs[0].attempts[0][0]: unknown key 'runing', did you mean 'running'? Known keys: {STATES}, progress, message"]),
        ("{attempts: [[failed, running: 1s, retrying: 1s], [succeeded]]}", ["2:24: jobs[0].attempts[0][1]: nothing follows failed, which ends the script"]),
        ("{attempts: [[failed], [failed, retrying: hold]]}", ["2:34: jobs[0].attempts[1][1]: nothing follows failed, which ends the script"]),
        ("{attempts: [[running: 1s, succeeded], [failed]]}", ["warning 2:29: jobs[0].attempts[0][1]: this attempt does not fail: only a client's retry leads to the next one"]),
        (f"{{attempts: [{'[failed], ' * 100}[succeeded]]}}", ["2:1015: jobs[0].attempts[100]: a rule has at most 100 attempts; the last one repeats"]),
        ("{script: [succeeded], on_cancel: at-once}", [f"2:36: jobs[0].on_cancel: unknown effect 'at-once', did you mean 'at_once'? Known effects: {EFFECTS}"]),
        ("{script: [succeeded], on_cancel: }", [f"2:35: jobs[0].on_cancel: must be one of {EFFECTS}"]),
        ("{script: [succeeded], on_cancel: [ignored]}", [f"2:36: jobs[0].on_cancel: must be one of {EFFECTS}"]),
        ("{script: [running: forever], on_cancel: too_late}", ["2:43: jobs[0].on_cancel: too_late needs an end to come to: end the script with succeeded, failed or cancelled"]),
        ("{script: [succeeded], on_cancel: {then: failed}}", ["2:36: jobs[0].on_cancel: `after` is missing: how long the job is cancelling, such as {after: 2s}"]),
        ("{script: [succeeded], on_cancel: {after: 1s, then: suceeded}}", ["2:54: jobs[0].on_cancel.then: unknown end 'suceeded', did you mean 'succeeded'? Known ends: succeeded, failed, cancelled"]),
        ("{script: [succeeded], on_cancel: {after: 1s, then: [failed]}}", ["2:54: jobs[0].on_cancel.then: must be one of succeeded, failed, cancelled"]),
        ("{script: [succeeded], on_cancel: {after: 1s, then: {running: 1s}}}", ["2:54: jobs[0].on_cancel.then: must be an end: one of succeeded, failed, cancelled"]),
        ("{script: [succeeded], on_cancel: {after: 1s, then: {failed: {eror: x}}}}", ["2:64: jobs[0].on_cancel.then.failed: unknown key 'eror', did you mean 'error'? Known keys: error, message, log, no_log"]),
        ("{script: [succeeded], log: 5}", ['2:30: jobs[0].log: must be a text, not 5; put it in quotes: "5"']),
        ("{script: [succeeded], log: done, no_log: true}", ["2:44: jobs[0].no_log: there is a `log`"]),
        ("{script: [succeeded], no_log: never}", ["2:33: jobs[0].no_log: must be true or false"]),
        *(
            (f"{{script: [succeeded], when: {{chance: {written}}}}}", ["2:40: jobs[0].when.chance: must be a number above 0 and up to 1, such as 0.1 for one job in ten"])
            for written in ("0", "-0.1", "1.01", "10", "10%", "true", "'0.1'", "null", "[0.1]", ".nan")
        ),
        *(
            (f"{{script: [succeeded], when: {{every: {written}}}}}", ["2:39: jobs[0].when.every: must be a whole number from 1 on: 3 for every third job of the world"])
            for written in ("0", "-3", "1.5", "true", "'3'", "third", "[3]")
        ),
        ("{script: [succeeded], on_cancel: {}}", ["2:36: jobs[0].on_cancel: `after` is missing: how long the job is cancelling, such as {after: 2s}"]),
        ("{script: [succeeded], on_cancel: {aftr: 2s}}", ["2:37: jobs[0].on_cancel: unknown key 'aftr', did you mean 'after'? Known keys: after, then"]),
        ("{script: [succeeded], on_cancel: {after: 2}}", ["2:44: jobs[0].on_cancel.after: 2 has no unit; write 2s for seconds"]),
        ("{script: [succeeded], on_cancel: {after: forever}}", ["2:44: jobs[0].on_cancel.after: 'forever' is not a duration; write it like 250ms, 2s, 1m30s, 1h or PT5M"]),
        ("{script: [succeeded], when: ica}", ["2:31: jobs[0].when: must be a mapping, not the text 'ica'"]),
        ("{script: [succeeded], when: {}}", ["2:31: jobs[0].when: holds no condition; leave `when` out for a rule that takes every job"]),
        ("{script: [succeeded], when: {kinds: a}}", [f"2:32: jobs[0].when: unknown key 'kinds', did you mean 'kind'? {WHEN}"]),
        ("{script: [succeeded], when: {api: ica, request: x}}", [f"2:42: jobs[0].when: unknown key 'request', did you mean 'request.<path>'? {WHEN}"]),
        ("{script: [succeeded], when: {api: ic}}", ["2:37: jobs[0].when.api: unknown API 'ic', did you mean 'ica'? Known APIs: ica, jbpm, titan"]),
        ("{script: [succeeded], when: {api: [ica, jbpn]}}", ["2:43: jobs[0].when.api[1]: unknown API 'jbpn', did you mean 'jbpm'? Known APIs: ica, jbpm, titan"]),
        ("{script: [succeeded], when: {api: []}}", ["2:37: jobs[0].when.api: an empty list fits nothing"]),
        ("{script: [succeeded], when: {api: 5}}", ["2:37: jobs[0].when.api: must be the name of an API"]),
        ("{script: [succeeded], when: {kind: []}}", ["2:38: jobs[0].when.kind: an empty list fits nothing"]),
        ("{script: [succeeded], when: {kind: {a: b}}}", ["2:38: jobs[0].when.kind: must be a single value, not a mapping"]),
        (f"{{script: [succeeded], when: {{kind: {'x' * 1001}}}}}", ["2:38: jobs[0].when.kind: a pattern has at most 1000 characters"]),
        ("{script: [succeeded], when: {request.: x}}", ["2:42: jobs[0].when.request.: a path has 1 to 1000 characters: request.name, request.inputs.0.url"]),
        ("{script: [succeeded], when: {request.a: [[x]]}}", ["2:44: jobs[0].when.request.a[0]: must be a single value, not a list"]),
        ("{script: [succeeded], when: {number: 0}}", ["2:40: jobs[0].when.number: jobs are counted from 1"]),
        ("{script: [succeeded], when: {number: 5..2}}", ["2:40: jobs[0].when.number: runs backwards; write 2..5"]),
        *(
            (f"{{script: [succeeded], when: {{number: {written}}}}}", ["2:40: jobs[0].when.number: must be a job number like 3 or a range like 2..5"])
            for written in ("-1", "1.5", "one", "2..", "[1]", "1..2..3", "null", "12345678901")
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_rule_is_told_with_its_place(rule: str, expected: list[str]) -> None:
    assert problems(f"jobs:\n- {rule}\n") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jobs:", ["1:6: jobs: must be a list, not nothing"]),
        ("jobs: []", ["1:7: jobs: needs at least one rule, such as `- script: [running: 2s, succeeded]`"]),
        ("jobs: {script: [succeeded]}", ["1:7: jobs: must be a list, not a mapping"]),
        (
            "jobs:\n- script: [succeeded]\n- when: {api: ica}\n  script: [failed]\n",
            ["warning 3:3: jobs[1]: never fires: jobs[0] in line 2 takes every job"],
        ),
    ],
)
def test_what_is_wrong_with_the_rules_together_told(text: str, expected: list[str]) -> None:
    assert problems(text) == expected


KNOWN_STEPS = "Known steps: succeeded, failed, cancelled, hold, forever, delayed: DURATION, queued: DURATION, running: DURATION, retrying: DURATION, cancelling: DURATION"
HUNDRED_YEARS = "is longer than a hundred years"
WRITE = "is not a duration; write it like 250ms, 2s, 1m30s, 1h or PT5M"


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("running", "3:5: %: how long? Write `running: 2s`, or `running: forever`"),
        ("running:", "3:13: %.running: how long? Write `running: 2s`, or `running: forever`"),
        ("running 3s", "3:5: %: a colon is missing: write `running: 3s`"),
        ('"running 3s\\nand on"', "3:5: %: a colon is missing: write `running: 3s\\nand on`"),
        ("suceeded", f"3:5: %: unknown step 'suceeded', did you mean 'succeeded'? {KNOWN_STEPS}"),
        ("runing: 3s", f"3:5: %: unknown key 'runing', did you mean 'running'? Known keys: {STATES}, progress, message"),
        ("", "3:4: %: must be a step, such as `running: 2s` or `succeeded`"),
        ("5", "3:5: %: must be a step, such as `running: 2s` or `succeeded`"),
        ("[running]", "3:5: %: must be a step, such as `running: 2s` or `succeeded`"),
        ("{}", f"3:5: %: a step needs a state: {STATES}"),
        ("progress: 5", f"3:5: %: a step needs a state: {STATES}"),
        ("hold: 5s", "3:5: %: `hold` and `forever` stand alone, or for a duration: `running: hold`"),
        ("forever:", "3:5: %: `hold` and `forever` stand alone, or for a duration: `running: hold`"),
        ("{queued: 1s, running: 2s}", "3:18: %: a step has one state; begin another step with `- running`"),
        ("{running: 1s, polls: 3}", "3:19: %: unknown key 'polls'. Known keys: running, progress, message"),
        ("running: 3", "3:14: %.running: 3 has no unit; write 3s for seconds"),
        ("running: 1.5", "3:14: %.running: 1.5 has no unit; write 1.5s for seconds"),
        ("running: '3'", "3:14: %.running: 3 has no unit; write 3s for seconds"),
        ("running: 2..5s", "3:14: %.running: 2 has no unit; write 2s for seconds"),
        ("running: -2s", "3:14: %.running: '-2s' is negative; time only goes forward"),
        ("running: -3", "3:14: %.running: '-3' is negative; time only goes forward"),
        ("running: 5s..2s", "3:14: %.running: runs backwards; write 2s..5s"),
        ("running: 0 polls", "3:14: %.running: a step lasts at least one poll"),
        ("running: 4..2 polls", "3:14: %.running: runs backwards; write 2..4 polls"),
        ("running: 3 pols", "3:14: %.running: unknown unit 'pols', did you mean 'polls'?"),
        ("running: 3 Polls", "3:14: %.running: unknown unit 'Polls', did you mean 'polls'?"),
        ("running: 3 weeks", f"3:14: %.running: '3 weeks' {WRITE}"),
        ("running: x polls", f"3:14: %.running: 'x polls' {WRITE}"),
        ("running: 2s..3 polls", f"3:14: %.running: '3 polls' {WRITE}"),
        ("running: soon", f"3:14: %.running: 'soon' {WRITE}"),
        ("running: 2s..", f"3:14: %.running: '' {WRITE}"),
        ("running: true", f"3:14: %.running: 'true' {WRITE}"),
        ("running: ''", f"3:14: %.running: '' {WRITE}"),
        ("running: 101000d", f"3:14: %.running: '101000d' {HUNDRED_YEARS}"),
        ("running: P40000D", f"3:14: %.running: 'P40000D' {HUNDRED_YEARS}"),
        ("running: [1s]", "3:14: %.running: must be a duration like 2s or a range like 2s..5s"),
        ("running: {low: 1s}", "3:14: %.running: must be a duration like 2s or a range like 2s..5s"),
        ("running: " + "1s" * 60, "3:14: %.running: '" + "1s" * 30 + "…' is not a duration"),
        ("{running: 1s, message: 5}", '3:28: %.message: must be a text, not 5; put it in quotes: "5"'),
        ("{running: 1s, progress: 60..0}", "3:29: %.progress: progress does not fall; write 0..60"),
        ("{delayed: 1s, progress: 5}", "3:29: %.progress: a delayed job has no progress"),
        *(
            (f"{{running: 1s, progress: {written}}}", "3:29: %.progress: must be a percentage from 0 to 100 or a range of them like 0..60")
            for written in ("101", "0..101", "-1", "12.5", "50%", "half", "null", "[0, 60]", "0..60..70")
        ),
        ("succeeded: done", "3:16: %.succeeded: must be {result: …}, or `succeeded` alone"),
        ("succeeded: 5s", "3:16: %.succeeded: must be {result: …}, or `succeeded` alone"),
        ("failed: 137", "3:13: %.failed: must be {error: {code: …, message: …}}, or `failed` alone"),
        ("failed: [a]", "3:13: %.failed: must be {error: {code: …, message: …}}, or `failed` alone"),
        ("cancelled: now", "3:16: %.cancelled: must be {message: …}, or `cancelled` alone"),
        ("succeeded: {rsult: 1}", "3:17: %.succeeded: unknown key 'rsult', did you mean 'result'? Known keys: result, no_result, message, log, no_log"),
        ("succeeded: {result: {a: 1, a: 2}}", "3:32: %.succeeded.result: key 'a' is written twice, first in line 3"),
        ("succeeded: {result: [.nan]}", "3:26: %.succeeded.result[0]: '.nan' is no number that JSON can write"),
        ("succeeded: {message: 5}", '3:26: %.succeeded.message: must be a text, not 5; put it in quotes: "5"'),
        ("{succeeded: {}, message: Done}", "3:21: %: belongs inside: `succeeded: {message: …}`"),
        ("{succeeded: {}, progress: 100}", "3:21: %: succeeded ends the script and takes no 'progress'"),
        ("failed: {code: oom}", "3:13: %.failed: `code` belongs to the error: write `failed: {error: {code: …}}`"),
        ("failed: {details: oom}", "3:13: %.failed: `details` belongs to the error: write `failed: {error: {details: …}}`"),
        ("failed: {eror: {}}", "3:14: %.failed: unknown key 'eror', did you mean 'error'? Known keys: error, message, log, no_log"),
        ("failed: {error: 137}", "3:21: %.failed.error: must be a mapping, not 137"),
        ("succeeded: {result: 1, no_result: true}", "3:39: %.succeeded.no_result: there is a `result`"),
        ("succeeded: {no_result: 1}", "3:28: %.succeeded.no_result: must be true or false"),
        ("failed: {log: a, no_log: true}", "3:30: %.failed.no_log: there is a `log`"),
        ("failed: {no_result: true}", "3:14: %.failed: unknown key 'no_result'. Known keys: error, message, log, no_log"),
        ("failed: {error: {kode: a}}", "3:22: %.failed.error: unknown key 'kode', did you mean 'code'? Known keys: message, code, details"),
        ("failed: {error: {code: 137}}", '3:28: %.failed.error.code: must be a text, not 137; put it in quotes: "137"'),
        ("cancelled: {result: 1}", "3:17: %.cancelled: unknown key 'result'. Known keys: message, log, no_log"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_step_is_told_with_its_place(step: str, expected: str) -> None:
    scenario, found = check_scenario(f"jobs:\n- script:\n  - {step}\n", apis=APIS, name="s")
    assert scenario is None
    errors = [str(problem)[2:] for problem in found if problem.severity == "error"]
    assert errors == [expected.replace("%", "jobs[0].script[0]", 1)]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[succeeded, running: 1s, failed]", ["1:29: %[1]: nothing follows succeeded, which ends the script"]),
        ("[failed, hold]", ["1:26: %[1]: nothing follows failed, which ends the script"]),
        ("[cancelled, cancelled]", ["1:29: %[1]: nothing follows cancelled, which ends the script"]),
        ("[running: forever, succeeded]", ["1:36: %[1]: nothing follows a step that lasts forever; `hold` lasts until it is released"]),
        ("[forever, succeeded]", ["1:27: %[1]: nothing follows a step that lasts forever; `hold` lasts until it is released"]),
        ("[queued: 1s, delayed: 1s, succeeded]", ["1:30: %[1]: a queued job cannot become delayed; it can become running, retrying, cancelling, succeeded, failed, cancelled"]),
        ("[cancelling: 1s, running: 1s, failed]", ["1:34: %[1]: a cancelling job cannot become running; it can become succeeded, failed, cancelled"]),
        ("[delayed: 1s, retrying: 1s, failed]", ["1:31: %[1]: a delayed job cannot become retrying; it can become queued, running, cancelling, succeeded, failed, cancelled"]),
        ("[running: 1s, hold, delayed: 1s, failed]", ["1:37: %[2]: a running job cannot become delayed; it can become queued, retrying, cancelling, succeeded, failed, cancelled"]),
        ("[running: 3, runing: 1s, delayed: 1s, succeeded]", [
            "1:27: %[0].running: 3 has no unit; write 3s for seconds",
            f"1:30: %[1]: unknown key 'runing', did you mean 'running'? Known keys: {STATES}, progress, message",
        ]),
        ("[queued: 1s, running: 2s]", ["warning 1:30: %[1]: the script ends here and the job stays running; end with succeeded, failed or cancelled, or say `running: forever`"]),
        ("[queued: 1s, running: 2s, hold]", []),
        ("[queued: hold]", []),
        ("[running: 2s, running: 1s, retrying: 1s, running: 1s, queued: 1s, succeeded]", []),
        ("[{running: 2s, progress: 0..60}, {running: 1s, progress: 20..80}, failed]", ["warning 1:50: %[1]: progress falls from 60 to 20"]),
        ("[{running: 2s, progress: 0..60}, retrying: 1s, {running: 1s, progress: 0..80}, failed]", []),
        ("[{running: forever, progress: 0..60}]", ["warning 1:18: %[0]: progress stays at 0: a step without an end has no time to reach 60 in"]),
        ("[{running: hold, progress: 60}, succeeded]", []),
        ("[succeeded: {result: null}]", ["warning 1:38: %[0].succeeded.result: a null result is as none: the API makes one up; for none at all write `no_result: true`"]),
        ("[failed: {message: boom}]", ["warning 1:36: %[0].failed.message: the error has a message of its own: `failed: {error: {message: …}}`"]),
    ],
)  # fmt: skip
def test_steps_must_follow_from_each_other(steps: str, expected: list[str]) -> None:
    assert problems(f"jobs: [{{script: {steps}}}]") == [
        line.replace("%", "jobs[0].script", 1) for line in expected
    ]


def test_all_problems_of_a_file_come_in_one_go_and_in_its_order() -> None:
    found = check_scenario(
        dedent(
            """\
            descripton: x
            workers: {titan: 0}
            jobs:
              - when: {api: tian}
                script: [running: 3, hold, succeeded]
              - script: [queued: !long 1s, delayed: 1s]
            """
        ),
        apis=APIS,
    )[1]
    assert [(problem.line, problem.column) for problem in found] == [
        (1, 1),
        (2, 18),
        (4, 17),
        (5, 23),
        (6, 22),
        (6, 32),
        (6, 32),
    ]


def test_a_problem_seen_through_several_aliases_is_told_once() -> None:
    text = "jobs:\n- {when: {api: ica}, script: &s [running: 3, succeeded]}\n- script: *s\n"
    assert problems(text) == ["2:43: jobs[0].script[0].running: 3 has no unit; write 3s for seconds"]


def test_text_that_is_not_yaml_is_one_problem() -> None:
    assert problems("jobs: [") == [
        "1:8: while parsing a flow node, expected the node content, but found '<stream end>'"
    ]


# ---- whatever comes ---------------------------------------------------------------------------------------------------


def told(source: str | Path) -> Scenario | None:
    """The scenario, or None when the text was refused with problems; anything else is a failure."""
    scenario, found = check_scenario(source, apis=APIS)
    assert all(problem.line >= 1 and problem.column >= 1 and str(problem) for problem in found)
    assert (scenario is None) == any(problem.severity == "error" for problem in found)
    return scenario


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200) | st.text(alphabet="ab:-[]{}&*!|>%#\"',? \n\t\\x0\ud800", max_size=200))
def test_any_text_is_refused_with_problems(text: str) -> None:
    assert told(text) is None


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused_with_problems(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(data)
    assert told(file) is None


FULL = """\
description: &d Everything the language has
apis: {ica: {tokens: [a], page_size: 3}, jbpm: {date_format: plain, strict: false}}
workers: {titan: external, jbpm: 1}
jobs:
  - when: {api: [ica, jbpm], kind: "a*", number: 1..3, request.a.b: true}
    script:
      - delayed: 1s
      - queued: 1s..2s
        progress: 0..5
      - running: PT1M
        progress: 5..50
        message: *d
      - hold
      - failed: {error: {code: a, message: b, details: c}, message: d}
    on_cancel: {after: 1s}
  - when: {api: titan, chance: 0.5, every: 1}
    attempts:
      - [running: 2..4 polls, failed: "{request.a.b} {{ {job.id}", retrying: 1s]
      - [running: 1s, succeeded: {result: {a: ["{world.seed}"]}, log: a}]
    on_cancel: {after: 1s, then: {failed: {error: b}}}
    log: "{job.kind}"
  - script: [running: 2s, succeeded: {result: {a: [1, null]}}]
    on_cancel: too_late
    no_log: true
"""
SCRAPS = st.sampled_from([
    "\n ", "\n  ", "- ", ": ", "[", "]", "{", "}", "&a ", "*a", "*d", "!x ", "'", '"', "#", ",", "..", "-", "0", "9",
    "running", "hold", "forever", "when", "polls", "{job.", "too_late", "then", "{}", "[]", "null", "1e999", "~", "%", "\t", "\x00", "é", "\\u",
])  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    text=st.sampled_from([FULL, *(path.read_text() for path in shipped_scenarios().values())]),
    edits=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 12), SCRAPS), max_size=4),
)
def test_a_mutated_scenario_is_played_or_refused_with_problems(
    text: str, edits: list[tuple[float, int, str]]
) -> None:
    for where, cut, scrap in edits:
        place = round(where * len(text))
        text = text[:place] + scrap + text[place + cut :]
    scenario = told(text)
    if text == FULL:
        assert scenario is not None
    if scenario is not None:
        rules = {api: Rules(identify=lambda seed, number: str(number)) for api in APIS}
        world = World(seed=1, rules=rules, playbook=scenario)
        for api in APIS:
            world.apply(Submit(api, "abc", request={"a": {"b": True}}))
        world.advance(world.start_ms + 86_400_000)
