"""A real server process for tests: started with `python -m simulator serve`, stopped when the block ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

READY = "understudy ready "
ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Running:
    """A server that accepts connections at `url`."""

    url: str
    process: subprocess.Popen[str]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal; exit code and what it wrote to stderr."""
        self.process.send_signal(number)
        _, errors = self.process.communicate(timeout=20)
        return self.process.returncode, errors


@contextmanager
def serving(
    *arguments: str,
    python: str | Path = sys.executable,
    cwd: str | Path | None = None,
    env: dict[str, str] | None = None,
    command: Sequence[str] = ("-m", "simulator"),
) -> Iterator[Running]:
    """Serve on a free port until the end of the block."""
    process = subprocess.Popen(
        [str(python), *command, "serve", "--port", "0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith(READY), f"{line}{process.communicate(timeout=20)[1]}"
        yield Running(line.removeprefix(READY).strip(), process)
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=20)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def pytest_in(folder: Path, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of pytest over a folder, which is on the path; without a plugin that takes long to load."""
    plugins = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, "-c", os.devnull, "--rootdir", ".", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]), **(env or {})},
        capture_output=True,
        text=True,
        timeout=180,
    )
    return done.returncode, done.stdout + done.stderr
