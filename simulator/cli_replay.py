"""The command `understudy replay`: plays a capsule again, and says whether every answer is what it was.

Exit codes: 0 every answer is the same, 1 one is not, 2 usage or a file that cannot be read or played. What was found goes to
stdout, everything else to stderr.
"""

from __future__ import annotations

import sys
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from simulator import __version__
from simulator.cli_parts import fail, format_option, printable, show_json

if TYPE_CHECKING:
    from simulator.capsule.against import Deviation
    from simulator.capsule.model import Capsule, Serving
    from simulator.capsule.replay import Played
    from simulator.web.front import Front

SHOWN = 1
"""So many differences of a capsule are shown unless all are asked for."""


@click.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(dir_okay=False, path_type=Path)
)
@format_option
@click.option("-v", "--verbose", is_flag=True, help="Show all differences, not only the first one.")
@click.option("--serve", is_flag=True, help="Then serve the world as it is at the end, until it is stopped.")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=4010,
    show_default=True,
    help="Where --serve listens; 0 takes any free port.",
)
@click.option(
    "-H", "--host", default="127.0.0.1", show_default=True, help="The address on which --serve listens."
)
@click.option(
    "--admin-token",
    default=None,
    metavar="TOKEN",
    help="Who uses the control API of --serve must bring it; needed where other machines may reach the server.",
)
@click.option(
    "--against",
    metavar="[API=]URL",
    multiple=True,
    help="Send the clients' requests to this server instead, and compare what it answers with the documents. A URL takes the"
    " place of understudy's own; with the name of an API, what stands before its documented paths.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="'NAME: VALUE'",
    help="Sent with each request to --against, in the place of the recorded one; may be given several times.",
)
@click.option(
    "--speed",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="How fast --against lets the recorded time pass.",
)
@click.option(
    "--longest-wait",
    type=click.FloatRange(0),
    default=10.0,
    show_default=True,
    metavar="SECONDS",
    help="--against waits no longer than this between two requests.",
)
@click.option("--yes", is_flag=True, help="Send requests to --against although it is another machine.")
def replay(
    files: tuple[Path, ...],
    form: str,
    verbose: bool,
    serve: bool,
    port: int,
    host: str,
    admin_token: str | None,
    against: tuple[str, ...],
    headers: tuple[str, ...],
    speed: float,
    longest_wait: float,
    yes: bool,
) -> None:
    """Play capsules again and compare every answer byte by byte."""
    if (serve or against) and len(files) > 1:
        fail("--serve and --against take one capsule")
    if serve and against:
        fail("--serve and --against exclude each other")
    capsules = [(file, _read(file)) for file in files]
    if against:
        file, capsule = capsules[0]
        deviations = _send(file, capsule, _roots(against, yes), _headers(headers), speed, longest_wait)
        _tell_deviations(file, deviations, form)
        sys.exit(1 if deviations else 0)
    found: list[dict[str, Any]] = []
    fronts: dict[Serving, Front] = {}
    for file, capsule in capsules:
        front, played, seen = _play(file, capsule, fronts, admin_token)
        found.append(seen)
        if form == "text":
            _tell(seen, verbose)
    if form == "json":
        show_json([seen | {"differences": [one.as_json() for one in seen["differences"]]} for seen in found])
    if serve:
        _serve(front, played, host, port, admin_token)
    sys.exit(1 if any(seen["differences"] or seen["stuck"] for seen in found) else 0)


def _read(file: Path) -> Capsule:
    """The capsule in a file; leaves with exit code 2 when there is none that can be played."""
    from simulator.capsule.model import BYTES_MAX, Unreadable, read_capsule

    try:
        with file.open("rb") as opened:
            capsule = read_capsule(opened.read(BYTES_MAX + 1))
    except OSError as problem:
        fail(f"cannot read {file}: {problem.strerror or problem}")
    except Unreadable as problem:
        line = f":{problem.line}" if problem.line is not None else ""
        fail(f"{file}{line}: {problem.message}")
    if capsule.gaps:
        fail(f"{file}: the capsule is not complete and cannot be replayed: {'; '.join(capsule.gaps)}")
    return capsule


def _play(
    file: Path, capsule: Capsule, fronts: dict[Serving, Front], admin_token: str | None
) -> tuple[Front, Played, dict[str, Any]]:
    from simulator.assemble import Settings, UsageError, assemble_for, scenarios_in, serving_of
    from simulator.capsule.compare import differences
    from simulator.capsule.record import capsule_of
    from simulator.capsule.replay import play
    from simulator.scenario.read import ScenarioError

    try:
        scenarios = scenarios_in(capsule)
        front = fronts.get(capsule.serving)
        if front is None:
            front = fronts[capsule.serving] = assemble_for(capsule, Settings(admin_token=admin_token))
    except UsageError as problem:
        fail(f"{file}: {problem}")
    except ScenarioError as problem:
        fail("\n".join([f"{file}: a scenario in it cannot be played", *map(str, problem.problems)]))
    now = serving_of(Settings(apis=capsule.serving.apis))
    for warning in _warnings(capsule, dict(now.documents)):
        click.echo(f"{file}: {printable(warning)}", err=True)
    played = play(capsule, front, scenarios)
    again = capsule_of(played.stage, replace(capsule.serving, documents=now.documents))
    seen = {
        "file": str(file),
        "steps": len(capsule.steps),
        "calls": sum(1 for _ in capsule.calls),
        "stuck": [{"step": step, "reason": reason} for step, reason in played.stuck],
        "differences": [*differences(capsule, again)],
    }
    return front, played, seen


def _warnings(capsule: Capsule, documents: dict[str, str]) -> list[str]:
    """What may make a difference that is nobody's fault."""
    warnings = []
    if capsule.version != __version__:
        warnings.append(f"made by understudy {capsule.version}; this is {__version__}")
    other = [name for name, digest in capsule.serving.documents if documents.get(name) != digest]
    if other:
        warnings.append(f"the documents of {', '.join(other)} have changed since")
    return warnings


def _tell(seen: dict[str, Any], verbose: bool) -> None:
    found, stuck = seen["differences"], seen["stuck"]
    told = f"{seen['file']}: {seen['calls']} calls, {seen['steps']} steps"
    if not found and not stuck:
        click.echo(f"{told}: every answer is the same")
        return
    click.echo(f"{told}: {len(found)} answers differ")
    for one in stuck:
        click.echo(f"step {one['step']} could not be done again: {printable(one['reason'])}")
    for difference in islice(found, None if verbose else SHOWN):
        click.echo(printable(str(difference), kept="\n"))
    if len(found) > SHOWN and not verbose:
        click.echo(f"… and {len(found) - SHOWN} more; -v shows all")


def _roots(against: tuple[str, ...], yes: bool) -> dict[str, str]:
    """Where the other server has each API, by name; everything else under the empty name."""
    from simulator.web.server import is_loopback

    roots = {}
    for written in against:
        name, equals, url = written.partition("=")
        if not equals or "/" in name:
            name, url = "", written
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            fail(f"{written!r} is no address; write it like http://127.0.0.1:4010 or ica=https://ica.example")
        if not yes and not is_loopback(parts.hostname):
            fail(f"{parts.hostname} is another machine; say --yes if these requests may be sent to it")
        roots[name] = url.rstrip("/")
    return roots


def _headers(written: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    headers = []
    for text in written:
        name, colon, value = text.partition(":")
        if not colon or not name.strip() or not text.isprintable() or not text.isascii():
            fail(f"{text!r} is no header; write it like 'Authorization: Bearer TOKEN'")
        headers.append((name.strip(), value.strip()))
    return tuple(headers)


def _send(
    file: Path,
    capsule: Capsule,
    roots: dict[str, str],
    headers: tuple[tuple[str, str], ...],
    speed: float,
    longest_wait: float,
) -> list[Deviation]:
    import asyncio
    from threading import Event

    from simulator.assemble import UsageError, assemble_for
    from simulator.capsule.against import Against

    try:
        front = assemble_for(capsule)
    except UsageError as problem:
        fail(f"{file}: {problem}")
    unknown = [name for name in roots if name and name not in front.services]
    if unknown:
        fail(f"{file} is about {', '.join(front.services)}; there is no {unknown[0]!r}")
    missing = [] if "" in roots else [name for name in front.services if name not in roots]
    if missing:
        fail(f"say where {missing[0]} is: --against {missing[0]}=URL, or --against URL for all")
    asyncio.run(front.build())
    against = Against(
        capsule,
        front.services,
        roots,
        headers=headers,
        wait=Event().wait,
        speed=speed,
        longest_s=longest_wait,
    )
    return [*against.run()]


def _tell_deviations(file: Path, deviations: list[Deviation], form: str) -> None:
    if form == "json":
        show_json([asdict(one) for one in deviations])
        return
    for one in deviations:
        click.echo(printable(str(one)))
    click.echo(f"{file}: {len(deviations)} answers are not as they should be")


def _serve(front: Front, played: Played, host: str, port: int, admin_token: str | None) -> None:
    """Let the world go on."""
    from simulator.web import server

    if admin_token is None and not server.is_loopback(host):
        fail(f"other machines may reach {host}; choose a token for the control API with --admin-token")
    stage = played.stage
    played.go_on()
    front.worlds.adopt(stage.name, stage)
    try:
        bound = server.listen(host, port)
    except OSError as problem:
        fail(f"cannot listen on {host}:{port}: {problem.strerror or problem}; choose another with --port")
    url = server.url_of(bound)
    prefix = "" if stage is front.worlds.default else f"/worlds/{stage.name}"

    def ready() -> None:
        click.echo(f"understudy ready {url}")
        sys.stdout.flush()
        click.echo(f"  world {stage.name} at {url}{prefix}, time {stage.clock.mode}", err=True)

    server.run(front, bound, ready)
