"""A job: its table of moves, its history, and what it tells of its progress."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.command import Submit
from simulator.engine.errors import NotAllowed
from simulator.engine.job import ACTIVE, ALLOWED, FINAL, Failure, Job, Move, State
from simulator.engine.script import Step
from tests.engine.parts import FOREVER, HOLD, part, queued, running, succeeded

MOVES = """
            delayed queued running retrying cancelling succeeded failed cancelled
delayed        -      x      x        -         x         x        x        x
queued         -      -      x        x         x         x        x        x
running        -      x      -        x         x         x        x        x
retrying       -      x      x        -         x         x        x        x
cancelling     -      -      -        -         -         x        x        x
succeeded      -      -      -        -         -         -        -        -
failed         -      x      -        -         -         -        -        x
cancelled      -      -      -        -         -         -        -        -
"""


def moves_as_written() -> dict[State, frozenset[State]]:
    header, *rows = [line.split() for line in MOVES.strip().splitlines()]
    return {
        State(word): frozenset(State(other) for other, mark in zip(header, marks, strict=True) if mark == "x")
        for word, *marks in rows
    }


def job_in(state: State, *steps: Step, step: int = 0, **more: object) -> Job:
    """A job as the world would store it."""
    fields: dict[str, object] = {
        "id": "job-1",
        "number": 1,
        "submit": Submit("service", "work", delay_ms=250),
        "part": part(*steps or (queued(), running(), succeeded())),
        "request": None,
        "created_ms": 1_000,
        "state": state,
        "since_ms": 1_000,
        "step": step,
        "step_ms": 1_000,
        "moves": (state, 1_000, "client"),
    }
    return Job(**fields | more)  # type: ignore[arg-type]


def test_the_table_of_moves_is_total_and_says_exactly_this() -> None:
    assert moves_as_written() == ALLOWED
    assert set(ALLOWED) == set(State)


def test_a_state_is_either_active_or_final() -> None:
    assert {State.SUCCEEDED, State.FAILED, State.CANCELLED} == FINAL
    assert set(State) == ACTIVE | FINAL
    assert not ACTIVE & FINAL
    assert [state for state in State if state.is_final] == [state for state in State if state in FINAL]


@pytest.mark.parametrize("wanted", State)
@pytest.mark.parametrize("state", State)
def test_a_job_makes_the_moves_of_the_table_and_no_other(state: State, wanted: State) -> None:
    job = job_in(state, deadline_ms=9_000)
    if wanted in moves_as_written()[state]:
        moved = job.become(wanted, at_ms=2_000, cause="x.yaml:3", message="moved")
        assert (moved.state, moved.since_ms, moved.step_ms, moved.message) == (wanted, 2_000, 2_000, "moved")
        assert list(moved.history) == [Move(state, 1_000, "client"), Move(wanted, 2_000, "x.yaml:3")]
    else:
        with pytest.raises(NotAllowed) as refusal:
            job.become(wanted, at_ms=2_000, cause="x.yaml:3")
        assert (refusal.value.job, refusal.value.wanted) == (job, wanted.value)


@pytest.mark.parametrize("wanted", State)
def test_an_end_notes_its_time_and_no_deadline_outlives_it(wanted: State) -> None:
    moved = [
        job_in(state, deadline_ms=9_000).become(wanted, at_ms=2_000, cause="")
        for state in State
        if wanted in ALLOWED[state]
    ]
    for job in moved:
        expected = (2_000, None) if wanted in FINAL else (None, 9_000)
        assert (job.finished_ms, job.deadline_ms) == expected


def test_a_move_leaves_the_job_it_came_from_as_it_was() -> None:
    job = job_in(State.QUEUED)
    job.become(State.RUNNING, at_ms=2_000, cause="")
    assert job == job_in(State.QUEUED)


def test_a_job_tells_its_api_its_kind_and_when_it_was_first_meant_to_run() -> None:
    job = job_in(State.DELAYED)
    assert (job.api, job.kind, job.due_ms) == ("service", "work", 1_250)


def test_the_failure_of_a_job_is_its_latest() -> None:
    assert job_in(State.RUNNING).failure is None
    failures = (Failure("first"), Failure("second"))
    assert job_in(State.RETRYING, failures=failures).failure == Failure("second")


# ---- progress -------------------------------------------------------------------------------------------------------


def work(start: int, end: int, lasts_ms: int) -> Job:
    """A job that runs from 1000 ms on, with progress."""
    return job_in(
        State.RUNNING,
        running(lasts_ms, progress=(start, end)),
        progress_mark=start,
        until_ms=1_000 + lasts_ms,
    )


@pytest.mark.parametrize(
    ("now_ms", "percent", "changed_ms"),
    [
        (1_000, 20, 1_000),
        (1_124, 20, 1_000),
        (1_125, 21, 1_125),
        (1_249, 21, 1_125),
        (3_500, 40, 3_500),
        (5_999, 59, 5_875),
        (6_000, 60, 6_000),
        (9_000, 60, 6_000),
        (0, 20, 1_000),
    ],
)
def test_progress_grows_evenly_over_a_step_in_whole_percents(
    now_ms: int, percent: int, changed_ms: int
) -> None:
    job = work(20, 60, 5_000)
    assert job.progress_percent(now_ms) == percent
    assert job.changed_ms(now_ms) == changed_ms


@settings(deadline=None, print_blob=True, max_examples=300)
@given(start=st.integers(0, 100), more=st.integers(0, 100), lasts_ms=st.integers(0, 20_000), data=st.data())
def test_a_job_changed_in_the_first_millisecond_that_shows_its_present_percent(
    start: int, more: int, lasts_ms: int, data: st.DataObject
) -> None:
    job = work(start, min(start + more, 100), lasts_ms)
    now_ms = data.draw(st.integers(1_000, 1_000 + lasts_ms + 5), label="now")
    changed_ms = job.changed_ms(now_ms)
    assert 1_000 <= changed_ms <= now_ms
    assert job.progress_percent(changed_ms) == job.progress_percent(now_ms)
    if changed_ms > 1_000:
        assert job.progress_percent(changed_ms - 1) != job.progress_percent(now_ms)


@settings(deadline=None, print_blob=True)
@given(start=st.integers(0, 100), more=st.integers(0, 100), lasts_ms=st.integers(1, 20_000), data=st.data())
def test_progress_begins_at_the_start_reaches_the_end_and_never_falls(
    start: int, more: int, lasts_ms: int, data: st.DataObject
) -> None:
    end = min(start + more, 100)
    job = work(start, end, lasts_ms)
    moments = sorted(data.draw(st.lists(st.integers(1_000, 1_000 + lasts_ms), max_size=8), label="moments"))
    percents = [job.progress_percent(moment) for moment in (1_000, *moments, 1_000 + lasts_ms)]
    assert percents[0] == start
    assert percents[-1] == end
    assert percents == sorted(percent for percent in percents if percent is not None)


def test_a_script_that_never_speaks_of_progress_has_none() -> None:
    job = job_in(State.RUNNING, running(5_000), until_ms=6_000)
    assert job.progress_percent(3_000) is None
    assert job.changed_ms(3_000) == 1_000


@pytest.mark.parametrize("lasting", [FOREVER, HOLD])
def test_a_step_without_an_end_stays_at_the_percent_it_began_with(lasting: object) -> None:
    job = job_in(State.RUNNING, running(lasting, progress=(30, 70)), progress_mark=30)  # type: ignore[arg-type]
    assert job.progress_percent(9_000) == 30
    assert job.changed_ms(9_000) == 1_000


def test_a_job_that_ended_keeps_the_percent_it_had() -> None:
    job = work(0, 100, 10_000).become(State.FAILED, at_ms=3_000, cause="", progress_mark=20)
    assert job.progress_percent(9_000) == 20
    assert job.changed_ms(9_000) == 3_000
