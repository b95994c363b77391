"""The list of OGC jobs: its filters and the links between its pages.

Filters by process and state use the indexes of the engine. Filters by time of creation and by duration look at every job that the
others leave.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any
from urllib.parse import urlencode

from simulator.apis.contract import Call, Kind, Problem
from simulator.apis.ogc_wire import API, WORDS, link
from simulator.engine.job import Job, State

_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FILTERS = ("type", "processID", "status", "datetime", "minDuration", "maxDuration")

Test = Callable[[Job], bool]


def find(call: Call) -> tuple[list[Job], int]:
    """The page of jobs that is asked for, newest first, and how many jobs there are on all pages.

    Raises:
        Problem: a time that is none.
    """
    params, world = call.params, call.world
    offset, limit = params["offset"], params["limit"]
    states = _states(params.get("status"), has_duration="minDuration" in params or "maxDuration" in params)
    processes = params.get("processID")
    labels = [] if processes is None else [[("process", process) for process in processes]]
    tests = _tests(call)
    if not tests:
        page = world.jobs(API, states=states, labels=labels, offset=offset, limit=limit, newest_first=True)
        return page, world.count(API, states=states, labels=labels)
    jobs = world.jobs(API, states=states, labels=labels, newest_first=True)
    found = [job for job in jobs if all(test(job) for test in tests)]
    return found[offset : offset + limit], len(found)


def paging(call: Call, total: int) -> list[dict[str, str]]:
    """Links to this page and its neighbours, under the same filters."""
    params = call.params
    offset, limit = params["offset"], params["limit"]
    kept = [(name, _written(params[name])) for name in _FILTERS if name in params]

    def page(rel: str, start: int) -> dict[str, str]:
        query = urlencode([*kept, ("limit", limit), ("offset", start)], safe=",:")
        return link(f"{call.base_url}/jobs?{query}", rel)

    links = [page("self", offset)]
    if offset + limit < total:
        links.append(page("next", offset + limit))
    if offset > 0:
        links.append(page("prev", max(min(offset, total) - limit, 0)))
    return links


def _written(value: Any) -> str:
    return ",".join(value) if isinstance(value, list) else str(value)


def _states(words: list[str] | None, *, has_duration: bool) -> list[State] | None:
    """The states asked for; when only a duration is asked for, those of jobs that run or have ended."""
    if words is not None:
        return [state for state in State if WORDS[state] in words]
    return [state for state in State if WORDS[state] != "accepted"] if has_duration else None


def _tests(call: Call) -> list[Test]:
    """What no index knows."""
    params = call.params
    tests: list[Test] = []
    if "datetime" in params:
        earliest, latest = _interval(params["datetime"])
        tests.append(lambda job: earliest <= job.created_ms * 1000 <= latest)
    if "minDuration" in params or "maxDuration" in params:
        shortest_ms = params.get("minDuration", 0) * 1000
        longest_ms = params["maxDuration"] * 1000 if "maxDuration" in params else inf
        tests.append(lambda job: _lasted(job, call.now_ms, shortest_ms, longest_ms))
    return tests


def _lasted(job: Job, now_ms: int, shortest_ms: int, longest_ms: float) -> bool:
    """Whether a job ran, or has run so far, for so long; false when it never did."""
    if job.started_ms is None:
        return False
    ended_ms = now_ms if job.finished_ms is None else job.finished_ms
    return shortest_ms <= ended_ms - job.started_ms <= longest_ms


def _interval(text: str) -> tuple[float, float]:
    """First and last microsecond of an instant or of an interval, both included.

    Raises:
        Problem: it is neither.
    """
    first, slash, last = text.partition("/")
    if not slash:
        at = _instant(first, text)
        return at, at
    open_ends = [end in ("", "..") for end in (first, last)]
    if all(open_ends):
        raise _no_time(text, "an interval is open at one end at most")
    earliest = -inf if open_ends[0] else _instant(first, text)
    latest = inf if open_ends[1] else _instant(last, text)
    if earliest > latest:
        raise _no_time(text, "it ends before it begins")
    return earliest, latest


def _instant(written: str, text: str) -> int:
    """Microseconds since the epoch of an RFC 3339 time."""
    if _INSTANT.fullmatch(written):
        try:
            return (datetime.fromisoformat(written.upper()) - _EPOCH) // _MICROSECOND
        except ValueError:
            pass  # No such day, hour or offset.
    raise _no_time(text, f'"{written}" is no RFC 3339 time such as 2030-01-01T00:00:00Z')


def _no_time(text: str, why: str) -> Problem:
    return Problem(
        Kind.BAD_PARAMETER,
        f'query parameter datetime: "{text}": {why}',
        where="query",
        pointer="datetime",
        value=text,
    )
