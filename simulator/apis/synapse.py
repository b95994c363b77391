"""Synapse's asynchronous jobs: three states, a cancel that is a GET and only sets a flag, ids that are numbers in strings.

Words and tables: the Synapse sheet. A job goes through `PROCESSING` to `COMPLETE` or `FAILED` and there is no word for a
cancelled one, so where a scenario does cancel a job it ends `FAILED` and says why. Values that do not exist are left out,
never null. Results are not stored: they are a function of the seed, the job's number and its request.

Deliberately not here: the start/get pairs under tables, and the tables themselves; a made result fits its request and
nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import blake2b
from json import dumps
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
from simulator.engine.draw import draw_between, draw_uuid
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import Rules
from simulator.engine.script import CancelEffect
from simulator.engine.world import World

WORDS = {
    State.DELAYED: "PROCESSING",
    State.QUEUED: "PROCESSING",
    State.RUNNING: "PROCESSING",
    State.RETRYING: "PROCESSING",
    State.CANCELLING: "PROCESSING",
    State.SUCCEEDED: "COMPLETE",
    State.FAILED: "FAILED",
    State.CANCELLED: "FAILED",
}
TABLE = "org.sagebionetworks.repo.model.table."
REALM = 'Bearer realm="Synapse Repository Services"'
TEXT_CHARACTERS_MAX = 3000
NESTING_MAX = 200
WAITING = "Waiting for the table to become available."
CANCELLED = Failure("The job was cancelled.", code="java.util.concurrent.CancellationException")

ILLEGAL_ARGUMENT = "java.lang.IllegalArgumentException"
STOPPED = frozenset({State.CANCELLING, State.CANCELLED})
NO_MORE_PROGRESS = frozenset({State.CANCELLING, State.FAILED, State.CANCELLED})

EXCEPTIONS = {
    "not_found": "org.sagebionetworks.repo.web.NotFoundException",
    "unauthorized": "org.sagebionetworks.repo.model.UnauthorizedException",
    "forbidden": "org.sagebionetworks.repo.model.UnauthorizedException",
    "conflict": "org.sagebionetworks.repo.model.ConflictingUpdateException",
    "internal": "java.lang.IllegalStateException",
    "crashed": "java.lang.IllegalStateException",
    "out_of_memory": "java.lang.IllegalStateException",
    "timeout": "java.lang.IllegalStateException",
}
"""Our failure codes → what the service would have thrown; a code with a dot in it is a class name already."""

RESULTS = {
    "DownloadFromTableRequest": "DownloadFromTableResult",
    "QueryBundleRequest": "QueryResultBundle",
    "QueryNextPageToken": "QueryResult",
    "TableUpdateTransactionRequest": "TableUpdateTransactionResponse",
    "UploadToTableRequest": "UploadToTableResult",
    "UploadToTablePreviewRequest": "UploadToTablePreviewResult",
}
CHANGE_RESULTS = {
    "UploadToTableRequest": "UploadToTableResult",
    "AppendableRowSetRequest": "RowReferenceSetResults",
    "TableSchemaChangeRequest": "TableSchemaChangeResponse",
}
PARTS = {
    "queryResult": 0x1,
    "queryCount": 0x2,
    "selectColumns": 0x4,
    "maxRowsPerPage": 0x8,
    "columnModels": 0x10,
    "facets": 0x20,
    "sumFileSizes": 0x40,
    "lastUpdatedOn": 0x80,
    "combinedSql": 0x100,
    "actionsRequired": 0x200,
}
"""The bit of a query's `partMask` that asks for a part of its result."""
CACHEABLE = frozenset(
    TABLE + name for name in ("DownloadFromTableRequest", "QueryBundleRequest", "QueryNextPageToken")
)
NOT_IN_MADE_RESULTS = frozenset(
    {"nextPageToken", "failureCode", "failureMessage"}
    | {"defaultValue", "enumValues", "facetType", "jsonSubColumns", "maximumListLength"}
)
"""A made result is one page, all of it went well, and its columns hold plain strings."""


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"concreteType", "reason"}`; whatever the client did wrong with a job is a 400 here."""
    headers = refusal.headers if isinstance(refusal, Problem) else {}
    status = 400 if isinstance(refusal, NotAllowed) else status_of(refusal)
    reason = str(refusal)
    if isinstance(refusal, UnknownJob):
        reason = f"The job '{refusal.job_id}' does not exist."
    return Reply(
        status, {"concreteType": "org.sagebionetworks.repo.model.ErrorResponse", "reason": reason}, headers
    )


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """A bearer token; none at all is refused, or is anonymous as on the real service, as the scenario likes."""
    scheme, _, token = (credentials or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        if settings["no_token"] == "anonymous":
            return None
        return _unauthorized("An access token is needed: Authorization: Bearer <token>.")
    if settings["tokens"] and token.strip() not in settings["tokens"]:
        return _unauthorized("The access token is not valid.")
    return None


def _unauthorized(reason: str) -> Problem:
    return Problem(
        Kind.UNAUTHORIZED,
        reason,
        where="header",
        pointer="Authorization",
        headers={"WWW-Authenticate": REALM},
    )


api = Api(
    name="synapse",
    title="Synapse asynchronous jobs",
    document="synapse.yaml",
    rules=Rules(
        # Seven digits, as long as a world holds no more jobs than it may by default.
        identify=lambda seed, number: str(
            draw_between(1_000_000, 8_999_999, seed, "synapse", "ids") + number
        ),
        cancel=dict.fromkeys(State, CancelEffect.FLAG),
    ),
    words=WORDS,
    error=error,
    authenticate=authenticate,
    settings={
        "tokens": Setting(list, (), "the access tokens that are good; when empty, any is"),
        "no_token": Setting(
            str,
            "refused",
            "what a call without a token is: a 401 (refused), or one by an anonymous user (anonymous)",
            choices=("refused", "anonymous"),
        ),
        "reuse_results": Setting(
            bool,
            False,
            "a download or query that was COMPLETE before is not run again: the launch answers with the old job",
        ),
    },
)


@api.operation(Role.SUBMIT)
def LaunchNewJob(call: Call) -> Reply:
    """A new job, or with `reuse_results` the latest one that has completed the same request."""
    request = _without_nulls(call.body)
    kind = request["concreteType"]
    labels: tuple[tuple[str, str], ...] = ()
    if call.settings["reuse_results"] and kind in CACHEABLE:
        labels = (("request", _digest(request)),)
        same = call.world.jobs(
            api.name, states=[State.SUCCEEDED], labels=[labels], limit=1, newest_first=True
        )
        if same:
            return Reply(201, job_status(same[0], call))
    job = call.world.apply(Submit(api=api.name, kind=kind, request=request, labels=labels))
    return Reply(201, job_status(job, call))


@api.operation(Role.STATUS)
def GetJobStatus(call: Call) -> Reply:
    """200 for failed jobs, too."""
    return Reply(200, job_status(call.world.job(api.name, _job_id(call)), call))


@api.operation(Role.CANCEL)
def StopJob(call: Call) -> Reply:
    """Set the flag; the job goes on."""
    call.world.apply(Cancel(api.name, _job_id(call)))
    return Reply(204)


def _job_id(call: Call) -> str:
    """The id as we write it: the service reads a number, so leading zeros do not count."""
    return str(int(call.params["jobId"]))


def _digest(request: dict[str, Any]) -> str:
    return blake2b(dumps(request, sort_keys=True).encode(), digest_size=16).hexdigest()


def _without_nulls(value: Any, depth: int = 0) -> Any:
    """A request as the service keeps it: a field that is null is a field that is not there.

    Raises:
        Problem: it nests so deeply that no answer could hold it.
    """
    if depth > NESTING_MAX:
        raise Problem(Kind.BAD_BODY, f"the request nests more than {NESTING_MAX} levels deep", where="body")
    if isinstance(value, dict):
        return {name: _without_nulls(part, depth + 1) for name, part in value.items() if part is not None}
    if isinstance(value, list):
        return [_without_nulls(part, depth + 1) for part in value]
    return value


# ---- status -----------------------------------------------------------------------------------------------------


def job_status(job: Job, call: Call) -> dict[str, Any]:
    """The wire form of a job."""
    seed = call.world.seed
    word = WORDS[job.state]
    changed_ms = job.changed_ms(call.now_ms)
    reported_ms = changed_ms
    if job.state in NO_MORE_PROGRESS and job.reported_ms is not None:
        reported_ms = job.reported_ms
    progress = _progress(job, call.now_ms)
    status: dict[str, Any] = {
        "jobId": job.id,
        "jobState": word,
        "jobCanceling": job.cancel_requested or job.state in STOPPED,
        "requestBody": job.request,
        # Another one for each word: it changes when a job is complete or failed, not with progress or cancelling.
        "etag": draw_uuid(seed, "synapse", "etag", job.number, word),
        "startedByUserId": draw_between(1_000_000, 9_999_999, seed, "synapse", "user"),
        "startedOn": iso(job.created_ms),
        # To be asked to stop is no change.
        "changedOn": iso(reported_ms if job.state is State.CANCELLING else changed_ms),
        **progress,
        "runtimeMS": reported_ms - job.created_ms if progress else 0,
    }
    if word == "COMPLETE":
        status["responseBody"] = _response_body(job, call)
    if word == "FAILED":
        status |= _failure(job)
    return status


def _progress(job: Job, now_ms: int) -> dict[str, Any]:
    """All three fields or none: a client that finds a message computes with the numbers."""
    percent = job.progress_percent(now_ms)
    if job.state is State.SUCCEEDED:
        numbers = {"progressCurrent": 100, "progressTotal": 100} if percent is not None else {}
        return {**numbers, "progressMessage": "Complete"}
    if job.state is State.RETRYING:
        return {
            "progressCurrent": 0,
            "progressTotal": 100,
            "progressMessage": _cut(_step_message(job) or WAITING),
        }
    if percent is None:
        return {}
    message = job.message or "Processing"
    return {"progressCurrent": percent, "progressTotal": 100, "progressMessage": _cut(message)}


def _step_message(job: Job) -> str | None:
    """What the present step itself says, not what an earlier one said."""
    steps = job.part.script.steps
    return steps[job.step].message if 0 <= job.step < len(steps) else None


def _failure(job: Job) -> dict[str, Any]:
    failure = job.failure or CANCELLED
    is_class = "." in failure.code
    exception = failure.code if is_class else EXCEPTIONS.get(failure.code, ILLEGAL_ARGUMENT)
    message = " ".join(failure.message.splitlines())
    fields = {
        "exception": exception,
        "errorDetails": failure.details or _stack_trace(exception, message, job),
    }
    if message:
        fields["errorMessage"] = _cut(message)
    return fields


def _stack_trace(exception: str, message: str, job: Job) -> str:
    work = _short_name(job.kind).removesuffix("Request")
    head = f"{exception}: {message}" if message else exception
    return (
        f"{head}\n"
        f"\tat understudy.work.{work}.run({work}.java:{40 + len(work)})\n"
        "\tat understudy.work.Worker.next(Worker.java:31)\n"
    )


def _cut(text: str) -> str:
    """The service keeps 3000 characters, and when that is not enough, 2999."""
    return text if len(text) <= TEXT_CHARACTERS_MAX else text[: TEXT_CHARACTERS_MAX - 1]


# ---- results ----------------------------------------------------------------------------------------------------


def _short_name(concrete_type: str) -> str:
    return concrete_type.rpartition(".")[2]


def _response_body(job: Job, call: Call) -> dict[str, Any]:
    """What the scenario says the result is, else one made for the request."""
    kind = _short_name(job.kind)
    concrete_type = (
        TABLE + RESULTS[kind] if kind in RESULTS else job.kind.removesuffix("Request") + "Response"
    )
    if isinstance(job.result, dict):
        return {"concreteType": concrete_type, **_without_nulls(job.result)}
    if job.result is not None:
        return {"concreteType": concrete_type, "result": job.result}
    schema_name = RESULTS.get(kind, "GenericJobResponse")
    made = call.sampler.make(schema_name, call.world.seed, api.name, job.number)
    result: dict[str, Any] = _fitted(made, _table(job.request))
    result["concreteType"] = concrete_type
    fit = FIT.get(kind)
    if fit is not None:
        fit(result, job, call)
    return result


def _table(request: Any) -> str | None:
    """The table a request is about."""
    if isinstance(request, dict):
        for name in ("entityId", "tableId"):
            if isinstance(request.get(name), str):
                return str(request[name])
    return None


def _fitted(value: Any, table: str | None) -> Any:
    """A made value on the request's table, with as many cells in each row as there are columns.

    All columns hold strings: clients convert cells by the type of their column, and any text is a good string.
    """
    if isinstance(value, list):
        return [_fitted(part, table) for part in value]
    if not isinstance(value, dict):
        return value
    fitted = {name: _fitted(part, table) for name, part in value.items() if name not in NOT_IN_MADE_RESULTS}
    if "columnType" in fitted:
        fitted["columnType"] = "STRING"
    for name in ("tableId", "entityId"):
        if name in fitted and table is not None:
            fitted[name] = table
    columns = fitted.get("headers") or fitted.get("suggestedColumns") or fitted.get("schema") or []
    for number, column in enumerate(columns, 1):
        column |= {"id": str(300 + number), "name": f"{column['name']}_{number}"}
    for number, row in enumerate(fitted.get("rows") or fitted.get("sampleRows") or [], 1):
        row |= {"rowId": number, "versionNumber": 1}
        if "values" in row:
            row["values"] = _cells(row["values"], len(columns))
    return fitted


def _cells(values: list[str], count: int) -> list[str]:
    """Exactly `count` of them, the same ones again when there are too few."""
    return [values[index % len(values)] if values else "" for index in range(count)]


def _fit_download(result: dict[str, Any], job: Job, call: Call) -> None:
    """Each download has its own file."""
    file = draw_between(1_000_000, 9_999_999, call.world.seed, "synapse", "file", job.number)
    result["resultsFileHandleId"] = str(file)


def _fit_query(result: dict[str, Any], job: Job, call: Call) -> None:
    """Only the parts asked for, in agreement with each other and with the query."""
    rows = result.get("queryResult", {}).get("queryResults", {})
    query = job.request.get("query")
    if "rows" in rows:
        result["queryCount"] = len(rows["rows"])
        result["selectColumns"] = rows["headers"]
        result["columnModels"] = [{**column, "maximumSize": 50} for column in rows["headers"]]
    result |= {"lastUpdatedOn": iso(job.created_ms), "facets": [], "actionsRequired": []}
    if isinstance(query, dict) and isinstance(query.get("sql"), str):
        result["combinedSql"] = query["sql"]
    mask = job.request.get("partMask")
    if isinstance(mask, int):
        for part, bit in PARTS.items():
            if not mask & bit:
                result.pop(part, None)


def _fit_transaction(result: dict[str, Any], job: Job, call: Call) -> None:
    """One result per change, and a version only when a snapshot was asked for."""
    changes = job.request.get("changes")
    table = _table(job.request)
    result["results"] = [
        _change_result(change, index, table, job, call)
        for index, change in enumerate(changes if isinstance(changes, list) else ())
    ]
    if str(job.request.get("createSnapshot")).lower() == "true":
        result.setdefault("snapshotVersionNumber", 1)
    else:
        result.pop("snapshotVersionNumber", None)


def _change_result(change: Any, index: int, table: str | None, job: Job, call: Call) -> dict[str, Any]:
    kind = _short_name(str(change.get("concreteType"))) if isinstance(change, dict) else ""
    schema_name = CHANGE_RESULTS.get(kind, "EntityUpdateResults")
    made = call.sampler.make(schema_name, call.world.seed, api.name, job.number, index)
    result: dict[str, Any] = _fitted(made, table or _table(change))
    return result


def _fit_preview(result: dict[str, Any], job: Job, call: Call) -> None:
    """No fewer rows looked at than shown."""
    result["rowsScanned"] = max(result["rowsScanned"], len(result["sampleRows"]))


FIT: dict[str, Callable[[dict[str, Any], Job, Call], None]] = {
    "DownloadFromTableRequest": _fit_download,
    "QueryBundleRequest": _fit_query,
    "TableUpdateTransactionRequest": _fit_transaction,
    "UploadToTablePreviewRequest": _fit_preview,
}
