"""What differs between two capsules of the same conversation: in which call, in what of its answer, and what was around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from itertools import islice, zip_longest
from typing import Any

from simulator.apis.contract import iso
from simulator.capsule.model import Answer, CallStep, Capsule

SHOWN_BYTES = 40
"""Before and after the first byte that differs."""
LINES_AROUND = 2
LINES_MAX = 24
LONGEST_VALUE = 200
_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Difference:
    """One call that was answered otherwise than it is written."""

    step: int
    """Counts from 1 over all steps of the capsule."""
    call: int
    """Its number, as it is written."""
    method: str
    path: str
    at_ms: int
    what: str
    """`status`, `header NAME`, `body`, `connection`."""
    recorded: str
    now: str
    place: str = ""
    """Of a body: the JSON pointer of the first value that differs, else which byte."""
    around: tuple[str, ...] = ()
    """Lines of the body where it differs, `-` as it is written and `+` as it is now."""

    def __str__(self) -> str:
        place = f" at {self.place}" if self.place else ""
        lines = [
            f"call {self.call} (step {self.step}), {self.method} {self.path} at {iso(self.at_ms)}: {self.what}{place} differs",
            f"  recorded: {self.recorded}",
            f"  now:      {self.now}",
        ]
        return "\n".join([*lines, *(f"    {line}" for line in self.around)])

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        value: dict[str, Any] = {
            "step": self.step,
            "call": self.call,
            "method": self.method,
            "path": self.path,
            "at": iso(self.at_ms),
            "what": self.what,
        }
        if self.place:
            value["place"] = self.place
        return value | {"recorded": self.recorded, "now": self.now}


def differences(recorded: Capsule, now: Capsule) -> Iterator[Difference]:
    """Every call that was answered otherwise, in order, each with the first thing that differs."""
    for place, (step, other) in enumerate(zip_longest(recorded.steps, now.steps), 1):
        if isinstance(step, CallStep):
            answer = other.answer if isinstance(other, CallStep) else Answer(0, (), b"")
            if answer != step.answer:
                yield _difference(place, step, answer)


def _difference(place: int, step: CallStep, now: Answer) -> Difference:
    recorded = step.answer
    about = (place, step.number, step.method, step.path, step.at_ms)
    if recorded.status != now.status:
        return Difference(*about, "status", _status(recorded), _status(now))
    if (recorded.is_broken, recorded.is_left) != (now.is_broken, now.is_left):
        return Difference(*about, "connection", _end(recorded), _end(now))
    if recorded.body != now.body:
        return _in_body(about, recorded.body, now.body)
    for old, new in zip_longest(recorded.headers, now.headers):
        if old != new:
            name = old[0] if old is not None else new[0]
            return Difference(*about, f"header {name}", _header(old), _header(new))
    raise AssertionError("equal answers have no difference")


def _status(answer: Answer) -> str:
    return str(answer.status) if answer.status else f"no answer ({_end(answer)})"


def _end(answer: Answer) -> str:
    if answer.is_broken:
        return "the connection was broken"
    return "the client went away" if answer.is_left else "answered to the end"


def _header(header: tuple[str, str] | None) -> str:
    return "none" if header is None else f"{header[0]}: {header[1]}"


def _in_body(about: tuple[int, int, str, str, int], recorded: bytes, now: bytes) -> Difference:
    try:
        old, new = json.loads(recorded), json.loads(now)
    except ValueError:
        pass
    else:
        pointer, *values = _first_in(old, new, "")
        if values:
            around = _around(json.dumps(old, indent=2), json.dumps(new, indent=2))
            shown = [_shown_value(value) for value in values]
            return Difference(*about, "body", shown[0], shown[1], pointer or "(whole)", around)
    at = next((place for place, pair in enumerate(zip_longest(recorded, now)) if pair[0] != pair[1]), 0)
    around = _around(recorded.decode("utf-8", "replace"), now.decode("utf-8", "replace"))
    return Difference(*about, "body", _excerpt(recorded, at), _excerpt(now, at), f"byte {at}", around)


def _first_in(old: Any, new: Any, pointer: str) -> tuple[Any, ...]:
    """The pointer of the first value that differs, and the two values; the pointer alone when none does."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            inner = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            found = _first_in(old.get(name, _NOTHING), new.get(name, _NOTHING), inner)
            if len(found) > 1:
                return found
        return (pointer,)
    if isinstance(old, list) and isinstance(new, list):
        for place, (one, other) in enumerate(zip_longest(old, new, fillvalue=_NOTHING)):
            found = _first_in(one, other, f"{pointer}/{place}")
            if len(found) > 1:
                return found
        return (pointer,)
    return (pointer,) if type(old) is type(new) and old == new else (pointer, old, new)


def _shown_value(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def _excerpt(body: bytes, at: int) -> str:
    piece = body[max(at - SHOWN_BYTES, 0) : at + SHOWN_BYTES]
    return repr(piece)[1:]


def _around(old: str, new: str) -> tuple[str, ...]:
    lines = unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=LINES_AROUND)
    return tuple(islice(lines, 2, 2 + LINES_MAX))
