"""The pairs of start and get as Synapse's clients call them, from the table of pairs to the errors of failed jobs."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.apis.synapse_pairs import GONE, PAIRS, Pair
from simulator.apis.synapse_tables import TABLE, result_type
from tests.apis.test_synapse import JOBS, TOKEN, reason, server, status, stop
from tests.kit import Answer, Kit

REPO = "/synapse/repo/v1"
QUERY = f"{REPO}/entity/syn2048/table/query"
UPLOAD = f"{REPO}/entity/syn2048/table/upload/csv"
APPEND = f"{REPO}/entity/syn2048/table/append"
TRANSACTION = f"{REPO}/entity/syn2048/table/transaction"
BY_NAME = {pair.name: pair for pair in PAIRS}


def start(kit: Kit, path: str, body: Any = None) -> str:
    """The token of a new job."""
    answer = kit.post(f"{path}/async/start", json={} if body is None else body, headers=TOKEN)
    assert answer.status == 201, answer.text
    assert answer.json().keys() == {"token"}
    return str(answer.json()["token"])


def get(kit: Kit, path: str, token: str) -> Answer:
    """What the get of a pair answers."""
    return kit.get(f"{path}/async/get/{token}", headers=TOKEN)


def result(kit: Kit, path: str, body: Any = None) -> dict[str, Any]:
    """The bare result of a new job, once it is complete."""
    token = start(kit, path, body)
    kit.advance("10s")
    answer = get(kit, path, token)
    assert answer.status in (200, 201), answer.text
    return dict(answer.json())


def path_of(pair: Pair) -> str:
    return REPO + pair.path.format(id="syn2048", taskId="77")


@pytest.fixture(scope="module")
def happy() -> Kit:
    """A server of the happy scenario for stories that do not disturb each other."""
    return server()


# ---- the table --------------------------------------------------------------------------------------------------


def test_each_pair_is_documented_at_its_path(happy: Kit) -> None:
    paths = happy.front.services["synapse"].document["paths"]
    for pair in PAIRS:
        assert paths[f"{pair.path}/async/start"]["post"]["operationId"] == f"Start{pair.name}"
        got = paths[f"{pair.path}/async/get/{{asyncToken}}"]["get"]
        assert got["operationId"] == f"Get{pair.name}"
        assert sorted(status for status in got["responses"] if status < "3") == sorted(
            {str(pair.done), "202"}
        )


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_pair_answers_a_token_then_the_status_then_the_bare_result(happy: Kit, pair: Pair) -> None:
    path = path_of(pair)
    body = {"concreteType": pair.request}
    if pair.name == "TableQueryNextPage":
        body = result(happy, QUERY)["queryResult"]["nextPageToken"]
    token = start(happy, path, body)
    answer = get(happy, path, token)
    assert answer.status == 202
    assert answer.json() == status(happy, token)
    happy.advance("10s")
    answer = get(happy, path, token)
    assert answer.status == pair.done
    assert answer.json()["concreteType"] == result_type(pair.request)
    assert "jobState" not in answer.json()


@pytest.mark.parametrize(
    ("name", "done"),
    [("TableQuery", 201), ("CsvUpload", 201), ("AgentChat", 201), ("Doi", 200), ("StorageReport", 200)],
)
def test_a_complete_job_is_answered_201_except_for_a_few(name: str, done: int) -> None:
    assert BY_NAME[name].done == done


@pytest.mark.parametrize("name", ["TableQuery", "CsvUpload", "Doi"])
def test_the_path_says_the_kind_of_a_request_without_one(happy: Kit, name: str) -> None:
    pair = BY_NAME[name]
    assert status(happy, start(happy, path_of(pair), {}))["requestBody"]["concreteType"] == pair.kind


@pytest.mark.parametrize("name", ["TableQuery", "CsvUpload", "Doi"])
@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"{", b'{"concreteType": "com.example.Nothing"}'])
def test_a_start_without_a_good_body_is_a_bad_request(happy: Kit, name: str, body: bytes) -> None:
    before = happy.world.count("synapse")
    headers = TOKEN | {"Content-Type": "application/json"}
    answer = happy.post(f"{path_of(BY_NAME[name])}/async/start", data=body, headers=headers)
    assert answer.status == 400
    reason(answer)
    assert happy.world.count("synapse") == before


def test_only_a_curation_task_starts_without_a_body(happy: Kit) -> None:
    answer = happy.post(f"{REPO}/curation/task/77/execute/async/start", headers=TOKEN)
    assert answer.status == 201
    assert status(happy, answer.json()["token"])["requestBody"]["taskId"] == "77"


# ---- requests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [TRANSACTION, UPLOAD, APPEND])
def test_a_change_is_of_the_table_in_the_path_whatever_the_body_says(happy: Kit, path: str) -> None:
    request = status(happy, start(happy, path, {"entityId": "syn1"}))["requestBody"]
    assert request["entityId"] == "syn2048"
    assert all(change["entityId"] == "syn2048" for change in request.get("changes", []))


def test_a_query_keeps_the_table_that_its_body_names(happy: Kit) -> None:
    assert status(happy, start(happy, QUERY, {"entityId": "syn1"}))["requestBody"]["entityId"] == "syn1"
    assert "entityId" not in status(happy, start(happy, QUERY, {}))["requestBody"]


@pytest.mark.parametrize(
    ("path", "request_name"), [(UPLOAD, "UploadToTableRequest"), (APPEND, "AppendableRowSetRequest")]
)
def test_an_upload_and_an_append_run_as_the_only_change_of_a_transaction(
    happy: Kit, path: str, request_name: str
) -> None:
    token = start(happy, path, {"tableId": "syn2048"})
    assert status(happy, token)["requestBody"] == {
        "concreteType": TABLE + "TableUpdateTransactionRequest",
        "entityId": "syn2048",
        "changes": [
            {"tableId": "syn2048", "concreteType": TABLE + request_name, "entityId": "syn2048"},
        ],
    }
    happy.advance("10s")
    whole = status(happy, token)["responseBody"]
    assert whole["concreteType"] == TABLE + "TableUpdateTransactionResponse"
    assert whole["results"] == [get(happy, path, token).json()]


def test_a_field_that_is_null_is_a_field_that_is_not_there(happy: Kit) -> None:
    request = status(happy, start(happy, QUERY, {"partMask": None, "entityId": "syn1"}))["requestBody"]
    assert request.keys() == {"concreteType", "entityId"}


def test_a_request_that_nests_too_deeply_once_it_is_wrapped_is_a_bad_request(happy: Kit) -> None:
    for depth, expected in ((150, 201), (230, 400)):
        nested: Any = 0
        for _ in range(depth):
            nested = [nested]
        answer = happy.post(f"{UPLOAD}/async/start", json={"x": nested}, headers=TOKEN)
        assert answer.status == expected


# ---- tokens of jobs ---------------------------------------------------------------------------------------------


def test_the_token_is_the_id_of_the_job_which_can_be_stopped_by_it(happy: Kit) -> None:
    token = start(happy, QUERY)
    assert stop(happy, token).status == 204
    answer = get(happy, QUERY, token)
    assert (answer.status, answer.json()["jobCanceling"]) == (202, True)
    happy.advance("10s")
    assert get(happy, QUERY, token).status == 201


def test_a_launched_job_can_be_got_by_the_pair_of_its_kind(happy: Kit) -> None:
    request = {"concreteType": TABLE + "QueryBundleRequest", "entityId": "syn7"}
    job_id = happy.post(JOBS, json=request, headers=TOKEN).json()["jobId"]
    happy.advance("10s")
    answer = get(happy, QUERY, job_id)
    assert answer.status == 201
    assert answer.json() == status(happy, job_id)["responseBody"]


@pytest.mark.parametrize(("token", "expected"), [("1", 404), ("abc", 400), ("1a", 400), ("%20", 400)])
def test_a_token_of_no_job_is_refused(happy: Kit, token: str, expected: int) -> None:
    answer = get(happy, QUERY, token)
    assert answer.status == expected
    reason(answer)


def test_the_table_in_the_path_of_a_get_does_not_count(happy: Kit) -> None:
    token = start(happy, QUERY)
    assert get(happy, f"{REPO}/entity/syn1/table/query", token).status == 202


def test_a_token_of_another_kind_of_job_is_a_server_error_once_there_is_a_result(happy: Kit) -> None:
    token = start(happy, QUERY)
    assert get(happy, TRANSACTION, token).status == 202
    happy.advance("10s")
    for path in (TRANSACTION, UPLOAD, f"{REPO}/agent/chat"):
        answer = get(happy, path, token)
        assert answer.status == 500
        assert token in reason(answer)


@pytest.mark.parametrize("changes", [[], ["TableSchemaChangeRequest"], ["UploadToTableRequest"] * 2])
def test_a_transaction_that_is_not_one_upload_is_no_upload(happy: Kit, changes: list[str]) -> None:
    token = start(happy, TRANSACTION, {"changes": [{"concreteType": TABLE + name} for name in changes]})
    happy.advance("10s")
    assert get(happy, TRANSACTION, token).status == 201
    assert get(happy, UPLOAD, token).status == 500


def test_a_transaction_of_one_upload_is_as_good_as_an_upload(happy: Kit) -> None:
    changes = [{"concreteType": TABLE + "UploadToTableRequest"}]
    token = start(happy, TRANSACTION, {"changes": changes})
    happy.advance("10s")
    assert get(happy, UPLOAD, token).status == 201


# ---- failed jobs ------------------------------------------------------------------------------------------------


def failing(error: str, more: str = "") -> Answer:
    """The get of a query that fails with this error."""
    kit = server(f"[running: 1s, failed: {{error: {error}}}]", more)
    token = start(kit, QUERY)
    kit.advance("2s")
    return get(kit, QUERY, token)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("failed", 400),
        ("forbidden", 403),
        ("not_found", 404),
        ("conflict", 412),
        ("timeout", 500),
        ("unavailable", 503),
        ("java.lang.IllegalArgumentException", 400),
        ("org.sagebionetworks.repo.model.UnauthorizedException", 403),
        ("org.sagebionetworks.repo.web.NotFoundException", 404),
        ("org.sagebionetworks.repo.model.ConflictingUpdateException", 412),
        ("java.lang.IllegalStateException", 500),
        ("com.example.OwnException", 400),
    ],
)
def test_a_failed_job_is_the_http_error_of_its_exception(code: str, expected: int) -> None:
    answer = failing(f"{{code: {code}, message: It broke.}}")
    assert answer.status == expected
    assert reason(answer) == "It broke."


def test_a_failure_without_a_message_is_told_by_its_details() -> None:
    answer = failing("{message: '', details: exit 137}")
    assert (answer.status, reason(answer)) == (400, "exit 137")


@pytest.mark.parametrize(
    ("code", "expected"),
    [("INVALID_TABLE_QUERY_FACET_COLUMN_REQUEST", 400), ("USER_CERTIFICATION_REQUIRED", 403)],
)
def test_a_failure_code_of_the_service_is_the_error_code(code: str, expected: int) -> None:
    answer = failing(f"{{code: {code}, message: It broke.}}")
    assert answer.status == expected
    assert answer.json()["errorCode"] == code


def test_a_job_that_a_stop_has_ended_is_a_bad_request() -> None:
    kit = server("[running: 1h, succeeded]", "    on_cancel: at_once")
    token = start(kit, QUERY)
    assert stop(kit, token).status == 204
    answer = get(kit, QUERY, token)
    assert answer.status == 400
    assert "cancelled" in reason(answer)


def test_the_status_of_a_failed_job_is_still_answered_200() -> None:
    kit = server("[running: 1s, failed: {error: {message: It broke.}}]")
    token = start(kit, QUERY)
    kit.advance("2s")
    assert status(kit, token)["jobState"] == "FAILED"


# ---- results by scenario ----------------------------------------------------------------------------------------


def scripted(result: str) -> Kit:
    return server(f"[running: 1s, succeeded: {{result: {result}}}]")


def test_a_result_of_the_scenario_is_the_bare_result() -> None:
    made = result(scripted("{queryCount: 3}"), QUERY)
    assert made == {"concreteType": TABLE + "QueryResultBundle", "queryCount": 3}


def test_a_result_of_the_scenario_for_an_upload_is_that_of_the_one_change() -> None:
    kit = scripted("{rowsProcessed: 5}")
    assert result(kit, UPLOAD) == {"concreteType": TABLE + "UploadToTableResult", "rowsProcessed": 5}


def test_a_result_of_the_scenario_for_an_upload_may_be_the_whole_transaction() -> None:
    concrete_type = TABLE + "UploadToTableResult"
    kit = scripted(f"{{results: [{{concreteType: {concrete_type}, rowsProcessed: 6}}]}}")
    assert result(kit, UPLOAD) == {"concreteType": concrete_type, "rowsProcessed": 6}


@pytest.mark.parametrize("given", ["{results: []}", "{results: 1}", "[1]", "{results: [1]}"])
def test_a_result_of_the_scenario_that_is_no_transaction_cannot_be_unwrapped(given: str) -> None:
    kit = scripted(given)
    token = start(kit, UPLOAD)
    kit.advance("2s")
    assert get(kit, UPLOAD, token).status == 500


# ---- reuse, old paths, tokens of users --------------------------------------------------------------------------


def test_a_start_can_answer_the_token_of_the_job_that_has_the_result() -> None:
    kit = server(more="apis:\n  synapse: {reuse_results: true}")
    body = {"query": {"sql": "SELECT * FROM syn2048"}}
    token = start(kit, QUERY, body)
    assert start(kit, QUERY, body) != token
    kit.advance("10s")
    again = start(kit, QUERY, body)
    assert get(kit, QUERY, again).status == 201
    assert start(kit, QUERY, body) == again
    # However it was launched.
    launched = kit.post(JOBS, json={"concreteType": TABLE + "QueryBundleRequest", **body}, headers=TOKEN)
    assert launched.json()["jobId"] == again
    uploaded = start(kit, UPLOAD)
    kit.advance("10s")
    assert start(kit, UPLOAD) != uploaded


@pytest.mark.parametrize("name", GONE)
def test_the_paths_without_a_table_are_gone(happy: Kit, name: str) -> None:
    operation = {"UnboundCsvDownload": "download", "UnboundCsvUpload": "upload"}[name]
    path = f"{REPO}/table/{operation}/csv/async"
    answers = [
        happy.post(f"{path}/start", json={}, headers=TOKEN),
        happy.get(f"{path}/get/1", headers=TOKEN),
    ]
    for answer in answers:
        assert answer.status == 410
        assert "update your client" in reason(answer)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", f"{QUERY}/async/start"),
        ("GET", f"{QUERY}/async/get/1"),
        ("POST", f"{REPO}/table/upload/csv/async/start"),
    ],
)
def test_a_call_of_a_pair_without_a_token_is_unauthorized(happy: Kit, method: str, path: str) -> None:
    answer = happy.request(method, path, json={} if method == "POST" else None)
    assert answer.status == 401
    reason(answer)


def test_a_wrong_method_is_not_allowed_and_a_head_does_not_start(happy: Kit) -> None:
    assert happy.get(f"{QUERY}/async/start", headers=TOKEN).status == 405
    assert happy.post(f"{QUERY}/async/get/1", headers=TOKEN).status == 405


def test_a_scenario_picks_the_jobs_of_pairs_by_kind_and_request() -> None:
    kit = Kit(
        """
jobs:
  - when: {kind: "*.AgentChatRequest", request.chatText: "Hello*"}
    script: [running: 1s, failed: {error: {message: The agent is asleep.}}]
  - script: [running: 1s, succeeded]
""",
        apis=("synapse",),
    )
    chat = f"{REPO}/agent/chat"
    tokens = [start(kit, chat, {"chatText": text}) for text in ("Hello you", "Good bye")]
    kit.advance("10s")
    assert [get(kit, chat, token).status for token in tokens] == [400, 201]
