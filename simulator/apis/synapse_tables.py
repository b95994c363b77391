"""What Synapse's jobs return when the scenario does not say: results that fit their requests.

A table has no contents here, only what can be computed: its columns, how many rows it has and how many of them fit on a
page are functions of the seed and the table's id. So all queries of a table agree with each other, page after page, and
nothing is stored. All columns hold strings: clients convert cells by the type of their column, and any text is a good string.

Deliberately not here: SQL. Of a query only its table and its LIMIT and OFFSET are read.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from json import dumps, loads
from typing import Any, NamedTuple

from simulator.apis.contract import Call, iso
from simulator.engine.draw import draw_between, draw_hex, draw_uuid
from simulator.engine.job import Job

MODEL = "org.sagebionetworks.repo.model."
TABLE = MODEL + "table."
NEXT_PAGE = TABLE + "QueryNextPageToken"
TRANSACTION = TABLE + "TableUpdateTransactionRequest"

RESULT_TYPES = {
    TABLE + "DownloadFromTableRequest": TABLE + "DownloadFromTableResult",
    TABLE + "QueryBundleRequest": TABLE + "QueryResultBundle",
    NEXT_PAGE: TABLE + "QueryResult",
    TABLE + "UploadToTableRequest": TABLE + "UploadToTableResult",
    TABLE + "UploadToTablePreviewRequest": TABLE + "UploadToTablePreviewResult",
    TABLE + "AppendableRowSetRequest": TABLE + "RowReferenceSetResults",
    TABLE + "TableSchemaChangeRequest": TABLE + "TableSchemaChangeResponse",
    MODEL + "grid.DownloadFromGridRequest": MODEL + "grid.DownloadFromGridResult",
    MODEL + "search.table.SearchIndexQuery": MODEL + "search.SearchQueryResults",
}
"""What a request returns, where that is not the …Response of the same name."""
ENTITY_UPDATES = TABLE + "EntityUpdateResults"

PARTS = {
    "queryResult": 0x1,
    "queryCount": 0x2,
    "selectColumns": 0x4,
    "maxRowsPerPage": 0x8,
    "columnModels": 0x10,
    "facets": 0x20,
    "sumFileSizes": 0x40,
    "lastUpdatedOn": 0x80,
    "combinedSql": 0x100,
    "actionsRequired": 0x200,
}
"""The bit of a query's `partMask` that asks for a part of its result."""
COLUMN_NAMES = ("sample", "donor", "tissue", "assay")
DIGEST_CHARACTERS = 16
_FROM = re.compile(r"\bfrom\s{1,20}(syn[0-9]{1,18}(?:\.[0-9]{1,9})?)\b", re.IGNORECASE)
_WINDOW = re.compile(r"\blimit\s{1,20}([0-9]{1,18})(?:\s{1,20}offset\s{1,20}([0-9]{1,18}))?$", re.IGNORECASE)
_WINDOW_CHARACTERS = 100


def short_name(concrete_type: str) -> str:
    """A class name without its package."""
    return concrete_type.rpartition(".")[2]


def result_type(kind: str) -> str:
    """The class of what a job of this kind returns."""
    return RESULT_TYPES.get(kind) or kind.removesuffix("Request") + "Response"


def made_result(job: Job, call: Call) -> dict[str, Any]:
    """A result for the job's request, the same one each time."""
    make = MAKERS.get(job.kind, _other)
    return {"concreteType": result_type(job.kind), **make(job.request, job, call)}


def table_of(job: Job, seed: int) -> str:
    """The table a job is about: named by its request, by its SQL, by the path it came by, or else any."""
    request = job.request
    for name in ("entityId", "tableId"):
        if isinstance(request.get(name), str):
            return str(request[name])
    query = request.get("query")
    named = _FROM.search(_sql_of(query if isinstance(query, dict) else request))
    if named is not None:
        return named[1]
    path_id = (job.submit.facts or {}).get("path_id")
    return path_id or f"syn{draw_between(1_000_000, 9_999_999, seed, 'synapse', 'table', job.number)}"


def _sql_of(query: dict[str, Any]) -> str:
    sql = query.get("sql")
    return sql if isinstance(sql, str) else ""


# ---- tables -----------------------------------------------------------------------------------------------------


def columns(seed: int, table: str) -> list[dict[str, Any]]:
    """The columns of a table."""
    count = draw_between(2, len(COLUMN_NAMES), seed, "synapse", "columns", table)
    return [
        {"id": str(301 + place), "name": name, "columnType": "STRING"}
        for place, name in enumerate(COLUMN_NAMES[:count])
    ]


def row_count(seed: int, table: str) -> int:
    """How many rows a table has; more than one page of them."""
    return draw_between(12, 40, seed, "synapse", "rows", table)


def rows_per_page(seed: int, table: str) -> int:
    """How many rows of a table one answer holds at most."""
    return draw_between(5, 10, seed, "synapse", "page", table)


def _etag(seed: int, table: str) -> str:
    return draw_uuid(seed, "synapse", "table etag", table)


def _models(headers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**header, "maximumSize": 50} for header in headers]


# ---- pages ------------------------------------------------------------------------------------------------------


class Page(NamedTuple):
    """Some rows of a query."""

    table: str
    skipped: int
    """Rows of the table before the query's first."""
    rows: int
    """Rows of the query, over all pages."""
    offset: int
    """Rows of the query before this page."""
    size: int


def page_of(token: Any, seed: int) -> Page | None:
    """The page that a token stands for; None when this world never gave such a token."""
    payload, _, digest = token.partition(".") if isinstance(token, str) else ("", "", "")
    if not payload or digest != _digest(seed, payload):
        return None
    return Page(*loads(urlsafe_b64decode(payload)))


def _token(page: Page, seed: int) -> str:
    payload = urlsafe_b64encode(dumps(page).encode()).decode()
    return f"{payload}.{_digest(seed, payload)}"


def _digest(seed: int, payload: str) -> str:
    return draw_hex(seed, "synapse", "page token", payload)[:DIGEST_CHARACTERS]


def _first_page(query: dict[str, Any], table: str, seed: int) -> Page:
    """Where a query begins: LIMIT and OFFSET in its SQL say which rows it has, its own fields which page comes first."""
    rows, size = row_count(seed, table), rows_per_page(seed, table)
    skipped = 0
    window = _WINDOW.search(_sql_of(query).rstrip("; \n\r\t")[-_WINDOW_CHARACTERS:])
    if window is not None:
        skipped = min(int(window[2] or 0), rows)
        rows = min(int(window[1]), rows - skipped)
    limit = _natural(query.get("limit"))
    return Page(
        table,
        skipped,
        rows,
        offset=_natural(query.get("offset")) or 0,
        size=size if limit is None else min(limit, size),
    )


def _natural(value: Any) -> int | None:
    """A count as clients write it, some of them as text."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 19:
        return int(value)
    return value if type(value) is int and value >= 0 else None


def _query_result(page: Page, seed: int) -> dict[str, Any]:
    headers = columns(seed, page.table)
    end = min(page.offset + page.size, page.rows)
    numbers = range(page.skipped + page.offset + 1, page.skipped + end + 1)
    result: dict[str, Any] = {
        "concreteType": TABLE + "QueryResult",
        "queryResults": {
            "concreteType": TABLE + "RowSet",
            "tableId": page.table,
            "etag": _etag(seed, page.table),
            "headers": headers,
            "rows": [
                {"rowId": number, "versionNumber": 1, "values": _cells(headers, number)} for number in numbers
            ],
        },
    }
    if page.size and end < page.rows:
        result["nextPageToken"] = {
            "concreteType": NEXT_PAGE,
            "entityId": page.table,
            "token": _token(page._replace(offset=end), seed),
        }
    return result


def _cells(headers: list[dict[str, Any]], number: int) -> list[str]:
    return [f"{header['name']}-{number}" for header in headers]


# ---- results by kind --------------------------------------------------------------------------------------------


def _query(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """Only the parts asked for, in agreement with each other and with the query."""
    seed = call.world.seed
    query = request.get("query")
    query = query if isinstance(query, dict) else {}
    page = _first_page(query, table_of(job, seed), seed)
    headers = columns(seed, page.table)
    parts = {
        "queryResult": _query_result(page, seed),
        "queryCount": page.rows,
        "selectColumns": headers,
        "maxRowsPerPage": rows_per_page(seed, page.table),
        "columnModels": _models(headers),
        "facets": [],
        "sumFileSizes": {"sumFileSizesBytes": 0, "greaterThan": False},
        "lastUpdatedOn": iso(job.created_ms),
        "combinedSql": _sql_of(query) or f"SELECT * FROM {page.table}",
        "actionsRequired": [],
    }
    mask = request.get("partMask")
    return {name: part for name, part in parts.items() if not isinstance(mask, int) or mask & PARTS[name]}


def _next_page(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """The page after the one that the token came with. A bad token has failed the job, so it is not met here."""
    seed = call.world.seed
    table = table_of(job, seed)
    return _query_result(page_of(request.get("token"), seed) or Page(table, 0, 0, 0, 0), seed)


def _download(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """Each download has its own file."""
    seed = call.world.seed
    table = table_of(job, seed)
    return {
        "resultsFileHandleId": _file(job, seed),
        "tableId": table,
        "etag": _etag(seed, table),
        "headers": columns(seed, table),
    }


def _file(job: Job, seed: int) -> str:
    return str(draw_between(1_000_000, 9_999_999, seed, "synapse", "file", job.number))


def _preview(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """The same file looks the same each time."""
    seed = call.world.seed
    file = f"file {request.get('uploadFileHandleId')}"
    headers = columns(seed, file)
    return {
        "suggestedColumns": [
            {name: value for name, value in model.items() if name != "id"} for model in _models(headers)
        ],
        "sampleRows": [{"values": _cells(headers, number)} for number in range(1, 6)],
        "rowsScanned": row_count(seed, file),
    }


def _view_columns(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    scope = dumps(request.get("viewScope"), sort_keys=True)
    return {"results": _models(columns(call.world.seed, f"scope {scope}"))}


def _transaction(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """One result per change, and a version only when a snapshot was asked for."""
    changes = request.get("changes")
    changes = changes if isinstance(changes, list) else []
    result: dict[str, Any] = {
        "results": [_change(change, place, job, call.world.seed) for place, change in enumerate(changes)]
    }
    if str(request.get("createSnapshot")).lower() == "true":
        result["snapshotVersionNumber"] = 1
    return result


def _change(change: Any, place: int, job: Job, seed: int) -> dict[str, Any]:
    """What one change did; a change of an unknown kind is taken for one of a view's entities."""
    request = change if isinstance(change, dict) else {}
    table = table_of(job, seed)
    kind = short_name(str(request.get("concreteType")))
    match kind:
        case "UploadToTableRequest":
            done: dict[str, Any] = _uploaded(job, seed, place)
        case "AppendableRowSetRequest":
            done = {"rowReferenceSet": _references(request.get("toAppend"), table, seed)}
        case "TableSchemaChangeRequest":
            done = {"schema": _schema(request.get("orderedColumnIds"), table, seed)}
        case _:
            return {"concreteType": ENTITY_UPDATES, "updateResults": [{"entityId": table}]}
    return {"concreteType": RESULT_TYPES[TABLE + kind], **done}


def _upload(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    return _uploaded(job, call.world.seed, 0)


def _uploaded(job: Job, seed: int, place: int) -> dict[str, Any]:
    return {
        "rowsProcessed": draw_between(1, 1000, seed, "synapse", "uploaded", job.number, place),
        "etag": draw_uuid(seed, "synapse", "upload etag", job.number, place),
    }


def _references(appended: Any, table: str, seed: int) -> dict[str, Any]:
    """A reference to each row that came; those without an id are new at the end of the table."""
    rows = appended.get("rows") if isinstance(appended, dict) else None
    ids = [
        _natural(row.get("rowId")) if isinstance(row, dict) else None
        for row in (rows if isinstance(rows, list) else [])
    ]
    new = row_count(seed, table)
    return {
        "tableId": table,
        "etag": _etag(seed, table),
        "headers": columns(seed, table),
        "rows": [
            {"rowId": new + place if row_id is None else row_id, "versionNumber": 2}
            for place, row_id in enumerate(ids, 1)
        ],
    }


def _schema(ordered_ids: Any, table: str, seed: int) -> list[dict[str, Any]]:
    """The columns in the order asked for; the table's own when none was."""
    models = _models(columns(seed, table))
    if not isinstance(ordered_ids, list):
        return models
    known = {model["id"]: model for model in models}
    return [
        known.get(str(column_id))
        or {"id": str(column_id), "name": f"column_{column_id}", "columnType": "STRING", "maximumSize": 50}
        for column_id in ordered_ids
    ]


def _other(request: dict[str, Any], job: Job, call: Call) -> dict[str, Any]:
    """Made by the schema; a text that the request has under the same name is the result's, a file is the job's own."""
    name = short_name(result_type(job.kind))
    known = name in call.document["components"]["schemas"]
    seed = call.world.seed
    made: dict[str, Any] = call.sampler.make(
        name if known else "GenericJobResponse", seed, "synapse", job.number
    )
    del made["concreteType"]
    for field in made:
        if isinstance(request.get(field), str) and isinstance(made[field], str):
            made[field] = request[field]
        elif field.endswith("FileHandleId"):
            made[field] = _file(job, seed)
    return made


MAKERS: dict[str, Callable[[dict[str, Any], Job, Call], dict[str, Any]]] = {
    TABLE + "DownloadFromTableRequest": _download,
    TABLE + "QueryBundleRequest": _query,
    NEXT_PAGE: _next_page,
    TRANSACTION: _transaction,
    TABLE + "UploadToTableRequest": _upload,
    TABLE + "UploadToTablePreviewRequest": _preview,
    TABLE + "ViewColumnModelRequest": _view_columns,
}
