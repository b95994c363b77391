"""An archive gives back what was put into it, however it keeps it."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.archive import Archive, packed, unpacked
from simulator.engine.command import Submit
from simulator.engine.job import Failure, Job, State
from tests.engine.parts import Book, part, queued, running, succeeded
from tests.engine.test_properties import Ask, books, bounded, carry_out, plans, world_of

PLAYED = part(queued(), running(), succeeded())

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | st.binary(max_size=20),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(texts, inside, max_size=4),
    max_leaves=8,
)
instants = st.integers(0, 2**53)
failures = st.builds(Failure, texts, texts, st.none() | texts, instants)
submits = st.builds(
    Submit,
    api=texts,
    kind=texts,
    request=values,
    labels=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
    priority=st.integers(),
    timeout_ms=st.none() | instants,
    retry_delays_ms=st.lists(instants, max_size=3).map(tuple),
    retry_of=st.none() | texts,
    fails_with=st.none() | failures,
    repeat_after_ms=st.none() | instants,
    facts=st.none() | st.dictionaries(texts, values, max_size=2),
)
moves = st.lists(st.tuples(st.sampled_from(State), instants, texts), max_size=5)
jobs = st.builds(
    Job,
    id=texts,
    number=st.integers(1, 2**40),
    submit=submits,
    part=st.just(PLAYED),
    request=values,
    created_ms=instants,
    state=st.sampled_from(State),
    since_ms=instants,
    until_ms=st.none() | instants,
    progress_mark=st.none() | st.integers(0, 100),
    held=st.none() | st.tuples(st.integers(0, 10**13), st.booleans()),
    failures=st.lists(failures, max_size=3).map(tuple),
    result=values,
    log=st.none() | st.binary(),
    message=st.none() | texts,
    cancel_requested=st.booleans(),
    deadline_ms=st.none() | instants,
    event=instants,
    polls=st.none() | st.tuples(st.integers(0, 9), st.integers(1, 9)),
    no_result=st.booleans(),
    no_log=st.booleans(),
    moves=moves.map(lambda each: tuple(field for move in each for field in move)),
)


def job_of(number: int, request: Any = None) -> Job:
    submit = Submit("service", "work", request)
    return Job(f"job-{number}", number, submit, PLAYED, request, 0, State.QUEUED, 0)


def archive_of(unpacked_max: int, *kept: Job) -> Archive:
    archive = Archive(unpacked_max)
    archive.append(None)
    for job in kept:
        archive.append(None)
        archive[job.number] = job
    return archive


@bounded
@given(job=jobs)
def test_a_packed_job_comes_back_as_it_was(job: Job) -> None:
    again = unpacked(packed(job), job.part)
    assert again == job
    assert type(again) is Job
    assert repr(again) == repr(job)
    assert again.part is job.part
    assert again.state is job.state


def test_a_request_that_was_never_amended_stays_one_value() -> None:
    job = job_of(1, {"name": "nightly"})
    again = unpacked(packed(job), PLAYED)
    assert again.request is again.submit.request


def test_jobs_are_found_under_their_numbers_whether_packed_or_not() -> None:
    kept = [job_of(number, {"place": number}) for number in range(1, 11)]
    archive = archive_of(3, *kept)
    assert len(archive) == 11
    assert list(archive) == [None, *kept]
    assert archive[2:4] == kept[1:3]
    assert [number for number, job in enumerate(kept, 1) if archive[number] is job] == [8, 9, 10]


def test_a_job_that_changes_is_kept_unpacked_and_the_one_that_came_first_is_packed() -> None:
    kept = [job_of(number) for number in range(1, 5)]
    archive = archive_of(2, *kept)
    archive[1] = changed = kept[0].altered(message="changed")
    assert archive[1] is changed
    assert archive[3] == kept[2]
    assert archive[3] is not kept[2]
    assert archive[4] is kept[3]


def test_reading_a_packed_job_leaves_it_packed() -> None:
    archive = archive_of(1, job_of(1), job_of(2))
    assert archive[1] is not archive[1]


def test_a_forgotten_job_is_forgotten_whether_packed_or_not() -> None:
    archive = archive_of(1, *(job_of(number) for number in range(1, 4)))
    archive[1] = archive[3] = None
    archive.append(None)
    archive[4] = job_of(4)
    assert [archive[number] for number in (1, 3)] == [None, None]
    assert [archive[number] for number in (2, 4)] == [job_of(2), job_of(4)]


def test_a_job_with_more_than_plain_values_is_kept_as_it_is() -> None:
    strange = job_of(1, MappingProxyType({"name": "nightly"}))
    archive = archive_of(1, strange, job_of(2), job_of(3))
    assert archive[1] is strange
    archive[1] = changed = strange.altered(message="changed")
    assert archive[1] is changed


@pytest.mark.parametrize("unpacked_max", [1, 3])
@bounded
@given(scenario=books, plan=plans)
def test_a_world_cannot_tell_how_its_jobs_are_kept(
    unpacked_max: int, scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    with patch("simulator.engine.world.Archive", lambda: Archive(unpacked_max)):
        packing = world_of(scenario)
    keeping = world_of(scenario)
    for one, other in zip(carry_out(packing, plan), carry_out(keeping, plan), strict=True):
        assert one.snapshot() == other.snapshot()
