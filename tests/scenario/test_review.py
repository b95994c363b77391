"""What a file that can be read will still surprise with: rules that never fire, and what an API cannot say of it."""

from __future__ import annotations

from textwrap import dedent

import pytest

from simulator.assemble import abilities_of, declared_in, load_apis, load_document, settings_of
from simulator.engine.job import State
from simulator.resources import shipped_scenarios
from simulator.scenario.calls import ROLES
from simulator.scenario.read import check_scenario
from simulator.scenario.review import FEATURES, review
from tests.kit import Kit

APIS = load_apis()
DOCUMENTS = {name: load_document(api) for name, api in APIS.items()}
DECLARED = declared_in(DOCUMENTS, APIS)
ABILITIES = abilities_of(DOCUMENTS, APIS)


def reviewed(text: str) -> list[str]:
    """Everything that the review says, without the file's name."""
    text = dedent(text)
    scenario, problems = check_scenario(text, apis=settings_of(APIS), shown_as="s", declared=DECLARED)
    assert scenario is not None, problems
    found = review(text, scenario, shown_as="s", abilities=ABILITIES, declared=DECLARED)
    return [f"{problem.severity} {str(problem)[2:]}" for problem in found]


def warnings(text: str) -> list[str]:
    return [line.removeprefix("warning ") for line in reviewed(text) if line.startswith("warning ")]


def notes(text: str) -> list[str]:
    return [line.removeprefix("note ") for line in reviewed(text) if line.startswith("note ")]


# ---- rules that never fire ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("{api: ica}", "{api: ica, kind: a}"),
        ("{api: [ica, ogc]}", "{api: ica}"),
        ("{number: 1..9}", "{number: 2..3}"),
        ("{every: 2}", "{every: 4}"),
        ("{kind: 'a*'}", "{kind: abc}"),
        ("{kind: '*'}", "{api: ica}"),
        ("{kind: [a, b]}", "{kind: b}"),
        ("{request.a: 'x*'}", "{request.a: xy, request.b: z}"),
        ("{api: ica}", "{api: ica, chance: 0.5}"),
    ],
)
def test_a_job_rule_behind_a_wider_one_never_fires(earlier: str, later: str) -> None:
    text = f"jobs:\n- {{when: {earlier}, script: [succeeded]}}\n- {{when: {later}, script: [failed]}}\n"
    assert warnings(text) == [
        "3:3: jobs[1]: never fires: jobs[0] in line 2 takes every job that this one could"
    ]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("{api: ica, kind: a}", "{api: ica}"),
        ("{api: ica}", "{api: ogc}"),
        ("{api: ica}", "{kind: a}"),
        ("{number: 2..3}", "{number: 1..9}"),
        ("{every: 4}", "{every: 2}"),
        ("{kind: 'a*'}", "{kind: 'ab*'}"),
        ("{kind: abc}", "{kind: 'a*'}"),
        ("{chance: 0.5}", "{chance: 0.5}"),
        ("{request.a: x}", "{request.b: x}"),
    ],
)
def test_a_job_rule_that_may_fire_is_not_warned_of(earlier: str, later: str) -> None:
    text = f"jobs:\n- {{when: {earlier}, script: [succeeded]}}\n- {{when: {later}, script: [failed]}}\n"
    assert warnings(text) == []


@pytest.mark.parametrize(
    ("earlier", "later", "fires"),
    [
        ("when: {role: status}, fault: stale", "when: {role: status, api: ica}, fault: hang", False),
        ("when: {after: 5s}, fault: stale", "when: {after: 6s}, fault: hang", False),
        ("when: {operation: Get*}, fault: stale", "when: {operation: GetTaskRun}, fault: hang", False),
        ("when: {header.a: b}, fault: stale", "when: {header.A: b, query.c: d}, fault: hang", False),
        ("when: {state: [running, queued]}, fault: stale", "when: {state: running}, delay: 1s", False),
        ("when: {role: status, call: 2}, fault: stale", "when: {role: status}, fault: hang", True),
        ("when: {role: status, every: 2}, fault: stale", "when: {role: status}, fault: hang", True),
        ("when: {role: status}, fault: {not_yet_visible: 5s}", "when: {role: status}, fault: hang", True),
        ("when: {role: status}, rate_limit: {calls: 1, per: 1s}", "when: {role: status}, fault: hang", True),
        ("when: {after: 5s}, fault: stale", "when: {after: 4s}, fault: hang", True),
        ("when: {role: status}, fault: stale", "when: {role: [status, list]}, fault: hang", True),
    ],
)
def test_a_call_rule_behind_a_wider_one_never_fires(earlier: str, later: str, fires: bool) -> None:
    text = f"jobs: [{{script: [succeeded]}}]\ncalls:\n- {{{earlier}}}\n- {{{later}}}\n"
    told = "4:3: calls[1]: never fires: calls[0] in line 3 takes every call that this one could"
    assert warnings(text) == ([] if fires else [told])


def test_conditions_may_contradict_each_other() -> None:
    assert warnings("""\
        jobs:
        - {when: {number: 4..5, every: 3}, script: [succeeded]}
        - {when: {number: 4..6, every: 3}, script: [succeeded]}
        calls:
        - {when: {call: 4..5, every: 3}, fault: hang}
        - {when: {role: submit, number: 1}, fault: hang}
        - {when: {role: status, number: 1}, fault: hang}
    """) == [
        "2:3: jobs[0]: never fires: no number from 4 to 5 is one of every 3",
        "5:3: calls[0]: never fires: no call from 4 to 5 is one of every 3",
        "6:3: calls[1]: never fires: `number` is asked of the job that the path names, and none of these operations names one",
    ]


def test_rules_of_an_extended_file_are_not_reviewed_with_it() -> None:
    text = "extends: happy\njobs:\n- {when: {api: ica}, script: [succeeded]}\n"
    scenario, _ = check_scenario(
        text, apis=settings_of(APIS), shown_as="s", declared=DECLARED, find=shipped_scenarios().get
    )
    assert scenario is not None
    found = review(text, scenario, shown_as="s", abilities=ABILITIES, declared=DECLARED)
    assert [problem for problem in found if "never fires" in problem.message] == []


# ---- what an API cannot express -------------------------------------------------------------------------------------


def test_each_thing_is_noted_once_per_api_where_the_file_first_speaks_of_it() -> None:
    told = notes("""\
        jobs:
        - when: {api: [ica, synapse]}
          script: [{running: 1s, progress: 5}, {running: 1s, progress: 9}, cancelled]
    """)
    assert told == [
        "3:36: jobs[0].script[0].progress: ica shows no progress",
        "3:68: jobs[0].script[2]: synapse has no word for cancelled: such a job is FAILED",
    ]


def test_only_apis_whose_jobs_come_to_a_rule_are_noted() -> None:
    told = notes("""\
        jobs:
        - {when: {api: [jbpm, titan]}, script: [running: 1s, succeeded]}
        - {script: [{running: 1s, progress: 5}, succeeded]}
    """)
    assert [line for line in told if "shows no progress" in line] == [
        "3:37: jobs[1].script[0].progress: ica shows no progress"
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("jobs: [{when: {api: titan}, script: [failed: boom]}]", "titan does not show the text of an error"),
        ("jobs: [{when: {api: jbpm}, script: [failed: {error: {code: a}}]}]", "not its code"),
        ("jobs: [{when: {api: ogc}, script: [retrying: 1s, succeeded]}]", "ogc has no word for retrying"),
        ("jobs: [{when: {api: ogc}, attempts: [[failed], [succeeded]]}]", "ogc has no retry"),
        ("jobs: [{when: {api: synapse}, script: [succeeded], log: a}]", "synapse has no logs"),
        ("jobs: [{when: {api: ogc}, script: [succeeded: {log: a}]}]", "ogc has no logs"),
        ("jobs: [{when: {api: jbpm}, script: [succeeded], on_cancel: refused}]", "jbpm answers 204"),
        (
            "jobs: [{when: {api: titan}, script: [succeeded], on_cancel: {after: 1s}}]",
            "no word for cancelling",
        ),
        ("jobs: [{when: {api: ica}, script: [succeeded: {result: 1}]}]", "ica has no results"),
        ("jobs: [{when: {api: titan}, script: [{running: 1s, message: a}]}]", "titan shows no messages"),
        ("jobs: [{script: [succeeded]}]\nworkers: {titan: external}", "titan needs a worker here"),
        (
            "jobs: [{script: [succeeded]}]\ncalls: [{when: {role: list}, fault: hang}]",
            "synapse has no list of jobs",
        ),
        (
            "jobs: [{script: [succeeded]}]\ncalls: [{when: {api: ica}, fault: progress_backwards}]",
            "ica shows no progress",
        ),
    ],
)
def test_what_an_api_cannot_express_is_a_note(text: str, told: str) -> None:
    assert any(told in line for line in notes(text)), notes(text)


def test_an_api_whose_jobs_nobody_can_take_is_warned_of() -> None:
    [told] = warnings("workers: {ica: external}\njobs: [{script: [succeeded]}]")
    assert told.startswith("1:16: workers.ica: ica has no operation by which a worker takes jobs")


@pytest.mark.parametrize("name", APIS)
def test_what_an_api_says_it_cannot_is_so(name: str) -> None:
    api = APIS[name]
    roles = {operation.role.value for operation in api.operations.values()}
    said = set(api.cannot)
    assert said <= {*FEATURES, *ROLES}
    assert not said & roles - {"log"}
    assert ("progress" in said) == (not api.progress_fields)
    assert ("worker" in said) == api.rules.claims
    if "log" not in roles:
        assert "log" in said
    for state in (State.DELAYED, State.RETRYING, State.CANCELLING, State.CANCELLED):
        has_own = list(api.words.values()).count(api.words[state]) == 1
        assert has_own != (state.value in said), state


SUBMITS = {
    "synapse": (
        "/synapse/repo/v1/asynchronous/job",
        {
            "concreteType": "org.sagebionetworks.repo.model.table.DownloadFromTableRequest",
            "entityId": "syn1",
            "sql": "SELECT 1 FROM syn1",
        },
        ("{job}",),
    ),
    "jbpm": (
        "/jbpm/kie-server/services/rest/server/jobs",
        {"job-command": "a.B", "request-data": {"retries": 0}},
        ("{job}?withErrors=true&withData=true",),
    ),
    "ogc": ("/ogc/processes/echo/execution", {"inputs": {"message": "a"}}, ("{job}", "{job}/results")),
    "ica": ("/ica/v1/tasks/runs", {}, ("{job}",)),
    "titan": ("/titan/v1/jobs", {"jobs": [{"image": "a", "max_retries": 0}]}, ("{job}", "{job}/log")),
}
FOLDERS = {"ogc": "/ogc/jobs", "titan": "/titan/v1/job"}
SHOWN = """\
jobs:
- when: {number: 1}
  script: [{running: hold, progress: 41, message: marker message}]
- when: {number: 2}
  script: [{failed: {error: {code: marker_code, message: marker error, details: marker details}}}]
- when: {number: 3}
  script: [{succeeded: {result: {concreteType: marker result, marker: marker result}, log: marker log}}]
"""


@pytest.mark.parametrize("name", APIS)
def test_what_an_api_cannot_show_is_not_in_its_answers_and_the_rest_is(name: str) -> None:
    kit = Kit(SHOWN, strict=False)
    headers = {
        "Authorization": "Bearer t",
        "Prefer": "respond-async",
        "Accept": "application/json, text/plain",
    }
    path, body, wheres = SUBMITS[name]
    seen = ""
    for _ in range(3):
        assert kit.post(path, json=body, headers=headers).status in (200, 201)
        [job] = kit.world.jobs(name, limit=1, newest_first=True)
        here = f"{FOLDERS.get(name, path)}/{job.id}"
        seen += "".join(kit.get(where.format(job=here), headers=headers).text for where in wheres)
    seen = seen.replace("MarkerCode", "marker_code")
    markers = {
        "message": "marker message",
        "error": "marker error",
        "code": "marker_code",
        "details": "marker details",
        "result": "marker result",
        "log": "marker log",
    }
    assert {feature for feature, marker in markers.items() if marker not in seen} == {
        feature for feature in APIS[name].cannot if feature in markers
    }
