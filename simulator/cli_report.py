"""`understudy report`: reports from what test runs left behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from simulator.cli_parts import fail, format_option


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the reports into this folder.",
)
@click.option(
    "--only",
    "formats",
    multiple=True,
    metavar="FORMAT",
    help="html, junit, sarif or json; several times. All when nothing is said.",
)
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="ROLE",
    help="The coverage looks at this role alone; several times.",
)
@click.option(
    "--fail-under",
    type=click.FloatRange(0, 100),
    metavar="PERCENT",
    help="Exit code 1 when less than this is covered.",
)
@format_option
def report(
    paths: tuple[Path, ...],
    folder: Path | None,
    formats: tuple[str, ...],
    roles: tuple[str, ...],
    fail_under: float | None,
    form: str,
) -> None:
    """Put runs of tests together: what failed, which documents were broken, what of the APIs was met.

    Each PATH is a run.json that pytest wrote with --understudy-report, or a folder of such files. Exit code 1 when a test did
    not pass, a client broke a document, or too little is covered.
    """
    from rich.console import Console

    from simulator.report import FILES, RunError, UnknownFormat, coverage_of, read_runs, summary, write

    try:
        run = read_runs(paths)
        written = write(run, folder, formats or FILES, roles=roles or None) if folder is not None else {}
    except (RunError, UnknownFormat) as problem:
        fail(str(problem))
    except OSError as problem:
        fail(f"{folder}: cannot be written: {problem.strerror or problem}")
    coverage = coverage_of(run, roles or None)
    is_enough = fail_under is None or coverage.percent >= fail_under
    if form == "json":
        told = {
            "summary": dict(run.verdicts),
            "coverage": coverage.as_json(),
            "files": {name: str(path) for name, path in written.items()},
        }
        click.echo(json.dumps(told, indent=2))
    else:
        Console(highlight=False).print(summary(run, coverage))
        for path in written.values():
            click.echo(f"written: {path}")
    if not is_enough:
        click.echo(f"understudy: {coverage.percent:.1f} % is less than --fail-under {fail_under:g}", err=True)
    sys.exit(0 if is_enough and not (run.verdicts["failed"] or run.verdicts["error"]) else 1)
