"""A difference is shown where it is, with what was there and what is there now."""

from __future__ import annotations

from dataclasses import replace

from simulator.capsule.compare import Difference, differences
from simulator.capsule.model import Answer
from tests.capsule.test_model import call, capsule


def first(recorded: Answer, now: Answer) -> Difference:
    return next(differences(capsule(call(answer=recorded)), capsule(call(answer=now))))


JSON = Answer(200, (("content-type", "application/json"),), b'{"a":[1,{"b/c":"x"}],"d":2}')


def test_equal_capsules_have_no_difference() -> None:
    assert [*differences(capsule(call()), capsule(call()))] == []


def test_a_value_of_json_is_named_by_its_pointer() -> None:
    found = first(JSON, replace(JSON, body=JSON.body.replace(b'"x"', b'"y"')))
    assert (found.what, found.place, found.recorded, found.now) == ("body", "/a/1/b~1c", '"x"', '"y"')
    assert '-      "b/c": "x"' in found.around
    assert '+      "b/c": "y"' in found.around


def test_what_is_missing_or_new_in_json_is_named() -> None:
    found = first(JSON, replace(JSON, body=b'{"a":[1],"d":2}'))
    assert (found.place, found.now) == ("/a/1", "nothing")
    found = first(JSON, replace(JSON, body=JSON.body[:-1] + b',"e":true}'))
    assert (found.place, found.recorded, found.now) == ("/e", "nothing", "true")


def test_true_is_not_one() -> None:
    found = first(replace(JSON, body=b"[1]"), replace(JSON, body=b"[true]"))
    assert (found.place, found.recorded, found.now) == ("/0", "1", "true")


def test_json_that_is_only_written_otherwise_differs_at_a_byte() -> None:
    found = first(JSON, replace(JSON, body=JSON.body.replace(b":2", b": 2")))
    assert found.place == "byte 25"


def test_other_bodies_differ_at_a_byte() -> None:
    found = first(replace(JSON, body=b"ab\xff\x01"), replace(JSON, body=b"ab\xff"))
    assert (found.place, found.recorded, found.now) == ("byte 3", "'ab\\xff\\x01'", "'ab\\xff'")


def test_a_missing_answer_is_told_with_its_reason() -> None:
    found = first(JSON, Answer(0, (), b"", is_broken=True))
    assert (found.what, found.recorded, found.now) == (
        "status",
        "200",
        "no answer (the connection was broken)",
    )
    found = first(JSON, replace(JSON, is_left=True))
    assert (found.what, found.now) == ("connection", "the client went away")


def test_headers_are_compared_with_their_order() -> None:
    two = replace(JSON, headers=(("a", "1"), ("b", "2")))
    found = first(two, replace(two, headers=(("b", "2"), ("a", "1"))))
    assert (found.what, found.recorded, found.now) == ("header a", "a: 1", "b: 2")
    found = first(two, replace(two, headers=(("a", "1"),)))
    assert (found.what, found.now) == ("header b", "none")


def test_it_says_which_call_it_was() -> None:
    found = first(JSON, replace(JSON, status=500))
    assert str(found).startswith("call 1 (step 1), GET /ogc/jobs at 2030-01-01T00:00:00.000Z: status differs")
    assert found.as_json()["what"] == "status"


def test_steps_that_are_missing_differ() -> None:
    assert len([*differences(capsule(call(), call(2)), capsule(call()))]) == 1
