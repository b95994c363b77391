"""YAML text as nodes: what is read, what is refused and where, whatever the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.scenario.nodes import BYTES_MAX, DEPTH_MAX, VALUES_MAX, Notes, Problem, read_nodes


def json_of(source: str | Path) -> tuple[Any, list[str]]:
    """The value of a text and what is wrong with it."""
    notes = Notes("x")
    root = read_nodes(source, notes)
    return (None if root is None else root.json()), list(map(str, notes.problems))


def test_a_problem_prints_its_place_and_path() -> None:
    assert str(Problem("a.yaml", 3, 7, "jobs[0]", "is odd")) == "a.yaml:3:7: jobs[0]: is odd"
    assert str(Problem("a.yaml", 1, 1, "", "is empty")) == "a.yaml:1:1: is empty"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[null, ~, Null, NULL, {a: }]", [None, None, None, None, {"a": None}]),
        ("[true, True, FALSE]", [True, True, False]),
        (
            "[yes, no, on, off, y, 2030-01-01, 1:30, 1_000]",
            ["yes", "no", "on", "off", "y", "2030-01-01", "1:30", "1_000"],
        ),
        ("[12, -3, +4, 007, 0x1f, 0o17]", [12, -3, 4, 7, 31, 15]),
        ("[1.5, -.5, 2e3, 1.]", [1.5, -0.5, 2000.0, 1.0]),
        ("['12', \"true\", '', null]", ["12", "true", "", None]),
        ("[0..60, 2s..5s, 1.2.3]", ["0..60", "2s..5s", "1.2.3"]),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: |\n  one\n  two\n", {"a": "one\ntwo\n"}),
        ('"\\ud83d\\ude00 \\u00e9"', "😀 é"),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
        ("\ufeffa: 1", {"a": 1}),
        ("18446744073709551615", 18446744073709551615),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: Any) -> None:
    assert json_of(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "1:1: is empty; a scenario needs at least `jobs:`"),
        ("# nothing\n", "1:1: is empty; a scenario needs at least `jobs:`"),
        ("a: 1\n---\nb: 2", "2:1: a second document begins here; a scenario is one document"),
        ("a:\n\t- b", "2:1: while scanning for the next token, found character '\\t' that cannot start any token"),
        ("a: b: c", "1:5: mapping values are not allowed here"),
        ("a: [1", "1:6: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'"),
        ("a: *b", "1:4: found undefined alias 'b'"),
        ("a: !foo 1", "1:4: tags like !foo have no place here"),
        ("a: ! 1", "1:4: tags like ! have no place here"),
        ("- !!python/object/apply:os.system [ls]", "1:3: tags like !!python/object/apply:os.system have no place here"),
        ("a: 1\nb: 2\na: 3", "3:1: key 'a' is written twice, first in line 1"),
        ("{a: {b: 1, b: 2}}", "1:12: a: key 'b' is written twice, first in line 1"),
        ("? [a]\n: 1", "1:3: a key must be a word, not a list"),
        ("{a: {5: 1}}", '1:6: a: keys of JSON are texts; put it in quotes: "5"'),
        ("a: .inf", "1:4: a: '.inf' is no number that JSON can write"),
        ("a: 1e999", "1:4: a: '1e999' is no number that JSON can write"),
        ("a: 18446744073709551616", "1:4: a: '18446744073709551616' does not fit into 64 bits"),
        ("a: " + "9" * 5000, "1:4: a: '" + "9" * 60 + "…' does not fit into 64 bits"),
        ('a: "\\ud800"', "1:4: a: holds half a surrogate pair, which is no character"),
        ("a:\n  b\x07", "2:4: holds a character that YAML does not allow: U+0007"),
        ("a: \ud800", "1:4: holds a character that YAML does not allow: U+D800"),
        ('a: "\\UFFFFFFFF"', "1:7: a character or number here is beyond what YAML can write"),
        ("%YAML " + "1" * 5000 + ".1\n--- a", "1:7: a character or number here is beyond what YAML can write"),
        ("[" * 100_000, f"1:{DEPTH_MAX + 1}: is nested deeper than {DEPTH_MAX} levels"),
        ("a: &x [*x]", f"1:4: is nested deeper than {DEPTH_MAX} levels once its aliases are written out"),
        ("x" * (BYTES_MAX + 1), "1:1: is larger than 1024 KiB, the limit for a scenario"),
        ("é" * (BYTES_MAX // 2 + 1), "1:1: is larger than 1024 KiB, the limit for a scenario"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(text: str, problem: str) -> None:
    assert json_of(text)[1] == [f"x:{problem}"]


def test_the_rest_of_a_text_with_a_tag_is_read_all_the_same() -> None:
    assert json_of("a: !!int 5\nb: !!str 6\nc: !x 'd'\nd: .nan")[1] == [
        "x:1:4: tags like !!int have no place here",
        "x:2:4: tags like !!str have no place here",
        "x:3:4: tags like !x have no place here",
        "x:4:4: d: '.nan' is no number that JSON can write",
    ]
    assert json_of("[!!int 5, !!str 6, !x '7']")[0] == [5, 6, "7"]


def test_a_few_aliases_cannot_grow_into_a_billion_values() -> None:
    lines = ["a0: &a0 [lol, lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    [problem] = json_of("\n".join(lines))[1]
    assert f"there are more than {VALUES_MAX} values once all aliases are written out" in problem


def test_a_long_list_stops_at_the_limit() -> None:
    assert json_of("- a\n" * (VALUES_MAX - 1)) == (["a"] * (VALUES_MAX - 1), [])
    assert json_of("- a\n" * VALUES_MAX)[1] == [f"x:{VALUES_MAX}:3: there are more than {VALUES_MAX} values"]


def test_nesting_up_to_the_limit_is_read() -> None:
    assert json_of("[" * (DEPTH_MAX - 1) + "1" + "]" * (DEPTH_MAX - 1))[1] == []


def test_odd_keys_are_quoted_and_shortened_in_paths() -> None:
    assert json_of("{'a b': .nan}")[1] == ["x:1:9: ['a b']: '.nan' is no number that JSON can write"]
    [problem] = json_of("? " + "k" * 200 + "\n: .nan")[1]
    assert problem.startswith("x:2:3: ['" + "k" * 60 + "…']: ")


def test_a_file_that_is_not_utf_8_is_refused_at_its_first_foreign_byte(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("jobs: []\ndescription: é".encode("latin-1"))
    assert json_of(file)[1] == ["x:2:14: is not UTF-8: byte 0xe9"]


def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert json_of(tmp_path / "absent.yaml")[1] == ["x:1:1: cannot be read: No such file or directory"]
    assert json_of(tmp_path)[1] == ["x:1:1: cannot be read: Is a directory"]
    assert json_of(Path("a\0b"))[1] == ["x:1:1: cannot be read: embedded null byte"]


def test_a_file_with_a_byte_order_mark_and_windows_line_ends_is_read(tmp_path: Path) -> None:
    file = tmp_path / "windows.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: .nan\r\n")
    assert json_of(file) == ({"a": 1, "b": None}, ["x:2:4: b: '.nan' is no number that JSON can write"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.é", max_size=3), inner, max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_json_is_yaml_and_means_the_same(value: Any) -> None:
    for ascii_only in (True, False):
        assert json_of(json.dumps(value, ensure_ascii=ascii_only)) == (value, [])
