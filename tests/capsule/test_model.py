"""The file of a capsule: what is written is read again, and what cannot be read is refused with its place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.capsule.model import (
    ActionStep,
    Advance,
    Answer,
    CallStep,
    Capsule,
    Play,
    Script,
    Serving,
    Steering,
    Unreadable,
    as_value,
    read_capsule,
    to_yaml,
    turns_of,
)
from simulator.engine.job import Failure, State
from simulator.runtime.timesource import TimeMode

SERVING = Serving(("ogc",), False, 5_000, None, None, 1_000, 1_000, (), (("ogc", "ab" * 32),))
START_MS = 1_893_456_000_000


def call(number: int = 1, **more: Any) -> CallStep:
    facts: dict[str, Any] = {
        "number": number,
        "at_ms": START_MS,
        "answered_ms": START_MS,
        "waits": (),
        "turns": (),
        "is_late": False,
        "method": "GET",
        "path": "/ogc/jobs",
        "headers": (("host", "localhost"),),
        "body": b"",
        "answer": Answer(200, (("content-type", "application/json"),), b'{"jobs":[]}'),
    }
    return CallStep(**facts | more)


def capsule(*steps: Any, **more: Any) -> Capsule:
    facts: dict[str, Any] = {
        "version": "0.0.0",
        "gaps": (),
        "serving": SERVING,
        "world": "default",
        "seed": 1,
        "mode": TimeMode(0),
        "start_ms": START_MS,
        "scripts": (Script("inline", (("inline", "jobs:\n  - script: [succeeded]\n"),)),),
        "steps": steps,
    }
    return Capsule(**facts | more)


WHOLE = capsule(
    call(1, body=b"\xff\x00", answer=Answer(0, (), b"", is_broken=True)),
    ActionStep(START_MS, Advance(START_MS + 5_000)),
    ActionStep(START_MS + 5_000, TimeMode(60)),
    ActionStep(START_MS + 5_000, Play(1)),
    ActionStep(START_MS + 5_000, Steering("hold", "ogc", "7")),
    ActionStep(
        START_MS + 5_000,
        Steering("force", "ogc", "7", State.FAILED, Failure("gone", "code", "more"), 40, {"a": [1]}),
    ),
    call(3, waits=(START_MS + 5_000,), turns=(10, 11), answered_ms=START_MS + 9_000, is_late=True),
    call(2, answer=Answer(200, (("content-length", "9"),), b"half", is_left=True)),
    gaps=("something",),
)


def test_what_is_written_is_read_again() -> None:
    assert read_capsule(to_yaml(WHOLE)) == WHOLE
    assert read_capsule(to_yaml(WHOLE).encode()) == WHOLE


def test_a_capsule_may_be_json() -> None:
    assert read_capsule(orjson.dumps(as_value(WHOLE))) == WHOLE
    assert read_capsule(orjson.dumps(as_value(WHOLE), option=orjson.OPT_INDENT_2)) == WHOLE


TEXTS = st.one_of(
    st.text(),
    st.text("ab \n\r\t:#-'\"|>\\{}[]&*!%@`\x00\x07\x85\xa0\u2028\ufeff\U0001f600é"),
    st.sampled_from(
        ["2030-01-01", "null", "~", "1e3", "0x1", "<<", "=", "yes", "\n", " \n a", "a\n \n", "|\n  b"]
    ),
)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.binary(max_size=20), st.text(st.characters(max_codepoint=255), max_size=20))
def test_every_text_and_every_byte_comes_back(text: str, body: bytes, header: str) -> None:
    said = text.encode("utf-8", "replace")
    told = capsule(
        call(body=said, headers=(("x", header), ("x", "2")), answer=Answer(200, (), body)),
        scripts=(Script("inline", (("inline", said.decode()),)),),
    )
    assert read_capsule(to_yaml(told)) == told


def test_a_scenario_of_several_lines_is_a_block_that_people_can_read() -> None:
    assert "    text: |\n      jobs:\n        - script: [succeeded]\n" in to_yaml(capsule())


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("capsule: 1", "capsule: 2", "line 1: capsule: format 2 is not known here"),
        ("capsule: 1\n", "", "this is no capsule"),
        ("seed: 1\n", "seed: one\n", "line 7: seed: must be a whole number"),
        ("seed: 1\n", "", "'seed' is missing"),
        ("time: frozen", "time: slow", "'slow' is not a way of time"),
        ("world: default", "world: No Name", "cannot be the name of a world"),
        ("start: '2030-01-01T00:00:00.000Z'", "start: soon", "'soon' is no instant"),
        ("path: /ogc/jobs", "path: ogc", "steps[0].request.path: must begin with a slash"),
        ("status: 200", "status: 2000", "is no status of HTTP"),
        ("seed: 1\n", "seed: [1\n", "line "),
        ("understudy: 0.0.0", "understudy: &a [*a]", "aliases"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(old: str, new: str, told: str) -> None:
    text = to_yaml(capsule(call()))
    assert old in text
    with pytest.raises(Unreadable) as refused:
        read_capsule(text.replace(old, new, 1))
    assert told in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff", "", "[]", "a: b: c", "{", "\x00", "{" * 100_000, "- " * 100_000])
def test_what_is_no_capsule_at_all_is_refused(data: bytes | str) -> None:
    with pytest.raises(Unreadable):
        read_capsule(data)


def test_times_without_quotes_are_read_too() -> None:
    text = to_yaml(capsule(call()))
    assert read_capsule(text.replace("'", "", 2)) == read_capsule(text)
    assert yaml.safe_load(text.replace("'", "", 2)) != yaml.safe_load(text)


def test_calls_that_overlap_take_turns() -> None:
    first = call(2, waits=(START_MS,), turns=(4, 5))
    assert [(turn.place, turn.number) for turn in turns_of([first, call(1), call(3)])] == [
        *((0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (2, 0), (2, 1)),
    ]


@pytest.mark.parametrize(
    "steps",
    [
        [call(1, waits=(START_MS,))],
        [call(1, turns=(7,))],
        [call(1, turns=(1,))],
        [call(1, waits=(START_MS,), turns=(3, 2))],
        [call(1, turns=(3,)), call(2, turns=(3,))],
    ],
)
def test_turns_that_do_not_fit_together_are_refused(steps: list[CallStep]) -> None:
    with pytest.raises(ValueError, match="turn"):
        turns_of(steps)
    with pytest.raises(Unreadable):
        read_capsule(to_yaml(capsule(*steps)))


def test_a_file_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.capsule.model.BYTES_MAX", 100)
    with pytest.raises(Unreadable, match="the limit for a capsule"):
        read_capsule(to_yaml(capsule()))


def test_equal_histories_give_equal_files() -> None:
    assert to_yaml(WHOLE) == to_yaml(replace(WHOLE))
