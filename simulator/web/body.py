"""Reading request bodies: bounded, decoded by media type, every failure a `Problem` for the API's envelope."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import Field, File, create_form_parser
from starlette.types import Receive

from simulator.apis.contract import Kind, Problem, Upload

_WHOLE = re.compile(r"[0-9]+")
NESTING_MAX = 200
"""Levels of a JSON body; orjson writes 254."""
PARTS_MAX = 1000
"""Parts of a multipart body."""


def is_json(media_type: str) -> bool:
    """`application/json`, `text/json` and everything with the suffix `+json` (RFC 6839); no parameters."""
    return media_type in ("application/json", "text/json") or media_type.endswith("+json")


async def read_bytes(receive: Receive, content_length: str | None, limit: int) -> bytes:
    """The whole body.

    Raises:
        Problem: TOO_LARGE, before reading when the client says how much it will send.
        ConnectionError: the client went away.
    """
    # A number longer than that is over any limit, and Python refuses to read the longest ones.
    if content_length is not None and _WHOLE.fullmatch(content_length) and int(content_length[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        pieces = [body]
        size = len(body)
        while message.get("more_body"):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the client went away while it was sending")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > limit:
                raise _too_large(limit)
        body = b"".join(pieces)
    if message["type"] == "http.disconnect":
        raise ConnectionError("the client went away while it was sending")
    if len(body) > limit:
        raise _too_large(limit)
    return body


async def until_gone(receive: Receive) -> None:
    """Wait until the client has gone away; a body that nobody asked for may come before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _too_large(limit: int) -> Problem:
    return Problem(
        Kind.TOO_LARGE,
        f"the body is larger than the limit of {limit} bytes for this API; raise it with --max-body",
        where="body",
        # The rest of the body is not read, so the connection cannot be used again.
        headers={"Connection": "close"},
    )


def decode_json(body: bytes) -> Any:
    """A JSON value.

    Raises:
        Problem: MALFORMED_BODY, with line and column; also when it nests too deeply to be given back inside an answer.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as problem:
        raise Problem(Kind.MALFORMED_BODY, f"the body is not JSON: {problem}", where="body") from None
    if body.count(b"{") + body.count(b"[") > NESTING_MAX and _nests_deeper(value, NESTING_MAX):
        raise Problem(Kind.MALFORMED_BODY, f"the body nests deeper than {NESTING_MAX} levels", where="body")
    return value


def _nests_deeper(value: Any, levels: int) -> bool:
    layer = [value]
    for _ in range(levels + 1):
        inner = [item for item in layer if isinstance(item, dict | list)]
        layer = [child for item in inner for child in (item.values() if isinstance(item, dict) else item)]
    return bool(layer)


def decode_text(body: bytes) -> str:
    """Text in UTF-8.

    Raises:
        Problem: MALFORMED_BODY.
    """
    try:
        return body.decode()
    except UnicodeDecodeError as problem:
        raise Problem(Kind.MALFORMED_BODY, f"the body is not UTF-8: {problem}", where="body") from None


def decode_multipart(body: bytes, content_type: str) -> dict[str, Any]:
    """The parts of multipart/form-data by name: text as str, files (and what is not UTF-8) as `Upload`.

    Raises:
        Problem: MALFORMED_BODY: no boundary, broken parts, too many of them, no end.
    """
    parts: dict[str, Any] = {}
    count = 0
    ended = False

    def keep(name: bytes | None, value: str | Upload) -> None:
        nonlocal count
        count += 1
        if count > PARTS_MAX:
            raise ValueError(f"there are more than {PARTS_MAX} parts")
        parts[(name or b"").decode("utf-8", "replace")] = value

    def on_field(field: Field) -> None:
        value = field.value or b""
        try:
            keep(field.field_name, value.decode())
        except UnicodeDecodeError:
            keep(field.field_name, Upload(value))

    def on_file(file: File) -> None:
        file.file_object.seek(0)
        filename = None if file.file_name is None else file.file_name.decode("utf-8", "replace")
        upload = Upload(file.file_object.read(), filename, file.content_type)
        file.close()
        keep(file.field_name, upload)

    def on_end() -> None:
        nonlocal ended
        ended = True

    try:
        parser = create_form_parser(
            {"Content-Type": content_type.encode("latin-1")},
            on_field,
            on_file,
            config={"MAX_MEMORY_FILE_SIZE": len(body) + 1, "UPLOAD_ERROR_ON_BAD_CTE": False},
        )
        parser.on_end = on_end
        parser.write(body)
        parser.finalize()
        if not ended:
            raise ValueError("its end is missing")
    except (FormParserError, ValueError, LookupError) as problem:
        raise Problem(
            Kind.MALFORMED_BODY, f"the body is not multipart/form-data: {problem}", where="body"
        ) from None
    return parts


def for_validation(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Multipart parts as a schema sees them: OpenAPI 3.0 describes files as strings."""
    return {name: "" if isinstance(part, Upload) else part for name, part in parts.items()}
