"""Pages of jobs: whatever is asked, the index answers what a look at every job would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from simulator.engine.command import Submit
from simulator.engine.job import Job, State
from simulator.engine.shelf import Label, Shelf
from tests.engine.parts import part, queued

WAY_OF_WORK = part(queued())
LABELS = [("name", "a"), ("name", "b"), ("name", "c"), ("owner", "a"), ("owner", "b")]


@dataclass
class Desk:
    """A shelf, and the jobs on it in the order they were made."""

    jobs: list[Job | None] = field(default_factory=lambda: [None])

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.jobs)

    @property
    def all(self) -> list[Job]:
        return [job for job in self.jobs if job is not None]

    def make(self, state: State = State.QUEUED, *labels: Label) -> Job:
        number = len(self.jobs)
        submit = Submit("service", "work", labels=labels)
        job = Job(f"job-{number}", number, submit, WAY_OF_WORK, None, 0, state, 0)
        self.jobs.append(job)
        self.shelf.put(job, None)
        return job

    def change(self, before: Job, **changes: Any) -> Job:
        job = before._replace(**changes)
        self.jobs[job.number] = job
        self.shelf.put(job, before)
        return job

    def remove(self, job: Job) -> None:
        self.jobs[job.number] = None
        self.shelf.discard(job)

    def wanted(self, states: Sequence[State] | None, labels: Sequence[Sequence[Label]]) -> list[Job]:
        """Every job that fits, found by looking at every job."""
        return [
            job
            for job in self.all
            if (states is None or job.state in states)
            and all(any(label in job.submit.labels for label in group) for group in labels)
        ]


some_states = st.lists(st.sampled_from(State), max_size=3)
some_labels = st.lists(st.sampled_from(LABELS), max_size=3)
changes = st.tuples(st.sampled_from(["change", "change", "remove"]), st.integers(0), st.sampled_from(State))


@st.composite
def desks(draw: st.DrawFn) -> Desk:
    """A desk on which jobs were made, changed and removed."""
    desk = Desk()
    for state, labels in draw(st.lists(st.tuples(st.sampled_from(State), some_labels), max_size=12)):
        desk.make(state, *labels)
    for what, place, state in draw(st.lists(changes, max_size=8)):
        jobs = desk.all
        if not jobs:
            break
        job = jobs[place % len(jobs)]
        if what == "change":
            desk.change(job, state=state)
        else:
            desk.remove(job)
    return desk


@settings(deadline=None, print_blob=True, max_examples=600)
@given(
    desk=desks(),
    states=st.none() | some_states,
    labels=st.lists(some_labels, max_size=3),
    offset=st.integers(0, 8),
    limit=st.none() | st.integers(0, 8),
    newest_first=st.booleans(),
)
def test_a_page_is_what_a_look_at_every_job_finds(
    desk: Desk,
    states: list[State] | None,
    labels: list[list[Label]],
    offset: int,
    limit: int | None,
    newest_first: bool,
) -> None:
    fitting = desk.wanted(states, labels)
    ordered = fitting[::-1] if newest_first else fitting
    page = ordered[offset:] if limit is None else ordered[offset : offset + limit]
    found = desk.shelf.select(
        states=states, labels=labels, offset=offset, limit=limit, newest_first=newest_first
    )
    assert found == page
    assert desk.shelf.count(states=states, labels=labels) == len(fitting)
    assert len(desk.shelf) == len(desk.all)


def by_message(job: Job) -> str:
    return job.message or ""


@settings(deadline=None, print_blob=True, max_examples=300)
@given(
    desk=desks(),
    messages=st.lists(st.tuples(st.integers(0), st.sampled_from("xyz")), max_size=10),
    more=st.integers(0, 3),
    removed=st.lists(st.integers(0), max_size=3),
    offset=st.integers(0, 14),
    limit=st.integers(0, 14),
    descending=st.booleans(),
)
@example(Desk(), [], 5, [], 7, 2, True)
@example(Desk(), [], 5, [], 0, 5, True)
def test_a_sorted_page_is_what_sorting_every_job_gives(
    desk: Desk,
    messages: list[tuple[int, str]],
    more: int,
    removed: list[int],
    offset: int,
    limit: int,
    descending: bool,
) -> None:
    desk.shelf.sorted_by("message", by_message, offset=0, limit=1)
    for _ in range(more):
        desk.make()
    for place, message in messages:
        if desk.all:
            desk.change(desk.all[place % len(desk.all)], message=message)
    for place in removed:
        if desk.all:
            desk.remove(desk.all[place % len(desk.all)])
    ordered = sorted(desk.all, key=lambda job: (by_message(job), job.number), reverse=descending)
    found = desk.shelf.sorted_by("message", by_message, offset=offset, limit=limit, descending=descending)
    assert found == ordered[offset : offset + limit]


def test_ties_of_a_sorted_page_come_in_the_order_they_were_made_and_backwards_when_descending() -> None:
    desk = Desk()
    jobs = [desk.make() for _ in range(4)]
    assert desk.shelf.sorted_by("message", by_message, offset=0, limit=9) == jobs
    assert desk.shelf.sorted_by("message", by_message, offset=0, limit=9, descending=True) == jobs[::-1]


def test_an_index_by_another_name_has_an_order_of_its_own() -> None:
    desk = Desk()
    first, second = desk.make(), desk.make()
    first, second = desk.change(first, message="z"), desk.change(second, message="a")
    assert desk.shelf.sorted_by("message", by_message, offset=0, limit=2) == [second, first]
    assert desk.shelf.sorted_by("number", lambda job: job.number, offset=0, limit=2) == [first, second]


def test_numbers_of_the_jobs_in_a_state_ascend() -> None:
    desk = Desk()
    jobs = [desk.make(State.QUEUED) for _ in range(4)]
    desk.change(jobs[1], state=State.RUNNING)
    desk.change(desk.change(jobs[0], state=State.RUNNING), state=State.QUEUED)
    assert list(desk.shelf.in_state(State.QUEUED)) == [1, 3, 4]
    assert list(desk.shelf.in_state(State.RUNNING)) == [2]
    assert list(desk.shelf.in_state(State.FAILED)) == []


def test_a_job_that_fits_a_group_by_several_of_its_labels_is_found_once() -> None:
    desk = Desk()
    twice = desk.make(State.QUEUED, ("owner", "a"), ("owner", "b"), ("owner", "a"))
    desk.make(State.QUEUED, ("owner", "c"))
    group = [("owner", "a"), ("owner", "b")]
    assert desk.shelf.select(labels=[group]) == [twice]
    assert desk.shelf.count(labels=[group]) == 1
    assert desk.shelf.count(states=[State.QUEUED], labels=[group]) == 1


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_put_together_are_the_whole_list(newest_first: bool) -> None:
    desk = Desk()
    for number in range(200):
        desk.make(list(State)[number % 5], ("name", "abc"[number % 3]))
    states = [State.QUEUED, State.RUNNING, State.DELAYED]
    pages = [
        desk.shelf.select(states=states, offset=offset, limit=7, newest_first=newest_first)
        for offset in range(0, 140, 7)
    ]
    expected = desk.wanted(states, [])
    assert [job for page in pages for job in page] == (expected[::-1] if newest_first else expected)


def test_a_page_costs_the_same_among_many_jobs() -> None:
    """The keys that one page looks at are counted, not timed."""
    looked_at: list[int] = []

    class Watched(list[Job | None]):
        def __getitem__(self, place: Any) -> Any:
            looked_at.append(place)
            return super().__getitem__(place)

    jobs: Watched = Watched([None])
    desk = Desk(jobs)
    for number in range(5_000):
        desk.make(list(State)[number % 5])
    looked_at.clear()
    page = desk.shelf.select(states=[State.QUEUED, State.RUNNING], offset=1_000, limit=10)
    assert [job.number for job in page] == looked_at
    assert len(page) == 10
