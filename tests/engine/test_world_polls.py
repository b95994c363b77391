"""Steps that last so many status calls."""

from __future__ import annotations

import pytest

from simulator.engine.command import Cancel, Claim, Poll, Retry
from simulator.engine.errors import UnknownJob
from simulator.engine.job import Job, State
from simulator.engine.script import Polls
from simulator.engine.world import World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import (
    API,
    NEW_JOB,
    SAME_JOB,
    at,
    book,
    delayed,
    failed,
    now,
    queued,
    running,
    states,
    story,
    submit,
    succeeded,
    world_of,
)

THREE = Polls(3, 3)


def shown_to_polls(world: World, job: Job, polls: int) -> list[str]:
    """What so many status calls are answered, each counted after its answer."""
    answers = []
    for _ in range(polls):
        answers += states(world, [job])
        world.apply(Poll(API, job.id))
    return answers


def test_so_many_polls_still_show_the_state_and_the_next_one_the_following() -> None:
    world = world_of(book(running(THREE), succeeded()))
    job = world.apply(submit())
    assert shown_to_polls(world, job, 5) == ["running", "running", "running", "succeeded", "succeeded"]
    assert story(now(world, job)) == [("running", 0), ("succeeded", 0)]


def test_time_does_not_move_a_step_that_lasts_polls() -> None:
    world = world_of(book(queued(1_000), running(THREE), running(1_000), succeeded()))
    job = world.apply(submit())
    world.advance(at(3_600_000))
    assert now(world, job).waits_for_polls
    assert world.next_due_ms is None
    for _ in range(3):
        world.apply(Poll(API, job.id))
    assert not now(world, job).waits_for_polls
    world.advance(at(3_601_000))
    assert story(now(world, job)) == [("queued", 0), ("running", 1_000), ("succeeded", 3_601_000)]


def test_a_poll_where_none_is_waited_for_changes_nothing() -> None:
    world = world_of(book(queued(1_000), succeeded()))
    job = world.apply(submit())
    before = world.snapshot()
    assert world.apply(Poll(API, job.id)) == job
    assert world.snapshot() == before
    with pytest.raises(UnknownJob):
        world.apply(Poll(API, "nobody"))


def test_progress_moves_with_the_polls() -> None:
    world = world_of(
        book(running(Polls(4, 4), progress=(20, 80)), running(60_000, progress=(80, 100)), succeeded())
    )
    job = world.apply(submit())
    seen = []
    for second in range(5):
        world.advance(at(second * 1_000))
        job = now(world, job)
        seen.append((job.progress_percent(world.now_ms), job.changed_ms(world.now_ms) - at(0)))
        world.apply(Poll(API, job.id))
    assert seen == [(20, 0), (35, 0), (50, 1_000), (65, 2_000), (80, 3_000)]


def test_progress_keeps_what_the_polls_reached() -> None:
    world = world_of(book(running(Polls(2, 2), progress=(0, 50)), running(1_000), succeeded()))
    job = world.apply(submit())
    for _ in range(2):
        world.apply(Poll(API, job.id))
    assert now(world, job).progress_percent(world.now_ms) == 50


def test_how_many_polls_of_a_range_is_drawn_by_seed_and_job() -> None:
    def wanted(seed: int) -> list[int]:
        world = world_of(book(running(Polls(2, 6)), succeeded()), seed=seed)
        return [polls[1] for _ in range(40) if (polls := world.apply(submit()).polls)]

    assert set(wanted(1)) == {2, 3, 4, 5, 6}
    assert wanted(1) == wanted(1)
    assert wanted(1) != wanted(2)


def test_every_state_under_way_may_last_polls() -> None:
    world = world_of(book(delayed(Polls(1, 1)), queued(Polls(2, 2)), running(Polls(1, 1)), failed()))
    job = world.apply(submit())
    assert shown_to_polls(world, job, 5) == ["delayed", "queued", "queued", "running", "failed"]


def test_two_steps_in_a_row_count_their_own_polls() -> None:
    world = world_of(book(running(Polls(2, 2)), running(Polls(2, 2), message="second"), succeeded()))
    job = world.apply(submit())
    assert shown_to_polls(world, job, 5) == [*["running"] * 4, "succeeded"]


def test_who_waits_for_a_worker_no_longer_waits_for_polls() -> None:
    world = world_of(book(queued(Polls(1, 1)), running(1_000), succeeded(), workers=1))
    first, second = world.apply(submit()), world.apply(submit())
    for job in (first, second):
        world.apply(Poll(API, job.id))
    assert states(world, (first, second)) == ["running", "queued"]
    assert not now(world, second).waits_for_polls
    world.apply(Poll(API, second.id))
    world.advance(at(1_000))
    assert states(world, (first, second)) == ["succeeded", "running"]


def test_a_job_taken_off_its_script_no_longer_waits_for_polls() -> None:
    world = world_of(book(queued(THREE), succeeded()), NEW_JOB)
    world.apply(submit())
    [claimed] = world.apply(Claim(API))
    assert not claimed.waits_for_polls
    other = world.apply(submit())
    assert not world.apply(Cancel(API, other.id)).waits_for_polls


def test_a_client_that_tries_again_polls_anew() -> None:
    world = world_of(book(running(Polls(2, 2)), failed()), SAME_JOB)
    job = world.apply(submit())
    world.apply(Poll(API, job.id))
    again = world.apply(Retry(API, job.id))
    assert (again.state, again.polls) == (State.RUNNING, (0, 2))


def test_polls_are_written_down_and_replayed() -> None:
    journal = MemoryJournal()
    scenario = book(running(Polls(2, 4), progress=(0, 90)), succeeded())
    world = world_of(scenario, journal=journal)
    job = world.apply(submit())
    shown_to_polls(world, job, 4)
    assert len(journal) == 5
    again = World.replay(journal, seed=world.seed, rules=world._rules, playbook=scenario)
    assert again.snapshot() == world.snapshot()
