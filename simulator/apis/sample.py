"""Result values that fit a schema: made from the document with Faker, always the same for the same seed and purpose.

Times are never Faker's (they would depend on the wall clock); a `date-time` is the fixed beginning of virtual time. Faker is
imported when the first value is wanted, since that takes a quarter of a second and most servers never need it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from simulator.apis.contract import iso
from simulator.engine.draw import draw_bytes, draw_uuid
from simulator.engine.world import START_MS

if TYPE_CHECKING:
    from faker import Faker

_DEPTH_MAX = 8
_CLASS = re.compile(r"\[([^\]]+)\]")
_PLAIN_PATTERN = re.compile(r"\^((?:\[[^\]]+\]|\\d|[A-Za-z0-9_.:/-])(?:\{\d+(?:,\d*)?\}|[*+?])?)+\$")
_ATOM = re.compile(r"(\[[^\]]+\]|\\d|\\.|[A-Za-z0-9_:/-])(\{(\d+)(?:,(\d*))?\}|[*+?])?")


class SchemaSampler:
    """Makes values for the named schemas of one document."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._faker: Faker | None = None

    def make(self, schema_name: str, seed: int, *purpose: str | int) -> Any:
        """A value valid for `#/components/schemas/<schema_name>`.

        Raises:
            KeyError: the document has no such schema.
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
                return schema[literal]
        if "enum" in schema:
            return self._pick([value for value in schema["enum"] if value is not None])
        if "allOf" in schema:
            return self._value(self._merged(schema), name, depth)
        for choice in ("oneOf", "anyOf"):
            if choice in schema:
                return self._value(schema[choice][0], name, depth)
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
        for part in (*schema["allOf"], {key: value for key, value in schema.items() if key != "allOf"}):
            while "$ref" in part:
                part = self._document["components"]["schemas"][part["$ref"].rpartition("/")[2]]
            if "allOf" in part:
                part = self._merged(part)
            merged |= {key: value for key, value in part.items() if key not in ("properties", "required")}
            merged["properties"] = {**merged["properties"], **part.get("properties", {})}
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
        if depth >= _DEPTH_MAX:
            return [self._value(schema["items"], name, depth + 1) for _ in range(fewest)]
        count = max(fewest, min(schema.get("maxItems", 2), 1 + self._faker_now.random_int(0, 1)))
        return [self._value(schema.get("items", {}), name, depth + 1) for _ in range(count)]

    def _integer(self, schema: Mapping[str, Any]) -> int:
        low = int(schema.get("minimum", 0))
        high = int(schema.get("maximum", max(low, 0) + 1000))
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
            return self._matching(schema["pattern"])
        text = faker.word() if "name" in name.lower() else faker.sentence(nb_words=4).rstrip(".")
        text = text[: schema.get("maxLength", len(text))]
        return text.ljust(schema.get("minLength", 0), "x")

    def _matching(self, pattern: str) -> str:
        """A text for the plain patterns of our documents: characters and classes, each with a count.

        Raises:
            ValueError: the pattern is not that plain; give the schema an `example`.
        """
        if not _PLAIN_PATTERN.fullmatch(pattern):
            raise ValueError(f"no text can be made for the pattern {pattern!r}; give its schema an example")
        text = ""
        for atom, count, low, _ in _ATOM.findall(pattern[1:-1]):
            times = {"": 1, "*": 1, "+": 2, "?": 1}.get(count, int(low or 0))
            text += "".join(self._character(atom) for _ in range(times))
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
