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
from simulator.resources import shipped_scenarios
from simulator.scenario.calls import FAULTS
from tests.running import serving

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
    """Run a block in bash in a folder of its own, with a stand-in for curl where there is none."""
    path = os.environ["PATH"]
    if shutil.which("curl") is None:
        tools = folder / "tools"
        tools.mkdir()
        curl = tools / "curl"
        curl.write_text(f"#!{sys.executable}\n" + (ROOT / "tests" / "curl_stand_in.py").read_text())
        curl.chmod(0o755)
        path = f"{tools}:{path}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text.replace(ADDRESS, url)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
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
    with serving("--strict") as running:
        seen = shell(text, tmp_path, running.url)
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


def test_every_block_is_run_by_some_test() -> None:
    known = {RUN, TEST, DOCKER, DEMO, *TRIPS}
    rest = [text for kind, text in BLOCKS if kind in ("sh", "yaml") and text not in known]
    assert len(rest) == 2 + len(SCENARIOS), (
        rest
    )  # the scenarios, the commands around them, the clock: see above
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
