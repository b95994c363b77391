"""What all commands share: types of options, output for people and for machines, refusals.

What a server says may hold anything, as clients of it may: whatever could steer a terminal is written out before it is shown.
JSON is shown as it is, as JSON writes such characters out by itself.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import click

from simulator.runtime.timesource import TimeMode
from simulator.scenario.duration import parse_duration

Command = TypeVar("Command", bound=Callable[..., Any])
TIME_MODES = "real|frozen|poll|<N>x"
"""How the modes of time are shown where one is wanted."""
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s/?#@]+")


class TimeType(click.ParamType[TimeMode]):
    """How virtual time passes."""

    name = TIME_MODES

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TimeMode:
        """Read it, or say what could be read."""
        if isinstance(value, TimeMode):
            return value
        try:
            return TimeMode.parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


class DurationType(click.ParamType[int]):
    """A duration as scenarios write it, in milliseconds.

    Args:
        least_ms: shorter ones are refused.
    """

    name = "duration"

    def __init__(self, least_ms: int = 0) -> None:
        self._least_ms = least_ms

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say what could be read."""
        if isinstance(value, int):
            return value
        try:
            milliseconds = parse_duration(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)
        if milliseconds < self._least_ms:
            self.fail(f"{value!r} is too short; the least is {self._least_ms} ms", param, ctx)
        return milliseconds


class SecondsType(click.ParamType[int]):
    """Whole seconds, as a bare number or as a duration."""

    name = "seconds|duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it, or say what could be read."""
        if isinstance(value, int):
            return value
        text = value.strip()
        try:
            milliseconds = parse_duration(f"{text}s" if text.isascii() and text.isdigit() else text)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)
        if milliseconds % 1000:
            self.fail(f"{value!r} is no number of whole seconds", param, ctx)
        return milliseconds // 1000


class OriginType(click.ParamType[str]):
    """Where a page of a browser comes from, as its `Origin` header says it."""

    name = "origin"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Take it, or say what it would look like; one with a path would never fit."""
        text = str(value)
        if _ORIGIN.fullmatch(text) is None:
            self.fail(f"{text!r} is no origin; write it like http://localhost:3000", param, ctx)
        return text.lower()


def format_option(command: Command) -> Command:
    """The option `--format`, as the argument `form`."""
    choice = click.Choice(["text", "json"])
    return click.option("--format", "form", type=choice, default="text", show_default=True)(command)


def show(rows: Sequence[Mapping[str, Any]], form: str, hidden: Iterable[str] = ()) -> None:
    """Print rows as JSON, or as a table with a column for each member of the first one."""
    if form == "json":
        show_json(rows)
    elif rows:
        show_table(rows, [name for name in rows[0] if name not in hidden])


def show_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, indent=2))


def show_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Print a table of plain text that fits into a pipe; without rows only its headings. What a row lacks is a dash."""
    table = [[name.upper() for name in columns]]
    table += [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def show_lines(facts: Mapping[str, Any]) -> None:
    """Print facts one below the other, each with its name; those that are no text as JSON."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        click.echo(f"{name:<{width}}  {_cell(text)}".rstrip())


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else printable(" ".join(str(value).split())) or "-"


def printable(text: str, kept: str = "") -> str:
    """This text with every character written out that a terminal might obey rather than show.

    Args:
        kept: those that stay all the same, such as line breaks.
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in kept else ascii(character)[1:-1]
        for character in text
    )


def fail(message: str) -> NoReturn:
    """Say what is wrong and leave with exit code 2."""
    click.echo(f"understudy: {printable(message, kept=chr(10))}", err=True)
    sys.exit(2)
