"""The Unity flavour of OGC API - Processes: where such a server deviates from the standard, point by point."""

from __future__ import annotations

import re
from typing import Any

import pytest

from simulator.engine.world import Limits
from tests.kit import Answer, Kit

ECHO = "/ogc/processes/echo/execution"
FAIL = "/ogc/processes/fail/execution"
UNKNOWN = "0d6f1c1e-6d0b-4c55-9f0c-2b6a5f3c9a10"
UNITY = "apis: {ogc: {flavour: unity}}\n"
SCRIPT = "jobs:\n  - script: [queued: 1s, {running: 3s, progress: 0..100, message: At work}, succeeded]\n"
ASYNC = {"Prefer": "respond-async"}
SYNCHRONOUS = {"result": "Sample output for synchronous execution"}
MEMBERS = [
    "processID",
    "type",
    "jobID",
    "status",
    "message",
    "exception",
    "created",
    "started",
    "finished",
    "updated",
    "progress",
    "links",
]
NAIVE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}")


def serve(scenario: str = UNITY + SCRIPT) -> Kit:
    """A server of this API alone, in this flavour."""
    return Kit(scenario, apis=("ogc",))


def execute(kit: Kit, path: str = ECHO, **inputs: Any) -> str:
    """The id of a new job."""
    answer = kit.post(path, json={"inputs": inputs}, headers=ASYNC)
    assert answer.status == 200, answer.text
    return str(dict(answer.json())["job_id"])


def status(kit: Kit, job_id: str) -> dict[str, Any]:
    """How a job is doing now."""
    return dict(kit.get(f"/ogc/jobs/{job_id}").json())


def job_in(kit: Kit, state: str) -> str:
    """The id of a new job, brought into a state."""
    job_id = execute(kit, FAIL if state == "failed" else ECHO)
    kit.advance({"accepted": "0s", "running": "2s"}.get(state, "10s"))
    assert status(kit, job_id)["status"] == state
    return job_id


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and text of an error, which says nothing else."""
    body = answer.json()
    assert list(body) == ["detail"]
    assert answer.headers["content-type"] == "application/json"
    return answer.status, body["detail"]


def misfit(answer: Answer) -> dict[str, Any]:
    """The one place that does not fit."""
    assert answer.status == 422, answer.text
    (entry,) = answer.json()["detail"]
    return dict(entry)


# ---- what is not there ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/ogc/jobs/{UNKNOWN}"),
        ("GET", f"/ogc/jobs/{UNKNOWN}/results"),
        ("DELETE", f"/ogc/jobs/{UNKNOWN}"),
    ],
)
def test_an_unknown_job_is_a_server_error_that_quotes_the_404_it_swallowed(method: str, path: str) -> None:
    assert refusal(serve().request(method, path)) == (500, f"404: Job with ID '{UNKNOWN}' not found")


def test_the_description_of_an_unknown_process_is_a_server_error() -> None:
    answer = serve().get("/ogc/processes/nope")
    assert refusal(answer) == (500, "No row was found when one was required")


def test_the_execution_of_an_unknown_process_is_a_server_error_that_quotes_the_404_it_swallowed() -> None:
    answer = serve().post("/ogc/processes/nope/execution", json={}, headers=ASYNC)
    assert refusal(answer) == (500, "404: Process with ID 'nope' not found")


def test_an_unknown_path_is_not_found_in_the_words_of_fastapi() -> None:
    assert refusal(serve().get("/ogc/nothing")) == (404, "Not Found")


def test_a_wrong_method_is_not_allowed_in_the_words_of_fastapi() -> None:
    answer = serve().request("PATCH", "/ogc/jobs")
    assert refusal(answer) == (405, "Method Not Allowed")
    assert "GET" in answer.headers["allow"]


# ---- bodies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, "null"])
def test_an_execution_without_a_body_is_a_server_error(body: str | None) -> None:
    answer = serve().post(ECHO, data=body, headers={"Content-Type": "application/json"})
    assert refusal(answer) == (500, "'NoneType' object has no attribute 'inputs'")


def test_broken_json_is_a_validation_error() -> None:
    entry = misfit(serve().post(ECHO, data="{", headers={"Content-Type": "application/json"}))
    assert entry["type"] == "json_invalid"
    assert entry["loc"] == ["body"]
    assert entry["msg"] == "JSON decode error"
    assert entry["ctx"]["error"]


@pytest.mark.parametrize(
    ("body", "type_", "place", "given"),
    [
        ([1], "model_attributes_type", ["body"], [1]),
        ({"inputs": []}, "dict_type", ["body", "inputs"], []),
        ({"outputs": "message"}, "dict_type", ["body", "outputs"], "message"),
        ({"outputs": {"a/b": 1}}, "model_attributes_type", ["body", "outputs", "a/b"], 1),
        ({"sortBy": "a"}, "list_type", ["body", "sortBy"], "a"),
        ({"sortBy": ["a", 1]}, "string_type", ["body", "sortBy", 1], 1),
        ({"process": 7}, "string_type", ["body", "process"], 7),
        (
            {"subscriber": {"failedUri": None}},
            "missing",
            ["body", "subscriber", "successUri"],
            {"failedUri": None},
        ),
    ],
)
def test_a_body_of_the_wrong_type_is_a_validation_error_that_names_the_place(
    body: Any, type_: str, place: list[str | int], given: Any
) -> None:
    entry = misfit(serve().post(ECHO, json=body))
    assert (entry["type"], entry["loc"], entry["input"]) == (type_, place, given)
    assert entry["msg"]


def test_a_body_that_does_not_say_it_is_json_does_not_fit() -> None:
    entry = misfit(serve().post(ECHO, data="{}", headers={"Content-Type": "text/plain"}))
    assert (entry["type"], entry["loc"]) == ("model_attributes_type", ["body"])


def test_inputs_and_outputs_are_never_compared_with_the_description_of_the_process() -> None:
    kit = serve()
    answer = kit.post(ECHO, json={"inputs": {"mesage": 1}, "outputs": {"nope": {}}}, headers=ASYNC)
    assert answer.status == 200
    assert dict(answer.json())["status"] == "accepted"


# ---- execution --------------------------------------------------------------------------------------------------


def test_an_asynchronous_execution_answers_pairs_of_python_names_and_values() -> None:
    answer = serve().post(ECHO, json={"inputs": {"message": "hello"}}, headers=ASYNC)
    assert answer.status == 200
    assert "location" not in answer.headers
    assert "preference-applied" not in answer.headers
    pairs = answer.json()
    assert [name for name, _ in pairs] == ["process_id", "type", "job_id", *MEMBERS[3:]]
    told = dict(pairs)
    assert (told["process_id"], told["type"], told["status"]) == ("echo", "process", "accepted")
    assert told["created"] == told["updated"] == "2030-01-01T00:00:00.000000"
    for name in ("message", "exception", "started", "finished", "progress", "links"):
        assert told[name] is None


@pytest.mark.parametrize("prefer", [None, "respond-async, wait=5", "Respond-Async", "respond-sync", "wait=5"])
def test_only_the_exact_preference_makes_an_execution_asynchronous(prefer: str | None) -> None:
    headers = {} if prefer is None else {"Prefer": prefer}
    answer = serve().post(ECHO, json={"inputs": {}}, headers=headers)
    assert (answer.status, answer.json()) == (200, SYNCHRONOUS)


def test_a_synchronous_execution_answers_a_fixed_text_while_its_job_goes_on() -> None:
    kit = serve()
    assert kit.post(ECHO, json={"inputs": {"message": "hello"}}).json() == SYNCHRONOUS
    (job,) = kit.get("/ogc/jobs").json()["jobs"]
    assert job["status"] == "accepted"
    kit.advance("2s")
    assert status(kit, job["jobID"])["status"] == "running"
    kit.advance("2s")
    assert status(kit, job["jobID"])["status"] == "successful"


def test_the_form_of_the_answer_cannot_be_chosen() -> None:
    body = {"inputs": {"message": "hello"}, "outputs": {"message": {"transmissionMode": "reference"}}}
    for response in ("raw", "document"):
        assert serve().post(ECHO, json=body | {"response": response}).json() == SYNCHRONOUS


def test_a_pause_is_kept_all_the_same() -> None:
    kit = serve()
    job_id = execute(kit, message="hello", pause=60)
    kit.advance("30s")
    assert status(kit, job_id)["status"] == "running"
    kit.advance("60s")
    assert status(kit, job_id)["status"] == "successful"


# ---- status -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["accepted", "running", "successful", "failed"])
def test_a_status_has_all_its_members_and_most_of_them_are_null(state: str) -> None:
    kit = serve()
    told = status(kit, job_in(kit, state))
    assert list(told) == MEMBERS
    for name in ("message", "exception", "started", "progress", "links"):
        assert told[name] is None
    assert (told["finished"] is None) == (state in ("accepted", "running"))


def test_times_have_microseconds_and_no_zone() -> None:
    kit = serve()
    told = status(kit, job_in(kit, "successful"))
    for name in ("created", "updated", "finished"):
        assert NAIVE.fullmatch(told[name])
    assert told["created"] == "2030-01-01T00:00:00.000000"
    assert told["finished"] == told["updated"] == "2030-01-01T00:00:04.000000"


def test_progress_is_no_update() -> None:
    kit = serve()
    job_id = execute(kit)
    kit.advance("3s")
    assert status(kit, job_id)["updated"] == "2030-01-01T00:00:01.000000"


# ---- results ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["accepted", "running", "successful", "failed"])
def test_the_results_are_empty_in_every_state(state: str) -> None:
    kit = serve()
    answer = kit.get(f"/ogc/jobs/{job_in(kit, state)}/results")
    assert (answer.status, answer.json()) == (200, {})


# ---- lists ------------------------------------------------------------------------------------------------------


def test_the_list_holds_the_first_hundred_jobs_and_no_links() -> None:
    kit = serve()
    made = [execute(kit) for _ in range(103)]
    body = kit.get("/ogc/jobs").json()
    assert [job["jobID"] for job in body["jobs"]] == made[:100]
    assert body["links"] == []
    assert list(body["jobs"][0]) == MEMBERS


@pytest.mark.parametrize(
    "query", ["limit=1", "offset=1", "limit=0", "limit=many", "status=failed", "datetime=never"]
)
def test_the_list_of_jobs_ignores_every_parameter(query: str) -> None:
    kit = serve()
    made = [execute(kit), execute(kit)]
    answer = kit.get(f"/ogc/jobs?{query}")
    assert answer.status == 200
    assert [job["jobID"] for job in answer.json()["jobs"]] == made


@pytest.mark.parametrize("query", ["", "?limit=1", "?limit=0"])
def test_the_list_of_processes_is_bare_and_ignores_every_parameter(query: str) -> None:
    body = serve().get(f"/ogc/processes{query}").json()
    assert {"echo", "fail"} <= {process["id"] for process in body["processes"]}
    assert body["links"] == []
    for process in body["processes"]:
        assert process["version"]
        assert process["jobControlOptions"] is None
        assert process["links"] is None


# ---- around the jobs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/conformance", "/api/processes-list"])
@pytest.mark.parametrize("f", ["html", "xml"])
def test_the_format_asked_for_is_ignored(path: str, f: str) -> None:
    kit = serve()
    answer = kit.get(f"/ogc{path}?f={f}", headers={"Accept": "text/html"})
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.json() == kit.get(f"/ogc{path}").json()


def test_the_landing_page_gives_the_definition_a_media_type_that_few_clients_look_for() -> None:
    links = {link["rel"]: link for link in serve().get("/ogc/").json()["links"]}
    assert links["service-desc"]["type"] == "application/openapi+json;version=3.0"
    assert not links.keys() & {"alternate", "service-doc"}


def test_callbacks_are_declared_and_the_openapi_class_is_not() -> None:
    classes = {uri.rpartition("/")[2] for uri in serve().get("/ogc/conformance").json()["conformsTo"]}
    assert classes == {"core", "ogc-process-description", "json", "job-list", "callback", "dismiss"}


def test_the_server_says_that_it_is_well() -> None:
    assert serve().get("/ogc/health").json() == {"status": "OK"}


def test_a_preference_about_results_has_no_effect() -> None:
    kit = serve()
    answer = kit.get(f"/ogc/jobs/{job_in(kit, 'successful')}/results", headers={"Prefer": "return=minimal"})
    assert (answer.status, answer.json()) == (200, {})


def test_a_full_world_says_how_to_make_room_for_more() -> None:
    kit = Kit(UNITY + SCRIPT, apis=("ogc",), limits=Limits(jobs=1))
    execute(kit)
    code, detail = refusal(kit.post(ECHO, json={}, headers=ASYNC))
    assert code == 503
    assert "--max-jobs" in detail


def test_a_single_output_has_no_path_of_its_own() -> None:
    kit = serve()
    job_id = job_in(kit, "successful")
    assert refusal(kit.get(f"/ogc/jobs/{job_id}/results/message")) == (404, "Not Found")


# ---- dismissal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["accepted", "running", "successful", "failed"])
def test_a_dismissal_forgets_the_job_at_once_in_every_state(state: str) -> None:
    kit = serve()
    job_id = job_in(kit, state)
    answer = kit.delete(f"/ogc/jobs/{job_id}")
    told = answer.json()
    assert (answer.status, told["status"], told["message"]) == (200, "dismissed", "Job dismissed")
    assert list(told) == MEMBERS
    assert NAIVE.fullmatch(told["finished"])
    assert told["finished"] == told["updated"]
    gone = (500, f"404: Job with ID '{job_id}' not found")
    assert refusal(kit.get(f"/ogc/jobs/{job_id}")) == gone
    assert refusal(kit.delete(f"/ogc/jobs/{job_id}")) == gone
    assert kit.get("/ogc/jobs").json()["jobs"] == []
    kit.advance("1m")
    assert refusal(kit.get(f"/ogc/jobs/{job_id}")) == gone


@pytest.mark.parametrize("on_cancel", ["ignored", "{after: 10s}"])
def test_a_job_is_forgotten_even_when_its_work_does_not_stop_at_once(on_cancel: str) -> None:
    kit = serve(f"{UNITY}jobs:\n  - script: [running: 1m, succeeded]\n    on_cancel: {on_cancel}\n")
    job_id = execute(kit)
    assert kit.delete(f"/ogc/jobs/{job_id}").json()["status"] == "dismissed"
    assert kit.get(f"/ogc/jobs/{job_id}").status == 500


def test_a_dismissal_that_is_refused_reads_like_a_refusal_of_airflow_and_keeps_the_job() -> None:
    kit = serve(f"{UNITY}jobs:\n  - script: [running: 1m, succeeded]\n    on_cancel: refused\n")
    job_id = execute(kit)
    code, detail = refusal(kit.delete(f"/ogc/jobs/{job_id}"))
    assert code == 500
    assert detail.startswith(f"Failed to delete DAG run {job_id} for DAG echo: ")
    assert status(kit, job_id)["status"] == "running"


def test_a_worker_is_free_again_when_its_job_was_dismissed() -> None:
    kit = serve(f"{UNITY}workers: {{ogc: 1}}\njobs:\n  - script: [running: 1m, succeeded]\n")
    first, second = execute(kit), execute(kit)
    assert status(kit, second)["status"] == "accepted"
    kit.delete(f"/ogc/jobs/{first}")
    assert status(kit, second)["status"] == "running"


# ---- switching --------------------------------------------------------------------------------------------------


def test_the_standard_flavour_is_what_is_served_when_nothing_is_said() -> None:
    answer = serve(SCRIPT).get(f"/ogc/jobs/{UNKNOWN}")
    assert answer.status == 404
    assert answer.json()["type"].endswith("no-such-job")
