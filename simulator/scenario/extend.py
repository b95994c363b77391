"""Scenarios that extend others: which files belong together, in which order, and what they say together.

A file comes before what it extends, and of several the one written first: its rules are asked first, its settings and workers
win. A file that is reached on two ways counts once, at the first. A name is that of a shipped scenario, anything with a slash or
with YAML's suffix is a path, seen from the file that says so. A scenario that is only a text has no folder, and may come from
anywhere; it can extend shipped scenarios only.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any

from simulator.scenario.calls import CallRules
from simulator.scenario.model import JobRule
from simulator.scenario.nodes import Node, Notes, read_nodes, shown

DEPTH_MAX = 10
"""How many files may extend one another in a row."""
SUFFIXES = (".yaml", ".yml")

Find = Callable[[str], Path | None]
"""The file of a shipped scenario by its name."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What one file says for itself."""

    description: str
    settings: Mapping[str, Mapping[str, Any]]
    """Per API, only what the file sets."""
    crew: Mapping[str, int | None]
    rules: tuple[JobRule, ...]
    calls: CallRules
    extends: Node | None
    """What it says under `extends`."""


ReadLayer = Callable[[Node, bool], Layer]
"""From the root of a file, and whether another file extends it."""


@dataclass(frozen=True, slots=True)
class _Place:
    """A file on the way from the first one to the present one."""

    path: Path | None
    """Resolved; None for a text."""
    shown: str


class Files:
    """A scenario's file and those that it extends, read in the order in which they count.

    Args:
        read: makes a layer of each.
        find: the file of a shipped scenario by its name.
        texts: what the files said, by the names that people are shown; then no file is opened. A file that was reached under two
            names is there under the first one only.
    """

    def __init__(self, read: ReadLayer, find: Find | None, texts: Mapping[str, str] | None = None) -> None:
        self._read = read
        self._find = find
        self._texts = texts
        self._seen: set[Path | None] = set()
        self.layers: list[Layer] = []
        self.notes: list[Notes] = []
        """One for each file, in the same order."""

    def open(self, source: Path | str, shown_as: str) -> None:
        """Read a file or a text, and what it extends."""
        if self._texts is not None:
            self._open(self._texts[shown_as], (_Place(Path(shown_as), shown_as),))
            return
        path = _resolved(source) if isinstance(source, Path) else None
        self._open(source, (_Place(path, shown_as),))

    def _open(self, source: Path | str, way: tuple[_Place, ...]) -> None:
        notes = Notes(way[-1].shown)
        self.notes.append(notes)
        top = read_nodes(source, notes)
        if top is None:
            return
        layer = self._read(top, len(way) > 1)
        self.layers.append(layer)
        if layer.extends is not None:
            for wanted in _names(layer.extends):
                self._extend(wanted, way)

    def _extend(self, node: Node, way: tuple[_Place, ...]) -> None:
        place = self._place_of(node, way[-1])
        if place is None:
            return
        path = place.path
        paths = [step.path for step in way]
        if path in paths:
            circle = [step.shown for step in way[paths.index(path) :]]
            node.problem(f"goes round in a circle: {' → '.join([*circle, place.shown])}")
        elif len(way) > DEPTH_MAX:
            node.problem(f"more than {DEPTH_MAX} files extend one another in a row")
        elif path is not None and path not in self._seen:
            self._seen.add(path)
            self._open(path if self._texts is None else self._texts[place.shown], (*way, place))

    def _place_of(self, node: Node, here: _Place) -> _Place | None:
        """The file that is meant; None with a problem when there is none."""
        written = node.written
        if not node.is_text or not written:
            node.problem("must be the name of a shipped scenario or the path of a file, such as ./base.yaml")
            return None
        if self._texts is not None:
            is_name = "/" not in written and not written.endswith(SUFFIXES)
            name = f"scenarios/{written}.yaml" if is_name else _beside(here, written)
            return _Place(Path(name), name) if name in self._texts else None
        if "/" not in written and not written.endswith(SUFFIXES):
            path = self._find(written) if self._find is not None else None
            if path is None:
                node.problem(f"there is no shipped scenario {shown(written)}{_hint(written, here)}")
                return None
            return _Place(_resolved(path), f"scenarios/{path.name}")
        if here.path is None:
            node.problem(
                "a scenario that is no file has no folder to begin from; extend a shipped one by its name"
            )
            return None
        path = _resolved(here.path.parent / written)
        if path is None or not path.is_file():
            node.problem(f"there is no file {shown(written)}{_hint(written, here)}")
            return None
        return _Place(path, _beside(here, written))


def _beside(here: _Place, written: str) -> str:
    """How people are shown a file that another one speaks of."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(here.shown), written))


def _resolved(path: Path) -> Path | None:
    """The one path of a file; None for what can be none: a name with a zero byte, links that lead to themselves."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return None


def _names(node: Node) -> Iterator[Node]:
    if not node.is_list:
        yield node
        return
    items = node.items()
    if not items:
        node.problem("an empty list extends nothing; leave `extends` out")
    yield from items


def _hint(written: str, here: _Place) -> str:
    """The nearest name among the files beside the one that speaks."""
    if here.path is None:
        return ""
    try:
        beside = {
            path.stem: f"./{path.name}"
            for path in sorted(here.path.parent.iterdir())
            if path.suffix in SUFFIXES and path != here.path
        }
    except OSError:
        return ""
    nearest = get_close_matches(PurePosixPath(written).stem, beside, 1)
    return f", did you mean {beside[nearest[0]]!r}?" if nearest else ""


def merged_rules(layers: Sequence[Layer]) -> tuple[JobRule, ...]:
    """The rules for jobs of all layers, each knowing its place among them."""
    rules = [rule for layer in layers for rule in layer.rules]
    return tuple(
        replace(rule, when=replace(rule.when, place=place)) if rule.when.chance is not None else rule
        for place, rule in enumerate(rules)
    )


def merged_calls(layers: Sequence[Layer]) -> CallRules:
    """The rules for calls of all layers, each knowing its place among them."""
    rules = [rule for layer in layers for rule in layer.calls.rules]
    return CallRules(tuple(replace(rule, place=place) for place, rule in enumerate(rules)))


def merged_crew(layers: Sequence[Layer]) -> dict[str, int | None]:
    """The workers of each API as the first layer says that speaks of it."""
    crew: dict[str, int | None] = {}
    for layer in reversed(layers):
        crew |= layer.crew
    return crew


def merged_settings(
    layers: Sequence[Layer], defaults: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """The settings of each API, each as the first layer says that sets it."""
    settings = {api: dict(values) for api, values in defaults.items()}
    for layer in reversed(layers):
        for api, values in layer.settings.items():
            settings[api] |= values
    return settings
