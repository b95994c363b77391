"""A page in Debian's Chromium (or another one that is installed), without a window: what it became, and what it complained about."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SECONDS_MAX = 120
_CONSOLE = re.compile(r"^\[[^\]]*:CONSOLE[:(]\d+\)?\] (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """A page after it was loaded and its scripts have run."""

    dom: str
    console: list[str]
    """All that was logged: errors, what a policy refused, what could not be loaded."""


def find_browser() -> str:
    """The browser's command; a test that needs one fails where there is none."""
    for name in NAMES:
        found = shutil.which(name)
        if found:
            return found
    raise AssertionError(
        f"none of {', '.join(NAMES)} is installed; on Debian and Ubuntu: apt-get install -y chromium"
    )


def open_page(path: Path, profile: Path, *options: str) -> Page:
    """Load a file and wait until it has come to rest.

    Args:
        profile: an empty folder for what the browser keeps; two at a time cannot share one.
        options: further ones of the browser's command line, such as `--screenshot=FILE`.
    """
    done = subprocess.run(
        [
            find_browser(),
            "--headless",
            # Containers run as root and have neither a sandbox nor much shared memory.
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--no-first-run",
            f"--user-data-dir={profile}",
            "--enable-logging=stderr",
            "--v=0",
            *options,
            "--dump-dom",
            path.resolve().as_uri(),
        ],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.lstrip().lower().startswith("<!doctype"), done.stderr[-2000:]
    return Page(done.stdout, _CONSOLE.findall(done.stderr))
