"""The flavour `unity` of OGC API - Processes: what a Unity SPS server answers where it deviates from the standard.

That server is a FastAPI application in front of Airflow, so its errors are FastAPI's, it knows few parameters, and much of what
it documents it does not do. Everything here translates what `ogc` says into what such a server says; processes, jobs and times
are the same in both flavours. Naive times are UTC, as on a server whose local time is UTC. What depends on two calls that meet,
or on Airflow being down, is for a scenario to say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from simulator.apis.contract import Call, Kind, Problem, Refusal, Reply, iso, status_of
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import Job

JOBS_MAX = 100
"""The list is never longer; there are no further pages."""
ASYNCHRONOUS = "respond-async"
SYNCHRONOUS_RESULT = "Sample output for synchronous execution"
JSON = "application/json"
NO_BODY = "'NoneType' object has no attribute 'inputs'"

CLASSES = ("core", "ogc-process-description", "json", "job-list", "callback", "dismiss")
"""What that server says it conforms to."""

# The members in the order in which that server writes them.
STATUS_MEMBERS = (
    "processID",
    "type",
    "jobID",
    "status",
    "message",
    "exception",
    "created",
    "started",
    "finished",
    "updated",
    "progress",
    "links",
)
SUMMARY_MEMBERS = (
    "title",
    "description",
    "keywords",
    "metadata",
    "id",
    "version",
    "jobControlOptions",
    "links",
)
PYTHON_NAMES = {"processID": "process_id", "jobID": "job_id"}


class Asked(Protocol):
    """Who asks: a call, or whatever else has settings."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Those of the API."""
        ...


def speaks(call: Asked) -> bool:
    """Whether this call is answered in this flavour."""
    return bool(call.settings["flavour"] == "unity")


# ---- replies ----------------------------------------------------------------------------------------------------


def status(info: Mapping[str, Any], job: Job) -> dict[str, Any]:
    """The wire form of a job. That server knows no progress, stores no start, and has one message, its last."""
    finished = info.get("finished")
    told = {
        **{member: info[member] for member in ("processID", "type", "jobID", "status")},
        "created": _naive(info["created"]),
        "finished": finished and _naive(finished),
        # Progress is none of its changes.
        "updated": _naive(finished or iso(job.since_ms)),
    }
    if info["status"] == "dismissed":
        told["message"] = info["message"]
    return {member: told.get(member) for member in STATUS_MEMBERS}


def _naive(moment: str) -> str:
    """RFC 3339 with milliseconds and `Z` → no zone, with microseconds."""
    return f"{moment[:-1]}000"


def executed(call: Call, info: Mapping[str, Any]) -> Reply:
    """The answer to an execution, always 200: the status as (Python name, value) pairs, or a text that was never computed."""
    if call.params.get("prefer") != ASYNCHRONOUS:
        return Reply(200, {"result": SYNCHRONOUS_RESULT}, media_type=JSON)
    pairs = [[PYTHON_NAMES.get(member, member), value] for member, value in info.items()]
    return Reply(200, pairs, media_type=JSON)


def landing_links(links: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    """The links of the landing page: no pages, and a media type of the definition that known clients do not look for."""
    pages = ("alternate", "service-doc")
    definition = {"type": "application/openapi+json;version=3.0"}
    return [
        {**link, **(definition if link["rel"] == "service-desc" else {})}
        for link in links
        if link["rel"] not in pages
    ]


def job_list(infos: Iterable[Mapping[str, Any]]) -> Reply:
    """All jobs there is room for."""
    return Reply(200, {"jobs": list(infos), "links": []}, media_type=JSON)


def process_list(summaries: Iterable[Mapping[str, Any]]) -> Reply:
    """All processes, each with no more than its names and its version."""
    told = ("title", "description", "id", "version")
    processes = [
        {member: summary[member] if member in told else None for member in SUMMARY_MEMBERS}
        for summary in summaries
    ]
    return Reply(200, {"processes": processes, "links": []}, media_type=JSON)


def results() -> Reply:
    """What a job has for results, in every state: that server stores none."""
    return Reply(200, {}, media_type=JSON)


def no_such_process(call: Call) -> Reply:
    """A process that is not there, described or executed; neither is told apart from a crash."""
    if call.operation == "get_process_description_processes__processId__get":
        return _detail(500, "No row was found when one was required")
    return _detail(500, f"404: Process with ID '{call.params['processId']}' not found")


# ---- refusals ---------------------------------------------------------------------------------------------------


def overlooks(refusal: Refusal) -> bool:
    """Whether that server would not refuse: it knows none of the parameters that a query can get wrong."""
    if not isinstance(refusal, Problem):
        return False
    return refusal.kind is Kind.BAD_PARAMETER and refusal.where == "query" and refusal.pointer != ""


def error(refusal: Refusal, call: Call) -> Reply:
    """FastAPI's envelope. A job that is not there is a 500, because the server catches its own 404 and wraps it."""
    if isinstance(refusal, UnknownJob):
        return _detail(500, f"404: Job with ID '{refusal.job_id}' not found")
    if isinstance(refusal, NotAllowed):
        job = refusal.job
        return _detail(500, f"Failed to delete DAG run {job.id} for DAG {job.kind}: {refusal}")
    if isinstance(refusal, Problem):
        match refusal.kind:
            case Kind.NO_SUCH_PATH:
                return no_such_path()
            case Kind.METHOD_NOT_ALLOWED:
                return _detail(405, "Method Not Allowed")
            case Kind.MISSING_BODY:
                return _detail(500, NO_BODY)
            case Kind.BAD_BODY if call.body is None:
                return _detail(500, NO_BODY)
            case Kind.BAD_BODY:
                return _misfit(call.body, refusal.pointer)
            case Kind.MALFORMED_BODY:
                return _invalid("json_invalid", "JSON decode error", input={}, ctx={"error": refusal.detail})
            case Kind.UNSUPPORTED_MEDIA_TYPE:
                return _invalid(*_expected([]))
    return _detail(status_of(refusal), str(refusal))


def no_such_path() -> Reply:
    """A path that is not there, or not in this flavour."""
    return _detail(404, "Not Found")


def _detail(status: int, detail: str) -> Reply:
    return Reply(status, {"detail": detail}, media_type=JSON)


def _invalid(type_: str, message: str, place: Iterable[str | int] = (), **more: Any) -> Reply:
    entry = {"type": type_, "loc": ["body", *place], "msg": message, **more}
    return Reply(422, {"detail": [entry]}, media_type=JSON)


def _misfit(body: Any, pointer: str) -> Reply:
    """One place of a body that does not fit: a member that is missing, or a value of the wrong type."""
    value, place = body, []
    for part in pointer.split("/")[1:]:
        name: str | int = part.replace("~1", "/").replace("~0", "~")
        name = int(name) if isinstance(value, list) else name
        place.append(name)
        if isinstance(value, dict) and name not in value:
            return _invalid("missing", "Field required", place, input=value)
        value = value[name]
    return _invalid(*_expected(place), place, input=value)


def _expected(place: list[str | int]) -> tuple[str, str]:
    """What pydantic would have liked at this place of an execution, as its type word and its sentence."""
    match place:
        case ["inputs" | "outputs"]:
            return "dict_type", "Input should be a valid dictionary"
        case ["sortBy"]:
            return "list_type", "Input should be a valid list"
        case [] | ["properties" | "subscriber"] | ["outputs", _] | ["outputs", _, "format"]:
            message = "Input should be a valid dictionary or object to extract fields from"
            return "model_attributes_type", message
        case _:
            return "string_type", "Input should be a valid string"
