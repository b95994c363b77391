"""A journal in memory: whole up to a limit, and honest beyond it."""

from __future__ import annotations

import pytest

from simulator.engine.command import MoveClock
from simulator.engine.world import START_MS, Entry, World
from simulator.journal.memory import DEFAULT_LIMIT, MemoryJournal
from tests.engine.parts import API, HAPPY, book, plain, submit, world_of


def entries(count: int) -> list[Entry]:
    return [Entry(position, START_MS + position, MoveClock(START_MS + position)) for position in range(count)]


def journal_of(written: list[Entry], limit: int = DEFAULT_LIMIT) -> MemoryJournal:
    journal = MemoryJournal(limit)
    for entry in written:
        journal.append(entry)
    return journal


def test_a_journal_gives_back_what_was_written_in_order_and_as_often_as_asked() -> None:
    written = entries(5)
    journal = journal_of(written)
    assert list(journal) == written
    assert list(journal) == written
    assert len(journal) == 5
    assert journal.is_complete


def test_a_new_journal_is_empty_and_complete() -> None:
    journal = MemoryJournal()
    assert (list(journal), len(journal), journal.is_complete) == ([], 0, True)
    assert journal.limit == DEFAULT_LIMIT == 100_000


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_a_journal_is_complete_up_to_its_limit_and_lets_go_of_everything_beyond_it(limit: int) -> None:
    written = entries(limit + 1)
    assert list(journal_of(written[:limit], limit)) == written[:limit]
    assert journal_of(written[:limit], limit).is_complete
    beyond = journal_of(written, limit)
    assert (beyond.is_complete, list(beyond), len(beyond)) == (False, [], 0)


def test_a_journal_that_is_not_complete_does_not_become_so_again() -> None:
    journal = journal_of(entries(10), limit=3)
    assert (journal.is_complete, len(journal)) == (False, 0)


def test_a_world_goes_on_when_its_journal_is_full() -> None:
    journal = MemoryJournal(limit=2)
    world = world_of(book(HAPPY), journal=journal)
    jobs = [world.apply(submit()) for _ in range(5)]
    assert [job.number for job in jobs] == [1, 2, 3, 4, 5]
    assert not journal.is_complete


def test_what_was_written_can_be_replayed_while_it_goes_on_being_written() -> None:
    journal = MemoryJournal()
    world = world_of(book(HAPPY), journal=journal)
    world.apply(submit())
    world.apply(MoveClock(START_MS + 500))
    again = World.replay(
        journal, seed=world.seed, rules={API: plain()}, playbook=world.initial_playbook, limits=world.limits
    )
    assert again.snapshot() == world.snapshot()
    world.apply(submit())
    assert (len(journal), again.count(API)) == (3, 1)
