"""Deterministic or broken: the same conversation gives the same bytes in any process, and a journal makes an equal world."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from simulator.assemble import load_apis
from simulator.engine.world import World
from tests.kit import Kit

ROOT = Path(__file__).resolve().parent.parent
SCENARIO = """
description: Ranges, failures and cancels, so that drawn values show.
workers: {titan: external}
jobs:
  - when: {number: 3..8}
    script: [queued: 1s..4s, {running: 2s..9s, progress: 0..70}, failed: {error: {code: out_of_memory, message: killed}}]
  - script: [queued: 200ms..2s, {running: 1s..6s, progress: 0..100, message: working}, succeeded]
"""
TOKEN = {"Authorization": "Bearer me"}


def conversation(seed: int) -> tuple[Kit, list[str]]:
    """Drive all five APIs; every answer with its status, headers and body."""
    kit = Kit(SCENARIO, seed=seed)
    said: list[str] = []

    def say(method: str, path: str, json: object = None, headers: dict[str, str] | None = None) -> str:
        answer = kit.request(method, path, json=json, headers=headers)
        said.append(f"{method} {path} {answer.status} {sorted(answer.headers.items())} {answer.text}")
        return answer.text

    table = "org.sagebionetworks.repo.model.table."
    for number in range(4):
        for kind in ("DownloadFromTableRequest", "QueryBundleRequest"):
            say(
                "POST",
                "/synapse/repo/v1/asynchronous/job",
                {"concreteType": table + kind, "entityId": "syn1"},
                TOKEN,
            )
        say(
            "POST",
            "/jbpm/kie-server/services/rest/server/jobs",
            {"job-command": "a.B", "request-data": {"retries": 1, "retryDelay": "3s"}},
        )
        message = {"inputs": {"message": f"m{number}"}}
        say("POST", "/ogc/processes/echo/execution", message, {"Prefer": "respond-async"})
        say("POST", "/ica/v1/tasks/runs", {"name": f"run-{number}"}, TOKEN)
        say("POST", "/titan/v1/jobs", {"jobs": [{"image": "acme/resize:3", "priority": number % 3}]})
        kit.advance("900ms")
        say("GET", "/titan/v1/jobs/consume?n=1")
    for _ in range(6):
        kit.advance("2s")
        for job in kit.world.jobs("synapse"):
            say("GET", f"/synapse/repo/v1/asynchronous/job/{job.id}", headers=TOKEN)
        for job in kit.world.jobs("jbpm"):
            say("GET", f"/jbpm/kie-server/services/rest/server/jobs/{job.id}?withErrors=true&withData=true")
        for job in kit.world.jobs("ogc"):
            say("GET", f"/ogc/jobs/{job.id}")
            say("GET", f"/ogc/jobs/{job.id}/results")
        say("GET", "/ica/v1/tasks/runs?pageSize=2&sort=name%20desc", headers=TOKEN)
        for job in kit.world.jobs("ica"):
            say("GET", f"/ica/v1/tasks/runs/{job.id}", headers=TOKEN)
            say("POST", f"/ica/v1/tasks/runs/{job.id}:heartbeat", {}, TOKEN)
        say("GET", "/titan/v1/jobs")
    kit.advance("70s")
    say("GET", "/titan/v1/jobs")
    for job in kit.world.jobs("titan"):
        say("GET", f"/titan/v1/job/{job.id}/log")
    say("GET", "/jbpm/kie-server/services/rest/server/jobs?status=DONE&status=ERROR&pageSize=3")
    say("GET", "/nowhere")
    say("GET", "/ogc/jobs/unknown")
    return kit, said


def digest(seed: int) -> str:
    return hashlib.sha256("\n".join(conversation(seed)[1]).encode()).hexdigest()


def test_two_processes_with_different_hash_seeds_answer_byte_for_byte_alike() -> None:
    program = "from tests.test_replay import digest; print(digest(5))"
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed, zone in (("1", "UTC"), ("4242", "Asia/Tokyo"))
    }
    assert digests == {digest(5)}


def test_another_seed_gives_another_conversation() -> None:
    assert digest(5) != digest(6)


def test_the_conversation_meets_what_it_is_meant_to() -> None:
    text = "\n".join(conversation(5)[1])
    for word in (
        "COMPLETE",
        "FAILED",
        "RETRYING",
        "DONE",
        "ERROR",
        "successful",
        "failed",
        "Completed",
        "retry_of",
    ):
        assert word in text, word
    assert " 500 " not in text.replace('"status":500', "").replace("/results 500", "")


def test_replaying_the_journal_gives_an_equal_world() -> None:
    kit, _ = conversation(5)
    stage = kit.front.worlds.default
    again = World.replay(
        stage.journal,
        seed=5,
        rules={name: api.rules for name, api in load_apis().items()},
        playbook=stage.scenario,
    )
    again.advance(stage.world.now_ms)
    assert again.snapshot() == stage.world.snapshot()
