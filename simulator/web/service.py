"""One API as an ASGI application: a Connexion stack whose last link is ours.

Connexion gets the outline of the document, resolves operationIds to functions, routes, secures and maps errors. The checks and
the dispatch are ours because everything they need is compiled at start: per request Connexion would rebuild validators and
decorators.

    exceptions (Connexion) → routing (Connexion) → faults (ours) → security (Connexion) → dispatch (ours)

Nothing in here knows an API by name. The time of a world is read once per call, after the last await: from then until the
answer is made, the world belongs to this call.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from email.utils import formatdate
from functools import lru_cache, partial
from typing import Any, NamedTuple

import connexion
import orjson
from connexion.lifecycle import ConnexionRequest, ConnexionResponse
from connexion.middleware.abstract import ROUTING_CONTEXT, RoutedAPI, RoutedMiddleware
from connexion.middleware.exceptions import ExceptionMiddleware
from connexion.middleware.routing import RoutingMiddleware
from connexion.middleware.security import SecurityAPI, SecurityMiddleware, SecurityOperation
from connexion.operations import AbstractOperation
from connexion.resolver import Resolver
from connexion.security import AbstractSecurityHandler
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator.apis.contract import (
    CHANGING,
    Api,
    Call,
    Handler,
    Kind,
    Later,
    Operation,
    Problem,
    Refusal,
    Reply,
    Role,
    Sampler,
    Stream,
)
from simulator.apis.negotiation import best_match, media_type_of
from simulator.engine.command import Poll
from simulator.engine.errors import EngineError, UnknownJob
from simulator.engine.world import World
from simulator.runtime.calls import JOBS_SHOWN_MAX, Notes
from simulator.runtime.worlds import Stage
from simulator.scenario.model import Scenario
from simulator.web.body import (
    decode_json,
    decode_multipart,
    decode_text,
    is_json,
    read_bytes,
    until_gone,
)
from simulator.web.checks import Parameters, Replies, RequestBody, readable
from simulator.web.faults import DELAY, PREFER, SCENARIO, TRANSPORT, Broken, disturb
from simulator.web.ledger import Ledger, Line
from simulator.web.paths import PathTable
from simulator.web.schema import Validator, Violation, to_json_schema

logger = logging.getLogger("understudy")

EXCHANGE = "understudy"
"""Key of the `Exchange` in an ASGI scope."""
PATH_CHARACTERS_MAX = 4096
VIOLATION_HEADER = "X-Understudy-Violation"
METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
WORLD_HEADER = "X-Understudy-World"
_WORLD = WORLD_HEADER.lower().encode()
RETRY_AFTER = "Retry-After"
RETRY_AFTER_SECONDS = 5
"""What is advised where a document has the header and nobody has set another wait."""
_NO_SETTINGS: Mapping[str, Any] = {}
_NO_VIOLATIONS = frozenset({Kind.INTERNAL, Kind.ASKED_FOR, Kind.FORBIDDEN})
"""Refusals that say nothing of the document."""
CLIENT_BROKE = "client: "
"""What `X-Understudy-Violation` begins with where it was the client who broke the document."""
VIOLATION_CHARACTERS_MAX = 1_000
"""Of a header; the ledger has all."""
_HOST = re.compile(r"(?:[A-Za-z0-9._~-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class RequestHeaders(Mapping[str, str]):
    """The headers of an ASGI scope by lower-case name; decoded only when asked for."""

    __slots__ = ("_values",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._values: dict[bytes, bytes] = dict(raw)
        if len(self._values) < len(raw):
            # A header on several lines is one list (RFC 9110, 5.3).
            self._values = {}
            for name, value in raw:
                known = self._values.get(name)
                self._values[name] = value if known is None else known + b", " + value

    def __getitem__(self, name: str) -> str:
        value: str | None = self.get(name)
        if value is None:
            raise KeyError(name)
        return value

    @property
    def world(self) -> str | None:
        """The world that the client names, if it names one."""
        value = self._values.get(_WORLD)
        return None if value is None else value.decode("latin-1")

    @property
    def steer(self) -> bool:
        """Whether one of them may ask for something of this call alone."""
        values = self._values
        return PREFER in values or DELAY in values or SCENARIO in values

    def get(self, name: str, default: Any = None) -> Any:
        """The value under this name."""
        value = self._values.get(name.encode("latin-1", "replace"))
        return default if value is None else value.decode("latin-1")

    def __iter__(self) -> Iterator[str]:
        return (name.decode("latin-1") for name in self._values)

    def __len__(self) -> int:
        return len(self._values)


class Exchange:
    """One HTTP request on its way: which world, under which prefix, how to answer it, and what was wrong with it."""

    __slots__ = (
        *("headers", "is_head", "prefix", "scope", "send", "stage"),
        *("notes",),
    )

    def __init__(self, stage: Stage, prefix: str, scope: Scope, send: Send) -> None:
        self.stage = stage
        self.prefix = prefix
        self.scope = scope
        self.send = send
        self.headers = RequestHeaders(scope["headers"])
        self.is_head = scope["method"] == "HEAD"
        self.notes: Notes | None = None
        """For the call log; see `noted`."""

    @property
    def noted(self) -> Notes:
        """The notes of this call, to write something down."""
        if self.notes is None:
            self.notes = Notes()
        return self.notes

    def wait_begins(self, since_ms: int) -> None:
        """The call has to wait; until now it was this time for it."""
        self.noted.waits.append((since_ms, 0))

    def wait_ends(self) -> None:
        """The call goes on."""
        waits, calls = self.noted.waits, self.stage.calls
        calls.resumed += 1
        waits[-1] = (waits[-1][0], calls.moment)

    @property
    def origin(self) -> str:
        """Scheme and authority as the client wrote them; the server's address when the Host header is no host."""
        host = self.headers.get("host", "")
        if not _HOST.fullmatch(host):
            name, port = self.scope.get("server") or ("127.0.0.1", 80)
            host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
        return f"{self.scope.get('scheme', 'http')}://{host}"

    def told_violations(self) -> str:
        """How the client has broken the document, for the header that says so."""
        broken = "; ".join(self.noted.violations)
        cut = "…" if len(broken) > VIOLATION_CHARACTERS_MAX else ""
        return f"{CLIENT_BROKE}{broken[:VIOLATION_CHARACTERS_MAX]}{cut}"

    def stamp(self) -> dict[str, str]:
        """The world's time as a `Date` header, and what the client has broken."""
        stamps = {"Date": _http_date(self.stage.world.now_ms // 1000).decode()}
        if self.notes is not None and self.notes.violations:
            stamps[VIOLATION_HEADER] = self.told_violations()
        return stamps

    async def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        """Send a whole response, with the world's time as its date."""
        await self.send(self.head(status, headers, None if status == 204 else len(body)))
        await self.send(
            {"type": "http.response.body", "body": b"" if self.is_head or status == 204 else body}
        )

    def head(self, status: int, headers: Mapping[str, str], length: int | None = None) -> Message:
        """The head of a response whose body has this length, if that is known."""
        raw = [(_header_name(name), _header_value(value)) for name, value in headers.items()]
        raw.append((b"date", _http_date(self.stage.world.now_ms // 1000)))
        if length is not None:
            raw.append((b"content-length", str(length).encode()))
        if self.notes is not None and self.notes.violations:
            raw.append((VIOLATION_HEADER.lower().encode(), _header_value(self.told_violations())))
        return {"type": "http.response.start", "status": status, "headers": raw}


@lru_cache(maxsize=256)
def _header_name(name: str) -> bytes:
    return name.lower().encode("latin-1")


def _header_value(value: str) -> bytes:
    """A header value on one line; what does not fit in Latin-1 becomes a question mark."""
    if not value.isprintable():
        value = "".join(character if character.isprintable() else " " for character in value)
    return value.encode("latin-1", "replace")


@lru_cache(maxsize=64)
def _http_date(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode()


Rendered = tuple[int, dict[str, str], bytes]
"""Status, headers and body, ready to be sent."""


class Service:
    """One API, served.

    Args:
        document: the OpenAPI document as loaded, references unresolved.
        sampler: makes result values for the API's schemas.
        strict: a reply that breaks the document becomes a 500 that says how.
        body_bytes_max: larger request bodies are refused.
        scenarios: those that a client may wish for, by name.
        is_simulated: it stands in for a service, so scenarios and clients may disturb its calls and the ledger speaks of its
            clients. The control API does not.
        retry_after_s: what every status call about an unfinished job advises; None: only where the document has the header.

    Raises:
        ValueError: the document and the functions of the API do not fit together.
    """

    def __init__(
        self,
        api: Api,
        document: dict[str, Any],
        *,
        sampler: Sampler,
        ledger: Ledger,
        strict: bool,
        body_bytes_max: int,
        scenarios: Mapping[str, Scenario] | None = None,
        is_simulated: bool = True,
        retry_after_s: int | None = None,
    ) -> None:
        self.api = api
        self.is_simulated = is_simulated
        self.retry_after_s = retry_after_s
        self.scenarios = scenarios or {}
        self.held: set[asyncio.Transport] = set()
        """Connections of calls that a fault holds back."""
        self.document = document
        self.sampler = sampler
        self.ledger = ledger
        self.strict = strict
        self.body_bytes_max = body_bytes_max
        self.endpoints: dict[str, Endpoint] = {}
        self._components = {"schemas": to_json_schema_all(document)}
        self._compiled: dict[str | int, Validator] = {}
        _require_match(api, document)
        self.on_told: Callable[[Stage], None] = _nobody_is_told
        """Called when watched jobs have moved, so that somebody tells their watchers (`World.told`)."""
        self._stack = connexion.ConnexionMiddleware(
            self._nothing_here,
            middlewares=[
                _Exceptions,
                _Routing,
                *([partial(_Faults, service=self)] if is_simulated else []),
                _Security,
                partial(_Dispatch, service=self),
            ],
        )
        self._stack.add_error_handler(Problem, self._on_problem)
        self._stack.add_error_handler(EngineError, self._on_problem)
        self._stack.add_error_handler(HTTPException, self._on_http_exception)
        self._stack.add_error_handler(Exception, self._on_crash)
        self._stack.add_api(
            _outline(document),
            resolver=Resolver(self._function),
            security_map=dict.fromkeys(("apiKey", "basic", "bearer", "oauth2"), _security_handler(api)),
        )
        specification = self._stack.apis[0].specification
        self.base_path: str = specification.base_path
        self.has_root = not self.base_path and "/" in document["paths"]
        """The document says what is at the very root of the API."""
        self.paths = PathTable(self.base_path, specification)
        self._changing_gets = [
            self.paths.pattern_of(path)
            for path, item in document["paths"].items()
            if "get" in item and api.operations[item["get"]["operationId"]].role in CHANGING
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request whose scope holds an `Exchange`, or be built (any other scope)."""
        if scope["type"] != "http":
            await self._stack(scope, receive, send)
            return
        exchange: Exchange = scope[EXCHANGE]
        path: str = scope["path"]
        if len(path) > PATH_CHARACTERS_MAX:
            exchange.stage.catch_up()
            too_long = Problem(Kind.URI_TOO_LONG, f"the path is longer than {PATH_CHARACTERS_MAX} characters")
            self.note(too_long, "", exchange)
            await exchange.answer(*_plainly(self.api.error(too_long, self.call(exchange)), too_long))
            return
        if path.endswith("/") and len(path) > len(self.base_path) + 1:
            scope["path"] = path.rstrip("/") or "/"
        if scope["method"] == "OPTIONS" and (methods := self.allowed_at(scope["path"])):
            exchange.stage.catch_up()
            await exchange.answer(204, {"Allow": ", ".join(methods)}, b"")
            return
        await self._stack(scope, receive, send)

    def call(self, exchange: Exchange, operation_id: str = "") -> Call:
        """The call that an exchange is, before anything of it is read."""
        stage = exchange.stage
        return Call(
            world=stage.world,
            operation=operation_id,
            params={},
            body=None,
            headers=exchange.headers,
            base_url=f"{exchange.origin}{exchange.prefix}{self.base_path}",
            settings=stage.scenario.settings.get(self.api.name, _NO_SETTINGS),
            sampler=self.sampler,
            document=self.document,
            world_name=stage.name,
        )

    def compile(self, schema: Any) -> Validator:
        """The validator of a schema of this document, compiled once."""
        key = schema.get("$ref") or id(schema)
        if key not in self._compiled:
            self._compiled[key] = Validator(schema, self._components)
        return self._compiled[key]

    def allowed_at(self, path: str) -> list[str]:
        """What `Allow` says for this path; empty when there is nothing."""
        methods = self.paths.methods_at(path)
        if "GET" in methods and not any(pattern.fullmatch(path) for pattern in self._changing_gets):
            methods.append("HEAD")
        return [*methods, "OPTIONS"] if methods else []

    def method_not_allowed(self, scope: Scope) -> Problem:
        """The refusal of a method, with everything that would be allowed instead."""
        allowed = ", ".join(self.allowed_at(scope["path"]))
        return Problem(
            Kind.METHOD_NOT_ALLOWED,
            f"{scope['method']} is not possible here; allowed: {allowed}",
            value=scope["method"],
            headers={"Allow": allowed},
        )

    def _function(self, operation_id: str) -> Handler:
        return self.api.operations[operation_id].handler

    async def _nothing_here(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Behind the last link: no operation of the document has this path."""
        if scope["type"] == "http":
            raise Problem(Kind.NO_SUCH_PATH, f"there is nothing at {readable(scope['path'])}", where="path")

    async def _on_problem(self, request: ConnexionRequest, problem: Exception) -> ConnexionResponse:
        assert isinstance(problem, Problem | EngineError)
        return await self.refuse(request.scope, problem)

    async def _on_http_exception(self, request: ConnexionRequest, problem: Exception) -> ConnexionResponse:
        assert isinstance(problem, HTTPException)
        if problem.status_code == 405:
            return await self.refuse(request.scope, self.method_not_allowed(request.scope))
        return await self.refuse(request.scope, Problem(Kind.NO_SUCH_PATH, problem.detail, where="path"))

    async def _on_crash(self, request: ConnexionRequest, problem: Exception) -> ConnexionResponse:
        logger.error("%s %s crashed", request.scope["method"], request.scope["path"], exc_info=problem)
        stage = request.scope[EXCHANGE].stage
        crash = f"crashed: {problem!r}"
        self.ledger.add(
            Line("server", self.api.name, "", "", crash, stage.name, stage.world.now_ms, kind="crash")
        )
        return await self.refuse(
            request.scope, Problem(Kind.INTERNAL, "understudy made a mistake; its log says more")
        )

    async def refuse(self, scope: Scope, problem: Refusal) -> ConnexionResponse:
        """What an error handler answers."""
        operation_id = scope.get("extensions", {}).get(ROUTING_CONTEXT, {}).get("operation_id")
        endpoint = self.endpoints.get(operation_id or "")
        exchange: Exchange = scope[EXCHANGE]
        self.note(problem, endpoint.id if endpoint else "", exchange)
        exchange.stage.catch_up()
        call = self.call(exchange, endpoint.id if endpoint else "")
        reply = self.api.error(problem, call)
        if endpoint is None or (isinstance(problem, Problem) and problem.kind is Kind.METHOD_NOT_ALLOWED):
            status, headers, body = _plainly(reply, problem)
        else:
            status, headers, body = endpoint.render(reply, problem, call, "application/json")
        # What we have broken is said rather than what the client has.
        headers = {**exchange.stamp(), **headers, "Content-Length": str(len(body))}
        return ConnexionResponse(
            status_code=status,
            headers={name: _header_value(value).decode("latin-1") for name, value in headers.items()},
            body=b"" if exchange.is_head else body,
        )

    def note(self, refusal: Refusal, operation_id: str, exchange: Exchange) -> None:
        """Write a client's violation of the document into the ledger.

        A token that the scenario calls expired, foreign or unknown breaks no document; to send none does where one is wanted.
        """
        if not isinstance(refusal, Problem) or refusal.kind in _NO_VIOLATIONS or not self.is_simulated:
            return
        if refusal.kind is Kind.UNAUTHORIZED and exchange.headers.get("authorization"):
            return
        exchange.noted.violations += (refusal.detail,)
        stage = exchange.stage
        self.ledger.add(
            Line(
                "client",
                self.api.name,
                operation_id,
                refusal.pointer,
                refusal.detail,
                stage.name,
                stage.world.now_ms,
                kind=refusal.kind.word,
            )
        )


class Endpoint:
    """One operation, ready to be called: everything about it that the document says is compiled."""

    def __init__(self, service: Service, operation: Operation, specified: AbstractOperation) -> None:
        self.id = operation.id
        self.role = operation.role
        self.method: str = specified.method
        self.is_changing = operation.role in CHANGING
        self._service = service
        self._api = service.api
        self._handler = operation.handler
        self._raw_body = operation.raw_body
        self._body_bytes_max = operation.body_bytes_max or service.body_bytes_max
        self._rivals = service.paths.rivals_of(specified.path)
        raw = _raw_operation(service.document, specified.path, self.method)
        self._parameters = Parameters(raw["parameters"], service.compile)
        self._body = RequestBody(raw["requestBody"], service.compile) if "requestBody" in raw else None
        self.takes_body = self._body is not None
        self._replies = Replies(raw["responses"], service.compile)
        self._responses = raw["responses"]
        self._advises = service.retry_after_s is not None or any(
            self._has_retry_after(status) for status in raw["responses"] if str(status).startswith("2")
        )
        self.statuses = tuple(raw["responses"])
        """As in the document: `404`, `4XX`, `default`."""
        self._reply_types = tuple(self._replies.media_types)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, decode, handle, check, encode, answer."""
        exchange: Exchange = scope[EXCHANGE]
        if exchange.is_head or self._rivals:
            self.require_method(scope)
        headers = exchange.headers
        stage = exchange.stage
        call = self._service.call(exchange, self.id)
        reply_type = "application/json"
        refusal: Refusal | None = None
        try:
            reply_type = self._reply_type(headers)
            call.params = self._parameters.read(scope["path_params"], scope["query_string"], headers)
            if self._body is not None:
                try:
                    await self._read_body(call, receive, reply_type)
                except ConnectionError:
                    return
            stage.catch_up()
            reply = self._change(call, exchange) if self.is_changing else self._handler(call)
            if isinstance(reply, Stream):
                await self._send_on(reply, exchange, receive)
                return
            if isinstance(reply, Later):
                answered = await _in_time(reply, exchange, receive)
                if answered is None:
                    return
                reply = answered
            elif not isinstance(reply, Reply):
                reply = await reply
            if self.role is Role.STATUS:
                if stage.world.counts_polls:
                    self._count_poll(scope["path_params"], stage.world)
                if self._advises or stage.clock.mode.is_poll:
                    self._advise(reply, scope["path_params"], stage)
        except (Problem, EngineError) as problem:
            refusal = problem
            stage.catch_up()
            self._service.note(problem, self.id, exchange)
            reply = self._api.error(problem, call)
        if stage.world.told:
            self._service.on_told(stage)
        await exchange.answer(*self.render(reply, refusal, call, reply_type))

    async def _send_on(self, stream: Stream, exchange: Exchange, receive: Receive) -> None:
        """Send the pieces of a stream as they come, as long as the client is there."""
        leaving: asyncio.Task[None] | None = None
        held = self._service.held
        transport = exchange.scope.get("extensions", {}).get(TRANSPORT)
        try:
            assert self._replies.has_type(200, stream.media_type), (
                f"{self.id} declares no {stream.media_type}"
            )
            headers = {"Content-Type": stream.media_type, "Cache-Control": "no-store"}
            await exchange.send(exchange.head(200, headers))
            if not exchange.is_head:
                leaving = asyncio.ensure_future(until_gone(receive))
                leaving.add_done_callback(lambda _: stream.close())
                async for piece in stream.pieces:
                    # A client that does not read would keep a server that stops waiting.
                    if transport is not None:
                        held.add(transport)
                    await exchange.send({"type": "http.response.body", "body": piece, "more_body": True})
                    held.discard(transport)
            await exchange.send({"type": "http.response.body"})
        finally:
            stream.close()
            held.discard(transport)
            if leaving is not None:
                leaving.cancel()

    def _change(self, call: Call, exchange: Exchange) -> Reply | Later | Stream | Awaitable[Reply]:
        """Handle a call that may make jobs, and note which ones it made."""
        world = exchange.stage.world
        number = world.next_number
        try:
            return self._handler(call)
        finally:
            if world.next_number > number:
                exchange.noted.jobs_made = world.next_number - number
                exchange.noted.jobs = world.ids_from(number, JOBS_SHOWN_MAX)

    def _count_poll(self, path_params: Mapping[str, Any], world: World) -> None:
        """Tell the world of a status call that was answered; what the call was answered stays as it is."""
        job_id = self._api.job_id(path_params)
        if job_id is not None and world.job(self._api.name, job_id).waits_for_polls:
            world.apply(Poll(self._api.name, job_id))

    def _advise(self, reply: Reply, path_params: Mapping[str, Any], stage: Stage) -> None:
        """Say how long to wait before the next status call, as long as there is a reason for one."""
        job_id = self._api.job_id(path_params)
        if job_id is None:
            return
        if not _is_under_way(stage.world, self._api.name, job_id):
            if stage.clock.mode.is_poll:
                stage.settled(self._api.name, job_id)
            return
        seconds = self._service.retry_after_s
        if seconds is None and self._has_retry_after(reply.status):
            seconds = RETRY_AFTER_SECONDS
        if stage.clock.mode.is_poll:
            # The next call itself moves the clock, as far as this one would have advised to wait.
            if seconds is not None:
                stage.advertised(self._api.name, job_id, seconds * 1000)
            seconds = 0
        if seconds is not None:
            reply.headers = {**reply.headers, RETRY_AFTER: str(seconds)}

    def _has_retry_after(self, status: int | str) -> bool:
        """Whether the document speaks of the header in answers with this status."""
        response = self._responses.get(str(status), {})
        return any(name.lower() == "retry-after" for name in response.get("headers", {}))

    def require_method(self, scope: Scope) -> None:
        """Refuse what routing took for a call of this operation and is none.

        Raises:
            Problem: METHOD_NOT_ALLOWED.
        """
        if (scope["method"] == "HEAD" and self.is_changing) or (
            self._rivals and any(rival.fullmatch(scope["path"]) for rival in self._rivals)
        ):
            raise self._service.method_not_allowed(scope)

    def declares(self, status: int) -> bool:
        """Whether the document allows an answer with this status."""
        return not {str(status), f"{status // 100}XX", "default"}.isdisjoint(self.statuses)

    def violation(
        self, status: int, media_type: str | None, value: Any, headers: Mapping[str, str]
    ) -> Violation | None:
        """How an answer breaks the document; None when it does not. `value` is its JSON value or text, None for an empty body."""
        return self._replies.violation(status, media_type, value, headers)

    def fits(self, reply: Reply, refusal: Refusal) -> bool:
        """Whether the document allows this refusal."""
        headers = {**(refusal.headers if isinstance(refusal, Problem) else {}), **reply.headers}
        seen = reply.body.decode("utf-8", "replace") if isinstance(reply.body, bytes) else reply.body
        media_type = None if seen is None else reply.media_type or "application/json"
        return self._replies.violation(reply.status, media_type, seen, headers) is None

    def example_of(self, status: int) -> Reply | None:
        """The answer that the document gives as an example for a status, if it does."""
        response = self._responses.get(str(status))
        if response is None:
            return None
        headers = {
            name: str(header["example"])
            for name, header in response["headers"].items()
            if header.get("required") and "example" in header
        }
        for media_type, content in response.get("content", {}).items():
            examples = [one["value"] for one in content.get("examples", {}).values() if "value" in one]
            body = content.get("example", examples[0] if examples else None)
            is_text = isinstance(body, str) and not is_json(media_type)
            return Reply(status, body.encode() if is_text else body, headers, media_type)
        return Reply(status, None, headers)

    async def look(self, scope: Scope, receive: Receive) -> tuple[Call, str, Problem | None]:
        """The call as far as it can be read, the media type of its answer, and what is wrong with it: for others to answer."""
        exchange: Exchange = scope[EXCHANGE]
        call = self._service.call(exchange, self.id)
        reply_type = self._reply_types[0] if self._reply_types else "application/json"
        try:
            reply_type = self._reply_type(exchange.headers)
            call.params = self._parameters.read(scope["path_params"], scope["query_string"], exchange.headers)
            if self._body is not None:
                await self._read_body(call, receive, reply_type)
        except Problem as problem:
            return call, reply_type, problem
        return call, reply_type, None

    def _reply_type(self, headers: Mapping[str, str]) -> str:
        """The media type to answer in.

        Raises:
            Problem: NOT_ACCEPTABLE.
        """
        offered = self._reply_types
        if not offered:
            return "application/json"
        if self._api.format_of is not None:
            told = self._api.format_of(headers)
            if told in offered:
                return told
        if self._api.replies_in_request_format:
            given = media_type_of(headers.get("content-type", ""))
            if given in offered:
                return given
        accept = headers.get("accept")
        if accept is None:
            return offered[0]
        chosen = best_match(accept, offered)
        if chosen is None:
            raise Problem(
                Kind.NOT_ACCEPTABLE,
                f"Accept {accept!r} cannot be met; here are {' and '.join(offered)}",
                where="header",
                pointer="Accept",
                value=accept,
            )
        return chosen

    async def _read_body(self, call: Call, receive: Receive, reply_type: str) -> None:
        definition = self._body
        assert definition is not None
        headers = call.headers
        body = await read_bytes(receive, headers.get("content-length"), self._body_bytes_max)
        if self._raw_body:
            call.body = body
            return
        if not body:
            if definition.is_required:
                raise Problem(Kind.MISSING_BODY, "a body is required and there is none", where="body")
            return
        content_type = headers.get("content-type")
        told = self._api.format_of(headers) if self._api.format_of is not None else None
        if told is not None and told in definition.media_types:
            media_type = told
        elif (
            content_type is None
            and self._api.replies_in_request_format
            and reply_type in definition.media_types
        ):
            # Such a service reads a body that does not say what it is as what the client wants to be answered in.
            media_type = reply_type
        else:
            media_type = definition.media_type_for(content_type)
        call.body_format = media_type
        if is_json(media_type):
            call.body = decode_json(body)
        elif media_type in self._api.codecs:
            call.body = self._api.codecs[media_type].decode(body, self.id)
        elif media_type == "multipart/form-data":
            call.body = decode_multipart(body, content_type or "")
        else:
            call.body = decode_text(body)
        if self._api.prepare is not None:
            call.body = self._api.prepare(call.body, call.settings)
        definition.check(call.body, media_type)

    def render(
        self,
        reply: Reply,
        refusal: Refusal | None,
        call: Call,
        reply_type: str,
        violates: frozenset[str] = frozenset(),
    ) -> Rendered:
        """Check a reply against the document and encode it; what it `violates` by declaration is no mistake of ours."""
        headers = dict(reply.headers)
        if isinstance(refusal, Problem) and refusal.headers:
            headers = {**refusal.headers, **headers}
        value = reply.body
        media_type: str | None = reply.media_type
        seen: Any = value
        if value is None:
            body, media_type = b"", None
        elif isinstance(value, bytes):
            body, media_type = value, media_type or reply_type
            seen = value.decode("utf-8", "replace")
        else:
            if media_type is None:
                known = is_json(media_type_of(reply_type)) or reply_type in self._api.codecs
                media_type = reply_type if known else "application/json"
            if media_type == "application/json" or is_json(media_type_of(media_type)):
                body = orjson.dumps(value)
            else:
                body = self._api.codecs[media_type].encode(value, self.id)
        # What a codec carries is the JSON value, so that is what the document is asked about.
        checked_as = "application/json" if media_type in self._api.codecs else media_type
        violation = self._replies.violation(reply.status, checked_as, seen, headers)
        is_declared = False
        if violation is not None:
            is_declared = self._broken_part(reply.status, checked_as) in violates
            self._service.ledger.add(
                Line(
                    "server",
                    self._api.name,
                    self.id,
                    violation.pointer,
                    violation.message,
                    world=call.world_name,
                    at_ms=call.now_ms,
                    is_declared=is_declared,
                )
            )
        if violation is not None and not is_declared:
            text = f"{self.id} {reply.status} {violation.pointer or '(whole)'}: {violation.message}"
            logger.error("reply breaks the document: %s", text)
            headers[VIOLATION_HEADER] = text
            if self._service.strict:
                reply = self._api.error(
                    Problem(Kind.INTERNAL, f"the reply breaks the document: {text}"), call
                )
                body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
                media_type = reply.media_type or "application/json"
                headers = {**reply.headers, VIOLATION_HEADER: text}
        if media_type is not None:
            headers["Content-Type"] = media_type
        return reply.status, headers, body

    def _broken_part(self, status: int, media_type: str | None) -> str:
        """What of the document a reply breaks: its `status`, its `content_type` or its `schema`."""
        if not self.declares(status):
            return "status"
        return "schema" if self._replies.has_type(status, media_type) else "content_type"


class _DispatchAPI(RoutedAPI[Endpoint]):
    def __init__(self, *args: Any, service: Service, **kwargs: Any) -> None:
        self._service = service
        super().__init__(*args, **kwargs)
        self.add_paths()

    def make_operation(self, operation: AbstractOperation) -> Endpoint:
        endpoint = Endpoint(self._service, self._service.api.operations[operation.operation_id], operation)
        self._service.endpoints[endpoint.id] = endpoint
        return endpoint


class _Dispatch(RoutedMiddleware[_DispatchAPI]):
    """The last link: hands a routed call to its endpoint."""

    api_cls = _DispatchAPI

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        super().__init__(app)
        self._service = service

    def add_api(self, specification: Any, **kwargs: Any) -> _DispatchAPI:
        added: _DispatchAPI = super().add_api(specification, service=self._service, **kwargs)
        return added


class _Exceptions(ExceptionMiddleware):
    """Connexion's way from an exception to an answer, which costs nothing while there is no exception."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self.app(scope, receive, send)
        except Broken:
            raise
        except Exception as problem:
            if scope["type"] != "http":
                raise
            handlers = self._exception_handlers
            handler = next(handlers[kind] for kind in type(problem).__mro__ if kind in handlers)
            response = await handler(Request(scope, receive, send), problem)
            await response(scope, receive, send)


class _Route(NamedTuple):
    """What routing finds out about a call, ready to be asked."""

    match: Callable[[str], re.Match[str] | None]
    convertors: Mapping[str, Any]
    context: dict[str, Any]


class _Routing(RoutingMiddleware):
    """Connexion's routing, except that a trailing slash is no reason for a redirect past the error envelope.

    A documented method at a documented path, which is nearly every call, is found here by the same patterns in the same order
    at a fifth of the cost of Starlette's routers. All else takes Connexion's way, which knows what to refuse.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(app)
        self._base_path = ""
        self._routes: dict[str, list[_Route]] = {}

    def add_api(self, specification: Any, **kwargs: Any) -> None:
        super().add_api(specification, **kwargs)
        self.router.redirect_slashes = False
        for mount in self.router.routes:
            mount.app.redirect_slashes = False
            for route in (mount, *mount.app.routes):
                # In Starlette's patterns the dot stops at a line break and `$` overlooks one at the end.
                route.path_regex = re.compile(route.path_regex.pattern[:-1] + r"\Z", re.DOTALL)
            self._base_path = mount.path
            for route in mount.app.routes:
                context = {"api_base_path": mount.path, "operation_id": route.endpoint.operation_id}
                for method in route.methods:
                    found = _Route(route.path_regex.match, route.param_convertors, context)
                    self._routes.setdefault(method, []).append(found)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            base_path = self._base_path
            if path.startswith(base_path):
                path = path[len(base_path) :]
                for match, convertors, context in self._routes.get(scope["method"], ()):
                    found = match(path)
                    if found is not None:
                        params = found.groupdict()
                        for name, text in params.items():
                            params[name] = convertors[name].convert(text)
                        # Into the scope itself, which is this call's own: a refusal is held against the operation, too.
                        scope["path_params"] = params
                        scope["extensions"] = {**scope.get("extensions", {}), ROUTING_CONTEXT: context}
                        await self.app(scope, receive, send)
                        return
        await super().__call__(scope, receive, send)


class _Faults:
    """Where the rules of a scenario and the wishes of a client come in. A call that knows neither is handed on at once."""

    def __init__(self, app: ASGIApp, *, service: Service) -> None:
        self.app = app
        self._service = service

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            exchange: Exchange = scope[EXCHANGE]
            stage = exchange.stage
            if stage.clock.mode.is_poll:
                self._poll(scope, stage)
            calls = stage.scenario.calls
            if calls.rules or exchange.headers.steer:
                endpoint = self._service.endpoints.get(scope["extensions"][ROUTING_CONTEXT]["operation_id"])
                if endpoint is not None:
                    rules = calls.find(self._service.api.name, endpoint.id, endpoint.role.value)
                    if rules or exchange.headers.steer:
                        return disturb(self._service, endpoint, exchange, rules, scope, receive, self.app)
        return self.app(scope, receive, send)

    def _poll(self, scope: Scope, stage: Stage) -> None:
        """A status call moves a clock that lives by them, whatever the call is answered: who meets a 503 asks again."""
        service = self._service
        endpoint = service.endpoints.get(scope["extensions"][ROUTING_CONTEXT]["operation_id"])
        if endpoint is not None and endpoint.role is Role.STATUS:
            job_id = service.api.job_id(scope["path_params"])
            if job_id is not None:
                try:
                    stage.catch_up().job(service.api.name, job_id)
                except UnknownJob:
                    return
                stage.polled(service.api.name, job_id)


class _Asking:
    """All that a security handler wants to see of a request; Connexion's own takes longer to make than to ask."""

    __slots__ = ("context", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.context: dict[str, Any] = {}


class _SecuredOperation(SecurityOperation):
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.security:
            await self.verification_fn(_Asking(scope))
        await self.next_app(scope, receive, send)


class _SecurityAPI(SecurityAPI):
    def make_operation(self, operation: AbstractOperation) -> _SecuredOperation:
        secured: _SecuredOperation = _SecuredOperation.from_operation(
            operation, next_app=self.next_app, security_handler_factory=self.security_handler_factory
        )
        return secured


class _Security(SecurityMiddleware):
    """Connexion's security: which operations ask for credentials, and which of them are enough."""

    api_cls = _SecurityAPI


def _is_under_way(world: World, api: str, job_id: str) -> bool:
    """Whether there is such a job, and more to come of it."""
    try:
        return not world.job(api, job_id).state.is_final
    except UnknownJob:
        return False


def _nobody_is_told(stage: Stage) -> None:
    stage.world.told.clear()


async def _in_time(later: Later, exchange: Exchange, receive: Receive) -> Reply | None:
    """The reply once it can be given; None when the client has gone away meanwhile."""
    stage = exchange.stage
    since_ms = stage.world.now_ms
    gone: asyncio.Task[None] | None = None
    try:
        while True:
            reply = later.answer()
            if reply is not None:
                return reply
            assert stage.world.now_ms < later.until_ms, "an answer must be given when its time is up"
            wait_seconds = stage.pass_time(later.until_ms)
            if wait_seconds:
                if gone is None:
                    exchange.wait_begins(since_ms)
                gone = gone or asyncio.ensure_future(until_gone(receive))
                done, _ = await asyncio.wait({gone}, timeout=wait_seconds)
                if done:
                    return None
                stage.catch_up()
    finally:
        if gone is not None:
            exchange.wait_ends()
            gone.cancel()


def _plainly(reply: Reply, problem: Refusal) -> Rendered:
    """A refusal that belongs to no operation, so no document says what it must look like."""
    body = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
    own = problem.headers if isinstance(problem, Problem) else {}
    headers = {"Content-Type": reply.media_type or "application/json", **own, **reply.headers}
    return reply.status, headers, body


def _security_handler(api: Api) -> type[AbstractSecurityHandler]:
    class Handler(AbstractSecurityHandler):
        """Asks the API module whether these credentials are good."""

        def get_fn(
            self, security_scheme: Mapping[str, Any], required_scopes: list[str]
        ) -> Callable[..., Any]:
            def verify(request: _Asking) -> Any:
                exchange: Exchange = request.scope[EXCHANGE]
                stage = exchange.stage
                settings = stage.scenario.settings.get(api.name, _NO_SETTINGS)
                world = stage.catch_up()
                problem = api.authenticate(exchange.headers.get("authorization"), settings, world)
                if problem is not None:
                    raise problem
                return {}

            return verify

    return Handler


def to_json_schema_all(document: Mapping[str, Any]) -> dict[str, Any]:
    """All named schemas of a document as JSON Schema."""
    schemas = document.get("components", {}).get("schemas", {})
    return {name: to_json_schema(schema) for name, schema in schemas.items()}


def _require_match(api: Api, document: Mapping[str, Any]) -> None:
    documented = {
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in METHODS
    }
    missing = documented - api.operations.keys()
    surplus = api.operations.keys() - documented
    if missing or surplus:
        raise ValueError(
            f"{api.document} and the functions of {api.name} do not fit together:"
            f" no function for {sorted(missing)}, no operation for {sorted(surplus)}"
        )


def _outline(document: Mapping[str, Any]) -> dict[str, Any]:
    """What Connexion needs of a document to route and to secure.

    It would validate and resolve all the rest at every start, which takes longer than everything else together. That a document
    is valid OpenAPI is proved by `understudy check` and by the tests; bodies, queries and replies are checked by our own means.
    """
    components = document.get("components", {})
    return {
        **{key: document[key] for key in ("openapi", "info", "servers", "security") if key in document},
        "paths": {path: _outlined(document, item) for path, item in document["paths"].items()},
        "components": {"securitySchemes": components.get("securitySchemes", {})},
    }


def _outlined(document: Mapping[str, Any], item: Mapping[str, Any]) -> dict[str, Any]:
    outlined = {}
    for method, operation in item.items():
        if method not in METHODS:
            continue
        outlined[method] = {
            **{key: operation[key] for key in ("operationId", "security") if key in operation},
            "parameters": [
                {"name": one["name"], "in": "path", "required": True, "schema": one["schema"]}
                for one in _parameters(document, item, operation)
                if one["in"] == "path"
            ],
            "responses": {"default": {"description": "See the document."}},
        }
    return outlined


def _parameters(
    document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """The parameters of an operation and of its path, in place, and so their schemas."""
    parameters = [
        _found(document, one) for one in (*item.get("parameters", ()), *operation.get("parameters", ()))
    ]
    by_place = {
        (one["in"], one["name"]): {**one, "schema": _found(document, one["schema"])} for one in parameters
    }
    return list(by_place.values())


def _found(document: Mapping[str, Any], node: Any) -> Any:
    """What a chain of references leads to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part.replace("~1", "/").replace("~0", "~")]
        node = target
    return node


def _raw_operation(document: Mapping[str, Any], path: str, method: str) -> dict[str, Any]:
    """An operation with its parameters, body, responses and headers in place, and its schemas as written.

    Here `$ref` in schemas of bodies is kept, so that a schema which many operations share is compiled once and may be recursive.
    """
    found = partial(_found, document)
    item = document["paths"][path]
    operation = dict(item[method])
    operation["parameters"] = _parameters(document, item, operation)
    if "requestBody" in operation:
        operation["requestBody"] = found(operation["requestBody"])
    operation["responses"] = {
        str(status): response
        | {"headers": {name: found(one) for name, one in response.get("headers", {}).items()}}
        for status, response in ((status, found(node)) for status, node in operation["responses"].items())
    }
    return operation
