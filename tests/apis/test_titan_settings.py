"""Titan as other releases and other libraries speak: the words of an end, and times that are not set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apis.test_titan import (
    JOBS,
    STATES,
    call,
    consume,
    enqueue,
    in_words,
    job_in,
    jobs,
    read,
    report,
    serve,
)
from tests.kit import Kit

ENDS = {"succeeded": "success", "failed": "error"}
NEVER = "0001-01-01T00:00:00.000Z"


def set_to(**settings: str) -> Kit:
    """A server with these settings, whose jobs wait for a worker."""
    chosen = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return serve(
        f"apis:\n  titan: {{{chosen}}}\nworkers: {{titan: external}}\n"
        "jobs:\n  - script: [running: 3s, succeeded]\n"
    )


@pytest.mark.parametrize("state", STATES[:-1])
def test_later_releases_end_jobs_in_other_words(state: str) -> None:
    kit = set_to(status_words="success-error")
    job_id = job_in(kit, state)
    word = ENDS.get(state, state)
    assert read(kit, job_id)["status"] == word
    assert [job["status"] for job in jobs(kit)] == [word]
    if state in ENDS:
        retry = call(kit, "retry", job_id).json()["job"]
        assert (retry["status"], retry["retry_of"]) == ("queued", job_id)


@pytest.mark.parametrize(("outcome", "word"), [("success", "success"), ("fail", "error")])
def test_the_answer_to_a_report_has_the_word_chosen(outcome: str, word: str) -> None:
    kit = set_to(status_words="success-error")
    job_id = enqueue(kit)["id"]
    consume(kit)
    assert report(kit, job_id, outcome).json()["job"]["status"] == word


@pytest.mark.parametrize("operation", ["touch", "success", "fail"])
@pytest.mark.parametrize(("state", "word"), ENDS.items())
def test_a_conflict_shows_the_word_chosen(state: str, word: str, operation: str) -> None:
    kit = set_to(status_words="success-error")
    job_id = job_in(kit, state)
    answer = call(kit, operation, job_id)
    assert (answer.status, answer.json()) == (409, {"id": job_id, "status": word})


@pytest.mark.parametrize(("words", "word"), [("success-error", "success"), ("succeeded-failed", "succeeded")])
def test_a_refused_cancel_says_the_word_chosen(words: str, word: str) -> None:
    kit = set_to(status_words=words)
    job_id = job_in(kit, "succeeded")
    answer = call(kit, "cancel", job_id)
    assert in_words(answer) == "409 error"
    assert f"{job_id} is {word} and" in answer.json()["error"]["message"]


def test_the_words_of_the_first_releases_are_the_default() -> None:
    kit = set_to(status_words="succeeded-failed")
    assert read(kit, job_in(kit, "failed"))["status"] == "failed"
    usual = serve()
    assert read(usual, job_in(usual, "failed"))["status"] == "failed"


SET: dict[str, tuple[str, ...]] = {
    "delayed": (),
    "queued": (),
    "running": ("started_at",),
    "succeeded": ("started_at", "completed_at"),
    "failed": ("started_at", "completed_at"),
    "cancelled": (),
}


@pytest.mark.parametrize("state", SET)
def test_a_time_that_is_not_set_is_left_out_or_the_first_of_all_times(state: str) -> None:
    def times(kit: Kit) -> dict[str, Any]:
        job = read(kit, job_in(kit, state))
        assert jobs(kit) == [job]
        assert job["created_at"] == "2030-01-01T00:00:00.000Z"
        return {name: job[name] for name in ("started_at", "completed_at") if name in job}

    known = dict.fromkeys(SET[state], "2030-01-01T00:00:00.000Z")
    assert times(set_to(unset_times="omitted")) == times(serve()) == known
    assert times(set_to(unset_times="zero")) == {"started_at": NEVER, "completed_at": NEVER} | known


def test_a_new_job_has_times_of_zero_at_once() -> None:
    kit = set_to(unset_times="zero")
    [job] = kit.post(JOBS, json={"jobs": [{"image": "a"}]}).json()["jobs"]
    assert (job["started_at"], job["completed_at"]) == (NEVER, NEVER)
    assert "retry_of" not in job
