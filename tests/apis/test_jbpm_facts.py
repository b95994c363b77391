"""One job, two formats: whatever becomes of a job, its XML and its JSON say the same, and its XML holds nothing unknown.

Jobs are generated: any data, any end of any execution, any time to look. The XML is read strictly, by the element names and
types that the jBPM sheet knows; an element, an attribute, a type or a text it does not speak of fails the test. What XML cannot say
(lists and maps inside a map, keys that are null, characters it does not have) is lost in the documented way and no other.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree.ElementTree import Element

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from simulator.apis.jbpm import STATES
from tests.apis.test_jbpm import COMMAND, JOBS, JSON, STOCK, XML
from tests.kit import Kit

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DATE = "java.util.Date"
LOST = "(lost)"
NUMBERS = {"request-instance-id", "request-retries", "request-executions", "error-instance-id"}
DATES = {"request-scheduled-date", "error-date"}
LEAVES = (
    NUMBERS
    | DATES
    | {
        *(
            "request-status",
            "request-business-key",
            "request-message",
            "request-command",
            "request-container-id",
        ),
        *("error-message", "error-stacktrace"),
    }
)
MAPS = {"data": "request-data", "responseData": "response-data"}

# ---- reading XML strictly -------------------------------------------------------------------------------------------


def text_of(element: Element) -> str:
    """The text of a leaf without attributes."""
    assert not element.attrib, element.attrib
    assert len(element) == 0
    return element.text or ""


def only_children(element: Element) -> list[Element]:
    """The children of an element that has neither attributes nor a text of its own."""
    assert not element.attrib, element.attrib
    texts = [element.text, *(child.tail for child in element)]
    assert not any((text or "").strip() for text in texts), texts
    return list(element)


def instant(text: str) -> int:
    """The milliseconds of an xs:dateTime in UTC."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", text), text
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(milliseconds=1)


def leaf(element: Element) -> Any:
    """A named leaf as its JSON value, dates as milliseconds."""
    text = text_of(element)
    if element.tag in NUMBERS:
        return int(text)
    return instant(text) if element.tag in DATES else text


def value_of(entry: Element) -> Any:
    """The value of an entry by its type; None when there is none."""
    values = [child for child in only_children(entry) if child.tag != "key"]
    if not values:
        return None
    [value] = values
    assert (value.tag, len(value), value.attrib.keys()) == ("value", 0, {XSI_TYPE})
    text = value.text or ""
    match value.attrib[XSI_TYPE]:
        case "xs:string":
            return text
        case "xs:int" | "xs:long":
            return int(text)
        case "xs:double":
            return float(text)
        case "xs:boolean":
            return {"true": True, "false": False}[text]
        case "xs:dateTime":
            return {DATE: instant(text)}
        case "arrayList" | "jaxbMap":
            assert not text
            return LOST
        case unknown:
            raise AssertionError(unknown)


def job_in_xml(root: Element) -> dict[str, Any]:
    """A `request-info-instance` as the JSON that says the same."""
    assert root.tag == "request-info-instance"
    job: dict[str, Any] = {}
    for child in only_children(root):
        name = MAPS.get(child.tag, child.tag)
        assert name not in job, f"{name} is there twice"
        if child.tag in MAPS:
            entries = only_children(child)
            assert {entry.tag for entry in entries} <= {"entry"}
            pairs = [(text_of(only_children(entry)[0]), value_of(entry)) for entry in entries]
            job[name] = dict(pairs)
            assert len(job[name]) == len(pairs)
        elif child.tag == "request-errors":
            errors = only_children(child)
            assert {error.tag for error in errors} <= {"error-info-instance"}
            fields = [{part.tag: leaf(part) for part in only_children(error)} for error in errors]
            assert all(one.keys() <= LEAVES for one in fields)
            job[name] = fields
        else:
            assert child.tag in LEAVES, child.tag
            job[name] = leaf(child)
    return job


# ---- what XML keeps of JSON -----------------------------------------------------------------------------------------


def at_ms(date: Any) -> int:
    """The instant of a date of our JSON, in either form."""
    return int(date[DATE]) if isinstance(date, dict) else instant(date)


def as_kept(value: Any) -> Any:
    """What XML keeps of a value of a map."""
    if isinstance(value, dict) and value.keys() == {DATE} and isinstance(value[DATE], int):
        return value
    if isinstance(value, list | dict):
        return LOST
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", value):
            return {DATE: instant(value)}
        return in_xml(value)
    return value


def in_xml(text: str) -> str:
    """A text with a replacement for every character that XML does not have."""
    return re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def facts(name: str, value: Any) -> Any:
    """What a field of our JSON says, in the terms of `job_in_xml`."""
    if name in DATES:
        return at_ms(value)
    if name in MAPS.values():
        return {in_xml(key): as_kept(item) for key, item in value.items()}
    if name == "request-errors":
        assert value.keys() == {"error-info-instance"}
        return [
            {key: facts(key, item) for key, item in error.items()} for error in value["error-info-instance"]
        ]
    return in_xml(value) if isinstance(value, str) else value


def job_in_json(job: dict[str, Any]) -> dict[str, Any]:
    """What our JSON says; a null says nothing."""
    return {name: facts(name, value) for name, value in job.items() if value is not None}


# ---- generated jobs -------------------------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
# Keys that XML writes as the same text would be one key there.
KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8)
DATES_IN_DATA = st.one_of(
    st.integers(-(10**12), 4 * 10**12).map(lambda ms: {DATE: ms}),
    st.just({DATE: "2030-01-01T00:00:00+01:00"}),
    st.just("2030-01-01T00:00:00.000Z"),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXT,
    DATES_IN_DATA,
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(KEYS, SCALARS, max_size=2))
STEERING = st.fixed_dictionaries(
    {},
    optional={
        "businessKey": st.none() | TEXT,
        "retries": st.integers(0, 3),
        "retryDelay": st.sampled_from(["1s", "500ms,2s", ""]),
        "priority": st.integers(-5, 15),
        "processInstanceId": st.integers(0, 100),
        "deploymentId": st.none() | TEXT,
    },
)
DATA = st.tuples(st.dictionaries(KEYS, VALUES, max_size=4), STEERING).map(lambda both: both[0] | both[1])
COMMANDS = st.sampled_from(
    [
        COMMAND,
        *(f"{STOCK}{name}Command" for name in ("JobExecutionError", "LogCleanup", "ReoccurringPrintOut")),
    ]
)
SCRIPTS = st.sampled_from(
    [
        "[queued: 1s, running: 3s, succeeded]",
        "[running: 1s, succeeded: {result: {pages: 3, odd: [1], when: {java.util.Date: 0}, none: null}}]",
        '[running: 1s, failed: {error: {message: \'No <b> & no "q"\', details: "at a\\n\\tat b\\r\\0"}}]',
        "[running: 1s, {retrying: 2s, message: No route}, running: 1s, succeeded]",
        "[queued: 1h, succeeded]",
        "[running: 1h, succeeded]",
    ]
)
WAITS = st.sampled_from(["1ms", "1s", "2500ms", "5s", "30s"])
DEEDS = st.lists(st.sampled_from(["wait", "cancel", "requeue", "amend"]), max_size=4)
DATE_FORMATS = st.sampled_from(["iso", "wrapped"])


def told(kit: Kit, path: str) -> tuple[Any, Element]:
    """The same answer in both formats."""
    in_json, in_xml_ = kit.get(path, headers=JSON), kit.get(path, headers=XML)
    assert (in_json.status, in_xml_.status) == (200, 200), in_json.text
    return in_json.json(), fromstring(in_xml_.content, forbid_dtd=True)


def act(kit: Kit, deed: str, path: str, data: dict[str, Any]) -> None:
    """One thing that may happen to a job; what is refused changes nothing."""
    match deed:
        case "cancel":
            kit.delete(path)
        case "requeue":
            kit.put(path)
        case "amend":
            kit.post(f"{path}/data", json=data)
        case "wait":
            kit.advance("2s")


MODEST = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
KITS: dict[tuple[str, str], Kit] = {}


def world_of(script: str, date_format: str) -> Kit:
    """A server for this script; assembling one takes longer than asking it a hundred times."""
    key = (script, date_format)
    if key not in KITS:
        chosen = f"apis:\n  jbpm: {{date_format: {date_format}}}\n"
        KITS[key] = Kit(f"{chosen}jobs:\n  - script: {script}\n", apis=("jbpm",))
    return KITS[key]


@given(COMMANDS, DATA, SCRIPTS, WAITS, DEEDS, DATE_FORMATS)
@MODEST
def test_a_job_says_the_same_in_both_formats_whatever_becomes_of_it(
    command: str, data: dict[str, Any], script: str, wait: str, deeds: list[str], date_format: str
) -> None:
    kit = world_of(script, date_format)
    submitted = kit.post(JOBS, json={"job-command": command, "request-data": data}, headers=JSON)
    assert submitted.status == 201, submitted.text
    path = f"{JOBS}/{submitted.json()}"
    for deed in ["", *deeds]:
        act(kit, deed, path, data)
        kit.advance(wait)
        for query in ("", "?withData=true", "?withErrors=true", "?withData=true&withErrors=true"):
            in_json, in_xml_ = told(kit, path + query)
            assert job_in_xml(in_xml_) == job_in_json(in_json)
            assert (type(in_json["request-scheduled-date"]) is dict) == (date_format == "wrapped")


@pytest.mark.parametrize("date_format", ["iso", "wrapped"])
@pytest.mark.parametrize("word", STATES)
def test_a_list_says_the_same_in_both_formats_in_every_state(word: str, date_format: str) -> None:
    steps = {
        "QUEUED": "[queued: 1h, succeeded]",
        "RUNNING": "[running: 1h, succeeded]",
        "RETRYING": "[running: 1s, retrying: 1h, running: 1s, succeeded]",
        "DONE": "[running: 1s, succeeded]",
        "ERROR": "[running: 1s, failed]",
        "CANCELLED": "[running: 1s, cancelled]",
    }
    kit = world_of(steps[word], date_format)
    for business_key in ("a", "<b> & \x01", None):
        data = {"retries": 0 if word == "ERROR" else 1, "businessKey": business_key}
        kit.post(JOBS, json={"job-command": COMMAND, "request-data": data})
    kit.advance("5s")
    in_json, in_xml_ = told(kit, f"{JOBS}?status={word}&pageSize=0")
    assert in_xml_.tag == "request-info-instance-list"
    jobs = in_json["request-info-instance"]
    assert len(jobs) >= 3
    assert {job["request-status"] for job in jobs} == {word}
    assert [job_in_xml(job) for job in only_children(in_xml_)] == [job_in_json(job) for job in jobs]


@pytest.mark.parametrize(
    "odd",
    [
        "<request-info-instance><request-data/></request-info-instance>",
        "<request-info-instance><data><entry><key>k</key><value>v</value></entry></data></request-info-instance>",
        "<request-info-instance a='b'/>",
        "<request-info-instance>text</request-info-instance>",
        "<request-info-instance><request-retries>many</request-retries></request-info-instance>",
        "<request-info-instance><request-errors><error/></request-errors></request-info-instance>",
        "<job-request-instance/>",
    ],
)
def test_the_strict_reader_takes_nothing_else(odd: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        job_in_xml(fromstring(odd))
