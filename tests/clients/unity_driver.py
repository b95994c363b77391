"""Drives a server with the Unity client and prints what that client made of it, as JSON.

The client cannot share an environment with ours, so this runs in one of its own and knows nothing of this project:

    python unity_driver.py http://127.0.0.1:4010/ogc
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from unity_sps_ogc_processes_api_python_client import (
    ApiClient,
    ApiException,
    Configuration,
    ConformanceApi,
    ExecuteWorkflows,
    HealthApi,
    JobsApi,
    LandingPageApi,
    ProcessesApi,
)

ASYNC = "respond-async"
UNKNOWN = "0d6f1c1e-6d0b-4c55-9f0c-2b6a5f3c9a10"
PICTURE = {"href": "http://127.0.0.1/picture.tif", "type": "image/tiff"}
FINAL = ("successful", "failed", "dismissed")
PATIENCE_SECONDS = 20.0


def plain(value: Any) -> Any:
    """A model of the client as JSON values."""
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def seen(act: Callable[[], Any]) -> dict[str, Any]:
    """What a call of the client came to: an answer with its status, or the exception it raised."""
    try:
        answer = act()
    except ApiException as problem:
        return {
            "raised": type(problem).__name__,
            "status": problem.status,
            "data": plain(problem.data),
            "body": problem.body,
        }
    except Exception as problem:
        return {"raised": type(problem).__name__}
    return {
        "status": answer.status_code,
        "headers": {name.lower(): value for name, value in (answer.headers or {}).items()},
        "data": plain(answer.data),
        "body": answer.raw_data.decode(),
    }


class Story:
    """One user's calls, in order, and what they came to."""

    def __init__(self, url: str) -> None:
        self.client = client = ApiClient(Configuration(host=url))
        self.jobs = JobsApi(client)
        self.processes = ProcessesApi(client)
        self.around = (LandingPageApi(client), ConformanceApi(client), HealthApi(client))

    def execute(self, process: str, request: dict[str, Any], prefer: str | None) -> dict[str, Any]:
        """Execute a process; `from_dict` makes a request that sends every member it knows, with null for nothing."""
        body = ExecuteWorkflows.from_dict(request)
        answer = seen(
            lambda: self.processes.execute_processes_process_id_execution_post_with_http_info(
                process, prefer=prefer, execute_workflows=body
            )
        )
        return {"sent": plain(self.client.sanitize_for_serialization(body)), **answer}

    def status(self, job_id: str) -> dict[str, Any]:
        """One look at a job."""
        return seen(lambda: self.jobs.get_status_jobs_job_id_get_with_http_info(job_id))

    def results(self, job_id: str) -> dict[str, Any]:
        """The results of a job, or why there are none."""
        return seen(lambda: self.jobs.get_result_jobs_job_id_results_get_with_http_info(job_id))

    def dismiss(self, job_id: str) -> dict[str, Any]:
        """Dismiss a job."""
        return seen(lambda: self.jobs.dismiss_jobs_job_id_delete_with_http_info(job_id))

    def list(self) -> dict[str, Any]:
        """The list of jobs."""
        return seen(self.jobs.get_jobs_jobs_get_with_http_info)

    def end(self, job_id: str) -> dict[str, Any]:
        """The last status of a job, after polling as long as it takes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            answer = self.status(job_id)
            if answer.get("data", {}).get("status") in FINAL:
                return answer
            time.sleep(0.05)
        raise TimeoutError(f"job {job_id} did not end within {PATIENCE_SECONDS} s")

    def tell(self) -> dict[str, Any]:
        """The whole story."""
        landing, conformance, health = self.around
        told = {
            "landing": seen(landing.get_landing_page_get_with_http_info),
            "conformance": seen(conformance.get_conformance_conformance_get_with_http_info),
            "health": seen(health.get_health_health_get_with_http_info),
            "processes": seen(self.processes.get_processes_processes_get_with_http_info),
            "description": seen(
                lambda: self.processes.get_process_description_processes_process_id_get_with_http_info("echo")
            ),
            "unknown process": seen(
                lambda: self.processes.get_process_description_processes_process_id_get_with_http_info("nope")
            ),
            "unknown job": self.status(UNKNOWN),
            "synchronous": self.execute(
                "echo", {"inputs": {"message": "hello"}, "outputs": {"message": {}}}, None
            ),
        }
        for name, process, inputs in (
            ("echo", "echo", {"message": "hello", "numbers": [1, 2], "file": PICTURE}),
            ("fail", "fail", {}),
            ("slow", "echo", {"message": "hello", "pause": 86_400}),
        ):
            told[f"{name}: executed"] = self.execute(process, {"inputs": inputs}, ASYNC)
            body = json.loads(told[f"{name}: executed"]["body"])
            job_id = (body if isinstance(body, dict) else dict(body)).get("jobID") or dict(body)["job_id"]
            if name == "slow":
                told["slow: dismissed"] = self.dismiss(job_id)
                told["slow: status"] = self.status(job_id)
            else:
                told[f"{name}: end"] = self.end(job_id)
                told[f"{name}: results"] = self.results(job_id)
        told["list"] = self.list()
        return told


if __name__ == "__main__":
    json.dump(Story(sys.argv[1]).tell(), sys.stdout)
