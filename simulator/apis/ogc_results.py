"""The results of OGC jobs and the shapes in which they are sent.

Results are what came in, unwrapped to plain values, because known clients stumble over qualified ones; they are read from the
request, so nothing is stored twice. A scenario's result goes before them.

A document is a JSON map of all outputs; raw is the bare value of one, or several in one multipart message. An output can be
sent by value or by reference, a link to where it is served alone. Fetched results are always a document, since all clients rely
on that; synchronous answers follow the standard's table to the letter.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from simulator.apis.contract import Call, Reply
from simulator.apis.ogc_prefer import Preferences
from simulator.apis.ogc_processes import PROCESSES, read_inputs, selected
from simulator.apis.ogc_wire import (
    API,
    EXCEPTION,
    JSON,
    REL,
    TEXT,
    WORDS,
    Viewer,
    exception,
    failure_view,
    job_url,
    link,
)
from simulator.engine.draw import draw_hex
from simulator.engine.job import Job, State

_URI_CHARACTERS = "%:/?#[]@!$&'()*+,;=~"
_CRLF = "\r\n"


def unavailable(job: Job) -> Reply | None:
    """Why a job has no results; None when it has."""
    match job.state:
        case State.SUCCEEDED:
            return None
        case State.FAILED:
            return Reply(500, failure_view(job), media_type=JSON)
        case State.CANCELLED:
            detail = f'Job "{job.id}" was dismissed.'
            type_ = f"{EXCEPTION}result-not-available"
            return exception(404, detail, type_=type_, title="Results not available")
        case _:
            detail = f'Job "{job.id}" is {WORDS[job.state]}.'
            return exception(404, detail, type_=f"{EXCEPTION}result-not-ready", title="Results not ready")


def values_of(job: Job) -> dict[str, Any]:
    """The results of a successful job: what the scenario said, else the inputs given and asked for, by output."""
    if job.no_result:
        return {}
    if isinstance(job.result, Mapping):
        return dict(job.result)
    values = read_inputs(PROCESSES[job.kind], job.request)
    return {name: values[name] for name in _asked(job) if name in values}


def as_document(call: Viewer, job: Job, prefer: Preferences) -> Reply:
    """All results in a JSON map."""
    values = values_of(job)
    referred = _referred(job, values, prefer)
    body = {
        name: _reference(call, job, name, value) if name in referred else value
        for name, value in values.items()
    }
    return Reply(200, body, _applied(values, referred, prefer), JSON)


def as_asked(call: Call, job: Job, prefer: Preferences) -> Reply:
    """The results in the shape that the request of the job asks for: a document, or raw."""
    if job.request.get("response") == "document":
        return as_document(call, job, prefer)
    values = values_of(job)
    referred = _referred(job, values, prefer)
    headers = _applied(values, referred, prefer)
    if len(referred) == len(values):
        if values:
            headers["Link"] = ", ".join(_link_header(call, job, *item) for item in values.items())
        return Reply(204, headers=headers)
    if len(_asked(job)) == 1:
        ((_, value),) = values.items()
        return _bare(call, value, headers)
    return _multipart(call, job, values, referred, headers)


def one_output(call: Call, job: Job, name: str) -> Reply:
    """The bare value of one output; here lead the references."""
    values = values_of(job)
    if name not in values:
        detail = f'Job "{job.id}" has no output "{name}"; it has {", ".join(values) or "none"}.'
        return exception(404, detail, type_=f"{EXCEPTION}no-such-output", title="No such output")
    return _bare(call, values[name], {})


def _asked(job: Job) -> list[str]:
    """The outputs asked for, whether they have a value or not."""
    if isinstance(job.result, Mapping):
        return list(job.result)
    return selected(PROCESSES[job.kind], job.request)


def _referred(job: Job, values: Mapping[str, Any], prefer: Preferences) -> set[str]:
    """Which outputs are sent by reference: as the execution said of each, else as the client prefers."""
    said = {name: how["transmissionMode"] for name, how in _outputs(job) if how.get("transmissionMode")}
    usual = "reference" if prefer.returns == "minimal" else "value"
    return {name for name in values if said.get(name, usual) == "reference"}


def _outputs(job: Job) -> list[tuple[str, Mapping[str, Any]]]:
    return [(name, how or {}) for name, how in (job.request.get("outputs") or {}).items()]


def _applied(values: Mapping[str, Any], referred: set[str], prefer: Preferences) -> dict[str, str]:
    """The header that confirms how results are returned, when all of them are as the client prefers."""
    wanted = {"minimal": len(values), "representation": 0}
    if prefer.returns is None or len(referred) != wanted[prefer.returns]:
        return {}
    return {"Preference-Applied": f"return={prefer.returns}"}


def _reference(call: Viewer, job: Job, name: str, value: Any) -> dict[str, Any]:
    """The link to an output; one whose value is a link already needs no other."""
    if isinstance(value, Mapping) and isinstance(value.get("href"), str):
        return dict(value)
    url = f"{job_url(call, job)}/results/{quote(name, safe='')}"
    return link(url, f"{REL}results", TEXT if isinstance(value, str) else JSON)


def _link_header(call: Call, job: Job, name: str, value: Any) -> str:
    href = quote(_reference(call, job, name, value)["href"], safe=_URI_CHARACTERS)
    return f'<{href}>; rel="{REL}results"; title="{quote(name)}"'


def _bare(call: Call, value: Any, headers: Mapping[str, str]) -> Reply:
    media_type, content = _encoded(call, value)
    return Reply(200, content, headers, media_type)


def _encoded(call: Call, value: Any) -> tuple[str, bytes]:
    """A value alone: a text as it is, unless the client wants JSON only, and anything else as JSON."""
    if isinstance(value, str) and call.preferred((TEXT, JSON)) != JSON:
        return f"{TEXT}; charset=utf-8", value.encode()
    return JSON, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _multipart(
    call: Call, job: Job, values: Mapping[str, Any], referred: set[str], headers: Mapping[str, str]
) -> Reply:
    """Several outputs in one message (RFC 2387), one part each; one by reference is an empty part that says where it is."""
    boundary = draw_hex(call.world.seed, API, "boundary", job.number)
    parts: list[bytes] = []
    root_type = ""
    for name, value in values.items():
        media_type, encoded = _encoded(call, value)
        lines = [f"--{boundary}", f"Content-Type: {media_type}", f"Content-ID: {quote(name)}"]
        if name in referred:
            href = quote(_reference(call, job, name, value)["href"], safe=_URI_CHARACTERS)
            lines.append(f"Content-Location: {href}")
            encoded = b""
        root_type = root_type or media_type.partition(";")[0]
        parts.append(_CRLF.join([*lines, "", ""]).encode() + encoded + _CRLF.encode())
    parts.append(f"--{boundary}--{_CRLF}".encode())
    return Reply(200, b"".join(parts), headers, f'multipart/related; boundary={boundary}; type="{root_type}"')
