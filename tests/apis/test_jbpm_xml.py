"""The KIE server's XML: its element names, its typed maps, and everything a body may do to whoever reads it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.apis.contract import Kind, Problem, iso
from simulator.apis.jbpm_xml import DATE, FIRST_MS, LAST_MS, UnreadableXml, date_ms, decode, encode

XSI = "http://www.w3.org/2001/XMLSchema-instance"
XS = "http://www.w3.org/2001/XMLSchema"
NAMESPACES = f'xmlns:xs="{XS}" xmlns:xsi="{XSI}"'
READ = "getRequestById"
LIST = "getRequestsByStatus"
INFO = "getInfo"
HEALTH = "healthcheck"
SUBMIT = "scheduleRequest"
AMEND = "updateRequestData"


def submission(inside: str) -> bytes:
    """A job request around this."""
    return f"<job-request-instance>{inside}</job-request-instance>".encode()


def map_of(value: str) -> bytes:
    """A map whose one key `k` has this value element."""
    entry = f"<entry><key>k</key>{value}</entry>"
    return f"<map-type {NAMESPACES}><entries>{entry}</entries></map-type>".encode()


# ---- names ----------------------------------------------------------------------------------------------------------

JOB = {
    "request-instance-id": 7,
    "request-status": "RETRYING",
    "request-business-key": "order-4711",
    "request-message": "Ready to execute",
    "request-retries": 2,
    "request-executions": 1,
    "request-command": "org.acme.Mail",
    "request-scheduled-date": "2030-01-01T00:00:06.000Z",
    "request-data": {"to": "mary", "copies": 2, "note": None},
    "response-data": {},
    "request-errors": {
        "error-info-instance": [
            {
                "error-instance-id": 7_000_001,
                "request-instance-id": 7,
                "error-message": "no <such> & host",
                "error-stacktrace": "java.lang.Error: no\n\tat org.acme.Mail",
                "error-date": "2030-01-01T00:00:01.000Z",
            }
        ]
    },
    "request-container-id": None,
}
JOB_XML = f"""\
<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<request-info-instance>
    <request-instance-id>7</request-instance-id>
    <request-status>RETRYING</request-status>
    <request-business-key>order-4711</request-business-key>
    <request-message>Ready to execute</request-message>
    <request-retries>2</request-retries>
    <request-executions>1</request-executions>
    <request-command>org.acme.Mail</request-command>
    <request-scheduled-date>2030-01-01T00:00:06.000Z</request-scheduled-date>
    <data>
        <entry>
            <key>to</key>
            <value xsi:type="xs:string" {NAMESPACES}>mary</value>
        </entry>
        <entry>
            <key>copies</key>
            <value xsi:type="xs:int" {NAMESPACES}>2</value>
        </entry>
        <entry>
            <key>note</key>
        </entry>
    </data>
    <responseData/>
    <request-errors>
        <error-info-instance>
            <error-instance-id>7000001</error-instance-id>
            <request-instance-id>7</request-instance-id>
            <error-message>no &lt;such&gt; &amp; host</error-message>
            <error-stacktrace>java.lang.Error: no
\tat org.acme.Mail</error-stacktrace>
            <error-date>2030-01-01T00:00:01.000Z</error-date>
        </error-info-instance>
    </request-errors>
</request-info-instance>
"""


def test_a_job_has_the_servers_element_names_and_leaves_out_what_is_null() -> None:
    assert encode(JOB, READ).decode() == JOB_XML


def test_a_job_without_errors_has_an_empty_element_for_them() -> None:
    root = ElementTree.fromstring(encode(JOB | {"request-errors": {"error-info-instance": []}}, READ))
    errors = root.find("request-errors")
    assert errors is not None
    assert len(errors) == 0


def test_an_id_is_a_long_type() -> None:
    root = ElementTree.fromstring(encode(123, SUBMIT))
    assert (root.tag, [(child.tag, child.text) for child in root]) == ("long-type", [("value", "123")])


def test_a_list_holds_its_jobs_directly() -> None:
    root = ElementTree.fromstring(encode({"request-info-instance": [JOB, JOB]}, LIST))
    assert root.tag == "request-info-instance-list"
    assert [child.tag for child in root] == ["request-info-instance"] * 2


def test_an_empty_list_is_an_empty_element() -> None:
    head, root = encode({"request-info-instance": []}, LIST).decode().splitlines()
    assert head == '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
    assert root == "<request-info-instance-list/>"


SERVER = {
    "type": "SUCCESS",
    "msg": 'Kie <Server> "info" & more',
    "result": {
        "kie-server-info": {
            "capabilities": ["KieServer", "BPM"],
            "messages": [{"content": ["a", "b"], "severity": "INFO", "timestamp": {DATE: 1893456000000}}],
            "id": "here",
        }
    },
}


def test_the_server_says_how_it_went_in_attributes_and_the_rest_in_elements_without_wrappers() -> None:
    assert encode(SERVER, INFO).decode().splitlines()[1:] == [
        '<response type="SUCCESS" msg=\'Kie &lt;Server&gt; "info" &amp; more\'>',
        "    <kie-server-info>",
        "        <capabilities>KieServer</capabilities>",
        "        <capabilities>BPM</capabilities>",
        "        <messages>",
        "            <content>a</content>",
        "            <content>b</content>",
        "            <severity>INFO</severity>",
        "            <timestamp>2030-01-01T00:00:00.000Z</timestamp>",
        "        </messages>",
        "        <id>here</id>",
        "    </kie-server-info>",
        "</response>",
    ]


def test_a_list_of_messages_is_a_list_type_whose_items_say_what_they_are() -> None:
    messages = [{"content": ["jBPM is alive"], "severity": "INFO"}, {"severity": "ERROR"}]
    assert encode(messages, HEALTH).decode().splitlines()[1:] == [
        "<list-type>",
        "    <items>",
        f'        <items xsi:type="kie-message" xmlns:xsi="{XSI}">',
        "            <content>jBPM is alive</content>",
        "            <severity>INFO</severity>",
        "        </items>",
        f'        <items xsi:type="kie-message" xmlns:xsi="{XSI}">',
        "            <severity>ERROR</severity>",
        "        </items>",
        "    </items>",
        "</list-type>",
    ]


def test_a_map_whose_only_key_is_the_name_of_the_date_class_is_still_a_map() -> None:
    root = ElementTree.fromstring(encode(JOB | {"request-data": {DATE: 5}}, READ))
    assert root.findtext("data/entry/key") == DATE


@pytest.mark.parametrize("operation", [INFO, HEALTH])
@pytest.mark.parametrize("body", [{}, [], [1], "text", {"type": "a\x00"}, {"result": 1}])
def test_whatever_is_to_be_said_of_a_server_is_well_formed(operation: str, body: Any) -> None:
    assert ElementTree.fromstring(encode(body, operation)).tag in ("response", "list-type")


def test_a_body_that_no_operation_makes_is_still_well_formed() -> None:
    odd = {"a b": [1, {"": "x"}], "1": {"java.util.Date": 5}, "text": "a\x00b", "flag": True}
    root = ElementTree.fromstring(encode(odd, READ))
    assert [child.tag for child in root] == ["a_b", "a_b", "_", "text", "flag"]
    assert root.findtext("text") == "a\ufffdb"
    assert root.findtext("flag") == "true"


def test_a_submission_is_read_under_its_xml_names() -> None:
    body = f"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
        <job-request-instance>
            <!-- sent by a Java client -->
            <job-command>org.acme.Mail</job-command>
            <scheduled-date>2030-01-01T01:05:00+01:00</scheduled-date>
            <data>
                <entry>
                    <key>copies</key><value xsi:type="xs:int" {NAMESPACES}>2</value>
                </entry>
                <entry><key>note</key></entry>
            </data>
        </job-request-instance>"""
    assert decode(body.encode(), SUBMIT) == {
        "job-command": "org.acme.Mail",
        "scheduled-date": "2030-01-01T00:05:00.000Z",
        "request-data": {"copies": 2, "note": None},
    }


def test_data_under_its_json_name_is_silently_lost() -> None:
    value = f'<value xsi:type="xs:int" {NAMESPACES}>2</value>'
    entry = f"<entry><key>copies</key>{value}</entry>"
    body = submission(f"<job-command>a.B</job-command><request-data>{entry}</request-data>")
    assert decode(body, SUBMIT) == {"job-command": "a.B"}


def test_a_map_type_without_entries_around_its_entries_is_empty() -> None:
    assert decode(b"<map-type><entry><key>k</key></entry></map-type>", AMEND) == {}


def test_a_map_type_keeps_its_entries_inside_entries() -> None:
    assert decode(b"<map-type><entries><entry><key>k</key></entry></entries></map-type>", AMEND) == {
        "k": None
    }


def test_an_entry_without_a_key_is_passed_over() -> None:
    assert decode(b"<map-type><entries><entry/></entries></map-type>", AMEND) == {}


def test_an_empty_date_is_none() -> None:
    assert decode(submission("<scheduled-date/>"), SUBMIT) == {"scheduled-date": None}


def test_an_unreadable_date_is_left_for_the_document_to_refuse() -> None:
    assert decode(submission("<scheduled-date>soon</scheduled-date>"), SUBMIT) == {"scheduled-date": "soon"}


# ---- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "type_", "text"),
    [
        ("mary", "xs:string", "mary"),
        ("", "xs:string", None),
        ("2030-01-01", "xs:string", "2030-01-01"),
        ("2030-01-01T00:00:00.000Z", "xs:dateTime", "2030-01-01T00:00:00.000Z"),
        ("2030-99-01T00:00:00.000Z", "xs:string", "2030-99-01T00:00:00.000Z"),
        (True, "xs:boolean", "true"),
        (False, "xs:boolean", "false"),
        (2, "xs:int", "2"),
        (-(2**31), "xs:int", "-2147483648"),
        (2**31, "xs:long", "2147483648"),
        (-(2**63), "xs:long", "-9223372036854775808"),
        (2**63, "xs:integer", "9223372036854775808"),
        (1.5, "xs:double", "1.5"),
        ({DATE: 1893456000000}, "xs:dateTime", "2030-01-01T00:00:00.000Z"),
        ({DATE: "soon"}, "jaxbMap", None),
        ({DATE: LAST_MS + 1}, "jaxbMap", None),
        ([1, 2], "arrayList", None),
        ({"a": 1}, "jaxbMap", None),
    ],
)
def test_each_value_of_a_map_is_written_with_its_type(value: Any, type_: str, text: str | None) -> None:
    root = ElementTree.fromstring(encode(JOB | {"request-data": {"k": value}}, READ))
    element = root.find("data/entry/value")
    assert element is not None
    assert (element.get(f"{{{XSI}}}type"), element.text, len(element)) == (type_, text, 0)


@pytest.mark.parametrize(
    ("element", "value"),
    [
        ('<value xsi:type="xs:string">a &lt;b&gt; &#233;</value>', "a <b> é"),
        ('<value xsi:type="xs:string"/>', ""),
        ('<value xsi:type="xs:string"> kept </value>', " kept "),
        ('<value xsi:type="xs:int"> 2 </value>', 2),
        ('<value xsi:type="xs:long">2</value>', 2),
        ('<value xsi:type="xs:long">-9223372036854775808</value>', -(2**63)),
        ('<value xsi:type="xs:short">+7</value>', 7),
        ('<value xsi:type="xs:double">1.5E2</value>', 150.0),
        ('<value xsi:type="xs:boolean">true</value>', True),
        ('<value xsi:type="xs:boolean">0</value>', False),
        ('<value xsi:type="xs:dateTime">2030-01-01T00:00:00+01:00</value>', {DATE: 1893452400000}),
        ('<value xsi:type="arrayList"/>', []),
        ('<value xsi:nil="true"/>', None),
        ("", None),
    ],
)
def test_each_type_of_a_map_is_read_as_its_json_value(element: str, value: Any) -> None:
    read = decode(map_of(element), AMEND)
    assert read == {"k": value}
    assert type(read["k"]) is type(value)


def test_any_prefix_will_do_for_the_namespaces() -> None:
    value = f'<value i:type="s:int" xmlns:s="{XS}" xmlns:i="{XSI}">2</value>'
    assert decode(
        f"<map-type><entries><entry><key>k</key>{value}</entry></entries></map-type>".encode(), AMEND
    ) == {"k": 2}


@pytest.mark.parametrize(
    "element",
    ["<value>mary</value>", '<value xsi:type="xs:hexBinary">00</value>', '<value type="xs:int">2</value>'],
)
def test_a_value_without_a_known_type_is_something_but_no_text(element: str) -> None:
    assert decode(map_of(element), AMEND) == {"k": {}}


@pytest.mark.parametrize(
    "element",
    [
        '<value xsi:type="xs:int">two</value>',
        '<value xsi:type="xs:int">1_0</value>',
        '<value xsi:type="xs:int">99999999999999999999</value>',
        '<value xsi:type="xs:int">' + "9" * 10_000 + "</value>",
        '<value xsi:type="xs:double">NaN</value>',
        '<value xsi:type="xs:double">1_0</value>',
        '<value xsi:type="xs:double">much</value>',
        '<value xsi:type="xs:boolean">yes</value>',
        '<value xsi:type="xs:dateTime">soon</value>',
    ],
)
def test_a_value_that_is_not_of_its_type_makes_the_body_unreadable(element: str) -> None:
    with pytest.raises(UnreadableXml):
        decode(map_of(element), AMEND)


# ---- the same facts -------------------------------------------------------------------------------------------------

XML_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
        st.sampled_from("\t\n\r"),
    ),
    max_size=20,
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    XML_TEXT,
    st.integers(FIRST_MS, LAST_MS).map(lambda at_ms: {DATE: at_ms}),
)
MAPS = st.dictionaries(XML_TEXT, SCALARS, max_size=5)
FAILURES = st.fixed_dictionaries(
    {
        "error-instance-id": st.integers(1),
        "request-instance-id": st.integers(1),
        "error-message": XML_TEXT,
        "error-stacktrace": XML_TEXT,
        "error-date": st.integers(FIRST_MS, LAST_MS).map(iso),
    }
)
JOBS = st.fixed_dictionaries(
    {
        "request-instance-id": st.integers(1),
        "request-status": st.sampled_from(["QUEUED", "RUNNING", "RETRYING", "DONE", "ERROR", "CANCELLED"]),
        "request-business-key": st.none() | XML_TEXT,
        "request-message": XML_TEXT,
        "request-retries": st.integers(),
        "request-executions": st.integers(0),
        "request-command": XML_TEXT,
        "request-scheduled-date": st.integers(FIRST_MS, LAST_MS).map(iso),
        "request-data": st.none() | MAPS,
        "response-data": st.none() | MAPS,
        "request-errors": st.none()
        | st.fixed_dictionaries({"error-info-instance": st.lists(FAILURES, max_size=3)}),
        "request-container-id": st.none() | XML_TEXT,
    }
)


def scalar_facts(value: dict[str, Any]) -> dict[str, str]:
    """What a JSON object says in scalars, as texts."""
    return {key: str(item) for key, item in value.items() if item is not None and not isinstance(item, dict)}


def scalar_elements(root: ElementTree.Element) -> dict[str, str]:
    """What an element says in leaves."""
    maps = ("data", "responseData", "request-errors")
    return {child.tag: child.text or "" for child in root if child.tag not in maps}


@given(JOBS)
def test_a_job_says_the_same_in_json_and_in_xml(job: dict[str, Any]) -> None:
    root = ElementTree.fromstring(encode(job, READ))
    assert scalar_elements(root) == scalar_facts(job)
    errors = root.find("request-errors")
    if job["request-errors"] is None:
        assert errors is None
    else:
        assert errors is not None
        assert [scalar_elements(error) for error in errors] == [
            scalar_facts(error) for error in job["request-errors"]["error-info-instance"]
        ]
    for name, element in (("request-data", "data"), ("response-data", "responseData")):
        assert (root.find(element) is None) == (job[name] is None)
        if job[name] is not None:
            assert decode(sent_back(encode({name: job[name]}, READ), element), AMEND) == job[name]


def sent_back(xml: bytes, element: str) -> bytes:
    """A map as a client would return it: what this element holds, inside a map-type."""
    held = xml.decode().partition(f"<{element}>")[2].rpartition(f"</{element}>")[0]
    return f"<map-type><entries>{held}</entries></map-type>".encode()


def test_line_ends_survive() -> None:
    xml = encode(JOB | {"request-message": "a\r\nb\rc\nd\te"}, READ)
    assert ElementTree.fromstring(xml).findtext("request-message") == "a\r\nb\rc\nd\te"


def test_characters_that_xml_cannot_say_are_replaced() -> None:
    xml = encode(JOB | {"request-data": {"a\x00": "b\x1b\uffff"}}, READ)
    root = ElementTree.fromstring(xml)
    assert root.findtext("data/entry/key") == "a\ufffd"
    assert root.findtext("data/entry/value") == "b\ufffd\ufffd"


# ---- hostile bodies -------------------------------------------------------------------------------------------------

BOMB = (
    b'<!DOCTYPE lolz [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(f'<!ENTITY {b} "{f"&{a};" * 10}">'.encode() for a, b in zip("abcdefg", "bcdefgh", strict=True))
    + b"]><map-type>&h;</map-type>"
)
UNREADABLE = {
    "nothing": b"",
    "a text": b"no xml at all",
    "JSON": b'{"job-command": "a.B"}',
    "cut off": b"<map-type><entries>",
    "a wrong end tag": b"<map-type></entries>",
    "two roots": b"<map-type/><map-type/>",
    "another root": b"<job-request-instance/>",
    "a namespace of its own": b'<map-type xmlns="urn:x"/>',
    "a null byte": b"<map-type>\x00</map-type>",
    "not UTF-8": b"<map-type>\xff\xfe</map-type>",
    "an unknown encoding": b'<?xml version="1.0" encoding="klingon"?><map-type/>',
    "an encoding that is none": b'<?xml version="1.0" encoding="rot13"?><map-type/>',
    "an encoding of several bytes": b'<?xml version="1.0" encoding="euc-jp"?><map-type/>',
    "an unknown entity": b"<map-type>&who;</map-type>",
    "a DTD": b"<!DOCTYPE map-type><map-type/>",
    "an internal entity": b'<!DOCTYPE m [<!ENTITY x "y">]><map-type>&x;</map-type>',
    "an external entity": b'<!DOCTYPE m [<!ENTITY x SYSTEM "file:///etc/passwd">]><map-type>&x;</map-type>',
    "an external DTD": b'<!DOCTYPE m SYSTEM "http://127.0.0.1:1/x.dtd"><map-type/>',
    "a bomb": BOMB,
    "an undeclared prefix": b'<map-type><entries><entry><key>k</key><value xsi:type="xs:int">2</value>'
    b"</entry></entries></map-type>",
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
def test_a_body_that_nobody_should_read_is_refused_with_its_text(body: bytes) -> None:
    with pytest.raises(UnreadableXml) as caught:
        decode(body, AMEND)
    assert caught.value.kind is Kind.MALFORMED_BODY
    assert caught.value.value == body.decode("utf-8", "replace")


def test_elements_may_nest_as_deeply_as_a_body_is_long() -> None:
    deep = b"<a>" * 100_000 + b"</a>" * 100_000
    assert decode(submission(deep.decode()), SUBMIT) == {}
    assert decode(map_of(f"<value>{deep.decode()}</value>"), AMEND) == {"k": {}}


def outcome(body: bytes) -> Any:
    """The map that a body holds, or why it is refused."""
    try:
        return decode(body, AMEND)
    except Problem as problem:
        return problem.kind


@given(st.binary(max_size=200))
def test_no_bytes_make_reading_crash(noise: bytes) -> None:
    assert outcome(noise) is Kind.MALFORMED_BODY
    assert outcome(b"<map-type>" + noise + b"</map-type>") in ({}, Kind.MALFORMED_BODY)
    assert outcome(b"<?xml version='1.0' encoding='" + noise + b"'?><map-type/>") in ({}, Kind.MALFORMED_BODY)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.sampled_from(["string", "int", "long", "double", "boolean", "dateTime", "arrayList", "?"]),
)
def test_no_text_of_a_value_makes_reading_crash(text: str, type_: str) -> None:
    read = outcome(map_of(f'<value xsi:type="xs:{type_}">{text}</value>'))
    assert read is Kind.MALFORMED_BODY or read.keys() == {"k"}


# ---- dates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T03:04:05.6Z", "2026-01-02T03:04:05.600Z"),
        ("2026-01-02T03:04:05.678901234Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.678+0000", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.678+00:00", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05+02:30", "2026-01-02T00:34:05.000Z"),
        ("2026-01-02T03:04:05-0230", "2026-01-02T05:34:05.000Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02", "2026-01-02T00:00:00.000Z"),
        ("2026-01-02+01:00", "2026-01-01T23:00:00.000Z"),
        (" 2026-01-02T03:04:05Z\n", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02t03:04:05z", "2026-01-02T03:04:05.000Z"),
        ("2026-01-02T24:00:00Z", "2026-01-03T00:00:00.000Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("0001-01-01T00:00:00+10:00", "0001-01-01T00:00:00.000Z"),
        ("0000-02-30T00:00:00Z", "0001-01-01T00:00:00.000Z"),
        ("9999-12-31T23:59:59-10:00", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_every_form_of_a_date_is_read(text: str, meant: str) -> None:
    at_ms = date_ms(text)
    assert at_ms is not None
    assert iso(at_ms) == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "2026-02-30",
        "2026-13-01",
        "2026-01-02T25:00:00Z",
        "2026-01-02T03:60:00Z",
        "2026-1-2",
        "20260102",
    ],
)
def test_what_is_no_date_is_not_read(text: str) -> None:
    assert date_ms(text) is None


@given(st.integers(FIRST_MS, LAST_MS))
def test_a_date_that_was_written_is_read_as_the_same_instant(at_ms: int) -> None:
    assert date_ms(iso(at_ms)) == at_ms
