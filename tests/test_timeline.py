"""What `understudy timeline` tells is what a server answers."""

from __future__ import annotations

import json
import time

import pytest

from simulator.assemble import API_MODULES
from simulator.resources import shipped_scenarios
from simulator.timeline import ROWS_MAX, Timeline, as_json, as_text, timelines

RULE = "jobs:\n- script: [queued: 1s, {running: 3s, progress: 0..60}, failed: {error: {message: Too bad}}]\n"


def told_of(text: str, api: str = "ica", seed: int = 1) -> Timeline:
    [told] = timelines(f"{text}\n", [api], seed=seed)
    return told


def moments(told: Timeline) -> list[tuple[str, str]]:
    return [(row.at, row.state) for row in told.rows]


@pytest.mark.parametrize("api", API_MODULES)
def test_every_api_is_told_from_its_submit_to_the_end(api: str) -> None:
    told = told_of(RULE.replace("failed: {error: {message: Too bad}}", "succeeded"), api)
    assert moments(told) == [("+0s", "queued"), ("+1s", "running"), ("+4s", "succeeded")]
    assert [row.cause for row in told.rows] == ["inline:2"] * 3
    assert [row.status for row in told.rows] == [200, 200, 200]
    assert [row.answer for row in told.rows] == [row.word for row in told.rows]
    assert [row.progress for row in told.rows][1:] == [0, 100]
    assert told.end == "succeeded"
    assert told.submit.startswith(f"POST /{api}/")
    assert told.status.startswith(f"GET /{api}/")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_every_shipped_scenario_can_be_told_for_every_api(name: str) -> None:
    for told in timelines(name, API_MODULES):
        assert told.rows
        assert len(told.rows) <= ROWS_MAX
        assert told.end


def test_the_text_has_aligned_columns() -> None:
    assert as_text([told_of(RULE, "ogc")]).splitlines()[1:] == [
        "  AT   STATE    WORD      PROGRESS  ANSWER        CAUSE",
        "  +0s  queued   accepted  -         200 accepted  inline:2",
        "  +1s  running  running   0 %       200 running   inline:2",
        "  +4s  failed   failed    60 %      200 failed    inline:2",
        "  end: failed",
    ]


def test_the_same_seed_tells_the_same_and_another_seed_draws_otherwise() -> None:
    text = "jobs:\n- script: [running: 1s..99s, running: 1s..99s, succeeded]\n"
    assert as_json([told_of(text)]) == as_json([told_of(text)])
    assert moments(told_of(text, seed=2)) != moments(told_of(text))


def test_json_has_the_same_keys_in_every_row() -> None:
    [value] = json.loads(as_json([told_of(RULE)]))
    assert list(value) == ["api", "submit", "status", "rows", "end", "notes"]
    keys = [
        "at",
        "at_ms",
        "state",
        "word",
        "progress",
        "status",
        "answer",
        "late_ms",
        "disturbed_by",
        "cause",
    ]
    assert {tuple(row) for row in value["rows"]} == {tuple(keys)}


def test_a_scripted_answer_is_shown_with_its_rule() -> None:
    told = told_of(RULE + "calls:\n- {when: {role: status, call: 2}, answer: {status: 503}}\n")
    assert [(row.status, row.disturbed_by) for row in told.rows] == [
        (200, ""),
        (503, "inline:4 answer 503"),
        (200, ""),
    ]
    assert told.rows[1].answer == "Service Unavailable"
    assert "503 Service Unavailable [inline:4 answer 503]" in as_text([told])


@pytest.mark.parametrize("fault", ["connection_reset", "empty_response", "hang", "truncated_body"])
def test_a_broken_connection_is_shown_by_the_name_of_its_fault(fault: str) -> None:
    told = told_of(RULE + f"calls:\n- {{when: {{role: status, call: 2}}, fault: {fault}}}\n")
    assert [(row.status, row.answer) for row in told.rows][1] == (None, fault)


def test_an_answer_that_comes_late_is_told_to_be_late_and_not_waited_for() -> None:
    began = time.monotonic()
    told = told_of(RULE + "calls:\n- {when: {role: status}, delay: 59s}\n")
    assert [row.late_ms for row in told.rows] == [59_000] * 3
    assert "200 Pending, 59s late [inline:4 delay]" in as_text([told])
    assert time.monotonic() - began < 30


def test_a_submit_that_is_lost_is_sent_again() -> None:
    told = told_of(RULE + "calls:\n- {when: {role: submit, call: 1}, fault: response_lost}\n")
    assert [(row.state, row.answer) for row in told.rows][:2] == [
        ("", "response_lost"),
        ("queued", "Pending"),
    ]


def test_a_submit_that_never_comes_through_is_no_job() -> None:
    told = told_of(RULE + "calls:\n- {when: {role: submit}, answer: {status: 503}}\n")
    assert [row.status for row in told.rows] == [503] * 5
    assert told.end == "no job: every submit went wrong"


def test_polls_move_a_job_on() -> None:
    told = told_of("jobs:\n- script: [queued: 1s, running: 3 polls, succeeded]\n")
    assert moments(told) == [("+0s", "queued"), ("+1s", "running"), ("+1s", "succeeded")]


def test_a_state_that_is_over_at_once_is_shown_without_an_answer() -> None:
    told = told_of("jobs:\n- script: [queued: 1s, running: 0s, succeeded]\n")
    assert [(row.at, row.state, row.status) for row in told.rows] == [
        ("+0s", "queued", 200),
        ("+1s", "running", None),
        ("+1s", "succeeded", 200),
    ]


def test_a_step_that_changes_no_state_is_shown() -> None:
    told = told_of("jobs:\n- script:\n  - running: 1s\n  - running: 2s\n  - succeeded\n")
    assert [(row.at, row.state, row.cause) for row in told.rows] == [
        ("+0s", "running", "inline:3"),
        ("+1s", "running", "inline:4"),
        ("+3s", "succeeded", "inline:5"),
    ]


@pytest.mark.parametrize(
    ("text", "api", "end"),
    [
        (
            "jobs:\n- script: [running: hold]\n",
            "ica",
            "stays running: it is held until somebody releases it",
        ),
        ("jobs:\n- script: [running: forever]\n", "ica", "stays running: its script goes no further"),
        (
            f"workers: {{titan: external}}\n{RULE}",
            "titan",
            "stays queued: it waits for a worker that takes it",
        ),
        ("jobs:\n- script: [running: 30d, succeeded]\n", "ica", "still running after 1d"),
        (
            f"jobs:\n- script: [{'running: 1s, ' * 250}succeeded]\n",
            "ica",
            "more than 200 rows; the rest is left out",
        ),
    ],
)
def test_where_nothing_more_happens_it_says_why(text: str, api: str, end: str) -> None:
    assert told_of(text, api).end == end


def test_an_attempt_that_follows_at_once_is_shown_with_the_wait_before_it() -> None:
    text = "jobs:\n- attempts: [[running: 1s, failed: boom], [running: 2s, succeeded]]\n"
    assert moments(told_of(text, "jbpm")) == [
        ("+0s", "running"),
        ("+1s", "retrying"),
        ("+1s", "running"),
        ("+3s", "succeeded"),
    ]
    assert told_of(text, "titan").end == "failed", "the example of Titan wants no retries"


@pytest.mark.parametrize(
    ("api", "settings"),
    [
        ("ica", "{tokens: [the-good-one]}"),
        ("synapse", "{tokens: [the-good-one]}"),
        ("jbpm", "{users: ['mary:secret']}"),
        ("ogc", "{flavour: unity}"),
        ("titan", "{status_words: success-error}"),
    ],
)
def test_settings_hold(api: str, settings: str) -> None:
    told = told_of(f"apis: {{{api}: {settings}}}\njobs:\n- script: [running: 1s, succeeded]\n", api)
    assert [row.status for row in told.rows] == [200, 200]
    assert told.end == "succeeded"
    if api == "titan":
        assert told.rows[-1].word == "success"


def test_what_happens_to_other_jobs_is_no_row_and_no_call() -> None:
    """The example of Titan submits two jobs, the second half a minute late."""
    told = told_of(
        "jobs:\n- script: [running: 1m, succeeded]\ncalls:\n- {when: {role: status, call: 2}, answer: {status: 503}}\n",
        "titan",
    )
    assert [(row.at, row.status) for row in told.rows] == [("+0s", 200), ("+1m", 503)]
