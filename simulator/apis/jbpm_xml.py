"""The XML of the KIE server: the same values as its JSON, under other names.

Two facts shape this module. Maps have names of their own in XML (`data`, `responseData`) and are lists of entries whose values
carry an XML Schema type; and whatever a map holds beyond scalars is lost on the way, as it is on the real server. Bodies are read
with defusedxml, so that a DTD, an entity or a bomb is nothing but an unreadable body.

JSON has fewer types than XML Schema. A whole number is written as `xs:int` when it fits and else as `xs:long`. A date is in JSON
what it is for a Java client, `{"java.util.Date": 1893456000000}`, and so it is when it was read from XML; a text that is exactly a
time of ours (`2030-01-01T00:00:00.000Z`), as JSON shows dates by default, is written as `xs:dateTime` as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any
from xml.etree.ElementTree import Element, ParseError
from xml.sax.saxutils import escape, quoteattr

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from simulator.apis.contract import Codec, Kind, Problem, iso

MAPS = {"request-data": "data", "response-data": "responseData"}
"""JSON name of a map → its element."""
REQUEST_ROOTS = {"scheduleRequest": "job-request-instance", "updateRequestData": "map-type"}
REPLY_ROOTS = {
    "scheduleRequest": "long-type",
    "getRequestById": "request-info-instance",
    "getInfo": "response",
    "healthcheck": "list-type",
}
"""Roots by operation; every other reply is a `request-info-instance-list`."""
DATE = "java.util.Date"
"""The one key of an object that is a date."""

XS = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'


class UnreadableXml(Problem):
    """A body that is no XML, the wrong XML, or XML that nobody should expand. `value` is its text, which the server repeats."""

    def __init__(self, why: object, body: bytes) -> None:
        text = body.decode("utf-8", "replace")
        super().__init__(
            Kind.MALFORMED_BODY, f"the body is not readable XML: {why}", where="body", value=text
        )


# ---- dates ----------------------------------------------------------------------------------------------------------

_DATE = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?)?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))?"
)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_MS = -62_135_596_800_000
LAST_MS = 253_402_300_799_999
"""The first and the last instant that ISO 8601 can write with four digits for the year."""


def date_ms(text: str) -> int | None:
    """The instant of a date-time in any form the server reads; without an offset it is UTC, without a time midnight.

    None when it is no date-time. One beyond the years 1 to 9999 is brought to their edge.
    """
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return None
    year, month, day = (int(part) for part in found.group(1, 2, 3))
    hours, minutes, seconds = (int(part or 0) for part in found.group(4, 5, 6))
    fraction, sign, offset_hours, offset_minutes = found.group(7, 8, 9, 10)
    try:
        days = date(year, month, day).toordinal() - _EPOCH_DAY
    except ValueError:
        return FIRST_MS if year == 0 else None
    if hours > 24 or minutes > 59 or seconds > 60:
        return None
    at_minute = days * 1440 + hours * 60 + minutes
    if sign:
        offset = int(offset_hours) * 60 + int(offset_minutes)
        at_minute += offset if sign == "-" else -offset
    at_ms = (at_minute * 60 + seconds) * 1000 + int((fraction or "0")[:3].ljust(3, "0"))
    return min(max(at_ms, FIRST_MS), LAST_MS)


# ---- reading --------------------------------------------------------------------------------------------------------


def decode(body: bytes, operation: str) -> Any:
    """The JSON value that says the same as this request body.

    Elements the server does not know are lost without a word, `request-data` (for `data`) among them.

    Raises:
        UnreadableXml: a `Problem` of the kind MALFORMED_BODY.
    """
    try:
        root = fromstring(body, forbid_dtd=True)
        wanted = REQUEST_ROOTS[operation]
        if root.tag != wanted:
            raise ValueError(f"the element {root.tag} was not expected, but {wanted}")
        return _map(root.find("entries")) if wanted == "map-type" else _job_request(root)
    # LookupError: an encoding or a boolean that does not exist.
    except (ParseError, DefusedXmlException, ValueError, LookupError) as problem:
        raise UnreadableXml(problem, body) from None


def _job_request(root: Element) -> dict[str, Any]:
    request: dict[str, Any] = {}
    for child in root:
        if child.tag == "job-command":
            request["job-command"] = child.text or ""
        elif child.tag == "scheduled-date":
            at_ms = date_ms(child.text or "")
            # What is no date is left for the document to refuse; an empty element is null.
            request["scheduled-date"] = child.text if at_ms is None else iso(at_ms)
        elif child.tag == "data":
            request["request-data"] = _map(child)
    return request


def _map(entries: Element | None) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for entry in () if entries is None else entries.iterfind("entry"):
        key = entry.find("key")
        if key is not None:
            values[key.text or ""] = _value(entry.find("value"))
    return values


def _value(element: Element | None) -> Any:
    if element is None or element.get(f"{{{XSI}}}nil") in ("true", "1"):
        return None
    # The prefix is the client's choice, and ElementTree forgets what it stood for.
    name = element.get(f"{{{XSI}}}type", "").rpartition(":")[2]
    if name == "arrayList":
        return []
    # Without a type the server has an XML node where it wants a value: something, but no text to work with.
    read = _READ.get(name)
    return {} if read is None else read(element.text or "")


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,20}", text.strip()) or not -(2**63) <= int(text) < 2**64:
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


def _fractional(text: str) -> float:
    number = float(text) if "_" not in text else math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number that JSON knows")
    return number


def _boolean(text: str) -> bool:
    return {"true": True, "1": True, "false": False, "0": False}[text.strip()]


def _date_time(text: str) -> dict[str, int]:
    at_ms = date_ms(text)
    if at_ms is None:
        raise ValueError(f"{text!r} is not a date-time")
    return {DATE: at_ms}


_READ: dict[str, Callable[[str], Any]] = {
    "string": str,
    **dict.fromkeys(("byte", "short", "int", "long", "integer"), _whole),
    **dict.fromkeys(("float", "double", "decimal"), _fractional),
    "boolean": _boolean,
    **dict.fromkeys(("date", "dateTime"), _date_time),
}

# ---- writing --------------------------------------------------------------------------------------------------------

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNKNOWN = "\ufffd"
_NOT_IN_A_NAME = re.compile(r"^[^A-Za-z_]|[^A-Za-z0-9_.-]")
_OUR_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


def encode(value: Any, operation: str) -> bytes:
    """The XML that says the same as this reply body."""
    root = REPLY_ROOTS.get(operation, "request-info-instance-list")
    if root == "response" and isinstance(value, Mapping):
        lines = _response(value)
    elif root == "list-type":
        lines = _list_type(value if isinstance(value, list) else [value])
    else:
        lines = _element(root, value if isinstance(value, Mapping) else {"value": value}, "")
    return "\n".join([HEAD, *lines, ""]).encode()


def _response(value: Mapping[str, Any]) -> Iterator[str]:
    """What the server says about itself: how it went in attributes, and the result without a name of its own."""
    attributes = {name: str(value[name]) for name in ("type", "msg") if name in value}
    return _around("response", _elements(value.get("result"), "    "), "", attributes)


def _list_type(items: list[Any]) -> Iterator[str]:
    """A list of messages: each is an item, and all together are the items."""
    kind = {"xsi:type": "kie-message", "xmlns:xsi": XSI}
    lines = [line for item in items for line in _around("items", _elements(item, " " * 12), " " * 8, kind)]
    return _around("list-type", list(_around("items", lines, "    ")), "")


def _elements(value: Any, indent: str) -> list[str]:
    """The lines of an object's members; of nothing when it is no object."""
    members = value.items() if isinstance(value, Mapping) else ()
    return [line for name, item in members for line in _element(name, item, indent)]


def _instant(value: Any) -> int | None:
    """The instant of a date under the name of its Java class; None when it is anything else."""
    if isinstance(value, Mapping) and value.keys() == {DATE}:
        at_ms = value[DATE]
        if type(at_ms) is int and FIRST_MS <= at_ms <= LAST_MS:
            return at_ms
    return None


def _element(name: str, value: Any, indent: str) -> Iterator[str]:
    """The lines of one element; of none for null, of several for a list."""
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            yield from _element(name, item, indent)
        return
    inner = indent + "    "
    tag = _NOT_IN_A_NAME.sub("_", name) or "_"
    if name in MAPS and isinstance(value, Mapping):
        lines = [line for key, item in value.items() for line in _entry(key, item, inner)]
        yield from _around(MAPS[name], lines, indent)
    elif (at_ms := _instant(value)) is not None:
        yield f"{indent}<{tag}>{iso(at_ms)}</{tag}>"
    elif isinstance(value, Mapping):
        yield from _around(tag, _elements(value, inner), indent)
    else:
        yield f"{indent}<{tag}>{_text(value)}</{tag}>"


def _entry(key: str, value: Any, indent: str) -> Iterator[str]:
    lines = [f"{indent}    <key>{_text(key)}</key>"]
    if (at_ms := _instant(value)) is not None:
        value = iso(at_ms)
    if value is not None:
        type_ = f'xsi:type={quoteattr(_type(value))} xmlns:xs="{XS}" xmlns:xsi="{XSI}"'
        # Lists and maps inside a map lose what they hold, as on the real server.
        content = "/>" if isinstance(value, list | Mapping) else f">{_text(value)}</value>"
        lines.append(f"{indent}    <value {type_}{content}")
    return _around("entry", lines, indent)


def _around(
    tag: str, lines: list[str], indent: str, attributes: Mapping[str, str] | None = None
) -> Iterator[str]:
    named = "".join(
        f" {name}={quoteattr(_NOT_XML.sub(_UNKNOWN, text))}" for name, text in (attributes or {}).items()
    )
    if not lines:
        yield f"{indent}<{tag}{named}/>"
        return
    yield f"{indent}<{tag}{named}>"
    yield from lines
    yield f"{indent}</{tag}>"


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "xs:boolean"
    if isinstance(value, int):
        if -(2**31) <= value < 2**31:
            return "xs:int"
        return "xs:long" if -(2**63) <= value < 2**63 else "xs:integer"
    if isinstance(value, float):
        return "xs:double"
    if isinstance(value, list):
        return "arrayList"
    if isinstance(value, Mapping):
        return "jaxbMap"
    return "xs:dateTime" if _OUR_TIME.fullmatch(value) and date_ms(value) is not None else "xs:string"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A parser would turn a bare carriage return into a line feed; what XML cannot say at all becomes U+FFFD.
    return escape(_NOT_XML.sub(_UNKNOWN, str(value)), {"\r": "&#13;"})


codec = Codec(decode=decode, encode=encode)
