"""Which exchanges of a call log somebody looks for.

`Wanted` compares for equality, as the filters of a list do; a `Pattern` has globs, like `when` in a scenario, and looks into
headers and bodies. Both see an exchange as everybody does, without its credentials.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson

from simulator.runtime.calls import Exchange
from simulator.runtime.redaction import Headers
from simulator.scenario.match import Field, Glob


@dataclass(frozen=True, slots=True)
class Statuses:
    """One status, or a class of them."""

    first: int
    last: int

    @classmethod
    def of(cls, text: str) -> Statuses:
        """Read `404` or `4XX`."""
        if text.endswith("XX"):
            return cls(int(text[0]) * 100, int(text[0]) * 100 + 99)
        return cls(int(text), int(text))

    def holds(self, status: int) -> bool:
        """Whether it is one of them."""
        return self.first <= status <= self.last


@dataclass(frozen=True, slots=True)
class Wanted:
    """All that is said here must hold; nothing at all holds for every exchange."""

    api: str | None = None
    operation: str | None = None
    role: str | None = None
    method: str | None = None
    path: str | None = None
    """A part of the path."""
    job_id: str | None = None
    """The job that the call is about, or one that it made."""
    statuses: Statuses | None = None
    has_violations: bool | None = None

    def holds(self, exchange: Exchange) -> bool:
        """Whether it is one of them."""
        return (
            (self.api is None or self.api == exchange.api)
            and (self.operation is None or self.operation == exchange.operation)
            and (self.role is None or self.role == exchange.role)
            and (self.method is None or self.method.upper() == exchange.method)
            and (self.statuses is None or self.statuses.holds(exchange.status))
            and (self.path is None or self.path in exchange.path)
            and (self.job_id is None or self.job_id == exchange.job_id or self.job_id in exchange.jobs)
            and (self.has_violations is None or self.has_violations == bool(exchange.violations))
        )


@dataclass(frozen=True, slots=True)
class Pattern:
    """As `Wanted`, in the globs of a scenario: of several globs, one must fit."""

    globs: Mapping[str, tuple[Glob, ...]]
    """By a name in `TEXTS`."""
    fields: Mapping[str, tuple[Field, ...]]
    """By a name in `PARTS`: what is looked for in headers, query or bodies."""
    statuses: tuple[Statuses, ...] = ()
    has_violations: bool | None = None

    def holds(self, exchange: Exchange) -> bool:
        """Whether it is one of them."""
        return (
            (not self.statuses or any(one.holds(exchange.status) for one in self.statuses))
            and all(_any_fits(globs, TEXTS[name](exchange)) for name, globs in self.globs.items())
            and (self.has_violations is None or self.has_violations == bool(exchange.violations))
            and all(PARTS[name](fields, exchange) for name, fields in self.fields.items())
        )


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One of these must hold."""

    patterns: Sequence[Pattern]

    def holds(self, exchange: Exchange) -> bool:
        """Whether one does."""
        return any(pattern.holds(exchange) for pattern in self.patterns)


def _any_fits(globs: tuple[Glob, ...], texts: Iterable[str]) -> bool:
    return any(glob.fits(text) for text in texts for glob in globs)


def _are_in_header(fields: tuple[Field, ...], exchange: Exchange) -> bool:
    values: dict[str, list[str]] = {}
    for name, value in exchange.request_headers:
        values.setdefault(name.lower(), []).append(value)
    return all(_any_fits(field.globs, values.get(field.path.lower(), ())) for field in fields)


def _are_in_query(fields: tuple[Field, ...], exchange: Exchange) -> bool:
    values = parse_qs(exchange.path.partition("?")[2], keep_blank_values=True)
    return all(_any_fits(field.globs, values.get(field.path, ())) for field in fields)


def _are_in_request(fields: tuple[Field, ...], exchange: Exchange) -> bool:
    value = _value_of(exchange, exchange.request_headers, exchange.request_body)
    return all(field.holds(value) for field in fields)


def _are_in_response(fields: tuple[Field, ...], exchange: Exchange) -> bool:
    value = _value_of(exchange, exchange.response_headers, exchange.response_body)
    return all(field.holds(value) for field in fields)


TEXTS: Mapping[str, Callable[[Exchange], Iterable[str]]] = {
    "api": lambda exchange: (exchange.api,),
    "operation": lambda exchange: (exchange.operation,),
    "role": lambda exchange: (exchange.role,),
    "method": lambda exchange: (exchange.method,),
    "path": lambda exchange: (exchange.path.partition("?")[0],),
    "job": lambda exchange: (exchange.job_id or "", *exchange.jobs),
}
"""What of an exchange is compared with globs."""

PARTS: Mapping[str, Callable[[tuple[Field, ...], Exchange], bool]] = {
    "header": _are_in_header,
    "query": _are_in_query,
    "request": _are_in_request,
    "response": _are_in_response,
}
"""In what of an exchange values are looked for by name or path."""


def _value_of(exchange: Exchange, headers: Headers, body: bytes) -> Any:
    """What a body says; nothing when that cannot be told, as of one that was cut."""
    told = next((value for name, value in headers if name.lower() == "content-type"), "")
    codec = exchange.codecs.get(told.partition(";")[0].strip().lower())
    try:
        return orjson.loads(body) if codec is None else codec.decode(body, exchange.operation)
    except Exception:  # Whatever is wrong with it was told to the client; here it has no values.
        return None
