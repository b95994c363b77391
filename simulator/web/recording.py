"""Listening in: what was said in one exchange goes into the call log of its world, as it went over the wire.

Only references are kept, while a call is served and afterwards; what they mean is worked out when somebody reads the log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any

from connexion.middleware.abstract import ROUTING_CONTEXT
from starlette.types import Message, Receive, Scope

from simulator.runtime.calls import RawHeaders
from simulator.runtime.timesource import wall_clock_ns
from simulator.web.checks import SLASH
from simulator.web.service import Exchange, Service

_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
_NO_PARAMS: Mapping[str, Any] = {}


async def serve_and_record(service: Service, scope: Scope, receive: Receive, exchange: Exchange) -> None:
    """Let the service answer, and write down what was said, also when there was no answer in the end."""
    sent: list[Message] = []
    received: list[Message] = []
    passed_on = exchange.send

    def send(message: Message) -> Awaitable[None]:
        sent.append(message)
        return passed_on(message)

    exchange.send = send
    stage = exchange.stage
    calls = stage.calls
    calls.begun = begun = calls.begun + 1
    moment = begun + calls.resumed + calls.total
    at_ms = stage.clock.now_ms()
    if scope["method"] not in _WITHOUT_BODY:
        receive = _listening(receive, received, exchange, moment, at_ms)
    wall_ns = wall_clock_ns()
    try:
        await service(scope, receive, send)
    finally:
        headers: RawHeaders
        if len(sent) == 2:
            start, rest = sent
            status, headers, body = start["status"], start["headers"], rest.get("body", b"")
        elif sent:
            status, headers, body = sent[0]["status"], sent[0]["headers"], _body_of(sent)
        else:
            status, headers, body = 0, [], b""
        operation, params = None, _NO_PARAMS
        if "path_params" in scope:
            operation = scope.get("extensions", {}).get(ROUTING_CONTEXT, _NO_PARAMS).get("operation_id")
            params = scope["path_params"]
            if SLASH in scope["path"]:
                params = {name: str(value).replace(SLASH, "/") for name, value in params.items()}
        calls.add(
            moment,
            service.api,
            operation,
            params,
            scope["method"],
            scope.get("raw_path") or scope["path"].encode("utf-8", "replace"),
            scope["query_string"],
            status,
            at_ms,
            stage.world.now_ms,
            wall_ns,
            wall_clock_ns() - wall_ns,
            scope["headers"],
            _body_of(received) if received else b"",
            headers,
            body,
            exchange.notes,
        )


def _listening(
    receive: Receive, received: list[Message], exchange: Exchange, moment: int, at_ms: int
) -> Receive:
    """As `receive`, and keeps what comes; a body that others overtook on its way was waited for."""
    is_whole = False

    async def listening() -> Message:
        nonlocal is_whole
        message = await receive()
        received.append(message)
        if not is_whole and not message.get("more_body") and message["type"] == "http.request":
            is_whole = True
            calls = exchange.stage.calls
            if calls.moment != moment:
                notes = exchange.noted
                notes.is_late = True
                calls.resumed += 1
                notes.waits.append((at_ms, calls.moment))
        return message

    return listening


def _body_of(messages: list[Message]) -> bytes:
    """What was said in these messages."""
    pieces = [message["body"] for message in messages if message.get("body")]
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
