"""Values that several constructs share: what each reads, and what it says of anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from simulator.engine.script import Span
from simulator.scenario.nodes import Node, Notes, read_nodes
from simulator.scenario.values import counted, duration, globs, one_or_several, span, whole_range, words


def read(reader: Callable[[Node], Any], text: str) -> tuple[Any, list[str]]:
    """What a reader makes of a text, and what it notes."""
    notes = Notes("s")
    node = read_nodes(text, notes)
    assert node is not None
    value = reader(node)
    return value, [problem.message for problem in notes.problems]


@pytest.mark.parametrize(
    ("reader", "text", "value"),
    [
        (span, "1s..2m", Span(1_000, 120_000)),
        (span, "250ms", Span(250, 250)),
        (duration, "PT1M", 60_000),
        (whole_range, "3", (3, 3)),
        (whole_range, "3 .. 5", (3, 5)),
        (whole_range, "x", None),
        (lambda node: counted(node, "call"), "2..4", (2, 4)),
        (lambda node: words(node, ("a", "b"), "letter"), "[b, a]", ("b", "a")),
        (lambda node: words(node, ("a", "b"), "letter"), "a", ("a",)),
        (lambda node: [glob.text for glob in globs(node)], "[a*, 7]", ["a*", "7"]),
        (lambda node: len(one_or_several(node)), "[1, 2, 3]", 3),
        (lambda node: len(one_or_several(node)), "1", 1),
    ],
)
def test_a_value_is_read(reader: Callable[[Node], Any], text: str, value: Any) -> None:
    assert read(reader, text) == (value, [])


@pytest.mark.parametrize(
    ("reader", "text", "stand_in", "message"),
    [
        (span, "2s..1s", Span(1_000, 2_000), "runs backwards; write 1s..2s"),
        (span, "5", Span(0, 0), "5 has no unit; write 5s for seconds"),
        (span, "-5s", Span(0, 0), "'-5s' is negative; time only goes forward"),
        (span, "[1s]", Span(0, 0), "must be a duration like 2s or a range like 2s..5s"),
        (duration, "{a: 1s}", 0, "must be a duration like 250ms, 2s or 10m"),
        (duration, "soon" * 40, 0, "is not a duration"),
        (lambda node: counted(node, "job"), "0", (0, 0), "jobs are counted from 1"),
        (lambda node: counted(node, "job"), "5..2", (5, 2), "runs backwards; write 2..5"),
        (lambda node: counted(node, "job"), "x", (1, 1), "must be a job number like 3 or a range like 2..5"),
        (
            lambda node: words(node, ("apple",), "fruit"),
            "aple",
            ("aple",),
            "unknown fruit 'aple', did you mean",
        ),
        (lambda node: words(node, ("1",), "fruit"), "1", ("1",), "unknown fruit '1'"),
        (lambda node: len(globs(node)), "x" * 1001, 1, "a pattern has at most 1000 characters"),
        (one_or_several, "[]", [], "an empty list fits nothing"),
    ],
)
def test_anything_else_is_a_problem_with_a_harmless_stand_in(
    reader: Callable[[Node], Any], text: str, stand_in: Any, message: str
) -> None:
    value, messages = read(reader, text)
    assert value == stand_in
    assert len(messages) == 1
    assert message in messages[0]
