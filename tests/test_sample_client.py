"""A client package with tests of its own, which use of understudy only what users would; and the same with one bug each."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.running import pytest_in

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "tests" / "sample_client"


class Bug(NamedTuple):
    """A change to the client, the test of its suite that finds it, and what that says."""

    found_by: str
    right: str
    wrong: str
    told: str


BUGS = {
    "ignores_retry_after": Bug(
        "test_a_busy_service_is_asked_again_when_it_says",
        'wait_s = float(refusal.headers.get("Retry-After", wait_s * 2))',
        "wait_s = 1",
        "the client did not respect Retry-After: it waited 1 s of 5 s",
    ),
    "polls_after_the_end": Bug(
        "test_a_run_is_waited_for",
        'if run["status"] in ENDED:\n                break',
        'if run["status"] in ENDED:\n                run = self.run(run_id)\n                break',
        "the client polled 1 more times after it had been told that job",
    ),
    "retries_a_lost_submit": Bug(
        "test_a_lost_submit_makes_one_run",
        'known = [run["id"] for run in self.list() if run["name"] == name]',
        "known = []",
        "the client sent a submit again that had made job",
    ),
    "sends_a_wrong_field": Bug(
        "test_a_run_can_be_aborted",
        '"execution": {"image": {"name": image}',
        '"execution": {"image": {"nmae": image}',
        "client breaks the document: ica CreateTaskRun at /execution/image",
    ),
    "gives_up_early": Bug(
        "test_a_run_of_two_hours_is_not_given_up_early",
        "wait_s = min(wait_s * 2, LONGEST_WAIT_S)",
        'wait_s = min(wait_s * 2, LONGEST_WAIT_S)\n            if time.monotonic() - began > 600:\n                raise GaveUp("ten minutes")',
        "the client gave up early: it asked",
    ),
    "loses_pages": Bug(
        "test_all_pages_are_read",
        'if not page.get("nextPageToken"):',
        'if page.get("nextPageToken") or True:',
        "the client lost pages: it never asked for the one after this",
    ),
    "never_gives_up": Bug(
        "test_a_run_that_hangs_is_given_up",
        'if time.monotonic() - began + wait_s > self._patience_s:\n                raise GaveUp(f"{run_id} is',
        'if time.monotonic() - began + wait_s > 9 * self._patience_s:\n                raise GaveUp(f"{run_id} is',
        "the client did not give up within 3600 s",
    ),
}


def test_the_client_passes_its_own_tests() -> None:
    code, output = pytest_in(SAMPLE)
    assert code == 0, output
    assert "8 passed" in output


@pytest.mark.slow
@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_found_and_named(name: str, tmp_path: Path) -> None:
    bug = BUGS[name]
    shutil.copytree(SAMPLE, tmp_path / "client", ignore=shutil.ignore_patterns("__pycache__"))
    module = tmp_path / "client" / "acme_runs" / "client.py"
    source = module.read_text()
    assert source.count(bug.right) == 1
    module.write_text(source.replace(bug.right, bug.wrong))
    code, output = pytest_in(tmp_path / "client", "-k", bug.found_by)
    assert code == 1, output
    assert bug.told in output
    assert "to see it again: understudy replay" in output
