"""Running the front door under uvicorn: a socket of our own, one ready line, a clean end."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.web.faults import TRANSPORT
from simulator.web.front import Front

GRACE_S = 5
"""How long calls under way may take after a signal to stop."""


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0 takes any free one.

    Raises:
        OSError: the address cannot be had.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def url_of(bound: socket.socket) -> str:
    """Where clients on this machine find it."""
    host, port = bound.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Protocol(HttpToolsProtocol):
    """HTTP that hands its connection to the application, as some faults are faults of the connection."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]  # whatever an extension is


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, front: Front, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._front = front
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Say so when connections are accepted."""
        await super().startup(sockets)
        if self.started:
            tune_collector()
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody waits for calls that a fault holds back."""
        for service in self._front.services.values():
            for transport in service.held:
                transport.abort()
        await super().shutdown(sockets)


def tune_collector() -> None:
    """Let Python search for garbage in cycles less often.

    What was made until now stays, and jobs hold no cycles. To search through all of them at the usual intervals would be a
    fifth of the cost of a submit.
    """
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def run(front: Front, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls under way end."""
    config = uvicorn.Config(
        front,
        http=_Protocol,
        loop="asyncio" if sys.platform == "win32" else "uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        # The date of a reply is the world's; the name of the server would give the stand-in away.
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # A broken form is told to the client who sent it; it is no error of the server.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    # uvicorn raises the signal again after it has shut down; a stop that was asked for is a success.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    _Server(config, front, on_ready).run(sockets=[bound])
