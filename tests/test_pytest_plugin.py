"""The plugin as its users meet it: whole pytest runs in a process of their own."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from simulator.cli import main
from tests.running import pytest_in, serving

ROOT = Path(__file__).resolve().parent.parent
HELPERS = (ROOT / "tests" / "testing" / "ogc.py").read_text()


def run(folder: Path, source: str, *options: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of pytest over one module of tests."""
    (folder / "ogc.py").write_text(HELPERS)
    (folder / "test_it.py").write_text("import pytest\nfrom ogc import ask, state, submit\n\n\n" + source)
    return pytest_in(folder, *options, env=env)


FRESH = """
def test_one(understudy):
    job = submit(understudy.url("ogc"))
    assert [state(understudy.url("ogc"), job) for _ in range(4)][-1] == "successful"
    assert len(understudy.jobs()) == 1


@pytest.mark.scenario("fails-halfway", seed=9, time="frozen")
def test_two(understudy):
    job = submit(understudy.url("ogc"))
    assert understudy.facts()["seed"] == 9
    assert understudy.advance("1h")["events"][-1]["state"] == "failed"
    assert len(understudy.jobs()) == 1


@pytest.mark.scenario("mine.yaml")
def test_three(understudy):
    assert understudy.job(submit(understudy.url("ogc")))["state"] == "failed"
"""
VIOLATIONS = """
from urllib.error import HTTPError

def careless(understudy):
    with pytest.raises(HTTPError):
        ask(understudy.url("titan") + "/jobs", {"jobs": [{"payload": "{}"}]})

def test_careless(understudy):
    careless(understudy)

@pytest.mark.allow_violations
def test_careless_and_allowed(understudy):
    careless(understudy)

@pytest.mark.scenario("apis: {ica: {tokens: [good]}}\\njobs:\\n  - script: [queued: 1s, succeeded]\\n")
def test_a_bad_token_breaks_no_document(understudy):
    with pytest.raises(HTTPError):
        ask(understudy.url("ica") + "/v1/tasks/runs", Authorization="Bearer bad")
    assert understudy.violations() == []

@pytest.mark.allow_violations
def test_no_token_does(understudy):
    with pytest.raises(HTTPError) as refusal:
        ask(understudy.url("ica") + "/v1/tasks/runs")
    assert refusal.value.headers["X-Understudy-Violation"].startswith("client: ")
    assert [line["kind"] for line in understudy.violations()] == ["unauthorized"]

def test_unknown_path(understudy):
    with pytest.raises(HTTPError):
        ask(understudy.url("titan") + "/nothing")
"""
FAILS = """
def test_fails(understudy):
    submit(understudy.url("ogc"), Authorization="Bearer secret-of-mine")
    assert False, "on purpose"
"""
UNPLAYABLE = """
@pytest.mark.scenario("hapy")
def test_misspelt(understudy):
    pass

@pytest.mark.scenario("nowhere.yaml")
def test_no_file(understudy):
    pass

@pytest.mark.scenario("jobs:\\n  - script: [walking: 1s]\\n")
def test_broken(understudy):
    pass
"""


class Session(NamedTuple):
    """One run of pytest over all of the above."""

    folder: Path
    code: int
    output: str


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A whole run with reports, of good tests and bad ones."""
    folder = tmp_path_factory.mktemp("session")
    (folder / "mine.yaml").write_text("jobs:\n  - script: [failed: Disk full]\n")
    source = "\n".join([FRESH, VIOLATIONS, FAILS, UNPLAYABLE])
    return Session(
        folder, *run(folder, source, "--understudy-report", "out", "--understudy-fail-under", "99")
    )


def test_tests_pass_fail_and_err_as_they_should(session: Session) -> None:
    assert session.code == 1
    assert "1 failed, 8 passed, 5 errors" in session.output, session.output


def test_a_client_that_breaks_the_document_is_told_operation_pointer_and_line(session: Session) -> None:
    assert "ERROR test_it.py::test_careless - " in session.output
    assert "client breaks the document: titan jobs_post at /jobs/0/image:" in session.output
    assert "(openapi/titan.yaml:" in session.output
    assert "ERROR test_it.py::test_unknown_path - " in session.output
    assert "client breaks the document: titan (no operation)" in session.output


def test_a_scenario_that_cannot_be_played_is_told_without_a_traceback(session: Session) -> None:
    assert "there is no scenario 'hapy', did you mean 'happy'?" in session.output
    assert "there is no scenario file nowhere.yaml" in session.output
    assert "inline:2:14" in session.output
    assert "Traceback" not in session.output
    assert "During handling" not in session.output


def test_a_test_that_failed_leaves_a_capsule_and_the_command_that_plays_it_again(session: Session) -> None:
    # A summary may tell some of them again.
    shown = set(re.findall(r"to see it again: understudy replay (\S+)", session.output))
    assert len(shown) == 3
    capsules = [session.folder / path for path in sorted(shown)]
    assert not any("secret-of-mine" in capsule.read_text() for capsule in capsules)
    replayed = CliRunner().invoke(main, ["replay", *map(str, capsules)])
    assert replayed.exit_code == 0, replayed.output


def test_reports_of_all_tests_are_written(session: Session) -> None:
    files = {file.name for file in (session.folder / "out").iterdir()}
    assert files == {"report.html", "junit.xml", "understudy.sarif", "run.json", "capsules"}
    tests = json.loads((session.folder / "out" / "run.json").read_text())["tests"]
    outcomes = {test["test"].partition("::")[2]: test["outcome"] for test in tests}
    assert outcomes["test_fails"] == "failed"
    assert outcomes["test_one"] == "passed"
    (failed,) = (test for test in tests if test["outcome"] == "failed")
    assert failed["replay"].startswith("understudy replay out/capsules/test-fails-")


def test_too_little_coverage_is_told(session: Session) -> None:
    assert "less than the 99 % asked for" in session.output


@pytest.mark.slow
def test_workers_of_xdist_do_not_meet_and_too_little_coverage_fails_their_run(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("jobs:\n  - script: [failed: Disk full]\n")
    code, output = run(
        tmp_path, FRESH, "-n", "2", "--understudy-report", "out", "--understudy-fail-under", "99"
    )
    assert code == 1, output
    assert "3 passed" in output
    assert len(json.loads((tmp_path / "out" / "run.json").read_text())["tests"]) == 3
    assert not (tmp_path / "out" / "parts").exists()


UNUSED = """
import sys

def test_nothing_is_loaded_that_nobody_uses():
    loaded = {name for name in sys.modules if name.startswith("simulator")}
    assert loaded == {"simulator", "simulator.pytest_plugin"}
    assert not {"connexion", "uvicorn", "httpx"} & sys.modules.keys()
"""


def test_a_run_that_does_not_use_it_loads_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(UNUSED)
    code, output = pytest_in(tmp_path)
    assert code == 0, output


OPTIONS = """
def test_options(understudy):
    facts = understudy.facts()
    assert (facts["seed"], facts["time"]["mode"]) == (42, "60x")
    assert understudy.control.url == "URL"
"""


def test_a_running_server_is_used_with_the_token_seed_and_time_that_are_given(tmp_path: Path) -> None:
    with serving("--admin-token", "of-mine") as running:
        source = OPTIONS.replace("URL", running.url)
        known = {"UNDERSTUDY_URL": running.url, "UNDERSTUDY_ADMIN_TOKEN": "of-mine"}
        options = ("--understudy-seed=42", "--understudy-time=60x", "--understudy-strict")
        code, output = run(tmp_path, source, *options, env=known)
        assert code == 0, output
        code, output = run(tmp_path, source, "--understudy-url", running.url)
        assert code == 1
        assert "wants its token" in output
        assert "Traceback" not in output
