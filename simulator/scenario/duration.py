"""Durations as people write them: `250ms`, `2s`, `1m30s`, `1.5h`, `P1DT2H` (ISO 8601), and ranges `2s..5s`."""

from __future__ import annotations

import re

_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_WHOLE = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_ISO = re.compile(
    r"P(?:(?P<d>\d+)D)?(?:T(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?", re.IGNORECASE
)
MAXIMUM_MS = 100 * 365 * 86_400_000
"""A hundred years; longer than that is a slip of the pen."""


def parse_duration(text: str) -> int:
    """Milliseconds of a duration.

    Raises:
        ValueError: it is not one, or longer than a hundred years; the text says what would be.
    """
    wanted = text.strip()
    if _WHOLE.fullmatch(wanted):
        total = sum(float(number) * _UNIT_MS[unit] for number, unit in _PART.findall(wanted))
    else:
        found = _ISO.fullmatch(wanted)
        parts = {unit: value for unit, value in found.groupdict().items() if value} if found else {}
        if not parts:
            raise ValueError(f"{text!r} is not a duration; write it like 250ms, 2s, 1m30s, 1h or PT5M")
        total = sum(float(value) * _UNIT_MS[unit] for unit, value in parts.items())
    if total > MAXIMUM_MS:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return round(total)


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads back as the same number of milliseconds."""
    if milliseconds == 0:
        return "0s"
    parts = []
    for unit in ("d", "h", "m", "s", "ms"):
        count, milliseconds = divmod(milliseconds, _UNIT_MS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)
