"""A job's life is drawn to scale, with its calls and whether they kept to Retry-After."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from simulator.apis.contract import iso
from simulator.report.drawing import WIDTH, Span, draw, polls_of
from simulator.report.model import Tested
from tests.report.parts import CANCEL, HOSTILE, START_MS, STATUS, SUBMIT, call, job


def drawn(tested: Tested) -> tuple[ElementTree.Element, str]:
    roles = {STATUS: "status", CANCEL: "cancel", SUBMIT: "submit"}
    calls = [(one, roles[one.operation]) for one in tested.seen_calls]
    text = draw(tested.seen_jobs[0], calls, Span.of(tested.seen_jobs, tested.seen_calls))
    return ElementTree.fromstring(text), text


def test_bars_are_as_long_as_their_states() -> None:
    root, _ = drawn(Tested("t", jobs=(job("1", (0, "queued"), (1_000, "running"), (4_000, "succeeded")),)))
    bars = {one.get("class"): float(one.get("width", 0)) for one in root.iter("rect")}
    assert list(bars) == ["bar queued", "bar running", "bar succeeded"]
    assert abs(bars["bar running"] / bars["bar queued"] - 3) < 0.01
    assert abs(sum(bars.values()) - WIDTH) < 0.5


def test_a_job_that_is_over_at_once_is_still_drawn() -> None:
    root, _ = drawn(Tested("t", jobs=(job("1", (0, "queued"), (0, "failed")),)))
    assert [one.get("class") for one in root.iter("rect")] == ["bar failed"]


def test_a_poll_before_retry_after_is_marked() -> None:
    calls = (call(0, STATUS, retry_after="2"), call(1_000, STATUS, retry_after="2"), call(3_000, STATUS))
    tested = Tested("t", jobs=(job("1", (0, "running")),), calls=calls)
    polls = polls_of([(one, "status") for one in tested.seen_calls])
    assert [poll.is_early for poll in polls] == [False, True, False]
    _, text = drawn(tested)
    assert text.count('class="poll early"') == 1
    assert text.count('class="wait early"') == 1
    assert "before Retry-After was over" in text


def test_the_wait_begins_when_the_answer_has_come() -> None:
    slow = call(0, STATUS, retry_after="2") | {"answered": iso(START_MS + 1_500)}
    early, in_time = call(2_500, STATUS), call(3_500, STATUS)
    for after, is_early in ((early, True), (in_time, False)):
        calls = Tested("t", calls=(slow, after)).seen_calls
        assert polls_of([(one, "status") for one in calls])[1].is_early is is_early


def test_cancels_disturbances_and_violations_are_marked() -> None:
    calls = (
        call(0, SUBMIT, 201, violations=("x",)),
        call(1, STATUS, 503),
        call(2, STATUS, None),
        call(3, STATUS, cause="scenarios/x.yaml:3"),
        call(4, CANCEL),
    )
    _, text = drawn(Tested("t", jobs=(job("1", (0, "running")),), calls=calls))
    assert {
        name: text.count(f'class="{name}"') for name in ("other", "poll", "disturbed", "violation", "cancel")
    } == {
        "other": 1,
        "poll": 3,
        "disturbed": 3,
        "violation": 1,
        "cancel": 1,
    }


def test_the_drawing_is_told_in_words() -> None:
    root, _ = drawn(Tested("t", jobs=(job("7", (0, "queued"), (61_000, "succeeded")),)))
    assert root.get("role") == "img"
    assert root.get("aria-label") == "Timeline of job 7: queued at +0s, succeeded at +1m1s"


def test_the_axis_has_few_round_times_however_long_it_lasts() -> None:
    for length_ms in (0, 7, 999, 61_000, 3_600_000, 86_400_000 * 20, 86_400_000 * 40_000):
        _, text = drawn(Tested("t", jobs=(job("1", (0, "queued"), (length_ms, "failed")),)))
        times = re.findall(r'class="time">([^<]*)<', text)
        assert 2 <= len(times) <= 9, (length_ms, times)


def test_hostile_texts_do_not_become_markup() -> None:
    calls = (call(0, STATUS, cause=HOSTILE),)
    root, text = drawn(Tested("t", jobs=(job(HOSTILE, (0, HOSTILE, HOSTILE)),), calls=calls))
    assert "<script" not in text
    assert {one.tag for one in root.iter()} <= {"svg", "g", "title", "rect", "text", "line", "path", "circle"}
