"""The command as a user meets it: output, exit codes, signals."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from email.message import Message
from pathlib import Path
from time import sleep
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from simulator.assemble import API_MODULES, load_apis
from simulator.cli import main
from simulator.resources import shipped_scenarios
from simulator.scenario.calls import FAULTS
from tests.running import serving


def understudy(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_list_apis_tells_where_each_is_served() -> None:
    result = understudy("list", "apis", "--format", "json")
    assert result.exit_code == 0
    paths = {row["name"]: row["path"] for row in json.loads(result.stdout)}
    assert paths == {
        "synapse": "/synapse/repo/v1",
        "jbpm": "/jbpm/kie-server/services/rest",
        "ogc": "/ogc",
        "ica": "/ica",
        "titan": "/titan/v1",
    }


def test_list_operations_tells_the_role_of_a_get_that_claims() -> None:
    rows = json.loads(understudy("list", "operations", "titan", "--format", "json").stdout)
    assert {
        "api": "titan",
        "operation": "jobs_consume_get",
        "role": "claim",
        "method": "GET",
        "path": "/jobs/consume",
    } in rows
    assert {row["api"] for row in rows} == {"titan"}


def test_list_scenarios_shows_every_shipped_one() -> None:
    text = understudy("list", "scenarios").stdout
    for name in shipped_scenarios():
        assert f"\n{name} " in text


def test_list_settings_shows_every_setting_with_what_it_takes() -> None:
    rows = json.loads(understudy("list", "settings", "--format", "json").stdout)
    apis = load_apis()
    assert [(row["api"], row["setting"]) for row in rows] == [
        (name, setting) for name, api in apis.items() for setting in api.settings
    ]
    (row,) = (row for row in rows if row["setting"] == "no_token")
    assert (row["takes"], row["default"]) == ("refused or anonymous", "refused")
    text = understudy("list", "settings", "synapse").stdout
    assert "no_token" in text
    assert "after_removal" not in text


def test_list_faults_tells_when_each_strikes_and_what_it_takes() -> None:
    rows = json.loads(understudy("list", "faults", "--format", "json").stdout)
    assert [row["fault"] for row in rows] == list(FAULTS)
    moments = {row["fault"]: (row["moment"], row["takes"]) for row in rows}
    assert moments["connection_reset"] == ("before", "-")
    assert moments["response_lost"] == ("after", "-")
    assert moments["html_error_page"] == ("instead", "status")
    text = understudy("list", "faults").stdout
    assert all(f"\n{name} " in text for name in FAULTS)


def test_check_refuses_an_answer_that_a_document_does_not_allow(tmp_path: Path) -> None:
    path = tmp_path / "teapot.yaml"
    rule = "when: {api: synapse, role: status}, answer: {status: 418}"
    path.write_text(f"jobs: [{{script: [running: 1s, succeeded]}}]\ncalls: [{{{rule}}}]\n")
    result = understudy("check", str(path))
    assert result.exit_code == 1
    assert f"{path}:2:" in result.stdout
    assert "418 is not declared by synapse GetJobStatus" in result.stdout
    assert understudy("serve", "synapse", "--scenario", str(path)).exit_code == 2
    path.write_text(path.read_text().replace("418}", "418}, violates: [status]"))
    assert understudy("check", str(path)).exit_code == 0


def test_list_operations_of_an_unknown_api_names_the_known_ones() -> None:
    result = understudy("list", "operations", "tital")
    assert result.exit_code == 2
    assert "there is no API 'tital'; there are: synapse, jbpm, ogc, ica, titan" in result.stderr


def test_check_without_a_path_finds_nothing_wrong_with_what_is_shipped() -> None:
    result = understudy("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"{len(shipped_scenarios()) + len(API_MODULES)} files, 0 errors" in result.stderr


def test_check_shows_every_problem_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("jobs:\n  - script: [queued: 1s, runing: 2s, succeeded]\n    onn_cancel: ignored\n")
    result = understudy("check", str(path))
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert any(line.startswith(f"{path}:2:26: ") and "did you mean 'running'" in line for line in lines), (
        lines
    )
    assert any(line.startswith(f"{path}:3:5: ") and "did you mean 'on_cancel'" in line for line in lines), (
        lines
    )
    shown = json.loads(understudy("check", str(path), "--format", "json").stdout)
    assert {(one["line"], one["column"], one["severity"]) for one in shown} == {
        (2, 26, "error"),
        (3, 5, "error"),
    }


def test_check_of_a_folder_reads_the_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text("jobs:\n  - script: [succeeded]\n")
    (tmp_path / "two.yml").write_text("jobs:\n  - script: [failed]\n")
    result = understudy("check", str(tmp_path))
    assert result.exit_code == 0
    assert "2 files, 0 errors" in result.stderr


def test_check_notes_what_an_api_cannot_express_of_a_file_that_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("jobs:\n- when: {api: jbpm}\n  script: [{running: 1s, progress: 5}, succeeded]\n")
    result = understudy("check", str(path))
    assert result.exit_code == 0
    assert result.stdout == f"{path}:3:36: jobs[0].script[0].progress: jbpm shows no progress (note)\n"
    assert result.stderr == "1 files, 0 errors, 0 warnings, 1 notes\n"
    [note] = json.loads(understudy("check", str(path), "--format", "json").stdout)
    assert (note["severity"], note["path"]) == ("note", "jobs[0].script[0].progress")


def test_check_shows_errors_and_warnings_of_all_files_in_one_go(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("jobs: 1\n")
    (tmp_path / "b.yaml").write_text("jobs:\n- script: [succeeded]\n- script: [failed]\n")
    (tmp_path / "c.yaml").write_text("jobs:\n- script: [succeded]\n")
    result = understudy("check", str(tmp_path))
    assert result.exit_code == 1
    assert [line.split(": ")[0].rpartition("/")[2] for line in result.stdout.splitlines()] == [
        "a.yaml:1:7",
        "b.yaml:3:3",
        "c.yaml:2:12",
    ]
    assert "3 files, 2 errors, 1 warnings" in result.stderr


def test_a_broken_file_that_two_others_extend_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("jobs: 1\n")
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text("extends: ./base.yaml\n")
    result = understudy("check", str(tmp_path / "one.yaml"), str(tmp_path / "two.yaml"))
    assert len(result.stdout.splitlines()) == 1


def test_check_explains_which_rule_takes_a_job_or_a_call(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "jobs:\n- when: {api: ica, request.name: 'nightly-*'}\n  script: [failed: boom]\n"
        "calls:\n- {when: {role: status, call: 2}, fault: hang}\n"
    )
    result = understudy("check", str(path), "--explain", "api=ica,request.name=nightly-7")
    assert result.exit_code == 0
    assert result.stdout == f"{path}:2: this rule takes the job\n  failed (failed: boom)\n"
    nearest = understudy("check", str(path), "--explain", "api=ica,operation=GetTaskRun").stdout
    assert nearest.endswith(f"{path}:5 hang: comes nearest, and wants call: 2 (this is 1)\n")
    lines = json.loads(understudy("check", str(path), "--explain", "api=ogc", "--format", "json").stdout)
    assert lines[0] == "no rule takes the job"
    wrong = understudy("check", str(path), "--explain", "apy=ogc")
    assert wrong.exit_code == 2
    assert "did you mean 'api'?" in wrong.stderr
    assert understudy("check", "--explain", "api=ogc").exit_code == 2
    path.write_text("jobs: 1\n")
    broken = understudy("check", str(path), "--explain", "api=ogc")
    assert broken.exit_code == 1
    assert f"{path}:1:7: jobs: must be a list" in broken.stdout


def test_schema_scenario_is_the_schema_of_what_check_reads(tmp_path: Path) -> None:
    result = understudy("schema", "scenario")
    schema = json.loads(result.stdout)
    assert (result.exit_code, schema["title"]) == (0, "understudy scenario")
    apis = load_apis()
    assert {
        name: set(part["properties"]) for name, part in schema["properties"]["apis"]["properties"].items()
    } == {name: set(api.settings) for name, api in apis.items()}


def test_timeline_tells_what_happens_without_a_server() -> None:
    result = understudy("timeline", "happy", "--api", "ica")
    assert result.exit_code == 0
    assert "  +1s  running    Running    0 %       200 Running    scenarios/happy.yaml:11" in result.stdout
    assert "  note: ica shows no progress (scenarios/happy.yaml:12)" in result.stdout
    told = json.loads(understudy("timeline", "happy", "--format", "json").stdout)
    assert [one["api"] for one in told] == list(API_MODULES)
    assert [row["at"] for row in told[0]["rows"]] == ["+0s", "+1s", "+4s"]


def test_timeline_of_a_file_and_another_seed(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("jobs:\n- script: [running: 1s..1h, succeeded]\n")
    texts = {understudy("timeline", str(path), "--api", "ogc", "--seed", seed).stdout for seed in "1122"}
    assert len(texts) == 2
    path.write_text("jobs: 1\n")
    broken = understudy("timeline", str(path))
    assert broken.exit_code == 2
    assert f"{path}:1:7: jobs: must be a list" in broken.stderr


def test_check_of_nothing_is_a_usage_error(tmp_path: Path) -> None:
    assert understudy("check", str(tmp_path)).exit_code == 2
    result = understudy("check", str(tmp_path / "absent.yaml"))
    assert result.exit_code == 2
    assert "there is no file or folder" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_when_it_is_ready_and_stops_cleanly(number: int) -> None:
    with serving() as running:
        with urlopen(f"{running.url}/__admin/health", timeout=5) as response:
            assert json.load(response)["status"] == "ok"
        code, errors = running.stop(number)
    assert code == 0
    assert "Traceback" not in errors
    for name in API_MODULES:
        assert f"{running.url}/{name}" in errors


def test_serve_one_api_answers_at_its_bare_path_too() -> None:
    with serving("titan") as running:
        for prefix in ("", "/titan"):
            with urlopen(f"{running.url}{prefix}/v1/jobs", timeout=5) as response:
                assert json.load(response) == {"jobs": []}


def test_serve_takes_its_options_from_the_environment() -> None:
    environment = {"UNDERSTUDY_TIME": "60x", "UNDERSTUDY_SEED": "42", "UNDERSTUDY_SCENARIO": "slow"}
    with serving(env=environment) as running, urlopen(f"{running.url}/__admin/health", timeout=5) as response:
        health = json.load(response)
    assert (health["time"]["mode"], health["seed"], health["scenario"]) == ("60x", 42, "slow")


def answer(url: str, path: str, *, method: str = "GET", token: str | None = None) -> tuple[int, Any, Message]:
    """Status, JSON and headers of a call of the control API or of titan."""
    headers = {"Content-Type": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    data = b'{"jobs": [{"image": "acme/resize:3"}]}' if method == "POST" else None
    request = Request(f"{url}{path}", data=data, headers=headers, method=method)
    try:
        with urlopen(request, timeout=5) as response:
            return response.status, json.load(response), response.headers
    except HTTPError as refused:
        with refused:
            return refused.code, json.load(refused), refused.headers


def test_serve_takes_the_limits_of_worlds_and_call_logs_from_the_environment() -> None:
    limits = {
        "UNDERSTUDY_MAX_WORLDS": "2",
        "UNDERSTUDY_MAX_CALLS": "1",
        "UNDERSTUDY_MAX_CALL_BYTES": "100000",
    }
    with serving("titan", "--time", "frozen", env={**limits, "UNDERSTUDY_WORLD_IDLE": "1d"}) as running:
        for name, status in (("one", 200), ("two", 503)):
            found, body, _ = answer(running.url, f"/worlds/{name}/titan/v1/jobs")
            assert found == status
        assert "the limit of 2 worlds is reached" in body["detail"]
        for _ in range(3):
            answer(running.url, "/v1/jobs")
        _, body, _ = answer(running.url, "/__admin/worlds/default/calls")
        assert [call["number"] for call in body["calls"]] == [3]


def test_no_call_is_kept_where_none_shall_be_and_idle_worlds_make_room() -> None:
    arguments = ("--max-calls", "0", "--max-worlds", "2", "--world-idle", "1ms", "--time", "frozen")
    with serving("titan", *arguments) as running:
        for name in ("one", "two"):
            assert answer(running.url, f"/worlds/{name}/titan/v1/jobs")[0] == 200
            sleep(0.05)  # Longer than a world may be idle.
        _, body, _ = answer(running.url, "/__admin/worlds")
        assert [(world["name"], world["calls"]) for world in body["worlds"]] == [("default", 0), ("two", 0)]


def test_polls_move_the_clock_by_the_step_unless_they_are_told_to_wait() -> None:
    for more, moved in (
        ((), "00:00:02"),
        (("--retry-after", "7"), "00:00:07"),
        (("--retry-after", "1m"), "00:01:00"),
    ):
        with serving("titan", "--time", "poll", "--poll-step", "2s", *more) as running:
            _, body, _ = answer(running.url, "/v1/jobs", method="POST")
            for _ in range(2):
                answer(running.url, f"/v1/job/{body['jobs'][0]['id']}")
            _, clock, _ = answer(running.url, "/__admin/worlds/default/clock")
            assert clock["now"] == f"2030-01-01T{moved}.000Z"


def test_the_control_api_wants_the_token_that_the_server_was_given() -> None:
    with serving("titan", env={"UNDERSTUDY_ADMIN_TOKEN": "open sesame"}) as running:
        assert answer(running.url, "/__admin/worlds")[0] == 401
        assert answer(running.url, "/__admin/worlds", token="open sesame")[0] == 200
        _, errors = running.stop()
    assert "sesame" not in errors


def test_a_server_that_other_machines_reach_makes_a_token_and_shows_it_once() -> None:
    with serving("titan", "--host", "0.0.0.0") as running:
        assert answer(running.url, "/__admin/worlds")[0] == 401
        assert answer(running.url, "/v1/jobs")[0] == 200
        assert running.process.stderr is not None
        lines = iter(running.process.stderr.readline, "")
        token = next(line for line in lines if line.startswith("  admin token ")).split()[-1]
        assert "its control API wants this token" in next(lines)
        assert len(token) == 32
        assert answer(running.url, "/__admin/worlds", token=token)[0] == 200
        _, errors = running.stop()
    assert token not in errors


def test_pages_of_an_origin_that_is_named_may_call() -> None:
    with serving("titan", "--cors", "http://localhost:3000") as running:
        for origin, allowed in (
            ("http://localhost:3000", "http://localhost:3000"),
            ("http://evil.example", None),
        ):
            with urlopen(
                Request(f"{running.url}/v1/jobs", headers={"Origin": origin}), timeout=5
            ) as response:
                assert response.headers["Access-Control-Allow-Origin"] == allowed


def test_time_runs_sixty_times_as_fast_when_asked() -> None:
    with serving("--time", "60x", "titan", "--scenario", "titan-self-running") as running:
        body = json.dumps({"jobs": [{"image": "acme/resize:3"}]}).encode()
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(f"{running.url}/v1/jobs", data=body, headers=headers), timeout=5) as response:
            job_id = json.load(response)["jobs"][0]["id"]
        # Four virtual seconds are a fifteenth of a real one; ask until then, and not for long.
        for _ in range(2000):
            with urlopen(f"{running.url}/v1/job/{job_id}", timeout=5) as response:
                job = json.load(response)["job"]
            if job["status"] == "succeeded":
                break
        assert job["status"] == "succeeded"
        assert job["started_at"] < job["completed_at"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "tital"], "there is no API 'tital'"),
        (["serve", "--scenario", "hapy"], "there is no scenario 'hapy'"),
        (["serve", "--time", "backwards"], "write real, frozen, poll or a factor such as 60x"),
        (["serve", "--port", "99999"], "99999"),
        (["serve", "--poll-step", "0s"], "'0s' is too short"),
        (["serve", "--world-idle", "soon"], "'soon' is not a duration; write it like 250ms, 2s"),
        (["serve", "--retry-after", "1500ms"], "'1500ms' is no number of whole seconds"),
        (["serve", "--max-worlds", "0"], "0 is not in the range x>=1"),
        (["serve", "--max-calls", "-1"], "-1 is not in the range x>=0"),
        (["serve", "--cors", "http://localhost:3000/"], "write it like http://localhost:3000"),
        (["serve", "--admin-token", ""], "the admin token is empty"),
        (["serve", "--admin-token", "a\nb"], "the admin token is empty or holds characters"),
        (["timeline", "hapy"], "there is no scenario 'hapy'"),
        (["timeline", "happy", "--api", "tital"], "there is no API 'tital'"),
        (["timeline"], "Missing argument"),
        (["frobnicate"], "No such command"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2_and_says_why(arguments: list[str], said: str) -> None:
    result = understudy(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_serve_with_a_broken_scenario_shows_its_problems(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("jobs: 3\n")
    result = understudy("serve", "--scenario", str(path))
    assert result.exit_code == 2
    assert f"{path}:1:7: " in result.stderr


def test_a_port_that_is_taken_is_said_to_be() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = understudy("serve", "--port", str(taken.getsockname()[1]))
    assert result.exit_code == 2
    assert "choose another with --port" in result.stderr


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "simulator", "--version"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ,
    )
    assert done.stdout.startswith("understudy, version ")


def test_help_loads_nothing_that_only_a_server_or_a_client_needs() -> None:
    heavy = "{'asyncio', 'connexion', 'faker', 'flask', 'httpx', 'jsonschema_rs', 'rich', 'uvicorn', 'yaml'}"
    done = subprocess.run(
        [sys.executable, "-c", f"import simulator.cli, sys; print(*sorted({heavy} & set(sys.modules)))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["yaml"]
