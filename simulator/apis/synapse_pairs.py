"""The pairs of operations that Synapse's clients call: which path starts which kind of job, and what its get answers.

One table, from which the functions are made; the result's type follows from the request's (`synapse_tables.result_type`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simulator.apis.synapse_tables import MODEL, NEXT_PAGE, TABLE, TRANSACTION


@dataclass(frozen=True)
class Pair:
    """A start and a get for one kind of job. The path decides the kind, so the request need not name it."""

    name: str
    """Its operations are `Start<name>` and `Get<name>`."""
    path: str
    """Where they are, without `/async/start` and `/async/get/{asyncToken}`."""
    request: str
    """concreteType of the request."""
    done: int = 201
    """What the get answers once the job is complete."""
    from_path: Mapping[str, str] = field(default_factory=dict)
    """Fields of the request that the path overwrites, each with the parameter it comes from."""
    is_wrapped: bool = False
    """The request is run as the only change of a transaction, and its result is unwrapped again."""

    @property
    def kind(self) -> str:
        """concreteType of what is really run."""
        return TRANSACTION if self.is_wrapped else self.request


ENTITY = {"entityId": "id"}
PAIRS = (
    Pair("TableQuery", "/entity/{id}/table/query", TABLE + "QueryBundleRequest"),
    Pair("TableQueryNextPage", "/entity/{id}/table/query/nextPage", NEXT_PAGE),
    Pair("CsvDownload", "/entity/{id}/table/download/csv", TABLE + "DownloadFromTableRequest"),
    Pair("TableTransaction", "/entity/{id}/table/transaction", TRANSACTION, from_path=ENTITY),
    Pair(
        "CsvUpload",
        "/entity/{id}/table/upload/csv",
        TABLE + "UploadToTableRequest",
        from_path=ENTITY,
        is_wrapped=True,
    ),
    Pair(
        "TableAppend",
        "/entity/{id}/table/append",
        TABLE + "AppendableRowSetRequest",
        from_path=ENTITY,
        is_wrapped=True,
    ),
    Pair("CsvUploadPreview", "/table/upload/csv/preview", TABLE + "UploadToTablePreviewRequest"),
    Pair("ViewColumns", "/column/view/scope", TABLE + "ViewColumnModelRequest"),
    Pair("SchemaCreation", "/schema/type/create", MODEL + "schema.CreateSchemaRequest"),
    Pair("SchemaValidation", "/schema/type/validation", MODEL + "schema.GetValidationSchemaRequest"),
    Pair("AgentChat", "/agent/chat", MODEL + "agent.AgentChatRequest"),
    Pair("DownloadListAddition", "/download/list/add", MODEL + "download.AddToDownloadListRequest"),
    Pair("DownloadListPackage", "/download/list/package", MODEL + "download.DownloadListPackageRequest"),
    Pair("DownloadListManifest", "/download/list/manifest", MODEL + "download.DownloadListManifestRequest"),
    Pair("DownloadListQuery", "/download/list/query", MODEL + "download.DownloadListQueryRequest"),
    Pair("BulkDownload", "/file/bulk", MODEL + "file.BulkFileDownloadRequest"),
    Pair("Doi", "/doi", MODEL + "doi.v2.DoiRequest", done=200),
    Pair("StorageReport", "/storageReport", MODEL + "report.DownloadStorageReportRequest", done=200),
    Pair("SearchQuery", "/search/query", MODEL + "search.table.SearchIndexQuery", done=200),
    Pair("GridSession", "/grid/session", MODEL + "grid.CreateGridRequest", done=200),
    Pair("GridQuery", "/grid/session/query", MODEL + "grid.GridQueryJobRequest", done=200),
    Pair("GridCsvDownload", "/grid/download/csv", MODEL + "grid.DownloadFromGridRequest"),
    Pair("GridCsvImport", "/grid/import/csv", MODEL + "grid.GridCsvImportRequest"),
    Pair("GridExport", "/grid/export/recordset", MODEL + "grid.GridRecordSetExportRequest"),
    Pair("GridSynchronization", "/grid/synchronize", MODEL + "grid.SynchronizeGridRequest", done=200),
    Pair(
        "CurationTaskExecution",
        "/curation/task/{taskId}/execute",
        MODEL + "curation.ComputeTaskExecutionRequest",
        done=200,
        from_path={"taskId": "taskId"},
    ),
)
GONE = ("UnboundCsvDownload", "UnboundCsvUpload")
"""Pairs of old: the same jobs at paths that name no table."""
