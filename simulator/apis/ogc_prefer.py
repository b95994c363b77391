"""What an OGC client prefers (the header Prefer, RFC 7240), and whether its execution is synchronous or not.

Clients send preferences that nobody knows, blanks at the end, and keep sending what they sent before: what cannot be honoured is
ignored, never refused.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

_ELEMENT = re.compile(r'(?:[^,"]|"(?:\\.|[^"\\])*"?)+')
"""A preference with its parameters; a comma inside a text separates nothing."""
_PREFERENCE = re.compile(r'\s*([^\s,;="]+)\s*(?:=\s*(?:"((?:\\.|[^"\\])*)"|([^\s,;"]*)))?\s*(?:;|$)')
_SECONDS = re.compile(r"[0-9]{1,9}")

SYNC, ASYNC = "sync-execute", "async-execute"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What this API can honour."""

    respond_async: bool = False
    wait_seconds: int | None = None
    returns: str | None = None
    """`minimal` or `representation`."""

    def is_async(self, options: Collection[str]) -> bool:
        """Whether an execution answers with a job at once, by what the process offers (its `jobControlOptions`)."""
        return ASYNC in options and (self.respond_async or SYNC not in options)

    def may_become_async(self, options: Collection[str]) -> bool:
        """Whether a synchronous execution may end with a job after all, when the client has waited long enough."""
        return self.wait_seconds is not None and ASYNC in options


@lru_cache(maxsize=256)
def read_preferences(header: str) -> Preferences:
    """The preferences of a header; of one that is there twice, the first counts."""
    found: dict[str, str] = {}
    for element in _ELEMENT.findall(header):
        preference = _PREFERENCE.match(element)
        if preference is not None:
            name, quoted, plain = preference.groups()
            found.setdefault(name.lower(), quoted if quoted is not None else plain or "")
    wait = found.get("wait", "")
    returns = found.get("return", "").lower()
    return Preferences(
        respond_async="respond-async" in found,
        wait_seconds=int(wait) if _SECONDS.fullmatch(wait) else None,
        returns=returns if returns in ("minimal", "representation") else None,
    )
