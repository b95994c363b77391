"""Illumina ICA v1 task runs: a container is launched, followed, listed and aborted; an ended run never changes again.

Words and tables: the ICA sheet. Fields without a value are left out, never null. A run is created directly or launched from a
version of a task; the latter are in `ica_tasks`.

Who may do what is up to the settings: `tokens` that are good, some of which may only read, and those of another project,
which may do nothing here: this server has only the one. A token may be old after a while. Without a good one it is 401,
whatever else is wrong; with one that does not cover the call 403, whether or not there is such a run. That a token may only
read is found out once the request has been read, so one that breaks the document is 400 first.

Deliberately not here: reading property names in any case, as the service seems to do; ours must be written as documented. A
run that timed out is `Failed`; the word `TimedOut` belongs to the service's own agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from simulator.apis import ica_tasks as tasks
from simulator.apis.contract import (
    Api,
    Call,
    Kind,
    Problem,
    Refusal,
    Reply,
    Role,
    Setting,
    has_expired,
    iso,
    status_of,
)
from simulator.apis.ica_pages import Wanted, page, wanted_page
from simulator.apis.ica_parts import owner_of, prepared, shown_execution, to_base64, to_json
from simulator.engine.command import Cancel, Submit
from simulator.engine.draw import draw_bytes, draw_hex
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import FINAL, Job, State
from simulator.engine.rules import Rules
from simulator.engine.shelf import Label
from simulator.engine.world import World

WORDS = {
    State.DELAYED: "Pending",
    State.QUEUED: "Pending",
    State.RUNNING: "Running",
    State.RETRYING: "Running",
    State.CANCELLING: "Running",
    State.SUCCEEDED: "Completed",
    State.FAILED: "Failed",
    State.CANCELLED: "Aborted",
}
CANNOT = {
    "progress": "shows no progress",
    "delayed": "has no word for delayed: such a run is Pending",
    "retrying": "has no word for retrying: such a run is Running, and retryCount tells which attempt it is",
    "cancelling": "has no word for cancelling: such a run is Running",
    "result": "has no results: a run writes files",
    "log": "tells where the logs are, not what they say",
    "retry": "has no call that runs a job again",
}
"""What scenarios can say and this API cannot."""
CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    409: "Conflict",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
ATTEMPT_BEGINS = frozenset({State.RUNNING, State.RETRYING, State.SUCCEEDED, State.FAILED})
"""Where the log of an attempt begins at the latest: a script may skip the running, and what was done has a log all the same."""
ATTEMPT_ENDS = FINAL | {State.RETRYING}
SYSTEM_LOGS = "/var/log/tessystemlogs"
KINDS_OF_TOKENS = ("tokens", "read_only_tokens", "foreign_tokens")
TOKEN_LASTS_MS = 3_600_000
WORD_CHARACTERS_MAX = 255
DETAILS_CHARACTERS_MAX = 4096


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"code", "message"[, "details"]}`; when the service itself broke, the code is empty."""
    if isinstance(refusal, NotAllowed):
        message = f"The run is {WORDS[refusal.job.state]} and cannot be aborted."
        return Reply(400, {"code": CODES[400], "message": message})
    if isinstance(refusal, UnknownJob):
        return Reply(404, {"code": CODES[404], "message": f"There is no run {refusal.job_id}."})
    if isinstance(refusal, tasks.Unknown):
        return Reply(404, {"code": CODES[404], "message": str(refusal)})
    if isinstance(refusal, tasks.Taken):
        return Reply(409, {"code": CODES[409], "message": str(refusal)})
    status = status_of(refusal)
    body: dict[str, Any] = {"code": CODES.get(status, ""), "message": str(refusal)}
    if not isinstance(refusal, Problem):
        return Reply(status, body)
    if refusal.kind is Kind.BAD_BODY:
        body |= {"message": "The request is not valid.", "details": [refusal.detail]}
    return Reply(status, body, refusal.headers)


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """`Bearer ` and something behind it that is good, not too old, and of this project."""
    token = _token_in(credentials)
    if not token or (settings["tokens"] and not any(token in settings[kind] for kind in KINDS_OF_TOKENS)):
        return _unauthorized("A valid token is needed.")
    lifetime_ms = settings["token_lifetime"]
    if lifetime_ms is not None and has_expired(world, api.name, token, lifetime_ms):
        return _unauthorized("The token has expired.")
    if token in settings["foreign_tokens"]:
        return _forbidden("The token belongs to another project.")
    return None


def _token_in(credentials: str | None) -> str:
    """The token of an Authorization header; empty without one."""
    scheme, _, token = (credentials or "").partition(" ")
    return token.strip() if scheme == "Bearer" else ""


def _unauthorized(why: str) -> Problem:
    return Problem(
        Kind.UNAUTHORIZED,
        why,
        where="header",
        pointer="Authorization",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _forbidden(why: str) -> Problem:
    return Problem(Kind.FORBIDDEN, why, where="header", pointer="Authorization")


def _require_writer(call: Call) -> None:
    """Refuse a token that may only read.

    Raises:
        Problem: FORBIDDEN.
    """
    readers = call.settings["read_only_tokens"]
    if readers and _token_in(call.headers.get("authorization")) in readers:
        raise _forbidden("The token may only read.")


api = Api(
    name="ica",
    title="ICA task runs",
    document="ica.yaml",
    rules=Rules(identify=lambda seed, number: f"trn.{draw_hex(seed, 'ica', number)}"),
    words=WORDS,
    cannot=CANNOT,
    error=error,
    authenticate=authenticate,
    status_fields=frozenset({"status"}),
    settings={
        "tokens": Setting(list, (), "the tokens that are good; when empty, any is"),
        "read_only_tokens": Setting(
            list, (), "good tokens that may only read: 403 on what changes something"
        ),
        "foreign_tokens": Setting(list, (), "good tokens of another project: 403 on every call"),
        "token_lifetime": Setting(timedelta, None, "a token is 401 so long after its first use"),
        "failed_logs": Setting(
            str,
            "complete",
            "the logs of a failed run: complete, without the urls of their texts, or missing",
            choices=("complete", "without_urls", "missing"),
        ),
        "ignore_case": Setting(
            bool, False, "properties of requests are read in any case, as the real service seems to do"
        ),
    },
    prepare=prepared,
)


# ---- runs -----------------------------------------------------------------------------------------------------------


@api.operation(Role.SUBMIT)
def CreateTaskRun(call: Call) -> Reply:
    """A new run; the body and everything in it is optional."""
    _require_writer(call)
    request = call.body or {}
    image = request.get("execution", {}).get("image", {})
    command = Submit(api=api.name, kind=image.get("name", ""), request=request, labels=_labels(request))
    return Reply(201, task_run(call.world.apply(command), call))


@api.operation(Role.STATUS)
def GetTaskRun(call: Call) -> Reply:
    """One run with what it executes and its logs."""
    return Reply(200, task_run(call.world.job(api.name, call.params["runId"]), call))


@api.operation(Role.CANCEL)
def AbortTaskRun(call: Call) -> Reply:
    """Aborted, or still in the old status while a scenario lets the run stop slowly or not at all."""
    _require_writer(call)
    return Reply(200, summary(call.world.apply(Cancel(api.name, call.params["runId"])), call))


@api.operation(Role.TOUCH)
def HeartbeatTaskRun(call: Call) -> Reply:
    """A fresh token for the agent, whatever the run's status; the run does not change."""
    _require_writer(call)
    job = call.world.job(api.name, call.params["runId"])
    return Reply(200, {"jwt": _jwt(job, call)})


@api.operation(Role.LIST)
def ListTaskRuns(call: Call) -> Reply:
    """One page of runs; a token brings everything about its page along and wins over the other parameters."""
    wanted = wanted_page(call, "runs", ("status", *LABELS))
    jobs, total = _found(wanted, call)
    return Reply(200, page(wanted, [summary(job, call) for job in jobs], total, call))


# ---- tasks and their versions ---------------------------------------------------------------------------------------


@api.operation(Role.INFO)
def ListTasks(call: Call) -> Reply:
    """One page of tasks."""
    wanted = wanted_page(call, "tasks", ("names", "acls"))
    return Reply(200, page(wanted, *tasks.listed_tasks(wanted, call), call))


@api.operation(Role.AMEND)
def CreateTask(call: Call) -> Reply:
    """A new task, with versions when some came along."""
    _require_writer(call)
    return Reply(201, tasks.shown_task(tasks.add_task(call.body, call.world), call))


@api.operation(Role.INFO)
def GetTask(call: Call) -> Reply:
    """One task, without its versions."""
    return Reply(200, tasks.shown_task_summary(call.params["taskId"], call))


@api.operation(Role.AMEND)
def UpdateTask(call: Call) -> Reply:
    """What the request names is replaced; runs launched earlier do not change."""
    _require_writer(call)
    task_id = call.params["taskId"]
    tasks.amend_task(task_id, call.body or {}, call.world)
    return Reply(200, tasks.shown_task(task_id, call))


@api.operation(Role.INFO)
def ListTaskVersions(call: Call) -> Reply:
    """One page of a task's versions."""
    task_id = call.params["taskId"]
    wanted = wanted_page(call, f"versions of {task_id}", ("versions", "ids", "acls"))
    return Reply(200, page(wanted, *tasks.listed_versions(task_id, wanted, call), call))


@api.operation(Role.AMEND)
def CreateTaskVersion(call: Call) -> Reply:
    """A new version of a task."""
    _require_writer(call)
    task_id = call.params["taskId"]
    version_id = tasks.add_version(task_id, call.body, call.world)
    return Reply(201, tasks.shown_version(task_id, version_id, call))


@api.operation(Role.INFO)
def GetTaskVersion(call: Call) -> Reply:
    """One version with what it executes."""
    return Reply(200, tasks.shown_version(call.params["taskId"], call.params["versionId"], call))


@api.operation(Role.AMEND)
def UpdateTaskVersion(call: Call) -> Reply:
    """What the request names is replaced as a whole; runs launched earlier keep what they execute."""
    _require_writer(call)
    task_id, version_id = call.params["taskId"], call.params["versionId"]
    tasks.amend_version(task_id, version_id, call.body or {}, call.world)
    return Reply(200, tasks.shown_version(task_id, version_id, call))


@api.operation(Role.SUBMIT)
def LaunchTaskRun(call: Call) -> Reply:
    """A new run of what a version says, with an argument in the place of each placeholder."""
    _require_writer(call)
    task_id, version_id = call.params["taskId"], call.params["versionId"]
    request = tasks.run_request(task_id, version_id, call.body or {}, call.world)
    image = request.get("execution", {}).get("image", {})
    command = Submit(
        api=api.name,
        kind=image.get("name", ""),
        request=request,
        labels=(*_labels(request), ("version", version_id)),
        facts={"task": task_id, "version": version_id},
    )
    return Reply(201, task_run(call.world.apply(command), call))


# ---- what is shown of a run -----------------------------------------------------------------------------------------


def summary(job: Job, call: Call) -> dict[str, Any]:
    """The wire form of a run in lists and as the answer to an abort."""
    owner = owner_of(call.world.seed)
    request: dict[str, Any] = job.request
    name = request.get("name")
    view = {
        "id": job.id,
        "href": f"{call.base_url}/v1/tasks/runs/{job.id}",
        "urn": owner.urn("taskrun", job.id, name),
        "status": WORDS[job.state],
        "acl": request.get("acl") or list(owner.acl),
        "tenantId": owner.tenant,
        "subTenantId": owner.workgroup,
        "createdBy": owner.user,
        "timeCreated": iso(job.created_ms),
        "timeModified": iso(job.since_ms),
    }
    if name:
        view["name"] = name
    if description := request.get("description"):
        view["description"] = description
    if details := _details(job):
        view["statusDetails"] = details[:DETAILS_CHARACTERS_MAX]
    resources = request.get("execution", {}).get("environment", {}).get("resources", {})
    for word in ("type", "size", "tier"):
        if resources.get(word):
            view[f"{word}OfResource"] = resources[word][:WORD_CHARACTERS_MAX]
    launched = job.submit.facts
    if launched is not None:
        view["taskVersionSummary"] = tasks.shown_version_summary(launched["task"], launched["version"], call)
    return view


def task_run(job: Job, call: Call) -> dict[str, Any]:
    """The wire form of a single run."""
    view = summary(job, call)
    view["execution"] = shown_execution(job.request, job.attempt - 1)
    logs = _logs(job, call.settings["failed_logs"])
    if logs:
        view["logs"] = logs
    return view


def _details(job: Job) -> str:
    """Why it failed, or what it says that it is doing."""
    if job.state is State.FAILED and job.failure is not None:
        return job.failure.message
    # What it said last is not why it was aborted.
    return "" if job.state is State.CANCELLED else job.message or ""


def _logs(job: Job, of_failed: str) -> list[dict[str, Any]]:
    """One line per attempt, from its start; urls of its texts once it has ended."""
    has_begun = job.started_ms is not None or job.executions
    if not has_begun or job.no_log or (job.state is State.FAILED and of_failed == "missing"):
        return []
    has_urls = job.state is not State.FAILED or of_failed == "complete"
    lines: list[dict[str, Any]] = []
    failures = iter(job.failures)
    is_open, before = False, None
    for state, at_ms in zip(job.moves[::3], job.moves[1::3], strict=True):
        if state is before:
            continue
        before = state
        if not is_open and state in ATTEMPT_BEGINS:
            lines.append({"startTime": iso(at_ms)})
            is_open = True
        if is_open and state in ATTEMPT_ENDS:
            line = lines[-1]
            line["endTime"] = iso(at_ms)
            if state in (State.RETRYING, State.FAILED) and (failure := next(failures, None)) is not None:
                line["error"] = "".join(part.capitalize() for part in failure.code.split("_"))
                if reason := failure.details or failure.message:
                    line["errorDetails"] = reason
            if has_urls:
                where, number = f"{_log_folder(job.request)}/{job.id}", len(lines) - 1
                line |= {"stdout": f"{where}/stdout-{number}.log", "stderr": f"{where}/stderr-{number}.log"}
            is_open = False
    return lines


def _log_folder(request: dict[str, Any]) -> str:
    """Where the request wants the system's logs; users look for them there."""
    for output in request.get("execution", {}).get("outputs", ()):
        if output.get("path") == SYSTEM_LOGS and output.get("url"):
            return str(output["url"]).rstrip("/")
    return "gds://understudy/logs"


def _jwt(job: Job, call: Call) -> str:
    """A token in the form of a real one, good as long as tokens are here; its signature is not one."""
    seed, now_ms = call.world.seed, call.now_ms
    lifetime_ms = call.settings["token_lifetime"] or TOKEN_LASTS_MS
    claims = {"sub": job.id, "iat": now_ms // 1000, "exp": (now_ms + lifetime_ms) // 1000}
    signature = draw_bytes(seed, "ica", "jwt", job.number, now_ms)
    return ".".join(
        [to_base64(to_json({"alg": "HS256", "typ": "JWT"})), to_base64(to_json(claims)), to_base64(signature)]
    )


# ---- finding runs ---------------------------------------------------------------------------------------------------

LABELS = {"names": "name", "versions": "version", "acls": "acl"}
"""Which label of a run a filter asks for."""
OWN_ACL = ("acl", "")
"""Label of the runs whose access list is the caller's own, so that the usual run has but one label, and all the same."""

ORDERS: dict[str, Callable[[Job], Any]] = {
    "name": lambda job: job.request.get("name", ""),
    "status": lambda job: WORDS[job.state],
    "timeModified": lambda job: job.since_ms,
}
"""What runs are sorted by; the other field, timeCreated, is the order in which they were made."""


def _labels(request: dict[str, Any]) -> tuple[Label, ...]:
    name = request.get("name")
    named = (("name", name),) if name else ()
    acl = request.get("acl")
    return named + (tuple(("acl", entry) for entry in dict.fromkeys(acl)) if acl else (OWN_ACL,))


def _found(wanted: Wanted, call: Call) -> tuple[list[Job], int]:
    """The runs of a page, and how many there are on all pages."""
    world = call.world
    field, is_descending = wanted.order
    words = wanted.any_of("status")
    states = _states(words) if words else None
    labels = _label_groups(wanted, call.world.seed)
    order = ORDERS.get(field)
    if order is None:
        jobs = world.jobs(
            api.name,
            states=states,
            labels=labels,
            offset=wanted.offset,
            limit=wanted.size,
            newest_first=is_descending,
        )
        return jobs, world.count(api.name, states=states, labels=labels)
    if states is None and not labels:
        jobs = world.jobs_sorted_by(
            api.name, field, order, offset=wanted.offset, limit=wanted.size, descending=is_descending
        )
        return jobs, world.count(api.name)
    found = world.jobs(api.name, states=states, labels=labels)
    found.sort(key=lambda job: (order(job), job.number), reverse=is_descending)
    return found[wanted.offset : wanted.offset + wanted.size], len(found)


def _states(words: list[str]) -> list[State]:
    """The states behind status words, in upper or lower case; a word that nobody knows has none."""
    folded = {word.strip().casefold() for word in words}
    return [state for state, word in WORDS.items() if word.casefold() in folded]


def _label_groups(wanted: Wanted, seed: int) -> list[list[Label]]:
    groups = [
        [(label, entry) for entry in entries]
        for parameter, label in LABELS.items()
        if (entries := wanted.any_of(parameter))
    ]
    for group in groups:
        if any(("acl", entry) in group for entry in owner_of(seed).acl):
            group.append(OWN_ACL)
    return groups
