"""Synapse's asynchronous jobs: three states, a cancel that is a GET and only sets a flag, ids that are numbers in strings.

Words and tables: the Synapse sheet. A job goes through `PROCESSING` to `COMPLETE` or `FAILED` and there is no word for a
cancelled one, so where a scenario does cancel a job it ends `FAILED` and says why. Values that do not exist are left out,
never null. Results are not stored: they are a function of the seed, the job's number and its request, see `synapse_tables`.

Beside the three operations on jobs there is a pair of operations for each kind of job, which is what real clients call: a start
that answers a token (the job's id) and a get that answers the bare result, or an HTTP error when the job failed. The table
of them is in `synapse_pairs`; their functions are made from it.

Deliberately not here: the tables, files and grids themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from hashlib import blake2b
from json import dumps
from typing import Any

from simulator.apis.contract import (
    Api,
    Call,
    Codec,
    Handler,
    Kind,
    Operation,
    Problem,
    Refusal,
    Reply,
    Role,
    Setting,
    has_expired,
    iso,
    status_of,
)
from simulator.apis.synapse_pairs import GONE, PAIRS, Pair
from simulator.apis.synapse_tables import (
    MODEL,
    NEXT_PAGE,
    TABLE,
    TRANSACTION,
    made_result,
    page_of,
    result_type,
    short_name,
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
CANNOT = {
    "delayed": "has one word, PROCESSING, for all that is not done: a delayed job looks like a running one",
    "retrying": "has one word, PROCESSING, for all that is not done: a retrying job looks like a running one",
    "cancelling": "has no word for cancelling: such a job is PROCESSING, with jobCanceling",
    "cancelled": "has no word for cancelled: such a job is FAILED",
    "attempts": "tells nothing of attempts that failed before the last one",
    "code": "names a Java exception for the code of an error; a code with a dot is taken for one",
    "log": "has no logs",
    "list": "has no list of jobs",
    "retry": "has no call that runs a job again",
}
"""What scenarios can say and this API cannot."""
REALM = 'Bearer realm="Synapse Repository Services"'
TEXT_CHARACTERS_MAX = 3000
NESTING_MAX = 200
WAITING = "Waiting for the table to become available."
CANCELLED = Failure("The job was cancelled.", code="java.util.concurrent.CancellationException")

ILLEGAL_ARGUMENT = "java.lang.IllegalArgumentException"
STOPPED = frozenset({State.CANCELLING, State.CANCELLED})
NO_MORE_PROGRESS = frozenset({State.CANCELLING, State.FAILED, State.CANCELLED})

NOT_FOUND = "org.sagebionetworks.repo.web.NotFoundException"
UNAUTHORIZED = MODEL + "UnauthorizedException"
CONFLICT = MODEL + "ConflictingUpdateException"
ILLEGAL_STATE = "java.lang.IllegalStateException"
UNAVAILABLE = "org.sagebionetworks.repo.web.ServiceUnavailableException"
EXCEPTIONS = {
    "not_found": NOT_FOUND,
    "unauthorized": UNAUTHORIZED,
    "forbidden": UNAUTHORIZED,
    "conflict": CONFLICT,
    "internal": ILLEGAL_STATE,
    "crashed": ILLEGAL_STATE,
    "out_of_memory": ILLEGAL_STATE,
    "timeout": ILLEGAL_STATE,
    "unavailable": UNAVAILABLE,
    "USER_CERTIFICATION_REQUIRED": UNAUTHORIZED,
    "OAUTH_CLIENT_NOT_VERIFIED": UNAUTHORIZED,
}
"""Our failure codes → what the service would have thrown; a code with a dot in it is a class name already."""
STATUS_OF_EXCEPTION = {
    ILLEGAL_ARGUMENT: 400,
    UNAUTHORIZED: 403,
    NOT_FOUND: 404,
    CONFLICT: 412,
    ILLEGAL_STATE: 500,
    UNAVAILABLE: 503,
}
"""What the get of a pair answers for a failed job; 400 for any other class."""
ERROR_CODES = frozenset(
    {
        "PASSWORD_RESET_VIA_EMAIL_REQUIRED",
        "USER_CERTIFICATION_REQUIRED",
        "INVALID_TABLE_QUERY_FACET_COLUMN_REQUEST",
        "OAUTH_CLIENT_NOT_VERIFIED",
        "TWO_FA_REQUIRED",
        "UNSUPPORTED_WEBHOOK_DOMAIN",
    }
)
"""Failure codes that are the service's own; the get of a pair repeats them."""
BAD_PAGE_TOKEN = Failure("The token of the next page is not valid.", code=ILLEGAL_ARGUMENT)

CACHEABLE = frozenset({TABLE + "DownloadFromTableRequest", TABLE + "QueryBundleRequest", NEXT_PAGE})
ERROR = MODEL + "ErrorResponse"
JSON = "application/json"
PLAIN = "text/plain"

ME = "user"
ANONYMOUS = "anonymous"
OTHER = "other"
ANONYMOUS_ID = 273950
"""Who calls. All good tokens are one user's, except those that the scenario says are another's."""


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"concreteType", "reason"}`; whatever the client did wrong with a job is a 400 here."""
    headers = refusal.headers if isinstance(refusal, Problem) else {}
    status = 400 if isinstance(refusal, NotAllowed) else status_of(refusal)
    reason = str(refusal)
    if isinstance(refusal, UnknownJob):
        reason = f"The job '{refusal.job_id}' does not exist."
    reply = _refused(status, reason, call)
    reply.headers = headers
    if reply.media_type == PLAIN and (not call.operation or status == Kind.METHOD_NOT_ALLOWED.status):
        # No operation, so nothing but bytes can be other than JSON.
        reply.body = _as_text(reply.body, "")
    return reply


def _refused(status: int, reason: str, call: Call, error_code: str = "") -> Reply:
    """The envelope of every error; who prefers plain text gets the bare reason."""
    body = {"concreteType": ERROR, "reason": reason}
    if error_code:
        body["errorCode"] = error_code
    return Reply(status, body, media_type=PLAIN if call.preferred((JSON, PLAIN)) == PLAIN else None)


def _as_text(value: Any, operation: str) -> bytes:
    """Any answer as plain text: of an error the reason, of all else the JSON."""
    is_error = isinstance(value, dict) and value.get("concreteType") == ERROR
    text = value["reason"] if is_error else dumps(value)
    return str(text).encode("utf-8", "replace")


def _no_text(body: bytes, operation: str) -> Any:
    raise Problem(Kind.UNSUPPORTED_MEDIA_TYPE, "a request body is JSON", where="body")


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """A bearer token; none at all is refused, or is anonymous as on the real service, as the scenario likes."""
    token = _token(credentials)
    if not token:
        if settings["no_token"] == ANONYMOUS:
            return None
        return _unauthorized("An access token is needed: Authorization: Bearer <token>.")
    if settings["tokens"] and token not in settings["tokens"] and token not in settings["forbidden_tokens"]:
        return _unauthorized("The access token is not valid.")
    lifetime_ms = settings["token_lifetime"]
    if lifetime_ms is not None and has_expired(world, api.name, token, lifetime_ms):
        return _unauthorized("The access token has expired.")
    return None


def _token(credentials: str | None) -> str:
    """The bearer token of an Authorization header; empty when there is none."""
    scheme, _, token = (credentials or "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


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
    cannot=CANNOT,
    error=error,
    authenticate=authenticate,
    # The service reads a number, so leading zeros do not count.
    job_id=lambda params: str(params.get("jobId") or params.get("asyncToken") or "").lstrip("0") or None,
    status_fields=frozenset({"jobState"}),
    progress_fields=frozenset({"progressCurrent"}),
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
        "token_lifetime": Setting(timedelta, None, "how long a token is good for, from its first use on"),
        "forbidden_tokens": Setting(
            list, (), "good tokens of another user: these and all others do not see each other's jobs (403)"
        ),
    },
    codecs={PLAIN: Codec(decode=_no_text, encode=_as_text)},
)


# ---- jobs -------------------------------------------------------------------------------------------------------


@api.operation(Role.SUBMIT)
def LaunchNewJob(call: Call) -> Reply:
    """A new job, or with `reuse_results` the latest one that has completed the same request."""
    return Reply(201, job_status(_launched(_without_nulls(call.body), call, {}), call))


@api.operation(Role.STATUS)
def GetJobStatus(call: Call) -> Reply:
    """200 for failed jobs, too."""
    return Reply(200, job_status(_job(call, "jobId"), call))


@api.operation(Role.CANCEL)
def StopJob(call: Call) -> Reply:
    """Set the flag; the job goes on."""
    call.world.apply(Cancel(api.name, _job(call, "jobId").id))
    return Reply(204)


@api.operation(Role.INFO)
def GetUserProfile(call: Call) -> Reply:
    """Who calls; all that a client asks for when it logs in."""
    user = _caller(call)
    name = {ME: "understudy", OTHER: "understudy.other", ANONYMOUS: "anonymous"}[user]
    return Reply(
        200,
        {
            "ownerId": str(_user_id(user, call.world.seed)),
            "userName": name,
            "displayName": name,
            "emails": [] if user == ANONYMOUS else [f"{name}@example.org"],
        },
    )


def _launched(request: dict[str, Any], call: Call, facts: dict[str, Any]) -> Job:
    """A new job for this request, or an old one that has its result."""
    kind = request["concreteType"]
    user = _caller(call)
    if user != ME:
        facts = {**facts, "user": user}
    labels: tuple[tuple[str, str], ...] = ()
    if call.settings["reuse_results"] and kind in CACHEABLE:
        labels = (("request", _digest(user, request)),)
        same = call.world.jobs(
            api.name, states=[State.SUCCEEDED], labels=[labels], limit=1, newest_first=True
        )
        if same:
            return same[0]
    submit = Submit(api=api.name, kind=kind, request=request, labels=labels, facts=facts or None)
    if kind == NEXT_PAGE and page_of(request.get("token"), call.world.seed) is None:
        # The scenario may have given out a token of its own, and then it knows the page as well.
        part = call.world.playbook.part_for(submit, call.world.count(api.name) + 1, call.world.seed)
        if part.script.steps[-1].result is None:
            submit = replace(submit, fails_with=BAD_PAGE_TOKEN)
    return call.world.apply(submit)


def _job(call: Call, parameter: str) -> Job:
    """The job with the id in this parameter: the service reads a number, so leading zeros do not count.

    Raises:
        UnknownJob: there is none.
        Problem: it is another user's.
    """
    job = call.world.job(api.name, str(int(call.params[parameter])))
    if call.settings["forbidden_tokens"] and (_caller(call) == OTHER) is not (_owner(job) == OTHER):
        raise Problem(Kind.FORBIDDEN, "Only the user who started a job may use it.")
    return job


def _caller(call: Call) -> str:
    settings = call.settings
    if not settings["forbidden_tokens"] and settings["no_token"] != ANONYMOUS:
        return ME
    token = _token(call.headers.get("authorization"))
    if not token:
        return ANONYMOUS
    return OTHER if token in settings["forbidden_tokens"] else ME


def _owner(job: Job) -> str:
    return str(job.submit.facts.get("user", ME)) if job.submit.facts else ME


def _user_id(user: str, seed: int) -> int:
    return ANONYMOUS_ID if user == ANONYMOUS else draw_between(1_000_000, 9_999_999, seed, "synapse", user)


def _digest(user: str, request: dict[str, Any]) -> str:
    return blake2b(dumps([user, request], sort_keys=True).encode(), digest_size=16).hexdigest()


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
        "startedByUserId": _user_id(_owner(job), seed),
        "startedOn": iso(job.created_ms),
        # To be asked to stop is no change.
        "changedOn": iso(reported_ms if job.state is State.CANCELLING else changed_ms),
        **progress,
        "runtimeMS": reported_ms - job.created_ms if progress else 0,
    }
    if word == "COMPLETE" and not job.no_result:
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
    says = 0 <= job.step < len(steps) and steps[job.step].message is not None
    # As the job has it: what a message says may depend on the job.
    return job.message if says else None


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
    work = short_name(job.kind).removesuffix("Request")
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


def _response_body(job: Job, call: Call) -> dict[str, Any]:
    """What the scenario says the result is, else one made for the request."""
    if job.no_result:
        return {"concreteType": result_type(job.kind)}
    if job.result is None:
        return made_result(job, call)
    concrete_type = result_type(job.kind)
    if not isinstance(job.result, dict):
        return {"concreteType": concrete_type, "result": job.result}
    given = _without_nulls(job.result)
    wrapped = job.submit.facts.get("wrapped") if job.submit.facts else None
    if wrapped and "results" not in given:
        given = {"results": [{"concreteType": result_type(wrapped), **given}]}
    return {"concreteType": concrete_type, **given}


# ---- pairs of start and get -------------------------------------------------------------------------------------


def _start(pair: Pair) -> Handler:
    """Launches the pair's kind of job, whatever kind the request names or does not."""

    def start(call: Call) -> Reply:
        given = _without_nulls(call.body or {})
        request = {**given, "concreteType": pair.request}
        request |= {name: call.params[parameter] for name, parameter in pair.from_path.items()}
        facts = {"path_id": call.params["id"]} if "id" in call.params else {}
        if pair.is_wrapped:
            facts["wrapped"] = pair.request
            request = {"concreteType": TRANSACTION, "entityId": request["entityId"], "changes": [request]}
        return Reply(201, {"token": _launched(request, call, facts).id})

    return start


def _get(pair: Pair) -> Handler:
    """Answers as the service's own getters do: what the job is doing comes before what kind of job it is."""

    def get(call: Call) -> Reply:
        job = _job(call, "asyncToken")
        word = WORDS[job.state]
        if word == "PROCESSING":
            return Reply(202, job_status(job, call))
        if word == "FAILED":
            return _as_if_thrown(job, call)
        result = _result_for(pair, job, call)
        if result is None:
            return _refused(
                500, f"The job '{job.id}' does not return a {short_name(pair.request)}'s result.", call
            )
        return Reply(pair.done, result)

    return get


def _result_for(pair: Pair, job: Job, call: Call) -> dict[str, Any] | None:
    """The bare result; None when the job is of another kind."""
    if job.kind != pair.kind:
        return None
    body = _response_body(job, call)
    if not pair.is_wrapped:
        return body
    results = body.get("results")
    only = results[0] if isinstance(results, list) and len(results) == 1 else None
    is_ours = isinstance(only, dict) and only.get("concreteType") == result_type(pair.request)
    return only if is_ours else None


def _as_if_thrown(job: Job, call: Call) -> Reply:
    """A failed job as the HTTP error of its exception."""
    failed = _failure(job)
    code = job.failure.code if job.failure else ""
    return _refused(
        STATUS_OF_EXCEPTION.get(failed["exception"], 400),
        failed.get("errorMessage") or failed["errorDetails"],
        call,
        code if code in ERROR_CODES else "",
    )


def _gone(call: Call) -> Reply:
    return _refused(410, "This path is gone: update your client to one that names the table in it.", call)


def _operations() -> Iterator[Operation]:
    for pair in PAIRS:
        yield Operation(f"Start{pair.name}", Role.SUBMIT, _start(pair))
        yield Operation(f"Get{pair.name}", Role.STATUS, _get(pair))
    for name in GONE:
        yield Operation(f"Start{name}", Role.INFO, _gone)
        yield Operation(f"Get{name}", Role.INFO, _gone)


api.operations |= {operation.id: operation for operation in _operations()}
