"""Synapse's asynchronous jobs as their clients see them: launch, status, stop, results, errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from simulator.apis.synapse import WORDS
from simulator.engine.job import State
from simulator.engine.world import Limits
from tests.kit import Answer, Kit

JOBS = "/synapse/repo/v1/asynchronous/job"
TABLE = "org.sagebionetworks.repo.model.table."
ERROR = "org.sagebionetworks.repo.model.ErrorResponse"
TOKEN = {"Authorization": "Bearer secret"}
DOWNLOAD = {
    "concreteType": TABLE + "DownloadFromTableRequest",
    "entityId": "syn2048",
    "sql": "SELECT * FROM syn2048",
}
ALWAYS = {
    "jobId",
    "jobState",
    "jobCanceling",
    "requestBody",
    "etag",
    "startedByUserId",
    "startedOn",
    "changedOn",
    "runtimeMS",
}
PROGRESS = {"progressCurrent", "progressTotal", "progressMessage"}
TROUBLE = {"exception", "errorMessage", "errorDetails"}
SCRIPTS = {
    "delayed": "[delayed: 1h, succeeded]",
    "queued": "[queued: 1h, succeeded]",
    "running": "[{running: 1h, progress: 25..25, message: Reading rows}, succeeded]",
    "retrying": "[{running: 1s, progress: 0..50, message: Reading rows}, retrying: 1h, succeeded]",
    "cancelling": "[running: 1s, cancelling: 1h, cancelled]",
    "succeeded": "[{running: 1s, progress: 0..100}, succeeded]",
    "failed": "[{running: 1s, progress: 0..50}, failed: {error: {message: No such column.}}]",
    "cancelled": "[running: 1s, cancelled]",
}


def server(script: str = "", more: str = "", **settings: Any) -> Kit:
    """A server whose jobs follow this script; the happy one without."""
    if not script and not more:
        return Kit(apis=("synapse",), **settings)
    script = script or "[queued: 1s, {running: 3s, progress: 0..100, message: Working}, succeeded]"
    return Kit(f"jobs:\n  - script: {script}\n{more}\n", apis=("synapse",), **settings)


@pytest.fixture(scope="module")
def plain() -> Kit:
    """A server for calls that are refused, so that they can share it."""
    return server()


def launch(kit: Kit, request: dict[str, Any] | None = None) -> dict[str, Any]:
    """The first status of a new job."""
    answer = kit.post(JOBS, json=request or DOWNLOAD, headers=TOKEN)
    assert answer.status == 201, answer.text
    return dict(answer.json())


def status(kit: Kit, job_id: str) -> dict[str, Any]:
    """How a job is doing now."""
    answer = kit.get(f"{JOBS}/{job_id}", headers=TOKEN)
    assert answer.status == 200, answer.text
    return dict(answer.json())


def stop(kit: Kit, job_id: str) -> Answer:
    """The answer to a cancel."""
    return kit.get(f"{JOBS}/{job_id}/cancel", headers=TOKEN)


def job_in(state: str) -> tuple[Kit, str]:
    """A server and the id of its job in this state, or of none."""
    kit = server(SCRIPTS.get(state, ""))
    job_id: str = launch(kit)["jobId"]
    kit.advance("10s")
    return kit, {"unknown": "1", "not_numeric": f"{job_id}a"}.get(state, job_id)


def result(request: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """The response body of a job of the happy scenario."""
    kit = server(**settings)
    job_id = launch(kit, request)["jobId"]
    kit.advance("10s")
    return dict(status(kit, job_id)["responseBody"])


def reason(answer: Answer) -> str:
    """The text of an error, whose form is checked."""
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert body.keys() == {"concreteType", "reason"}
    assert body["concreteType"] == ERROR
    assert body["reason"]
    return str(body["reason"])


def nulls(value: Any) -> int:
    """How many nulls are anywhere in a JSON value."""
    if isinstance(value, dict):
        return sum(map(nulls, value.values()))
    if isinstance(value, list):
        return sum(map(nulls, value))
    return int(value is None)


# ---- states and operations --------------------------------------------------------------------------------------


def test_there_is_a_word_for_every_state() -> None:
    assert set(WORDS) == set(State)
    assert set(WORDS.values()) == {"PROCESSING", "COMPLETE", "FAILED"}


@pytest.mark.parametrize(
    ("state", "word", "canceling", "beside"),
    [
        ("delayed", "PROCESSING", False, set()),
        ("queued", "PROCESSING", False, set()),
        ("running", "PROCESSING", False, PROGRESS),
        ("retrying", "PROCESSING", False, PROGRESS),
        ("cancelling", "PROCESSING", True, set()),
        ("succeeded", "COMPLETE", False, PROGRESS | {"responseBody"}),
        ("failed", "FAILED", False, PROGRESS | TROUBLE),
        ("cancelled", "FAILED", True, TROUBLE),
    ],
)
def test_the_status_in_each_state_has_these_fields_and_no_others(
    state: str, word: str, canceling: bool, beside: set[str]
) -> None:
    kit, job_id = job_in(state)
    seen = status(kit, job_id)
    assert (seen["jobState"], seen["jobCanceling"]) == (word, canceling)
    assert seen.keys() == ALWAYS | beside
    assert nulls(seen) == 0


CELLS = ["delayed", "queued", "running", "retrying", "cancelling", "succeeded", "failed", "cancelled"]


@pytest.mark.parametrize(
    ("state", "expected"), [*((state, 200) for state in CELLS), ("unknown", 404), ("not_numeric", 400)]
)
def test_status_in_each_state(state: str, expected: int) -> None:
    kit, job_id = job_in(state)
    answer = kit.get(f"{JOBS}/{job_id}", headers=TOKEN)
    assert answer.status == expected
    if expected != 200:
        assert job_id in reason(answer)


@pytest.mark.parametrize(
    ("state", "expected"), [*((state, 204) for state in CELLS), ("unknown", 404), ("not_numeric", 400)]
)
def test_stop_in_each_state(state: str, expected: int) -> None:
    kit, job_id = job_in(state)
    before = status(kit, job_id) if expected == 204 else {}
    answer = stop(kit, job_id)
    assert answer.status == expected
    if expected == 204:
        assert answer.content == b""
        assert status(kit, job_id) == before | {"jobCanceling": True}
    else:
        assert job_id in reason(answer)


@pytest.mark.parametrize("state", CELLS)
def test_stopping_twice_in_each_state_is_as_good_as_once(state: str) -> None:
    kit, job_id = job_in(state)
    assert stop(kit, job_id).status == 204
    once = status(kit, job_id)
    assert stop(kit, job_id).status == 204
    assert status(kit, job_id) == once


@pytest.mark.parametrize(
    "job_id", ["a", "1a", "a1", "-1", "1.5", "%20", "0x1f", "1234567890123456789", "%D9%A1"]
)
@pytest.mark.parametrize("operation", ["", "/cancel"])
def test_an_id_that_is_no_decimal_integer_is_a_bad_request(plain: Kit, job_id: str, operation: str) -> None:
    answer = plain.get(f"{JOBS}/{job_id}{operation}", headers=TOKEN)
    assert answer.status == 400
    reason(answer)


def test_leading_zeros_of_an_id_do_not_count() -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    assert status(kit, f"000{job_id}")["jobId"] == job_id
    assert stop(kit, f"0{job_id}").status == 204


# ---- life cycle -------------------------------------------------------------------------------------------------


def test_a_launch_answers_processing_with_zero_runtime_and_the_request_as_sent() -> None:
    kit = server()
    seen = launch(kit)
    assert seen.keys() == ALWAYS
    assert re.fullmatch(r"[0-9]{7}", seen["jobId"])
    assert isinstance(seen["startedByUserId"], int)
    assert seen["jobState"] == "PROCESSING"
    assert seen["jobCanceling"] is False
    assert seen["requestBody"] == DOWNLOAD
    assert seen["startedOn"] == seen["changedOn"] == "2030-01-01T00:00:00.000Z"
    assert seen["runtimeMS"] == 0
    assert status(kit, seen["jobId"]) == seen


def test_the_same_body_twice_makes_two_jobs_of_one_user() -> None:
    kit = server()
    one, other = launch(kit), launch(kit)
    assert one["jobId"] != other["jobId"]
    assert one["etag"] != other["etag"]
    assert one["startedByUserId"] == other["startedByUserId"]


def test_another_seed_gives_other_ids_and_the_same_seed_the_same() -> None:
    first, again, other = (launch(server(seed=seed)) for seed in (1, 1, 2))
    assert first == again
    assert first["jobId"] != other["jobId"]
    assert first["startedByUserId"] != other["startedByUserId"]


def test_a_stopped_job_goes_on_and_completes() -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    before = status(kit, job_id)
    assert stop(kit, job_id).status == 204
    assert status(kit, job_id) == before | {"jobCanceling": True}
    kit.advance("1s")
    assert status(kit, job_id)["progressCurrent"] > before["progressCurrent"]
    kit.advance("10s")
    seen = status(kit, job_id)
    assert (seen["jobState"], seen["jobCanceling"]) == ("COMPLETE", True)
    assert seen["responseBody"]


def test_progress_moves_changed_on_and_runtime_but_not_the_etag() -> None:
    kit = server("[queued: 1s, {running: 4s, progress: 0..100, message: Reading rows}, succeeded]")
    first = launch(kit)
    kit.advance("2s")
    seen = status(kit, first["jobId"])
    assert (seen["progressCurrent"], seen["progressTotal"]) == (25, 100)
    assert seen["progressMessage"] == "Reading rows"
    assert seen["changedOn"] == "2030-01-01T00:00:02.000Z"
    assert seen["runtimeMS"] == 2000
    assert seen["etag"] == first["etag"]
    kit.advance("1s")
    later = status(kit, first["jobId"])
    assert (later["progressCurrent"], later["changedOn"]) == (50, "2030-01-01T00:00:03.000Z")
    assert later["runtimeMS"] == 3000
    assert later["etag"] == first["etag"]


def test_cancelling_moves_neither_changed_on_nor_etag() -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    kit.advance("1s")
    before = status(kit, job_id)
    kit.advance("5ms")
    stop(kit, job_id)
    after = status(kit, job_id)
    assert after["jobCanceling"] is True
    assert (after["changedOn"], after["etag"]) == (before["changedOn"], before["etag"])


def test_completion_brings_the_result_a_new_etag_and_the_message_complete() -> None:
    kit = server("[queued: 1s, {running: 4s, progress: 0..90, message: Reading rows}, succeeded]")
    first = launch(kit)
    kit.advance("5s")
    seen = status(kit, first["jobId"])
    assert seen["jobState"] == "COMPLETE"
    assert seen["progressCurrent"] == seen["progressTotal"] == 100
    assert seen["progressMessage"] == "Complete"
    assert seen["etag"] != first["etag"]
    assert seen["changedOn"] == "2030-01-01T00:00:05.000Z"
    assert seen["runtimeMS"] == 5000
    kit.advance("1h")
    assert status(kit, first["jobId"]) == seen


def test_a_job_that_never_reported_completes_without_numbers() -> None:
    kit = server("[running: 4s, succeeded]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert not PROGRESS & status(kit, job_id).keys()
    assert status(kit, job_id)["runtimeMS"] == 0
    kit.advance("2s")
    seen = status(kit, job_id)
    assert seen["progressMessage"] == "Complete"
    assert not {"progressCurrent", "progressTotal"} & seen.keys()
    assert seen["runtimeMS"] == 4000


def test_a_message_without_numbers_is_not_sent() -> None:
    kit = server("[{running: 4s, message: Reading rows}, succeeded]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert not PROGRESS & status(kit, job_id).keys()


def test_numbers_without_a_message_get_one() -> None:
    kit = server("[{running: 4s, progress: 0..100}, succeeded]")
    job_id = launch(kit)["jobId"]
    kit.advance("1s")
    seen = status(kit, job_id)
    assert seen["progressCurrent"] == 25
    assert seen["progressMessage"]


def test_a_failure_keeps_the_last_progress_and_its_runtime_and_brings_a_new_etag() -> None:
    kit = server(
        "[{running: 2s, progress: 0..40, message: Reading rows}, running: 1s,"
        " failed: {error: {message: The table has no column named age}}]"
    )
    first = launch(kit)
    kit.advance("2500ms")
    stalled = status(kit, first["jobId"])
    kit.advance("10s")
    seen = status(kit, first["jobId"])
    assert seen["jobState"] == "FAILED"
    assert (seen["progressCurrent"], seen["progressTotal"]) == (40, 100)
    assert seen["progressMessage"] == "Reading rows"
    assert seen["changedOn"] == "2030-01-01T00:00:03.000Z"
    assert seen["runtimeMS"] == stalled["runtimeMS"] == 2000
    assert seen["etag"] != first["etag"]
    assert "responseBody" not in seen


def test_changed_on_never_goes_back_while_a_job_works() -> None:
    kit = server("[{running: 2s, progress: 0..40}, {running: 2s, message: Waiting}, succeeded]")
    job_id = launch(kit)["jobId"]
    times = []
    for _ in range(10):
        times.append(status(kit, job_id)["changedOn"])
        kit.advance("500ms")
    assert times == sorted(times)


def test_a_job_that_must_wait_again_says_so_at_zero_of_a_hundred() -> None:
    kit, job_id = job_in("retrying")
    seen = status(kit, job_id)
    assert (seen["progressCurrent"], seen["progressTotal"]) == (0, 100)
    assert "ait" in seen["progressMessage"]
    assert seen["progressMessage"] != "Reading rows"


def test_the_message_of_a_retrying_step_is_the_one_shown() -> None:
    kit = server("[running: 1s, {retrying: 1h, message: The table is locked}, succeeded]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert status(kit, job_id)["progressMessage"] == "The table is locked"


@pytest.mark.parametrize(("length", "kept"), [(3000, 3000), (3001, 2999), (5000, 2999)])
def test_long_messages_are_cut_as_the_service_cuts_them(length: int, kept: int) -> None:
    text = "x" * length
    kit = server(
        f"[{{running: 1s, progress: 0..50, message: {text}}}, failed: {{error: {{message: {text}}}}}]"
    )
    job_id = launch(kit)["jobId"]
    assert len(status(kit, job_id)["progressMessage"]) == kept
    kit.advance("2s")
    assert len(status(kit, job_id)["errorMessage"]) == kept


# ---- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "exception"),
    [
        ("failed", "java.lang.IllegalArgumentException"),
        ("anything_else", "java.lang.IllegalArgumentException"),
        ("not_found", "org.sagebionetworks.repo.web.NotFoundException"),
        ("forbidden", "org.sagebionetworks.repo.model.UnauthorizedException"),
        ("unauthorized", "org.sagebionetworks.repo.model.UnauthorizedException"),
        ("conflict", "org.sagebionetworks.repo.model.ConflictingUpdateException"),
        ("internal", "java.lang.IllegalStateException"),
        ("out_of_memory", "java.lang.IllegalStateException"),
        ("timeout", "java.lang.IllegalStateException"),
        ("com.example.OwnException", "com.example.OwnException"),
    ],
)
def test_a_failure_code_becomes_the_name_of_a_java_class(code: str, exception: str) -> None:
    kit = server(f"[running: 1s, failed: {{error: {{code: {code}, message: It broke.}}}}]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    seen = status(kit, job_id)
    assert seen["exception"] == exception
    assert seen["errorMessage"] == "It broke."
    first, *frames = seen["errorDetails"].splitlines()
    assert first == f"{exception}: It broke."
    assert frames
    assert all(re.fullmatch(r"\tat [\w.]+\(\w+\.java:\d+\)", frame) for frame in frames)


def test_details_of_a_scenario_are_the_error_details() -> None:
    kit = server('[running: 1s, failed: {error: {message: "Two\\nlines", details: "exit 137\\nkilled"}}]')
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    seen = status(kit, job_id)
    assert seen["errorDetails"] == "exit 137\nkilled"
    assert seen["errorMessage"] == "Two lines"


def test_a_failure_without_a_message_has_details_only() -> None:
    kit = server('[running: 1s, failed: {error: {message: ""}}]')
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    seen = status(kit, job_id)
    assert "errorMessage" not in seen
    assert seen["errorDetails"].startswith("java.lang.IllegalArgumentException\n\tat ")


# ---- cancelling by scenario -------------------------------------------------------------------------------------


def test_a_scenario_can_let_a_stop_end_the_job_as_failed() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: at_once")
    first = launch(kit)
    assert stop(kit, first["jobId"]).status == 204
    seen = status(kit, first["jobId"])
    assert (seen["jobState"], seen["jobCanceling"]) == ("FAILED", True)
    assert "cancelled" in seen["errorMessage"]
    assert seen["exception"] == "java.util.concurrent.CancellationException"
    assert seen["etag"] != first["etag"]


def test_a_scenario_can_let_a_stop_take_its_time() -> None:
    kit = server(
        "[{running: 10s, progress: 0..100, message: Reading rows}, succeeded]", "    on_cancel: {after: 2s}"
    )
    job_id = launch(kit)["jobId"]
    kit.advance("3s")
    before = status(kit, job_id)
    kit.advance("20ms")
    assert stop(kit, job_id).status == 204
    kit.advance("1s")
    assert status(kit, job_id) == before | {"jobCanceling": True}
    kit.advance("1s")
    seen = status(kit, job_id)
    assert (seen["jobState"], seen["progressCurrent"], seen["runtimeMS"]) == ("FAILED", 30, 3000)


def test_a_scenario_can_ignore_a_stop() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: ignored")
    first = launch(kit)
    assert stop(kit, first["jobId"]).status == 204
    assert status(kit, first["jobId"]) == first


def test_a_stop_that_a_scenario_refuses_is_a_bad_request() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: refused")
    first = launch(kit)
    answer = stop(kit, first["jobId"])
    assert answer.status == 400
    assert first["jobId"] in reason(answer)
    assert status(kit, first["jobId"]) == first


# ---- requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", ["TRUE", "FALSE", "true", True, False])
def test_booleans_may_be_strings_in_upper_case(spelling: str | bool) -> None:
    request = DOWNLOAD | {"writeHeader": spelling, "csvTableDescriptor": {"isFirstLineHeader": spelling}}
    assert launch(server(), request)["requestBody"] == request


def test_fields_that_no_schema_knows_are_accepted() -> None:
    request = DOWNLOAD | {"selectedFacet": [{}], "selectFileColumns": 3, "isConsistent": True}
    assert launch(server(), request)["requestBody"] == request


def test_a_field_that_is_null_does_not_come_back() -> None:
    request = DOWNLOAD | {"fileName": None, "sort": [{"column": "a", "direction": None}]}
    assert launch(server(), request)["requestBody"] == DOWNLOAD | {"sort": [{"column": "a"}]}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=UTF-8", "APPLICATION/JSON;charset=utf-8"]
)
def test_the_content_type_may_name_a_charset(content_type: str) -> None:
    answer = server().post(JOBS, json=DOWNLOAD, headers=TOKEN | {"Content-Type": content_type})
    assert answer.status == 201


@pytest.mark.parametrize(
    "accept", ["application/json; charset=UTF-8", "application/json, text/xml, application/xml, */*"]
)
def test_the_accept_headers_of_known_clients_are_met(accept: str) -> None:
    answer = server().post(JOBS, json=DOWNLOAD, headers=TOKEN | {"Accept": accept})
    assert answer.status == 201
    assert answer.headers["content-type"].startswith("application/json")


def test_a_body_written_by_string_templates_is_read() -> None:
    body = '{"concreteType": "%s",\n  "doFullFileScan": "TRUE"   \n}  \n\n' % (
        TABLE + "UploadToTablePreviewRequest"
    )
    answer = server().post(JOBS, data=body, headers=TOKEN | {"Content-Type": "application/json"})
    assert answer.status == 201
    assert answer.json()["requestBody"]["doFullFileScan"] == "TRUE"


@pytest.mark.parametrize(
    ("depth", "expected"), [(199, 201), (200, 400), (252, 400), (253, 400), (254, 400), (5000, 400)]
)
def test_a_request_may_nest_two_hundred_levels_deep(depth: int, expected: int) -> None:
    nested = "[" * depth + "0" + "]" * depth
    body = f'{{"concreteType": "{DOWNLOAD["concreteType"]}", "x": {nested}}}'
    answer = server().post(JOBS, data=body, headers=TOKEN | {"Content-Type": "application/json"})
    assert answer.status == expected
    if expected == 400:
        reason(answer)


# ---- reusing results --------------------------------------------------------------------------------------------

REUSE = "apis:\n  synapse: {reuse_results: true}"


def test_a_scenario_can_answer_a_launch_with_the_completed_job_of_an_equal_request() -> None:
    kit = server(more=REUSE)
    first = launch(kit)
    assert launch(kit)["jobId"] != first["jobId"]
    kit.advance("10s")
    again = launch(kit, dict(reversed(DOWNLOAD.items())))
    assert again["jobState"] == "COMPLETE"
    assert again == status(kit, again["jobId"])
    assert launch(kit)["jobId"] == again["jobId"]
    assert launch(kit, DOWNLOAD | {"sql": "SELECT 1"})["jobState"] == "PROCESSING"


def test_changes_are_never_answered_with_an_old_job() -> None:
    kit = server(more=REUSE)
    request = {"concreteType": TABLE + "UploadToTableRequest", "tableId": "syn1"}
    first = launch(kit, request)
    kit.advance("10s")
    assert launch(kit, request)["jobId"] != first["jobId"]


def test_without_the_setting_an_equal_request_runs_again() -> None:
    kit = server()
    first = launch(kit)
    kit.advance("10s")
    again = launch(kit)
    assert again["jobId"] != first["jobId"]
    assert again["jobState"] == "PROCESSING"


# ---- errors -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("", 400),
        ("{", 400),
        ("null", 400),
        ("[]", 400),
        ('"text"', 400),
        ("{}", 400),
        ('{"concreteType": null}', 400),
        ('{"concreteType": 5}', 400),
        ('{"concreteType": ""}', 400),
        ('{"concreteType": "com.example.Nothing"}', 400),
        ('{"concreteType": "DownloadFromTableRequest"}', 400),
        (b'{"concreteType": "\xff"}', 400),
    ],
    ids=str,
)
def test_a_body_that_cannot_be_launched_is_a_bad_request(
    plain: Kit, body: str | bytes, expected: int
) -> None:
    answer = plain.post(JOBS, data=body, headers=TOKEN | {"Content-Type": "application/json"})
    assert answer.status == expected
    reason(answer)
    assert plain.world.count("synapse") == 0


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/x-www-form-urlencoded"]
)
def test_a_body_that_is_not_declared_as_json_is_unsupported(plain: Kit, content_type: str) -> None:
    answer = plain.post(JOBS, data='{"a": 1}', headers=TOKEN | {"Content-Type": content_type})
    assert answer.status == 415
    reason(answer)


def test_an_accept_header_without_json_is_not_acceptable(plain: Kit) -> None:
    answer = plain.post(JOBS, json=DOWNLOAD, headers=TOKEN | {"Accept": "application/xml"})
    assert answer.status == 406
    reason(answer)


def test_a_body_that_is_too_large_is_refused() -> None:
    answer = server(body_bytes_max=1000).post(JOBS, json=DOWNLOAD | {"sql": "x" * 1000}, headers=TOKEN)
    assert answer.status == 413
    reason(answer)


def test_a_full_world_is_unavailable() -> None:
    kit = server(limits=Limits(jobs=1))
    launch(kit)
    answer = kit.post(JOBS, json=DOWNLOAD, headers=TOKEN)
    assert answer.status == 503
    assert "jobs" in reason(answer)


@pytest.mark.parametrize("path", ["", "/asynchronous", "/asynchronous/jobs", "/asynchronous/job/1/stop"])
def test_a_path_that_is_not_there_is_not_found(plain: Kit, path: str) -> None:
    answer = plain.get(f"/synapse/repo/v1{path}", headers=TOKEN)
    assert answer.status == 404
    reason(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/1"),
        ("DELETE", "/1"),
        ("POST", "/1/cancel"),
        ("DELETE", "/1/cancel"),
    ],
)
def test_a_wrong_method_is_not_allowed(plain: Kit, method: str, path: str) -> None:
    answer = plain.request(method, JOBS + path, headers=TOKEN)
    assert answer.status == 405
    assert answer.headers["allow"]
    reason(answer)


def test_a_head_request_does_not_cancel() -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    assert kit.request("HEAD", f"{JOBS}/{job_id}/cancel", headers=TOKEN).status == 405
    assert status(kit, job_id)["jobCanceling"] is False


# ---- tokens -----------------------------------------------------------------------------------------------------

OPERATIONS = [("POST", ""), ("GET", "/{id}"), ("GET", "/{id}/cancel")]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer    ", "Basic dTpw", "secret"])
def test_a_call_without_a_token_is_unauthorized(method: str, path: str, header: str | None) -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    headers = {} if header is None else {"Authorization": header}
    body = DOWNLOAD if method == "POST" else None
    answer = kit.request(method, JOBS + path.format(id=job_id), json=body, headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="Synapse Repository Services"'
    reason(answer)
    assert status(kit, job_id)["jobCanceling"] is False
    assert kit.world.count("synapse") == 1


def test_any_token_is_good_and_so_is_a_lower_case_scheme() -> None:
    for value in ("Bearer x", "bearer x", "Bearer a.b.c"):
        assert server().post(JOBS, json=DOWNLOAD, headers={"Authorization": value}).status == 201


def test_a_scenario_can_name_the_tokens_that_are_good() -> None:
    kit = server(more="apis:\n  synapse: {tokens: [good, better]}")
    answers = {
        token: kit.post(JOBS, json=DOWNLOAD, headers={"Authorization": f"Bearer {token}"})
        for token in ("good", "better", "bad")
    }
    assert {token: answer.status for token, answer in answers.items()} == {
        "good": 201,
        "better": 201,
        "bad": 401,
    }
    assert answers["bad"].headers["www-authenticate"]
    assert "not valid" in reason(answers["bad"])


def test_a_scenario_can_let_callers_without_a_token_be_anonymous() -> None:
    kit = server(more="apis:\n  synapse: {no_token: anonymous, tokens: [good]}")
    answer = kit.post(JOBS, json=DOWNLOAD)
    assert answer.status == 201
    assert kit.get(f"{JOBS}/{answer.json()['jobId']}", headers={"Authorization": "Bearer "}).status == 200
    assert kit.get(f"{JOBS}/1", headers={"Authorization": "Bearer bad"}).status == 401


def test_the_token_is_asked_for_before_anything_else() -> None:
    kit = server()
    assert kit.get(f"{JOBS}/abc").status == 401
    assert kit.get(f"{JOBS}/1").status == 401
    assert kit.post(JOBS, data="{", headers={"Content-Type": "text/plain"}).status == 401


def test_a_token_can_be_good_for_a_while_only() -> None:
    kit = server(more="apis:\n  synapse: {token_lifetime: 10m}")
    job_id = launch(kit)["jobId"]
    kit.advance("9m")
    assert kit.get(f"{JOBS}/{job_id}", headers=TOKEN).status == 200
    kit.advance("1m")
    answer = kit.get(f"{JOBS}/{job_id}", headers=TOKEN)
    assert answer.status == 401
    assert answer.headers["www-authenticate"]
    assert "expired" in reason(answer)
    # Another token begins its life when it is first seen.
    assert kit.get(f"{JOBS}/{job_id}", headers={"Authorization": "Bearer fresh"}).status == 200


# ---- users ------------------------------------------------------------------------------------------------------

PROFILE = "/synapse/repo/v1/userProfile"
USERS = "apis:\n  synapse: {tokens: [mine], forbidden_tokens: [theirs], no_token: anonymous}"
MINE = {"Authorization": "Bearer mine"}
THEIRS = {"Authorization": "Bearer theirs"}


def test_a_client_learns_who_it_is_by_its_token() -> None:
    kit = server()
    answer = kit.get(PROFILE, headers=TOKEN)
    assert answer.status == 200
    profile = answer.json()
    assert profile.keys() == {"ownerId", "userName", "displayName", "emails"}
    assert profile["ownerId"] == str(launch(kit)["startedByUserId"])
    assert kit.get(PROFILE).status == 401


def test_a_caller_without_a_token_is_the_anonymous_user_where_that_is_allowed() -> None:
    kit = server(more=USERS)
    profile = kit.get(PROFILE).json()
    assert (profile["ownerId"], profile["userName"], profile["emails"]) == ("273950", "anonymous", [])
    assert kit.post(JOBS, json=DOWNLOAD).json()["startedByUserId"] == 273950
    assert kit.get(PROFILE, headers={"Authorization": "Bearer bad"}).status == 401


def test_users_do_not_see_or_stop_each_others_jobs() -> None:
    kit = server(more=USERS)
    mine, theirs = (kit.post(JOBS, json=DOWNLOAD, headers=user).json() for user in (MINE, THEIRS))
    assert mine["startedByUserId"] != theirs["startedByUserId"]
    download = "/synapse/repo/v1/entity/syn2048/table/download/csv/async/get"
    for user, own, foreign in ((MINE, mine, theirs), (THEIRS, theirs, mine)):
        assert kit.get(f"{JOBS}/{own['jobId']}", headers=user).status == 200
        assert kit.get(f"{download}/{own['jobId']}", headers=user).status == 202
        for path in (
            f"{JOBS}/{foreign['jobId']}",
            f"{JOBS}/{foreign['jobId']}/cancel",
            f"{download}/{foreign['jobId']}",
        ):
            answer = kit.get(path, headers=user)
            assert answer.status == 403
            reason(answer)
    assert kit.get(f"{JOBS}/{mine['jobId']}", headers=MINE).json()["jobCanceling"] is False


def test_a_job_that_does_not_exist_is_not_found_whoever_asks() -> None:
    assert server(more=USERS).get(f"{JOBS}/1", headers=THEIRS).status == 404


def test_the_results_of_another_user_are_not_reused() -> None:
    kit = server(more=USERS.replace("tokens: [mine]", "reuse_results: true"))
    first = kit.post(JOBS, json=DOWNLOAD, headers=MINE).json()["jobId"]
    kit.advance("10s")
    assert kit.post(JOBS, json=DOWNLOAD, headers=THEIRS).json()["jobId"] != first
    assert kit.post(JOBS, json=DOWNLOAD, headers=MINE).json()["jobId"] == first


# ---- plain text -------------------------------------------------------------------------------------------------

PLAIN = {"Accept": "text/plain"}


@pytest.mark.parametrize(
    ("method", "path", "headers", "expected"),
    [
        ("GET", f"{JOBS}/1", TOKEN, 404),
        ("GET", f"{JOBS}/1/cancel", TOKEN, 404),
        ("GET", f"{JOBS}/abc", TOKEN, 400),
        ("GET", f"{JOBS}/1", {}, 401),
        ("DELETE", f"{JOBS}/1", TOKEN, 405),
        ("GET", "/synapse/repo/v1/nothing", TOKEN, 404),
        ("POST", JOBS, TOKEN, 400),
        ("GET", "/synapse/repo/v1/table/upload/csv/async/get/1", TOKEN, 410),
    ],
)
def test_who_prefers_plain_text_gets_the_bare_reason_of_an_error(
    plain: Kit, method: str, path: str, headers: dict[str, str], expected: int
) -> None:
    answer = plain.request(method, path, headers=headers | PLAIN)
    assert answer.status == expected
    assert answer.headers["content-type"] == "text/plain"
    assert answer.text == reason(plain.request(method, path, headers=headers))


def test_who_prefers_plain_text_gets_all_else_as_json_text(plain: Kit) -> None:
    answer = plain.get(PROFILE, headers=TOKEN | PLAIN)
    assert (answer.status, answer.headers["content-type"]) == (200, "text/plain")
    assert answer.json() == plain.get(PROFILE, headers=TOKEN).json()


@pytest.mark.parametrize(
    "accept", ["*/*", "text/plain;q=0.5, application/json", "application/*, text/plain;q=0.9"]
)
def test_who_likes_json_as_well_gets_json(plain: Kit, accept: str) -> None:
    answer = plain.get(f"{JOBS}/1", headers=TOKEN | {"Accept": accept})
    assert answer.headers["content-type"] == "application/json"
    reason(answer)
