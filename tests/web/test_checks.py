"""The contract of one operation: parameters become typed values, bodies and replies are held against their schemas."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.apis.contract import Kind, Problem, Upload
from simulator.web.checks import SLASH, Parameters, Replies, RequestBody, readable
from simulator.web.schema import Validator


def compiled(schema: Any) -> Validator:
    return Validator(schema, {})


def parameters(*definitions: dict[str, Any]) -> Parameters:
    return Parameters([{"in": "query"} | one for one in definitions], compiled)


def read(
    one: Parameters,
    query: str = "",
    path: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
) -> dict[str, Any]:
    return one.read(path or {}, query.encode(), headers or {})


def refused(one: Parameters, query: str = "", **more: Any) -> Problem:
    with pytest.raises(Problem) as problem:
        read(one, query, **more)
    assert problem.value.kind is Kind.BAD_PARAMETER
    return problem.value


# ---- parameters -------------------------------------------------------------------------------------------------

N: dict[str, Any] = {"name": "n", "schema": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}}


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "7", 7),
        ({"type": "integer"}, "-7", -7),
        ({"type": "integer"}, "%2B7", 7),
        ({"type": "integer"}, "007", 7),
        ({"type": "integer"}, "9" * 40, int("9" * 40)),
        ({"type": "number"}, "1.5e3", 1500.0),
        ({"type": "number"}, ".5", 0.5),
        ({"type": "number"}, "-7", -7.0),
        ({"type": "boolean"}, "true", True),
        ({"type": "boolean"}, "False", False),
        ({"type": "string"}, "7", "7"),
        ({"type": "string"}, "", ""),
        ({"type": "string"}, "a+b%20c%2Bd%26e", "a b c+d&e"),
        ({"type": "string"}, "%C3%A4", "ä"),
        ({"type": "string"}, "%FF", "�"),
        ({"type": "string"}, "%00%0A", "\0\n"),
        ({"type": "string", "enum": ["a", "b"]}, "b", "b"),
        (
            {"type": "string", "format": "uuid"},
            "6f0c1f0a-3d5e-4d5b-9a0e-2f5f0b7c9a11",
            "6f0c1f0a-3d5e-4d5b-9a0e-2f5f0b7c9a11",
        ),
    ],
)
def test_a_text_becomes_the_value_that_the_schema_means(
    schema: dict[str, Any], text: str, value: Any
) -> None:
    read_values = read(parameters({"name": "x", "schema": schema}), f"x={text}")
    assert read_values == {"x": value}
    assert type(read_values["x"]) is type(value)


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer"}, ""),
        ({"type": "integer"}, "1.0"),
        ({"type": "integer"}, "1_000"),
        ({"type": "integer"}, "%20 7"),
        ({"type": "integer"}, "%D9%A3"),
        ({"type": "integer"}, "true"),
        ({"type": "integer"}, "9" * 4000),
        ({"type": "integer"}, "9" * 5000),
        ({"type": "integer", "maximum": 5}, "9" * 40),
        ({"type": "number"}, "nan"),
        ({"type": "number"}, "Infinity"),
        ({"type": "number"}, "1e400"),
        ({"type": "boolean"}, "1"),
        ({"type": "boolean"}, ""),
        ({"type": "string", "enum": ["a"]}, "A"),
        ({"type": "string", "minLength": 1}, ""),
        ({"type": "string", "pattern": "^[0-9]+$"}, "7%0A"),
    ],
)
def test_any_other_text_is_refused_with_the_name_of_the_parameter(schema: dict[str, Any], text: str) -> None:
    problem = refused(parameters({"name": "x", "schema": schema}), f"x={text}")
    assert (problem.where, problem.pointer) == ("query", "x")
    assert problem.detail.startswith("query parameter x: ")
    assert len(problem.detail) < 2000


def test_an_absent_parameter_has_its_default_or_is_missing() -> None:
    one = parameters(
        {"name": "n", "schema": {"type": "integer", "default": 10}},
        {"name": "q", "schema": {"type": "string"}},
    )
    assert read(one) == {"n": 10}
    assert read(one, "other=1") == {"n": 10}
    assert read(one, "q=&n=1") == {"n": 1, "q": ""}


@pytest.mark.parametrize("query", ["", "other=1"])
def test_a_required_parameter_is_asked_for(query: str) -> None:
    problem = refused(parameters({"name": "q", "required": True, "schema": {"type": "string"}}), query)
    assert problem.detail == "query parameter q is required"
    assert problem.pointer == "q"


def test_of_a_repeated_parameter_the_last_one_counts() -> None:
    assert read(parameters(N), "n=1&n=2") == {"n": 2}
    refused(parameters(N), "n=1&n=x")


def test_unknown_parameters_are_ignored() -> None:
    assert read(parameters(N), "x=1&n=2&&=&y&%FF=%00;a=b") == {"n": 2}


@pytest.mark.parametrize(("count", "is_fine"), [(1000, True), (1001, False), (100_000, False)])
def test_more_than_a_thousand_parameters_are_too_many(count: int, is_fine: bool) -> None:
    query = "&".join(["a=1"] * (count - 1) + ["n=2"])
    if is_fine:
        assert read(parameters(N), query) == {"n": 2}
    else:
        assert "1000" in refused(parameters(N), query).detail


WORDS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "integer"}, "maxItems": 3}


@pytest.mark.parametrize(
    ("definition", "query", "value"),
    [
        ({"schema": WORDS, "explode": True}, "x=a&x=b,c", ["a", "b,c"]),
        ({"schema": WORDS, "explode": True}, "x=a", ["a"]),
        ({"schema": WORDS, "explode": False, "style": "form"}, "x=a,b", ["a", "b"]),
        ({"schema": WORDS, "explode": False, "style": "pipeDelimited"}, "x=a%7Cb", ["a", "b"]),
        ({"schema": NUMBERS, "explode": True}, "x=1&x=-2", [1, -2]),
        ({"schema": NUMBERS, "explode": False, "style": "form"}, "x=1,2", [1, 2]),
    ],
)
def test_an_array_is_read_in_its_style(definition: dict[str, Any], query: str, value: list[Any]) -> None:
    one = parameters({"name": "x"} | definition, N)
    assert read(one, query) == {"x": value}
    assert read(one, f"n=1&{query}") == {"x": value, "n": 1}


@pytest.mark.parametrize("query", ["x=1&x=b", "x=1&x=2&x=3&x=4", "x="])
def test_each_item_of_an_array_is_checked(query: str) -> None:
    assert refused(parameters({"name": "x", "schema": NUMBERS, "explode": True}), query).pointer == "x"


def test_a_path_parameter_keeps_its_slashes_and_its_hyphens() -> None:
    path_id = {"name": "run-id", "in": "path", "required": True, "schema": {"type": "string"}}
    assert read(parameters(path_id), path={"run_id": f"a{SLASH}b"}) == {"run-id": "a/b"}


def test_a_path_parameter_that_routing_has_converted_is_checked_as_well() -> None:
    one = parameters(N | {"in": "path", "required": True})
    assert read(one, path={"n": 7}) == {"n": 7}
    for number in (-1, 2**31, int("9" * 40), int("9" * 4000)):
        assert refused(one, path={"n": number}).where == "path"


def test_a_header_is_found_whatever_the_case_of_its_documented_name() -> None:
    one = parameters({"name": "X-Count", "in": "header", "schema": {"type": "integer"}})
    assert read(one, headers={"x-count": "7"}) == {"X-Count": 7}
    assert read(one) == {}
    assert refused(one, headers={"x-count": "x"}).where == "header"


def test_a_header_may_be_required_or_have_a_default() -> None:
    header = {"name": "Prefer", "in": "header", "schema": {"type": "string"}}
    assert refused(parameters(header | {"required": True})).detail == "header parameter Prefer is required"
    with_default = parameters(header | {"schema": {"type": "string", "default": "wait"}})
    assert read(with_default) == {"Prefer": "wait"}
    assert read(with_default, headers={"prefer": ""}) == {"Prefer": ""}


def test_a_path_can_be_read_by_people() -> None:
    assert readable(f"/a{SLASH}b/c") == "/a%2Fb/c"


# ---- bodies -----------------------------------------------------------------------------------------------------

OBJECT = {"type": "object", "required": ["log"], "properties": {"log": {"type": "string"}}}


def request_body(*media_types: str, schema: Any = OBJECT) -> RequestBody:
    return RequestBody({"content": {name: {"schema": schema} for name in media_types}}, compiled)


@pytest.mark.parametrize(
    ("declared", "content_type", "media_type"),
    [
        (["application/json"], "application/json", "application/json"),
        (["application/json"], "APPLICATION/JSON;charset=UTF-8", "application/json"),
        (["Application/JSON"], "application/json", "application/json"),
        (["text/json", "application/json"], None, "text/json"),
        (["text/json", "application/json"], "", "text/json"),
        (["application/*+json"], "application/*+json", "application/*+json"),
        (["application/*+json"], "application/vnd.acme+json; v=1", "application/*+json"),
        (
            ["application/*+json", "application/vnd.acme+json"],
            "application/vnd.acme+json",
            "application/vnd.acme+json",
        ),
        (["*/*"], "image/png", "*/*"),
    ],
)
def test_a_content_type_falls_under_a_declared_media_type(
    declared: list[str], content_type: str | None, media_type: str
) -> None:
    assert request_body(*declared).media_type_for(content_type) == media_type


@pytest.mark.parametrize(
    ("declared", "content_type"),
    [
        ("application/json", "application/xml"),
        ("application/json", "application/jsonx"),
        ("application/json", "json"),
        ("application/json", ";"),
        ("application/*+json", "application/json"),
        ("application/*+json", "applicationXvnd+json"),
        ("application/*+json", "application/vnd+jsonx"),
        ("text/json", "application/json"),
    ],
)
def test_any_other_content_type_is_refused_and_told_what_is_taken(declared: str, content_type: str) -> None:
    with pytest.raises(Problem) as problem:
        request_body(declared).media_type_for(content_type)
    assert problem.value.kind is Kind.UNSUPPORTED_MEDIA_TYPE
    assert declared in problem.value.detail


def test_a_body_is_held_against_the_schema_of_its_media_type() -> None:
    one = RequestBody(
        {"content": {"application/json": {"schema": OBJECT}, "text/plain": {"schema": {"type": "string"}}}},
        compiled,
    )
    one.check({"log": "x"}, "application/json")
    one.check("x", "text/plain")
    with pytest.raises(Problem) as problem:
        one.check({"log": 1}, "application/json")
    assert problem.value.kind is Kind.BAD_BODY
    assert problem.value.pointer == "/log"
    assert problem.value.detail.startswith("body/log: ")


def test_a_media_type_without_a_schema_takes_anything() -> None:
    one = RequestBody({"content": {"application/json": {}}}, compiled)
    for value in (None, 1, {"a": []}):
        one.check(value, "application/json")


def test_a_file_part_and_a_field_part_are_both_welcome() -> None:
    one = request_body("multipart/form-data")
    one.check({"log": "text"}, "multipart/form-data")
    one.check({"log": Upload(b"\xff", "job.log")}, "multipart/form-data")
    with pytest.raises(Problem) as problem:
        one.check({}, "multipart/form-data")
    assert problem.value.pointer == "/log"


# ---- replies ----------------------------------------------------------------------------------------------------

REPLIES = Replies(
    {
        "200": {
            "content": {
                "application/json": {"schema": OBJECT},
                "Text/Plain": {"schema": {"type": "string", "pattern": "^ok"}},
            },
            "headers": {"Location": {"required": True}, "X-Hint": {}},
        },
        "204": {},
        "4XX": {"content": {"application/json": {"schema": {"required": ["error"]}}}},
        "404": {"content": {"application/problem+json": {}}},
    },
    compiled,
)
LOCATION = {"location": "/x"}


def test_media_types_of_successes_are_what_is_offered() -> None:
    assert REPLIES.media_types == ["application/json", "text/plain"]


@pytest.mark.parametrize(
    ("status", "media_type", "value", "headers"),
    [
        (200, "application/json", {"log": "x"}, LOCATION),
        (200, "application/json", {"log": "x"}, {"Location": "/x", "Date": "now"}),
        (200, "text/plain", "ok then", LOCATION),
        (204, None, None, {}),
        (400, "application/json", {"error": 1}, {}),
        (404, "application/problem+json", "anything", {}),
    ],
)
def test_a_reply_as_documented_breaks_nothing(
    status: int, media_type: str | None, value: Any, headers: Any
) -> None:
    assert REPLIES.violation(status, media_type, value, headers) is None


@pytest.mark.parametrize(
    ("status", "media_type", "value", "headers", "message"),
    [
        (201, "application/json", {"log": "x"}, {}, "status 201 is not declared"),
        (500, "application/json", {"error": 1}, {}, "status 500 is not declared"),
        (200, "application/json", {"log": "x"}, {"X-Hint": "1"}, "header location is required and missing"),
        (200, "application/xml", "<ok/>", LOCATION, "content type application/xml is not declared"),
        (200, None, None, LOCATION, "the declared body is missing"),
        (200, "text/plain", "no", LOCATION, "does not match"),
        (200, "application/json", {"log": 1}, LOCATION, "not of type"),
        (204, "application/json", {}, {}, "content type application/json is not declared"),
        (404, "application/json", {"error": 1}, {}, "content type application/json is not declared"),
        (403, "application/json", {}, {}, "required property"),
    ],
)
def test_a_reply_that_breaks_the_document_is_seen(
    status: int, media_type: str | None, value: Any, headers: dict[str, str], message: str
) -> None:
    violation = REPLIES.violation(status, media_type, value, headers)
    assert violation is not None
    assert message in violation.message


def test_the_default_response_is_for_every_status_that_is_not_declared() -> None:
    one = Replies({"200": {}, "default": {"content": {"application/json": {}}}}, compiled)
    assert one.violation(503, "application/json", {}, {}) is None
    assert one.violation(200, "application/json", {}, {}) is not None
