"""What a job leaves when it ends: its log, and whether it has a result at all."""

from __future__ import annotations

import pytest

from simulator.engine.command import Cancel, Claim, Conclude, Finish, Retry
from simulator.engine.fill import template
from simulator.engine.job import Failure, Job, State
from simulator.engine.script import Part, Step
from tests.engine.parts import (
    API,
    NEW_JOB,
    SAME_JOB,
    at,
    attempts,
    book,
    cancelled,
    failed,
    now,
    part,
    running,
    submit,
    succeeded,
    world_of,
)


def ended(script: Part) -> Job:
    world = world_of(book(script))
    job = world.apply(submit(request={"name": "nightly"}))
    assert (job.log, job.no_log) == (None, False)
    world.advance(at(1_000))
    return now(world, job)


@pytest.mark.parametrize("end", [succeeded(), failed(), cancelled()])
def test_the_log_of_the_rule_is_left_however_the_script_ends(end: Step) -> None:
    job = ended(part(running(1_000), end, log="Said\nso é"))
    assert (job.state, job.log, job.no_log) == (end.state, "Said\nso é".encode(), False)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_a_final_step_has_the_first_word_about_the_log(state: State) -> None:
    own = ended(part(running(1_000), Step(state, log="mine"), log="general"))
    assert (own.log, own.no_log) == (b"mine", False)
    none = ended(part(running(1_000), Step(state, no_log=True), log="general"))
    assert (none.log, none.no_log) == (None, True)
    some = ended(part(running(1_000), Step(state, log="mine"), no_log=True))
    assert (some.log, some.no_log) == (b"mine", False)


def test_a_rule_may_leave_no_log_at_all() -> None:
    job = ended(part(running(1_000), succeeded(), no_log=True))
    assert (job.log, job.no_log, job.no_result) == (None, True, False)


def test_who_says_nothing_leaves_it_to_the_service() -> None:
    job = ended(part(running(1_000), succeeded()))
    assert (job.log, job.no_log, job.no_result) == (None, False, False)


def test_logs_are_filled_when_the_job_ends() -> None:
    of_rule = ended(part(running(1_000), succeeded(), log=template("{job.id} of {request.name}")))
    assert of_rule.log == b"job-1 of nightly"
    own = succeeded(log=template("{request.name} it was"), has_variables=True)
    assert ended(part(running(1_000), own)).log == b"nightly it was"


def test_a_success_may_have_no_result_at_all() -> None:
    job = ended(part(running(1_000), succeeded(no_result=True), log="but a log"))
    assert (job.state, job.result, job.no_result, job.log) == (State.SUCCEEDED, None, True, b"but a log")


def test_a_job_that_a_client_stops_leaves_the_log_of_the_rule() -> None:
    world = world_of(book(part(running(9_000), succeeded(log="all"), log="cut off")))
    job = world.apply(submit())
    assert world.apply(Cancel(API, job.id)).log == b"cut off"


def test_a_concluded_job_leaves_the_log_of_its_end() -> None:
    end = failed(failure=Failure(template("{job.id}")), log=template("{job.kind}"), has_variables=True)
    world = world_of(book(part(running(9_000), end)))
    job = world.apply(Conclude(API, world.apply(submit()).id))
    assert job.log == b"work"
    assert job.failure == Failure("job-1", at_ms=at(0))


def test_work_that_cannot_succeed_leaves_nothing_that_only_a_success_would() -> None:
    world = world_of(book(part(running(100), succeeded(log="all is well", no_result=True), log="general")))
    job = world.apply(submit(fails_with=Failure("It cannot be")))
    world.advance(at(100))
    job = now(world, job)
    assert (job.state, job.log, job.no_result) == (State.FAILED, b"general", False)


def test_a_worker_that_brings_a_log_is_believed_and_one_that_does_not_leaves_the_rules() -> None:
    for log, left in ((b"mine", b"mine"), (None, b"general")):
        world = world_of(book(part(running(9_000), log="general"), workers=0), NEW_JOB)
        world.apply(submit())
        [job] = world.apply(Claim(API))
        assert world.apply(Finish(API, job.id, log=log)).log == left


def test_a_worker_that_was_silent_for_too_long_leaves_the_log_of_the_rule() -> None:
    world = world_of(book(part(running(9_000), no_log=True), workers=0), NEW_JOB)
    job = world.apply(submit(timeout_ms=500))
    world.apply(Claim(API))
    world.advance(at(500))
    assert (now(world, job).state, now(world, job).no_log) == (State.FAILED, True)


def test_an_attempt_that_is_not_the_last_leaves_no_log() -> None:
    script = attempts(
        (running(100), failed(log="first")), (running(100), failed(failure=Failure(), log="second"))
    )
    world = world_of(book(script))
    job = world.apply(submit())
    world.advance(at(150))
    assert now(world, job).log is None
    world.advance(at(200))
    assert now(world, job).log == b"second"


def test_a_job_that_is_tried_again_begins_without_the_log_it_had() -> None:
    script = attempts(
        (failed(log="first"),), (running(100), failed(no_log=True)), (running(100), succeeded())
    )
    world = world_of(book(script), SAME_JOB)
    job = world.apply(submit())
    assert now(world, job).log == b"first"
    assert world.apply(Retry(API, job.id)).log is None
    world.advance(at(100))
    assert now(world, job).no_log
    world.apply(Retry(API, job.id))
    world.advance(at(200))
    assert (now(world, job).state, now(world, job).log, now(world, job).no_log) == (
        State.SUCCEEDED,
        None,
        False,
    )
