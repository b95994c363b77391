"""The control API under `/__admin`: health, and moving the clock of a world.

Refusals are `application/problem+json` (RFC 9457).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
from starlette.types import Receive

from simulator import __version__
from simulator.apis.contract import Problem, iso
from simulator.runtime.worlds import Stage, Worlds
from simulator.scenario.duration import MAXIMUM_MS, parse_duration
from simulator.web.body import decode_json, read_bytes
from simulator.web.callbacks import Callbacks
from simulator.web.checks import readable
from simulator.web.service import Exchange, Service

logger = logging.getLogger("understudy")

PREFIX = "/__admin"
_BODY_BYTES_MAX = 65_536
_VIRTUAL_TIME_MAX_MS = 253_402_300_799_999
"""The end of the year 9999, the last one that RFC 3339 can write."""


class Control:
    """The control API of one server."""

    def __init__(self, worlds: Worlds, services: Iterable[Service], callbacks: Callbacks) -> None:
        self._worlds = worlds
        self._callbacks = callbacks
        self._services = list(services)

    async def serve(self, path: str, exchange: Exchange, receive: Receive) -> None:
        """Answer one request whose path lies under the prefix."""
        method = exchange.scope["method"]
        parts = path.strip("/").split("/")[1:]
        match parts:
            case ["health"]:
                if not await self._only(exchange, method, ("GET", "HEAD")):
                    await self._health(exchange)
            case ["worlds", name, "clock", "advance"]:
                if not await self._only(exchange, method, ("POST",)):
                    await self._advance(name, exchange, receive)
            case _:
                await refuse(
                    exchange,
                    404,
                    f"there is nothing at {readable(path)}",
                    "known: GET /__admin/health, POST /__admin/worlds/default/clock/advance",
                )

    async def _only(self, exchange: Exchange, method: str, allowed: tuple[str, ...]) -> bool:
        """Refuse any other method; says whether it did."""
        if method in allowed:
            return False
        listed = ", ".join(allowed)
        await refuse(
            exchange, 405, f"{method} is not possible here; allowed: {listed}", headers={"Allow": listed}
        )
        return True

    async def _health(self, exchange: Exchange) -> None:
        stage = self._worlds.default
        facts = {
            "status": "ok",
            "version": __version__,
            "apis": [service.api.name for service in self._services],
            "time": {"mode": str(stage.clock.mode), "now": iso(stage.clock.now_ms())},
            "scenario": stage.scenario.name,
            "seed": stage.world.seed,
        }
        await answer_json(exchange, 200, facts)

    async def _advance(self, name: str, exchange: Exchange, receive: Receive) -> None:
        stage = self._worlds.find(name)
        if stage is None:
            await refuse(exchange, 404, f"there is no world {name!r}", "there is: default")
            return
        try:
            body = await read_bytes(receive, exchange.headers.get("content-length"), _BODY_BYTES_MAX)
            by_ms = _duration_in(decode_json(body), stage)
        except ConnectionError:
            return
        except Problem as problem:
            await refuse(exchange, problem.kind.status, problem.detail, headers=problem.headers)
            return
        except ValueError as problem:
            await refuse(exchange, 400, str(problem), 'send {"by": "5s"}')
            return
        fired = stage.advance(by_ms)
        # Who moved the clock may rely on everybody having been told.
        await self._callbacks.settle(stage)
        await answer_json(
            exchange,
            200,
            {
                "now": iso(stage.world.now_ms),
                "events": [
                    {
                        "at": iso(event.at_ms),
                        "api": event.api,
                        "job": event.job_id,
                        "state": event.state.value,
                        "cause": event.cause,
                    }
                    for event in fired
                ],
            },
        )


def _duration_in(body: Any, stage: Stage) -> int:
    """The milliseconds asked for.

    Raises:
        ValueError: there is none, or it leads beyond the years that can be written.
    """
    if not isinstance(body, dict) or not isinstance(body.get("by"), str):
        raise ValueError("the body must be an object with `by`, a duration in a string")
    surplus = sorted(body.keys() - {"by"})
    if surplus:
        raise ValueError(f"unknown key {surplus[0]!r}; known: by")
    by_ms = parse_duration(body["by"])
    if stage.clock.now_ms() + min(by_ms, MAXIMUM_MS) > _VIRTUAL_TIME_MAX_MS:
        raise ValueError("time would pass the end of the year 9999")
    return by_ms


async def answer_json(exchange: Exchange, status: int, value: Any) -> None:
    """Send a JSON value."""
    await exchange.answer(status, {"Content-Type": "application/json"}, orjson.dumps(value))


async def refuse(
    exchange: Exchange, status: int, detail: str, hint: str = "", headers: dict[str, str] | None = None
) -> None:
    """Send a problem document."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if hint:
        problem["hint"] = hint
    body = orjson.dumps(problem)
    await exchange.answer(status, {"Content-Type": "application/problem+json"} | (headers or {}), body)
