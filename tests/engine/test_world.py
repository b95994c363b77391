"""A world: what each command does and refuses, what time does, and who works on what."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from simulator.engine.command import (
    Amend,
    Cancel,
    Claim,
    Command,
    Finish,
    MoveClock,
    Release,
    Remove,
    Retry,
    SetScenario,
    Submit,
    Touch,
)
from simulator.engine.errors import LimitReached, NotAllowed, TimeGoesBack, UnknownJob
from simulator.engine.job import ACTIVE, ALLOWED, FINAL, Failure, Job, State
from simulator.engine.rules import Line, RetryBy, Rules
from simulator.engine.script import CancelAfter, CancelEffect, Part, Span, Step
from simulator.engine.world import START_MS, Fired, Limits, World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import (
    ANYTHING,
    API,
    DISMISSING,
    FLAGGING,
    FOREVER,
    HAPPY,
    HOLD,
    NEW_JOB,
    SAME_JOB,
    Book,
    at,
    book,
    cancelled,
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
    step,
    story,
    submit,
    succeeded,
    world_of,
)

OUT_OF_MEMORY = Failure("Container killed", code="out_of_memory")


def after(world: World, ms: int) -> int:
    """Let so much time pass; answers with the new now."""
    world.advance(world.now_ms + ms)
    return world.now_ms


def states(world: World, jobs: Iterable[Job]) -> list[str]:
    """The present states of these jobs, as words."""
    return [now(world, job).state.value for job in jobs]


def at_work(world: World) -> list[str]:
    """Who is running."""
    return [job.id for job in world.jobs(API, states=[State.RUNNING])]


def busy(world: World) -> int:
    """How many workers are busy."""
    workers: int = world.snapshot()["crews"][API][0]
    return workers


# ---- births ---------------------------------------------------------------------------------------------------------


def test_a_job_waits_runs_and_succeeds_as_its_script_says() -> None:
    world = world_of(
        book(part(queued(1_000, cause="x:4"), running(3_000, cause="x:5"), succeeded(cause="x:6")))
    )
    job = world.apply(submit(request={"size": 3}, facts={"owner": "me"}, message="Hello"))
    assert (job.id, job.number, job.created_ms, job.request, job.message) == (
        "job-1",
        1,
        START_MS,
        {"size": 3},
        "Hello",
    )
    assert job.submit.facts == {"owner": "me"}
    world.advance(at(10_000))
    done = now(world, job)
    assert story(done) == [("queued", 0), ("running", 1_000), ("succeeded", 4_000)]
    assert [move.cause for move in done.history] == ["client", "x:5", "x:6"]
    assert (done.started_ms, done.finished_ms, done.executions, done.attempt) == (at(1_000), at(4_000), 1, 1)


def test_a_delayed_job_begins_its_script_when_the_delay_is_over() -> None:
    world = world_of(book(HAPPY))
    job = world.apply(submit(delay_ms=500))
    assert (job.state, job.due_ms) == (State.DELAYED, at(500))
    world.advance(at(9_000))
    assert story(now(world, job)) == [
        ("delayed", 0),
        ("queued", 500),
        ("running", 1_500),
        ("succeeded", 4_500),
    ]


def test_a_delay_in_the_past_is_no_delay() -> None:
    world = world_of(book(HAPPY))
    assert world.apply(submit(delay_ms=-500)).state is State.QUEUED


def test_a_delay_of_the_script_comes_after_the_one_of_the_client() -> None:
    world = world_of(book(delayed(1_000), running(1_000), succeeded()))
    scripted, both = world.apply(submit()), world.apply(submit(delay_ms=500))
    world.advance(at(9_000))
    assert story(now(world, scripted)) == [("delayed", 0), ("running", 1_000), ("succeeded", 2_000)]
    assert story(now(world, both)) == [("delayed", 0), ("running", 1_500), ("succeeded", 2_500)]


def test_a_delayed_job_may_run_at_once_when_it_is_due() -> None:
    world = world_of(book(running(1_000), succeeded()))
    job = world.apply(submit(delay_ms=500))
    world.advance(at(500))
    assert story(now(world, job)) == [("delayed", 0), ("running", 500)]


def test_a_script_that_begins_running_is_running_from_birth() -> None:
    world = world_of(book(running(1_000), succeeded()))
    job = world.apply(submit())
    assert (story(job), job.has_worker, job.started_ms) == ([("running", 0)], True, START_MS)


def test_without_a_free_worker_a_job_is_born_in_the_queue() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    jobs = [world.apply(submit()) for _ in range(2)]
    assert states(world, jobs) == ["running", "queued"]
    world.advance(at(9_000))
    assert story(now(world, jobs[1])) == [("queued", 0), ("running", 1_000), ("succeeded", 2_000)]


def test_a_delayed_job_without_a_free_worker_goes_to_the_queue_when_it_is_due() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    world.apply(submit())
    job = world.apply(submit(delay_ms=500))
    world.advance(at(9_000))
    assert story(now(world, job)) == [
        ("delayed", 0),
        ("queued", 500),
        ("running", 1_000),
        ("succeeded", 2_000),
    ]


@pytest.mark.parametrize("end", [succeeded(), failed(), cancelled()])
def test_no_job_is_born_finished(end: Step) -> None:
    world = world_of(book(end))
    job = world.apply(submit())
    assert story(job) == [("queued", 0), (end.state.value, 0)]


@pytest.mark.parametrize("first", [retrying(500), cancelling(500)])
def test_a_job_that_begins_with_trouble_was_in_the_queue_before(first: Step) -> None:
    world = world_of(book(first, failed()))
    job = world.apply(submit())
    assert story(job) == [("queued", 0), (first.state.value, 0)]


def test_a_job_of_an_external_worker_waits_for_ever() -> None:
    world = world_of(book(queued(1_000), running(1_000), succeeded(), workers=0))
    job = world.apply(submit())
    world.advance(at(3_600_000))
    assert (story(now(world, job)), world.next_due_ms) == ([("queued", 0)], None)


def test_without_a_limit_all_jobs_run_at_once() -> None:
    world = world_of(book(running(1_000), succeeded()))
    jobs = [world.apply(submit()) for _ in range(50)]
    assert states(world, jobs) == ["running"] * 50


def test_a_script_without_an_end_leaves_the_job_in_its_last_state() -> None:
    world = world_of(book(queued(1_000), running(2_000, progress=(0, 60))))
    job = world.apply(submit())
    world.advance(at(3_600_000))
    hanging = now(world, job)
    assert story(hanging) == [("queued", 0), ("running", 1_000)]
    assert hanging.progress_percent(world.now_ms) == 60
    assert hanging.changed_ms(world.now_ms) == at(3_000)
    assert hanging.until_ms is None


def test_jobs_are_numbered_over_all_apis_and_named_by_the_rules_of_their_own() -> None:
    world = World(
        seed=7,
        rules={"a": Rules(lambda seed, number: f"a{seed}-{number}"), "b": plain()},
        playbook=Book({"work": HAPPY}),
    )
    jobs = [world.apply(Submit(api, "work")) for api in ("a", "b", "a")]
    assert [(job.api, job.id, job.number) for job in jobs] == [
        ("a", "a7-1", 1),
        ("b", "job-2", 2),
        ("a", "a7-3", 3),
    ]


def test_the_scenario_gives_the_part_by_what_was_submitted() -> None:
    world = world_of(Book({"good": part(succeeded()), "bad": part(failed())}))
    assert world.apply(submit(kind="good")).state is State.SUCCEEDED
    assert world.apply(submit(kind="bad")).state is State.FAILED


# ---- what a script can say ------------------------------------------------------------------------------------------


def lengths(world: World) -> list[int]:
    """How long each job ran."""
    return [job.finished_ms - job.started_ms for job in world.jobs(API) if job.finished_ms and job.started_ms]


def ranges(seed: int) -> World:
    world = world_of(book(running((1_000, 5_000)), succeeded()), seed=seed)
    for _ in range(30):
        world.apply(submit())
    world.advance(at(5_000))
    return world


def test_a_range_is_drawn_for_each_job_by_the_seed() -> None:
    drawn = lengths(ranges(7))
    assert len(drawn) == 30
    assert all(1_000 <= length <= 5_000 for length in drawn)
    assert len(set(drawn)) > 20
    assert drawn == lengths(ranges(7))
    assert drawn != lengths(ranges(8))


def test_a_range_is_drawn_again_for_each_attempt() -> None:
    world = world_of(book(running((1_000, 100_000)), failed()), SAME_JOB)
    job = world.apply(submit(retries=2))
    world.advance(at(300_000))
    moments = [moment for _, moment in story(now(world, job))]
    runs = [moments[place + 1] - moments[place] for place in (0, 2, 4)]
    assert len(set(runs)) == 3


def test_progress_grows_from_step_to_step_and_stays_where_none_speaks_of_it() -> None:
    steps = (
        queued(1_000),
        running(2_000, progress=(0, 40)),
        running(1_000),
        running(1_000, progress=(40, 90)),
    )
    world = world_of(book(*steps, succeeded()))
    job = world.apply(submit())
    seen = []
    for moment in (0, 999, 1_000, 2_000, 3_000, 3_500, 4_000, 4_500, 4_999, 5_000, 9_000):
        world.advance(at(moment))
        seen.append(now(world, job).progress_percent(world.now_ms))
    assert seen == [None, None, 0, 20, 40, 40, 40, 65, 89, 100, 100]


def test_a_step_that_takes_no_time_is_done_with_all_its_progress() -> None:
    world = world_of(book(running(0, progress=(0, 50)), running(1_000), succeeded()))
    assert world.apply(submit()).progress_percent(START_MS) == 50


def test_a_failed_job_keeps_the_progress_it_had() -> None:
    world = world_of(book(running(1_000, progress=(10, 60)), failed()))
    job = world.apply(submit())
    world.advance(at(9_000))
    assert now(world, job).progress_percent(world.now_ms) == 60
    assert now(world, job).changed_ms(world.now_ms) == at(1_000)


def test_progress_does_not_fall_while_a_job_waits_for_a_worker() -> None:
    world = world_of(
        book(queued(1_000, progress=(0, 10)), running(5_000, progress=(10, 90)), succeeded(), workers=1)
    )
    world.apply(submit())
    job = world.apply(submit())
    world.advance(at(4_000))
    waiting = now(world, job)
    assert (waiting.state, waiting.progress_percent(at(4_000))) == (State.QUEUED, 10)
    assert waiting.changed_ms(at(4_000)) == at(1_000)


def test_messages_follow_the_steps_and_the_last_one_of_a_failure_stays() -> None:
    steps = (queued(1_000, message="Waiting"), running(1_000), running(1_000, message="Copying"))
    world = world_of(Book({"good": part(*steps, succeeded()), "bad": part(*steps, failed())}))
    jobs = [world.apply(submit(kind=kind, message="New")) for kind in ("good", "bad")]
    seen = []
    for moment in (0, 1_000, 2_000, 3_000):
        world.advance(at(moment))
        seen.append([now(world, job).message for job in jobs])
    assert seen == [["Waiting"] * 2, ["Waiting"] * 2, ["Copying"] * 2, [None, "Copying"]]


def test_an_end_may_have_a_message_a_result_and_a_failure() -> None:
    parts = {
        "good": part(succeeded(result={"answer": 42}, message="Done")),
        "bad": part(failed(failure=OUT_OF_MEMORY, message="Sorry")),
        "over": part(cancelled(message="By the operator")),
    }
    world = world_of(Book(parts))
    good, bad, over = (world.apply(submit(kind=kind)) for kind in parts)
    assert (good.result, good.message) == ({"answer": 42}, "Done")
    assert bad.failures == (Failure("Container killed", code="out_of_memory", at_ms=START_MS),)
    assert (bad.message, over.message) == ("Sorry", "By the operator")


def test_work_that_takes_longer_lengthens_the_last_running_step() -> None:
    steps = (queued(1_000), running(1_000), running(2_000), succeeded())
    world = world_of(book(*steps))
    longer, shorter = world.apply(submit(lasts_ms=10_000)), world.apply(submit(lasts_ms=1_500))
    world.advance(at(60_000))
    assert now(world, longer).finished_ms == at(1_000 + 1_000 + 10_000)
    assert now(world, shorter).finished_ms == at(1_000 + 1_000 + 2_000)


def test_work_that_cannot_succeed_fails_where_its_script_would_succeed() -> None:
    world = world_of(Book({"good": part(running(1_000), succeeded()), "bad": part(running(1_000), failed())}))
    good, bad = (world.apply(submit(kind=kind, fails_with=OUT_OF_MEMORY)) for kind in ("good", "bad"))
    world.advance(at(1_000))
    assert now(world, good).failure == Failure("Container killed", code="out_of_memory", at_ms=at(1_000))
    assert now(world, bad).failure == Failure(at_ms=at(1_000))


def test_an_external_worker_may_succeed_where_the_simulated_one_cannot() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit(fails_with=OUT_OF_MEMORY))
    [job] = world.apply(Claim(API))
    assert world.apply(Finish(API, job.id)).state is State.SUCCEEDED


def test_a_job_is_repeated_after_each_success() -> None:
    world = world_of(book(running(1_000), succeeded()))
    first = world.apply(submit(repeat_after_ms=5_000, request="work"))
    world.advance(at(12_500))
    jobs = world.jobs(API)
    assert [job.submit.repeat_of for job in jobs] == [None, "job-1", "job-2"]
    assert [story(job)[:2] for job in jobs[1:]] == [
        [("delayed", 1_000), ("running", 6_000)],
        [("delayed", 7_000), ("running", 12_000)],
    ]
    assert [next(job.history).cause for job in jobs] == ["client", "repeat of job-1", "repeat of job-2"]
    assert all(job.request == first.request for job in jobs)


def test_a_job_that_fails_is_not_repeated() -> None:
    world = world_of(book(running(1_000), failed()))
    world.apply(submit(repeat_after_ms=5_000))
    world.advance(at(60_000))
    assert len(world.jobs(API)) == 1


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


# ---- cancel ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("effect", CancelEffect)
@pytest.mark.parametrize("state", State)
def test_a_cancel_does_what_the_rules_say_of_the_state(state: State, effect: CancelEffect) -> None:
    world = world_of(book(part_in(state)), plain(cancel=dict.fromkeys(State, effect)))
    job = world.apply(submit())
    before = world.snapshot()
    cancel = Cancel(API, job.id, "no longer wanted")
    possible = State.CANCELLED in ALLOWED[state]
    if effect is CancelEffect.REFUSED or (effect is CancelEffect.AT_ONCE and not possible):
        with pytest.raises(NotAllowed) as refusal:
            world.apply(cancel)
        assert refusal.value.job == job
        assert world.snapshot() == before
        return
    answer = world.apply(cancel)
    match effect:
        case CancelEffect.AT_ONCE:
            assert (answer.state, answer.finished_ms, answer.cancel_requested) == (
                State.CANCELLED,
                START_MS,
                True,
            )
            assert list(answer.history)[-1].cause == "client"
            assert busy(world) == 0
        case CancelEffect.FLAG:
            assert answer == job._replace(cancel_requested=True)
        case CancelEffect.IGNORED:
            assert answer == job
            assert world.snapshot() == before
        case CancelEffect.REMOVED:
            assert answer == job
            with pytest.raises(UnknownJob):
                world.job(API, job.id)


def test_the_usual_rule_cancels_what_is_under_way_and_refuses_what_is_finished() -> None:
    for state in State:
        world = world_of(book(part_in(state)))
        job = world.apply(submit())
        if state in ACTIVE:
            assert world.apply(Cancel(API, job.id)).state is State.CANCELLED
        else:
            with pytest.raises(NotAllowed, match="cancel is not possible"):
                world.apply(Cancel(API, job.id))


@pytest.mark.parametrize("state", ACTIVE)
@pytest.mark.parametrize(
    "effect", [CancelEffect.AT_ONCE, CancelEffect.IGNORED, CancelEffect.REFUSED, CancelEffect.FLAG]
)
def test_the_scenario_decides_over_a_cancel_of_a_job_under_way(effect: CancelEffect, state: State) -> None:
    """Whatever the service's own rule is."""
    for own in CancelEffect:
        world = world_of(book(part(step(state), on_cancel=effect)), plain(cancel=dict.fromkeys(State, own)))
        job = world.apply(submit())
        if effect is CancelEffect.REFUSED:
            with pytest.raises(NotAllowed):
                world.apply(Cancel(API, job.id))
            continue
        answer = world.apply(Cancel(API, job.id))
        assert (answer.state, answer.cancel_requested) == {
            CancelEffect.AT_ONCE: (State.CANCELLED, True),
            CancelEffect.IGNORED: (state, False),
            CancelEffect.FLAG: (state, True),
        }[effect]


@pytest.mark.parametrize("state", FINAL)
def test_the_scenario_has_no_say_once_a_job_is_finished(state: State) -> None:
    for on_cancel in (CancelAfter(Span(500, 500)), CancelEffect.AT_ONCE, CancelEffect.REFUSED):
        world = world_of(book(part(step(state), on_cancel=on_cancel)), DISMISSING)
        job = world.apply(submit())
        world.apply(Cancel(API, job.id))
        assert world.jobs(API) == []


def test_a_flagged_job_goes_on_as_if_nothing_had_happened() -> None:
    world = world_of(book(part(running(1_000), cancelling(1_000), succeeded())), FLAGGING)
    asked, unasked = world.apply(submit()), world.apply(submit())
    world.apply(Cancel(API, asked.id), at_ms=at(500))
    world.advance(at(9_000))
    assert story(now(world, asked)) == story(now(world, unasked))
    assert (now(world, asked).cancel_requested, now(world, unasked).cancel_requested) == (True, False)


@pytest.mark.parametrize("state", sorted(ACTIVE - {State.CANCELLING}, key=lambda state: state.value))
def test_a_slow_cancel_is_cancelling_for_a_while(state: State) -> None:
    world = world_of(book(part(step(state), on_cancel=CancelAfter(Span(2_000, 2_000)))))
    job = world.apply(submit())
    cancelling = world.apply(Cancel(API, job.id), at_ms=at(1_000))
    assert (cancelling.state, cancelling.cancel_requested, cancelling.until_ms) == (
        State.CANCELLING,
        True,
        at(3_000),
    )
    world.advance(at(9_000))
    assert story(now(world, job))[-2:] == [("cancelling", 1_000), ("cancelled", 3_000)]
    assert list(now(world, job).history)[-1].cause == "client"


def test_a_second_cancel_does_not_prolong_a_slow_one() -> None:
    world = world_of(book(part(running(), on_cancel=CancelAfter(Span(2_000, 2_000)))))
    job = world.apply(submit())
    first = world.apply(Cancel(API, job.id))
    assert world.apply(Cancel(API, job.id), at_ms=at(1_500)) == first
    world.advance(at(2_000))
    assert now(world, job).state is State.CANCELLED


def test_the_length_of_a_slow_cancel_is_drawn_from_its_range() -> None:
    world = world_of(book(part(running(), on_cancel=CancelAfter(Span(1_000, 9_000)))))
    jobs = [world.apply(submit()) for _ in range(20)]
    for job in jobs:
        world.apply(Cancel(API, job.id))
    world.advance(at(9_000))
    lasted = {(now(world, job).finished_ms or 0) - START_MS for job in jobs}
    assert len(lasted) > 10
    assert all(1_000 <= length <= 9_000 for length in lasted)


def test_progress_stands_still_while_a_job_is_cancelling() -> None:
    world = world_of(
        book(part(running(10_000, progress=(0, 100)), succeeded(), on_cancel=CancelAfter(Span(3_000, 3_000))))
    )
    job = world.apply(submit())
    world.apply(Cancel(API, job.id), at_ms=at(4_050))
    seen = []
    for moment in (4_050, 6_000, 9_000):
        world.advance(at(moment))
        seen.append((now(world, job).state.value, now(world, job).progress_percent(world.now_ms)))
    assert seen == [("cancelling", 40), ("cancelling", 40), ("cancelled", 40)]
    assert now(world, job).reported_ms == at(4_000)


def test_a_job_that_is_cancelling_has_no_use_for_its_worker() -> None:
    world = world_of(book(part(queued(), on_cancel=CancelAfter(Span(9_000, 9_000)))), NEW_JOB)
    world.apply(submit(timeout_ms=1_000))
    [job] = world.apply(Claim(API))
    world.apply(Cancel(API, job.id))
    for command in (Finish(API, job.id), Touch(API, job.id)):
        with pytest.raises(NotAllowed):
            world.apply(command)
    world.advance(at(60_000))
    assert story(now(world, job))[-1] == ("cancelled", 9_000)


def test_when_a_job_last_changed_before_it_was_cancelled_is_kept() -> None:
    world = world_of(book(running(10_000, progress=(0, 100)), succeeded()))
    job = world.apply(submit())
    job = world.apply(Cancel(API, job.id), at_ms=at(4_050))
    assert (job.reported_ms, job.progress_percent(at(4_050)), job.changed_ms(at(9_000))) == (
        at(4_000),
        40,
        at(4_050),
    )


# ---- external workers -----------------------------------------------------------------------------------------------


def test_jobs_are_claimed_by_priority_then_first_come_first_served() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    for priority in (0, 2, 1, 2, 0):
        world.apply(submit(priority=priority))
    order = [[job.number for job in world.apply(Claim(API, count))] for count in (1, 3, 5, 1)]
    assert order == [[2], [4, 3, 1], [5], []]


def test_who_was_put_back_into_the_queue_stands_behind_those_who_waited() -> None:
    world = world_of(book(part_in(State.QUEUED)), ANYTHING)
    for _ in range(2):
        world.apply(submit())
    [job] = world.apply(Claim(API))
    world.apply(Retry(API, job.id), at_ms=at(10))
    assert [job.number for job in world.apply(Claim(API, 2))] == [2, 1]


def test_a_delayed_job_is_claimed_when_it_is_due_and_not_before() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit(delay_ms=1_000))
    assert world.apply(Claim(API), at_ms=at(999)) == ()
    assert len(world.apply(Claim(API), at_ms=at(1_000))) == 1


@pytest.mark.parametrize("count", [0, -1])
def test_a_claim_of_nothing_gets_nothing(count: int) -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit())
    assert world.apply(Claim(API, count)) == ()


def test_where_nobody_claims_there_is_nothing_to_claim() -> None:
    world = world_of(book(part_in(State.QUEUED)), plain())
    world.apply(submit())
    assert world.apply(Claim(API)) == ()


def test_a_claim_takes_a_job_off_its_script() -> None:
    world = world_of(book(queued(1_000), running(1_000), succeeded()), NEW_JOB)
    for _ in range(2):
        world.apply(submit())
    [job] = world.apply(Claim(API), at_ms=at(500))
    assert (job.state, job.claimed, job.has_worker, job.started_ms) == (State.RUNNING, True, False, at(500))
    world.advance(at(3_600_000))
    assert [story(job)[-1] for job in world.jobs(API)] == [("running", 500), ("succeeded", 2_000)]


def test_a_job_in_line_for_a_simulated_worker_can_be_claimed_and_leaves_the_line() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1), NEW_JOB)
    for _ in range(3):
        world.apply(submit())
    [job] = world.apply(Claim(API))
    assert (job.number, at_work(world)) == (2, ["job-1", "job-2"])
    world.advance(at(60_000))
    assert [story(job)[-1] for job in world.jobs(API)] == [
        ("succeeded", 1_000),
        ("running", 0),
        ("succeeded", 2_000),
    ]


def test_progress_made_before_a_claim_stays() -> None:
    world = world_of(book(queued(10_000, progress=(0, 50))), NEW_JOB)
    world.apply(submit())
    [job] = world.apply(Claim(API), at_ms=at(5_000))
    assert job.progress_percent(at(9_000)) == 25


@pytest.mark.parametrize("failure", [None, OUT_OF_MEMORY])
def test_a_worker_reports_the_end_with_a_log(failure: Failure | None) -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit())
    [job] = world.apply(Claim(API))
    job = world.apply(Finish(API, job.id, failure=failure, log=b"done", result=[1]), at_ms=at(700))
    assert (job.log, job.finished_ms, job.claimed, job.executions) == (b"done", at(700), False, 1)
    assert list(job.history)[-1].cause == "worker"
    if failure is None:
        assert (job.state, job.result, job.failures) == (State.SUCCEEDED, [1], ())
    else:
        assert (job.state, job.failures) == (
            State.FAILED,
            (Failure("Container killed", "out_of_memory", at_ms=at(700)),),
        )


def test_a_worker_may_also_end_what_a_simulated_one_runs() -> None:
    world = world_of(book(running(5_000, progress=(0, 100)), failed(), workers=1))
    job = world.apply(submit())
    job = world.apply(Finish(API, job.id), at_ms=at(1_000))
    assert (job.state, job.progress_percent(at(1_000)), busy(world)) == (State.SUCCEEDED, 100, 0)
    world.advance(at(9_000))
    assert now(world, job).state is State.SUCCEEDED


@pytest.mark.parametrize("command", [Finish, Touch])
@pytest.mark.parametrize("state", [state for state in State if state is not State.RUNNING])
def test_only_a_running_job_has_a_worker_that_could_report(
    state: State, command: type[Finish | Touch]
) -> None:
    world = world_of(book(part_in(state)), NEW_JOB)
    job = world.apply(submit())
    before = world.snapshot()
    with pytest.raises(NotAllowed) as refusal:
        world.apply(command(API, job.id))
    assert refusal.value.wanted == command.__name__.lower()
    assert world.snapshot() == before


def test_a_worker_that_is_silent_for_too_long_has_failed() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit(timeout_ms=5_000))
    [job] = world.apply(Claim(API), at_ms=at(1_000))
    world.advance(at(5_999))
    assert now(world, job).state is State.RUNNING
    world.advance(at(6_000))
    job = now(world, job)
    assert story(job)[-1] == ("failed", 6_000)
    assert (job.failure and job.failure.code, list(job.history)[-1].cause) == ("timeout", "timeout")


def test_each_touch_begins_the_timeout_anew_and_the_agenda_does_not_grow() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit(timeout_ms=5_000))
    [job] = world.apply(Claim(API))
    for moment in range(1_000, 101_000, 1_000):
        touched = world.apply(Touch(API, job.id), at_ms=at(moment))
        assert touched.deadline_ms == at(moment + 5_000)
        assert world.next_due_ms == at(moment + 5_000)
        assert len(world.snapshot()["agenda"]) == 1
    world.advance(at(104_999))
    assert now(world, job).state is State.RUNNING
    world.advance(at(105_000))
    assert now(world, job).state is State.FAILED
    assert world.next_due_ms is None


def test_many_touches_between_two_looks_move_one_deadline() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit(timeout_ms=5_000))
    [job] = world.apply(Claim(API))
    for moment in range(100, 20_000, 100):
        world.apply(Touch(API, job.id), at_ms=at(moment))
    world.advance(at(60_000))
    assert story(now(world, job))[-1] == ("failed", 24_900)


def test_a_touch_without_a_timeout_changes_nothing() -> None:
    world = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    world.apply(submit())
    [job] = world.apply(Claim(API))
    before = world.snapshot()
    assert world.apply(Touch(API, job.id)) == job
    assert world.snapshot() == before


def test_to_look_ahead_does_not_change_who_comes_first_at_the_same_instant() -> None:
    def ends(look: bool) -> list[Fired]:
        parts = {"work": part_in(State.QUEUED), "timed": part(running(8_000), succeeded())}
        world = world_of(Book(parts), NEW_JOB)
        world.apply(submit(timeout_ms=10_000))
        [job] = world.apply(Claim(API))
        world.apply(Touch(API, job.id), at_ms=at(5_000))
        if look:
            assert world.next_due_ms == at(15_000)
        world.apply(submit(kind="timed"), at_ms=at(7_000))
        return world.advance_and_tell(at(15_000))

    assert ends(look=True) == ends(look=False)
    assert [fired.job_id for fired in ends(look=True)] == ["job-1", "job-2"]


def test_a_timeout_does_not_concern_a_simulated_worker() -> None:
    world = world_of(book(running(60_000), succeeded()), NEW_JOB)
    job = world.apply(submit(timeout_ms=1_000))
    world.advance(at(60_000))
    assert now(world, job).state is State.SUCCEEDED


# ---- simulated workers ----------------------------------------------------------------------------------------------


def order_of_work(world: World) -> list[int]:
    """The numbers of the jobs in the order they started."""
    return [job.number for job in sorted(world.jobs(API), key=lambda job: (job.started_ms or 0, job.number))]


def test_a_single_worker_takes_jobs_by_priority_then_first_come_first_served() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1), plain(line=Line.PRIORITY_FIRST))
    for priority in (0, 1, 5, 1, 5):
        world.apply(submit(priority=priority))
    world.advance(at(60_000))
    assert order_of_work(world) == [1, 3, 5, 2, 4]


def test_a_single_worker_takes_jobs_by_due_date_then_by_priority() -> None:
    world = world_of(book(running(10_000), succeeded(), workers=1), plain(line=Line.DUE_FIRST))
    world.apply(submit())
    for delay_ms, priority in ((3_000, 9), (1_000, 0), (1_000, 5), (-50, 0), (2_000, 9)):
        world.apply(submit(delay_ms=delay_ms, priority=priority))
    world.advance(at(90_000))
    assert order_of_work(world) == [1, 5, 4, 3, 6, 2]


def test_no_more_jobs_run_at_once_than_there_are_workers() -> None:
    world = world_of(book(queued(500), running((500, 1_500)), succeeded(), workers=3))
    for _ in range(20):
        world.apply(submit())
    most = 0
    while len(world.jobs(API, states=[State.SUCCEEDED])) < 20:
        after(world, 50)
        most = max(most, len(at_work(world)))
        assert busy(world) == len(at_work(world))
    assert most == 3


def pool(rules: Rules, *, workers: int = 1) -> tuple[World, Job, Job]:
    """A world with one worker busy with a first job, while a second one waits."""
    world = world_of(book(part(running(60_000), failed()), workers=workers), rules)
    first, second = world.apply(submit(retries=1, retry_delays_ms=(500,))), world.apply(submit())
    return world, first, second


FREEING: list[tuple[Rules, Command[Job]]] = [
    (plain(), Finish(API, "job-1")),
    (plain(), Finish(API, "job-1", failure=OUT_OF_MEMORY)),
    (plain(), Cancel(API, "job-1")),
    (ANYTHING, Remove(API, "job-1")),
    (plain(cancel=dict.fromkeys(State, CancelEffect.REMOVED)), Cancel(API, "job-1")),
    (SAME_JOB, Retry(API, "job-1")),
    (SAME_JOB, Finish(API, "job-1", failure=OUT_OF_MEMORY)),
]


@pytest.mark.parametrize(("rules", "command"), FREEING)
def test_whatever_frees_a_worker_gives_it_to_the_next_in_line(rules: Rules, command: Command[Job]) -> None:
    world, _, second = pool(rules)
    assert states(world, [second]) == ["queued"]
    world.apply(command, at_ms=at(1_000))
    assert story(now(world, second))[-1] == ("running", 1_000)
    assert busy(world) == 1


def test_a_worker_is_free_in_the_same_millisecond_in_which_its_job_ends() -> None:
    world, _, second = pool(plain())
    world.advance(at(60_000))
    assert story(now(world, second))[-1] == ("running", 60_000)


def test_a_job_that_was_put_back_stands_in_line_again() -> None:
    world, first, second = pool(SAME_JOB)
    back = world.apply(Retry(API, first.id), at_ms=at(1_000))
    assert (back.state, back.has_worker) == (State.QUEUED, False)
    world.apply(Finish(API, second.id), at_ms=at(2_000))
    assert story(now(world, first))[-1] == ("running", 2_000)


def test_a_retry_that_is_due_waits_for_a_worker_too() -> None:
    world, first, second = pool(SAME_JOB)
    world.apply(Finish(API, first.id, failure=OUT_OF_MEMORY), at_ms=at(1_000))
    world.advance(at(30_000))
    assert states(world, [first, second]) == ["retrying", "running"]
    world.apply(Finish(API, second.id))
    assert story(now(world, first))[-1] == ("running", 30_000)


@pytest.mark.parametrize("pause", [queued(5_000), retrying(5_000)])
def test_a_job_whose_script_sends_it_back_leaves_its_worker_to_the_next(pause: Step) -> None:
    world = world_of(book(running(1_000), pause, running(1_000), succeeded(), workers=1), ANYTHING)
    jobs = [world.apply(submit(retries=3)) for _ in range(2)]
    world.advance(at(1_000))
    assert states(world, jobs) == [pause.state.value, "running"]
    assert busy(world) == 1
    world.advance(at(60_000))
    assert [story(now(world, job))[-1] for job in jobs] == [("succeeded", 7_000), ("succeeded", 8_000)]
    assert busy(world) == 0


def test_a_job_keeps_its_worker_while_it_is_cancelling() -> None:
    world = world_of(book(part(running(), on_cancel=CancelAfter(Span(2_000, 2_000))), workers=1))
    first, second = world.apply(submit()), world.apply(submit())
    world.apply(Cancel(API, first.id))
    world.advance(at(1_999))
    assert states(world, [first, second]) == ["cancelling", "queued"]
    world.advance(at(2_000))
    assert states(world, [first, second]) == ["cancelled", "running"]


@pytest.mark.parametrize("rules", [plain(), ANYTHING])
def test_a_job_that_is_cancelled_or_removed_while_it_waits_is_not_run(rules: Rules) -> None:
    world, first, second = pool(rules)
    third = world.apply(submit())
    world.apply(Remove(API, second.id) if rules is ANYTHING else Cancel(API, second.id))
    world.apply(Finish(API, first.id))
    assert at_work(world) == [third.id]


def test_a_new_scenario_changes_the_crew_and_wakes_who_waits() -> None:
    world = world_of(book(running(10_000), succeeded(), workers=0))
    jobs = [world.apply(submit()) for _ in range(5)]
    seen = []
    for workers in (2, 1, 3, None):
        world.apply(SetScenario(book(HAPPY, workers=workers)))
        seen.append(len(at_work(world)))
    assert seen == [2, 2, 3, 5]
    assert [story(now(world, job))[-1] for job in jobs] == [("running", 0)] * 5


def test_a_smaller_crew_lets_those_at_work_finish_and_takes_nobody_until_then() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=3))
    for _ in range(3):
        world.apply(submit())
    world.apply(SetScenario(book(HAPPY, workers=1)))
    late = world.apply(submit(delay_ms=500))
    world.advance(at(999))
    assert len(at_work(world)) == 3
    world.advance(at(9_000))
    assert now(world, late).started_ms == at(1_500)


def test_jobs_under_way_keep_their_script_when_the_scenario_changes() -> None:
    world = world_of(book(running(1_000), succeeded()))
    old = world.apply(submit())
    assert world.apply(SetScenario(book(running(1_000), failed()))) is None
    new = world.apply(submit())
    world.advance(at(1_000))
    assert states(world, [old, new]) == ["succeeded", "failed"]
    assert world.initial_playbook is not world.playbook


def test_the_crews_of_two_apis_do_not_help_each_other() -> None:
    scenario = Book({"work": part(running(1_000), succeeded())}, {"a": 1, "b": 1})
    world = World(seed=7, rules={"a": plain(), "b": plain()}, playbook=scenario)
    jobs = [world.apply(Submit(api, "work")) for api in "aabb"]
    assert states(world, jobs) == ["running", "queued", "running", "queued"]


# ---- hold and release -----------------------------------------------------------------------------------------------


def test_a_held_job_goes_on_when_it_is_released() -> None:
    world = world_of(book(queued(HOLD), running(1_000), running(HOLD), succeeded()))
    job = world.apply(submit())
    world.advance(at(60_000))
    assert now(world, job).state is State.QUEUED
    assert world.apply(Release(API, job.id)).state is State.RUNNING
    world.advance(at(120_000))
    assert world.apply(Release(API, job.id)).state is State.SUCCEEDED
    assert story(now(world, job)) == [("queued", 0), ("running", 60_000), ("succeeded", 120_000)]


FAIL = Finish(API, "job-1", failure=OUT_OF_MEMORY)
SLOW_CANCEL = CancelAfter(Span(9_000, 9_000))
NOT_HELD: dict[str, tuple[Book, Rules, Submit, list[Command[Any]]]] = {
    "a step that time ends": (book(running(1_000), succeeded()), plain(), submit(), []),
    "a step that lasts forever": (book(running(FOREVER)), plain(), submit(), []),
    "a finished job": (book(succeeded()), plain(), submit(), []),
    "it failed while it was held": (book(running(HOLD), queued(1_000)), SAME_JOB, submit(), [FAIL]),
    "it was cancelled while it was held": (
        book(running(HOLD), running(1_000), workers=1),
        plain(),
        submit(),
        [Cancel(API, "job-1")],
    ),
    "it is being cancelled": (
        book(part(running(HOLD), succeeded(), on_cancel=SLOW_CANCEL)),
        plain(),
        submit(),
        [Cancel(API, "job-1")],
    ),
    "an external worker has it": (book(queued(HOLD), running(1_000)), NEW_JOB, submit(), [Claim(API)]),
    "it is not due yet": (book(queued(HOLD), succeeded()), plain(), submit(delay_ms=1_000), []),
    "it waits for its retry": (
        book(queued(HOLD), running(1_000), failed()),
        SAME_JOB,
        submit(retries=1, retry_delays_ms=(60_000,)),
        [Release(API, "job-1"), FAIL],
    ),
    "it was released and waits for a worker": (
        book(queued(HOLD), running(1_000), workers=0),
        plain(),
        submit(),
        [Release(API, "job-1")],
    ),
    "it was released and has nothing left to do": (
        book(running(HOLD)),
        plain(),
        submit(),
        [Release(API, "job-1")],
    ),
}


@pytest.mark.parametrize("situation", NOT_HELD)
def test_what_is_not_held_cannot_be_released(situation: str) -> None:
    scenario, rules, first, commands = NOT_HELD[situation]
    world = world_of(scenario, rules)
    for command in (first, *commands):
        world.apply(command)
    before = world.snapshot()
    with pytest.raises(NotAllowed) as refusal:
        world.apply(Release(API, "job-1"))
    assert refusal.value.wanted == "release"
    assert world.snapshot() == before


def test_a_hold_of_one_job_does_not_hold_another() -> None:
    world = world_of(book(queued(HOLD), succeeded()))
    jobs = [world.apply(submit()) for _ in range(2)]
    world.apply(Release(API, jobs[1].id))
    assert states(world, jobs) == ["queued", "succeeded"]


# ---- amend and remove -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", State)
def test_a_request_is_replaced_in_the_states_that_allow_it(state: State) -> None:
    world = world_of(book(part_in(state)), SAME_JOB)
    job = world.apply(submit(request="old", labels=(("key", "k"),), priority=3, retries=0))
    amend = Amend(API, job.id, "new", fails_with=OUT_OF_MEMORY, lasts_ms=7, repeat_after_ms=8)
    if state not in {State.DELAYED, State.QUEUED, State.RETRYING, State.FAILED}:
        with pytest.raises(NotAllowed) as refusal:
            world.apply(amend)
        assert refusal.value.wanted == "amend"
        assert now(world, job) == job
        return
    amended = world.apply(amend)
    assert (amended.request, amended.submit.request, amended.state) == ("new", "old", state)
    work = (amended.submit.fails_with, amended.submit.lasts_ms, amended.submit.repeat_after_ms)
    assert work == (OUT_OF_MEMORY, 7, 8)
    assert (amended.submit.labels, amended.submit.priority) == ((("key", "k"),), 3)


def test_an_amended_request_is_what_runs() -> None:
    world = world_of(book(queued(1_000), running(1_000), succeeded()), SAME_JOB)
    job = world.apply(submit(fails_with=OUT_OF_MEMORY, lasts_ms=60_000))
    world.apply(Amend(API, job.id, "better"))
    world.advance(at(2_000))
    assert now(world, job).state is State.SUCCEEDED


@pytest.mark.parametrize("state", State)
def test_a_job_is_removed_in_the_states_that_allow_it(state: State) -> None:
    world = world_of(book(part_in(state)))
    job = world.apply(submit(labels=(("key", "k"),)))
    if state not in FINAL:
        with pytest.raises(NotAllowed) as refusal:
            world.apply(Remove(API, job.id))
        assert refusal.value.wanted == "remove"
        assert world.jobs(API) == [job]
        return
    assert world.apply(Remove(API, job.id)) == job
    assert (
        world.jobs(API) == world.jobs(API, states=[state]) == world.jobs(API, labels=[[("key", "k")]]) == []
    )
    assert world.count(API) == 0


@pytest.mark.parametrize("state", State)
def test_nothing_happens_any_more_to_a_removed_job(state: State) -> None:
    world = world_of(book(part(step(state, 1_000) if state in ACTIVE else step(state))), ANYTHING)
    job = world.apply(submit(timeout_ms=500))
    world.apply(Claim(API))
    world.apply(Remove(API, job.id))
    assert world.next_due_ms is None
    world.advance(at(60_000))
    assert world.apply(Claim(API)) == ()


def test_a_removed_job_is_told_from_one_that_never_was() -> None:
    world = world_of(book(succeeded()))
    job = world.apply(submit())
    world.apply(Remove(API, job.id))
    with pytest.raises(UnknownJob) as gone:
        world.job(API, job.id)
    with pytest.raises(UnknownJob) as never:
        world.job(API, "job-2")
    assert (gone.value.removed, never.value.removed) == (True, False)


def test_ids_and_numbers_are_never_used_again() -> None:
    world = world_of(book(succeeded()), jobs=2)
    ids = []
    for _ in range(10):
        job = world.apply(submit())
        ids.append(job.id)
        world.apply(Remove(API, job.id))
    assert ids == [f"job-{number}" for number in range(1, 11)]


def test_only_so_many_removed_ids_are_remembered_as_there_may_be_jobs() -> None:
    world = world_of(book(succeeded()), jobs=3)
    for _ in range(10):
        world.apply(Remove(API, world.apply(submit()).id))
    assert world.snapshot()["removed"] == {API: ["job-10", "job-8", "job-9"]}


ON_A_JOB = [Touch, Finish, Cancel, Retry, Remove, Release]


@pytest.mark.parametrize("command", [kind(API, "job-9") for kind in ON_A_JOB] + [Amend(API, "job-9", None)])
def test_a_job_that_is_not_there_is_unknown_to_every_command(command: Command[Job]) -> None:
    world = world_of(book(HAPPY), ANYTHING)
    world.apply(submit())
    before = world.snapshot()
    with pytest.raises(UnknownJob) as refusal:
        world.apply(command)
    assert (refusal.value.api, refusal.value.job_id) == (API, "job-9")
    assert world.snapshot() == before


def test_an_api_does_not_know_the_jobs_of_another() -> None:
    world = World(seed=7, rules={"a": plain(), "b": plain()}, playbook=Book({"work": HAPPY}))
    job = world.apply(Submit("a", "work"))
    with pytest.raises(UnknownJob):
        world.job("b", job.id)
    assert (world.count("a"), world.count("b")) == (1, 0)


# ---- limits ---------------------------------------------------------------------------------------------------------


def test_a_full_world_refuses_a_job_and_nothing_is_left_of_it() -> None:
    journal = MemoryJournal()
    world = world_of(book(succeeded()), jobs=2, journal=journal)
    jobs = [world.apply(submit()) for _ in range(2)]
    before = world.snapshot()
    with pytest.raises(LimitReached) as refusal:
        world.apply(submit(labels=(("key", "k"),)))
    assert (refusal.value.limit, refusal.value.maximum) == ("jobs in a world", 2)
    assert world.snapshot() == before
    assert len(journal) == 2
    world.apply(Remove(API, jobs[0].id))
    assert world.apply(submit()).number == 3


def test_room_for_a_batch_can_be_asked_for_beforehand() -> None:
    world = world_of(book(succeeded()), jobs=5)
    world.apply(submit())
    world.require_room(4)
    with pytest.raises(LimitReached):
        world.require_room(5)
    assert world.count(API) == 1


def test_a_retry_by_a_client_needs_room_too() -> None:
    world = world_of(book(succeeded()), NEW_JOB, jobs=1)
    job = world.apply(submit())
    with pytest.raises(LimitReached):
        world.apply(Retry(API, job.id))
    assert world.jobs(API) == [job]


@pytest.mark.parametrize(("end", "rules"), [(succeeded(), plain()), (failed(), NEW_JOB)])
def test_repeats_and_retries_stop_silently_when_a_world_is_full(end: Step, rules: Rules) -> None:
    world = world_of(book(running(1_000), end), rules, jobs=3)
    world.apply(submit(repeat_after_ms=1_000, retries=9, retry_delays_ms=(1_000,)))
    world.advance(at(60_000))
    assert [job.state for job in world.jobs(API)] == [end.state] * 3


def test_a_world_holds_a_million_jobs_unless_told_otherwise() -> None:
    assert World(seed=7, rules={}, playbook=book(HAPPY)).limits == Limits(jobs=1_000_000)


# ---- time -----------------------------------------------------------------------------------------------------------


BACKWARDS: dict[str, Callable[[World, int], object]] = {
    "advance": lambda world, to_ms: world.advance(to_ms),
    "advance and tell": lambda world, to_ms: world.advance_and_tell(to_ms),
    "move the clock": lambda world, to_ms: world.apply(MoveClock(to_ms)),
    "another command": lambda world, to_ms: world.apply(Cancel(API, "job-1"), at_ms=to_ms),
}


@pytest.mark.parametrize("way", BACKWARDS)
def test_time_does_not_go_back(way: str) -> None:
    world = world_of(book(HAPPY))
    world.apply(submit(), at_ms=at(2_000))
    before = world.snapshot()
    with pytest.raises(TimeGoesBack) as refusal:
        BACKWARDS[way](world, at(1_999))
    assert (refusal.value.now_ms, refusal.value.wanted_ms) == (at(2_000), at(1_999))
    assert world.snapshot() == before


def test_time_may_stand_still() -> None:
    world = world_of(book(HAPPY))
    world.advance(START_MS)
    assert world.apply(MoveClock(START_MS)) is None
    assert world.now_ms == START_MS


def test_what_is_due_happens_before_a_command_at_the_same_instant() -> None:
    world = world_of(book(running(1_000), succeeded()))
    job = world.apply(submit())
    with pytest.raises(NotAllowed):
        world.apply(Cancel(API, job.id), at_ms=at(1_000))
    assert now(world, job).state is State.SUCCEEDED


def test_an_answer_shows_what_its_command_made_due_at_once() -> None:
    world = world_of(book(queued(0), running(0), succeeded()), NEW_JOB)
    assert world.apply(submit()).state is State.SUCCEEDED
    waiting = world_of(book(part_in(State.QUEUED)), NEW_JOB)
    waiting.apply(submit(timeout_ms=0))
    assert [job.state for job in waiting.apply(Claim(API))] == [State.FAILED]


def test_events_are_told_in_the_order_they_happened() -> None:
    world = world_of(
        book(queued(1_000, cause="x:1"), running(1_000, cause="x:2"), failed(cause="x:3")), NEW_JOB
    )
    world.apply(submit(retries=1, retry_delays_ms=(500,)))
    world.apply(submit(), at_ms=at(500))
    told = world.advance_and_tell(at(2_600))
    assert [(fired.at_ms - START_MS, fired.job_id, fired.state.value, fired.cause) for fired in told] == [
        (1_000, "job-1", "running", "x:2"),
        (1_500, "job-2", "running", "x:2"),
        (2_000, "job-1", "failed", "x:3"),
        (2_000, "job-3", "delayed", "retry of job-1"),
        (2_500, "job-2", "failed", "x:3"),
        (2_500, "job-3", "queued", "x:1"),
    ]
    assert {fired.api for fired in told} == {API}
    assert world.advance_and_tell(at(2_600)) == []


def test_events_due_at_the_same_instant_fire_in_the_order_they_were_scheduled() -> None:
    world = world_of(
        Book({"slow": part(running(2_000), succeeded()), "fast": part(running(1_000), succeeded())})
    )
    world.apply(submit(kind="slow"))
    world.apply(submit(kind="fast"), at_ms=at(1_000))
    assert [fired.job_id for fired in world.advance_and_tell(at(2_000))] == ["job-1", "job-2"]


def test_a_command_that_is_refused_at_a_later_time_lets_that_time_pass() -> None:
    journal = MemoryJournal()
    world = world_of(book(HAPPY), journal=journal)
    with pytest.raises(UnknownJob):
        world.apply(Cancel(API, "nobody"), at_ms=at(5_000))
    assert (world.now_ms, len(journal)) == (at(5_000), 0)


@pytest.mark.parametrize(
    ("part_", "due_ms"),
    [
        (HAPPY, 1_000),
        (part(running(500), succeeded()), 500),
        (part(queued(HOLD), succeeded()), None),
        (part(queued(FOREVER)), None),
        (part(succeeded()), None),
    ],
)
def test_a_world_knows_when_its_next_event_is_due(part_: Part, due_ms: int | None) -> None:
    world = world_of(book(part_))
    assert world.next_due_ms is None
    world.apply(submit())
    assert world.next_due_ms == (None if due_ms is None else at(due_ms))


def test_an_event_that_will_not_come_is_not_next() -> None:
    world = world_of(book(HAPPY))
    first = world.apply(submit())
    world.apply(submit(), at_ms=at(300))
    world.apply(Cancel(API, first.id))
    assert world.next_due_ms == at(1_300)


def test_going_from_event_to_event_ends_where_nothing_more_is_due() -> None:
    world = world_of(book(HAPPY))
    for moment in (0, 300):
        world.apply(submit(), at_ms=at(moment))
    stops = []
    while (due_ms := world.next_due_ms) is not None:
        world.advance(due_ms)
        stops.append(due_ms - START_MS)
    assert stops == [1_000, 1_300, 4_000, 4_300]


# ---- lists ----------------------------------------------------------------------------------------------------------


def test_lists_show_jobs_as_they_are_now() -> None:
    world = world_of(book(HAPPY))
    for number in range(6):
        world.apply(submit(labels=(("half", "odd" if number % 2 else "even"),)), at_ms=at(number * 600))
    running_ = [job.number for job in world.jobs(API, states=[State.RUNNING], newest_first=True, limit=2)]
    assert running_ == [4, 3]
    assert [job.number for job in world.jobs(API, labels=[[("half", "odd")]], offset=1)] == [4, 6]
    assert world.count(API, states=[State.QUEUED], labels=[[("half", "odd")]]) == 1
    latest_first = world.jobs_sorted_by(
        API, "since", lambda job: job.since_ms, offset=0, limit=3, descending=True
    )
    assert [job.number for job in latest_first] == [6, 4, 5]
    world.advance(at(60_000))
    assert world.count(API, states=[State.SUCCEEDED]) == 6


# ---- the journal ----------------------------------------------------------------------------------------------------


def test_the_journal_holds_what_was_done_and_not_what_was_refused() -> None:
    journal = MemoryJournal()
    world = world_of(book(running(1_000), succeeded()), journal=journal)
    first = submit()
    job = world.apply(first)
    world.apply(MoveClock(at(1_000)))
    for refused in (Cancel(API, job.id), Cancel(API, "nobody"), MoveClock(at(0))):
        with pytest.raises((NotAllowed, UnknownJob, TimeGoesBack)):
            world.apply(refused)
    world.apply(Remove(API, job.id), at_ms=at(2_000))
    assert [tuple(entry) for entry in journal] == [
        (0, START_MS, first),
        (1, at(1_000), MoveClock(at(1_000))),
        (2, at(2_000), Remove(API, job.id)),
    ]


def test_a_replayed_journal_makes_the_same_world() -> None:
    journal, copy = MemoryJournal(), MemoryJournal()
    scenario = book(queued(1_000), running((1_000, 5_000)), failed(), workers=1)
    rules = plain(retry_by=RetryBy.NEW_JOB)
    world = world_of(scenario, rules, journal=journal)
    for number in range(5):
        world.apply(submit(retries=2, priority=number), at_ms=at(number * 700))
    world.apply(SetScenario(book(HAPPY, workers=2)))
    world.apply(Cancel(API, "job-2"))
    world.advance_and_tell(at(9_000))
    again = World.replay(
        journal, seed=7, rules={API: rules}, playbook=scenario, limits=Limits(1_000), journal=copy
    )
    assert again.snapshot() == world.snapshot()
    assert list(copy) == list(journal)


def test_a_world_without_a_journal_keeps_none() -> None:
    world = world_of(book(HAPPY))
    assert world.apply(submit()).number == 1
