"""The commands for a running server: `world`, `clock`, `job`, `calls`.

Each is a few words around one method of `simulator.control_client.ControlClient`; text for people comes in tables, JSON as the
server said it. A refusal is told on stderr, with exit code 2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from simulator.cli_parts import (
    TIME_MODES,
    DurationType,
    TimeType,
    fail,
    format_option,
    printable,
    show_json,
    show_lines,
    show_table,
)
from simulator.engine.job import State
from simulator.resources import shipped_scenarios
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import DEFAULT_WORLD
from simulator.scenario.duration import format_duration
from simulator.scenario.extend import SUFFIXES

if TYPE_CHECKING:
    from simulator.control_client import Call, ControlClient, Filters, JobInFull, Message, World

Command = TypeVar("Command", bound=Callable[..., Any])

URL = "http://127.0.0.1:4010"
WORLD_COLUMNS = ("name", "scenario", "seed", "mode", "now", "jobs", "calls", "path")
EVENT_COLUMNS = ("at", "api", "job", "state", "cause")
JOB_COLUMNS = ("api", "id", "kind", "state", "word", "progress", "held", "since", "due")
CALL_COLUMNS = ("number", "at", "method", "path", "status", "api", "operation", "job", "violations")
LIMIT = 100
_INLINE = "inline:"
"""What a server calls a scenario that came as a text, where it tells problems."""


def _remote(function: Callable[..., None]) -> Callable[..., None]:
    """Options that say which server is meant; the command gets a client of it, and `form`."""

    @format_option
    @click.option(
        "--token",
        envvar="UNDERSTUDY_ADMIN_TOKEN",
        metavar="TOKEN",
        help="The server's admin token, if it wants one.",
    )
    @click.option(
        "--url",
        default=URL,
        show_default=True,
        envvar="UNDERSTUDY_URL",
        metavar="URL",
        help="Where the server is.",
    )
    @wraps(function)
    def command(url: str, token: str | None, **given: Any) -> None:
        with _connected(url, token) as control:
            function(control, **given)

    return command


def _in_world(command: Command) -> Command:
    """The option `--world`."""
    return click.option(
        "--world",
        default=DEFAULT_WORLD,
        show_default=True,
        envvar="UNDERSTUDY_WORLD",
        metavar="NAME",
        help="Which world is meant.",
    )(command)


@contextmanager
def _connected(url: str, token: str | None) -> Iterator[ControlClient]:
    """A client whose errors end the command."""
    from simulator.control_client import ControlClient, ControlError, ServerUnreachable

    try:
        # Many a token comes out of a file with a line break at its end.
        client = ControlClient(url, token=(token or "").strip() or None)
    except (ValueError, ServerUnreachable) as problem:
        fail(str(problem))
    try:
        with client:
            yield client
    except ServerUnreachable as problem:
        fail(str(problem))
    except ControlError as refusal:
        if refusal.status == HTTPStatus.UNAUTHORIZED:
            fail(f"{refusal}; give it with --token or UNDERSTUDY_ADMIN_TOKEN")
        fail(str(refusal))
    except UnicodeError:
        fail("what was given is no text in UTF-8")


# ---- worlds ---------------------------------------------------------------------------------------------------------


@click.group()
def world() -> None:
    """Worlds of a running server: isolated simulations, each with its own jobs, clock, seed and call log."""


@world.command("list")
@_remote
def list_worlds(control: ControlClient, form: str) -> None:
    """All worlds, in the order in which they were made."""
    worlds = control.worlds()
    if form == "json":
        show_json(worlds)
    else:
        _show_worlds(worlds)


@world.command("create")
@click.argument("name")
@click.option("--scenario", metavar="NAME-OR-FILE", help="A shipped scenario, or a file that is sent.")
@click.option("--seed", type=int, help="Every id and every drawn value follows from it.")
@click.option("--time", "mode", type=TimeType(), metavar=TIME_MODES, help="How its time passes.")
@_remote
def create_world(
    control: ControlClient,
    name: str,
    scenario: str | None,
    seed: int | None,
    mode: TimeMode | None,
    form: str,
) -> None:
    """Make a world, or make it anew; what is not said is as the server was started."""
    from simulator.control_client import ControlError

    sent = None if scenario is None else _scenario(scenario)
    try:
        made = control.put_world(name, scenario=sent, seed=seed, time=None if mode is None else str(mode))
    except ControlError as refusal:
        problems = [problem.removeprefix(_INLINE) for problem in refusal.problems]
        if sent == scenario or not problems:
            raise
        fail("\n".join(f"{scenario}:{problem}" for problem in problems))
    _show_world(made, form)


@world.command("reset")
@click.argument("name", default=DEFAULT_WORLD, envvar="UNDERSTUDY_WORLD")
@_remote
def reset_world(control: ControlClient, name: str, form: str) -> None:
    """Begin a world anew, with the same scenario, seed and way of time; its jobs and calls are gone."""
    _show_world(control.reset_world(name), form)


@world.command("delete")
@click.argument("name")
@_remote
def delete_world(control: ControlClient, name: str, form: str) -> None:
    """Forget a world and all that is in it."""
    control.delete_world(name)
    if form == "json":
        show_json({"deleted": name})
    else:
        click.echo(f"deleted {printable(name)}")


def _scenario(wanted: str) -> str:
    """What is sent for a scenario: a shipped one's name, or the text of a file."""
    path = Path(wanted)
    if wanted in shipped_scenarios() or not path.is_file():
        if "/" in wanted or wanted.endswith(SUFFIXES):
            fail(f"there is no file {wanted}")
        return wanted
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as problem:
        fail(f"{wanted} cannot be read: {problem}")
    for extended in _extended(text):
        if "/" in extended or extended.endswith(SUFFIXES):
            fail(
                f"{wanted} extends the file {extended}, which the server does not have: over the wire only"
                " shipped scenarios can be extended, by their names; put its rules into this file"
            )
    # The line break says that it is a text and no name.
    return f"{text}\n"


def _extended(text: str) -> list[str]:
    """What a scenario says under `extends`, as far as it can be read; all else is for the server to tell."""
    import yaml

    try:
        top = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError):
        return []
    extends = top.get("extends") if isinstance(top, dict) else None
    return [one for one in (extends if isinstance(extends, list) else [extends]) if isinstance(one, str)]


def _show_world(one: World, form: str) -> None:
    if form == "json":
        show_json(one)
    else:
        _show_worlds([one])


def _show_worlds(worlds: Iterable[World]) -> None:
    show_table([{**one, **one["time"]} for one in worlds], WORLD_COLUMNS)


# ---- clocks ---------------------------------------------------------------------------------------------------------


@click.group()
def clock() -> None:
    """The clock of a world on a running server: read it, stop it, let it run, move it forward."""


@clock.command("show")
@_in_world
@_remote
def show_clock(control: ControlClient, world: str, form: str) -> None:
    """What time it is, how time passes, and when something happens next."""
    _show_clock(control.clock(world), form)


@clock.command("freeze")
@_in_world
@_remote
def freeze_clock(control: ControlClient, world: str, form: str) -> None:
    """Let time stand still from now on."""
    _show_clock(control.set_clock(world, "frozen"), form)


@clock.command("rate")
@click.argument("mode", type=TimeType(), metavar="MODE")
@_in_world
@_remote
def rate_clock(control: ControlClient, mode: TimeMode, world: str, form: str) -> None:
    """Let time pass in another way from now on: real, 60x, poll (status calls move it) or frozen."""
    _show_clock(control.set_clock(world, str(mode)), form)


@clock.command("advance")
@click.argument("duration", type=DurationType(), required=False)
@click.option("--to", "instant", metavar="INSTANT", help="To this time, such as 2030-01-01T00:10:00Z.")
@click.option("--next", "count", type=click.IntRange(1, 10_000), help="To the next moments with events.")
@click.option("--until-idle", is_flag=True, help="Until nothing is due any more.")
@click.option("--limit", type=DurationType(), help="How far --until-idle goes at most.")
@_in_world
@_remote
def advance_clock(
    control: ControlClient,
    duration: int | None,
    instant: str | None,
    count: int | None,
    until_idle: bool,
    limit: int | None,
    world: str,
    form: str,
) -> None:
    """Move time forward, by DURATION or as the options say, and tell what happened meanwhile."""
    if sum((duration is not None, instant is not None, count is not None, until_idle)) != 1:
        raise click.UsageError("say how far, in one way: DURATION, --to, --next or --until-idle")
    if limit is not None and not until_idle:
        raise click.UsageError("--limit belongs to --until-idle")
    advanced = control.advance(
        world,
        by=None if duration is None else format_duration(duration),
        to=instant,
        next=count,
        until_idle=until_idle,
        limit=None if limit is None else format_duration(limit),
    )
    if form == "json":
        show_json(advanced)
    else:
        show_table(advanced["events"], EVENT_COLUMNS)
        click.echo(f"now {printable(advanced['now'])}")
    if not advanced.get("is_idle", True):
        click.echo("understudy: something is still due after that", err=True)


def _show_clock(one: Mapping[str, Any], form: str) -> None:
    if form == "json":
        show_json(one)
    else:
        show_table([one], ("now", "mode", "next"))


# ---- jobs -----------------------------------------------------------------------------------------------------------


@click.group()
def job() -> None:
    """Jobs on a running server: look at them, and decide what becomes of one."""


def _one_job(function: Callable[..., None]) -> Callable[..., None]:
    """A command about one job of a world."""
    command = _in_world(_remote(function))
    return click.argument("api")(click.argument("job_id", metavar="JOB")(command))


_STATES = click.Choice([state.value for state in State])


@job.command("list")
@click.option("--api", metavar="API", help="Only those of this API.")
@click.option("--state", type=_STATES, help="Only those in this state.")
@click.option("--kind", metavar="PART", help="Only those of a command, process or image that holds this.")
@click.option("--held", is_flag=True, help="Only those that wait to be released.")
@click.option("--newest", is_flag=True, help="The latest first.")
@click.option("--limit", type=click.IntRange(1), default=LIMIT, show_default=True, help="How many at most.")
@_in_world
@_remote
def list_jobs(
    control: ControlClient,
    api: str | None,
    state: str | None,
    kind: str | None,
    held: bool,
    newest: bool,
    limit: int,
    world: str,
    form: str,
) -> None:
    """The jobs of a world, oldest first."""
    jobs = control.jobs(
        world, api=api, state=state, kind=kind, held=held or None, newest_first=newest, limit=limit + 1
    )
    found = list(jobs)
    if form == "json":
        show_json(found[:limit])
    else:
        show_table(found[:limit], JOB_COLUMNS)
    _tell_more(len(found) > limit)


@job.command("show")
@_one_job
def show_job(control: ControlClient, api: str, job_id: str, world: str, form: str) -> None:
    """One job: what is known of it, and its history."""
    found = control.job(world, api, job_id)
    if form == "json":
        show_json(found)
        return
    show_lines({name: value for name, value in found.items() if name not in ("history", "errors")})
    click.echo()
    show_table(found["history"], ("at", "state", "cause"))
    if found["errors"]:
        click.echo()
        show_table(found["errors"], ("at", "code", "message", "details"))


@job.command("hold")
@_one_job
def hold_job(control: ControlClient, api: str, job_id: str, world: str, form: str) -> None:
    """Stop a job where it is; the time that is left of its step is kept."""
    _show_job(control.hold(world, api, job_id), form)


@job.command("release")
@_one_job
def release_job(control: ControlClient, api: str, job_id: str, world: str, form: str) -> None:
    """Let a job go on that is held, here or by its script."""
    _show_job(control.release(world, api, job_id), form)


@job.command("step")
@_one_job
def step_job(control: ControlClient, api: str, job_id: str, world: str, form: str) -> None:
    """End the present step of a job's script now."""
    _show_job(control.step(world, api, job_id), form)


@job.command("force")
@click.argument("api")
@click.argument("job_id", metavar="JOB")
@click.argument("state", type=_STATES, metavar="STATE")
@click.option("--error-code", metavar="CODE", help="Why it fails, in a word.")
@click.option("--error-message", metavar="TEXT", help="Why it fails, for people.")
@click.option("--progress", type=click.IntRange(0, 100), help="Percent.")
@click.option("--result", metavar="JSON", help="What it leaves as its result.")
@_in_world
@_remote
def force_job(
    control: ControlClient,
    api: str,
    job_id: str,
    state: str,
    error_code: str | None,
    error_message: str | None,
    progress: int | None,
    result: str | None,
    world: str,
    form: str,
) -> None:
    """Put a job into a state, whatever its script says."""
    error = {
        name: text for name, text in (("code", error_code), ("message", error_message)) if text is not None
    }
    value = None if result is None else _json_value(result)
    _show_job(
        control.force(world, api, job_id, state, error=error or None, progress=progress, result=value), form
    )


def _json_value(text: str) -> Any:
    def refuse(word: str) -> Any:
        raise ValueError(f"{word} is no JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as problem:
        raise click.BadParameter(
            f"{problem}; a text needs its quotes: '\"done\"'", param_hint="--result"
        ) from None


def _show_job(one: JobInFull, form: str) -> None:
    if form == "json":
        show_json(one)
    else:
        show_table([one], JOB_COLUMNS)


# ---- calls ----------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--api", metavar="API", help="Only calls of this API.")
@click.option("--operation", metavar="ID", help="Only calls of this operationId.")
@click.option("--role", metavar="ROLE", help="Only calls of operations with this role, such as status.")
@click.option("--method", metavar="METHOD", help="Only calls with this method.")
@click.option("--path", metavar="PART", help="Only calls whose path, query included, holds this.")
@click.option("--job", metavar="JOB", help="Only calls about this job.")
@click.option("--status", metavar="STATUS", help="Only calls that were answered so, such as 404 or 4xx.")
@click.option("--violations", is_flag=True, help="Only calls that break the document.")
@click.option("--newest", is_flag=True, help="The latest first.")
@click.option("--limit", type=click.IntRange(1), help=f"How many at most.  [default: {LIMIT}; --follow: all]")
@click.option("--show", "number", type=click.IntRange(1), metavar="NUMBER", help="One call, all of it.")
@click.option("--count", is_flag=True, help="Only how many there are.")
@click.option("--clear", is_flag=True, help="Empty the log, or take those calls out of it that are chosen.")
@click.option("-f", "--follow", is_flag=True, help="Calls as they come, until Ctrl-C or --limit.")
@_in_world
@_remote
def calls(
    control: ControlClient,
    newest: bool,
    limit: int | None,
    number: int | None,
    count: bool,
    clear: bool,
    follow: bool,
    world: str,
    form: str,
    **filters: Any,
) -> None:
    """What clients and a world of a running server said to each other, oldest first."""
    wanted: Filters = {name: value for name, value in filters.items() if value}  # type: ignore[assignment]  # as declared
    if sum((number is not None, count, clear, follow)) > 1:
        raise click.UsageError("only one of --show, --count, --clear and --follow")
    if number is not None and wanted:
        raise click.UsageError("--show goes with no option that chooses calls")
    if (newest and (number or count or clear or follow)) or (limit and (number or count or clear)):
        raise click.UsageError("--newest goes with a list only, --limit with a list or --follow")
    if number is not None:
        _show_call(control, world, number, form)
    elif count:
        total = control.count_calls(world, **wanted)
        if form == "json":
            show_json({"count": total})
        else:
            click.echo(total)
    elif clear:
        control.delete_calls(world, **wanted)
        if form == "json":
            show_json({"cleared": world})
        else:
            click.echo(f"cleared the call log of {printable(world)}")
    elif follow:
        _follow(control, world, wanted, limit, form)
    else:
        limit = limit or LIMIT
        found = list(control.calls(world, newest_first=newest, limit=limit + 1, **wanted))
        if form == "json":
            show_json(found[:limit])
        else:
            show_table(map(_call_row, found[:limit]), CALL_COLUMNS)
        _tell_more(len(found) > limit)


def _call_row(call: Call) -> dict[str, Any]:
    return {**call, "status": call["status"] or "-", "violations": len(call["violations"]) or None}


def _follow(control: ControlClient, world: str, wanted: Filters, limit: int | None, form: str) -> None:
    """Show calls as they come."""
    try:
        for call in islice(_fresh(control, world, wanted), limit):
            if form == "json":
                click.echo(json.dumps(call))
            else:
                click.echo(_call_line(call))
    except KeyboardInterrupt:
        pass  # That is how one ends it.


def _fresh(control: ControlClient, world: str, wanted: Filters) -> Iterator[Call]:
    """Calls that come from now on.

    The event stream says that there was one; what was said is then in the log, in which the server looks for what is wanted.
    """
    events = control.events(world, ["call", "world"])
    latest = next(control.calls(world, newest_first=True, limit=1), None)
    after = 0 if latest is None else latest["number"]
    click.echo(f"understudy: following the calls of {printable(world)}; Ctrl-C ends it", err=True)
    for event in events:
        if event.type == "world":
            fail(f"world {world!r} has ended: {event.data['change']}")
        # Where events are missing nobody knows their numbers, so whatever is new is shown.
        number = event.data.get("number", after + 1)
        if number > after:
            for call in control.calls(world, after=after, **wanted):
                after = call["number"]
                yield call
            if event.type == "call":
                after = max(after, number)
    fail("the server has ended")


def _call_line(call: Call) -> str:
    parts = (str(call["number"]), call["at"], str(call["status"] or "-"), call["method"], call["path"])
    violations = [f"  violation: {violation}" for violation in call["violations"]]
    return printable("\n".join(["  ".join(parts), *violations]), kept="\n")


def _show_call(control: ControlClient, world: str, number: int, form: str) -> None:
    call = control.call(world, number)
    if form == "json":
        show_json(call)
        return
    facts = ("number", "at", "answered", "wall", "api", "operation", "role", "job", "cause", "nearest")
    show_lines({name: call.get(name) for name in facts if call.get(name)})
    for violation in call["violations"]:
        show_lines({"violation": violation})
    click.echo(f"\n{printable(call['method'])} {printable(call['path'])}")
    _show_message(call["request"])
    click.echo(f"\n{_status_line(call['status'])}")
    _show_message(call["response"])


def _status_line(status: int | None) -> str:
    if status is None:
        return "no answer: the connection was broken"
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _show_message(message: Message) -> None:
    for name, value in message["headers"]:
        click.echo(printable(f"{name}: {value}"))
    if message["body"]:
        click.echo()
        click.echo(_readable(message["body"]))
    if message["is_cut"]:
        click.echo(f"… cut; the whole body has {message['bytes']} bytes")


def _readable(body: str) -> str:
    """A body over as many lines as make it readable."""
    try:
        body = json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        body = body.replace("\r\n", "\n").rstrip("\n")
    return printable(body, kept="\n\t")


def _tell_more(is_more: bool) -> None:
    if is_more:
        click.echo("understudy: there are more; see --limit", err=True)
