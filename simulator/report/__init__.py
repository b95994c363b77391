"""Reports of what a client's tests did: HTML for people, JUnit XML and SARIF for build servers, JSON for programs.

A run is read or put together (`model`), what it met is measured (`coverage`), and each format is written from both. Nothing here
needs a server; the APIs and their documents are read when the first report is made.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from typing import NamedTuple

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from simulator.apis.contract import Api
from simulator.assemble import abilities_of, declared_in, load_apis, load_document
from simulator.report.coverage import Coverage, measure
from simulator.report.html import as_html
from simulator.report.junit import as_junit, violation_text
from simulator.report.model import Run, RunError, Tested, merge, read_run, write_run
from simulator.report.sarif import as_sarif
from simulator.scenario.calls import Declared
from simulator.scenario.review import Ability

__all__ = [
    "FILES",
    "Run",
    "RunError",
    "Tested",
    "UnknownFormat",
    "coverage_of",
    "merge",
    "read_run",
    "read_runs",
    "summary",
    "write",
    "write_run",
]

FILES = {"html": "report.html", "junit": "junit.xml", "sarif": "understudy.sarif", "json": "run.json"}
"""Formats and the names of their files."""
SHOWN_MAX = 20
"""Lines of each kind in a summary."""


class UnknownFormat(ValueError):
    """There is no such format; the text says which there are."""


class _Known(NamedTuple):
    apis: dict[str, Api]
    declared: Declared
    abilities: dict[str, Ability]


@cache
def _known() -> _Known:
    apis = load_apis()
    documents = {name: load_document(api) for name, api in apis.items()}
    return _Known(apis, declared_in(documents, apis), abilities_of(documents, apis))


def coverage_of(run: Run, roles: Collection[str] | None = None) -> Coverage:
    """What the tests of a run met of what the APIs can show; see `simulator.report.coverage`.

    Args:
        roles: only these are looked at; None: all.
    """
    known = _known()
    return measure(run, known.apis, known.declared, known.abilities, roles=roles)


def write(
    run: Run,
    folder: Path,
    formats: Iterable[str] = ("html", "junit", "sarif", "json"),
    *,
    roles: Collection[str] | None = None,
) -> dict[str, Path]:
    """Write reports into a folder, which is made if it is not there; format → file.

    Args:
        roles: the coverage looks at these alone.

    Raises:
        UnknownFormat: there is no such format; nothing is written then.
    """
    wanted = list(dict.fromkeys(formats))
    for name in wanted:
        if name not in FILES:
            raise UnknownFormat(f"there is no report format {name!r}; there are: {', '.join(FILES)}")
    coverage = coverage_of(run, roles)
    folder.mkdir(parents=True, exist_ok=True)
    makers: dict[str, Callable[[], bytes]] = {
        "html": lambda: as_html(run, coverage, _known().declared),
        "junit": lambda: as_junit(run, coverage),
        "sarif": lambda: as_sarif(run),
    }
    written = {}
    for name in wanted:
        path = folder / FILES[name]
        if name == "json":
            write_run(run, path, summary=dict(run.verdicts), coverage=coverage.as_json())
        else:
            path.write_bytes(makers[name]())
        written[name] = path
    return written


def read_runs(paths: Iterable[Path]) -> Run:
    """The tests of several files as one run.

    Of a folder all its `*.json` are read. A JSON report that was written beside its parts holds the same tests again, so it is
    read only where it is alone.

    Raises:
        RunError: one of them is no run, or a folder has none.
    """
    runs = []
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise RunError(f"{path}: has no *.json; give the folder or the files that the test kit wrote")
        parts = [file for file in files if file.name != FILES["json"]]
        runs += [read_run(file) for file in parts or files]
    return merge(runs)


def summary(run: Run, coverage: Coverage) -> RenderableType:
    """The report for a terminal: outcomes, what did not pass and why, coverage and what was never met."""
    verdicts = run.verdicts
    counts = ", ".join(f"{count} {outcome}" for outcome, count in verdicts.items() if count)
    parts: list[RenderableType] = [
        Text(f"{len(run.tests)} tests: {counts or 'none'} in {run.seconds:.1f} s", style="bold")
    ]
    broken = [(name, tested) for name, tested in run.with_names() if tested.verdict in ("failed", "error")]
    for name, tested in broken[:SHOWN_MAX]:
        parts.append(_text(f"{tested.verdict}  {name}", "red"))
        texts = dict.fromkeys(violation_text(violation) for violation in tested.undeclared)
        parts += [_text(f"        {text}") for text in list(texts)[:SHOWN_MAX]]
        if tested.replay:
            parts.append(_text(f"        {tested.replay}", "dim"))
    if len(broken) > SHOWN_MAX:
        parts.append(Text(f"… and {len(broken) - SHOWN_MAX} more that did not pass"))
    parts.append(_coverage_table(coverage))
    never = [f"{api.api}: {goal}" for api in coverage.apis for goal in api.never]
    parts += [_text(line, "yellow") for line in never[:SHOWN_MAX]]
    if len(never) > SHOWN_MAX:
        parts.append(Text(f"… and {len(never) - SHOWN_MAX} more; the HTML report has all"))
    return Group(*parts)


def _text(text: str, style: str = "") -> Text:
    """A line in which names and messages cannot give commands to the terminal."""
    return Text("".join(one if one.isprintable() else "\ufffd" for one in text), style=style)


def _coverage_table(coverage: Coverage) -> Table:
    table = Table("API", "calls", "met", "of", "coverage")
    for column in table.columns[1:]:
        column.justify = "right"
    for api in coverage.apis:
        met = len(api.goals) - len(api.never)
        table.add_row(api.api, str(api.calls), str(met), str(len(api.goals)), f"{api.percent:.1f} %")
    table.add_section()
    table.add_row(
        "all",
        str(sum(api.calls for api in coverage.apis)),
        str(coverage.met),
        str(coverage.possible),
        f"{coverage.percent:.1f} %",
        style="bold",
    )
    return table
