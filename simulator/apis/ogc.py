"""OGC API - Processes 1.0: a process is executed as a job, the job is followed, its results are fetched, it is dismissed.

Words and tables: the OGC sheet. Two processes are served: `echo`, shaped so that the standard's own test suite can drive
it, and `fail`. Their inputs are checked before a job is made, as the standard wants. Results are what came in, unwrapped to
plain values, because known clients stumble over qualified ones; they are read from the request, so nothing is stored twice.
Executing synchronously, filters of the list and callbacks are not served.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from simulator.apis.contract import (
    Api,
    Call,
    Kind,
    Problem,
    Refusal,
    Reply,
    Role,
    Setting,
    iso,
    status_of,
)
from simulator.engine.command import Cancel, Submit
from simulator.engine.draw import draw_uuid
from simulator.engine.errors import UnknownJob
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import Rules, cancel_active
from simulator.engine.script import CancelEffect

WORDS = {
    State.DELAYED: "accepted",
    State.QUEUED: "accepted",
    State.RUNNING: "running",
    State.RETRYING: "running",
    State.CANCELLING: "running",
    State.SUCCEEDED: "successful",
    State.FAILED: "failed",
    State.CANCELLED: "dismissed",
}
JSON = "application/json"
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
# Python releases disagree about these two phrases.
TITLES = {413: "Content Too Large", 414: "URI Too Long"}


def error(refusal: Refusal, call: Call) -> Reply:
    """An exception as plain application/json: known clients do not read application/problem+json."""
    if isinstance(refusal, UnknownJob):
        if refusal.removed and call.settings["after_removal"] == "gone":
            return _exception(410, f'Job "{refusal.job_id}" was removed.')
        detail = f'There is no job "{refusal.job_id}".'
        return _exception(404, detail, type_=f"{EXCEPTION}no-such-job", title="No such job")
    status = status_of(refusal)
    type_ = "InvalidParameterValue" if status == 400 else "about:blank"
    return _exception(status, str(refusal), type_=type_)


def _exception(status: int, detail: str, *, type_: str = "about:blank", title: str | None = None) -> Reply:
    title = title or TITLES.get(status) or HTTPStatus(status).phrase
    return Reply(status, {"type": type_, "title": title, "status": status, "detail": detail})


api = Api(
    name="ogc",
    title="OGC API - Processes",
    document="ogc.yaml",
    rules=Rules(
        identify=lambda seed, number: draw_uuid(seed, "ogc", number),
        cancel=cancel_active(finished=CancelEffect.REMOVED),
    ),
    words=WORDS,
    error=error,
    settings={
        "after_removal": Setting(
            str,
            "not_found",
            "what a job answers after a second DELETE removed it: 404 (not_found) or 410 (gone)",
            choices=("not_found", "gone"),
        )
    },
)


# ---- processes --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Process:
    """What can be executed. Its outputs are its inputs.

    `inputs` are schemas by name, in the order of the description. They use few keywords on purpose (`type`, `items`,
    `minimum`, `maximum`, `contentMediaType`): these are the ones checked here, and richer ones break known clients.
    """

    id: str
    title: str
    description: str
    inputs: Mapping[str, dict[str, Any]]
    titles: Mapping[str, str]
    required: frozenset[str] = frozenset()
    failure: Failure | None = None
    """Its jobs can only fail, with this."""


# The order matters, and that only the first is required: the standard's test suite makes its requests from it.
INPUTS: dict[str, dict[str, Any]] = {
    "message": {"type": "string"},
    "pause": {"type": "integer", "minimum": 0, "maximum": 31_536_000},
    "file": {"type": "string", "contentMediaType": "image/tiff", "contentEncoding": "binary"},
    "numbers": {"type": "array", "items": {"type": "integer"}},
}
INPUT_TITLES = {
    "message": "A text",
    "pause": "Seconds the job takes at least",
    "file": "A picture, or a link to one",
    "numbers": "Whole numbers",
}
PROCESSES = {
    process.id: process
    for process in (
        Process(
            id="echo",
            title="Echo",
            description="Gives its inputs back as outputs of the same names.",
            inputs=INPUTS,
            titles=INPUT_TITLES,
            required=frozenset({"message"}),
        ),
        Process(
            id="fail",
            title="Fail",
            description="Takes the inputs of echo, all optional, and fails.",
            inputs=INPUTS,
            titles=INPUT_TITLES,
            failure=Failure("The process gave up."),
        ),
    )
}


@api.operation(Role.INFO)
def get_processes_processes_get(call: Call) -> Reply:
    """What can be executed, in short."""
    summaries = [_summary(call, process) for process in PROCESSES.values()]
    links = [_link(f"{call.base_url}/processes", "self")]
    return Reply(200, {"processes": summaries[: call.params["limit"]], "links": links})


@api.operation(Role.INFO)
def get_process_description_processes__processId__get(call: Call) -> Reply:
    """One process with its inputs and outputs."""
    process = PROCESSES.get(call.params["processId"])
    if process is None:
        return _no_such_process(call)
    summary = _summary(call, process)
    execute = _link(f"{call.base_url}/processes/{process.id}/execution", f"{REL}execute")
    inputs = {
        name: {
            "title": process.titles[name],
            "schema": schema,
            "minOccurs": int(name in process.required),
            "maxOccurs": 1,
        }
        for name, schema in process.inputs.items()
    }
    outputs = {
        name: {"title": f"What came as {name}", "schema": schema} for name, schema in process.inputs.items()
    }
    links = [*summary.pop("links"), execute]
    return Reply(200, {**summary, "inputs": inputs, "outputs": outputs, "links": links})


def _summary(call: Call, process: Process) -> dict[str, Any]:
    return {
        "id": process.id,
        "version": "1.0.0",
        "title": process.title,
        "description": process.description,
        "jobControlOptions": ["async-execute", "dismiss"],
        "outputTransmission": ["value"],
        "links": [_link(f"{call.base_url}/processes/{process.id}", "self")],
    }


def _no_such_process(call: Call) -> Reply:
    detail = f'There is no process "{call.params["processId"]}"; there are {", ".join(PROCESSES)}.'
    return _exception(404, detail, type_=f"{EXCEPTION}no-such-process", title="No such process")


# ---- execution --------------------------------------------------------------------------------------------------


@api.operation(Role.SUBMIT)
def execute_processes__processId__execution_post(call: Call) -> Reply:
    """Make a job and answer at once; bad inputs are refused here and never become a failed job."""
    process = PROCESSES.get(call.params["processId"])
    if process is None:
        return _no_such_process(call)
    values = _read_inputs(process, call.body)
    # Asked for now so that an output which does not exist is refused now, too.
    _selected(process, call.body)
    pause = values.get("pause", 0)
    job = call.world.apply(
        Submit(
            api=api.name,
            kind=process.id,
            request=call.body,
            lasts_ms=0 if isinstance(pause, dict) else int(pause) * 1000,
            fails_with=process.failure,
        )
    )
    headers = {"Location": _job_url(call, job)}
    if "respond-async" in _preferences(call.params.get("prefer", "")):
        headers["Preference-Applied"] = "respond-async"
    return Reply(201, status_info(call, job), headers)


def _preferences(header: str) -> set[str]:
    """Names of the preferences in a Prefer header, lower case; values, parameters and blanks around them left out."""
    without_texts = re.sub(r'"[^"]*"', "", header)
    return {re.split("[=;]", preference)[0].strip().lower() for preference in without_texts.split(",")}


def _read_inputs(process: Process, body: Mapping[str, Any]) -> dict[str, Any]:
    """The values given, by input in the order of the description: qualified ones unwrapped, nulls left out.

    Raises:
        Problem: a required input is missing, or a value does not fit.
    """
    given = {name: value for name, value in (body.get("inputs") or {}).items() if value is not None}
    _refuse_unknown(process, "inputs", given)
    missing = [name for name in process.inputs if name in process.required and name not in given]
    if missing:
        raise _misfit(
            f"inputs/{missing[0]}", f'the input "{missing[0]}" of process "{process.id}" is missing'
        )
    return {
        name: _read_value(name, given[name], schema)
        for name, schema in process.inputs.items()
        if name in given
    }


def _read_value(name: str, given: Any, schema: Mapping[str, Any]) -> Any:
    """A plain value, also of a qualified one; or a link, whose target nobody looks at."""
    wanted_type = schema.get("contentMediaType")
    if isinstance(given, dict):
        for media_type in _media_types(given):
            if wanted_type is not None and media_type.split(";")[0].strip().lower() != wanted_type:
                raise _misfit(f"inputs/{name}", f'the input "{name}" is {wanted_type}, not {media_type}')
        if isinstance(given.get("href"), str):
            members = ("href", "rel", "type", "hreflang", "title")
            return {member: given[member] for member in members if given.get(member) is not None}
        if "value" not in given:
            raise _misfit(f"inputs/{name}", f'the input "{name}" is an object without "value" or "href"')
        given = given["value"]
    if not _fits(given, schema):
        raise _misfit(f"inputs/{name}", f'the input "{name}" does not fit its schema: {_in_words(schema)}')
    return given


def _media_types(given: Mapping[str, Any]) -> list[str]:
    """What a link or a qualified value says about its media type; clients say it in one of three places."""
    form = given.get("format")
    said = [
        given.get("mediaType"),
        given.get("type"),
        form.get("mediaType") if isinstance(form, dict) else None,
    ]
    return [media_type for media_type in said if isinstance(media_type, str)]


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    match schema["type"]:
        case "string":
            return isinstance(value, str)
        case "array":
            return isinstance(value, list) and all(_fits(item, schema["items"]) for item in value)
        case _:
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            within = whole and schema.get("minimum", value) <= value <= schema.get("maximum", value)
            return within and not isinstance(value, bool)


def _in_words(schema: Mapping[str, Any]) -> str:
    if schema["type"] == "array":
        return f"an array, each item {_in_words(schema['items'])}"
    limits = f" from {schema['minimum']} to {schema['maximum']}" if "minimum" in schema else ""
    return f"{schema['type']}{limits}"


def _selected(process: Process, body: Mapping[str, Any]) -> list[str]:
    """The outputs wanted, all of them when none is named.

    Raises:
        Problem: the process has no such output.
    """
    wanted = body.get("outputs") or process.inputs
    _refuse_unknown(process, "outputs", wanted)
    return [name for name in process.inputs if name in wanted]


def _refuse_unknown(process: Process, member: str, named: Mapping[str, Any]) -> None:
    for name in named:
        if name not in process.inputs:
            known = ", ".join(process.inputs)
            raise _misfit(member, f'process "{process.id}" has no "{name}" in {member}; it has {known}')


def _misfit(place: str, detail: str) -> Problem:
    return Problem(Kind.BAD_BODY, detail, where="body", pointer=f"/{place}")


# ---- jobs -------------------------------------------------------------------------------------------------------


@api.operation(Role.LIST)
def get_jobs_jobs_get(call: Call) -> Reply:
    """One page of jobs, newest first."""
    limit, offset = call.params["limit"], call.params["offset"]
    jobs = call.world.jobs(api.name, offset=offset, limit=limit, newest_first=True)
    total = call.world.count(api.name)

    def page(rel: str, start: int) -> dict[str, str]:
        return _link(f"{call.base_url}/jobs?limit={limit}&offset={start}", rel)

    links = [page("self", offset)]
    if offset + limit < total:
        links.append(page("next", offset + limit))
    if offset > 0:
        links.append(page("prev", max(min(offset, total) - limit, 0)))
    return Reply(200, {"jobs": [status_info(call, job) for job in jobs], "links": links})


@api.operation(Role.STATUS)
def get_status_jobs_job_id_get(call: Call) -> Reply:
    """One job."""
    return Reply(200, status_info(call, call.world.job(api.name, call.params["jobId"])))


@api.operation(Role.CANCEL)
def dismiss_jobs_job_id_delete(call: Call) -> Reply:
    """An active job is dismissed and kept; one that has ended is removed, and its last words say dismissed, too."""
    job = call.world.apply(Cancel(api.name, call.params["jobId"]))
    if job.state.is_final:
        job = job._replace(state=State.CANCELLED, step_ms=call.now_ms, finished_ms=call.now_ms)
    return Reply(200, status_info(call, job))


@api.operation(Role.RESULT)
def get_result_jobs_job_id_results_get(call: Call) -> Reply:
    """The results by output; for a job without any, why it has none."""
    job = call.world.job(api.name, call.params["jobId"])
    match job.state:
        case State.SUCCEEDED:
            return Reply(200, _results(job))
        case State.FAILED:
            return Reply(500, _failure_view(job))
        case State.CANCELLED:
            detail = f'Job "{job.id}" was dismissed.'
            return _exception(
                404, detail, type_=f"{EXCEPTION}result-not-available", title="Results not available"
            )
        case _:
            detail = f'Job "{job.id}" is {WORDS[job.state]}.'
            return _exception(404, detail, type_=f"{EXCEPTION}result-not-ready", title="Results not ready")


def _results(job: Job) -> dict[str, Any]:
    """What the scenario said, else the inputs that were given and asked for as outputs."""
    if isinstance(job.result, Mapping):
        return dict(job.result)
    process = PROCESSES[job.kind]
    values = _read_inputs(process, job.request)
    return {name: values[name] for name in _selected(process, job.request) if name in values}


def status_info(call: Call, job: Job) -> dict[str, Any]:
    """The wire form of a job; members without a value are left out, never null."""
    info: dict[str, Any] = {
        "processID": job.kind,
        "type": "process",
        "jobID": job.id,
        "status": WORDS[job.state],
    }
    url = _job_url(call, job)
    links = [_link(url, "self")]
    message = job.message
    match job.state:
        case State.SUCCEEDED:
            links.append(_link(f"{url}/results", f"{REL}results"))
        case State.FAILED:
            info["exception"] = _failure_view(job)
            message = (job.failure or Failure()).message
            links.append(_link(f"{url}/results", f"{REL}exceptions"))
        case State.CANCELLED:
            message = "Job dismissed"
        case _:
            links.append(_link(url, "monitor"))
    if message is not None:
        info["message"] = message
    info["created"] = iso(job.created_ms)
    if job.started_ms is not None:
        info["started"] = iso(job.started_ms)
    if job.finished_ms is not None:
        info["finished"] = iso(job.finished_ms)
    info["updated"] = iso(job.changed_ms(call.now_ms))
    progress = job.progress_percent(call.now_ms)
    if progress is not None:
        info["progress"] = progress
    info["links"] = links
    return info


def _failure_view(job: Job) -> dict[str, Any]:
    """The exception of a failed job, the same in its status and in place of its results."""
    failure = job.failure or Failure()
    detail = failure.message if failure.details is None else f"{failure.message}\n{failure.details}"
    # A code that says no more than "failed" names no kind of problem.
    type_ = "about:blank" if failure.code == Failure().code else failure.code
    return {"type": type_, "title": "Job failed", "status": 500, "detail": detail}


def _job_url(call: Call, job: Job) -> str:
    return f"{call.base_url}/jobs/{job.id}"


def _link(href: str, rel: str) -> dict[str, str]:
    return {"href": href, "rel": rel, "type": JSON}
