"""One script per attempt: of the same job, of new jobs, and of services that try nothing again by themselves."""

from __future__ import annotations

from simulator.engine.command import Cancel, Claim, Conclude, Finish, Release, Retry, SetScenario
from simulator.engine.job import Failure, State
from simulator.engine.script import CancelTooLate
from tests.engine.parts import (
    API,
    HOLD,
    NEW_JOB,
    OUT_OF_MEMORY,
    SAME_JOB,
    at,
    attempts,
    book,
    failed,
    now,
    part,
    queued,
    retrying,
    running,
    states,
    story,
    submit,
    succeeded,
    world_of,
)

FIRST = Failure("First")
TWICE_BAD = attempts(
    (queued(500), running(1_000), failed(failure=FIRST)),
    (running(2_000), failed(failure=OUT_OF_MEMORY)),
    (queued(500), running(3_000), succeeded(result="third")),
)

# ---- a service that tries nothing again -----------------------------------------------------------------------------


def test_attempts_are_played_one_after_the_other_in_one_job() -> None:
    world = world_of(book(TWICE_BAD))
    job = world.apply(submit())
    world.advance(at(60_000))
    job = now(world, job)
    assert story(job) == [
        ("queued", 0),
        ("running", 500),
        ("retrying", 1_500),
        ("running", 1_500),
        ("retrying", 3_500),
        # Not queued anew: no service takes back what it has shown.
        ("running", 3_500),
        ("succeeded", 6_500),
    ]
    assert [failure.message for failure in job.failures] == ["First", "Container killed"]
    assert [failure.at_ms for failure in job.failures] == [at(1_500), at(3_500)]
    assert (job.attempt, job.executions, job.result) == (3, 3, "third")


def test_a_retrying_step_at_the_end_of_an_attempt_says_how_long_it_waits() -> None:
    world = world_of(
        book(
            attempts((running(1_000), failed(failure=FIRST), retrying(2_000, message="soon")), (succeeded(),))
        )
    )
    job = world.apply(submit())
    world.advance(at(2_000))
    waiting = now(world, job)
    assert (waiting.state, waiting.message, waiting.attempt, waiting.executions) == (
        State.RETRYING,
        "soon",
        2,
        1,
    )
    assert len(waiting.failures) == 1
    world.advance(at(3_000))
    assert story(now(world, job)) == [("running", 0), ("retrying", 1_000), ("succeeded", 3_000)]


def test_the_wait_for_the_next_attempt_may_be_held() -> None:
    world = world_of(book(attempts((failed(), retrying(HOLD)), (succeeded(),))))
    job = world.apply(submit())
    world.advance(at(60_000))
    assert states(world, [job]) == ["retrying"]
    assert world.apply(Release(API, job.id)).state is State.SUCCEEDED


def test_the_end_of_the_last_attempt_is_the_jobs_end() -> None:
    world = world_of(book(attempts((failed(),), (failed(),), (failed(failure=OUT_OF_MEMORY),))))
    job = world.apply(submit(retries=7))
    assert job.state is State.FAILED
    assert (job.attempt, job.executions, len(job.failures)) == (3, 3, 3)
    assert job.failure is not None
    assert job.failure.code == "out_of_memory"


def test_a_failed_attempt_frees_its_worker() -> None:
    world = world_of(
        book(attempts((running(1_000), failed(), retrying(5_000)), (running(1_000), succeeded())), workers=1)
    )
    first, second = world.apply(submit()), world.apply(submit())
    world.advance(at(1_000))
    assert states(world, [first, second]) == ["retrying", "running"]


def test_work_that_cannot_succeed_fails_every_attempt() -> None:
    world = world_of(book(attempts((running(100), succeeded()), (running(100), succeeded()))))
    job = world.apply(submit(fails_with=FIRST))
    world.advance(at(1_000))
    assert (now(world, job).state, now(world, job).executions) == (State.FAILED, 2)


def test_what_a_worker_reports_is_no_attempt_of_the_script() -> None:
    world = world_of(book(TWICE_BAD))
    job = world.apply(submit())
    world.advance(at(600))
    assert world.apply(Finish(API, job.id, failure=OUT_OF_MEMORY)).state is State.FAILED


def test_a_job_that_is_cancelled_between_two_attempts_stays_cancelled() -> None:
    world = world_of(book(attempts((running(1_000), failed(), retrying(5_000)), (succeeded(),))))
    job = world.apply(submit())
    world.apply(Cancel(API, job.id), at_ms=at(2_000))
    world.advance(at(60_000))
    assert states(world, [job]) == ["cancelled"]


# ---- a service that retries in the same job -------------------------------------------------------------------------


def test_a_retry_of_the_same_job_plays_the_next_script_and_the_last_one_repeats() -> None:
    world = world_of(
        book(attempts((queued(500), running(1_000), failed()), (queued(9), running(2_000), failed()))),
        SAME_JOB,
    )
    job = world.apply(submit(retries=2, retry_delays_ms=(4_000,)))
    world.advance(at(60_000))
    assert story(now(world, job)) == [
        ("queued", 0),
        ("running", 500),
        ("retrying", 1_500),
        ("running", 5_500),
        ("retrying", 7_500),
        ("running", 11_500),
        ("failed", 13_500),
    ]


def test_without_retries_left_the_first_attempt_is_the_last() -> None:
    world = world_of(book(TWICE_BAD), SAME_JOB)
    job = world.apply(submit())
    world.advance(at(60_000))
    assert states(world, [job]) == ["failed"]


def test_the_wait_that_the_script_wants_gives_way_to_the_services_own() -> None:
    world = world_of(
        book(attempts((running(1_000), failed(), retrying(9_000)), (running(1_000), succeeded()))), SAME_JOB
    )
    job = world.apply(submit(retries=1, retry_delays_ms=(2_000,)))
    world.advance(at(60_000))
    assert story(now(world, job))[-2:] == [("running", 3_000), ("succeeded", 4_000)]


def test_a_client_that_tries_the_same_job_again_gets_the_next_script() -> None:
    world = world_of(book(TWICE_BAD), SAME_JOB)
    job = world.apply(submit())
    for _ in range(2):
        world.advance(world.now_ms + 10_000)
        assert states(world, [job]) == ["failed"]
        world.apply(Retry(API, job.id))
    world.advance(world.now_ms + 10_000)
    assert (now(world, job).state, now(world, job).result) == (State.SUCCEEDED, "third")


def test_a_client_that_cannot_wait_gets_the_script_that_was_coming() -> None:
    world = world_of(
        book(attempts((failed(),), (running(1_000), succeeded(result=2)), (failed(),))), SAME_JOB
    )
    job = world.apply(submit(retries=3, retry_delays_ms=(5_000,)))
    assert job.state is State.RETRYING
    world.apply(Retry(API, job.id), at_ms=at(1_000))
    world.advance(at(2_000))
    assert now(world, job).result == 2


# ---- a service that retries in a new job ----------------------------------------------------------------------------


def test_a_retry_by_a_new_job_plays_the_next_script() -> None:
    world = world_of(book(TWICE_BAD), NEW_JOB)
    world.apply(submit(retries=2, retry_delays_ms=(1_000,)))
    world.advance(at(60_000))
    jobs = world.jobs(API)
    assert [job.state.value for job in jobs] == ["failed", "failed", "succeeded"]
    assert [(job.attempt, job.submit.attempt, job.retries_left) for job in jobs] == [
        (1, 1, 2),
        (2, 2, 1),
        (3, 3, 0),
    ]
    assert [job.submit.retry_of for job in jobs] == [None, jobs[0].id, jobs[1].id]


def test_a_client_that_tries_again_gets_a_new_job_with_the_next_script() -> None:
    world = world_of(book(TWICE_BAD), NEW_JOB)
    job = world.apply(submit())
    for attempt in (2, 3, 4):
        world.advance(world.now_ms + 10_000)
        job = world.apply(Retry(API, job.id))
        assert job.attempt == attempt
    world.advance(world.now_ms + 10_000)
    assert [job.state.value for job in world.jobs(API)] == ["failed", "failed", "succeeded", "succeeded"]


def test_a_new_job_keeps_the_rule_of_the_one_it_tries_again() -> None:
    world = world_of(book(running(1_000), failed()), NEW_JOB)
    job = world.apply(submit(retries=1, retry_delays_ms=(1_000,)))
    world.apply(SetScenario(book(running(1_000), succeeded())))
    world.advance(at(60_000))
    by_itself, by_client = world.jobs(API)[1], world.apply(Retry(API, world.jobs(API)[1].id))
    assert by_itself.part is by_client.part is job.part
    assert world.apply(submit()).part is not job.part


def test_a_submit_may_begin_with_a_later_attempt() -> None:
    world = world_of(book(TWICE_BAD))
    job = world.apply(submit(attempt=3))
    world.advance(at(3_500))
    assert (now(world, job).result, job.attempt) == ("third", 3)


def test_a_job_that_is_repeated_begins_anew() -> None:
    world = world_of(book(attempts((failed(),), (running(1_000), succeeded()))))
    job = world.apply(submit(repeat_after_ms=1_000, attempt=2))
    world.advance(at(2_000))
    repeated = world.jobs(API)[1]
    assert (job.submit.attempt, len(now(world, job).failures)) == (2, 0)
    assert (repeated.submit.attempt, len(repeated.failures)) == (1, 1)


def test_a_worker_that_fails_a_job_leads_to_the_next_attempt_in_a_new_one() -> None:
    world = world_of(book(TWICE_BAD, workers=0), NEW_JOB)
    world.apply(submit(retries=1))
    [claimed] = world.apply(Claim(API))
    world.apply(Finish(API, claimed.id, failure=FIRST))
    again = world.jobs(API)[1]
    assert again.part is TWICE_BAD.next_attempt


# ---- coming to the end ----------------------------------------------------------------------------------------------


def test_a_concluded_job_comes_to_the_end_of_its_last_attempt_and_is_not_tried_again() -> None:
    for rules in (None, SAME_JOB):
        world = world_of(book(TWICE_BAD), rules)
        job = world.apply(submit(retries=3))
        concluded = world.apply(Conclude(API, job.id), at_ms=at(100))
        assert (concluded.state, concluded.result) == (State.SUCCEEDED, "third")
    world = world_of(
        book(attempts((running(1_000), succeeded()), (failed(failure=OUT_OF_MEMORY),))), SAME_JOB
    )
    job = world.apply(submit(retries=3))
    assert story(world.apply(Conclude(API, job.id))) == [("running", 0), ("failed", 0)]


def test_a_job_whose_script_has_no_end_would_have_succeeded() -> None:
    world = world_of(book(part(running(), on_cancel=CancelTooLate())))
    job = world.apply(submit())
    assert world.apply(Conclude(API, job.id)).state is State.SUCCEEDED
