"""The asynchronous jobs of jBPM's KIE server: XML unless asked otherwise, errors as quoted text, bad input a 500.

Words, tables and texts: the jBPM sheet. A client cannot see from an answer whether cancelling or requeuing did anything: both
say yes to everything, unknown jobs included. Requests are kept as the client sent them, in JSON form, whatever the format.

Dates are made by the setting `date_format`. What is written under the name of its Java class, `{"java.util.Date": 0}`, is a date for
the XML codec as well, so that a handler need not know which format its answer is in.

The executor's stock commands (`org.jbpm.executor.commands`) do what they do on the real server, within what the scenario says.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, TypedDict

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
from simulator.apis.jbpm_xml import DATE, FIRST_MS, LAST_MS, UnreadableXml, codec, date_ms
from simulator.apis.negotiation import best_match, media_type_of
from simulator.engine.command import Amend, Cancel, Retry, Submit
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import Line, RetryBy, Rules
from simulator.engine.script import CancelEffect
from simulator.engine.world import World

WORDS = {
    State.DELAYED: "QUEUED",
    State.QUEUED: "QUEUED",
    State.RUNNING: "RUNNING",
    State.RETRYING: "RETRYING",
    State.CANCELLING: "RUNNING",
    State.SUCCEEDED: "DONE",
    State.FAILED: "ERROR",
    State.CANCELLED: "CANCELLED",
}
CANNOT = {
    "progress": "shows no progress",
    "message": "shows no messages of steps: request-message stays as it is",
    "delayed": "has no word for delayed: such a job is QUEUED",
    "cancelling": "has no word for cancelling: such a job is RUNNING",
    "code": "shows an error's message and details, not its code",
    "log": "has no logs",
    "refused": "answers 204 to every cancel, so that no client hears of the refusal",
}
"""What scenarios can say and this API cannot."""
STATES = {word: tuple(state for state in State if WORDS[state] == word) for word in WORDS.values()}
"""Their word → all our states it stands for."""

NOT_BEGUN = frozenset({State.DELAYED, State.QUEUED, State.RETRYING, State.FAILED})
"""States in which no execution is under way and another may come."""

JSON, XML = "application/json", "application/xml"
CAPABILITIES = {
    "KieServer": "KieServer",
    "BRM": "Drools",
    "BPM": "jBPM",
    "CaseMgmt": "Case-Mgmt",
    "BPM-UI": "jBPM-UI",
    "BRP": "OptaPlanner",
    "DMN": "DMN",
    "Swagger": "Swagger",
}
"""What a server can do → its extension that does it."""
SERVER_ID = "understudy-kieserver"
VERSION = "7.74.1.Final"

# ---- formats --------------------------------------------------------------------------------------------------------

Dates = Callable[[int], Any]
"""How an instant is written in JSON."""
DATES: Mapping[str, Dates] = {"iso": iso, "wrapped": lambda at_ms: {DATE: at_ms}}


def format_of(headers: Mapping[str, str]) -> str | None:
    """The media type that `X-KIE-ContentType` names, which counts for more than all other headers.

    Raises:
        Problem: it names none, or XStream, which nobody speaks here.
    """
    word = headers.get("x-kie-contenttype")
    if word is None:
        return None
    start = word.strip().lower()
    if start.startswith(("json", JSON)):
        return JSON
    if start.startswith(("xml", XML)) or start == "jaxb":
        return XML
    is_xstream = start.startswith(("xstream", "application/xstream"))
    raise Problem(
        Kind.NOT_ACCEPTABLE if is_xstream else Kind.BAD_PARAMETER,
        "XSTREAM is not spoken here; JSON and JAXB are"
        if is_xstream
        else f"Invalid marshalling format [{_ours(word)}]",
        where="header",
        pointer="X-KIE-ContentType",
        value=word,
    )


def _wants(call: Call, parameter: str) -> bool:
    """Whether the media type that decided for JSON carries this parameter: `fields=not_null`, `strict=true`."""
    headers = call.headers
    told = headers.get("x-kie-contenttype")
    return parameter in _parameters(told, headers.get("content-type", ""), headers.get("accept", ""))


@lru_cache(maxsize=1024)
def _parameters(told: str | None, content_type: str, accept: str) -> frozenset[str]:
    """The parameters of the first of these headers that speaks of a format. Java separates them by commas, others do not."""
    if told is None and media_type_of(content_type) in (JSON, XML):
        told = content_type
    if told is None and best_match(accept, (XML, JSON)) == JSON:
        told = next((part for part in accept.split(",") if media_type_of(part) == JSON), None)
    name, _, rest = (told or "").partition(";")
    if name.strip().lower() not in ("json", JSON):
        return frozenset()
    return frozenset(re.sub(r"\s", "", part).lower() for part in re.split("[;,]", rest))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


# ---- errors ---------------------------------------------------------------------------------------------------------

UNREADABLE = "Error unmarshalling input"
CASTS = {
    "businessKey": "String",
    "retryDelay": "String",
    "priority": "Integer",
    "processInstanceId": "Number",
    "deploymentId": "String",
    "DeploymentId": "String",
    "owner": "String",
    "callbacks": "String",
}
"""Keys of the data that steer a job → what the server casts their values to."""


def error(refusal: Refusal, call: Call) -> Reply:
    """A text between double quotes, whatever the client accepts; mostly a 500."""
    status, text = _engine_words(refusal, call) if not isinstance(refusal, Problem) else _words(refusal, call)
    return Reply(status, f'"{text}"'.encode(), _conversation(call), media_type="text/plain")


def _unexpected(what: object) -> tuple[int, str]:
    # The line break inside the quotes is the server's; it makes a JSON parser stumble.
    return 500, f"Unexpected error during processing: {what}\n"


def _ours(text: str) -> str:
    """A text that is not the server's, without what would end the quotes early."""
    return text.replace('"', "'")


def _engine_words(refusal: Refusal, call: Call) -> tuple[int, str]:
    if isinstance(refusal, UnknownJob):
        if call.operation == "updateRequestData":
            return _unexpected("null")
        return 404, f"Request with id: {refusal.job_id} doesn't exist"
    if isinstance(refusal, NotAllowed):
        word = WORDS[refusal.job.state]
        return 400, f"Request data can't be updated when request is in status {word}"
    return status_of(refusal), str(refusal)


def _words(problem: Problem, call: Call) -> tuple[int, str]:
    match problem.kind:
        case Kind.MISSING_BODY:
            return _unexpected("null")
        case Kind.MALFORMED_BODY:
            broken_xml = isinstance(problem, UnreadableXml)
            return _unexpected(
                f"Can't unmarshall input string: {problem.value}" if broken_xml else UNREADABLE
            )
        case Kind.BAD_BODY:
            return _bad_body(problem.pointer.split("/")[1:], call.body)
        case Kind.BAD_PARAMETER:
            return _bad_parameter(problem)
        case Kind.INTERNAL:
            return _unexpected(_ours(problem.detail))
    return problem.status, _ours(problem.detail)


def _bad_parameter(problem: Problem) -> tuple[int, str]:
    """A word for a number is a path that does not exist; the rest goes wrong inside."""
    if problem.pointer == "status":
        given = problem.value if isinstance(problem.value, list) else [problem.value]
        unknown = next((word for word in given if word not in STATES), "")
        return _unexpected(f"No enum constant org.kie.api.executor.STATUS.{unknown}")
    if problem.pointer == "X-KIE-ContentType":
        return _unexpected(problem.detail)
    if problem.pointer == "page" and re.fullmatch(r"-[0-9]{1,10}", str(problem.value)):
        return _unexpected(f"Negative value ({problem.value}) passed to setFirstResult")
    if not problem.pointer:
        return _unexpected(_ours(problem.detail))  # Too many parameters, and none of them to blame.
    return 404, _ours(problem.detail)


def _bad_body(path: list[str], body: Any) -> tuple[int, str]:
    """What the server trips over: each steering key is cast, and nothing else is looked at."""
    if not isinstance(body, dict):
        return _unexpected(UNREADABLE)
    match path:
        case [] | ["job-command"]:
            command = body.get("job-command")
            return _unexpected("null") if command is None else (500, f"Invalid command type {command}")
        case ["request-data", "retries", *_]:
            return _unexpected(f'For input string: "{body["request-data"]["retries"]}"')
        case ["request-data", key, *_] if key in CASTS:
            value = body["request-data"][key]
            if key == "retryDelay" and isinstance(value, str):
                return _unexpected(f"Error parsing time string: [ {value} ]")
            return _unexpected(_cast_error(value, CASTS[key]))
    return _unexpected(UNREADABLE)


def _cast_error(value: Any, wanted: str) -> str:
    names = {bool: "lang.Boolean", float: "lang.Double", str: "lang.String", list: "util.ArrayList"}
    if isinstance(value, dict) and value.keys() == {DATE}:
        name = "util.Date"
    elif type(value) is int:
        name = "lang.Integer" if _fits_int(value) else "lang.Long"
    else:
        name = names.get(type(value), "util.LinkedHashMap")
    return f"java.{name} cannot be cast to java.lang.{wanted}"


def _fits_int(value: int) -> bool:
    return -(2**31) <= value < 2**31


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """Anyone is let in, unless the setting `users` says who is."""
    if not settings["users"]:
        return None
    scheme, _, encoded = (credentials or "").strip().partition(" ")
    if scheme.lower() == "basic" and _decoded(encoded.strip()) in settings["users"]:
        return None
    return Problem(
        Kind.UNAUTHORIZED,
        "Unauthorized",
        where="header",
        pointer="Authorization",
        headers={"WWW-Authenticate": 'Basic realm="KIE Server"'},
    )


def _decoded(encoded: str) -> str | None:
    """`name:password` out of Basic credentials."""
    try:
        return b64decode(encoded, validate=True).decode()
    except (binascii.Error, ValueError):
        return None


api = Api(
    name="jbpm",
    title="jBPM KIE server jobs",
    document="jbpm.yaml",
    rules=Rules(
        # A database sequence; it counts the jobs of all APIs of a world, as other tables do on a real server.
        identify=lambda seed, number: str(number),
        cancel={
            state: CancelEffect.AT_ONCE if state in NOT_BEGUN else CancelEffect.IGNORED for state in State
        },
        retry_by=RetryBy.SAME_JOB,
        retry_in=NOT_BEGUN | {State.RUNNING},
        amend_in=NOT_BEGUN,
        line=Line.DUE_FIRST,
    ),
    words=WORDS,
    cannot=CANNOT,
    error=error,
    authenticate=authenticate,
    settings={
        "date_format": Setting(
            str,
            "iso",
            "how JSON shows dates: as a text (iso), or under the name of their Java class (wrapped)",
            choices=("iso", "wrapped"),
        ),
        "users": Setting(
            list, (), "who may call, each as name:password by Basic credentials; when empty, anyone"
        ),
        "capabilities": Setting(list, tuple(CAPABILITIES), "what the server says it can do"),
        "ready": Setting(bool, True, "when false, the ready check answers 503, and so does the health check"),
        "healthy": Setting(bool, True, "when false, the health check answers 503"),
    },
    codecs={XML: codec},
    # `id` names a container.
    job_id=lambda params: str(params["jobId"]) if "jobId" in params else None,
    status_fields=frozenset({"request-status"}),
    replies_in_request_format=True,
    format_of=format_of,
)


def _conversation(call: Call) -> dict[str, str]:
    """A conversation's id goes back to the client that sent it."""
    text = call.headers.get("x-kie-conversationid")
    return {} if text is None else {"X-KIE-ConversationId": text}


def _reply(call: Call, status: int, body: Any = None) -> Reply:
    if isinstance(body, dict | list) and _wants(call, "fields=not_null"):
        body = _without_nulls(body)
    return Reply(status, body, _conversation(call))


def _dates(call: Call) -> Dates:
    return DATES[call.settings["date_format"]]


def _id(call: Call) -> str:
    return str(call.params["jobId"])


# ---- submitting -----------------------------------------------------------------------------------------------------


@api.operation(Role.SUBMIT)
def scheduleRequest(call: Call) -> Reply:
    """The new job's id and nothing else."""
    number = call.world.apply(_submission(call)).number
    # XML has a name around a bare number anyway.
    return _reply(call, 201, {"value": number} if _wants(call, "strict=true") else number)


def _submission(call: Call) -> Submit:
    """A job as the data asks for it. Some keys steer it and are read once, here; changing the data later changes no more."""
    body: dict[str, Any] = call.body
    command: str = body["job-command"]
    data = _as_sent(body.get("request-data") or {}, call.body_format)
    if call.params.get("containerId"):
        data["deploymentId"] = call.params["containerId"]
    if data.get("retryDelay") is not None:
        data["retryDelay"] = [_millis(text) for text in data["retryDelay"].split(",")]
    process_instance = data.get("processInstanceId")
    labels = {
        "command": command,
        "key": data.get("businessKey"),
        "container": data.get("deploymentId") if data.get("DeploymentId") is None else data["DeploymentId"],
        "process_instance": None if process_instance is None else str(int(process_instance)),
    }
    due_ms = _instant(body.get("scheduled-date"))
    priority = data.get("priority")
    retries = data.get("retries")
    return Submit(
        api=api.name,
        kind=command,
        request=body | {"request-data": data},
        labels=tuple((name, value) for name, value in labels.items() if value is not None),
        priority=5 if priority is None else min(max(int(priority), 0), 9),
        # A date that has passed makes the job due at once, and first in the line.
        delay_ms=0 if due_ms is None else due_ms - call.now_ms,
        retries=3 if retries is None else int(retries),
        retry_delays_ms=tuple(data.get("retryDelay") or ()),
        **_work(command, data),
    )


def _instant(value: Any) -> int | None:
    """The instant that a JSON date means: text, milliseconds, or either under the name of its Java class."""
    wanted = value[DATE] if isinstance(value, dict) else value
    if wanted is None:
        return None
    if not isinstance(wanted, str):
        return int(wanted)
    at_ms = date_ms(wanted)
    if at_ms is None:
        raise Problem(
            Kind.MALFORMED_BODY, f"{wanted!r} is not a date-time", where="body", pointer="/scheduled-date"
        )
    return at_ms


_MILLIS = {"": 1, "ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def _millis(text: str) -> int:
    """A wait such as `1m30s`; a number without a unit is milliseconds."""
    parts = re.findall(r"([0-9]+)(ms|[smhd]?)", text.lower())
    return sum(int(count) * _MILLIS[unit] for count, unit in parts)


# ---- stock commands -------------------------------------------------------------------------------------------------

STOCK = "org.jbpm.executor.commands."
LOG_CLEANUP = f"{STOCK}LogCleanupCommand"
COUNTERS = {
    "SkipExecutorLog": ("ErrorInfoLogsRemoved", "RequestInfoLogsRemoved", "ExecutionErrorInfoLogsRemoved"),
    "SkipTaskLog": ("TaskAuditLogRemoved", "TaskEventLogRemoved", "TaskVariableLogRemoved"),
    "SkipProcessLog": (
        "NodeInstanceLogRemoved",
        "VariableInstanceLogRemoved",
        "ProcessInstanceLogRemoved",
    ),
    "": ("BAMLogRemoved",),
}
"""What a cleanup counts, by the key of its data that spares these logs."""
CLEANUP_TEXTS = (
    *("SkipProcessLog", "SkipTaskLog", "SkipExecutorLog", "DateFormat", "EmfName"),
    *("OlderThan", "OlderThanPeriod", "ForProcess", "ForDeployment", "Status", "SingleRun", "NextRun"),
)
"""Keys of a cleanup's data that it casts to texts, in its order."""
TIME_TEXT = re.compile(
    r" *([0-9]{1,6}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?([0-9]{1,9}(ms)?)? *", re.IGNORECASE
)
LONG = "java.lang.Long"
BOXES = frozenset(
    {LONG}
    | {f"java.lang.{name}" for name in ("Byte", "Short", "Integer", "Float", "Double", "Boolean", "String")}
)


class Work(TypedDict, total=False):
    """What the work itself does, in the words of `Submit` and `Amend`."""

    fails_with: Failure
    lasts_ms: int
    repeat_after_ms: int


def _work(command: str, data: Mapping[str, Any]) -> Work:
    """What a stock command does with this data; any other command does what the scenario says."""
    if command == f"{STOCK}JobExecutionErrorCommand":
        return Work(fails_with=Failure("Throwing error for testing purpose"))
    if command == f"{STOCK}DelayedPrintOutCommand":
        delay = data.get("delay")
        if delay is None:
            return Work(lasts_ms=10_000)
        if isinstance(delay, dict) and type(delay.get(LONG)) is int:
            return Work(lasts_ms=max(delay[LONG], 0))
        # Java reads a small JSON number as an Integer, and this command wants a Long.
        if type(delay) is not int or _fits_int(delay):
            return Work(fails_with=Failure(_cast_error(delay, "Long")))
        return Work(lasts_ms=max(delay, 0))
    if command == f"{STOCK}ReoccurringPrintOutCommand":
        return Work(repeat_after_ms=1_000)
    if command == LOG_CLEANUP:
        return _log_cleanup(data)
    return Work()


def _log_cleanup(data: Mapping[str, Any]) -> Work:
    for key in CLEANUP_TEXTS:
        if not isinstance(data.get(key), str | None):
            return Work(fails_with=Failure(_cast_error(data[key], "String")))
    wrong = _wrong_in_date_pattern(data.get("DateFormat") or "")
    if wrong is not None:
        return Work(fails_with=Failure(wrong))
    if _says_true(data, "SingleRun"):
        return Work()
    next_run = data.get("NextRun")
    if next_run is None:
        return Work(repeat_after_ms=86_400_000)
    if not TIME_TEXT.fullmatch(next_run):
        return Work(fails_with=Failure(f"Error parsing time string: [ {next_run} ]"))
    return Work(repeat_after_ms=max(_millis(next_run), 100))


def _says_true(data: Mapping[str, Any], key: str) -> bool:
    return str(data.get(key)).lower() == "true"


def _wrong_in_date_pattern(pattern: str) -> str | None:
    """Why Java's SimpleDateFormat would refuse this pattern: its letters are few, and quotes come in pairs."""
    unquoted = re.sub(r"'[^']*'", "", pattern)
    if "'" in unquoted:
        return "Unterminated quote"
    wrong = re.search(r"[A-Za-z]", re.sub(r"[GyYMLwWDdFEuaHkKhmsSzZX]", "", unquoted))
    return None if wrong is None else f"Illegal pattern character '{wrong.group()}'"


def _as_sent(data: Mapping[str, Any], body_format: str) -> dict[str, Any]:
    """The data of a body. XML says which numbers are Longs and JSON does not; one command cares, so its one key keeps it."""
    kept = dict(data)
    if body_format in api.codecs and type(kept.get("delay")) is int:
        kept["delay"] = {LONG: kept["delay"]}
    return kept


# ---- one job --------------------------------------------------------------------------------------------------------


@api.operation(Role.STATUS)
def getRequestById(call: Call) -> Reply:
    """One job, with its data and errors if asked for."""
    job = call.world.job(api.name, _id(call))
    view = request_info(
        job, _dates(call), with_errors=_is_true(call, "withErrors"), with_data=_is_true(call, "withData")
    )
    return _reply(call, 200, view)


def _is_true(call: Call, name: str) -> bool:
    """As Java reads a boolean: every word but this one is false."""
    return str(call.params.get(name, "")).lower() == "true"


@api.operation(Role.CANCEL)
def cancelRequest(call: Call) -> Reply:
    """Yes, in any case."""
    try:
        call.world.apply(Cancel(api.name, _id(call)))
    except (UnknownJob, NotAllowed):
        pass
    return _reply(call, 204)


@api.operation(Role.RETRY)
def requeueRequest(call: Call) -> Reply:
    """Yes, in any case: the server logs why it could not and keeps it to itself."""
    try:
        call.world.apply(Retry(api.name, _id(call)))
    except (UnknownJob, NotAllowed):
        pass
    return _reply(call, 201)


@api.operation(Role.AMEND)
def updateRequestData(call: Call) -> Reply:
    """Merge key by key; nothing is removed, and nothing but the data changes."""
    job = call.world.job(api.name, _id(call))
    data = job.request["request-data"] | _as_sent(call.body, call.body_format)
    request = job.request | {"request-data": data}
    call.world.apply(Amend(api.name, job.id, request, **_work(job.kind, data)))
    return _reply(call, 201)


def request_info(
    job: Job, dates: Dates, *, with_errors: bool = False, with_data: bool = False
) -> dict[str, Any]:
    """The wire form of a job: every key is there, null where there is nothing."""
    labels = dict(job.submit.labels)
    return {
        "request-instance-id": job.number,
        "request-status": WORDS[job.state],
        "request-business-key": labels.get("key"),
        "request-message": "Rescheduled reoccurring job" if job.submit.repeat_of else "Ready to execute",
        "request-retries": job.retries_left,
        "request-executions": job.executions,
        "request-command": job.kind,
        "request-scheduled-date": dates(min(max(_scheduled_ms(job), FIRST_MS), LAST_MS)),
        "request-data": _shown_map(job.request["request-data"], dates) if with_data else None,
        "response-data": _shown_map(_response(job), dates) if with_data else None,
        "request-errors": {"error-info-instance": _errors(job, dates)} if with_errors else None,
        "request-container-id": labels.get("container"),
    }


def _scheduled_ms(job: Job) -> int:
    """When it was due; then when it started; then, with a retry delay, when it is due again."""
    at_ms = job.due_ms
    delays = job.submit.retry_delays_ms
    retries = 0
    for move in job.history:
        if move.state is State.RUNNING:
            at_ms = move.at_ms
        elif move.state is State.RETRYING and delays:
            at_ms = move.at_ms + delays[min(retries, len(delays) - 1)]
            retries += 1
    if job.state is State.RETRYING and job.until_ms is not None:
        return job.until_ms
    return at_ms


def _errors(job: Job, dates: Dates) -> list[dict[str, Any]]:
    """One per failed execution, kept also when a later one succeeds."""
    return [
        {
            # Positive and different for every failure of a world.
            "error-instance-id": job.number * 1_000_000 + place,
            "request-instance-id": job.number,
            "error-message": failure.message[:255],
            "error-stacktrace": (failure.details or _stack_trace(job, failure))[:5000],
            "error-date": dates(failure.at_ms),
        }
        for place, failure in enumerate(job.failures, start=1)
    ]


def _stack_trace(job: Job, failure: Failure) -> str:
    return f"java.lang.RuntimeException: {failure.message}\n\tat {job.kind}.execute(Unknown Source)\n"


def _response(job: Job) -> dict[str, Any]:
    if isinstance(job.result, Mapping):
        return dict(job.result)
    if job.kind == LOG_CLEANUP and job.state is State.SUCCEEDED and not job.no_result:
        data = job.request["request-data"]
        return {
            counter: 0
            for skip, counters in COUNTERS.items()
            if not _says_true(data, skip)
            for counter in counters
        }
    return {}


def _shown_map(data: Mapping[str, Any], dates: Dates) -> dict[str, Any]:
    return {key: _shown(item, dates) for key, item in data.items()}


def _shown(value: Any, dates: Dates) -> Any:
    """A value of the data as the server writes it: what came under the name of a simple Java class comes back bare."""
    if isinstance(value, list):
        return [_shown(item, dates) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        [(name, inner)] = value.items()
        if name in BOXES and not isinstance(inner, dict | list):
            return inner
        if name == DATE and isinstance(inner, int | str):
            at_ms = date_ms(inner) if isinstance(inner, str) else inner
            if at_ms is not None and FIRST_MS <= at_ms <= LAST_MS:
                return dates(at_ms)
    return _shown_map(value, dates)


# ---- lists ----------------------------------------------------------------------------------------------------------


@api.operation(Role.LIST)
def getRequestsByStatus(call: Call) -> Reply:
    """Newest first; the queued ones unless other states are asked for."""
    return _page(call, default=("QUEUED",), newest_first=True)


@api.operation(Role.LIST)
def getRequestsByBusinessKey(call: Call) -> Reply:
    """Oldest first, in every state."""
    return _page(call, label=("key", call.params["key"]))


@api.operation(Role.LIST)
def getRequestsByCommand(call: Call) -> Reply:
    """Oldest first, in every state."""
    return _page(call, label=("command", call.params["cmd"]))


@api.operation(Role.LIST)
def getRequestsByContainer(call: Call) -> Reply:
    """Oldest first; the queued ones unless other states are asked for."""
    return _page(call, default=("QUEUED",), label=("container", call.params["id"]))


@api.operation(Role.LIST)
def getRequestsByProcessInstance(call: Call) -> Reply:
    """Oldest first; the queued ones unless other states are asked for."""
    label = ("process_instance", str(call.params["pInstanceId"]))
    return _page(call, default=("QUEUED",), label=label)


def _page(
    call: Call,
    *,
    default: Iterable[str] | None = None,
    label: tuple[str, str] | None = None,
    newest_first: bool = False,
) -> Reply:
    """One page of jobs, never with data or errors; a size of nothing or less is no limit."""
    words = call.params.get("status") or default
    page, size = call.params["page"], call.params["pageSize"]
    jobs = call.world.jobs(
        api.name,
        states=None if words is None else [state for word in words for state in STATES[word]],
        labels=[[label]] if label is not None else [],
        offset=page * size if size > 0 else 0,
        limit=size if size > 0 else None,
        newest_first=newest_first,
    )
    dates = _dates(call)
    return _reply(call, 200, {"request-info-instance": [request_info(job, dates) for job in jobs]})


# ---- the server itself ----------------------------------------------------------------------------------------------


@api.operation(Role.INFO)
def getInfo(call: Call) -> Reply:
    """What Java clients ask first; they talk about jobs only to a server that can do BPM."""
    dates = _dates(call)
    began_ms = call.world.start_ms
    location = f"{call.base_url}/server"
    capabilities = list(call.settings["capabilities"])
    told = (
        f"Server KieServerInfo{{serverId='{SERVER_ID}', version='{VERSION}', name='{SERVER_ID}',"
        f" location='{location}', capabilities=[{', '.join(capabilities)}], messages=null, mode=DEVELOPMENT}}"
        f"started successfully at {iso(began_ms)}"
    )
    # In the order of the XML elements.
    info = {
        "capabilities": capabilities,
        "location": location,
        "messages": [_message("INFO", began_ms, dates, told)],
        "mode": "DEVELOPMENT",
        "name": SERVER_ID,
        "id": SERVER_ID,
        "version": VERSION,
    }
    return _reply(
        call, 200, {"type": "SUCCESS", "msg": "Kie Server info", "result": {"kie-server-info": info}}
    )


@api.operation(Role.INFO)
def readycheck(call: Call) -> Reply:
    """Whether the server has started; the status is all there is to the answer."""
    return _empty_text(call, 200 if call.settings["ready"] else 503)


@api.operation(Role.INFO)
def healthcheck(call: Call) -> Reply:
    """Whether the server and all parts of it are well, and a report about each if asked for."""
    messages = _health(call, _dates(call))
    status = 503 if any(message["severity"] == "ERROR" for message in messages) else 200
    return _reply(call, status, messages) if _is_true(call, "report") else _empty_text(call, status)


def _health(call: Call, dates: Dates) -> list[dict[str, Any]]:
    ready = call.settings["ready"]
    now_ms = call.now_ms
    seconds = (now_ms - call.world.start_ms) // 1000
    up = f"{seconds // 86_400} days {seconds // 3600 % 24} hours {seconds // 60 % 60} minutes {seconds % 60} seconds"
    messages = []
    if not ready:
        wrong = f"KIE Server '{SERVER_ID}' is not ready to serve requests"
        messages.append(_message("ERROR", now_ms, dates, wrong))
    state = f"KIE Server '{SERVER_ID}' is ready to serve requests {str(ready).lower()}"
    messages.append(_message("INFO", now_ms, dates, state, f"Server is up for {up}"))
    if not call.settings["healthy"]:
        messages.append(_message("ERROR", now_ms, dates, "KIE Container 'understudy' is in FAILED state"))
    for capability in call.settings["capabilities"]:
        extension = CAPABILITIES.get(capability, capability)
        messages.append(_message("INFO", now_ms, dates, f"{extension} is alive"))
    return messages


def _message(severity: str, at_ms: int, dates: Dates, *content: str) -> dict[str, Any]:
    return {"content": list(content), "severity": severity, "timestamp": dates(at_ms)}


def _empty_text(call: Call, status: int) -> Reply:
    return Reply(status, b"", _conversation(call), media_type="text/plain")
