"""Each shipped scenario as the clients of the services meet it, over HTTP.

For every file: what `check` says of it, its timeline (the files in `timelines/`), what a client sees in each API that can
express it, and that one seed gives the same conversation twice.

When a timeline is meant to change, write the files anew and look at the difference:

    python -m tests.scenario.test_library
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from click.testing import CliRunner

from simulator import timeline
from simulator.assemble import Settings
from simulator.cli import main
from simulator.engine.job import State
from simulator.resources import GROUPS, shipped_scenarios
from simulator.web import faults
from simulator.web.faults import Broken
from simulator.web.front import Front
from tests.kit import Answer
from tests.running import serving
from tests.scenario.library import APIS, Client, Stage, front, scenario

QUEUED, RUNNING, RETRYING = State.QUEUED, State.RUNNING, State.RETRYING
SUCCEEDED, FAILED, CANCELLED = State.SUCCEEDED, State.FAILED, State.CANCELLED
BASIC = {"fails-halfway", "happy", "never-finishes", "slow", "titan-self-running"}
"""What these do is tested in `test_shipped`."""

Expectation = Callable[[Client], None]
EXPECTED: dict[str, tuple[tuple[str, ...], Expectation]] = {}
"""By scenario: the APIs that can express it, and what a client of one of them sees."""


def seen_by(*names: str) -> Callable[[Expectation], Expectation]:
    """This function says what clients of these APIs see of the scenario of the same name; of all when none is named."""

    def register(expectation: Expectation) -> Expectation:
        EXPECTED[expectation.__name__.replace("_", "-")] = (names or APIS, expectation)
        return expectation

    return register


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Real waiting takes no time in here; the seconds that it would have taken."""
    seconds_waited: list[float] = []

    async def stay(call: Any, seconds: float) -> bool:
        seconds_waited.append(seconds)
        return True

    monkeypatch.setattr(faults._Disturbed, "stay", stay)
    return seconds_waited


@contextmanager
def broken(fault: str) -> Iterator[None]:
    """The call inside ends in this fault of the connection."""
    with pytest.raises(Broken, match=fault):
        yield


# ---- cancel ---------------------------------------------------------------------------------------------------------


@seen_by()
def cancel_too_late(client: Client) -> None:
    client.submit()
    client.wait("5s")
    assert client.shows(RUNNING)
    assert (
        client.cancel().status
        == {"synapse": 204, "jbpm": 204, "ogc": 200, "ica": 400, "titan": 409}[client.api]
    )
    if client.api == "ogc":
        assert client.poll().status == 404
    else:
        assert client.shows(SUCCEEDED)


AGREED = {"synapse": 204, "jbpm": 204, "ogc": 200, "ica": 200, "titan": 200}


@seen_by()
def cancel_ignored(client: Client) -> None:
    client.submit()
    client.wait("2s")
    assert client.cancel().status == AGREED[client.api]
    job = client.job()
    assert client.shows(RUNNING)
    if client.api == "synapse":
        assert job["jobCanceling"] is True
    client.wait("9s")
    assert client.shows(SUCCEEDED)


def cancelled_after(client: Client, seconds: int, end: State) -> None:
    """The cancel is agreed to, and so many seconds later the job has this end."""
    client.submit()
    client.wait("2s")
    assert client.cancel().status == AGREED[client.api]
    client.wait(f"{seconds * 1000 - 1}ms")
    assert client.shows(State.CANCELLING)
    client.wait("1ms")
    assert client.shows(end)


@seen_by()
def cancel_slow(client: Client) -> None:
    cancelled_after(client, 10, CANCELLED)
    assert client.api != "synapse" or "cancel" in client.failure()


@seen_by()
def cancel_overtaken(client: Client) -> None:
    cancelled_after(client, 3, SUCCEEDED)


@seen_by()
def cancel_ends_failed(client: Client) -> None:
    cancelled_after(client, 2, FAILED)
    assert "killed" in client.failure()


@seen_by()
def cancel_refused(client: Client) -> None:
    client.submit()
    client.wait("2s")
    refused = {"synapse": 400, "jbpm": 204, "ogc": 409, "ica": 400, "titan": 409}
    assert client.cancel().status == refused[client.api]
    assert client.shows(RUNNING)
    client.wait("9s")
    assert client.shows(SUCCEEDED)


@seen_by()
def cancel_response_lost(client: Client) -> None:
    client.submit()
    client.wait("500ms")
    with broken("response_lost"):
        client.cancel()
    if client.api == "synapse":
        assert client.job()["jobCanceling"] is True
    else:
        assert client.shows(CANCELLED)
    again = {"synapse": 204, "jbpm": 204, "ogc": 200, "ica": 400, "titan": 409}
    assert client.cancel().status == again[client.api]
    if client.api == "ogc":
        assert client.poll().status == 404


# ---- fail -----------------------------------------------------------------------------------------------------------


def fails_with(client: Client, words: dict[str, str]) -> None:
    """The job runs first, fails in the end, and says so in these words."""
    client.submit()
    client.wait("2s")
    assert client.shows(RUNNING)
    client.wait("1h")
    assert client.shows(FAILED)
    assert words[client.api] in client.failure()


@seen_by()
def fail_not_found(client: Client) -> None:
    text = "There is no table syn123."
    fails_with(client, dict.fromkeys(APIS, text) | {"synapse": "NotFoundException", "titan": "bad_exit"})


@seen_by()
def fail_forbidden(client: Client) -> None:
    text = "You lack DOWNLOAD access"
    fails_with(client, dict.fromkeys(APIS, text) | {"synapse": "UnauthorizedException", "titan": "bad_exit"})


@seen_by()
def fail_conflict(client: Client) -> None:
    text = "Row 7 was changed"
    fails_with(
        client, dict.fromkeys(APIS, text) | {"synapse": "ConflictingUpdateException", "titan": "bad_exit"}
    )


@seen_by()
def fail_timeout(client: Client) -> None:
    text = "longer than 60 seconds"
    fails_with(client, dict.fromkeys(APIS, text) | {"ica": "Timeout", "titan": "timeout"})


@seen_by()
def fail_out_of_memory(client: Client) -> None:
    text = "more than 8192 MiB"
    fails_with(client, dict.fromkeys(APIS, text) | {"ica": "OutOfMemory", "titan": "killed"})


@seen_by()
def fail_at_once(client: Client) -> None:
    answer = client.submit().text
    assert client.shows(FAILED)
    # jBPM answers a submit with the id and nothing else.
    assert client.api == "jbpm" or f'"{client.words[FAILED]}"' in answer


@seen_by("synapse", "jbpm", "ogc", "ica")
def fail_without_reason(client: Client) -> None:
    client.submit()
    client.wait("1m")
    assert client.shows(FAILED)
    job = client.job()
    if client.api == "synapse":
        assert "errorMessage" not in job
    elif client.api == "jbpm":
        assert job["request-errors"]["error-info-instance"][0]["error-message"] == ""
    elif client.api == "ogc":
        assert job["message"] == ""
    else:
        assert "statusDetails" not in job


@seen_by("synapse", "jbpm", "ogc", "ica")
def fail_with_long_reason(client: Client) -> None:
    client.submit()
    client.wait("1m")
    assert client.shows(FAILED)
    assert "数据.csv" in client.failure()
    assert "ValueError: line 3" in client.failure()
    assert "{number} of {path}" in client.failure()


# ---- fault ----------------------------------------------------------------------------------------------------------


@seen_by()
def fault_bad_gateway(client: Client) -> None:
    client.submit()
    assert client.polls(1, "1s") == [200]
    page = client.poll()
    assert (page.status, page.headers["content-type"]) == (502, "text/html")
    assert "<h1>502 Bad Gateway</h1>" in page.text
    assert client.polls(2, "2s") == [502, 200]
    assert client.shows(SUCCEEDED)


@seen_by()
def fault_unknown_state(client: Client) -> None:
    client.submit()
    word = client.service.word
    seen = [client.job()[word] for _ in range(3)]
    assert seen[0] == seen[2] == client.words[QUEUED]
    assert seen[1].lower() == "limbo"
    client.wait("4s")
    assert client.shows(SUCCEEDED)


def one_call_breaks(client: Client, fault: str) -> None:
    """The second status call ends in a fault of the connection, those around it are answered."""
    client.submit()
    assert client.shows(QUEUED)
    client.wait("4s")
    with broken(fault):
        client.poll()
    assert client.shows(SUCCEEDED)


@seen_by()
def fault_connection_reset(client: Client) -> None:
    one_call_breaks(client, "connection_reset")


@seen_by()
def fault_empty_response(client: Client) -> None:
    one_call_breaks(client, "empty_response")


@seen_by()
def fault_truncated_body(client: Client) -> None:
    one_call_breaks(client, "truncated_body")


@seen_by()
def fault_hang(client: Client) -> None:
    one_call_breaks(client, "hang")
    assert client.stage.waited == [120]


@seen_by()
def fault_dribble(client: Client) -> None:
    client.submit()
    whole = [client.poll().content for _ in range(3)]
    assert whole[0] == whole[1] == whole[2]
    assert (len(client.stage.waited), round(sum(client.stage.waited), 3)) == (10, 3)


@seen_by()
def fault_slow_answers(client: Client) -> None:
    client.submit()
    for _ in range(9):
        client.poll()
    assert len(client.stage.waited) == 10
    assert all(0.25 <= seconds <= 2 for seconds in client.stage.waited)
    assert len(set(client.stage.waited)) > 5


@seen_by()
def fault_malformed_body(client: Client) -> None:
    client.submit()
    good, bad, again = client.poll(), client.poll(), client.poll()
    assert good.content == again.content != bad.content
    assert (bad.status, bad.headers["content-type"]) == (200, good.headers["content-type"])
    with pytest.raises(json.JSONDecodeError):
        bad.json()


@seen_by()
def fault_wrong_content_type(client: Client) -> None:
    client.submit()
    good, bad = client.poll(), client.poll()
    assert (good.headers["content-type"], bad.headers["content-type"]) == ("application/json", "text/html")
    assert (bad.status, bad.content) == (200, good.content)


@seen_by()
def fault_flaky(client: Client) -> None:
    client.submit()
    seen = client.polls(100, "1s")
    assert set(seen) == {200, 500, 503}
    assert 5 < seen.count(500) + seen.count(503) < 40


@seen_by()
def fault_read_only(client: Client) -> None:
    client.submit()
    assert client.polls(4, "1s") == [500, 500, 500, 500]
    assert client.shows(SUCCEEDED)


@seen_by()
def fault_lock_contention(client: Client) -> None:
    client.submit()
    first, second = client.poll(), client.poll()
    assert (first.status, second.status) == (200, 503)
    assert (client.api == "ogc") == ("Unable to acquire lock" in second.text)
    client.wait("4s")
    assert client.shows(SUCCEEDED)


# ---- poll -----------------------------------------------------------------------------------------------------------


@seen_by()
def poll_rate_limit(client: Client) -> None:
    client.submit()
    assert client.polls(5, "1s") == [200] * 5
    refused = client.poll()
    assert (refused.status, refused.headers["retry-after"]) == (429, "5")
    client.wait("5s")
    assert client.shows(SUCCEEDED)


@seen_by("synapse", "ogc")
def poll_progress_backwards(client: Client) -> None:
    client.submit()
    client.wait("2s")
    shown = []
    for _ in range(6):
        shown.append(client.progress())
        client.wait("1s")
    assert shown == [10, 20, 10, 5, 50, 60]


@seen_by()
def poll_stalls_at_99(client: Client) -> None:
    client.submit()
    client.wait("11s")
    for _ in range(3):
        assert client.shows(RUNNING)
        assert client.progress() == (99 if client.api in ("synapse", "ogc") else None)
        client.wait("10m")
    assert client.shows(SUCCEEDED)


@seen_by()
def poll_silent(client: Client) -> None:
    client.submit()
    client.wait("1s")
    began = client.job()
    client.wait("10m59s")
    assert client.job() == began
    client.wait("1s")
    assert client.shows(SUCCEEDED)


@seen_by()
def poll_outlives_timeouts(client: Client) -> None:
    client.submit()
    client.wait("2h")
    assert client.shows(RUNNING)
    client.wait("1m")
    assert client.shows(SUCCEEDED)


def states_by_the_second(client: Client, count: int) -> list[State]:
    """The job's states, one each second from half a second on, as the word that it shows says."""
    known = {client.words[state]: state for state in (RUNNING, QUEUED, SUCCEEDED, FAILED)}
    client.submit()
    client.wait("500ms")
    seen = []
    for _ in range(count):
        seen.append(known[client.job()[client.service.word]])
        client.wait("1s")
    return seen


@seen_by("jbpm", "ogc", "ica", "titan")
def poll_falls_back_to_queued(client: Client) -> None:
    assert states_by_the_second(client, 11) == [
        QUEUED,
        *[RUNNING] * 2,
        *[QUEUED] * 3,
        *[RUNNING] * 4,
        SUCCEEDED,
    ]


@seen_by("jbpm", "ogc", "ica", "titan")
def poll_never_running(client: Client) -> None:
    assert states_by_the_second(client, 4) == [QUEUED, QUEUED, QUEUED, SUCCEEDED]


@seen_by()
def poll_done_at_once(client: Client) -> None:
    answer = client.submit().text
    assert client.shows(SUCCEEDED)
    assert client.api == "jbpm" or f'"{client.words[SUCCEEDED]}"' in answer


@seen_by()
def poll_counted(client: Client) -> None:
    client.submit()
    client.wait("1h")
    seen = [client.job()[client.service.word] for _ in range(7)]
    assert seen == [client.words[state] for state in (*[QUEUED] * 2, *[RUNNING] * 4, SUCCEEDED)]
    assert client.stage.world.now_ms - client.stage.world.start_ms == 3_600_000


# ---- queue ----------------------------------------------------------------------------------------------------------


@seen_by()
def queue_stuck(client: Client) -> None:
    client.submit()
    client.wait("365d")
    assert client.shows(QUEUED)
    assert client.cancel().status == AGREED[client.api]
    assert client.api == "synapse" or client.shows(CANCELLED)


@seen_by()
def queue_long(client: Client) -> None:
    client.submit()
    client.wait("10m")
    assert client.shows(QUEUED)
    client.wait("10m10s")
    assert client.shows(SUCCEEDED)


@seen_by()
def queue_one_worker(client: Client) -> None:
    ids = []
    for _ in range(3):
        client.submit()
        ids.append(client.id)
    client.wait("4s")
    assert [client.shows(RUNNING, job) for job in ids[:1]] == [True]
    assert all(client.shows(QUEUED, job) for job in ids[1:])
    client.wait("6s")
    assert [client.shows(SUCCEEDED, job) for job in ids] == [True, True, False]
    client.wait("5s")
    assert client.shows(SUCCEEDED)


# ---- result ---------------------------------------------------------------------------------------------------------


@seen_by("synapse", "ogc", "ica", "titan")
def result_missing(client: Client) -> None:
    client.submit()
    client.wait("4s")
    assert client.shows(SUCCEEDED)
    job = client.job()
    if client.api == "synapse":
        assert "responseBody" not in job
    elif client.api == "ogc":
        assert (client.result().status, client.result().json()) == (200, {})
    elif client.api == "ica":
        assert "stdout" not in json.dumps(job.get("logs", []))
    else:
        assert client.log().status == 404


@seen_by("ogc", "titan")
def result_expired(client: Client) -> None:
    client.submit()
    client.wait("59s")
    fetch = client.result if client.api == "ogc" else client.log
    assert fetch().status == 200
    client.wait("1s")
    assert fetch().status == (410 if client.api == "ogc" else 404)
    assert client.shows(SUCCEEDED)


@seen_by()
def result_job_purged(client: Client) -> None:
    client.submit()
    client.wait("59s")
    assert client.shows(SUCCEEDED)
    client.wait("1s")
    assert client.poll().status == 404


@seen_by("ogc", "titan")
def result_late(client: Client) -> None:
    client.submit()
    client.wait("4s")
    fetch = client.result if client.api == "ogc" else client.log
    assert [fetch().status for _ in range(3)] == ([404, 404, 200] if client.api == "ogc" else [428, 428, 200])


@seen_by("synapse", "jbpm", "ogc", "titan")
def result_partly_failed(client: Client) -> None:
    client.submit()
    client.wait("4s")
    assert client.shows(SUCCEEDED)
    if client.api == "synapse":
        [change] = client.job()["responseBody"]["results"]
        codes = [one.get("failureCode") for one in change["updateResults"]]
        assert codes == [None, "NOT_FOUND", "CONCURRENT_UPDATE"]
    elif client.api == "jbpm":
        assert client.job()["response-data"]["failed"] == 2
    elif client.api == "ogc":
        assert client.result().json()["failed"] == 2
    else:
        assert "103: somebody else has changed it" in client.log().text


@seen_by("ica", "titan")
def result_log_missing(client: Client) -> None:
    client.submit()
    client.wait("3s")
    assert client.shows(FAILED)
    if client.api == "ica":
        assert "stdout" not in json.dumps(client.job().get("logs", []))
    else:
        assert client.log().status == 404


# ---- retry ----------------------------------------------------------------------------------------------------------


def chain(client: Client, reasons: list[str | None]) -> None:
    """Titan's way to try again: a chain of jobs, which ended for these reasons (None: it succeeded)."""
    jobs = client.stage.get("/titan/v1/jobs?n=100").json()["jobs"]
    assert [job.get("reason") for job in jobs] == reasons
    assert [job.get("retry_of") for job in jobs] == [None, *(job["id"] for job in jobs[:-1])]
    assert [job["max_retries"] for job in jobs] == [3, 2, 1, 0][: len(jobs)]


def ends_after_attempts(
    client: Client, end: State, *, seconds: int, failures: int, reasons: list[str | None]
) -> None:
    """However it is tried again, in the end it has this state after so many failures.

    Where one job shows nothing of its attempts, it takes so many seconds.
    """
    client.submit()
    if client.api in ("synapse", "ogc", "ica"):
        client.wait(f"{seconds * 1000 - 1}ms")
        assert client.shows(RUNNING)
        client.wait("1ms")
        assert client.shows(end)
        assert client.api != "ica" or client.job()["execution"]["retryCount"] == 3
        return
    client.wait("10m")
    if client.api == "titan":
        chain(client, reasons)
        assert client.shows(FAILED)
        assert client.listed().popitem()[1] == client.words[end]
    else:
        assert client.shows(end)
        assert len(client.job()["request-errors"]["error-info-instance"]) == failures
        assert client.job()["request-executions"] == 4


@seen_by()
def retry_last_attempt(client: Client) -> None:
    ends_after_attempts(client, SUCCEEDED, seconds=9, failures=3, reasons=[*["bad_exit"] * 3, None])


@seen_by()
def retry_exhausted(client: Client) -> None:
    ends_after_attempts(client, FAILED, seconds=9, failures=4, reasons=["bad_exit"] * 4)


@seen_by()
def retry_chain(client: Client) -> None:
    reasons = ["timeout", "killed", "bad_exit", None]
    ends_after_attempts(client, SUCCEEDED, seconds=17, failures=3, reasons=reasons)


@seen_by()
def retry_waiting(client: Client) -> None:
    client.submit()
    client.wait("3s")
    if client.api == "titan":
        client.wait("4s")
        chain(client, ["bad_exit", None])
        return
    if client.api == "jbpm":
        assert client.job()["request-executions"] == 1
        client.wait("3s")
    else:
        client.wait("59s")
        assert client.shows(RETRYING)
        assert client.api != "synapse" or client.job()["progressMessage"] == "Waiting for the table"
        client.wait("4s")
    assert client.shows(SUCCEEDED)


def retry_afters(client: Client, count: int) -> list[str | None]:
    """The Retry-After of so many status calls, one each second; a call that is answered has none."""
    client.submit()
    seen = []
    for _ in range(count):
        answer = client.poll()
        assert answer.status in (200, 503)
        seen.append(answer.headers.get("retry-after", "absent") if answer.status == 503 else None)
        client.wait("1s")
    assert client.shows(SUCCEEDED)
    return seen


@seen_by()
def retry_after_seconds(client: Client) -> None:
    assert retry_afters(client, 4) == [None, "5", "5", None]


@seen_by()
def retry_after_date(client: Client) -> None:
    dates = ["Fri, 31 Dec 1999 23:59:59 GMT", "Tue, 01 Jan 2030 00:00:20 GMT"]
    assert retry_afters(client, 4) == [None, *dates, None]


@seen_by()
def retry_after_huge(client: Client) -> None:
    assert retry_afters(client, 4) == [None, "31536000", None, None]


@seen_by()
def retry_after_absent(client: Client) -> None:
    assert retry_afters(client, 5) == [None, "absent", "absent", "absent", None]


# ---- token ----------------------------------------------------------------------------------------------------------


@seen_by("synapse", "ica")
def token_expires(client: Client) -> None:
    client.submit()
    assert client.polls(6, "1s") == [200] * 5 + [401]
    assert client.cancel().status == 401
    another = Client(client.api, client.stage, token="another")
    another.id = client.id
    assert another.shows(RUNNING)
    another.wait("4s")
    assert another.shows(SUCCEEDED)


@seen_by("synapse", "jbpm", "ica")
def token_expires_once(client: Client) -> None:
    client.submit()
    assert client.polls(4, "1s") == [200, 200, 401, 200]
    assert client.shows(SUCCEEDED)


@seen_by("synapse", "ica")
def token_forbidden(client: Client) -> None:
    client.submit()
    assert client.poll().status == 200
    client.submit()
    assert [client.poll().status, client.cancel().status] == [403, 403]
    client.submit()
    assert client.poll().status == 200


# ---- worker ---------------------------------------------------------------------------------------------------------


@seen_by()
def worker_dies(client: Client) -> None:
    client.submit()
    client.wait("21s")
    before = client.job()
    client.wait("59s")
    assert client.shows(RUNNING)
    assert client.job() == before
    client.wait("10m")
    assert client.shows(FAILED)
    assert re.search("silent|timeout", client.failure())


@seen_by("titan")
def worker_late(client: Client) -> None:
    client.submit()
    client.claim()
    refused = client.report_success()
    assert (refused.status, refused.json()["id"]) == (409, client.id)
    assert client.report_success().status == 200


@seen_by("titan")
def worker_claim_lost(client: Client) -> None:
    client.submit()
    with broken("response_lost"):
        client.claim()
    assert client.shows(RUNNING)
    client.wait("62s")
    assert client.shows(FAILED)
    lost = client.id
    assert client.claim().status == 200
    assert client.job()["retry_of"] == lost


@seen_by("titan")
def worker_queue_down(client: Client) -> None:
    client.submit()
    seen = [client.claim() for _ in range(5)]
    assert [answer.status for answer in seen] == [503, 503, 200, 200, 200]
    assert [len(answer.json()["jobs"]) for answer in seen[2:]] == [0, 0, 1]


# ---- flavour --------------------------------------------------------------------------------------------------------


@seen_by("jbpm")
def flavour_wrapped_dates(client: Client) -> None:
    client.submit()
    assert client.job()["request-scheduled-date"] == {"java.util.Date": client.stage.world.start_ms}


@seen_by("titan")
def flavour_status_words(client: Client) -> None:
    words = []
    for _ in range(2):
        client.submit(jobs=[{"image": "acme/resize:3", "max_retries": 0}])
        client.wait("4s")
        words.append(client.job()["status"])
    assert words == ["success", "error"]


@seen_by("ogc")
def flavour_unity(client: Client) -> None:
    answer = client.submit()
    assert answer.status == 200
    client.id = dict(answer.json())["job_id"]
    client.wait("4s")
    assert client.shows(SUCCEEDED)
    assert client.job()["progress"] is None
    assert not client.job()["created"].endswith("Z")
    assert client.result().json() == {}
    assert client.poll("no-such-job").status == 500


# ---- list -----------------------------------------------------------------------------------------------------------


@seen_by("jbpm", "ogc", "ica", "titan")
def list_stale(client: Client) -> None:
    client.submit()
    client.wait("40s")
    assert client.shows(SUCCEEDED)
    for pause in ("0s", "29s"):
        client.wait(pause)
        assert client.listed() == {client.id: client.words[RUNNING]}
    client.wait("1s")
    assert client.listed() == {client.id: client.words[SUCCEEDED]}


@seen_by("jbpm", "ogc", "ica", "titan")
def list_incomplete(client: Client) -> None:
    client.submit()
    client.wait("9s")
    assert client.shows(SUCCEEDED)
    assert client.listed() == {}
    client.wait("1s")
    assert list(client.listed()) == [client.id]


@seen_by("ogc", "ica")
def list_page_token_expires(client: Client) -> None:
    for _ in range(3):
        client.submit()

    def page(more: str) -> Answer:
        path, _, _ = str(client.service.jobs).partition("?")
        return client.ask("GET", f"{path}?{more}")

    first = page("limit=2" if client.api == "ogc" else "pageSize=2")
    assert first.status == 200
    following = (
        "limit=2&offset=2"
        if client.api == "ogc"
        else f"pageToken={quote(first.json()['nextPageToken'], safe='')}"
    )
    assert [page(following).status for _ in range(2)] == [400, 200]


# ---- submit ---------------------------------------------------------------------------------------------------------


def jobs_made(client: Client) -> int:
    return len(client.stage.world.jobs(client.api))


@seen_by()
def submit_unavailable(client: Client) -> None:
    refused = client.submit()
    assert (refused.status, refused.headers["retry-after"], jobs_made(client)) == (503, "1", 0)
    assert (client.submit().status, jobs_made(client)) == (201, 1)


@seen_by()
def submit_internal_error(client: Client) -> None:
    refused = client.submit()
    assert (refused.status, jobs_made(client)) == (500, 0)
    if client.api == "ica":
        assert refused.json()["code"] == ""
        assert "try again" in refused.json()["message"]
    assert (client.submit().status, jobs_made(client)) == (201, 1)


@seen_by()
def submit_connection_reset(client: Client) -> None:
    with broken("connection_reset"):
        client.submit()
    assert jobs_made(client) == 0
    assert (client.submit().status, jobs_made(client)) == (201, 1)


@seen_by()
def submit_response_lost(client: Client) -> None:
    with broken("response_lost"):
        client.submit()
    assert jobs_made(client) == 1
    assert (client.submit().status, jobs_made(client)) == (201, 2)
    if client.service.jobs is not None:
        assert len(client.listed()) == 2


@seen_by()
def submit_duplicate(client: Client) -> None:
    assert client.submit().status == 201
    assert jobs_made(client) == 2
    assert client.shows(QUEUED)
    assert [job.id for job in client.stage.world.jobs(client.api)][1] == client.id


@seen_by()
def submit_not_yet_visible(client: Client) -> None:
    client.submit()
    assert client.polls(2, "1s") == [404, 404]
    assert client.shows(RUNNING)
    client.wait("2s")
    assert client.shows(SUCCEEDED)


# ---- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "api"), [(name, api) for name, (names, _) in EXPECTED.items() for api in names]
)
def test_a_client_sees_what_the_scenario_says(name: str, api: str, waited: list[float]) -> None:
    client = Client(api, Stage(name, waited=waited))
    EXPECTED[name][1](client)
    assert client.stage.broken_documents == []


def test_of_every_shipped_scenario_is_said_what_clients_see() -> None:
    assert set(EXPECTED) | BASIC == set(shipped_scenarios())


def test_check_warns_of_nothing_in_what_is_shipped() -> None:
    files = map(str, shipped_scenarios().values())
    result = CliRunner().invoke(main, ["check", "--format", "json", *files])
    assert result.exit_code == 0
    # What an API cannot express is a note, and no fault of the file.
    assert [one for one in json.loads(result.stdout) if one["severity"] in ("error", "warning")] == []


def test_the_list_shows_scenarios_about_the_same_thing_together() -> None:
    rows = json.loads(CliRunner().invoke(main, ["list", "scenarios", "--format", "json"]).stdout)
    assert {row["name"] for row in rows} == set(shipped_scenarios())
    groups = [row["group"] for row in rows]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    assert groups == sorted(groups, key=GROUPS.index)
    assert {row["name"] for row in rows if row["group"] == "basic"} == BASIC
    assert {row["name"].partition("-")[0] for row in rows if row["name"] not in BASIC} == set(GROUPS[1:])


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_a_description_is_one_to_three_sentences_that_fit_a_terminal(name: str) -> None:
    description = scenario(name).description
    assert 60 < len(description) < 450
    assert 1 <= len(re.findall(r"[.!?](?:\s|$)", description)) <= 4


# ---- timelines ------------------------------------------------------------------------------------------------------

TIMELINES = Path(__file__).parent / "timelines"


def timeline_of(name: str) -> str:
    """What `understudy timeline` shows of a shipped scenario, for all APIs."""

    def assembled(settings: Settings) -> Front:
        return front(name, seed=settings.seed, served=settings.apis)

    with pytest.MonkeyPatch.context() as patch:
        # To put together a server anew for each API would take a minute for all scenarios.
        patch.setattr(timeline, "assemble", assembled)
        return timeline.as_text(timeline.timelines(name, APIS)) + "\n"


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_the_timeline_is_the_one_that_was_written_down(name: str) -> None:
    assert timeline_of(name) == (TIMELINES / f"{name}.txt").read_text()


def test_no_timeline_is_left_of_a_scenario_that_is_gone() -> None:
    assert {path.stem for path in TIMELINES.iterdir()} == set(shipped_scenarios())


def test_a_timeline_does_not_depend_on_how_its_server_was_put_together() -> None:
    told = timeline.as_text(timeline.timelines("fault-dribble", APIS)) + "\n"
    assert told == timeline_of("fault-dribble")


# ---- the same seed, the same conversation ---------------------------------------------------------------------------

DRAWN = {"slow", "fault-flaky", "fault-slow-answers", "queue-long"}
"""Scenarios in which something is drawn."""


def conversation(name: str, seed: int, waited: list[float]) -> tuple[list[str], list[object]]:
    """All five clients talk to one world: every answer byte by byte, and what of it does not depend on ids."""
    stage = Stage(name, seed=seed, waited=waited)
    clients = [Client(api, stage) for api in APIS]
    said: list[str] = []
    shape: list[object] = []

    def note(ask: Callable[[], Answer]) -> None:
        try:
            answer = ask()
        except Broken as fault:
            said.append(str(fault))
            shape.append(str(fault))
        else:
            said.append(f"{answer.status} {sorted(answer.headers.items())} {answer.content!r}")
            shape.append(answer.status)

    for round_number, pause in enumerate(["1s", "1s", "1s", "2s", "20s", "1m", "3h"]):
        for client in clients:
            if round_number < 2:
                note(client.submit)
            for job in stage.world.jobs(client.api):
                note(lambda client=client, job=job: client.poll(job.id))  # type: ignore[misc]  # bound now
                shape.append(job.state)
            jobs = client.service.jobs
            if jobs is not None:
                note(lambda client=client, jobs=jobs: client.ask("GET", jobs))  # type: ignore[misc]  # bound now
            if client.id and client.api in ("ogc", "titan"):
                note(client.result if client.api == "ogc" else client.log)
            if round_number == 2 and client.id:
                note(client.cancel)
        note(lambda: stage.get("/titan/v1/jobs/consume?n=1"))
        stage.advance(pause)
    for client in clients:
        shape += [(move.state, move.at_ms) for job in stage.world.jobs(client.api) for move in job.history]
    assert stage.broken_documents == []
    return said, shape


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_the_same_seed_gives_the_same_conversation_and_only_what_is_drawn_differs_by_seed(
    name: str, waited: list[float]
) -> None:
    spoken = []
    for seed in (3, 3, 4):
        waited.clear()
        said, shape = conversation(name, seed, waited)
        spoken.append((said, shape, list(waited)))
    assert spoken[0] == spoken[1]
    assert (spoken[0][1:] != spoken[2][1:]) == (name in DRAWN)


# ---- on the wire ----------------------------------------------------------------------------------------------------

JOBS = "/v1/jobs"
NEW_JOB = json.dumps({"jobs": [{"image": "acme/resize:3"}]})


@contextmanager
def titan(name: str) -> Iterator[Callable[..., bytes]]:
    """A client of a Titan of its own, with a connection for each call; it reads whole answers, and waits a second."""

    with serving("titan", "--scenario", name, "--time", "frozen") as running:
        address = urlsplit(running.url)

        def call(method: str, path: str, body: str | None = None) -> bytes:
            with closing(HTTPConnection(str(address.hostname), address.port, timeout=1)) as connection:
                connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
                return connection.getresponse().read()

        yield call


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("fault-connection-reset", ConnectionResetError),
        ("fault-empty-response", RemoteDisconnected),
        ("fault-truncated-body", IncompleteRead),
        ("fault-hang", TimeoutError),
    ],
)
def test_a_broken_status_call_is_a_broken_connection(name: str, problem: type[Exception]) -> None:
    with titan(name) as call:
        job = f"/v1/job/{json.loads(call('POST', JOBS, NEW_JOB))['jobs'][0]['id']}"
        assert b'"queued"' in call("GET", job)
        with pytest.raises(problem) as raised:
            call("GET", job)
        assert raised.type is problem
        assert b'"queued"' in call("GET", job)


@pytest.mark.parametrize(("name", "made"), [("submit-connection-reset", 0), ("submit-response-lost", 1)])
def test_a_broken_submit_looks_the_same_whether_it_made_a_job_or_not(name: str, made: int) -> None:
    with titan(name) as call:
        with pytest.raises(ConnectionResetError):
            call("POST", JOBS, NEW_JOB)
        assert len(json.loads(call("GET", JOBS))["jobs"]) == made


if __name__ == "__main__":
    TIMELINES.mkdir(exist_ok=True)
    for path in TIMELINES.iterdir():
        path.unlink()
    for shipped in shipped_scenarios():
        (TIMELINES / f"{shipped}.txt").write_text(timeline_of(shipped))
