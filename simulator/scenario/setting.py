"""A switch of an API that a scenario may set under `apis:`; which ones there are is the API modules' business."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Setting:
    """One switch.

    `type` is `bool`, `int`, `str` or `list` (of strings); `choices` are the allowed values of a word. A default of None
    means "not set", which a scenario cannot write.
    """

    type: type
    default: Any
    description: str
    choices: tuple[Any, ...] = ()
