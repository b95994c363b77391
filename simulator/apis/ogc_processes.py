"""The processes of OGC API - Processes that can be executed here: their descriptions, and the check of what they are given.

`echo` is shaped so that the standard's own test suite can drive it. `echo-sync` and `echo-async` offer one way of execution
each, and `fail` fails. Inputs are checked before a job is made, as the standard wants.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.apis.contract import Call, Kind, Problem, Reply
from simulator.apis.ogc_prefer import ASYNC, SYNC
from simulator.apis.ogc_wire import EXCEPTION, REL, exception, link
from simulator.engine.job import Failure


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
    options: tuple[str, ...] = (SYNC, ASYNC, "dismiss")
    """Its `jobControlOptions`."""

    @property
    def labels(self) -> tuple[tuple[str, str], ...]:
        """What lists find its jobs by; the same value for each job, since there may be a million of them."""
        return LABELS[self.id]


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
        Process(
            id="echo-sync",
            title="Echo while you wait",
            description="As echo, and only executed synchronously.",
            inputs=INPUTS,
            titles=INPUT_TITLES,
            required=frozenset({"message"}),
            options=(SYNC, "dismiss"),
        ),
        Process(
            id="echo-async",
            title="Echo later",
            description="As echo, and only executed asynchronously.",
            inputs=INPUTS,
            titles=INPUT_TITLES,
            required=frozenset({"message"}),
            options=(ASYNC, "dismiss"),
        ),
    )
}
LABELS = {process_id: (("process", process_id),) for process_id in PROCESSES}


def summary(call: Call, process: Process) -> dict[str, Any]:
    """A process as lists show it."""
    return {
        "id": process.id,
        "version": "1.0.0",
        "title": process.title,
        "description": process.description,
        "jobControlOptions": list(process.options),
        "outputTransmission": ["value", "reference"],
        "links": [link(f"{call.base_url}/processes/{process.id}", "self")],
    }


def description(call: Call, process: Process) -> dict[str, Any]:
    """A process with its inputs and outputs."""
    short = summary(call, process)
    execute = link(f"{call.base_url}/processes/{process.id}/execution", f"{REL}execute")
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
    return {**short, "inputs": inputs, "outputs": outputs, "links": [*short["links"], execute]}


def no_such_process(process_id: str) -> Reply:
    """The refusal of a process that nobody knows, with those that are known."""
    detail = f'There is no process "{process_id}"; there are {", ".join(PROCESSES)}.'
    return exception(404, detail, type_=f"{EXCEPTION}no-such-process", title="No such process")


# ---- what an execution asks for -------------------------------------------------------------------------------------


def read_inputs(process: Process, body: Mapping[str, Any]) -> dict[str, Any]:
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


def selected(process: Process, body: Mapping[str, Any]) -> list[str]:
    """The outputs wanted, all of them when none is named.

    Raises:
        Problem: the process has no such output.
    """
    wanted = body.get("outputs") or process.inputs
    _refuse_unknown(process, "outputs", wanted)
    return [name for name in process.inputs if name in wanted]


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


def _refuse_unknown(process: Process, member: str, named: Mapping[str, Any]) -> None:
    for name in named:
        if name not in process.inputs:
            known = ", ".join(process.inputs)
            raise _misfit(member, f'process "{process.id}" has no "{name}" in {member}; it has {known}')


def _misfit(place: str, detail: str) -> Problem:
    return Problem(Kind.BAD_BODY, detail, where="body", pointer=f"/{place}")
