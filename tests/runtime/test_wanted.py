"""Looking for exchanges: filters that compare, and patterns as scenarios have them."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.runtime.calls import CallLog, Exchange
from simulator.runtime.wanted import AnyOf, Pattern, Statuses, Wanted
from simulator.scenario.match import Field, Glob
from tests.runtime.said import call, noted


def numbers(exchanges: list[Exchange]) -> list[int]:
    return [exchange.number for exchange in exchanges]


def filled() -> CallLog:
    log = CallLog()
    call(log, "/ica/a", operation="getA", params={"id": "1"})
    call(
        log,
        "/ica/b",
        operation="postB",
        method="POST",
        status=400,
        request_headers=[(b"content-type", b"application/json"), (b"x-client", b"build-7")],
        request_body=b'{"jobs":[{"image":"a/b:1","count":3}],"password":"s3cret"}',
        notes=noted(violations=("x",), jobs=("5", "6"), jobs_made=2),
    )
    call(
        log,
        "/ogc/a",
        api="ogc",
        operation="getA",
        status=404,
        params={"id": "1"},
        response_headers=[(b"content-type", b"text/upper; q=1")],
        response_body=b"gone",
    )
    call(log, "/ogc/c?q=1&q=2&token=s3cret", api="ogc", status=503, request_body=b'{"cut":')
    return log


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), [1, 2, 3, 4]),
        (Wanted(api="ogc"), [3, 4]),
        (Wanted(operation="getA"), [1, 3]),
        (Wanted(role="submit"), [2]),
        (Wanted(method="post"), [2]),
        (Wanted(path="/a"), [1, 3]),
        (Wanted(path="q=1"), [4]),
        (Wanted(path="s3cret"), []),
        (Wanted(job_id="1"), [1, 3]),
        (Wanted(job_id="6"), [2]),
        (Wanted(statuses=Statuses.of("404")), [3]),
        (Wanted(statuses=Statuses.of("4XX")), [2, 3]),
        (Wanted(has_violations=True), [2]),
        (Wanted(has_violations=False), [1, 3, 4]),
        (Wanted(api="ogc", operation="getA"), [3]),
        (Wanted(api="ogc", method="POST"), []),
    ],
    ids=str,
)
def test_exchanges_are_found_by_what_they_are(wanted: Wanted, found: list[int]) -> None:
    log = filled()
    assert numbers(log.list(wanted)) == found
    assert log.count(wanted) == len(found)


def pattern(statuses: tuple[str, ...] = (), has_violations: bool | None = None, **said: Any) -> Pattern:
    """A pattern from texts, and from mappings of texts."""
    globs = {name: (Glob.of(text),) for name, text in said.items() if isinstance(text, str)}
    fields = {
        name: tuple(Field(path, (Glob.of(text),)) for path, text in texts.items())
        for name, texts in said.items()
        if isinstance(texts, dict)
    }
    return Pattern(globs, fields, tuple(map(Statuses.of, statuses)), has_violations)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (pattern(), [1, 2, 3, 4]),
        (pattern(path="/*/a"), [1, 3]),
        (pattern(path="/ogc/c"), [4]),
        (pattern(api="o?c", operation="get*"), [3]),
        (pattern(role="[rs]*", method="POST"), [2]),
        (pattern(job="[5-6]"), [2]),
        (pattern(statuses=("5XX", "404")), [3, 4]),
        (pattern(has_violations=True), [2]),
        (pattern(header={"X-Client": "build-*"}), [2]),
        (pattern(header={"X-Client": "build-*", "accept": "*"}), []),
        (pattern(query={"q": "2"}), [4]),
        (pattern(query={"token": "s3cret"}), []),
        (pattern(request={"jobs.0.image": "a/*"}), [2]),
        (pattern(request={"jobs.0.count": "3"}), [2]),
        (pattern(request={"password": "s3cret"}), []),
        (pattern(request={"cut": "*"}), []),
        (pattern(response={"said": "GONE"}), [3]),
    ],
    ids=str,
)
def test_exchanges_are_found_by_patterns(wanted: Pattern, found: list[int]) -> None:
    assert numbers(filled().list(wanted)) == found


def test_any_of_several_patterns_will_do() -> None:
    wanted = AnyOf([pattern(path="/ica/a"), pattern(statuses=("404",)), pattern(path="/ica/?")])
    assert numbers(filled().list(wanted)) == [1, 2, 3]
