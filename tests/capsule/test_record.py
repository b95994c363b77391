"""A capsule has everything that happened, or says what it has not."""

from __future__ import annotations

import asyncio
from hashlib import sha256
from pathlib import Path
from typing import Any

from simulator.assemble import Settings, assemble, serving_of
from simulator.capsule.compare import differences
from simulator.capsule.model import ActionStep, Advance, CallStep, Capsule, Play, Steering, read_capsule
from simulator.capsule.record import capsule_of
from simulator.engine.world import START_MS
from simulator.resources import resource_folder
from simulator.runtime.calls import CallLog
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import ACTIONS_MAX
from tests.capsule.talk import Client, Jumping, run
from tests.capsule.test_replay import again
from tests.kit import Kit

ECHO = "/ogc/processes/echo/execution"
HELLO = {"inputs": {"message": "hello"}}


def of(kit: Kit, world: str = "default") -> Capsule:
    return read_capsule(kit.get(f"/__admin/worlds/{world}/capsule").text)


def submit(kit: Kit, prefix: str = "") -> str:
    answer = kit.post(f"{prefix}{ECHO}", json=HELLO, headers={"Prefer": "respond-async"})
    return str(answer.json()["jobID"])


def test_calls_and_actions_are_in_their_order() -> None:
    kit = Kit("slow")
    job = submit(kit)
    kit.advance("1s")
    kit.advance("2s")
    kit.get(f"/ogc/jobs/{job}")
    for verb in ("hold", "step", "release"):
        assert kit.post(f"/__admin/worlds/default/jobs/ogc/{job}/{verb}").status == 200
    force = {"state": "failed", "error": {"code": "x", "message": "y"}, "progress": 3}
    assert kit.post(f"/__admin/worlds/default/jobs/ogc/{job}/force", json=force).status == 200
    assert kit.post(f"/__admin/worlds/default/jobs/ogc/{job}/hold").status == 409
    kit.put("/__admin/worlds/default/clock", json={"mode": "poll"})
    kit.get(f"/ogc/jobs/{job}")
    told = [
        step.number if isinstance(step, CallStep) else step.doing
        for step in of(kit).steps
        if not (isinstance(step, ActionStep) and isinstance(step.doing, Steering))
    ]
    assert told == [1, Advance(START_MS + 3_000), 2, TimeMode(0, is_poll=True), 3]
    steered = [
        step.doing
        for step in of(kit).steps
        if isinstance(step, ActionStep) and isinstance(step.doing, Steering)
    ]
    assert [one.verb for one in steered] == ["hold", "step", "release", "force"]


def test_it_says_with_which_settings_and_documents_it_was_made() -> None:
    kit = Kit("slow", seed=9, apis=("ogc", "titan"), time="poll", retry_after_s=3)
    capsule = of(kit)
    assert (capsule.seed, capsule.mode, capsule.serving.apis) == (
        9,
        TimeMode(0, is_poll=True),
        ("ogc", "titan"),
    )
    assert (capsule.serving.strict, capsule.serving.retry_after_s) == (True, 3)
    digest = sha256((resource_folder("openapi") / "ogc.yaml").read_bytes()).hexdigest()
    assert dict(capsule.serving.documents)["ogc"] == digest


def test_it_holds_the_scenario_and_what_that_extends(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("extends: happy\nworkers: {ogc: 1}\n")
    mine = tmp_path / "mine.yaml"
    mine.write_text("extends: ./base.yaml\ncalls:\n  - {when: {role: list}, answer: {status: 503}}\n")
    kit = Kit(mine)
    assert f"{mine}:3" in kit.get("/ogc/jobs").headers["x-understudy-cause"]
    (script,) = of(kit).scripts
    assert script.name == "mine"
    assert [file for file, _ in script.texts] == [
        str(mine),
        str(tmp_path / "base.yaml"),
        "scenarios/happy.yaml",
    ]
    assert script.texts[0][1] == mine.read_text()
    capsule = of(kit)
    mine.unlink()
    assert [*differences(capsule, again(capsule))] == []


def test_scenarios_that_were_set_later_are_there_once() -> None:
    kit = Kit()
    happy = kit.front.worlds.default.scenario
    slow = kit.front.services["ogc"].scenarios["slow"]
    for scenario in (slow, happy, slow):
        kit.front.worlds.set_scenario(scenario)
    capsule = of(kit)
    assert [script.name for script in capsule.scripts] == ["happy", "slow"]
    assert [step.doing for step in capsule.steps if isinstance(step, ActionStep)] == [
        Play(2),
        Play(1),
        Play(2),
    ]


def test_a_log_that_has_lost_something_says_so() -> None:
    kit = Kit()
    kit.get("/ogc/jobs")
    kit.get("/titan/v1/jobs")
    assert of(kit).gaps == ()
    kit.delete("/__admin/worlds/default/calls?api=ogc")
    assert of(kit).gaps == ("the log keeps 1 of 2 calls: others were deleted or had to make room",)


def test_a_body_that_is_too_long_for_the_log_makes_it_incomplete() -> None:
    kit = Kit()
    kit.post(ECHO, json={"inputs": {"message": "x" * 100_000}})
    assert of(kit).gaps == ("the log keeps only the beginning of a body of call 1",)


def test_a_body_that_nobody_read_makes_nothing_incomplete() -> None:
    kit = Kit(body_bytes_max=100)
    assert kit.post(ECHO, data=b"x" * 101).status == 413
    assert of(kit).gaps == ()


def test_a_server_without_a_log_has_no_capsule_that_could_be_played() -> None:
    kit = Kit(calls_max=0)
    kit.get("/ogc/jobs")
    assert "--max-calls" in of(kit).gaps[0]


def test_calls_under_way_make_it_incomplete() -> None:
    loop = Jumping()
    front = assemble(Settings(apis=("ogc",), time=TimeMode(0)))
    client = Client(front)
    found: list[Capsule] = []

    async def talk() -> None:
        waiting = asyncio.ensure_future(
            client.ask("GET", "/ogc/jobs", headers=[("x-understudy-delay", "9s")])
        )
        await asyncio.sleep(1)
        found.append(capsule_of(front.worlds.default, serving_of(Settings())))
        await waiting
        found.append(capsule_of(front.worlds.default, serving_of(Settings())))

    run(talk(), loop)
    assert [capsule.gaps for capsule in found] == [("1 calls were not answered yet",), ()]


def test_so_many_actions_are_kept() -> None:
    stage = Kit().front.worlds.default
    for number in range(ACTIONS_MAX + 2):
        stage.set_rate(TimeMode(number + 1))
    gaps = capsule_of(stage, serving_of(Settings())).gaps
    assert gaps == (f"{ACTIONS_MAX} of {ACTIONS_MAX + 2} actions at the controls are kept",)


def test_a_world_of_another_name_keeps_its_own_history() -> None:
    kit = Kit()
    submit(kit, "/worlds/other")
    submit(kit)
    capsule = of(kit, "other")
    assert (capsule.world, [step.path for step in capsule.calls]) == ("other", [f"/worlds/other{ECHO}"])


def test_a_world_without_a_past_has_a_capsule_without_steps() -> None:
    assert of(Kit()).steps == ()


def test_a_log_that_moves_to_another_server_gives_back_what_it_held() -> None:
    kit = Kit()
    for _ in range(5):
        kit.get("/ogc/jobs")
    log, other = kit.front.worlds.default.calls, CallLog()
    held: Any = other._allowance
    log.move(3, held)
    assert [one.number for one in log] == [3, 4, 5]
    assert held.kept_bytes == log.kept_bytes > 0
