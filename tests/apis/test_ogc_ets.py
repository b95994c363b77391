"""What the official executable test suite of OGC API - Processes 1.0 asks of a server, asked of this one.

The suite is a Java program; each test here asserts what the one of the same id does, and makes its requests as that one does:
from the description of the process `echo`, always with `Accept: application/json`. Ids that are missing are not implemented by
the suite. It numbers two of its tests A.27.
"""

from __future__ import annotations

import base64
import socket
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest

from tests.apis.ogc_parts import EXCEPTION, REL, UNKNOWN, local, serve
from tests.kit import Answer, Kit
from tests.running import serving

JSON = {"Accept": "application/json"}
EXECUTION = "/ogc/processes/echo/execution"
TEXT = "teststring"
TIFF = "http://example.org/testdata/testgeotiff.tiff"

STRING = {"type": "string"}
LINK = {
    "type": "object",
    "required": ["href"],
    "properties": dict.fromkeys(("href", "rel", "type", "hreflang", "title"), STRING),
}
LINKS = {"type": "array", "items": LINK}
DESCRIPTION = {
    "title": STRING,
    "description": STRING,
    "keywords": {"type": "array", "items": STRING},
    "links": LINKS,
}
PROCESS_SUMMARY = {
    "type": "object",
    "required": ["id", "version"],
    "properties": {
        **DESCRIPTION,
        "id": STRING,
        "version": STRING,
        "jobControlOptions": {
            "type": "array",
            "items": {"enum": ["sync-execute", "async-execute", "dismiss"]},
        },
        "outputTransmission": {"type": "array", "items": {"enum": ["value", "reference"]}},
    },
}
OCCURS = {
    "minOccurs": {"type": "integer"},
    "maxOccurs": {"anyOf": [{"type": "integer"}, {"const": "unbounded"}]},
}
PUT = {
    "type": "object",
    "required": ["schema"],
    "properties": {**DESCRIPTION, **OCCURS, "schema": {"type": "object"}},
}
STATUS_INFO = {
    "type": "object",
    "required": ["type", "jobID", "status"],
    "properties": {
        "processID": STRING,
        "type": {"enum": ["process"]},
        "jobID": STRING,
        "status": {"enum": ["accepted", "running", "successful", "failed", "dismissed"]},
        "message": STRING,
        **{
            key: {"type": "string", "format": "date-time"}
            for key in ("created", "started", "finished", "updated")
        },
        "progress": {"type": "integer", "minimum": 0, "maximum": 100},
        "links": LINKS,
    },
}
SCHEMAS: dict[str, Any] = {
    "landingPage": {"type": "object", "required": ["links"], "properties": DESCRIPTION},
    "confClasses": {
        "type": "object",
        "required": ["conformsTo"],
        "properties": {"conformsTo": {"type": "array", "items": STRING}},
    },
    "processList": {
        "type": "object",
        "required": ["processes", "links"],
        "properties": {"processes": {"type": "array", "items": PROCESS_SUMMARY}, "links": LINKS},
    },
    "process": {
        "allOf": [
            PROCESS_SUMMARY,
            {
                "properties": {
                    key: {"type": "object", "additionalProperties": PUT} for key in ("inputs", "outputs")
                }
            },
        ]
    },
    "statusInfo": STATUS_INFO,
    "jobList": {
        "type": "object",
        "required": ["jobs", "links"],
        "properties": {"jobs": {"type": "array", "items": STATUS_INFO}, "links": LINKS},
    },
    "exception": {
        "type": "object",
        "required": ["type"],
        "properties": {"type": STRING, "title": STRING, "status": {"type": "integer"}, "detail": STRING},
    },
}
"""The schemas of the standard, as far as they say something about our members; null is never allowed."""


@pytest.fixture(scope="module")
def kit() -> Kit:
    """One server for the whole suite, as the suite has it."""
    return serve()


def fitting(answer: Answer, schema: str) -> Any:
    """The body of an answer, which must fit a schema."""
    body = answer.json()
    jsonschema_rs.validate(SCHEMAS[schema], body, validate_formats=True)
    return body


def get(kit: Kit, path: str) -> Answer:
    return kit.get(path, headers=JSON)


def described(kit: Kit) -> dict[str, Any]:
    return dict(get(kit, "/ogc/processes/echo").json())


def request_for(kit: Kit, *, response: str | None = None, **inputs: Any) -> dict[str, Any]:
    """An execution as the suite makes it: a text for each plain string, all outputs by value."""
    description = described(kit)
    plain = [
        name
        for name, one in description["inputs"].items()
        if one["schema"].get("type") == "string" and "contentMediaType" not in one["schema"]
    ]
    assert plain, "the suite needs an input that is a plain string"
    body: dict[str, Any] = {
        "inputs": dict.fromkeys(plain, TEXT) | inputs,
        "outputs": {key: {"transmissionMode": "value"} for key in description["outputs"]},
    }
    return body if response is None else {**body, "response": response}


def post(kit: Kit, body: dict[str, Any], prefer: str | None = None) -> Answer:
    return kit.post(EXECUTION, json=body, headers=JSON if prefer is None else {**JSON, "Prefer": prefer})


def assert_executed(answer: Answer) -> None:
    """What most tests of executions ask."""
    assert answer.status in (200, 201)


def assert_job_made(kit: Kit, answer: Answer) -> dict[str, Any]:
    """An absolute Location that leads to a status."""
    assert answer.status in (200, 201)
    location = answer.headers["location"]
    assert urlsplit(location).scheme
    followed = get(kit, local(location))
    assert followed.status == 200
    return dict(fitting(followed, "statusInfo"))


# ---- landing page, conformance, HTTP --------------------------------------------------------------------------------


def test_the_landing_page_is_there(kit: Kit) -> None:
    """A.1 /conf/core/landingpage-op"""
    assert get(kit, "/ogc").status == 200


def test_the_landing_page_links_the_definition_the_conformance_and_the_processes(kit: Kit) -> None:
    """A.2 /conf/core/landingpage-success"""
    rels = {one["rel"] for one in fitting(get(kit, "/ogc"), "landingPage")["links"]}
    assert rels & {"service-desc", "service-doc"}
    assert rels & {"conformance", f"{REL}conformance"}
    assert rels & {"processes", f"{REL}processes"}


def test_the_conformance_declaration_is_there(kit: Kit) -> None:
    """A.5 /conf/core/conformance-op"""
    assert get(kit, "/ogc/conformance").status == 200


def test_the_conformance_declaration_names_the_core(kit: Kit) -> None:
    """A.6 /conf/core/conformance-success"""
    classes = fitting(get(kit, "/ogc/conformance"), "confClasses")["conformsTo"]
    assert "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core" in classes


def test_the_server_speaks_http_1_1() -> None:
    """A.7 /conf/core/http"""
    with serving("ogc", "--time", "frozen") as running:
        place = urlsplit(running.url)
        with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
            connection.sendall(
                f"GET /ogc HTTP/1.1\r\nHost: {place.netloc}\r\nConnection: close\r\n\r\n".encode()
            )
            assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 200")


# ---- processes ------------------------------------------------------------------------------------------------------


def test_there_is_a_process(kit: Kit) -> None:
    """A.8 /conf/core/process-list"""
    answer = get(kit, "/ogc/processes")
    assert answer.status == 200
    assert answer.json()["processes"]


def test_the_limit_of_the_list_of_processes_is_defined_as_the_standard_has_it(kit: Kit) -> None:
    """A.9 /conf/core/pl-limit-definition"""
    document = get(kit, "/ogc/api").json()
    (reference,) = document["paths"]["/processes"]["get"]["parameters"]
    limit = document["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
    assert (limit["name"], limit["in"], limit.get("required", False)) == ("limit", "query", False)
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 10000, "default": 10}


def test_the_list_of_processes_fits_its_schema(kit: Kit) -> None:
    """A.10 /conf/core/process-list-success"""
    fitting(get(kit, "/ogc/processes"), "processList")


def test_the_list_of_processes_has_links(kit: Kit) -> None:
    """A.11 /conf/core/pl-links"""
    assert isinstance(get(kit, "/ogc/processes?limit=1").json()["links"], list)


def test_the_list_of_processes_honours_its_limit(kit: Kit) -> None:
    """A.12 /conf/core/pl-limit-response"""
    assert len(get(kit, "/ogc/processes?limit=1").json()["processes"]) == 1


def test_a_process_is_described(kit: Kit) -> None:
    """A.13 /conf/core/process"""
    answer = get(kit, "/ogc/processes/echo")
    assert answer.status == 200
    assert answer.headers["content-type"]


def test_the_description_of_a_process_fits_its_schema(kit: Kit) -> None:
    """A.14 /conf/core/process-success"""
    description = fitting(get(kit, "/ogc/processes/echo"), "process")
    assert description["jobControlOptions"], "the suite stops without it"


def test_an_unknown_process_is_a_404_with_an_exception(kit: Kit) -> None:
    """A.15 /conf/core/process-exception-no-such-process"""
    answer = get(kit, f"/ogc/processes/{UNKNOWN}")
    assert answer.status == 404
    assert fitting(answer, "exception")["type"] == f"{EXCEPTION}no-such-process"


# ---- executing ------------------------------------------------------------------------------------------------------


def test_an_execution_makes_a_job_whose_location_leads_to_its_status(kit: Kit) -> None:
    """A.16 /conf/core/job-creation-op"""
    assert_job_made(kit, post(kit, request_for(kit), "respond-async "))


def test_a_preference_for_asynchronous_execution_is_honoured_as_the_process_allows(kit: Kit) -> None:
    """A.17 /conf/core/job-creation-auto-execution-mode"""
    expected = {"echo": (200, 201), "echo-async": (201,), "echo-sync": (200,)}
    for process, statuses in expected.items():
        path = f"/ogc/processes/{process}/execution"
        answer = kit.post(path, json=request_for(kit), headers={**JSON, "Prefer": "respond-async"})
        assert answer.status in statuses, process


def test_without_a_preference_a_process_is_executed_synchronously_if_it_can_be(kit: Kit) -> None:
    """A.18 /conf/core/job-creation-default-execution-mode"""
    expected = {"echo": (200,), "echo-async": (200, 201), "echo-sync": (200,)}
    for process, statuses in expected.items():
        path = f"/ogc/processes/{process}/execution"
        assert kit.post(path, json=request_for(kit), headers=JSON).status in statuses, process


def test_a_request_to_execute_is_understood(kit: Kit) -> None:
    """A.19 /conf/core/job-creation-request"""
    assert_job_made(kit, post(kit, request_for(kit), "respond-async"))


def test_inputs_are_taken(kit: Kit) -> None:
    """A.20 /conf/core/job-creation-inputs"""
    assert_executed(post(kit, request_for(kit)))


def test_inline_inputs_are_taken(kit: Kit) -> None:
    """A.21 /conf/core/job-creation-input-inline"""
    assert_executed(post(kit, request_for(kit)))


def test_an_input_by_reference_is_taken_and_the_results_hold_the_text(kit: Kit) -> None:
    """A.22 /conf/core/job-creation-input-ref"""
    link = {"href": TIFF, "format": {"mediaType": "image/tiff"}}
    answer = post(kit, request_for(kit, file=link))
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("multipart/related")
    assert TEXT in answer.text


def test_an_array_input_is_taken(kit: Kit) -> None:
    """A.23 /conf/core/job-creation-input-array"""
    assert described(kit)["inputs"]["numbers"]["schema"] == {"type": "array", "items": {"type": "integer"}}
    body = request_for(kit, numbers=[1, 2, 3])
    body["outputs"] = {"numbers": body["outputs"]["numbers"]}
    assert_executed(post(kit, body))


def test_no_input_is_an_object_so_that_a_request_with_one_is_as_any_other(kit: Kit) -> None:
    """A.24 /conf/core/job-creation-input-inline-object"""
    assert "object" not in {one["schema"]["type"] for one in described(kit)["inputs"].values()}
    assert_executed(post(kit, request_for(kit)))


def test_no_input_is_mixed_so_that_a_request_with_one_is_as_any_other(kit: Kit) -> None:
    """A.25 /conf/core/job-creation-input-inline-mixed"""
    assert not any("oneOf" in one["schema"] for one in described(kit)["inputs"].values())
    assert_executed(post(kit, request_for(kit)))


def test_a_binary_input_in_base64_is_taken(kit: Kit) -> None:
    """A.26 /conf/core/job-creation-input-inline-binary"""
    picture = base64.b64encode(bytes(range(256)) * 400).decode()
    value = {"value": picture, "format": {"mediaType": "image/tiff", "encoding": "base64"}}
    assert_executed(post(kit, request_for(kit, file=value)))


def test_no_input_is_a_bounding_box_so_that_its_test_is_skipped(kit: Kit) -> None:
    """A.27 /conf/core/job-creation-input-inline-bbox"""
    formats = [one["schema"].get("format", "") for one in described(kit)["inputs"].values()]
    assert not any("bbox" in one for one in formats)


def test_an_execution_without_outputs_gives_all_of_them(kit: Kit) -> None:
    """A.27 /conf/core/job-creation-default-outputs"""
    body = request_for(kit, pause=1, numbers=[1], file={"href": TIFF})
    del body["outputs"]
    answer = post(kit, body)
    assert_executed(answer)
    for name in described(kit)["outputs"]:
        assert f"Content-ID: {name}\r\n" in answer.text


def test_valid_inputs_are_echoed_and_an_invalid_one_is_refused_in_plain_json(kit: Kit) -> None:
    """A.28 /conf/core/job-creation-input-validation"""
    valid = post(kit, request_for(kit))
    assert valid.headers["content-type"].startswith("multipart/related")
    assert TEXT in valid.text
    wrong = post(kit, request_for(kit, file={"type": "wrong/type_1"}))
    assert wrong.status in (400, 500)
    media_type = wrong.headers["content-type"]
    assert media_type == "application/json" or media_type.startswith("application/json;")
    assert "file" in fitting(wrong, "exception")["detail"]


def test_one_raw_output_is_its_value(kit: Kit) -> None:
    """A.29 /conf/core/job-creation-sync-raw-value-one"""
    body = request_for(kit, response="raw")
    first = next(iter(described(kit)["inputs"]))
    answer = post(kit, {**body, "outputs": {first: {"transmissionMode": "value"}}})
    assert_executed(answer)
    assert TEXT in answer.text


def test_several_raw_outputs_are_answered(kit: Kit) -> None:
    """A.30 /conf/core/job-creation-sync-raw-value-multi"""
    assert_executed(post(kit, request_for(kit, response="raw")))


def test_raw_outputs_of_an_execution_that_might_refer_are_answered(kit: Kit) -> None:
    """A.31 /conf/core/job-creation-sync-raw-ref"""
    assert_executed(post(kit, request_for(kit, response="raw", file={"href": TIFF})))


def test_mixed_raw_outputs_are_answered(kit: Kit) -> None:
    """A.32 /conf/core/job-creation-sync-raw-mixed-multi"""
    assert_executed(post(kit, request_for(kit, response="raw", numbers=[1])))


def test_a_document_is_answered(kit: Kit) -> None:
    """A.33 /conf/core/job-creation-sync-document"""
    answer = post(kit, request_for(kit, response="document"))
    assert_executed(answer)
    assert answer.json()["message"] == TEXT


def test_an_asynchronous_execution_leads_to_a_status(kit: Kit) -> None:
    """A.34 /conf/core/job-creation-success-async"""
    assert_job_made(kit, post(kit, request_for(kit), "respond-async"))


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_a_plain_execution_is_answered(kit: Kit) -> None:
    """A.35 /conf/core/job-op"""
    assert_executed(post(kit, request_for(kit)))


def test_the_status_of_a_job_fits_its_schema(kit: Kit) -> None:
    """A.36 /conf/core/job-success"""
    assert_job_made(kit, post(kit, request_for(kit), "respond-async"))


@pytest.mark.parametrize("path", [f"/ogc/jobs/{UNKNOWN}", f"/ogc/jobs/{UNKNOWN}/results"])
def test_an_unknown_job_is_a_404_with_an_exception(kit: Kit, path: str) -> None:
    """A.37 /conf/core/job-exception-no-such-job, /conf/core/job-results-exception/no-such-job"""
    answer = get(kit, path)
    assert answer.status == 404
    assert fitting(answer, "exception")["type"] == f"{EXCEPTION}no-such-job"


def test_an_asynchronous_execution_is_exactly_201(kit: Kit) -> None:
    """A.38 /conf/core/job-results"""
    answer = post(kit, request_for(kit), "respond-async")
    assert answer.status == 201
    assert assert_job_made(kit, answer)["type"] == "process"


def test_a_synchronous_answer_has_no_link_header(kit: Kit) -> None:
    """A.39 /conf/core/job-results-sync

    The suite dereferences what is in such a header with its angle brackets on, which no right header survives.
    """
    for response in ("raw", "document"):
        answer = post(kit, request_for(kit, response=response))
        assert answer.status == 200
        assert "link" not in answer.headers


def test_the_links_of_a_status_lead_to_results_that_hold_the_text() -> None:
    """A.40 /conf/core/job-results-async-raw-value-one"""
    kit = serve()
    answer = post(kit, request_for(kit, response="raw"), "respond-async")
    status = assert_job_made(kit, answer)
    for _ in range(4):
        by_rel = {one["rel"]: one["href"] for one in status["links"]}
        if f"{REL}results" in by_rel:
            break
        kit.advance("5s")
        status = kit.get(local(by_rel["monitor"])).json()
    assert TEXT in kit.get(local(by_rel[f"{REL}results"])).text
    assert kit.world.now_ms - kit.world.start_ms <= 5_000, "the suite looks four times in all"


@pytest.mark.parametrize(
    ("response", "inputs"),
    [
        pytest.param("raw", {}, id="A.41 /conf/core/job-results-async-raw-value-multi"),
        pytest.param("raw", {"file": {"href": TIFF}}, id="A.42 /conf/core/job-results-async-raw-ref"),
        pytest.param("raw", {"numbers": [1]}, id="A.43 /conf/core/job-results-async-raw-mixed-multi"),
        pytest.param("document", {}, id="A.44 /conf/core/job-results-async-document"),
    ],
)
def test_an_asynchronous_execution_of_any_shape_has_a_status(
    kit: Kit, response: str, inputs: dict[str, Any]
) -> None:
    """A.41, A.42, A.43, A.44"""
    assert_job_made(kit, post(kit, request_for(kit, response=response, **inputs), "respond-async"))


def test_results_of_a_job_that_still_runs_are_not_ready(kit: Kit) -> None:
    """A.46 /conf/core/job-results-exception/results-not-ready"""
    assert described(kit)["inputs"]["pause"]["schema"]["type"] == "integer"
    made = post(kit, request_for(kit, pause=5), "respond-async")
    answer = get(kit, f"{local(made.headers['location'])}/results")
    assert answer.status == 404
    assert fitting(answer, "exception")["type"] == f"{EXCEPTION}result-not-ready"


def test_a_request_that_cannot_be_executed_is_an_exception(kit: Kit) -> None:
    """A.47 /conf/core/job-results-failed"""
    answer = post(kit, {"invalid-execute-request": True})
    assert answer.status == 400
    fitting(answer, "exception")


# ---- descriptions, lists --------------------------------------------------------------------------------------------


def test_every_process_is_described_in_valid_json(kit: Kit) -> None:
    """A.48 /conf/ogc-process-description/json-encoding"""
    for process in get(kit, "/ogc/processes").json()["processes"][:5]:
        description = fitting(get(kit, f"/ogc/processes/{process['id']}"), "process")
        assert description["id"] == process["id"]


def test_a_description_has_inputs(kit: Kit) -> None:
    """A.49 /conf/ogc-process-description/inputs"""
    assert described(kit)["inputs"]


def test_each_input_has_a_schema(kit: Kit) -> None:
    """A.50 /conf/ogc-process-description/input-def"""
    assert all(one["schema"] for one in described(kit)["inputs"].values())


def test_a_description_has_outputs(kit: Kit) -> None:
    """A.52 /conf/ogc-process-description/outputs"""
    assert described(kit)["outputs"]


def test_each_output_has_a_schema(kit: Kit) -> None:
    """A.53 /conf/ogc-process-description/output-def"""
    assert all(one["schema"] for one in described(kit)["outputs"].values())


@pytest.mark.parametrize(
    "member",
    [
        pytest.param("inputs", id="A.51 /conf/ogc-process-description/input-mixed-type"),
        pytest.param("outputs", id="A.54 /conf/ogc-process-description/output-mixed-type"),
    ],
)
def test_no_input_and_no_output_has_a_mixed_type_so_that_its_test_is_skipped(kit: Kit, member: str) -> None:
    """A.51, A.54"""
    assert not any("oneOf" in one["schema"] for one in described(kit)[member].values())


def test_the_list_of_jobs_has_a_job(kit: Kit) -> None:
    """A.64 /conf/job-list/job-list-op"""
    post(kit, request_for(kit), "respond-async")
    answer = get(kit, "/ogc/jobs")
    assert answer.status == 200
    assert answer.json()["jobs"]


def test_the_list_of_jobs_fits_its_schema(kit: Kit) -> None:
    """A.71 /conf/job-list/job-list-success"""
    post(kit, request_for(kit), "respond-async")
    assert fitting(get(kit, "/ogc/jobs"), "jobList")["jobs"]
