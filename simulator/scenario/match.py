"""Which jobs a rule of a scenario is for: the conditions under `when`, ready to be asked.

Globs are those of file names (`*`, `?`, `[a-c]`), upper and lower case count. A request's values are compared as text in the
spelling of JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from simulator.engine.command import Submit

GLOB_CHARACTERS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Glob:
    """A pattern over the whole of a text."""

    text: str
    pattern: re.Pattern[str]

    @classmethod
    def of(cls, text: str) -> Glob:
        """Compile a pattern.

        Raises:
            ValueError: it is longer than any name.
        """
        if len(text) > GLOB_CHARACTERS_MAX:
            raise ValueError(f"a pattern has at most {GLOB_CHARACTERS_MAX} characters")
        return cls(text, re.compile(translate(text)))

    def fits(self, text: str) -> bool:
        """Whether the whole text is of this form."""
        return self.pattern.match(text) is not None


@dataclass(frozen=True, slots=True)
class Field:
    """A condition on a value inside the request: one of the globs fits one of the values at the path."""

    path: str
    globs: tuple[Glob, ...]

    def holds(self, request: Any) -> bool:
        """Whether the request has such a value."""
        texts = [text_of(value) for value in values_at(request, self.path)]
        return any(glob.fits(text) for text in texts for glob in self.globs)


@dataclass(frozen=True, slots=True)
class When:
    """All that must hold for a rule to fire; nothing at all holds for every job."""

    apis: tuple[str, ...] = ()
    kinds: tuple[Glob, ...] = ()
    numbers: tuple[int, int] | None = None
    """First and last job number, counted over all jobs of the world."""
    fields: tuple[Field, ...] = ()

    @property
    def is_always(self) -> bool:
        """No job can fail to meet it."""
        return not (self.apis or self.kinds or self.numbers or self.fields)

    def holds(self, submit: Submit, number: int) -> bool:
        """Whether this job meets every condition."""
        if self.apis and submit.api not in self.apis:
            return False
        if self.numbers is not None and not self.numbers[0] <= number <= self.numbers[1]:
            return False
        if self.kinds and not any(glob.fits(submit.kind) for glob in self.kinds):
            return False
        return all(field.holds(submit.request) for field in self.fields)


def values_at(value: Any, path: str) -> Iterator[Any]:
    """What a dotted path leads to: keys of mappings, indexes of lists. A key may hold dots itself, the longest is tried first.

    >>> list(values_at({"inputs": [{"a.b": 1}]}, "inputs.0.a.b"))
    [1]
    """
    if isinstance(value, Mapping):
        if path in value:
            yield value[path]
        end = path.rfind(".")
        while end >= 0:
            if path[:end] in value:
                yield from values_at(value[path[:end]], path[end + 1 :])
            end = path.rfind(".", 0, end)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        index, dot, rest = path.partition(".")
        if _INDEX.fullmatch(index) and int(index) < len(value):
            item = value[int(index)]
            if dot:
                yield from values_at(item, rest)
            else:
                yield item


def text_of(value: Any) -> str:
    """A text as it is, anything else as compact JSON writes it."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


_INDEX = re.compile(r"[0-9]{1,9}")
