"""Published OGC clients meet the server over a real socket: OWSLib and ogc-api-processes-client."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ogc_api_processes_client import Configuration, Execute, ExecuteInputsValue, InlineOrRefData, Link
from ogc_api_processes_client.api_client_wrapper import ApiClientWrapper
from ogc_api_processes_client.exceptions import NotFoundException, ServiceException
from ogc_api_processes_client.models.input_value_no_object import InputValueNoObject
from ogc_api_processes_client.models.job_list import JobList
from ogc_api_processes_client.models.status_info import StatusInfo
from owslib.ogcapi.processes import Processes

from tests.running import serving

SCENARIO = """
jobs:
  - script: [queued: 1s, {running: 3s, progress: 0..100}, succeeded]
"""
PICTURE = {"href": "http://127.0.0.1/picture.tif", "type": "image/tiff"}
ASYNC = {"Prefer": "respond-async"}
FINAL = ("successful", "failed", "dismissed")
PATIENCE_SECONDS = 20.0


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is that checks every reply against its document."""
    scenario = tmp_path_factory.mktemp("ogc") / "scenario.yaml"
    scenario.write_text(SCENARIO)
    with serving("ogc", "--time", "20x", "--strict", "--scenario", str(scenario)) as server:
        yield f"{server.url}/ogc"


# ---- OWSLib -----------------------------------------------------------------------------------------------------


@pytest.fixture
def owslib(url: str) -> Processes:
    """OWSLib's client. It keeps what a call preferred for all later ones, of all its instances."""
    return Processes(url)


def test_owslib_finds_the_document_from_the_landing_page(owslib: Processes, url: str) -> None:
    assert {"self", "service-desc"} <= {link["rel"] for link in owslib.links}
    document = owslib.api()
    assert document["openapi"].startswith("3.0")
    assert document["servers"] == [{"url": url}]
    assert "/jobs/{jobId}" in document["paths"]


def test_owslib_reads_the_conformance_classes(owslib: Processes) -> None:
    classes = {uri.rpartition("/")[2] for uri in owslib.conformance()["conformsTo"]}
    assert {"core", "json", "job-list", "dismiss"} <= classes


def test_owslib_lists_and_describes_the_processes(owslib: Processes) -> None:
    assert {"echo", "fail"} <= {process["id"] for process in owslib.processes()}
    echo = owslib.process("echo")
    assert echo["inputs"]["message"]["schema"] == {"type": "string"}
    assert "message" in echo["outputs"]


def test_owslib_executes_synchronously_and_gets_the_results(owslib: Processes) -> None:
    assert owslib.execute("echo", {"message": "hello", "numbers": [1, 2]}) == {
        "message": "hello",
        "numbers": [1, 2],
    }


def test_owslib_executes_asynchronously_and_gets_a_job(owslib: Processes, url: str) -> None:
    job = owslib.execute("echo", {"message": "hello"}, async_=True)
    assert (job["processID"], job["status"]) == ("echo", "accepted")
    assert owslib.response_headers["Location"] == f"{url}/jobs/{job['jobID']}"
    assert owslib.response_headers["Preference-Applied"] == "respond-async"


def test_a_preference_that_owslib_keeps_sending_disturbs_no_other_call(owslib: Processes, url: str) -> None:
    owslib.execute("echo", {"message": "hello"}, async_=True)
    another = Processes(url)
    assert another.headers["Prefer"] == "respond-async"
    assert another.process("echo")["id"] == "echo"
    assert another.processes()


@pytest.mark.parametrize(
    ("process", "inputs", "word"),
    [("nope", {"message": "hello"}, "no-such-process"), ("echo", {"numbers": 1}, "InvalidParameterValue")],
)
def test_owslib_raises_the_text_of_a_refusal(
    owslib: Processes, process: str, inputs: dict[str, Any], word: str
) -> None:
    with pytest.raises(RuntimeError, match=word):
        owslib.execute(process, inputs)


def test_owslib_raises_why_a_synchronous_execution_failed(owslib: Processes) -> None:
    with pytest.raises(RuntimeError, match="The process gave up"):
        owslib.execute("fail", {"message": "hello"})


# ---- ogc-api-processes-client -------------------------------------------------------------------------------------


@pytest.fixture
def client(url: str) -> ApiClientWrapper:
    """The typed client."""
    return ApiClientWrapper(Configuration(host=url))


def a_text(value: str) -> ExecuteInputsValue:
    """An input. The client's own constructors refuse every text, which fits two of their alternatives."""
    plain = InputValueNoObject.model_construct(actual_instance=value)
    return ExecuteInputsValue.model_construct(
        actual_instance=InlineOrRefData.model_construct(actual_instance=plain)
    )


def an_execution() -> Execute:
    """A typed request for the one kind of output that this client can read: a link."""
    request = Execute.from_dict({"outputs": {"file": {}}})
    assert request is not None
    picture = ExecuteInputsValue(InlineOrRefData(Link(**PICTURE)))
    return request.model_copy(update={"inputs": {"message": a_text("hello"), "file": picture}})


def started(client: ApiClientWrapper, process: str = "echo", **inputs: Any) -> str:
    """The id of a new job that was asked for with a plain body."""
    body = {"inputs": {"message": "hello"} | inputs, "outputs": {"file": {}}}
    return str(client.execute_simple(process, body, _headers=dict(ASYNC)).job_id)


def ended(client: ApiClientWrapper, job_id: str) -> StatusInfo:
    """The last status of a job, after polling as long as it takes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        status = client.get_status(job_id)
        if status.status.value in FINAL:
            return status
        time.sleep(0.05)
    raise TimeoutError(f"job {job_id} did not end within {PATIENCE_SECONDS} s")


def test_the_typed_client_reads_what_there_is_around_the_jobs(client: ApiClientWrapper) -> None:
    assert {"self", "service-desc"} <= {link.rel for link in client.get_landing_page().links}
    assert any(uri.endswith("/conf/core") for uri in client.get_conformance_classes().conforms_to)


def test_the_typed_client_lists_and_describes_the_processes(client: ApiClientWrapper) -> None:
    assert {"echo", "fail"} <= {process.id for process in client.get_processes().processes}
    echo = client.get_process_description("echo")
    assert list(echo.inputs) == ["message", "pause", "file", "numbers"]
    assert [option.value for option in echo.job_control_options][-1] == "dismiss"


def test_the_typed_client_executes_synchronously(client: ApiClientWrapper) -> None:
    assert client.execute("echo", an_execution()).actual_instance == PICTURE


def test_the_typed_client_executes_asynchronously_and_follows_the_job(client: ApiClientWrapper) -> None:
    job = client.execute("echo", an_execution(), _headers=dict(ASYNC))
    assert isinstance(job, StatusInfo)
    assert job.status.value == "accepted"
    end = ended(client, job.job_id)
    assert (end.status.value, end.progress) == ("successful", 100)
    assert end.created < end.started < end.finished
    results = client.get_result(job.job_id)
    assert {name: output.actual_instance.href for name, output in results.items()} == {
        "file": PICTURE["href"]
    }


def test_a_body_without_a_content_type_is_taken_for_json(client: ApiClientWrapper) -> None:
    job = client.execute_simple("echo-async", {"inputs": {"message": "hello"}})
    assert (job.process_id, job.status.value) == ("echo-async", "accepted")


def test_the_typed_client_learns_why_a_job_failed(client: ApiClientWrapper) -> None:
    job_id = started(client, "fail")
    end = ended(client, job_id)
    assert (end.status.value, end.message) == ("failed", "The process gave up.")
    with pytest.raises(ServiceException) as raised:
        client.get_result(job_id)
    assert raised.value.data.detail == "The process gave up."


def test_results_that_are_not_ready_are_not_found(client: ApiClientWrapper) -> None:
    job_id = started(client, pause=3600)
    with pytest.raises(NotFoundException) as raised:
        client.get_result(job_id)
    assert raised.value.data.type.endswith("/result-not-ready")


def test_the_typed_client_dismisses_a_job_and_then_removes_it(client: ApiClientWrapper) -> None:
    job_id = started(client, pause=3600)
    assert client.dismiss(job_id).status.value == "dismissed"
    assert client.get_status(job_id).status.value == "dismissed"
    assert client.dismiss(job_id).status.value == "dismissed"
    with pytest.raises(NotFoundException) as raised:
        client.get_status(job_id)
    assert raised.value.data.type.endswith("/no-such-job")


def test_the_pages_of_the_job_list_are_reached_by_their_links(client: ApiClientWrapper) -> None:
    made = [started(client) for _ in range(13)]
    page = client.get_jobs()
    found: list[str] = []
    while True:
        assert len(page.jobs) <= 10
        found += [job.job_id for job in page.jobs]
        onward = [link.href for link in page.links if link.rel == "next"]
        if not onward:
            break
        page = follow(client, onward[0])
    assert len(found) == len(set(found))
    assert [job_id for job_id in found if job_id in made] == made[::-1]


def follow(client: ApiClientWrapper, href: str) -> JobList:
    """A page of the list; the client has no parameters for it, only the address that the link gives."""
    answer = client.api_client.rest_client.request("GET", href)
    answer.read()
    page: JobList = client.api_client.response_deserialize(answer, {"200": "JobList"}).data
    return page
