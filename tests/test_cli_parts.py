"""What all commands share, without a command."""

from __future__ import annotations

import json

import click
import pytest

from simulator.cli_parts import (
    DurationType,
    OriginType,
    SecondsType,
    fail,
    printable,
    show,
    show_lines,
    show_table,
)


def test_a_table_of_nothing_is_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([], ["name", "seed"])
    assert capsys.readouterr().out == "NAME  SEED\n"
    show([], "text")
    assert capsys.readouterr().out == ""
    show([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_column_is_as_wide_as_its_widest_cell(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "a", "held": True, "path": None}, {"name": "long", "held": False, "path": "x\n y"}]
    show(rows, "text", hidden=("seed",))
    assert capsys.readouterr().out.splitlines() == ["NAME  HELD  PATH", "a     yes   -", "long  no    x y"]


def test_nothing_that_steers_a_terminal_gets_into_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    show_table([{"name": "\x1b[2Ja\x07\x9b\u202eb"}], ["name"])
    show_lines({"name": "\x1b]0;owned\x07", "value": ["\u2028"]})
    shown = capsys.readouterr().out
    assert "\\x1b[2Ja\\x07\\x9b\\u202eb" in shown
    assert all(character == "\n" or character.isprintable() for character in shown)


def test_what_is_kept_of_a_text_stays_and_letters_of_any_script_do() -> None:
    assert printable("größe 東京") == "größe 東京"
    assert printable("a\tb\nc\r\0", kept="\n\t") == "a\tb\nc\\r\\x00"


def test_a_failure_says_so_on_stderr_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        fail("one\ntwo \x1b[31m")
    assert left.value.code == 2
    assert capsys.readouterr().err == "understudy: one\ntwo \\x1b[31m\n"


def test_durations_seconds_and_origins_are_read_or_refused() -> None:
    assert DurationType().convert("1m30s", None, None) == 90_000
    assert [SecondsType().convert(text, None, None) for text in ("5", "2m", " 0 ")] == [5, 120, 0]
    assert OriginType().convert("HTTP://Localhost:3000", None, None) == "http://localhost:3000"
    for kind, text in (
        (DurationType(), "5"),
        (DurationType(least_ms=1), "0s"),
        (SecondsType(), "1500ms"),
        (SecondsType(), "٣"),
        (OriginType(), "*"),
        (OriginType(), "http://a/b"),
    ):
        with pytest.raises(click.BadParameter):
            kind.convert(text, None, None)
