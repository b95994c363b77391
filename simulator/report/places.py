"""Where in an API's document something is written: the line and column of an operation, a parameter or a part of a schema.

A document is read as YAML nodes, which know their places; the violations of one run point into a few documents only, so each is
read once and kept. What cannot be found exactly is answered with the nearest that is: the operation, else the list of paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from simulator.report.model import Violation
from simulator.resources import resource_folder

_METHODS = frozenset({"get", "put", "post", "delete", "options", "head", "patch", "trace"})
_CHOICES = ("allOf", "oneOf", "anyOf")
_REFERENCES_MAX = 32


class Place(NamedTuple):
    """A region of a document; lines and columns count from 1, and the end is behind its last character."""

    file: str
    """As people are shown it: `openapi/ogc.yaml`."""
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


class Found(NamedTuple):
    """A value of the document and what names it: its key, or itself where it is an item of a list."""

    name: yaml.Node
    value: yaml.Node


class DocumentPlaces:
    """The places of one document.

    Args:
        text: the document as YAML or JSON.
        shown_as: its name for people.
    """

    def __init__(self, text: str | bytes, shown_as: str) -> None:
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        root = yaml.compose(text, Loader=loader)
        if root is None:
            raise ValueError(f"{shown_as} is empty")
        self._shown_as = shown_as
        self._root = Found(root, root)
        self._operations: dict[str, tuple[Found, Found]] = {}
        for _, item in self._members(self._at(self._root, "paths")):
            for method, operation in self._members(item):
                name = self._at(operation, "operationId") if method in _METHODS else None
                if name is not None and isinstance(name.value, yaml.ScalarNode):
                    self._operations[name.value.value] = (item, operation)

    def of_violation(self, violation: Violation) -> Place:
        """What of the document it breaks."""
        known = self._operations.get(violation.operation)
        if known is None:
            return self._place(self._at(self._root, "paths") or self._root)
        item, operation = known
        return self._place(self._broken(violation, item, operation) or operation)

    def of_operation(self, operation: str) -> Place | None:
        """Where an operation is written, if it is."""
        known = self._operations.get(operation)
        return None if known is None else self._place(known[1])

    def _broken(self, violation: Violation, item: Found, operation: Found) -> Found | None:
        if violation.by == "server":
            return self._reply(violation, operation)
        if violation.kind == "unauthorized":
            return self._at(operation, "security") or self._at(self._root, "security")
        if violation.kind in ("bad_body", "missing_body", "malformed_body", "unsupported_media_type"):
            body = self._at(operation, "requestBody")
            return self._in_content(body, violation.pointer) or body
        return self._parameter(violation.pointer, item, operation)

    def _reply(self, violation: Violation, operation: Found) -> Found | None:
        responses = self._at(operation, "responses")
        response = None
        if violation.status is not None:
            names = (str(violation.status), f"{violation.status // 100}XX", "default")
            response = next((one for name in names if (one := self._at(responses, name))), None)
        return self._in_content(response, violation.pointer) or response or responses

    def _parameter(self, name: str, item: Found, operation: Found) -> Found | None:
        for holder in (operation, item):
            for parameter in self._items(self._at(holder, "parameters")):
                said = self._at(parameter, "name")
                if said is not None and said.value.value == name:
                    return parameter
        return None

    def _in_content(self, holder: Found | None, pointer: str) -> Found | None:
        """The part of a body's schema that a JSON pointer into the body leads to, or the nearest above it."""
        media_types = [value for _, value in self._members(self._at(holder, "content"))]
        schema = next((found for one in media_types if (found := self._at(one, "schema"))), None)
        parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
        return None if schema is None else self._descend(schema, parts)

    def _descend(self, schema: Found, parts: Sequence[str]) -> Found:
        if not parts:
            return schema
        for part_of_schema in self._alternatives(schema, _REFERENCES_MAX):
            for step in (
                self._at(self._at(part_of_schema, "properties"), parts[0]),
                self._at(part_of_schema, "items") if parts[0].isdigit() else None,
                self._at(part_of_schema, "additionalProperties"),
            ):
                if step is not None:
                    return self._descend(step, parts[1:])
        return schema

    def _alternatives(self, schema: Found, depth: int) -> Iterator[Found]:
        yield schema
        if depth:
            for choice in _CHOICES:
                for one in self._items(self._at(schema, choice)):
                    yield from self._alternatives(one, depth - 1)

    def _at(self, found: Found | None, key: str) -> Found | None:
        """A member of a mapping, references followed."""
        return next((value for name, value in self._members(found) if name == key), None)

    def _members(self, found: Found | None) -> Iterator[tuple[str, Found]]:
        if found is not None and isinstance(found.value, yaml.MappingNode):
            for key, value in found.value.value:
                yield key.value, self._followed(Found(key, value))

    def _items(self, found: Found | None) -> Iterator[Found]:
        if found is not None and isinstance(found.value, yaml.SequenceNode):
            for value in found.value.value:
                yield self._followed(Found(value, value))

    def _followed(self, found: Found) -> Found:
        for _ in range(_REFERENCES_MAX):
            target = self._target(found)
            if target is None:
                return found
            found = target
        return found

    def _target(self, found: Found) -> Found | None:
        if not isinstance(found.value, yaml.MappingNode):
            return None
        for key, value in found.value.value:
            if key.value == "$ref" and isinstance(value, yaml.ScalarNode) and value.value.startswith("#/"):
                return self._raw(value.value[2:].split("/"))
        return None

    def _raw(self, parts: Sequence[str]) -> Found | None:
        target = self._root
        for part in parts:
            name = part.replace("~1", "/").replace("~0", "~")
            if not isinstance(target.value, yaml.MappingNode):
                return None
            pair = next((pair for pair in target.value.value if pair[0].value == name), None)
            if pair is None:
                return None
            target = Found(*pair)
        return target

    def _place(self, found: Found) -> Place:
        start, end = found.name.start_mark, found.name.end_mark
        if end.line > start.line:
            # The item of a list goes on for many lines; that it begins here is all that is meant.
            end = start
        return Place(
            self._shown_as,
            start.line + 1,
            start.column + 1,
            end.line + 1,
            max(end.column, start.column + 1) + 1,
        )


@cache
def shipped_places(document: str) -> DocumentPlaces | None:
    """Those of a document that comes with understudy, by file name; None when there is no such document."""
    path: Path = resource_folder("openapi") / document
    return DocumentPlaces(path.read_bytes(), f"openapi/{document}") if path.is_file() else None


def place_of(violation: Violation) -> Place | None:
    """Where the shipped documents say what a violation breaks."""
    # The name comes out of a file: it must not lead to another folder.
    if not violation.api.replace("-", "").replace("_", "").isalnum():
        return None
    places = shipped_places(f"{violation.api}.yaml")
    return None if places is None else places.of_violation(violation)
