"""Where the control API is found, and answers that belong to no API: the front door's own.

What the control API does is said in `openapi/control.yaml` and done in `simulator.web.control_api`.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson

from simulator.web.service import Exchange

PREFIX = "/__admin"


async def answer_json(exchange: Exchange, status: int, value: Any) -> None:
    """Send a JSON value."""
    await exchange.answer(status, {"Content-Type": "application/json"}, orjson.dumps(value))


async def refuse(
    exchange: Exchange, status: int, detail: str, hint: str = "", headers: dict[str, str] | None = None
) -> None:
    """Send a problem document (RFC 9457)."""
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    if hint:
        problem["hint"] = hint
    body = orjson.dumps(problem)
    await exchange.answer(status, {"Content-Type": "application/problem+json"} | (headers or {}), body)
