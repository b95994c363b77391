"""The least that a Python server can do for a JSON call, as a yardstick: no routing, no checks, no jobs.

It runs on the very settings of understudy (uvicorn, httptools, uvloop, no access log, the same headers), decodes a JSON body
when there is one and encodes a JSON body of the same size as understudy's answer. Replies come from a JSON file:
`{"GET": {"status": 200, "body": …}, "POST": …}`. Prints its port when it accepts connections.
"""

from __future__ import annotations

import sys
from email.utils import formatdate
from pathlib import Path
from time import time
from typing import Any

import orjson

from simulator.web import server


class BareApp:
    """One reply per method."""

    def __init__(self, replies: dict[str, Any]) -> None:
        self._replies = replies

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one connection scope."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if scope["method"] == "POST":
            message = await receive()
            body = message["body"]
            while message["more_body"]:
                message = await receive()
                body += message["body"]
            orjson.loads(body)
        reply = self._replies[scope["method"]]
        content = orjson.dumps(reply["body"])
        headers = [
            (b"content-type", b"application/json"),
            (b"date", formatdate(time(), usegmt=True).encode()),
            (b"content-length", str(len(content)).encode()),
        ]
        await send({"type": "http.response.start", "status": reply["status"], "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _live(self, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return


if __name__ == "__main__":
    bound = server.listen("127.0.0.1", 0)
    app: Any = BareApp(orjson.loads(Path(sys.argv[1]).read_bytes()))
    server.run(app, bound, lambda: print(bound.getsockname()[1], flush=True))
