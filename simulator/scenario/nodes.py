"""YAML text as nodes that know where they were written and report what is wrong with them.

Nothing is constructed from tags: only mappings, lists and the scalars of YAML 1.2's core schema (so `no` is a text). Every
problem of a file is collected in one `Notes`, so a reader goes on after a problem with a harmless stand-in value. Size, depth
and the values that aliases multiply are bounded; whatever the text is, the outcome is nodes or problems.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import yaml

BYTES_MAX = 1 << 20
VALUES_MAX = 50_000
"""Values in a file, those behind an alias counted each time it is used."""
DEPTH_MAX = 64
SHOWN_MAX = 60
"""Characters of a value that a message shows."""

Severity = Literal["error", "warning", "note"]
Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with a file, something that will surprise (a warning), or that an API cannot express (a note).

    Line and column count from 1.
    """

    file: str
    line: int
    column: int
    path: str
    """Which value: `jobs[1].script[0]`; empty for the whole file."""
    message: str
    severity: Severity = "error"

    def __str__(self) -> str:
        return ": ".join(filter(None, [f"{self.file}:{self.line}:{self.column}", self.path, self.message]))


class Notes:
    """The problems found so far in one file."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.text = ""
        """What the file says, as far as it could be read."""
        self._problems: dict[tuple[int, int, str], Problem] = {}

    def add(self, line: int, column: int, path: str, message: str, severity: Severity = "error") -> None:
        """Note a problem; the same one at the same place (seen again through an alias) counts once."""
        problem = Problem(self.file, line, column, path, message, severity)
        self._problems.setdefault((line, column, message), problem)

    def add_at(self, mark: yaml.Mark, path: str, message: str, severity: Severity = "error") -> None:
        """Note a problem where PyYAML has put its mark (which counts from 0)."""
        self.add(mark.line + 1, mark.column + 1, path, message, severity)

    @property
    def has_errors(self) -> bool:
        """Something must be mended before the file can be used."""
        return any(problem.severity == "error" for problem in self._problems.values())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them in the order of the file."""
        return tuple(sorted(self._problems.values(), key=lambda problem: (problem.line, problem.column)))


@dataclass(frozen=True, slots=True)
class Node:
    """One value as it was written."""

    raw: yaml.Node
    path: str
    notes: Notes

    @property
    def line(self) -> int:
        """Counts from 1."""
        return self.raw.start_mark.line + 1

    @property
    def cause(self) -> str:
        """The place as histories and reports show it."""
        return f"{self.notes.file}:{self.line}"

    @property
    def written(self) -> str:
        """A scalar's characters, without quotes; empty for mappings and lists."""
        return self.raw.value if self.is_scalar else ""

    def problem(self, message: str) -> None:
        """Note that this value is wrong."""
        self.notes.add_at(self.raw.start_mark, self.path, message)

    def warn(self, message: str) -> None:
        """Note that this value will surprise."""
        self.notes.add_at(self.raw.start_mark, self.path, message, "warning")

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.raw, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        return isinstance(self.raw, yaml.SequenceNode)

    @property
    def is_scalar(self) -> bool:
        return isinstance(self.raw, yaml.ScalarNode)

    @property
    def is_null(self) -> bool:
        """Nothing was written, or `null`."""
        return bool(self.raw.tag == _NULL)

    @property
    def is_text(self) -> bool:
        return bool(self.raw.tag == _STR)

    def items(self) -> list[Node]:
        """The values of a list; anything else is a problem."""
        if not self.is_list:
            self.problem(f"must be a list, not {self._described}")
            return []
        return [Node(raw, f"{self.path}[{index}]", self.notes) for index, raw in enumerate(self.raw.value)]

    def entries(self) -> list[tuple[Node, Node]]:
        """Keys (with the path of their mapping) and values; a key that comes twice, or is no scalar, is a problem."""
        if not self.is_mapping:
            self.problem(f"must be a mapping, not {self._described}")
            return []
        entries = []
        lines: dict[str, int] = {}
        for raw_key, raw_value in self.raw.value:
            key = Node(raw_key, self.path, self.notes)
            if not isinstance(raw_key, yaml.ScalarNode):
                key.problem(f"a key must be a word, not {key._described}")
            elif key.written in lines:
                first = lines[key.written]
                key.problem(f"key {shown(key.written)} is written twice, first in line {first}")
            else:
                lines[key.written] = key.line
                entries.append((key, Node(raw_value, _join(self.path, key.written), self.notes)))
        return entries

    def fields(
        self, known: Collection[str], what: str = "key", prefix: str | tuple[str, ...] | None = None
    ) -> dict[str, Node]:
        """The values of a mapping by key; keys that are neither known nor begin with a `prefix` are problems."""
        fields = {}
        for key, value in self.entries():
            name = key.written
            if name in known or (prefix and name.startswith(prefix)):
                fields[name] = value
            else:
                key.problem(unknown(what, name, known))
        return fields

    def scalar(self) -> Scalar:
        """Null, a truth value, a number or a text; anything else is a problem."""
        if not self.is_scalar:
            self.problem(f"must be a single value, not {self._described}")
            return None
        tag = self.raw.tag
        if tag == _NULL:
            return None
        if tag == _BOOL:
            return self.written.lower() == "true"
        if tag == _INT:
            return self._integer()
        if tag == _FLOAT:
            return float(self.written.lower().replace(".inf", "inf").replace(".nan", "nan"))
        return self._mended()

    def text(self) -> str:
        """A text; anything else is a problem."""
        if not self.is_text:
            hint = f'; put it in quotes: "{shown(self.written, quote=False)}"' if self.written else ""
            self.problem(f"must be a text, not {self._described}{hint}")
            return ""
        return self._mended()

    def json(self, text: Callable[[Node], str] | None = None) -> Any:
        """Any JSON value; what JSON cannot say is a problem. Texts (not keys) are read by `text`, if given."""
        if self.is_mapping:
            return {self._json_key(key): value.json(text) for key, value in self.entries()}
        if self.is_list:
            return [item.json(text) for item in self.items()]
        if text is not None and self.is_text:
            return text(self)
        scalar = self.scalar()
        if isinstance(scalar, float) and not isfinite(scalar):
            self.problem(f"{shown(self.written)} is no number that JSON can write")
            return None
        return scalar

    @staticmethod
    def _json_key(key: Node) -> str:
        if not key.is_text:
            key.problem(f'keys of JSON are texts; put it in quotes: "{shown(key.written, quote=False)}"')
        return key._mended()

    def _integer(self) -> int:
        digits = self.written
        base = {"0x": 16, "0o": 8}.get(digits[:2], 10)
        # 64 bits need at most 22 digits (octal); Python refuses to read very long ones.
        value = int(digits, base) if len(digits) < 32 else 1 << 64
        if not -(1 << 63) <= value < 1 << 64:
            self.problem(f"{shown(digits)} does not fit into 64 bits")
            return 0
        return value

    def _mended(self) -> str:
        """The text with escaped surrogate pairs (JSON's spelling of other planes) joined; a lone half is a problem."""
        written = self.written
        if _SURROGATE.search(written) is None:
            return written
        try:
            return written.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            self.problem("holds half a surrogate pair, which is no character")
            return ""

    @property
    def _described(self) -> str:
        if self.is_mapping:
            return "a mapping"
        if self.is_list:
            return "a list"
        if self.is_null:
            return "nothing"
        return f"the text {shown(self.written)}" if self.is_text else shown(self.written, quote=False)


def shown(text: str, *, quote: bool = True) -> str:
    """A value for a message: on one line and not too long."""
    if len(text) > SHOWN_MAX:
        text = text[:SHOWN_MAX] + "…"
    written = repr(text)
    return written if quote else written[1:-1]


def unknown(what: str, name: str, known: Collection[str]) -> str:
    """The message about a name nobody knows: the nearest known one, then all of them."""
    nearest = get_close_matches(name.lower(), known, 1)
    hint = f", did you mean {nearest[0]!r}?" if nearest else "."
    return f"unknown {what} {shown(name)}{hint} Known {what}s: {', '.join(known) or 'none'}"


def _join(path: str, key: str) -> str:
    if len(key) > SHOWN_MAX or not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{shown(key)}]"
    return f"{path}.{key}" if path else key


_PLAIN_KEY = re.compile(r"[\w$.*-]+")
_SURROGATE = re.compile("[\ud800-\udfff]")


# ---- from text to nodes ---------------------------------------------------------------------------------------------


def read_nodes(source: Path | str, notes: Notes) -> Node | None:
    """The root of a file or text; None when it is not even YAML, and then `notes` says why."""
    text = _text_of(source, notes)
    if text is None:
        return None
    notes.text = text
    root = _compose(text, notes)
    if root is None or not _is_bounded(root, notes):
        return None
    return Node(root, "", notes)


def _text_of(source: Path | str, notes: Notes) -> str | None:
    if isinstance(source, str):
        # Bytes, not characters, so that a text is refused exactly when its file would be.
        size = len(source.encode("utf-8", "surrogatepass"))
        data = None
    else:
        try:
            with source.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            notes.add(1, 1, "", f"cannot be read: {reason}")
            return None
        size = len(data)
    if size > BYTES_MAX:
        notes.add(1, 1, "", f"is larger than {BYTES_MAX // 1024} KiB, the limit for a scenario")
        return None
    if data is None:
        return str(source)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line, column = _place(data[: error.start].decode("utf-8", "replace"))
        notes.add(line, column, "", f"is not UTF-8: byte 0x{data[error.start]:02x}")
        return None


def _compose(text: str, notes: Notes) -> yaml.Node | None:
    """The root node, or a note about the first thing that keeps the text from being one YAML document."""
    try:
        loader = _Loader(text, notes)
    except yaml.reader.ReaderError as error:
        _note_unreadable(error, text, notes)
        return None
    try:
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        message = ", ".join(filter(None, [error.context, error.problem]))
        if "expected a single document" in message:
            message = "a second document begins here; a scenario is one document"
        notes.add_at(mark, "", message)
        return None
    except (ValueError, OverflowError, IndexError):
        # PyYAML's scanner lets some of Python's own errors through: an escape beyond Unicode, an endless version number.
        notes.add_at(loader.get_mark(), "", "a character or number here is beyond what YAML can write")
        return None
    if root is None:
        notes.add(1, 1, "", "is empty; a scenario needs at least `jobs:`")
    return root


def _note_unreadable(error: yaml.reader.ReaderError, text: str, notes: Notes) -> None:
    line, column = _place(text[: error.position])
    notes.add(
        line, column, "", f"holds a character that YAML does not allow: U+{ord(text[error.position]):04X}"
    )


def _place(before: str) -> tuple[int, int]:
    """Line and column of what comes after this text."""
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _is_bounded(root: yaml.Node, notes: Notes) -> bool:
    """Whether the values, with every alias written out, stay within the limits; an alias inside its own anchor cannot."""
    values = 0
    waiting = [(root, 1)]
    while waiting:
        raw, depth = waiting.pop()
        values += 1
        message = ""
        if depth > DEPTH_MAX:
            message = f"is nested deeper than {DEPTH_MAX} levels once its aliases are written out"
        elif values > VALUES_MAX:
            message = f"there are more than {VALUES_MAX} values once all aliases are written out"
        if message:
            notes.add_at(raw.start_mark, "", message)
            return False
        if isinstance(raw, yaml.SequenceNode):
            waiting.extend((item, depth + 1) for item in raw.value)
        elif isinstance(raw, yaml.MappingNode):
            waiting.extend((part, depth + 1) for entry in raw.value for part in entry)
    return True


_YAML_TAG = "tag:yaml.org,2002:"
_NULL, _BOOL, _INT, _FLOAT, _STR = (_YAML_TAG + name for name in ("null", "bool", "int", "float", "str"))
# YAML 1.2.2, section 10.3.2, in order.
_CORE_SCHEMA = (
    (_NULL, re.compile(r"(?:null|Null|NULL|~|)\Z")),
    (_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (_INT, re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        _FLOAT,
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
)


class _Loader(yaml.SafeLoader):
    """Composes nodes only; refuses tags, and stops at the limits before they cost anything."""

    yaml_implicit_resolvers = {None: list(_CORE_SCHEMA)}  # noqa: RUF012 - PyYAML's own name and shape

    def __init__(self, text: str, notes: Notes) -> None:
        super().__init__(text)
        self._notes = notes
        self._depth = 0
        self._values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._values += 1
        if self._depth == DEPTH_MAX:
            raise yaml.MarkedYAMLError(
                problem=f"is nested deeper than {DEPTH_MAX} levels", problem_mark=event.start_mark
            )
        if self._values > VALUES_MAX:
            raise yaml.MarkedYAMLError(
                problem=f"there are more than {VALUES_MAX} values", problem_mark=event.start_mark
            )
        if getattr(event, "tag", None) is not None:
            tag = shown(event.tag.replace(_YAML_TAG, "!!"), quote=False)
            self._notes.add_at(event.start_mark, "", f"tags like {tag} have no place here")
            event.tag = None
            if isinstance(event, yaml.ScalarEvent):
                event.implicit = (not event.style, True)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1
