"""Variables in texts: what they are, what they stand for, and what is no variable."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.engine.command import Submit
from simulator.engine.fill import (
    VALUE_CHARACTERS_MAX,
    VARIABLES,
    VARIABLES_MAX,
    Template,
    UnknownVariable,
    filled_step,
    has_variables,
    template,
    text_of,
    values_at,
)
from simulator.engine.job import Failure, Job, State
from simulator.engine.script import Step
from tests.engine.parts import (
    HAPPY,
    failed,
    now,
    part,
    queued,
    retrying,
    running,
    submit,
    succeeded,
    world_of,
)
from tests.engine.parts import at as instant
from tests.engine.parts import book as book_of

REQUEST = {"inputs": {"message": "hello", "count": 3, "list": [1, {"a": None}], "none": None}, "a.b": True}
JOB = Job("job-9", 9, Submit("service", "sleep", REQUEST), HAPPY, REQUEST, 0, State.RUNNING, 0, attempt=2)
SEED = 7


def filled(written: str) -> str:
    made = template(written)
    assert isinstance(made, Template), "it has no variables"
    return made.filled(JOB, SEED)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("{job.id} is {job.kind}, attempt {job.attempt}", "job-9 is sleep, attempt 2"),
        ("{job.number}{world.seed}", "97"),
        ("say {request.inputs.message}!", "say hello!"),
        ("{request.inputs.count} {request.a.b} {request.inputs.none}", "3 true null"),
        ("{request.inputs.list}", '[1,{"a":null}]'),
        ("{request.inputs.list.1.a}", "null"),
        ("<{request.inputs.other}>", "<>"),
        ("<{request.inputs.list.7}>", "<>"),
        ("{{job.id}} {job.id} }}{{", "{job.id} job-9 }{"),
        ("{{{job.id}}}", "{job-9}"),
        ("{request.inputs.message}\n{request.inputs.message}", "hello\nhello"),
    ],
)
def test_a_variable_stands_for_its_value(written: str, text: str) -> None:
    assert filled(written) == text
    assert type(filled(written)) is str


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("", ""),
        ("100 %", "100 %"),
        ("{{}}", "{}"),
        ('{{"a": 1}}', '{"a": 1}'),
        ("$job.id %s \\", "$job.id %s \\"),
    ],
)
def test_a_text_without_variables_is_a_plain_text(written: str, text: str) -> None:
    made = template(written)
    assert made == text
    assert type(made) is str


@pytest.mark.parametrize(
    "name", ["", "job", "job.state", "Job.id", " job.id", "request", "request.", "job.id:>9", "0"]
)
def test_an_unknown_variable_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(UnknownVariable) as refusal:
        template(f"text {{{name}}}")
    assert refusal.value.name == name


@pytest.mark.parametrize(
    ("written", "brace"), [("a { b", "{"), ("a } b", "}"), ("{job.id", "{"), ("job.id}", "}")]
)
def test_a_brace_alone_is_refused(written: str, brace: str) -> None:
    with pytest.raises(ValueError, match=f"a {brace} stands alone; write {brace}{brace}"):
        template(written)


def test_a_path_has_its_limit() -> None:
    assert isinstance(template(f"{{request.{'x' * 1_000}}}"), Template)
    with pytest.raises(UnknownVariable):
        template(f"{{request.{'x' * 1_001}}}")


def test_a_text_and_its_values_have_limits() -> None:
    assert isinstance(template("{job.id}" * VARIABLES_MAX), Template)
    with pytest.raises(ValueError, match="at most 100 variables"):
        template("{job.id}" * (VARIABLES_MAX + 1))
    large = JOB._replace(request={"x": "y" * (VALUE_CHARACTERS_MAX + 1)})
    made = template("{request.x}{job.id}")
    assert isinstance(made, Template)
    assert made.filled(large, SEED) == "y" * VALUE_CHARACTERS_MAX + "job-9"


@given(text=st.text())
def test_whatever_is_written_with_doubled_braces_comes_out_as_it_was(text: str) -> None:
    doubled = text.replace("{", "{{").replace("}", "}}")
    assert template(doubled) == text
    assert filled(doubled + "{job.id}") == text + "job-9"


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{request.inputs.count}", 3),
        ("{request.inputs.none}", None),
        ("{request.inputs.list}", [1, {"a": None}]),
        ("{request.nothing}", ""),
        ("{job.number}", 9),
        (" {job.number}", " 9"),
        ("{job.number}{job.number}", "99"),
    ],
)
def test_a_value_that_is_one_variable_keeps_its_type(written: str, value: Any) -> None:
    step = succeeded(result={"list": [template(written)], "plain": 1}, has_variables=True)
    assert filled_step(step, JOB, SEED).result == {"list": [value], "plain": 1}


def test_all_texts_of_a_step_are_filled_and_the_rest_stays() -> None:
    number = template("{job.number}")
    step = Step(
        State.FAILED,
        message=number,
        failure=Failure(number, number, number),
        log=number,
        cause="here",
        no_result=True,
    )
    assert filled_step(step, JOB, SEED) == Step(
        State.FAILED, message="9", failure=Failure("9", "9", "9"), log="9", cause="here", no_result=True
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, False),
        ("text", False),
        ({"a": [1, "x", {"b": None}]}, False),
        (template("{job.id}"), True),
        ({"a": [1, {"b": template("{job.id}")}]}, True),
    ],
)
def test_variables_are_found_wherever_they_are(value: Any, expected: bool) -> None:
    assert has_variables(value) is expected


def test_every_variable_has_a_value() -> None:
    for name in VARIABLES:
        assert filled(f"<{{{name}}}>") != "<>"


def test_texts_are_filled_when_the_step_is_entered() -> None:
    story = part(
        queued(1_000, message=template("{request.name} waits"), has_variables=True),
        running(1_000, message=template("attempt {job.attempt}"), has_variables=True),
        retrying(1_000, message=template("attempt {job.attempt} was bad"), has_variables=True),
        running(1_000, message=template("attempt {job.attempt}"), has_variables=True),
        failed(failure=Failure(template("{request.name} is lost")), has_variables=True),
    )
    world = world_of(book_of(story))
    job = world.apply(submit(request={"name": "nightly"}))
    said = [job.message]
    for moment in (1_000, 2_000, 3_000):
        world.advance(instant(moment))
        said.append(now(world, job).message)
    assert said == ["nightly waits", "attempt 1", "attempt 1 was bad", "attempt 2"]
    world.advance(instant(4_000))
    messages = [failure.message for failure in now(world, job).failures]
    assert messages == ["attempt 1 was bad", "nightly is lost"]


def test_the_request_is_the_one_that_was_amended() -> None:
    amended = JOB._replace(request={"inputs": {"message": "other"}})
    made = template("{request.inputs.message}")
    assert isinstance(made, Template)
    assert made.filled(amended, SEED) == "other"


def test_values_and_texts_of_requests() -> None:
    assert list(values_at(REQUEST, "inputs.list.1.a")) == [None]
    assert list(values_at(REQUEST, "a.b")) == [True]
    assert text_of({"é": [1.5, True]}) == '{"é":[1.5,true]}'
