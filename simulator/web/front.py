"""The front door: picks the world and the API from the path and hands on.

Several documents in one Connexion application shadow each other, so each API has a stack of its own behind this door. Paths:

    /                           what is served
    /__admin/…                  the control API
    /<api>/<documented path>    an API; /<api>/ui/ and /<api>/openapi.json belong to it
    /<documented path>          the same when only one API is served; its root, if it has one, instead of the index
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping
from urllib.parse import unquote_to_bytes

from starlette.types import Message, Receive, Scope, Send

from simulator.apis.negotiation import best_match
from simulator.runtime.worlds import Worlds
from simulator.web import control, pages
from simulator.web.callbacks import Callbacks
from simulator.web.checks import SLASH, readable
from simulator.web.control import Control, answer_json, refuse
from simulator.web.service import EXCHANGE, Exchange, Service

logger = logging.getLogger("understudy")

_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class Front:
    """The whole server as one ASGI application.

    Args:
        services: by API name. When there is one only, it is served at its bare documented path as well.
    """

    def __init__(self, worlds: Worlds, services: Mapping[str, Service]) -> None:
        self.worlds = worlds
        self.services = dict(services)
        self._alone = next(iter(services.values())) if len(services) == 1 else None
        self.callbacks = Callbacks(service.api for service in services.values())
        for service in services.values():
            service.on_told = self.callbacks.notice
        self._control = Control(worlds, services.values(), self.callbacks)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_of(scope)
        name, slash, rest = path[1:].partition("/")
        service = self.services.get(name)
        stage = self.worlds.default
        if service is not None and (slash or service.has_root) and not _is_page(rest):
            prefix = f"{scope.get('root_path', '')}/{name}"
            await self._hand_on(service, Exchange(stage, prefix, scope, send), "/" + rest, receive, send)
            return
        exchange = Exchange(stage, scope.get("root_path", ""), scope, send)
        is_control = path == control.PREFIX or path.startswith(control.PREFIX + "/")
        alone = self._alone if service is None and not is_control else None
        if alone is not None and _is_page(path[1:]):
            stage.catch_up()
            await self._serve_page(alone, exchange, exchange.prefix, path[1:])
            return
        if alone is not None and (path != "/" or alone.has_root):
            await self._hand_on(alone, exchange, path, receive, send)
            return
        stage.catch_up()
        if service is not None:
            here = f"{exchange.prefix}/{name}"
            await self._serve_page(service, exchange, here, rest if slash else None)
        elif is_control:
            await self._control.serve(path, exchange, receive)
        elif path == "/":
            await self._serve_index(exchange)
        else:
            served = ", ".join(f"/{one}" for one in self.services)
            await refuse(
                exchange,
                404,
                f"there is nothing at {readable(path)}",
                f"served: {served}, {control.PREFIX}/health",
            )

    def _hand_on(
        self, service: Service, exchange: Exchange, path: str, receive: Receive, send: Send
    ) -> Awaitable[None]:
        scope = {**exchange.scope, "path": path, "root_path": "", EXCHANGE: exchange}
        return service(scope, receive, send)

    async def _serve_index(self, exchange: Exchange) -> None:
        if exchange.scope["method"] not in ("GET", "HEAD"):
            await refuse(exchange, 405, "only GET is possible here", headers={"Allow": "GET, HEAD"})
            return
        facts = pages.index(self.services.values(), exchange.prefix, exchange.origin)
        accept = exchange.headers.get("accept", "")
        if best_match(accept, ("application/json", "text/html")) == "text/html":
            await exchange.answer(200, {"Content-Type": "text/html; charset=utf-8"}, pages.index_page(facts))
        else:
            await answer_json(exchange, 200, facts)

    async def _serve_page(self, service: Service, exchange: Exchange, here: str, rest: str | None) -> None:
        """An API's own address, its document and its Swagger UI; `here` is where it is served."""
        if exchange.scope["method"] not in ("GET", "HEAD"):
            await refuse(exchange, 405, "only GET is possible here", headers={"Allow": "GET, HEAD"})
            return
        if rest == "openapi.json":
            body = pages.document(service, here)
            await exchange.answer(200, {"Content-Type": "application/json"}, body)
        elif rest == "ui/":
            page = pages.swagger_ui(service)
            await exchange.answer(200, {"Content-Type": "text/html; charset=utf-8"}, page)
        elif rest is None or rest == "ui":
            await exchange.answer(307, {"Location": f"{here}/ui/"}, b"")
        elif (asset := pages.swagger_asset(rest.removeprefix("ui/"))) is not None:
            await exchange.answer(200, {"Content-Type": asset[0], "Cache-Control": "max-age=86400"}, asset[1])
        else:
            await refuse(exchange, 404, f"there is nothing at {exchange.scope['path']}")

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Build every stack before the server says that it is ready, and tell subscribers as long as it lives."""
        callbacks: asyncio.Task[None] | None = None
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self.build()
                callbacks = asyncio.ensure_future(self.callbacks.run())
                await send({"type": "lifespan.startup.complete"})
            else:
                if callbacks is not None:
                    callbacks.cancel()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def build(self) -> None:
        """Let Connexion build its stacks now; otherwise the first call would pay for it."""

        async def receive() -> Message:
            return {"type": "lifespan.shutdown"}

        async def send(message: Message) -> None:
            pass

        for service in self.services.values():
            await service({"type": "lifespan"}, receive, send)


def _is_page(rest: str) -> bool:
    return rest in ("openapi.json", "ui") or rest.startswith("ui/")


def _path_of(scope: Scope) -> str:
    """The decoded path, in which an encoded slash stays apart from a real one."""
    raw: bytes = scope.get("raw_path") or b""
    if b"%2" not in raw:
        path: str = scope["path"]
        return path
    pieces = _ENCODED_SLASH.split(raw.partition(b"?")[0])
    return SLASH.join(unquote_to_bytes(piece).decode("utf-8", "replace") for piece in pieces)
