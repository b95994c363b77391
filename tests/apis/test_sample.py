"""Made values: valid against their schemas, the same for the same seed in any process, and without the wall clock."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulator.apis.sample import SchemaSampler
from simulator.assemble import API_MODULES, load_apis, load_document
from simulator.web.schema import Validator
from simulator.web.service import to_json_schema_all

SEEDS = range(40)
START = "2030-01-01T00:00:00.000Z"


def document_of(name: str) -> dict[str, Any]:
    return load_document(load_apis((name,))[name])


def named(**schemas: Any) -> dict[str, Any]:
    """A document with these schemas."""
    return {"components": {"schemas": schemas}}


def ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def wrong_values(document: dict[str, Any], name: str, seeds: range = SEEDS) -> list[Any]:
    """Made values of a schema that are not valid, each with what is wrong."""
    sampler = SchemaSampler(document)
    validator = Validator(ref(name), {"schemas": to_json_schema_all(document)})
    made = [sampler.make(name, seed, "result", seed % 3) for seed in seeds]
    return [(value, validator.violation(value)) for value in made if not validator.accepts(value)]


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from texts_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from texts_in(part)


# ---- the documents ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", API_MODULES)
def test_a_value_can_be_made_for_every_named_schema_and_is_valid(name: str) -> None:
    document = document_of(name)
    wrong = {schema: wrong_values(document, schema)[:1] for schema in document["components"]["schemas"]}
    assert {schema: values for schema, values in wrong.items() if values} == {}


@pytest.mark.parametrize("name", API_MODULES)
def test_seeds_and_purposes_make_different_values(name: str) -> None:
    """Not for every schema (some allow one value only), but for some of each document."""
    document = document_of(name)
    sampler = SchemaSampler(document)
    schemas = list(document["components"]["schemas"])
    first = [sampler.make(schema, 1, "a") for schema in schemas]
    assert [sampler.make(schema, 2, "a") for schema in schemas] != first
    assert [sampler.make(schema, 1, "b") for schema in schemas] != first


@pytest.mark.parametrize("name", API_MODULES)
def test_the_same_seed_and_purpose_make_the_same_value_whatever_was_made_before(name: str) -> None:
    document = document_of(name)
    schemas = list(document["components"]["schemas"])
    one, other = SchemaSampler(document), SchemaSampler(document)
    forwards = {schema: one.make(schema, 7, "job", 1) for schema in schemas}
    backwards = {schema: other.make(schema, 7, "job", 1) for schema in reversed(schemas)}
    assert forwards == backwards


def test_another_process_makes_the_same_values() -> None:
    """Also with another hash seed and another time zone."""
    script = (
        "import json, sys\n"
        "from tests.apis.test_sample import everything\n"
        "sys.stdout.write(json.dumps(everything()))\n"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(elsewhere.stdout) == everything()


def everything() -> dict[str, Any]:
    """One value of every schema of every document, and a text."""
    made: dict[str, Any] = {}
    for name in API_MODULES:
        document = document_of(name)
        sampler = SchemaSampler(document)
        made[name] = {
            schema: sampler.make(schema, 7, "job", 1) for schema in document["components"]["schemas"]
        }
        made[name]["text"] = sampler.text(7, "log", lines=2)
    return made


def test_no_made_time_comes_from_the_wall_clock() -> None:
    texts = list(texts_in(everything()))
    assert START in texts
    times = [text for text in texts if re.search(r"\b(19|20)\d\d-\d\d", text)]
    assert [text for text in times if not text.startswith("2030-01-")] == []


# ---- schemas of all sorts ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer"},
        {"type": "integer", "minimum": 5, "maximum": 5},
        {"type": "integer", "minimum": -3, "maximum": -2},
        {"type": "integer", "maximum": -5},
        {"type": "integer", "minimum": -(2**63)},
        {"type": "integer", "minimum": 2**62, "maximum": 2**63 - 1},
        {"type": "integer", "minimum": 4, "exclusiveMinimum": True, "maximum": 6, "exclusiveMaximum": True},
        {"type": "integer", "minimum": 1.5, "maximum": 2.5},
        {"type": "number", "minimum": -1, "maximum": 1},
        {"type": "boolean"},
        {"type": "string"},
        {"type": "string", "maxLength": 3},
        {"type": "string", "minLength": 200},
        {"type": "string", "minLength": 5, "maxLength": 5},
        {"type": "string", "enum": ["a", None], "nullable": True},
        {"type": "string", "enum": [None], "nullable": True},
        {"type": "string", "format": "date-time"},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "uuid"},
        {"type": "string", "format": "uri"},
        {"type": "string", "format": "byte"},
        {"type": "string", "pattern": "^[0-9]{1,18}$"},
        {"type": "string", "pattern": r"^trn\.[0-9a-f]{32}$"},
        {"type": "string", "pattern": r"^\d+-[a-c_]*/x?[.]{2,}$"},
        {"type": "string", "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}$"},
        {"type": "string", "pattern": "^(one|two)$", "example": "two"},
        {"type": "string", "pattern": "^a.c$", "example": "abc"},
        {"type": "string", "pattern": "^[^/]+$", "example": "x"},
        {"type": "string", "pattern": r"^[\s\S]$", "example": "x"},
        {"type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4},
        {"type": "array", "items": {"type": "string"}, "maxItems": 0},
        {"type": "object"},
        {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
        {"properties": {"a": {"type": "integer"}}, "required": ["a"]},
        {},
        {"oneOf": [{"type": "integer"}, {"type": "string"}]},
        {"anyOf": [ref("Inner"), {"type": "string"}]},
        {"allOf": [ref("Inner")]},
        {
            "allOf": [
                ref("Inner"),
                {"type": "object", "required": ["b"], "properties": {"b": {"type": "integer"}}},
            ],
            "required": ["c"],
            "properties": {"c": {"type": "boolean"}},
        },
        # The same property in two parts must please both.
        {
            "allOf": [
                {"type": "object", "properties": {"deep": ref("Inner")}},
                {"type": "object", "properties": {"deep": {"type": "object", "required": ["more"]}}},
                {"type": "object", "properties": {"deep": {"properties": {"more": {"type": "integer"}}}}},
            ]
        },
        # An example of one part is no example of the whole.
        {
            "type": "object",
            "required": ["x"],
            "properties": {
                "x": {
                    "allOf": [
                        {"type": "object", "example": {"a": "1"}},
                        {"type": "object", "required": ["b"], "properties": {"b": {"type": "integer"}}},
                    ]
                }
            },
        },
    ],
)
def test_a_made_value_fits_its_schema(schema: dict[str, Any]) -> None:
    inner = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "maxLength": 2}}}
    assert wrong_values(named(Subject=schema, Inner=inner), "Subject") == []


def test_examples_and_defaults_inside_an_object_are_used_as_they_are() -> None:
    document = named(
        Subject={
            "type": "object",
            "example": {"size": "not this one"},
            "properties": {
                "size": {"type": "string", "example": "large"},
                "count": {"type": "integer", "default": 3},
                "tags": {"type": "array", "items": {"type": "string"}, "example": ["a"]},
            },
        }
    )
    assert SchemaSampler(document).make("Subject", 1) == {"size": "large", "count": 3, "tags": ["a"]}


def test_who_changes_a_made_value_does_not_change_the_document() -> None:
    tags = {"type": "array", "items": {"type": "string"}, "example": ["a"]}
    sampler = SchemaSampler(named(Subject={"type": "object", "properties": {"tags": tags}}))
    sampler.make("Subject", 1)["tags"].append("b")
    assert sampler.make("Subject", 1) == {"tags": ["a"]}


def test_every_value_of_an_enum_is_made_sometimes() -> None:
    sampler = SchemaSampler(named(Subject={"type": "string", "enum": ["a", "b", "c"]}))
    assert {sampler.make("Subject", seed) for seed in range(50)} == {"a", "b", "c"}


def test_an_unknown_schema_is_an_error() -> None:
    with pytest.raises(KeyError):
        SchemaSampler(named()).make("Subject", 1)


def test_a_pattern_that_is_too_rich_asks_for_an_example() -> None:
    sampler = SchemaSampler(named(Subject={"type": "string", "pattern": "^(a|b)$"}))
    with pytest.raises(ValueError, match="pattern of Subject; give it an example"):
        sampler.make("Subject", 1)


# ---- recursion --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {
            "type": "object",
            "required": ["kids"],
            "properties": {"kids": {"type": "array", "items": ref("Subject")}},
        },
        {"type": "object", "properties": {"left": ref("Subject"), "right": ref("Subject")}},
        {
            "type": "object",
            "required": ["next"],
            "nullable": True,
            "properties": {"next": ref("Subject")},
        },
        {
            "oneOf": [
                {
                    "type": "object",
                    "required": ["left", "right"],
                    "properties": {"left": ref("Subject"), "right": ref("Subject")},
                },
                {"type": "integer"},
            ]
        },
        {"allOf": [{"type": "object", "properties": {"self": ref("Subject")}}]},
        {"type": "array", "items": ref("Subject")},
    ],
)
def test_a_recursive_schema_comes_to_an_end(schema: dict[str, Any]) -> None:
    assert wrong_values(named(Subject=schema), "Subject", range(5)) == []


def test_a_schema_without_any_end_is_an_error_and_no_endless_loop() -> None:
    endless = {"type": "object", "required": ["next"], "properties": {"next": ref("Subject")}}
    with pytest.raises(ValueError, match="the schema of Subject has no end"):
        SchemaSampler(named(Subject=endless)).make("Subject", 1)


# ---- texts ------------------------------------------------------------------------------------------------------


def test_one_line_of_text_is_a_sentence_and_several_end_with_line_breaks() -> None:
    sampler = SchemaSampler(named())
    sentence = sampler.text(7, "message")
    assert sentence.endswith(".")
    assert "\n" not in sentence
    lines = sampler.text(7, "log", lines=3)
    assert len(lines.splitlines()) == 3
    assert lines.endswith(".\n")


def test_texts_depend_on_seed_and_purpose_alone() -> None:
    one, other = SchemaSampler(named()), SchemaSampler(named())
    other.text(1, "something else")
    assert one.text(7, "log", 1) == other.text(7, "log", 1)
    assert len({one.text(seed, "log", number) for seed in range(5) for number in range(5)}) == 25
