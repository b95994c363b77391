"""The control API: what `openapi/control.yaml` describes, as an API like the others, but about all worlds of a server.

It is served by the same stack and checked in the same way. It differs from the simulated ones in what it speaks to: not the
world of a call but the server, which its functions get when they are made. So nothing here is a module-level `Api`, and
nobody lists it among the simulated ones. Refusals are `application/problem+json` (RFC 9457).
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from http import HTTPStatus
from itertools import islice
from operator import attrgetter
from typing import Any, Protocol

from simulator import __version__
from simulator.apis.contract import Api, Call, Kind, Problem, Refusal, Reply, Role, Stream, iso, status_of
from simulator.engine.command import Command, Force, Hold, Release, StepOn
from simulator.engine.errors import TimeGoesBack
from simulator.engine.job import Failure, Job, State
from simulator.engine.rules import Rules
from simulator.engine.world import Fired, World
from simulator.runtime.calls import Exchange
from simulator.runtime.redaction import Headers
from simulator.runtime.timesource import TimeMode
from simulator.runtime.wanted import PARTS, TEXTS, AnyOf, Pattern, Statuses, Wanted
from simulator.runtime.worlds import (
    DEFAULT_WORLD,
    BadName,
    NeverIdle,
    Stage,
    UnknownWorld,
    Worlds,
    require_name,
)
from simulator.scenario.duration import MAXIMUM_MS, parse_duration
from simulator.scenario.match import Field, Glob, text_of
from simulator.scenario.model import Scenario
from simulator.scenario.read import ScenarioError
from simulator.web.callbacks import Callbacks
from simulator.web.events import KINDS, Events
from simulator.web.ledger import Ledger, Line
from simulator.web.service import Service

NAME = "control"
DOCUMENT = "control.yaml"
PROBLEM_JSON = "application/problem+json"
NAMES_SHOWN = 10
JOBS_AT_ONCE = 1_000
IDLE_LIMIT_MS = 30 * 86_400_000
"""How far `until: idle` goes when nobody says how far: a world may have something due for ever."""
NEWEST_FIRST = "newest"
YAML = "application/yaml"
CAPSULE_BYTES_MAX = 64 * 1_048_576
CALLS_SHOWN = 100
VIRTUAL_TIME_MAX_MS = 253_402_300_799_999
"""The end of the year 9999, the last one that RFC 3339 can write."""

ReadScenario = Callable[[Any], Scenario]
"""From a shipped scenario's name, YAML text with a line break in it, or an object; raises `ScenarioError` or `ValueError`."""


class BadCapsule(ValueError):
    """A file that is no capsule, or one that cannot be played here."""

    def __init__(self, message: str, problems: Iterable[str] = ()) -> None:
        self.message = message
        self.problems = tuple(problems)
        super().__init__(message, self.problems)


class Capsules(Protocol):
    """Makes files of all that happened in a world, and worlds of such files."""

    def write(self, stage: Stage, *, as_yaml: bool) -> Callable[[], str | dict[str, Any]]:
        """What happened until now, to be worded in another thread: as YAML, or as a JSON value."""

    def restore(self, data: bytes) -> tuple[Stage, dict[str, Any]]:
        """A world that has been through all of this, and what of it was otherwise; takes long, and may be done in a thread.

        Raises:
            BadCapsule: this cannot be done.
        """


@dataclass(frozen=True)
class Controlled:
    """What the control API controls."""

    worlds: Worlds
    services: Mapping[str, Service]
    callbacks: Callbacks
    events: Events
    ledger: Ledger
    scenarios: Iterable[str]
    """Names of the shipped ones."""
    read_scenario: ReadScenario
    capsules: Capsules

    def stage(self, call: Call) -> Stage:
        """The world that the path names, at its present time; to control it is to use it.

        Raises:
            Problem: there is none.
        """
        try:
            stage = self.worlds.use(call.params["world"])
        except UnknownWorld as refusal:
            raise _not_found(f"{refusal}; there are: {_some(self.worlds.names())}") from None
        stage.catch_up()
        return stage

    def world_and_api(self, call: Call) -> tuple[Stage, str]:
        """The world and the API that the path names.

        Raises:
            Problem: there is no such world or API.
        """
        return self.stage(call), self.api(call.params["api"])

    def api(self, name: str) -> str:
        """The name of a simulated API.

        Raises:
            Problem: there is none.
        """
        if name not in self.services:
            raise _not_found(f"there is no API {name!r} here; there are: {', '.join(self.services)}")
        return name


class Faulty(Problem):
    """Something that was sent and has several problems."""

    def __init__(self, detail: str, problems: Iterable[str] = (), pointer: str = "") -> None:
        super().__init__(Kind.BAD_BODY, detail, where="body", pointer=pointer)
        self.problems = list(problems)


class BadScenario(Faulty):
    """A scenario that cannot be played."""

    def __init__(self, detail: str, problems: Iterable[str] = ()) -> None:
        super().__init__(detail, problems, "/scenario")


def error(refusal: Refusal, call: Call) -> Reply:
    """A problem document."""
    status = HTTPStatus.CONFLICT if isinstance(refusal, TimeGoesBack) else status_of(refusal)
    detail = str(refusal)
    if isinstance(refusal, TimeGoesBack):
        detail = f"time does not go back: it is {iso(refusal.now_ms)}, {iso(refusal.wanted_ms)} was asked for"
    problem: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if not call.operation:
        problem["hint"] = (
            "GET /__admin/health answers; all the rest is in /__admin/openapi.json and /__admin/ui/"
        )
    if isinstance(refusal, Faulty) and refusal.problems:
        problem["problems"] = refusal.problems
    return Reply(int(status), problem, media_type=PROBLEM_JSON)


def _authenticate(token: str | None) -> Callable[[str | None, Mapping[str, Any], World], Problem | None]:
    def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
        if token is None or _is_token(credentials, token):
            return None
        return Problem(
            Kind.UNAUTHORIZED,
            "the control API of this server wants its token: send Authorization: Bearer TOKEN",
            where="header",
            pointer="Authorization",
            headers={"WWW-Authenticate": "Bearer"},
        )

    return authenticate


def _format_of(headers: Mapping[str, str]) -> str | None:
    """What `curl -d` sends is JSON here, although curl calls it a form."""
    is_form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return "application/json" if is_form else None


def _is_token(credentials: str | None, token: str) -> bool:
    scheme, _, given = (credentials or "").partition(" ")
    # The comparison takes as long for a wrong token as for the right one.
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def make_control_api(controlled: Controlled, admin_token: str | None = None) -> Api:
    """The control API of one server.

    Args:
        admin_token: whoever calls must bring it; None: anyone may call.
    """
    api = Api(
        name=NAME,
        title="Control",
        document=DOCUMENT,
        rules=Rules(identify=lambda seed, number: str(number)),
        words={state: state.value for state in State},
        error=error,
        authenticate=_authenticate(admin_token),
        job_id=lambda params: None,
        format_of=_format_of,
    )
    _add_server(api, controlled)
    _add_worlds(api, controlled)
    _add_clock(api, controlled)
    _add_jobs(api, controlled)
    _add_calls(api, controlled)
    return api


# ---- the server -----------------------------------------------------------------------------------------------------


def _add_server(api: Api, controlled: Controlled) -> None:
    @api.operation(Role.INFO)
    def get_health(call: Call) -> Reply:
        stage = controlled.worlds.default
        facts = {
            "status": "ok",
            "version": __version__,
            "apis": list(controlled.services),
            "time": _time(stage),
            "scenario": stage.scenario.name,
            "seed": stage.world.seed,
        }
        return Reply(200, facts)

    @api.operation(Role.INFO)
    def get_version(call: Call) -> Reply:
        return Reply(200, {"name": "understudy", "version": __version__})

    @api.operation(Role.INFO)
    def list_apis(call: Call) -> Reply:
        served = [
            {
                "name": name,
                "title": service.api.title,
                "path": f"/{name}{service.base_path}",
                "operations": len(service.api.operations),
            }
            for name, service in controlled.services.items()
        ]
        return Reply(200, {"apis": served})

    @api.operation(Role.INFO)
    def list_scenarios(call: Call) -> Reply:
        return Reply(200, {"scenarios": list(controlled.scenarios)})

    @api.operation(Role.INFO)
    def get_ledger(call: Call) -> Reply:
        ledger = controlled.ledger
        return Reply(200, {"total": ledger.total, "lines": _lines(ledger, call)})


def _lines(ledger: Ledger, call: Call, world: str | None = None) -> list[dict[str, Any]]:
    lines = ledger.lines(call.params.get("by"), world=world, with_declared=True)
    return [_line(line) for line in lines[-call.params["limit"] :]]


def _line(line: Line) -> dict[str, Any]:
    return {
        "by": line.by,
        "world": line.world,
        "at": iso(line.at_ms),
        "api": line.api,
        "operation": line.operation,
        "pointer": line.pointer,
        "message": line.message,
        "kind": line.kind,
        "declared": line.is_declared,
    }


# ---- worlds ---------------------------------------------------------------------------------------------------------


def _add_worlds(api: Api, controlled: Controlled) -> None:
    worlds = controlled.worlds

    @api.operation(Role.INFO)
    def list_worlds(call: Call) -> Reply:
        stages = [stage for name in worlds.names() if (stage := worlds.find(name)) is not None]
        return Reply(200, {"worlds": [_world(stage, controlled) for stage in stages]})

    @api.operation(Role.INFO)
    def get_world(call: Call) -> Reply:
        return Reply(200, _world(controlled.stage(call), controlled))

    @api.operation(Role.AMEND)
    def put_world(call: Call) -> Reply:
        wish: Mapping[str, Any] = call.body or {}
        name = call.params["world"]
        scenario = _scenario(wish["scenario"], controlled) if "scenario" in wish else None
        mode = _mode(wish["time"], "/time") if "time" in wish else None
        stage, is_new = worlds.create(name, scenario=scenario, seed=wish.get("seed"), mode=mode)
        if is_new:
            return Reply(201, _world(stage, controlled), {"Location": f"{call.base_url}/worlds/{name}"})
        return Reply(200, _world(stage, controlled))

    @api.operation(Role.AMEND)
    def reset_world(call: Call) -> Reply:
        return Reply(200, _world(worlds.reset(controlled.stage(call).name), controlled))

    @api.operation(Role.REMOVE)
    def delete_world(call: Call) -> Reply:
        name = controlled.stage(call).name
        try:
            worlds.delete(name)
        except BadName as refusal:
            raise _conflict(str(refusal)) from None
        return Reply(204)

    @api.operation(Role.INFO)
    async def get_capsule(call: Call) -> Reply:
        wanted = call.preferred((YAML, "application/json"))
        write = controlled.capsules.write(controlled.stage(call), as_yaml=wanted == YAML)
        written = await asyncio.to_thread(write)
        if isinstance(written, str):
            return Reply(200, written.encode(), media_type=YAML)
        return Reply(200, written)

    @api.operation(Role.AMEND, raw_body=True, body_bytes_max=CAPSULE_BYTES_MAX)
    async def restore_capsule(call: Call) -> Reply:
        name = call.params["world"]
        require_name(name)
        try:
            stage, seen = await asyncio.to_thread(controlled.capsules.restore, call.body)
        except BadCapsule as refusal:
            raise Faulty(refusal.message, refusal.problems) from None
        worlds.adopt(name, stage)
        return Reply(200, seen | {"world": _world(stage, controlled)})

    @api.operation(Role.INFO)
    def get_world_ledger(call: Call) -> Reply:
        ledger, name = controlled.ledger, controlled.stage(call).name
        return Reply(200, {"total": ledger.total_of(name), "lines": _lines(ledger, call, name)})

    @api.operation(Role.INFO)
    def stream_events(call: Call) -> Stream:
        params = call.params
        lasts_ms = _duration(params["for"], "for", where="query") if "for" in params else None
        return controlled.events.stream(
            controlled.stage(call),
            kinds=params.get("types", KINDS),
            last_id=params.get("Last-Event-ID"),
            limit=params.get("limit"),
            seconds=None if lasts_ms is None else lasts_ms / 1000,
        )


def _world(stage: Stage, controlled: Controlled) -> dict[str, Any]:
    world = stage.catch_up()
    return {
        "name": stage.name,
        "scenario": stage.scenario.name,
        "seed": world.seed,
        "time": _time(stage),
        "jobs": sum(world.count(name) for name in controlled.services),
        "calls": len(stage.calls),
        "path": "" if stage.name == DEFAULT_WORLD else f"/worlds/{stage.name}",
    }


def _scenario(wanted: Any, controlled: Controlled) -> Scenario:
    try:
        return controlled.read_scenario(wanted)
    except ScenarioError as refusal:
        problems = [str(problem) for problem in refusal.problems]
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems, the first"
        raise BadScenario(f"the scenario has {count}: {problems[0]}", problems) from None
    except ValueError as refusal:
        raise BadScenario(str(refusal)) from None


# ---- clocks ---------------------------------------------------------------------------------------------------------


def _add_clock(api: Api, controlled: Controlled) -> None:
    @api.operation(Role.INFO)
    def get_clock(call: Call) -> Reply:
        return Reply(200, _clock(controlled.stage(call)))

    @api.operation(Role.AMEND)
    def put_clock(call: Call) -> Reply:
        stage = controlled.stage(call)
        stage.set_rate(_mode(call.body["mode"], "/mode"))
        return Reply(200, _clock(stage))

    @api.operation(Role.AMEND)
    async def advance_clock(call: Call) -> Reply:
        stage = controlled.stage(call)
        more = {"is_idle": True} if "until" in call.body else {}
        try:
            fired = _advance(stage, call.body)
        except NeverIdle as restless:
            fired, more = restless.fired, {"is_idle": False}
        # Who moved the clock may rely on everybody having been told.
        await controlled.callbacks.settle(stage)
        events = [_event(event) for event in fired]
        return Reply(200, {"now": iso(stage.world.now_ms), "events": events} | more)


def _time(stage: Stage) -> dict[str, str]:
    return {"mode": str(stage.clock.mode), "now": iso(stage.catch_up().now_ms)}


def _clock(stage: Stage) -> dict[str, Any]:
    world = stage.catch_up()
    next_ms = world.next_due_ms
    return {
        "now": iso(world.now_ms),
        "mode": str(stage.clock.mode),
        "next": None if next_ms is None or next_ms > VIRTUAL_TIME_MAX_MS else iso(next_ms),
    }


def _advance(stage: Stage, wish: Mapping[str, Any]) -> list[Fired]:
    """Move a clock as it is asked for.

    Raises:
        Problem: that is no time, one that cannot be written, or too far away.
        TimeGoesBack: it has passed already.
    """
    now_ms = stage.catch_up().now_ms
    if "by" in wish:
        by_ms = _duration(wish["by"], "/by")
        _require_writable(now_ms + by_ms)
        return stage.advance(by_ms)
    if "to" in wish:
        to_ms = _instant(wish["to"])
        _require_writable(to_ms)
        if to_ms - now_ms > MAXIMUM_MS:
            raise Problem(
                Kind.BAD_BODY,
                f"the limit of a hundred years for one move of the clock is reached: it is {iso(now_ms)},"
                f" {iso(to_ms)} was asked for; move it in several steps",
                where="body",
                pointer="/to",
            )
        return stage.advance_to(to_ms)
    if "next" in wish:
        return stage.advance_to_next(wish["next"])
    limit_ms = _duration(wish["limit"], "/limit") if "limit" in wish else IDLE_LIMIT_MS
    return stage.advance_until_idle(min(limit_ms, VIRTUAL_TIME_MAX_MS - now_ms))


def _event(event: Fired) -> dict[str, str]:
    return {
        "at": iso(event.at_ms),
        "api": event.api,
        "job": event.job_id,
        "state": event.state.value,
        "cause": event.cause,
    }


def _mode(text: str, pointer: str) -> TimeMode:
    try:
        return TimeMode.parse(text)
    except ValueError as problem:
        raise Problem(Kind.BAD_BODY, str(problem), where="body", pointer=pointer) from None


def _duration(text: str, pointer: str, *, where: str = "body") -> int:
    try:
        return min(parse_duration(text), MAXIMUM_MS)
    except ValueError as problem:
        raise Problem(Kind.BAD_BODY, str(problem), where=where, pointer=pointer) from None


def _instant(text: str) -> int:
    """Milliseconds since the epoch of what RFC 3339 writes; parts of a millisecond count as a whole one."""
    try:
        instant = datetime.fromisoformat(text.upper())
        passed = instant - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, TypeError, OverflowError):
        raise Problem(
            Kind.BAD_BODY,
            f"{text!r} is not an instant; write it like 2030-01-01T00:00:05Z",
            where="body",
            pointer="/to",
        ) from None
    return -(-(passed.days * 86_400_000_000 + passed.seconds * 1_000_000 + passed.microseconds) // 1000)


def _require_writable(at_ms: int) -> None:
    if at_ms > VIRTUAL_TIME_MAX_MS:
        raise Problem(Kind.BAD_BODY, "time would pass the end of the year 9999", where="body")


# ---- jobs -----------------------------------------------------------------------------------------------------------


def _add_jobs(api: Api, controlled: Controlled) -> None:
    @api.operation(Role.INFO)
    def list_jobs(call: Call) -> Reply:
        world = controlled.stage(call).world
        params = call.params
        wanted = [controlled.api(params["api"])] if "api" in params else list(controlled.services)
        states = (State(params["state"]),) if "state" in params else None
        offset, limit, newest_first = params["offset"], params["limit"], params["newest_first"]
        tests = _tests(params, world)
        if len(wanted) == 1 and not tests:
            page = world.jobs(wanted[0], states=states, offset=offset, limit=limit, newest_first=newest_first)
            return listed(page, world.count(wanted[0], states=states), world)
        # Each API has a list of its own; together they are in the order of the jobs' numbers.
        lists = [_all_jobs(world, name, states, newest_first) for name in wanted]
        jobs = merge(*lists, key=attrgetter("number"), reverse=newest_first)
        if not tests:
            total = sum(world.count(name, states=states) for name in wanted)
            return listed(islice(jobs, offset, offset + limit), total, world)
        # What no index knows is looked for among all.
        page, total = [], 0
        for job in jobs:
            if all(test(job) for test in tests):
                if offset <= total < offset + limit:
                    page.append(job)
                total += 1
        return listed(page, total, world)

    def listed(page: Iterable[Job], total: int, world: World) -> Reply:
        return Reply(200, {"total": total, "jobs": [_job(job, world, controlled) for job in page]})

    @api.operation(Role.INFO)
    def get_job(call: Call) -> Reply:
        stage, name = controlled.world_and_api(call)
        return Reply(200, _job_in_full(stage.world.job(name, call.params["job"]), stage.world, controlled))

    def steer(call: Call, command: Callable[[str, str], Command[Job]]) -> Reply:
        stage, name = controlled.world_and_api(call)
        job = stage.steer(command(name, call.params["job"]))
        controlled.callbacks.notice(stage)
        return Reply(200, _job_in_full(job, stage.world, controlled))

    @api.operation(Role.AMEND)
    def hold_job(call: Call) -> Reply:
        return steer(call, Hold)

    @api.operation(Role.AMEND)
    def release_job(call: Call) -> Reply:
        return steer(call, Release)

    @api.operation(Role.AMEND)
    def step_job(call: Call) -> Reply:
        return steer(call, StepOn)

    @api.operation(Role.AMEND)
    def force_job(call: Call) -> Reply:
        wish: Mapping[str, Any] = call.body
        failure = Failure(**wish["error"]) if "error" in wish else None

        def force(name: str, job_id: str) -> Force:
            state = State(wish["state"])
            return Force(name, job_id, state, failure, wish.get("progress"), wish.get("result"))

        return steer(call, force)


def _all_jobs(world: World, name: str, states: tuple[State, ...] | None, newest_first: bool) -> Iterator[Job]:
    """The jobs of an API, not all of them in memory at once: there may be a million."""
    offset = 0
    while page := world.jobs(
        name, states=states, offset=offset, limit=JOBS_AT_ONCE, newest_first=newest_first
    ):
        yield from page
        offset += len(page)


def _tests(params: Mapping[str, Any], world: World) -> list[Callable[[Job], bool]]:
    """What is asked of the jobs that are listed beyond their API and state."""
    tests: list[Callable[[Job], bool]] = []
    if "kind" in params:
        text = params["kind"].lower()
        tests.append(lambda job: text in job.kind.lower())
    if "held" in params:
        tests.append(lambda job: world.is_held(job) is params["held"])
    return tests


def _job(job: Job, world: World, controlled: Controlled) -> dict[str, Any]:
    is_held = world.is_held(job)
    view: dict[str, Any] = {
        "id": job.id,
        "api": job.api,
        "kind": job.kind,
        "state": job.state.value,
        "word": controlled.services[job.api].api.words[job.state],
        "attempt": job.attempt,
        "held": is_held,
        "created": iso(job.created_ms),
        "since": iso(job.since_ms),
    }
    progress = job.progress_percent(world.now_ms)
    if progress is not None:
        view["progress"] = progress
    if job.message is not None:
        view["message"] = job.message
    times = {
        "due": None if is_held else job.until_ms,
        "started": job.started_ms,
        "finished": job.finished_ms,
    }
    view |= {
        name: iso(at_ms)
        for name, at_ms in times.items()
        if at_ms is not None and at_ms <= VIRTUAL_TIME_MAX_MS
    }
    if job.failure is not None:
        view["error"] = _failure(job.failure)
    return view


def _job_in_full(job: Job, world: World, controlled: Controlled) -> dict[str, Any]:
    view = _job(job, world, controlled) | {
        "request": job.request,
        "errors": [_failure(failure) for failure in job.failures],
        "history": [
            {"at": iso(move.at_ms), "state": move.state.value, "cause": move.cause} for move in job.history
        ],
    }
    if job.result is not None:
        view["result"] = job.result
    if job.part.cause:
        view["rule"] = job.part.cause
    return view


def _failure(failure: Failure) -> dict[str, Any]:
    view = {"code": failure.code, "message": failure.message, "at": iso(failure.at_ms)}
    return view if failure.details is None else view | {"details": failure.details}


# ---- calls ----------------------------------------------------------------------------------------------------------


def _add_calls(api: Api, controlled: Controlled) -> None:
    @api.operation(Role.INFO)
    def list_calls(call: Call) -> Reply:
        params = call.params
        found = controlled.stage(call).calls.list(
            _wanted(call),
            limit=params["limit"],
            after=params["after"],
            newest_first=params["order"] == NEWEST_FIRST,
        )
        return Reply(200, {"calls": [_exchange(one) for one in found]})

    @api.operation(Role.INFO)
    def count_calls(call: Call) -> Reply:
        count = controlled.stage(call).calls.count(_wanted(call), after=call.params["after"])
        return Reply(200, {"count": count})

    @api.operation(Role.INFO)
    def find_calls(call: Call) -> Reply:
        log, wish = controlled.stage(call).calls, call.body
        patterns = [_pattern(one) for one in wish["patterns"]]
        found = log.list(
            AnyOf(patterns),
            limit=wish.get("limit", CALLS_SHOWN),
            after=wish.get("after", 0),
            newest_first=wish.get("order") == NEWEST_FIRST,
        )
        counts = [log.count(pattern, after=wish.get("after", 0)) for pattern in patterns]
        return Reply(200, {"counts": counts, "calls": [_exchange(one) for one in found]})

    @api.operation(Role.INFO)
    def get_call(call: Call) -> Reply:
        stage, number = controlled.stage(call), call.params["number"]
        found = stage.calls.find(number)
        if found is None:
            raise _not_found(
                f"call {number} is not in the log of world {stage.name!r}, which keeps {len(stage.calls)}"
                f" of {stage.calls.total} calls"
            )
        return Reply(200, _exchange(found))

    @api.operation(Role.REMOVE)
    def delete_calls(call: Call) -> Reply:
        controlled.stage(call).calls.clear(_wanted(call), after=call.params["after"])
        return Reply(204)


def _wanted(call: Call) -> Wanted:
    params = call.params
    return Wanted(
        api=params.get("api"),
        operation=params.get("operation"),
        role=params.get("role"),
        method=params.get("method"),
        path=params.get("path"),
        job_id=params.get("job"),
        statuses=Statuses.of(params["status"]) if "status" in params else None,
        has_violations=params.get("violations"),
    )


def _pattern(wish: Mapping[str, Any]) -> Pattern:
    globs = {name: _globs(wish[name]) for name in TEXTS if name in wish}
    fields = {
        name: tuple(Field(path, _globs(wanted)) for path, wanted in wish[name].items())
        for name in PARTS
        if name in wish
    }
    statuses = tuple(Statuses.of(str(one)) for one in _several(wish.get("status", [])))
    return Pattern(globs, fields, statuses, wish.get("violations"))


def _globs(wanted: Any) -> tuple[Glob, ...]:
    return tuple(Glob.of(text_of(one)) for one in _several(wanted))


def _several(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _exchange(one: Exchange) -> dict[str, Any]:
    view = {
        "number": one.number,
        "api": one.api,
        "operation": one.operation,
        "role": one.role,
        "method": one.method,
        "path": one.path,
        "job": one.job_id,
        "jobs": list(one.jobs),
        "jobs_made": one.jobs_made,
        "status": one.status or None,
        "at": iso(one.at_ms),
        "virtual_ms": one.answered_ms - one.at_ms,
        "wall": iso(one.wall_ms),
        "wall_ms": one.took_us / 1000,
        "violations": list(one.violations),
        "request": _message(one.request_headers, one.request_body, one.request_bytes, one.is_request_cut),
        "response": _message(
            one.response_headers, one.response_body, one.response_bytes, one.is_response_cut
        ),
    }
    if one.answered_ms != one.at_ms:
        view["answered"] = iso(one.answered_ms)
    if one.cause:
        view["cause"] = one.cause
    if nearest := one.nearest:
        view["nearest"] = nearest
    return view


def _message(headers: Headers, body: bytes, length: int, is_cut: bool) -> dict[str, Any]:
    return {
        "headers": [list(header) for header in headers],
        "body": body.decode("utf-8", "replace"),
        "bytes": length,
        "is_cut": is_cut,
    }


# ---- refusals -------------------------------------------------------------------------------------------------------


def _not_found(detail: str) -> Problem:
    return Problem(Kind.NO_SUCH_PATH, detail, where="path")


def _conflict(detail: str) -> Problem:
    return Problem(Kind.FORBIDDEN, detail, status=HTTPStatus.CONFLICT)


def _some(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
