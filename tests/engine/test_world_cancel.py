"""What a cancel does: by the rules of the service, and by the scenario."""

from __future__ import annotations

import pytest

from simulator.engine.command import (
    Cancel,
    Claim,
    Conclude,
    Finish,
    Touch,
)
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import ACTIVE, ALLOWED, FINAL, State
from simulator.engine.script import CancelAfter, CancelEffect, CancelTooLate, Span, Step
from simulator.engine.world import START_MS, World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import (
    API,
    DISMISSING,
    FLAGGING,
    NEW_JOB,
    OUT_OF_MEMORY,
    SAME_JOB,
    at,
    book,
    busy,
    cancelled,
    cancelling,
    failed,
    now,
    part,
    part_in,
    plain,
    queued,
    running,
    step,
    story,
    submit,
    succeeded,
    world_of,
)


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


@pytest.mark.parametrize("state", [state for state in State if state in ACTIVE - {State.CANCELLING}])
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


# ---- accepted, and yet ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "then",
    [
        succeeded(result="all of it", cause="here", log="done"),
        failed(failure=OUT_OF_MEMORY, cause="here"),
        cancelled(message="As you wish", cause="here"),
    ],
)
def test_a_slow_cancel_may_end_otherwise(then: Step) -> None:
    on_cancel = CancelAfter(Span(2_000, 2_000), then)
    for rules in (None, SAME_JOB, FLAGGING):
        world = world_of(book(part(running(9_000), succeeded(), on_cancel=on_cancel)), rules)
        job = world.apply(submit(retries=3))
        assert world.apply(Cancel(API, job.id), at_ms=at(1_000)).state is State.CANCELLING
        world.advance(at(60_000))
        job = now(world, job)
        assert story(job) == [("running", 0), ("cancelling", 1_000), (then.state.value, 3_000)]
        assert (job.result, job.cancel_requested) == (then.result, True)
        assert list(job.history)[-1].cause == "here"


# ---- too late -------------------------------------------------------------------------------------------------------


def faster(*end: Step) -> World:
    """A world whose jobs are faster than any cancel."""
    return world_of(book(part(queued(1_000), running(9_000), *end, on_cancel=CancelTooLate())), NEW_JOB)


@pytest.mark.parametrize("moment", [0, 5_000])
@pytest.mark.parametrize("end", [succeeded(result=1), failed(failure=OUT_OF_MEMORY), cancelled()])
def test_a_cancel_that_comes_too_late_meets_a_finished_job(moment: int, end: Step) -> None:
    world = faster(end)
    job = world.apply(submit())
    world.advance(at(moment))
    with pytest.raises(NotAllowed) as refusal:
        world.apply(Cancel(API, job.id))
    job = now(world, job)
    assert refusal.value.job == job
    assert (job.state, job.finished_ms, job.result) == (end.state, at(moment), end.result)
    assert not job.cancel_requested
    with pytest.raises(NotAllowed):
        world.apply(Cancel(API, job.id))


def test_too_late_is_answered_as_the_service_answers_for_finished_jobs() -> None:
    race = book(part(running(9_000), failed(), on_cancel=CancelTooLate()))
    gone = world_of(race, DISMISSING)
    assert gone.apply(Cancel(API, gone.apply(submit()).id)).state is State.FAILED
    assert gone.jobs(API) == []
    flagged = world_of(race, FLAGGING)
    answer = flagged.apply(Cancel(API, flagged.apply(submit()).id))
    assert (answer.state, answer.cancel_requested) == (State.FAILED, True)
    again = world_of(race, SAME_JOB)
    assert story(again.apply(Cancel(API, again.apply(submit(retries=2)).id))) == [
        ("running", 0),
        ("failed", 0),
        ("cancelled", 0),
    ]


def test_a_refused_cancel_that_came_too_late_is_replayed_as_the_end_of_the_job() -> None:
    journal = MemoryJournal()
    scenario = book(part(running(9_000), succeeded(), on_cancel=CancelTooLate()))
    world = world_of(scenario, journal=journal)
    job = world.apply(submit())
    with pytest.raises(NotAllowed):
        world.apply(Cancel(API, job.id), at_ms=at(500))
    assert [entry.command for entry in journal][1:] == [Conclude(API, job.id)]
    again = World.replay(journal, seed=world.seed, rules={API: plain()}, playbook=scenario)
    assert again.snapshot() == world.snapshot()


def test_a_finished_job_cannot_be_concluded_and_a_worker_is_freed_by_it() -> None:
    world = world_of(book(running(9_000), succeeded(), workers=1))
    first, second = world.apply(submit()), world.apply(submit())
    assert world.apply(Conclude(API, first.id)).state is State.SUCCEEDED
    assert now(world, second).state is State.RUNNING
    with pytest.raises(NotAllowed, match="conclude"):
        world.apply(Conclude(API, first.id))
    with pytest.raises(UnknownJob):
        world.apply(Conclude(API, "nobody"))
