"""What the tests of OGC API - Processes share: a server of its own, ways to make jobs, ways to look at answers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from tests.kit import Answer, Kit

PROCESSES = "/ogc/processes"
ECHO = f"{PROCESSES}/echo/execution"
FAIL = f"{PROCESSES}/fail/execution"
UNKNOWN = "0d6f1c1e-6d0b-4c55-9f0c-2b6a5f3c9a10"
STATES = ("accepted", "running", "successful", "failed", "dismissed", "unknown")
EXCEPTION = "http://www.opengis.net/def/exceptions/ogcapi-processes-1/1.0/"
REL = "http://www.opengis.net/def/rel/ogc/1.0/"
ASYNC = {"Prefer": "respond-async"}


def serve(scenario: str = "happy", *, seed: int = 7) -> Kit:
    """A server that serves this API alone."""
    return Kit(scenario, seed=seed, apis=("ogc",))


def execute(kit: Kit, path: str = ECHO, **inputs: Any) -> dict[str, Any]:
    """The first status of a new job."""
    return ask(kit, {"inputs": {"message": "hello"} | inputs}, path)


def ask(kit: Kit, body: dict[str, Any], path: str = ECHO) -> dict[str, Any]:
    """The first status of the new job that a body asks for."""
    answer = kit.post(path, json=body, headers=ASYNC)
    assert answer.status == 201, answer.text
    return dict(answer.json())


def local(url: str) -> str:
    """Path and query of a URL that must be absolute."""
    parts = urlsplit(url)
    assert parts.scheme == "http"
    assert parts.netloc
    return f"{parts.path}?{parts.query}" if parts.query else parts.path


def status(kit: Kit, job_id: str) -> dict[str, Any]:
    """How a job is doing now."""
    return dict(kit.get(f"/ogc/jobs/{job_id}").json())


def link(body: dict[str, Any], rel: str) -> str | None:
    """Where the link with this relation leads, without scheme and host."""
    found = [one["href"] for one in body["links"] if one["rel"] == rel]
    assert len(found) <= 1
    return local(found[0]) if found else None


def job_in(kit: Kit, state: str) -> str:
    """The id of a new job, brought into a state."""
    if state == "unknown":
        return UNKNOWN
    job_id: str = execute(kit, FAIL if state == "failed" else ECHO)["jobID"]
    kit.advance({"accepted": "0s", "dismissed": "2s", "running": "2s"}.get(state, "10s"))
    if state == "dismissed":
        kit.delete(f"/ogc/jobs/{job_id}")
    return job_id


def in_words(answer: Answer) -> str:
    """Status code, and the status word of a job or the last part of an exception's type."""
    body = answer.json()
    if "jobID" in body:
        return f"{answer.status} {body['status']}"
    if "type" in body and "title" in body:
        assert body["status"] == answer.status
        assert answer.headers["content-type"].startswith("application/json")
        return f"{answer.status} {body['type'].rsplit('/', 1)[-1]}"
    return f"{answer.status} map"
