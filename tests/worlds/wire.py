"""Clients of one conversation: over a socket, kept alive and quick, or straight into a server of this process.

Both say the very same things, with the same headers, so that what a server heard and answered can be compared byte for byte.
"""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

from simulator.web.front import Front
from tests.kit import scope_of

HOST = "localhost:4010"
"""What clients call the server, whatever its port: links in replies are made from it, and no proof depends on a port."""


@dataclass(frozen=True)
class Said:
    """One answer; header names are in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def json(self) -> Any:
        return jsonlib.loads(self.body)

    def header(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Client(Protocol):
    """Who asks."""

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Said:
        """One request and its answer."""


def _told(json: Any, headers: Sequence[tuple[str, str]]) -> tuple[list[tuple[str, str]], bytes]:
    """All headers of a request, and its body; bytes are sent as they are."""
    told = [("host", HOST), *headers]
    if json is None:
        return told, b""
    if not isinstance(json, bytes):
        json = jsonlib.dumps(json).encode()
        told.append(("content-type", "application/json"))
    return [*told, ("content-length", str(len(json)))], json


class Wired(asyncio.Protocol):
    """A keep-alive connection to a server, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._answer: asyncio.Future[Said] | None = None

    @classmethod
    async def to(cls, url: str) -> Wired:
        """Connect."""
        address = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, client = await loop.create_connection(cls, address.hostname, address.port)
        return client

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Said:
        told, body = _told(json, headers)
        lines = [f"{method} {path} HTTP/1.1", *[f"{name}: {value}" for name, value in told], "", ""]
        return await self.send("\r\n".join(lines).encode("latin-1") + body)

    async def send(self, request: bytes) -> Said:
        """These bytes, and what is answered."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, problem: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(problem or ConnectionError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = []
        length = 0
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers.append((name, value))
            if name == "content-length":
                length = int(value)
        if len(body) >= length:
            self._received = body[length:]
            assert self._answer is not None
            self._answer.set_result(Said(int(first.split(" ")[1]), tuple(headers), body[:length]))


class Straight:
    """A client that shares its process with the server."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Said:
        told, body = _told(json, headers)
        scope = scope_of(method, path, told)
        heard = [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            # The client stays until it has its answer.
            return heard.pop() if heard else await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        await self._front(scope, receive, send)
        headers_sent = tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]
        )
        return Said(sent[0]["status"], headers_sent, b"".join(one.get("body", b"") for one in sent))
