"""`understudy replay`: exit codes, what it prints, and a world that goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from simulator.capsule.model import read_capsule
from simulator.cli_replay import replay
from tests.kit import Kit

PROGRAM = "from simulator.cli_replay import replay; replay()"
ROOT = Path(__file__).resolve().parents[1]


def capsule(kit: Kit | None = None) -> str:
    kit = kit or Kit(seed=3)
    job = kit.post("/titan/v1/jobs", json={"jobs": [{"image": "a/b:1"}]}).json()["jobs"][0]["id"]
    kit.advance("5s")
    kit.get(f"/titan/v1/job/{job}")
    return kit.get("/__admin/worlds/default/capsule").text


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(replay, [str(argument) for argument in arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.yaml"
    path.write_text(capsule())
    return path


def test_equal_answers_end_with_0(file: Path) -> None:
    result = run(file, file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"{file}: 2 calls, 3 steps: every answer is the same"] * 2


def test_a_difference_ends_with_1_and_is_shown(file: Path) -> None:
    file.write_text(file.read_text().replace('"status":"', '"status":"not-'))
    result = run(file)
    assert result.exit_code == 1
    assert f"{file}: 2 calls, 3 steps: 2 answers differ" in result.stdout
    assert (
        "call 1 (step 1), POST /titan/v1/jobs at 2030-01-01T00:00:00.000Z: body at /jobs/0/status differs"
        in result.stdout
    )
    assert "and 1 more; -v shows all" in result.stdout
    assert "call 2 (step 3)" in run(file, "-v").stdout


def test_machines_get_json(file: Path) -> None:
    file.write_text(file.read_text().replace("status: 200", "status: 201"))
    result = run(file, "--format", "json")
    assert result.exit_code == 1
    (seen,) = json.loads(result.stdout)
    assert [(one["call"], one["what"], one["recorded"]) for one in seen["differences"]] == [
        (2, "status", "201")
    ]


def test_another_version_or_document_is_told_first(file: Path) -> None:
    digest = dict(read_capsule(file.read_text()).serving.documents)["ogc"]
    file.write_text(file.read_text().replace(digest, "0a" * 32).replace("understudy: ", "understudy: 9."))
    result = run(file)
    assert result.exit_code == 0
    assert "made by understudy 9." in result.stderr
    assert "the documents of ogc have changed since" in result.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("capsule: 1", "capsule: 7"), "one.yaml:1: capsule: format 7 is not known here"),
        (
            ("complete: true", "complete: false\ngaps: [a log]"),
            "is not complete and cannot be replayed: a log",
        ),
        (("- synapse\n", "- nothing\n"), "there is no API 'nothing'"),
        (("jobs:\n", "jobbs:\n"), "did you mean 'jobs'?"),
        (("capsule: 1", "capsule: [1"), "one.yaml:"),
    ],
)
def test_what_cannot_be_played_ends_with_2(file: Path, change: tuple[str, str], told: str) -> None:
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    result = run(file)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["FILE", "FILE", "--serve"], "take one capsule"),
        (["FILE", "--serve", "--against", "http://127.0.0.1"], "exclude each other"),
        (["FILE", "--against", "somewhere"], "is no address"),
        (["FILE", "--against", "http://192.0.2.1"], "is another machine; say --yes"),
        (["FILE", "--against", "x=http://127.0.0.1:9"], "there is no 'x'"),
        (["FILE", "--against", "ogc=http://127.0.0.1:9"], "say where synapse is"),
        (["FILE", "--against", "http://127.0.0.1:9", "--header", "x"], "is no header"),
        (["FILE", "--serve", "-H", "0.0.0.0"], "choose a token"),
        (["missing.yaml"], "cannot read missing.yaml"),
    ],
)
def test_what_does_not_go_together_ends_with_2(file: Path, arguments: list[str], told: str) -> None:
    result = run(*[file if one == "FILE" else one for one in arguments])
    assert result.exit_code == 2
    assert told in result.stderr


@contextmanager
def serving(*arguments: str | Path) -> Iterator[str]:
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments), "--serve", "-p", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert "every answer is the same" in process.stdout.readline()
        yield process.stdout.readline().removeprefix("understudy ready ").strip()
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 0, errors


def test_the_world_is_served_as_it_is_at_the_end(file: Path) -> None:
    kit = Kit(seed=3)
    assert capsule(kit) == file.read_text()
    wish = json.dumps({"jobs": [{"image": "c/d:2"}]}).encode()
    wanted = kit.post("/titan/v1/jobs", data=wish, headers={"Content-Type": "application/json"})
    with serving(file) as url:
        headers = {"Content-Type": "application/json", "Host": "127.0.0.1:4010"}
        with urllib.request.urlopen(urllib.request.Request(f"{url}/titan/v1/jobs", wish, headers)) as answer:
            assert (answer.status, answer.read()) == (wanted.status, wanted.content)
        with urllib.request.urlopen(f"{url}/__admin/worlds/default/calls/count") as answer:
            assert json.loads(answer.read()) == {"count": 3}


def test_requests_are_sent_to_another_server(file: Path) -> None:
    with serving(file) as url:
        result = run(file, "--against", url, "--longest-wait", "0")
        assert result.stdout == f"{file}: 0 answers are not as they should be\n"
        assert result.exit_code == 0
        file.write_text(file.read_text().replace("path: /titan/v1/job/", "path: /titan/v1/job/x"))
        result = run(file, "--against", url, "--longest-wait", "0", "--format", "json")
        assert result.exit_code == 1
        assert [one["what"] for one in json.loads(result.stdout)] == ["kind"]
