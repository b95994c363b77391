"""Conversations that a tester can read and write, `tests/stories/*.txt`, played against a server with frozen time.

A paragraph is an exchange: the request line, header lines, a body in JSON, the expected status, and the expected body, of
which everything written must be there. `<name>` stands for any value when it is first seen and for that value from then on. A
line `advance 5s` lets time pass; a line with `#` in front is a remark.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from simulator.assemble import API_MODULES
from tests.kit import Kit

STORIES = sorted(Path(__file__).with_name("stories").glob("*.txt"))
_NAME = re.compile(r"<(\w+)>")


class Story:
    """One conversation and what was learned in it."""

    def __init__(self) -> None:
        self.kit = Kit()
        self.known: dict[str, str] = {}

    def play(self, paragraph: list[str]) -> None:
        if paragraph[0].startswith("advance "):
            self.kit.advance(paragraph[0].removeprefix("advance "))
            return
        method, path = self._filled(paragraph[0]).split(" ", 1)
        place = next(index for index, line in enumerate(paragraph) if re.fullmatch(r"\d{3}", line))
        headers = dict(line.split(": ", 1) for line in paragraph[1:place] if re.match(r"[A-Za-z-]+: ", line))
        sent = [line for line in paragraph[1:place] if line[0] in "{["]
        body = json.loads(self._filled(sent[0])) if sent else None
        answer = self.kit.request(method, path, json=body, headers=headers)
        assert answer.status == int(paragraph[place]), f"{method} {path}: {answer.text}"
        for line in paragraph[place + 1 :]:
            self._compare(json.loads(line), answer.json(), f"{method} {path}")

    def _filled(self, text: str) -> str:
        return _NAME.sub(lambda found: self.known[found[1]], text)

    def _compare(self, expected: Any, seen: Any, where: str) -> None:
        """Everything expected is there; lists have the same length."""
        if isinstance(expected, dict):
            for key, value in expected.items():
                assert key in seen, f"{where}: no {key} in {seen}"
                self._compare(value, seen[key], f"{where} {key}")
        elif isinstance(expected, list):
            assert len(expected) == len(seen), f"{where}: {seen}"
            for one, other in zip(expected, seen, strict=True):
                self._compare(one, other, where)
        elif isinstance(expected, str) and (name := _NAME.fullmatch(expected)):
            assert str(seen) == self.known.setdefault(name[1], str(seen)), where
        else:
            assert seen == expected, where


def paragraphs(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    blocks = re.split(r"\n\s*\n", "\n".join(lines))
    return [
        [line.strip() for line in block.splitlines() if line.strip()] for block in blocks if block.strip()
    ]


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_a_story_goes_as_written(path: Path) -> None:
    story = Story()
    for paragraph in paragraphs(path.read_text()):
        story.play(paragraph)


def test_a_story_that_expects_something_else_fails() -> None:
    story = Story()
    with pytest.raises(AssertionError):
        story.play(["GET /titan/v1/jobs", "200", '{"jobs": [{"id": "<job>"}]}'])
    with pytest.raises(AssertionError):
        story.play(["GET /titan/v1/jobs", "404"])


def test_every_api_has_a_story() -> None:
    assert {path.stem for path in STORIES} >= set(API_MODULES)
