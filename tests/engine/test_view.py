"""A world as one call is shown it: as it was, in part, with submits done twice or by another scenario."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.command import Cancel, Submit
from simulator.engine.errors import LimitReached, UnknownJob
from simulator.engine.job import Job, State
from simulator.engine.script import CancelAfter, Span, Step
from simulator.engine.view import View, as_it_was
from simulator.engine.world import START_MS, World
from tests.engine.parts import (
    API,
    DISMISSING,
    FOREVER,
    HAPPY,
    at,
    book,
    failed,
    part,
    queued,
    running,
    step,
    story,
    submit,
    succeeded,
    world_of,
)


def seen_of(job: Job, at_ms: int) -> tuple[object, ...]:
    """What clients are told of a job."""
    return (
        job.state,
        job.since_ms,
        job.progress_percent(at_ms),
        job.changed_ms(at_ms),
        job.message,
        job.started_ms,
        job.finished_ms,
        job.result,
        job.failure,
        job.attempt,
        story(job),
    )


def steps_of() -> st.SearchStrategy[list[Step]]:
    lasts = st.one_of(
        st.integers(0, 50).map(lambda it: it * 100),
        st.tuples(st.integers(0, 20), st.integers(20, 40)).map(lambda it: (it[0] * 100, it[1] * 100)),
    )
    timed = st.builds(
        lambda state, lasts, progress, message: step(state, lasts, progress=progress, message=message),
        st.sampled_from([State.QUEUED, State.RUNNING]),
        lasts,
        st.sampled_from([None, (0, 60), (60, 60), (60, 100)]),
        st.sampled_from([None, "Copying", "Counting"]),
    )
    ends = st.sampled_from([[], [succeeded(result=1)], [failed()], [step(State.RUNNING, FOREVER)]])
    return st.tuples(st.lists(timed, min_size=1, max_size=5), ends).map(lambda it: [*it[0], *it[1]])


@settings(max_examples=300, deadline=None)
@given(steps_of(), st.booleans(), st.integers(0, 200), st.integers(0, 200))
def test_a_job_as_it_was_is_the_job_of_a_world_that_stopped_then(
    steps: list[Step], is_on_one_line: bool, then: int, later: int
) -> None:
    placed = [replace(one, cause=f"x:{0 if is_on_one_line else place}") for place, one in enumerate(steps)]
    scenario = book(part(*placed))
    stopped, gone_on = world_of(scenario), world_of(scenario)
    for world in (stopped, gone_on):
        world.apply(submit())
    stopped.advance(at(then * 100))
    gone_on.advance(at((then + later) * 100))
    [old], [new] = stopped.jobs(API), gone_on.jobs(API)
    was = as_it_was(new, at(then * 100), gone_on.seed)
    assert was is not None
    assert seen_of(was, at(then * 100)) == seen_of(old, at(then * 100))


def test_a_cancelled_job_was_running_before() -> None:
    happy = part(*HAPPY.script.steps, on_cancel=CancelAfter(Span(2_000, 2_000)))
    world = world_of(book(happy))
    job = world.apply(submit())
    world.apply(Cancel(API, job.id), at_ms=at(2_000))
    world.advance(at(9_000))
    now = world.job(API, job.id)
    seen = {seconds: as_it_was(now, at(seconds * 1_000), world.seed) for seconds in (0, 1, 2, 3, 4, 5)}
    assert [one and one.state.value for one in seen.values()] == [
        "queued",
        "running",
        "cancelling",
        "cancelling",
        "cancelled",
        "cancelled",
    ]
    assert [one and one.cancel_requested for one in seen.values()] == [False, False, True, True, True, True]


def test_before_it_was_made_a_job_was_not_there() -> None:
    world = world_of(book(HAPPY))
    world.advance(at(5_000))
    job = world.apply(submit())
    assert as_it_was(job, at(4_999), world.seed) is None
    view = View(world, ago_ms=1)
    with pytest.raises(UnknownJob):
        view.job(API, job.id)
    assert view.jobs(API) == []
    assert view.jobs_sorted_by(API, "age", lambda one: one.number, offset=0, limit=9) == []
    assert view.now_ms == at(4_999)


def test_a_view_of_the_past_follows_the_world_and_changes_it() -> None:
    world = world_of(book(HAPPY))
    job = world.apply(submit())
    view = View(world, ago_ms=1_000)
    view.advance(at(1_500))
    assert view.now_ms == at(500)
    assert view.job(API, job.id).state is State.QUEUED
    assert view.apply(Cancel(API, job.id)).state is State.QUEUED
    assert world.job(API, job.id).state is State.CANCELLED
    assert view.snapshot() == world.snapshot()
    assert view.next_due_ms == world.next_due_ms
    assert view.count(API) == 1


def test_a_job_that_is_not_shown_cannot_be_changed() -> None:
    world = world_of(book(running(FOREVER)), DISMISSING)
    job = world.apply(submit())
    view = View(world, shows=lambda one: False)
    with pytest.raises(UnknownJob):
        view.apply(Cancel(API, job.id))
    assert world.job(API, job.id).state is State.RUNNING


def test_a_doubled_submit_makes_two_jobs_or_none() -> None:
    world = world_of(book(HAPPY), jobs=3)
    view = View(world, doubles=True)
    assert view.apply(submit()).number == 2
    with pytest.raises(LimitReached):
        view.apply(submit())
    assert world.count(API) == 2


def test_a_job_can_follow_another_scenario_than_its_world() -> None:
    world = world_of(book(running(FOREVER)))
    other = book(queued(1_000), failed())
    job = View(world, playbook=other).apply(submit())
    assert world.apply(submit()).state is State.RUNNING
    world.advance(at(1_000))
    assert world.job(API, job.id).state is State.FAILED


def test_a_view_counts_what_is_beside_the_jobs_as_the_world_does() -> None:
    world = world_of(book(HAPPY))
    view = View(world, ago_ms=1_000)
    assert isinstance(view, World)
    assert (view.seed, view.start_ms, view.told) == (7, START_MS, [])
    assert view.kept(API, "nothing") is None
    assert Submit(API, "work").playbook is None
