"""A server in this process for tests: frozen time, strict replies, requests as plain ASGI without sockets."""

from __future__ import annotations

import asyncio
import json as jsonlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from simulator.apis.contract import Call
from simulator.assemble import Settings, assemble
from simulator.engine.world import World
from simulator.runtime.timesource import TimeMode
from simulator.web.ledger import Ledger
from simulator.web.service import Exchange


def scope_of(method: str, path: str, headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """The ASGI scope of a request without a socket; `path` may carry a query string."""
    raw_path, _, query = path.partition("?")
    return {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path),
        "raw_path": raw_path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "server": ("127.0.0.1", 4010),
        "client": ("127.0.0.1", 50000),
    }


@dataclass(frozen=True)
class Answer:
    """One HTTP response; header names are in lower case."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return jsonlib.loads(self.content)


class Kit:
    """One server and its conversation.

    Args:
        scenario: a shipped one's name, a YAML text with a newline in it, or a path.
    """

    def __init__(
        self,
        scenario: str | Path = "happy",
        *,
        seed: int = 7,
        strict: bool = True,
        apis: tuple[str, ...] = (),
        time: str = "frozen",
        **settings: Any,
    ) -> None:
        self.ledger = Ledger()
        self.front = assemble(
            Settings(
                apis=apis, scenario=scenario, seed=seed, strict=strict, time=TimeMode.parse(time), **settings
            ),
            ledger=self.ledger,
        )

    @property
    def world(self) -> World:
        return self.front.worlds.default.catch_up()

    def call(self, api: str) -> Call:
        """A call of this API that led to no operation."""
        scope = {"method": "GET", "scheme": "http", "headers": [], "server": ("127.0.0.1", 4010)}

        async def send(message: Any) -> None:
            raise AssertionError(message)

        return self.front.services[api].call(Exchange(self.front.worlds.default, f"/{api}", scope, send))

    def request(self, method: str, path: str, **more: Any) -> Answer:
        """Send one request, see `ask`."""
        return asyncio.run(self.ask(method, path, **more))

    async def ask(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: bytes | str | None = None,
        headers: dict[str, str] | None = None,
        chunks: list[bytes] | None = None,
    ) -> Answer:
        """One request; `path` may carry a query string. `json` sets the Content-Type unless `headers` do."""
        names = {name.lower(): value for name, value in (headers or {}).items()}
        names.setdefault("host", "127.0.0.1:4010")
        if json is not None:
            data = jsonlib.dumps(json)
            names.setdefault("content-type", "application/json")
        body = data.encode() if isinstance(data, str) else data or b""
        pieces = chunks if chunks is not None else [body]
        if chunks is None and (body or method in ("POST", "PUT")):
            names.setdefault("content-length", str(len(body)))
        scope = {
            **scope_of(method, path, names.items()),
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
        }
        messages = [
            {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
            for place, piece in enumerate(pieces)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            # The client stays until it has its answer.
            return messages.pop(0) if messages else await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        await self.front(scope, receive, send)
        start, *bodies = sent
        return Answer(
            start["status"],
            {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in bodies),
        )

    def get(self, path: str, **more: Any) -> Answer:
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> Answer:
        return self.request("POST", path, **more)

    def put(self, path: str, **more: Any) -> Answer:
        return self.request("PUT", path, **more)

    def delete(self, path: str, **more: Any) -> Answer:
        return self.request("DELETE", path, **more)

    def advance(self, by: str) -> list[dict[str, Any]]:
        """Move virtual time; answers with the events that fired."""
        answer = self.post("/__admin/worlds/default/clock/advance", json={"by": by})
        assert answer.status == 200, answer.text
        events: list[dict[str, Any]] = answer.json()["events"]
        return events
