"""Whether a server stays quick, correct and as small as predicted through a million jobs and hundreds of thousands of requests.

    python -m tests.benchmarks.soak [--requests 300000] [--jobs 1000000] [--worlds 100] [--seconds 720]

One server process, many connections at full speed over loopback. Each connection goes through its own share of the worlds, and
in each world through a round of requests: it submits to all five APIs (to Titan whole lists), asks for the status of new and of
old jobs, lists, cancels, moves the clock, and looks at jobs and calls through the control API. Every answer must have the status
that it has when nothing is wrong.

Reported per tenth of the run: requests per second, how long answers took, and what the server's process used. At the end three
aims decide about the exit code: no error; the p99 of the last tenth at most 1.5 times that of the first; and resident memory at
most a quarter above what is predicted:

    before the first job  +  jobs * JOB_BYTES
    +  min(calls * CALL_BYTES + jobs * LISTED_BYTES, what all call logs may take)

A job is dear here: many worlds with ten thousand jobs each keep them as they are, to be quick, and pack none of them
(`simulator.engine.archive`). For a million jobs in one world see `engine_cost`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import psutil

from simulator.runtime.calls import CALL_BYTES_MAX
from tests.benchmarks import servers
from tests.benchmarks.servers import Server
from tests.benchmarks.table import judge, print_table

JOB_BYTES = 1_600
"""A job of this soak that has ended, its entry in the journal included; measured with some thousands in a world."""
CALL_BYTES = 2_400
"""A call of this soak in a log, measured with lists of one job."""
LISTED_BYTES = 320
"""What a job adds to the call that submitted it and to its answer."""
TENTHS = 10
SLOWER_MAX = 1.5
LARGER_MAX = 1.25
SUBMITS_PER_ROUND = 5
"""To Titan, lists of jobs; the other four APIs get one job each."""
WORLD = {"scenario": "titan-self-running", "time": "frozen"}
TABLE = "org.sagebionetworks.repo.model.table.DownloadFromTableRequest"
BEARER = b"Authorization: Bearer soak\r\n"
ASYNC = b"Prefer: respond-async\r\n"
JSON = b"Accept: application/json\r\n"
KIE = "/kie-server/services/rest/server/jobs"


@dataclass
class Tenth:
    """What was measured in one tenth of the run."""

    seconds: float = 0
    server_seconds: float = 0
    resident_bytes: int = 0
    took: list[float] = field(default_factory=list)

    def percentile(self, part: float) -> float:
        """Milliseconds within which this part of the answers came."""
        took = sorted(self.took)
        return took[min(int(len(took) * part), len(took) - 1)] * 1000 if took else 0.0


class Soak:
    """One run: how much is to be done, and what came of it."""

    def __init__(self, server: Server, *, requests: int, jobs: int, worlds: int, seconds: float) -> None:
        self.server = server
        self.requests = requests
        self.jobs = jobs
        self.worlds = worlds
        self.seconds = seconds
        self.errors: Counter[str] = Counter()
        self.tenths: list[Tenth] = []
        self.sent = self.calls = self.submitted = 0
        self._tenth = Tenth()
        self._began = self._tenth_began = self._stop_at = 0.0
        self._server_seconds = 0.0

    async def run(self, connections: int) -> None:
        """Go on until everything is done or the time is up."""
        clients = [await Connection.to(self.server.port) for _ in range(connections)]
        for number in range(self.worlds):
            await self._make(clients[0], f"soak-{number}")
        # What is compiled at the first use of an API and what is learned about hot code belongs to no tenth.
        await self._make(clients[0], "warm")
        for _ in range(3 if self.requests < 10_000 else 30):
            await self._round(clients[0], Talk("warm", 0), 1)
        await self.ask(clients[0], "warm", "DELETE", "/__admin/worlds/warm", 204)
        self.sent = self.calls = self.submitted = 0
        self.errors.clear()
        self.base_bytes = self.server.process.memory_info().rss
        self._tenth = Tenth()
        self._began = self._tenth_began = time.monotonic()
        self._stop_at = self._began + self.seconds
        self._server_seconds = self.server.cpu_seconds()
        shares = [range(place, self.worlds, connections) for place in range(min(connections, self.worlds))]
        await asyncio.gather(*map(self._work, clients, shares))
        self.all_seconds = time.monotonic() - self._began
        if self._tenth.took:
            self._end_tenth()
        for client in clients:
            client.close()

    @property
    def is_over(self) -> bool:
        """Whether nobody begins another round."""
        return self.sent >= self.requests or time.monotonic() > self._stop_at

    @property
    def predicted_bytes(self) -> float:
        """Resident memory at the end."""
        logged = self.calls * CALL_BYTES + self.submitted * LISTED_BYTES
        return self.base_bytes + self.submitted * JOB_BYTES + min(logged, CALL_BYTES_MAX)

    async def _make(self, client: Connection, name: str) -> None:
        await self.ask(client, "make", "PUT", f"/__admin/worlds/{name}", 201, WORLD | {"seed": 1})

    async def _work(self, client: Connection, numbers: range) -> None:
        talks = [Talk(f"soak-{number}", number) for number in numbers]
        while True:
            for talk in talks:
                if self.is_over:
                    return
                await self._round(client, talk, self._list_length())

    def _list_length(self) -> int:
        """How many jobs Titan must get at once, so that all are submitted in the end."""
        submits = (self.requests - self.sent) / ROUND_LENGTH * SUBMITS_PER_ROUND
        return max(1, round((self.jobs - self.submitted) / max(submits, 1)))

    async def _round(self, client: Connection, talk: Talk, list_length: int) -> None:
        for name, method, path, status, body, headers in talk.round(list_length):
            answer = await self.ask(client, name, method, path, status, body, headers)
            if status == 201 and answer:
                self.submitted += talk.learn(name, answer)

    async def ask(
        self,
        client: Connection,
        name: str,
        method: str,
        path: str,
        status: int,
        body: Any = None,
        headers: bytes = b"",
    ) -> bytes:
        """One request; what was answered if it is what should be."""
        content = b"" if body is None else orjson.dumps(body)
        told = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + headers
        if body is not None:
            told += b"Content-Type: application/json\r\nContent-Length: %d\r\n" % len(content)
        began = time.perf_counter()
        try:
            answered, answer = await client.ask(told + b"\r\n" + content)
        except ConnectionError as problem:
            self.errors[f"{name}: {problem}"] += 1
            raise
        self._tenth.took.append(time.perf_counter() - began)
        self.sent += 1
        if not path.startswith("/__admin"):
            self.calls += 1
        if answered != status:
            self.errors[
                f"{name}: {answered} instead of {status}: {answer[:200].decode('utf-8', 'replace')}"
            ] += 1
            answer = b""
        if self._began and len(self._tenth.took) >= self.requests / TENTHS and len(self.tenths) < TENTHS - 1:
            self._end_tenth()
        return answer

    def _end_tenth(self) -> None:
        tenth, now, used = self._tenth, time.monotonic(), self.server.cpu_seconds()
        tenth.seconds, self._tenth_began = now - self._tenth_began, now
        tenth.server_seconds, self._server_seconds = used - self._server_seconds, used
        tenth.resident_bytes = self.server.process.memory_info().rss
        self.tenths.append(tenth)
        self._tenth = Tenth()


Request = tuple[str, str, str, int, Any, bytes]
"""A name for people, method, path, the status that it must be answered with, body, more headers."""


class Talk:
    """What a client says in one world, and the jobs that it knows there."""

    def __init__(self, world: str, seed: int) -> None:
        self._world = f"/worlds/{world}"
        self._admin = f"/__admin/worlds/{world}"
        self._draw = random.Random(seed)
        self._jobs: dict[str, list[str]] = {"titan": [], "synapse": [], "jbpm": [], "ogc": [], "ica": []}
        self._number = 0

    def round(self, list_length: int) -> Iterator[Request]:
        """The same kinds of requests each time, `ROUND_LENGTH` of them."""
        self._number += 1
        number, world, admin, jobs = self._number, self._world, self._admin, self._jobs
        for place in range(SUBMITS_PER_ROUND):
            wanted = [{"image": f"acme/resize:{place}", "priority": at % 3} for at in range(list_length)]
            yield "titan submit", "POST", f"{world}/titan/v1/jobs", 201, {"jobs": wanted}, b""
            yield "titan status, old", "GET", f"{world}/titan/v1/job/{self._old('titan')}", 200, None, b""
        yield "titan cancel", "POST", f"{world}/titan/v1/job/{jobs['titan'][-1]}/cancel", 200, None, b""
        yield "titan list", "GET", f"{world}/titan/v1/jobs?n=5", 200, None, b""

        base = f"{world}/synapse/repo/v1/asynchronous/job"
        yield "synapse submit", "POST", base, 201, {"concreteType": TABLE, "entityId": f"syn{number}"}, BEARER
        yield "synapse status", "GET", f"{base}/{jobs['synapse'][-1]}", 200, None, BEARER

        base = f"{world}/jbpm{KIE}"
        command = {"job-command": "a.B", "request-data": {"businessKey": f"order-{number}"}}
        yield "jbpm submit", "POST", base, 201, command, JSON
        yield "jbpm status, old", "GET", f"{base}/{self._old('jbpm')}", 200, None, JSON
        yield "jbpm list", "GET", f"{base}?status=DONE&pageSize=5", 200, None, JSON

        execution = {"inputs": {"message": f"message {number}"}}
        yield "ogc submit", "POST", f"{world}/ogc/processes/echo/execution", 201, execution, ASYNC
        yield "ogc status", "GET", f"{world}/ogc/jobs/{jobs['ogc'][-1]}", 200, None, b""
        yield "ogc list", "GET", f"{world}/ogc/jobs?limit=5", 200, None, b""

        base = f"{world}/ica/v1/tasks/runs"
        yield "ica submit", "POST", base, 201, {"name": f"run-{number}"}, BEARER
        yield "ica status, old", "GET", f"{base}/{self._old('ica')}", 200, None, BEARER
        yield "ica list", "GET", f"{base}?pageSize=5&sort=timeCreated%20desc", 200, None, BEARER
        yield "ica cancel", "PUT", f"{base}/{jobs['ica'][-1]}:abort", 200, {}, BEARER

        yield "control jobs", "GET", f"{admin}/jobs?limit=5", 200, None, b""
        yield "control job", "GET", f"{admin}/jobs/titan/{self._old('titan')}", 200, None, b""
        yield "control calls", "GET", f"{admin}/calls?limit=2", 200, None, b""
        yield "control advance", "POST", f"{admin}/clock/advance", 200, {"by": "5s"}, b""

    def learn(self, name: str, answer: bytes) -> int:
        """Remember the jobs that a submit was answered with; how many there are."""
        told = orjson.loads(answer)
        match name:
            case "titan submit":
                learned = [job["id"] for job in told["jobs"]]
            case "synapse submit":
                learned = [told["jobId"]]
            case "jbpm submit":
                learned = [str(told)]
            case "ogc submit":
                learned = [told["jobID"]]
            case "ica submit":
                learned = [told["id"]]
            case _:
                return 0
        # A few of each list are enough to ask for; the last one is among them.
        self._jobs[name.partition(" ")[0]] += learned[-2:]
        return len(learned)

    def _old(self, api: str) -> str:
        return self._draw.choice(self._jobs[api])


class _Any(dict[str, list[str]]):
    """Jobs of a world of which nothing is known."""

    def __missing__(self, api: str) -> list[str]:
        return ["1"]


def _round_length() -> int:
    talk = Talk("any", 0)
    talk._jobs = _Any()
    return sum(1 for _ in talk.round(1))


ROUND_LENGTH = _round_length()


class Connection(asyncio.Protocol):
    """A connection that is kept alive, one request at a time, with as little work as possible."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    @classmethod
    async def to(cls, port: int) -> Connection:
        """Connect to a server on this machine."""
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, problem: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        _, found, rest = head.partition(b"content-length: ")
        length = int(rest.partition(b"\r\n")[0]) if found else 0
        if len(body) >= length and self._answer is not None:
            self._received = b""
            self._answer.set_result((int(head[9:12]), body))


def main() -> int:
    """Run, report, and say by the exit code whether the aims are met."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=300_000)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=720, help="after so long no more rounds are begun")
    parser.add_argument("--connections", type=int, default=16)
    wanted = parser.parse_args()
    with servers.kept_apart() as pinned, servers.understudy("--time", "frozen", pinned=pinned) as server:
        soak = Soak(
            server,
            requests=wanted.requests,
            jobs=wanted.jobs,
            worlds=wanted.worlds,
            seconds=wanted.seconds,
        )
        asyncio.run(soak.run(wanted.connections))
        return report(soak, psutil.Process(server.process.pid).memory_info().rss)


def report(soak: Soak, resident_bytes: int) -> int:
    """Print what was measured; 1 if an aim is missed."""
    print(
        f"{soak.sent:,} requests, {soak.submitted:,} jobs, {soak.worlds} worlds in {soak.all_seconds:.0f} s:"
        f" {soak.sent / soak.all_seconds:,.0f} requests and {soak.submitted / soak.all_seconds:,.0f} jobs per second\n"
    )
    header = ("tenth", "requests/s", "ms p50", "ms p99", "ms max", "server µs/request", "resident MB")
    print_table(
        header,
        [
            (
                place,
                f"{len(tenth.took) / tenth.seconds:,.0f}",
                f"{tenth.percentile(0.5):.2f}",
                f"{tenth.percentile(0.99):.2f}",
                f"{tenth.percentile(1):.2f}",
                f"{tenth.server_seconds / len(tenth.took) * 1e6:,.0f}",
                f"{tenth.resident_bytes / 1e6:,.0f}",
            )
            for place, tenth in enumerate(soak.tenths, 1)
        ],
    )
    print(
        f"\nresident at the end: {resident_bytes / 1e6:,.0f} MB, predicted: {soak.predicted_bytes / 1e6:,.0f} MB"
    )
    for error, count in soak.errors.most_common(20):
        print(f"{count:,} times {error}")
    if soak.sent < soak.requests or soak.submitted < soak.jobs * 0.99:
        print("not everything was done in the time that was given")
    print()
    slower = soak.tenths[-1].percentile(0.99) / soak.tenths[0].percentile(0.99)
    larger = resident_bytes / soak.predicted_bytes
    errors = sum(soak.errors.values())
    judge("errors", errors, at_most=0)
    judge("p99, last tenth / first tenth", slower, at_most=SLOWER_MAX)
    judge("resident memory / predicted", larger, at_most=LARGER_MAX)
    return int(errors > 0 or slower > SLOWER_MAX or larger > LARGER_MAX)


if __name__ == "__main__":
    sys.exit(main())
