"""The processes of OGC, as they are described and as they check what they are given."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apis.ogc_parts import (
    ECHO,
    EXCEPTION,
    FAIL,
    PROCESSES,
    REL,
    ask,
    execute,
    in_words,
    link,
    serve,
)


def test_each_process_says_how_it_can_be_executed() -> None:
    body = serve().get(PROCESSES).json()
    assert {process["id"]: process["jobControlOptions"] for process in body["processes"]} == {
        "echo": ["sync-execute", "async-execute", "dismiss"],
        "fail": ["sync-execute", "async-execute", "dismiss"],
        "echo-sync": ["sync-execute", "dismiss"],
        "echo-async": ["async-execute", "dismiss"],
    }
    for process in body["processes"]:
        assert process["version"]
        assert process["outputTransmission"] == ["value", "reference"]
    assert link(body, "self") == PROCESSES


def test_the_ids_of_the_processes_are_a_schema() -> None:
    kit = serve()
    ids = [process["id"] for process in kit.get(PROCESSES).json()["processes"]]
    assert kit.get("/ogc/api/processes-list").json() == {"type": "string", "enum": ids}


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
    assert kit.post(execution, json={"inputs": {"message": "hello"}}).status == 200


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
    job_id = ask(kit, body)["jobID"]
    kit.advance("10s")
    results = kit.get(f"/ogc/jobs/{job_id}/results").json()
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
