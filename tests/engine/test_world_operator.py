"""A person at the controls of one job: hold it, release it, step through its script, force it."""

from __future__ import annotations

import pytest

from simulator.engine.command import (
    Cancel,
    Claim,
    Command,
    Finish,
    Force,
    Hold,
    Poll,
    Release,
    Remark,
    StepOn,
    Submit,
)
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import ALLOWED, Failure, Job, State
from simulator.engine.rules import Rules
from simulator.engine.script import CancelAfter, Polls, Span
from simulator.engine.view import View
from simulator.engine.world import World
from tests.engine.parts import (
    API,
    FOREVER,
    HAPPY,
    HOLD,
    NEW_JOB,
    OUT_OF_MEMORY,
    SAME_JOB,
    Book,
    at,
    book,
    busy,
    cancelling,
    delayed,
    failed,
    now,
    part,
    plain,
    queued,
    retrying,
    running,
    states,
    story,
    submit,
    succeeded,
    world_of,
)

WORK = book(queued(1_000), running(10_000, progress=(0, 100)), succeeded())


def begun(scenario: Book, after_ms: int = 0, rules: Rules | None = None, **more: object) -> tuple[World, Job]:
    """A world with one job, so long after its submit."""
    world = world_of(scenario, rules)
    job = world.apply(submit(**more))
    world.advance(at(after_ms))
    return world, job


def percent(world: World, job: Job) -> int | None:
    return now(world, job).progress_percent(world.now_ms)


# ---- hold and release -----------------------------------------------------------------------------------------------


def test_a_job_that_is_held_stands_still_and_goes_on_with_the_time_that_was_left() -> None:
    world, job = begun(WORK, 4_000)
    held = world.apply(Hold(API, job.id))
    assert world.is_held(held)
    world.advance(at(3_600_000))
    assert now(world, job).state is State.RUNNING
    assert world.next_due_ms is None
    world.apply(Release(API, job.id))
    assert world.next_due_ms == at(3_607_000)
    world.advance(at(3_700_000))
    assert story(now(world, job)) == [("queued", 0), ("running", 1_000), ("succeeded", 3_607_000)]


def test_progress_stands_still_while_a_job_is_held_and_goes_on_from_there() -> None:
    world, job = begun(WORK, 4_000)
    world.apply(Hold(API, job.id))
    seen = []
    for after_ms in (4_000, 9_000, 60_000):
        world.advance(at(after_ms))
        seen.append((percent(world, job), now(world, job).changed_ms(world.now_ms)))
    assert seen == [(30, at(4_000))] * 3
    world.apply(Release(API, job.id))
    assert percent(world, job) == 30
    world.advance(at(61_000))
    assert percent(world, job) == 40
    world.advance(at(66_999))
    assert percent(world, job) == 99


def test_a_job_may_be_held_many_times_and_loses_nothing_of_its_time() -> None:
    world, job = begun(WORK, 1_000)
    for _ in range(10):
        world.advance(world.now_ms + 900)
        world.apply(Hold(API, job.id))
        world.advance(world.now_ms + 12_345)
        world.apply(Release(API, job.id))
    assert percent(world, job) == 90
    world.advance(world.now_ms + 999)
    assert now(world, job).state is State.RUNNING
    world.advance(world.now_ms + 1)
    assert now(world, job).state is State.SUCCEEDED


def test_to_hold_what_is_held_changes_nothing() -> None:
    world, job = begun(WORK, 4_000)
    held = world.apply(Hold(API, job.id))
    world.advance(at(5_000))
    assert world.apply(Hold(API, job.id)) == held


def test_a_delay_is_held_like_any_step() -> None:
    world, job = begun(book(running(1_000), succeeded()), 300, delay_ms=1_000)
    world.apply(Hold(API, job.id))
    world.advance(at(10_000))
    world.apply(Release(API, job.id))
    world.advance(at(20_000))
    assert story(now(world, job)) == [("delayed", 0), ("running", 10_700), ("succeeded", 11_700)]


def test_cancelling_is_held_like_any_step() -> None:
    slow = part(running(9_000), succeeded(), on_cancel=CancelAfter(Span(2_000, 2_000)))
    world, job = begun(book(slow), 1_000)
    world.apply(Cancel(API, job.id))
    world.apply(Hold(API, job.id), at_ms=at(1_500))
    world.apply(Release(API, job.id), at_ms=at(60_000))
    world.advance(at(90_000))
    assert story(now(world, job))[1:] == [("cancelling", 1_000), ("cancelled", 61_500)]


def test_status_calls_do_not_count_while_a_job_is_held() -> None:
    world, job = begun(book(running(Polls(2, 2)), succeeded()))
    world.apply(Poll(API, job.id))
    world.apply(Hold(API, job.id))
    for _ in range(5):
        assert world.apply(Poll(API, job.id)).state is State.RUNNING
    world.apply(Release(API, job.id))
    assert now(world, job).state is State.RUNNING
    assert world.apply(Poll(API, job.id)).state is State.SUCCEEDED


def test_a_hold_by_a_person_and_one_of_the_script_end_with_one_release() -> None:
    world, job = begun(book(queued(HOLD), running(FOREVER)))
    world.apply(Hold(API, job.id))
    assert world.apply(Release(API, job.id)).state is State.RUNNING


def test_a_job_without_an_end_may_be_held_and_is_then_as_before() -> None:
    world, job = begun(book(running(FOREVER)), 1_000)
    before = now(world, job)
    world.apply(Hold(API, job.id))
    assert world.apply(Release(API, job.id)) == before
    assert not world.is_held(before)


def test_who_is_held_in_the_line_lets_others_go_first_and_keeps_its_place() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    jobs = [world.apply(submit()) for _ in range(4)]
    world.apply(Hold(API, jobs[1].id))
    world.advance(at(1_000))
    assert states(world, jobs) == ["succeeded", "queued", "running", "queued"]
    world.apply(Release(API, jobs[1].id))
    assert states(world, jobs) == ["succeeded", "queued", "running", "queued"]
    world.advance(at(2_000))
    assert states(world, jobs) == ["succeeded", "running", "succeeded", "queued"]


def test_who_is_released_into_a_line_with_a_free_worker_runs_at_once() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    jobs = [world.apply(submit()) for _ in range(2)]
    world.apply(Hold(API, jobs[1].id))
    world.advance(at(5_000))
    assert (states(world, jobs), busy(world)) == (["succeeded", "queued"], 0)
    assert world.apply(Release(API, jobs[1].id)).state is State.RUNNING


def test_a_running_job_keeps_its_worker_while_it_is_held() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    jobs = [world.apply(submit()) for _ in range(2)]
    world.apply(Hold(API, jobs[0].id))
    world.advance(at(60_000))
    assert (states(world, jobs), busy(world)) == (["running", "queued"], 1)


def test_a_held_job_is_not_handed_to_an_external_worker() -> None:
    world = world_of(book(queued(FOREVER)), NEW_JOB)
    jobs = [world.apply(submit()) for _ in range(2)]
    world.apply(Hold(API, jobs[0].id))
    assert [job.id for job in world.apply(Claim(API, 5))] == [jobs[1].id]
    world.apply(Release(API, jobs[0].id))
    assert [job.id for job in world.apply(Claim(API, 5))] == [jobs[0].id]


ENDING_A_HOLD: dict[str, tuple[Command[Job], State]] = {
    "cancelled": (Cancel(API, "job-1"), State.CANCELLED),
    "finished by its worker": (Finish(API, "job-1"), State.SUCCEEDED),
    "forced to its end": (Force(API, "job-1", State.FAILED), State.FAILED),
}


@pytest.mark.parametrize("way", ENDING_A_HOLD)
def test_a_hold_ends_with_the_next_move_of_the_job(way: str) -> None:
    command, state = ENDING_A_HOLD[way]
    world, job = begun(WORK, 4_000)
    world.apply(Hold(API, job.id))
    after = world.apply(command)
    assert (after.state, after.held, after.progress_percent(world.now_ms)) == (
        state,
        None,
        100 if state is State.SUCCEEDED else 30,
    )
    with pytest.raises(NotAllowed):
        world.apply(Release(API, job.id))


@pytest.mark.parametrize(
    ("scenario", "rules", "commands"),
    [(book(succeeded()), plain(), []), (book(queued(FOREVER)), NEW_JOB, [Claim(API)])],
    ids=["finished", "an external worker has it"],
)
def test_what_no_script_moves_cannot_be_held(
    scenario: Book, rules: Rules, commands: list[Command[object]]
) -> None:
    world, job = begun(scenario, 0, rules)
    for command in commands:
        world.apply(command)
    before = world.snapshot()
    with pytest.raises(NotAllowed) as refusal:
        world.apply(Hold(API, job.id))
    assert refusal.value.wanted == "hold"
    assert world.snapshot() == before


# ---- step -----------------------------------------------------------------------------------------------------------


def test_a_step_ends_now_when_it_is_told_to() -> None:
    world, job = begun(WORK, 400)
    assert world.apply(StepOn(API, job.id)).state is State.RUNNING
    world.advance(at(2_400))
    assert percent(world, job) == 20
    assert world.apply(StepOn(API, job.id)).state is State.SUCCEEDED
    assert story(now(world, job)) == [("queued", 0), ("running", 400), ("succeeded", 2_400)]


def test_a_held_job_stays_held_from_step_to_step_and_then_has_the_whole_time_of_its_step() -> None:
    world, job = begun(WORK, 400)
    world.apply(Hold(API, job.id))
    assert world.apply(StepOn(API, job.id)).state is State.RUNNING
    world.advance(at(60_000))
    assert percent(world, job) == 0
    world.apply(Release(API, job.id))
    world.advance(at(70_000))
    assert story(now(world, job)) == [("queued", 0), ("running", 400), ("succeeded", 70_000)]


@pytest.mark.parametrize("lasts", [FOREVER, HOLD, Polls(9, 9), 0, 60_000], ids=str)
def test_a_step_is_ended_however_it_lasts(lasts: object) -> None:
    world, job = begun(book(queued(FOREVER), running(lasts), failed()))  # type: ignore[arg-type]
    world.apply(Hold(API, job.id))
    assert world.apply(StepOn(API, job.id)).state is State.RUNNING
    ended = world.apply(StepOn(API, job.id))
    assert (ended.state, ended.held) == (State.FAILED, None)


def test_the_time_of_a_delay_or_of_a_cancel_is_ended_too() -> None:
    slow = part(running(9_000), succeeded(), on_cancel=CancelAfter(Span(2_000, 2_000)))
    world, job = begun(book(slow), delay_ms=60_000)
    assert world.apply(StepOn(API, job.id)).state is State.RUNNING
    assert world.apply(Cancel(API, job.id)).state is State.CANCELLING
    assert world.apply(StepOn(API, job.id)).state is State.CANCELLED


def test_a_step_leads_into_the_next_attempt() -> None:
    world, job = begun(book(running(1_000), failed()), 0, SAME_JOB, retries=1, retry_delays_ms=(60_000,))
    steps = [world.apply(StepOn(API, job.id)).state.value for _ in range(3)]
    assert steps == ["retrying", "running", "failed"]


NO_STEP: dict[str, tuple[Book, Rules, list[Command[object]]]] = {
    "finished": (book(succeeded()), plain(), []),
    "an external worker has it": (book(queued(FOREVER)), NEW_JOB, [Claim(API)]),
    "it waits for a worker": (book(running(1_000), workers=0), plain(), []),
    "its script is at its end": (book(running(HOLD)), plain(), [Release(API, "job-1")]),
}


@pytest.mark.parametrize("situation", NO_STEP)
def test_what_no_step_of_a_script_holds_cannot_be_stepped(situation: str) -> None:
    scenario, rules, commands = NO_STEP[situation]
    world, job = begun(scenario, 0, rules)
    for command in commands:
        world.apply(command)
    before = world.snapshot()
    with pytest.raises(NotAllowed) as refusal:
        world.apply(StepOn(API, job.id))
    assert refusal.value.wanted == "step"
    assert world.snapshot() == before


# ---- force ----------------------------------------------------------------------------------------------------------


def in_state(state: State) -> tuple[World, Job]:
    """A world and a job that has come to this state."""
    steps = {
        State.DELAYED: [delayed(FOREVER)],
        State.RETRYING: [running(0), retrying(FOREVER)],
        State.CANCELLING: [running(0), cancelling(FOREVER)],
        State.SUCCEEDED: [succeeded()],
        State.FAILED: [failed()],
        State.CANCELLED: [running(FOREVER)],
    }.get(state, [queued(FOREVER)] if state is State.QUEUED else [running(FOREVER)])
    world, job = begun(book(*steps))
    if state is State.CANCELLED:
        world.apply(Cancel(API, job.id))
    assert now(world, job).state is state
    return world, now(world, job)


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("wanted", State)
def test_a_job_is_forced_where_the_table_of_moves_allows_it_and_nowhere_else(
    state: State, wanted: State
) -> None:
    world, job = in_state(state)
    if wanted in ALLOWED[state]:
        after = world.apply(Force(API, job.id, wanted))
        assert [*after.history][-1] == (wanted, world.now_ms, "operator")
        assert world.is_held(after) is not wanted.is_final
    elif wanted is state and not state.is_final:
        assert world.apply(Force(API, job.id, wanted)) == now(world, job)
        assert now(world, job).moves == job.moves
    else:
        before = world.snapshot()
        with pytest.raises(NotAllowed) as refusal:
            world.apply(Force(API, job.id, wanted))
        assert refusal.value.wanted == wanted.value
        assert world.snapshot() == before


def test_a_forced_success_brings_its_result_and_a_forced_failure_its_reason() -> None:
    world, job = begun(WORK, 4_000)
    assert world.apply(Force(API, job.id, State.SUCCEEDED, result={"x": 1})).result == {"x": 1}
    world, job = begun(WORK, 4_000)
    after = world.apply(Force(API, job.id, State.FAILED, failure=OUT_OF_MEMORY, progress=77))
    assert after.failure is not None
    assert (after.failure.code, after.failure.at_ms) == ("out_of_memory", at(4_000))
    assert (after.progress_percent(world.now_ms), after.finished_ms) == (77, at(4_000))


def test_a_forced_failure_is_not_tried_again_by_the_same_job() -> None:
    world, job = begun(WORK, 4_000, SAME_JOB, retries=3)
    assert world.apply(Force(API, job.id, State.FAILED)).state is State.FAILED


def test_a_forced_failure_is_tried_again_by_a_new_job_where_the_service_does_so() -> None:
    world, job = begun(WORK, 4_000, NEW_JOB, retries=1)
    world.apply(Force(API, job.id, State.FAILED))
    assert [again.submit.retry_of for again in world.jobs(API)] == [None, job.id]


def test_a_job_that_is_forced_stays_there_until_it_is_released_and_then_goes_on_with_its_script() -> None:
    world, job = begun(WORK, 400)
    assert world.apply(Force(API, job.id, State.RUNNING)).state is State.RUNNING
    world.advance(at(60_000))
    assert now(world, job).state is State.RUNNING
    world.apply(Release(API, job.id))
    world.advance(at(90_000))
    assert story(now(world, job)) == [("queued", 0), ("running", 400), ("succeeded", 70_000)]


def test_a_job_that_is_forced_back_runs_again_when_it_is_released() -> None:
    world, job = begun(WORK, 4_000)
    for back in (State.QUEUED, State.RUNNING, State.RETRYING):
        world.apply(Force(API, job.id, back))
    assert now(world, job).attempt == 2
    world.apply(Release(API, job.id))
    world.advance(at(14_000))
    assert [state for state, _ in story(now(world, job))][-2:] == ["running", "succeeded"]
    assert now(world, job).finished_ms == at(14_000)


def test_a_failed_job_that_is_forced_back_begins_anew() -> None:
    world, job = begun(book(queued(100), running(100), failed(log="lost")), 60_000)
    again = world.apply(Force(API, job.id, State.QUEUED))
    assert (again.finished_ms, again.log, again.attempt) == (None, None, 2)
    world.apply(Release(API, job.id))
    world.advance(at(70_000))
    assert story(now(world, job))[-3:] == [("queued", 60_000), ("running", 60_100), ("failed", 60_200)]


def test_what_is_forced_into_the_queue_is_not_handed_to_an_external_worker_before_it_is_released() -> None:
    world, job = begun(book(queued(FOREVER)), 0, NEW_JOB)
    world.apply(Claim(API))
    world.apply(Force(API, job.id, State.QUEUED))
    assert world.apply(Claim(API)) == ()
    world.apply(Release(API, job.id))
    assert [claimed.id for claimed in world.apply(Claim(API))] == [job.id]


def test_a_hold_is_seen_through_a_view_as_well() -> None:
    world, job = begun(WORK, 4_000)
    view = View(world)
    assert not view.is_held(view.job(API, job.id))
    assert view.is_held(view.apply(Hold(API, job.id)))


def test_what_is_forced_to_cancel_is_cancelled_when_it_is_released() -> None:
    world, job = begun(WORK, 4_000)
    world.apply(Force(API, job.id, State.CANCELLING))
    after = world.apply(Release(API, job.id))
    assert [(move.state.value, move.cause) for move in after.history][-2:] == [
        ("cancelling", "operator"),
        ("cancelled", "operator"),
    ]


def test_what_is_forced_to_retry_remembers_why() -> None:
    world, job = begun(WORK, 4_000, SAME_JOB, retries=2)
    after = world.apply(Force(API, job.id, State.RETRYING, failure=Failure("Out of luck")))
    assert [failure.message for failure in after.failures] == ["Out of luck"]
    assert (after.executions, after.retries_left, after.has_worker) == (1, 1, False)
    assert (after.until_ms, world.next_due_ms) == (None, None)


def test_progress_that_is_forced_goes_on_from_there_to_the_end_of_its_step_in_the_time_that_is_left() -> None:
    world, job = begun(WORK, 6_000)
    world.apply(Hold(API, job.id), at_ms=at(6_000))
    world.apply(Force(API, job.id, State.RUNNING, progress=90), at_ms=at(9_000))
    world.advance(at(20_000))
    assert percent(world, job) == 90
    world.apply(Release(API, job.id))
    world.advance(at(22_500))
    assert percent(world, job) == 95
    world.advance(at(25_000))
    assert story(now(world, job))[-1] == ("succeeded", 25_000)


def test_progress_may_be_forced_back_and_beyond_what_its_step_says() -> None:
    world, job = begun(book(running(10_000, progress=(50, 60)), succeeded()), 5_000)
    for wanted, half_way in ((20, 40), (80, 80)):
        world.apply(Force(API, job.id, State.RUNNING, progress=wanted))
        assert percent(world, job) == wanted
        world.apply(Release(API, job.id))
        world.advance(world.now_ms + (now(world, job).until_ms or 0) // 2 - world.now_ms // 2)
        assert percent(world, job) == half_way


def test_a_poll_does_not_take_forced_progress_back() -> None:
    world, job = begun(book(running(Polls(4, 4), progress=(0, 100)), succeeded()))
    world.apply(Force(API, job.id, State.RUNNING, progress=60))
    world.apply(Release(API, job.id))
    seen = [world.apply(Poll(API, job.id)).progress_percent(world.now_ms) for _ in range(3)]
    assert seen == [60, 60, 75]


def test_the_progress_of_a_job_that_an_external_worker_has_can_be_forced_and_it_keeps_the_job() -> None:
    world, job = begun(book(queued(FOREVER)), 0, NEW_JOB)
    world.apply(Claim(API))
    after = world.apply(Force(API, job.id, State.RUNNING, progress=40))
    assert (after.claimed, after.held, after.progress_percent(world.now_ms)) == (True, None, 40)


def test_a_worker_is_found_for_what_is_forced_to_run_and_given_back_afterwards() -> None:
    world = world_of(book(running(1_000), succeeded(), workers=1))
    jobs = [world.apply(submit()) for _ in range(3)]
    world.apply(Force(API, jobs[2].id, State.RUNNING))
    assert (states(world, jobs), busy(world)) == (["running", "queued", "running"], 2)
    world.apply(Force(API, jobs[2].id, State.QUEUED))
    assert (states(world, jobs), busy(world)) == (["running", "queued", "queued"], 1)
    world.advance(at(1_000))
    assert (states(world, jobs), busy(world)) == (["succeeded", "running", "queued"], 1)


@pytest.mark.parametrize(
    "command",
    [Hold(API, "job-9"), StepOn(API, "job-9"), Force(API, "job-9", State.FAILED)],
    ids=lambda command: type(command).__name__,
)
def test_a_job_that_is_not_there_is_unknown_to_a_person_too(command: Command[Job]) -> None:
    world, _ = begun(book(HAPPY))
    with pytest.raises(UnknownJob):
        world.apply(command)


def test_a_submit_knows_nothing_of_holds() -> None:
    world = world_of(WORK)
    first = world.apply(Submit(API, "work"))
    world.apply(Hold(API, first.id))
    assert world.apply(Submit(API, "work")).held is None


def test_who_listens_is_told_each_line_of_a_history_and_what_a_person_does_at_its_time() -> None:
    world = world_of(WORK)
    told: list[tuple[int, str, str, bool]] = []

    def on_move(job: Job, cause: str) -> None:
        told.append((world.now_ms - world.start_ms, job.state.value, cause, world.is_held(job)))

    world.on_move = on_move
    job = world.apply(Submit(API, "work"))
    world.advance(at(1_500))
    for command in (Hold(API, job.id), Hold(API, job.id), Release(API, job.id)):
        world.apply(command)
    world.apply(Remark(API, job.id, "somebody was told"))
    world.advance(at(60_000))
    lines = [(time, state, cause) for time, state, cause, _ in told]
    history = [(one.at_ms - world.start_ms, one.state.value, one.cause) for one in now(world, job).history]
    assert [line for line in lines if line[2] != "operator"] == history
    assert [line for line in told if line[2] == "operator"] == [
        (1_500, "running", "operator", True),
        (1_500, "running", "operator", False),
    ]
    assert lines == sorted(lines, key=lambda line: line[0])
