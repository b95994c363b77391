"""Answers of the front door itself."""

from __future__ import annotations

import asyncio
from typing import Any

from simulator.web.control import answer_json, refuse
from simulator.web.service import Exchange
from tests.web.made_up import Bakery


def sent_by(answer: Any, *details: Any, **more: Any) -> list[Any]:
    """The messages that an answer to a plain GET is made of."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"method": "GET", "headers": []}
    asyncio.run(answer(Exchange(Bakery().front.worlds.default, "", scope, send), *details, **more))
    return sent


def test_a_refusal_is_a_problem_document() -> None:
    start, body = sent_by(refuse, 404, "nothing here", "look there", {"Allow": "GET"})
    assert start["status"] == 404
    assert (b"content-type", b"application/problem+json") in start["headers"]
    assert (b"allow", b"GET") in start["headers"]
    assert body["body"] == (
        b'{"type":"about:blank","title":"Not Found","status":404,"detail":"nothing here","hint":"look there"}'
    )


def test_an_answer_is_json() -> None:
    start, body = sent_by(answer_json, 200, {"a": 1})
    assert (start["status"], body["body"]) == (200, b'{"a":1}')
    assert (b"content-type", b"application/json") in start["headers"]
