"""What a scenario's call rules, and the client's own wishes, do to a call. It may wait, in real time.

Here a call has been routed and nothing else: no credentials were asked for, nothing was checked, as a gateway's 503 comes before
all that. The first rule that fires takes the call (see `simulator.scenario.calls`); what it answers itself is checked against the
document all the same, and so is the request, for the ledger. Three headers steer a single call: `Prefer: code=503`,
`X-Understudy-Scenario: NAME` (the job of a submit follows that scenario; any other call may say so, too) and `X-Understudy-Delay: 500ms`; they win over the rules.

A delay moves nothing in the world. It is real waiting: its length divided by the clock's rate, its whole length under a clock that
stands still, and never more than a minute.

Faults of the connection need the connection, which our own server puts into the scope (`TRANSPORT`). Under any other ASGI server,
and in tests without sockets, they raise `Broken`: whatever happens then, it is no answer.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs

import orjson
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator.apis.contract import Api, Call, Kind, Problem, Refusal, Reply, Role
from simulator.apis.negotiation import media_type_of, wait_ms_in
from simulator.engine.command import CountCall, Keep
from simulator.engine.errors import EngineError, NotAllowed, UnknownJob
from simulator.engine.job import Job, State
from simulator.engine.view import View
from simulator.runtime.worlds import Stage
from simulator.scenario.calls import (
    TOO_MANY_REQUESTS,
    VIOLATES,
    Answer,
    CallRule,
    Fault,
    OperationRules,
    Seen,
)
from simulator.scenario.duration import parse_duration
from simulator.scenario.model import Scenario
from simulator.web.body import is_json, read_bytes, until_gone

if TYPE_CHECKING:
    from simulator.web.service import Endpoint, Exchange, Service

logger = logging.getLogger("understudy")

TRANSPORT = "understudy.transport"
"""Key of the connection in the `extensions` of an ASGI scope."""
CAUSE_HEADER = "X-Understudy-Cause"
PREFER, SCENARIO, DELAY = b"prefer", b"x-understudy-scenario", b"x-understudy-delay"
LONGEST_DELAY_SECONDS = 60.0
DRIBBLED_PIECES = 10
UNKNOWN_STATE = "limbo"
ANYTHING = frozenset(VIOLATES)
FIRST_ERROR_STATUS = 400
_PHRASES = frozenset(HTTPStatus)


class Broken(Exception):
    """A fault of the connection, where there is no connection to break."""

    def __init__(self, fault: str) -> None:
        self.fault = fault
        super().__init__(fault)

    def __str__(self) -> str:
        return f"the fault {self.fault} breaks the connection, which only understudy's own server can"


# ---- what the client wishes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wish:
    """What the client asks of this one call."""

    status: int | None = None
    scenario: Scenario | None = None
    delay_ms: int | None = None

    @property
    def cause(self) -> str:
        """What of it a reply has to own up to."""
        if self.status is not None:
            return f"Prefer code={self.status}"
        if self.delay_ms is not None:
            return "X-Understudy-Delay"
        return "X-Understudy-Scenario" if self.scenario is not None else ""


NO_WISH = Wish()


def wish_in(headers: Mapping[str, str], endpoint: Endpoint, scenarios: Mapping[str, Scenario]) -> Wish:
    """What the headers ask for.

    Raises:
        Problem: something that cannot be had; never a silent fallback.
    """
    code = _preferred_code(headers.get("prefer", ""))
    name = headers.get("x-understudy-scenario")
    delay = headers.get("x-understudy-delay")
    scenario = None if name is None else _wished_scenario(name, scenarios)
    return Wish(
        None if code is None else _wished_status(code, endpoint),
        scenario if endpoint.role is Role.SUBMIT else None,
        None if delay is None else _wished_delay(delay),
    )


_PREFERENCES = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
_PREFERENCE = re.compile(r'\s*([^\s=;"]+)\s*(?:=\s*("(?:\\.|[^"\\])*"|[^\s;"]*))?')


def _preferred_code(header: str) -> str | None:
    """The value of the first preference `code`; the others are none of our business (RFC 7240)."""
    for preference in _PREFERENCES.findall(header):
        found = _PREFERENCE.match(preference)
        if found is not None and found[1].lower() == "code":
            return (found[2] or "").strip('"')
    return None


def _wished_status(code: str, endpoint: Endpoint) -> int:
    declared = [
        status for status in endpoint.statuses if status.isdecimal() and int(status) >= FIRST_ERROR_STATUS
    ]
    if re.fullmatch("[45][0-9]{2}", code) and endpoint.declares(int(code)):
        return int(code)
    raise _unclear("Prefer", f"code={code}", f"this operation refuses with {', '.join(declared)}")


def _wished_scenario(name: str, scenarios: Mapping[str, Scenario]) -> Scenario:
    if name in scenarios:
        return scenarios[name]
    raise _unclear("X-Understudy-Scenario", name, f"there are {', '.join(scenarios) or 'none'}")


def _wished_delay(text: str) -> int:
    try:
        delay_ms = parse_duration(text)
    except ValueError as problem:
        raise _unclear("X-Understudy-Delay", text, str(problem)) from None
    if delay_ms > LONGEST_DELAY_SECONDS * 1000:
        raise _unclear("X-Understudy-Delay", text, f"at most {LONGEST_DELAY_SECONDS:g}s can be waited")
    return delay_ms


def _unclear(header: str, value: str, instead: str) -> Problem:
    return Problem(
        Kind.ASKED_FOR,
        f"{header}: {value} cannot be had; {instead}",
        where="header",
        pointer=header,
        value=value,
        status=400,
    )


# ---- the way of a call ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Sent:
    """A reply that was caught on its way out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def media_type(self) -> str:
        """Of the body; empty without one."""
        return next(
            (
                media_type_of(value.decode("latin-1"))
                for name, value in self.headers
                if name == b"content-type"
            ),
            "",
        )

    def put(self, name: bytes, value: bytes) -> None:
        """Set a header."""
        self.headers = [(known, old) for known, old in self.headers if known != name]
        self.headers.append((name, value))

    def replace_body(self, body: bytes) -> None:
        """Another body, with its length."""
        self.body = body
        self.put(b"content-length", str(len(body)).encode())


async def disturb(
    service: Service,
    endpoint: Endpoint,
    exchange: Exchange,
    rules: OperationRules,
    scope: Scope,
    receive: Receive,
    app: ASGIApp,
) -> None:
    """Serve a call of an operation that rules are for, or whose client has wishes; `app` is what comes after."""
    call = _Disturbed(service, endpoint, exchange, scope, receive, app)
    try:
        await call.serve(rules)
    except ConnectionError:
        return
    except EngineError as refusal:
        await call.refuse(refusal)
    except Problem as problem:
        if problem.kind is not Kind.ASKED_FOR:
            raise
        await call.refuse(problem)


class _Known(NamedTuple):
    """What conditions ask of a job; the job itself may have a large request."""

    state: State
    number: int
    created_ms: int


class _Nearest:
    """Which rule came nearest to taking a call, and what it wants instead; worked out when somebody asks for the text."""

    __slots__ = ("_missed", "_rules", "_seen")

    def __init__(self, rules: OperationRules, seen: Seen, missed: dict[int, list[str]]) -> None:
        job = seen.job
        self._rules = rules
        self._seen = seen if job is None else seen._replace(job=_Known(job.state, job.number, job.created_ms))
        # By the rule's place: what those want that only the count of calls, chance or a rate kept from it.
        self._missed = missed

    def __str__(self) -> str:
        misses = [(rule, self._missed.get(rule.place) or rule.unmet(self._seen)) for rule in self._rules]
        rule, unmet = min(misses, key=lambda miss: len(miss[1]))
        return f"{rule}, which wants {' and '.join(unmet)}"


class _Disturbed:
    """One call on its way."""

    def __init__(
        self,
        service: Service,
        endpoint: Endpoint,
        exchange: Exchange,
        scope: Scope,
        receive: Receive,
        app: ASGIApp,
    ) -> None:
        self.service = service
        self.api: Api = service.api
        self.endpoint = endpoint
        self.exchange = exchange
        self.stage: Stage = exchange.stage
        self.scope = scope
        self.receive = receive
        self.send: Send = exchange.send
        self.app = app
        self.body = b""
        self.job: Job | None = None
        self.cause = ""
        self.remembers_progress = False

    async def serve(self, rules: OperationRules) -> None:
        """Choose what happens to the call, and let it happen."""
        self.endpoint.require_method(self.scope)
        headers = self.exchange.headers
        wish = wish_in(headers, self.endpoint, self.service.scenarios) if headers.steer else NO_WISH
        if self.endpoint.takes_body:
            length = headers.get("content-length")
            self.body = await read_bytes(self.receive, length, self.service.body_bytes_max)
        rule, delay_ms = await self._choose(rules)
        self.remembers_progress = rules.moves_progress
        if rule is None and wish is NO_WISH and not self.remembers_progress:
            await self.app(self.scope, self.again(), self.send)
            return
        causes = [wish.cause]
        if rule is not None and wish.status is None:
            causes.append(str(rule))
        self.cause = self.exchange.noted.cause = ", ".join(filter(None, causes))
        if wish.delay_ms is not None:
            delay_ms = wish.delay_ms
        if delay_ms and not await self.wait(delay_ms):
            return
        if wish.status is not None:
            await self.answer(Answer(wish.status))
            return
        view: dict[str, Any] = {} if wish.scenario is None else {"playbook": wish.scenario}
        if rule is None:
            await self.pass_on(view)
        elif rule.answer is not None:
            await self.answer(rule.answer, rule.violates)
        elif rule.rate_limit is not None:
            await self._refuse_for_rate(rule)
        elif rule.fault is not None:
            await STRIKES[rule.fault.kind.name](self, rule.fault, view)
        else:
            await self.pass_on(view)

    async def _choose(self, rules: OperationRules) -> tuple[CallRule | None, int]:
        """The first rule that fires, and its delay. Every rule counts the calls that meet its other conditions."""
        request = (await self.endpoint.look(self.scope, self.again()))[0].body if rules.asks_body else None
        query = {}
        if rules.asks_query:
            query = parse_qs(self.scope["query_string"].decode("latin-1"), keep_blank_values=True)
        world = self.stage.catch_up()
        self.job = self._job()
        seen = Seen(self.job, world.now_ms, world.start_ms, request, self.exchange.headers, query)
        number = 0 if self.job is None else self.job.number
        fired: CallRule | None = None
        delay_ms = 0
        missed: dict[int, list[str]] = {}
        for rule in rules:
            if not rule.holds(seen):
                continue
            count = world.apply(CountCall(self.api.name, rule.key(self.job))) if rule.counts else 0
            unmet = rule.when.unmet_by_count(count, world.seed, rule.place, number)
            if not unmet and rule.rate_limit is not None:
                limit = rule.rate_limit
                used = world.apply(CountCall(self.api.name, rule.rate_key, limit.per_ms))
                if used <= limit.calls:
                    unmet = [f"more than {limit.calls} calls (this is {used})"]
            if not unmet and fired is None:
                fired = rule
                delay_ms = rule.delay_ms(world.seed, number, count)
            if unmet:
                missed[rule.place] = unmet
        if rules and fired is None:
            nearest = _Nearest(rules, seen, missed)
            logger.debug("no rule took %s %s: nearest is %s", self.api.name, self.endpoint.id, nearest)
            if self.stage.calls.limit:
                # A body may be large, and is not kept to be asked later.
                self.exchange.noted.nearest = str(nearest) if rules.asks_body else nearest
        return fired, delay_ms

    def _job(self) -> Job | None:
        """The job that the path names, if it is there."""
        job_id = self.api.job_id(self.scope["path_params"])
        try:
            return None if job_id is None else self.stage.world.job(self.api.name, job_id)
        except UnknownJob:
            return None

    def again(self) -> Receive:
        """As `receive`, from the beginning: the body was read already, if there can be one."""
        if not self.endpoint.takes_body:
            return self.receive
        waiting = [self.body]

        async def receive() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await self.receive()

        return receive

    # ---- answering instead ------------------------------------------------------------------------------------------

    async def answer(self, answer: Answer, violates: frozenset[str] = frozenset()) -> None:
        """Answer without the service."""
        call, reply_type = await self.look()
        reply, refusal = self._reply_for(answer, call)
        reply.headers = {**reply.headers, **answer.headers}
        status, headers, body = self.endpoint.render(reply, refusal, call, reply_type, violates)
        given = {name.lower() for name in answer.headers}
        headers = {
            name: value
            for name, value in headers.items()
            if name in answer.headers or name.lower() not in given
        }
        if "retry-after" in given and self.stage.clock.mode.is_poll:
            self._shorten_wait(headers)
        await self.exchange.answer(status, headers | {CAUSE_HEADER: self.cause}, body)

    def _shorten_wait(self, headers: dict[str, str]) -> None:
        """Where polls move the clock, the next one moves it by the wait that this answer advises, and nobody has to wait."""
        if self.endpoint.role is not Role.STATUS or self.job is None:
            return
        name = next(name for name in headers if name.lower() == "retry-after")
        wait_ms = wait_ms_in(headers[name], self.stage.world.now_ms)
        if wait_ms is not None and wait_ms > 0:
            self.stage.advertised(self.api.name, self.job.id, wait_ms)
            headers[name] = "0"

    async def look(self) -> tuple[Call, str]:
        """The call, for somebody else to answer it; what is wrong with it goes into the ledger all the same."""
        call, reply_type, problem = await self.endpoint.look(self.scope, self.again())
        self.stage.catch_up()
        if problem is not None:
            self.service.note(problem, self.endpoint.id, self.exchange)
        return call, reply_type

    async def refuse(self, refusal: Refusal) -> None:
        """Answer in the API's envelope, whether its document knows such a refusal or not."""
        self.stage.catch_up()
        call = self.service.call(self.exchange, self.endpoint.id)
        reply = self.api.error(refusal, call)
        await self.exchange.answer(*self.endpoint.render(reply, refusal, call, "application/json", ANYTHING))

    def _reply_for(self, answer: Answer, call: Call) -> tuple[Reply, Refusal | None]:
        if answer.has_body:
            return _scripted(answer, self.api), None
        if answer.status < FIRST_ERROR_STATUS:
            return Reply(answer.status), None
        return self._error_for(answer.status, call)

    def _error_for(self, status: int, call: Call) -> tuple[Reply, Refusal]:
        """The API's own words for a status, as if it had come to refuse the call by itself.

        Where that takes more than is known here (a conflict with a job that is not there), the document's example.
        """
        fitting = self._refusal_for(status)
        if fitting is not None:
            reply = self.api.error(fitting, call)
            if reply.status == status and self.endpoint.fits(reply, fitting):
                return reply, fitting
        known = status if status in _PHRASES else status // 100 * 100
        kind = Kind.INTERNAL if known == Kind.INTERNAL.status else Kind.ASKED_FOR
        refusal = Problem(kind, HTTPStatus(known).phrase, status=known)
        reply = self.api.error(refusal, call)
        reply.status = status
        example = None if self.endpoint.fits(reply, refusal) else self.endpoint.example_of(status)
        return example or reply, refusal

    def _refusal_for(self, status: int) -> Refusal | None:
        world = self.stage.world
        if status == HTTPStatus.UNAUTHORIZED:
            return self.api.authenticate(None, self.stage.scenario.settings[self.api.name], world)
        job_id = self.api.job_id(self.scope["path_params"])
        if status == HTTPStatus.NOT_FOUND and job_id is not None:
            return UnknownJob(self.api.name, job_id)
        if status == HTTPStatus.CONFLICT and self.job is not None:
            return NotAllowed(self.job, self.endpoint.role.value)
        return None

    async def _refuse_for_rate(self, rule: CallRule) -> None:
        assert rule.rate_limit is not None
        world = self.stage.world
        since_ms = world.counted_since_ms(self.api.name, rule.rate_key)
        ends_ms = (world.now_ms if since_ms is None else since_ms) + rule.rate_limit.per_ms
        seconds = max(-(-(ends_ms - world.now_ms) // 1000), 1)
        await self.answer(Answer(TOO_MANY_REQUESTS, {"Retry-After": str(seconds)}), rule.violates)

    # ---- letting it be answered -------------------------------------------------------------------------------------

    async def pass_on(self, view: Mapping[str, Any]) -> None:
        """Let the call be served as it would be anyway, or as it is through a view of the world."""
        if not view and not self.cause and not self.remembers_progress:
            await self.app(self.scope, self.again(), self.send)
            return
        sent = await self.catch(view)
        if sent is not None:
            if self.remembers_progress:
                self.remember_progress(sent)
            await self.send_on(sent)

    async def catch(self, view: Mapping[str, Any]) -> Sent | None:
        """Let the call be served, and catch the reply; None when there is none, as the client has gone."""
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        exchange = self.exchange
        exchange.send = send
        if view:
            exchange.stage = _Behind(self.stage, View(self.stage.world, **view))
        try:
            await self.app(self.scope, self.again(), send)
        except Problem as problem:
            refused = await self.service.refuse(self.scope, problem)
            headers = {name.lower(): value for name, value in refused.headers.items()}
            messages += (
                {
                    "type": "http.response.start",
                    "status": refused.status_code,
                    "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
                },
                {"type": "http.response.body", "body": refused.body},
            )
        finally:
            exchange.send = self.send
            exchange.stage = self.stage
        if self.stage.world.told:
            self.service.on_told(self.stage)
        if not messages:
            return None
        start, *bodies = messages
        sent = Sent(start["status"], list(start["headers"]), b"".join(one.get("body", b"") for one in bodies))
        if view:
            # The view may show another time; the service's own clock is right.
            sent.put(b"date", exchange.stamp()["Date"].encode())
        return sent

    async def start(self, sent: Sent) -> None:
        """Send the head of a reply, which owns up to what was done to it."""
        if self.cause:
            cause = "".join(letter if letter.isprintable() else " " for letter in self.cause)
            sent.put(CAUSE_HEADER.lower().encode(), cause.encode("latin-1", "replace"))
        await self.send({"type": "http.response.start", "status": sent.status, "headers": sent.headers})

    async def send_on(self, sent: Sent) -> None:
        """Send a whole reply."""
        await self.start(sent)
        await self.send({"type": "http.response.body", "body": sent.body})

    def change(self, sent: Sent, names: frozenset[str], change: Callable[[Any], Any]) -> None:
        """Change the values under these names, wherever they are in the body."""
        if not sent.body:
            return
        if is_json(sent.media_type):
            sent.replace_body(orjson.dumps(_changed(orjson.loads(sent.body), names, change)))
        elif sent.media_type in self.api.codecs:
            text = sent.body.decode()
            for name in names:
                tag = re.escape(name)
                text = re.sub(
                    f"(<{tag}>)([^<]*)(</{tag}>)",
                    lambda found: f"{found[1]}{change(found[2])}{found[3]}",
                    text,
                )
            sent.replace_body(text.encode())

    @property
    def _progress_key(self) -> str | None:
        return None if self.job is None else f"shown progress/{self.job.id}"

    @property
    def last_progress(self) -> int | None:
        """What the client was shown last of this job's progress."""
        key = self._progress_key
        return None if key is None else self.stage.world.kept(self.api.name, key)

    def remember_progress(self, sent: Sent) -> None:
        """Keep what the client is shown."""
        key = self._progress_key
        found: list[int] = []

        def find(value: Any) -> Any:
            if isinstance(value, int):
                found.append(value)
            return value

        if key is not None and sent.body and is_json(sent.media_type):
            _changed(orjson.loads(sent.body), self.api.progress_fields, find)
            if found and found[0] != self.last_progress:
                self.stage.world.apply(Keep(self.api.name, key, found[0]))

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, under our own server."""
        transport: asyncio.Transport | None = self.scope.get("extensions", {}).get(TRANSPORT)
        return transport

    # ---- waiting and breaking ---------------------------------------------------------------------------------------

    def seconds(self, delay_ms: int) -> float:
        """Real seconds of a delay."""
        return min(delay_ms / 1000 / (self.stage.clock.mode.rate or 1), LONGEST_DELAY_SECONDS)

    async def wait(self, delay_ms: int) -> bool:
        """Wait as long as a delay says; whether the client is still there."""
        return await self.stay(self.seconds(delay_ms))

    async def stay(self, seconds: float) -> bool:
        """Wait so long in real time; whether the client is still there."""
        self.exchange.wait_begins(self.stage.world.now_ms)
        transport, held = self.transport, self.service.held
        if transport is not None:
            held.add(transport)
        gone = asyncio.ensure_future(until_gone(self.receive))
        try:
            done, _ = await asyncio.wait({gone}, timeout=seconds)
        finally:
            self.exchange.wait_ends()
            gone.cancel()
            if transport is not None:
                held.discard(transport)
        return not done

    async def hang_up(self, fault: Fault, *, reset: bool = False) -> None:
        """End the connection, with what was sent so far (or, by a reset, without).

        Raises:
            Broken: there is none.
        """
        self.exchange.noted.is_broken = True
        transport = self.transport
        if transport is None:
            raise Broken(fault.kind.name)
        if reset:
            # To linger for no time is to reset: what was sent and not yet delivered is lost, too.
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
        # The server would complain about a call that ends before its connection does.
        await until_gone(self.receive)


class _Behind(Stage):
    """A stage whose world is seen through a view."""

    def __init__(self, stage: Stage, view: View) -> None:
        # Stage's own initialiser would make another stage; whatever is not here is the real one's.
        self._stage = stage
        self._view = view
        self.world = view

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stage, name)

    def catch_up(self) -> View:
        """The view, at the present time of the clock."""
        self._stage.catch_up()
        self._view.refresh()
        return self._view


def _scripted(answer: Answer, api: Api) -> Reply:
    """A text goes out as it is, as text/plain unless the answer says otherwise; any other value as JSON."""
    media_type = next(
        (value for name, value in answer.headers.items() if name.lower() == "content-type"), None
    )
    body = answer.body
    if isinstance(body, str):
        return Reply(answer.status, body.encode(), media_type=media_type or "text/plain")
    media_type = media_type or "application/json"
    if body is not None and not is_json(media_type_of(media_type)) and media_type not in api.codecs:
        body = orjson.dumps(body)
    return Reply(answer.status, body, media_type=media_type)


def _changed(value: Any, names: frozenset[str], change: Callable[[Any], Any]) -> Any:
    if isinstance(value, dict):
        return {
            name: change(part) if name in names else _changed(part, names, change)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_changed(part, names, change) for part in value]
    return value


# ---- the faults -----------------------------------------------------------------------------------------------------

Strike = Callable[[_Disturbed, Fault, dict[str, Any]], Awaitable[None]]
"""Carries out a fault on a call; the view is what the client's wishes make of the world."""


async def _connection_reset(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.look()
    await call.hang_up(fault, reset=True)


async def _empty_response(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.look()
    await call.hang_up(fault)


async def _hang(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.look()
    assert isinstance(fault.value, int)
    if await call.stay(fault.value / 1000):
        await call.hang_up(fault, reset=True)


async def _response_lost(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    if await call.catch(view) is not None:
        await call.hang_up(fault, reset=True)


async def _truncated_body(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is None:
        return
    if sent.body:
        await call.start(sent)
        half = sent.body[: len(sent.body) // 2]
        await call.send({"type": "http.response.body", "body": half, "more_body": True})
    await call.hang_up(fault)


async def _malformed_body(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is not None:
        if sent.body:
            sent.replace_body(_malformed(sent.body, sent.media_type))
        await call.send_on(sent)


def _malformed(body: bytes, media_type: str) -> bytes:
    """Half a body, where no half is a whole; else what cannot begin one."""
    if body[:1] in (b"{", b"[", b'"', b"<"):
        return body[: max(len(body) // 2, 1)]
    return (b"{" if is_json(media_type) else b"\xff") + body


async def _wrong_content_type(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is not None:
        if sent.body:
            sent.put(b"content-type", str(fault.value).encode())
        await call.send_on(sent)


async def _html_error_page(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.look()
    status = HTTPStatus(int(fault.value or HTTPStatus.BAD_GATEWAY))
    title = f"{status.value} {status.phrase}"
    page = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n"
        f"<body>\r\n<center><h1>{title}</h1></center>\r\n</body>\r\n</html>\r\n"
    )
    headers = {"Content-Type": "text/html", CAUSE_HEADER: call.cause}
    await call.exchange.answer(status.value, headers, page.encode())


async def _dribble(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is None:
        return
    assert isinstance(fault.value, int)
    size = max(-(-len(sent.body) // DRIBBLED_PIECES), 1)
    pieces = [sent.body[place : place + size] for place in range(0, len(sent.body), size)] or [b""]
    gap_seconds = call.seconds(fault.value) / len(pieces)
    await call.start(sent)
    for place, piece in enumerate(pieces, 1):
        if not await call.stay(gap_seconds):
            return
        await call.send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces)})


async def _unknown_state(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is None:
        return
    known = frozenset(call.api.words.values())

    def change(word: Any) -> Any:
        if not isinstance(word, str) or word not in known:
            return word
        return str(fault.value) if fault.value is not None else _in_letters_of(word)

    call.change(sent, call.api.status_fields, change)
    await call.send_on(sent)


def _in_letters_of(word: str) -> str:
    if word.isupper():
        return UNKNOWN_STATE.upper()
    return UNKNOWN_STATE.capitalize() if word[:1].isupper() else UNKNOWN_STATE


async def _stale(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.pass_on({**view, "ago_ms": fault.value})


async def _not_yet_visible(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    world, hidden_ms = call.stage.world, fault.value

    def shows(job: Job) -> bool:
        return isinstance(hidden_ms, int) and world.now_ms - job.created_ms >= hidden_ms

    await call.pass_on({**view, "shows": shows})


async def _duplicate(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    await call.pass_on({**view, "doubles": True})


async def _progress_backwards(call: _Disturbed, fault: Fault, view: dict[str, Any]) -> None:
    sent = await call.catch(view)
    if sent is None:
        return
    last = call.last_progress

    def change(percent: Any) -> Any:
        if not isinstance(percent, int):
            return percent
        return (percent if last is None else min(percent, last)) // 2

    call.change(sent, call.api.progress_fields, change)
    call.remember_progress(sent)
    await call.send_on(sent)


STRIKES: dict[str, Strike] = {
    "connection_reset": _connection_reset,
    "empty_response": _empty_response,
    "hang": _hang,
    "response_lost": _response_lost,
    "truncated_body": _truncated_body,
    "malformed_body": _malformed_body,
    "wrong_content_type": _wrong_content_type,
    "html_error_page": _html_error_page,
    "dribble": _dribble,
    "unknown_state": _unknown_state,
    "stale": _stale,
    "not_yet_visible": _not_yet_visible,
    "duplicate": _duplicate,
    "progress_backwards": _progress_backwards,
}
"""One for each fault of the language."""
