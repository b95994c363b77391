"""The worlds of a server: who makes their time pass, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from simulator.engine.command import Submit
from simulator.engine.errors import LimitReached, TimeGoesBack
from simulator.engine.job import State
from simulator.engine.world import START_MS, Limits, World
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import DEFAULT_WORLD, Worlds
from simulator.scenario.match import When
from simulator.scenario.model import JobRule, Scenario
from tests.engine.parts import API, HAPPY, plain
from tests.runtime.test_timesource import BEGAN_MS, Wall

RULES = {API: plain()}
SCENARIO = Scenario(
    name="happy",
    description="",
    source="happy.yaml",
    settings={API: {}},
    crew={},
    rules=(JobRule(When(), HAPPY),),
)
SUBMIT = Submit(API, "work")


def worlds_at(rate: float, timesource: Callable[[], int] | None = None, *, jobs: int = 100) -> Worlds:
    return Worlds(
        rules=RULES,
        scenario=SCENARIO,
        seed=7,
        mode=TimeMode(rate),
        limits=Limits(jobs),
        timesource=timesource or Wall(),
    )


def test_the_default_world_exists_always_and_others_do_not() -> None:
    worlds = worlds_at(0)
    assert worlds.find(DEFAULT_WORLD) is worlds.default
    assert worlds.default.name == DEFAULT_WORLD == "default"
    assert worlds.find("another") is None


def test_a_world_is_made_of_the_settings_of_its_server() -> None:
    stage = worlds_at(0, jobs=1).default
    assert (stage.world.seed, stage.world.now_ms, stage.world.start_ms) == (7, START_MS, START_MS)
    assert stage.scenario is SCENARIO
    assert stage.world.playbook is SCENARIO
    stage.world.apply(SUBMIT)
    with pytest.raises(LimitReached):
        stage.world.apply(SUBMIT)


def test_a_world_in_real_time_begins_at_the_wall_and_catches_up_with_it() -> None:
    wall = Wall()
    stage = worlds_at(1, wall).default
    assert stage.world.start_ms == BEGAN_MS
    job = stage.world.apply(SUBMIT)
    wall.now_ms += 1_500
    world = stage.catch_up()
    assert (world, world.now_ms) == (stage.world, BEGAN_MS + 1_500)
    assert world.job(API, job.id).state is State.RUNNING


def test_a_world_stays_where_it_is_when_the_wall_clock_is_set_back() -> None:
    wall = Wall()
    stage = worlds_at(1, wall).default
    wall.now_ms += 5_000
    stage.catch_up()
    wall.now_ms -= 60_000
    assert stage.catch_up().now_ms == BEGAN_MS + 5_000


def test_a_frozen_world_moves_when_it_is_advanced_and_only_then() -> None:
    stage = worlds_at(0).default
    job = stage.world.apply(SUBMIT)
    assert stage.catch_up().now_ms == START_MS
    told = stage.advance(4_000)
    assert [(fired.at_ms - START_MS, fired.job_id, fired.state) for fired in told] == [
        (1_000, job.id, State.RUNNING),
        (4_000, job.id, State.SUCCEEDED),
    ]
    assert stage.catch_up().now_ms == START_MS + 4_000
    assert stage.clock.now_ms() == START_MS + 4_000


def test_a_world_in_real_time_goes_on_from_where_it_was_advanced_to() -> None:
    wall = Wall()
    stage = worlds_at(60, wall).default
    wall.now_ms += 1_000
    stage.advance(3_600_000)
    wall.now_ms += 1_000
    assert stage.catch_up().now_ms == BEGAN_MS + 120_000 + 3_600_000


def test_an_advance_that_a_fast_clock_overtakes_meanwhile_is_no_error() -> None:
    class Running(Wall):
        """Time passes while somebody looks."""

        def __call__(self) -> int:
            self.now_ms += 1
            return self.now_ms

    stage = worlds_at(1_000, Running()).default
    before_ms = stage.world.now_ms
    stage.advance(500)
    advanced_ms = stage.world.now_ms
    assert advanced_ms >= before_ms + 500
    assert stage.catch_up().now_ms > advanced_ms


@pytest.mark.parametrize("rate", [0, 1])
def test_a_world_is_not_advanced_backwards(rate: float) -> None:
    stage = worlds_at(rate).default
    stage.advance(1_000)
    with pytest.raises(TimeGoesBack):
        stage.advance(-1)
    assert stage.catch_up().now_ms == stage.world.start_ms + 1_000


def test_the_journal_of_a_world_makes_it_again() -> None:
    wall = Wall()
    stage = worlds_at(1, wall).default
    stage.world.apply(SUBMIT)
    wall.now_ms += 700
    stage.catch_up().apply(SUBMIT)
    stage.advance(2_000)
    again = World.replay(
        stage.journal,
        seed=7,
        rules=RULES,
        playbook=SCENARIO,
        start_ms=stage.world.start_ms,
        limits=Limits(100),
    )
    assert stage.journal.is_complete
    assert again.snapshot() == stage.world.snapshot()


def test_two_servers_with_the_same_seed_tell_the_same_story() -> None:
    stages = [worlds_at(0).default for _ in range(2)]
    for stage in stages:
        stage.world.apply(SUBMIT)
        stage.advance(10_000)
    assert stages[0].world.snapshot() == stages[1].world.snapshot()


def test_another_scenario_holds_from_now_on_and_jobs_under_way_keep_their_scripts() -> None:
    worlds = worlds_at(0)
    stage = worlds.default
    before = stage.world.apply(SUBMIT)
    other = replace(SCENARIO, name="other", rules=(JobRule(When(), replace(HAPPY, cause="other:1")),))
    worlds.set_scenario(other)
    assert stage.scenario is other
    assert stage.world.apply(SUBMIT).part.cause == "other:1"
    assert stage.world.job(API, before.id).part.cause == HAPPY.cause
