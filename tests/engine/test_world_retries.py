"""What failed is tried again: by the same job, by a new one, by a client."""

from __future__ import annotations

import pytest

from simulator.engine.command import (
    Amend,
    Claim,
    Retry,
    SetScenario,
)
from simulator.engine.errors import NotAllowed
from simulator.engine.job import ACTIVE, FINAL, Failure, State
from simulator.engine.world import START_MS
from tests.engine.parts import (
    ANYTHING,
    API,
    HAPPY,
    NEW_JOB,
    OUT_OF_MEMORY,
    SAME_JOB,
    Book,
    at,
    book,
    cancelling,
    delayed,
    failed,
    now,
    part,
    part_in,
    plain,
    queued,
    retrying,
    running,
    story,
    submit,
    succeeded,
    world_of,
)

# ---- tried again: the same job --------------------------------------------------------------------------------------


def test_a_failed_execution_is_retried_by_the_same_job_until_no_retry_is_left() -> None:
    world = world_of(book(queued(1_000), running(2_000), failed(failure=OUT_OF_MEMORY)), SAME_JOB)
    job = world.apply(submit(retries=3, retry_delays_ms=(5_000, 10_000)))
    world.advance(at(60_000))
    job = now(world, job)
    assert story(job) == [
        ("queued", 0),
        ("running", 1_000),
        ("retrying", 3_000),
        ("running", 8_000),
        ("retrying", 10_000),
        ("running", 20_000),
        ("retrying", 22_000),
        ("running", 32_000),
        ("failed", 34_000),
    ]
    assert [failure.at_ms for failure in job.failures] == [at(3_000), at(10_000), at(22_000), at(34_000)]
    assert (job.executions, job.attempt, job.retries_left, job.submit.retries) == (4, 4, 0, 3)
    assert job.started_ms == at(32_000)


def test_what_is_left_of_retries_and_executions_is_counted_as_they_happen() -> None:
    world = world_of(book(running(1_000), failed()), SAME_JOB)
    job = world.apply(submit(retries=2, retry_delays_ms=(1_000,)))
    seen = []
    for moment in (500, 1_500, 2_500, 3_500, 4_500, 5_500):
        world.advance(at(moment))
        job = now(world, job)
        seen.append((job.state.value, job.executions, job.attempt, job.retries_left))
    assert seen == [
        ("running", 0, 1, 2),
        ("retrying", 1, 2, 1),
        ("running", 1, 2, 1),
        ("retrying", 2, 3, 0),
        ("running", 2, 3, 0),
        ("failed", 3, 3, 0),
    ]


def test_a_retry_without_a_delay_is_due_at_once() -> None:
    world = world_of(book(running(1_000), failed()), SAME_JOB)
    job = world.apply(submit(retries=1))
    world.advance(at(9_000))
    assert story(now(world, job)) == [
        ("running", 0),
        ("retrying", 1_000),
        ("running", 1_000),
        ("failed", 2_000),
    ]


def test_nobody_tries_again_where_the_service_does_not() -> None:
    world = world_of(book(running(1_000), failed()), plain())
    job = world.apply(submit(retries=3))
    world.advance(at(9_000))
    assert (now(world, job).state, len(world.jobs(API))) == (State.FAILED, 1)


def test_a_scripted_retry_counts_as_one_that_failed() -> None:
    steps = (running(1_000), retrying(500, message="Connection lost"), running(1_000), succeeded())
    world = world_of(book(*steps), SAME_JOB)
    job = world.apply(submit(retries=3))
    world.advance(at(9_000))
    job = now(world, job)
    assert story(job) == [("running", 0), ("retrying", 1_000), ("running", 1_500), ("succeeded", 2_500)]
    assert (job.executions, job.attempt, job.retries_left) == (2, 2, 2)
    assert job.failures == (Failure("Connection lost", at_ms=at(1_000)),)


@pytest.mark.parametrize("delay_ms", [0, 500])
def test_a_job_that_fails_without_having_run_is_retried_as_often_as_any_other(delay_ms: int) -> None:
    world = world_of(book(failed()), SAME_JOB)
    job = world.apply(submit(retries=3, delay_ms=delay_ms))
    world.advance(at(9_000))
    job = now(world, job)
    assert (job.state, job.executions, len(job.failures), job.retries_left) == (State.FAILED, 4, 4, 0)


def test_a_delay_of_the_script_is_not_repeated_by_a_retry() -> None:
    world = world_of(book(delayed(1_000), failed()), SAME_JOB)
    job = world.apply(submit(retries=1, retry_delays_ms=(200,)))
    world.advance(at(9_000))
    assert story(now(world, job))[-1] == ("failed", 1_200)
    world.apply(Retry(API, job.id))
    assert story(now(world, job))[-2:] == [("queued", 9_000), ("failed", 9_000)]


def test_a_job_that_fails_while_it_is_being_cancelled_is_not_tried_again() -> None:
    world = world_of(book(running(1_000), cancelling(1_000), failed()), SAME_JOB)
    job = world.apply(submit(retries=3))
    world.advance(at(9_000))
    assert story(now(world, job)) == [("running", 0), ("cancelling", 1_000), ("failed", 2_000)]


def test_a_silent_worker_loses_a_job_that_is_then_tried_again() -> None:
    world = world_of(book(queued(1_000), running(1_000), succeeded(), workers=0), ANYTHING)
    world.apply(submit(retries=1, timeout_ms=5_000, retry_delays_ms=(2_000,)))
    [job] = world.apply(Claim(API))
    world.advance(at(5_000))
    job = now(world, job)
    assert (job.state, job.claimed, job.deadline_ms) == (State.RETRYING, False, None)
    world.advance(at(60_000))
    assert [failure.code for failure in now(world, job).failures] == ["timeout"]


# ---- tried again: a new job -----------------------------------------------------------------------------------------


def test_each_failure_leaves_a_new_job_behind_until_no_retry_is_left() -> None:
    world = world_of(book(running(1_000), failed()), NEW_JOB)
    world.apply(submit(retries=3, retry_delays_ms=(5_000, 9_000)))
    world.advance(at(60_000))
    jobs = world.jobs(API)
    assert [story(job) for job in jobs] == [
        [("running", 0), ("failed", 1_000)],
        [("delayed", 1_000), ("running", 6_000), ("failed", 7_000)],
        [("delayed", 7_000), ("running", 16_000), ("failed", 17_000)],
        [("delayed", 17_000), ("running", 26_000), ("failed", 27_000)],
    ]
    assert [job.submit.retry_of for job in jobs] == [None, "job-1", "job-2", "job-3"]
    assert [job.submit.retries for job in jobs] == [3, 2, 1, 0]
    assert [next(job.history).cause for job in jobs] == [
        "client",
        "retry of job-1",
        "retry of job-2",
        "retry of job-3",
    ]
    assert {job.executions for job in jobs} == {1}


@pytest.mark.parametrize("state", ACTIVE)
def test_a_job_under_way_is_not_retried_by_a_client_where_that_is_refused(state: State) -> None:
    world = world_of(book(part_in(state)), NEW_JOB)
    job = world.apply(submit())
    before = world.snapshot()
    with pytest.raises(NotAllowed) as refusal:
        world.apply(Retry(API, job.id))
    assert (refusal.value.wanted, refusal.value.job.state) == ("retry", state)
    assert world.snapshot() == before


@pytest.mark.parametrize("state", FINAL)
def test_a_client_retries_a_finished_job_by_a_new_one_that_begins_at_once(state: State) -> None:
    world = world_of(book(part_in(state)), NEW_JOB)
    job = world.apply(submit(delay_ms=1_000, request={"a": 1}, priority=4))
    world.advance(at(5_000))
    old = now(world, job)
    new = world.apply(Retry(API, job.id))
    assert (new.number, new.submit.retry_of, new.created_ms, new.submit.delay_ms) == (2, job.id, at(5_000), 0)
    assert (new.request, new.submit.priority) == ({"a": 1}, 4)
    assert now(world, job) == old


def test_a_failed_job_with_retries_of_its_own_left_is_not_retried_by_a_client() -> None:
    world = world_of(book(part_in(State.FAILED)), NEW_JOB)
    job = world.apply(submit(retries=1, retry_delays_ms=(60_000,)))
    with pytest.raises(NotAllowed):
        world.apply(Retry(API, job.id))
    exhausted = world.apply(submit(retries=0))
    assert world.apply(Retry(API, exhausted.id)).submit.retry_of == exhausted.id


# ---- tried again: by a client ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", [State.SUCCEEDED, State.CANCELLED, State.CANCELLING, State.QUEUED, State.DELAYED]
)
def test_a_retry_that_has_nothing_to_do_is_ignored(state: State) -> None:
    world = world_of(book(part_in(state)), SAME_JOB)
    job = world.apply(submit())
    before = world.snapshot()
    assert world.apply(Retry(API, job.id)) == job
    assert world.snapshot() == before


@pytest.mark.parametrize("state", [State.FAILED, State.RUNNING, State.RETRYING])
def test_a_client_puts_a_job_back_into_the_queue(state: State) -> None:
    world = world_of(book(part_in(state)), SAME_JOB)
    job = world.apply(submit())
    world.apply(SetScenario(book(HAPPY)))
    back = world.apply(Retry(API, job.id), at_ms=at(5_000))
    assert (back.state, back.attempt, back.finished_ms) == (State.QUEUED, job.attempt + 1, None)
    world.advance(at(60_000))
    assert story(now(world, job))[-4:] == [
        (state.value, 0),
        ("queued", 5_000),
        ("running", 6_000),
        ("succeeded", 9_000),
    ]


def test_a_failed_job_whose_request_was_repaired_plays_the_part_of_the_new_request() -> None:
    world = world_of(Book({"bad": part(running(1_000), failed()), "good": HAPPY}), SAME_JOB)
    job = world.apply(submit(kind="bad", retries=1))
    world.advance(at(5_000))
    world.apply(Amend(API, job.id, "good"))
    world.apply(Retry(API, job.id))
    world.advance(at(60_000))
    job = now(world, job)
    assert story(job)[-4:] == [("failed", 2_000), ("queued", 5_000), ("running", 6_000), ("succeeded", 9_000)]
    assert (job.executions, len(job.failures), job.retries_left) == (3, 2, 0)


def test_a_job_that_is_retried_by_a_client_begins_anew_and_keeps_its_past() -> None:
    world = world_of(book(queued(1_000), running(1_000, progress=(0, 50)), failed()), SAME_JOB)
    job = world.apply(submit())
    world.advance(at(5_000))
    back = world.apply(Retry(API, job.id))
    assert (back.progress_percent(at(5_000)), back.finished_ms, back.cancel_requested) == (None, None, False)
    assert (len(back.failures), back.executions, back.created_ms) == (1, 1, START_MS)


def test_a_retry_follows_the_scenario_of_now() -> None:
    world = world_of(book(part_in(State.FAILED)), SAME_JOB)
    job = world.apply(submit())
    world.apply(SetScenario(book(succeeded())))
    assert world.apply(Retry(API, job.id)).state is State.SUCCEEDED


def test_a_claimed_job_that_a_client_puts_back_is_free_again() -> None:
    world = world_of(book(part_in(State.QUEUED), workers=0), ANYTHING)
    world.apply(submit(timeout_ms=5_000))
    [job] = world.apply(Claim(API))
    back = world.apply(Retry(API, job.id))
    assert (back.state, back.claimed, back.deadline_ms) == (State.QUEUED, False, None)
    world.advance(at(60_000))
    assert now(world, job).state is State.QUEUED
    assert [claimed.id for claimed in world.apply(Claim(API))] == [job.id]
    assert now(world, job).deadline_ms == at(65_000)
