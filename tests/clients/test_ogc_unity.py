"""The Unity client meets the server: the standard flavour, which its documentation promises, and Unity's own.

That client needs an older urllib3 than our environment has, so it lives in one of its own, made here from the extra
`client-unity`; UNDERSTUDY_UNITY_CLIENT names the python of an environment that is ready.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.running import serving

pytestmark = pytest.mark.slow

HERE = Path(__file__).resolve().parent
SCENARIO = """
apis: {{ogc: {{flavour: {flavour}}}}}
jobs:
  - script: [queued: 1s, {{running: 3s, progress: 0..100}}, succeeded]
"""
ACTIVE = {"accepted", "running"}


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A python that has the client."""
    ready = os.environ.get("UNDERSTUDY_UNITY_CLIENT")
    if ready is not None:
        return Path(ready)
    project = tomllib.loads((HERE.parent.parent / "pyproject.toml").read_text())["project"]
    home = tmp_path_factory.mktemp("unity-client")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    made = home / ("Scripts" if os.name == "nt" else "bin") / "python"
    wanted = project["optional-dependencies"]["client-unity"]
    install = [made, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    installed = subprocess.run(install, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return made


def tell(python: Path, folder: Path, flavour: str) -> dict[str, Any]:
    """What the client saw of a server of this flavour."""
    scenario = folder / f"{flavour}.yaml"
    scenario.write_text(SCENARIO.format(flavour=flavour))
    with serving("ogc", "--time", "20x", "--strict", "--scenario", str(scenario)) as server:
        command = [python, HERE / "unity_driver.py", f"{server.url}/ogc"]
        told = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0, told.stderr
    return dict(json.loads(told.stdout))


@pytest.fixture(scope="module")
def standard(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The client's story with the standard flavour."""
    return tell(python, tmp_path_factory.mktemp("standard"), "standard")


@pytest.fixture(scope="module")
def unity(python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The client's story with Unity's own flavour."""
    return tell(python, tmp_path_factory.mktemp("unity"), "unity")


# ---- the standard flavour ---------------------------------------------------------------------------------------


def test_the_client_reads_what_there_is_around_the_jobs(standard: dict[str, Any]) -> None:
    rels = {link["rel"] for link in standard["landing"]["data"]["links"]}
    assert {"self", "service-desc"} <= rels
    core = "http://www.opengis.net/spec/ogcapi-processes-1/1.0/conf/core"
    assert core in standard["conformance"]["data"]["conformsTo"]
    assert standard["health"]["data"] == {"status": "OK"}
    listed = [process["id"] for process in standard["processes"]["data"]["processes"]]
    assert {"echo", "fail"} <= set(listed)
    description = standard["description"]["data"]
    assert description["id"] == "echo"
    assert next(iter(description["inputs"])) == "message"
    assert description["inputs"]["message"]["schema"]["type"] == "string"


def test_the_client_follows_a_job_to_its_results(standard: dict[str, Any]) -> None:
    executed, end = standard["echo: executed"], standard["echo: end"]
    assert executed["status"] == 201
    assert executed["data"]["status"] in ACTIVE
    assert executed["headers"]["location"].endswith(f"/ogc/jobs/{executed['data']['jobID']}")
    assert end["data"]["jobID"] == executed["data"]["jobID"]
    assert end["data"]["status"] == "successful"
    assert end["data"]["progress"] == 100
    results = standard["echo: results"]["data"]
    assert (results["message"], results["numbers"]) == ("hello", [1, 2])
    assert results["file"]["href"] == "http://127.0.0.1/picture.tif"


def test_the_nulls_that_the_client_sends_are_taken_for_nothing(standard: dict[str, Any]) -> None:
    executed = standard["echo: executed"]
    assert {name for name, value in executed["sent"].items() if value is None} >= {
        "outputs",
        "subscriber",
        "filter",
    }
    assert executed["sent"]["inputs"]["file"]["hreflang"] is None
    assert executed["status"] == 201


def test_the_client_gets_one_output_synchronously(standard: dict[str, Any]) -> None:
    answer = standard["synchronous"]
    assert (answer["status"], answer["data"]) == (200, "hello")


def test_the_client_learns_why_a_job_failed(standard: dict[str, Any]) -> None:
    end, results = standard["fail: end"], standard["fail: results"]
    assert end["data"]["status"] == "failed"
    assert end["data"]["message"] == end["data"]["exception"]["detail"] == "The process gave up."
    assert results["raised"] == "ServiceException"
    assert results["data"]["detail"] == "The process gave up."


def test_the_client_dismisses_a_job_and_still_finds_it(standard: dict[str, Any]) -> None:
    assert standard["slow: executed"]["data"]["status"] in ACTIVE
    for look in ("slow: dismissed", "slow: status"):
        assert standard[look]["status"] == 200
        assert standard[look]["data"]["status"] == "dismissed"


def test_the_client_lists_the_jobs_newest_first(standard: dict[str, Any]) -> None:
    jobs = standard["list"]["data"]["jobs"]
    made = [standard[f"{name}: executed"]["data"]["jobID"] for name in ("slow", "fail", "echo")]
    assert [job["jobID"] for job in jobs][:3] == made
    assert standard["list"]["data"]["links"]


def test_what_is_unknown_is_not_found_with_an_exception_the_client_can_read(standard: dict[str, Any]) -> None:
    for what, kind in (("unknown job", "no-such-job"), ("unknown process", "no-such-process")):
        answer = standard[what]
        assert (answer["raised"], answer["status"]) == ("NotFoundException", 404)
        assert answer["data"]["type"].endswith(f"/{kind}")


# ---- Unity's own flavour ----------------------------------------------------------------------------------------


def test_with_unity_the_client_gets_pairs_for_a_job(unity: dict[str, Any]) -> None:
    executed = unity["echo: executed"]
    assert executed["status"] == 200
    assert "location" not in executed["headers"]
    told = dict(executed["data"])
    assert (told["process_id"], told["status"], told["links"]) == ("echo", "accepted", None)
    assert unity["echo: end"]["data"]["jobID"] == told["job_id"]


def test_with_unity_the_client_follows_a_job_and_finds_no_results(unity: dict[str, Any]) -> None:
    for name, word in (("echo", "successful"), ("fail", "failed")):
        end = unity[f"{name}: end"]["data"]
        assert end["status"] == word
        assert (end["message"], end["exception"], end["progress"], end["links"]) == (None, None, None, None)
        # A time with a zone would end in it when it is read and written again.
        assert "+" not in end["created"] + end["finished"] + end["updated"]
        assert unity[f"{name}: results"]["status"] == 200
        assert unity[f"{name}: results"]["data"] == {}


def test_with_unity_the_client_gets_a_fixed_text_synchronously(unity: dict[str, Any]) -> None:
    answer = unity["synchronous"]
    assert answer["status"] == 200
    assert answer["data"] == {"result": "Sample output for synchronous execution"}


def test_with_unity_what_is_unknown_is_a_server_error_that_the_client_cannot_read(
    unity: dict[str, Any],
) -> None:
    for what in ("unknown job", "unknown process", "slow: status"):
        answer = unity[what]
        assert (answer["raised"], answer["status"], answer["data"]) == ("ServiceException", 500, None)
        assert list(json.loads(answer["body"])) == ["detail"]


def test_with_unity_a_dismissed_job_is_gone(unity: dict[str, Any]) -> None:
    dismissed = unity["slow: dismissed"]["data"]
    assert (dismissed["status"], dismissed["message"]) == ("dismissed", "Job dismissed")
    listed = {job["jobID"] for job in unity["list"]["data"]["jobs"]}
    assert unity["echo: end"]["data"]["jobID"] in listed
    assert dismissed["jobID"] not in listed
    assert unity["list"]["data"]["links"] == []


def test_with_unity_the_client_reads_what_there_is_around_the_jobs(unity: dict[str, Any]) -> None:
    for what in ("landing", "conformance", "health", "processes", "description"):
        assert unity[what]["status"] == 200, what
    assert {"echo", "fail"} <= {process["id"] for process in unity["processes"]["data"]["processes"]}
