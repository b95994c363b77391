"""Exchanges for tests of the call log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.runtime.calls import CallLog, Exchange, Notes


@dataclass(frozen=True)
class Role:
    value: str


@dataclass(frozen=True)
class Operation:
    role: Role


class Upper:
    """A codec of a made-up format: one text, in capitals."""

    def decode(self, body: bytes, operation: str) -> Any:
        return {"said": body.decode().upper()}


@dataclass(frozen=True)
class Api:
    """As much of an API as a log asks for."""

    name: str
    operations: Mapping[str, Operation] = field(
        default_factory=lambda: {
            "launch": Operation(Role("submit")),
            "getA": Operation(Role("status")),
            "postB": Operation(Role("submit")),
        }
    )
    codecs: Mapping[str, Any] = field(default_factory=lambda: {"text/upper": Upper()})

    def job_id(self, params: Mapping[str, Any]) -> str | None:
        return params.get("id")


APIS = {name: Api(name) for name in ("ica", "ogc")}


def call(log: CallLog, path: str = "/v1/jobs/1", *, api: str = "ica", **more: Any) -> Exchange:
    """Write one exchange down; what it was, or an empty one where it is not kept."""
    bare, _, query = path.partition("?")
    log.begun += 1
    plain = {
        "moment": log.moment,
        "operation": None,
        "params": {},
        "method": "GET",
        "path": bare.encode(),
        "query": query.encode(),
        "status": 200,
        "at_ms": 1_000,
        "answered_ms": 1_500,
        "wall_ns": 2_000_000_000,
        "took_ns": 7_000,
        "request_headers": [],
        "request_body": b"",
        "response_headers": [],
        "response_body": b"",
    }
    log.add(api=APIS[api], **plain | more)
    found = log.find(log.total)
    return found if found is not None else call(CallLog(1), path, api=api, **more)


def noted(**facts: Any) -> Notes:
    """Notes of these facts."""
    notes = Notes()
    for name, value in facts.items():
        setattr(notes, name, value)
    return notes
