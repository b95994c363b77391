"""OGC API - Processes as its clients see it: executing, dismissing, what each operation says of each state, refusals."""

from __future__ import annotations

from uuid import UUID

import pytest

from simulator.apis.contract import Call, Later
from simulator.engine.errors import UnknownJob
from simulator.engine.world import Limits
from tests.apis.ogc_parts import (
    ASYNC,
    ECHO,
    EXCEPTION,
    FAIL,
    PROCESSES,
    STATES,
    UNKNOWN,
    execute,
    in_words,
    job_in,
    link,
    local,
    serve,
    status,
)
from tests.kit import Answer, Kit

EXECUTION = "execute_processes__processId__execution_post"
HELLO = {"inputs": {"message": "hello"}}
ANSWERS: dict[str, dict[str, str]] = {
    "status": {state: f"200 {state}" for state in STATES} | {"unknown": "404 no-such-job"},
    "results": {
        "accepted": "404 result-not-ready",
        "running": "404 result-not-ready",
        "successful": "200 map",
        "failed": "500 about:blank",
        "dismissed": "404 result-not-available",
        "unknown": "404 no-such-job",
    },
    "dismiss": dict.fromkeys(STATES, "200 dismissed") | {"unknown": "404 no-such-job"},
}
AFTER_DISMISSAL = {"accepted": "200 dismissed", "running": "200 dismissed"}
CELLS = [
    pytest.param(operation, state, answer, id=f"{operation} of {state} answers {answer}")
    for operation, row in ANSWERS.items()
    for state, answer in row.items()
]


def call(kit: Kit, operation: str, job_id: str) -> Answer:
    """One operation on a job."""
    path = f"/ogc/jobs/{job_id}"
    if operation == "dismiss":
        return kit.delete(path)
    return kit.get(path if operation == "status" else f"{path}/results")


@pytest.mark.parametrize(("operation", "state", "expected"), CELLS)
def test_each_operation_answers_by_the_state_of_the_job(operation: str, state: str, expected: str) -> None:
    kit = serve()
    job_id = job_in(kit, state)
    assert in_words(call(kit, operation, job_id)) == expected
    then = in_words(call(kit, "status", job_id))
    if operation == "dismiss":
        assert then == AFTER_DISMISSAL.get(state, "404 no-such-job")
    else:
        assert then == ANSWERS["status"][state]


# ---- the API itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/ogc", "/ogc/"])
def test_the_landing_page_leads_to_everything(path: str) -> None:
    kit = serve()
    body = kit.get(path).json()
    followed = {one["rel"].rpartition("/")[2]: kit.get(local(one["href"])) for one in body["links"]}
    assert {rel: answer.status for rel, answer in followed.items()} == {
        "self": 200,
        "alternate": 200,
        "service-desc": 200,
        "service-doc": 200,
        "conformance": 200,
        "processes": 200,
        "job-list": 200,
    }
    assert followed["self"].json() == body
    for one in body["links"]:
        assert followed[one["rel"].rpartition("/")[2]].headers["content-type"].startswith(one["type"])
    (described,) = (one for one in body["links"] if one["rel"] == "service-desc")
    assert described["type"] == "application/vnd.oai.openapi+json;version=3.0"


def test_the_api_describes_itself_as_it_is_served() -> None:
    kit = serve()
    answer = kit.get("/ogc/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    document = answer.json()
    assert document["openapi"].startswith("3.0.")
    assert document["servers"] == [{"url": "http://127.0.0.1:4010/ogc"}]
    assert "/processes/{processId}/execution" in document["paths"]
    again = kit.get("/ogc/openapi.json").json()
    assert {**document, "servers": None} == {**again, "servers": None}


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/vnd.oai.openapi+json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ],
)
def test_the_definition_comes_in_the_form_that_the_client_takes(accept: str, media_type: str) -> None:
    answer = serve().get("/ogc/api", headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["content-type"].split(";")[0] == media_type


def test_the_page_of_the_definition_leads_to_the_swagger_ui() -> None:
    kit = serve()
    page = kit.get("/ogc/api?f=html").text
    assert 'href="http://127.0.0.1:4010/ogc/ui/"' in page


def test_the_conformance_classes_are_those_that_are_implemented() -> None:
    classes = serve().get("/ogc/conformance").json()["conformsTo"]
    prefix = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/"
    assert {one.removeprefix(prefix) for one in classes} == {
        "core",
        "ogc-process-description",
        "json",
        "oas30",
        "job-list",
        "callback",
        "dismiss",
    }


def test_the_server_is_well() -> None:
    assert serve().get("/ogc/health").json() == {"status": "OK"}


# ---- execution ---------------------------------------------------------------------------------------------------


def test_an_asynchronous_execution_answers_at_once_with_the_first_status_of_a_job() -> None:
    kit = serve()
    answer = kit.post(ECHO, json=HELLO, headers=ASYNC)
    assert answer.status == 201
    body = answer.json()
    job_url = f"/ogc/jobs/{body['jobID']}"
    assert UUID(body["jobID"]).version == 4
    assert local(answer.headers["location"]) == job_url
    assert body == {
        "processID": "echo",
        "type": "process",
        "jobID": body["jobID"],
        "status": "accepted",
        "created": "2030-01-01T00:00:00.000Z",
        "updated": "2030-01-01T00:00:00.000Z",
        "links": body["links"],
    }
    assert link(body, "self") == link(body, "monitor") == job_url
    assert kit.get(job_url).json() == body


MODES = [
    ("echo", None, 200, None),
    ("echo", "respond-async", 201, "respond-async"),
    ("echo", "respond-async ", 201, "respond-async"),
    ("echo", "Respond-Async", 201, "respond-async"),
    ("echo", "respond-async, wait=5", 201, "respond-async"),
    ("echo", "wait=5,respond-async;foo=bar", 201, "respond-async"),
    ("echo", "respond-sync", 200, None),
    ("echo", "respond-async-not", 200, None),
    ("echo", 'note="later, respond-async"', 200, None),
    ("echo", "", 200, None),
    ("echo", "wait=5", 200, "wait=5"),
    ("echo", "wait=4", 200, "wait=4"),
    ("echo", "wait=3", 201, "wait=3"),
    ("echo", "wait=0", 201, "wait=0"),
    ("echo", "wait=soon", 200, None),
    ("echo-sync", None, 200, None),
    ("echo-sync", "respond-async", 200, None),
    ("echo-sync", "wait=3", 200, None),
    ("echo-async", None, 201, None),
    ("echo-async", "respond-async", 201, "respond-async"),
    ("echo-async", "wait=5", 201, None),
]


@pytest.mark.parametrize(("process", "prefer", "expected", "applied"), MODES)
def test_what_a_process_offers_and_a_client_prefers_decides_how_it_is_executed(
    process: str, prefer: str | None, expected: int, applied: str | None
) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    answer = serve().post(f"{PROCESSES}/{process}/execution", json=HELLO, headers=headers)
    assert answer.status == expected
    assert answer.headers.get("preference-applied") == applied
    assert ("location" in answer.headers) == (expected == 201)
    assert "link" not in answer.headers
    assert "hello" in answer.text or expected == 201


@pytest.mark.parametrize(
    ("prefer", "waited_ms"),
    [("respond-async", 0), ("wait=2", 2_000), ("wait=60", 4_000), ("respond-sync", 4_000)],
)
def test_an_answer_comes_no_later_than_it_must(prefer: str, waited_ms: int) -> None:
    kit = serve()
    before_ms = kit.world.now_ms
    kit.post(ECHO, json=HELLO, headers={"Prefer": prefer})
    assert kit.world.now_ms - before_ms == waited_ms


def test_a_job_that_outlasts_the_wait_is_shown_as_it_is_by_then() -> None:
    kit = serve()
    answer = kit.post(ECHO, json=HELLO, headers={"Prefer": "wait=2"})
    assert (answer.json()["status"], answer.json()["started"][17:]) == ("running", "01.000Z")
    assert local(answer.headers["location"]) == f"/ogc/jobs/{answer.json()['jobID']}"
    kit.advance("2s")
    assert status(kit, answer.json()["jobID"])["status"] == "successful"


def test_the_job_of_a_synchronous_execution_is_listed() -> None:
    kit = serve()
    kit.post(ECHO, json=HELLO)
    (job,) = kit.get("/ogc/jobs").json()["jobs"]
    assert (job["status"], job["finished"][17:]) == ("successful", "04.000Z")


def test_a_synchronous_execution_that_fails_answers_as_the_results_of_its_job_do() -> None:
    kit = serve()
    answer = kit.post(FAIL, json={}, headers={"Prefer": "wait=10"})
    assert in_words(answer) == "500 about:blank"
    assert "preference-applied" not in answer.headers
    (job,) = kit.get("/ogc/jobs").json()["jobs"]
    results = kit.get(f"/ogc/jobs/{job['jobID']}/results")
    assert (results.status, results.json()) == (answer.status, answer.json())


def test_a_synchronous_execution_that_is_dismissed_has_no_results() -> None:
    kit = serve("jobs:\n  - script: [running: 1s, cancelled]\n")
    assert in_words(kit.post(ECHO, json=HELLO)) == "404 result-not-available"


@pytest.mark.parametrize(
    ("scenario", "seconds"),
    [
        ("jobs:\n  - script: [running: forever]\n", 60),
        ("apis: {ogc: {sync_timeout: 2s}}\njobs:\n  - script: [running: 5s, succeeded]\n", 2),
        ("apis: {ogc: {sync_timeout: 0s}}\njobs:\n  - script: [running: 5s, succeeded]\n", 0),
    ],
)
@pytest.mark.parametrize("process", ["echo", "echo-sync"])
def test_the_server_loses_patience_with_a_synchronous_execution_and_names_its_job(
    scenario: str, seconds: int, process: str
) -> None:
    kit = serve(scenario)
    before_ms = kit.world.now_ms
    answer = kit.post(f"{PROCESSES}/{process}/execution", json=HELLO)
    assert kit.world.now_ms - before_ms == seconds * 1000
    assert in_words(answer) == "500 about:blank"
    assert answer.json()["title"] == "Execution takes too long"
    (job,) = kit.get("/ogc/jobs").json()["jobs"]
    assert job["status"] == "running"
    assert f"after {seconds} s" in answer.json()["detail"]
    assert link(job, "self") in answer.json()["detail"]


def test_a_patient_server_waits_longer() -> None:
    kit = serve("apis: {ogc: {sync_timeout: 2h}}\njobs:\n  - script: [running: 1h, succeeded]\n")
    assert kit.post(ECHO, json=HELLO).status == 200


def test_a_client_that_waits_longer_than_the_server_is_answered_with_the_job() -> None:
    kit = serve("apis: {ogc: {sync_timeout: 2s}}\njobs:\n  - script: [running: 5s, succeeded]\n")
    answer = kit.post(ECHO, json=HELLO, headers={"Prefer": "wait=10"})
    assert in_words(answer) == "201 running"
    assert kit.world.now_ms - kit.world.start_ms == 2_000


def waiting(kit: Kit) -> Later:
    """A synchronous execution under way, as the web layer has it."""
    service = kit.front.services["ogc"]
    call = Call(
        world=kit.world,
        operation=EXECUTION,
        params={"processId": "echo"},
        body=HELLO,
        headers={},
        base_url="http://127.0.0.1:4010/ogc",
        settings={"flavour": "standard", "sync_timeout": 60_000},
        sampler=service.sampler,
        document=service.document,
    )
    later = service.api.operations[EXECUTION].handler(call)
    assert isinstance(later, Later)
    assert later.answer() is None
    return later


def test_a_client_that_waits_hears_of_the_dismissal_by_another() -> None:
    kit = serve()
    later = waiting(kit)
    (job,) = kit.get("/ogc/jobs").json()["jobs"]
    kit.delete(f"/ogc/jobs/{job['jobID']}")
    reply = later.answer()
    assert reply is not None
    assert (reply.status, reply.body["type"]) == (404, f"{EXCEPTION}result-not-available")
    kit.delete(f"/ogc/jobs/{job['jobID']}")
    with pytest.raises(UnknownJob):
        later.answer()


def test_an_execution_without_content_type_is_read_as_json() -> None:
    answer = serve().post(ECHO, data=b'{"inputs": {"message": "hello"}}')
    assert answer.status == 200


# ---- dismissing --------------------------------------------------------------------------------------------------


def test_a_dismissed_job_keeps_its_past_and_says_when_it_ended() -> None:
    kit = serve()
    job_id = execute(kit)["jobID"]
    kit.advance("2500ms")
    answer = kit.delete(f"/ogc/jobs/{job_id}")
    info = answer.json()
    assert info == {
        "processID": "echo",
        "type": "process",
        "jobID": job_id,
        "status": "dismissed",
        "message": "Job dismissed",
        "created": "2030-01-01T00:00:00.000Z",
        "started": "2030-01-01T00:00:01.000Z",
        "finished": "2030-01-01T00:00:02.500Z",
        "updated": "2030-01-01T00:00:02.500Z",
        "progress": 50,
        "links": info["links"],
    }
    kit.advance("1h")
    assert status(kit, job_id) == info
    assert [job["jobID"] for job in kit.get("/ogc/jobs").json()["jobs"]] == [job_id]


@pytest.mark.parametrize("state", ["successful", "failed", "dismissed"])
def test_removing_a_job_that_has_ended_says_dismissed_a_last_time(state: str) -> None:
    kit = serve()
    job_id = job_in(kit, state)
    kit.advance("5s")
    now = "2030-01-01T00:00:15.000Z" if state != "dismissed" else "2030-01-01T00:00:07.000Z"
    info = kit.delete(f"/ogc/jobs/{job_id}").json()
    assert (info["status"], info["message"]) == ("dismissed", "Job dismissed")
    assert (info["finished"], info["updated"]) == (now, now)
    assert "exception" not in info
    assert kit.get("/ogc/jobs").json()["jobs"] == []
    for operation in ("status", "results", "dismiss"):
        assert in_words(call(kit, operation, job_id)) == "404 no-such-job"


def test_a_removed_job_is_gone_when_the_scenario_says_so() -> None:
    kit = serve("apis: {ogc: {after_removal: gone}}\njobs:\n  - script: [running: 1s, succeeded]\n")
    job_id = execute(kit)["jobID"]
    for _ in range(2):
        assert kit.delete(f"/ogc/jobs/{job_id}").status == 200
    for operation in ("status", "results", "dismiss"):
        assert in_words(call(kit, operation, job_id)) == "410 about:blank"
        assert in_words(call(kit, operation, UNKNOWN)) == "404 no-such-job"


@pytest.mark.parametrize(
    ("effect", "answered", "later"),
    [
        ("ignored", "200 running", "successful"),
        ("{after: 1s}", "200 running", "dismissed"),
        ("refused", "409 about:blank", "successful"),
    ],
)
def test_a_scenario_decides_what_dismissing_does(effect: str, answered: str, later: str) -> None:
    kit = serve(f"jobs:\n  - script: [running: 5s, succeeded]\n    on_cancel: {effect}\n")
    job_id = execute(kit)["jobID"]
    kit.advance("1s")
    assert in_words(kit.delete(f"/ogc/jobs/{job_id}")) == answered
    kit.advance("4s")
    assert status(kit, job_id)["status"] == later


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "expected"),
    [
        ("GET", "/ogc/nothing", {}, None, 404),
        ("PUT", "/ogc/jobs", {}, None, 405),
        ("GET", "/ogc/jobs", {"Accept": "text/html"}, None, 406),
        ("POST", ECHO, {"Content-Type": "application/json"}, b'"' + b"x" * 2_000_000 + b'"', 413),
        ("POST", ECHO, {"Content-Type": "application/xml"}, b"<a/>", 415),
        ("GET", "/ogc/jobs?offset=-1", {}, None, 400),
    ],
)
def test_every_refusal_is_an_exception_in_plain_json(
    method: str, path: str, headers: dict[str, str], body: bytes | None, expected: int
) -> None:
    answer = serve().request(method, path, headers=headers, data=body)
    assert answer.status == expected
    assert answer.headers["content-type"].split(";")[0] == "application/json"
    exception = answer.json()
    assert exception["type"] == ("InvalidParameterValue" if expected == 400 else "about:blank")
    assert exception["status"] == expected
    assert exception["title"]
    assert exception["detail"]


def test_a_full_world_takes_no_more_jobs_and_says_so() -> None:
    kit = Kit(apis=("ogc",), limits=Limits(jobs=1))
    execute(kit)
    answer = kit.post(ECHO, json=HELLO)
    assert in_words(answer) == "503 about:blank"
    assert "--max-jobs" in answer.json()["detail"]


def test_a_prefer_header_is_ignored_where_it_means_nothing() -> None:
    kit = serve()
    job_id = execute(kit)["jobID"]
    for path in ("/ogc/jobs", "/ogc/processes", "/ogc/processes/echo", f"/ogc/jobs/{job_id}"):
        answer = kit.get(path, headers={"Prefer": "respond-async"})
        assert answer.status == 200
        assert "preference-applied" not in answer.headers


def test_the_same_calls_get_the_same_bytes() -> None:
    def story() -> list[bytes]:
        kit = serve(seed=11)
        job_id = execute(kit)["jobID"]
        kit.advance("10s")
        return [
            kit.get("/ogc/jobs").content,
            kit.get(f"/ogc/jobs/{job_id}/results").content,
            kit.post(ECHO, json=HELLO).content,
        ]

    assert story() == story()
