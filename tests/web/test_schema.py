"""Schemas of OpenAPI 3.0 as validators: what is translated, what is asserted, and how a violation is told."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.web.schema import Validator, to_json_schema


def validator(schema: dict[str, Any], **components: Any) -> Validator:
    return Validator(schema, {"schemas": {name: to_json_schema(part) for name, part in components.items()}})


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "nullable": True}, ["", None], [1]),
        ({"type": "string", "nullable": False}, [""], [None]),
        ({"type": "string", "enum": ["a"], "nullable": True}, ["a", None], ["b"]),
        ({"type": "string", "enum": ["a", None], "nullable": True}, ["a", None], ["b"]),
        ({"enum": ["a"], "nullable": True}, ["a", None], ["b"]),
        ({"allOf": [{"type": "integer"}], "nullable": True}, [1, None], ["1"]),
        ({"type": "object", "oneOf": [{"required": ["a"]}], "nullable": True}, [{"a": 1}, None], [{}]),
        ({"$ref": "#/components/schemas/Named", "nullable": True}, [1, None], ["1"]),
        ({"type": "array", "items": {"type": "string", "nullable": True}}, [[None, ""]], [None, [1]]),
        ({"properties": {"a": {"type": "string", "nullable": True}}}, [{"a": None}, {}], [{"a": 1}]),
        ({"additionalProperties": {"type": "integer", "nullable": True}}, [{"a": None}], [{"a": ""}]),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": True}, [2], [1]),
        ({"type": "integer", "minimum": 1, "exclusiveMinimum": False}, [1], [0]),
        ({"type": "integer", "maximum": 1, "exclusiveMaximum": True}, [0], [1]),
        ({"type": "integer", "maximum": 1, "exclusiveMaximum": False}, [1], [2]),
        ({"type": "string", "format": "date-time"}, ["2030-01-01T00:00:00Z"], ["2030-01-01", "soon"]),
        ({"type": "string", "format": "uuid"}, ["6f0c1f0a-3d5e-4d5b-9a0e-2f5f0b7c9a11"], ["6f0c"]),
        ({"type": "integer", "format": "int32"}, [2**40], [1.5, True]),
        ({"type": "string", "pattern": "^a$"}, ["a"], ["a\n", "aa"]),
    ],
)
def test_a_schema_of_openapi_means_the_same_as_a_validator(
    schema: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    compiled = validator(schema, Named={"type": "integer"})
    assert [value for value in good if not compiled.accepts(value)] == []
    assert [value for value in bad if compiled.accepts(value)] == []


def test_properties_may_be_called_like_keywords() -> None:
    schema = {
        "type": "object",
        "properties": {
            name: {"type": "string"} for name in ("nullable", "example", "enum", "required", "xml")
        },
        "required": ["example"],
        "example": {"example": 1},
    }
    compiled = validator(schema)
    assert compiled.accepts({"example": "x", "enum": "y", "nullable": "z"})
    assert not compiled.accepts({"example": 1})
    assert not compiled.accepts({"example": "x", "xml": 1})
    assert not compiled.accepts({})


def test_a_literal_is_not_translated() -> None:
    literal = {"nullable": True, "example": 1, "minimum": 1, "exclusiveMinimum": True}
    assert to_json_schema({"enum": [literal], "default": literal}) == {"enum": [literal], "default": literal}


def test_a_recursive_schema_is_compiled() -> None:
    tree = {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    }
    compiled = validator({"$ref": "#/components/schemas/Tree"}, Tree=tree)
    assert compiled.accepts({"kids": [{"kids": []}, {}]})
    assert compiled.violation({"kids": [{"kids": [1]}]}).pointer == "/kids/0/kids/0"


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"a": [{"b": 1}]}, "/a/0/b"),
        ({"a": [{}]}, "/a/0/b"),
        ({"a/b~c": 1}, "/a~1b~0c"),
        ([], ""),
    ],
)
def test_a_violation_points_at_the_place(value: Any, pointer: str) -> None:
    named = {"type": "object", "required": ["b"], "properties": {"b": {"type": "string"}}}
    compiled = validator(
        {
            "type": "object",
            "properties": {"a": {"type": "array", "items": named}, "a/b~c": {"type": "string"}},
        }
    )
    assert not compiled.accepts(value)
    assert compiled.violation(value).pointer == pointer


def test_a_message_does_not_repeat_a_whole_body() -> None:
    message = validator({"type": "object"}).violation("x" * 1_000_000).message
    assert len(message) < 2_000
    assert message.startswith('"xxx')
    assert message.endswith('is not of type "object"')


def test_of_very_many_errors_one_is_told() -> None:
    compiled = validator({"type": "array", "items": {"required": ["image"], "type": "object"}})
    violation = compiled.violation([{}] * 1_000_000)
    assert violation.pointer == "/0/image"


def test_a_value_that_nests_a_thousand_levels_is_no_crash() -> None:
    value: Any = "the innermost"
    for _ in range(1_000):
        value = [value]
    tree = {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}
    compiled = validator({"$ref": "#/components/schemas/Tree"}, Tree=tree)
    assert not compiled.accepts(value)
    assert compiled.violation(value).pointer == "/0" * 1_000


@pytest.mark.parametrize("value", [{1: 2}, "\udc2f"], ids=["a key that is no text", "a lone surrogate"])
def test_what_json_cannot_hold_is_not_valid(value: Any) -> None:
    compiled = validator({})
    assert not compiled.accepts(value)
    assert compiled.violation(value).message


@pytest.mark.parametrize("value", [10**400, float("nan"), float("inf"), -float("inf"), 2**64, 1e300])
def test_numbers_beyond_all_bounds_are_no_crash(value: Any) -> None:
    compiled = validator({"type": "integer", "maximum": 10})
    assert compiled.accepts(value) is False
    assert compiled.violation(value).message
