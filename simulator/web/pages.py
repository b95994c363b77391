"""What a person or a program finds beside the APIs: the index, each document, each Swagger UI."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

import orjson
from swagger_ui_bundle import swagger_ui_path

from simulator import __version__
from simulator.web.service import Service

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">{head}</head><body>{body}</body></html>
"""
_STYLE = """<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem;color:#1b1f24}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.5rem;border-bottom:1px solid #d0d7de}
code{background:#f3f4f6;padding:.1rem .3rem;border-radius:4px}
</style>"""


def index(services: Iterable[Service], prefix: str, origin: str) -> dict[str, Any]:
    """What is served where, as JSON; `prefix` is that of the world."""
    return {
        "name": "understudy",
        "version": __version__,
        "health": f"{origin}/__admin/health",
        "control": f"{origin}/__admin/ui/",
        "apis": [
            {
                "name": service.api.name,
                "title": service.api.title,
                "base_url": f"{origin}{prefix}/{service.api.name}{service.base_path}",
                "document": f"{origin}{prefix}/{service.api.name}/openapi.json",
                "ui": f"{origin}{prefix}/{service.api.name}/ui/",
            }
            for service in services
        ],
    }


def index_page(facts: Mapping[str, Any]) -> bytes:
    """The same for a browser."""
    rows = "".join(
        f"<tr><td>{escape(api['title'])}</td><td><code>{escape(api['base_url'])}</code></td>"
        f'<td><a href="{escape(api["ui"])}">Swagger UI</a></td>'
        f'<td><a href="{escape(api["document"])}">document</a></td></tr>'
        for api in facts["apis"]
    )
    body = (
        f"<h1>understudy {escape(facts['version'])}</h1><p>A stand-in for services that run asynchronous jobs.</p>"
        f"<table><tr><th>API</th><th>base URL</th><th></th><th></th></tr>{rows}</table>"
    )
    return _PAGE.format(title="understudy", head=_STYLE, body=body).encode()


def document(service: Service, prefix: str) -> bytes:
    """The OpenAPI document as it is served here: `servers` says where that is."""
    served = service.document | {"servers": [{"url": f"{prefix}{service.base_path}" or "/"}]}
    return orjson.dumps(served)


def swagger_ui(service: Service) -> bytes:
    """The page of Swagger UI for one API; its scripts come from beside it."""
    head = '<link rel="stylesheet" href="swagger-ui.css">'
    body = (
        '<div id="swagger-ui"></div><script src="swagger-ui-bundle.js"></script>'
        '<script>SwaggerUIBundle({url: "../openapi.json", dom_id: "#swagger-ui", deepLinking: true})</script>'
    )
    return _PAGE.format(title=f"{escape(service.api.title)} – understudy", head=head, body=body).encode()


_ASSETS = frozenset({"swagger-ui.css", "swagger-ui-bundle.js", "favicon-16x16.png", "favicon-32x32.png"})


def swagger_asset(name: str) -> tuple[str, bytes] | None:
    """Content type and bytes of one of Swagger UI's files; None for any other name."""
    if name not in _ASSETS:
        return None
    return mimetypes.guess_type(name)[0] or "application/octet-stream", (
        Path(str(swagger_ui_path)) / name
    ).read_bytes()
