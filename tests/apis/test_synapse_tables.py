"""What Synapse's jobs return when the scenario does not say: results that fit their requests and each other."""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from simulator.apis.synapse_tables import row_count, rows_per_page
from tests.apis.test_synapse import (
    DOWNLOAD,
    JOBS,
    TABLE,
    TOKEN,
    launch,
    nulls,
    reason,
    result,
    server,
    status,
)
from tests.kit import Kit

QUERY = "/synapse/repo/v1/entity/syn2048/table/query"


def run(kit: Kit, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The bare result of a job that was started by a pair."""
    token = kit.post(f"{path}/async/start", json=body, headers=TOKEN).json()["token"]
    kit.advance("10s")
    answer = kit.get(f"{path}/async/get/{token}", headers=TOKEN)
    assert answer.status == 201, answer.text
    return dict(answer.json())


def pages_of(kit: Kit, query: dict[str, Any]) -> list[list[int]]:
    """The row ids of each page of a query, following its tokens to the end."""
    page = run(kit, QUERY, {"entityId": "syn2048", "query": query})["queryResult"]
    pages = []
    while True:
        pages.append([row["rowId"] for row in page["queryResults"]["rows"]])
        if "nextPageToken" not in page:
            return pages
        page = run(kit, f"{QUERY}/nextPage", page["nextPageToken"])


@pytest.fixture(scope="module")
def happy() -> Kit:
    """A server for stories that do not disturb each other."""
    return server()


# ---- kinds of results -------------------------------------------------------------------------------------------

KINDS = {
    "DownloadFromTableRequest": "DownloadFromTableResult",
    "QueryBundleRequest": "QueryResultBundle",
    "TableUpdateTransactionRequest": "TableUpdateTransactionResponse",
    "UploadToTableRequest": "UploadToTableResult",
    "UploadToTablePreviewRequest": "UploadToTablePreviewResult",
    "ViewColumnModelRequest": "ViewColumnModelResponse",
}


@pytest.mark.parametrize(("request_name", "result_name"), KINDS.items())
def test_a_result_is_of_the_type_that_belongs_to_the_request(request_name: str, result_name: str) -> None:
    made = result({"concreteType": TABLE + request_name, "entityId": "syn2048", "token": "x"})
    assert made["concreteType"] == TABLE + result_name
    assert nulls(made) == 0


def test_every_type_that_the_document_lists_completes_with_a_result_of_its_package() -> None:
    kit = server()
    document = kit.front.services["synapse"].document
    names = document["components"]["schemas"]["LaunchableRequest"]["properties"]["concreteType"]["enum"]
    results = document["components"]["schemas"]["GenericJobResponse"]["properties"]["concreteType"]["enum"]
    token = run(kit, QUERY, {})["queryResult"]["nextPageToken"]
    ids = {name: launch(kit, {"token": token["token"], "concreteType": name})["jobId"] for name in names}
    kit.advance("10s")
    made = {name: status(kit, job_id)["responseBody"]["concreteType"] for name, job_id in ids.items()}
    assert len(set(made.values())) == len(names)
    assert {name.rpartition(".")[0] for name in made} == {name.rpartition(".")[0] for name in made.values()}
    assert set(results) <= set(made.values())


def test_a_download_is_of_the_table_asked_for_and_has_a_file_of_its_own() -> None:
    kit = server()
    ids = [launch(kit)["jobId"] for _ in range(2)]
    kit.advance("10s")
    one, other = (status(kit, job_id)["responseBody"] for job_id in ids)
    assert one["tableId"] == other["tableId"] == "syn2048"
    assert re.fullmatch("[0-9]+", one["resultsFileHandleId"])
    assert one["resultsFileHandleId"] != other["resultsFileHandleId"]
    assert one["headers"]


def test_a_result_is_the_same_each_time_it_is_read_and_in_each_run() -> None:
    kit = server()
    job_id = launch(kit)["jobId"]
    kit.advance("10s")
    assert status(kit, job_id) == status(kit, job_id)
    assert status(kit, job_id)["responseBody"] == result(DOWNLOAD)


def query(seed: int = 7, **more: Any) -> dict[str, Any]:
    """The result of a query on a table."""
    request = {
        "concreteType": TABLE + "QueryBundleRequest",
        "entityId": "syn2048",
        "query": {"sql": "SELECT a"},
    }
    return result(request | more, seed=seed)


@pytest.mark.parametrize("seed", range(4))
def test_rows_have_a_string_cell_for_each_column(seed: int) -> None:
    rows = query(seed=seed)["queryResult"]["queryResults"]
    assert rows["tableId"] == "syn2048"
    assert rows["rows"]
    for row in rows["rows"]:
        assert len(row["values"]) == len(rows["headers"])
        assert all(isinstance(cell, str) for cell in row["values"])
    assert len({row["rowId"] for row in rows["rows"]}) == len(rows["rows"])
    assert len({header["name"] for header in rows["headers"]}) == len(rows["headers"])
    assert {header["columnType"] for header in rows["headers"]} == {"STRING"}


def test_the_parts_of_a_query_agree_with_each_other() -> None:
    made = query()
    rows = made["queryResult"]["queryResults"]
    assert len(rows["rows"]) == made["maxRowsPerPage"] < made["queryCount"]
    assert made["selectColumns"] == rows["headers"]
    assert [column["name"] for column in made["columnModels"]] == [
        header["name"] for header in rows["headers"]
    ]
    assert made["combinedSql"] == "SELECT a"
    assert made["lastUpdatedOn"] == "2030-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("mask", "parts"),
    [
        (1, {"queryResult"}),
        (3, {"queryResult", "queryCount"}),
        (0x4 | 0x8 | 0x10, {"selectColumns", "maxRowsPerPage", "columnModels"}),
        (0x20 | 0x40 | 0x80, {"facets", "sumFileSizes", "lastUpdatedOn"}),
        (0x100 | 0x200, {"combinedSql", "actionsRequired"}),
        (0, set()),
    ],
)
def test_a_query_brings_only_the_parts_asked_for(mask: int, parts: set[str]) -> None:
    assert query(partMask=mask).keys() == parts | {"concreteType"}


def test_a_query_brings_all_parts_when_none_are_named() -> None:
    assert len(query()) == 11


def test_a_transaction_answers_each_change_in_order() -> None:
    changes = [
        "AppendableRowSetRequest",
        "TableSchemaChangeRequest",
        "UploadToTableRequest",
        "AppendableRowSetRequest",
    ]
    made = result(
        {
            "concreteType": TABLE + "TableUpdateTransactionRequest",
            "entityId": "syn2048",
            "changes": [{"concreteType": TABLE + change} for change in changes],
        }
    )
    assert [one["concreteType"] for one in made["results"]] == [
        TABLE + name
        for name in (
            "RowReferenceSetResults",
            "TableSchemaChangeResponse",
            "UploadToTableResult",
            "RowReferenceSetResults",
        )
    ]
    assert made["results"][0]["rowReferenceSet"]["tableId"] == "syn2048"
    assert "snapshotVersionNumber" not in made


@pytest.mark.parametrize(
    ("asked", "expected"), [(True, True), ("TRUE", True), (False, False), ("FALSE", False)]
)
def test_a_snapshot_has_a_version_only_when_asked_for(asked: bool | str, expected: bool) -> None:
    request = {
        "concreteType": TABLE + "TableUpdateTransactionRequest",
        "changes": [],
        "createSnapshot": asked,
    }
    made = result(request)
    assert made["results"] == []
    assert ("snapshotVersionNumber" in made) is expected


@pytest.mark.parametrize(
    "changes", ["none", {"a": 1}, [1], [{}], [{"concreteType": 5}], [{"concreteType": "odd"}]]
)
def test_odd_changes_of_a_transaction_do_no_harm(changes: Any) -> None:
    made = result(
        {"concreteType": TABLE + "TableUpdateTransactionRequest", "entityId": "syn7", "changes": changes}
    )
    assert len(made["results"]) == (len(changes) if isinstance(changes, list) else 0)
    for one in made["results"]:
        assert one["concreteType"] == TABLE + "EntityUpdateResults"
        assert all(update == {"entityId": "syn7"} for update in one["updateResults"])


@pytest.mark.parametrize("seed", range(4))
def test_a_preview_shows_rows_for_its_columns_and_no_more_than_it_scanned(seed: int) -> None:
    made = result(
        {"concreteType": TABLE + "UploadToTablePreviewRequest", "uploadFileHandleId": "1"}, seed=seed
    )
    assert made["rowsScanned"] >= len(made["sampleRows"])
    assert {len(row["values"]) for row in made["sampleRows"]} == {len(made["suggestedColumns"])}


def test_a_scenario_says_the_result_and_the_type_is_filled_in() -> None:
    kit = server("[running: 1s, succeeded: {result: {resultsFileHandleId: '42', etag: null}}]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert status(kit, job_id)["responseBody"] == {
        "concreteType": TABLE + "DownloadFromTableResult",
        "resultsFileHandleId": "42",
    }


def test_a_type_in_the_result_of_a_scenario_is_kept() -> None:
    kit = server("[running: 1s, succeeded: {result: {concreteType: com.example.Other}}]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert status(kit, job_id)["responseBody"] == {"concreteType": "com.example.Other"}


def test_a_result_that_is_no_object_is_wrapped_into_one() -> None:
    kit = server("[running: 1s, succeeded: {result: [1, 2]}]")
    job_id = launch(kit)["jobId"]
    kit.advance("2s")
    assert status(kit, job_id)["responseBody"]["result"] == [1, 2]


# ---- pages ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_query_is_paged_until_all_its_rows_were_given(seed: int) -> None:
    kit = server(seed=seed)
    pages = pages_of(kit, {"sql": "SELECT * FROM syn2048"})
    total, size = row_count(seed, "syn2048"), rows_per_page(seed, "syn2048")
    assert [row for page in pages for row in page] == list(range(1, total + 1))
    assert [len(page) for page in pages[:-1]] == [size] * (len(pages) - 1)
    assert 1 <= len(pages[-1]) <= size
    assert len(pages) > 1


def test_the_count_of_a_query_is_that_of_the_rows_on_all_its_pages(happy: Kit) -> None:
    for sql in (
        "SELECT * FROM syn2048",
        "SELECT * FROM syn2048 LIMIT 7",
        "select a from syn2048 limit 3 offset 4 ;",
    ):
        pages = pages_of(happy, {"sql": sql})
        count = run(happy, QUERY, {"entityId": "syn2048", "query": {"sql": sql}})["queryCount"]
        assert count == sum(map(len, pages))


@pytest.mark.parametrize("limit", [1, 2, 4, "3"])
def test_the_limit_of_a_query_is_the_size_of_its_pages(happy: Kit, limit: int | str) -> None:
    pages = pages_of(happy, {"sql": "SELECT * FROM syn2048", "limit": limit})
    assert {len(page) for page in pages[:-1]} == {int(limit)}
    assert sum(map(len, pages)) == row_count(7, "syn2048")


def test_a_limit_beyond_what_a_page_holds_does_not_make_it_larger(happy: Kit) -> None:
    assert pages_of(happy, {"limit": 100}) == pages_of(happy, {})


def test_a_limit_of_nothing_is_one_page_of_nothing(happy: Kit) -> None:
    assert pages_of(happy, {"limit": 0}) == [[]]


def test_the_offset_of_a_query_is_where_its_pages_begin(happy: Kit) -> None:
    total = row_count(7, "syn2048")
    assert [row for page in pages_of(happy, {"offset": total - 2}) for row in page] == [total - 1, total]
    assert pages_of(happy, {"offset": total}) == [[]]
    assert pages_of(happy, {"offset": 10**15}) == [[]]


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT * FROM syn2048 LIMIT 2", [1, 2]),
        ("SELECT * FROM syn2048 LIMIT 2 OFFSET 5", [6, 7]),
        ("SELECT * FROM syn2048 limit 0", []),
        ("SELECT * FROM syn2048 LIMIT 5 OFFSET 1000000", []),
    ],
)
def test_limit_and_offset_in_the_sql_say_which_rows_a_query_has(
    happy: Kit, sql: str, rows: list[int]
) -> None:
    assert [row for page in pages_of(happy, {"sql": sql}) for row in page] == rows


@pytest.mark.parametrize("query", [None, 5, [], {"limit": -1}, {"limit": True}, {"offset": "x", "sql": 5}])
def test_a_query_that_makes_no_sense_is_one_of_the_whole_table(happy: Kit, query: Any) -> None:
    made = run(happy, QUERY, {"entityId": "syn2048", "query": query})
    assert made["queryResult"] == run(happy, QUERY, {"entityId": "syn2048", "query": {}})["queryResult"]


def test_all_that_is_asked_about_a_table_agrees(happy: Kit) -> None:
    bundle = run(happy, QUERY, {"entityId": "syn2048"})
    download = run(happy, "/synapse/repo/v1/entity/syn2048/table/download/csv", {"entityId": "syn2048"})
    rows = bundle["queryResult"]["queryResults"]
    page = run(happy, f"{QUERY}/nextPage", bundle["queryResult"]["nextPageToken"])["queryResults"]
    assert rows["headers"] == page["headers"] == download["headers"]
    assert rows["etag"] == page["etag"] == download["etag"]
    assert rows["tableId"] == page["tableId"] == download["tableId"] == "syn2048"
    other = run(happy, QUERY, {"entityId": "syn2049"})["queryResult"]["queryResults"]
    assert other["etag"] != rows["etag"]


@pytest.mark.parametrize(
    ("body", "table"),
    [
        ({"entityId": "syn5", "query": {"sql": "SELECT * FROM syn6"}}, "syn5"),
        ({"query": {"sql": "select a, b\nfrom syn6.3 where a = 1"}}, "syn6.3"),
        ({"query": {"sql": "SELECT 1"}}, "syn2048"),
        ({}, "syn2048"),
    ],
)
def test_the_table_is_that_of_the_body_then_of_the_sql_then_of_the_path(
    happy: Kit, body: dict[str, Any], table: str
) -> None:
    assert run(happy, QUERY, body)["queryResult"]["queryResults"]["tableId"] == table


def test_a_job_that_names_no_table_is_about_some_table(happy: Kit) -> None:
    job_id = launch(happy, {"concreteType": TABLE + "DownloadFromTableRequest"})["jobId"]
    happy.advance("10s")
    assert re.fullmatch("syn[0-9]{7}", status(happy, job_id)["responseBody"]["tableId"])


def test_a_page_can_be_launched_like_any_job(happy: Kit) -> None:
    token = run(happy, QUERY, {"entityId": "syn2048"})["queryResult"]["nextPageToken"]
    assert token["concreteType"] == TABLE + "QueryNextPageToken"
    job_id = launch(happy, token)["jobId"]
    happy.advance("10s")
    rows = status(happy, job_id)["responseBody"]["queryResults"]["rows"]
    assert rows[0]["rowId"] == rows_per_page(7, "syn2048") + 1


FORGED = urlsafe_b64encode(b'["syn2048", 0, 20, 5, 5]').decode()


@pytest.mark.parametrize(
    "token", [None, 5, "", "x", ".", "b2Zmc2V0PTEwMA==", f"{FORGED}.", f"{FORGED}.0123456789abcdef"]
)
def test_a_token_that_was_never_given_fails_the_job(happy: Kit, token: Any) -> None:
    started = happy.post(f"{QUERY}/nextPage/async/start", json={"token": token}, headers=TOKEN)
    assert started.status == 201
    happy.advance("10s")
    answer = happy.get(f"{QUERY}/nextPage/async/get/{started.json()['token']}", headers=TOKEN)
    assert answer.status == 400
    assert "next page" in reason(answer)
    seen = status(happy, started.json()["token"])
    assert (seen["jobState"], seen["exception"]) == ("FAILED", "java.lang.IllegalArgumentException")


def test_a_token_of_another_seed_was_never_given(happy: Kit) -> None:
    token = run(happy, QUERY, {"entityId": "syn2048"})["queryResult"]["nextPageToken"]
    assert run(server(seed=7), f"{QUERY}/nextPage", token)["queryResults"]["rows"]
    other = server(seed=8)
    job_id = other.post(JOBS, json=token, headers=TOKEN).json()["jobId"]
    other.advance("10s")
    assert status(other, job_id)["jobState"] == "FAILED"


def test_a_token_that_the_scenario_answers_is_good() -> None:
    kit = Kit(
        """
jobs:
  - when: {kind: "*.QueryNextPageToken", request.token: page-2}
    script:
      - succeeded:
          result:
            queryResults:
              concreteType: org.sagebionetworks.repo.model.table.RowSet
              headers: [{name: a, columnType: STRING}]
              rows: [{values: [the last one]}]
  - script: [running: 1s, succeeded]
""",
        apis=("synapse",),
    )
    page = run(kit, f"{QUERY}/nextPage", {"token": "page-2"})
    assert page["queryResults"]["rows"] == [{"values": ["the last one"]}]
    token = kit.post(f"{QUERY}/nextPage/async/start", json={"token": "page-3"}, headers=TOKEN).json()["token"]
    kit.advance("10s")
    assert kit.get(f"{QUERY}/nextPage/async/get/{token}", headers=TOKEN).status == 400


def test_a_bad_token_fails_even_a_job_that_is_done_at_once() -> None:
    kit = server("[succeeded]")
    token = kit.post(f"{QUERY}/nextPage/async/start", json={"token": "x"}, headers=TOKEN).json()["token"]
    assert kit.get(f"{QUERY}/nextPage/async/get/{token}", headers=TOKEN).status == 400


# ---- changes ----------------------------------------------------------------------------------------------------


def change(kit: Kit, body: dict[str, Any]) -> dict[str, Any]:
    """The result of a transaction's only change."""
    made = run(kit, "/synapse/repo/v1/entity/syn2048/table/transaction", {"changes": [body]})
    (only,) = made["results"]
    return dict(only)


def test_appended_rows_get_a_reference_each(happy: Kit) -> None:
    rows = [{"values": ["a"]}, {"rowId": 3, "values": ["b"]}, {"rowId": "4"}, 5]
    request = {"concreteType": TABLE + "AppendableRowSetRequest", "toAppend": {"rows": rows}}
    total = row_count(7, "syn2048")
    references = change(happy, request)["rowReferenceSet"]
    assert [row["rowId"] for row in references["rows"]] == [total + 1, 3, 4, total + 4]
    assert references["tableId"] == "syn2048"


@pytest.mark.parametrize("appended", [None, 5, {}, {"rows": 5}])
def test_nothing_appended_is_no_reference(happy: Kit, appended: Any) -> None:
    request = {"concreteType": TABLE + "AppendableRowSetRequest", "toAppend": appended}
    assert change(happy, request)["rowReferenceSet"]["rows"] == []


def test_a_schema_change_answers_the_columns_in_the_order_asked_for(happy: Kit) -> None:
    request = {"concreteType": TABLE + "TableSchemaChangeRequest", "orderedColumnIds": ["302", "999", "301"]}
    schema = change(happy, request)["schema"]
    assert [column["id"] for column in schema] == ["302", "999", "301"]
    names = [column["name"] for column in run(happy, QUERY, {"entityId": "syn2048"})["columnModels"]]
    assert [schema[2]["name"], schema[0]["name"]] == names[:2]


def test_a_schema_change_without_an_order_answers_the_columns_of_the_table(happy: Kit) -> None:
    schema = change(happy, {"concreteType": TABLE + "TableSchemaChangeRequest"})["schema"]
    assert schema == run(happy, QUERY, {"entityId": "syn2048"})["columnModels"]


# ---- other jobs -------------------------------------------------------------------------------------------------


def test_a_result_repeats_the_texts_of_its_request(happy: Kit) -> None:
    path = "/synapse/repo/v1/agent/chat"
    assert run(happy, path, {"sessionId": "s-1", "chatText": "Hello"})["sessionId"] == "s-1"
    assert isinstance(run(happy, path, {"sessionId": 5})["sessionId"], str)


def test_each_file_that_a_job_makes_has_an_id_of_its_own(happy: Kit) -> None:
    manifest = "/synapse/repo/v1/download/list/manifest"
    ids = {run(happy, manifest, {})["resultFileHandleId"] for _ in range(3)}
    assert len(ids) == 3
    assert all(file.isdecimal() for file in ids)


def test_a_view_has_the_same_columns_whenever_its_scope_is_the_same(happy: Kit) -> None:
    path = "/synapse/repo/v1/column/view/scope"
    one, same = (run(happy, path, {"viewScope": {"scope": ["syn1"]}})["results"] for _ in range(2))
    assert one == same
    assert all(column.keys() >= {"id", "name", "columnType"} for column in one)
