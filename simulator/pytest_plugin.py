"""The pytest plugin: a fresh world for each test that asks for one, and failures explained.

pytest loads it in every run where understudy is installed, so nothing of the simulator is imported before a test uses it. With
xdist each worker has a server of its own.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Generator, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from simulator.testing.recording import Recorder
    from simulator.testing.serving import Server
    from simulator.testing.world import Understudy

_SLUG_MAX = 40
_CAPSULES = Path(".understudy")
"""Where capsules of failed tests are written when no report is asked for, below pytest's root."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of the plugin."""
    group = parser.getgroup("understudy", "a stand-in for HTTP services that run asynchronous jobs")
    group.addoption(
        "--understudy-url",
        metavar="URL",
        default=os.environ.get("UNDERSTUDY_URL"),
        help="use the server that runs there instead of starting one (environment: UNDERSTUDY_URL)",
    )
    group.addoption(
        "--understudy-token",
        metavar="TOKEN",
        default=os.environ.get("UNDERSTUDY_ADMIN_TOKEN"),
        help="admin token of that server (environment: UNDERSTUDY_ADMIN_TOKEN)",
    )
    group.addoption(
        "--understudy-seed",
        type=int,
        default=1,
        metavar="N",
        help="every id and every drawn value follows from it (default: 1)",
    )
    group.addoption(
        "--understudy-time",
        default=None,
        metavar="MODE",
        help="poll (the default: status calls move time), frozen, real, or a factor such as 60x",
    )
    group.addoption(
        "--understudy-strict",
        action="store_true",
        help="a reply of understudy that breaks its document becomes a 500",
    )
    group.addoption(
        "--understudy-report",
        metavar="DIR",
        help="write reports there: HTML, JUnit XML, SARIF and JSON, and a capsule of each test that failed",
    )
    group.addoption(
        "--understudy-fail-under",
        type=float,
        metavar="PERCENT",
        help="fail when the tests saw less than this of what clients of the APIs can meet",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Make the markers known, and a place for what this process holds."""
    config.addinivalue_line(
        "markers",
        "scenario(wanted, *, seed=None, time=None): what the fixture `understudy` plays: the name of a shipped"
        " scenario, the path of a file, YAML text or a mapping",
    )
    config.addinivalue_line(
        "markers", "allow_violations: the client of this test may break the documents of the APIs"
    )
    config.stash[_RUN] = _Run(config)
    folder = config.getoption("understudy_report")
    if folder is not None and not hasattr(config, "workerinput"):
        from simulator.testing.recording import begin

        begin(Path(folder))


class _Run:
    """What one process of a test run holds: its server and its records, each from its first use on."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._server: Server | None = None
        self._recorder: Recorder | None = None

    @property
    def server(self) -> Server:
        """The server of this process."""
        if self._server is None:
            from simulator.testing.serving import DEFAULT_TIME, Server

            option = self._config.getoption
            self._server = Server(
                url=option("understudy_url"),
                token=option("understudy_token"),
                seed=option("understudy_seed"),
                time=option("understudy_time") or DEFAULT_TIME,
                strict=option("understudy_strict"),
            )
        return self._server

    @property
    def recorder(self) -> Recorder:
        """Where tests are written down for the reports."""
        if self._recorder is None:
            from simulator.testing.recording import Recorder

            folder = self._config.getoption("understudy_report")
            worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
            self._recorder = Recorder(None if folder is None else Path(folder), worker)
        return self._recorder

    @property
    def capsules(self) -> Path:
        """The folder for capsules of tests that failed."""
        folder = self._config.getoption("understudy_report")
        return Path(folder) / "capsules" if folder else self._config.rootpath / _CAPSULES

    def close(self) -> None:
        """Write down what is held, and stop the server."""
        if self._recorder is not None:
            self._recorder.close()
        if self._server is not None:
            self._server.close()
            self._server = None


_RUN = pytest.StashKey[_Run]()
_CALLED = pytest.StashKey[pytest.TestReport]()
_REPLAY = pytest.StashKey[str]()


@pytest.fixture
def understudy(request: pytest.FixtureRequest) -> Iterator[Understudy]:
    """A fresh world for this test: `understudy.url("ica")`, `understudy.advance("10m")`, `understudy.calls()`.

    What it plays is said by `@pytest.mark.scenario(…)` or by `understudy.use(…)`. A test whose client breaks the document of
    an API fails, unless it is marked `allow_violations` or the scenario declares it.
    """
    from simulator.control_client import ControlError, ServerUnreachable

    run = request.config.stash[_RUN]
    marker = request.node.get_closest_marker("scenario")
    wanted, options = (marker.args[0] if marker.args else None, marker.kwargs) if marker else (None, {})
    refusal = ""
    try:
        world = run.server.world(_scenario(wanted, request), name=_world_name(request, run), **options)
    except (ControlError, ServerUnreachable) as problem:
        refusal = str(problem)
    if refusal:
        pytest.fail(refusal, pytrace=False)
    yield world
    try:
        _conclude(request, run, world)
    finally:
        world.close()


def _conclude(request: pytest.FixtureRequest, run: _Run, world: Understudy) -> None:
    """Look back at a test that has ended: write it down, and fail it if its client broke a document."""
    from simulator.testing.recording import explain, undeclared

    violations = undeclared(world.violations())
    if request.node.get_closest_marker("allow_violations"):
        violations = [line for line in violations if line["by"] == "server"]
    replay = request.node.stash.get(_REPLAY, "")
    if violations and not replay:
        replay = _keep_capsule(run, world)
    run.recorder.add(request.node.nodeid, world, request.node.stash.get(_CALLED, None), violations, replay)
    if violations:
        pytest.fail(explain(violations, replay), pytrace=False)


def _keep_capsule(run: _Run, world: Understudy) -> str:
    """Write the capsule of a test that failed; the command that plays it again, or why there is none."""
    from simulator.control_client import ControlError, ServerUnreachable

    try:
        capsule = world.capsule()
    except (ControlError, ServerUnreachable) as problem:
        return f"(no capsule: {problem})"
    run.capsules.mkdir(parents=True, exist_ok=True)
    file = run.capsules / f"{world.name}.yaml"
    file.write_text(capsule, encoding="utf-8")
    try:
        shown = file.resolve().relative_to(Path.cwd())
    except ValueError:
        shown = file
    return f"understudy replay {shown}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep what became of a test for its fixture to look back at, and say how to see a failure again."""
    report = yield
    world = getattr(item, "funcargs", {}).get("understudy")
    if report.when == "call" and world is not None:
        item.stash[_CALLED] = report
        if report.failed:
            replay = _keep_capsule(item.config.stash[_RUN], world)
            item.stash[_REPLAY] = replay
            report.sections.append(("understudy", f"to see it again: {replay}"))
    return report


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop the server; the process that speaks to people writes the reports."""
    run = session.config.stash[_RUN]
    run.close()
    folder = session.config.getoption("understudy_report")
    fail_under = session.config.getoption("understudy_fail_under")
    if hasattr(session.config, "workerinput") or (folder is None and fail_under is None):
        return
    from simulator.testing.recording import conclude

    summary, is_enough = conclude(None if folder is None else Path(folder), run.recorder, fail_under)
    session.config.stash[_SUMMARY] = summary
    if not is_enough and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


_SUMMARY = pytest.StashKey[str]()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say where the reports are, and what the tests saw of the APIs."""
    summary = config.stash.get(_SUMMARY, "")
    if summary:
        terminalreporter.write_sep("=", "understudy")
        terminalreporter.write_line(summary)


def _scenario(wanted: Any, request: pytest.FixtureRequest) -> Any:
    """What a marker names; a file is looked for beside the test, then from where pytest was started."""
    if not isinstance(wanted, str) or "\n" in wanted or not wanted.endswith((".yaml", ".yml")):
        return wanted
    for folder in (request.path.parent, request.config.invocation_params.dir):
        if (folder / wanted).is_file():
            return folder / wanted
    pytest.fail(f"there is no scenario file {wanted}, neither beside {request.path} nor here", pytrace=False)


def _world_name(request: pytest.FixtureRequest, run: _Run) -> str:
    """A name that says which test it is; the same in each run, unless others use the server, too."""
    node = request.node.nodeid
    told = "".join(node.split("::")[1:]) or node
    slug = re.sub(r"[^a-z0-9]+", "-", told.lower()).strip("-")[-_SLUG_MAX:].strip("-")
    owner = (
        f"{os.getpid()} {os.uname().nodename if hasattr(os, 'uname') else sys.platform}"
        if run.server.is_shared
        else ""
    )
    digest = blake2b(f"{node} {owner}".encode(), digest_size=4).hexdigest()
    return f"{slug or 'test'}-{digest}"
