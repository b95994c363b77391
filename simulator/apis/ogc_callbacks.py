"""Callbacks of OGC API - Processes: what the subscriber of a job is told, and where (class `callback` of the standard).

`successUri` gets the results, as GET results would answer them; `inProgressUri` and `failedUri` get the status of the job. A
job that was dismissed has no URI of its own and is told to `failedUri`, so that nobody waits for ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypedDict

from simulator.apis import ogc_unity as unity
from simulator.apis.contract import Announcement, Call
from simulator.apis.ogc_prefer import Preferences
from simulator.apis.ogc_results import as_document
from simulator.apis.ogc_wire import status_info
from simulator.engine.job import Job, State

URIS = {
    State.RUNNING: "inProgressUri",
    State.SUCCEEDED: "successUri",
    State.FAILED: "failedUri",
    State.CANCELLED: "failedUri",
}


@dataclass(frozen=True, slots=True)
class Told:
    """For whom a job is worded when there is no call: as its submitter saw the service, at the time of the move."""

    base_url: str
    settings: Mapping[str, Any]
    now_ms: int


class Subscription(TypedDict, total=False):
    """What a submit says about a subscriber, in the words of `Submit`."""

    watched: bool
    facts: Mapping[str, Any]


def subscribed(call: Call) -> Subscription:
    """That somebody wants to be told, if the execution says so; one server in use says that it would, and never does."""
    if not call.body.get("subscriber") or unity.speaks(call):
        return Subscription()
    return Subscription(watched=True, facts={"base_url": call.base_url})


def announce(job: Job, settings: Mapping[str, Any]) -> Announcement | None:
    """What the subscriber of a job is told when the job has just moved; None when this move is none of theirs."""
    label = URIS.get(job.state)
    url = job.request["subscriber"].get(label) if label is not None else None
    if label is None or url is None:
        return None
    facts = job.submit.facts
    assert facts is not None
    told = Told(facts["base_url"], settings, job.since_ms)
    body = (
        as_document(told, job, Preferences()).body if job.state is State.SUCCEEDED else status_info(told, job)
    )
    return Announcement(label, url, body, tuple(settings["callback_hosts"]))
