"""ICA tasks and their versions as their clients see them: make, read, change, list, and launch runs from them."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from simulator.apis.contract import Problem
from simulator.apis.ica import api
from simulator.apis.ica_tasks import FILLED_CHARACTERS_MAX, filled_in
from simulator.engine.world import Limits, World
from tests.kit import Answer, Kit

TASKS = "/ica/v1/tasks"
TOKEN = {"Authorization": "Bearer secret"}
UNKNOWN_TASK = "tdn.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
UNKNOWN_VERSION = "tvn.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
TASK_SUMMARY = {
    "id",
    "href",
    "urn",
    "name",
    "acl",
    "tenantId",
    "subTenantId",
    "createdBy",
    "timeCreated",
    "timeModified",
}
VERSION_SUMMARY = TASK_SUMMARY - {"name"} | {"version"}
EXECUTION = {
    "image": {"name": "registry/{{tool}}", "tag": "{{tag}}"},
    "command": "{{tool}}",
    "args": ["--input", "/data/{{sample}}.fastq", "--twice={{sample}}{{sample}}"],
    "inputs": [{"path": "/data/{{sample}}.fastq", "url": "gds://in/{{sample}}.fastq"}],
    "outputs": [{"path": "/var/log/tessystemlogs", "url": "gds://logs/{{sample}}"}],
    "environment": {"variables": {"SAMPLE": "{{sample}}", "{{tag}}": "key"}},
}
ARGUMENTS = {"tool": "count", "tag": "1.4.0", "sample": "NA12878"}


@pytest.fixture
def kit() -> Kit:
    """A server of its own."""
    return Kit(apis=("ica",))


@pytest.fixture(scope="module")
def plain() -> Kit:
    """A server for calls that are refused, so that they can share it; it has one task with one version."""
    kit = Kit(apis=("ica",))
    new_version(kit, new_task(kit, "known"))
    return kit


def known(plain: Kit) -> tuple[str, str]:
    """The ids of the one task and its one version."""
    (task,) = page(plain)["items"]
    (version,) = page(plain, f"/{task['id']}/versions")["items"]
    return task["id"], version["id"]


def shortly(value: Any) -> str:
    """The name of a case, without the whole of a long text."""
    return str(value)[:60]


def ask(kit: Kit, method: str, path: str, body: Any = None) -> Answer:
    """The answer to a call with a good token."""
    return kit.request(method, TASKS + path, json=body, headers=TOKEN)


def done(kit: Kit, method: str, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
    """The body of an answer that must have this status."""
    answer = ask(kit, method, path, body)
    assert answer.status == status, answer.text
    return dict(answer.json())


def refused(kit: Kit, method: str, path: str, body: Any = None) -> tuple[int, str]:
    """Status and code of an answer that must be an error."""
    answer = ask(kit, method, path, body)
    assert {"code", "message"} <= answer.json().keys() <= {"code", "message", "details"}
    return answer.status, answer.json()["code"]


def new_task(kit: Kit, name: str = "count", **fields: Any) -> str:
    """The id of a new task."""
    return str(done(kit, "POST", "", {"name": name, **fields}, 201)["id"])


def new_version(kit: Kit, task_id: str, version: str = "1.0", **fields: Any) -> str:
    """The id of a new version."""
    return str(done(kit, "POST", f"/{task_id}/versions", {"version": version, **fields}, 201)["id"])


def page(kit: Kit, path: str = "", **params: Any) -> dict[str, Any]:
    """One page of tasks, or of whatever is listed there."""
    return done(kit, "GET", f"{path}?{urlencode(params, quote_via=quote)}")


# ---- tasks ------------------------------------------------------------------------------------------------------


def test_a_new_task_has_an_id_an_owner_and_a_time(kit: Kit) -> None:
    kit.advance("5s")
    task = done(kit, "POST", "", {"name": "count", "description": "Counts."}, 201)
    assert task.keys() == TASK_SUMMARY | {"description"}
    assert re.fullmatch(r"tdn\.[0-9a-f]{32}", task["id"])
    assert task["href"] == f"http://127.0.0.1:4010{TASKS}/{task['id']}"
    assert task["urn"] == f"urn:ilmn:iap:aps2:{task['tenantId']}:task:{task['id']}#count"
    assert task["acl"] == [f"tid:{task['tenantId']}", task["subTenantId"]]
    assert task["timeCreated"] == task["timeModified"] == "2030-01-01T00:00:05.000Z"
    assert done(kit, "GET", f"/{task['id']}") == task


def test_ids_depend_on_the_seed_and_the_number_alone() -> None:
    ids = [
        [new_task(kit), new_task(kit, "b")] for kit in (Kit(apis=("ica",), seed=seed) for seed in (1, 1, 2))
    ]
    assert ids[0] == ids[1]
    assert len({*ids[0], *ids[2]}) == 4


def test_a_task_may_come_with_its_versions(kit: Kit) -> None:
    versions = [{"version": "1.0", "execution": EXECUTION}, {"version": "2.0", "description": "Faster."}]
    task = done(kit, "POST", "", {"name": "count", "taskVersions": versions}, 201)
    first, second = task["taskVersions"]
    assert (first["version"], second["version"]) == ("1.0", "2.0")
    assert second["description"] == "Faster."
    assert second["execution"] == {"retryLimit": 3, "retryCount": 0}
    for version in (first, second):
        assert done(kit, "GET", f"/{task['id']}/versions/{version['id']}") == version
    assert "taskVersions" not in done(kit, "GET", f"/{task['id']}")


@pytest.mark.parametrize(
    "body",
    [
        None,
        "null",
        {},
        {"name": 5},
        {"name": "x" * 256},
        {"name": "a", "description": "x" * 4097},
        {"name": "a", "acl": "tid:a"},
        {"name": "a", "taskVersions": {}},
        {"name": "a", "taskVersions": [{}]},
        {"name": "a", "taskVersions": [{"version": "1", "execution": {"image": {}}}]},
        {"name": "a", "taskVersions": [{"version": "x" * 256}]},
    ],
    ids=shortly,
)
def test_a_task_of_the_wrong_form_is_a_bad_request(plain: Kit, body: Any) -> None:
    if body == "null":
        answer = plain.post(TASKS, data="null", headers=TOKEN | {"Content-Type": "application/json"})
        assert answer.status == 400
    else:
        assert refused(plain, "POST", "", body) == (400, "BadRequest")
    assert page(plain)["totalItemCount"] == 1


def test_no_two_tasks_have_the_same_name(kit: Kit) -> None:
    new_task(kit, "count")
    other = new_task(kit, "Count")
    assert refused(kit, "POST", "", {"name": "count"}) == (409, "Conflict")
    assert refused(kit, "PATCH", f"/{other}", {"name": "count"}) == (409, "Conflict")
    assert "count" in ask(kit, "POST", "", {"name": "count"}).json()["message"]
    assert done(kit, "PATCH", f"/{other}", {"name": "Count"})["name"] == "Count"
    assert [task["name"] for task in page(kit)["items"]] == ["count", "Count"]


def test_a_name_is_free_again_once_its_task_has_another(kit: Kit) -> None:
    task_id = new_task(kit, "count")
    done(kit, "PATCH", f"/{task_id}", {"name": "recount"})
    assert new_task(kit, "count") != task_id


def test_an_empty_name_is_a_name_too(kit: Kit) -> None:
    task_id = new_task(kit, "")
    assert done(kit, "GET", f"/{task_id}")["name"] == ""
    assert refused(kit, "POST", "", {"name": ""}) == (409, "Conflict")
    version_id = new_version(kit, task_id, "")
    run = launch(kit, task_id, version_id).json()
    assert run["taskVersionSummary"]["version"] == ""
    assert "name" not in run


def test_a_task_with_two_versions_of_one_name_is_not_made_at_all(kit: Kit) -> None:
    body = {"name": "count", "taskVersions": [{"version": "1"}, {"version": "1"}]}
    assert refused(kit, "POST", "", body) == (409, "Conflict")
    assert page(kit)["totalItemCount"] == 0
    assert kit.world.kept_keys("ica") == []


def test_a_change_replaces_what_it_names_and_nothing_else(kit: Kit) -> None:
    task_id = new_task(kit, "count", description="Counts.", acl=["tid:a"])
    before = done(kit, "GET", f"/{task_id}")
    kit.advance("1h")
    after = done(kit, "PATCH", f"/{task_id}", {"description": "Counts faster."})
    assert after == before | {
        "description": "Counts faster.",
        "timeModified": "2030-01-01T01:00:00.000Z",
        "modifiedBy": before["createdBy"],
    }
    after = done(kit, "PATCH", f"/{task_id}", {"name": "recount", "description": "", "acl": []})
    assert "description" not in after
    assert after["acl"] == [f"tid:{after['tenantId']}", after["subTenantId"]]
    assert after["urn"].endswith("#recount")
    assert done(kit, "GET", f"/{task_id}") == after


@pytest.mark.parametrize("body", [None, {}, {"unknown": 1}])
def test_a_change_that_names_nothing_changes_nothing(kit: Kit, body: Any) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id)
    before = kit.world.snapshot()["kept"]
    kit.advance("1h")
    assert "modifiedBy" not in done(kit, "PATCH", f"/{task_id}", body)
    assert "modifiedBy" not in done(kit, "PATCH", f"/{task_id}/versions/{version_id}", body)
    assert kit.world.snapshot()["kept"] == before


def test_a_changed_task_is_shown_with_its_versions(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, "1.0")
    (version,) = done(kit, "PATCH", f"/{task_id}", {"name": "other"})["taskVersions"]
    assert version["id"] == version_id


# ---- versions ---------------------------------------------------------------------------------------------------


def test_a_new_version_shows_what_it_executes_with_its_placeholders_and_without_secrets(kit: Kit) -> None:
    task_id = new_task(kit)
    execution = {
        "image": {"name": "{{tool}}", "credentials": {"username": "me", "password": "s3cr3t"}},
        "inputs": [{"path": "/{{a}}", "credentials": {"AWS_SECRET_ACCESS_KEY": "s3cr3t"}}],
    }
    answer = ask(kit, "POST", f"/{task_id}/versions", {"version": "1.0", "execution": execution})
    assert answer.status == 201
    assert "s3cr3t" not in answer.text
    version = answer.json()
    assert version.keys() == VERSION_SUMMARY | {"execution"}
    assert re.fullmatch(r"tvn\.[0-9a-f]{32}", version["id"])
    assert version["href"] == f"http://127.0.0.1:4010{TASKS}/{task_id}/versions/{version['id']}"
    assert version["urn"].endswith(f":taskversion:{version['id']}#1.0")
    assert version["execution"] == {
        "image": {"name": "{{tool}}", "credentials": {"username": "me"}},
        "inputs": [{"path": "/{{a}}", "type": "File"}],
        "retryLimit": 3,
        "retryCount": 0,
    }
    assert done(kit, "GET", f"/{task_id}/versions/{version['id']}") == version


def test_versions_are_named_once_per_task(kit: Kit) -> None:
    one, other = new_task(kit, "one"), new_task(kit, "other")
    new_version(kit, one, "1.0")
    second = new_version(kit, one, "2.0")
    new_version(kit, other, "1.0")
    assert refused(kit, "POST", f"/{one}/versions", {"version": "1.0"}) == (409, "Conflict")
    assert refused(kit, "PATCH", f"/{one}/versions/{second}", {"version": "1.0"}) == (409, "Conflict")
    assert done(kit, "PATCH", f"/{one}/versions/{second}", {"version": "2.0"})["version"] == "2.0"
    assert page(kit, f"/{one}/versions")["totalItemCount"] == 2


@pytest.mark.parametrize(
    "body", [None, {}, {"version": 1}, {"version": "x" * 256}, {"version": "1", "execution": []}], ids=shortly
)
def test_a_version_of_the_wrong_form_is_a_bad_request(plain: Kit, body: Any) -> None:
    task_id, _ = known(plain)
    assert refused(plain, "POST", f"/{task_id}/versions", body) == (400, "BadRequest")
    assert page(plain, f"/{task_id}/versions")["totalItemCount"] == 1


def test_a_change_of_a_version_replaces_its_execution_as_a_whole(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, execution=EXECUTION, description="First.")
    kit.advance("1m")
    after = done(kit, "PATCH", f"/{task_id}/versions/{version_id}", {"execution": {"command": "true"}})
    assert after["execution"] == {"command": "true", "retryLimit": 3, "retryCount": 0}
    assert after["description"] == "First."
    assert after["timeModified"] == "2030-01-01T00:01:00.000Z"
    assert after["modifiedBy"] == after["createdBy"]


CALLS_OF_A_TASK = [
    ("GET", "", None),
    ("PATCH", "", {"name": "a"}),
    ("GET", "/versions", None),
    ("POST", "/versions", {"version": "a"}),
    ("GET", "/versions/<version>", None),
    ("PATCH", "/versions/<version>", {"version": "a"}),
    ("POST", "/versions/<version>:launch", {}),
]


@pytest.mark.parametrize(("method", "path", "body"), CALLS_OF_A_TASK)
@pytest.mark.parametrize("task_id", [UNKNOWN_TASK, "x", "%2F", f"{UNKNOWN_TASK}%2Fversions"])
def test_what_belongs_to_an_unknown_task_is_not_found(
    plain: Kit, method: str, path: str, body: Any, task_id: str
) -> None:
    _, version_id = known(plain)
    answer = ask(plain, method, f"/{task_id}{path.replace('<version>', version_id)}", body)
    assert (answer.status, answer.json()["code"]) == (404, "NotFound")
    assert "task" in answer.json()["message"]


@pytest.mark.parametrize(("method", "path", "body"), [one for one in CALLS_OF_A_TASK if "<" in one[1]])
def test_a_version_is_only_found_below_its_own_task(kit: Kit, method: str, path: str, body: Any) -> None:
    one, other = new_task(kit, "one"), new_task(kit, "other")
    version_id = new_version(kit, one)
    for id_ in (version_id, UNKNOWN_VERSION, "x"):
        answer = ask(kit, method, f"/{other}{path.replace('<version>', id_)}", body)
        assert (answer.status, answer.json()["code"]) == (404, "NotFound")
        assert id_ in answer.json()["message"]


def test_runs_are_no_task(kit: Kit) -> None:
    assert page(kit, "/runs")["items"] == []
    assert refused(kit, "PATCH", "/runs", {"name": "a"}) == (405, "MethodNotAllowed")
    assert set(ask(kit, "PATCH", "/runs", {}).headers["allow"].split(", ")) >= {"GET", "POST"}
    assert ask(kit, "POST", "/runs", {"name": "a"}).json()["id"].startswith("trn.")
    assert refused(kit, "POST", "/runs/versions", {"version": "a"}) == (404, "NotFound")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", f"/{UNKNOWN_TASK}"),
        ("PUT", ""),
        ("DELETE", f"/{UNKNOWN_TASK}/versions/{UNKNOWN_VERSION}"),
        ("GET", f"/{UNKNOWN_TASK}/versions/{UNKNOWN_VERSION}:launch"),
    ],
)
def test_a_wrong_method_is_not_allowed(plain: Kit, method: str, path: str) -> None:
    assert refused(plain, method, path) == (405, "MethodNotAllowed")


@pytest.mark.parametrize("header", [None, "Bearer ", "secret"])
def test_tasks_ask_for_a_token_as_runs_do(kit: Kit, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for method, path in [("GET", ""), ("POST", ""), *((method, path) for method, path, _ in CALLS_OF_A_TASK)]:
        assert kit.request(method, f"{TASKS}/{UNKNOWN_TASK}{path}", headers=headers).status in (401, 405)
    assert kit.get(TASKS, headers=headers).status == 401


@pytest.mark.parametrize("media_type", ["application/json-patch+json", "text/json", "application/*+json"])
def test_every_media_type_of_json_is_read(kit: Kit, media_type: str) -> None:
    answer = kit.post(TASKS, data='{"name": "count"}', headers=TOKEN | {"Content-Type": media_type})
    assert answer.status == 201
    path = f"{TASKS}/{answer.json()['id']}"
    for body, name in (('{"name": "other"}', "other"), ("", "other"), ("null", "other")):
        changed = kit.request("PATCH", path, data=body, headers=TOKEN | {"Content-Type": media_type})
        assert (changed.status, changed.json()["name"]) == (200, name)


# ---- launching --------------------------------------------------------------------------------------------------


def launch(kit: Kit, task_id: str, version_id: str, body: Any = None) -> Answer:
    """The answer to a launch."""
    return ask(kit, "POST", f"/{task_id}/versions/{version_id}:launch", body)


def test_a_launch_makes_a_run_with_the_arguments_filled_in_everywhere(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, "1.0", execution=EXECUTION, description="Counts.")
    answer = launch(kit, task_id, version_id, {"arguments": ARGUMENTS | {"unused": "x"}})
    assert answer.status == 201
    run = answer.json()
    assert run["id"].startswith("trn.")
    assert (run["name"], run["description"], run["status"]) == ("1.0", "Counts.", "Pending")
    assert run["execution"] == {
        "image": {"name": "registry/count", "tag": "1.4.0"},
        "command": "count",
        "args": ["--input", "/data/NA12878.fastq", "--twice=NA12878NA12878"],
        "inputs": [{"path": "/data/NA12878.fastq", "url": "gds://in/NA12878.fastq", "type": "File"}],
        "outputs": [{"path": "/var/log/tessystemlogs", "url": "gds://logs/NA12878"}],
        "environment": {"variables": {"SAMPLE": "NA12878", "1.4.0": "key"}},
        "retryLimit": 3,
        "retryCount": 0,
    }
    version = done(kit, "GET", f"/{task_id}/versions/{version_id}")
    assert run["taskVersionSummary"] == {
        field: value for field, value in version.items() if field != "execution"
    }
    assert done(kit, "GET", f"/runs/{run['id']}") == run
    (listed,) = page(kit, "/runs")["items"]
    assert listed["taskVersionSummary"] == run["taskVersionSummary"]


def test_a_launched_run_goes_on_as_any_other_and_is_scripted_by_its_filled_in_image() -> None:
    kit = Kit(
        "jobs:\n"
        "  - when: {kind: registry/count}\n    script: [running: 1s, failed: {error: {message: Killed.}}]\n"
        "  - script: [running: 1h, succeeded]\n",
        apis=("ica",),
    )
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, execution=EXECUTION)
    run_id = launch(kit, task_id, version_id, {"arguments": ARGUMENTS}).json()["id"]
    kit.advance("2s")
    run = done(kit, "GET", f"/runs/{run_id}")
    assert (run["status"], run["statusDetails"]) == ("Failed", "Killed.")
    assert run["logs"][0]["stdout"] == f"gds://logs/NA12878/{run_id}/stdout-0.log"
    aborted = launch(kit, task_id, version_id, {"arguments": ARGUMENTS | {"tool": "other"}}).json()["id"]
    summary = done(kit, "PUT", f"/runs/{aborted}:abort")
    assert (summary["status"], summary["taskVersionSummary"]["id"]) == ("Aborted", version_id)


def test_a_launch_may_say_what_the_run_is_called_and_who_may_see_it(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, description="Of the version.", acl=["wid:v"])
    run = launch(kit, task_id, version_id, {"name": "n", "description": "d", "acl": ["wid:r"]}).json()
    assert (run["name"], run["description"], run["acl"]) == ("n", "d", ["wid:r"])
    assert [item["id"] for item in page(kit, "/runs", names="n", acls="wid:r")["items"]] == [run["id"]]
    assert run["taskVersionSummary"]["acl"] == ["wid:v"]


@pytest.mark.parametrize("body", ["", "null", "{}"])
def test_a_version_without_placeholders_is_launched_without_a_word(kit: Kit, body: str) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, "1.0")
    answer = kit.post(
        f"{TASKS}/{task_id}/versions/{version_id}:launch",
        data=body,
        headers=TOKEN | {"Content-Type": "application/json"},
    )
    assert answer.status == 201
    assert answer.json()["execution"] == {"retryLimit": 3, "retryCount": 0}
    assert "description" not in answer.json()


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [({}, ["tool", "tag", "sample"]), ({"tool": "a", "sample": "b"}, ["tag"]), ({"Tool": "a"}, ["tool"])],
)
def test_a_missing_argument_is_a_bad_request_that_names_it(
    kit: Kit, arguments: dict[str, str], missing: list[str]
) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, execution=EXECUTION)
    answer = launch(kit, task_id, version_id, {"arguments": arguments})
    assert (answer.status, answer.json()["code"]) == (400, "BadRequest")
    (detail,) = answer.json()["details"]
    for name in missing:
        assert re.search(rf"\b{name}\b", detail)
    assert kit.world.count("ica") == 0


@pytest.mark.parametrize(
    "body", [{"arguments": []}, {"arguments": {"a": 1}}, {"name": "x" * 256}, {"acl": "a"}], ids=shortly
)
def test_a_launch_of_the_wrong_form_is_a_bad_request(plain: Kit, body: Any) -> None:
    assert launch(plain, *known(plain), body).status == 400
    assert plain.world.count("ica") == 0


def test_arguments_cannot_leave_the_image_without_a_name(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, execution={"image": {"name": "{{tool}}"}})
    answer = launch(kit, task_id, version_id, {"arguments": {"tool": ""}})
    assert answer.status == 400
    assert "image" in answer.json()["details"][0]


def test_a_short_execution_cannot_be_blown_up_by_a_long_argument(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, execution={"args": ["{{a}}" * 20_000]})
    answer = launch(kit, task_id, version_id, {"arguments": {"a": "x" * 500_000}})
    assert (answer.status, answer.json()["code"]) == (413, "PayloadTooLarge")
    assert kit.world.count("ica") == 0


def test_runs_are_found_by_the_version_they_were_launched_from(kit: Kit) -> None:
    task_id = new_task(kit)
    versions = [new_version(kit, task_id, name) for name in ("1", "2", "3")]
    runs = {
        version: [launch(kit, task_id, version).json()["id"] for _ in range(count)]
        for count, version in enumerate(versions)
    }
    done(kit, "POST", "/runs", {"name": "direct"}, 201)

    def found(wanted: str, **more: Any) -> list[str]:
        return [item["id"] for item in page(kit, "/runs", versions=wanted, **more)["items"]]

    first, second, third = versions
    assert found(first) == []
    assert found(second) == runs[second]
    assert found(f"{third},{second}") == runs[second] + runs[third]
    assert found(third, status="Completed") == []
    kit.advance("10s")
    assert found(third, status="Completed", sort="timeCreated desc") == runs[third][::-1]
    assert found("3") == []


def test_a_run_shows_its_version_as_it_is_now_and_executes_what_it_was(kit: Kit) -> None:
    task_id = new_task(kit)
    version_id = new_version(kit, task_id, "1.0", execution={"command": "old"})
    run_id = launch(kit, task_id, version_id).json()["id"]
    change = {"version": "1.1", "execution": {"command": "new"}}
    done(kit, "PATCH", f"/{task_id}/versions/{version_id}", change)
    run = done(kit, "GET", f"/runs/{run_id}")
    assert run["execution"]["command"] == "old"
    assert (run["name"], run["taskVersionSummary"]["version"]) == ("1.0", "1.1")


# ---- placeholders -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "expected"),
    [
        ("{{a}}", {"a": "1"}, "1"),
        ("{{a}}{{b}}{{a}}", {"a": "1", "b": "2"}, "121"),
        ("{a} {{}} }}{{ ${a}", {}, "{a} {{}} }}{{ ${a}"),
        ("{{{a}}}", {"a": "1"}, "{1}"),
        ("{{a b}}", {"a b": "1"}, "1"),
        ("{{ a }}", {" a ": "1"}, "1"),
        ("{{a}}", {"a": "{{b}}"}, "{{b}}"),
        ("{{a}}", {"a": "\\1"}, "\\1"),
        ("{{a}}", {"a": ""}, ""),
    ],
)
def test_what_is_a_placeholder_and_what_takes_its_place(
    text: str, arguments: dict[str, str], expected: str
) -> None:
    assert filled_in({"command": text}, arguments) == {"command": expected}


def test_only_texts_are_filled_in_and_the_version_stays_as_it_is() -> None:
    execution = {"retryLimit": 2, "args": ["{{a}}"], "environment": {"resources": {"cpuCores": 1.5}}}
    assert filled_in(execution, {"a": "1"}) == {**execution, "args": ["1"]}
    assert execution["args"] == ["{{a}}"]


def test_the_limit_counts_what_is_put_in() -> None:
    half = "x" * (FILLED_CHARACTERS_MAX // 2)
    assert filled_in({"command": "{{a}}{{a}}"}, {"a": half}) == {"command": half + half}
    with pytest.raises(Problem, match="1048576 characters"):
        filled_in({"command": "{{a}}{{a}}", "args": ["{{b}}"]}, {"a": half, "b": "y"})


# ---- lists ------------------------------------------------------------------------------------------------------


def test_empty_lists_have_no_items_and_no_neighbours(kit: Kit) -> None:
    for found in (page(kit), page(kit, f"/{new_task(kit)}/versions")):
        assert found["items"] == []
        assert found["totalItemCount"] == 0
        assert not {"nextPageToken", "prevPageToken"} & found.keys()


def walked(kit: Kit, path: str, **params: Any) -> list[dict[str, Any]]:
    """All items, page by page, while the key of the next token is there."""
    found = page(kit, path, **params)
    items = list(found["items"])
    while "nextPageToken" in found:
        found = page(kit, path, pageToken=found["nextPageToken"])
        items += found["items"]
    assert len(items) == found["totalItemCount"]
    return items


def shelf(kit: Kit) -> str:
    """Three tasks and, in the last of them, three versions, made a second apart: b, c, a; then the first is changed."""
    for name, acl in (("b", ["wid:x", "wid:y"]), ("c", []), ("a", ["wid:y"])):
        task_id = new_task(kit, name, acl=acl)
        kit.advance("1s")
    for name, acl in (("b", ["wid:x", "wid:y"]), ("c", []), ("a", ["wid:y"])):
        new_version(kit, task_id, name, acl=acl)
        kit.advance("1s")
    (task,) = page(kit, names="b")["items"]
    (version,) = page(kit, f"/{task_id}/versions", versions="b")["items"]
    done(kit, "PATCH", f"/{task['id']}", {"description": "changed"})
    done(kit, "PATCH", f"/{task_id}/versions/{version['id']}", {"description": "changed"})
    return task_id


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("", "bca"),
        ("timeCreated", "bca"),
        ("timeCreated asc", "bca"),
        ("timeCreated desc", "acb"),
        ("name", "abc"),
        ("name desc", "cba"),
        ("timeModified", "cab"),
        ("timeModified desc", "bac"),
    ],
)
def test_lists_can_be_sorted_by_each_field_in_both_directions(kit: Kit, sort: str, expected: str) -> None:
    task_id = shelf(kit)
    params: dict[str, Any] = {"pageSize": 1} | ({"sort": sort} if sort else {})
    assert "".join(item["name"] for item in walked(kit, "", **params)) == expected
    versions = walked(kit, f"/{task_id}/versions", **params)
    assert "".join(item["version"] for item in versions) == expected
    if sort.startswith("name"):
        params["sort"] = sort.replace("name", "version")
        assert walked(kit, f"/{task_id}/versions", **params) == versions
    assert all(item.keys() >= TASK_SUMMARY and "taskVersions" not in item for item in page(kit)["items"])
    assert all(item.keys() >= VERSION_SUMMARY and "execution" not in item for item in versions)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"names": "a"}, "a"),
        ({"names": "A"}, ""),
        ({"names": "a,b,x"}, "ba"),
        ({"acls": "wid:y"}, "ba"),
        ({"acls": "wid:x,wid:none"}, "b"),
        ({"acls": "wid:y", "names": "a,c"}, "a"),
        ({"names": ""}, "bca"),
    ],
    ids=shortly,
)
def test_lists_can_be_filtered_by_name_and_access_list(
    kit: Kit, filters: dict[str, str], expected: str
) -> None:
    task_id = shelf(kit)
    assert "".join(item["name"] for item in walked(kit, "", pageSize=1, **filters)) == expected
    filters = {{"names": "versions"}.get(name, name): value for name, value in filters.items()}
    versions = walked(kit, f"/{task_id}/versions", pageSize=1, **filters)
    assert "".join(item["version"] for item in versions) == expected


def test_versions_can_be_found_by_their_ids(kit: Kit) -> None:
    task_id = shelf(kit)
    ids = [item["id"] for item in page(kit, f"/{task_id}/versions")["items"]]
    for wanted, expected in ((ids[:1], "b"), (ids[::-1], "bca"), ([UNKNOWN_VERSION], "")):
        found = page(kit, f"/{task_id}/versions", ids=",".join(wanted))
        assert "".join(item["version"] for item in found["items"]) == expected
    assert page(kit, f"/{task_id}/versions", ids=ids[0], versions="c")["items"] == []


def test_what_has_no_access_list_of_its_own_is_found_by_that_of_its_owner(kit: Kit) -> None:
    shelf(kit)
    (task,) = page(kit, names="c")["items"]
    for entry in task["acl"]:
        assert [item["name"] for item in page(kit, acls=entry)["items"]] == ["c"]


@pytest.mark.parametrize("sort", ["status", "version", "id", "name up", "-name", ""])
def test_an_unknown_sort_is_a_bad_request(plain: Kit, sort: str) -> None:
    assert refused(plain, "GET", f"?sort={quote(sort)}") == (400, "BadRequest")


@pytest.mark.parametrize("size", ["0", "1001", "x"])
def test_a_page_holds_one_to_a_thousand(plain: Kit, size: str) -> None:
    assert refused(plain, "GET", f"?pageSize={size}") == (400, "BadRequest")
    assert refused(plain, "GET", f"/{known(plain)[0]}/versions?pageSize={size}") == (400, "BadRequest")


def test_a_token_is_only_good_for_the_list_it_came_from(kit: Kit) -> None:
    one, other = new_task(kit, "one"), new_task(kit, "other")
    lists = ["", "/runs", f"/{one}/versions", f"/{other}/versions"]
    for path in lists:
        token = page(kit, path)["firstPageToken"]
        for elsewhere in lists:
            expected = 200 if elsewhere == path else 400
            assert ask(kit, "GET", f"{elsewhere}?pageToken={token}").status == expected


# ---- what is kept -----------------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused_as_a_whole() -> None:
    kit = Kit(apis=("ica",), limits=Limits(kept=3))
    two = [{"version": "1"}, {"version": "2"}]
    task_id = new_task(kit, "count", taskVersions=two[:1])
    before = kit.world.kept_keys("ica")
    assert refused(kit, "POST", "", {"name": "other", "taskVersions": two}) == (503, "ServiceUnavailable")
    assert kit.world.kept_keys("ica") == before
    new_version(kit, task_id, "2")
    assert refused(kit, "POST", f"/{task_id}/versions", {"version": "3"}) == (503, "ServiceUnavailable")
    # What is there can be changed all the same.
    assert done(kit, "PATCH", f"/{task_id}", {"name": "other"})["name"] == "other"


def test_a_replayed_world_has_the_same_tasks_versions_and_runs(kit: Kit) -> None:
    task_id = shelf(kit)
    version_id = new_version(kit, task_id, "9", execution=EXECUTION)
    launch(kit, task_id, version_id, {"arguments": ARGUMENTS})
    kit.advance("10s")
    stage = kit.front.worlds.default
    again = World.replay(stage.journal, seed=7, rules={"ica": api.rules}, playbook=stage.scenario)
    again.advance(stage.world.now_ms)
    assert again.snapshot() == stage.world.snapshot()
    assert len(again.kept_keys("ica")) == 7
