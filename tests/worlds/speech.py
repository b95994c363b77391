"""How a client speaks to each API: submit, ask for the status, list, cancel, fetch the results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.worlds.wire import Client, Said

Headers = tuple[tuple[str, str], ...]
BEARER: Headers = (("authorization", "Bearer me"),)
ASYNC: Headers = (("prefer", "respond-async"),)
JSON: Headers = (("accept", "application/json"),)


@dataclass(frozen=True)
class Speech:
    """The words of one API; all paths begin where its world begins."""

    api: str
    submit_path: str
    body: Callable[[int], Any]
    """Of the so-many-th submit."""
    job_of: Callable[[Any], Any]
    """From the decoded answer to a submit."""
    status_path: str
    word_of: Callable[[Any], str]
    """From the decoded answer to a status call."""
    final: frozenset[str]
    cancel: tuple[str, str]
    result_path: str
    list_path: str | None = None
    headers: Headers = ()

    async def submit(self, client: Client, world: str = "", number: int = 0) -> str:
        """Submit a job; its id."""
        said = await client.ask(
            "POST", f"{world}/{self.api}{self.submit_path}", self.body(number), self.headers
        )
        assert said.status in (200, 201), said
        return str(self.job_of(said.json()))

    async def status(self, client: Client, world: str, job: str) -> Said:
        """Ask for a job's status."""
        return await client.ask("GET", self._about(self.status_path, world, job), headers=self.headers)

    def is_finished(self, said: Said) -> bool:
        """Whether this status is a last one."""
        return self.word_of(said.json()) in self.final

    async def stop(self, client: Client, world: str, job: str) -> Said:
        """Cancel a job."""
        method, path = self.cancel
        return await client.ask(
            method, self._about(path, world, job), {} if method != "GET" else None, self.headers
        )

    async def result(self, client: Client, world: str, job: str) -> Said:
        """Ask for what a job has left."""
        return await client.ask("GET", self._about(self.result_path, world, job), headers=self.headers)

    async def page(self, client: Client, world: str) -> Said:
        """Ask for the jobs; where an API has no list, for who asks."""
        path = self.list_path or "/repo/v1/userProfile"
        return await client.ask("GET", f"{world}/{self.api}{path}", headers=self.headers)

    def _about(self, path: str, world: str, job: str) -> str:
        return f"{world}/{self.api}{path.format(job)}"


_KIE = "/kie-server/services/rest/server/jobs"
_TABLE = "org.sagebionetworks.repo.model.table."
SPEECHES = {
    speech.api: speech
    for speech in (
        Speech(
            api="synapse",
            submit_path="/repo/v1/asynchronous/job",
            body=lambda number: {
                "concreteType": f"{_TABLE}DownloadFromTableRequest",
                "entityId": f"syn{number + 1}",
            },
            job_of=lambda answer: answer["jobId"],
            status_path="/repo/v1/asynchronous/job/{}",
            word_of=lambda answer: answer["jobState"],
            final=frozenset({"COMPLETE", "FAILED"}),
            cancel=("GET", "/repo/v1/asynchronous/job/{}/cancel"),
            result_path="/repo/v1/asynchronous/job/{}",
            headers=BEARER,
        ),
        Speech(
            api="jbpm",
            submit_path=_KIE,
            body=lambda number: {"job-command": "a.B", "request-data": {"businessKey": f"order-{number}"}},
            job_of=lambda answer: answer,
            status_path=f"{_KIE}/{{}}",
            word_of=lambda answer: answer["request-status"],
            final=frozenset({"DONE", "ERROR", "CANCELLED"}),
            cancel=("DELETE", f"{_KIE}/{{}}"),
            result_path=f"{_KIE}/{{}}?withErrors=true&withData=true",
            list_path=f"{_KIE}?status=QUEUED&status=RUNNING&status=DONE&status=ERROR",
            headers=JSON,
        ),
        Speech(
            api="ogc",
            submit_path="/processes/echo/execution",
            body=lambda number: {"inputs": {"message": f"message {number}"}},
            job_of=lambda answer: answer["jobID"],
            status_path="/jobs/{}",
            word_of=lambda answer: answer["status"],
            final=frozenset({"successful", "failed", "dismissed"}),
            cancel=("DELETE", "/jobs/{}"),
            result_path="/jobs/{}/results",
            list_path="/jobs?limit=5",
            headers=ASYNC,
        ),
        Speech(
            api="ica",
            submit_path="/v1/tasks/runs",
            body=lambda number: {"name": f"run-{number}"},
            job_of=lambda answer: answer["id"],
            status_path="/v1/tasks/runs/{}",
            word_of=lambda answer: answer["status"],
            final=frozenset({"Completed", "Failed", "Aborted", "TimedOut"}),
            cancel=("PUT", "/v1/tasks/runs/{}:abort"),
            result_path="/v1/tasks/runs/{}",
            list_path="/v1/tasks/runs?pageSize=3&sort=timeCreated%20desc",
            headers=BEARER,
        ),
        Speech(
            api="titan",
            submit_path="/v1/jobs",
            body=lambda number: {"jobs": [{"image": f"acme/resize:{number}", "priority": number % 3}]},
            job_of=lambda answer: answer["jobs"][0]["id"],
            status_path="/v1/job/{}",
            word_of=lambda answer: answer["job"]["status"],
            final=frozenset({"succeeded", "failed", "killed", "cancelled"}),
            cancel=("POST", "/v1/job/{}/cancel"),
            result_path="/v1/job/{}/log",
            list_path="/v1/jobs",
        ),
    )
}
