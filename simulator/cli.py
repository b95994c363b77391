"""The command `understudy`.

Exit codes: 0 fine, 1 checks failed, 2 usage, configuration or input. Errors go to stderr, machine output to stdout.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from simulator import __version__
from simulator.resources import resource_folder, shipped_scenarios
from simulator.runtime.timesource import TimeMode
from simulator.scenario.read import Problem, ScenarioError, check_scenario

if TYPE_CHECKING:
    from simulator.apis.contract import Api

Command = TypeVar("Command", bound=Callable[..., Any])


class _TimeType(click.ParamType[TimeMode]):
    name = "real|frozen|<N>x"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> TimeMode:
        if isinstance(value, TimeMode):
            return value
        try:
            return TimeMode.parse(value)
        except ValueError as problem:
            self.fail(str(problem), param, ctx)


def _format_option(command: Command) -> Command:
    choice = click.Choice(["text", "json"])
    return click.option("--format", "form", type=choice, default="text", show_default=True)(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
    type=_TimeType(),
    default="real",
    show_default=True,
    envvar="UNDERSTUDY_TIME",
    help="How virtual time passes.",
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
    seed: int,
    mode: TimeMode,
    strict: bool,
    max_body: int | None,
    max_jobs: int,
    max_kept: int,
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
    settings = Settings(
        apis=apis,
        scenario=scenario,
        seed=seed,
        time=mode,
        strict=strict,
        body_bytes_max=max_body,
        limits=Limits(jobs=max_jobs, kept=max_kept),
    )
    try:
        front = assemble(settings)
    except UsageError as problem:
        _fail(str(problem))
    except ScenarioError as problem:
        _fail("\n".join(map(str, problem.problems)))
    try:
        bound = server.listen(host, port)
    except OSError as problem:
        _fail(f"cannot listen on {host}:{port}: {problem.strerror or problem}; choose another with --port")
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

    server.run(front, bound, ready)


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path), metavar="[PATH]...")
@_format_option
def check(paths: tuple[Path, ...], form: str) -> None:
    """Check scenario files, or folders of them; without a path all shipped scenarios and documents.

    Every problem of every file is shown as file:line:col: path: what. Exit code 1 when there is an error.
    """
    from simulator.assemble import load_apis, settings_of

    apis = load_apis()
    problems: list[Problem] = []
    if paths:
        files = [(path, str(path)) for path in _files_in(paths)]
    else:
        files = [(path, f"scenarios/{path.name}") for path in shipped_scenarios().values()]
        for api in apis.values():
            problems += _document_problems(api)
    for path, shown_as in files:
        problems += check_scenario(path, apis=settings_of(apis), shown_as=shown_as)[1]
    errors = sum(problem.severity == "error" for problem in problems)
    if form == "json":
        click.echo(json.dumps([_as_json(problem) for problem in problems], indent=2))
    else:
        for problem in problems:
            click.echo(f"{problem}" if problem.severity == "error" else f"{problem} (warning)")
        checked = len(files) + (0 if paths else len(apis))
        click.echo(f"{checked} files, {errors} errors, {len(problems) - errors} warnings", err=True)
    sys.exit(1 if errors else 0)


def _files_in(paths: tuple[Path, ...]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
        elif path.is_file():
            files.append(path)
        else:
            _fail(f"there is no file or folder {path}")
    if not files:
        _fail(f"there is no .yaml file in {', '.join(map(str, paths))}")
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
@_format_option
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
    _show(rows, form)


@list_.command("operations")
@click.argument("apis", nargs=-1, metavar="[API]...")
@_format_option
def list_operations(apis: tuple[str, ...], form: str) -> None:
    """Every operation with its role: what it does to jobs."""
    from simulator.assemble import UsageError, load_apis, load_document

    try:
        wanted = load_apis(apis)
    except UsageError as problem:
        _fail(str(problem))
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
    _show(rows, form)


@list_.command("scenarios")
@_format_option
def list_scenarios(form: str) -> None:
    """The shipped scenarios."""
    from simulator.assemble import load_apis, load_scenario

    apis = load_apis()
    rows = []
    for name, path in shipped_scenarios().items():
        scenario = load_scenario(name, apis)
        rows.append({"name": name, "description": scenario.description.strip(), "file": str(path)})
    _show(rows, form, hidden=("file",))


@list_.command("settings")
@click.argument("apis", nargs=-1, metavar="[API]...")
@_format_option
def list_settings(apis: tuple[str, ...], form: str) -> None:
    """What a scenario may set under `apis:`, per API."""
    from simulator.assemble import UsageError, load_apis

    try:
        wanted = load_apis(apis)
    except UsageError as problem:
        _fail(str(problem))
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
        _fail(f"{' and '.join(wanted)}: nothing to set")
    _show(rows, form)


@main.command()
@click.option("--seed", type=int, default=1, show_default=True, envvar="UNDERSTUDY_SEED")
def demo(seed: int) -> None:
    """Start a server on a free port and drive all APIs from submit to the end, side by side."""
    from simulator.demo import run_demo

    sys.exit(run_demo(seed))


def _show(rows: list[dict[str, Any]], form: str, hidden: tuple[str, ...] = ()) -> None:
    """Print rows as JSON, or as a table of plain text that fits into a pipe."""
    if form == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    columns = [name for name in rows[0] if name not in hidden]
    table = [[name.upper() for name in columns]]
    table += [[" ".join(str(row[name]).split()) for name in columns] for row in rows]
    widths = [max(len(line[place]) for line in table) for place in range(len(columns))]
    for line in table:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _fail(message: str) -> NoReturn:
    """Say what is wrong and leave with exit code 2."""
    click.echo(f"understudy: {message}", err=True)
    sys.exit(2)
