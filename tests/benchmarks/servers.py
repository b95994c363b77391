"""Server processes to be measured: started on a free port, kept to one core where the system can do that."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
START_S_MAX = 60


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: psutil.Process
    port: int

    def cpu_seconds(self) -> float:
        """User and system time that it has used so far, with all its threads and children."""
        return sum(map(_cpu_seconds, [self.process, *self.process.children(recursive=True)]))


def _cpu_seconds(process: psutil.Process) -> float:
    # psutil counts in ticks of ten milliseconds, some Linux kernels in nanoseconds.
    try:
        threads = Path(f"/proc/{process.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
    except OSError:
        times = process.cpu_times()
        return float(times.user + times.system)


@contextmanager
def kept_apart() -> Iterator[tuple[int, int] | None]:
    """A core for servers and another for this process, until the end of the block; None when there are no two."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(cores) < 2:
        yield None
        return
    os.sched_setaffinity(0, {cores[1]})
    try:
        yield cores[0], cores[1]
    finally:
        os.sched_setaffinity(0, cores)


@contextmanager
def understudy(
    *arguments: str, pinned: tuple[int, int] | None = None, checkout: Path = ROOT
) -> Iterator[Server]:
    """`understudy serve` of a checkout with these arguments."""
    command = [sys.executable, "-m", "simulator", "serve", "--port", "0", *arguments]
    with _started(command, pinned, folder=checkout) as process:
        assert process.stdout is not None
        line = process.stdout.readline().decode()
        if not line.startswith("understudy ready "):
            raise RuntimeError(f"{' '.join(command)} did not start: {line}")
        yield Server(psutil.Process(process.pid), int(line.rsplit(":", 1)[1]))


@contextmanager
def bare_app(replies: Path, pinned: tuple[int, int] | None = None) -> Iterator[Server]:
    """`bare_app.py` with a file of replies."""
    with _started([sys.executable, "-m", "tests.benchmarks.bare_app", str(replies)], pinned) as process:
        assert process.stdout is not None
        yield Server(psutil.Process(process.pid), int(process.stdout.readline()))


@contextmanager
def prism(
    executable: Path, document: Path, *options: str, pinned: tuple[int, int] | None = None
) -> Iterator[Server]:
    """Prism with a document."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(executable), "mock", "--port", str(port), *options, str(document)]
    with _started(command, pinned, output=subprocess.DEVNULL) as process:
        give_up_at = time.monotonic() + START_S_MAX
        while not _is_open(port):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{' '.join(command)} did not start")
            time.sleep(0.1)
        yield Server(psutil.Process(process.pid), port)


def _is_open(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def _started(
    command: Sequence[str],
    pinned: tuple[int, int] | None,
    output: int = subprocess.PIPE,
    folder: Path = ROOT,
) -> Iterator[subprocess.Popen[bytes]]:
    # A process inherits the core of its parent, and so do all its threads; pinning it later would leave some behind.
    if pinned:
        os.sched_setaffinity(0, {pinned[0]})
    try:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.DEVNULL)
    finally:
        if pinned:
            os.sched_setaffinity(0, {pinned[1]})
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.communicate(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
