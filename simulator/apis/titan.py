"""IronTitan's job server: workers take jobs by GET, report back in multipart, and a retry is a new job.

Words and tables: the Titan sheet. Single jobs live under `/job/`, singular; `details` of cancel and fail are kept for nobody.

Images outlive the jobs that brought them, which a client may delete: the world keeps when each was first submitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    Upload,
    iso,
    status_of,
)
from simulator.engine.command import Cancel, Claim, Finish, Keep, Remove, Retry, Submit, Touch
from simulator.engine.draw import draw_uuid
from simulator.engine.errors import LimitReached, NotAllowed, UnknownJob
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import RetryBy, Rules
from simulator.engine.world import World

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
CANNOT = {
    "progress": "shows no progress",
    "message": "shows no messages of steps",
    "retrying": "has no word for retrying: such a job is running",
    "cancelling": "has no word for cancelling: such a job is running",
    "result": "has no results: a job leaves a log",
    "error": "does not show the text of an error",
    "code": "has its own words for why a job failed: a code that it does not know is bad_exit",
    "details": "does not show the details of an error",
    "attempts": "tries again as a new job, which names the old one in retry_of",
    "worker": "needs a worker here: jobs wait until a client consumes them",
}
"""What scenarios can say and this API cannot."""
SPELLINGS = {
    "succeeded-failed": WORDS,
    "success-error": WORDS | {State.SUCCEEDED: "success", State.FAILED: "error"},
}
"""The words of releases up to 0.2.9, and those of releases from 0.2.11 on."""
REASONS = {"timeout": "timeout", "killed": "killed", "out_of_memory": "killed"}
"""Failure code → the API's word; every other failure is a bad exit of the program."""
NEVER = "0001-01-01T00:00:00.000Z"
"""How the Go library prints a time that is not set."""
IMAGE = "image/"
"""What is kept of an image has this in front of its name."""
DEFAULTS = {"delay": 0, "timeout": 60, "priority": 0, "max_retries": 3, "retries_delay": 60}


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"error": {"message", "fields"}}`, but a conflict shows the job's status instead, on all operations save cancel."""
    body: dict[str, Any] = {"message": str(refusal)}
    if isinstance(refusal, NotAllowed):
        job = refusal.job
        word = SPELLINGS[call.settings["status_words"]][job.state]
        if call.operation != "job_id_cancel_post":
            return Reply(409, {"id": job.id, "status": word})
        body = {"message": f"job {job.id} is {word} and cannot be cancelled"}
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
    further_words=((State.SUCCEEDED, "success"), (State.FAILED, "error")),
    cannot=CANNOT,
    error=error,
    status_fields=frozenset({"status"}),
    settings={
        "status_words": Setting(
            str,
            "succeeded-failed",
            "how jobs end: succeeded and failed, as up to release 0.2.9, or success and error, as from 0.2.11 on",
            choices=tuple(SPELLINGS),
        ),
        "unset_times": Setting(
            str,
            "omitted",
            "a time that is not set is left out (omitted), or is the first instant of the year 1 (zero)",
            choices=("omitted", "zero"),
        ),
    },
    # Payloads and logs travel in bodies.
    body_bytes_max=16 * 1_048_576,
)


def job_view(job: Job, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The wire form of a job; fields without a value are left out, never null."""
    request: dict[str, Any] = job.request
    submit = job.submit
    view: dict[str, Any] = {
        "id": job.id,
        "status": SPELLINGS[settings["status_words"]][job.state],
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
    if settings["unset_times"] == "zero":
        view.setdefault("started_at", NEVER)
        view.setdefault("completed_at", NEVER)
    return view


def _job(call: Call, job: Job) -> Reply:
    return Reply(200, {"job": job_view(job, call.settings)})


def _jobs(call: Call, jobs: Iterable[Job], status: int = 200) -> Reply:
    return Reply(status, {"jobs": [job_view(job, call.settings) for job in jobs]})


@api.operation(Role.SUBMIT)
def jobs_post(call: Call) -> Reply:
    """Enqueue all jobs or, when one is not valid or there is no room, none."""
    wanted = call.body["jobs"]
    call.world.require_room(len(wanted))
    for job in wanted:
        _remember(call.world, job["image"])
    return _jobs(call, [call.world.apply(_submit(job)) for job in wanted], 201)


def _remember(world: World, image: str) -> None:
    """Keep when an image was first submitted. A job does not fail because too much is kept already."""
    key = IMAGE + image
    if world.kept(api.name, key) is None:
        try:
            world.apply(Keep(api.name, key, world.now_ms))
        except LimitReached:
            pass


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
    return _jobs(call, call.world.jobs(api.name, limit=call.params["n"]))


@api.operation(Role.CLAIM)
def jobs_consume_get(call: Call) -> Reply:
    """Hand out up to `n` waiting jobs, each to one caller only."""
    return _jobs(call, call.world.apply(Claim(api.name, call.params["n"])))


@api.operation(Role.STATUS)
def job_id_get(call: Call) -> Reply:
    """One job."""
    return _job(call, call.world.job(api.name, call.params["id"]))


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
    return _job(call, call.world.apply(Cancel(api.name, call.params["id"], reason)))


@api.operation(Role.RETRY)
def job_id_retry_post(call: Call) -> Reply:
    """The new job."""
    return _job(call, call.world.apply(Retry(api.name, call.params["id"])))


@api.operation(Role.TOUCH)
def job_id_touch_post(call: Call) -> Reply:
    """The worker is alive; the job's timeout begins anew."""
    call.world.apply(Touch(api.name, call.params["id"]))
    return Reply(200)


@api.operation(Role.FINISH)
def job_id_success_post(call: Call) -> Reply:
    """The worker is done."""
    return _job(call, call.world.apply(Finish(api.name, call.params["id"], log=_log(call))))


@api.operation(Role.FINISH)
def job_id_fail_post(call: Call) -> Reply:
    """The worker gave up; with retries left a new job appears by itself."""
    details = call.body.get("details")
    failure = Failure(code=call.body["reason"], details=details if isinstance(details, str) else None)
    finish = Finish(api.name, call.params["id"], failure=failure, log=_log(call))
    return _job(call, call.world.apply(finish))


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
    if job.state is State.CANCELLED or job.no_log:
        raise Problem(Kind.NO_SUCH_PATH, f"job {job.id} has left no log")
    text = call.sampler.text(call.world.seed, "titan", job.number, lines=3)
    return Reply(200, text.encode(), media_type="text/plain")


@api.operation(Role.INFO)
def images_get(call: Call) -> Reply:
    """All images that were ever submitted, first come, first served."""
    world = call.world
    images = [
        (key.removeprefix(IMAGE), world.kept(api.name, key)) for key in world.kept_keys(api.name, IMAGE)
    ]
    return Reply(200, {"images": [image_view(image, first_ms) for image, first_ms in images]})


@api.operation(Role.INFO)
def image_id_get(call: Call) -> Reply:
    """One image by its name, which is its id."""
    image = call.params["id"]
    first_ms = call.world.kept(api.name, IMAGE + image)
    if first_ms is None:
        raise Problem(Kind.NO_SUCH_PATH, f"there is no image {image}", where="path")
    return Reply(200, {"image": image_view(image, first_ms)})


def image_view(image: str, first_ms: int) -> dict[str, Any]:
    """The wire form of an image."""
    return {"image": image, "name": image, "created_at": iso(first_ms)}
