"""What a run of a client's tests left behind: each test with its world, jobs, calls and violations.

Jobs, calls and violations are kept in the words of the control API (`openapi/control.yaml`), so that whoever collects them need
not translate, and a file holds all that the server told. What the reports need of them is read once, into `SeenJob`, `SeenCall`
and `Violation`; members that are unknown here are kept and not looked at, members that an older server did not have may be
missing.

A run is written to one file per process of the test runner; `merge` puts them together in an order that does not depend on which
process was quicker.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import jsonschema_rs

from simulator.apis.negotiation import wait_ms_in

FORMAT = "understudy-run"
VERSION = 1

Outcome = Literal["passed", "failed", "error", "skipped"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

Told = Mapping[str, Any]
"""A JSON object of the control API."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TIME = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string"}
_OBJECTS = {"type": "array", "items": {"type": "object"}}


def _object(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties}


RUN_SCHEMA: dict[str, Any] = _object(
    ("format", "version", "tests"),
    format={"const": FORMAT},
    version={"const": VERSION},
    tests={
        "type": "array",
        "items": _object(
            ("test", "outcome"),
            test=_TEXT,
            outcome={"enum": list(OUTCOMES)},
            seconds={"type": "number", "minimum": 0},
            failure=_TEXT,
            world=_TEXT,
            scenario=_TEXT,
            seed={"type": ["integer", "null"]},
            replay=_TEXT,
            jobs={
                "type": "array",
                "items": _object(
                    ("api", "id", "history"),
                    api=_TEXT,
                    id=_TEXT,
                    kind=_TEXT,
                    history={
                        "type": "array",
                        "items": _object(("at", "state"), at=_TIME, state=_TEXT, cause=_TEXT),
                    },
                ),
            },
            calls={
                "type": "array",
                "items": _object(
                    ("api", "method", "path", "status", "at"),
                    number={"type": "integer"},
                    api=_TEXT,
                    operation=_TEXT,
                    role={"type": ["string", "null"]},
                    method=_TEXT,
                    path=_TEXT,
                    job={"type": ["string", "null"]},
                    status={"type": ["integer", "null"]},
                    at=_TIME,
                    answered=_TIME,
                    cause=_TEXT,
                    violations={"type": "array", "items": _TEXT},
                    request={"$ref": "#/$defs/message"},
                    response={"$ref": "#/$defs/message"},
                ),
            },
            violations={
                "type": "array",
                "items": _object(
                    ("by", "api", "message"),
                    by={"enum": ["client", "server"]},
                    api=_TEXT,
                    operation=_TEXT,
                    pointer=_TEXT,
                    message=_TEXT,
                    kind={"type": ["string", "null"]},
                    declared={"type": "boolean"},
                    status={"type": ["integer", "null"]},
                ),
            },
        ),
    },
) | {
    "$defs": {
        "message": _object(
            headers={
                "type": "array",
                "items": {"type": "array", "items": _TEXT, "minItems": 2, "maxItems": 2},
            },
            body=_TEXT,
            bytes={"type": "integer"},
            is_cut={"type": "boolean"},
        )
    }
}
"""What a file must hold at least; it may hold more."""


class RunError(ValueError):
    """A file that is no run; the text names it and says what is wrong."""


class SeenMove(NamedTuple):
    """One line of a job's history."""

    at_ms: int
    state: str
    cause: str


class SeenJob(NamedTuple):
    """One job as it was at the end of a test."""

    api: str
    id: str
    kind: str
    moves: tuple[SeenMove, ...]


class SeenCall(NamedTuple):
    """One call of a client."""

    number: int
    api: str
    operation: str
    role: str
    """Empty where the server did not tell."""
    method: str
    path: str
    job: str | None
    status: int | None
    """None when the connection broke before there was one."""
    at_ms: int
    """When it came, in virtual time."""
    answered_ms: int
    """When it ended; the same instant where the server tells no other."""
    cause: str
    """What of the scenario changed the answer; empty when nothing did."""
    violations: tuple[str, ...]
    retry_after_ms: int | None
    """How long the answer told the client to wait."""
    request_body: str
    response_body: str


class Violation(NamedTuple):
    """One way in which a call or an answer broke an API's document."""

    by: str
    """`client` or `server`."""
    api: str
    operation: str
    pointer: str
    message: str
    kind: str
    """Which rule of the document it breaks, such as `bad_body`."""
    is_declared: bool
    """A scenario asked for it."""
    status: int | None
    """Of the answer, where the server told."""


@dataclass(frozen=True)
class Tested:
    """One test of a client's suite with one world that it used, or one world that no test runner knows of.

    Args:
        test: what the test is called; a world without one may give its own name.
        seconds: of real time.
        failure: why it failed, was in error or was skipped, as the test runner words it.
        replay: the command that plays the world again; empty when there is none.
        jobs: as `JobInFull` of the control API.
        calls: as its `Call`.
        violations: as the lines of its ledger.
    """

    __test__: ClassVar[bool] = False
    """Its name begins like that of a class of tests, and pytest would take it for one."""

    test: str
    outcome: Outcome = "passed"
    seconds: float = 0.0
    failure: str = ""
    world: str = ""
    scenario: str = ""
    seed: int | None = None
    replay: str = ""
    jobs: Sequence[Told] = ()
    calls: Sequence[Told] = ()
    violations: Sequence[Told] = ()

    @cached_property
    def seen_jobs(self) -> tuple[SeenJob, ...]:
        """Its jobs, as far as reports look at them."""
        return tuple(_seen_job(told) for told in self.jobs)

    @cached_property
    def seen_calls(self) -> tuple[SeenCall, ...]:
        """Its calls in their order, as far as reports look at them."""
        calls = [_seen_call(told, place) for place, told in enumerate(self.calls, start=1)]
        return tuple(sorted(calls, key=lambda call: call.number))

    @cached_property
    def seen_violations(self) -> tuple[Violation, ...]:
        """All of its violations."""
        answered = {
            (call.api, call.operation, message): call.status
            for call in self.seen_calls
            for message in call.violations
        }
        return tuple(_seen_violation(told, answered) for told in self.violations)

    @property
    def undeclared(self) -> tuple[Violation, ...]:
        """Those that no scenario asked for."""
        return tuple(violation for violation in self.seen_violations if not violation.is_declared)

    @property
    def verdict(self) -> Outcome:
        """The outcome, but that a test whose calls break a document has not passed, whatever the runner thinks."""
        return "failed" if self.undeclared and self.outcome in ("passed", "skipped") else self.outcome


@dataclass(frozen=True)
class Run:
    """All that was tested, in the order of the report."""

    tests: Sequence[Tested] = ()

    @cached_property
    def verdicts(self) -> Mapping[Outcome, int]:
        """How many tests came to which end."""
        counts = Counter(tested.verdict for tested in self.tests)
        return {outcome: counts[outcome] for outcome in OUTCOMES}

    @property
    def seconds(self) -> float:
        """Real time of all tests together."""
        return sum(tested.seconds for tested in self.tests)

    def with_names(self) -> list[tuple[str, Tested]]:
        """Each with a name of its own: a test that used several worlds is named with each of them."""
        counts = Counter(tested.test for tested in self.tests)
        return [
            (tested.test if counts[tested.test] == 1 else f"{tested.test} in {tested.world}", tested)
            for tested in self.tests
        ]


def merge(runs: Iterable[Run]) -> Run:
    """All tests of these runs, ordered by test and world."""
    tests = [tested for run in runs for tested in run.tests]
    return Run(tuple(sorted(tests, key=lambda tested: (tested.test, tested.world))))


def write_run(run: Run, path: Path, **more: Any) -> Path:
    """Write a run to a file, which either has all of it afterwards or is as it was.

    Args:
        more: further members of the file; `read_run` does not look at them.
    """
    members = [
        *(
            f'"{name}":{_json(value)}'
            for name, value in {"format": FORMAT, "version": VERSION, **more}.items()
        ),
        '"tests":[\n' + ",\n".join(_json(_written(tested)) for tested in run.tests) + "\n]",
    ]
    # Half of a surrogate pair, as names of files may hold, is nothing that a file can.
    content = ("{" + ",\n".join(members) + "}\n").encode("utf-8", "replace")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
    return path


def read_run(path: Path) -> Run:
    """A run from its file.

    Raises:
        RunError: it cannot be read, or is something else.
    """
    try:
        held = json.loads(path.read_bytes())
    except OSError as problem:
        raise RunError(f"{path}: cannot be read: {problem.strerror or problem}") from None
    except (ValueError, RecursionError) as problem:
        raise RunError(f"{path}: is no run of tests: it is not JSON: {problem}") from None
    if not isinstance(held, dict) or held.get("format") != FORMAT:
        raise RunError(
            f'{path}: is no run of tests: it has no "format": "{FORMAT}"; give a file that the test kit wrote'
        )
    if held.get("version") != VERSION:
        raise RunError(
            f"{path}: is a run of version {held.get('version')!r}; this understudy reads version {VERSION}"
        )
    try:
        _validator().validate(held)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(map(str, error.instance_path))
        raise RunError(f"{path}: is no run of tests: {where}: {_short(error.message)}") from None
    except ValueError as problem:
        raise RunError(f"{path}: is no run of tests: {problem}") from None
    return Run(tuple(_read(told) for told in held["tests"]))


def instant_ms(text: str) -> int:
    """Milliseconds since the epoch of a time of the control API."""
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND


_MEMBERS = tuple(one.name for one in fields(Tested))


def _written(tested: Tested) -> dict[str, Any]:
    return {name: getattr(tested, name) for name in _MEMBERS}


def _read(told: Told) -> Tested:
    held: dict[str, Any] = {name: told[name] for name in _MEMBERS if name in told}
    return Tested(**held | {name: tuple(value) for name, value in held.items() if isinstance(value, list)})


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{value!r} is no JSON value")


def _short(message: str) -> str:
    return message if len(message) <= 200 else f"{message[:100]} … {message[-80:]}"


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(RUN_SCHEMA, validate_formats=True)


def _seen_job(told: Told) -> SeenJob:
    moves = tuple(
        SeenMove(instant_ms(move["at"]), move["state"], move.get("cause", "")) for move in told["history"]
    )
    return SeenJob(told["api"], told["id"], told.get("kind", ""), moves)


def _seen_call(told: Told, place: int) -> SeenCall:
    at_ms = instant_ms(told["at"])
    answered_ms = instant_ms(told["answered"]) if "answered" in told else at_ms
    request, response = told.get("request", {}), told.get("response", {})
    return SeenCall(
        told.get("number", place),
        told["api"],
        told.get("operation", ""),
        told.get("role") or "",
        told["method"],
        told["path"],
        told.get("job"),
        told["status"],
        at_ms,
        answered_ms,
        told.get("cause", ""),
        tuple(told.get("violations", ())),
        _retry_after_ms(response.get("headers", ()), answered_ms),
        request.get("body", ""),
        response.get("body", ""),
    )


def _retry_after_ms(headers: Iterable[Sequence[str]], answered_ms: int) -> int | None:
    for name, value in headers:
        if name.lower() == "retry-after":
            wait_ms = wait_ms_in(value, answered_ms)
            return None if wait_ms is None else max(wait_ms, 0)
    return None


def _seen_violation(told: Told, answered: Mapping[tuple[str, str, str], int | None]) -> Violation:
    by, api, operation = told["by"], told["api"], told.get("operation", "")
    pointer, message = told.get("pointer", ""), told["message"]
    status = told.get("status") or answered.get((api, operation, message))
    return Violation(
        by,
        api,
        operation,
        pointer,
        message,
        told.get("kind") or _kind(by, operation, pointer, status),
        bool(told.get("declared")),
        status,
    )


_KIND_OF_STATUS = {
    401: "unauthorized",
    403: "forbidden",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    414: "uri_too_long",
    415: "unsupported_media_type",
}


def _kind(by: str, operation: str, pointer: str, status: int | None) -> str:
    """What kind of violation it is, by its place and its answer, where the server did not say it.

    The words are those of the refusals of `simulator.apis.contract`.
    """
    if by == "server":
        return "bad_reply"
    if status in _KIND_OF_STATUS:
        return _KIND_OF_STATUS[status]
    if not operation:
        return "no_such_path"
    if pointer.startswith("/"):
        return "bad_body"
    return "bad_parameter" if pointer else "bad_request"
