"""Capsules over the wire: one is fetched from a server and restored in another, or under another name."""

from __future__ import annotations

import httpx
import pytest

from simulator.control_client import ControlClient, ControlError
from simulator.web import server
from tests.kit import Kit

SCENARIO = "jobs:\n  - script: [queued: 1s, {running: 9s, progress: 0..100}, succeeded]\n"
ECHO = "/ogc/processes/echo/execution"
HERE = "/__admin/worlds/default/capsule"


def kit(**more: object) -> Kit:
    kit = Kit(SCENARIO, **{"seed": 4, "apis": ("ogc",)} | more)  # type: ignore[arg-type]
    kit.job = submit(kit)  # type: ignore[attr-defined]
    kit.advance("4s")
    kit.get("/ogc/jobs")
    return kit


def submit(kit: Kit, prefix: str = "") -> str:
    wish = {"inputs": {"message": "hello"}}
    return str(kit.post(f"{prefix}{ECHO}", json=wish, headers={"Prefer": "respond-async"}).json()["jobID"])


def test_a_capsule_is_yaml_unless_json_is_wanted() -> None:
    one = kit()
    assert one.get(HERE).headers["content-type"] == "application/yaml"
    assert one.get(HERE).text.startswith("capsule: 1\nunderstudy: ")
    answer = one.get(HERE, headers={"Accept": "application/json"})
    assert (answer.headers["content-type"], answer.json()["capsule"]) == ("application/json", 1)
    assert one.get("/__admin/worlds/nowhere/capsule").status == 404


def test_a_restored_world_goes_on_as_the_first_one() -> None:
    one, other = kit(), Kit(seed=9)
    answer = other.post("/__admin/worlds/again/capsule", data=one.get(HERE).content)
    assert answer.status == 200, answer.text
    restored = answer.json()
    assert (restored["differences"], restored["stuck"], restored["steps"], restored["calls"]) == (
        [],
        [],
        3,
        2,
    )
    assert restored["world"] == {
        "name": "again",
        "scenario": "inline",
        "seed": 4,
        "time": {"mode": "frozen", "now": "2030-01-01T00:00:04.000Z"},
        "jobs": 1,
        "calls": 2,
        "path": "/worlds/again",
    }
    one.advance("1s")
    other.post("/__admin/worlds/again/clock/advance", json={"by": "1s"})
    job = one.get("/ogc/jobs").json()["jobs"][0]
    there = other.get(f"/worlds/again/ogc/jobs/{job['jobID']}").json()
    assert (there["progress"], there["status"]) == (job["progress"], job["status"]) == (44, "running")
    assert submit(one) == submit(other, "/worlds/again")
    # What is simulated there, too, though the capsule does not speak of it.
    assert other.post("/worlds/again/titan/v1/jobs", json={"jobs": [{"image": "a/b:1"}]}).status == 201


def test_the_history_of_a_restored_world_can_be_restored_again() -> None:
    one, other = kit(), Kit()
    other.post("/__admin/worlds/again/capsule", data=one.get(HERE).content)
    submit(other, "/worlds/again")
    text = other.get("/__admin/worlds/again/capsule").text
    third = Kit()
    answer = third.post(HERE, data=text)
    assert (answer.json()["differences"], answer.json()["calls"]) == ([], 3)
    assert third.get(HERE).text.replace("world: default", "world: again") == text


def test_the_default_world_is_replaced_too() -> None:
    one = kit()
    text = one.get(HERE).text
    submit(one)
    assert one.post(HERE, data=text).json()["world"]["jobs"] == 1
    assert one.get(HERE).text == text


def test_differences_are_told_and_the_world_is_there_all_the_same() -> None:
    one = kit()
    text = one.get(HERE).text.replace('"progress":', '"progres":')
    answer = one.post("/__admin/worlds/again/capsule", data=text)
    assert [difference["call"] for difference in answer.json()["differences"]] == [2]
    assert one.get("/__admin/worlds/again").status == 200


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("capsule: 1", "capsule: 3", "line 1: capsule: format 3 is not known here"),
        ("complete: true", "complete: false", "not complete"),
        ("- ogc\n", "- ogc\n  - titan\n", "about titan, which is not served here"),
        ("script: [", "skript: [", "a scenario in it cannot be played"),
        ("seed: 4", "seed: four", "seed: must be a whole number"),
    ],
)
def test_what_cannot_be_restored_is_refused_and_changes_nothing(old: str, new: str, told: str) -> None:
    one = kit()
    text = one.get(HERE).text
    assert old in text
    answer = one.post(HERE, data=text.replace(old, new, 1))
    assert answer.status == 400
    assert told in answer.text
    assert one.get(HERE).text == text
    assert one.ledger.lines("server") == []


def test_problems_of_a_scenario_are_listed() -> None:
    one = kit()
    answer = one.post(HERE, data=one.get(HERE).text.replace("script: [", "skript: ["))
    assert any("did you mean 'script'" in problem for problem in answer.json()["problems"])


def test_a_large_capsule_is_taken_where_other_bodies_would_be_too_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = kit()
    text = one.get(HERE).text + "#" * 1_100_000
    assert one.post(HERE, data=text).status == 200
    assert one.put("/__admin/worlds/x", data=b" " * 1_100_000).status == 413


def test_a_bad_name_and_too_many_worlds_are_refused() -> None:
    one = kit(worlds_max=1)
    text = one.get(HERE).text
    assert one.post("/__admin/worlds/Not%20One/capsule", data=text).status == 400
    assert one.post("/__admin/worlds/more/capsule", data=text).status == 503


def test_the_client_fetches_and_restores() -> None:
    front = kit().front
    running = server.Background(front, server.listen("127.0.0.1", 0))
    running.start()
    try:
        with ControlClient(running.url) as control:
            text = control.capsule("default")
            restored = control.restore("copy", text)
            assert (restored["world"]["name"], restored["differences"]) == ("copy", [])
            assert control.capsule("copy") == text.replace("world: default", "world: copy")
            with pytest.raises(ControlError, match="there is no world"):
                control.capsule("nowhere")
            with pytest.raises(ControlError) as refused:
                control.restore("copy", text.replace("script: [", "skript: ["))
            assert refused.value.problems
            assert httpx.get(f"{running.url}/worlds/copy/ogc/jobs").status_code == 200
    finally:
        running.stop()
