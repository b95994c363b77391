"""OGC API - Processes as its clients see it: descriptions, execution, status, results, dismissal, lists, errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest

from simulator.engine.world import Limits
from tests.kit import Answer, Kit

ECHO = "/ogc/processes/echo/execution"
FAIL = "/ogc/processes/fail/execution"
UNKNOWN = "0d6f1c1e-6d0b-4c55-9f0c-2b6a5f3c9a10"
STATES = ("accepted", "running", "successful", "failed", "dismissed", "unknown")
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"


def serve(scenario: str = "happy", *, seed: int = 7) -> Kit:
    """A server that serves this API alone."""
    return Kit(scenario, seed=seed, apis=("ogc",))


def execute(kit: Kit, path: str = ECHO, **inputs: Any) -> dict[str, Any]:
    """The first status of a new job."""
    answer = kit.post(path, json={"inputs": {"message": "hello"} | inputs})
    assert answer.status == 201, answer.text
    return dict(answer.json())


def local(url: str) -> str:
    """Path and query of a URL that must be absolute."""
    parts = urlsplit(url)
    assert parts.scheme == "http"
    assert parts.netloc
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def status(kit: Kit, job_id: str) -> dict[str, Any]:
    """How a job is doing now."""
    return dict(kit.get(f"/ogc/jobs/{job_id}").json())


def link(body: dict[str, Any], rel: str) -> str | None:
    """Where the link with this relation leads, without scheme and host."""
    found = [one["href"] for one in body["links"] if one["rel"] == rel]
    assert len(found) <= 1
    return local(found[0]) if found else None


def job_in(kit: Kit, state: str) -> str:
    """The id of a new job, brought into a state."""
    if state == "unknown":
        return UNKNOWN
    job_id: str = execute(kit, FAIL if state == "failed" else ECHO)["jobID"]
    kit.advance({"accepted": "0s", "dismissed": "2s", "running": "2s"}.get(state, "10s"))
    if state == "dismissed":
        kit.delete(f"/ogc/jobs/{job_id}")
    return job_id


def in_words(answer: Answer) -> str:
    """Status code, and the status word of a job or the last part of an exception's type."""
    body = answer.json()
    if "jobID" in body:
        return f"{answer.status} {body['status']}"
    if "type" in body and "title" in body:
        assert body["status"] == answer.status
        assert answer.headers["content-type"].startswith("application/json")
        return f"{answer.status} {body['type'].rsplit('/', 1)[-1]}"
    return f"{answer.status} map"


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


# ---- processes --------------------------------------------------------------------------------------------------


def test_the_processes_are_echo_and_fail() -> None:
    body = serve().get("/ogc/processes").json()
    assert [process["id"] for process in body["processes"]] == ["echo", "fail"]
    for process in body["processes"]:
        assert process["version"]
        assert process["jobControlOptions"] == ["async-execute", "dismiss"]
    assert link(body, "self") == "/ogc/processes"


def test_the_list_of_processes_honours_its_limit() -> None:
    body = serve().get("/ogc/processes?limit=1").json()
    assert [process["id"] for process in body["processes"]] == ["echo"]
    assert isinstance(body["links"], list)


@pytest.mark.parametrize("path", ["/ogc/processes", "/ogc/jobs"])
@pytest.mark.parametrize("limit", ["0", "-1", "10001", "ten", ""])
def test_a_limit_out_of_bounds_is_an_invalid_parameter(path: str, limit: str) -> None:
    answer = serve().get(f"{path}?limit={limit}")
    assert in_words(answer) == "400 InvalidParameterValue"
    assert "limit" in answer.json()["detail"]


def test_echo_is_described_as_the_test_suite_of_the_standard_needs_it() -> None:
    kit = serve()
    listed = kit.get("/ogc/processes").json()["processes"][0]
    self_link = link(listed, "self")
    assert self_link is not None
    body = kit.get(self_link).json()
    assert list(body["inputs"]) == ["message", "pause", "file", "numbers"]
    assert list(body["outputs"]) == list(body["inputs"])
    assert [one["minOccurs"] for one in body["inputs"].values()] == [1, 0, 0, 0]
    assert {one["maxOccurs"] for one in body["inputs"].values()} == {1}
    assert [one["schema"]["type"] for one in body["inputs"].values()] == [
        "string",
        "integer",
        "string",
        "array",
    ]
    assert body["inputs"]["file"]["schema"]["contentMediaType"] == "image/tiff"
    assert body["inputs"]["numbers"]["schema"]["items"] == {"type": "integer"}


def test_the_links_of_a_description_lead_to_itself_and_to_its_execution() -> None:
    kit = serve()
    body = kit.get("/ogc/processes/echo").json()
    assert link(body, "self") == "/ogc/processes/echo"
    execution = link(body, f"{REL}execute")
    assert execution is not None
    assert kit.post(execution, json={"inputs": {"message": "hello"}}).status == 201


def test_every_input_of_fail_is_optional() -> None:
    body = serve().get("/ogc/processes/fail").json()
    assert {one["minOccurs"] for one in body["inputs"].values()} == {0}


def test_an_unknown_process_can_be_neither_described_nor_executed() -> None:
    kit = serve()
    described = kit.get("/ogc/processes/ehco")
    executed = kit.post("/ogc/processes/ehco/execution", json={"inputs": {"message": "hello"}})
    for answer in (described, executed):
        assert in_words(answer) == "404 no-such-process"
        assert answer.json()["type"] == f"{EXCEPTION}no-such-process"
        assert "ehco" in answer.json()["detail"]


# ---- execution --------------------------------------------------------------------------------------------------


def test_an_execution_answers_at_once_with_the_first_status_of_a_job() -> None:
    kit = serve()
    answer = kit.post(ECHO, json={"inputs": {"message": "hello"}})
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


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        (None, None),
        ("respond-async", "respond-async"),
        ("respond-async ", "respond-async"),
        ("Respond-Async", "respond-async"),
        ("respond-async, wait=5", "respond-async"),
        ("wait=5,respond-async;foo=bar", "respond-async"),
        ("respond-sync", None),
        ("respond-async-not", None),
        ('note="later, respond-async"', None),
        ("return=minimal", None),
        ("", None),
    ],
)
def test_the_preference_for_an_asynchronous_answer_is_confirmed(
    prefer: str | None, applied: str | None
) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    answer = serve().post(ECHO, json={"inputs": {"message": "hello"}}, headers=headers)
    assert answer.status == 201
    assert answer.headers.get("preference-applied") == applied


def test_an_execution_without_content_type_is_read_as_json() -> None:
    answer = serve().post(ECHO, data=b'{"inputs": {"message": "hello"}}')
    assert answer.status == 201


NULLS = {
    "inputs": {"message": "hello", "pause": None, "file": None, "numbers": None},
    "outputs": None,
    "response": None,
    "subscriber": None,
    "process": None,
    "filter": None,
    "properties": None,
    "sortBy": None,
}
NULLS_INSIDE = {
    "inputs": {
        "message": {"value": "hello", "mediaType": None, "encoding": None, "schema": None},
        "file": {
            "href": "http://example.org/a.tif",
            "rel": None,
            "type": None,
            "hreflang": None,
            "title": None,
        },
    },
    "outputs": {
        "message": {
            "format": {"mediaType": None, "encoding": None, "schema": None},
            "transmissionMode": None,
            "$output": None,
        },
        "pause": {"format": None},
        "file": None,
    },
    "subscriber": {"successUri": "http://example.org/", "inProgressUri": None, "failedUri": None},
}


@pytest.mark.parametrize("body", [NULLS, NULLS_INSIDE], ids=["members", "inside"])
def test_nulls_are_taken_for_absent_members(body: dict[str, Any]) -> None:
    kit = serve()
    answer = kit.post(ECHO, json=body)
    assert answer.status == 201, answer.text
    kit.advance("10s")
    results = kit.get(f"/ogc/jobs/{answer.json()['jobID']}/results").json()
    assert results["message"] == "hello"
    assert None not in results.values()


FIT = [
    ("message", "teststring", "teststring"),
    ("message", {"value": "teststring"}, "teststring"),
    ("message", {"value": "teststring", "mediaType": "text/plain"}, "teststring"),
    ("message", {"href": "http://example.org/text", "type": None}, {"href": "http://example.org/text"}),
    ("pause", 5, 5),
    ("pause", {"value": 0}, 0),
    ("pause", {"href": "http://example.org/number"}, {"href": "http://example.org/number"}),
    ("file", "SUkqAA==", "SUkqAA=="),
    ("file", {"value": "SUkqAA==", "format": {"mediaType": "image/tiff", "encoding": "base64"}}, "SUkqAA=="),
    ("file", {"value": "SUkqAA==", "mediaType": "image/tiff; application=geotiff"}, "SUkqAA=="),
    (
        "file",
        {"href": "http://example.org/a.tif", "format": {"mediaType": "image/tiff"}},
        {"href": "http://example.org/a.tif"},
    ),
    (
        "file",
        {"href": "http://example.org/a.tif", "type": "image/tiff", "title": "A"},
        {"href": "http://example.org/a.tif", "type": "image/tiff", "title": "A"},
    ),
    ("numbers", [1, 2, 3], [1, 2, 3]),
    ("numbers", [], []),
    ("numbers", {"value": [4]}, [4]),
]


@pytest.mark.parametrize(("name", "given", "expected"), FIT)
def test_an_input_comes_out_as_plain_value_or_as_link(name: str, given: Any, expected: Any) -> None:
    kit = serve()
    job_id = execute(kit, **{name: given})["jobID"]
    kit.advance("10s")
    assert kit.get(f"/ogc/jobs/{job_id}/results").json() == {"message": "hello"} | {name: expected}


MISFIT = [
    ("message", 7),
    ("message", ["teststring"]),
    ("message", {"value": 7}),
    ("message", {"bbox": [1, 2, 3, 4]}),
    ("pause", "5"),
    ("pause", 1.5),
    ("pause", True),
    ("pause", -1),
    ("pause", 10**12),
    ("pause", {"value": "5"}),
    ("file", 7),
    ("file", {"type": "wrong/type_1"}),
    ("file", {}),
    ("file", {"href": "http://example.org/a.png", "type": "image/png"}),
    ("file", {"value": "SUkqAA==", "mediaType": "image/png"}),
    ("file", {"value": "SUkqAA==", "format": {"mediaType": "wrong/type_1"}}),
    ("file", {"href": 7}),
    ("numbers", 1),
    ("numbers", "teststring"),
    ("numbers", [1, "2"]),
    ("numbers", {"value": [1.5]}),
]


@pytest.mark.parametrize("path", [ECHO, FAIL])
@pytest.mark.parametrize(("name", "given"), MISFIT)
def test_an_input_that_does_not_fit_is_refused_by_name_before_there_is_a_job(
    name: str, given: Any, path: str
) -> None:
    kit = serve()
    answer = kit.post(path, json={"inputs": {"message": "hello"} | {name: given}})
    assert in_words(answer) == "400 InvalidParameterValue"
    assert f'"{name}"' in answer.json()["detail"]
    assert kit.get("/ogc/jobs").json()["jobs"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"inputs": None},
        {"inputs": {}},
        {"inputs": {"message": None}},
        {"inputs": {"pause": 1}},
        {"invalid-execute-request": True},
    ],
)
def test_echo_misses_its_message(body: dict[str, Any]) -> None:
    answer = serve().post(ECHO, json=body)
    assert in_words(answer) == "400 InvalidParameterValue"
    assert '"message"' in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {"inputs": {"message": "hello", "mesage": "hello"}},
        {"inputs": {"message": "hello"}, "outputs": {"mesage": {}}},
    ],
    ids=["input", "output"],
)
def test_a_misspelt_input_or_output_is_refused_by_name(body: dict[str, Any]) -> None:
    answer = serve().post(ECHO, json=body)
    assert in_words(answer) == "400 InvalidParameterValue"
    assert '"mesage"' in answer.json()["detail"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"inputs": []}',
        b'{"inputs": {"message": "a"}, "response": "xml"}',
        b"\xff",
    ],
)
def test_a_body_that_is_no_execution_is_refused(body: bytes) -> None:
    answer = serve().post(ECHO, data=body, headers={"Content-Type": "application/json"})
    assert in_words(answer) == "400 InvalidParameterValue"


# ---- following a job --------------------------------------------------------------------------------------------


def test_a_job_goes_from_accepted_over_running_to_successful() -> None:
    kit = serve()
    job_id = execute(kit)["jobID"]
    seen = []
    for _ in range(5):
        info = status(kit, job_id)
        seen.append((info["status"], info.get("progress"), info["updated"][17:]))
        kit.advance("1s")
    assert seen == [
        ("accepted", None, "00.000Z"),
        ("running", 0, "01.000Z"),
        ("running", 33, "01.990Z"),
        ("running", 66, "02.980Z"),
        ("successful", 100, "04.000Z"),
    ]


def test_a_successful_job_says_when_it_ran_and_where_its_results_are() -> None:
    kit = serve()
    job_id = job_in(kit, "successful")
    info = status(kit, job_id)
    assert [info[name][17:] for name in ("created", "started", "finished", "updated")] == [
        "00.000Z",
        "01.000Z",
        "04.000Z",
        "04.000Z",
    ]
    assert link(info, f"{REL}results") == f"/ogc/jobs/{job_id}/results"
    assert link(info, "monitor") is None


@pytest.mark.parametrize(
    ("state", "rels"),
    [
        ("accepted", ["self", "monitor"]),
        ("running", ["self", "monitor"]),
        ("successful", ["self", f"{REL}results"]),
        ("failed", ["self", f"{REL}exceptions"]),
        ("dismissed", ["self"]),
    ],
)
def test_each_state_has_its_links(state: str, rels: list[str]) -> None:
    kit = serve()
    info = status(kit, job_in(kit, state))
    assert [one["rel"] for one in info["links"]] == rels
    for one in info["links"]:
        assert local(one["href"]).startswith(f"/ogc/jobs/{info['jobID']}")


@pytest.mark.parametrize("state", STATES[:-1])
def test_no_member_is_null(state: str) -> None:
    kit = serve()
    answer = kit.get(f"/ogc/jobs/{job_in(kit, state)}")
    assert "null" not in answer.text
    assert "null" not in kit.get("/ogc/jobs").text


def test_progress_and_message_come_from_the_scenario() -> None:
    kit = serve(
        """
jobs:
  - script:
      - running: 4s
        progress: 0..60
        message: Copying inputs
      - succeeded
"""
    )
    job_id = execute(kit)["jobID"]
    kit.advance("2500ms")
    info = status(kit, job_id)
    assert (info["status"], info["progress"], info["message"]) == ("running", 37, "Copying inputs")
    assert type(info["progress"]) is int


def test_a_pause_keeps_the_job_active_for_so_many_seconds() -> None:
    kit = serve()
    job_id = execute(kit, pause=60)["jobID"]
    kit.advance("60s")
    assert status(kit, job_id)["status"] == "running"
    kit.advance("1s")
    assert status(kit, job_id)["status"] == "successful"


def test_a_failed_job_answers_200_with_the_reason_and_its_results_tell_it_again() -> None:
    kit = serve()
    job_id = execute(kit, FAIL)["jobID"]
    kit.advance("10s")
    answer = kit.get(f"/ogc/jobs/{job_id}")
    assert answer.status == 200
    info = answer.json()
    assert (info["status"], info["message"]) == ("failed", "The process gave up.")
    assert info["exception"] == {
        "type": "about:blank",
        "title": "Job failed",
        "status": 500,
        "detail": "The process gave up.",
    }
    assert kit.get(f"/ogc/jobs/{job_id}/results").json() == info["exception"]


def test_the_failure_of_a_scenario_is_the_exception() -> None:
    kit = serve(
        """
jobs:
  - script:
      - running: 1s
        message: Copying inputs
      - failed: {error: {code: out_of_memory, message: Container killed, details: at line 3}}
"""
    )
    job_id = execute(kit)["jobID"]
    kit.advance("1s")
    assert status(kit, job_id)["message"] == "Container killed"
    answer = kit.get(f"/ogc/jobs/{job_id}/results")
    assert answer.status == 500
    assert answer.json() == {
        "type": "out_of_memory",
        "title": "Job failed",
        "status": 500,
        "detail": "Container killed\nat line 3",
    }


# ---- results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (None, {"message", "pause", "numbers"}),
        ({}, {"message", "pause", "numbers"}),
        ({"numbers": {}}, {"numbers"}),
        ({"pause": {"transmissionMode": "value"}, "message": None}, {"message", "pause"}),
        ({"message": {}, "file": {}}, {"message"}),
    ],
)
def test_results_are_the_outputs_asked_for(outputs: dict[str, Any] | None, expected: set[str]) -> None:
    kit = serve()
    given = {"message": "hello", "pause": 1, "numbers": [1]}
    answer = kit.post(ECHO, json={"inputs": given, "outputs": outputs})
    kit.advance("10s")
    results = kit.get(f"/ogc/jobs/{answer.json()['jobID']}/results").json()
    assert results == {name: given[name] for name in expected}


def test_results_are_a_map_whatever_response_was_asked_for() -> None:
    kit = serve()
    answer = kit.post(ECHO, json={"inputs": {"message": "hello"}, "response": "raw"})
    kit.advance("10s")
    path = f"/ogc/jobs/{answer.json()['jobID']}/results"
    assert kit.get(path, headers={"Prefer": "return=minimal"}).json() == {"message": "hello"}


def test_results_of_the_scenario_go_before_the_echo() -> None:
    kit = serve("jobs:\n  - script: [running: 1s, succeeded: {result: {area: 12.5, name: field}}]\n")
    job_id = execute(kit)["jobID"]
    kit.advance("1s")
    assert kit.get(f"/ogc/jobs/{job_id}/results").json() == {"area": 12.5, "name": "field"}


# ---- dismissing -------------------------------------------------------------------------------------------------


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


# ---- the list ---------------------------------------------------------------------------------------------------


def test_the_list_is_newest_first_and_its_links_walk_through_all_of_it() -> None:
    kit = serve()
    made = []
    for _ in range(25):
        made.append(execute(kit)["jobID"])
        kit.advance("100ms")
    page = kit.get("/ogc/jobs").json()
    assert link(page, "prev") is None
    forward = [page]
    while (next_path := link(page, "next")) is not None:
        page = kit.get(next_path).json()
        forward.append(page)
    assert [len(one["jobs"]) for one in forward] == [10, 10, 5]
    seen = [job["jobID"] for one in forward for job in one["jobs"]]
    assert seen == made[::-1]
    for before, after in pairwise(forward):
        prev_path = link(after, "prev")
        assert prev_path is not None
        assert [job["jobID"] for job in kit.get(prev_path).json()["jobs"]] == [
            job["jobID"] for job in before["jobs"]
        ]


def test_a_listed_job_is_shown_as_its_status() -> None:
    kit = serve()
    for state in ("successful", "failed", "dismissed", "running"):
        job_in(kit, state)
    listed = kit.get("/ogc/jobs").json()["jobs"]
    assert [job["status"] for job in listed] == ["running", "dismissed", "failed", "successful"]
    assert listed == [status(kit, job["jobID"]) for job in listed]


@pytest.mark.parametrize("offset", [3, 4, 10**9, 10**30])
def test_past_the_end_the_list_is_empty_and_leads_back(offset: int) -> None:
    kit = serve()
    for _ in range(3):
        execute(kit)
    body = kit.get(f"/ogc/jobs?limit=2&offset={offset}").json()
    assert body["jobs"] == []
    assert link(body, "next") is None
    prev_path = link(body, "prev")
    assert prev_path is not None
    assert len(kit.get(prev_path).json()["jobs"]) == 2


def test_a_list_that_ends_with_its_page_has_no_next() -> None:
    kit = serve()
    for _ in range(2):
        execute(kit)
    body = kit.get("/ogc/jobs?limit=2").json()
    assert len(body["jobs"]) == 2
    assert link(body, "next") is None
    assert link(body, "self") == "/ogc/jobs?limit=2&offset=0"


def test_an_empty_list_has_links_too() -> None:
    body = serve().get("/ogc/jobs").json()
    assert body["jobs"] == []
    assert [one["rel"] for one in body["links"]] == ["self"]


# ---- errors -----------------------------------------------------------------------------------------------------


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
    answer = kit.post(ECHO, json={"inputs": {"message": "hello"}})
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
        return [kit.get("/ogc/jobs").content, kit.get(f"/ogc/jobs/{job_id}/results").content]

    assert story() == story()
