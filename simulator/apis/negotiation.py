"""What headers mean to both sides: which media type to answer in (RFC 9110, 12.5.1), how long to wait (10.2.3)."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime
from functools import lru_cache

_DIGITS_MAX = 12
_QUALITY = re.compile(r"0(\.[0-9]*)?|1(\.0*)?")


def media_type_of(content_type: str) -> str:
    """The media type alone: no parameters, lower case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=1024)
def best_match(accept: str, offered: tuple[str, ...]) -> str | None:
    """The offered media type that `Accept` likes best; the first offered wins a tie, None when it wants none of them."""
    best: tuple[float, int, str] | None = None
    wanted = [_range(part) for part in accept.split(",") if part.strip()]
    if not wanted:
        return offered[0] if offered else None
    for place, media_type in enumerate(offered):
        bare = media_type_of(media_type)
        matching = [(specificity, quality) for name, quality in wanted if (specificity := _fits(name, bare))]
        if not matching:
            continue
        quality = max(matching)[1]
        if quality > 0 and (best is None or (quality, -place) > best[:2]):
            best = (quality, -place, media_type)
    return best[2] if best else None


def _range(part: str) -> tuple[str, float]:
    quality = 1.0
    for parameter in part.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            quality = float(value) if _QUALITY.fullmatch(value.strip()) else 0.0
    return media_type_of(part), quality


def _fits(wanted: str, media_type: str) -> int:
    """How specific a media range that covers a media type is; 0 when it does not cover it."""
    if wanted in ("*/*", "*"):
        return 1
    if wanted.endswith("/*"):
        return 2 if media_type.startswith(wanted[:-1]) else 0
    return 3 if wanted == media_type else 0


def wait_ms_in(retry_after: str, now_ms: int) -> int | None:
    """How many milliseconds from now on a Retry-After, a number of seconds or a date, tells to wait.

    Args:
        now_ms: what a date is compared with, in milliseconds since the epoch; one that has passed gives less than zero.

    Returns:
        None when it cannot be read.
    """
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return int(text[:_DIGITS_MAX]) * 1000
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return None if until.tzinfo is None else int(until.timestamp() * 1000) - now_ms
