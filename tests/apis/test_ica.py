"""ICA task runs as their clients see them: create, get, abort, heartbeat, lists and their tokens, credentials, errors."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from simulator.apis.contract import Kind, Problem
from simulator.apis.ica import WORDS, api, error
from simulator.engine.job import State
from simulator.engine.world import Limits
from tests.kit import Answer, Kit

RUNS = "/ica/v1/tasks/runs"
TOKEN = {"Authorization": "Bearer secret"}
UNKNOWN = "trn.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
SUMMARY = {
    "id",
    "href",
    "urn",
    "status",
    "acl",
    "tenantId",
    "subTenantId",
    "createdBy",
    "timeCreated",
    "timeModified",
}
SCRIPTS = {
    "delayed": "[delayed: 1h, succeeded]",
    "pending": "[queued: 1h, succeeded]",
    "running": "[queued: 1s, running: 1h, succeeded]",
    "retrying": "[queued: 1s, running: 1s, retrying: 1h, succeeded]",
    "cancelling": "[queued: 1s, running: 1s, cancelling: 1h, cancelled]",
    "completed": "[queued: 1s, running: 2s, succeeded]",
    "failed": "[queued: 1s, running: 2s, failed: {error: {code: out_of_memory, message: Killed.}}]",
    "aborted": "[queued: 1s, running: 2s, cancelled]",
}
STATUS = {
    "delayed": "Pending",
    "pending": "Pending",
    "running": "Running",
    "retrying": "Running",
    "cancelling": "Running",
    "completed": "Completed",
    "failed": "Failed",
    "aborted": "Aborted",
}


def server(script: str = "", more: str = "", **settings: Any) -> Kit:
    """A server whose runs follow this script; the happy one without."""
    if not script and not more:
        return Kit(apis=("ica",), **settings)
    script = script or "[queued: 1s, running: 3s, succeeded]"
    return Kit(f"jobs:\n  - script: {script}\n{more}\n", apis=("ica",), **settings)


@pytest.fixture(scope="module")
def plain() -> Kit:
    """A server for calls that are refused, so that they can share it."""
    return server()


def create(kit: Kit, request: Any = None, **fields: Any) -> dict[str, Any]:
    """A new run as the service answers it."""
    answer = kit.post(RUNS, json=request if request is not None else fields, headers=TOKEN)
    assert answer.status == 201, answer.text
    return dict(answer.json())


def get(kit: Kit, run_id: str) -> dict[str, Any]:
    """A run as it is now."""
    answer = kit.get(f"{RUNS}/{run_id}", headers=TOKEN)
    assert answer.status == 200, answer.text
    return dict(answer.json())


def abort(kit: Kit, run_id: str) -> Answer:
    """The answer to an abort."""
    return kit.put(f"{RUNS}/{run_id}:abort", headers=TOKEN)


def heartbeat(kit: Kit, run_id: str, **body: Any) -> Answer:
    """The answer to a heartbeat."""
    return kit.post(f"{RUNS}/{run_id}:heartbeat", headers=TOKEN, **body)


def page(kit: Kit, **params: Any) -> dict[str, Any]:
    """One page of a list."""
    answer = kit.get(f"{RUNS}?{urlencode(params, quote_via=quote)}", headers=TOKEN)
    assert answer.status == 200, answer.text
    return dict(answer.json())


def names(kit: Kit, **params: Any) -> list[str]:
    """Names of the runs on one page."""
    return [item["name"] for item in page(kit, **params)["items"]]


def pages(kit: Kit, **params: Any) -> Iterator[dict[str, Any]]:
    """All pages, as a client walks them: while the key of the next token is there."""
    found = page(kit, **params)
    yield found
    while "nextPageToken" in found:
        found = page(kit, pageToken=found["nextPageToken"])
        yield found


def run_in(state: str) -> tuple[Kit, str]:
    """A server and the id of its run in this state, or of none."""
    kit = server(SCRIPTS.get(state, ""))
    run_id: str = create(kit, name="count-reads")["id"]
    kit.advance("10s")
    return kit, UNKNOWN if state == "unknown" else run_id


def code(answer: Answer) -> str:
    """The code of an error, whose form is checked."""
    assert answer.headers["content-type"].startswith("application/json")
    body = answer.json()
    assert {"code", "message"} <= body.keys() <= {"code", "message", "details"}
    assert body["message"]
    return str(body["code"])


def nulls(value: Any) -> int:
    """How many nulls are anywhere in a JSON value."""
    if isinstance(value, dict):
        return sum(map(nulls, value.values()))
    if isinstance(value, list):
        return sum(map(nulls, value))
    return int(value is None)


# ---- states and operations --------------------------------------------------------------------------------------


def test_there_is_a_word_for_every_state() -> None:
    assert set(WORDS) == set(State)
    assert set(WORDS.values()) == {"Pending", "Running", "Completed", "Failed", "Aborted"}


@pytest.mark.parametrize(("state", "status"), STATUS.items())
def test_get_in_each_state(state: str, status: str) -> None:
    kit, run_id = run_in(state)
    assert get(kit, run_id)["status"] == status


def test_get_of_an_unknown_run_is_not_found() -> None:
    answer = server().get(f"{RUNS}/{UNKNOWN}", headers=TOKEN)
    assert answer.status == 404
    assert code(answer) == "NotFound"
    assert UNKNOWN in answer.json()["message"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("delayed", 200),
        ("pending", 200),
        ("running", 200),
        ("retrying", 200),
        ("cancelling", 200),
        ("completed", 400),
        ("failed", 400),
        ("aborted", 400),
        ("unknown", 404),
    ],
)
def test_abort_in_each_state(state: str, expected: int) -> None:
    kit, run_id = run_in(state)
    answer = abort(kit, run_id)
    assert answer.status == expected
    if expected == 200:
        assert answer.json()["status"] == "Aborted"
        assert answer.json().keys() == SUMMARY | {"name"}
        assert get(kit, run_id)["status"] == "Aborted"
    else:
        assert code(answer) == {400: "BadRequest", 404: "NotFound"}[expected]
    if expected == 400:
        assert STATUS[state] in answer.json()["message"]
        assert get(kit, run_id)["status"] == STATUS[state]


@pytest.mark.parametrize(("state", "expected"), [*((state, 200) for state in STATUS), ("unknown", 404)])
def test_heartbeat_in_each_state(state: str, expected: int) -> None:
    kit, run_id = run_in(state)
    before = None if state == "unknown" else get(kit, run_id)
    answer = heartbeat(kit, run_id, json={"lastHeartbeat": False})
    assert answer.status == expected
    if expected == 200:
        assert answer.json().keys() == {"jwt"}
        assert get(kit, run_id) == before
    else:
        assert code(answer) == "NotFound"


@pytest.mark.parametrize(("state", "status"), STATUS.items())
def test_a_run_is_listed_in_each_state(state: str, status: str) -> None:
    kit, run_id = run_in(state)
    found = page(kit)
    assert [(item["id"], item["status"]) for item in found["items"]] == [(run_id, status)]


@pytest.mark.parametrize("state", STATUS)
def test_nothing_is_ever_null(state: str) -> None:
    kit, run_id = run_in(state)
    assert nulls(get(kit, run_id)) == 0
    assert nulls(page(kit)) == 0


# ---- create -----------------------------------------------------------------------------------------------------

ASKED = {
    "name": "count-reads",
    "description": "Counts the reads of one sample.",
    "execution": {
        "image": {"name": "registry.example.org/count-reads", "tag": "1.4.0"},
        "command": "count-reads",
        "args": ["--input", "/data/sample.fastq"],
        "inputs": [{"path": "/data/sample.fastq", "url": "gds://demo/sample.fastq", "mode": "download"}],
        "outputs": [{"path": "/results", "url": "gds://demo/results", "type": "Folder"}],
        "environment": {
            "variables": {"THREADS": "4"},
            "resources": {"type": "standardhicpu", "size": "medium"},
        },
        "workingDirectory": "/work",
    },
}


def test_a_new_run_is_pending_and_tells_what_it_will_execute() -> None:
    kit = server()
    run = create(kit, ASKED)
    assert run.keys() == SUMMARY | {"name", "description", "typeOfResource", "sizeOfResource", "execution"}
    assert re.fullmatch(r"trn\.[0-9a-f]{32}", run["id"])
    assert run["status"] == "Pending"
    assert run["timeCreated"] == run["timeModified"] == "2030-01-01T00:00:00.000Z"
    assert (run["typeOfResource"], run["sizeOfResource"]) == ("standardhicpu", "medium")
    assert run["execution"] == {
        "image": {"name": "registry.example.org/count-reads", "tag": "1.4.0"},
        "command": "count-reads",
        "args": ["--input", "/data/sample.fastq"],
        "inputs": [
            {
                "path": "/data/sample.fastq",
                "url": "gds://demo/sample.fastq",
                "mode": "download",
                "type": "File",
            }
        ],
        "outputs": [{"path": "/results", "url": "gds://demo/results", "type": "Folder"}],
        "environment": {
            "variables": {"THREADS": "4"},
            "resources": {"type": "standardhicpu", "size": "medium", "cpuCores": 0, "memoryGb": 0},
        },
        "workingDirectory": "/work",
        "retryLimit": 3,
        "retryCount": 0,
    }
    assert get(kit, run["id"]) == run


def test_a_run_is_linked_by_an_absolute_url_and_named_by_a_urn() -> None:
    kit = server()
    run = create(kit, name="count-reads")
    assert run["href"] == f"http://127.0.0.1:4010{RUNS}/{run['id']}"
    assert run["urn"] == f"urn:ilmn:iap:aps2:{run['tenantId']}:taskrun:{run['id']}#count-reads"
    answer = kit.get(f"{RUNS}/{run['id']}", headers=TOKEN | {"Host": "ica.example.org"})
    assert answer.json()["href"] == f"http://ica.example.org{RUNS}/{run['id']}"


def test_a_run_belongs_to_the_one_tenant_of_its_world() -> None:
    kit = server(seed=1)
    one, other = create(kit), create(kit)
    for field in ("tenantId", "subTenantId", "createdBy", "acl"):
        assert one[field] == other[field]
        assert one[field] != create(server(seed=2))[field]
    assert re.fullmatch(r"[A-Za-z0-9_-]{82}", one["tenantId"])
    assert one["subTenantId"].startswith("wid:")
    assert one["acl"] == [f"tid:{one['tenantId']}", one["subTenantId"]]
    assert one["id"] != other["id"]


def test_an_access_list_that_was_asked_for_is_kept() -> None:
    assert create(server(), acl=["tid:a", "wid:b"])["acl"] == ["tid:a", "wid:b"]


@pytest.mark.parametrize(
    "media_type",
    [
        "application/json",
        "application/json-patch+json",
        "text/json",
        "application/*+json",
        "TEXT/JSON; charset=utf-8",
    ],
)
def test_every_media_type_of_json_is_read(media_type: str) -> None:
    kit = server()
    headers = TOKEN | {"Content-Type": media_type}
    answer = kit.post(RUNS, data=json.dumps(ASKED), headers=headers)
    assert answer.status == 201
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["execution"]["args"] == ["--input", "/data/sample.fastq"]
    beat = kit.post(f"{RUNS}/{answer.json()['id']}:heartbeat", data='{"nonce": "a"}', headers=headers)
    assert beat.status == 200
    bad = kit.post(RUNS, data='{"name": 5}', headers=headers)
    assert bad.status == 400


@pytest.mark.parametrize("media_type", ["application/json", "text/json", "application/*+json", ""])
@pytest.mark.parametrize("body", ["", "null", "{}"])
def test_a_run_needs_no_body(media_type: str, body: str) -> None:
    kit = server()
    headers = TOKEN | ({"Content-Type": media_type} if media_type else {})
    if body and not media_type:
        headers["Content-Type"] = "application/json"
    answer = kit.post(RUNS, data=body, headers=headers)
    assert answer.status == 201
    run = answer.json()
    assert run.keys() == SUMMARY | {"execution"}
    assert run["execution"] == {"retryLimit": 3, "retryCount": 0}
    assert run["urn"].endswith(f":taskrun:{run['id']}")
    beat = kit.post(f"{RUNS}/{run['id']}:heartbeat", data=body, headers=headers)
    assert beat.status == 200


def test_defaults_are_filled_in_where_something_was_asked() -> None:
    execution = {
        "inputs": [{"path": "/a"}, {"path": "/b", "type": "Folder"}],
        "environment": {
            "inputStreamSettings": {"cacheSizeGB": 60},
            "resources": {"cpuCores": 2.5, "tier": "economy"},
        },
        "retryLimit": 1,
    }
    run = create(server(), execution=execution)
    assert run["execution"] == {
        "inputs": [{"path": "/a", "type": "File"}, {"path": "/b", "type": "Folder"}],
        "environment": {
            "resources": {"cpuCores": 2.5, "memoryGb": 0, "tier": "economy"},
            "inputStreamSettings": {
                "accessPattern": "sequential",
                "cacheSizeGB": 60,
                "blockSizeMB": 32,
                "prefetchBlocks": 32,
            },
        },
        "retryLimit": 1,
        "retryCount": 0,
    }
    assert run["tierOfResource"] == "economy"


def test_a_retry_count_in_the_request_does_not_count() -> None:
    assert create(server(), execution={"retryCount": 2})["execution"]["retryCount"] == 0


def test_secrets_never_come_back() -> None:
    secret = {"AWS_SECRET_ACCESS_KEY": "s3cr3t"}
    kit = server()
    answer = kit.post(
        RUNS,
        json={
            "execution": {
                "image": {"name": "tool", "credentials": {"username": "me", "password": "s3cr3t"}},
                "inputs": [{"path": "/a", "storageProvider": "aws", "credentials": secret}],
                "outputs": [{"path": "/b", "storageProvider": "aws", "credentials": secret}],
                "systemFiles": {"url": "gds://a/b", "credentials": secret},
            }
        },
        headers=TOKEN,
    )
    assert answer.status == 201
    assert "s3cr3t" not in answer.text
    execution = answer.json()["execution"]
    assert execution["image"] == {"name": "tool", "credentials": {"username": "me"}}
    assert execution["inputs"] == [{"path": "/a", "storageProvider": "aws", "type": "File"}]
    assert execution["systemFiles"] == {"url": "gds://a/b"}


def test_unknown_and_capitalised_fields_are_ignored() -> None:
    run = create(
        server(),
        {
            "Name": "a",
            "nothing": None,
            "execution": {"inputs": [{"Path": "/a", "url": "gds://x"}], "more": None},
        },
    )
    assert "name" not in run
    assert run["execution"]["inputs"] == [{"url": "gds://x", "type": "File"}]
    assert nulls(run) == 0


def test_long_words_of_resources_are_cut_in_the_summary() -> None:
    run = create(server(), execution={"environment": {"resources": {"type": "x" * 300}}})
    assert run["typeOfResource"] == "x" * 255
    assert run["execution"]["environment"]["resources"]["type"] == "x" * 300


@pytest.mark.parametrize(
    "request_body",
    [
        [],
        "text",
        5,
        {"name": 5},
        {"name": "x" * 256},
        {"description": "x" * 4097},
        {"acl": "tid:a"},
        {"acl": [5]},
        {"execution": []},
        {"execution": {"args": "x"}},
        {"execution": {"image": {}}},
        {"execution": {"image": {"name": ""}}},
        {"execution": {"image": "tool"}},
        {"execution": {"inputs": {}}},
        {"execution": {"inputs": ["a"]}},
        {"execution": {"outputs": [5]}},
        {"execution": {"retryLimit": "3"}},
        {"execution": {"retryLimit": 2147483648}},
        {"execution": {"environment": {"variables": ["a"]}}},
        {"execution": {"environment": {"variables": {"a": 5}}}},
        {"execution": {"environment": {"resources": {"cpuCores": "2"}}}},
        {"execution": {"environment": {"inputStreamSettings": {"cacheSizeGB": 49}}}},
        {"execution": {"environment": {"inputStreamSettings": {"cacheSizeGB": 10001}}}},
        {"execution": {"environment": {"inputStreamSettings": {"blockSizeMB": 1024.5}}}},
        {"execution": {"environment": {"inputStreamSettings": {"prefetchBlocks": 65}}}},
    ],
    ids=str,
)
def test_a_request_of_the_wrong_form_is_a_bad_request(plain: Kit, request_body: Any) -> None:
    answer = plain.post(RUNS, json=request_body, headers=TOKEN)
    assert answer.status == 400
    assert code(answer) == "BadRequest"
    assert len(answer.json()["details"]) == 1
    assert plain.world.count("ica") == 0


@pytest.mark.parametrize("body", ["{", b'{"name": "\xff"}', "name=a"])
def test_a_body_that_is_no_json_is_a_bad_request(plain: Kit, body: str | bytes) -> None:
    answer = plain.post(RUNS, data=body, headers=TOKEN | {"Content-Type": "application/json"})
    assert answer.status == 400
    assert code(answer) == "BadRequest"


def test_a_scenario_can_choose_its_script_by_image() -> None:
    kit = Kit(
        "jobs:\n"
        "  - when: {api: ica, kind: 'registry/*'}\n    script: [queued: 1h, succeeded]\n"
        "  - script: [running: 1h, succeeded]\n",
        apis=("ica",),
    )
    assert create(kit, execution={"image": {"name": "registry/tool"}})["status"] == "Pending"
    assert create(kit)["status"] == "Running"


# ---- life cycle -------------------------------------------------------------------------------------------------


def test_a_run_goes_from_pending_to_completed_and_its_modification_time_with_it() -> None:
    kit = server()
    run_id = create(kit)["id"]
    seen = []
    for _ in range(4):
        run = get(kit, run_id)
        seen.append((run["status"], run["timeModified"][11:]))
        kit.advance("2s")
    assert seen == [
        ("Pending", "00:00:00.000Z"),
        ("Running", "00:00:01.000Z"),
        ("Completed", "00:00:04.000Z"),
        ("Completed", "00:00:04.000Z"),
    ]


def test_logs_come_with_the_start_and_their_urls_with_the_end() -> None:
    kit = server()
    run_id = create(kit)["id"]
    assert "logs" not in get(kit, run_id)
    kit.advance("2s")
    assert get(kit, run_id)["logs"] == [{"startTime": "2030-01-01T00:00:01.000Z"}]
    kit.advance("2s")
    (logs,) = get(kit, run_id)["logs"]
    assert logs.keys() == {"startTime", "endTime", "stdout", "stderr"}
    assert logs["endTime"] == "2030-01-01T00:00:04.000Z"
    for stream in ("stdout", "stderr"):
        assert re.fullmatch(rf"gds://[^/]+/.*{re.escape(run_id)}/{stream}-0\.log", logs[stream])


def test_logs_are_where_the_request_wants_the_logs_of_the_system() -> None:
    kit = server()
    outputs = [
        {"path": "/results", "url": "gds://demo/results"},
        {"path": "/var/log/tessystemlogs", "url": "gds://demo/logs/"},
    ]
    run_id = create(kit, execution={"outputs": outputs})["id"]
    kit.advance("10s")
    assert get(kit, run_id)["logs"][0]["stdout"] == f"gds://demo/logs/{run_id}/stdout-0.log"


def test_a_failed_run_says_why() -> None:
    kit, run_id = run_in("failed")
    run = get(kit, run_id)
    assert run["statusDetails"] == "Killed."
    (logs,) = run["logs"]
    assert (logs["error"], logs["errorDetails"]) == ("OutOfMemory", "Killed.")
    assert logs["stdout"]
    assert page(kit)["items"][0]["statusDetails"] == "Killed."


def test_details_of_a_failure_are_in_the_logs_and_long_ones_are_cut_in_the_status() -> None:
    kit = server(f"[running: 1s, failed: {{error: {{message: {'x' * 5000}, details: exit 137}}}}]")
    run_id = create(kit)["id"]
    kit.advance("2s")
    run = get(kit, run_id)
    assert run["statusDetails"] == "x" * 4096
    assert run["logs"][0]["errorDetails"] == "exit 137"


@pytest.mark.parametrize("state", ["pending", "running", "completed", "aborted"])
def test_a_run_that_has_nothing_to_say_has_no_status_details(state: str) -> None:
    kit, run_id = run_in(state)
    assert "statusDetails" not in get(kit, run_id)


def talking(end: str) -> Kit:
    """A server whose runs say what they are at for five seconds, and end like this."""
    script = """
      - {queued: 1s, message: Waiting for a machine}
      - {running: 1s, message: Copying}
      - running: 1s
      - {retrying: 1s, message: The node was taken away.}
      - {running: 1s, message: Copying again}
      - """
    return Kit(f"jobs:\n  - script:{script}{end}\n", apis=("ica",))


def test_status_details_say_what_a_run_is_at_while_it_goes_on() -> None:
    kit = talking("succeeded")
    run_id = create(kit)["id"]
    seen = []
    for _ in range(6):
        run = get(kit, run_id)
        seen.append((run["status"], run.get("statusDetails")))
        assert page(kit)["items"][0].get("statusDetails") == run.get("statusDetails")
        kit.advance("1s")
    assert seen == [
        ("Pending", "Waiting for a machine"),
        ("Running", "Copying"),
        ("Running", "Copying"),
        ("Running", "The node was taken away."),
        ("Running", "Copying again"),
        ("Completed", None),
    ]


def test_status_details_of_a_failed_run_are_the_reason_and_not_what_it_said_last() -> None:
    kit = talking("failed: {error: {message: Killed.}}")
    run_id = create(kit)["id"]
    kit.advance("10s")
    assert get(kit, run_id)["statusDetails"] == "Killed."


def test_an_aborted_run_no_longer_says_what_it_is_at() -> None:
    kit = talking("succeeded")
    run_id = create(kit)["id"]
    kit.advance("1s")
    assert "statusDetails" not in abort(kit, run_id).json()
    assert "statusDetails" not in get(kit, run_id)


def test_a_completed_run_may_have_something_to_say() -> None:
    kit = talking("succeeded: {message: With two warnings}")
    run_id = create(kit)["id"]
    kit.advance("10s")
    assert get(kit, run_id)["statusDetails"] == "With two warnings"


def test_each_attempt_has_its_own_log() -> None:
    kit = talking("failed: {error: {code: out_of_memory, message: Killed., details: exit 137}}")
    run_id = create(kit)["id"]
    kit.advance("3s")
    (first,) = get(kit, run_id)["logs"]
    assert (first["startTime"][17:], first["endTime"][17:]) == ("01.000Z", "03.000Z")
    assert (first["error"], first["errorDetails"]) == ("Failed", "The node was taken away.")
    assert first["stdout"].endswith(f"/{run_id}/stdout-0.log")
    kit.advance("1s")
    logs = get(kit, run_id)["logs"]
    assert logs == [first, {"startTime": "2030-01-01T00:00:04.000Z"}]
    kit.advance("1s")
    run = get(kit, run_id)
    again, second = run["logs"]
    assert again == first
    assert (second["startTime"][17:], second["endTime"][17:]) == ("04.000Z", "05.000Z")
    assert (second["error"], second["errorDetails"]) == ("OutOfMemory", "exit 137")
    assert second["stderr"].endswith(f"/{run_id}/stderr-1.log")
    assert run["execution"]["retryCount"] == len(run["logs"]) - 1


def test_an_attempt_that_never_ran_has_a_log_all_the_same() -> None:
    kit = server("[running: 1s, retrying: 2s, failed]")
    run_id = create(kit)["id"]
    kit.advance("5s")
    first, second = get(kit, run_id)["logs"]
    assert (first["startTime"][17:], first["endTime"][17:]) == ("00.000Z", "01.000Z")
    assert second["startTime"] == second["endTime"] == "2030-01-01T00:00:03.000Z"
    assert second["error"]


def test_a_run_aborted_between_two_attempts_has_the_log_of_the_first() -> None:
    kit, run_id = run_in("retrying")
    abort(kit, run_id)
    (log,) = get(kit, run_id)["logs"]
    assert (log["startTime"][17:], log["endTime"][17:]) == ("01.000Z", "02.000Z")


def test_a_run_that_goes_back_to_pending_goes_on_with_its_log() -> None:
    kit = server("[running: 1s, queued: 1s, running: 1s, succeeded]")
    run_id = create(kit)["id"]
    kit.advance("1s")
    assert get(kit, run_id)["status"] == "Pending"
    assert get(kit, run_id)["logs"] == [{"startTime": "2030-01-01T00:00:00.000Z"}]
    kit.advance("5s")
    (log,) = get(kit, run_id)["logs"]
    assert (log["startTime"][17:], log["endTime"][17:]) == ("00.000Z", "03.000Z")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("complete", {"startTime", "endTime", "error", "errorDetails", "stdout", "stderr"}),
        ("without_urls", {"startTime", "endTime", "error", "errorDetails"}),
        ("missing", None),
    ],
)
def test_the_logs_of_a_failed_run_may_be_incomplete_or_missing(
    setting: str, expected: set[str] | None
) -> None:
    more = f"apis:\n  ica: {{failed_logs: {setting}}}"
    kit = server(SCRIPTS["failed"], more)
    run_id = create(kit)["id"]
    kit.advance("2s")
    assert get(kit, run_id)["logs"] == [{"startTime": "2030-01-01T00:00:01.000Z"}]
    kit.advance("10s")
    run = get(kit, run_id)
    assert run["status"] == "Failed"
    assert ([set(log) for log in run["logs"]] if "logs" in run else None) == (expected and [expected])


@pytest.mark.parametrize("state", ["completed", "aborted"])
@pytest.mark.parametrize("setting", ["without_urls", "missing"])
def test_only_failed_runs_lose_their_logs(state: str, setting: str) -> None:
    kit = server(SCRIPTS[state], f"apis:\n  ica: {{failed_logs: {setting}}}")
    run_id = create(kit)["id"]
    kit.advance("10s")
    assert get(kit, run_id)["logs"][0]["stdout"]


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_a_run_that_ended_without_ever_running_has_complete_logs(end: str) -> None:
    kit = server(f"[queued: 2s, {end}]")
    run_id = create(kit)["id"]
    kit.advance("3s")
    (logs,) = get(kit, run_id)["logs"]
    assert logs["startTime"] == logs["endTime"] == "2030-01-01T00:00:02.000Z"
    assert logs["stdout"]


def test_a_run_aborted_before_it_started_has_no_logs() -> None:
    kit, run_id = run_in("pending")
    abort(kit, run_id)
    assert "logs" not in get(kit, run_id)


def test_a_run_aborted_while_running_has_logs_with_an_end() -> None:
    kit, run_id = run_in("running")
    abort(kit, run_id)
    (logs,) = get(kit, run_id)["logs"]
    assert (logs["startTime"][17:], logs["endTime"][17:]) == ("01.000Z", "10.000Z")
    assert "error" not in logs


def test_attempts_are_counted_while_the_status_stays_running() -> None:
    kit = server("[running: 1s, retrying: 1s, running: 1s, retrying: 1s, running: 1s, failed]")
    run_id = create(kit)["id"]
    seen = []
    for _ in range(6):
        run = get(kit, run_id)
        seen.append((run["status"], run["execution"]["retryCount"]))
        kit.advance("1s")
    assert seen == [("Running", count) for count in (0, 1, 1, 2, 2)] + [("Failed", 2)]


def test_an_aborted_run_never_changes_again() -> None:
    kit, run_id = run_in("running")
    abort(kit, run_id)
    before = get(kit, run_id)
    kit.advance("2h")
    assert get(kit, run_id) == before


# ---- abort ------------------------------------------------------------------------------------------------------


def test_an_abort_carries_no_body_but_may_say_json() -> None:
    kit, run_id = run_in("running")
    answer = kit.put(f"{RUNS}/{run_id}:abort", headers=TOKEN | {"Content-Type": "application/json"})
    assert answer.status == 200


def test_a_scripted_abort_keeps_the_old_word_until_it_is_done() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: {after: 5s}")
    run_id = create(kit)["id"]
    assert abort(kit, run_id).json()["status"] == "Running"
    assert abort(kit, run_id).status == 200
    kit.advance("4s")
    assert get(kit, run_id)["status"] == "Running"
    kit.advance("1s")
    assert get(kit, run_id)["status"] == "Aborted"


def test_an_ignored_abort_answers_200_with_the_old_word() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: ignored")
    run = create(kit)
    answer = abort(kit, run["id"])
    assert (answer.status, answer.json()["status"]) == (200, "Running")
    assert get(kit, run["id"]) == run


def test_an_abort_that_a_scenario_refuses_is_a_bad_request() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: refused")
    run = create(kit)
    answer = abort(kit, run["id"])
    assert (answer.status, code(answer)) == (400, "BadRequest")
    assert get(kit, run["id"]) == run


# ---- ids in paths -----------------------------------------------------------------------------------------------


def test_every_character_of_a_path_may_be_percent_encoded() -> None:
    kit, run_id = run_in("running")
    encoded = "".join(f"%{ord(character):02X}" for character in run_id)
    assert get(kit, encoded)["id"] == run_id
    assert kit.post(f"{RUNS}/{encoded}%3Aheartbeat", headers=TOKEN).status == 200
    assert kit.put(f"{RUNS}/{encoded}%3Aabort", headers=TOKEN).json()["status"] == "Aborted"


@pytest.mark.parametrize("run_id", ["1", "trn.", "wfr.0a1b", f"{UNKNOWN}0", UNKNOWN.upper(), "%20", "%C3%A4"])
def test_an_id_of_any_other_form_is_unknown(plain: Kit, run_id: str) -> None:
    for answer in (
        plain.get(f"{RUNS}/{run_id}", headers=TOKEN),
        plain.put(f"{RUNS}/{run_id}:abort", headers=TOKEN),
        plain.post(f"{RUNS}/{run_id}:heartbeat", headers=TOKEN),
    ):
        assert answer.status == 404
        assert code(answer) == "NotFound"


# ---- heartbeat --------------------------------------------------------------------------------------------------


def test_a_heartbeat_gives_a_token_of_three_parts_that_is_good_for_an_hour_of_virtual_time() -> None:
    kit, run_id = run_in("running")
    parts = heartbeat(kit, run_id).json()["jwt"].split(".")
    head, claims = (json.loads(urlsafe_b64decode(part + "==")) for part in parts[:2])
    assert head == {"alg": "HS256", "typ": "JWT"}
    assert claims["sub"] == run_id
    assert claims["iat"] == kit.world.now_ms // 1000
    assert claims["exp"] - claims["iat"] == 3600
    assert re.fullmatch("[A-Za-z0-9_-]+", parts[2])


def test_a_token_depends_on_the_run_the_time_and_the_seed_and_on_nothing_else() -> None:
    kit = server(seed=1)
    one, other = create(kit)["id"], create(kit)["id"]
    token = heartbeat(kit, one).json()["jwt"]
    assert heartbeat(kit, one).json()["jwt"] == token
    assert heartbeat(kit, other).json()["jwt"] != token
    again = server(seed=1)
    assert heartbeat(again, create(again)["id"]).json()["jwt"] == token
    kit.advance("1s")
    assert heartbeat(kit, one).json()["jwt"] != token


def test_a_heartbeat_is_checked_against_the_document() -> None:
    kit, run_id = run_in("running")
    whole = {
        "lastHeartbeat": True,
        "podName": "a",
        "podUID": "b",
        "podHardwareDetails": "c",
        "jobRetryCount": 0,
        "nonce": "d",
        "containerStatus": [
            {"name": "main", "state": {"waiting": {"reason": "a", "message": "b"}}},
            {"name": "main", "state": {"running": {"startedAt": "2030-01-01T00:00:00Z"}}},
            {"name": "main", "state": {"terminated": {"exitCode": 137, "signal": 9, "containerID": "x"}}},
        ],
    }
    assert heartbeat(kit, run_id, json=whole).status == 200
    for bad in ({"lastHeartbeat": "2030-01-01T00:00:00Z"}, {"jobRetryCount": "1"}, {"containerStatus": {}}):
        answer = heartbeat(kit, run_id, json=bad)
        assert (answer.status, code(answer)) == (400, "BadRequest")


# ---- lists ------------------------------------------------------------------------------------------------------


def shelf(count: int, **settings: Any) -> Kit:
    """A server with runs `run-1` to `run-<count>`, made a second apart, none of which ends."""
    kit = server("[queued: 1h, succeeded]", **settings)
    for number in range(1, count + 1):
        create(kit, name=f"run-{number}")
        kit.advance("1s")
    return kit


def test_an_empty_list_has_no_items_and_one_token_for_both_ends() -> None:
    found = page(server())
    assert found["items"] == []
    assert found["itemCount"] == found["totalItemCount"] == found["totalPageCount"] == 0
    assert found["firstPageToken"] == found["lastPageToken"]
    assert not {"nextPageToken", "prevPageToken"} & found.keys()


def test_a_list_shows_summaries_ten_to_a_page_oldest_first() -> None:
    kit = shelf(11)
    found = page(kit)
    assert [item["name"] for item in found["items"]] == [f"run-{number}" for number in range(1, 11)]
    assert found["items"][0].keys() == SUMMARY | {"name"}
    assert (found["itemCount"], found["totalItemCount"], found["totalPageCount"]) == (10, 11, 2)


@pytest.mark.parametrize(
    ("count", "sizes"), [(1, [1]), (2, [2]), (3, [2, 1]), (4, [2, 2]), (5, [2, 2, 1]), (6, [2, 2, 2])]
)
def test_tokens_walk_every_page_once_also_when_the_last_is_exactly_full(count: int, sizes: list[int]) -> None:
    kit = shelf(count)
    found = list(pages(kit, pageSize=2))
    assert [one["itemCount"] for one in found] == sizes
    walked = [item["name"] for one in found for item in one["items"]]
    assert walked == [f"run-{number}" for number in range(1, count + 1)]
    for number, one in enumerate(found):
        assert ("nextPageToken" in one) is (number < len(found) - 1)
        assert ("prevPageToken" in one) is (number > 0)
        assert one["totalItemCount"] == count
        assert one["totalPageCount"] == len(sizes)
        assert page(kit, pageToken=one["firstPageToken"]) == found[0]
        assert page(kit, pageToken=one["lastPageToken"]) == found[-1]
        if number:
            assert page(kit, pageToken=one["prevPageToken"]) == found[number - 1]


def test_a_run_created_between_two_pages_is_found_at_the_end() -> None:
    kit = shelf(4)
    first = page(kit, pageSize=2)
    create(kit, name="run-5")
    second = page(kit, pageToken=first["nextPageToken"])
    assert [item["name"] for item in second["items"]] == ["run-3", "run-4"]
    assert names(kit, pageToken=second["nextPageToken"]) == ["run-5"]


def test_a_token_brings_size_order_and_filters_along_and_wins_over_parameters() -> None:
    kit = shelf(6)
    create(kit, name="other")
    first = page(kit, pageSize=2, sort="timeCreated desc", names="run-1,run-3,run-5")
    assert [item["name"] for item in first["items"]] == ["run-5", "run-3"]
    token = first["nextPageToken"]
    assert names(kit, pageToken=token) == ["run-1"]
    assert names(kit, pageToken=token, pageSize=10, sort="name asc", names="other", status="Failed") == [
        "run-1"
    ]


def test_a_token_is_good_for_a_url_as_it_is() -> None:
    kit = shelf(3)
    first = page(kit, pageSize=1, names="run-1,run-2,run-3,ä ö&?=/+")
    assert re.fullmatch("[A-Za-z0-9_-]+", first["nextPageToken"])
    assert names(kit, pageToken=first["nextPageToken"]) == ["run-2"]


def test_a_token_that_was_never_handed_out_is_a_bad_request() -> None:
    kit = shelf(3)
    good = page(kit, pageSize=2)["nextPageToken"]
    foreign = page(shelf(3, seed=8), pageSize=2)["nextPageToken"]
    changed = ("A" if good[0] != "A" else "B") + good[1:]
    for token in ("", "a", "eyJwYWdlIjoxfQ", foreign, changed, good[:-4], good + "AAAA", "a b", "ä"):
        answer = kit.get(f"{RUNS}?pageToken={quote(token)}", headers=TOKEN)
        assert answer.status == 400, token
        assert code(answer) == "BadRequest"


def test_a_server_started_anew_with_the_same_seed_knows_its_tokens() -> None:
    token = page(shelf(3), pageSize=2)["nextPageToken"]
    assert names(shelf(3), pageToken=token) == ["run-3"]
    found = page(server(), pageToken=token)
    assert found["items"] == []
    assert "nextPageToken" not in found
    assert page(server(), pageToken=found["prevPageToken"])["items"] == []


@pytest.mark.parametrize(
    ("size", "expected"),
    [("1", 200), ("1000", 200), ("0", 400), ("1001", 400), ("-1", 400), ("x", 400), ("1.5", 400), ("", 400)],
)
def test_a_page_holds_one_to_a_thousand_runs(plain: Kit, size: str, expected: int) -> None:
    answer = plain.get(f"{RUNS}?pageSize={size}", headers=TOKEN)
    assert answer.status == expected
    if expected == 400:
        assert code(answer) == "BadRequest"
        assert "pageSize" in answer.json()["message"]


@pytest.mark.parametrize(
    "sort", ["id", "name,status", "name up", "name ASC", "NAME", "", "name  asc", "-name"]
)
def test_an_unknown_sort_is_a_bad_request(plain: Kit, sort: str) -> None:
    answer = plain.get(f"{RUNS}?sort={quote(sort)}", headers=TOKEN)
    assert answer.status == 400
    assert code(answer) == "BadRequest"


def varied() -> Kit:
    """Four runs: b Completed, a Running, c Pending, a Failed, made in this order at one instant."""
    kit = Kit(
        "jobs:\n"
        "  - when: {number: 1}\n    script: [running: 1s, succeeded]\n"
        "  - when: {number: 2}\n    script: [queued: 3s, running: 1h, succeeded]\n"
        "  - when: {number: 3}\n    script: [queued: 1h, succeeded]\n"
        "  - script: [running: 2s, failed]\n",
        apis=("ica",),
    )
    for name, acl in (("b", ["wid:x", "wid:y"]), ("a", ["wid:y"]), ("c", []), ("a", ["wid:z", "wid:z"])):
        create(kit, name=name, acl=acl)
    kit.advance("5s")
    return kit


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("timeCreated", "baca"),
        ("timeCreated asc", "baca"),
        ("timeCreated desc", "acab"),
        ("name", "aabc"),
        ("name desc", "cbaa"),
        ("status", "baca"),  # Completed Failed Pending Running
        ("status desc", "acab"),
        ("timeModified", "cbaa"),
        ("timeModified desc", "aabc"),
    ],
)
def test_a_list_can_be_sorted_by_each_field_in_both_directions(sort: str, expected: str) -> None:
    kit = varied()
    assert "".join(names(kit, sort=sort)) == expected
    walked = [item["name"] for one in pages(kit, sort=sort, pageSize=1) for item in one["items"]]
    assert "".join(walked) == expected
    # The same order among filtered runs.
    assert "".join(names(kit, sort=sort, names="a,b,c")) == expected


def test_an_order_follows_the_runs_as_they_change() -> None:
    kit = server()
    for name in ("a", "b"):
        create(kit, name=name)
        kit.advance("2s")
    # The first has just completed, the second runs since a second ago.
    assert names(kit, sort="timeModified") == ["b", "a"]
    assert names(kit, sort="status") == ["a", "b"]
    kit.advance("500ms")
    abort(kit, page(kit, names="b")["items"][0]["id"])
    assert names(kit, sort="timeModified") == ["a", "b"]
    assert names(kit, sort="status") == ["b", "a"]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("Completed", "b"),
        ("Running", "a"),
        ("Pending", "c"),
        ("Failed", "a"),
        ("Aborted", ""),
        ("TimedOut", ""),
        ("Succeeded", ""),
        ("completed", "b"),
        ("PENDING,completed", "bc"),
        ("Pending, Running", "ac"),
        ("Failed,Failed,nonsense", "a"),
        ("", "baca"),
    ],
)
def test_a_list_can_be_filtered_by_status(words: str, expected: str) -> None:
    found = page(varied(), status=words)
    assert "".join(item["name"] for item in found["items"]) == expected
    assert found["itemCount"] == found["totalItemCount"] == len(expected)


def test_pending_runs_are_found_whether_queued_or_delayed_and_running_ones_in_all_their_states() -> None:
    for state, status in STATUS.items():
        kit, run_id = run_in(state)
        assert [item["id"] for item in page(kit, status=status)["items"]] == [run_id]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"names": "a"}, "aa"),
        ({"names": "A"}, ""),
        ({"names": "a,c"}, "aca"),
        ({"names": "a,status"}, "aa"),
        ({"names": "a", "status": "Failed"}, "a"),
        ({"names": "b", "status": "Failed"}, ""),
        ({"versions": "tvn.1"}, ""),
        ({"versions": "tvn.1", "names": "a"}, ""),
        ({"acls": "wid:x"}, "b"),
        ({"acls": "wid:y"}, "ba"),
        ({"acls": "wid:x,wid:y"}, "ba"),
        ({"acls": "wid:y,wid:x,wid:z"}, "baa"),
        ({"acls": "wid:z"}, "a"),
        ({"acls": "wid:none"}, ""),
        ({"acls": "wid:y", "names": "a", "status": "Running"}, "a"),
    ],
    ids=str,
)
def test_a_list_can_be_filtered_by_name_version_and_access_list(
    filters: dict[str, str], expected: str
) -> None:
    kit = varied()
    found = page(kit, **filters)
    assert "".join(item["name"] for item in found["items"]) == expected
    assert found["totalItemCount"] == len(expected)
    walked = [item["name"] for one in pages(kit, **filters, pageSize=1) for item in one["items"]]
    assert "".join(walked) == expected


def test_runs_are_found_by_the_access_list_they_have_without_asking() -> None:
    kit = varied()
    (run,) = page(kit, names="c")["items"]
    create(kit, name="d", acl=[run["acl"][0]])
    assert names(kit, acls=run["acl"][0]) == ["c", "d"]
    assert names(kit, acls=run["acl"][1]) == ["c"]
    assert names(kit, acls=",".join(run["acl"])) == ["c", "d"]


def test_unnamed_runs_sort_before_named_ones_and_are_not_found_by_name() -> None:
    kit = server()
    create(kit, name="a")
    unnamed = create(kit)
    assert page(kit, sort="name")["items"][0]["id"] == unnamed["id"]
    assert page(kit, names="a")["totalItemCount"] == 1


def test_an_unknown_parameter_is_ignored() -> None:
    assert names(varied(), colour="red") == ["b", "a", "c", "a"]


# ---- credentials ------------------------------------------------------------------------------------------------

OF_A_TASK = "/ica/v1/tasks/tdn.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
OF_A_VERSION = f"{OF_A_TASK}/versions/tvn.0a1b2c3d4e5f60718293a4b5c6d7e8f9"
READING = {
    "ListTaskRuns": ("GET", RUNS),
    "GetTaskRun": ("GET", f"{RUNS}/{UNKNOWN}"),
    "ListTasks": ("GET", "/ica/v1/tasks"),
    "GetTask": ("GET", OF_A_TASK),
    "ListTaskVersions": ("GET", f"{OF_A_TASK}/versions"),
    "GetTaskVersion": ("GET", OF_A_VERSION),
}
CHANGING = {
    "CreateTaskRun": ("POST", RUNS),
    "AbortTaskRun": ("PUT", f"{RUNS}/{UNKNOWN}:abort"),
    "HeartbeatTaskRun": ("POST", f"{RUNS}/{UNKNOWN}:heartbeat"),
    "CreateTask": ("POST", "/ica/v1/tasks"),
    "UpdateTask": ("PATCH", OF_A_TASK),
    "CreateTaskVersion": ("POST", f"{OF_A_TASK}/versions"),
    "UpdateTaskVersion": ("PATCH", OF_A_VERSION),
    "LaunchTaskRun": ("POST", f"{OF_A_VERSION}:launch"),
}
MEMBERS = {"CreateTask": {"name": "a"}, "CreateTaskVersion": {"version": "a"}}
TEAM = "apis:\n  ica: {tokens: [writer], read_only_tokens: [reader], foreign_tokens: [stranger]}"


def ask(kit: Kit, operation: str, token: str) -> Answer:
    """The answer of any operation to the holder of this token."""
    method, path = (READING | CHANGING)[operation]
    headers = {"Authorization": f"Bearer {token}"}
    return kit.request(method, path, json=MEMBERS.get(operation), headers=headers)


@pytest.fixture(scope="module")
def team() -> Kit:
    """A server that knows who may do what."""
    return server(more=TEAM)


def test_every_operation_is_asked_with_every_kind_of_token() -> None:
    assert READING.keys() | CHANGING.keys() == api.operations.keys()


@pytest.mark.parametrize("operation", [*READING, *CHANGING])
def test_a_named_token_may_do_everything_and_an_unnamed_one_nothing(operation: str) -> None:
    kit = server(more=TEAM)
    assert ask(kit, operation, "writer").status in (200, 201, 404)
    assert ask(kit, operation, "nobody").status == 401


@pytest.mark.parametrize("operation", READING)
def test_a_read_only_token_reads(team: Kit, operation: str) -> None:
    assert ask(team, operation, "reader").status == ask(team, operation, "writer").status


@pytest.mark.parametrize("operation", CHANGING)
def test_a_read_only_token_changes_nothing(team: Kit, operation: str) -> None:
    before = team.world.snapshot()
    answer = ask(team, operation, "reader")
    assert answer.status == 403
    assert code(answer) == "Forbidden"
    assert team.world.snapshot() == before


@pytest.mark.parametrize("operation", [*READING, *CHANGING])
def test_a_token_of_another_project_is_forbidden_everything(team: Kit, operation: str) -> None:
    answer = ask(team, operation, "stranger")
    assert answer.status == 403
    assert code(answer) == "Forbidden"
    assert "www-authenticate" not in answer.headers


def test_a_token_of_another_project_is_forbidden_before_anything_else_is_looked_at(team: Kit) -> None:
    headers = {"Authorization": "Bearer stranger"}
    assert team.post(RUNS, data="{", headers=headers | {"Content-Type": "text/plain"}).status == 403
    assert team.get(f"{RUNS}?pageSize=0", headers=headers).status == 403


def test_a_client_falls_back_from_its_read_only_token_to_a_better_one() -> None:
    kit = server("[running: 1h, succeeded]", "apis:\n  ica: {read_only_tokens: [reader]}")
    run_id = create(kit)["id"]
    statuses = [
        kit.put(f"{RUNS}/{run_id}:abort", headers={"Authorization": f"Bearer {token}"}).status
        for token in ("reader", "any other")
    ]
    assert statuses == [403, 200]


def test_a_token_expires_in_the_middle_of_polling_and_a_fresh_one_goes_on() -> None:
    kit = server("[running: 1h, succeeded]", "apis:\n  ica: {token_lifetime: 10m}")
    run_id = create(kit)["id"]
    statuses = []
    for _ in range(4):
        kit.advance("4m")
        answer = kit.get(f"{RUNS}/{run_id}", headers=TOKEN)
        statuses.append(answer.status)
    assert statuses == [200, 200, 401, 401]
    assert code(answer) == "Unauthorized"
    assert "expired" in answer.json()["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    fresh = kit.get(f"{RUNS}/{run_id}", headers={"Authorization": "Bearer fresh"})
    assert (fresh.status, fresh.json()["status"]) == (200, "Running")


def test_a_token_lasts_for_ever_unless_a_scenario_says_otherwise() -> None:
    kit, run_id = run_in("running")
    kit.advance("240h")
    assert get(kit, run_id)["status"] == "Completed"


def test_the_token_of_a_heartbeat_lasts_as_long_as_tokens_do() -> None:
    kit = server(more="apis:\n  ica: {token_lifetime: 90s}")
    run_id = create(kit)["id"]
    kit.advance("5s")
    claims = json.loads(urlsafe_b64decode(heartbeat(kit, run_id).json()["jwt"].split(".")[1] + "=="))
    assert claims["exp"] - claims["iat"] == 90


# ---- errors -----------------------------------------------------------------------------------------------------

OPERATIONS = [
    ("POST", ""),
    ("GET", ""),
    ("GET", f"/{UNKNOWN}"),
    ("PUT", f"/{UNKNOWN}:abort"),
    ("POST", f"/{UNKNOWN}:heartbeat"),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer   ", "Basic dTpw", "secret"])
def test_a_call_without_a_bearer_is_unauthorized(
    plain: Kit, method: str, path: str, header: str | None
) -> None:
    headers = {} if header is None else {"Authorization": header}
    answer = plain.request(method, RUNS + path, headers=headers)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert code(answer) == "Unauthorized"


def test_the_token_is_asked_for_before_anything_else(plain: Kit) -> None:
    for answer in (
        plain.post(RUNS, data="{", headers={"Content-Type": "text/plain"}),
        plain.get(f"{RUNS}?pageSize=0"),
        plain.get(RUNS, headers={"Accept": "text/html"}),
    ):
        assert answer.status == 401


def test_a_scenario_can_name_the_tokens_that_are_good() -> None:
    kit = server(more="apis:\n  ica: {tokens: [good, better]}")
    statuses = {
        token: kit.get(RUNS, headers={"Authorization": f"Bearer {token}"}).status
        for token in ("good", "better", "bad")
    }
    assert statuses == {"good": 200, "better": 200, "bad": 401}


@pytest.mark.parametrize("path", ["", f"/{UNKNOWN}:heartbeat"])
@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data; boundary=a"])
def test_a_body_that_is_not_declared_as_json_is_unsupported(plain: Kit, path: str, content_type: str) -> None:
    answer = plain.post(RUNS + path, data="{}", headers=TOKEN | {"Content-Type": content_type})
    assert answer.status == 415
    assert code(answer) == "UnsupportedMediaType"


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_accept_header_without_json_is_not_acceptable(plain: Kit, method: str, path: str) -> None:
    answer = plain.request(method, RUNS + path, headers=TOKEN | {"Accept": "text/html"})
    assert answer.status == 406
    assert code(answer) == "NotAcceptable"


def test_a_body_that_is_too_large_is_refused() -> None:
    answer = server(body_bytes_max=1000).post(RUNS, json={"description": "x" * 1000}, headers=TOKEN)
    assert answer.status == 413
    assert code(answer) == "PayloadTooLarge"


def test_a_full_world_is_unavailable() -> None:
    kit = server(limits=Limits(jobs=1))
    create(kit)
    answer = kit.post(RUNS, headers=TOKEN)
    assert answer.status == 503
    assert code(answer) == "ServiceUnavailable"


@pytest.mark.parametrize("path", ["/ica/v1", "/ica/v1/task", "/ica/v2/tasks/runs", f"{RUNS}/{UNKNOWN}/logs"])
def test_a_path_that_is_not_there_is_not_found(plain: Kit, path: str) -> None:
    answer = plain.get(path, headers=TOKEN)
    assert answer.status == 404
    assert code(answer) == "NotFound"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", ""),
        ("PUT", ""),
        ("DELETE", f"/{UNKNOWN}"),
        ("PATCH", f"/{UNKNOWN}"),
        ("POST", f"/{UNKNOWN}:abort"),
        ("PUT", f"/{UNKNOWN}:heartbeat"),
        ("PATCH", ""),
    ],
)
def test_a_wrong_method_is_not_allowed(plain: Kit, method: str, path: str) -> None:
    answer = plain.request(method, RUNS + path, headers=TOKEN)
    assert answer.status == 405
    assert answer.headers["allow"]
    assert code(answer) == "MethodNotAllowed"


def test_a_broken_service_answers_with_an_empty_code() -> None:
    reply = error(Problem(Kind.INTERNAL, "Something went wrong."), server().call("ica"))
    assert reply.status == 500
    assert reply.body == {"code": "", "message": "Something went wrong."}


SPELT = {
    "Name": "align",
    "EXECUTION": {
        "Image": {"Name": "ubuntu"},
        "Inputs": [{"Path": "/a", "URL": "gds://a", "Credentials": {"AWS_KEY": "x"}}],
        "Environment": {"Variables": {"Path": "/bin"}, "Resources": {"Type": "standard", "Size": "small"}},
    },
}


def test_properties_in_another_case_are_read_only_when_a_scenario_says_so() -> None:
    scenario = "apis: {ica: {ignore_case: true}}\njobs: [{script: [running: 1s, succeeded]}]"
    run = Kit(scenario).post("/ica/v1/tasks/runs", json=SPELT, headers=TOKEN)
    assert run.status == 201
    shown = run.json()
    assert (shown["name"], shown["sizeOfResource"]) == ("align", "small")
    assert shown["execution"]["image"] == {"name": "ubuntu"}
    (mount,) = shown["execution"]["inputs"]
    assert (mount["path"], mount["url"]) == ("/a", "gds://a")
    # The keys of a map are the client's own.
    assert shown["execution"]["environment"]["variables"] == {"Path": "/bin"}
    plain = Kit().post("/ica/v1/tasks/runs", json=SPELT, headers=TOKEN)
    assert plain.status == 201
    assert "name" not in plain.json()


def test_what_is_wrong_in_another_case_is_as_wrong() -> None:
    scenario = "apis: {ica: {ignore_case: true}}\njobs: [{script: [running: 1s, succeeded]}]"
    for body in ({"Execution": {"Image": {"Tag": "1"}}}, {"NAME": 7}, {"Execution": {"Args": "x"}}):
        answer = Kit(scenario).post("/ica/v1/tasks/runs", json=body, headers=TOKEN)
        assert answer.status == 400, body
