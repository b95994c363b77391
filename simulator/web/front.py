"""The front door: picks the world and the API from the path and hands on.

Several documents in one Connexion application shadow each other, so each API has a stack of its own behind this door. Paths:

    /                           what is served
    /__admin/…                  the control API
    /<api>/<documented path>    an API; /<api>/ui/ and /<api>/openapi.json belong to it
    /<documented path>          the same when only one API is served; its root, if it has one, instead of the index
    /worlds/<name>/…            all but the control API, in a world of its own, which the first call of an API makes

The header `X-Understudy-World` names a world as well; the path wins. Every link in a reply leads into the same world.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Collection, Mapping
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import unquote_to_bytes

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from simulator.apis.negotiation import best_match
from simulator.engine.errors import LimitReached
from simulator.runtime.worlds import DEFAULT_WORLD, BadName, Worlds, require_name
from simulator.web import control, pages
from simulator.web.callbacks import Callbacks
from simulator.web.checks import SLASH, readable
from simulator.web.control import answer_json, refuse
from simulator.web.events import Events
from simulator.web.faults import CAUSE_HEADER
from simulator.web.recording import serve_and_record
from simulator.web.service import EXCHANGE, RETRY_AFTER, VIOLATION_HEADER, Exchange, Service

logger = logging.getLogger("understudy")

WORLDS = "worlds"
"""What a path begins with that names a world."""
EXPOSED = ("Location", RETRY_AFTER, CAUSE_HEADER, VIOLATION_HEADER)
"""Headers of ours that a page of an allowed origin may read."""
_PORT = re.compile(r":[0-9]*\Z")
_ENCODED_SLASH = re.compile(rb"%2f", re.IGNORECASE)


class Front:
    """The whole server as one ASGI application.

    Args:
        services: by API name. When there is one only, it is served at its bare documented path as well.
        is_open: the control API asks for no token, so it answers only to names that nobody else can give to this machine.
        origins: pages from there may call everything here, the control API included.
    """

    def __init__(
        self,
        worlds: Worlds,
        services: Mapping[str, Service],
        control: Service | None = None,
        callbacks: Callbacks | None = None,
        *,
        events: Events | None = None,
        is_open: bool = True,
        origins: Collection[str] = (),
    ) -> None:
        self.worlds = worlds
        self.services = dict(services)
        self.control = control
        self._alone = next(iter(services.values())) if len(services) == 1 else None
        self.callbacks = callbacks or Callbacks(service.api for service in services.values())
        for service in services.values():
            service.on_told = self.callbacks.notice
        self.events = events or Events(worlds)
        self._is_open = is_open
        self._origins = frozenset(origins)
        self._serve_http: ASGIApp = self._serve
        if origins:
            self._serve_http = CORSMiddleware(
                self._serve,
                allow_origins=tuple(origins),
                allow_methods=("*",),
                allow_headers=("*",),
                expose_headers=EXPOSED,
            )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "http":
            await self._serve_http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = _path_of(scope)
        exchange = Exchange(self.worlds.default, scope.get("root_path", ""), scope, send)
        name, slash, rest = path[1:].partition("/")
        service = self.services.get(name)
        world = exchange.headers.world
        if service is None:
            if self.control is not None and f"/{name}" == control.PREFIX:
                await self._serve_control(self.control, exchange, path, receive)
                return
            if name == WORLDS:
                world, slash, rest = rest.partition("/")
                path = f"/{rest}"
                name, slash, rest = rest.partition("/")
                service = self.services.get(name)
        if world is not None and not await self._go_into(world, exchange):
            return
        if service is not None and (slash or service.has_root) and not _is_page(rest):
            exchange.prefix += f"/{name}"
            await self._hand_on(service, exchange, f"/{rest}", world, receive)
            return
        alone = self._alone if service is None else None
        if alone is not None and not _is_page(path[1:]) and (path != "/" or alone.has_root):
            await self._hand_on(alone, exchange, path, world, receive)
            return
        exchange.stage.catch_up()
        if service is not None:
            await self._serve_page(service, exchange, f"{exchange.prefix}/{name}", rest if slash else None)
        elif alone is not None and _is_page(path[1:]):
            await self._serve_page(alone, exchange, exchange.prefix, path[1:])
        elif path == "/":
            await self._serve_index(exchange)
        else:
            served = ", ".join(f"/{one}" for one in self.services)
            await refuse(
                exchange,
                404,
                f"there is nothing at {readable(_path_of(scope))}",
                f"served: {served}, {control.PREFIX}/health",
            )

    async def _go_into(self, world: str, exchange: Exchange) -> bool:
        """Let the exchange be about a world: one that is there, or one that its first use will make.

        Says whether the name can be one; else the call is refused.
        """
        try:
            require_name(world)
        except BadName as problem:
            exchange.stage.catch_up()
            await refuse(exchange, 400, str(problem))
            return False
        if world != DEFAULT_WORLD:
            exchange.stage = self.worlds.find(world) or exchange.stage
        exchange.prefix += f"/{WORLDS}/{world}"
        return True

    async def _hand_on(
        self, service: Service, exchange: Exchange, path: str, world: str | None, receive: Receive
    ) -> None:
        if world is not None:
            try:
                exchange.stage = self.worlds.ensure(world)
            except LimitReached as problem:
                exchange.stage.catch_up()
                await refuse(
                    exchange, 503, str(problem), f"or delete one: DELETE {control.PREFIX}/worlds/NAME"
                )
                return
        scope = {**exchange.scope, "path": path, "root_path": "", EXCHANGE: exchange}
        if exchange.stage.calls.limit:
            await serve_and_record(service, scope, receive, exchange)
        else:
            await service(scope, receive, exchange.send)

    async def _serve_control(self, service: Service, exchange: Exchange, path: str, receive: Receive) -> None:
        refused = self._why_not(exchange.headers)
        if refused is not None:
            exchange.stage.catch_up()
            await refuse(exchange, 403, *refused)
            return
        page = path.removeprefix(control.PREFIX)
        if page == "" or _is_page(page[1:]):
            exchange.stage.catch_up()
            here = f"{exchange.prefix}{control.PREFIX}"
            await self._serve_page(service, exchange, here, page[1:] or None)
        else:
            scope = {**exchange.scope, "path": path, "root_path": "", EXCHANGE: exchange}
            await service(scope, receive, exchange.send)

    def _why_not(self, headers: Mapping[str, str]) -> tuple[str, str] | None:
        """Why who sends these headers may not use the control API, and what would help; None when nothing speaks against it."""
        if (
            headers.get("sec-fetch-site") in ("cross-site", "same-site")
            and headers.get("origin") not in self._origins
        ):
            return "a page of another site may not use the control API", "allow its origin with --cors ORIGIN"
        host = headers.get("host")
        if self._is_open and host is not None and not _is_own_name(host):
            # Whoever owns a name can let it point here, and so make a browser take this server for one of its own.
            return (
                f"the control API does not answer to the name {host[:100]!a}",
                "use localhost or an IP address, or start the server with --admin-token",
            )
        return None

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
            # The document of the control API says itself where it is served.
            body = pages.document(service, here if service.is_simulated else exchange.prefix)
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

        for service in (*self.services.values(), *([self.control] if self.control else [])):
            await service({"type": "lifespan"}, receive, send)


@lru_cache(maxsize=64)
def _is_own_name(host: str) -> bool:
    """Whether a Host header is an IP address or a name that always means this machine."""
    name = _PORT.sub("", host).lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name[1:-1] if name.startswith("[") and name.endswith("]") else name)
    except ValueError:
        return False
    return True


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
