"""The commands `understudy traps …`: a client's own command in one trap after the other, and a scorecard.

Exit codes: 0 no trap caught the client, 1 one did or none was sprung, 2 usage or a command that fails without any trap; 128 and the
signal's number when it was interrupted. What happens meanwhile goes to stderr, the scorecard to stdout.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import click

from simulator.cli_parts import (
    DurationType,
    TimeType,
    fail,
    format_option,
    printable,
    show,
    show_json,
    show_table,
)
from simulator.runtime.timesource import TimeMode

if TYPE_CHECKING:
    from simulator.traps import Outcome, Runner, Trap

LINES_SHOWN = 40
"""Of the output of a command that a trap has caught."""
COLUMNS = ("trap", "verdict", "seconds", "calls", "jobs", "a good client", "remarks")
_CLOSEST = 3


@click.group()
def traps() -> None:
    """Situations in which careless clients fail, and how your own client fares in them."""


@traps.command("list")
@click.option("--api", "apis", multiple=True, metavar="API", help="Only those that concern its clients.")
@format_option
def list_traps(apis: tuple[str, ...], form: str) -> None:
    """The traps, and what a good client does in each.

    EXIT is how a command should end that ends with 0 only when its jobs succeed.
    """
    rows: list[dict[str, Any]] = [
        {
            "trap": trap.name,
            "group": trap.group,
            "apis": list(trap.apis) if form == "json" else ",".join(trap.apis) or "all",
            "exit": trap.ending.value,
            "good_client": trap.good_client,
        }
        for trap in _chosen((), _known(apis))
    ]
    show(rows, form)


@traps.command("run", context_settings={"allow_interspersed_args": False})
@click.option(
    "--trap",
    "names",
    multiple=True,
    metavar="NAME",
    help="Only these: a name, a group such as poll, or a pattern such as 'fault-*'; may be given several times.",
)
@click.option(
    "--api",
    "apis",
    multiple=True,
    metavar="API",
    help="Serve only this API, and only its traps; may be given several times.  [default: traps of those that the"
    " baseline run calls]",
)
@click.option("--time", "mode", type=TimeType(), default="poll", show_default=True, help="How time passes.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="Every id and every drawn value follows from it."
)
@click.option(
    "--timeout",
    "timeout_ms",
    type=DurationType(least_ms=1),
    default="60s",
    show_default=True,
    help="How long the command may take in each trap; then it is ended.",
)
@click.option(
    "--jobs", type=click.IntRange(1, 64), default=1, show_default=True, help="Run so many commands at once."
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first trap that catches the client.")
@click.option(
    "--knows-traps",
    is_flag=True,
    help="The command looks at UNDERSTUDY_TRAP and ends with 0 whenever the client behaves, also where no job can succeed.",
)
@click.option(
    "--baseline",
    default="happy",
    show_default=True,
    metavar="SCENARIO",
    help="Where the command must succeed before there are traps.",
)
@click.option("--no-baseline", is_flag=True, help="Begin with the traps at once.")
@click.option(
    "--junit", type=click.Path(dir_okay=False, path_type=Path), help="Write the scorecard there, too."
)
@click.option("-v", "--verbose", is_flag=True, help="Show all output of every command.")
@format_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def run_traps(
    names: tuple[str, ...],
    apis: tuple[str, ...],
    mode: TimeMode,
    seed: int,
    timeout_ms: int,
    jobs: int,
    fail_fast: bool,
    knows_traps: bool,
    baseline: str,
    no_baseline: bool,
    junit: Path | None,
    verbose: bool,
    form: str,
    command: tuple[str, ...],
) -> None:
    """Run a command, such as a test suite, once in each trap.

    It finds the server in UNDERSTUDY_URL, the base URL of each API in UNDERSTUDY_ICA_URL and the like, and the name of the trap
    in UNDERSTUDY_TRAP. It survives when it ends with 0, and where no job can succeed when it says so by another exit code.
    """
    from simulator.traps import CannotStart, Runner

    if sys.platform == "win32":
        fail("this needs process groups as POSIX systems have them; run it in WSL or in a container")
    served = _known(apis)
    chosen = _chosen(names, served)
    if junit is not None and not junit.resolve().parent.is_dir():
        fail(f"there is no folder {junit.parent} for {junit.name}")
    runner = Runner(
        command, apis=served, time=mode, seed=seed, timeout_s=timeout_ms / 1000, knows_traps=knows_traps
    )
    card = Scorecard(f"--time {mode} --seed {seed}", verbose=verbose, is_told=form == "text")
    with _interruptible():
        try:
            if not no_baseline:
                first = _pass_baseline(runner, baseline, card)
                if not served and not names:
                    chosen = [trap for trap in chosen if trap.concerns([*first.seen.apis])]
            with closing(runner.run_all(chosen, jobs=jobs, fail_fast=fail_fast)) as outcomes:
                for outcome in outcomes:
                    card.add(outcome)
        except CannotStart as problem:
            fail(str(problem))
        except _Signalled as interrupt:
            card.signal = interrupt.number
    if form == "json":
        show_json(card.as_json())
    else:
        card.show(len(chosen))
    if junit is not None:
        try:
            junit.write_bytes(card.as_junit())
        except OSError as problem:
            fail(f"cannot write {junit}: {problem.strerror or problem}")
    sys.exit(card.exit_code)


def _pass_baseline(runner: Runner, scenario: str, card: Scorecard) -> Outcome:
    """Run the command without a trap; leaves when it fails or has nothing to do with the server."""
    from simulator.assemble import UsageError
    from simulator.scenario.read import ScenarioError

    try:
        outcome = runner.run_baseline(scenario)
    except (UsageError, ScenarioError) as problem:
        fail(str(problem))
    if outcome.reason:
        hint = ""
        if outcome.seen.waiting:
            waiting = " and ".join(sorted(outcome.seen.waiting))
            hint = (
                f"\njobs of {waiting} waited for a worker that takes them; for a client that only submits:"
                " --baseline titan-self-running"
            )
        fail(
            f"the command fails without any trap, in {scenario}: {outcome.reason}{hint}\n"
            + _output(outcome, is_whole=card.verbose)
        )
    if not outcome.seen.calls:
        fail(
            "the command succeeds without a single call; it finds the server in UNDERSTUDY_URL and the base URL of each"
            " API in UNDERSTUDY_ICA_URL and the like"
        )
    card.baseline = outcome
    card.tell(outcome)
    return outcome


class Scorecard:
    """What became of the command in each trap.

    Args:
        played: the options with which a trap can be seen again.
        is_told: people wait and want to hear what happens.
    """

    def __init__(self, played: str, *, verbose: bool = False, is_told: bool = True) -> None:
        self.baseline: Outcome | None = None
        self.outcomes: list[Outcome] = []
        self.verbose = verbose
        self.signal = 0
        """Which one interrupted it."""
        self._played = played
        self._is_told = is_told

    def add(self, outcome: Outcome) -> None:
        """Count it, and tell of it."""
        self.outcomes.append(outcome)
        self.tell(outcome)

    def tell(self, outcome: Outcome) -> None:
        """Say what has just happened."""
        if self._is_told:
            reason = f": {outcome.reason}" if outcome.reason else ""
            line = f"{outcome.name}: {outcome.verdict.value} in {outcome.ended.seconds:.1f} s{reason}"
            click.echo(printable(line), err=True)
            if self.verbose:
                click.echo(_output(outcome, is_whole=True), err=True)

    @property
    def exit_code(self) -> int:
        """What the whole run ends with."""
        if self.signal:
            return 128 + self.signal
        is_caught = any(outcome.verdict.is_bad for outcome in self.outcomes)
        return int(is_caught or not self._counts["passed"])

    @property
    def _counts(self) -> Counter[str]:
        return Counter(outcome.verdict.value for outcome in self.outcomes)

    @property
    def summary(self) -> str:
        """In one line."""
        counts = self._counts
        rest = [
            f"{counts[verdict]} {verdict}"
            for verdict in ("failed", "timed out", "not sprung")
            if counts[verdict]
        ]
        return ", ".join([f"{counts['passed']} of {len(self.outcomes)} traps survived", *rest])

    def show(self, wanted: int) -> None:
        """Print it for people.

        Args:
            wanted: how many traps there should have been.
        """
        for outcome in self.outcomes:
            if outcome.verdict.is_bad:
                self._show_failure(outcome)
        if self.outcomes:
            show_table(map(self._row, self.outcomes), COLUMNS)
            click.echo()
        click.echo(self.summary)
        if self._counts["not sprung"]:
            click.echo("What was not sprung was not tested: the command never did what would have sprung it.")
        if wanted > len(self.outcomes):
            why = f"interrupted by {signal.Signals(self.signal).name}" if self.signal else "stopped"
            click.echo(f"{why} before {wanted - len(self.outcomes)} further traps")

    def _show_failure(self, outcome: Outcome) -> None:
        assert outcome.trap is not None
        click.echo(f"== {outcome.name}: {outcome.verdict.value} ==")
        click.echo(f"what happened   {printable(outcome.reason)}")
        click.echo(f"a good client   {outcome.trap.good_client}")
        click.echo(f"to see it again {self._replay(outcome)}")
        # All of it was shown before.
        if not self.verbose:
            click.echo(_output(outcome))
        click.echo()

    def _replay(self, outcome: Outcome) -> str:
        return f"understudy serve --scenario {outcome.name} {self._played}"

    @staticmethod
    def _row(outcome: Outcome) -> dict[str, Any]:
        assert outcome.trap is not None
        reason = [outcome.reason] if outcome.reason else []
        return {
            "trap": outcome.name,
            "verdict": outcome.verdict.value,
            "seconds": f"{outcome.ended.seconds:.1f}",
            "calls": outcome.seen.calls,
            "jobs": outcome.seen.jobs,
            "a good client": outcome.trap.good_client,
            "remarks": "; ".join(reason + outcome.seen.remarks) or None,
        }

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        counts = self._counts
        return {
            "baseline": None if self.baseline is None else self._as_json(self.baseline),
            "traps": [
                {
                    "trap": outcome.name,
                    "good_client": outcome.trap.good_client,
                    **self._as_json(outcome),
                    "replay": self._replay(outcome),
                }
                for outcome in self.outcomes
                if outcome.trap is not None
            ],
            "summary": {
                "traps": len(self.outcomes),
                **{
                    name: counts[name.replace("_", " ")]
                    for name in ("passed", "failed", "timed_out", "not_sprung")
                },
                "interrupted": bool(self.signal),
            },
        }

    @staticmethod
    def _as_json(outcome: Outcome) -> dict[str, Any]:
        seen = outcome.seen
        return {
            "verdict": outcome.verdict.value,
            "reason": outcome.reason,
            "seconds": round(outcome.ended.seconds, 3),
            "exit_code": outcome.ended.exit_code,
            "apis": sorted(seen.apis),
            "calls": seen.calls,
            "jobs": seen.jobs,
            "violations": seen.violations,
            "polls_after_end": seen.polls_after_end,
            "submitted_again": seen.submitted_again,
            "sprung": seen.is_sprung,
            "output": outcome.ended.output,
        }

    def as_junit(self) -> bytes:
        """For build servers, one case per trap."""
        counts = self._counts
        seconds = sum(outcome.ended.seconds for outcome in self.outcomes)
        numbers = {
            "tests": str(len(self.outcomes)),
            "failures": str(counts["failed"] + counts["timed out"]),
            "errors": "0",
            "time": f"{seconds:.3f}",
        }
        root = ElementTree.Element("testsuites", {"name": "understudy traps", **numbers})
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": "understudy traps", **numbers, "skipped": str(counts["not sprung"])}
        )
        for outcome in self.outcomes:
            assert outcome.trap is not None
            case = ElementTree.SubElement(
                suite,
                "testcase",
                {
                    "classname": f"understudy.traps.{outcome.trap.group}",
                    "name": outcome.name,
                    "time": f"{outcome.ended.seconds:.3f}",
                },
            )
            if outcome.verdict.is_bad or outcome.verdict.value == "not sprung":
                kind = "failure" if outcome.verdict.is_bad else "skipped"
                message = f"{outcome.verdict.value}: {outcome.reason}"
                told = ElementTree.SubElement(case, kind, {"message": printable(message)})
                told.text = f"a good client {outcome.trap.good_client}\n{self._replay(outcome)}"
            ElementTree.SubElement(case, "system-out").text = printable(outcome.ended.output, kept="\n\t")
        ElementTree.indent(root)
        report: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
        return report + b"\n"


def _output(outcome: Outcome, *, is_whole: bool = False) -> str:
    """What the command wrote, each line marked, as it can be shown on a terminal."""
    lines = outcome.ended.output.split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        return "| (no output)"
    left_out = 0 if is_whole else max(len(lines) - LINES_SHOWN, 0)
    head = [f"| … {left_out} lines before these; -v shows all"] if left_out else []
    return "\n".join([*head, *(f"| {printable(line, kept=chr(9))}" for line in lines[left_out:])])


def _known(apis: Sequence[str]) -> tuple[str, ...]:
    """These APIs; leaves when there is no such one."""
    from simulator.assemble import UsageError, load_apis

    try:
        return tuple(load_apis(apis)) if apis else ()
    except UsageError as problem:
        fail(str(problem))


def _chosen(names: Sequence[str], apis: Sequence[str]) -> list[Trap]:
    """The traps with these names, groups or patterns that concern these APIs; none: all. Leaves when there are none."""
    from simulator.traps import TRAPS

    for name in names:
        if not any(_is_meant(trap, name) for trap in TRAPS):
            known = [word for trap in TRAPS for word in (trap.name, trap.group)]
            close = get_close_matches(name, dict.fromkeys(known), _CLOSEST)
            hint = f"did you mean {' or '.join(close)}?" if close else "understudy traps list shows them"
            fail(f"there is no trap {name!r}; {hint}")
    chosen = [
        trap
        for trap in TRAPS
        if (not names or any(_is_meant(trap, name) for name in names)) and (not apis or trap.concerns(apis))
    ]
    if not chosen:
        fail(f"none of these traps concerns clients of {' or '.join(apis)}")
    return chosen


def _is_meant(trap: Trap, name: str) -> bool:
    return (
        name in (trap.name, trap.group)
        or fnmatchcase(trap.name, name)
        or fnmatchcase(f"{trap.group}/{trap.name}", name)
    )


class _Signalled(BaseException):
    """Somebody wants it to end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within the block the usual signals to stop raise `_Signalled`, once: what is done because of it is not disturbed."""
    # What whoever started this wants to be ignored, as nohup does, stays ignored.
    numbers = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN
    ]

    def handle(number: int, frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise _Signalled(number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
