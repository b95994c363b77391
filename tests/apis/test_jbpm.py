"""The KIE server's jobs as their clients see them: every cell of its life cycle, every error text, both formats."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from simulator.apis.jbpm import STATES, WORDS
from simulator.engine.job import State
from simulator.engine.world import Limits
from tests.kit import Answer, Kit

SERVER = "/jbpm/kie-server/services/rest/server"
JOBS = f"{SERVER}/jobs"
STOCK = "org.jbpm.executor.commands."
COMMAND = f"{STOCK}PrintOutCommand"
JSON = {"Accept": "application/json"}
XML = {"Accept": "application/xml"}
XS = 'xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
READY = "Ready to execute"
GENERAL = "Unexpected error during processing: "

FAILING = """
jobs:
  - script: [queued: 1s, running: 3s, failed: {error: {message: The printer is on fire}}]
"""


def serve(scenario: str = "happy") -> Kit:
    """A server with the jobs of a scenario (queued 1 s, running 3 s, done)."""
    return Kit(scenario, apis=("jbpm",))


def schedule(kit: Kit, command: str = COMMAND, date: Any = None, **data: Any) -> str:
    """The id of a new job with this data."""
    body = {"job-command": command, "scheduled-date": date, "request-data": data}
    answer = kit.post(JOBS, json=body)
    assert answer.status == 201, answer.text
    return str(answer.json())


def read(kit: Kit, job_id: str, query: str = "") -> dict[str, Any]:
    """The job as it is now."""
    return dict(kit.get(f"{JOBS}/{job_id}{query}", headers=JSON).json())


def status(kit: Kit, job_id: str) -> str:
    """The job's status word."""
    return str(read(kit, job_id)["request-status"])


def data_of(kit: Kit, job_id: str) -> dict[str, Any]:
    """The job's data."""
    return dict(read(kit, job_id, "?withData=true")["request-data"])


def errors_of(kit: Kit, job_id: str) -> list[dict[str, Any]]:
    """The job's failed executions."""
    return list(read(kit, job_id, "?withErrors=true")["request-errors"]["error-info-instance"])


def listed(kit: Kit, path: str = JOBS) -> list[int]:
    """Ids of a list, in its order."""
    answer = kit.get(path, headers=JSON)
    assert answer.status == 200, answer.text
    return [job["request-instance-id"] for job in answer.json()["request-info-instance"]]


def error_text(answer: Answer) -> str:
    """What an error says between its quotes."""
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text[0] == answer.text[-1] == '"'
    return answer.text[1:-1]


def job_in(kit: Kit, place: str) -> str:
    """The id of a job brought to a place in its life."""
    match place:
        case "unknown":
            return "99"
        case "DELAYED":
            return schedule(kit, date="2030-01-01T02:00:00.000Z", x="old")
        case "ERROR":
            job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand", retries=0, x="old")
        case "RETRYING":
            job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand", retries=1, retryDelay="1h", x="old")
        case _:
            job_id = schedule(kit, x="old")
    match place:
        case "RUNNING":
            kit.advance("2s")
        case "DONE" | "ERROR" | "RETRYING":
            kit.advance("4s")
        case "CANCELLED":
            kit.delete(f"{JOBS}/{job_id}")
    return job_id


# ---- the life cycle -------------------------------------------------------------------------------------------------

PLACES = ("DELAYED", "QUEUED", "RUNNING", "RETRYING", "DONE", "ERROR", "CANCELLED", "unknown")
SHOWN = {"DELAYED": "QUEUED"}
CANNOT = "400 Request data can't be updated when request is in status "

# Operation → place of the job → answer, and the status afterwards where it changes.
CELLS: dict[str, dict[str, tuple[str, str | None]]] = {
    "GET": {
        **{place: (f"200 {SHOWN.get(place, place)}", None) for place in PLACES},
        "unknown": ("404 Request with id: 99 doesn't exist", None),
    },
    "DELETE": {
        **dict.fromkeys(PLACES, ("204", None)),
        **dict.fromkeys(("DELAYED", "QUEUED", "RETRYING", "ERROR"), ("204", "CANCELLED")),
    },
    "PUT": {
        **dict.fromkeys(PLACES, ("201", None)),
        **dict.fromkeys(("RUNNING", "RETRYING", "ERROR"), ("201", "QUEUED")),
    },
    "POST data": {
        **dict.fromkeys(("DELAYED", "QUEUED", "RETRYING", "ERROR"), ("201", None)),
        **{place: (CANNOT + place, None) for place in ("RUNNING", "DONE", "CANCELLED")},
        "unknown": (f"500 {GENERAL}null\n", None),
    },
}


def call(kit: Kit, operation: str, job_id: str) -> Answer:
    """One operation on a job."""
    if operation == "POST data":
        return kit.post(f"{JOBS}/{job_id}/data", json={"x": "new", "y": 1}, headers=JSON)
    return kit.request(operation, f"{JOBS}/{job_id}", headers=JSON)


def in_words(answer: Answer) -> str:
    """An answer as the table writes it: status, and the status word or the error text, if any."""
    if not answer.content:
        return str(answer.status)
    if answer.status == 200:
        return f"200 {answer.json()['request-status']}"
    return f"{answer.status} {error_text(answer)}"


@pytest.mark.parametrize(
    ("operation", "place", "expected", "after"),
    [
        pytest.param(operation, place, *cell, id=f"{operation} of {place} answers {cell[0].strip()}")
        for operation, row in CELLS.items()
        for place, cell in row.items()
    ],
)
def test_each_operation_answers_by_the_place_of_the_job(
    operation: str, place: str, expected: str, after: str | None
) -> None:
    kit = serve()
    job_id = job_in(kit, place)
    assert in_words(call(kit, operation, job_id)) == expected
    if place != "unknown":
        assert status(kit, job_id) == (after or SHOWN.get(place, place))
        merged = operation == "POST data" and expected == "201"
        assert data_of(kit, job_id)["x"] == ("new" if merged else "old")
        assert ("y" in data_of(kit, job_id)) == merged


def test_every_state_has_a_word_and_every_word_its_states() -> None:
    assert set(WORDS) == set(State)
    assert sorted(state.value for states in STATES.values() for state in states) == sorted(
        state.value for state in State
    )
    assert set(STATES) == {"QUEUED", "RUNNING", "RETRYING", "DONE", "ERROR", "CANCELLED"}


def test_a_running_job_that_a_scenario_lets_be_cancelled_is_running_until_then() -> None:
    kit = serve("jobs:\n  - script: [running: 1h, succeeded]\n    on_cancel: {after: 5s}\n")
    job_id = schedule(kit)
    assert kit.delete(f"{JOBS}/{job_id}").status == 204
    assert status(kit, job_id) == "RUNNING"
    assert in_words(call(kit, "POST data", job_id)) == CANNOT + "RUNNING"
    kit.advance("5s")
    assert status(kit, job_id) == "CANCELLED"


def test_a_cancel_that_a_scenario_refuses_is_answered_as_any_other() -> None:
    kit = serve("jobs:\n  - script: [queued: 1h, succeeded]\n    on_cancel: refused\n")
    job_id = schedule(kit)
    assert kit.delete(f"{JOBS}/{job_id}").status == 204
    assert status(kit, job_id) == "QUEUED"


def test_a_requeued_delayed_job_keeps_its_date() -> None:
    kit = serve()
    job_id = job_in(kit, "DELAYED")
    assert kit.put(f"{JOBS}/{job_id}").status == 201
    assert read(kit, job_id)["request-scheduled-date"] == "2030-01-01T02:00:00.000Z"
    kit.advance("1h")
    assert status(kit, job_id) == "QUEUED"
    kit.advance("61m")
    assert status(kit, job_id) == "DONE"


def test_a_requeued_job_runs_again_with_its_retries_used_up_and_its_errors_kept() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand", retries=1)
    kit.advance("10s")
    before = read(kit, job_id)
    assert (before["request-status"], before["request-retries"], before["request-executions"]) == (
        "ERROR",
        0,
        2,
    )
    kit.put(f"{JOBS}/{job_id}")
    assert read(kit, job_id)["request-scheduled-date"] == before["request-scheduled-date"]
    kit.advance("10s")
    after = read(kit, job_id)
    assert (after["request-status"], after["request-retries"], after["request-executions"]) == ("ERROR", 0, 3)
    assert len(errors_of(kit, job_id)) == 3


def test_a_job_that_is_repaired_and_requeued_succeeds() -> None:
    kit = serve("""
jobs:
  - when: {request.request-data.x: bad}
    script: [running: 1s, failed]
  - script: [running: 1s, succeeded]
""")
    job_id = schedule(kit, retries=0, x="bad")
    kit.advance("1s")
    assert status(kit, job_id) == "ERROR"
    assert kit.post(f"{JOBS}/{job_id}/data", json={"x": "good"}).status == 201
    assert kit.put(f"{JOBS}/{job_id}").status == 201
    kit.advance("1s")
    assert status(kit, job_id) == "DONE"
    assert len(errors_of(kit, job_id)) == 1


def test_a_job_stuck_in_running_is_helped_by_requeuing_only() -> None:
    kit = serve("jobs:\n  - when: {request.request-data.x: stuck}\n    script: [running: forever]\n")
    job_id = schedule(kit, x="stuck")
    kit.advance("10h")
    kit.delete(f"{JOBS}/{job_id}")
    assert status(kit, job_id) == "RUNNING"
    kit.put(f"{JOBS}/{job_id}")
    assert status(kit, job_id) in ("QUEUED", "RUNNING")
    assert read(kit, job_id)["request-scheduled-date"] == "2030-01-01T10:00:00.000Z"


def test_changing_the_data_changes_nothing_but_the_data() -> None:
    kit = serve()
    job_id = schedule(kit, businessKey="k", retries=2, deploymentId="c", processInstanceId=7, a=1)
    changes = {"businessKey": "other", "retries": 9, "deploymentId": "d", "processInstanceId": 8, "a": None}
    before = read(kit, job_id)
    assert kit.post(f"{JOBS}/{job_id}/data", json=changes).status == 201
    assert read(kit, job_id) == before
    assert data_of(kit, job_id) == changes
    assert listed(kit, f"{JOBS}/keys/k") == listed(kit, f"{JOBS}/containers/c") == [int(job_id)]
    assert listed(kit, f"{JOBS}/processes/instances/8") == []


# ---- submitting -----------------------------------------------------------------------------------------------------


def test_a_new_job_is_shown_with_every_key_and_nulls_where_there_is_nothing() -> None:
    kit = serve()
    job_id = schedule(kit)
    assert read(kit, job_id) == {
        "request-instance-id": int(job_id),
        "request-status": "QUEUED",
        "request-business-key": None,
        "request-message": READY,
        "request-retries": 3,
        "request-executions": 0,
        "request-command": COMMAND,
        "request-scheduled-date": "2030-01-01T00:00:00.000Z",
        "request-data": None,
        "response-data": None,
        "request-errors": None,
        "request-container-id": None,
    }


@pytest.mark.parametrize("body", [{}, {"request-data": None}, {"request-data": {}}, {"unknown": 1}])
def test_the_command_alone_is_enough(body: dict[str, Any]) -> None:
    kit = serve()
    answer = kit.post(JOBS, json={"job-command": "org.acme.Mail"} | body)
    assert (answer.status, answer.headers["content-type"]) == (201, "application/json")
    view = read(kit, answer.text, "?withData=true&withErrors=true")
    assert (view["request-data"], view["response-data"]) == ({}, {})
    assert view["request-errors"] == {"error-info-instance": []}


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ({"businessKey": "order-4711"}, {"request-business-key": "order-4711"}),
        ({"retries": 0}, {"request-retries": 0}),
        ({"retries": "5"}, {"request-retries": 5}),
        ({"retries": None}, {"request-retries": 3}),
        ({"deploymentId": "orders"}, {"request-container-id": "orders"}),
        ({"DeploymentId": "orders"}, {"request-container-id": "orders"}),
        ({"DeploymentId": "first", "deploymentId": "second"}, {"request-container-id": "first"}),
    ],
)
def test_some_keys_of_the_data_show_at_the_job(data: dict[str, Any], shown: dict[str, Any]) -> None:
    kit = serve()
    job_id = schedule(kit, **data)
    assert read(kit, job_id).items() >= shown.items()
    assert data_of(kit, job_id) == data


def test_the_container_of_the_query_goes_into_the_data() -> None:
    kit = serve()
    answer = kit.post(f"{JOBS}?containerId=orders", json={"job-command": COMMAND})
    assert read(kit, answer.text)["request-container-id"] == "orders"
    assert data_of(kit, answer.text) == {"deploymentId": "orders"}
    assert listed(kit, f"{JOBS}/containers/orders") == [int(answer.text)]


def test_a_retry_delay_comes_back_as_milliseconds() -> None:
    kit = serve()
    job_id = schedule(kit, retryDelay="5s, 1m,1h30m,2D,250ms,7")
    delays = [5_000, 60_000, 5_400_000, 172_800_000, 250, 7]
    assert data_of(kit, job_id) == {"retryDelay": delays}


@pytest.mark.parametrize(
    ("date", "due"),
    [
        ("2030-01-01T00:05:00.000Z", "2030-01-01T00:05:00.000Z"),
        ("2030-01-01T00:05:00Z", "2030-01-01T00:05:00.000Z"),
        ("2030-01-01T00:05:00.000+0000", "2030-01-01T00:05:00.000Z"),
        ("2030-01-01T02:05:00+02:00", "2030-01-01T00:05:00.000Z"),
        ("2030-01-01T00:05:00", "2030-01-01T00:05:00.000Z"),
        ("2030-01-02", "2030-01-02T00:00:00.000Z"),
        (1893456300000, "2030-01-01T00:05:00.000Z"),
        ({"java.util.Date": 1893456300000}, "2030-01-01T00:05:00.000Z"),
        ({"java.util.Date": "2030-01-01T00:05:00Z"}, "2030-01-01T00:05:00.000Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000Z"),
    ],
)
def test_a_job_waits_for_its_date_in_whatever_form_it_comes(date: Any, due: str) -> None:
    kit = serve()
    job_id = schedule(kit, date=date)
    assert read(kit, job_id)["request-scheduled-date"] == due
    kit.advance("4m59s")
    assert status(kit, job_id) == "QUEUED"


@pytest.mark.parametrize("date", ["2029-12-31T23:00:00Z", -62135596800000, "0001-01-01T00:00:00Z", 0.0])
def test_a_job_with_a_past_date_is_due_at_once(date: Any) -> None:
    kit = serve()
    job_id = schedule(kit, date=date)
    assert read(kit, job_id)["request-scheduled-date"] < "2030"
    kit.advance("4s")
    assert status(kit, job_id) == "DONE"


def test_the_scheduled_date_is_the_due_time_and_then_the_start() -> None:
    kit = serve()
    job_id = schedule(kit, date="2030-01-01T00:00:10Z")
    kit.advance("10s")
    assert read(kit, job_id)["request-scheduled-date"] == "2030-01-01T00:00:10.000Z"
    kit.advance("1s")
    assert status(kit, job_id) == "RUNNING"
    assert read(kit, job_id)["request-scheduled-date"] == "2030-01-01T00:00:11.000Z"
    kit.advance("1h")
    assert read(kit, job_id)["request-scheduled-date"] == "2030-01-01T00:00:11.000Z"


def test_one_worker_takes_jobs_by_due_time_and_then_by_priority() -> None:
    kit = serve("workers: {jbpm: 1}\njobs:\n  - script: [running: 10s, succeeded]\n")
    busy = schedule(kit)
    low = schedule(kit, priority=-4)
    high = schedule(kit, priority=12)
    usual = schedule(kit)
    overdue = schedule(kit, date="2029-01-01", priority=0)
    order = []
    for _ in range(5):
        order += [str(number) for number in listed(kit, f"{JOBS}?status=RUNNING")]
        kit.advance("10s")
    assert order == [busy, overdue, high, usual, low]


# ---- retries --------------------------------------------------------------------------------------------------------


def test_a_failing_job_is_repeated_until_no_retries_are_left() -> None:
    kit = serve(FAILING)
    job_id = schedule(kit, retries=2)
    seen = []
    for _ in range(4):
        kit.advance("3s")
        view = read(kit, job_id)
        seen.append((view["request-status"], view["request-retries"], view["request-executions"]))
    assert seen == [("RUNNING", 2, 0), ("RUNNING", 1, 1), ("RUNNING", 0, 2), ("ERROR", 0, 3)]
    assert read(kit, job_id)["request-message"] == READY


def test_a_retry_waits_for_its_delay_and_the_last_one_repeats() -> None:
    kit = serve(FAILING)
    job_id = schedule(kit, retries=3, retryDelay="5s,1m")
    kit.advance("4s")
    seen = []
    for wait in ("8s", "63s", "63s", "1s"):
        view = read(kit, job_id)
        seen.append((view["request-status"], view["request-retries"], view["request-scheduled-date"][14:19]))
        kit.advance(wait)
    assert seen == [
        ("RETRYING", 2, "00:09"),
        ("RETRYING", 1, "01:12"),
        ("RETRYING", 0, "02:15"),
        ("ERROR", 0, "02:15"),
    ]


def test_a_requeued_retrying_job_keeps_the_date_of_its_retry() -> None:
    kit = serve(FAILING)
    job_id = schedule(kit, retries=3, retryDelay="1h")
    kit.advance("4s")
    kit.put(f"{JOBS}/{job_id}")
    view = read(kit, job_id)
    assert (view["request-status"], view["request-scheduled-date"]) == ("QUEUED", "2030-01-01T01:00:04.000Z")


def test_each_failed_execution_is_an_error_of_its_own() -> None:
    kit = serve(FAILING)
    first, second = schedule(kit, retries=1), schedule(kit, retries=0)
    kit.advance("1m")
    errors = errors_of(kit, first)
    assert [error["error-date"] for error in errors] == [
        "2030-01-01T00:00:04.000Z",
        "2030-01-01T00:00:07.000Z",
    ]
    assert {error["request-instance-id"] for error in errors} == {int(first)}
    assert {error["error-message"] for error in errors} == {"The printer is on fire"}
    assert all("The printer is on fire\n\tat " + COMMAND in error["error-stacktrace"] for error in errors)
    ids = [error["error-instance-id"] for error in (*errors, *errors_of(kit, second))]
    assert len(set(ids)) == 3
    assert min(ids) > 0
    assert errors_of(kit, first) == errors


def test_long_error_texts_are_cut() -> None:
    kit = serve(f"jobs:\n  - script: [failed: {{error: {{message: {'m' * 300}, details: {'d' * 6000}}}}}]\n")
    job_id = schedule(kit, retries=0)
    [error] = errors_of(kit, job_id)
    assert (error["error-message"], error["error-stacktrace"]) == ("m" * 255, "d" * 5000)


def test_a_flaky_job_is_done_and_keeps_its_error() -> None:
    script = "[running: 1s, {retrying: 5s, message: No route to host}, running: 1s, succeeded]"
    kit = serve(f"jobs:\n  - script: {script}\n")
    job_id = schedule(kit)
    kit.advance("1s")
    retrying = read(kit, job_id)
    assert (retrying["request-status"], retrying["request-retries"]) == ("RETRYING", 2)
    assert retrying["request-scheduled-date"] == "2030-01-01T00:00:06.000Z"
    kit.advance("6s")
    done = read(kit, job_id)
    assert (done["request-status"], done["request-retries"], done["request-executions"]) == ("DONE", 2, 2)
    assert [error["error-message"] for error in errors_of(kit, job_id)] == ["No route to host"]


# ---- stock commands -------------------------------------------------------------------------------------------------


def test_print_out_is_done_with_an_empty_response() -> None:
    kit = serve()
    job_id = schedule(kit)
    kit.advance("4s")
    view = read(kit, job_id, "?withData=true")
    assert (view["request-status"], view["response-data"]) == ("DONE", {})


def test_the_response_of_a_scenario_is_shown() -> None:
    kit = serve("jobs:\n  - script: [succeeded: {result: {pages: 3, pdf: null}}]\n")
    assert read(kit, schedule(kit), "?withData=true")["response-data"] == {"pages": 3, "pdf": None}


@pytest.mark.parametrize("result", ["[1, 2]", "done", "7"])
def test_a_result_that_is_no_map_cannot_be_shown(result: str) -> None:
    kit = serve(f"jobs:\n  - script: [succeeded: {{result: {result}}}]\n")
    assert read(kit, schedule(kit), "?withData=true")["response-data"] == {}


def test_job_execution_error_throws_in_every_execution() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand")
    kit.advance("1m")
    view = read(kit, job_id)
    assert (view["request-status"], view["request-executions"], view["request-message"]) == (
        "ERROR",
        4,
        READY,
    )
    messages = [error["error-message"] for error in errors_of(kit, job_id)]
    assert messages == ["Throwing error for testing purpose"] * 4


def test_delayed_print_out_runs_for_ten_seconds() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}DelayedPrintOutCommand")
    kit.advance("10999ms")
    assert status(kit, job_id) == "RUNNING"
    kit.advance("1ms")
    assert status(kit, job_id) == "DONE"


@pytest.mark.parametrize("delay", [5_000_000_000, {"java.lang.Long": 15_000}])
def test_delayed_print_out_runs_for_a_delay_that_is_a_long(delay: Any) -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}DelayedPrintOutCommand", delay=delay)
    wanted = delay if isinstance(delay, int) else 15_000
    kit.advance(f"{wanted + 999}ms")
    assert status(kit, job_id) == "RUNNING"
    kit.advance("1ms")
    assert status(kit, job_id) == "DONE"
    assert data_of(kit, job_id) == {"delay": wanted}


def test_delayed_print_out_takes_its_delay_from_xml() -> None:
    kit = serve()
    body = submission(f"{STOCK}DelayedPrintOutCommand", entry("delay", "long", "15000"))
    kit.post(JOBS, data=body, headers={"Content-Type": "application/xml"})
    kit.advance("15999ms")
    assert status(kit, "1") == "RUNNING"
    kit.advance("1ms")
    assert status(kit, "1") == "DONE"


def test_a_delay_that_was_an_integer_is_repaired_by_a_long_in_xml() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}DelayedPrintOutCommand", retries=0, delay=5_000)
    kit.advance("15s")
    assert status(kit, job_id) == "ERROR"
    body = f"<map-type><entries>{entry('delay', 'long', '5000')}</entries></map-type>"
    assert (
        kit.post(f"{JOBS}/{job_id}/data", data=body, headers={"Content-Type": "application/xml"}).status
        == 201
    )
    kit.put(f"{JOBS}/{job_id}")
    kit.advance("6s")
    assert status(kit, job_id) == "DONE"
    assert data_of(kit, job_id) == {"retries": 0, "delay": 5_000}


@pytest.mark.parametrize(
    ("delay", "message"),
    [
        (15_000, "java.lang.Integer cannot be cast to java.lang.Long"),
        ("15s", "java.lang.String cannot be cast to java.lang.Long"),
        (1.5, "java.lang.Double cannot be cast to java.lang.Long"),
        (True, "java.lang.Boolean cannot be cast to java.lang.Long"),
        ([1], "java.util.ArrayList cannot be cast to java.lang.Long"),
        ({"a": 1}, "java.util.LinkedHashMap cannot be cast to java.lang.Long"),
    ],
)
def test_delayed_print_out_fails_with_a_delay_that_is_no_long(delay: Any, message: str) -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}DelayedPrintOutCommand", retries=0, delay=delay)
    kit.advance("1m")
    assert status(kit, job_id) == "ERROR"
    assert [error["error-message"] for error in errors_of(kit, job_id)] == [message]


def test_reoccurring_print_out_leaves_a_fresh_job_behind_each_time() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}ReoccurringPrintOutCommand", businessKey="again")
    kit.advance("4s")
    assert status(kit, job_id) == "DONE"
    [repeat] = [number for number in listed(kit, f"{JOBS}/keys/again") if str(number) != job_id]
    view = read(kit, str(repeat))
    assert (view["request-status"], view["request-executions"]) == ("QUEUED", 0)
    assert view["request-scheduled-date"] == "2030-01-01T00:00:05.000Z"
    assert view["request-message"] == "Rescheduled reoccurring job"
    assert read(kit, job_id)["request-message"] == READY
    kit.advance("9s")
    assert len(listed(kit, f"{JOBS}/keys/again")) == 3


def test_log_cleanup_counts_what_it_removed_and_comes_back_a_day_later() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", DateFormat="yyyy-MM-dd'T'HH:mm", SingleRun="false")
    assert read(kit, job_id, "?withData=true")["response-data"] == {}
    kit.advance("4s")
    response = read(kit, job_id, "?withData=true")["response-data"]
    assert {
        "RequestInfoLogsRemoved": 0,
        "ErrorInfoLogsRemoved": 0,
        "BAMLogRemoved": 0,
    }.items() <= response.items()
    [repeat] = listed(kit)
    assert read(kit, str(repeat))["request-scheduled-date"] == "2030-01-02T00:00:04.000Z"


@pytest.mark.parametrize(
    ("next_run", "due"),
    [
        ("10s", "2030-01-01T00:00:14.000Z"),
        ("1d", "2030-01-02T00:00:04.000Z"),
        ("1h30m", "2030-01-01T01:30:04.000Z"),
        ("250", "2030-01-01T00:00:04.250Z"),
        ("1ms", "2030-01-01T00:00:04.100Z"),
        (None, "2030-01-02T00:00:04.000Z"),
    ],
)
def test_log_cleanup_comes_back_when_it_is_told_to(next_run: str | None, due: str) -> None:
    kit = serve()
    schedule(kit, f"{STOCK}LogCleanupCommand", NextRun=next_run)
    kit.advance("4s")
    [repeat] = listed(kit)
    view = read(kit, str(repeat), "?withData=true")
    assert (view["request-scheduled-date"], view["request-data"]) == (due, {"NextRun": next_run})
    assert view["request-message"] == "Rescheduled reoccurring job"


def test_log_cleanup_that_runs_once_does_not_come_back_whenever_told_to() -> None:
    kit = serve()
    schedule(kit, f"{STOCK}LogCleanupCommand", NextRun="10s", SingleRun="true")
    kit.advance("1h")
    assert listed(kit) == []


EXECUTOR_LOGS = {"ErrorInfoLogsRemoved", "RequestInfoLogsRemoved", "ExecutionErrorInfoLogsRemoved"}
TASK_LOGS = {"TaskAuditLogRemoved", "TaskEventLogRemoved", "TaskVariableLogRemoved"}
PROCESS_LOGS = {"NodeInstanceLogRemoved", "VariableInstanceLogRemoved", "ProcessInstanceLogRemoved"}


@pytest.mark.parametrize(
    ("skipped", "counted"),
    [
        ({}, EXECUTOR_LOGS | TASK_LOGS | PROCESS_LOGS),
        ({"SkipExecutorLog": "true"}, TASK_LOGS | PROCESS_LOGS),
        ({"SkipTaskLog": "TRUE"}, EXECUTOR_LOGS | PROCESS_LOGS),
        ({"SkipProcessLog": "true", "SkipTaskLog": "no"}, EXECUTOR_LOGS | TASK_LOGS),
        ({"SkipExecutorLog": "true", "SkipTaskLog": "true", "SkipProcessLog": "true"}, set()),
    ],
)
def test_log_cleanup_counts_only_what_it_looked_at(skipped: dict[str, str], counted: set[str]) -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", SingleRun="true", **skipped)
    kit.advance("4s")
    response = read(kit, job_id, "?withData=true")["response-data"]
    assert response == dict.fromkeys(counted | {"BAMLogRemoved"}, 0)


@pytest.mark.parametrize("word", ["true", "TRUE"])
def test_log_cleanup_runs_once_if_told_so(word: str) -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", SingleRun=word)
    kit.advance("4s")
    assert status(kit, job_id) == "DONE"
    assert listed(kit) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"DateFormat": "bad"}, "Illegal pattern character 'b'"),
        ({"DateFormat": "yyyy-'T"}, "Unterminated quote"),
        ({"DateFormat": 5}, "java.lang.Integer cannot be cast to java.lang.String"),
        ({"SingleRun": True}, "java.lang.Boolean cannot be cast to java.lang.String"),
        ({"SkipTaskLog": True}, "java.lang.Boolean cannot be cast to java.lang.String"),
        ({"NextRun": 10}, "java.lang.Integer cannot be cast to java.lang.String"),
        ({"NextRun": "soon"}, "Error parsing time string: [ soon ]"),
        ({"OlderThan": {"java.util.Date": 0}}, "java.util.Date cannot be cast to java.lang.String"),
    ],
)
def test_log_cleanup_fails_with_data_it_cannot_use(data: dict[str, Any], message: str) -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", retries=0, **data)
    kit.advance("4s")
    assert status(kit, job_id) == "ERROR"
    assert [error["error-message"] for error in errors_of(kit, job_id)] == [message]
    assert listed(kit) == []


def test_log_cleanup_succeeds_once_its_pattern_is_repaired() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", retries=0, DateFormat="bad", SingleRun="true")
    kit.advance("4s")
    assert status(kit, job_id) == "ERROR"
    assert kit.post(f"{JOBS}/{job_id}/data", json={"DateFormat": "yyyy"}).status == 201
    assert kit.put(f"{JOBS}/{job_id}").status == 201
    kit.advance("4s")
    assert status(kit, job_id) == "DONE"


def test_data_that_is_broken_before_the_job_runs_makes_it_fail() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}LogCleanupCommand", retries=0)
    assert kit.post(f"{JOBS}/{job_id}/data", json={"DateFormat": "bad"}).status == 201
    kit.advance("4s")
    assert status(kit, job_id) == "ERROR"


# ---- lists ----------------------------------------------------------------------------------------------------------


def one_of_each(kit: Kit) -> dict[str, int]:
    """A job in every place, all with the same key, container and process instance."""
    same = {"businessKey": "k", "deploymentId": "c", "processInstanceId": 7}
    ids = {}
    for place in ("DONE", "ERROR", "RETRYING", "CANCELLED"):
        steering = {"retries": int(place == "RETRYING"), "retryDelay": "1h"}
        command = COMMAND if place in ("DONE", "CANCELLED") else f"{STOCK}JobExecutionErrorCommand"
        ids[place] = int(schedule(kit, command, **steering, **same))
    kit.delete(f"{JOBS}/{ids['CANCELLED']}")
    kit.advance("4s")
    ids["RUNNING"] = int(schedule(kit, **same))
    kit.advance("1s")
    ids["QUEUED"] = int(schedule(kit, **same))
    ids["DELAYED"] = int(schedule(kit, date="2030-01-02", **same))
    schedule(kit, "org.acme.Other", date="2030-01-03")
    return ids


BY = {
    "keys": f"{JOBS}/keys/k",
    "containers": f"{JOBS}/containers/c",
    "processes": f"{JOBS}/processes/instances/7",
}


@pytest.mark.parametrize(
    ("by", "places"),
    [
        ("keys", ("DONE", "ERROR", "RETRYING", "CANCELLED", "RUNNING", "QUEUED", "DELAYED")),
        ("containers", ("QUEUED", "DELAYED")),
        ("processes", ("QUEUED", "DELAYED")),
    ],
)
def test_without_a_status_each_list_has_its_own_idea(by: str, places: tuple[str, ...]) -> None:
    kit = serve()
    ids = one_of_each(kit)
    assert listed(kit, BY[by]) == [ids[place] for place in places]


def test_a_list_by_command_has_every_status_and_the_oldest_first() -> None:
    kit = serve()
    ids = one_of_each(kit)
    assert listed(kit, f"{JOBS}/commands/{COMMAND}") == [
        ids[place] for place in ("DONE", "CANCELLED", "RUNNING", "QUEUED", "DELAYED")
    ]


def test_the_list_by_status_has_the_queued_jobs_and_the_newest_first() -> None:
    kit = serve()
    ids = one_of_each(kit)
    assert listed(kit) == [ids["DELAYED"] + 1, ids["DELAYED"], ids["QUEUED"]]
    assert listed(kit, f"{JOBS}?status=DONE&status=ERROR&status=DONE") == [ids["ERROR"], ids["DONE"]]


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("word", STATES)
def test_a_list_can_be_narrowed_to_a_status(by: str, word: str) -> None:
    kit = serve()
    ids = one_of_each(kit)
    expected = [number for place, number in ids.items() if SHOWN.get(place, place) == word]
    assert listed(kit, f"{BY[by]}?status={word}") == expected


@pytest.mark.parametrize(
    "path",
    [
        "keys/nobody",
        "commands/org.acme.None",
        "containers/none",
        "processes/instances/8",
        "processes/instances/-1",
    ],
)
def test_what_nobody_has_is_an_empty_list(path: str) -> None:
    kit = serve()
    one_of_each(kit)
    assert listed(kit, f"{JOBS}/{path}") == []


def test_a_process_instance_may_come_with_a_fraction() -> None:
    kit = serve()
    job_id = schedule(kit, processInstanceId=7.9)
    assert listed(kit, f"{JOBS}/processes/instances/7") == [int(job_id)]


def test_the_index_of_a_badly_encoded_status_is_ignored() -> None:
    kit = serve()
    ids = one_of_each(kit)
    assert listed(kit, f"{BY['keys']}?status[0]=QUEUED") == sorted(ids.values())
    assert len(listed(kit, f"{JOBS}?status%5B0%5D=DONE")) == 3


def test_jobs_of_a_list_have_neither_data_nor_errors() -> None:
    kit = serve()
    job_id = schedule(kit, f"{STOCK}JobExecutionErrorCommand", retries=0)
    kit.advance("1m")
    answer = kit.get(f"{JOBS}?status=ERROR&withData=true&withErrors=true", headers=JSON)
    [job] = answer.json()["request-info-instance"]
    assert job == read(kit, job_id)
    assert [job[key] for key in ("request-data", "response-data", "request-errors")] == [None, None, None]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", list(range(12, 2, -1))),
        ("page=1", [2, 1]),
        ("page=2", []),
        ("page=2147483647", []),
        ("pageSize=5", [12, 11, 10, 9, 8]),
        ("page=2&pageSize=5", [2, 1]),
        ("page=1&pageSize=1", [11]),
        ("pageSize=0", list(range(12, 0, -1))),
        ("pageSize=-3", list(range(12, 0, -1))),
        ("page=3&pageSize=-1", list(range(12, 0, -1))),
        ("pageSize=2147483647", list(range(12, 0, -1))),
    ],
)
def test_a_list_comes_in_pages(query: str, expected: list[int]) -> None:
    kit = serve()
    for _ in range(12):
        schedule(kit)
    assert listed(kit, f"{JOBS}?{query}") == expected


@pytest.mark.parametrize(
    ("flag", "counts"),
    [("true", True), ("TRUE", True), ("false", False), ("yes", False), ("1", False), ("", False)],
)
def test_only_the_word_true_is_true(flag: str, counts: bool) -> None:
    kit = serve()
    view = read(kit, schedule(kit), f"?withData={flag}&withErrors={flag}")
    assert (view["request-data"] is not None, view["request-errors"] is not None) == (counts, counts)


# ---- errors ---------------------------------------------------------------------------------------------------------

BROKEN_JSON = {"data": b'{"job-command": ', "headers": {"Content-Type": "application/json"}}
BROKEN_XML = {"data": b"<job-request-instance>", "headers": {"Content-Type": "application/xml"}}
BOMB = b'<!DOCTYPE x [<!ENTITY e "e">]><map-type>&e;</map-type>'


def job(command: Any = COMMAND, **data: Any) -> dict[str, Any]:
    """The arguments of a POST of a job."""
    return {"json": {"job-command": command, "request-data": data}}


def cast(sent: str, wanted: str) -> str:
    """What Java says of a value of the wrong class."""
    return f"{GENERAL}java.{sent} cannot be cast to java.lang.{wanted}\n"


ERRORS: dict[str, tuple[str, str, dict[str, Any], int, str]] = {
    "reading an unknown id": ("GET", "/99", {}, 404, "Request with id: 99 doesn't exist"),
    "reading a negative id": ("GET", "/-5", {}, 404, "Request with id: -5 doesn't exist"),
    "a command that is none": ("POST", "", job("no such"), 500, "Invalid command type no such"),
    "a command without a package": ("POST", "", job("Mail"), 500, "Invalid command type Mail"),
    "a command of nothing": ("POST", "", job(""), 500, "Invalid command type "),
    "no command": ("POST", "", {"json": {}}, 500, f"{GENERAL}null\n"),
    "a null command": ("POST", "", job(None), 500, f"{GENERAL}null\n"),
    "an empty body": ("POST", "", {}, 500, f"{GENERAL}null\n"),
    "empty new data": ("POST", "/1/data", {}, 500, f"{GENERAL}null\n"),
    "broken JSON": ("POST", "", BROKEN_JSON, 500, f"{GENERAL}Error unmarshalling input\n"),
    "broken JSON data": ("POST", "/1/data", BROKEN_JSON, 500, f"{GENERAL}Error unmarshalling input\n"),
    "JSON that is no object": ("POST", "", {"json": [1]}, 500, f"{GENERAL}Error unmarshalling input\n"),
    "new data that is no map": (
        "POST",
        "/1/data",
        {"json": [1]},
        500,
        f"{GENERAL}Error unmarshalling input\n",
    ),
    "JSON too deep to be given back": (
        "POST",
        "/1/data",
        {"data": b'{"a":' * 500 + b"1" + b"}" * 500, "headers": {"Content-Type": "application/json"}},
        500,
        f"{GENERAL}Error unmarshalling input\n",
    ),
    "data that is no map": (
        "POST",
        "",
        {"json": {"job-command": COMMAND, "request-data": [1]}},
        500,
        f"{GENERAL}Error unmarshalling input\n",
    ),
    "an unreadable date": (
        "POST",
        "",
        {"json": {"job-command": COMMAND, "scheduled-date": "soon"}},
        500,
        f"{GENERAL}Error unmarshalling input\n",
    ),
    "broken XML": (
        "POST",
        "",
        BROKEN_XML,
        500,
        f"{GENERAL}Can't unmarshall input string: <job-request-instance>\n",
    ),
    "XML with a DTD": (
        "POST",
        "/1/data",
        {"data": BOMB, "headers": {"Content-Type": "application/xml"}},
        500,
        f"{GENERAL}Can't unmarshall input string: {BOMB.decode()}\n",
    ),
    "XML without a command": (
        "POST",
        "",
        {"data": b"<job-request-instance/>", "headers": {"Content-Type": "application/xml"}},
        500,
        f"{GENERAL}null\n",
    ),
    "a business key that is a number": ("POST", "", job(businessKey=5), 500, cast("lang.Integer", "String")),
    "a priority that is a text": ("POST", "", job(priority="5"), 500, cast("lang.String", "Integer")),
    "a priority too large": ("POST", "", job(priority=2**31), 500, cast("lang.Long", "Integer")),
    "a process instance that is a text": (
        "POST",
        "",
        job(processInstanceId="7"),
        500,
        cast("lang.String", "Number"),
    ),
    "a retry delay that is a number": ("POST", "", job(retryDelay=5), 500, cast("lang.Integer", "String")),
    "a container that is a list": ("POST", "", job(deploymentId=[1]), 500, cast("util.ArrayList", "String")),
    "an owner that is a truth": ("POST", "", job(owner=True), 500, cast("lang.Boolean", "String")),
    "retries that are no number": ("POST", "", job(retries="x"), 500, f'{GENERAL}For input string: "x"\n'),
    "a retry delay that is none": (
        "POST",
        "",
        job(retryDelay="soon"),
        500,
        f"{GENERAL}Error parsing time string: [ soon ]\n",
    ),
    "an unknown status": (
        "GET",
        "?status=FOO",
        {},
        500,
        f"{GENERAL}No enum constant org.kie.api.executor.STATUS.FOO\n",
    ),
    "an unknown status among others": (
        "GET",
        "/keys/k?status=DONE&status=done",
        {},
        500,
        f"{GENERAL}No enum constant org.kie.api.executor.STATUS.done\n",
    ),
    "statuses joined by commas": (
        "GET",
        "?status=DONE,ERROR",
        {},
        500,
        f"{GENERAL}No enum constant org.kie.api.executor.STATUS.DONE,ERROR\n",
    ),
    "an empty status": (
        "GET",
        "?status=",
        {},
        500,
        f"{GENERAL}No enum constant org.kie.api.executor.STATUS.\n",
    ),
    "a negative page": (
        "GET",
        "?page=-1",
        {},
        500,
        f"{GENERAL}Negative value (-1) passed to setFirstResult\n",
    ),
    "changing an unknown job": ("POST", "/99/data", {"json": {}}, 500, f"{GENERAL}null\n"),
    "changing a cancelled job": (
        "POST",
        "/2/data",
        {"json": {}},
        400,
        "Request data can't be updated when request is in status CANCELLED",
    ),
}


@pytest.mark.parametrize(("method", "path", "more", "expected", "text"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("accept", ["application/json", "application/xml"])
def test_each_error_is_quoted_text_whatever_is_accepted(
    method: str, path: str, more: dict[str, Any], expected: int, text: str, accept: str
) -> None:
    kit = serve()
    schedule(kit)
    kit.delete(f"{JOBS}/{schedule(kit)}")
    headers = {**more.get("headers", {}), "Accept": accept}
    answer = kit.request(method, JOBS + path, **{**more, "headers": headers})
    assert (answer.status, error_text(answer)) == (expected, text)
    assert listed(kit, f"{JOBS}/commands/{COMMAND}") == [1, 2]


@pytest.mark.parametrize(
    "path",
    [
        "/abc",
        "/1.5",
        "/99999999999999999999",
        "/processes/instances/abc",
        "?page=abc",
        "?page=",
        "?page=1.5",
        "?page=99999999999",
        "?pageSize=abc",
        "?pageSize=-99999999999",
        "/keys/k?page=x",
        "/nothing/here",
    ],
)
def test_a_word_for_a_number_is_not_found(path: str) -> None:
    answer = serve().get(JOBS + path)
    assert answer.status == 404
    assert '"' not in error_text(answer)


@pytest.mark.parametrize(("method", "expected"), [("DELETE", 204), ("PUT", 201)])
def test_cancel_and_requeue_say_yes_to_ids_that_cannot_be(method: str, expected: int) -> None:
    for job_id in ("0", "-5", "9223372036854775807"):
        answer = serve().request(method, f"{JOBS}/{job_id}?containerId=any")
        assert (answer.status, answer.content) == (expected, b"")


def test_a_method_that_is_not_there_is_refused_in_quotes() -> None:
    answer = serve().request("PATCH", JOBS)
    assert answer.status == 405
    assert "PATCH" in error_text(answer)


def test_a_full_world_takes_no_more_jobs() -> None:
    kit = Kit(apis=("jbpm",), limits=Limits(jobs=1))
    schedule(kit)
    answer = kit.post(JOBS, json={"job-command": COMMAND})
    assert answer.status == 503
    assert "--max-jobs" in error_text(answer)


def test_a_body_too_large_is_refused_in_quotes() -> None:
    kit = Kit(apis=("jbpm",), body_bytes_max=100)
    answer = kit.post(JOBS, json={"job-command": COMMAND, "request-data": {"x": "x" * 100}})
    assert answer.status == 413
    assert "100" in error_text(answer)


def test_a_conversation_is_echoed_on_every_answer() -> None:
    kit = serve()
    headers = {"X-KIE-ConversationId": "talk-1"}
    schedule(kit)
    answers = [
        kit.post(JOBS, json={"job-command": COMMAND}, headers=headers),
        kit.get(JOBS, headers=headers),
        kit.get(f"{JOBS}/1", headers=headers),
        kit.get(f"{JOBS}/99", headers=headers),
        kit.get(f"{JOBS}/keys/k", headers=headers),
        kit.post(f"{JOBS}/1/data", json={}, headers=headers),
        kit.put(f"{JOBS}/1", headers=headers),
        kit.delete(f"{JOBS}/1", headers=headers),
    ]
    assert [answer.headers["x-kie-conversationid"] for answer in answers] == ["talk-1"] * 8
    assert "x-kie-conversationid" not in kit.get(JOBS).headers


# ---- formats --------------------------------------------------------------------------------------------------------


def entry(key: str, type_: str, text: str) -> str:
    """One entry of an XML map."""
    return f'<entry><key>{key}</key><value xsi:type="xs:{type_}" {XS}>{text}</value></entry>'


def submission(command: str, entries: str = "", more: str = "") -> str:
    """A job to submit, in XML."""
    data = f"<data>{entries}</data>" if entries else ""
    return f"<job-request-instance><job-command>{command}</job-command>{more}{data}</job-request-instance>"


NEGOTIATION: list[tuple[str | None, str | None, str]] = [
    # Accept, Content-Type of the request, media type of the answer
    (None, None, "application/xml"),
    ("*/*", None, "application/xml"),
    ("application/*", None, "application/xml"),
    ("application/json", None, "application/json"),
    ("application/xml", None, "application/xml"),
    ("application/json, application/xml", None, "application/xml"),
    ("application/xml;q=0.5, application/json", None, "application/json"),
    ("text/html, application/json;q=0.2", None, "application/json"),
    (None, "application/json", "application/json"),
    ("*/*", "application/json", "application/json"),
    ("application/xml", "application/json", "application/json"),
    ("application/json", "application/xml", "application/xml"),
    ("application/json", "APPLICATION/JSON; charset=utf-8", "application/json"),
    ("application/json", "text/plain", "application/json"),
]


@pytest.mark.parametrize(("accept", "content_type", "expected"), NEGOTIATION)
@pytest.mark.parametrize("path", ["", "/1"])
def test_reading_is_answered_in_the_negotiated_format(
    path: str, accept: str | None, content_type: str | None, expected: str
) -> None:
    kit = serve()
    schedule(kit)
    headers = {"Accept": accept, "Content-Type": content_type}
    answer = kit.get(
        JOBS + path, headers={name: value for name, value in headers.items() if value is not None}
    )
    assert (answer.status, answer.headers["content-type"]) == (200, expected)
    if expected == "application/json":
        assert isinstance(answer.json(), dict)
    else:
        assert ElementTree.fromstring(answer.content).tag.startswith("request-info-instance")


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "application/xml"])
@pytest.mark.parametrize("sent", ["application/json", "application/xml"])
def test_a_job_is_answered_in_the_format_it_was_sent_in(sent: str, accept: str | None) -> None:
    body = submission(COMMAND) if sent == "application/xml" else f'{{"job-command": "{COMMAND}"}}'
    headers = {"Content-Type": sent} | ({"Accept": accept} if accept else {})
    answer = serve().post(JOBS, data=body, headers=headers)
    assert (answer.status, answer.headers["content-type"]) == (201, sent)
    if sent == "application/json":
        assert answer.content == b"1"
    else:
        assert ElementTree.fromstring(answer.content).findtext("value") == "1"


def test_a_body_that_does_not_say_what_it_is_is_taken_for_xml() -> None:
    kit = serve()
    answer = kit.post(JOBS, data=submission(COMMAND))
    assert (answer.status, answer.headers["content-type"]) == (201, "application/xml")


@pytest.mark.parametrize("accept", ["text/html", "text/plain, image/png", "application/json;q=0"])
def test_an_answer_in_another_format_is_not_acceptable(accept: str) -> None:
    answer = serve().get(JOBS, headers={"Accept": accept})
    assert answer.status == 406
    assert "application/xml" in error_text(answer)


@pytest.mark.parametrize("sent", ["text/plain", "application/x-www-form-urlencoded", "application/yaml"])
def test_a_body_in_another_format_is_not_supported(sent: str) -> None:
    kit = serve()
    for path in (JOBS, f"{JOBS}/1/data"):
        answer = kit.post(path, data=b"{}", headers={"Content-Type": sent})
        assert answer.status == 415
        assert sent in error_text(answer)


@pytest.mark.parametrize(
    "headers", [{"Accept": "text/html"}, JSON | {"Content-Type": "application/json"}, {}]
)
def test_answers_without_a_body_need_no_format(headers: dict[str, str]) -> None:
    kit = serve()
    schedule(kit)
    for answer, expected in (
        (kit.put(f"{JOBS}/1", headers=headers), 201),
        (kit.post(f"{JOBS}/1/data", json={}, headers=headers), 201),
        (kit.delete(f"{JOBS}/1", headers=headers), 204),
    ):
        assert (answer.status, answer.content) == (expected, b"")
        assert "content-type" not in answer.headers


def test_a_job_sent_in_xml_is_the_one_sent_in_json() -> None:
    kit = serve()
    xml = submission(
        COMMAND,
        entry("businessKey", "string", "k")
        + entry("retries", "int", "2")
        + entry("retryDelay", "string", "5s,1m")
        + entry("processInstanceId", "long", "77")
        + entry("deploymentId", "string", "orders")
        + entry("ratio", "double", "0.5")
        + entry("urgent", "boolean", "true")
        + entry("since", "dateTime", "2029-01-01T00:00:00+01:00")
        + "<entry><key>note</key></entry>",
        "<scheduled-date>2030-01-01T00:05:00+00:00</scheduled-date>",
    )
    assert kit.post(JOBS, data=xml, headers={"Content-Type": "application/xml"}).status == 201
    schedule(
        kit,
        date={"java.util.Date": 1893456300000},
        businessKey="k",
        retries=2,
        retryDelay="5s,1m",
        processInstanceId=77,
        deploymentId="orders",
        ratio=0.5,
        urgent=True,
        since={"java.util.Date": 1861916400000},
        note=None,
    )
    in_xml, in_json = (read(kit, job_id, "?withData=true&withErrors=true") for job_id in ("1", "2"))
    assert in_xml | {"request-instance-id": 2} == in_json
    assert listed(kit, f"{JOBS}/processes/instances/77") == [1, 2]


def test_data_changed_in_xml_is_merged_as_data_changed_in_json() -> None:
    kit = serve()
    job_id = schedule(kit, a=1, b=2)
    xml = f"<map-type><entries>{entry('b', 'string', 'two')}{entry('c', 'boolean', 'true')}</entries></map-type>"
    answer = kit.post(f"{JOBS}/{job_id}/data", data=xml, headers={"Content-Type": "application/xml"})
    assert (answer.status, answer.content) == (201, b"")
    assert data_of(kit, job_id) == {"a": 1, "b": "two", "c": True}


def test_xml_data_under_its_json_name_is_lost_without_a_word() -> None:
    kit = serve()
    body = submission(COMMAND, entry("a", "int", "1")).replace("data>", "request-data>")
    assert kit.post(JOBS, data=body, headers={"Content-Type": "application/xml"}).status == 201
    assert data_of(kit, "1") == {}


def test_a_business_key_without_a_type_is_no_text() -> None:
    body = submission(COMMAND, "<entry><key>businessKey</key><value>k</value></entry>")
    answer = serve().post(JOBS, data=body, headers={"Content-Type": "application/xml"})
    assert (answer.status, error_text(answer)) == (500, cast("util.LinkedHashMap", "String"))


def test_a_job_read_in_xml_leaves_out_what_json_shows_as_null() -> None:
    kit = serve()
    job_id = schedule(kit, a=1, many=[1, 2], note=None)
    root = ElementTree.fromstring(
        kit.get(f"{JOBS}/{job_id}?withData=true&withErrors=true", headers=XML).content
    )
    assert [child.tag for child in root] == [
        "request-instance-id",
        "request-status",
        "request-message",
        "request-retries",
        "request-executions",
        "request-command",
        "request-scheduled-date",
        "data",
        "responseData",
        "request-errors",
    ]
    assert [element.text for element in root.iterfind("data/entry/key")] == ["a", "many", "note"]
    assert [element.text for element in root.iterfind("data/entry/value")] == ["1", None]


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"java.util.Date": 0}, "1970-01-01T00:00:00.000Z"),
        ({"java.util.Date": "2030-01-01"}, "2030-01-01T00:00:00.000Z"),
        ({"java.util.Date": "soon"}, {"java.util.Date": "soon"}),
        ({"java.lang.Long": 5}, 5),
        ({"java.lang.String": "a"}, "a"),
        ({"org.acme.Person": {"name": "Mary"}}, {"org.acme.Person": {"name": "Mary"}}),
        ([{"java.util.Date": 0}, {"a": {"java.lang.Long": 5}}], ["1970-01-01T00:00:00.000Z", {"a": 5}]),
    ],
)
def test_values_under_the_name_of_their_java_class_come_back_as_the_server_writes_them(
    sent: Any, shown: Any
) -> None:
    kit = serve()
    assert data_of(kit, schedule(kit, v=sent)) == {"v": shown}


def test_a_body_that_does_not_say_what_it_is_is_read_as_what_is_accepted() -> None:
    kit = Kit(apis=("jbpm",))
    body = '{"job-command": "a.B"}'
    assert kit.post(JOBS, data=body, headers={"Accept": "application/json"}).status == 201
    assert kit.post(JOBS, data=body).status == 500
    xml = "<job-request-instance><job-command>a.B</job-command></job-request-instance>"
    assert kit.post(JOBS, data=xml).status == 201
