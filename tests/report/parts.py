"""Runs for the tests of the reports: real ones, taken from a server, and made ones, of any size and with hostile texts."""

from __future__ import annotations

from typing import Any

from simulator.apis.contract import iso
from simulator.report.model import Run, Tested
from tests.kit import Kit

START_MS = 1_893_456_000_000
"""2030-01-01T00:00:00Z."""
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'&amp; \x00\x1b[31m\u202e]]>"


def job(
    name: str = "1", *moves: tuple[int, str] | tuple[int, str, str], api: str = "ogc", kind: str = "echo"
) -> dict[str, Any]:
    """A job whose moves are (milliseconds, state, cause)."""
    history = [
        {
            "at": iso(START_MS + move[0]),
            "state": move[1],
            "cause": move[2] if len(move) > 2 else "scenarios/x.yaml:3",
        }
        for move in moves
    ]
    return {"api": api, "id": name, "kind": kind, "state": moves[-1][1], "history": history}


def call(
    at_ms: int,
    operation: str,
    status: int | None = 200,
    *,
    job: str | None = "1",
    api: str = "ogc",
    number: int = 0,
    cause: str = "",
    violations: tuple[str, ...] = (),
    retry_after: str | None = None,
    body: str = "",
    path: str = "/ogc/jobs/1",
) -> dict[str, Any]:
    """A call as the control API tells it."""
    headers = [] if retry_after is None else [["retry-after", retry_after]]
    told: dict[str, Any] = {
        "api": api,
        "operation": operation,
        "method": "GET",
        "path": path,
        "job": job,
        "status": status,
        "at": iso(START_MS + at_ms),
        "wall": iso(START_MS),
        "violations": list(violations),
        "request": {"headers": [], "body": body, "bytes": len(body), "is_cut": False},
        "response": {"headers": headers, "body": body, "bytes": len(body), "is_cut": False},
    }
    return told | ({"number": number} if number else {}) | ({"cause": cause} if cause else {})


def violation(
    message: str = "body/inputs: 1 is not of type object",
    *,
    operation: str = "execute_processes__processId__execution_post",
    pointer: str = "/inputs",
    by: str = "client",
    api: str = "ogc",
    declared: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A line of the ledger."""
    told = {"by": by, "api": api, "operation": operation, "pointer": pointer, "message": message}
    return told | {"at": iso(START_MS), "declared": declared} | more


STATUS = "get_status_jobs_job_id_get"
CANCEL = "dismiss_jobs_job_id_delete"
RESULT = "get_result_jobs_job_id_results_get"
SUBMIT = "execute_processes__processId__execution_post"


def small_run() -> Run:
    """A few tests of every outcome, as a person would look at them."""
    done = job(
        "0d6f1c1e-6d0b-4c55-9f0c-2b6a5f3c9a10",
        (0, "queued", "client"),
        (2_000, "running"),
        (6_000, "succeeded"),
    )
    calls = [
        call(0, SUBMIT, 201, job=done["id"], path="/ogc/processes/echo/execution"),
        call(0, STATUS, job=done["id"], retry_after="2"),
        call(2_000, STATUS, job=done["id"], retry_after="2"),
        call(3_000, STATUS, 503, job=done["id"], retry_after="2", cause="scenarios/x.yaml:12"),
        call(5_000, STATUS, job=done["id"], retry_after="2"),
        call(7_000, STATUS, job=done["id"]),
        call(7_000, RESULT, job=done["id"]),
    ]
    stopped = job("77", (0, "queued", "client"), (1_000, "running"), (61_000, "cancelled", "client"))
    stopped_calls = [
        call(0, SUBMIT, 201, job="77"),
        call(61_000, CANCEL, job="77"),
        call(62_000, STATUS, 404, job="78"),
    ]
    message = "body/inputs: 1 is not of type object"
    return Run(
        (
            Tested(
                "tests/test_client.py::test_a_job_is_followed_to_its_end",
                seconds=0.031,
                world="test-1",
                scenario="happy",
                seed=7,
                replay="understudy replay capsules/test-1.json",
                jobs=(done,),
                calls=tuple(calls),
            ),
            Tested(
                "tests/test_client.py::TestCancel::test_a_job_is_cancelled[slow]",
                "failed",
                0.12,
                "    def test_a_job_is_cancelled():\n>       assert client.cancel(job)\nE       AssertionError: still running",
                world="test-2",
                scenario="cancel-too-late",
                seed=8,
                replay="understudy replay capsules/test-2.json",
                jobs=(stopped, done),
                calls=(*stopped_calls, *calls),
                violations=(violation(declared=True),),
            ),
            Tested(
                "tests/test_submit.py::test_a_submit_is_well_formed",
                seconds=0.01,
                world="test-3",
                scenario="happy",
                seed=9,
                calls=(call(0, SUBMIT, 400, job=None, violations=(message,), body='{"inputs":1}'),),
                violations=(violation(message), violation(message)),
            ),
            Tested("tests/test_submit.py::test_errors", "error", 0.5, "fixture 'x' not found"),
            Tested("tests/test_submit.py::test_skips", "skipped", 0, "needs a token"),
        )
    )


def hostile_run() -> Run:
    """Every text that comes from outside wants to be markup."""
    return Run(
        (
            Tested(
                f"tests/test_x.py::test_it[{HOSTILE}]",
                "failed",
                1.5,
                f"{HOSTILE}\nlone \ud800 surrogate",
                world=HOSTILE,
                scenario=HOSTILE,
                seed=-1,
                replay=HOSTILE,
                jobs=(job(HOSTILE, (0, "queued", HOSTILE), (5, HOSTILE), kind=HOSTILE),),
                calls=(
                    call(1, STATUS, job=HOSTILE, path=HOSTILE, body=HOSTILE, cause=HOSTILE),
                    call(2, HOSTILE, None, job=HOSTILE, violations=(HOSTILE,)),
                ),
                violations=(
                    violation(HOSTILE, operation=HOSTILE, pointer=HOSTILE, kind=HOSTILE),
                    violation(HOSTILE, api="../../../etc/passwd\x00"),
                ),
            ),
        )
    )


def large_run(tests: int, calls_of_test: int) -> Run:
    """Many tests with many calls."""
    polls = tuple(call(place * 100, STATUS, number=place + 1) for place in range(calls_of_test))
    jobs = (job("1", (0, "queued", "client"), (1_000, "running"), (calls_of_test * 100, "succeeded")),)
    return Run(
        tuple(
            Tested(
                f"tests/test_many.py::test_{number}",
                jobs=jobs,
                calls=polls,
                world=f"w{number}",
                scenario="happy",
            )
            for number in range(tests)
        )
    )


def played(kit: Kit, test: str = "tests/test_kit.py::test_it", **more: Any) -> Tested:
    """What a server tells of its default world, as the test kit collects it."""
    base = "/__admin/worlds/default"
    jobs = [
        kit.get(f"{base}/jobs/{one['api']}/{one['id']}").json()
        for one in kit.get(f"{base}/jobs?limit=1000").json()["jobs"]
    ]
    calls = kit.get(f"{base}/calls?limit=1000").json()["calls"]
    return Tested(test, jobs=jobs, calls=calls, **more)
