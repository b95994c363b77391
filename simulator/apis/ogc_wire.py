"""What many answers of OGC API - Processes are made of: links, exceptions, the status of a job.

Members without a value are left out, never null; every URL is absolute; every link has a `rel`.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Protocol

from simulator.apis import ogc_unity as unity
from simulator.apis.contract import Reply, iso
from simulator.engine.job import Failure, Job, State

API = "ogc"
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
TEXT = "text/plain"
HTML = "text/html"
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
# Python releases disagree about these two phrases.
TITLES = {413: "Content Too Large", 414: "URI Too Long"}


def exception(status: int, detail: str, *, type_: str = "about:blank", title: str | None = None) -> Reply:
    """An exception as plain application/json: known clients do not read application/problem+json."""
    title = title or TITLES.get(status) or HTTPStatus(status).phrase
    body = {"type": type_, "title": title, "status": status, "detail": detail}
    return Reply(status, body, media_type=JSON)


def link(href: str, rel: str, media_type: str = JSON) -> dict[str, str]:
    """A link to something of one media type."""
    return {"href": href, "rel": rel, "type": media_type}


class Viewer(Protocol):
    """For whom a job is worded: mostly a call."""

    @property
    def base_url(self) -> str:
        """Where the service is for this one."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Which flavour is spoken."""
        ...

    @property
    def now_ms(self) -> int:
        """Virtual time of the view."""
        ...


def job_url(call: Viewer, job: Job) -> str:
    """Where the status of a job is read."""
    return f"{call.base_url}/jobs/{job.id}"


def status_info(call: Viewer, job: Job) -> dict[str, Any]:
    """The wire form of a job."""
    info: dict[str, Any] = {
        "processID": job.kind,
        "type": "process",
        "jobID": job.id,
        "status": WORDS[job.state],
    }
    url = job_url(call, job)
    links = [link(url, "self")]
    message = job.message
    match job.state:
        case State.SUCCEEDED:
            links.append(link(f"{url}/results", f"{REL}results"))
        case State.FAILED:
            info["exception"] = failure_view(job)
            message = (job.failure or Failure()).message
            links.append(link(f"{url}/results", f"{REL}exceptions"))
        case State.CANCELLED:
            message = "Job dismissed"
        case _:
            links.append(link(url, "monitor"))
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
    return unity.status(info, job) if unity.speaks(call) else info


def failure_view(job: Job) -> dict[str, Any]:
    """The exception of a failed job, the same in its status and in place of its results."""
    failure = job.failure or Failure()
    detail = failure.message if failure.details is None else f"{failure.message}\n{failure.details}"
    # A code that says no more than "failed" names no kind of problem.
    type_ = "about:blank" if failure.code == Failure().code else failure.code
    return {"type": type_, "title": "Job failed", "status": 500, "detail": detail}
