"""Titan as its clients see it: every cell of its table of operations and states, the queue, the workers, the retries."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.world import Limits
from tests.kit import Answer, Kit

JOBS = "/titan/v1/jobs"
UNKNOWN = "6f0c1f0a-3d5e-4d5b-9a0e-2f5f0b7c9a11"
STATES = ("delayed", "queued", "running", "succeeded", "failed", "cancelled", "unknown")
BOUNDARY = "----a-boundary"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}

FAIL_FIELDS = b'Content-Disposition: form-data; name="reason"\r\n\r\nbad_exit'
LOG_FILE = b'Content-Disposition: form-data; name="log"; filename="job.log"\r\nContent-Type: text/plain\r\n\r\nit ran\n'


def serve(scenario: str = "happy", *, seed: int = 7) -> Kit:
    """A server that serves this API alone."""
    return Kit(scenario, seed=seed, apis=("titan",))


def multipart(*parts: bytes) -> bytes:
    """A body of parts, each with its headers."""
    lines = [b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts]
    return b"".join(lines) + b"--" + BOUNDARY.encode() + b"--\r\n"


def log_part(log: bytes, headers: str = '; filename="job.log"\r\nContent-Type: text/plain') -> bytes:
    """The part that holds a worker's log."""
    return f'Content-Disposition: form-data; name="log"{headers}\r\n\r\n'.encode() + log


def enqueue(kit: Kit, **fields: Any) -> dict[str, Any]:
    """One new job, without retries unless said otherwise."""
    answer = kit.post(JOBS, json={"jobs": [{"image": "acme/resize:3", "max_retries": 0} | fields]})
    assert answer.status == 201, answer.text
    [job] = answer.json()["jobs"]
    return dict(job)


def consume(kit: Kit, count: int = 1) -> list[dict[str, Any]]:
    """What a worker gets when it asks for so many jobs."""
    return list(kit.get(f"{JOBS}/consume?n={count}").json()["jobs"])


def read(kit: Kit, job_id: str) -> dict[str, Any]:
    """The job as it is now."""
    return dict(kit.get(f"/titan/v1/job/{job_id}").json()["job"])


def jobs(kit: Kit) -> list[dict[str, Any]]:
    """All jobs there are."""
    return list(kit.get(f"{JOBS}?n=1000").json()["jobs"])


def report(kit: Kit, job_id: str, outcome: str, *parts: bytes) -> Answer:
    """A worker's `success` or `fail`."""
    given = parts or ((LOG_FILE,) if outcome == "success" else (FAIL_FIELDS, LOG_FILE))
    return kit.post(f"/titan/v1/job/{job_id}/{outcome}", data=multipart(*given), headers=MULTIPART)


def job_in(kit: Kit, state: str) -> str:
    """The id of the world's only job, brought into a state by its clients."""
    if state == "unknown":
        return UNKNOWN
    job_id: str = enqueue(kit, delay=100 if state == "delayed" else 0)["id"]
    if state in ("running", "succeeded", "failed"):
        consume(kit)
    if state in ("succeeded", "failed"):
        report(kit, job_id, "success" if state == "succeeded" else "fail")
    if state == "cancelled":
        kit.post(f"/titan/v1/job/{job_id}/cancel", data=b"why now")
    return job_id


def call(kit: Kit, operation: str, job_id: str) -> Answer:
    """One operation on a job, as its clients make it."""
    path = f"/titan/v1/job/{job_id}"
    match operation:
        case "get":
            return kit.get(path)
        case "consume":
            return kit.get(f"{JOBS}/consume")
        case "success" | "fail":
            return report(kit, job_id, operation)
        case "log":
            return kit.get(f"{path}/log", headers={"Accept": "text/plain"})
        case "delete":
            return kit.delete(path)
        case _:
            return kit.post(f"{path}/{operation}")


def in_words(answer: Answer) -> str:
    """An answer as the table below writes it: status, what the body is, the status word in it."""
    if not answer.content:
        return f"{answer.status} empty"
    if answer.headers["content-type"].startswith("text/plain"):
        return f"{answer.status} text"
    body = answer.json()
    if body.keys() == {"jobs"}:
        return f"{answer.status} jobs " + (" ".join(job["status"] for job in body["jobs"]) or "none")
    if body.keys() == {"job"}:
        return f"{answer.status} job {body['job']['status']}"
    if body.keys() == {"id", "status"}:
        return f"{answer.status} status {body['status']}"
    assert isinstance(body["error"]["message"], str)
    return f"{answer.status} error"


NOT_RUNNING = {state: f"409 status {state}" for state in STATES} | {"unknown": "404 error"}

ANSWERS: dict[str, dict[str, str]] = {
    "get": {state: f"200 job {state}" for state in STATES} | {"unknown": "404 error"},
    "consume": dict.fromkeys(STATES, "200 jobs none") | {"queued": "200 jobs running"},
    "touch": NOT_RUNNING | {"running": "200 empty"},
    "success": NOT_RUNNING | {"running": "200 job succeeded"},
    "fail": NOT_RUNNING | {"running": "200 job failed"},
    "cancel": {
        **dict.fromkeys(("delayed", "queued", "running"), "200 job cancelled"),
        **dict.fromkeys(("succeeded", "failed", "cancelled"), "409 error"),
        "unknown": "404 error",
    },
    "retry": NOT_RUNNING
    | {"running": "409 status running"}
    | dict.fromkeys(("succeeded", "failed", "cancelled"), "200 job queued"),
    "log": {
        **dict.fromkeys(("delayed", "queued", "running"), "428 error"),
        "succeeded": "200 text",
        "failed": "200 text",
        "cancelled": "404 error",
        "unknown": "404 error",
    },
    "delete": NOT_RUNNING
    | {"running": "409 status running"}
    | dict.fromkeys(("succeeded", "failed", "cancelled", "unknown"), "200 empty"),
}
AFTERWARDS: dict[str, dict[str, str]] = {
    "consume": {"queued": "running"},
    "success": {"running": "succeeded"},
    "fail": {"running": "failed"},
    "cancel": dict.fromkeys(("delayed", "queued", "running"), "cancelled"),
    "delete": dict.fromkeys(("succeeded", "failed", "cancelled"), "unknown"),
}
CELLS = [
    pytest.param(operation, state, answer, id=f"{operation} of {state} answers {answer}")
    for operation, row in ANSWERS.items()
    for state, answer in row.items()
]


@pytest.mark.parametrize(("operation", "state", "expected"), CELLS)
def test_each_operation_answers_by_the_state_of_the_job(operation: str, state: str, expected: str) -> None:
    kit = serve()
    job_id = job_in(kit, state)
    assert in_words(call(kit, operation, job_id)) == expected
    after = AFTERWARDS.get(operation, {}).get(state, state)
    then = kit.get(f"/titan/v1/job/{job_id}")
    assert in_words(then) == ("404 error" if after == "unknown" else f"200 job {after}")


# ---- enqueueing -------------------------------------------------------------------------------------------------


def test_a_new_job_is_shown_with_its_defaults_and_no_field_without_a_value() -> None:
    answer = serve().post(JOBS, json={"jobs": [{"image": "acme/resize:3"}]})
    assert answer.status == 201
    [job] = answer.json()["jobs"]
    assert job == {
        "id": job["id"],
        "status": "queued",
        "image": "acme/resize:3",
        "image_id": "acme/resize:3",
        "delay": 0,
        "timeout": 60,
        "priority": 0,
        "max_retries": 3,
        "retries_delay": 60,
        "created_at": "2030-01-01T00:00:00.000Z",
    }


def test_a_batch_is_answered_in_its_own_order() -> None:
    kit = serve()
    images = ["c:1", "a:1", "b:1"]
    answer = kit.post(JOBS, json={"jobs": [{"image": image, "payload": image} for image in images]})
    assert [job["image"] for job in answer.json()["jobs"]] == images
    assert [job["payload"] for job in answer.json()["jobs"]] == images


@pytest.mark.parametrize(
    ("second", "field"),
    [
        ({}, "image"),
        ({"image": ""}, "image"),
        ({"image": None}, "image"),
        ({"image": "a:1", "payload": 7}, "payload"),
        ({"image": "a:1", "delay": -1}, "delay"),
        ({"image": "a:1", "timeout": "60"}, "timeout"),
        ({"image": "a:1", "priority": 3}, "priority"),
        ({"image": "a:1", "max_retries": 26}, "max_retries"),
        ({"image": "a:1", "retries_delay": -1}, "retries_delay"),
    ],
)
def test_one_bad_job_keeps_the_whole_batch_out_and_is_named(second: dict[str, Any], field: str) -> None:
    kit = serve()
    answer = kit.post(JOBS, json={"jobs": [{"image": "good:1"}, second]})
    assert answer.status == 400
    assert answer.json()["error"]["fields"] == field
    assert field in answer.json()["error"]["message"]
    assert jobs(kit) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"jobs": {}}', b"{}"])
def test_a_body_that_is_no_list_of_jobs_is_refused(body: bytes) -> None:
    answer = serve().post(JOBS, data=body, headers={"Content-Type": "application/json"})
    assert in_words(answer) == "400 error"


def test_a_batch_for_which_there_is_no_room_is_refused_as_a_whole() -> None:
    kit = Kit(apis=("titan",), limits=Limits(jobs=2))
    enqueue(kit)
    answer = kit.post(JOBS, json={"jobs": [{"image": "a:1"}, {"image": "b:1"}]})
    assert in_words(answer) == "503 error"
    assert len(jobs(kit)) == 1


def test_payloads_may_be_larger_than_bodies_elsewhere() -> None:
    kit = serve()
    payload = "x" * 3_000_000
    job_id = enqueue(kit, payload=payload)["id"]
    assert read(kit, job_id)["payload"] == payload


def test_a_delayed_job_is_queued_when_its_delay_has_passed() -> None:
    kit = serve()
    job = enqueue(kit, delay=30)
    assert job["status"] == "delayed"
    kit.advance("29999ms")
    assert consume(kit) == []
    kit.advance("1ms")
    assert read(kit, job["id"])["status"] == "queued"
    assert [taken["id"] for taken in consume(kit)] == [job["id"]]


# ---- taking jobs ------------------------------------------------------------------------------------------------


def test_consume_hands_out_high_priority_first_and_first_come_first_served_within_one() -> None:
    kit = serve()
    names = {
        enqueue(kit, priority=priority)["id"]: name
        for name, priority in [
            ("low 1", 0),
            ("middle 1", 1),
            ("high 1", 2),
            ("low 2", 0),
            ("high 2", 2),
            ("middle 2", 1),
        ]
    }
    assert [names[job["id"]] for job in consume(kit, 10)] == [
        "high 1", "high 2", "middle 1", "middle 2", "low 1", "low 2",
    ]  # fmt: skip


def test_first_come_is_counted_from_the_entry_into_the_queue() -> None:
    kit = serve()
    delayed = enqueue(kit, delay=10)
    kit.advance("5s")
    straight = enqueue(kit)
    kit.advance("5s")
    assert [job["id"] for job in consume(kit, 2)] == [straight["id"], delayed["id"]]


def test_consume_takes_one_job_unless_asked_for_more() -> None:
    kit = serve()
    for _ in range(3):
        enqueue(kit)
    assert len(kit.get(f"{JOBS}/consume").json()["jobs"]) == 1
    assert len(consume(kit, 5)) == 2


def test_a_job_is_handed_to_one_worker_only() -> None:
    kit = serve()
    made = {enqueue(kit)["id"] for _ in range(6)}
    taken = [job["id"] for _ in range(4) for job in consume(kit, 2)]
    assert sorted(taken) == sorted(made)


def test_a_consumed_job_says_when_it_was_started() -> None:
    kit = serve()
    enqueue(kit)
    kit.advance("250ms")
    [job] = consume(kit)
    assert (job["status"], job["started_at"]) == ("running", "2030-01-01T00:00:00.250Z")
    assert "completed_at" not in job


def test_peek_claims_nothing() -> None:
    kit = serve()
    made = [enqueue(kit)["id"] for _ in range(12)]
    assert len(kit.get(JOBS).json()["jobs"]) == 10
    assert sorted(job["id"] for job in jobs(kit)) == sorted(made)
    assert {job["status"] for job in jobs(kit)} == {"queued"}
    assert len(consume(kit, 20)) == 12


def test_peek_shows_the_newest_job_last_whatever_became_of_the_others() -> None:
    kit = serve()
    made = [
        enqueue(kit, priority=priority, delay=delay)["id"] for priority, delay in [(0, 0), (2, 0), (1, 5)]
    ]
    [taken] = consume(kit)
    kit.advance("1s")
    report(kit, taken["id"], "success")
    made.append(enqueue(kit)["id"])
    kit.advance("1h")
    assert [job["id"] for job in jobs(kit)] == made
    assert [job["id"] for job in kit.get(f"{JOBS}?n=2").json()["jobs"]] == made[:2]
    assert kit.get(f"{JOBS}?n=0").json() == {"jobs": []}


def test_no_waiting_job_is_missing_from_a_peek_that_is_large_enough() -> None:
    kit = serve()
    waiting = {enqueue(kit, delay=delay)["id"] for delay in (0, 100) for _ in range(15)}
    seen = kit.get(f"{JOBS}?n=30").json()["jobs"]
    assert {job["id"] for job in seen} == waiting
    assert len(seen) == 30


def test_peek_shows_jobs_in_every_state_until_they_are_deleted() -> None:
    kit = serve()
    finished = job_in(kit, "succeeded")
    enqueue(kit, delay=5)
    assert sorted(job["status"] for job in jobs(kit)) == ["delayed", "succeeded"]
    kit.delete(f"/titan/v1/job/{finished}")
    assert [job["status"] for job in jobs(kit)] == ["delayed"]


@pytest.mark.parametrize("path", [JOBS, f"{JOBS}/consume"])
@pytest.mark.parametrize("count", ["-1", "many"])
def test_a_count_that_is_none_is_refused_by_name(path: str, count: str) -> None:
    answer = serve().get(f"{path}?n={count}")
    assert answer.status == 400
    assert answer.json()["error"]["fields"] == "n"


# ---- the worker's time ------------------------------------------------------------------------------------------


def test_a_silent_worker_loses_its_job_when_the_timeout_has_passed() -> None:
    kit = serve()
    job_id = enqueue(kit, timeout=2)["id"]
    kit.advance("10s")
    consume(kit)
    kit.advance("1999ms")
    assert read(kit, job_id)["status"] == "running"
    kit.advance("1ms")
    job = read(kit, job_id)
    assert (job["status"], job["reason"]) == ("failed", "timeout")
    assert job["completed_at"] == "2030-01-01T00:00:12.000Z"


def test_touch_gives_the_worker_its_whole_timeout_again() -> None:
    kit = serve()
    job_id = enqueue(kit, timeout=2)["id"]
    consume(kit)
    kit.advance("1500ms")
    call(kit, "touch", job_id)
    kit.advance("1999ms")
    assert read(kit, job_id)["status"] == "running"
    kit.advance("1ms")
    assert read(kit, job_id)["reason"] == "timeout"


def test_a_worker_that_touches_in_time_keeps_its_job_for_as_long_as_it_likes() -> None:
    kit = serve()
    slow, silent = (enqueue(kit, timeout=2)["id"] for _ in range(2))
    consume(kit, 2)
    for _ in range(10):
        kit.advance("1999ms")
        assert in_words(call(kit, "touch", slow)) == "200 empty"
    assert read(kit, silent)["reason"] == "timeout"
    kit.advance("1999ms")
    assert in_words(report(kit, slow, "success")) == "200 job succeeded"
    assert read(kit, slow)["completed_at"] == "2030-01-01T00:00:21.989Z"


def test_a_touch_changes_nothing_that_can_be_seen() -> None:
    kit = serve()
    job_id = job_in(kit, "running")
    before = read(kit, job_id)
    kit.advance("1s")
    call(kit, "touch", job_id)
    assert read(kit, job_id) == before


@pytest.mark.parametrize(
    ("after", "expected"), [("59999ms", "200 job succeeded"), ("60s", "409 status failed")]
)
def test_a_job_without_a_timeout_of_its_own_has_a_minute(after: str, expected: str) -> None:
    kit = serve()
    job_id = enqueue(kit)["id"]
    consume(kit)
    kit.advance(after)
    assert in_words(report(kit, job_id, "success")) == expected


def test_a_job_that_ran_out_of_time_is_not_handed_out_again_but_its_retry_is() -> None:
    kit = serve()
    job_id = enqueue(kit, timeout=2, max_retries=1, retries_delay=0)["id"]
    consume(kit)
    kit.advance("2s")
    [retry] = consume(kit, 5)
    assert (retry["id"] != job_id, retry["retry_of"], retry["timeout"]) == (True, job_id, 2)
    kit.advance("2s")
    assert read(kit, retry["id"])["reason"] == "timeout"
    assert consume(kit, 5) == []


def test_a_touch_means_nothing_to_a_simulated_worker() -> None:
    kit = serve("titan-self-running")
    job_id = enqueue(kit, timeout=1)["id"]
    kit.advance("2s")
    assert in_words(call(kit, "touch", job_id)) == "200 empty"
    kit.advance("2s")
    assert read(kit, job_id)["status"] == "succeeded"


@pytest.mark.parametrize("operation", ["success", "fail", "touch"])
def test_a_worker_that_comes_late_is_told_and_changes_nothing(operation: str) -> None:
    kit = serve()
    job_id = enqueue(kit, timeout=2)["id"]
    consume(kit)
    kit.advance("2s")
    before = read(kit, job_id)
    answer = call(kit, operation, job_id)
    assert (answer.status, answer.json()) == (409, {"id": job_id, "status": "failed"})
    assert read(kit, job_id) == before


@pytest.mark.parametrize("operation", ["success", "fail", "touch"])
def test_a_worker_whose_job_was_cancelled_is_told(operation: str) -> None:
    kit = serve()
    job_id = enqueue(kit)["id"]
    consume(kit)
    call(kit, "cancel", job_id)
    answer = call(kit, operation, job_id)
    assert (answer.status, answer.json()) == (409, {"id": job_id, "status": "cancelled"})
    assert read(kit, job_id)["reason"] == "client_request"


# ---- retries ----------------------------------------------------------------------------------------------------


def chain(kit: Kit) -> list[dict[str, Any]]:
    """All jobs, from the first attempt along `retry_of`."""
    by_parent = {job.get("retry_of"): job for job in jobs(kit)}
    links: list[dict[str, Any]] = []
    parent = None
    while parent in by_parent:
        links.append(by_parent[parent])
        parent = by_parent[parent]["id"]
    assert len(links) == len(by_parent)
    return links


def test_a_failing_job_becomes_a_chain_of_new_jobs_each_a_delay_later() -> None:
    kit = serve()
    enqueue(kit, max_retries=2, retries_delay=10, payload="p", priority=1)
    for _ in range(3):
        [taken] = consume(kit, 5)
        report(kit, taken["id"], "fail")
        kit.advance("9999ms")
        assert consume(kit, 5) == []
        kit.advance("1ms")
    assert consume(kit) == []
    links = chain(kit)
    assert [job["max_retries"] for job in links] == [2, 1, 0]
    assert [job["created_at"][17:19] for job in links] == ["00", "00", "10"]
    assert [job["started_at"][17:19] for job in links] == ["00", "10", "20"]
    assert {(job["status"], job["reason"], job["payload"], job["priority"]) for job in links} == {
        ("failed", "bad_exit", "p", 1)
    }


def test_a_retry_waits_as_delayed_job_with_the_delay_of_retries() -> None:
    kit = serve()
    enqueue(kit, max_retries=1, retries_delay=10)
    [taken] = consume(kit)
    report(kit, taken["id"], "fail")
    first, second = chain(kit)
    assert (first["status"], second["status"], second["delay"]) == ("failed", "delayed", 10)
    assert "retry_of" not in first


def test_a_retry_without_delay_is_queued_at_once() -> None:
    kit = serve()
    enqueue(kit, max_retries=1, retries_delay=0)
    [taken] = consume(kit)
    report(kit, taken["id"], "fail")
    assert [job["status"] for job in chain(kit)] == ["failed", "queued"]


def test_a_timeout_is_retried_as_well() -> None:
    kit = serve()
    enqueue(kit, max_retries=1, retries_delay=0, timeout=2)
    consume(kit)
    kit.advance("2s")
    assert [job["status"] for job in chain(kit)] == ["failed", "queued"]


def test_cancelled_and_succeeded_jobs_are_not_retried_by_themselves() -> None:
    kit = serve()
    for _ in range(2):
        enqueue(kit, max_retries=3, retries_delay=0)
    done, cancelled = consume(kit, 2)
    report(kit, done["id"], "success")
    call(kit, "cancel", cancelled["id"])
    kit.advance("1h")
    assert sorted(job["status"] for job in jobs(kit)) == ["cancelled", "succeeded"]


def test_a_failed_job_with_retries_of_its_own_is_not_retried_by_hand() -> None:
    kit = serve()
    job_id = enqueue(kit, max_retries=1)["id"]
    consume(kit)
    report(kit, job_id, "fail")
    answer = call(kit, "retry", job_id)
    assert (answer.status, answer.json()) == (409, {"id": job_id, "status": "failed"})
    assert len(jobs(kit)) == 2


@pytest.mark.parametrize(("state", "retries"), [("succeeded", 3), ("cancelled", 3), ("failed", 0)])
def test_a_retry_by_hand_is_a_new_job_and_leaves_the_old_one_alone(state: str, retries: int) -> None:
    kit = serve()
    old_id = enqueue(kit, max_retries=retries, payload="p", priority=2, retries_delay=7)["id"]
    if state == "cancelled":
        call(kit, "cancel", old_id)
    else:
        consume(kit)
        report(kit, old_id, "success" if state == "succeeded" else "fail")
    old = read(kit, old_id)
    kit.advance("5s")
    new = call(kit, "retry", old_id).json()["job"]
    assert new == {
        "id": new["id"],
        "status": "queued",
        "image": "acme/resize:3",
        "image_id": "acme/resize:3",
        "payload": "p",
        "delay": 0,
        "timeout": 60,
        "priority": 2,
        "max_retries": retries,
        "retries_delay": 7,
        "created_at": "2030-01-01T00:00:05.000Z",
        "retry_of": old_id,
    }
    assert new["id"] != old_id
    assert read(kit, old_id) == old


# ---- reports and logs -------------------------------------------------------------------------------------------


def log_after(kit: Kit, outcome: str, *parts: bytes) -> Answer:
    """The log of a job that a worker finished with these parts."""
    job_id = enqueue(kit)["id"]
    consume(kit)
    answer = report(kit, job_id, outcome, *parts)
    assert answer.status == 200, answer.text
    return call(kit, "log", job_id)


LOGS = [
    b"",
    b"one line\n",
    b"\r\nCR LF\r\n--\r\n",
    "größer → 100 %\n".encode(),
    b"\x00not \xff\xfe UTF-8\n",
    b"x" * 70_000,
]


@pytest.mark.parametrize("log", LOGS, ids=lambda log: repr(log[:20]))
@pytest.mark.parametrize(
    "headers",
    [
        '; filename="job.log"\r\nContent-Type: application/octet-stream',
        '; filename="job.txt"\r\nContent-Type: text/plain; charset=utf-8',
        "",
        "\r\nContent-Type: application/octet-stream",
    ],
    ids=["file of unknown type", "text file", "plain field", "field without file name"],
)
def test_a_log_is_kept_byte_for_byte_however_it_was_sent(headers: str, log: bytes) -> None:
    answer = log_after(serve(), "success", log_part(log, headers))
    assert (answer.status, answer.content) == (200, log)
    assert answer.headers["content-type"].startswith("text/plain")


def test_the_log_of_a_failed_job_is_kept_and_its_reason_shown() -> None:
    kit = serve()
    job_id = enqueue(kit)["id"]
    consume(kit)
    kit.advance("1500ms")
    reason = b'Content-Disposition: form-data; name="reason"\r\n\r\nkilled'
    details = b'Content-Disposition: form-data; name="details"\r\n\r\nout of memory'
    job = report(kit, job_id, "fail", reason, details, log_part(b"dying")).json()["job"]
    assert (job["reason"], job["completed_at"]) == ("killed", "2030-01-01T00:00:01.500Z")
    assert "details" not in job
    assert call(kit, "log", job_id).content == b"dying"


def test_a_log_goes_with_its_job() -> None:
    kit = serve()
    job_id = job_in(kit, "succeeded")
    assert call(kit, "log", job_id).content == b"it ran\n"
    call(kit, "delete", job_id)
    assert call(kit, "log", job_id).status == 404


def test_a_refusal_of_a_log_is_json_for_a_client_that_wants_text() -> None:
    kit = serve()
    answer = call(kit, "log", job_in(kit, "running"))
    assert answer.status == 428
    assert answer.headers["content-type"].startswith("application/json")


@pytest.mark.parametrize(
    ("outcome", "parts", "field"),
    [
        ("success", [FAIL_FIELDS], "log"),
        ("fail", [FAIL_FIELDS], "log"),
        ("fail", [LOG_FILE], "reason"),
        (
            "fail",
            [b'Content-Disposition: form-data; name="reason"\r\n\r\nclient_request', LOG_FILE],
            "reason",
        ),
    ],
)
def test_a_report_without_its_parts_is_refused_by_name(outcome: str, parts: list[bytes], field: str) -> None:
    kit = serve()
    job_id = job_in(kit, "running")
    answer = report(kit, job_id, outcome, *parts)
    assert answer.status == 400
    assert answer.json()["error"]["fields"] == field
    assert read(kit, job_id)["status"] == "running"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"log=it+ran"),
        ("multipart/form-data", multipart(LOG_FILE)),
        (f"multipart/form-data; boundary={BOUNDARY}", b"log=it+ran"),
        (f"multipart/form-data; boundary={BOUNDARY}", b""),
    ],
    ids=["urlencoded without boundary", "no boundary", "urlencoded", "empty"],
)
def test_a_report_that_is_no_multipart_is_refused(content_type: str, body: bytes) -> None:
    kit = serve()
    job_id = job_in(kit, "running")
    answer = kit.post(f"/titan/v1/job/{job_id}/success", data=body, headers={"Content-Type": content_type})
    assert in_words(answer) == "400 error"
    assert read(kit, job_id)["status"] == "running"


# ---- what real clients send -------------------------------------------------------------------------------------


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
@pytest.mark.parametrize("details", [b"why now", b'"why now"', b"", b"{", "größer".encode()])
def test_the_reason_of_a_cancel_may_be_bare_or_quoted_or_missing(
    details: bytes, content_type: str | None
) -> None:
    kit = serve()
    job_id = job_in(kit, "queued")
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = kit.post(f"/titan/v1/job/{job_id}/cancel", data=details, headers=headers)
    assert in_words(answer) == "200 job cancelled"
    assert answer.json()["job"]["reason"] == "client_request"


@pytest.mark.parametrize(
    ("method", "path", "state", "expected"),
    [
        ("GET", JOBS, "queued", "200 jobs queued"),
        ("GET", f"{JOBS}/consume", "queued", "200 jobs running"),
        ("GET", "/titan/v1/job/{id}", "queued", "200 job queued"),
        ("GET", "/titan/v1/job/{id}/log", "succeeded", "200 text"),
        ("DELETE", "/titan/v1/job/{id}", "succeeded", "200 empty"),
        ("POST", "/titan/v1/job/{id}/touch", "running", "200 empty"),
        ("POST", "/titan/v1/job/{id}/retry", "succeeded", "200 job queued"),
        ("POST", "/titan/v1/job/{id}/cancel", "queued", "200 job cancelled"),
    ],
)
def test_a_content_type_without_a_body_does_no_harm(
    method: str, path: str, state: str, expected: str
) -> None:
    kit = serve()
    job_id = job_in(kit, state)
    headers = {"Content-Type": "application/json", "Content-Length": "0"}
    assert in_words(kit.request(method, path.format(id=job_id), headers=headers)) == expected


def values(body: Any) -> list[tuple[str, Any]]:
    """All members of a JSON value, however deep."""
    if isinstance(body, dict):
        return [pair for name, value in body.items() for pair in [(name, value), *values(value)]]
    if isinstance(body, list):
        return [pair for item in body for pair in values(item)]
    return []


@pytest.mark.parametrize("state", STATES[:-1])
def test_no_value_is_null_and_every_time_ends_in_z(state: str) -> None:
    kit = serve()
    job_in(kit, state)
    found = values(kit.get(JOBS).json())
    assert None not in [value for _, value in found]
    times = [value for name, value in found if name.endswith("_at")]
    assert times
    assert all(time.endswith("Z") for time in times)


# ---- scenarios --------------------------------------------------------------------------------------------------


def test_jobs_wait_for_a_worker_under_the_default_scenario() -> None:
    kit = serve()
    job_id = enqueue(kit)["id"]
    kit.advance("1h")
    assert read(kit, job_id)["status"] == "queued"


def test_jobs_run_by_themselves_when_the_scenario_says_so() -> None:
    kit = serve("titan-self-running")
    job_id = enqueue(kit)["id"]
    seen = [read(kit, job_id)["status"]]
    for _ in range(20):
        kit.advance("500ms")
        seen.append(read(kit, job_id)["status"])
    assert list(dict.fromkeys(seen)) == ["queued", "running", "succeeded"]
    assert call(kit, "log", job_id).status == 200


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("timeout", "timeout"),
        ("killed", "killed"),
        ("out_of_memory", "killed"),
        ("bad_exit", "bad_exit"),
        ("disk_full", "bad_exit"),
    ],
)
def test_the_failure_of_a_scenario_has_one_of_the_reasons_clients_know(code: str, reason: str) -> None:
    kit = serve(f"jobs:\n  - script: [running: 1s, failed: {{error: {{code: {code}}}}}]\n")
    job_id = enqueue(kit)["id"]
    kit.advance("1s")
    job = read(kit, job_id)
    assert (job["status"], job["reason"]) == ("failed", reason)


def test_a_scenario_may_refuse_to_cancel_a_running_job() -> None:
    kit = serve("jobs:\n  - script: [running: 10s, succeeded]\n    on_cancel: refused\n")
    job_id = job_in(kit, "running")
    assert in_words(call(kit, "cancel", job_id)) == "409 error"
    assert read(kit, job_id)["status"] == "running"


def test_the_same_calls_get_the_same_bytes() -> None:
    def story() -> list[bytes]:
        kit = serve(seed=11)
        job_id = enqueue(kit, max_retries=1, retries_delay=1)["id"]
        consume(kit)
        report(kit, job_id, "fail")
        kit.advance("1s")
        return [kit.get(JOBS).content, kit.get(f"{JOBS}/consume").content, call(kit, "log", job_id).content]

    assert story() == story()
