"""A world: how jobs come to be and play their scripts, what limits them, and what time does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.engine.command import (
    Amend,
    Cancel,
    Claim,
    Command,
    Finish,
    Keep,
    MoveClock,
    Release,
    Remark,
    Remove,
    Retry,
    SetScenario,
    Submit,
    Touch,
)
from simulator.engine.errors import LimitReached, NotAllowed, TimeGoesBack, UnknownJob
from simulator.engine.job import ACTIVE, FINAL, Failure, Job, State
from simulator.engine.rules import RetryBy, Rules
from simulator.engine.script import CancelAfter, Part, Span, Step
from simulator.engine.world import START_MS, Limits, World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import (
    ANYTHING,
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
    states,
    step,
    story,
    submit,
    succeeded,
    world_of,
)

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


# ---- remarks, watchers, and what is kept ------------------------------------------------------------------------


def test_a_remark_is_a_line_of_the_history_and_nothing_else() -> None:
    world = world_of(book(HAPPY))
    job = world.apply(submit())
    world.apply(Remark(API, job.id, "the caller was told"), at_ms=at(500))
    remarked = now(world, job)
    assert [(move.at_ms, move.cause) for move in remarked.history][-1] == (at(500), "the caller was told")
    assert remarked.altered(moves=job.moves) == job
    world.advance(at(60_000))
    assert now(world, job).state is State.SUCCEEDED


def test_a_remark_needs_a_job() -> None:
    with pytest.raises(UnknownJob):
        world_of(book(HAPPY)).apply(Remark(API, "nobody", "hello"))


def test_of_watched_jobs_each_move_is_told_once_and_in_order() -> None:
    world = world_of(book(queued(1_000), running(2_000, progress=(0, 50)), running(500), succeeded()))
    watched = world.apply(submit(watched=True))
    world.apply(submit())
    world.apply(Remark(API, watched.id, "no move"))
    world.advance(at(60_000))
    assert [(job.id, job.state.value, job.since_ms - START_MS) for job in world.told] == [
        (watched.id, "queued", 0),
        (watched.id, "running", 1_000),
        (watched.id, "succeeded", 3_500),
    ]


def test_what_is_kept_can_be_read_replaced_and_forgotten() -> None:
    world = world_of(book(HAPPY))
    for key, value in (("task/b", 1), ("task/a", 2), ("token/x", 3), ("task/b", 4)):
        world.apply(Keep(API, key, value))
    assert [world.kept(API, key) for key in ("task/b", "task/a", "token/x", "none")] == [4, 2, 3, None]
    assert world.kept_keys(API, "task/") == ["task/b", "task/a"]
    world.apply(Keep(API, "task/b", None))
    world.apply(Keep(API, "never there", None))
    assert world.kept_keys(API) == ["task/a", "token/x"]


def test_only_so_much_is_kept_and_forgetting_makes_room() -> None:
    world = world_of(book(HAPPY), kept=2)
    world.apply(Keep(API, "one", 1))
    world.apply(Keep(API, "two", 2))
    with pytest.raises(LimitReached, match="--max-kept"):
        world.apply(Keep(API, "three", 3))
    world.apply(Keep(API, "two", "replaced"))
    world.apply(Keep(API, "one", None))
    world.apply(Keep(API, "three", 3))
    assert world.kept_keys(API) == ["two", "three"]
