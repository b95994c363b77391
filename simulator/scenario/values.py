"""Values that several constructs of the language share: names, patterns, counts and durations, read from nodes.

Each function notes what is wrong and answers with a harmless stand-in, as the reader of a whole scenario does.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from simulator.engine.script import Span
from simulator.scenario.duration import parse_duration
from simulator.scenario.match import Glob, text_of
from simulator.scenario.nodes import Node, shown, unknown


def one_or_several(node: Node) -> list[Node]:
    """The items of a list, or the value alone."""
    if not node.is_list:
        return [node]
    items = node.items()
    if not items:
        node.problem("an empty list fits nothing")
    return items


def words(node: Node, known: Collection[str], what: str) -> tuple[str, ...]:
    """One or several of the known words."""
    items = one_or_several(node)
    for item in items:
        if not item.is_text or item.written not in known:
            item.problem(unknown(what, item.written, known))
    return tuple(item.written for item in items)


def globs(node: Node) -> tuple[Glob, ...]:
    """One or several patterns."""
    return tuple(_glob(item) for item in one_or_several(node))


def _glob(node: Node) -> Glob:
    try:
        return Glob.of(text_of(node.scalar()))
    except ValueError as error:
        node.problem(str(error))
        return Glob.of("")


def counted(node: Node, what: str) -> tuple[int, int]:
    """A whole number from 1 on, or a range of them like 2..4."""
    numbers = whole_range(node)
    if numbers is None:
        node.problem(f"must be a {what} number like 3 or a range like 2..5")
    elif numbers[0] < 1:
        node.problem(f"{what}s are counted from 1")
    elif numbers[0] > numbers[1]:
        node.problem(f"runs backwards; write {numbers[1]}..{numbers[0]}")
    return numbers or (1, 1)


def whole_range(node: Node) -> tuple[int, int] | None:
    """The ends of a range of whole numbers (the same number twice when there is one only); None when it is none."""
    found = _WHOLE_RANGE.fullmatch(node.written)
    if found is None:
        return None
    first, last = found.groups()
    return int(first), int(last or first)


def span(node: Node) -> Span:
    """A duration or a range of durations."""
    if node.is_mapping or node.is_list or node.is_null:
        node.problem("must be a duration like 2s or a range like 2s..5s")
        return Span(0, 0)
    low, dots, high = node.written.partition("..")
    low_ms = milliseconds(node, low)
    high_ms = milliseconds(node, high) if dots else low_ms
    if low_ms is None or high_ms is None:
        return Span(0, 0)
    if low_ms > high_ms:
        node.problem(f"runs backwards; write {high.strip()}..{low.strip()}")
        return Span(high_ms, low_ms)
    return Span(low_ms, high_ms)


def duration(node: Node) -> int:
    """A duration in milliseconds."""
    if not node.is_scalar or node.is_null:
        node.problem("must be a duration like 250ms, 2s or 10m")
        return 0
    return milliseconds(node, node.written) or 0


def milliseconds(node: Node, text: str) -> int | None:
    """A duration that is written in a node; None when it is none."""
    text = text.strip()
    if text.startswith("-"):
        node.problem(f"{shown(text)} is negative; time only goes forward")
    elif _BARE_NUMBER.fullmatch(text):
        number = shown(text, quote=False)
        node.problem(f"{number} has no unit; write {number}s for seconds")
    elif len(text) > _DURATION_CHARACTERS_MAX:
        node.problem(f"{shown(text)} is not a duration")
    else:
        try:
            return parse_duration(text)
        except ValueError as error:
            node.problem(str(error))
    return None


_WHOLE_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?")
_BARE_NUMBER = re.compile(r"\+?[0-9]+(?:\.[0-9]+)?")
_DURATION_CHARACTERS_MAX = 100
