"""What the clients of a capsule said is said to another server, and what it answers is compared with the documents."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from simulator.assemble import Settings, assemble, assemble_for
from simulator.capsule.against import Against, Deviation
from simulator.capsule.model import Capsule, read_capsule
from simulator.runtime.timesource import TimeMode
from simulator.web import server
from tests.kit import Kit
from tests.worlds.speech import SPEECHES

SCENARIO = "workers: {titan: unlimited}\njobs:\n  - script: [queued: 1s, {running: 2s, progress: 0..100}, succeeded]\n"


def recorded(seed: int = 3) -> Capsule:
    """A conversation with all APIs, under a clock that lives by polls."""
    kit = Kit(SCENARIO, seed=seed, time="poll")
    for speech in SPEECHES.values():
        headers = dict(speech.headers)
        path = f"/{speech.api}{speech.submit_path}"
        job = str(speech.job_of(kit.post(path, json=speech.body(1), headers=headers).json()))
        for _ in range(3):
            kit.get(f"/{speech.api}{speech.status_path.format(job)}", headers=headers)
        kit.get(f"/{speech.api}{speech.result_path.format(job)}", headers=headers)
        if speech.list_path is not None:
            kit.get(f"/{speech.api}{speech.list_path}", headers=headers)
    return read_capsule(kit.get("/__admin/worlds/default/capsule").text)


@contextmanager
def other(scenario: str = SCENARIO, **more: Any) -> Iterator[str]:
    """Another server, with other ids; its address."""
    front = assemble(Settings(scenario=scenario, seed=77, time=TimeMode.parse("poll"), **more))
    running = server.Background(front, server.listen("127.0.0.1", 0))
    running.start()
    try:
        yield running.url
    finally:
        running.stop()


def against(capsule: Capsule, roots: dict[str, str], **more: Any) -> list[Deviation]:
    front = assemble_for(capsule)
    asyncio.run(front.build())
    return [*Against(capsule, front.services, roots, wait=lambda seconds: None, **more).run()]


def test_a_server_with_other_ids_answers_as_the_documents_promise() -> None:
    capsule = recorded()
    with other() as url:
        assert against(capsule, {"": url}) == []


def test_each_api_may_be_somewhere_else() -> None:
    capsule = recorded()
    with other() as url:
        roots = {name: f"{url}/{name}" for name in SPEECHES}
        assert against(capsule, roots) == []


def test_what_is_not_in_the_document_is_named() -> None:
    capsule = recorded()
    odd = """
calls:
  - {when: {api: synapse, role: status}, answer: {status: 418}, violates: [status]}
  - {when: {api: ogc, role: status}, answer: {status: 200, body: {jobID: 7}}, violates: [schema]}
  - {when: {api: ica, role: status}, answer: {status: 404}}
"""
    with other(SCENARIO + odd) as url:
        found = against(capsule, {"": url})
    told = {(one.what, one.url.split("/")[3]) for one in found}
    assert told == {("status", "synapse"), ("kind", "synapse"), ("contract", "ogc"), ("kind", "ica")}
    (schema, *_) = [one for one in found if one.what == "contract"]
    assert "get_status_jobs_job_id_get 200: (whole): " in schema.message
    assert "does not declare status 418" in next(one.message for one in found if one.what == "status")


def test_nobody_there_is_told() -> None:
    capsule = recorded()
    found = against(capsule, {"": "http://127.0.0.1:9"})
    assert {one.what for one in found} == {"connection"}
    assert len(found) == sum(1 for _ in capsule.calls)


def test_given_headers_take_the_place_of_recorded_ones_and_ours_are_not_sent() -> None:
    seen: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers)
        return httpx.Response(200, json={})

    kit = Kit()
    mine = {"X-Understudy-Delay": "0s", "Authorization": "Bearer old", "X-Mine": "1"}
    kit.get("/ica/v1/tasks/runs", headers=mine)
    capsule = read_capsule(kit.get("/__admin/worlds/default/capsule").text)
    against(
        capsule,
        {"": "http://there"},
        headers=(("authorization", "Bearer real"),),
        transport=httpx.MockTransport(answer),
    )
    (headers,) = seen
    assert (headers["authorization"], headers["x-mine"], headers["host"]) == ("Bearer real", "1", "there")
    assert "x-understudy-delay" not in headers


@pytest.mark.parametrize(("speed", "longest_s", "waited"), [(1, 10, [0.5, 10]), (2, 60, [0.25, 30])])
def test_time_passes_between_requests_as_it_did(speed: float, longest_s: float, waited: list[float]) -> None:
    kit = Kit()
    for by in ("500ms", "60s", "0s"):
        kit.get("/ogc/jobs")
        kit.advance(by)
    capsule = read_capsule(kit.get("/__admin/worlds/default/capsule").text)
    waits: list[float] = []
    front = assemble_for(capsule)
    asyncio.run(front.build())
    transport = httpx.MockTransport(lambda request: httpx.Response(200, json={"jobs": [], "links": []}))
    found = Against(
        capsule,
        front.services,
        {"": "http://there"},
        wait=waits.append,
        speed=speed,
        longest_s=longest_s,
        transport=transport,
    )
    assert [*found.run()] == []
    assert waits == waited
