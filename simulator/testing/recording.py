"""What the pytest plugin writes down of each test, and the reports that come of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, cast

from simulator.control_client import Violation
from simulator.report.model import Outcome, Run, Tested, merge, read_run, write_run
from simulator.testing.world import Understudy

PARTS = "parts"
"""The folder, within that of the reports, to which each process of a run writes its own tests."""
SHOWN_MAX = 20
"""So many violations are told of one test."""


class Report(Protocol):
    """What pytest says of the call phase of a test."""

    @property
    def outcome(self) -> str:
        """`passed`, `failed` or `skipped`."""

    @property
    def duration(self) -> float:
        """In seconds."""

    @property
    def longreprtext(self) -> str:
        """Why it failed."""


class Recorder:
    """Writes down the tests of one process.

    Args:
        folder: of the reports; None keeps the tests in memory.
        worker: a name for this process.
    """

    def __init__(self, folder: Path | None, worker: str) -> None:
        self.tests: list[Tested] = []
        self._folder = folder
        self._worker = worker

    def add(
        self,
        test: str,
        world: Understudy,
        report: Report | None,
        violations: Iterable[Violation],
        replay: str,
    ) -> None:
        """Write down a test with its world as it is at the end.

        Args:
            report: None when the test itself never ran.
            violations: those that are held against it.
            replay: the command that plays it again, if there is one.
        """
        outcome = "error" if report is None else report.outcome
        facts = world.facts()
        self.tests.append(
            Tested(
                test=test,
                outcome=cast(Outcome, outcome),
                seconds=0.0 if report is None else report.duration,
                failure="" if report is None or report.outcome == "passed" else report.longreprtext,
                world=world.name,
                scenario=facts["scenario"],
                seed=facts["seed"],
                replay=replay,
                jobs=[cast(Mapping[str, Any], world.job(job["id"], job["api"])) for job in world.jobs()],
                calls=[call.told for call in world.calls()],
                violations=[cast(Mapping[str, Any], violation) for violation in violations],
            )
        )

    def close(self) -> None:
        """Leave the tests where the process that writes the reports finds them."""
        if self._folder is not None:
            parts = self._folder / PARTS
            parts.mkdir(parents=True, exist_ok=True)
            write_run(Run(tuple(self.tests)), parts / f"{self._worker}.json")


def begin(folder: Path) -> None:
    """Make room for the parts of a new run."""
    with suppress(FileNotFoundError):
        shutil.rmtree(folder / PARTS)


def conclude(folder: Path | None, recorder: Recorder, fail_under: float | None) -> tuple[str, bool]:
    """Write the reports of all processes of a run, if they are wanted.

    Args:
        folder: of the reports; None writes none.
        recorder: of this process.
        fail_under: least coverage in percent.

    Returns:
        What people should be told, and whether enough was covered.
    """
    from simulator.report import coverage_of, write

    if folder is None:
        run = Run(tuple(recorder.tests))
    else:
        run = merge(read_run(part) for part in sorted((folder / PARTS).glob("*.json")))
    lines = []
    if folder is not None:
        written = write(run, folder)
        lines.append(f"reports: {', '.join(str(path) for path in written.values())}")
        shutil.rmtree(folder / PARTS, ignore_errors=True)
    coverage = coverage_of(run)
    lines.append(
        f"coverage: {coverage.percent:.1f} % of what clients can meet ({coverage.met} of {coverage.possible})"
    )
    is_enough = fail_under is None or coverage.percent >= fail_under
    if not is_enough:
        lines.append(f"that is less than the {fail_under:g} % asked for by --understudy-fail-under")
    return "\n".join(lines), is_enough


def undeclared(violations: Iterable[Violation]) -> list[Violation]:
    """Those that no scenario asked for."""
    return [violation for violation in violations if not violation.get("declared")]


def explain(violations: Iterable[Violation], replay: str) -> str:
    """Violations for the one whose test fails of them: operation, JSON pointer, and the line of the document."""
    from simulator.report.junit import violation_text

    seen = Tested("", violations=[cast(Mapping[str, Any], violation) for violation in violations])
    texts = [*dict.fromkeys(violation_text(violation) for violation in seen.seen_violations)]
    more = [f"… and {len(texts) - SHOWN_MAX} more"] if len(texts) > SHOWN_MAX else []
    return "\n".join([*texts[:SHOWN_MAX], *more, *([f"to see it again: {replay}"] if replay else [])])
