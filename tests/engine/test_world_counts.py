"""Counting calls: a command like any other, so a replay counts the same."""

from __future__ import annotations

import pytest

from simulator.engine.command import CountCall, Keep
from simulator.engine.errors import LimitReached
from simulator.engine.world import World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import API, HAPPY, at, book, plain, world_of


def test_calls_are_counted_by_key() -> None:
    world = world_of(book(HAPPY))
    assert [world.apply(CountCall(API, key)) for key in "aabab"] == [1, 2, 1, 3, 2]


def test_a_window_begins_with_its_first_call_and_ends_when_its_time_is_over() -> None:
    world = world_of(book(HAPPY))
    counts = [
        world.apply(CountCall(API, "a", 1_000), at_ms=at(ms)) for ms in (300, 900, 1_299, 1_300, 2_299, 2_300)
    ]
    assert counts == [1, 2, 3, 1, 2, 1]
    assert world.counted_since_ms(API, "a") == at(2_300)
    assert world.counted_since_ms(API, "b") is None


def test_counts_are_replayed() -> None:
    journal = MemoryJournal()
    world = world_of(book(HAPPY), journal=journal)
    for ms in (0, 500, 1_500):
        world.apply(CountCall(API, "a", 1_000), at_ms=at(ms))
        world.apply(CountCall(API, "b"))
    again = World.replay(journal, seed=7, rules={API: plain()}, playbook=book(HAPPY))
    assert again.snapshot() == world.snapshot()
    assert world.snapshot()["counted"] == {API: [("a", (1, at(1_500))), ("b", (3, at(0)))]}


def test_counts_share_the_room_for_what_is_kept_and_a_refused_one_changes_nothing() -> None:
    world = world_of(book(HAPPY), kept=2)
    world.apply(Keep(API, "token", 1))
    world.apply(CountCall(API, "a"))
    before = world.snapshot()
    with pytest.raises(LimitReached, match="--max-kept"):
        world.apply(CountCall(API, "b"))
    assert world.snapshot() == before
    assert world.apply(CountCall(API, "a")) == 2
