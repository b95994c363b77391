"""`understudy conform`: does a service keep to its document? The asking itself is `simulator.conform`."""

from __future__ import annotations

import re
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import click

from simulator.cli_parts import fail, format_option, printable, show_json, show_table

if TYPE_CHECKING:
    from simulator.conform import PhaseResult, Plan, Remote, Result, Target

PHASES = ("examples", "coverage", "fuzzing", "stateful")
CONTROL = "control"
CONNECT_SECONDS = 5.0
SHOWN_CHARACTERS = 1_000
"""So much of a message is shown to people; machines get all of it."""
_RATE = re.compile(r"[1-9][0-9]*/[smhd]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*")


@click.command()
@click.option("--api", "names", multiple=True, metavar="NAME", help="Only this API; may be repeated.")
@click.option("--url", metavar="URL", help="Ask this service, and not a server made here.")
@click.option("--token", envvar="UNDERSTUDY_CONFORM_TOKEN", help="Credentials: a token, or user:password.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request.")
@click.option("--phases", metavar="PHASE,…", help=f"Only these of {', '.join(PHASES)}.")
@click.option("--max-examples", type=click.IntRange(1, 100_000), default=25, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="The same cases again.")
@click.option("--scenario", metavar="NAME|FILE", help="What the server made here plays (happy).")
@click.option("--rate-limit", metavar="N/s", help="At most so many requests: 10/s, 100/m.")
@click.option(
    "--timeout", type=click.FloatRange(0.1, 600), default=10.0, show_default=True, metavar="SECONDS"
)
@click.option("--report", metavar="junit=FILE", help="Write a report for machines as well.")
@click.option("--yes", is_flag=True, help="Really send all this to a host that is not this one.")
@format_option
def conform(
    names: Sequence[str],
    url: str | None,
    token: str | None,
    headers: Sequence[str],
    phases: str | None,
    max_examples: int,
    seed: int,
    scenario: str | None,
    rate_limit: str | None,
    timeout: float,
    report: str | None,
    yes: bool,
    form: str,
) -> None:
    """Check that a service keeps to the API's document, in four phases: examples, coverage, fuzzing, stateful.

    Without --url a server is assembled in this process. With --url the requests go there, and they are REAL: jobs are
    submitted, cancelled and removed. It is the base URL of one API; without a path, the document's own is added.

    Exit codes: 0 it conforms, 1 it does not, 2 usage, input, or nobody answers.
    """
    from simulator import conform as asking

    junit = _report_file(report)
    plan = asking.Plan(phases=_phases(phases), examples_max=max_examples, seed=seed)
    apis = _apis(names)
    if not asking.is_installed():
        fail(
            "conform needs Schemathesis, which is not installed; "
            f"pip install 'understudy[conform]' (or {asking.REQUIREMENT})"
        )
    if url is None:
        for option, value in (("--token", token), ("--header", headers), ("--rate-limit", rate_limit)):
            if value:
                fail(f"{option} belongs to --url; a server made here needs none")
        target: Target = _served(scenario or "happy", apis)
    else:
        if scenario is not None:
            fail("--scenario is for a server made here; start yours with the scenario that you want at --url")
        target = _remote(url, apis, token, headers, rate_limit, timeout, yes)
    results = _run(apis, target, plan, form)
    if junit is not None:
        _write_junit(junit, results)
    if form == "json":
        show_json([_as_json(result) for result in results])
    else:
        _show(results)
    sys.exit(0 if all(result.is_fine for result in results) else 1)


# ---- what was asked for ---------------------------------------------------------------------------------------------


def _report_file(report: str | None) -> Path | None:
    if report is None:
        return None
    kind, _, file = report.partition("=")
    if kind != "junit" or not file:
        fail(f"--report {report!r} is not possible; write --report junit=FILE")
    path = Path(file)
    if not path.parent.is_dir():
        fail(f"--report: there is no folder {str(path.parent)!r}")
    return path


def _phases(written: str | None) -> tuple[str, ...]:
    if written is None:
        return PHASES
    wanted = [word.strip() for word in written.split(",") if word.strip()]
    unknown = [word for word in wanted if word not in PHASES]
    if unknown or not wanted:
        fail(
            f"--phases {written!r}: there is no phase {(unknown or [''])[0]!r}; there are {', '.join(PHASES)}"
        )
    return tuple(phase for phase in PHASES if phase in wanted)


def _apis(names: Sequence[str]) -> list[str]:
    from simulator.assemble import UsageError, load_apis

    try:
        known = load_apis([name for name in names if name != CONTROL])
    except UsageError as problem:
        fail(f"{problem}, {CONTROL}")
    if not names:
        return list(known)
    return [name for name in (*known, CONTROL) if name in names]


def _served(scenario: str, apis: Sequence[str]) -> Target:
    from simulator.assemble import UsageError
    from simulator.conform import Served
    from simulator.scenario.read import ScenarioError

    try:
        return Served(scenario, apis=apis)
    except UsageError as problem:
        fail(str(problem))
    except ScenarioError as problem:
        fail("\n".join(map(str, problem.problems)))


def _remote(
    url: str,
    apis: Sequence[str],
    token: str | None,
    headers: Sequence[str],
    rate_limit: str | None,
    timeout: float,
    yes: bool,
) -> Remote:
    from simulator.conform import Remote, base_path_of, document_of

    if len(apis) != 1:
        fail("--url is the service of one API; say which by --api NAME")
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as problem:
        fail(f"--url {url!r}: {problem}")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        fail(f"--url {url!r} is no base URL; write it like http://127.0.0.1:4010/{apis[0]}")
    if rate_limit is not None and not _RATE.fullmatch(rate_limit):
        fail(f"--rate-limit {rate_limit!r} is no rate; write it like 10/s or 100/m")
    if not yes and not _is_here(parts.hostname):
        fail(
            f"this would send many real submits, cancels and removals to {parts.hostname}, which is not this "
            "machine; if that is what you want, add --yes (and perhaps --rate-limit 5/s)"
        )
    try:
        socket.create_connection((parts.hostname, port), timeout=min(timeout, CONNECT_SECONDS)).close()
    except OSError as problem:
        fail(f"nobody answers at {parts.hostname}:{port}: {problem.strerror or problem}")
    base = url.rstrip("/")
    if not parts.path.strip("/"):
        base += base_path_of(document_of(apis[0]))
    return Remote(base, token, dict(_header(text) for text in headers), rate_limit, timeout)


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _header(text: str) -> tuple[str, str]:
    found = _HEADER.fullmatch(text)
    if found is None or not found[2].isprintable() or not found[2].isascii():
        fail(f"--header {text!r} is no header; write it like 'X-Tenant: lab'")
    return found[1], found[2]


# ---- the way there --------------------------------------------------------------------------------------------------


def _run(apis: Sequence[str], target: Target, plan: Plan, form: str) -> list[Result]:
    from rich.console import Console

    from simulator.conform import examine

    console = Console()
    if form == "json" or not console.is_terminal:
        return [examine(name, target, plan, None if form == "json" else _plainly()) for name in apis]
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    with Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[cases]} calls, {task.fields[findings]} findings"),
        TimeElapsedColumn(),
        console=console,
    ) as bars:
        return [examine(name, target, plan, _on(bars)) for name in apis]


def _on(bars: Any) -> Callable[[Result, PhaseResult], None]:
    """Moves a bar for each phase."""
    tasks: dict[str, Any] = {}

    def tell(result: Result, phase: PhaseResult) -> None:
        if phase.name not in tasks:
            tasks[phase.name] = bars.add_task(f"{result.api} {phase.name}", total=None, cases=0, findings=0)
        # Failures make more conversations than were planned.
        total = max(phase.total, phase.done)
        bars.update(
            tasks[phase.name], completed=phase.done, total=total, cases=phase.cases, findings=phase.findings
        )

    return tell


def _plainly() -> Callable[[Result, PhaseResult], None]:
    """Prints a line when a phase has ended."""
    told: set[str] = set()

    def tell(result: Result, phase: PhaseResult) -> None:
        if phase.has_ended and phase.name not in told:
            told.add(phase.name)
            click.echo(f"{result.api} {phase.name}: {_in_words(phase)}")

    return tell


def _in_words(phase: PhaseResult) -> str:
    if phase.skipped:
        return phase.skipped
    unit = "conversations" if phase.name == "stateful" else "operations"
    return (
        f"{phase.done} {unit}, {phase.cases} calls, {phase.findings or 'no'} "
        f"finding{'' if phase.findings == 1 else 's'}, {phase.seconds:.1f} s"
    )


# ---- what came out --------------------------------------------------------------------------------------------------


def _show(results: Sequence[Result]) -> None:
    for result in results:
        for finding in result.findings:
            where = f" at {finding.pointer}" if finding.pointer else ""
            click.echo()
            click.echo(printable(f"{finding.api}: {finding.operation} ({finding.operation_id})"))
            click.echo(printable(f"  {finding.check} in {finding.phase}: {finding.title}{where}"))
            message = finding.message
            if len(message) > SHOWN_CHARACTERS:
                message = f"{message[:SHOWN_CHARACTERS]}…"
            for line in message.splitlines():
                if line.strip():
                    click.echo(printable(f"    {line}"))
            for line in finding.curl.splitlines():
                click.echo(printable(f"  $ {line}"))
        for error in result.errors:
            click.echo()
            click.echo(printable(f"{result.api}: could not be tried: {error}"))
    click.echo()
    show_table(
        [
            {
                "api": result.api,
                "phase": phase.name,
                "tried": phase.done,
                "calls": phase.cases,
                "findings": phase.findings,
                "seconds": f"{phase.seconds:.1f}",
                "note": phase.skipped or None,
            }
            for result in results
            for phase in result.phases.values()
        ],
        ("api", "phase", "tried", "calls", "findings", "seconds", "note"),
    )
    broken = sum(sum(result.broken.values()) for result in results)
    if broken:
        click.echo(f"{broken} calls got no reply, as the scenario wants it; there was nothing to judge.")
    findings = sum(len(result.findings) for result in results)
    click.echo(
        "conforms" if all(result.is_fine for result in results) else f"does not conform: {findings} findings"
    )


def _as_json(result: Result) -> dict[str, Any]:
    return {
        "api": result.api,
        "conforms": result.is_fine,
        "phases": [asdict(phase) for phase in result.phases.values()],
        "findings": [asdict(finding) for finding in result.findings],
        "errors": result.errors,
        "links": dict(result.followed),
        "broken": dict(result.broken),
    }


def _write_junit(path: Path, results: Sequence[Result]) -> None:
    """One suite for each API, one case for each finding, and one for each phase without any."""
    suites = ElementTree.Element("testsuites")
    for result in results:
        suite = ElementTree.SubElement(suites, "testsuite", name=result.api)
        for phase in result.phases.values():
            found = [finding for finding in result.findings if finding.phase == phase.name]
            if not found:
                case = ElementTree.SubElement(suite, "testcase", classname=result.api, name=phase.name)
                case.set("time", f"{phase.seconds:.3f}")
                if phase.skipped:
                    ElementTree.SubElement(case, "skipped", message=phase.skipped)
            for finding in found:
                name = f"{phase.name}: {finding.operation}: {finding.check}"
                case = ElementTree.SubElement(suite, "testcase", classname=result.api, name=name)
                told = ElementTree.SubElement(case, "failure", message=printable(finding.title))
                told.text = printable(
                    "\n".join(filter(None, (finding.pointer, finding.message, finding.curl))), kept="\n"
                )
        for error in result.errors:
            case = ElementTree.SubElement(suite, "testcase", classname=result.api, name="could not be tried")
            ElementTree.SubElement(case, "error", message=printable(error))
        cases = suite.findall("testcase")
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
    try:
        ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as problem:
        fail(f"{path} cannot be written: {problem.strerror}")
