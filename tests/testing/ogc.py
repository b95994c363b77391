"""A client of OGC processes in a few lines, for tests of the test kit."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

JSON = {"Content-Type": "application/json", "Prefer": "respond-async"}


def ask(url: str, body: Any = None, **headers: str) -> Any:
    """One call and its answer."""
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data=data, headers={**JSON, **headers})) as answer:
        return json.load(answer)


def submit(url: str, **headers: str) -> str:
    """A job of the process echo."""
    return str(ask(f"{url}/processes/echo/execution", {"inputs": {"message": "hello"}}, **headers)["jobID"])


def state(url: str, job: str, **headers: str) -> str:
    """The word for how it is doing."""
    return str(ask(f"{url}/jobs/{job}", **headers)["status"])
