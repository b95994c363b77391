"""HTML and SVG put together so that nothing is forgotten to be escaped: what is not `Html` is text.

Names of jobs, bodies and messages come from whoever is tested; they are shown and never become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

VOID = frozenset({"meta", "input", "br", "hr", "col"})
_CONTROLS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What no text needs: control characters, halves of surrogate pairs, and what turns the direction of the text behind it."""


class Html(str):
    """Markup that is finished; only the functions here make it."""

    __slots__ = ()


Child = str | int | float | None | Iterable["Child"]
"""Text, numbers, markup, nothing, or several of them."""


def element(tag: str, *children: Child, **attributes: str | int | float | bool | None) -> Html:
    """One element.

    Args:
        attributes: `class_` for `class` and `aria_label` for `aria-label`; True stands alone, False and None are left out.
    """
    opened = "".join(
        f" {_name(name)}" if value is True else f' {_name(name)}="{_text(str(value))}"'
        for name, value in attributes.items()
        if value is not None and value is not False
    )
    if tag in VOID:
        return Html(f"<{tag}{opened}>")
    return Html(f"<{tag}{opened}>{together(children)}</{tag}>")


def together(children: Iterable[Child]) -> Html:
    """Several children in a row."""
    return Html("".join(_child(child) for child in children))


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, str):
        return _text(child)
    if isinstance(child, int | float):
        return str(child)
    return together(child)


def _name(name: str) -> str:
    return name.rstrip("_").replace("_", "-")


def _text(text: str) -> str:
    """As a browser shows it; what cannot be shown is a replacement character."""
    return text if text.isalnum() else escape(_CONTROLS.sub("\ufffd", text))
