"""What one HTTP call costs the server: CPU time per request of understudy, of a bare ASGI app, and of Prism.

    python -m tests.benchmarks.http_cost [--prism PATH] [--against DIR] [--rounds 15] [--requests 1000] [titan ica ogc]

Each round measures every server with every call once, in an order shuffled anew: other work on the machine then hits all of
them alike, and what is compared comes from one run. Requests per second are not reported: they say as much about the client
and the machine as about the server. Prism is measured when it is there (`npm install --prefix DIR @stoplight/prism-cli`, then
`--prism DIR/node_modules/.bin/prism`). `--against` names another checkout, such as the one before a change, to be measured in
the same rounds.
"""

from __future__ import annotations

import argparse
import math
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import orjson

from tests.benchmarks import servers
from tests.benchmarks.servers import ROOT, Server
from tests.benchmarks.table import judge, print_table

ROUND_S_MAX = 20
OURS = "understudy"
BEFORE = "the other checkout"
RULED = "with ten rules"
BARE = "bare ASGI app"
SCENARIO = """
# Jobs that are under way as long as they are watched: what one costs later is not the cost of a call.
jobs:
  - script:
      - running: 1h
        progress: 0..100
        message: Working
      - succeeded
"""
RULES = """
calls:
  # Ten rules that are for status calls and do not fire, each for another reason.
  - {when: {role: status, state: failed}, answer: {status: 503}}
  - {when: {role: status, state: [cancelled, succeeded]}, delay: 1s}
  - {when: {role: status, number: 900000..999999}, answer: {status: 503}}
  - {when: {role: status, header.x-client: "nobody-*"}, answer: {status: 503}}
  - {when: {role: status, query.verbose: "true"}, answer: {status: 503}}
  - {when: {role: status, after: 10h}, answer: {status: 503}}
  - {when: {role: status, state: delayed, call: 2}, fault: connection_reset}
  - {when: {role: status, state: queued, every: 3}, fault: truncated_body}
  - {when: {role: status, state: retrying, chance: 0.5}, fault: html_error_page}
  - {when: {role: [status, list], header.user-agent: "old-*"}, fault: wrong_content_type}
"""
PRISMS: dict[str, tuple[str, ...]] = {"Prism": (), "Prism, no log": ("--verboseLevel", "error")}
"""As it comes it writes some lines about each call, which is about half of what it does."""
SERVERS = (OURS, RULED, BEFORE, BARE, *PRISMS)
RULES_MAX = 1.3
"""How much more a status call may cost when ten rules are asked first."""
DEARER_MAX = 1.1
"""How much more a change may make a call cost."""


@dataclass(frozen=True)
class Calls:
    """How a client submits a job to an API and asks for its status."""

    base_path: str
    submit_path: str
    submit_body: Any
    status_path: Callable[[Any], str]
    """From the decoded answer to the submit."""
    headers: Mapping[str, str] = field(default_factory=dict)


# Bodies of about 600 bytes, as real clients send them.
CALLS = {
    "titan": Calls(
        base_path="/v1",
        submit_path="/jobs",
        submit_body={
            "jobs": [
                {
                    "image": "registry.example.org/acme/resize:3.1.4",
                    "payload": orjson.dumps(
                        {"sources": [f"s3://pictures/2030/01/01/{number:08d}.tiff" for number in range(11)]}
                    ).decode(),
                    "priority": 1,
                    "timeout": 600,
                    "max_retries": 2,
                }
            ]
        },
        status_path=lambda answer: f"/job/{answer['jobs'][0]['id']}",
    ),
    "ica": Calls(
        base_path="",
        submit_path="/v1/tasks/runs",
        submit_body={
            "name": "count-reads",
            "description": "Counts the reads of one sample.",
            "execution": {
                "image": {"name": "registry.example.org/tools/count-reads", "tag": "1.4.0"},
                "command": "count-reads",
                "args": ["--input", "/data/sample.fastq", "--output", "/results"],
                "inputs": [
                    {"path": "/data/sample.fastq", "url": "gds://demo/sample.fastq", "mode": "download"}
                ],
                "outputs": [
                    {"path": "/results", "url": "gds://demo/results"},
                    {"path": "/var/log/tessystemlogs", "url": "gds://demo/logs"},
                ],
                "environment": {
                    "variables": {"THREADS": "4"},
                    "resources": {"type": "standard", "size": "medium"},
                },
                "retryLimit": 1,
            },
        },
        status_path=lambda answer: f"/v1/tasks/runs/{answer['id']}",
        headers={"Authorization": "Bearer benchmark"},
    ),
    "ogc": Calls(
        base_path="",
        submit_path="/processes/echo/execution",
        submit_body={"inputs": {"message": "All work and no play makes Jack a dull boy. " * 13}},
        status_path=lambda answer: f"/jobs/{answer['jobID']}",
        headers={"Prefer": "respond-async"},
    ),
}


@dataclass
class Cell:
    """One server with one call, and what each round found."""

    method: str
    name: str
    server: Server
    request: bytes
    status: int
    answer_bytes: int = 0
    micros: list[float] = field(default_factory=list)

    def measure(self, count: int, connections: int) -> None:
        """One round."""
        before = self.server.cpu_seconds()
        done = load(self, count, connections)
        self.micros.append((self.server.cpu_seconds() - before) / done * 1e6)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("apis", nargs="*", choices=[*CALLS, []], default=[], metavar="API")
    parser.add_argument("--prism", type=Path, help="its executable; default: the one in PATH")
    parser.add_argument("--against", type=Path, metavar="DIR", help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--requests", type=int, default=1000, help="per server, call and round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--warm-up", type=int, default=1000, help="requests before the first round")
    parser.add_argument("--seed", type=int, default=1, help="of the order")
    wanted = parser.parse_args()
    prism = _prism(wanted.prism)
    shuffle = random.Random(wanted.seed).shuffle
    with servers.kept_apart() as pinned:
        print(
            f"server on core {pinned[0]}, client on core {pinned[1]}"
            if pinned
            else "no two cores to keep server and client apart: expect noise"
        )
        print(f"{wanted.rounds} rounds of {wanted.requests} requests over {wanted.connections} connections\n")
        measured: dict[str, list[Cell]] = {}
        for api in wanted.apis or CALLS:
            with ExitStack() as running:
                cells = _cells(api, prism, wanted.against, pinned, running)
                for cell in cells:
                    load(cell, wanted.warm_up, wanted.connections)
                for _ in range(wanted.rounds):
                    shuffle(cells)
                    for cell in cells:
                        cell.measure(wanted.requests, wanted.connections)
            measured[api] = sorted(cells, key=lambda cell: SERVERS.index(cell.name))
    _report(measured)


def _prism(given: Path | None) -> Path | None:
    found = given or shutil.which("prism")
    if found is None or not Path(found).exists():
        print(f"Prism is not measured: {given or 'prism in PATH'} was not found")
        return None
    return Path(found).absolute()


def _cells(
    api: str,
    prism: Path | None,
    before: Path | None,
    pinned: tuple[int, int] | None,
    running: ExitStack,
) -> list[Cell]:
    """Start the servers; each with a submit and a status call."""
    calls = CALLS[api]
    folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
    scenario = folder / "under-way.yaml"
    scenario.write_text(SCENARIO)
    ours = running.enter_context(servers.understudy(api, "--scenario", str(scenario), pinned=pinned))
    prefix = f"/{api}{calls.base_path}"
    post, get, submitted, polled = _submit_and_poll(OURS, ours, prefix, calls)

    replies = folder / "replies.json"
    replies.write_bytes(
        orjson.dumps(
            {
                "GET": {"status": 200, "body": polled},
                "POST": {"status": post.status, "body": submitted},
            }
        )
    )
    others = {BARE: (running.enter_context(servers.bare_app(replies, pinned)), prefix)}
    if prism is not None:
        # Prism serves the paths of a document without the base path of its server.
        document = ROOT / "openapi" / f"{api}.yaml"
        for name, options in PRISMS.items():
            served = servers.prism(prism, document, *options, pinned=pinned)
            others[name] = (running.enter_context(served), "")
    ruled_scenario = folder / "ruled.yaml"
    ruled_scenario.write_text(SCENARIO + RULES)
    ruled = running.enter_context(servers.understudy(api, "--scenario", str(ruled_scenario), pinned=pinned))
    cells = [post, get, *_submit_and_poll(RULED, ruled, prefix, calls)[:2]]
    if before is not None:
        older = running.enter_context(
            servers.understudy(api, "--scenario", str(scenario), pinned=pinned, checkout=before.absolute())
        )
        cells += _submit_and_poll(BEFORE, older, prefix, calls)[:2]
    for name, (server, base) in others.items():
        for like, path in ((post, calls.submit_path), (get, calls.status_path(submitted))):
            # Prism would answer with the first success of the document.
            asked = replace(calls, headers={**calls.headers, "Prefer": f"code={like.status}"})
            sent = request(like.method, base + path, asked if name in PRISMS else calls)
            cell = Cell(like.method, name, server, sent, like.status)
            answered, content = once(cell)
            if answered != cell.status:
                sys.exit(f"{name} answered {answered} to {like.method} {path}: {content.decode()}")
            cell.answer_bytes = len(content)
            cells.append(cell)
    return cells


def _submit_and_poll(name: str, server: Server, prefix: str, calls: Calls) -> tuple[Cell, Cell, Any, Any]:
    """The two calls of an understudy, and what they answered."""
    post = Cell("POST", name, server, request("POST", prefix + calls.submit_path, calls), 0)
    post.status, content = once(post)
    post.answer_bytes = len(content)
    submitted = orjson.loads(content)
    get = Cell("GET", name, server, request("GET", prefix + calls.status_path(submitted), calls), 200)
    status, content = once(get)
    if status != get.status:
        sys.exit(f"{name} answered {status} to a GET: {content.decode()}")
    get.answer_bytes = len(content)
    return post, get, submitted, orjson.loads(content)


# ---- the client -----------------------------------------------------------------------------------------------------


def request(method: str, path: str, calls: Calls) -> bytes:
    """The bytes of a call."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in calls.headers.items()]
    body = b""
    if method == "POST":
        body = orjson.dumps(calls.submit_body)
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def once(cell: Cell) -> tuple[int, bytes]:
    """Status and body of one call."""
    with socket.create_connection(("127.0.0.1", cell.server.port), timeout=10) as connection:
        connection.sendall(cell.request)
        return read_reply(connection)


def load(cell: Cell, count: int, connections: int) -> int:
    """Call again and again, each connection waiting for its answer; says how many calls there were."""
    address = ("127.0.0.1", cell.server.port)
    stop_at = time.monotonic() + ROUND_S_MAX
    done = 0
    with ExitStack() as opened:
        sockets = [
            opened.enter_context(socket.create_connection(address, timeout=10)) for _ in range(connections)
        ]
        while done < count and time.monotonic() < stop_at:
            for connection in sockets:
                connection.sendall(cell.request)
            for connection in sockets:
                status, _ = read_reply(connection)
                if status != cell.status:
                    raise RuntimeError(f"{cell.name} answered {status} instead of {cell.status}")
            done += connections
    return done


def read_reply(connection: socket.socket) -> tuple[int, bytes]:
    """Status and body of a reply that says how long it is."""
    received = connection.recv(65_536)
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(body) < length:
        body += _more(connection)
    return int(head[9:12]), body


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65_536)
    if not received:
        raise RuntimeError("the server closed the connection")
    return received


# ---- the report -----------------------------------------------------------------------------------------------------


def _report(measured: Mapping[str, list[Cell]]) -> None:
    rows = []
    ratios: dict[tuple[str, str], list[float]] = {}
    for api, cells in measured.items():
        for method in ("GET", "POST"):
            (ours,) = (cell for cell in cells if cell.method == method and cell.name == OURS)
            for cell in cells:
                if cell.method != method:
                    continue
                by_min, by_median = (_ratio(pick(cell.micros), pick(ours.micros)) for pick in (min, median))
                ratios.setdefault((cell.name, method), []).append(by_median)
                rows.append(
                    (
                        api,
                        method,
                        cell.name,
                        cell.answer_bytes,
                        f"{min(cell.micros):.0f}",
                        f"{median(cell.micros):.0f}",
                        f"{by_min:.2f}",
                        f"{by_median:.2f}",
                    )
                )
    print_table(
        ("api", "call", "server", "answer bytes", "µs min", "µs median", "x ours (min)", "x ours (median)"),
        rows,
        left=3,
    )
    print()
    for method in ("GET", "POST"):
        bare = max(_ratio(1, ratio) for ratio in ratios[BARE, method])
        if method == "GET":
            judge("understudy / bare app, GET, worst API", bare, at_most=2.5)
        if method == "GET":
            dearer = max(ratios[RULED, method])
            judge("understudy with ten rules / without, GET, worst API", dearer, at_most=RULES_MAX)
        if (BEFORE, method) in ratios:
            dearer = max(_ratio(1, ratio) for ratio in ratios[BEFORE, method])
            judge(f"understudy / the other checkout, {method}, worst API", dearer, at_most=DEARER_MAX)
        if ("Prism", method) in ratios:
            judge(f"Prism / understudy, {method}, worst API", min(ratios["Prism", method]), at_least=4)


def _ratio(one: float, other: float) -> float:
    """Not a number when the clock was too coarse for so few requests."""
    return one / other if other else math.nan


if __name__ == "__main__":
    main()
