"""Illumina ICA v1 task runs: a container is launched, followed, listed and aborted; an ended run never changes again.

Words and tables: the ICA sheet. Fields without a value are left out, never null: known clients go on paging while the key
`nextPageToken` is there. What comes back of a request are the fields that the service knows, with their defaults, and none
of the secrets: no passwords, no storage credentials.

Deliberately not here: tasks and their versions, so no run was launched from one. A run that timed out is `Failed`; the
word `TimedOut` belongs to the service's own agents.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
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
from simulator.engine.draw import draw_bytes, draw_hex, draw_uuid
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import Job, State
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
CODES = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    405: "MethodNotAllowed",
    406: "NotAcceptable",
    413: "PayloadTooLarge",
    414: "UriTooLong",
    415: "UnsupportedMediaType",
    429: "TooManyRequests",
    503: "ServiceUnavailable",
}
LOGGED = frozenset({State.SUCCEEDED, State.FAILED})
REGION = "aps2"
SYSTEM_LOGS = "/var/log/tessystemlogs"
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
    status = status_of(refusal)
    body: dict[str, Any] = {"code": CODES.get(status, ""), "message": str(refusal)}
    if not isinstance(refusal, Problem):
        return Reply(status, body)
    if refusal.kind is Kind.BAD_BODY:
        body |= {"message": "The request is not valid.", "details": [refusal.detail]}
    return Reply(status, body, refusal.headers)


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """`Bearer ` and something behind it; with the setting `tokens`, one of these."""
    scheme, _, token = (credentials or "").partition(" ")
    token = token.strip()
    if scheme == "Bearer" and token and (not settings["tokens"] or token in settings["tokens"]):
        return None
    return Problem(
        Kind.UNAUTHORIZED,
        "A valid token is needed.",
        where="header",
        pointer="Authorization",
        headers={"WWW-Authenticate": "Bearer"},
    )


api = Api(
    name="ica",
    title="ICA task runs",
    document="ica.yaml",
    rules=Rules(identify=lambda seed, number: f"trn.{draw_hex(seed, 'ica', number)}"),
    words=WORDS,
    error=error,
    authenticate=authenticate,
    settings={"tokens": Setting(list, (), "the tokens that are good; when empty, any is")},
)


@api.operation(Role.SUBMIT)
def CreateTaskRun(call: Call) -> Reply:
    """A new run; the body and everything in it is optional."""
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
    return Reply(200, summary(call.world.apply(Cancel(api.name, call.params["runId"])), call))


@api.operation(Role.TOUCH)
def HeartbeatTaskRun(call: Call) -> Reply:
    """A fresh token for the agent, whatever the run's status; the run does not change."""
    job = call.world.job(api.name, call.params["runId"])
    return Reply(200, {"jwt": _jwt(job, call)})


@api.operation(Role.LIST)
def ListTaskRuns(call: Call) -> Reply:
    """One page of runs; a token brings everything about its page along and wins over the other parameters."""
    wanted = _wanted(call)
    jobs, total = _found(wanted, call)
    size, offset = wanted.size, wanted.offset
    last = max(total - 1, 0) // size * size
    page: dict[str, Any] = {
        "items": [summary(job, call) for job in jobs],
        "itemCount": len(jobs),
        "firstPageToken": _token(replace(wanted, offset=0), call),
    }
    if offset < last:
        page["nextPageToken"] = _token(replace(wanted, offset=offset + size), call)
    if offset > 0:
        page["prevPageToken"] = _token(replace(wanted, offset=min(offset - size, last)), call)
    page["lastPageToken"] = _token(replace(wanted, offset=last), call)
    page["totalItemCount"] = total
    page["totalPageCount"] = -(-total // size)
    return Reply(200, page)


# ---- runs -------------------------------------------------------------------------------------------------------


def summary(job: Job, call: Call) -> dict[str, Any]:
    """The wire form of a run in lists and as the answer to an abort."""
    owner = _owner(call.world.seed)
    request: dict[str, Any] = job.request
    name = request.get("name")
    resources = request.get("execution", {}).get("environment", {}).get("resources", {})
    view = {
        "id": job.id,
        "href": f"{call.base_url}/v1/tasks/runs/{job.id}",
        "urn": f"urn:ilmn:iap:{REGION}:{owner.tenant}:taskrun:{job.id}" + (f"#{name}" if name else ""),
        "name": name,
        "description": request.get("description"),
        "status": WORDS[job.state],
        "statusDetails": _why(job)[:DETAILS_CHARACTERS_MAX],
        "typeOfResource": resources.get("type", "")[:WORD_CHARACTERS_MAX],
        "sizeOfResource": resources.get("size", "")[:WORD_CHARACTERS_MAX],
        "tierOfResource": resources.get("tier", "")[:WORD_CHARACTERS_MAX],
        "acl": request.get("acl") or list(owner.acl),
        "tenantId": owner.tenant,
        "subTenantId": owner.workgroup,
        "createdBy": owner.user,
        "timeCreated": iso(job.created_ms),
        "timeModified": iso(job.since_ms),
    }
    return {field: value for field, value in view.items() if value}


def task_run(job: Job, call: Call) -> dict[str, Any]:
    """The wire form of a single run."""
    view = summary(job, call)
    view["execution"] = execution = _execution(job.request.get("execution", {}))
    execution.setdefault("retryLimit", 3)
    execution["retryCount"] = job.attempt - 1
    logs = _logs(job)
    if logs:
        view["logs"] = [logs]
    return view


def _why(job: Job) -> str:
    return job.failure.message if job.state is State.FAILED and job.failure is not None else ""


def _logs(job: Job) -> dict[str, Any]:
    """One line for the whole run, from its start; urls of the texts once it has ended."""
    # A script may skip the running; a run that has done its work has a log all the same.
    started_ms = job.started_ms if job.started_ms is not None or job.state not in LOGGED else job.finished_ms
    if started_ms is None:
        return {}
    logs = {"startTime": iso(started_ms)}
    if job.finished_ms is not None:
        logs["endTime"] = iso(job.finished_ms)
        if job.state is State.FAILED and job.failure is not None:
            failure = job.failure
            logs["error"] = "".join(part.capitalize() for part in failure.code.split("_"))
            logs["errorDetails"] = failure.details or failure.message
        where = f"{_log_folder(job.request)}/{job.id}"
        logs |= {"stdout": f"{where}/stdout-0.log", "stderr": f"{where}/stderr-0.log"}
    return {field: value for field, value in logs.items() if value}


def _log_folder(request: dict[str, Any]) -> str:
    """Where the request wants the system's logs; users look for them there."""
    for output in request.get("execution", {}).get("outputs", ()):
        if output.get("path") == SYSTEM_LOGS and output.get("url"):
            return str(output["url"]).rstrip("/")
    return "gds://understudy/logs"


Known = Callable[[Any], Any]
"""From a value of a request to what is known of it."""


def _object(fields: Mapping[str, Known | None], defaults: Mapping[str, Any] | None = None) -> Known:
    """What is known of an object: these fields, None for those with any value; with defaults when it was asked for."""
    shaped = tuple(fields.items())

    def known(asked: Mapping[str, Any]) -> dict[str, Any]:
        found = dict(defaults or ())
        for name, shape in shaped:
            value = asked.get(name)
            if value is None:
                continue
            if shape is not None:
                value = shape(value)
            if value or value != {}:
                found[name] = value
        return found

    return known


def _each(shape: Known) -> Known:
    return lambda asked: [shape(item) for item in asked]


# Secrets are not among what is known.
MOUNT = dict.fromkeys(("storageProvider", "path", "url", "urn", "mode", "type", "serviceUrl"))
RESOURCES = dict.fromkeys(("type", "size", "cpuCores", "memoryGb", "hardware", "tier"))
STREAMS = {"accessPattern": "sequential", "cacheSizeGB": 50, "blockSizeMB": 32, "prefetchBlocks": 32}
_execution = _object(
    {
        "image": _object(
            {"name": None, "tag": None, "digest": None, "credentials": _object({"username": None})}
        ),
        "command": None,
        "args": None,
        "inputs": _each(_object(MOUNT, {"type": "File"})),
        "outputs": _each(_object(MOUNT)),
        "systemFiles": _object(MOUNT),
        "environment": _object(
            {
                "variables": None,
                # Users test these two for 0, and a missing one breaks them.
                "resources": _object(RESOURCES, {"cpuCores": 0, "memoryGb": 0}),
                "inputStreamSettings": _object(dict.fromkeys(STREAMS), STREAMS),
            }
        ),
        "workingDirectory": None,
        "retryLimit": None,
    }
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose runs they are: in one world, always the same."""

    tenant: str
    workgroup: str
    user: str

    @property
    def acl(self) -> tuple[str, str]:
        """Who may see a run when its request names nobody."""
        return f"tid:{self.tenant}", self.workgroup


@lru_cache(maxsize=1000)
def _owner(seed: int) -> Owner:
    # 61 bytes are the 82 letters that the service's tenants have.
    tenant = b"".join(draw_bytes(seed, "ica", "tenant", part) for part in range(4))[:61]
    return Owner(
        _base64(tenant), f"wid:{draw_uuid(seed, 'ica', 'workgroup')}", draw_uuid(seed, "ica", "user")
    )


def _jwt(job: Job, call: Call) -> str:
    """A token in the form of a real one, good for an hour; its signature is not one."""
    seed, now_ms = call.world.seed, call.now_ms
    claims = {"sub": job.id, "iat": now_ms // 1000, "exp": (now_ms + TOKEN_LASTS_MS) // 1000}
    signature = draw_bytes(seed, "ica", "jwt", job.number, now_ms)
    return ".".join(
        [_base64(_json({"alg": "HS256", "typ": "JWT"})), _base64(_json(claims)), _base64(signature)]
    )


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


# ---- lists ------------------------------------------------------------------------------------------------------

CHECK_BYTES = 6
OWN_ACL = ("acl", "")
"""Label of the runs whose access list is the caller's own, so that the usual run has but one label, and all the same."""

ORDERS: dict[str, Callable[[Job], Any]] = {
    "name": lambda job: job.request.get("name", ""),
    "status": lambda job: WORDS[job.state],
    "timeModified": lambda job: job.since_ms,
}
"""What runs are sorted by; the other field, timeCreated, is the order in which they were made."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of a list, as asked for or as a token says."""

    size: int
    offset: int
    sort: str
    names: str
    status: str
    versions: str
    acls: str


def _labels(request: dict[str, Any]) -> tuple[Label, ...]:
    name = request.get("name")
    named = (("name", name),) if name else ()
    acl = request.get("acl")
    return named + (tuple(("acl", entry) for entry in dict.fromkeys(acl)) if acl else (OWN_ACL,))


def _wanted(call: Call) -> Wanted:
    params = call.params
    if "pageToken" in params:
        return _read_token(params["pageToken"], call)
    filters = {name: params.get(name, "") for name in ("sort", "names", "status", "versions", "acls")}
    return Wanted(params["pageSize"], 0, **filters)


def _token(wanted: Wanted, call: Call) -> str:
    content = _json(astuple(wanted))
    return _base64(_check(content, call) + content)


def _read_token(token: str, call: Call) -> Wanted:
    """The page a token stands for.

    Raises:
        Problem: this world has not handed it out.
    """
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        data = b""
    check, content = data[:CHECK_BYTES], data[CHECK_BYTES:]
    if check != _check(content, call):
        raise Problem(
            Kind.BAD_PARAMETER,
            "pageToken is not a token of this service.",
            where="query",
            pointer="pageToken",
            value=token,
        )
    return Wanted(*json.loads(content))


def _check(content: bytes, call: Call) -> bytes:
    return draw_bytes(call.world.seed, "ica", "page", content.hex())[:CHECK_BYTES]


def _found(wanted: Wanted, call: Call) -> tuple[list[Job], int]:
    """The runs of a page, and how many there are on all pages."""
    world = call.world
    field, _, direction = wanted.sort.partition(" ")
    descending = direction == "desc"
    states = _states(wanted.status) if wanted.status else None
    labels = _label_groups(wanted, call.world.seed)
    order = ORDERS.get(field)
    if order is None:
        jobs = world.jobs(
            api.name,
            states=states,
            labels=labels,
            offset=wanted.offset,
            limit=wanted.size,
            newest_first=descending,
        )
        return jobs, world.count(api.name, states=states, labels=labels)
    if states is None and not labels:
        jobs = world.jobs_sorted_by(
            api.name, field, order, offset=wanted.offset, limit=wanted.size, descending=descending
        )
        return jobs, world.count(api.name)
    found = world.jobs(api.name, states=states, labels=labels)
    found.sort(key=lambda job: (order(job), job.number), reverse=descending)
    return found[wanted.offset : wanted.offset + wanted.size], len(found)


def _states(words: str) -> list[State]:
    """The states behind a list of status words, in upper or lower case; a word that nobody knows has none."""
    folded = {word.strip().casefold() for word in words.split(",")}
    return [state for state, word in WORDS.items() if word.casefold() in folded]


def _label_groups(wanted: Wanted, seed: int) -> list[list[Label]]:
    groups = [
        [(name, entry) for entry in entries.split(",")]
        for name, entries in (("name", wanted.names), ("version", wanted.versions), ("acl", wanted.acls))
        if entries
    ]
    for group in groups:
        if any(("acl", entry) in group for entry in _owner(seed).acl):
            group.append(OWN_ACL)
    return groups
