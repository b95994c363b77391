"""Schemas of OpenAPI 3.0 as validators: translated to JSON Schema once, compiled once, used on every call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jsonschema_rs
from jsonschema_rs import ValidationError, ValidationErrorKind

_NOT_FOR_VALIDATION = frozenset(
    {"example", "xml", "discriminator", "externalDocs", "deprecated", "description", "title"}
)
_OF_SCHEMAS = frozenset({"properties", "patternProperties"})
_MESSAGE_CHARACTERS_MAX = 1000


class Violation(NamedTuple):
    """One way in which a value breaks its schema."""

    pointer: str
    """JSON pointer into the value (RFC 6901)."""
    message: str


class Validator:
    """A compiled schema."""

    def __init__(self, schema: Mapping[str, Any], components: Mapping[str, Any]) -> None:
        self._validator = jsonschema_rs.Draft202012Validator(
            {**to_json_schema(schema), "components": components}, validate_formats=True
        )

    def accepts(self, value: Any) -> bool:
        """Whether the value is valid; what JSON cannot hold is not."""
        try:
            return bool(self._validator.is_valid(value))
        except ValueError:
            return False

    def violation(self, value: Any) -> Violation:
        """What is wrong, first of all, with a value that is not accepted; a missing member is pointed at where it should be.

        All errors of a large body would take many seconds to collect.
        """
        try:
            self._validator.validate(value)
        except ValidationError as error:
            missing = [error.kind.property] if isinstance(error.kind, ValidationErrorKind.Required) else []
            return Violation(_pointer([*error.instance_path, *missing]), _short(error.message))
        except ValueError as problem:
            return Violation("", str(problem))
        return Violation("", "is not valid")


def to_json_schema(schema: Any) -> Any:
    """An OpenAPI 3.0 schema object as JSON Schema 2020-12.

    Translated: `nullable` (also beside `enum`, `$ref` and `allOf`) and the boolean `exclusiveMinimum`/`exclusiveMaximum`.
    """
    if isinstance(schema, list):
        return [to_json_schema(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    translated: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _OF_SCHEMAS:
            translated[key] = {name: to_json_schema(part) for name, part in value.items()}
        elif key in ("enum", "default", "const", "required"):
            translated[key] = value
        elif key not in _NOT_FOR_VALIDATION and key != "nullable":
            translated[key] = to_json_schema(value)
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if translated.get(exclusive) is True:
            translated[exclusive] = translated.pop(bound)
        elif translated.get(exclusive) is False:
            del translated[exclusive]
    return _or_null(translated) if schema.get("nullable") is True else translated


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    if isinstance(schema.get("type"), str) and not schema.keys() & {"allOf", "anyOf", "oneOf", "not", "$ref"}:
        nullable = {**schema, "type": [schema["type"], "null"]}
        if "enum" in nullable and None not in nullable["enum"]:
            nullable["enum"] = [*nullable["enum"], None]
        return nullable
    return {"anyOf": [schema, {"type": "null"}]}


def _short(message: str) -> str:
    """A message without the middle of the value that it quotes, when that is long: the value may be a whole body."""
    if len(message) <= _MESSAGE_CHARACTERS_MAX:
        return message
    half = _MESSAGE_CHARACTERS_MAX // 2
    return f"{message[:half]} … {message[-half:]}"


def _pointer(path: list[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
