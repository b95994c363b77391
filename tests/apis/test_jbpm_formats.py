"""Which format the KIE server reads and answers in, and what a client can ask of its JSON."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from simulator.apis.jbpm import DATES
from tests.apis.test_jbpm import (
    COMMAND,
    GENERAL,
    JOBS,
    JSON,
    SERVER,
    STOCK,
    XML,
    XS,
    entry,
    error_text,
    read,
    schedule,
    serve,
    submission,
)
from tests.kit import Kit

KIE = "X-KIE-ContentType"
START_MS = 1_893_456_000_000
WRAPPED = "apis:\n  jbpm: {date_format: wrapped}\njobs:\n  - script: [queued: 1s, running: 3s, succeeded]\n"

# ---- X-KIE-ContentType ----------------------------------------------------------------------------------------------

WORDS = [
    ("JSON", "application/json"),
    ("json", "application/json"),
    ("application/json", "application/json"),
    ("Application/JSON; fields=not_null", "application/json"),
    ("JAXB", "application/xml"),
    ("jaxb", "application/xml"),
    ("xml", "application/xml"),
    ("application/xml; charset=UTF-8", "application/xml"),
]


@pytest.mark.parametrize(("word", "expected"), WORDS)
def test_the_header_of_the_server_beats_all_others_when_reading(word: str, expected: str) -> None:
    kit = serve()
    for content_type in (None, "application/json", "application/xml", "text/plain"):
        for accept in (None, "application/json", "application/xml", "text/html"):
            others = {"Content-Type": content_type, "Accept": accept}
            headers = {KIE: word} | {name: value for name, value in others.items() if value is not None}
            answer = kit.get(JOBS, headers=headers)
            assert (answer.status, answer.headers["content-type"]) == (200, expected), headers
            assert answer.content.startswith(b"{" if expected == "application/json" else b"<?xml")


@pytest.mark.parametrize(("word", "expected"), WORDS)
def test_the_header_of_the_server_beats_all_others_when_sending(word: str, expected: str) -> None:
    kit = serve()
    bodies = {
        "application/xml": (
            submission(COMMAND, entry("a", "int", "1")),
            f"<map-type><entries>{entry('b', 'int', '2')}</entries></map-type>",
        ),
        "application/json": ('{"job-command": "a.B", "request-data": {"a": 1}}', '{"b": 2}'),
    }
    body, changes = bodies[expected]
    for number, content_type in enumerate(("application/json", "application/xml", "text/plain"), 1):
        headers = {KIE: word, "Content-Type": content_type}
        answer = kit.post(JOBS, data=body, headers=headers)
        assert (answer.status, answer.headers["content-type"]) == (201, expected)
        assert kit.post(f"{JOBS}/{number}/data", data=changes, headers=headers).status == 201
        assert read(kit, str(number), "?withData=true")["request-data"] == {"a": 1, "b": 2}


def test_the_header_of_the_server_chooses_the_format_of_what_it_is_and_how_it_is() -> None:
    kit = serve()
    for path in (SERVER, f"{SERVER}/healthcheck?report=true"):
        assert (
            kit.get(path, headers={KIE: "JSON", "Accept": "*/*"}).headers["content-type"]
            == "application/json"
        )
        assert kit.get(path, headers={KIE: "JAXB"} | JSON).headers["content-type"] == "application/xml"


@pytest.mark.parametrize("word", ["FOO", "", "yaml", 'a"b'])
def test_a_format_that_is_none_makes_the_server_stumble(word: str) -> None:
    kit = serve()
    shown = word.replace('"', "'")
    for answer in (
        kit.get(JOBS, headers={KIE: word}),
        kit.post(JOBS, json={"job-command": COMMAND}, headers={KIE: word}),
        kit.post(f"{JOBS}/1/data", json={}, headers={KIE: word}),
    ):
        assert answer.status == 500
        assert error_text(answer) == f"{GENERAL}Invalid marshalling format [{shown}]\n"


@pytest.mark.parametrize("word", ["XSTREAM", "xstream", "application/xstream"])
def test_xstream_is_refused_rather_than_answered_in_something_else(word: str) -> None:
    kit = serve()
    for answer in (
        kit.get(JOBS, headers={KIE: word}),
        kit.post(JOBS, data=b"<x/>", headers={KIE: word}),
        kit.post(f"{JOBS}/1/data", data=b"<x/>", headers={KIE: word}),
    ):
        assert answer.status == 406
        assert "XSTREAM" in error_text(answer)


def test_calls_without_bodies_need_no_format_at_all() -> None:
    kit = serve()
    schedule(kit)
    assert kit.put(f"{JOBS}/1", headers={KIE: "FOO"}).status == 201
    assert kit.delete(f"{JOBS}/1", headers={KIE: "XSTREAM"}).status == 204


def test_a_conversation_is_echoed_on_every_refusal() -> None:
    kit = Kit(apis=("jbpm",), body_bytes_max=100)
    headers = {"X-KIE-ConversationId": "talk-1"}
    answers = [
        kit.get(f"{JOBS}/99", headers=headers),
        kit.get(f"{JOBS}/abc", headers=headers),
        kit.get(f"{SERVER}/nothing/here", headers=headers),
        kit.request("PATCH", JOBS, headers=headers),
        kit.get(JOBS, headers=headers | {"Accept": "text/html"}),
        kit.get(JOBS, headers=headers | {KIE: "FOO"}),
        kit.post(JOBS, data=b"x" * 101, headers=headers),
        kit.post(JOBS, data=b"x", headers=headers | {"Content-Type": "text/plain"}),
        kit.post(JOBS, data=b"{", headers=headers | {"Content-Type": "application/json"}),
    ]
    assert [answer.status for answer in answers] == [404, 404, 404, 405, 406, 500, 413, 415, 500]
    assert [answer.headers.get("x-kie-conversationid") for answer in answers] == ["talk-1"] * 9


# ---- what can be asked of JSON --------------------------------------------------------------------------------------

NOT_NULL = [
    {"Accept": "application/json; fields=not_null"},
    {"Accept": "application/json;fields=not_null, application/xml;q=0.5"},
    {"Accept": "application/json", "Content-Type": "application/json;fields=not_null"},
    {"Accept": "*/*", "Content-Type": "text/plain"} | {KIE: "JSON;fields=not_null"},
    {KIE: "application/json; strict=true, fields=NOT_NULL"},
    {"Accept": "application/json;strict=true;fields=not_null"},
]
NULLS = [
    JSON,
    {"Accept": "application/json; fields=all"},
    {"Accept": "application/json", KIE: "JSON", "Content-Type": "application/json;fields=not_null"},
    {"Accept": "application/json;fields=not_null", "Content-Type": "application/json"},
]


def job_with_nulls(kit: Kit) -> str:
    """A job that has errors and data with nulls in it."""
    job_id = schedule(
        kit, f"{STOCK}JobExecutionErrorCommand", retries=0, note=None, deep={"a": None, "b": [None]}
    )
    kit.advance("10s")
    return job_id


@pytest.mark.parametrize("headers", NOT_NULL)
def test_nulls_are_left_out_when_asked_for(headers: dict[str, str]) -> None:
    kit = serve()
    path = f"{JOBS}/{job_with_nulls(kit)}"
    usual = kit.get(path, headers=JSON).json()
    assert kit.get(path, headers=headers).json() == {
        name: value for name, value in usual.items() if value is not None
    }
    full = kit.get(f"{path}?withData=true&withErrors=true", headers=headers).json()
    assert full["request-data"] == {"retries": 0, "deep": {"b": [None]}}
    assert len(full["request-errors"]["error-info-instance"]) == 1
    [listed] = kit.get(f"{JOBS}?status=ERROR", headers=headers).json()["request-info-instance"]
    assert None not in listed.values()


@pytest.mark.parametrize("headers", NULLS)
def test_nulls_are_shown_when_not_asked_to_be_left_out(headers: dict[str, str]) -> None:
    kit = serve()
    path = f"{JOBS}/{job_with_nulls(kit)}?withData=true"
    body = kit.get(path, headers=headers).json()
    assert body["request-business-key"] is None
    assert body["request-data"]["note"] is None


@pytest.mark.parametrize(
    "type_", ["application/json;strict=true", "application/json; fields=not_null ; STRICT=TRUE"]
)
def test_a_bare_number_is_wrapped_when_json_is_to_be_strict(type_: str) -> None:
    kit = serve()
    answer = kit.post(JOBS, json={"job-command": COMMAND}, headers={"Content-Type": type_})
    assert (answer.status, answer.json()) == (201, {"value": 1})
    assert answer.headers["content-type"] == "application/json"
    told = {KIE: "JSON;strict=true", "Content-Type": "application/json"}
    assert kit.post(JOBS, json={"job-command": COMMAND}, headers=told).json() == {"value": 2}


@pytest.mark.parametrize(
    "type_", ["application/json", "application/json;strict=false", "application/json;strict"]
)
def test_a_bare_number_stays_bare_otherwise(type_: str) -> None:
    answer = serve().post(JOBS, json={"job-command": COMMAND}, headers={"Content-Type": type_})
    assert answer.content == b"1"


def test_xml_has_no_such_parameters() -> None:
    kit, other = serve(), serve()
    plain = {"Content-Type": "application/xml"}
    asked = {"Content-Type": "application/xml;strict=true;fields=not_null"}
    body = submission(COMMAND, "<entry><key>note</key></entry>")
    assert (
        kit.post(JOBS, data=body, headers=plain).content == other.post(JOBS, data=body, headers=asked).content
    )
    path = f"{JOBS}/1?withData=true"
    expected = kit.get(path, headers=plain).content
    rather = "application/json;fields=not_null;q=0.5, application/xml"
    for headers in (asked, {"Accept": "application/xml;fields=not_null"}, {"Accept": rather}):
        assert kit.get(path, headers=headers).content == expected


# ---- dates ----------------------------------------------------------------------------------------------------------


def wrapped(at_ms: int) -> dict[str, int]:
    """A date as a Java object."""
    return {"java.util.Date": at_ms}


def test_every_date_format_that_can_be_chosen_is_known() -> None:
    kit = serve()
    assert set(DATES) == set(kit.front.services["jbpm"].api.settings["date_format"].choices)


def test_dates_are_objects_when_the_scenario_says_so() -> None:
    kit = serve(WRAPPED)
    job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand", retries=0)
    assert read(kit, job_id)["request-scheduled-date"] == wrapped(START_MS)
    kit.advance("10s")
    view = read(kit, job_id, "?withErrors=true")
    assert view["request-scheduled-date"] == wrapped(START_MS + 1_000)
    [error] = view["request-errors"]["error-info-instance"]
    assert error["error-date"] == wrapped(START_MS + 4_000)
    [listed] = kit.get(f"{JOBS}?status=ERROR", headers=JSON).json()["request-info-instance"]
    assert listed["request-scheduled-date"] == wrapped(START_MS + 1_000)
    [message] = kit.get(SERVER, headers=JSON).json()["result"]["kie-server-info"]["messages"]
    assert message["timestamp"] == wrapped(START_MS)
    report = kit.get(f"{SERVER}/healthcheck?report=true", headers=JSON).json()
    assert report[0]["timestamp"] == wrapped(START_MS + 10_000)


@pytest.mark.parametrize(
    ("scenario", "shown"), [("happy", "2029-12-31T23:00:00.000Z"), (WRAPPED, wrapped(START_MS - 3_600_000))]
)
def test_dates_of_the_data_are_written_like_all_others_however_they_came(scenario: str, shown: Any) -> None:
    kit = serve(scenario)
    as_objects = [wrapped(START_MS - 3_600_000), {"java.util.Date": "2030-01-01T00:00:00+01:00"}]
    job_id = schedule(
        kit, first=as_objects[0], second=as_objects[1], inside=[{"when": as_objects[0]}], text="2030-01-01"
    )
    assert read(kit, job_id, "?withData=true")["request-data"] == {
        "first": shown,
        "second": shown,
        "inside": [{"when": shown}],
        "text": "2030-01-01",
    }
    sent = submission(COMMAND, entry("first", "dateTime", "2030-01-01T00:00:00+01:00"))
    kit.post(JOBS, data=sent, headers={"Content-Type": "application/xml"})
    assert read(kit, "2", "?withData=true")["request-data"] == {"first": shown}


def test_the_dates_of_a_response_are_written_like_all_others() -> None:
    script = "jobs:\n  - script: [succeeded: {result: {done: {java.util.Date: 1893456000000}, pages: 3}}]\n"
    for scenario, shown in (
        ("", "2030-01-01T00:00:00.000Z"),
        ("apis:\n  jbpm: {date_format: wrapped}\n", wrapped(START_MS)),
    ):
        kit = serve(scenario + script)
        job_id = schedule(kit)
        assert read(kit, job_id, "?withData=true")["response-data"] == {"done": shown, "pages": 3}


def test_data_that_looks_like_a_date_as_a_whole_is_data_nevertheless() -> None:
    kit = serve()
    job_id = schedule(kit, **{"java.util.Date": 0})
    assert read(kit, job_id, "?withData=true")["request-data"] == {"java.util.Date": 0}


def test_xml_writes_dates_as_ever_and_knows_no_nulls_to_wrap() -> None:
    kit, usual = serve(WRAPPED), serve()
    for one in (kit, usual):
        schedule(one, f"{STOCK}JobExecutionErrorCommand", retries=0, since=wrapped(0))
        one.advance("10s")
    path = f"{JOBS}/1?withErrors=true&withData=true"
    assert kit.get(path, headers=XML).content == usual.get(path, headers=XML).content
    assert kit.get(SERVER, headers=XML).content == usual.get(SERVER, headers=XML).content
    root = ElementTree.fromstring(kit.get(path, headers=XML).content)
    assert root.findtext("request-scheduled-date") == "2030-01-01T00:00:01.000Z"
    [value] = root.iterfind("data/entry/value[.='1970-01-01T00:00:00.000Z']")
    assert "xs:dateTime" in value.attrib.values()


def test_nothing_that_is_null_becomes_a_date() -> None:
    kit = serve(WRAPPED)
    view = read(kit, schedule(kit, businessKey=None))
    assert view["request-business-key"] is None
    assert view["request-errors"] is None


def test_a_steering_key_that_is_a_date_is_no_text() -> None:
    body = submission(
        COMMAND, f'<entry><key>businessKey</key><value xsi:type="xs:dateTime" {XS}>2030-01-01</value></entry>'
    )
    answer = serve().post(JOBS, data=body, headers={"Content-Type": "application/xml"})
    assert (answer.status, error_text(answer)) == (
        500,
        f"{GENERAL}java.util.Date cannot be cast to java.lang.String\n",
    )
