"""Text never becomes markup."""

from __future__ import annotations

from simulator.report.markup import Html, element, together
from tests.report.parts import HOSTILE


def test_text_and_attributes_are_escaped() -> None:
    assert element("p", "<b>", title='"') == '<p title="&quot;">&lt;b&gt;</p>'
    shown = element("p", [HOSTILE, [HOSTILE]], title=HOSTILE)
    assert "<script" not in shown
    assert "<img" not in shown


def test_markup_stays_and_nothing_is_left_out() -> None:
    assert together([element("b", 0), None, Html("<i></i>"), ["&"]]) == "<b>0</b><i></i>&amp;"


def test_attributes_may_stand_alone_or_be_missing() -> None:
    assert element("input", hidden=True, open=False, id=None, aria_label="x", class_="y") == (
        '<input hidden aria-label="x" class="y">'
    )


def test_what_cannot_be_shown_is_replaced() -> None:
    assert element("p", "a\x00b\x1bc\ud800d\n") == "<p>a\ufffdb\ufffdc\ufffdd\n</p>"


def test_text_cannot_turn_what_stands_behind_it() -> None:
    assert element("p", "a\u202eb\u2067c") == "<p>a\ufffdb\ufffdc</p>"
