"""Everything that the README shows is run: its commands, its round trips, its scenario, its tables.

The set-up command is run in `tests/test_install.py`; the test command is what `.ci/run` calls.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulator.assemble import load_apis
from simulator.cli import main
from simulator.control_client import ControlClient
from simulator.report.model import Run, Tested, write_run
from simulator.resources import shipped_scenarios
from simulator.scenario.calls import FAULTS
from simulator.testing import server
from tests.running import pytest_in, serving

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
ADDRESS = "http://127.0.0.1:4010"
TRIPS = [text for kind, text in BLOCKS if kind == "sh" and text.startswith(f"URL={ADDRESS}")]
SCENARIOS = [text for kind, text in BLOCKS if kind == "yaml"]
RUN = "python3 -m venv .venv && .venv/bin/pip install -q . && .venv/bin/understudy serve\n"
TEST = "python3 -m venv .venv && .venv/bin/pip install -q -e '.[test]' && .venv/bin/pytest -q -n 2\n"
DOCKER = "docker build -t understudy . && docker run --rm -p 4010:4010 understudy\n"
DEMO = ".venv/bin/understudy demo\n"


def shell(text: str, folder: Path, url: str) -> str:
    """Run a block in bash in a folder of its own, with understudy, pytest, and a stand-in for curl where there is none."""
    tools = folder / "tools"
    tools.mkdir()
    for command, module in (("understudy", "simulator"), ("pytest", "pytest")):
        (tools / command).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
    if shutil.which("curl") is None:
        curl = (ROOT / "tests" / "curl_stand_in.py").read_text()
        (tools / "curl").write_text(f"#!{sys.executable}\n{curl}")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(ADDRESS, url)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "UNDERSTUDY_URL": url,
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def promised(text: str) -> list[str]:
    """What the remarks behind the commands say will be seen: JSON members, XML elements."""
    remarks = " ".join(re.findall(r"\s#\s(.*)$", text, re.MULTILINE))
    return re.findall(r'"\w[\w-]*":"[^"]+"|\{"\w+":"\w+"\}|<[\w-]+>\w+</[\w-]+>', remarks)


def test_there_is_a_round_trip_for_every_api() -> None:
    bases = [text.splitlines()[0].removeprefix(f"URL={ADDRESS}/").split("/")[0] for text in TRIPS]
    assert sorted(bases) == sorted(load_apis())


@pytest.mark.parametrize("text", TRIPS, ids=lambda text: text.splitlines()[0].split("/")[3])
def test_a_round_trip_shows_what_its_remarks_say(text: str, tmp_path: Path) -> None:
    # Ten times as fast, so that nobody has to wait as long as is shown.
    with serving("--strict", "--time", "10x") as running:
        seen = shell(text.replace("sleep 5", "sleep 0.6"), tmp_path, running.url)
    assert promised(text) or "resized one picture" in text
    for snippet in promised(text):
        assert snippet in seen, f"{snippet} is not in {seen}"


def test_the_titan_log_comes_back_as_it_was_sent(tmp_path: Path) -> None:
    (text,) = (text for text in TRIPS if "/titan/" in text)
    with serving() as running:
        assert shell(text, tmp_path, running.url).endswith("resized one picture\n")


@pytest.mark.parametrize("text", SCENARIOS, ids=lambda text: text.split(":")[1].split()[0])
def test_a_scenario_of_the_readme_is_without_problems(text: str, tmp_path: Path) -> None:
    (tmp_path / "my-scenario.yaml").write_text(text)
    result = CliRunner().invoke(main, ["check", str(tmp_path / "my-scenario.yaml"), "--format", "json"])
    assert [problem for problem in json.loads(result.stdout) if problem["severity"] != "note"] == []
    assert result.exit_code == 0


def test_the_commands_around_a_scenario_do_what_they_say(tmp_path: Path) -> None:
    (tmp_path / "my-scenario.yaml").write_text(SCENARIOS[0])
    (commands,) = (text for kind, text in BLOCKS if text.startswith("understudy serve --scenario"))
    for line in commands.splitlines():
        arguments = line.split("#")[0].split()[1:]
        if arguments[0] == "serve":
            with serving(*arguments[1:], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}) as running:
                assert running.url
        else:
            given = [str(tmp_path / word) if word.endswith(".yaml") else word for word in arguments]
            result = CliRunner().invoke(main, given)
            assert result.exit_code == 0, result.output


def test_the_clock_command_moves_a_frozen_clock(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if "/clock/advance" in text)
    with serving("--time", "frozen") as running:
        assert shell(text, tmp_path, running.url) == '{"now":"2030-01-01T00:00:05.000Z","events":[]}'


def test_a_world_is_made_steered_and_deleted_by_the_commands(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if text.startswith("understudy world create"))
    with serving() as running:
        seen = shell(text, tmp_path, running.url)
        with ControlClient(running.url) as control:
            assert [world["name"] for world in control.worlds()] == ["default"]
    for wanted in ("running", "held", "out_of_memory", "Container killed", "POST"):
        assert wanted in seen, seen


def test_the_tests_of_a_client_pass_as_they_are_shown(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "python" and "pytest" in text)
    (tmp_path / "test_shown.py").write_text(text)
    shutil.copytree(ROOT / "tests" / "sample_client" / "acme_runs", tmp_path / "acme_runs")
    code, output = pytest_in(tmp_path)
    assert code == 0, output
    assert "2 passed" in output


def test_the_block_without_pytest_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (text,) = (text for kind, text in BLOCKS if kind == "python" and "pytest" not in text)
    exec(compile(text, "README.md", "exec"), {})
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/worlds/[\w-]+/ica\n", capsys.readouterr().out)


@pytest.mark.slow
def test_the_commands_for_tests_do_what_they_say(tmp_path: Path) -> None:
    (text,) = (text for kind, text in BLOCKS if text.startswith("understudy traps list"))
    poller = tmp_path / "tests" / "poller"
    poller.mkdir(parents=True)
    shutil.copytree(ROOT / "tests" / "sample_client" / "acme_runs", poller / "acme_runs")
    (poller / "test_poller.py").write_text(
        "from acme_runs import Runs, client\n\n\n"
        "def test_it(understudy):\n"
        '    runs = Runs(understudy.url("ica"), "any")\n'
        "    with understudy.linked_sleep(follow=[client]):\n"
        '        runs.wait(runs.submit("align", "ubuntu"))\n'
    )
    (tmp_path / "understudy-report").mkdir()
    write_run(Run((Tested("test_fine"),)), tmp_path / "understudy-report" / "run.json")
    (tmp_path / ".understudy").mkdir()
    with server("titan") as understudy:
        (tmp_path / ".understudy" / "test-a-run.yaml").write_text(understudy.capsule())
    # As shown, but that few cases are asked of the document.
    assert "understudy conform --api ica " in text
    text = text.replace("conform --api ica ", "conform --api ica --phases examples --max-examples 1 ")
    seen = shell(text, tmp_path, "")
    assert "retry-after-seconds" in seen
    assert "1 of 1 traps survived" in seen
    assert "1 tests: 1 passed" in seen


def test_every_block_is_run_by_some_test() -> None:
    known = {RUN, TEST, DOCKER, DEMO, *TRIPS, *SCENARIOS}
    rest = [text for kind, text in BLOCKS if kind and text not in known]
    # The commands around scenarios, worlds, the clock, two of Python, the commands for tests: see above.
    assert len(rest) == 6, rest
    assert {RUN, TEST, DOCKER, DEMO} <= {text for _, text in BLOCKS}


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert TEST.rpartition(".venv/bin/")[2].strip() in script


def test_the_docker_file_copies_what_there_is_and_runs_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        for name in line.split()[:-1]:
            assert (ROOT / name).exists(), name
    assert "\nUSER understudy\n" in text
    assert "\nHEALTHCHECK " in text
    assert "UNDERSTUDY_HOST=0.0.0.0" in text


def test_the_table_of_scenarios_is_complete() -> None:
    for name in shipped_scenarios():
        assert f"| `{name}` |" in README


def test_the_table_of_faults_is_complete() -> None:
    for name in FAULTS:
        assert f"`{name}`" in README


def test_the_table_of_settings_is_complete() -> None:
    for api in load_apis().values():
        for name in api.settings:
            assert f"| {api.name} | `{name}` |" in README, f"{api.name} {name}"
