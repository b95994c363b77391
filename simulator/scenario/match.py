"""Which jobs a rule of a scenario is for: the conditions under `when`, ready to be asked.

Globs are those of file names (`*`, `?`, `[a-c]`), upper and lower case count. A request's values are compared as text in the
spelling of JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from simulator.engine.command import Submit
from simulator.engine.draw import draw_between
from simulator.engine.fill import text_of, values_at

__all__ = ["GLOB_CHARACTERS_MAX", "Field", "Glob", "When", "text_of", "values_at"]

GLOB_CHARACTERS_MAX = 1_000
_CHANCES = 1 << 53
"""As many as a float can tell apart."""


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
    every: int | None = None
    """Job numbers that this divides."""
    chance: float | None = None
    """The share of jobs, from 0 to 1; which ones is drawn by seed, rule and job number."""
    place: int = 0
    """The rule's place among the rules of its scenario, so that two rules draw apart."""

    @property
    def is_always(self) -> bool:
        """No job can fail to meet it."""
        return not (
            self.apis or self.kinds or self.numbers or self.fields or self.every or self.chance is not None
        )

    def holds(self, submit: Submit, number: int, seed: int = 0) -> bool:
        """Whether this job of a world with this seed meets every condition."""
        if self.apis and submit.api not in self.apis:
            return False
        if self.numbers is not None and not self.numbers[0] <= number <= self.numbers[1]:
            return False
        if self.every is not None and number % self.every:
            return False
        if self.kinds and not any(glob.fits(submit.kind) for glob in self.kinds):
            return False
        if self.chance is not None and not self._is_drawn(number, seed):
            return False
        return all(field.holds(submit.request) for field in self.fields)

    def _is_drawn(self, number: int, seed: int) -> bool:
        drawn = draw_between(0, _CHANCES - 1, seed, "chance", self.place, number)
        return drawn < (self.chance or 0) * _CHANCES
