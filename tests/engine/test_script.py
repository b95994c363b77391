"""What a script says of itself."""

from __future__ import annotations

import pytest

from simulator.engine.job import State
from simulator.engine.script import Script, Step
from tests.engine.parts import FOREVER, HOLD, failed, queued, retrying, running, succeeded


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
