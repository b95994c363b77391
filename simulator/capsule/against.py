"""What the clients of a capsule said, said to another server: does it answer as the documents promise?

Another server has other ids, another time and other jobs, so nothing is compared byte by byte. What is asked of each answer: is
its status one that the document declares, does its body fit the schema, and is it of the same kind (2xx, 4xx …) as the one that
was recorded. Where a later request speaks of a value that an earlier answer has given, such as the id of a job, it speaks of the
value that the other server has given in the same place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from simulator.apis.negotiation import media_type_of
from simulator.capsule.model import CallStep, Capsule, Headers
from simulator.web.body import is_json
from simulator.web.service import METHODS, Service

ANSWER_S = 60.0
"""How long an answer may take."""
_NOT_SENT = frozenset(
    {"host", "content-length", "connection", "keep-alive", "transfer-encoding", "upgrade", "accept-encoding"}
)
_OWN = "x-understudy-"
_WORLD = re.compile(r"/worlds/[^/?]+(?=/)")
_SEGMENT = re.compile(r"[^/?&=:#]+")
_ELEMENT = re.compile(r">([^<>]+)<")


@dataclass(frozen=True, slots=True)
class Deviation:
    """An answer that is not as it should be."""

    call: int
    method: str
    url: str
    what: str
    """`status`, `contract`, `kind`, `connection`."""
    message: str

    def __str__(self) -> str:
        return f"call {self.call}, {self.method} {self.url}: {self.message}"


class Against:
    """Sends the requests of a capsule to another server.

    Args:
        services: the APIs of the capsule with their documents, built.
        roots: where the other server has each API: by API name what stands before the documented path, or under the empty name
            what stands before everything.
        headers: sent with each request, in the place of recorded ones.
        wait: waits so many seconds.
        speed: how much faster than recorded time passes between two requests.
        longest_s: nobody waits longer than this.
    """

    def __init__(
        self,
        capsule: Capsule,
        services: Mapping[str, Service],
        roots: Mapping[str, str],
        *,
        headers: Headers = (),
        wait: Callable[[float], object],
        speed: float = 1.0,
        longest_s: float = 10.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._capsule = capsule
        self._services = services
        self._roots = roots
        self._headers = headers
        self._wait = wait
        self._speed = speed
        self._longest_s = longest_s
        self._transport = transport
        self._said_later = _said_later(capsule)
        self._actual: dict[str, str] = {}

    def run(self) -> Iterator[Deviation]:
        """Send all requests, one after the other, and tell of each answer that is not as it should be."""
        before_ms: int | None = None
        with httpx.Client(transport=self._transport, timeout=ANSWER_S, trust_env=False) as client:
            for step in self._capsule.calls:
                if before_ms is not None:
                    gap_s = (step.at_ms - before_ms) / 1000 / self._speed
                    self._wait(min(max(gap_s, 0), self._longest_s))
                before_ms = step.at_ms
                yield from self._send(step, client)

    def _send(self, step: CallStep, client: httpx.Client) -> Iterator[Deviation]:
        api, path = self._place_of(step.path)
        if api is None:
            return
        url = self._url(api, _SEGMENT.sub(lambda found: self._actual.get(found[0], found[0]), path))
        about = (step.number, step.method, url)
        try:
            answer = client.request(
                step.method, url, headers=self._said(step.headers), content=self._body(step.body)
            )
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            if step.answer.status and not step.answer.is_broken:
                reason = str(problem) or type(problem).__name__
                yield Deviation(*about, "connection", f"no answer: {reason}; recorded: {step.answer.status}")
            return
        self._learn(step, answer)
        violation = self._violation(self._services[api], step, path, answer)
        if violation is not None:
            yield Deviation(*about, *violation)
        recorded = step.answer.status
        if recorded and recorded // 100 != answer.status_code // 100:
            yield Deviation(*about, "kind", f"answered {answer.status_code}; recorded: {recorded}")

    # ---- the request ------------------------------------------------------------------------------------------------

    def _place_of(self, path: str) -> tuple[str | None, str]:
        """Which API a path belongs to, and the path as its document writes it."""
        path = _WORLD.sub("", path, count=1)
        name, slash, rest = path[1:].partition("/")
        if name in self._services and slash:
            return name, f"/{rest}"
        alone = next(iter(self._services)) if len(self._services) == 1 else None
        return alone, path

    def _url(self, api: str, path: str) -> str:
        own = self._roots.get(api)
        return f"{self._roots['']}/{api}{path}" if own is None else f"{own}{path}"

    def _said(self, recorded: Headers) -> list[tuple[str, str]]:
        given = {name.lower() for name, _ in self._headers}
        kept = [
            (name, value)
            for name, value in recorded
            if name.lower() not in given | _NOT_SENT and not name.lower().startswith(_OWN)
        ]
        return [*kept, *self._headers]

    def _body(self, body: bytes) -> bytes:
        """A body that speaks of what the other server has given."""
        if not self._actual or not body:
            return body
        try:
            value = json.loads(body)
        except ValueError:
            return body
        changed = self._changed(value)
        return body if changed == value else json.dumps(changed).encode()

    def _changed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._changed(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._changed(inner) for inner in value]
        return self._actual.get(value, value) if isinstance(value, str) else value

    # ---- the answer -------------------------------------------------------------------------------------------------

    def _learn(self, step: CallStep, answer: httpx.Response) -> None:
        """Which values of the other server stand where the recorded answer has those that are spoken of later."""
        recorded = {**_values(step.answer.body), **_location(dict(step.answer.headers).get("location", ""))}
        actual = {**_values(answer.content), **_location(answer.headers.get("location", ""))}
        for place, value in recorded.items():
            if value in self._said_later and place in actual:
                self._actual.setdefault(value, actual[place])

    def _violation(
        self, service: Service, step: CallStep, path: str, answer: httpx.Response
    ) -> tuple[str, str] | None:
        """How an answer breaks the document."""
        operation = _operation_at(service, step.method, path.partition("?")[0])
        if operation is None:
            return None
        endpoint = service.endpoints[operation]
        status = answer.status_code
        if not endpoint.declares(status):
            declared = ", ".join(endpoint.statuses)
            return "status", f"{operation} does not declare status {status}, but {declared}"
        content_type = answer.headers.get("content-type", "")
        media_type: str | None = media_type_of(content_type) if content_type else None
        seen: Any = answer.text
        if not answer.content or step.method == "HEAD":
            if step.method == "HEAD" or media_type is None:
                return None
            media_type = None
        elif media_type is not None and is_json(media_type):
            try:
                seen = orjson.loads(answer.content)
            except orjson.JSONDecodeError as problem:
                return "contract", f"{operation} {status}: the body is not JSON: {problem}"
        elif media_type in service.api.codecs:
            return None  # What it carries is JSON; only its sender can say which.
        violation = endpoint.violation(status, media_type, seen, dict(answer.headers))
        if violation is None:
            return None
        return "contract", f"{operation} {status}: {violation.pointer or '(whole)'}: {violation.message}"


def _said_later(capsule: Capsule) -> set[str]:
    """Everything that requests name in their addresses."""
    return {found for step in capsule.calls for found in _SEGMENT.findall(step.path)}


def _values(body: bytes) -> dict[str, str]:
    """The texts and numbers of a body by their place."""
    try:
        value = json.loads(body)
    except ValueError:
        texts = _ELEMENT.findall(body.decode("utf-8", "replace"))
        return {f"<{place}>": text.strip() for place, text in enumerate(texts)}
    return dict(_leaves(value, ""))


def _leaves(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    inner: Iterable[tuple[object, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    elif isinstance(value, str | int) and not isinstance(value, bool):
        yield pointer, str(value)
    for name, part in inner:
        yield from _leaves(part, f"{pointer}/{name}")


def _location(url: str) -> dict[str, str]:
    """The last parts of an address, counted from its end."""
    parts = [part for part in urlsplit(url).path.split("/") if part]
    return {f"location {place}": part for place, part in enumerate(reversed(parts))}


def _operation_at(service: Service, method: str, path: str) -> str | None:
    """The operationId that a documented path leads to."""
    method = "get" if method == "HEAD" else method.lower()
    found: list[tuple[int, str]] = []
    for documented, item in service.document["paths"].items():
        if method in item and method in METHODS and service.paths.pattern_of(documented).fullmatch(path):
            found.append((documented.count("{"), item[method]["operationId"]))
    return min(found)[1] if found else None
