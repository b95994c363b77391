"""Broken files, one mistake each: every problem at its place and in words that help; and whatever else comes, no traceback.

A file in `broken/` ends with what is expected of it, in the order of the file:

    # expect: LINE:COLUMN: path: how the message begins

An expected warning ends with `(warning)`. Notes about what an API cannot express are not looked at.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.assemble import abilities_of, declared_in, load_apis, load_document, settings_of
from simulator.cli import main
from simulator.resources import shipped_scenarios
from simulator.scenario.read import check_scenario
from simulator.scenario.review import review

BROKEN = Path(__file__).with_name("broken")
FILES_MIN = 60
APIS = load_apis()
DOCUMENTS = {name: load_document(api) for name, api in APIS.items()}
DECLARED = declared_in(DOCUMENTS, APIS)
ABILITIES = abilities_of(DOCUMENTS, APIS)


def expected_of(path: Path) -> list[str]:
    lines = path.read_text(encoding="latin-1").encode("latin-1").decode("utf-8", "replace").splitlines()
    return [line.removeprefix("# expect: ") for line in lines if line.startswith("# expect: ")]


def told(problem: dict[str, Any]) -> str:
    """As `expect` writes it."""
    where = f"{problem['line']}:{problem['column']}"
    severity = " (warning)" if problem["severity"] == "warning" else ""
    return ": ".join(filter(None, [where, problem["path"], problem["message"]])) + severity


def fits(expected: str, problem: dict[str, Any]) -> bool:
    beginning = expected.removesuffix(" (warning)")
    is_warning = beginning != expected
    return told(problem).startswith(beginning) and is_warning == (problem["severity"] == "warning")


def test_every_broken_file_is_told_what_is_wrong_and_where() -> None:
    files = sorted(BROKEN.glob("*.yaml"))
    assert len(files) >= FILES_MIN
    result = CliRunner().invoke(main, ["check", str(BROKEN), "--format", "json"])
    assert result.exit_code == 1
    assert result.exception is None or isinstance(result.exception, SystemExit)
    found = defaultdict(list)
    for problem in json.loads(result.stdout):
        if problem["severity"] != "note":
            found[Path(problem["file"]).name].append(problem)
    wrong = []
    for path in files:
        expected, problems = expected_of(path), found[path.name]
        assert expected, f"{path.name} expects nothing"
        matches = len(expected) == len(problems) and all(map(fits, expected, problems))
        if not matches:
            wrong.append(f"{path.name}: expected {expected}, told {[told(one) for one in problems]}")
    assert wrong == []


# ---- whatever comes -------------------------------------------------------------------------------------------------


def check(source: str | Path) -> None:
    """As the command does it; anything but problems is a failure."""
    scenario, problems = check_scenario(
        source, apis=settings_of(APIS), shown_as="s.yaml", declared=DECLARED, find=shipped_scenarios().get
    )
    assert (scenario is None) == any(problem.severity == "error" for problem in problems)
    if scenario is not None:
        more = review(source, scenario, shown_as="s.yaml", abilities=ABILITIES, declared=DECLARED)
        assert all(problem.severity != "error" and problem.line >= 1 for problem in more)


TEXTS = [path.read_text() for path in shipped_scenarios().values()] + [
    text for path in sorted(BROKEN.glob("*.yaml")) if (text := path.read_bytes().decode("utf-8", "replace"))
]
WHOLE = """\
workers: {titan: external, ica: external}
jobs:
  - when: {api: [ica, jbpm], kind: "a*", number: 1..3, request.a.b: true}
    script:
      - delayed: 1s
      - {queued: 1s..2s, message: waits}
      - {running: 3 polls, progress: 5..50}
      - failed: {error: {code: a, message: b, details: c}, log: d}
    on_cancel: {after: 1s, then: {failed: {error: b}}}
  - when: {api: ica, kind: abc, number: 2, request.a.b: true, chance: 0.5}
    attempts: [[running: 1s, failed: b], [running: 1s, succeeded: {result: {a: 1}}]]
    on_cancel: refused
  - script: [cancelled]
calls:
  - when: {role: [status, list], api: ica, after: 5s, header.a: b}
    fault: progress_backwards
  - when: {role: status, api: ica, after: 6s, header.a: b, query.c: d, call: 2..4, every: 3}
    answer: {status: 503}
  - rate_limit: {calls: 5, per: 10s}
"""
MODEST = settings(max_examples=150, deadline=None)


@MODEST
@given(st.text(max_size=300))
def test_any_text_is_checked_without_a_traceback(text: str) -> None:
    check(text)


@MODEST
@given(data=st.binary(max_size=300))
def test_any_bytes_are_checked_without_a_traceback(data: bytes, tmp_path_factory: Any) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.yaml"
    file.write_bytes(data)
    check(file)


@MODEST
@given(
    text=st.sampled_from([WHOLE, *TEXTS]),
    edits=st.lists(
        st.tuples(st.sampled_from(["delete", "double", "swap"]), st.integers(0, 99), st.integers(0, 99)),
        max_size=6,
    ),
)
def test_lines_may_be_lost_doubled_or_swapped(text: str, edits: list[tuple[str, int, int]]) -> None:
    lines = text.splitlines()
    for edit, one, other in edits:
        if lines:
            here, there = one % len(lines), other % len(lines)
            if edit == "delete":
                del lines[here]
            elif edit == "double":
                lines.insert(there, lines[here])
            else:
                lines[here], lines[there] = lines[there], lines[here]
    check("\n".join(lines))
