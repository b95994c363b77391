"""Eight conversations of clients with a world, each with a scenario and a way of time of its own.

Together they go through submit, poll, list, cancel, results, claims, refusals and the control API, under ranges, chances, rules
that count calls, retries and lives by polls. Everything a conversation does follows from its number.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.worlds.speech import SPEECHES
from tests.worlds.wire import Client, Said

CHANCES = """
description: Ranges and chances, so that a value drawn for another world would show.
workers: {titan: unlimited, jbpm: 1}
jobs:
  - when: {number: 3..5}
    script: [queued: 1s..4s, {running: 2s..9s, progress: 0..70}, failed: {error: {code: out_of_memory, message: killed}}]
  - script: [queued: 200ms..2s, {running: 1s..6s, progress: 0..100, message: working}, succeeded]
calls:
  - {when: {role: status, call: 2}, answer: {status: 503, headers: {Retry-After: "2"}}}
  - {when: {role: list, every: 3}, answer: {status: 500}}
  - {when: {role: [status, result], chance: 0.3}, answer: {status: 503}}
"""
ATTEMPTS: Mapping[str, Any] = {
    "description": "An object, not a text: one worker, and a first attempt that fails.",
    "workers": {"ica": 1, "ogc": 2, "titan": "unlimited"},
    "jobs": [
        {
            "attempts": [
                [{"running": "1s..3s"}, {"failed": {"error": {"code": "locked", "message": "The table is locked."}}}],
                [{"running": "2s"}, "succeeded"],
            ]
        }
    ],
}  # fmt: skip

FORM = (("content-type", "multipart/form-data; boundary=line"),)
LOG = b'--line\r\nContent-Disposition: form-data; name="log"\r\n\r\nall is done\r\n--line--\r\n'


class Recorded:
    """A client that keeps what it was told."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.said: list[Said] = []

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Sequence[tuple[str, str]] = ()
    ) -> Said:
        said = await self._client.ask(method, path, json, headers)
        self.said.append(said)
        return said


async def advance(client: Client, world: str, **how: Any) -> Said:
    """Move the clock of a world."""
    said = await client.ask("POST", f"/__admin{world}/clock/advance", how)
    assert said.status == 200, said
    return said


async def _one_api(client: Client, world: str, number: int, api: str) -> None:
    """Submit some jobs, watch them while time passes, cancel one, look at the list and at what they left."""
    speech = SPEECHES[api]
    jobs = [await speech.submit(client, world, number + place) for place in range(3)]
    for round_ in range(3):
        await advance(client, world, by=f"{700 + 400 * (number % 5) + round_}ms")
        for job in jobs:
            await speech.status(client, world, job)
        await speech.page(client, world)
    await speech.stop(client, world, jobs[number % 3])
    await advance(client, world, next=2)
    jobs.append(await speech.submit(client, world, 9))
    await advance(client, world, until="idle", limit="2h")
    for job in jobs:
        await speech.result(client, world, job)
    await speech.status(client, world, "no-such-job")
    await speech.page(client, world)


async def _synapse(client: Client, world: str, number: int) -> None:
    await _one_api(client, world, number, "synapse")


async def _jbpm(client: Client, world: str, number: int) -> None:
    await _one_api(client, world, number, "jbpm")


async def _ogc(client: Client, world: str, number: int) -> None:
    await _one_api(client, world, number, "ogc")


async def _ica(client: Client, world: str, number: int) -> None:
    await _one_api(client, world, number, "ica")


async def _titan(client: Client, world: str, number: int) -> None:
    """Titan's jobs wait for a worker of ours: it takes some, reports about them, and is late once."""
    titan = SPEECHES["titan"]
    jobs = [await titan.submit(client, world, number + place) for place in range(4)]
    taken = await client.ask("GET", f"{world}/titan/v1/jobs/consume?n={1 + number % 3}")
    await advance(client, world, by="5s")
    for place, job in enumerate(taken.json()["jobs"]):
        path = f"{world}/titan/v1/job/{job['id']}"
        await client.ask("POST", f"{path}/touch")
        how = ("success", "fail")[(number + place) % 2]
        await client.ask("POST", f"{path}/{how}", LOG, FORM)
    await client.ask("GET", f"{world}/titan/v1/jobs/consume?n=2")
    await advance(client, world, by="61s")
    for job in jobs:
        await titan.status(client, world, job)
        await titan.result(client, world, job)
    await client.ask("POST", f"{world}/titan/v1/job/{jobs[0]}/retry")
    await client.ask("DELETE", f"{world}/titan/v1/job/{jobs[-1]}")
    await titan.page(client, world)


async def _all(client: Client, world: str, number: int) -> None:
    """All five APIs at once, and a person who steers some of the jobs."""
    jobs = {api: await speech.submit(client, world, number) for api, speech in SPEECHES.items()}
    for step in ("1s", "2500ms"):
        await advance(client, world, by=step)
        for api, job in jobs.items():
            await SPEECHES[api].status(client, world, job)
    steered = f"/__admin{world}/jobs"
    await client.ask("POST", f"{steered}/ogc/{jobs['ogc']}/hold")
    await client.ask(
        "POST", f"{steered}/ica/{jobs['ica']}/force", {"state": "failed", "error": {"code": "x"}}
    )
    await advance(client, world, by="1h")
    for api, job in jobs.items():
        await SPEECHES[api].result(client, world, job)
        await client.ask("GET", f"{steered}/{api}/{job}")
    await client.ask("GET", f"{steered}?limit=10")


async def _polls(client: Client, world: str, number: int) -> None:
    """Nobody moves the clock but the polls."""
    speech = SPEECHES[("ogc", "ica", "jbpm")[number % 3]]
    jobs = [await speech.submit(client, world, place) for place in range(2)]
    for _ in range(10):
        for job in jobs:
            await speech.status(client, world, job)
    await speech.page(client, world)


async def _mistakes(client: Client, world: str, number: int) -> None:
    """A client that gets much wrong, and one that names its world in a header."""
    name = world.rpartition("/")[2]
    header = (("x-understudy-world", name),)
    for place in range(4):
        await client.ask("POST", "/ogc/processes/echo/execution", {"inputs": place}, header)
        await client.ask("POST", f"{world}/ica/v1/tasks/runs", {"name": f"n{number}"}, header)
        await client.ask("GET", f"{world}/titan/v1/jobs?limit=many")
        await client.ask("PUT", f"{world}/jbpm/kie-server/services/rest/server/jobs")
        await client.ask("GET", "/synapse/repo/v1/asynchronous/job/1?sessionToken=secret", headers=header)
        await client.ask("GET", f"{world}/ogc/nothing/here?at={number}")
        ogc = SPEECHES["ogc"]
        job = await ogc.submit(client, world, place)
        await advance(client, world, by="2s")
        await ogc.status(client, world, job)


@dataclass(frozen=True)
class Conversation:
    """What is said, and in what kind of world."""

    name: str
    settings: Mapping[str, Any]
    """What the world is made with, but for its seed."""
    hold: Callable[[Client, str, int], Awaitable[None]]


CONVERSATIONS = (
    Conversation("synapse", {"scenario": "retry-waiting"}, _synapse),
    Conversation("jbpm", {"scenario": CHANCES}, _jbpm),
    Conversation("ogc", {"scenario": ATTEMPTS, "time": "frozen"}, _ogc),
    Conversation("ica", {"scenario": "cancel-slow"}, _ica),
    Conversation("titan", {"scenario": "happy"}, _titan),
    Conversation("all", {"scenario": CHANCES}, _all),
    Conversation("polls", {"scenario": "slow", "time": "poll"}, _polls),
    Conversation("mistakes", {"scenario": "fault-flaky"}, _mistakes),
)


async def converse(client: Client, conversation: Conversation, name: str, number: int) -> list[Said]:
    """Make the world of this name, hold the conversation in it, and look at it; everything that was answered."""
    recorded = Recorded(client)
    settings = {**conversation.settings, "seed": number % 7}
    made = await recorded.ask("PUT", f"/__admin/worlds/{name}", settings)
    assert made.status == 201, made
    await conversation.hold(recorded, f"/worlds/{name}", number)
    await recorded.ask("GET", f"/__admin/worlds/{name}/clock")
    await recorded.ask("GET", f"/__admin/worlds/{name}")
    return recorded.said


async def logged(client: Client, name: str) -> list[dict[str, Any]]:
    """The call log of a world, page after page, but for what the wall clock said."""
    calls: list[dict[str, Any]] = []
    while True:
        after = calls[-1]["number"] if calls else 0
        said = await client.ask("GET", f"/__admin/worlds/{name}/calls?limit=17&after={after}")
        assert said.status == 200, said
        page = said.json()["calls"]
        if not page:
            return calls
        for call in page:
            del call["wall"], call["wall_ms"]
        calls += page
