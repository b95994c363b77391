"""Who works on what: external workers that claim jobs, and the simulated ones of a crew."""

from __future__ import annotations

import pytest

from simulator.engine.command import (
    Cancel,
    Claim,
    Command,
    Finish,
    Remove,
    Retry,
    SetScenario,
    Submit,
    Touch,
)
from simulator.engine.errors import NotAllowed
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import Line, Rules
from simulator.engine.script import CancelAfter, CancelEffect, Span, Step
from simulator.engine.world import Fired, World
from tests.engine.parts import (
    ANYTHING,
    API,
    HAPPY,
    NEW_JOB,
    OUT_OF_MEMORY,
    SAME_JOB,
    Book,
    at,
    at_work,
    book,
    busy,
    failed,
    now,
    part,
    part_in,
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
        world.advance(world.now_ms + 50)
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
