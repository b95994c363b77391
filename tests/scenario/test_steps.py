"""Polls, attempts, cancelling, logs and variables, from how they are written to what jobs do."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.command import Cancel, Poll, Submit
from simulator.engine.errors import NotAllowed
from simulator.engine.fill import Template
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import RetryBy, Rules
from simulator.engine.script import CancelAfter, CancelTooLate, OnCancel, Part, Polls, Span, Step
from simulator.engine.world import World
from simulator.scenario.read import check_scenario
from tests.scenario.test_read import problems, read, script, world_of

HERE = "s.yaml:1"


def part(rule: str) -> Part:
    [only] = read(f"jobs: [{{{rule}}}]").rules
    return only.part


def ended(world: World, **more: Any) -> Job:
    """A job, a minute after it was submitted."""
    job = world.apply(Submit("ica", "align", **more))
    world.advance(world.now_ms + 60_000)
    return world.job("ica", job.id)


# ---- polls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "polls"),
    [
        ("3 polls", Polls(3, 3)),
        ("1 poll", Polls(1, 1)),
        ("2..4 polls", Polls(2, 4)),
        ("' 2 .. 4  polls '", Polls(2, 4)),
        ("1..1 poll", Polls(1, 1)),
    ],
)
@pytest.mark.parametrize("state", ["delayed", "queued", "running", "retrying", "cancelling"])
def test_a_step_may_last_so_many_status_calls(state: str, written: str, polls: Polls) -> None:
    first, _ = script(f"[{state}: {written}, failed]").steps
    assert (first.state.value, first.lasts) == (state, polls)


def test_a_job_moves_with_its_status_calls() -> None:
    world = world_of("jobs: [{script: [{running: 2 polls, progress: 0..80}, succeeded]}]")
    job = world.apply(Submit("ica", "align"))
    assert world.apply(Poll("ica", job.id)).progress_percent(world.now_ms) == 40
    assert world.apply(Poll("ica", job.id)).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("[{running: 3 polls, progress: 0..60}, failed]", []),
        (
            "[running: 3 polls]",
            [
                "warning 1:18: jobs[0].script[0]: the script ends here and the job stays running;"
                " end with succeeded, failed or cancelled, or say `running: forever`"
            ],
        ),
    ],
)
def test_polls_end_a_step_as_time_does(steps: str, expected: list[str]) -> None:
    assert problems(f"jobs: [{{script: {steps}}}]") == expected


# ---- attempts -------------------------------------------------------------------------------------------------------


def test_a_rule_may_have_a_script_for_each_attempt() -> None:
    first = part("attempts: [[running: 1s, failed], [running: 2s, succeeded]], on_cancel: ignored, log: x")
    assert [step.state for step in first.script.steps] == [State.RUNNING, State.FAILED]
    second = first.next_attempt
    assert second is not None
    assert [step.state for step in second.script.steps] == [State.RUNNING, State.SUCCEEDED]
    assert (first.attempt, second.attempt, second.next_attempt) == (1, 2, None)
    assert (second.on_cancel, second.log, second.cause) == (first.on_cancel, first.log, first.cause)


def test_one_attempt_is_a_script() -> None:
    assert part("attempts: [[running: 1s, succeeded]]") == part("script: [running: 1s, succeeded]")


def test_a_retrying_step_at_the_end_of_an_attempt_says_that_it_failed_and_how_long_it_waits() -> None:
    for end in (
        "failed: {error: {message: align is bad}}, retrying: 2s",
        "{retrying: 2s, message: '{job.kind} is bad'}",
    ):
        world = world_of(f"jobs: [{{attempts: [[running: 1s, {end}], [running: 1s, succeeded]]}}]")
        job = ended(world)
        assert [(move.state.value, move.at_ms - job.created_ms) for move in job.history] == [
            ("running", 0),
            ("retrying", 1_000),
            ("running", 3_000),
            ("succeeded", 4_000),
        ]
        assert [failure.message for failure in job.failures] == ["align is bad"]
        assert (job.attempt, job.executions) == (2, 2)


def test_attempts_follow_the_retries_of_the_service() -> None:
    scenario = read(
        "jobs: [{attempts: [[running: 1s, failed], [running: 1s, failed], [running: 1s, succeeded]]}]"
    )
    for by, states in (
        (RetryBy.SAME_JOB, ["succeeded"]),
        (RetryBy.NEW_JOB, ["failed", "failed", "succeeded"]),
        (None, ["succeeded"]),
    ):
        world = World(
            seed=1,
            rules={"ica": Rules(identify=lambda seed, number: str(number), retry_by=by)},
            playbook=scenario,
        )
        world.apply(Submit("ica", "align", retries=2, retry_delays_ms=(1_000,)))
        world.advance(world.now_ms + 60_000)
        assert [job.state.value for job in world.jobs("ica")] == states


@pytest.mark.parametrize(
    "attempts",
    [
        "[[failed], [failed]]",
        "[[retrying: 1s], [failed]]",
        "[[running: 1s, failed, retrying: 1..3 polls], [succeeded]]",
    ],
)
def test_attempts_that_are_well_written_have_no_problems(attempts: str) -> None:
    assert problems(f"jobs: [{{attempts: {attempts}}}]") == []


# ---- cancelling -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("too_late", CancelTooLate()),
        ("{after: 2s, then: succeeded}", CancelAfter(Span(2_000, 2_000), Step(State.SUCCEEDED, cause=HERE))),
        (
            "{after: 1s..2s, then: cancelled}",
            CancelAfter(Span(1_000, 2_000), Step(State.CANCELLED, cause=HERE)),
        ),
        (
            "{after: 2s, then: {failed: {error: {code: a}}}}",
            CancelAfter(Span(2_000, 2_000), Step(State.FAILED, failure=Failure(code="a"), cause=HERE)),
        ),
        (
            "{after: 2s, then: {succeeded: {result: [1], no_log: true}}}",
            CancelAfter(Span(2_000, 2_000), Step(State.SUCCEEDED, result=[1], no_log=True, cause=HERE)),
        ),
    ],
)
def test_a_cancel_may_come_too_late_or_lead_to_another_end(written: str, expected: OnCancel) -> None:
    assert part(f"script: [running: 1s, succeeded], on_cancel: {written}").on_cancel == expected


def test_a_cancelled_job_ends_as_the_rule_says() -> None:
    world = world_of(
        "jobs: [{script: [running: forever], on_cancel: {after: 1s, then: {failed: 'stopped {job.id}'}}}]"
    )
    job = world.apply(Submit("ica", "align"))
    world.apply(Cancel("ica", job.id))
    world.advance(world.now_ms + 1_000)
    failure = world.job("ica", job.id).failure
    assert failure is not None
    assert failure.message == "stopped 1"


def test_a_cancel_that_comes_too_late_is_refused_and_the_job_is_done() -> None:
    world = world_of("jobs: [{script: [running: 1h, succeeded: {result: done}], on_cancel: too_late}]")
    job = world.apply(Submit("ica", "align"))
    with pytest.raises(NotAllowed):
        world.apply(Cancel("ica", job.id))
    assert world.job("ica", job.id).result == "done"


def test_too_late_looks_at_the_last_attempt() -> None:
    good = "jobs: [{attempts: [[running: 1s, failed], [running: 1s, succeeded]], on_cancel: too_late}]"
    bad = "jobs: [{attempts: [[running: 1s, failed], [running: forever]], on_cancel: too_late}]"
    assert problems(good) == []
    assert [problem.split(": ")[1] for problem in problems(bad)] == ["jobs[0].on_cancel"]


# ---- how it ends ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "failure"),
    [
        ("failed: The disk is full", Failure("The disk is full")),
        ("failed: ''", Failure("")),
        ("failed: {error: The disk is full}", Failure("The disk is full")),
        ("failed: {error: {message: Full, code: disk_full}}", Failure("Full", "disk_full")),
    ],
)
def test_an_error_may_be_only_its_message(written: str, failure: Failure) -> None:
    [step] = script(f"[{written}]").steps
    assert step == Step(State.FAILED, failure=failure, cause=HERE)


@pytest.mark.parametrize(
    ("rule", "end", "log", "no_log"),
    [
        ("log: general", "succeeded", b"general", False),
        ("log: general", "failed: {log: mine}", b"mine", False),
        ("log: general", "cancelled: {no_log: true}", None, True),
        ("no_log: true", "failed", None, True),
        ("no_log: true", "succeeded: {log: ''}", b"", False),
        ("no_log: false", "succeeded", None, False),
        (
            "log: 'for {request.name}'",
            "succeeded: {log: '{job.kind} {request.name}'}",
            b"align nightly",
            False,
        ),
        ("log: 'for {request.name}'", "succeeded", b"for nightly", False),
    ],
)
def test_a_job_leaves_the_log_that_its_end_or_its_rule_says(
    rule: str, end: str, log: bytes | None, no_log: bool
) -> None:
    job = ended(world_of(f"jobs: [{{script: [running: 1s, {end}], {rule}}}]"), request={"name": "nightly"})
    assert (job.log, job.no_log) == (log, no_log)


def test_a_success_without_a_result_is_not_one_whose_result_is_made_up() -> None:
    none = ended(world_of("jobs: [{script: [succeeded: {no_result: true}]}]"))
    made = ended(world_of("jobs: [{script: [succeeded]}]"))
    text = ended(world_of("jobs: [{script: [succeeded: {result: no_result}]}]"))
    assert [(job.result, job.no_result) for job in (none, made, text)] == [
        (None, True),
        (None, False),
        ("no_result", False),
    ]


# ---- variables ------------------------------------------------------------------------------------------------------


def test_texts_of_a_script_may_have_variables() -> None:
    world = world_of(
        """\
        jobs:
          - script:
              - running: 1s
                message: "Reading {request.inputs.message}"
              - succeeded:
                  result:
                    echo: "{request.inputs}"
                    said: "{request.inputs.message} {{ {job.number} }}"
                    "{job.id}": plain
        """
    )
    request = {"inputs": {"message": "hello", "count": 3}}
    job = world.apply(Submit("ica", "align", request=request))
    assert job.message == "Reading hello"
    world.advance(world.now_ms + 1_000)
    assert world.job("ica", job.id).result == {
        "echo": {"message": "hello", "count": 3},
        "said": "hello { 1 }",
        "{job.id}": "plain",
    }


def test_only_steps_with_variables_are_filled() -> None:
    plain, spoken = script("[{running: 1s, message: 'Plain {{}}'}, failed: 'For {job.id}']").steps
    assert (plain.message, type(plain.message), plain.has_variables) == ("Plain {}", str, False)
    assert spoken.failure is not None
    assert type(spoken.failure.message) is Template
    assert spoken.has_variables


KNOWN = "Known variables: job.id, job.number, job.attempt, job.kind, world.seed, request.<path>; write {{ and }} for braces"


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (
            'script: [{running: 1s, message: "{job.nummer}"}, failed]',
            f"1:41: jobs[0].script[0].message: unknown variable 'job.nummer', did you mean 'job.number'? {KNOWN}",
        ),
        (
            'script: [succeeded: {result: [{a: "{requst.name}"}]}]',
            f"1:43: jobs[0].script[0].succeeded.result[0].a: unknown variable 'requst.name', did you mean 'request.<path>'? {KNOWN}",
        ),
        (
            'script: [failed: "{now}"]',
            f"1:26: jobs[0].script[0].failed: unknown variable 'now'. {KNOWN}",
        ),
        (
            'script: [failed: {error: {code: "{"}}]',
            "1:41: jobs[0].script[0].failed.error.code: a { stands alone; write {{ for a brace that is no variable's",
        ),
        (
            'script: [succeeded], log: "}"',
            "1:35: jobs[0].log: a } stands alone; write }} for a brace that is no variable's",
        ),
        (
            "script: [succeeded: {result: {a: [{request.name}]}}]",
            '1:43: jobs[0].script[0].succeeded.result.a[0]: a variable stands in quotes: "{request.name}"',
        ),
    ],
)
def test_what_is_wrong_with_a_variable_is_told_with_its_place(rule: str, expected: str) -> None:
    assert problems(f"jobs: [{{{rule}}}]") == [expected]


def test_a_variable_without_quotes_is_told_as_such() -> None:
    found = problems("jobs: [{script: [{running: 1s, message: {job.id}}, failed]}]")
    assert found == [
        '1:41: jobs[0].script[0].message: a variable stands in quotes: "{job.id}"',
        "1:41: jobs[0].script[0].message: must be a text, not a mapping",
    ]


def test_too_many_variables_in_one_text_are_a_problem() -> None:
    scenario, found = check_scenario(f"jobs: [{{script: [failed: '{'{job.id}' * 101}']}}]", apis={})
    assert scenario is None
    assert [problem.message for problem in found] == ["a text has at most 100 variables"]
