"""The command `understudy`.

Exit codes: 0 fine, 1 checks failed, 2 usage, configuration or input. Errors go to stderr, machine output to stdout.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simulator import __version__, cli_conform, cli_control, cli_replay, cli_report, cli_traps
from simulator.cli_parts import (
    TIME_MODES,
    DurationType,
    OriginType,
    SecondsType,
    TimeType,
    fail,
    format_option,
    show,
)
from simulator.resources import GROUPS, resource_folder, scenario_group, shipped_scenarios
from simulator.runtime.calls import CALL_BYTES_MAX, CALLS_MAX
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import IDLE_MS, POLL_STEP_MS, WORLDS_MAX
from simulator.scenario.duration import format_duration
from simulator.scenario.read import Problem, ScenarioError, check_scenario

if TYPE_CHECKING:
    from simulator.apis.contract import Api
    from simulator.scenario.calls import Declared
    from simulator.web.front import Front


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[
        cli_control.world,
        cli_control.clock,
        cli_control.job,
        cli_control.calls,
        cli_conform.conform,
        cli_replay.replay,
        cli_report.report,
        cli_traps.traps,
    ],
)
@click.version_option(__version__, prog_name="understudy")
def main() -> None:
    """A stand-in for HTTP services that run asynchronous jobs."""


@main.command()
@click.argument("apis", nargs=-1, metavar="[API]...")
@click.option(
    "-p",
    "--port",
    type=click.IntRange(0, 65535),
    default=4010,
    show_default=True,
    envvar="UNDERSTUDY_PORT",
    help="0 takes any free port.",
)
@click.option(
    "-H",
    "--host",
    default="127.0.0.1",
    show_default=True,
    envvar="UNDERSTUDY_HOST",
    help="Address to listen on.",
)
@click.option(
    "--scenario",
    default="happy",
    show_default=True,
    envvar="UNDERSTUDY_SCENARIO",
    help="Name of a shipped scenario or path of a file.",
)
@click.option(
    "-w",
    "--watch",
    is_flag=True,
    envvar="UNDERSTUDY_WATCH",
    help="Take the scenario over again whenever its file, or one that it extends, has changed.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    envvar="UNDERSTUDY_SEED",
    help="Every id and every drawn value follows from it.",
)
@click.option(
    "--time",
    "mode",
    type=TimeType(),
    metavar=TIME_MODES,
    default="real",
    show_default=True,
    envvar="UNDERSTUDY_TIME",
    help="How virtual time passes: by itself, not at all, or moved by the clients' own status calls (poll).",
)
@click.option(
    "--poll-step",
    type=DurationType(least_ms=1),
    default=format_duration(POLL_STEP_MS),
    show_default=True,
    envvar="UNDERSTUDY_POLL_STEP",
    help="How far a status call moves a clock of --time poll, unless the client was told to wait.",
)
@click.option(
    "--retry-after",
    type=SecondsType(),
    default=None,
    envvar="UNDERSTUDY_RETRY_AFTER",
    help="What every status call about an unfinished job advises.  [default: only where the document has the header]",
)
@click.option(
    "--strict",
    is_flag=True,
    envvar="UNDERSTUDY_STRICT",
    help="Answer 500 instead of a reply that breaks the document.",
)
@click.option(
    "--max-body",
    type=click.IntRange(1),
    default=None,
    envvar="UNDERSTUDY_MAX_BODY",
    help="Largest request body in bytes.  [default: 1 MiB, titan 16 MiB]",
)
@click.option(
    "--max-jobs",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    envvar="UNDERSTUDY_MAX_JOBS",
    help="Most jobs in a world.",
)
@click.option(
    "--max-kept",
    type=click.IntRange(1),
    default=100_000,
    show_default=True,
    envvar="UNDERSTUDY_MAX_KEPT",
    help="Most things an API keeps beside the jobs of a world: definitions, tokens seen.",
)
@click.option(
    "--max-worlds",
    type=click.IntRange(1),
    default=WORLDS_MAX,
    show_default=True,
    envvar="UNDERSTUDY_MAX_WORLDS",
    help="Most worlds at once, the world `default` included.",
)
@click.option(
    "--world-idle",
    type=DurationType(least_ms=1),
    default=format_duration(IDLE_MS),
    show_default=True,
    envvar="UNDERSTUDY_WORLD_IDLE",
    help="A world that nobody has used for so long makes room when another one is made.",
)
@click.option(
    "--max-calls",
    type=click.IntRange(0),
    default=CALLS_MAX,
    show_default=True,
    envvar="UNDERSTUDY_MAX_CALLS",
    help="Most calls kept in the log of a world, the latest; 0 keeps none.",
)
@click.option(
    "--max-call-bytes",
    type=click.IntRange(1),
    default=CALL_BYTES_MAX,
    envvar="UNDERSTUDY_MAX_CALL_BYTES",
    help="Most bytes that the call logs of all worlds keep together.  [default: 256 MiB]",
)
@click.option(
    "--admin-token",
    default=None,
    envvar="UNDERSTUDY_ADMIN_TOKEN",
    metavar="TOKEN",
    help="Who uses the control API must bring it.  [default: none on this machine alone, else one that is made and shown]",
)
@click.option(
    "--cors",
    type=OriginType(),
    multiple=True,
    envvar="UNDERSTUDY_CORS",
    help="Pages from there, such as http://localhost:3000, may call everything; may be given several times.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
    envvar="UNDERSTUDY_LOG_LEVEL",
)
def serve(
    apis: tuple[str, ...],
    port: int,
    host: str,
    scenario: str,
    watch: bool,
    seed: int,
    mode: TimeMode,
    poll_step: int,
    retry_after: int | None,
    strict: bool,
    max_body: int | None,
    max_jobs: int,
    max_kept: int,
    max_worlds: int,
    world_idle: int,
    max_calls: int,
    max_call_bytes: int,
    admin_token: str | None,
    cors: tuple[str, ...],
    log_level: str,
) -> None:
    """Serve some APIs, or all; one alone is served at its bare documented path as well.

    Prints one line on stdout when it accepts connections: understudy ready http://127.0.0.1:4010
    """
    from simulator.assemble import Settings, UsageError, assemble
    from simulator.engine.world import Limits
    from simulator.web import server

    logging.basicConfig(
        level=log_level.upper(), stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s"
    )
    token, is_made = _admin_token(admin_token, is_open=not server.is_loopback(host))
    settings = Settings(
        apis=apis,
        scenario=scenario,
        seed=seed,
        time=mode,
        strict=strict,
        body_bytes_max=max_body,
        limits=Limits(jobs=max_jobs, kept=max_kept),
        admin_token=token,
        retry_after_s=retry_after,
        worlds_max=max_worlds,
        worlds_idle_ms=world_idle,
        poll_step_ms=poll_step,
        calls_max=max_calls,
        call_bytes_max=max_call_bytes,
        cors=cors,
    )
    try:
        front = assemble(settings)
    except UsageError as problem:
        fail(str(problem))
    except ScenarioError as problem:
        fail("\n".join(map(str, problem.problems)))
    try:
        bound = server.listen(host, port)
    except OSError as problem:
        fail(f"cannot listen on {host}:{port}: {problem.strerror or problem}; choose another with --port")
    url = server.url_of(bound)

    def ready() -> None:
        click.echo(f"understudy ready {url}")
        sys.stdout.flush()
        width = max(len(name) for name in front.services)
        for name, service in front.services.items():
            click.echo(f"  {name:<{width}}  {url}/{name}{service.base_path}", err=True)
            if len(front.services) == 1:
                click.echo(f"  {'':<{width}}  {url}{service.base_path}", err=True)
        stage = front.worlds.default
        click.echo(
            f"  scenario {stage.scenario.name}, seed {seed}, time {mode}; Swagger UI at {url}/", err=True
        )
        if is_made:
            click.echo(f"  admin token {token}", err=True)
            click.echo(
                "  other machines may reach this server, so its control API wants this token as Authorization: Bearer;"
                " choose one with --admin-token",
                err=True,
            )
        if watch:
            _watch(scenario, front)

    server.run(front, bound, ready)


def _admin_token(given: str | None, *, is_open: bool) -> tuple[str | None, bool]:
    """What users of the control API must bring, and whether it was made here and nobody knows it yet.

    Args:
        is_open: other machines may reach the server, so that it must not be without one.
    """
    if given is None:
        return (secrets.token_urlsafe(24), True) if is_open else (None, False)
    token = given.strip()
    if not token or not token.isprintable():
        fail(
            "the admin token is empty or holds characters that cannot be sent; leave --admin-token out to have none or a made one"
        )
    return token, False


def _watch(scenario: str, front: Front) -> None:
    """Look after the files of the scenario that this server plays, as long as its event loop runs."""
    from simulator.assemble import declared_in, load_apis, load_scenario, scenario_files
    from simulator.runtime.watch import Watch

    apis = load_apis()
    declared = declared_in(
        {name: service.document for name, service in front.services.items()},
        {name: service.api for name, service in front.services.items()},
    )

    def say(text: str) -> None:
        click.echo(f"understudy: {text}", err=True)

    Watch(
        files=lambda: scenario_files(scenario),
        load=lambda: load_scenario(scenario, apis, declared),
        use=front.worlds.set_scenario,
        say=say,
    ).start()


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@click.option(
    "--explain",
    metavar="JOB-OR-CALL",
    help="Say which rule of one file takes such a job (api=ica,request.name=x) or call (api=ica,role=status,call=2).",
)
@format_option
def check(paths: tuple[Path, ...], explain: str | None, form: str) -> None:
    """Check scenario files, or folders of them; without a path all shipped scenarios and documents.

    Every problem of every file is shown as file:line:col: path: what. Exit code 1 when there is an error; warnings (what will
    surprise) and notes (what an API cannot express, told of files that were named) are none.
    """
    from simulator.assemble import abilities_of, declared_in, load_apis, load_document, settings_of
    from simulator.scenario.review import review

    apis = load_apis()
    documents = {name: load_document(api) for name, api in apis.items()}
    declared = declared_in(documents, apis)
    if explain is not None:
        _explain(paths, explain, declared, form)
        return
    abilities = abilities_of(documents, apis)
    shipped = shipped_scenarios()
    problems: list[Problem] = []
    if paths:
        files = [(path, str(path)) for path in _files_in(paths)]
    else:
        files = [(path, f"scenarios/{path.name}") for path in shipped.values()]
        for api in apis.values():
            problems += _document_problems(api)
    for path, shown_as in files:
        scenario, found = check_scenario(
            path, apis=settings_of(apis), shown_as=shown_as, declared=declared, find=shipped.get
        )
        if scenario is not None:
            found += review(path, scenario, shown_as=shown_as, abilities=abilities, declared=declared)
        problems += sorted(
            found, key=lambda problem: (problem.file != shown_as, problem.line, problem.column)
        )
    # A file that several others extend is read with each of them; what is wrong with it is told once.
    problems = [one for one in dict.fromkeys(problems) if paths or one.severity != "note"]
    counts = {word: sum(one.severity == word for one in problems) for word in ("error", "warning", "note")}
    if form == "json":
        click.echo(json.dumps([_as_json(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            click.echo(f"{problem}" if problem.severity == "error" else f"{problem} ({problem.severity})")
        checked = len(files) + (0 if paths else len(apis))
        told = ", ".join(f"{count} {word}s" for word, count in counts.items())
        click.echo(f"{checked} files, {told}", err=True)
    sys.exit(1 if counts["error"] else 0)


def _explain(paths: tuple[Path, ...], written: str, declared: Declared, form: str) -> None:
    """Say which rule takes a job or a call that somebody thinks of."""
    from simulator.assemble import UsageError, load_apis, load_scenario
    from simulator.scenario.explain import Imagined, Unclear, explain

    if len(paths) != 1:
        fail("--explain is about one file: understudy check FILE --explain api=ica,request.name=nightly-7")
    try:
        scenario = load_scenario(str(paths[0]), load_apis(), declared)
        lines = explain(scenario, Imagined.parse(written), declared)
    except (UsageError, Unclear) as problem:
        fail(str(problem))
    except ScenarioError as problem:
        click.echo(str(problem))
        sys.exit(1)
    click.echo(json.dumps(lines, indent=2, ensure_ascii=False) if form == "json" else "\n".join(lines))


def _files_in(paths: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        elif path.is_file():
            files.append(path)
        else:
            fail(f"there is no file or folder {path}")
    if not files:
        fail(f"there is no .yaml file in {', '.join(map(str, paths))}")
    return files


def _document_problems(api: Api) -> list[Problem]:
    from openapi_spec_validator import OpenAPIV30SpecValidator

    from simulator.assemble import load_document

    return [
        Problem(f"openapi/{api.document}", 1, 1, "/".join(map(str, error.absolute_path)), error.message)
        for error in OpenAPIV30SpecValidator(load_document(api)).iter_errors()
    ]


def _as_json(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "path": problem.path,
        "severity": problem.severity,
        "message": problem.message,
    }


@main.group("list")
def list_() -> None:
    """Show what there is."""


@list_.command("apis")
@format_option
def list_apis(form: str) -> None:
    """The simulated APIs, where they are served, and their documents."""
    from simulator.assemble import load_apis, load_document

    rows = []
    for name, api in load_apis().items():
        base_path = load_document(api)["servers"][0]["url"].rstrip("/")
        rows.append(
            {
                "name": name,
                "title": api.title,
                "path": f"/{name}{base_path}",
                "operations": len(api.operations),
                "document": str(resource_folder("openapi") / api.document),
            }
        )
    show(rows, form)


@list_.command("operations")
@click.argument("apis", nargs=-1, metavar="[API]...")
@format_option
def list_operations(apis: tuple[str, ...], form: str) -> None:
    """Every operation with its role: what it does to jobs."""
    from simulator.assemble import load_document

    wanted = _apis_named(apis)
    rows = []
    for name, api in wanted.items():
        for path, item in load_document(api)["paths"].items():
            for method, operation in item.items():
                if isinstance(operation, dict) and "operationId" in operation:
                    operation_id = operation["operationId"]
                    rows.append(
                        {
                            "api": name,
                            "operation": operation_id,
                            "role": api.operations[operation_id].role.value,
                            "method": method.upper(),
                            "path": path,
                        }
                    )
    show(rows, form)


@list_.command("scenarios")
@format_option
def list_scenarios(form: str) -> None:
    """The shipped scenarios, those about the same thing together."""
    from simulator.assemble import load_apis, load_scenario

    apis = load_apis()
    rows = []
    shipped = shipped_scenarios()
    for name in sorted(shipped, key=lambda name: (GROUPS.index(scenario_group(name)), name)):
        description = load_scenario(name, apis).description.strip()
        group = scenario_group(name)
        rows.append({"name": name, "group": group, "description": description, "file": str(shipped[name])})
    show(rows, form, hidden=("file",))


@list_.command("faults")
@format_option
def list_faults(form: str) -> None:
    """What `fault:` may say in a scenario, and when it strikes: before, after or instead of the command."""
    from simulator.scenario.calls import FAULTS

    rows = [
        {
            "fault": fault.name,
            "moment": fault.moment.value,
            "takes": fault.takes or "-",
            "meaning": fault.meaning,
        }
        for fault in FAULTS.values()
    ]
    show(rows, form)


@list_.command("settings")
@click.argument("apis", nargs=-1, metavar="[API]...")
@format_option
def list_settings(apis: tuple[str, ...], form: str) -> None:
    """What a scenario may set under `apis:`, per API."""
    wanted = _apis_named(apis)
    rows = [
        {
            "api": name,
            "setting": setting_name,
            "takes": setting.takes,
            "default": setting.shown_default,
            "meaning": setting.description,
        }
        for name, api in wanted.items()
        for setting_name, setting in api.settings.items()
    ]
    if not rows:
        fail(f"{' and '.join(wanted)}: nothing to set")
    show(rows, form)


@main.command()
@click.argument("scenario", metavar="FILE-OR-NAME")
@click.option(
    "--api", "wanted", multiple=True, metavar="API", help="Only this one; may be given several times."
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    envvar="UNDERSTUDY_SEED",
    help="Every id and every drawn value follows from it.",
)
@format_option
def timeline(scenario: str, wanted: tuple[str, ...], seed: int, form: str) -> None:
    """Show what will happen to a job under a scenario, per API, without a server.

    A job is submitted with the example of each API's document; each line is a moment at which it changes, and what a client
    that asks just then is told.
    """
    from simulator.assemble import (
        UsageError,
        abilities_of,
        declared_in,
        find_scenario,
        load_apis,
        load_document,
        load_scenario,
    )
    from simulator.scenario.review import review
    from simulator.timeline import CannotTell, as_json, as_text, timelines

    try:
        apis = load_apis(wanted)
        documents = {name: load_document(api) for name, api in apis.items()}
        path, shown_as = find_scenario(scenario)
        notes: dict[str, list[str]] = {}
        for name, ability in abilities_of(documents, apis).items():
            found = review(
                path,
                load_scenario(scenario, load_apis()),
                shown_as=shown_as,
                abilities={name: ability},
                declared=declared_in({name: documents[name]}, apis),
            )
            notes[name] = [
                f"{problem.message} ({shown_as}:{problem.line})"
                for problem in found
                if problem.severity == "note"
            ]
        told = timelines(scenario, list(apis), seed=seed, notes=notes)
    except (UsageError, CannotTell) as problem:
        fail(str(problem))
    except ScenarioError as problem:
        fail("\n".join(map(str, problem.problems)))
    click.echo(as_json(told) if form == "json" else as_text(told))


@main.group("schema")
def schema_() -> None:
    """Print the JSON Schema of what understudy reads."""


@schema_.command("scenario")
def schema_scenario() -> None:
    """The schema of scenario files, for editors: keys, words and forms, each with what it means."""
    from simulator.assemble import load_apis, settings_of
    from simulator.scenario.schema import scenario_schema

    click.echo(json.dumps(scenario_schema(settings_of(load_apis())), indent=2, ensure_ascii=False))


@main.command()
@click.option("--seed", type=int, default=1, show_default=True, envvar="UNDERSTUDY_SEED")
def demo(seed: int) -> None:
    """Start a server on a free port and drive all APIs from submit to the end, side by side."""
    from simulator.demo import run_demo

    sys.exit(run_demo(seed))


def _apis_named(names: tuple[str, ...]) -> dict[str, Api]:
    """These APIs, or all; leaves with exit code 2 when there is no such one."""
    from simulator.assemble import UsageError, load_apis

    try:
        return load_apis(names)
    except UsageError as problem:
        fail(str(problem))
