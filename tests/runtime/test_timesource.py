"""Clocks: how virtual time follows wall time, and that it never goes back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.errors import TimeGoesBack
from simulator.engine.world import START_MS
from simulator.runtime.timesource import MAXIMUM_RATE, Clock, TimeMode, wall_clock

BEGAN_MS = 1_700_000_000_000


@dataclass
class Wall:
    """Wall time that passes when the test says so."""

    now_ms: int = BEGAN_MS

    def __call__(self) -> int:
        return self.now_ms


def clock_at(rate: float) -> tuple[Wall, Clock]:
    wall = Wall()
    return wall, Clock(TimeMode(rate), wall)


@pytest.mark.parametrize(
    ("text", "rate", "shown"),
    [
        ("real", 1, "real"),
        ("frozen", 0, "frozen"),
        ("60x", 60, "60x"),
        ("1x", 1, "real"),
        ("0.5x", 0.5, "0.5x"),
        ("2.50x", 2.5, "2.5x"),
        ("1000000x", MAXIMUM_RATE, "1e+06x"),
        ("poll", 0, "poll"),
    ],
)
def test_a_way_of_time_is_read_from_its_word_or_its_factor(text: str, rate: float, shown: str) -> None:
    mode = TimeMode.parse(text)
    assert mode.rate == rate
    assert str(mode) == shown


def test_only_the_polls_of_clients_move_a_clock_that_lives_by_them() -> None:
    modes = [TimeMode.parse(text) for text in ("poll", "frozen", "real", "60x")]
    assert [mode.is_poll for mode in modes] == [True, False, False, False]
    assert Clock(modes[0], Wall()).now_ms() == START_MS


@pytest.mark.parametrize(
    "text",
    ["", "fast", "Poll", "polls", "60", "x", "-1x", "0x", "1e3x", "60 x", "60X", "1000001x", "nanx", "60x\n"],
)
def test_what_is_no_way_of_time_is_refused_with_what_to_write_instead(text: str) -> None:
    with pytest.raises(ValueError, match="write real, frozen, poll or a factor such as 60x"):
        TimeMode.parse(text)


def test_the_wall_clock_counts_milliseconds_since_the_epoch() -> None:
    before, read, after = time.time(), wall_clock(), time.time()
    assert int(before * 1_000) - 1 <= read <= after * 1_000 + 1


def test_a_frozen_clock_stands_at_a_fixed_instant_and_never_asks_the_wall() -> None:
    def never() -> int:
        raise AssertionError("a frozen clock read the wall clock")

    clock = Clock(TimeMode(0), never)
    assert clock.now_ms() == START_MS
    clock.move_to(START_MS + 5_000)
    assert clock.now_ms() == START_MS + 5_000


def test_a_real_clock_begins_at_the_wall_and_goes_with_it() -> None:
    wall, clock = clock_at(1)
    assert clock.now_ms() == BEGAN_MS
    wall.now_ms += 1_234
    assert clock.now_ms() == BEGAN_MS + 1_234


@pytest.mark.parametrize(("rate", "passed_ms"), [(60, 60_000), (0.5, 500), (2.5, 2_500), (0.0001, 0)])
def test_a_clock_runs_at_its_rate(rate: float, passed_ms: int) -> None:
    wall, clock = clock_at(rate)
    wall.now_ms += 1_000
    assert clock.now_ms() == BEGAN_MS + passed_ms


def test_a_slow_clock_loses_nothing_by_being_read_often() -> None:
    wall, clock = clock_at(0.25)
    for _ in range(1_000):
        wall.now_ms += 1
        clock.now_ms()
    assert clock.now_ms() == BEGAN_MS + 250


def test_time_stands_still_when_the_wall_clock_is_set_back_and_goes_on_when_it_has_caught_up() -> None:
    wall, clock = clock_at(1)
    seen = []
    for by_ms in (10_000, -4_000, 3_000, 1_000, 500):
        wall.now_ms += by_ms
        seen.append(clock.now_ms() - BEGAN_MS)
    assert seen == [10_000, 10_000, 10_000, 10_000, 10_500]


def test_a_wall_clock_set_back_before_the_beginning_moves_nothing_back() -> None:
    wall, clock = clock_at(60)
    wall.now_ms -= 3_600_000
    assert clock.now_ms() == BEGAN_MS


@pytest.mark.parametrize("rate", [1, 60])
def test_a_clock_that_was_moved_goes_on_from_there_at_its_rate(rate: int) -> None:
    wall, clock = clock_at(rate)
    wall.now_ms += 1_000
    clock.move_to(clock.now_ms() + 3_600_000)
    assert clock.now_ms() == BEGAN_MS + 1_000 * rate + 3_600_000
    wall.now_ms += 1_000
    assert clock.now_ms() == BEGAN_MS + 2_000 * rate + 3_600_000


@pytest.mark.parametrize("rate", [0, 1, 60])
def test_a_clock_is_not_moved_back(rate: int) -> None:
    wall, clock = clock_at(rate)
    wall.now_ms += 1_000
    now_ms = clock.now_ms()
    with pytest.raises(TimeGoesBack) as refusal:
        clock.move_to(now_ms - 1)
    assert (refusal.value.now_ms, refusal.value.wanted_ms) == (now_ms, now_ms - 1)
    clock.move_to(now_ms)
    assert clock.now_ms() == now_ms


@pytest.mark.parametrize("before", [0, 1, 60])
@pytest.mark.parametrize("after", [0, 1, 60])
def test_a_clock_goes_on_from_where_it_is_when_its_way_of_time_is_changed(before: int, after: int) -> None:
    wall, clock = clock_at(before)
    wall.now_ms += 10_000
    now_ms = clock.now_ms()
    clock.set_mode(TimeMode(after))
    assert (clock.now_ms(), clock.mode) == (now_ms, TimeMode(after))
    wall.now_ms += 1_000
    assert clock.now_ms() == now_ms + 1_000 * after


def test_a_clock_that_is_frozen_and_set_free_again_has_missed_what_passed_meanwhile() -> None:
    wall, clock = clock_at(1)
    clock.set_mode(TimeMode(0))
    wall.now_ms += 3_600_000
    clock.set_mode(TimeMode(1))
    wall.now_ms += 1_000
    assert clock.now_ms() == BEGAN_MS + 1_000


def test_a_change_of_the_way_of_time_is_no_jump_after_the_wall_clock_was_set_back() -> None:
    wall, clock = clock_at(1)
    wall.now_ms += 10_000
    clock.now_ms()
    wall.now_ms -= 60_000
    clock.set_mode(TimeMode(60))
    assert clock.now_ms() == BEGAN_MS + 10_000
    wall.now_ms += 100
    assert clock.now_ms() == BEGAN_MS + 16_000


def test_who_wants_to_know_is_told_when_somebody_changes_a_clock_and_not_when_time_passes() -> None:
    wall, clock = clock_at(1)
    told: list[tuple[int, str]] = []
    clock.on_change = lambda: told.append((clock.now_ms() - BEGAN_MS, str(clock.mode)))
    wall.now_ms += 1_000
    clock.now_ms()
    assert told == []
    clock.move_to(BEGAN_MS + 5_000)
    clock.move_to(BEGAN_MS + 5_000)
    clock.set_mode(TimeMode(0))
    clock.set_mode(TimeMode(0))
    with pytest.raises(TimeGoesBack):
        clock.move_to(BEGAN_MS)
    assert told == [(5_000, "real"), (5_000, "frozen")]


@settings(deadline=None, print_blob=True)
@given(
    rate=st.sampled_from([0, 0.3, 1, 7, 60, MAXIMUM_RATE]),
    happenings=st.lists(st.tuples(st.booleans(), st.integers(-5_000, 20_000)), max_size=20),
)
def test_whatever_the_wall_clock_does_and_whoever_moves_it_time_never_goes_back(
    rate: float, happenings: list[tuple[bool, int]]
) -> None:
    wall, clock = clock_at(rate)
    last_ms = clock.now_ms()
    for is_move, by_ms in happenings:
        if is_move:
            clock.move_to(last_ms + abs(by_ms))
            assert clock.now_ms() == last_ms + abs(by_ms)
        else:
            wall.now_ms += by_ms
        assert clock.now_ms() >= last_ms
        last_ms = clock.now_ms()


@pytest.mark.parametrize("rate", [0, 1, 60])
def test_a_clock_can_begin_at_any_time(rate: float) -> None:
    wall = Wall()
    clock = Clock(TimeMode(rate), wall, start_ms=5_000)
    assert clock.now_ms() == 5_000
    wall.now_ms += 10
    assert clock.now_ms() == 5_000 + 10 * rate
