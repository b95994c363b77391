"""Variables in the texts of a script: `{request.name}`, `{job.number}`, filled in when a job comes to the step.

A closed set of names and nothing else: no code, no formats. A text without variables is a plain `str` and costs nothing; one with
variables is a `Template`, taken apart when the scenario is read. `{{` and `}}` are braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from simulator.engine.job import Failure, Job
from simulator.engine.script import Step

REQUEST = "request."
VARIABLES: Mapping[str, Callable[[Job, int], Any]] = {
    "job.id": lambda job, seed: job.id,
    "job.number": lambda job, seed: job.number,
    "job.attempt": lambda job, seed: job.attempt,
    "job.kind": lambda job, seed: job.kind,
    "world.seed": lambda job, seed: seed,
}
"""Name → its value for (job, seed of the world). Beside these, `request.` and a path lead into the job's request."""

VARIABLES_MAX = 100
"""In one text."""
VALUE_CHARACTERS_MAX = 10_000
"""What is longer is cut off, so that a client with a large request cannot make texts of any size."""
PATH_CHARACTERS_MAX = 1_000


class UnknownVariable(Exception):
    """A text speaks of a variable that is not one."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Template(str):
    """A text with variables. As a string it is what was written, for whoever shows the script itself."""

    pieces: tuple[str, ...]
    """Texts and names of variables in turn, beginning with a text."""

    def filled(self, job: Job, seed: int) -> str:
        """The text for this job; what its request does not have is empty, what is no text is written as JSON."""
        pieces = list(self.pieces)
        for place in range(1, len(pieces), 2):
            pieces[place] = text_of(_value(pieces[place], job, seed))[:VALUE_CHARACTERS_MAX]
        return "".join(pieces)

    def value(self, job: Job, seed: int) -> Any:
        """As `filled`, but a text that is one variable and nothing else has that variable's own value."""
        if self.pieces[0] or self.pieces[2:] != ("",):
            return self.filled(job, seed)
        return _value(self.pieces[1], job, seed)


def template(written: str) -> str:
    """A text taken apart: a `Template` when it has variables, else a plain text.

    Raises:
        UnknownVariable: it names one that is not in the set.
        ValueError: a brace stands alone, or there are too many variables; the text says what to write.
    """
    pieces = [""]
    end = 0
    for found in _BRACES.finditer(written):
        pieces[-1] += written[end : found.start()]
        end = found.end()
        brace, name = found[0], found[1]
        if brace in ("{{", "}}"):
            pieces[-1] += brace[0]
        elif name is None:
            raise ValueError(f"a {brace} stands alone; write {brace * 2} for a brace that is no variable's")
        else:
            path = name.removeprefix(REQUEST)
            if name not in VARIABLES and (path == name or not 0 < len(path) <= PATH_CHARACTERS_MAX):
                raise UnknownVariable(name)
            pieces += [name, ""]
    pieces[-1] += written[end:]
    if len(pieces) == 1:
        return pieces[0]
    if len(pieces) // 2 > VARIABLES_MAX:
        raise ValueError(f"a text has at most {VARIABLES_MAX} variables")
    made = Template(written)
    made.pieces = tuple(pieces)
    return made


def has_variables(value: Any) -> bool:
    """Whether there is a template anywhere in a JSON value."""
    if isinstance(value, dict):
        return any(map(has_variables, value.values()))
    if isinstance(value, list):
        return any(map(has_variables, value))
    return type(value) is Template


def filled_step(step: Step, job: Job, seed: int) -> Step:
    """The step as this job plays it, every template in it filled."""
    return replace(
        step,
        message=_filled_text(step.message, job, seed),
        failure=None if step.failure is None else _filled_failure(step.failure, job, seed),
        result=_filled_value(step.result, job, seed),
        log=_filled_text(step.log, job, seed),
    )


def _filled_failure(failure: Failure, job: Job, seed: int) -> Failure:
    return replace(
        failure,
        message=_filled_text(failure.message, job, seed) or "",
        code=_filled_text(failure.code, job, seed) or "",
        details=_filled_text(failure.details, job, seed),
    )


def _filled_text(text: str | None, job: Job, seed: int) -> str | None:
    return text.filled(job, seed) if isinstance(text, Template) else text


def _filled_value(value: Any, job: Job, seed: int) -> Any:
    if isinstance(value, dict):
        return {key: _filled_value(item, job, seed) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled_value(item, job, seed) for item in value]
    return value.value(job, seed) if isinstance(value, Template) else value


def _value(name: str, job: Job, seed: int) -> Any:
    named = VARIABLES.get(name)
    if named is not None:
        return named(job, seed)
    return next(values_at(job.request, name.removeprefix(REQUEST)), "")


# ---- values of a request --------------------------------------------------------------------------------------------


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
_BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
