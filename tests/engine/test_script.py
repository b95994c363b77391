"""What a script says of itself."""

from __future__ import annotations

import pytest

from simulator.engine.job import State
from simulator.engine.script import Script, Step
from tests.engine.parts import (
    FOREVER,
    HOLD,
    attempts,
    cancelled,
    failed,
    part,
    queued,
    retrying,
    running,
    succeeded,
)


@pytest.mark.parametrize(
    ("steps", "first_running", "last_timed_running"),
    [
        ((queued(1), running(2), succeeded()), 1, 1),
        ((running(2), succeeded()), 0, 0),
        ((queued(1), running(2), running(3), succeeded()), 1, 2),
        ((queued(1), running(2), retrying(1), running((1, 5)), failed()), 1, 3),
        ((queued(1), running(2), running(HOLD), succeeded()), 1, 1),
        ((queued(1), running(FOREVER)), 1, -1),
        ((queued(1), succeeded()), 0, -1),
        ((failed(),), 0, -1),
    ],
)
def test_a_script_knows_where_its_work_begins_and_where_time_ends_it(
    steps: tuple[Step, ...], first_running: int, last_timed_running: int
) -> None:
    script = Script(steps)
    assert script.first_running == first_running
    assert script.last_timed_running == last_timed_running


def test_a_step_lasts_forever_unless_it_says_otherwise() -> None:
    assert Step(State.RUNNING).lasts is FOREVER


def test_a_script_ends_with_its_first_final_step_if_it_ends() -> None:
    assert Script((running(1), failed(), retrying(1))).end == failed()
    assert Script((running(1), cancelled())).end == cancelled()
    assert Script((running(FOREVER),)).end is None


def test_the_attempts_of_a_rule_are_a_chain_whose_last_one_repeats() -> None:
    first = attempts((failed(),), (running(1), failed()), (succeeded(),))
    second, third = first.again, first.again.again
    assert [each.attempt for each in (first, second, third)] == [1, 2, 3]
    assert [first.on_attempt(attempt) for attempt in (1, 2, 3, 4, 99)] == [first, second, third, third, third]
    assert third.again is third
    assert first.end == second.end == third.end == succeeded()


def test_a_rule_with_one_script_repeats_it() -> None:
    only = part(running(1), failed())
    assert only.again is only.on_attempt(7) is only
    assert only.end == failed()


def test_a_rule_that_never_ends_would_succeed() -> None:
    assert part(running(FOREVER), cause="here").end == succeeded(cause="here")
