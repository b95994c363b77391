"""Pages of ICA's lists and the tokens that stand for them.

A token carries everything about its page: which list, page size, order and filters. So it wins over the parameters of a call,
nothing is remembered for it, and any server with the same seed knows it. Fields without a value are left out, never null: known
clients go on paging while the key `nextPageToken` is there.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from simulator.apis.contract import Call, Kind, Problem
from simulator.apis.ica_parts import to_base64, to_json
from simulator.engine.draw import draw_bytes

CHECK_BYTES = 6


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of a list, as asked for or as a token says."""

    of: str
    """Which list: a token is good for the one it came from."""
    size: int
    offset: int
    sort: str
    filters: Mapping[str, str]

    @property
    def order(self) -> tuple[str, bool]:
        """The field to sort by, empty when none was asked for, and whether it descends."""
        field, _, direction = self.sort.partition(" ")
        return field, direction == "desc"

    def any_of(self, name: str) -> list[str]:
        """What a filter lets through; empty when it was not asked for."""
        entries = self.filters[name]
        return entries.split(",") if entries else []


def wanted_page(call: Call, of: str, filters: Iterable[str]) -> Wanted:
    """The page that a call asks for.

    Raises:
        Problem: its token was never handed out for this list.
    """
    params = call.params
    if "pageToken" in params:
        return _read_token(params["pageToken"], of, call)
    return Wanted(
        of, params["pageSize"], 0, params.get("sort", ""), {name: params.get(name, "") for name in filters}
    )


def page(wanted: Wanted, items: list[dict[str, Any]], total: int, call: Call) -> dict[str, Any]:
    """The wire form of a page with these items, of so many on all pages."""
    size, offset = wanted.size, wanted.offset
    last = max(total - 1, 0) // size * size
    found: dict[str, Any] = {
        "items": items,
        "itemCount": len(items),
        "firstPageToken": _token(wanted, 0, call),
    }
    if offset < last:
        found["nextPageToken"] = _token(wanted, offset + size, call)
    if offset > 0:
        found["prevPageToken"] = _token(wanted, min(offset - size, last), call)
    found["lastPageToken"] = _token(wanted, last, call)
    found["totalItemCount"] = total
    found["totalPageCount"] = -(-total // size)
    return found


def _token(wanted: Wanted, offset: int, call: Call) -> str:
    """What stands for this page of the same list."""
    content = to_json([wanted.of, wanted.size, offset, wanted.sort, wanted.filters])
    return to_base64(_check(content, call) + content)


def _read_token(token: str, of: str, call: Call) -> Wanted:
    try:
        data = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        data = b""
    check, content = data[:CHECK_BYTES], data[CHECK_BYTES:]
    if check == _check(content, call):
        wanted = Wanted(*json.loads(content))
        if wanted.of == of:
            return wanted
    raise Problem(
        Kind.BAD_PARAMETER,
        "pageToken is not a token of this list.",
        where="query",
        pointer="pageToken",
        value=token,
    )


def _check(content: bytes, call: Call) -> bytes:
    return draw_bytes(call.world.seed, "ica", "page", content.hex())[:CHECK_BYTES]
