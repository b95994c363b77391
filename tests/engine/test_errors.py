"""What the engine refuses, and how it is told."""

from __future__ import annotations

import pytest

from simulator.engine.errors import EngineError, LimitReached, NotAllowed, TimeGoesBack, UnknownJob
from simulator.engine.job import State
from tests.engine.parts import API, book, part_in, submit, world_of


def refused() -> NotAllowed:
    job = world_of(book(part_in(State.RUNNING))).apply(submit())
    return NotAllowed(job, "release")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnknownJob("titan", "8f2c"), "there is no job 8f2c in titan"),
        (UnknownJob("titan", "8f2c", removed=True), "there is no job 8f2c in titan any more"),
        (refused(), "job job-1 is running: release is not possible"),
        (
            LimitReached("jobs in a world", 3, "--max-jobs"),
            "the limit of 3 jobs in a world is reached; raise it with --max-jobs",
        ),
        (TimeGoesBack(5, 3), "time does not go back: it is 5 ms, 3 ms was asked for"),
    ],
)
def test_a_refusal_says_what_where_and_what_instead(error: EngineError, text: str) -> None:
    assert str(error) == text


def test_one_except_catches_every_refusal() -> None:
    for kind in (UnknownJob, NotAllowed, LimitReached, TimeGoesBack):
        assert issubclass(kind, EngineError)


def test_refusals_carry_values_so_that_nobody_reads_their_text() -> None:
    unknown = UnknownJob(API, "8f2c", removed=True)
    assert (unknown.api, unknown.job_id, unknown.removed) == (API, "8f2c", True)
    assert UnknownJob(API, "8f2c").removed is False

    not_allowed = refused()
    assert (not_allowed.job.id, not_allowed.job.state, not_allowed.wanted) == (
        "job-1",
        State.RUNNING,
        "release",
    )

    limit = LimitReached("jobs in a world", 3, "--max-jobs")
    assert (limit.limit, limit.maximum, limit.option) == ("jobs in a world", 3, "--max-jobs")

    back = TimeGoesBack(5, 3)
    assert (back.now_ms, back.wanted_ms) == (5, 3)
