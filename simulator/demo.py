"""`understudy demo`: a server on a free port, and one client per API that takes a job from submit to its end.

The clients use nothing but HTTP, so this is also the shortest program that shows how each API is driven. For Titan, whose jobs
wait for a consumer, the client is the worker, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

READY = "understudy ready "
POLL_S = 0.25
GIVE_UP_S = 60


@dataclass(frozen=True)
class Seen:
    """What a client saw: the API's word for the job, percent done, whether that was the end."""

    word: str
    percent: int
    is_end: bool = False
    answer: str = ""


@dataclass(frozen=True)
class Client:
    """HTTP for one API."""

    base_url: str

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str]:
        """Status and text of one call; `body` is JSON unless it is bytes."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        request = Request(
            self.base_url + path, data=data, method=method, headers={"Accept": "application/json", **given}
        )
        try:
            with urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except HTTPError as refused:
            return refused.code, refused.read().decode()

    def json(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """The JSON value of a call that must succeed."""
        status, text = self.call(method, path, body, **headers)
        if status >= 300:
            raise RuntimeError(f"{method} {self.base_url}{path} answered {status}: {text}")
        return json.loads(text) if text else None


def synapse(client: Client) -> Iterator[Seen]:
    """Launch a table download, poll its status, read the result out of it."""
    wanted = {
        "concreteType": "org.sagebionetworks.repo.model.table.DownloadFromTableRequest",
        "entityId": "syn123",
        "sql": "SELECT * FROM syn123",
    }
    token = "Bearer demo"
    job = client.json("POST", "/asynchronous/job", wanted, Authorization=token)
    while job["jobState"] == "PROCESSING":
        yield Seen(job["jobState"], job.get("progressCurrent", 0))
        job = client.json("GET", f"/asynchronous/job/{job['jobId']}", Authorization=token)
    yield Seen(
        job["jobState"], 100, True, f"resultsFileHandleId {job['responseBody']['resultsFileHandleId']}"
    )


def jbpm(client: Client) -> Iterator[Seen]:
    """Schedule a command and poll until it is done; KIE server tells no progress, so the bar jumps."""
    wanted = {
        "job-command": "org.jbpm.executor.commands.PrintOutCommand",
        "request-data": {"businessKey": "demo"},
    }
    number = client.json("POST", "/server/jobs", wanted)
    percent = {"QUEUED": 0, "RUNNING": 50}
    while True:
        job = client.json("GET", f"/server/jobs/{number}")
        word = job["request-status"]
        if word not in percent:
            break
        yield Seen(word, percent[word])
    yield Seen(word, 100, True, f"job {number} after {job['request-executions']} execution")


def ogc(client: Client) -> Iterator[Seen]:
    """Execute the echo process, follow the links, fetch the results."""
    job = client.json(
        "POST", "/processes/echo/execution", {"inputs": {"message": "hello"}}, Prefer="respond-async"
    )
    path = f"/jobs/{job['jobID']}"
    while job["status"] in ("accepted", "running"):
        yield Seen(job["status"], job.get("progress", 0))
        job = client.json("GET", path)
    results = client.json("GET", f"{path}/results")
    yield Seen(job["status"], 100, True, f"results {json.dumps(results)}")


def ica(client: Client) -> Iterator[Seen]:
    """Create a task run and poll it."""
    token = "Bearer demo"
    wanted = {"name": "demo", "execution": {"image": {"name": "ubuntu"}, "command": "true"}}
    run = client.json("POST", "/v1/tasks/runs", wanted, Authorization=token)
    percent = {"Pending": 0, "Running": 50}
    while run["status"] in percent:
        yield Seen(run["status"], percent[run["status"]])
        run = client.json("GET", f"/v1/tasks/runs/{run['id']}", Authorization=token)
    yield Seen(run["status"], 100, True, f"logs at {run['logs'][0]['stdout']}")


def titan(client: Client) -> Iterator[Seen]:
    """Enqueue a job, then be its worker: consume it, work, report success with a log, read the log back."""
    job = client.json("POST", "/jobs", {"jobs": [{"image": "acme/resize:3", "payload": "{}"}]})["jobs"][0]
    yield Seen(job["status"], 0)
    (taken,) = client.json("GET", "/jobs/consume?n=1")["jobs"]
    for step in range(1, 9):
        client.call("POST", f"/job/{taken['id']}/touch")
        yield Seen(taken["status"], step * 12)
    body = (
        b'--demo\r\nContent-Disposition: form-data; name="log"; filename="run.log"\r\n'
        b"Content-Type: text/plain\r\n\r\nresized one picture\n\r\n--demo--\r\n"
    )
    kind = "multipart/form-data; boundary=demo"
    done = client.json("POST", f"/job/{taken['id']}/success", body, Content_Type=kind)["job"]
    _, log = client.call("GET", f"/job/{taken['id']}/log", Accept="text/plain")
    yield Seen(done["status"], 100, True, f"log {log!r}")


DRIVERS: dict[str, Callable[[Client], Iterator[Seen]]] = {
    "synapse": synapse,
    "jbpm": jbpm,
    "ogc": ogc,
    "ica": ica,
    "titan": titan,
}


def run_demo(seed: int, console: Console | None = None) -> int:
    """Run it; 0 when every job came to its end."""
    console = console or Console()
    server = subprocess.Popen(
        [sys.executable, "-m", "simulator", "serve", "--port", "0", "--seed", str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stderr is not None
        line = server.stdout.readline()
        if not line.startswith(READY):
            console.print(f"the server did not start: {line}{server.stderr.read()}")
            return 1
        return _drive(line.removeprefix(READY).strip(), console)
    finally:
        server.terminate()
        server.communicate(timeout=10)


def _drive(url: str, console: Console) -> int:
    with urlopen(f"{url}/", timeout=10) as response:
        base_urls = {api["name"]: api["base_url"] for api in json.load(response)["apis"]}
    console.print(f"understudy serves at {url}")
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  {task.fields[word]}"),
    )
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(len(DRIVERS)) as pool:
        tasks = {name: progress.add_task(name, total=100, word="") for name in DRIVERS}
        waiting = {
            name: pool.submit(_follow, driver(Client(base_urls[name])), progress, tasks[name])
            for name, driver in DRIVERS.items()
        }
        ends = {name: future.result() for name, future in waiting.items()}
    table = Table("API", "ended", "answered")
    for name, end in ends.items():
        table.add_row(name, end.word, end.answer)
    console.print(table)
    return 0 if all(end.is_end for end in ends.values()) else 1


def _follow(seen: Iterator[Seen], progress: Progress, task: TaskID) -> Seen:
    """Let one driver go on until the end of its job."""
    latest = Seen("", 0)
    give_up_at = time.monotonic() + GIVE_UP_S
    for latest in seen:
        progress.update(task, completed=latest.percent, word=latest.word)
        if latest.is_end or time.monotonic() > give_up_at:
            break
        time.sleep(POLL_S)
    return latest
