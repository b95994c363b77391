"""A scenario's files while a server runs: a good change is taken over, a broken one is not."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from simulator.assemble import load_apis, load_scenario, scenario_files
from simulator.runtime.watch import Watch
from simulator.scenario.model import Scenario
from tests.running import Running, serving

GOOD = "jobs:\n- script: [running: 1s, succeeded]\n"
OTHER = "jobs:\n- script: [running: 1h, failed]\n"
PATIENCE_S = 20


class Watched:
    """A watch that is asked to look by hand."""

    def __init__(self, path: Path) -> None:
        self.used: list[Scenario] = []
        self.said: list[str] = []
        self.watch = Watch(
            files=lambda: scenario_files(path),
            load=lambda: load_scenario(path, load_apis()),
            use=self.used.append,
            say=self.said.append,
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    return path


def test_nothing_is_read_again_until_something_has_changed(path: Path) -> None:
    watched = Watched(path)
    watched.watch.look()
    assert (watched.used, watched.said) == ([], [])


def test_a_change_is_taken_over_once(path: Path) -> None:
    watched = Watched(path)
    path.write_text(OTHER)
    watched.watch.look()
    watched.watch.look()
    [scenario] = watched.used
    assert scenario.source == str(path)
    assert watched.said == [f"the scenario was changed: {path} is used from now on"]


def test_a_change_that_keeps_the_size_is_seen_by_its_time(path: Path) -> None:
    watched = Watched(path)
    path.write_text(GOOD.replace("1s", "2s"))
    os.utime(path, ns=(1, 1))
    watched.watch.look()
    assert len(watched.used) == 1


def test_a_broken_change_is_told_and_the_mended_file_taken(path: Path) -> None:
    watched = Watched(path)
    path.write_text(GOOD.replace("running", "runing"))
    watched.watch.look()
    [said] = watched.said
    assert said.startswith("the scenario was changed and is broken; the one before goes on")
    assert f"{path}:2:" in said
    assert "did you mean 'running'" in said
    assert watched.used == []
    path.write_text(OTHER)
    watched.watch.look()
    assert len(watched.used) == 1


def test_a_file_that_is_extended_is_watched_too(path: Path) -> None:
    base = path.with_name("base.yaml")
    base.write_text(GOOD)
    path.write_text("extends: [./base.yaml, happy]\n")
    watched = Watched(path)
    base.write_text(OTHER)
    watched.watch.look()
    assert (
        watched.used[0].rules[0].part.script.steps[0].lasts
        != watched.used[0].rules[1].part.script.steps[0].lasts
    )
    base.unlink()
    watched.watch.look()
    assert "there is no file './base.yaml'" in watched.said[-1]
    base.write_text(OTHER)
    watched.watch.look()
    assert len(watched.used) == 2


def test_a_file_that_is_gone_is_told_and_may_come_back(path: Path) -> None:
    watched = Watched(path)
    path.unlink()
    watched.watch.look()
    assert watched.said[0].startswith("the scenario cannot be read any more; the one before goes on")
    path.write_text(OTHER)
    watched.watch.look()
    assert len(watched.used) == 1


# ---- a real server --------------------------------------------------------------------------------------------------


def call(running: Running, path: str, body: bytes | None = None) -> dict[str, object]:
    headers = {"Authorization": "Bearer t", "Content-Type": "application/json"}
    with urlopen(Request(f"{running.url}{path}", data=body, headers=headers), timeout=5) as response:
        answer: dict[str, object] = json.load(response)
        return answer


def submit(running: Running) -> str:
    return str(call(running, "/ica/v1/tasks/runs", b"{}")["id"])


def until(holds: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.05)


def test_a_server_takes_a_change_over_and_keeps_the_jobs_under_way(path: Path) -> None:
    path.write_text("description: a\njobs:\n- script: [queued: forever]\n")
    with serving("ica", "--scenario", str(path), "--time", "frozen", "--watch") as running:
        before = submit(running)
        assert call(running, f"/ica/v1/tasks/runs/{before}")["status"] == "Pending"
        path.write_text("jobs: nothing\n")
        time.sleep(1.2)
        assert call(running, f"/ica/v1/tasks/runs/{submit(running)}")["status"] == "Pending"
        path.write_text("apis: {ica: {tokens: [t]}}\njobs:\n- script: [running: forever]\n")
        until(lambda: call(running, f"/ica/v1/tasks/runs/{submit(running)}")["status"] == "Running")
        assert call(running, f"/ica/v1/tasks/runs/{before}")["status"] == "Pending"
        code, errors = running.stop()
    assert code == 0
    assert f"{path}:1:7: jobs: must be a list" in errors
    assert "the scenario was changed: " in errors
    assert "Traceback" not in errors


def test_a_server_that_does_not_watch_keeps_its_scenario(path: Path) -> None:
    path.write_text("jobs:\n- script: [queued: forever]\n")
    with serving("ica", "--scenario", str(path), "--time", "frozen") as running:
        path.write_text("jobs:\n- script: [running: forever]\n")
        time.sleep(1.2)
        assert call(running, f"/ica/v1/tasks/runs/{submit(running)}")["status"] == "Pending"
