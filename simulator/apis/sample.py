"""Result values that fit a schema: made from the document with Faker, always the same for the same seed and purpose.

Times are never Faker's (they would depend on the wall clock); a `date-time` is the fixed beginning of virtual time. Faker is
imported when the first value is wanted, since that takes a quarter of a second and most servers never need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from math import ceil, floor
from typing import TYPE_CHECKING, Any

from simulator.apis.contract import iso
from simulator.engine.draw import draw_bytes, draw_uuid
from simulator.engine.world import START_MS

if TYPE_CHECKING:
    from faker import Faker

_DEPTH_MAX = 8
_CLASS = re.compile(r"\[([^\]]+)\]")
_ATOM = re.compile(
    r"(\[[^\]^\\][^\]\\]*\]|\\d|\\[^A-Za-z0-9]|[^\\\[\](){}.*+?|^$])(\{(\d+)(?:,\d*)?\}|[*+?])?"
)
"""A character, an escaped one, a digit or a class, and how often it comes: all that a plain pattern is made of."""


class SchemaSampler:
    """Makes values for the named schemas of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._faker: Faker | None = None

    def make(self, schema_name: str, seed: int, *purpose: str | int) -> Any:
        """A value valid for `#/components/schemas/<schema_name>`.

        Raises:
            KeyError: the document has no such schema.
            ValueError: no value can be made; the text says of what an example would help.
        """
        self._begin(seed, *purpose, schema_name)
        return self._value(self._document["components"]["schemas"][schema_name], schema_name, 0)

    def text(self, seed: int, *purpose: str | int, lines: int = 1) -> str:
        """Some lines of plausible prose, each ending with a newline when there are several."""
        faker = self._begin(seed, *purpose, "text")
        sentences = [faker.sentence() for _ in range(lines)]
        return sentences[0] if lines == 1 else "".join(f"{sentence}\n" for sentence in sentences)

    def _begin(self, seed: int, *purpose: str | int) -> Faker:
        if self._faker is None:
            from faker import Faker

            self._faker = Faker("en_US")
        self._faker.seed_instance(int.from_bytes(draw_bytes(seed, "sample", *purpose), "big"))
        return self._faker

    def _value(self, schema: Mapping[str, Any], name: str, depth: int) -> Any:
        while "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            schema = self._document["components"]["schemas"][name]
        for literal in ("example", "default"):
            if literal in schema and depth > 0:
                return deepcopy(schema[literal])
        if depth > _DEPTH_MAX:
            if schema.get("nullable"):
                return None
            if depth > 4 * _DEPTH_MAX:
                raise ValueError(f"the schema of {name} has no end; give it an example")
        if "enum" in schema:
            return self._pick([value for value in schema["enum"] if value is not None] or [None])
        if "allOf" in schema:
            return self._value(self._merged(schema), name, depth)
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                # The first choice, unless it is the one that led so deep.
                return self._value(schema[choice][-1 if depth > _DEPTH_MAX else 0], name, depth + 1)
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, name, depth)
            case "integer":
                return self._integer(schema)
            case "number":
                return float(self._integer(schema))
            case "boolean":
                return self._faker_now.boolean()
            case "string":
                return self._string(schema, name)
        return {} if "properties" not in schema else self._object(schema, depth)

    @property
    def _faker_now(self) -> Faker:
        assert self._faker is not None
        return self._faker

    def _pick(self, values: list[Any]) -> Any:
        return values[self._faker_now.random_int(0, len(values) - 1)]

    def _merged(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """All parts of an `allOf` (and what stands beside it) as one object schema."""
        merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
        apart = {"properties", "required"}
        if len(schema["allOf"]) > 1:
            # An example of one part is not one of the whole.
            apart |= {"example", "default"}
        for part in (*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}):
            while "$ref" in part:
                part = self._document["components"]["schemas"][part["$ref"].rpartition("/")[2]]
            if "allOf" in part:
                part = self._merged(part)
            merged |= {key: value for key, value in part.items() if key not in apart}
            for name, described in part.get("properties", {}).items():
                known = merged["properties"].get(name)
                merged["properties"][name] = {"allOf": [known, described]} if known else described
            merged["required"] = [*merged["required"], *part.get("required", ())]
        return merged

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            name: self._value(part, name, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or depth < _DEPTH_MAX - 4
        }

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        fewest = schema.get("minItems", 0)
        count = fewest
        if depth < _DEPTH_MAX:
            count = max(fewest, min(schema.get("maxItems", 2), 1 + self._faker_now.random_int(0, 1)))
        return [self._value(schema.get("items", {}), name, depth + 1) for _ in range(count)]

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low, high = schema.get("minimum"), schema.get("maximum")
        if low is not None:
            low = floor(low) + 1 if schema.get("exclusiveMinimum") else ceil(low)
        if high is not None:
            high = ceil(high) - 1 if schema.get("exclusiveMaximum") else floor(high)
        if low is None:
            low = 0 if high is None or high >= 0 else high - 1000
        if high is None:
            high = max(low, 0) + 1000
        return self._faker_now.random_int(low, min(high, low + 1_000_000))

    def _string(self, schema: Mapping[str, Any], name: str) -> str:
        faker = self._faker_now
        match schema.get("format"):
            case "date-time":
                return iso(START_MS)
            case "date":
                return iso(START_MS)[:10]
            case "uuid":
                return draw_uuid(faker.random_int(0, 2**31), "uuid")
            case "uri" | "url":
                return f"https://example.org/{faker.word()}/{faker.random_int(1, 9999)}"
            case "byte":
                return "c2ltdWxhdGVk"
        if "pattern" in schema:
            return self._matching(schema, name)
        text = faker.word() if "name" in name.lower() else faker.sentence(nb_words=4).rstrip(".")
        text = text[: schema.get("maxLength", len(text))]
        return text.ljust(schema.get("minLength", 0), "x")

    def _matching(self, schema: Mapping[str, Any], name: str) -> str:
        """A text for the plain patterns of our documents: characters and classes, each with a count.

        Raises:
            ValueError: the pattern is richer than that, and its schema has no example.
        """
        pattern: str = schema["pattern"]
        plain = pattern.removeprefix("^").removesuffix("$")
        atoms = list(_ATOM.finditer(plain))
        if "".join(atom[0] for atom in atoms) != plain:
            if "example" not in schema:
                raise ValueError(f"no text can be made for the pattern of {name}; give it an example")
            return str(schema["example"])
        text = ""
        for atom in atoms:
            times = {None: 1, "*": 1, "+": 2, "?": 1}.get(atom[2], int(atom[3] or 0))
            text += "".join(self._character(atom[1]) for _ in range(times))
        return text

    def _character(self, atom: str) -> str:
        if atom == r"\d":
            return str(self._faker_now.random_int(1, 9))
        found = _CLASS.fullmatch(atom)
        if found is None:
            return atom.removeprefix("\\")
        members = ""
        for first, last in re.findall(r"(.)(?:-(.))?", found[1]):
            members += "".join(map(chr, range(ord(first), ord(last or first) + 1)))
        return str(self._pick(list(members)))
