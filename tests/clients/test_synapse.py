"""The published Python client of Synapse meets the server over a real socket: log-in, typed and untyped jobs, failures."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synapseclient
from synapseclient.core.exceptions import SynapseAuthenticationError, SynapseHTTPError
from synapseclient.models import Query, QueryBundleRequest, QueryJob, SearchIndexQuery, SearchQuery
from synapseclient.models.agent import AgentPrompt
from synapseclient.models.mixins.asynchronous_job import ASYNC_JOB_URIS, send_job_and_wait_async
from synapseclient.models.table_components import (
    ColumnChange,
    TableSchemaChangeRequest,
    TableUpdateTransaction,
)

from simulator.apis.synapse_pairs import PAIRS
from tests.running import serving

SCENARIO = """
apis:
  synapse: {tokens: [good]}
jobs:
  - when: {request.query.sql: "*nosuch*"}
    script: [running: 1s, failed: {error: {code: not_found, message: The table syn1 does not exist.}}]
  - when: {request.sql: "*facet*"}
    script:
      - running: 1s
      - failed: {error: {code: INVALID_TABLE_QUERY_FACET_COLUMN_REQUEST, message: Column age has no facet.}}
  - when: {request.sql: "*locked*"}
    script: [{retrying: 4s, message: The table is locked}, {running: 4s, progress: 0..100}, succeeded]
  - when: {request.sql: "*long*"}
    script: [running: 1h, succeeded]
  - when: {kind: "*.TableUpdateTransactionRequest", request.entityId: syn9}
    script:
      - succeeded:
          result:
            results:
              - concreteType: org.sagebionetworks.repo.model.table.EntityUpdateResults
                updateResults:
                  - {entityId: syn10}
                  - {entityId: syn11, failureCode: NOT_FOUND, failureMessage: It is gone.}
  - script: [queued: 1s, {running: 3s, progress: 0..100, message: Working}, succeeded]
"""
TABLE = "org.sagebionetworks.repo.model.table."

# The client marks all that was there before its models as deprecated, and that is what most people still call.
OLD_WAY = pytest.mark.filterwarnings("ignore:Call to deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is that checks every reply against its document."""
    scenario = tmp_path_factory.mktemp("synapse") / "scenario.yaml"
    scenario.write_text(SCENARIO)
    with serving("synapse", "--time", "20x", "--strict", "--scenario", str(scenario)) as server:
        yield f"{server.url}/synapse/repo/v1"


def client_at(url: str, folder: Path) -> synapseclient.Synapse:
    """A client that talks to nobody but the server and writes nowhere but into a folder."""
    return synapseclient.Synapse(
        repoEndpoint=url,
        authEndpoint=url,
        fileHandleEndpoint=url,
        portalEndpoint=url,
        skip_checks=True,
        silent=True,
        configPath=str(folder / "none"),
        cache_root_dir=str(folder),
        cache_client=False,
    )


@pytest.fixture
def syn(url: str, tmp_path: Path) -> Iterator[synapseclient.Synapse]:
    """A client that has logged in."""
    client = client_at(url, tmp_path)
    client.login(authToken="good", silent=True)
    yield client
    client._requests_session.close()
    client._requests_session_storage.close()


def waited_for(syn: synapseclient.Synapse, request: dict[str, Any]) -> dict[str, Any]:
    """The result of a typed job, as the client's models wait for it."""
    return dict(
        asyncio.run(
            send_job_and_wait_async(
                request=request, request_type=request["concreteType"], synapse_client=syn, timeout=20
            )
        )
    )


# ---- log-in -----------------------------------------------------------------------------------------------------


def test_a_client_logs_in_with_a_token(syn: synapseclient.Synapse) -> None:
    assert syn.credentials.username == "understudy"
    assert syn.restGET("/userProfile")["ownerId"] == syn.credentials.owner_id


def test_a_client_with_a_bad_token_cannot_log_in(url: str, tmp_path: Path) -> None:
    client = client_at(url, tmp_path)
    with pytest.raises(SynapseAuthenticationError):
        client.login(authToken="bad", silent=True)


# ---- queries ----------------------------------------------------------------------------------------------------


@OLD_WAY
def test_a_query_of_the_old_way_is_read_page_after_page_to_its_end(syn: synapseclient.Synapse) -> None:
    answer = syn.tableQuery("SELECT * FROM syn2048", resultsAs="rowset", limit=4)
    rows = list(answer.rowset["rows"])
    while answer.nextPageToken:
        page = syn._queryTableNext(answer.nextPageToken, "syn2048")
        rows += page["queryResults"]["rows"]
        answer.nextPageToken = page.get("nextPageToken")
    assert [row["rowId"] for row in rows] == list(range(1, answer.count + 1))
    assert answer.count > 4


@OLD_WAY
def test_iterating_over_a_query_of_the_old_way_fetches_the_pages(syn: synapseclient.Synapse) -> None:
    answer = syn.tableQuery("SELECT * FROM syn2048", resultsAs="rowset")
    assert len(list(answer)) == answer.count


def queried(syn: synapseclient.Synapse, sql: str, part_mask: int | None = None) -> QueryBundleRequest:
    """A query as the models run it, without the data frames that they make of it."""
    request = QueryBundleRequest(
        entity_id="syn2048", query=Query(sql=sql).to_synapse_request(), part_mask=part_mask
    )
    return asyncio.run(request.send_job_and_wait_async(synapse_client=syn))


def test_a_query_of_a_model_brings_rows_and_their_count(syn: synapseclient.Synapse) -> None:
    bundle = queried(syn, "SELECT * FROM syn2048 LIMIT 3", part_mask=0x1 | 0x2 | 0x4)
    rows = bundle.query_result.query_results
    assert bundle.query_count == len(rows.rows) == 3
    assert rows.table_id == "syn2048"
    assert [column.name for column in bundle.select_columns] == [header.name for header in rows.headers]
    assert all(len(row.values) == len(rows.headers) for row in rows.rows)
    assert bundle.max_rows_per_page is None


def test_a_query_of_a_model_has_a_token_for_its_next_page(syn: synapseclient.Synapse) -> None:
    bundle = queried(syn, "SELECT * FROM syn2048")
    assert len(bundle.query_result.query_results.rows) == bundle.max_rows_per_page < bundle.query_count
    assert bundle.query_result.next_page_token.entity_id == "syn2048"


def test_an_export_names_the_file_and_its_columns(syn: synapseclient.Synapse) -> None:
    job = QueryJob(entity_id="syn2048", sql="SELECT * FROM syn2048")
    asyncio.run(job.send_job_and_wait_async(synapse_client=syn))
    assert job.results_file_handle_id.isdecimal()
    assert job.table_id == "syn2048"
    assert job.headers


def test_a_job_that_must_wait_and_reports_progress_is_waited_for(syn: synapseclient.Synapse) -> None:
    job = QueryJob(entity_id="syn2048", sql="SELECT locked FROM syn2048")
    asyncio.run(job.send_job_and_wait_async(synapse_client=syn))
    assert job.results_file_handle_id


# ---- changes ----------------------------------------------------------------------------------------------------


def test_a_transaction_answers_each_change(syn: synapseclient.Synapse) -> None:
    change = TableSchemaChangeRequest(
        entity_id="syn2048",
        changes=[ColumnChange(concrete_type=TABLE + "ColumnChange", new_column_id="302")],
        ordered_column_ids=["302", "301"],
    )
    transaction = TableUpdateTransaction(entity_id="syn2048", changes=[change], create_snapshot=True)
    asyncio.run(transaction.send_job_and_wait_async(synapse_client=syn))
    (only,) = transaction.results
    assert [column.id for column in only.schema] == ["302", "301"]
    assert transaction.snapshot_version_number == 1


def test_a_transaction_can_be_complete_though_a_part_of_it_failed(syn: synapseclient.Synapse) -> None:
    transaction = TableUpdateTransaction(entity_id="syn9", changes=[])
    asyncio.run(transaction.send_job_and_wait_async(synapse_client=syn))
    assert transaction.entities_with_changes_applied == ["syn10"]
    (failed,) = transaction.failed_entity_updates
    assert (failed.entity_id, failed.failure_message) == ("syn11", "It is gone.")


@OLD_WAY
def test_a_snapshot_of_the_old_way_is_a_transaction_without_a_kind(syn: synapseclient.Synapse) -> None:
    done = syn._async_table_update("syn2048", create_snapshot=True, comment="after the renaming")
    assert done["snapshotVersionNumber"] == 1


@OLD_WAY
def test_the_old_way_of_an_upload_reads_the_unwrapped_result(syn: synapseclient.Synapse) -> None:
    done = syn._waitForAsync(
        "/entity/syn2048/table/upload/csv/async",
        {"concreteType": TABLE + "UploadToTableRequest", "tableId": "syn2048", "uploadFileHandleId": "1"},
    )
    assert done["concreteType"] == TABLE + "UploadToTableResult"
    assert done["rowsProcessed"] > 0


# ---- failures and stopping --------------------------------------------------------------------------------------


def test_a_failed_job_raises_its_reason(syn: synapseclient.Synapse) -> None:
    with pytest.raises(SynapseHTTPError, match="404 Client Error: The table syn1 does not exist") as caught:
        queried(syn, "SELECT nosuch FROM syn1")
    assert caught.value.response.status_code == 404


@OLD_WAY
def test_a_failed_job_raises_its_reason_the_old_way(syn: synapseclient.Synapse) -> None:
    with pytest.raises(
        SynapseHTTPError, match=r"400 Client Error: Bad Request\nColumn age has no facet"
    ) as caught:
        syn._queryTableCsv("SELECT facet FROM syn2048")
    assert caught.value.response.json()["errorCode"] == "INVALID_TABLE_QUERY_FACET_COLUMN_REQUEST"


def test_a_page_that_was_never_offered_raises(syn: synapseclient.Synapse) -> None:
    uri = "/entity/syn2048/table/query/nextPage/async"
    with pytest.raises(SynapseHTTPError, match="next page"):
        syn._waitForAsync(uri, {"concreteType": TABLE + "QueryNextPageToken", "token": "made up"})


def test_a_job_is_stopped_by_its_token(syn: synapseclient.Synapse) -> None:
    uri = "/entity/syn2048/table/download/csv/async"
    body = '{"sql": "SELECT long FROM syn2048"}'
    token = syn.restPOST(f"{uri}/start", body=body)["token"]
    assert syn.restGET(f"{uri}/get/{token}")["jobCanceling"] is False
    syn.restGET(f"/asynchronous/job/{token}/cancel")
    seen = syn.restGET(f"{uri}/get/{token}")
    assert (seen["jobState"], seen["jobCanceling"]) == ("PROCESSING", True)


# ---- other jobs -------------------------------------------------------------------------------------------------


def test_every_job_that_the_client_knows_has_its_pair() -> None:
    known = {pair.request: pair.path for pair in PAIRS}
    for concrete_type, uri in ASYNC_JOB_URIS.items():
        assert known[concrete_type].replace("{id}", "{entityId}") == uri.removesuffix("/async")


def test_every_typed_job_that_the_client_knows_comes_to_its_end(syn: synapseclient.Synapse) -> None:
    async def all_of_them() -> list[dict[str, Any]]:
        return await asyncio.gather(
            *(
                send_job_and_wait_async(
                    request={"concreteType": concrete_type, "entityId": "syn2048", "taskId": 77},
                    request_type=concrete_type,
                    synapse_client=syn,
                    timeout=20,
                )
                for concrete_type in ASYNC_JOB_URIS
            )
        )

    for done in asyncio.run(all_of_them()):
        assert done["jobId"].isdecimal()
        assert done["concreteType"]


def test_a_chat_brings_an_answer_in_its_session(syn: synapseclient.Synapse) -> None:
    prompt = AgentPrompt(session_id="s-1", prompt="Hello")
    asyncio.run(prompt.send_job_and_wait_async(synapse_client=syn))
    assert prompt.session_id == "s-1"
    assert prompt.response


def test_a_search_brings_hits(syn: synapseclient.Synapse) -> None:
    search = SearchIndexQuery(search_index_id="syn2050", search_query=SearchQuery(query={"match_all": {}}))
    asyncio.run(search.send_job_and_wait_async(synapse_client=syn))
    assert search.hits
    assert search.hits[0].fields


@OLD_WAY
def test_the_columns_of_a_view_are_those_that_its_scope_has(syn: synapseclient.Synapse) -> None:
    columns = syn._get_annotation_view_columns(["syn2048"], "entityview", "1")
    assert [column["columnType"] for column in columns] == ["STRING"] * len(columns)
    assert columns
