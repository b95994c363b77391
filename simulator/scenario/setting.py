"""A switch of an API that a scenario may set under `apis:`; which ones there are is the API modules' business."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from simulator.scenario.duration import format_duration

_NAMES = {
    bool: "true or false",
    int: "a whole number",
    str: "a text",
    list: "a list of texts",
    timedelta: "a duration",
}


@dataclass(frozen=True)
class Setting:
    """One switch.

    `type` is `bool`, `int`, `str`, `list` (of strings) or `timedelta` (written as a duration such as `10m`, kept as
    milliseconds); `choices` are the allowed values of a word. A default of None means "not set", which a scenario cannot write.
    """

    type: type
    default: Any
    description: str
    choices: tuple[Any, ...] = ()

    @property
    def takes(self) -> str:
        """What can be written, for people."""
        return " or ".join(map(str, self.choices)) if self.choices else _NAMES[self.type]

    @property
    def shown_default(self) -> str:
        """The default as a scenario would write it; `-` when it cannot be written."""
        if self.default is None:
            return "-"
        if self.type is timedelta:
            return format_duration(self.default)
        if self.type is list:
            return f"[{', '.join(self.default)}]"
        return str(self.default).lower() if self.type is bool else str(self.default)
