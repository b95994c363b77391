"""What the engine costs by itself, without HTTP: jobs and moves per second, pages of long lists, memory of many jobs.

    python -m tests.benchmarks.engine_cost [--jobs 50000] [--many 1000000] [--rounds 3] [speed pages memory]

Jobs are submitted as clients of two APIs do it, in the modules' own functions, so requests and labels are what they are in
a real world. A move is a change of a job's state because time passed.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import orjson
import psutil

from simulator.apis import ica, jbpm
from simulator.apis.contract import Api, Call, Handler
from simulator.apis.sample import SchemaSampler
from simulator.assemble import load_apis, load_document, load_scenario
from simulator.engine.archive import UNPACKED_MAX
from simulator.engine.job import State
from simulator.engine.world import Limits, World
from simulator.journal.memory import MemoryJournal
from simulator.web.server import tune_collector
from tests.benchmarks.table import judge, print_table

FEW = 1_000
HOUR_MS = 3_600_000
HALF_STAY = """
# Every second job stays under way.
jobs:
  - when: {request.name: "*[02468]"}
    script: [queued: 1s, running: forever]
  - script: [queued: 1s, running: 3s, succeeded]
"""


class Service:
    """A world and one API in it."""

    def __init__(self, api: Api, submit: Handler, bodies: Callable[[int], bytes], scenario: str) -> None:
        apis = load_apis()
        playbook = load_scenario(scenario, apis)
        self.world = World(
            seed=1,
            rules={name: one.rules for name, one in apis.items()},
            playbook=playbook,
            limits=Limits(jobs=10_000_000),
            journal=MemoryJournal(),
        )
        self._settings = playbook.settings[api.name]
        self._sampler = SchemaSampler(load_document(api))
        self._submit = submit
        self._bodies = bodies

    def call(self, params: dict[str, Any], body: Any = None) -> Call:
        """A call as the web layer would hand it to the API."""
        return Call(
            world=self.world,
            operation="",
            params=params,
            body=body,
            headers={},
            base_url="http://127.0.0.1:4010",
            settings=self._settings,
            sampler=self._sampler,
            document={},
            body_format="application/json",
        )

    def submit(self, number: int) -> None:
        """Submit a job that has not its like."""
        self._submit(self.call({}, orjson.loads(self._bodies(number))))


def ica_service(scenario: str = "happy") -> Service:
    """Illumina's task runs."""
    body = (
        b'{"name":"nightly-%07d","execution":{"image":{"name":"acme/align","tag":"2.1"},'
        b'"command":"align --sample %07d --threads 4"}}'
    )
    return Service(ica.api, ica.CreateTaskRun, lambda number: body % (number, number), scenario)


def jbpm_service(scenario: str = "happy") -> Service:
    """jBPM's jobs."""
    body = (
        b'{"job-command":"org.jbpm.executor.commands.PrintOutCommand",'
        b'"request-data":{"businessKey":"order-%07d","retries":3}}'
    )
    return Service(jbpm.api, jbpm.scheduleRequest, lambda number: body % number, scenario)


SERVICES = {"ica": ica_service, "jbpm": jbpm_service}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = {"speed": report_speed, "pages": report_pages, "memory": report_memory}
    parser.add_argument("parts", nargs="*", choices=[*parts, []], default=[], metavar="PART")
    parser.add_argument("--jobs", type=int, default=50_000, help="how many are under way at once in `speed`")
    parser.add_argument("--many", type=int, default=1_000_000, help="a long list, and much memory")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--fill", choices=[f"{api}-{how}" for api in SERVICES for how in HOW], help="for itself"
    )
    wanted = parser.parse_args()
    if wanted.fill:
        print(bytes_per_job(*wanted.fill.split("-"), wanted.many))
        return
    # As the server does it.
    tune_collector()
    for place, part in enumerate(wanted.parts or parts):
        if place:
            print()
        parts[part](wanted)


# ---- speed ----------------------------------------------------------------------------------------------------------


def report_speed(wanted: argparse.Namespace) -> None:
    """Submits and moves per second of processor time."""
    sizes = {
        "as they are": min(wanted.jobs, UNPACKED_MAX),
        "mostly packed": min(wanted.jobs, UNPACKED_MAX) * 3,
    }
    found: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(wanted.rounds):
        for api in SERVICES:
            for kept, jobs in sizes.items():
                submits, moves = speed(api, jobs)
                found.setdefault((api, "submits", f"{jobs:,} {kept}"), []).append(submits)
                found.setdefault((api, "moves", f"{jobs:,} {kept}"), []).append(moves)
    print_table(
        ("api", "per second", "jobs under way at once", "best", "median"),
        [(*key, f"{max(each):,.0f}", f"{median(each):,.0f}") for key, each in sorted(found.items())],
        left=3,
    )
    print()
    moves = min(median(each) for key, each in found.items() if key[1] == "moves" and "as they are" in key[2])
    judge("moves per second, jobs as they are", moves, at_least=100_000)


def speed(api: str, jobs: int) -> tuple[float, float]:
    """Submits per second (the engine's part of them), moves per second."""
    service = SERVICES[api]()
    world = service.world
    spent = 0.0
    with counted(world) as seconds:
        for number in range(jobs):
            service.submit(number)
        spent = sum(seconds)
    began = time.process_time()
    world.advance(world.now_ms + HOUR_MS)
    moving = time.process_time() - began
    # Each job was queued, then ran, then succeeded.
    assert world.count(api, states=[State.SUCCEEDED]) == jobs
    return jobs / spent, 2 * jobs / moving


@contextmanager
def counted(world: World) -> Iterator[list[float]]:
    """The seconds of processor time of each command."""
    seconds: list[float] = []
    apply = world.apply

    def timed(command: Any, **more: Any) -> Any:
        began = time.perf_counter()
        answer = apply(command, **more)
        seconds.append(time.perf_counter() - began)
        return answer

    world.apply = timed  # type: ignore[method-assign]
    try:
        yield seconds
    finally:
        del world.apply


# ---- pages ----------------------------------------------------------------------------------------------------------


def report_pages(wanted: argparse.Namespace) -> None:
    """A page of ten among few and among many, as the ICA module makes it and as the engine finds it."""
    few, many = (filled(count) for count in (FEW, wanted.many))
    rows, ratios = [], []
    for what in PAGES:
        small, large = page_micros(few, FEW, what), page_micros(many, wanted.many, what)
        ratio = large[0] / small[0]
        if not what.startswith("engine"):
            ratios.append(ratio)
        rows.append(
            (what, f"{small[0]:.1f}", f"{large[0]:.1f}", f"{ratio:.2f}", f"{large[1] / small[1]:.2f}")
        )
    header = ("page of 10", f"µs, {FEW:,} jobs", f"µs, {wanted.many:,} jobs", "x (min)", "x (median)")
    print_table(header, rows)
    print()
    judge("longest list / shortest list, worst page of the API", max(ratios), at_most=2)


def filled(count: int) -> Service:
    """ICA with so many jobs, one per millisecond; half of them end."""
    service = ica_service(HALF_STAY)
    for number in range(count):
        service.submit(number)
        service.world.advance(service.world.now_ms + 1)
    service.world.advance(service.world.now_ms + HOUR_MS)
    return service


def _listed(**params: Any) -> Callable[[Service, int], Any]:
    def page(service: Service, count: int) -> Any:
        given = {"pageSize": 10, **params}
        if "names" in given:
            given["names"] = given["names"] % (count // 2)
        return ica.ListTaskRuns(service.call(given)).body["items"]

    return page


def _engine(**conditions: Any) -> Callable[[Service, int], Any]:
    def page(service: Service, count: int) -> Any:
        return service.world.jobs("ica", limit=10, **conditions)

    return page


PAGES: dict[str, Callable[[Service, int], Any]] = {
    "newest first": _listed(sort="timeCreated desc"),
    "oldest first": _listed(sort="timeCreated asc"),
    "by state": _listed(status="running"),
    "by label": _listed(names="nightly-%07d"),
    "sorted by name": _listed(sort="name desc"),
    "engine: newest first": _engine(newest_first=True),
    "engine: oldest first": _engine(),
    "engine: by state": _engine(states=[State.RUNNING], newest_first=True),
    "engine: by two states": _engine(states=[State.RUNNING, State.SUCCEEDED], newest_first=True),
}


def page_micros(service: Service, count: int, what: str) -> tuple[float, float]:
    """Microseconds of a page: the shortest and the middle of many."""
    page = PAGES[what]
    assert page(service, count), what
    times = []
    for _ in range(300):
        began = time.perf_counter()
        page(service, count)
        times.append((time.perf_counter() - began) * 1e6)
    return min(times), median(times)


# ---- memory ---------------------------------------------------------------------------------------------------------

HOW = {"waiting": 0, "done": 1}
"""Virtual milliseconds between two submits: at the same instant all jobs wait, else nearly all are done."""


def report_memory(wanted: argparse.Namespace) -> None:
    """Growth of the process by many jobs, each kind in a process of its own."""
    rows = []
    for api in SERVICES:
        for how in HOW:
            command = [
                sys.executable,
                "-m",
                __spec__.name,
                "--fill",
                f"{api}-{how}",
                "--many",
                str(wanted.many),
            ]
            each = float(subprocess.run(command, check=True, capture_output=True).stdout)
            rows.append((api, how, f"{each:,.0f}", f"{each * 1e6 / 1e9:.2f}"))
    print_table(("api", f"{wanted.many:,} jobs", "bytes per job", "GB per million"), rows, left=2)
    if wanted.many < 1_000_000:
        print("\nfewer than a million jobs tell nothing about a million: the first ones are kept as they are")
        return
    print()
    judge("GB for a million jobs, worst", max(float(row[3]) for row in rows), at_most=1)


def bytes_per_job(api: str, how: str, count: int) -> float:
    """How much the resident memory of this process grows per job."""
    service = SERVICES[api]()
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for number in range(count):
        service.submit(number)
        service.world.advance(service.world.now_ms + HOW[how])
    gc.collect()
    return (process.memory_info().rss - before) / count


if __name__ == "__main__":
    main()
