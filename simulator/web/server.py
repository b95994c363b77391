"""Running the front door under uvicorn: a socket of our own, one ready line, a clean end."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from ipaddress import ip_address

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from simulator.web.faults import TRANSPORT
from simulator.web.front import Front

GRACE_S = 5
"""How long calls under way may take after a signal to stop."""
LOOK_EVERY_S = 0.5
"""So often somebody looks whether a server that is to start has died instead."""


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


def is_loopback(host: str) -> bool:
    """Whether a server that listens there can be reached from this machine alone."""
    try:
        found = socket.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError):
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)


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
            self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody waits for calls that a fault holds back, or for streams, which have no end of their own."""
        self._front.events.close()
        control = self._front.control
        for service in (*self._front.services.values(), *([control] if control else [])):
            for transport in service.held:
                transport.abort()
        await super().shutdown(sockets)


def tune_collector() -> None:
    """Let Python search for garbage in cycles less often.

    What was made until now stays, and jobs hold no cycles. To search through all of them at the usual intervals would be a
    fifth of the cost of a submit. What is new is searched twice, in portions so small that no call waits long for it (twenty
    times as large ones take a second and more), and what has stayed so long is not searched again.
    """
    gc.freeze()
    gc.set_threshold(50_000, 2, 1_000)


def run(front: Front, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM, then let calls under way end."""
    # uvicorn raises the signal again after it has shut down; a stop that was asked for is a success.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)

    def ready() -> None:
        tune_collector()
        on_ready()

    _Server(_config(front), front, ready).run(sockets=[bound])


class Background:
    """A server in a thread of this process, for as long as somebody else's program runs.

    It leaves signals and the garbage collector of that program alone.
    """

    def __init__(self, front: Front, bound: socket.socket) -> None:
        self.url = url_of(bound)
        self.thread = threading.Thread(target=self._run, name="understudy", daemon=True)
        self._bound = bound
        self._ready = threading.Event()
        self._server = _Server(_config(front), front, self._ready.set)

    def start(self) -> None:
        """Serve; answers when connections are accepted.

        Raises:
            RuntimeError: it cannot.
        """
        self.thread.start()
        while not self._ready.wait(LOOK_EVERY_S):
            if not self.thread.is_alive():
                raise RuntimeError("understudy could not start; the log of uvicorn.error says why")

    def stop(self) -> None:
        """Let calls under way end, and stop."""
        self._server.should_exit = True
        self.thread.join()

    def _run(self) -> None:
        self._server.run(sockets=[self._bound])


def _config(front: Front) -> uvicorn.Config:
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    # A broken form is told to the client who sent it; it is no error of the server.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    return uvicorn.Config(
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
