"""IronTitan's job server: workers take jobs by GET, report back in multipart, and a retry is a new job.

Words and tables: the Titan sheet. Single jobs live under `/job/`, singular; `details` of cancel and fail are kept for nobody.
"""

from __future__ import annotations

from typing import Any

from simulator.apis.contract import (
    Api,
    Call,
    Kind,
    Problem,
    Refusal,
    Reply,
    Role,
    Upload,
    iso,
    status_of,
)
from simulator.engine.command import Cancel, Claim, Finish, Remove, Retry, Submit, Touch
from simulator.engine.draw import draw_uuid
from simulator.engine.errors import NotAllowed, UnknownJob
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import RetryBy, Rules

WORDS = {
    State.DELAYED: "delayed",
    State.QUEUED: "queued",
    State.RUNNING: "running",
    State.RETRYING: "running",
    State.CANCELLING: "running",
    State.SUCCEEDED: "succeeded",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
}
REASONS = {"timeout": "timeout", "killed": "killed", "out_of_memory": "killed"}
"""Failure code → the API's word; every other failure is a bad exit of the program."""
DEFAULTS = {"delay": 0, "timeout": 60, "priority": 0, "max_retries": 3, "retries_delay": 60}


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"error": {"message", "fields"}}`, but a conflict shows the job's status instead, on all operations save cancel."""
    if isinstance(refusal, NotAllowed) and call.operation != "job_id_cancel_post":
        return Reply(409, {"id": refusal.job.id, "status": WORDS[refusal.job.state]})
    body: dict[str, Any] = {"message": str(refusal)}
    if isinstance(refusal, Problem) and refusal.pointer:
        body["fields"] = _field(refusal.pointer)
    return Reply(status_of(refusal), {"error": body})


def _field(pointer: str) -> str:
    """The name of the field alone: `image` of `/jobs/1/image`, `jobs` of `/jobs/1`."""
    names = [part for part in pointer.split("/") if not part.isdigit()]
    return names[-1]


api = Api(
    name="titan",
    title="IronTitan jobs",
    document="titan.yaml",
    rules=Rules(
        identify=lambda seed, number: draw_uuid(seed, "titan", number),
        retry_by=RetryBy.NEW_JOB,
        retry_in=frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED}),
        retry_refused_in=frozenset(
            {State.DELAYED, State.QUEUED, State.RUNNING, State.RETRYING, State.CANCELLING}
        ),
        retry_needs_exhaustion=True,
        claims=True,
    ),
    words=WORDS,
    error=error,
    # Payloads and logs travel in bodies.
    body_bytes_max=16 * 1_048_576,
)


def job_view(job: Job) -> dict[str, Any]:
    """The wire form of a job; fields without a value are left out, never null."""
    request: dict[str, Any] = job.request
    submit = job.submit
    view: dict[str, Any] = {
        "id": job.id,
        "status": WORDS[job.state],
        "image": request["image"],
        "image_id": request["image"],
        "delay": submit.delay_ms // 1000,
        "timeout": (submit.timeout_ms or 0) // 1000,
        "priority": submit.priority,
        "max_retries": submit.retries,
        "retries_delay": submit.retry_delays_ms[0] // 1000,
        "created_at": iso(job.created_ms),
    }
    if "payload" in request:
        view["payload"] = request["payload"]
    if job.started_ms is not None:
        view["started_at"] = iso(job.started_ms)
    if job.state is State.CANCELLED:
        view["reason"] = "client_request"
    elif job.finished_ms is not None:
        view["completed_at"] = iso(job.finished_ms)
        if job.state is State.FAILED and job.failure is not None:
            view["reason"] = REASONS.get(job.failure.code, "bad_exit")
    if submit.retry_of is not None:
        view["retry_of"] = submit.retry_of
    return view


@api.operation(Role.SUBMIT)
def jobs_post(call: Call) -> Reply:
    """Enqueue all jobs or, when one is not valid or there is no room, none."""
    wanted = call.body["jobs"]
    call.world.require_room(len(wanted))
    jobs = [call.world.apply(_submit(job)) for job in wanted]
    return Reply(201, {"jobs": [job_view(job) for job in jobs]})


def _submit(wanted: dict[str, Any]) -> Submit:
    filled = DEFAULTS | wanted
    return Submit(
        api=api.name,
        kind=filled["image"],
        request=wanted,
        priority=int(filled["priority"]),
        delay_ms=int(filled["delay"]) * 1000,
        timeout_ms=int(filled["timeout"]) * 1000,
        retries=int(filled["max_retries"]),
        retry_delays_ms=(int(filled["retries_delay"]) * 1000,),
    )


@api.operation(Role.LIST)
def jobs_get(call: Call) -> Reply:
    """Peek: the oldest `n` jobs, nothing claimed."""
    jobs = call.world.jobs(api.name, limit=call.params["n"])
    return Reply(200, {"jobs": [job_view(job) for job in jobs]})


@api.operation(Role.CLAIM)
def jobs_consume_get(call: Call) -> Reply:
    """Hand out up to `n` waiting jobs, each to one caller only."""
    jobs = call.world.apply(Claim(api.name, call.params["n"]))
    return Reply(200, {"jobs": [job_view(job) for job in jobs]})


@api.operation(Role.STATUS)
def job_id_get(call: Call) -> Reply:
    """One job."""
    return Reply(200, {"job": job_view(call.world.job(api.name, call.params["id"]))})


@api.operation(Role.REMOVE)
def job_id_delete(call: Call) -> Reply:
    """Gone with its log; an id that was never there is as gone."""
    try:
        call.world.apply(Remove(api.name, call.params["id"]))
    except UnknownJob:
        pass
    return Reply(200)


@api.operation(Role.CANCEL, raw_body=True)
def job_id_cancel_post(call: Call) -> Reply:
    """Cancel at once. `details` comes bare, quoted or not at all, whatever its media type says, so it is not read as JSON."""
    reason = call.body.decode("utf-8", "replace")
    return Reply(200, {"job": job_view(call.world.apply(Cancel(api.name, call.params["id"], reason)))})


@api.operation(Role.RETRY)
def job_id_retry_post(call: Call) -> Reply:
    """The new job."""
    return Reply(200, {"job": job_view(call.world.apply(Retry(api.name, call.params["id"])))})


@api.operation(Role.TOUCH)
def job_id_touch_post(call: Call) -> Reply:
    """The worker is alive; the job's timeout begins anew."""
    call.world.apply(Touch(api.name, call.params["id"]))
    return Reply(200)


@api.operation(Role.FINISH)
def job_id_success_post(call: Call) -> Reply:
    """The worker is done."""
    job = call.world.apply(Finish(api.name, call.params["id"], log=_log(call)))
    return Reply(200, {"job": job_view(job)})


@api.operation(Role.FINISH)
def job_id_fail_post(call: Call) -> Reply:
    """The worker gave up; with retries left a new job appears by itself."""
    details = call.body.get("details")
    failure = Failure(code=call.body["reason"], details=details if isinstance(details, str) else None)
    job = call.world.apply(Finish(api.name, call.params["id"], failure=failure, log=_log(call)))
    return Reply(200, {"job": job_view(job)})


def _log(call: Call) -> bytes:
    """The log as uploaded; some clients send it as a file, others as a plain field."""
    log = call.body["log"]
    return log.data if isinstance(log, Upload) else log.encode()


@api.operation(Role.LOG)
def job_id_log_get(call: Call) -> Reply:
    """The bytes that were uploaded; a simulated worker's job has a log of the simulator's making."""
    job = call.world.job(api.name, call.params["id"])
    if not job.state.is_final:
        return Reply(428, {"error": {"message": f"job {job.id} is not finished; its log is not there yet"}})
    if job.log is not None:
        return Reply(200, job.log, media_type="text/plain")
    if job.state is State.CANCELLED:
        raise Problem(Kind.NO_SUCH_PATH, f"job {job.id} was cancelled and left no log")
    text = call.sampler.text(call.world.seed, "titan", job.number, lines=3)
    return Reply(200, text.encode(), media_type="text/plain")
