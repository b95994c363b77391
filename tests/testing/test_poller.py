from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.testing.poller import Call, Calls

START = datetime(2030, 1, 1, tzinfo=UTC)
COMPACT = {"submit": "jobs_post", "status": "job_id_get", "list": "jobs_get"}


def said(
    number: int,
    seconds: float,
    role: str = "status",
    *,
    status: int | None = 200,
    word: str | None = "running",
    retry_after: str | None = None,
    job: str | None = "j1",
    jobs: list[str] | None = None,
    body: str = "",
    path: str = "/titan/v1/job/j1",
    answer: str | None = None,
    api: str = "titan",
) -> dict[str, Any]:
    """One call as the control API tells it."""
    headers = [] if retry_after is None else [["retry-after", retry_after]]
    shown = answer if answer is not None else "" if word is None else f'{{"status": "{word}"}}'
    return {
        "number": number,
        "api": api,
        "operation": COMPACT[role],
        "role": role,
        "method": "POST" if role == "submit" else "GET",
        "path": path,
        "job": job,
        "jobs": jobs if jobs is not None else [job] if job else [],
        "status": status,
        "at": (START + timedelta(seconds=seconds)).isoformat(),
        "wall": START.isoformat(),
        "violations": [],
        "request": {"headers": [], "body": body, "bytes": len(body), "is_cut": False},
        "response": {"headers": headers, "body": shown, "bytes": len(shown), "is_cut": False},
    }


def calls(*told: dict[str, Any]) -> Calls:
    return Calls.of(told)


def refused(assertion: Callable[[], Any]) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion()
    return str(caught.value)


def test_a_client_that_waits_as_long_as_it_was_told_respects_retry_after() -> None:
    polls = calls(said(1, 0, retry_after="5"), said(2, 5, retry_after="5"), said(3, 11, word="succeeded"))
    assert polls.respected_retry_after() is polls


def test_a_poll_that_came_too_early_is_named_with_what_the_server_had_said() -> None:
    text = refused(calls(said(1, 0, retry_after="5"), said(2, 1.5)).respected_retry_after)
    assert "waited 1.5 s of 5 s" in text
    assert "call 1 at 2030-01-01T00:00:00.000Z: GET /titan/v1/job/j1 → 200, running, Retry-After: 5" in text
    assert "call 2 at 2030-01-01T00:00:01.500Z" in text


def test_a_tolerance_may_be_a_duration_seconds_or_a_timedelta() -> None:
    early = calls(said(1, 0, retry_after="5"), said(2, 4))
    for tolerance in ("1s", 1, timedelta(seconds=1)):
        early.respected_retry_after(tolerance)
    refused(lambda: early.respected_retry_after("999ms"))


def test_a_date_as_retry_after_counts_from_the_time_of_the_call() -> None:
    early = calls(said(1, 0, retry_after="Tue, 01 Jan 2030 00:01:00 GMT"), said(2, 59))
    assert early[0].retry_after == 60
    refused(early.respected_retry_after)


def test_advice_about_one_job_does_not_bind_calls_about_another() -> None:
    calls(
        said(1, 0, retry_after="5"), said(2, 1, job="j2"), said(3, 6), said(4, 7, job="j2")
    ).respected_retry_after()


def test_a_submit_that_was_put_off_must_wait_too() -> None:
    text = refused(
        calls(
            said(1, 0, "submit", status=503, retry_after="10", job=None, body="{}"),
            said(2, 2, "submit", body="{}"),
        ).respected_retry_after
    )
    assert "waited 2 s of 10 s" in text


def test_nothing_is_proved_where_no_answer_had_the_header() -> None:
    assert "no answer had one" in refused(calls(said(1, 0), said(2, 1)).respected_retry_after)
    assert "polls moved the clock" in refused(
        calls(said(1, 0, retry_after="0"), said(2, 5, retry_after="0")).respected_retry_after
    )


def test_growing_waits_between_failures_are_a_back_off() -> None:
    calls(said(1, 0, status=503), said(2, 1, status=503), said(3, 3, status=None), said(4, 7)).backed_off()


def test_equal_waits_between_failures_are_none() -> None:
    text = refused(
        calls(said(1, 0, status=503), said(2, 1, status=503), said(3, 2, status=503), said(4, 3)).backed_off
    )
    assert "1 s, 1 s, 1 s" in text


def test_a_wait_that_shrinks_is_told_with_the_calls_around_it() -> None:
    text = refused(
        calls(said(1, 0, status=503), said(2, 4, status=429), said(3, 5, status=503), said(4, 15)).backed_off
    )
    assert "after a wait of 4 s it waited only 1 s" in text
    assert "call 2" in text


def test_one_failure_alone_shows_no_back_off() -> None:
    assert "never met two failed calls" in refused(calls(said(1, 0, status=503), said(2, 1)).backed_off)


def test_at_most_counts_and_shows_the_first_that_is_too_many() -> None:
    three = calls(said(1, 0), said(2, 1), said(3, 2))
    three.at_most(3)
    text = refused(lambda: three.at_most(2))
    assert "3 calls, 1 more than the 2 allowed" in text
    assert "call 3" in text


def test_a_poll_after_the_end_was_told_is_found() -> None:
    text = refused(
        calls(said(1, 0), said(2, 5, word="failed"), said(3, 10, word="failed")).stopped_after_terminal
    )
    assert "polled 1 more times after it had been told that job j1 has ended (failed)" in text


def test_whoever_could_not_know_of_the_end_may_ask_again() -> None:
    calls(
        said(1, 0, status=500, word=None), said(2, 5, word="sleeping"), said(3, 9, word="succeeded")
    ).stopped_after_terminal()


@pytest.mark.parametrize("word", ["success", "error", "succeeded", "failed"])
def test_the_end_is_known_in_all_spellings_of_an_api(word: str) -> None:
    refused(calls(said(1, 0, word=word), said(2, 1, word=word)).stopped_after_terminal)


def test_the_end_is_known_in_xml_as_well() -> None:
    xml = "<request-info-instance><request-status>DONE</request-status></request-info-instance>"
    assert Call(said(1, 0, answer=xml, api="jbpm")).tells_end
    assert not Call(said(1, 0, answer=xml.replace("DONE", "RUNNING"), api="jbpm")).tells_end


def test_who_was_never_told_of_an_end_shows_nothing() -> None:
    assert "never told" in refused(calls(said(1, 0)).stopped_after_terminal)


def test_a_client_that_stops_asking_before_the_end_gave_up_early() -> None:
    calls(said(1, 0), said(2, 5, word="succeeded")).waited_for_end()
    text = refused(calls(said(1, 0), said(2, 5)).waited_for_end)
    assert "asked 2 times in 5 s about job j1" in text


def test_a_client_that_asks_for_ever_did_not_give_up() -> None:
    endless = calls(said(1, 0), said(2, 30), said(3, 61))
    endless.gave_up_within("2m")
    assert "for 61 s" in refused(lambda: endless.gave_up_within("1m"))
    assert "saw each job end" in refused(lambda: calls(said(1, 0, word="failed")).gave_up_within("1m"))


def test_a_lost_submit_that_is_simply_sent_again_is_found() -> None:
    lost = said(1, 0, "submit", status=None, job="j1", body='{"a": 1}')
    again = said(2, 1, "submit", job="j2", body='{"a": 1}')
    text = refused(calls(lost, again).retried_submit_safely)
    assert "had made job j1; now there is j2, too" in text
    calls(lost, said(2, 1, "list", job=None), said(3, 2)).retried_submit_safely()


def test_a_submit_that_made_nothing_may_be_sent_again() -> None:
    calls(
        said(1, 0, "submit", status=503, job=None, jobs=[], body="{}"), said(2, 1, "submit", body="{}")
    ).retried_submit_safely()


def test_two_submits_that_were_both_answered_are_two_jobs_on_purpose() -> None:
    calls(
        said(1, 0, "submit", job="j1", body="{}"), said(2, 1, "submit", job="j2", body="{}")
    ).retried_submit_safely()


def test_pages_that_nobody_asked_for_are_lost() -> None:
    first = said(1, 0, "list", job=None, answer='{"items": [], "nextPageToken": "a+b="}')
    text = refused(calls(first).read_all_pages)
    assert "never asked for the one after this, a+b=" in text
    calls(first, said(2, 1, "list", job=None, path="/x?pageToken=a%2Bb%3D", answer="{}")).read_all_pages()


def test_a_link_to_the_next_page_counts_as_well() -> None:
    link = '{"links": [{"rel": "next", "href": "http://127.0.0.1:1/ogc/jobs?limit=1&offset=1"}]}'
    first = said(1, 0, "list", job=None, answer=link)
    refused(calls(first).read_all_pages)
    calls(first, said(2, 1, "list", job=None, path="/ogc/jobs?limit=1&offset=1")).read_all_pages()
    assert "no answer had a further one" in refused(
        calls(said(1, 0, "list", job=None, answer="{}")).read_all_pages
    )


def test_a_slice_of_calls_has_the_same_assertions() -> None:
    some = calls(said(1, 0), said(2, 1), said(3, 2))[:2]
    assert isinstance(some, Calls)
    some.at_most(2)


def test_calls_are_found_by_job_and_by_what_they_ask() -> None:
    some = calls(said(1, 0, "submit", jobs=["j1", "j2"]), said(2, 1), said(3, 1, job="j2"))
    assert [call.number for call in some.of_job("j2")] == [1, 3]
    assert [call.number for call in some.polls] == [2, 3]
