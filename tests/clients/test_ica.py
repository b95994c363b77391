"""libica, and shell users as far as their HTTP goes, meet the server over a real socket."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from libica.openapi.libtes import (
    ApiClient,
    ApiException,
    Configuration,
    CreateTaskRequest,
    CreateTaskRunRequest,
    CreateTaskVersionRequest,
    Environment,
    Execution,
    Image,
    InputMountMappingWithCreds,
    LaunchTaskRequest,
    MountMappingWithCreds,
    Resources,
    TaskRun,
    TaskRunsApi,
    TasksApi,
    TaskVersionsApi,
    UpdateTaskRequest,
    UpdateTaskVersionRequest,
)

from tests.running import serving

PATIENCE_SECONDS = 20.0
FINAL = ("Completed", "Failed", "Aborted", "TimedOut")
SCENARIO = """
apis:
  ica:
    tokens: [good]
    read_only_tokens: [reader]
    foreign_tokens: [stranger]
jobs:
  - when: {request.name: "endless*"}
    script: [running: forever]
  - when: {request.name: "doomed*"}
    script:
      - queued: 1s
      - running: 2s
      - retrying: 1s
      - running: 2s
      - failed: {error: {code: out_of_memory, message: Killed., details: Exit status 137}}
  - script: [queued: 1s, {running: 3s, message: Working}, succeeded]
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is that checks every reply against its document."""
    scenario = tmp_path_factory.mktemp("ica") / "scenario.yaml"
    scenario.write_text(SCENARIO)
    with serving("ica", "--time", "20x", "--strict", "--scenario", str(scenario)) as server:
        yield f"{server.url}/ica"


@contextmanager
def connected(url: str, token: str | None = "good") -> Iterator[ApiClient]:
    """libica's client with this token, set up as its users do."""
    keys = {} if token is None else {"Authorization": token}
    configuration = Configuration(host=url, api_key=keys, api_key_prefix={"Authorization": "Bearer"})
    with ApiClient(configuration) as client:
        yield client
        client.rest_client.pool_manager.clear()


@pytest.fixture
def client(url: str) -> Iterator[ApiClient]:
    """libica's client with a good token."""
    with connected(url) as made:
        yield made


@pytest.fixture
def runs(client: ApiClient) -> TaskRunsApi:
    """The part of libica that is about runs."""
    return TaskRunsApi(client)


def wait_for(runs: TaskRunsApi, run_id: str) -> TaskRun:
    """The run once it has ended, polled as users do."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (run := runs.get_task_run(run_id)).status not in FINAL:
        assert time.monotonic() < deadline, run
        time.sleep(0.02)
    return run


def request(name: str) -> CreateTaskRunRequest:
    """A run as a user of libica writes it."""
    return CreateTaskRunRequest(
        name=name,
        description="Counts the reads of one sample.",
        execution=Execution(
            image=Image(name="registry.example.org/count-reads", tag="1.4.0"),
            command="count-reads",
            args=["--input", "/data/sample.fastq"],
            inputs=[InputMountMappingWithCreds(path="/data/sample.fastq", url="gds://demo/sample.fastq")],
            outputs=[MountMappingWithCreds(path="/var/log/tessystemlogs", url="gds://demo/logs")],
            environment=Environment(resources=Resources(type="standard", size="small")),
        ),
    )


def refusal(caught: pytest.ExceptionInfo[ApiException]) -> dict[str, Any]:
    """The body of the error that libica raised, as its users read it."""
    body = json.loads(caught.value.body)
    assert {"code", "message"} <= body.keys()
    return dict(body)


# ---- libica: runs -----------------------------------------------------------------------------------------------


def test_libica_creates_a_run_follows_it_to_the_end_and_reads_where_its_logs_are(runs: TaskRunsApi) -> None:
    run = runs.create_task_run(body=request("count-reads"))
    assert run.id.startswith("trn.")
    assert run.status in ("Pending", "Running")
    assert run.time_created.tzinfo is not None
    ended = wait_for(runs, run.id)
    assert (ended.status, ended.status_details, ended.name) == ("Completed", None, "count-reads")
    # Run time and node time, as known users take them.
    (log,) = ended.logs
    assert (log.end_time - log.start_time).total_seconds() == pytest.approx(3)
    assert (ended.time_modified - ended.time_created).total_seconds() == pytest.approx(4)
    assert log.stdout == f"gds://demo/logs/{run.id}/stdout-0.log"
    resources = ended.execution.environment.resources
    assert (resources.type, resources.size, resources.cpu_cores) == ("standard", "small", 0)
    assert ended.execution.retry_count == 0
    assert ended.task_version_summary is None


def test_libica_sees_why_a_run_failed_and_the_logs_of_both_attempts(runs: TaskRunsApi) -> None:
    run = wait_for(runs, runs.create_task_run(body=request("doomed")).id)
    assert (run.status, run.status_details) == ("Failed", "Killed.")
    assert run.execution.retry_count == 1
    first, second = run.logs
    assert first.end_time <= second.start_time
    assert (second.error, second.error_details) == ("OutOfMemory", "Exit status 137")
    assert second.stdout.endswith("/stdout-1.log")


def test_libica_meets_a_shipped_failure() -> None:
    with (
        serving("ica", "--time", "20x", "--strict", "--scenario", "fails-halfway") as server,
        connected(f"{server.url}/ica", "any") as client,
    ):
        runs = TaskRunsApi(client)
        run = wait_for(runs, runs.create_task_run().id)
    assert run.status == "Failed"
    assert "memory" in run.status_details
    assert run.logs[0].error == "OutOfMemory"
    assert run.logs[0].stdout


def test_libica_aborts_a_run_once(runs: TaskRunsApi) -> None:
    run = runs.create_task_run(body=request("endless"))
    assert runs.abort_task_run(run.id).status == "Aborted"
    assert runs.get_task_run(run.id).status == "Aborted"
    with pytest.raises(ApiException) as caught:
        runs.abort_task_run(run.id)
    assert caught.value.status == 400
    assert "Aborted" in refusal(caught)["message"]


def test_libica_walks_all_pages_by_their_tokens(runs: TaskRunsApi) -> None:
    ids = [runs.create_task_run(body=request("endless-page")).id for _ in range(5)]
    page = runs.list_task_runs(names="endless-page", page_size=2, sort="timeCreated desc")
    assert (page.item_count, page.total_item_count, page.total_page_count) == (2, 5, 3)
    found = [item.id for item in page.items]
    while page.next_page_token is not None:
        page = runs.list_task_runs(page_token=page.next_page_token)
        found += [item.id for item in page.items]
    assert found == ids[::-1]
    first = runs.list_task_runs(page_token=page.first_page_token)
    assert [item.id for item in first.items] == found[:2]
    assert runs.list_task_runs(names="nobody").items == []


# ---- libica: tasks ----------------------------------------------------------------------------------------------


def test_libica_keeps_a_task_and_launches_runs_from_its_version(client: ApiClient, runs: TaskRunsApi) -> None:
    tasks, versions = TasksApi(client), TaskVersionsApi(client)
    task = tasks.create_task(body=CreateTaskRequest(name="count", description="Counts."))
    assert task.id.startswith("tdn.")
    execution = Execution(image=Image(name="count"), args=["--input", "/data/{{sample}}.fastq"])
    version = versions.create_task_version(
        task.id, body=CreateTaskVersionRequest(version="1.0", execution=execution)
    )
    assert version.execution.args == ["--input", "/data/{{sample}}.fastq"]
    run = versions.launch_task_run(
        task.id, version.id, body=LaunchTaskRequest(name="count-a", arguments={"sample": "a"})
    )
    assert run.execution.args == ["--input", "/data/a.fastq"]
    assert (run.task_version_summary.id, run.task_version_summary.version) == (version.id, "1.0")
    assert wait_for(runs, run.id).status == "Completed"
    assert [item.id for item in runs.list_task_runs(versions=version.id).items] == [run.id]

    with pytest.raises(ApiException) as caught:
        versions.launch_task_run(task.id, version.id)
    assert caught.value.status == 400
    assert "sample" in refusal(caught)["details"][0]


def test_libica_changes_and_lists_tasks_and_versions(client: ApiClient) -> None:
    tasks, versions = TasksApi(client), TaskVersionsApi(client)
    new = CreateTaskRequest(name="align", task_versions=[CreateTaskVersionRequest(version="1.0")])
    task = tasks.create_task(body=new)
    (version,) = task.task_versions
    with pytest.raises(ApiException) as caught:
        tasks.create_task(body=new)
    assert (caught.value.status, refusal(caught)["code"]) == (409, "Conflict")

    changed = tasks.update_task(task.id, body=UpdateTaskRequest(name="realign"))
    assert (changed.name, changed.time_modified >= changed.time_created) == ("realign", True)
    assert tasks.get_task(task.id).name == "realign"
    assert [item.id for item in tasks.list_tasks(names="realign", sort="name desc").items] == [task.id]

    versions.update_task_version(task.id, version.id, body=UpdateTaskVersionRequest(description="Faster."))
    assert versions.get_task_version(task.id, version.id).description == "Faster."
    versions.create_task_version(task.id, body=CreateTaskVersionRequest(version="2.0"))
    page = versions.list_task_versions(task.id, page_size=1)
    rest = versions.list_task_versions(task.id, page_token=page.next_page_token)
    assert [item.version for item in (*page.items, *rest.items)] == ["1.0", "2.0"]
    assert rest.next_page_token is None


# ---- libica: refusals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "bad"])
def test_libica_reports_missing_and_wrong_tokens(url: str, token: str | None) -> None:
    with connected(url, token) as client, pytest.raises(ApiException) as caught:
        TaskRunsApi(client).list_task_runs()
    assert (caught.value.status, refusal(caught)["code"]) == (401, "Unauthorized")
    assert caught.value.headers["WWW-Authenticate"] == "Bearer"


def test_libica_may_read_and_not_abort_with_a_read_only_token(url: str, runs: TaskRunsApi) -> None:
    run_id = runs.create_task_run(body=request("endless")).id
    with connected(url, "reader") as client:
        reader = TaskRunsApi(client)
        assert reader.get_task_run(run_id).id == run_id
        with pytest.raises(ApiException) as caught:
            reader.abort_task_run(run_id)
    assert (caught.value.status, refusal(caught)["code"]) == (403, "Forbidden")
    assert runs.abort_task_run(run_id).status == "Aborted"


def test_libica_is_refused_with_a_token_of_another_project(url: str, runs: TaskRunsApi) -> None:
    run_id = runs.create_task_run(body=request("endless")).id
    with connected(url, "stranger") as client, pytest.raises(ApiException) as caught:
        TaskRunsApi(client).get_task_run(run_id)
    assert (caught.value.status, refusal(caught)["code"]) == (403, "Forbidden")


def test_libica_reports_an_unknown_run(runs: TaskRunsApi) -> None:
    with pytest.raises(ApiException) as caught:
        runs.get_task_run("trn.0a1b2c3d4e5f60718293a4b5c6d7e8f9")
    assert (caught.value.status, refusal(caught)["code"]) == (404, "NotFound")


def test_libica_loses_its_token_in_the_middle_of_polling(tmp_path: Path) -> None:
    scenario = tmp_path / "expiring.yaml"
    scenario.write_text("apis: {ica: {token_lifetime: 20s}}\njobs:\n  - script: [running: forever]\n")
    with serving("ica", "--time", "20x", "--strict", "--scenario", str(scenario)) as server:
        url = f"{server.url}/ica"
        with connected(url, "first") as client:
            runs = TaskRunsApi(client)
            run_id = runs.create_task_run().id
            with pytest.raises(ApiException) as caught:
                wait_for(runs, run_id)
        assert caught.value.status == 401
        assert "expired" in refusal(caught)["message"]
        with connected(url, "second") as client:
            assert TaskRunsApi(client).get_task_run(run_id).status == "Running"


# ---- shell users ------------------------------------------------------------------------------------------------


def send(url: str, method: str, body: bytes | None = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON body of a call by hand; an underscore in a header's name stands for a hyphen."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    asked = urllib.request.Request(
        url, data=body, method=method, headers={"Authorization": "Bearer good", **named}
    )
    try:
        with urllib.request.urlopen(asked, timeout=PATIENCE_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as problem:
        with problem:
            return problem.code, json.load(problem)


def test_a_shell_user_sends_the_media_type_as_the_document_writes_it(url: str) -> None:
    body = json.dumps({"name": "endless", "execution": {"image": {"name": "tool"}}}).encode()
    status, run = send(f"{url}/v1/tasks/runs", "POST", body, Content_Type="application/*+json")
    assert (status, run["name"]) == (201, "endless")
    status, seen = send(f"{url}/v1/tasks/runs/{run['id']}", "GET")
    assert (status, seen["execution"]["image"]) == (200, {"name": "tool"})
    encoded = run["id"].replace(".", "%2E")
    status, aborted = send(f"{url}/v1/tasks/runs/{encoded}%3Aabort", "PUT", Content_Type="application/json")
    assert (status, aborted["status"]) == (200, "Aborted")


def test_an_empty_heartbeat_may_say_that_it_is_json(url: str) -> None:
    _, run = send(f"{url}/v1/tasks/runs", "POST", b"{}", Content_Type="application/json")
    path = f"{url}/v1/tasks/runs/{run['id']}:heartbeat"
    for body in (b"", None, b"null", b'{"lastHeartbeat": true}'):
        status, beat = send(path, "POST", body, Content_Type="application/json")
        assert (status, beat["jwt"].count(".")) == (200, 2)


def test_a_shell_user_lists_newest_first_with_a_space_in_the_query(url: str) -> None:
    for name in ("endless-one", "endless-two"):
        send(f"{url}/v1/tasks/runs", "POST", json.dumps({"name": name}).encode(), Content_Type="text/json")
    query = "sort=timeCreated%20desc&names=endless-one,endless-two&pageSize=10"
    status, page = send(f"{url}/v1/tasks/runs?{query}", "GET")
    assert status == 200
    assert [item["name"] for item in page["items"]] == ["endless-two", "endless-one"]


def test_what_an_r_user_gets_wrong_is_a_bad_request(url: str) -> None:
    for execution in ({"args": "x"}, {"environment": {"variables": ["a"]}}):
        body = json.dumps({"execution": execution}).encode()
        status, problem = send(f"{url}/v1/tasks/runs", "POST", body, Content_Type="application/json")
        assert (status, problem["code"]) == (400, "BadRequest")
