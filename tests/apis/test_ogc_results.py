"""Results of OGC jobs, in every shape they can be asked for."""

from __future__ import annotations

import json
import re
from email.message import Message
from email.parser import BytesParser
from typing import Any

import pytest

from tests.apis.ogc_parts import ASYNC, ECHO, REL, ask, execute, in_words, job_in, local, serve
from tests.kit import Answer, Kit

GIVEN: dict[str, Any] = {
    "message": "hello",
    "pause": 1,
    "file": {"href": "http://example.org/a.tif", "type": "image/tiff"},
    "numbers": [1, 2],
}
BY_REFERENCE = {"transmissionMode": "reference"}
BY_VALUE = {"transmissionMode": "value"}
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"


def parts_of(answer: Answer) -> dict[str, Message]:
    """The parts of a multipart answer, by the name of their output."""
    kind = answer.headers["content-type"]
    assert kind.startswith("multipart/related; boundary=")
    whole = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + answer.content)
    assert not whole.defects
    parts: list[Message] = whole.get_payload()  # type: ignore[assignment]
    assert whole.get_param("type") == parts[0].get_content_type()
    return {str(part["Content-ID"]): part for part in parts}


def links_of(answer: Answer) -> dict[str, str]:
    """Where the links of a Link header lead, by their titles."""
    found = re.findall(r'<([^>]+)>; rel="([^"]+)"; title="([^"]+)"', answer.headers["link"])
    assert (
        ", ".join(f'<{href}>; rel="{rel}"; title="{title}"' for href, rel, title in found)
        == (answer.headers["link"])
    )
    assert {rel for _, rel, _ in found} <= {f"{REL}results"}
    return {title: href for href, _, title in found}


def run(kit: Kit, outputs: dict[str, Any] | None = None, **more: Any) -> Answer:
    """A synchronous execution with all inputs."""
    headers = more.pop("headers", {})
    return kit.post(ECHO, json={"inputs": GIVEN, "outputs": outputs, **more}, headers=headers)


# ---- fetched --------------------------------------------------------------------------------------------------------


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
    job_id = ask(kit, {"inputs": given, "outputs": outputs})["jobID"]
    kit.advance("10s")
    results = kit.get(f"/ogc/jobs/{job_id}/results").json()
    assert results == {name: given[name] for name in expected}


@pytest.mark.parametrize("response", ["raw", "document", None])
def test_fetched_results_are_a_map_whatever_response_was_asked_for(response: str | None) -> None:
    kit = serve()
    job_id = ask(kit, {"inputs": {"message": "hello"}, "response": response})["jobID"]
    kit.advance("10s")
    answer = kit.get(f"/ogc/jobs/{job_id}/results", headers=ASYNC)
    assert answer.json() == {"message": "hello"}
    assert "preference-applied" not in answer.headers


def test_results_of_the_scenario_go_before_the_echo() -> None:
    kit = serve("jobs:\n  - script: [running: 1s, succeeded: {result: {area: 12.5, name: field}}]\n")
    job_id = execute(kit)["jobID"]
    kit.advance("1s")
    assert kit.get(f"/ogc/jobs/{job_id}/results").json() == {"area": 12.5, "name": "field"}


def test_a_result_by_reference_is_a_link_that_leads_to_its_value() -> None:
    kit = serve()
    outputs = {"message": BY_REFERENCE, "numbers": BY_REFERENCE, "pause": BY_VALUE, "file": BY_REFERENCE}
    job_id = ask(kit, {"inputs": GIVEN, "outputs": outputs})["jobID"]
    kit.advance("10s")
    results = kit.get(f"/ogc/jobs/{job_id}/results").json()
    assert results["pause"] == 1
    assert results["file"] == GIVEN["file"], "what is a link already needs no other"
    assert results["message"] == {
        "href": f"http://127.0.0.1:4010/ogc/jobs/{job_id}/results/message",
        "rel": f"{REL}results",
        "type": "text/plain",
    }
    assert kit.get(local(results["message"]["href"])).text == "hello"
    numbers = kit.get(local(results["numbers"]["href"]))
    assert numbers.headers["content-type"] == results["numbers"]["type"] == JSON
    assert numbers.json() == [1, 2]


@pytest.mark.parametrize(
    ("prefer", "outputs", "referred", "applied"),
    [
        ("return=minimal", None, {"message", "pause", "numbers"}, "return=minimal"),
        ("return=representation", None, set(), "return=representation"),
        ("return=minimal, wait=1", {"message": {}}, {"message"}, "return=minimal"),
        ("return=minimal", {"message": BY_VALUE, "pause": {}}, {"pause"}, None),
        ("return=representation", {"message": BY_REFERENCE, "pause": {}}, {"message"}, None),
        ("return=representation", {"message": BY_VALUE}, set(), "return=representation"),
        ("return=nothing", None, set(), None),
    ],
)
def test_a_client_prefers_links_or_values_where_the_execution_did_not_say(
    prefer: str, outputs: dict[str, Any] | None, referred: set[str], applied: str | None
) -> None:
    kit = serve()
    given = {"message": "hello", "pause": 1, "numbers": [1]}
    job_id = ask(kit, {"inputs": given, "outputs": outputs})["jobID"]
    kit.advance("10s")
    answer = kit.get(f"/ogc/jobs/{job_id}/results", headers={"Prefer": prefer})
    assert {name for name, value in answer.json().items() if isinstance(value, dict)} == referred
    assert answer.headers.get("preference-applied") == applied


# ---- one output -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "accept", "media_type", "content"),
    [
        ("message", None, TEXT, b"hello"),
        ("message", "*/*", TEXT, b"hello"),
        ("message", "application/json", JSON, b'"hello"'),
        ("message", "text/plain;q=0.5, application/json", JSON, b'"hello"'),
        ("pause", None, JSON, b"1"),
        ("pause", "text/plain", JSON, b"1"),
        ("numbers", None, JSON, b"[1,2]"),
        ("file", None, JSON, b'{"href":"http://example.org/a.tif","type":"image/tiff"}'),
    ],
)
def test_one_output_is_its_bare_value(
    output: str, accept: str | None, media_type: str, content: bytes
) -> None:
    kit = serve()
    headers = {} if accept is None else {"Accept": accept}
    job_id = execute(kit, **GIVEN)["jobID"]
    kit.advance("10s")
    for answer in (
        kit.get(f"/ogc/jobs/{job_id}/results/{output}", headers=headers),
        run(kit, {output: {}}, headers=headers),
        run(kit, {output: {}}, response="raw", headers=headers),
    ):
        assert (answer.status, answer.headers["content-type"], answer.content) == (200, media_type, content)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("accepted", "404 result-not-ready"),
        ("running", "404 result-not-ready"),
        ("successful", "404 no-such-output"),
        ("failed", "500 about:blank"),
        ("dismissed", "404 result-not-available"),
        ("unknown", "404 no-such-job"),
    ],
)
def test_an_output_that_is_not_there_says_why(state: str, expected: str) -> None:
    kit = serve()
    answer = kit.get(f"/ogc/jobs/{job_in(kit, state)}/results/mesage")
    assert in_words(answer) == expected


# ---- synchronous ----------------------------------------------------------------------------------------------------


def test_a_document_holds_all_outputs_in_one_map() -> None:
    kit = serve()
    answer = run(kit, response="document")
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    assert answer.json() == GIVEN
    one = run(kit, {"message": {}}, response="document")
    assert one.json() == {"message": "hello"}


def test_a_document_holds_links_to_outputs_by_reference() -> None:
    kit = serve()
    body = run(kit, {"message": BY_REFERENCE, "pause": BY_VALUE}, response="document").json()
    assert body["pause"] == 1
    assert kit.get(local(body["message"]["href"])).text == "hello"


def test_several_raw_outputs_are_the_parts_of_one_message() -> None:
    parts = parts_of(run(serve()))
    assert list(parts) == ["message", "pause", "file", "numbers"]
    assert [(part["Content-Type"], part.get_payload()) for part in parts.values()] == [
        (TEXT, "hello"),
        (JSON, "1"),
        (JSON, json.dumps(GIVEN["file"], separators=(",", ":"))),
        (JSON, "[1,2]"),
    ]


def test_several_outputs_asked_for_are_a_message_even_if_one_only_has_a_value() -> None:
    kit = serve()
    answer = kit.post(ECHO, json={"inputs": {"message": "hello"}})
    assert list(parts_of(answer)) == ["message"]


def test_a_text_of_many_lines_and_letters_survives_a_message() -> None:
    kit = serve()
    text = "\r\n--\r\nGrüße\r\n\r\n\N{SNOWMAN}"
    answer = kit.post(ECHO, json={"inputs": {"message": text, "pause": 0}})
    payload = parts_of(answer)["message"].get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode() == text


def test_no_two_messages_have_the_same_boundary() -> None:
    kit = serve()
    assert run(kit).headers["content-type"] != run(kit).headers["content-type"]


def test_raw_outputs_by_reference_are_links_without_a_body() -> None:
    kit = serve()
    outputs = {"message": BY_REFERENCE, "numbers": BY_REFERENCE, "file": BY_REFERENCE}
    answer = run(kit, outputs)
    assert (answer.status, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    links = links_of(answer)
    assert list(links) == ["message", "file", "numbers"]
    assert kit.get(local(links["message"])).text == "hello"
    assert kit.get(local(links["numbers"])).json() == [1, 2]
    assert links["file"] == "http://example.org/a.tif"


def test_one_raw_output_by_reference_is_one_link() -> None:
    answer = run(serve(), {"pause": BY_REFERENCE})
    assert answer.status == 204
    assert list(links_of(answer)) == ["pause"]


def test_a_raw_output_by_reference_among_values_is_an_empty_part_that_says_where_it_is() -> None:
    kit = serve()
    parts = parts_of(run(kit, {"message": BY_VALUE, "numbers": BY_REFERENCE}))
    assert parts["message"].get_payload() == "hello"
    assert "Content-Location" not in parts["message"]
    assert parts["numbers"].get_payload() == ""
    assert kit.get(local(str(parts["numbers"]["Content-Location"]))).json() == [1, 2]


def test_an_output_without_a_value_is_no_content() -> None:
    answer = serve().post(ECHO, json={"inputs": {"message": "hello"}, "outputs": {"file": {}}})
    assert (answer.status, answer.content) == (204, b"")
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("prefer", "outputs", "expected", "applied"),
    [
        ("return=minimal", None, 204, "return=minimal"),
        ("return=minimal, wait=30", None, 204, "wait=30, return=minimal"),
        ("return=minimal", {"message": BY_VALUE}, 200, None),
        ("return=representation", None, 200, "return=representation"),
        ("return=representation", {"message": BY_REFERENCE}, 204, None),
        ("respond-async, return=minimal", None, 201, "respond-async"),
    ],
)
def test_a_client_that_prefers_little_gets_links(
    prefer: str, outputs: dict[str, Any] | None, expected: int, applied: str | None
) -> None:
    answer = run(serve(), outputs, headers={"Prefer": prefer})
    assert answer.status == expected
    assert answer.headers.get("preference-applied") == applied


def test_the_scenario_may_name_outputs_as_it_likes() -> None:
    kit = serve(
        'jobs:\n  - script: [running: 1s, succeeded: {result: {"a b/c": "x", "ü\\r\\nX: y": 1.5, "n": null}}]\n'
    )
    parts = parts_of(run(kit))
    assert [part.get_payload() for part in parts.values()] == ["x", "1.5", "null"]
    assert not any("X" in part for part in parts.values())
    links = links_of(run(kit, headers={"Prefer": "return=minimal"}))
    assert [kit.get(local(href)).text for href in links.values()] == ["x", "1.5", "null"]


def test_a_link_of_a_client_cannot_break_out_of_a_header() -> None:
    kit = serve()
    href = 'http://example.org/a>; rel="x"\r\nX: y, ü'
    answer = kit.post(
        ECHO, json={"inputs": {"message": {"href": href}}, "outputs": {"message": BY_REFERENCE}}
    )
    assert links_of(answer) == {
        "message": "http://example.org/a%3E;%20rel=%22x%22%0D%0AX:%20y,%20%C3%BC",
    }
