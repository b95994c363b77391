"""The worlds of a server: who makes their time pass, and what is told of it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest

from simulator.engine.command import Hold, Release, Submit
from simulator.engine.errors import LimitReached, NotAllowed, TimeGoesBack
from simulator.engine.job import State
from simulator.engine.world import START_MS, Fired, Limits, World
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import (
    DEFAULT_WORLD,
    BadName,
    NeverIdle,
    Stage,
    UnknownWorld,
    Worlds,
    require_name,
)
from simulator.scenario.match import When
from simulator.scenario.model import JobRule, Scenario
from tests.engine.parts import API, FOREVER, HAPPY, part, plain, running
from tests.runtime.said import call
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


def worlds_at(
    rate: float, timesource: Callable[[], int] | None = None, *, jobs: int = 100, **more: Any
) -> Worlds:
    return Worlds(
        rules=RULES,
        scenario=SCENARIO,
        seed=7,
        mode=TimeMode(rate),
        limits=Limits(jobs),
        timesource=timesource or Wall(),
        **more,
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


# ---- moving time ----------------------------------------------------------------------------------------------------


def moves(told: list[Fired]) -> list[tuple[int, str, str]]:
    return [(fired.at_ms - START_MS, fired.job_id, fired.state.value) for fired in told]


STORY = [(1_000, "job-1", "running"), (4_000, "job-1", "succeeded")]
SERVER = Scenario("b", "", "b.yaml", {API: {}}, {}, (JobRule(When(), part(running(FOREVER))),))
ENDLESS = replace(SUBMIT, repeat_after_ms=1_000)


def test_a_world_is_advanced_to_an_instant() -> None:
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    assert moves(stage.advance_to(START_MS + 4_000)) == STORY
    assert stage.clock.now_ms() == START_MS + 4_000
    assert stage.advance_to(START_MS + 4_000) == []
    with pytest.raises(TimeGoesBack):
        stage.advance_to(START_MS + 3_999)


def test_a_world_is_advanced_from_event_to_event() -> None:
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    assert moves(stage.advance_to_next()) == STORY[:1]
    assert stage.clock.now_ms() == START_MS + 1_000
    assert moves(stage.advance_to_next(5)) == STORY[1:]
    assert stage.clock.now_ms() == START_MS + 4_000
    assert stage.advance_to_next() == []
    assert stage.clock.now_ms() == START_MS + 4_000


def test_what_is_due_at_one_instant_happens_together() -> None:
    stage = worlds_at(0).default
    for _ in range(2):
        stage.world.apply(SUBMIT)
    assert moves(stage.advance_to_next()) == [(1_000, "job-1", "running"), (1_000, "job-2", "running")]


def test_a_world_is_advanced_until_nothing_is_due_any_more_and_no_further() -> None:
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    assert moves(stage.advance_until_idle(4_000)) == STORY
    assert stage.clock.now_ms() == START_MS + 4_000
    assert stage.advance_until_idle(4_000) == []
    assert stage.clock.now_ms() == START_MS + 4_000


def test_a_world_that_does_not_come_to_rest_within_the_limit_says_so_and_what_happened() -> None:
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    with pytest.raises(NeverIdle) as refusal:
        stage.advance_until_idle(3_999)
    assert moves(refusal.value.fired) == STORY[:1]
    assert (refusal.value.now_ms, refusal.value.next_due_ms) == (START_MS + 1_000, START_MS + 4_000)
    assert "has not come to rest" in str(refusal.value)
    assert stage.clock.now_ms() == stage.world.now_ms == START_MS + 1_000


def test_a_job_that_repeats_itself_for_ever_never_lets_a_world_come_to_rest() -> None:
    stage = worlds_at(0).default
    stage.world.apply(ENDLESS)
    with pytest.raises(NeverIdle) as refusal:
        stage.advance_until_idle(60_000)
    assert len(refusal.value.fired) > 30


def test_an_advance_ends_however_many_events_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.runtime.worlds.INSTANTS_MAX", 5)
    stage = worlds_at(0).default
    stage.world.apply(ENDLESS)
    with pytest.raises(NeverIdle):
        stage.advance_until_idle(1_000_000)
    assert stage.world.now_ms < START_MS + 60_000


def test_the_last_event_that_is_allowed_may_be_the_one_that_brings_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("simulator.runtime.worlds.INSTANTS_MAX", 2)
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    assert moves(stage.advance_until_idle(1_000_000)) == STORY


def test_one_hour_in_one_advance_tells_the_same_as_3600_seconds() -> None:
    one, other = (worlds_at(0).default for _ in range(2))
    for stage in (one, other):
        stage.world.apply(ENDLESS)
    at_once = one.advance(3_600_000)
    assert at_once == [fired for _ in range(3_600) for fired in other.advance(1_000)]
    assert one.world.snapshot() == other.world.snapshot()


def test_the_way_of_time_of_a_world_is_changed_without_a_jump() -> None:
    wall = Wall()
    stage = worlds_at(0, wall).default
    wall.now_ms += 3_600_000
    stage.set_rate(TimeMode(60))
    assert stage.catch_up().now_ms == START_MS
    wall.now_ms += 1_000
    assert stage.catch_up().now_ms == START_MS + 60_000
    stage.set_rate(TimeMode(0))
    wall.now_ms += 1_000
    assert (stage.catch_up().now_ms, stage.mode) == (START_MS + 60_000, TimeMode(0))


# ---- time that lives by polls ---------------------------------------------------------------------------------------


def polling(step_ms: int = 5_000, *, mode: str = "poll") -> Stage:
    return worlds_at(0, poll_step_ms=step_ms).create("mine", mode=TimeMode.parse(mode))[0]


def polled_at(stage: Stage, *jobs: str) -> list[int]:
    """What the time since the beginning was at each of these polls, one after the other."""
    seen = []
    for job_id in jobs:
        stage.polled(API, job_id)
        seen.append(stage.catch_up().now_ms - stage.world.start_ms)
    return seen


def test_a_poll_moves_the_clock_by_a_step_if_the_job_was_polled_at_this_instant() -> None:
    assert polled_at(polling(), "a", "a", "a") == [0, 5_000, 10_000]
    assert polled_at(polling(200), "a", "a", "a") == [0, 200, 400]


def test_a_round_over_many_jobs_is_one_step_of_time() -> None:
    jobs = [f"job-{number}" for number in range(10)]
    assert polled_at(polling(), *jobs * 3) == [0] * 10 + [5_000] * 10 + [10_000] * 10


def test_jobs_of_the_same_id_in_two_apis_are_two() -> None:
    stage = polling()
    for api in ("one", "two"):
        stage.polled(api, "a")
    assert stage.clock.now_ms() == START_MS


def test_who_was_polled_before_time_was_moved_by_another_waits_for_nobody() -> None:
    stage = polling()
    assert polled_at(stage, "a", "b", "a", "b") == [0, 0, 5_000, 5_000]
    stage.advance(1_000)
    assert polled_at(stage, "a", "b", "b") == [6_000, 6_000, 11_000]


def test_a_poll_fires_what_is_due_on_its_way() -> None:
    stage = polling()
    job = stage.world.apply(SUBMIT)
    assert polled_at(stage, job.id, job.id) == [0, 5_000]
    assert stage.world.job(API, job.id).finished_ms == START_MS + 4_000


def test_a_poll_moves_the_clock_as_far_as_the_client_was_told_to_wait_and_by_a_step_again_afterwards() -> (
    None
):
    stage = polling()
    polled_at(stage, "a")
    stage.advertised(API, "a", 30_000)
    stage.advertised(API, "never polled", 90_000)
    assert polled_at(stage, "never polled", "a", "a") == [0, 30_000, 35_000]


@pytest.mark.parametrize(("told_ms", "moved_ms"), [(0, 5_000), (-1, 5_000), (10**15, 86_400_000)])
def test_what_a_client_was_told_moves_a_clock_neither_not_at_all_nor_beyond_a_day(
    told_ms: int, moved_ms: int
) -> None:
    stage = polling()
    polled_at(stage, "a")
    stage.advertised(API, "a", told_ms)
    assert polled_at(stage, "a") == [moved_ms]


@pytest.mark.parametrize("mode", ["frozen", "real", "60x"])
def test_polls_move_no_other_clock(mode: str) -> None:
    assert polled_at(polling(mode=mode), "a", "a", "a") == [0, 0, 0]


def test_a_poll_of_a_job_whose_end_was_shown_moves_nothing_until_something_is_advised_again() -> None:
    stage = polling()
    polled_at(stage, "a")
    stage.settled(API, "a")
    stage.settled(API, "never polled")
    assert polled_at(stage, "a") == [0]
    stage.settled(API, "a")
    stage.advertised(API, "a", 30_000)
    assert polled_at(stage, "never polled", "a", "a") == [0, 30_000, 35_000]


def test_polls_move_the_clock_from_the_moment_at_which_it_lives_by_them() -> None:
    stage = polling(mode="frozen")
    assert polled_at(stage, "a", "a") == [0, 0]
    stage.set_rate(TimeMode.parse("poll"))
    assert polled_at(stage, "a", "a") == [0, 5_000]
    stage.set_rate(TimeMode.parse("frozen"))
    assert polled_at(stage, "a", "a") == [5_000, 5_000]


def test_what_a_watcher_leaves_behind_does_not_grow_with_time() -> None:
    stage = polling()
    tracemalloc.start()
    try:
        for number in range(2_000):
            polled_at(stage, "watched", f"job-{number}", "watched")
        kept_bytes = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert stage.clock.now_ms() == START_MS + 3_999 * 5_000
    assert kept_bytes < 20_000


# ---- many worlds ----------------------------------------------------------------------------------------------------


def test_a_world_is_made_by_its_first_use_from_the_settings_of_the_server() -> None:
    worlds = worlds_at(0)
    stage = worlds.ensure("mine")
    assert worlds.ensure("mine") is worlds.find("mine") is stage
    assert (stage.name, stage.seed, stage.mode, stage.scenario) == ("mine", 7, TimeMode(0), SCENARIO)
    assert worlds.ensure(DEFAULT_WORLD) is worlds.default
    assert worlds.names() == ["default", "mine"]


def test_worlds_know_nothing_of_each_other() -> None:
    worlds = worlds_at(0)
    one, other = worlds.ensure("one"), worlds.ensure("other")
    one.world.apply(SUBMIT)
    one.advance(10_000)
    call(one.calls)
    assert other.world.snapshot() == worlds.default.world.snapshot()
    assert (other.clock.now_ms(), other.world.count(API), len(other.calls)) == (START_MS, 0, 0)


def test_a_world_among_others_tells_the_story_it_tells_alone() -> None:
    worlds = worlds_at(0)
    alone = worlds_at(0).ensure("alone")
    together = [worlds.ensure(f"w{number}") for number in range(20)]
    for by_ms in (0, 700, 2_000, 5_000):
        for stage in (alone, *together):
            stage.world.apply(SUBMIT)
            stage.advance(by_ms)
    assert {repr(stage.world.snapshot()) for stage in (alone, *together)} == {repr(alone.world.snapshot())}


@pytest.mark.parametrize("name", ["a", "0", "a.b-c_d", "a..", "x" * 64, "default"])
def test_a_name_is_made_of_a_few_characters(name: str) -> None:
    assert worlds_at(0).ensure(name).name == name


BAD_NAMES = [
    "",
    ".",
    "..",
    "-a",
    "_a",
    "A",
    "Default",
    "a/b",
    "a%2fb",
    "a b",
    "ä",
    "a\r\nX: y",
    "a\n",
    "x" * 65,
]


@pytest.mark.parametrize("name", [*BAD_NAMES, "x" * 1_000_000])
def test_no_world_is_made_by_a_name_that_cannot_be_one(name: str) -> None:
    worlds = worlds_at(0)
    for make in (worlds.ensure, worlds.create, require_name):
        with pytest.raises(BadName) as refusal:
            make(name)
        assert refusal.value.name == name
        assert str(refusal.value).isascii() or len(name) > 80
        assert str(refusal.value).isprintable()
        assert len(str(refusal.value)) < 300
    assert worlds.names() == ["default"]


def test_a_world_is_made_with_settings_of_its_own() -> None:
    worlds = worlds_at(0)
    stage, is_new = worlds.create("mine", scenario=SERVER, seed=99, mode=TimeMode.parse("poll"))
    assert is_new
    assert (stage.scenario, stage.world.playbook, stage.seed, str(stage.mode)) == (SERVER, SERVER, 99, "poll")
    assert worlds.find("mine") is stage
    assert worlds.default.scenario is SCENARIO


def test_a_world_that_is_made_again_is_a_fresh_one_and_keeps_its_place() -> None:
    worlds = worlds_at(0)
    gone: list[Stage] = []
    worlds.on_gone = gone.append
    first, _ = worlds.create("mine", scenario=SERVER, seed=99)
    worlds.ensure("later")
    first.world.apply(SUBMIT)
    second, is_new = worlds.create("mine")
    assert (is_new, second.world.count(API), second.seed, second.scenario) == (False, 0, 7, SCENARIO)
    assert worlds.names() == ["default", "mine", "later"]
    assert gone == [first]


def test_a_reset_keeps_the_settings_and_begins_time_anew() -> None:
    worlds = worlds_at(0)
    first, _ = worlds.create("mine", scenario=SERVER, seed=99, mode=TimeMode.parse("poll"))
    first.world.apply(SUBMIT)
    first.advance(60_000)
    stage = worlds.reset("mine")
    assert (stage.scenario, stage.seed, str(stage.mode)) == (SERVER, 99, "poll")
    assert (stage.clock.now_ms(), stage.world.count(API), len(stage.journal)) == (START_MS, 0, 0)
    assert worlds.find("mine") is stage
    assert first.world.count(API) == 1


def test_the_default_world_is_reset_and_not_deleted() -> None:
    worlds = worlds_at(0)
    worlds.default.world.apply(SUBMIT)
    assert worlds.reset(DEFAULT_WORLD) is worlds.default
    assert worlds.default.world.count(API) == 0
    with pytest.raises(BadName) as refusal:
        worlds.delete(DEFAULT_WORLD)
    assert "cannot be deleted" in str(refusal.value)
    assert worlds.names() == ["default"]


def test_a_world_that_is_deleted_is_gone_and_its_name_is_free() -> None:
    worlds = worlds_at(0)
    gone: list[Stage] = []
    worlds.on_gone = gone.append
    stage = worlds.ensure("mine")
    worlds.delete("mine")
    assert (worlds.find("mine"), worlds.names(), gone) == (None, ["default"], [stage])
    assert worlds.ensure("mine") is not stage


def test_what_is_not_there_is_named_as_unknown() -> None:
    worlds = worlds_at(0)
    for ask in (worlds.delete, worlds.reset, worlds.use):
        with pytest.raises(UnknownWorld) as refusal:
            ask("nowhere")
        assert str(refusal.value) == "there is no world 'nowhere'"


def test_a_flood_of_worlds_is_refused_by_name_and_harms_nobody() -> None:
    worlds = worlds_at(0, worlds_max=3)
    kept = [worlds.ensure(name) for name in ("default", "a", "b")]
    for number in range(50):
        with pytest.raises(LimitReached) as refusal:
            worlds.ensure(f"flood-{number}")
        assert (refusal.value.limit, refusal.value.maximum) == ("worlds", 3)
        assert refusal.value.option == "--max-worlds"
    assert [worlds.ensure(name) for name in worlds.names()] == kept
    assert not worlds.create("a")[1]
    worlds.delete("b")
    assert worlds.create("c")[1]


def test_worlds_that_nobody_uses_are_forgotten_when_another_is_made() -> None:
    wall = Wall()
    worlds = worlds_at(0, wall, idle_ms=10_000, worlds_max=3)
    gone: list[Stage] = []
    worlds.on_gone = gone.append
    idle, used = worlds.ensure("idle"), worlds.ensure("used")
    wall.now_ms += 9_999
    worlds.ensure("used")
    worlds.find("idle")
    with pytest.raises(LimitReached):
        worlds.ensure("another")
    wall.now_ms += 1
    worlds.ensure("another")
    assert worlds.names() == ["default", "used", "another"]
    assert gone == [idle]
    assert worlds.find("used") is used


def test_the_default_world_is_never_forgotten_and_worlds_stay_where_idleness_is_no_matter() -> None:
    wall = Wall()
    for idle_ms, left in ((0, ["default", "b"]), (None, ["default", "a", "b"])):
        worlds = worlds_at(0, wall, idle_ms=idle_ms)
        worlds.ensure("a")
        wall.now_ms += 10**12
        worlds.ensure("b")
        assert worlds.names() == left


def test_a_new_scenario_of_the_server_leaves_worlds_with_one_of_their_own_alone() -> None:
    worlds = worlds_at(0)
    own, _ = worlds.create("own", scenario=SERVER)
    follower = worlds.ensure("follower")
    other = replace(SCENARIO, name="other")
    worlds.set_scenario(other)
    assert (own.scenario, follower.scenario, worlds.default.scenario) == (SERVER, other, other)
    assert worlds.ensure("later").scenario is other


def test_each_world_has_a_call_log_of_the_length_that_was_asked_for() -> None:
    worlds = worlds_at(0, calls_max=2)
    assert (worlds.default.calls.limit, worlds.ensure("a").calls.limit) == (2, 2)
    assert worlds_at(0).default.calls.limit == 10_000


def test_a_world_that_does_nothing_takes_little_memory() -> None:
    worlds = worlds_at(0)
    tracemalloc.start()
    try:
        for number in range(200):
            worlds.ensure(f"w{number}")
        bytes_each = tracemalloc.get_traced_memory()[0] / 200
    finally:
        tracemalloc.stop()
    assert bytes_each < 50_000


# ---- what the person at the controls did ------------------------------------------------------------------------------


def doings(stage: Stage) -> list[Any]:
    return [action.doing for action in stage.actions]


def test_what_a_person_does_is_kept_in_order_with_its_time() -> None:
    stage = worlds_at(0).default
    job = stage.world.apply(SUBMIT)
    other = replace(SCENARIO, name="other")
    stage.set_rate(TimeMode(0, is_poll=True))
    stage.steer(Hold(API, job.id))
    stage.advance(2_000)
    stage.set_scenario(other)
    assert doings(stage) == [TimeMode(0, is_poll=True), Hold(API, job.id), START_MS + 2_000, other]
    assert [action.at_ms - START_MS for action in stage.actions] == [0, 0, 2_000, 2_000]
    assert (stage.first_mode, stage.first_scenario) == (TimeMode(0), SCENARIO)


def test_moves_of_time_in_a_row_are_one_as_long_as_nobody_calls() -> None:
    stage = worlds_at(0).default
    stage.advance(1_000)
    stage.advance_to_next()
    stage.advance_until_idle(5_000)
    stage.advance(1_000)
    assert doings(stage) == [START_MS + 2_000]
    call(stage.calls)
    stage.advance(1_000)
    assert [(action.moment, action.doing) for action in stage.actions] == [
        (0, START_MS + 2_000),
        (2, START_MS + 3_000),
    ]
    assert stage.actions_total == 2


def test_what_was_refused_was_not_done() -> None:
    stage = worlds_at(0).default
    job = stage.world.apply(SUBMIT)
    with pytest.raises(NotAllowed):
        stage.steer(Release(API, job.id))
    assert doings(stage) == []


def test_time_that_a_call_moves_is_no_action() -> None:
    stage = worlds_at(0).default
    stage.world.apply(SUBMIT)
    assert stage.pass_time(START_MS + 60_000) == 0
    assert stage.world.now_ms > START_MS
    assert doings(stage) == []


def test_a_world_can_begin_at_any_time() -> None:
    stage, _ = worlds_at(60).create("mine", start_ms=START_MS + 5)
    assert (stage.world.start_ms, stage.catch_up().now_ms) == (START_MS + 5, START_MS + 5)


def test_a_world_begins_exactly_then_however_long_it_takes_to_make_it() -> None:
    wall = count(START_MS)
    stage, _ = worlds_at(1, lambda: next(wall)).create("mine", start_ms=5_000)
    assert stage.world.start_ms == 5_000


def test_a_world_that_was_made_elsewhere_takes_the_place_of_another() -> None:
    ours, theirs = worlds_at(0, calls_max=2), worlds_at(0)
    gone: list[Stage] = []
    ours.on_gone = gone.append
    before, _ = ours.create("mine")
    stage = theirs.default
    for _ in range(3):
        call(stage.calls)
    assert ours.adopt("mine", stage) is False
    assert ours.find("mine") is stage
    assert (stage.name, gone, len(stage.calls)) == ("mine", [before], 2)
    assert ours.adopt("new", worlds_at(0).default) is True
    assert gone == [before]
    with pytest.raises(BadName):
        ours.adopt("No Name", worlds_at(0).default)


def test_a_world_that_takes_its_own_place_loses_nothing() -> None:
    worlds = worlds_at(0)
    stage = worlds.default
    call(stage.calls)
    assert worlds.adopt(DEFAULT_WORLD, stage) is False
    assert len(stage.calls) == 1
