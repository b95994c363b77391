"""Clients of the five services, so that a test can see a shipped scenario as they do.

All tests share the services, which are the same for every scenario; each has a world of its own.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulator.apis.contract import Api
from simulator.assemble import declared_in, load_apis, load_document, load_scenario, make_front
from simulator.engine.job import State
from simulator.engine.world import Limits
from simulator.runtime.timesource import TimeMode, wall_clock
from simulator.runtime.worlds import Worlds
from simulator.scenario.model import Scenario
from simulator.web.front import Front
from simulator.web.ledger import Line
from tests.kit import Answer, Kit

APIS = ("synapse", "jbpm", "ogc", "ica", "titan")
TABLE = "org.sagebionetworks.repo.model.table."
BOUNDARY = "understudy"


@dataclass(frozen=True)
class Service:
    """How one of the services is called, and where its answers say what."""

    submit: str
    request: Any
    status: str
    id_of: tuple[str | int, ...] = ()
    """Where the answer to a submit says the job's id."""
    job_of: tuple[str | int, ...] = ()
    """Where the answer to a status call has the job."""
    word: str = ""
    """Under which name the job's state is."""
    cancel: tuple[str, str] = ("", "")
    """Method, and path behind that of the status."""
    jobs: str | None = None
    jobs_of: str = ""
    job_id: str = ""
    """Under which name a job of a list has its id."""


SERVICES = {
    "synapse": Service(
        submit="/synapse/repo/v1/asynchronous/job",
        request={
            "concreteType": f"{TABLE}TableUpdateTransactionRequest",
            "entityId": "syn1",
            "changes": [{"concreteType": f"{TABLE}UploadToTableRequest", "uploadFileHandleId": "7"}],
        },
        status="/synapse/repo/v1/asynchronous/job/{}",
        id_of=("jobId",),
        word="jobState",
        cancel=("GET", "/cancel"),
    ),
    "jbpm": Service(
        submit="/jbpm/kie-server/services/rest/server/jobs",
        request={"job-command": "com.acme.Reindex", "request-data": {"businessKey": "order-7"}},
        status="/jbpm/kie-server/services/rest/server/jobs/{}",
        word="request-status",
        cancel=("DELETE", ""),
        jobs="/jbpm/kie-server/services/rest/server/jobs/keys/order-7?pageSize=100",
        jobs_of="request-info-instance",
        job_id="request-instance-id",
    ),
    "ogc": Service(
        submit="/ogc/processes/echo/execution",
        request={"inputs": {"message": "hello"}},
        status="/ogc/jobs/{}",
        id_of=("jobID",),
        word="status",
        cancel=("DELETE", ""),
        jobs="/ogc/jobs?limit=100",
        jobs_of="jobs",
        job_id="jobID",
    ),
    "ica": Service(
        submit="/ica/v1/tasks/runs",
        request={"name": "align", "execution": {"image": {"name": "ubuntu"}, "command": "true"}},
        status="/ica/v1/tasks/runs/{}",
        id_of=("id",),
        word="status",
        cancel=("PUT", ":abort"),
        jobs="/ica/v1/tasks/runs?pageSize=100",
        jobs_of="items",
        job_id="id",
    ),
    "titan": Service(
        submit="/titan/v1/jobs",
        request={"jobs": [{"image": "acme/resize:3", "retries_delay": 1}]},
        status="/titan/v1/job/{}",
        id_of=("jobs", 0, "id"),
        job_of=("job",),
        word="status",
        cancel=("POST", "/cancel"),
        jobs="/titan/v1/jobs?n=100",
        jobs_of="jobs",
        job_id="id",
    ),
}


@cache
def apis() -> Mapping[str, Api]:
    return load_apis()


@cache
def scenario(name: str) -> Scenario:
    declared = declared_in({one: load_document(api) for one, api in apis().items()}, apis())
    return load_scenario(name, apis(), declared)


@cache
def _shared() -> Kit:
    return Kit("happy")


def front(name: str, *, seed: int, served: Collection[str] = APIS) -> Front:
    """A server of these APIs with a world of its own, which plays one shipped scenario and whose clock stands still."""
    worlds = Worlds(
        rules={one: api.rules for one, api in apis().items()},
        scenario=scenario(name),
        seed=seed,
        mode=TimeMode.parse("frozen"),
        limits=Limits(),
        timesource=wall_clock,
    )
    services = {one: _shared().front.services[one] for one in served}
    return make_front(worlds, services, _shared().ledger, lambda wanted: scenario(wanted))


class Stage(Kit):
    """The shared services with a world of their own.

    Args:
        waited: the seconds that calls were kept waiting, for whom it concerns.
    """

    def __init__(self, name: str, *, seed: int = 7, waited: list[float]) -> None:
        self.ledger = _shared().ledger
        self.waited = waited
        self._known = len(self.ledger.lines("server"))
        self.front = front(name, seed=seed)

    @property
    def broken_documents(self) -> list[Line]:
        """The replies since the beginning that broke their document without saying so."""
        return self.ledger.lines("server")[self._known :]


class Client:
    """A client of one service; what it does is about the job that it submitted last, unless told otherwise."""

    def __init__(self, api: str, stage: Stage, token: str = "me") -> None:
        self.api = api
        self.stage = stage
        self.service = SERVICES[api]
        self.words = apis()[api].words
        self.headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json",
            "Prefer": "respond-async",
        }
        self.id = ""

    def ask(self, method: str, path: str, **more: Any) -> Answer:
        return self.stage.request(method, path, headers=self.headers, **more)

    def submit(self, **changes: Any) -> Answer:
        """Submit, and remember the job when there is one."""
        answer = self.ask("POST", self.service.submit, json=self.service.request | changes)
        if answer.status == 201:
            self.id = str(_at(answer.json(), self.service.id_of))
        return answer

    def poll(self, job_id: str = "") -> Answer:
        """A status call, with all that it can show."""
        query = "?withErrors=true&withData=true" if self.api == "jbpm" else ""
        return self.ask("GET", self.service.status.format(job_id or self.id) + query)

    def job(self, job_id: str = "") -> dict[str, Any]:
        """What a status call shows."""
        answer = self.poll(job_id)
        assert answer.status == 200, answer.text
        found: dict[str, Any] = _at(answer.json(), self.service.job_of)
        return found

    def shows(self, state: State, job_id: str = "") -> bool:
        """Whether the job's word is the one for this state."""
        return bool(self.job(job_id)[self.service.word] == self.words[state])

    def progress(self) -> int | None:
        """In percent, where the service shows it."""
        job = self.job()
        shown = job.get("progressCurrent") if self.api == "synapse" else job.get("progress")
        return None if shown is None else int(shown)

    def cancel(self) -> Answer:
        method, rest = self.service.cancel
        return self.ask(method, self.service.status.format(self.id) + rest)

    def listed(self) -> dict[str, str]:
        """The words of the jobs that a list shows, by id."""
        assert self.service.jobs is not None
        answer = self.ask("GET", self.service.jobs)
        assert answer.status == 200, answer.text
        jobs = answer.json()[self.service.jobs_of]
        return {str(job[self.service.job_id]): job[self.service.word] for job in jobs}

    def result(self) -> Answer:
        """OGC API - Processes has a call for it."""
        return self.ask("GET", f"/ogc/jobs/{self.id}/results")

    def log(self) -> Answer:
        """Titan has a call for it."""
        return self.stage.get(f"/titan/v1/job/{self.id}/log", headers={"Accept": "text/plain"})

    def claim(self) -> Answer:
        """As a worker of Titan; remembers the job when there is one."""
        answer = self.ask("GET", "/titan/v1/jobs/consume?n=1")
        if answer.status == 200 and answer.json()["jobs"]:
            self.id = answer.json()["jobs"][0]["id"]
        return answer

    def report_success(self) -> Answer:
        """As a worker of Titan."""
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="log"; filename="a.log"\r\n\r\ndone\r\n'
        return self.stage.post(
            f"/titan/v1/job/{self.id}/success",
            data=f"{part}--{BOUNDARY}--\r\n",
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )

    def wait(self, by: str) -> None:
        """Let virtual time pass."""
        self.stage.advance(by)

    def polls(self, count: int, every: str) -> list[int]:
        """The statuses of so many status calls, with a pause after each."""
        seen = []
        for _ in range(count):
            seen.append(self.poll().status)
            self.wait(every)
        return seen

    def failure(self) -> str:
        """All that the failed job tells of its failure, as one text."""
        job = self.job()
        if self.api == "ica":
            return json.dumps([job.get("statusDetails", ""), job.get("logs", [])], ensure_ascii=False)
        names = {
            "synapse": ("exception", "errorMessage", "errorDetails"),
            "jbpm": ("request-errors",),
            "ogc": ("message", "exception"),
            "titan": ("reason",),
        }[self.api]
        return json.dumps([job[name] for name in names if name in job], ensure_ascii=False)


def _at(value: Any, way: tuple[str | int, ...]) -> Any:
    for step in way:
        value = value[step]
    return value
