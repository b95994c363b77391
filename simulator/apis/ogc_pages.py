"""The few pages of OGC API - Processes that come as HTML, too, and the choice between the two."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from simulator.apis import ogc_unity as unity
from simulator.apis.contract import Call, Kind, Problem, Reply
from simulator.apis.ogc_wire import HTML


def wants_html(call: Call, *others: str) -> bool:
    """Whether to answer a page: as the parameter `f` says, else as the client accepts rather HTML than the other types.

    Raises:
        Problem: `f` asks for another format.
    """
    wanted = call.params.get("f")
    if unity.speaks(call):
        return False
    if wanted is None:
        return call.preferred((*others, HTML)) == HTML
    if wanted not in ("json", "html"):
        detail = f'query parameter f: "{wanted}" cannot be sent; here are json and html'
        raise Problem(Kind.NOT_ACCEPTABLE, detail, where="query", pointer="f", value=wanted)
    return bool(wanted == "html")


def page(title: str, entries: Iterable[tuple[str, str]]) -> Reply:
    """A page that lists links, each as (address, text)."""
    items = "".join(f'<li><a href="{escape(href)}">{escape(text)}</a></li>' for href, text in entries)
    heading = escape(title)
    html = (
        f'<!doctype html><html lang="en"><title>{heading}</title><h1>{heading}</h1><ul>{items}</ul></html>\n'
    )
    return Reply(200, html.encode(), media_type=f"{HTML}; charset=utf-8")
