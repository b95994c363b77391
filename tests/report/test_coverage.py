"""Coverage counts what a client met of what it can meet, and all of that can be met."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest

from simulator.apis.contract import Api
from simulator.assemble import API_MODULES, abilities_of, declared_in, load_apis, load_document
from simulator.engine.command import Force
from simulator.engine.job import State
from simulator.report.coverage import NO_JOB, Coverage, Goal, goals_of, measure, met_states, states_of
from simulator.report.model import Run, Tested
from simulator.scenario.calls import Declared
from simulator.scenario.review import Ability
from simulator.web.service import METHODS
from tests.kit import Kit
from tests.report.parts import CANCEL, RESULT, STATUS, SUBMIT, call, job, played

APIS = load_apis()
DOCUMENTS = {name: load_document(api) for name, api in APIS.items()}


@cache
def declared() -> Declared:
    return declared_in(DOCUMENTS, APIS)


@cache
def abilities() -> dict[str, Ability]:
    return abilities_of(DOCUMENTS, APIS)


def measured(*tests: Tested, **more: Any) -> Coverage:
    return measure(Run(tests), APIS, declared(), abilities(), **more)


def met(*tests: Tested) -> set[Goal]:
    (only,) = measured(*tests).apis
    return {goal for goal, count in only.met.items() if count}


def words(tested: Tested) -> list[str | None]:
    return [word for _, word in met_states(tested, APIS, declared())]


def test_a_call_meets_the_state_of_its_job_at_its_time() -> None:
    jobs = (job("1", (0, "queued", "client"), (1_000, "running"), (3_000, "failed")),)
    calls = tuple(call(at_ms, STATUS) for at_ms in (0, 999, 1_000, 2_999, 3_000, 9_000))
    assert words(Tested("t", jobs=jobs, calls=calls)) == [
        *("accepted", "accepted", "running", "running", "failed", "failed")
    ]


def test_in_one_instant_a_command_comes_between_the_calls_around_it() -> None:
    jobs = (job("1", (0, "queued", "client"), (0, "running"), (0, "cancelled", "client")),)
    calls = (call(0, SUBMIT, 201), call(0, STATUS), call(0, CANCEL), call(0, STATUS))
    assert words(Tested("t", jobs=jobs, calls=calls)) == [None, "running", "running", "dismissed"]


def test_a_refused_command_has_changed_nothing() -> None:
    jobs = (job("1", (0, "running", "client"), (0, "cancelled", "client")),)
    calls = (call(0, CANCEL, 409), call(0, RESULT, 404), call(0, CANCEL), call(0, RESULT, 404))
    assert words(Tested("t", jobs=jobs, calls=calls)) == ["running", "running", "running", "dismissed"]


def test_an_undisturbed_answer_says_what_a_person_did_in_the_same_instant() -> None:
    jobs = (job("1", (0, "queued", "client"), (0, "failed", "operator")),)
    bodies = ('{"status":"accepted"}', '{"status": "failed"}', '{"status":"accepted"}')
    calls = (
        call(0, STATUS, body=bodies[0]),
        call(0, STATUS, body=bodies[1]),
        call(0, STATUS, body=bodies[2], cause="scenarios/x.yaml:3"),
    )
    assert words(Tested("t", jobs=jobs, calls=calls)) == ["accepted", "failed", "failed"]


def test_a_removed_job_was_as_its_last_answer_said() -> None:
    calls = (
        call(0, STATUS, body='{"jobID":"1","status":"successful"}'),
        call(1, CANCEL, 200),
        call(2, STATUS, 404),
    )
    tested = Tested("t", calls=calls)
    assert words(tested) == ["successful", "successful", "no such job"]
    assert met(tested) == {
        Goal("status", "successful", "2xx"),
        Goal("cancel", "successful", "2xx"),
        Goal("status", "no such job", "4xx"),
    }


def test_faults_and_limits_meet_no_state() -> None:
    jobs = (job("1", (0, "running")),)
    calls = (call(0, STATUS, 503), call(1, STATUS, 429), call(2, STATUS, None), call(3, CANCEL, 401))
    assert met(Tested("t", jobs=jobs, calls=calls)) == {Goal("status", "", "5xx"), Goal("status", "", "429")}


def test_states_with_one_word_are_one() -> None:
    assert states_of(APIS["synapse"]) == {
        "PROCESSING": ["delayed", "queued", "running", "retrying", "cancelling"],
        "COMPLETE": ["succeeded"],
        "FAILED": ["failed", "cancelled"],
    }


def test_what_was_never_met_is_said_in_words() -> None:
    (only,) = measured(Tested("t", calls=(call(0, SUBMIT, 201, job=None),))).apis
    said = [str(goal) for goal in only.never]
    assert "no test ever polled a job that is failed" in said
    assert "429 on status never met" in said
    assert "no test ever cancelled a job that does not exist" in said
    assert "no submit call ever was refused" in said
    assert not any(re.search("[{}]", line) for line in said)


def test_nothing_was_met_where_nothing_was_called() -> None:
    coverage = measured(Tested("t"))
    assert (coverage.percent, coverage.possible, coverage.apis) == (0.0, 0, [])
    assert list(coverage.never_called) == list(API_MODULES)


def test_an_unknown_api_counts_nothing() -> None:
    assert measured(Tested("t", calls=(call(0, "x", api="elsewhere"),))).apis == []


def test_only_the_wanted_roles_count() -> None:
    tested = Tested("t", jobs=(job("1", (0, "running")),), calls=(call(0, STATUS), call(0, CANCEL)))
    (only,) = measured(tested, roles={"cancel"}).apis
    assert {goal.role for goal in only.goals} == {"cancel"}
    assert only.met[Goal("cancel", "running", "2xx")] == 1


def test_almost_all_is_not_all() -> None:
    (only,) = measured(Tested("t", calls=(call(0, STATUS),))).apis
    goals = only.goals * 1_000
    counts = dict.fromkeys(only.goals, 1)
    assert type(only)("ogc", "", {}, goals, counts, 1).percent == 100.0
    assert type(only)("ogc", "", {}, [*goals, Goal("x", "", "2xx")], counts, 1).percent == 99.9


def test_information_has_no_goals() -> None:
    for api in APIS.values():
        assert "info" not in {goal.role for goal in goals_of(api, declared(), abilities()[api.name])}


# ---- all of it can be met -------------------------------------------------------------------------------------------


TOKEN = {"Authorization": "Bearer token"}
SUBMITS: dict[str, tuple[str, dict[str, Any]]] = {
    "synapse": (
        "/asynchronous/job",
        {
            "concreteType": "org.sagebionetworks.repo.model.table.DownloadFromTableRequest",
            "entityId": "syn2048",
            "sql": "SELECT * FROM syn2048",
        },
    ),
    "jbpm": ("/server/jobs", {"job-command": "org.jbpm.executor.commands.PrintOutCommand"}),
    "ogc": ("/processes/echo/execution", {"inputs": {"message": "hello"}}),
    "ica": (
        "/v1/tasks/runs",
        {"name": "some", "execution": {"image": {"name": "registry/count", "tag": "1"}, "command": "count"}},
    ),
    "titan": ("/jobs", {"jobs": [{"image": "acme/resize:3", "max_retries": 0}]}),
}
"""By API: the path and body of a submit that is accepted."""
HOLDING = "{description: Holds its jobs., jobs: [{script: [queued: hold]}], workers: {titan: external}}\n"


def operations(api: Api) -> Iterator[tuple[str, str, str]]:
    """Method, path and id of each operation that makes goals."""
    for path, item in DOCUMENTS[api.name]["paths"].items():
        for method, operation in item.items():
            if method in METHODS and declared()[api.name, operation["operationId"]].role != "info":
                yield method.upper(), path, operation["operationId"]


def in_state(kit: Kit, base: str, api: Api, state: State) -> str:
    """The id of a new job in this state."""
    path, body = SUBMITS[api.name]
    if state is State.DELAYED:
        body = {"jobs": [{**body["jobs"][0], "delay": 3_600}]}
    answer = kit.post(base + path, json=body, headers=TOKEN | {"Prefer": "respond-async"})
    assert answer.status < 300, answer.text
    made = kit.world.jobs(api.name, limit=1, newest_first=True)[0]
    if made.state is not state:
        made = kit.world.apply(Force(api.name, made.id, state))
    return str(made.id)


@pytest.mark.parametrize("name", API_MODULES)
def test_every_goal_about_jobs_can_be_met_on_a_server(name: str) -> None:
    api = APIS[name]
    tests = []
    # One of our states for each word that a client can tell apart; a forced one that the table of moves allows.
    for ours in states_of(api).values():
        state = State(ours[-1] if ours[-1] in ("succeeded", "cancelled") else ours[0])
        if state is State.DELAYED and ours != ["delayed"]:
            state = State.QUEUED
        kit = Kit(HOLDING, apis=(name,), strict=False)
        base = f"/{name}" + kit.front.services[name].base_path
        about = [one for one in operations(api) if one[2] in abilities()[name].job_operations]
        polled = next(path for _, path, one in about if declared()[name, one].role == "status")
        for method, path, _ in about:
            job_id = in_state(kit, base, api, state)
            # As clients do, and as they must before they remove a job: its last answer is all that is left of it.
            for one, asked in (("GET", polled), (method, path)):
                url = base + re.sub(r"{(\w+)}", job_id, asked)
                kit.request(one, url, headers=TOKEN, json=None if one == "GET" else {})
            for status in ("401", "429", "503"):
                kit.request(method, url, headers=TOKEN | {"Prefer": f"code={status}"})
        tests.append(played(kit))
    (only,) = measured(*tests).apis
    about_jobs = {goal for goal in only.goals if goal.state in api.words.values()}
    assert [str(goal) for goal in only.never if goal in about_jobs] == []
    roles = {goal.role for goal in about_jobs}
    assert [
        str(goal) for goal in only.never if goal.role in roles and goal.answer in ("401", "429", "5xx")
    ] == []


@pytest.mark.parametrize("name", API_MODULES)
def test_every_goal_follows_from_calls_that_meet_it(name: str) -> None:
    api, calls, jobs = APIS[name], [], []
    for place, goal in enumerate(goals_of(api, declared(), abilities()[name])):
        with_job = goal.state in (*api.words.values(), NO_JOB)
        operation = next(
            one
            for _, _, one in operations(api)
            if declared()[name, one].role == goal.role
            and (goal.state == "" or (one in abilities()[name].job_operations) == with_job)
            and (with_job or goal.answer in "401 429 5xx" or one not in abilities()[name].job_operations)
        )
        status = {"2xx": 200, "4xx": 404, "401": 401, "429": 429, "5xx": 503}[goal.answer]
        if goal.state in api.words.values():
            state = next(state for state in State if api.words[state] == goal.state)
            jobs.append(job(str(place), (0, state.value), api=name))
        calls.append(call(0, operation, status, api=name, job=str(place), number=place + 1))
    (only,) = measured(Tested("t", jobs=jobs, calls=calls)).apis
    assert [str(goal) for goal in only.never] == []
    assert only.percent == 100.0
