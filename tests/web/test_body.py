"""Reading bodies: bounded, in pieces, by media type; whatever is wrong with one is a refusal and never a crash."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from simulator.apis.contract import Kind, Problem, Upload
from simulator.web.body import (
    NESTING_MAX,
    PARTS_MAX,
    decode_json,
    decode_multipart,
    decode_text,
    for_validation,
    is_json,
    read_bytes,
)

TYPE = "multipart/form-data; boundary=b"
END = b"--b--\r\n"
ALL_BYTES = bytes(range(256))


# ---- media types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("application/json", True),
        ("text/json", True),
        ("application/json-patch+json", True),
        ("application/*+json", True),
        ("application/problem+json", True),
        ("application/xml", False),
        ("text/plain", False),
        ("application/jsonl", False),
        ("application/json-seq", False),
        ("", False),
    ],
)
def test_json_is_known_by_its_names_and_its_suffix(media_type: str, expected: bool) -> None:
    assert is_json(media_type) is expected


# ---- bytes ------------------------------------------------------------------------------------------------------


class Client:
    """What a client sends, piece by piece; it goes away when nothing is left."""

    def __init__(self, *pieces: bytes, ends: bool = True) -> None:
        self.asked = 0
        self._messages = [
            {"type": "http.request", "body": piece, "more_body": not ends or place < len(pieces) - 1}
            for place, piece in enumerate(pieces)
        ]

    async def receive(self) -> dict[str, Any]:
        self.asked += 1
        return self._messages.pop(0) if self._messages else {"type": "http.disconnect"}


def read(client: Client, content_length: str | None = None, limit: int = 10) -> bytes:
    return asyncio.run(read_bytes(client.receive, content_length, limit))


@pytest.mark.parametrize(
    "pieces",
    [(b"",), (b"0123456789",), (b"01", b"", b"234", b"56789"), (b"0123456789", b""), (b"", b"", b"x")],
)
def test_a_body_is_all_its_pieces(pieces: tuple[bytes, ...]) -> None:
    assert read(Client(*pieces)) == b"".join(pieces)


@pytest.mark.parametrize(
    "pieces", [(b"0123456789a",), (b"01234", b"56789", b"a"), (b"0123456789", b"a", b"b")]
)
def test_one_byte_over_the_limit_is_too_much(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(Problem) as refused:
        read(Client(*pieces))
    assert refused.value.kind is Kind.TOO_LARGE
    assert "10 bytes" in refused.value.detail
    assert "--max-body" in refused.value.detail
    assert refused.value.headers == {"Connection": "close"}


def test_a_body_without_end_is_read_no_further_than_the_limit() -> None:
    client = Client(*[b"xxxx"] * 1000)
    with pytest.raises(Problem):
        read(client)
    assert client.asked == 3


@pytest.mark.parametrize("content_length", ["11", "9" * 5000, "00011"])
def test_a_body_announced_as_too_large_is_not_read_at_all(content_length: str) -> None:
    client = Client(b"x")
    with pytest.raises(Problem) as refused:
        read(client, content_length)
    assert refused.value.kind is Kind.TOO_LARGE
    assert client.asked == 0


@pytest.mark.parametrize(
    "content_length", ["10", "0", "1", "-11", "+11", "\xb2", "99x", "", "0" * 5000, "1e9"]
)
def test_any_other_announcement_is_not_believed(content_length: str) -> None:
    assert read(Client(b"0123456789"), content_length) == b"0123456789"


@pytest.mark.parametrize("pieces", [(), (b"012",), (b"012", b"345")])
def test_a_client_that_goes_away_while_it_sends_is_a_broken_connection(pieces: tuple[bytes, ...]) -> None:
    with pytest.raises(ConnectionError):
        read(Client(*pieces, ends=False))


# ---- JSON and text ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (
            b'{"a": [1, 2.5, null, true, "\xc3\xa4\\u0000\\ud83d\\ude00"]}',
            {"a": [1, 2.5, None, True, "ä\0😀"]},
        ),
        (b' "text" ', "text"),
        (b"18446744073709551615", 2**64 - 1),
        (b"123456789012345678901234567890", 123456789012345678901234567890.0),
        (b"1e-400", 0.0),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[" * NESTING_MAX + b"]" * NESTING_MAX, None),
    ],
)
def test_any_json_value_can_be_a_body(body: bytes, value: Any) -> None:
    decoded = decode_json(body)
    assert value is None or decoded == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"  ",
        b"{",
        b'{"a": }',
        b"{'a': 1}",
        b'{"a": 1,}',
        b"nothing",
        b"NaN",
        b"-Infinity",
        b'{"a": NaN}',
        b"1e400",
        b'"\\ud800"',
        b'"\\udc2f\\ud800"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
        b"\xef\xbb\xbf{}",
        '{"a": 1}'.encode("utf-16"),
        '{"ä": 1}'.encode("latin-1"),
        b"{}{}",
        b'"\x00"',
        b"[" * 10_000,
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * (NESTING_MAX + 1) + b"1" + b"]" * (NESTING_MAX + 1),
        b'[{"a":' * 101 + b"1" + b"}]" * 101,
    ],
)
def test_what_is_not_json_or_nests_too_deeply_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as refused:
        decode_json(body)
    assert refused.value.kind is Kind.MALFORMED_BODY
    assert refused.value.where == "body"
    assert len(refused.value.detail) < 1000


def test_many_brackets_beside_each_other_nest_not_at_all() -> None:
    wide = b"[" + b"[],{}," * 5_000 + b"[]]"
    assert len(decode_json(wide)) == 10_001


def test_text_is_utf_8() -> None:
    assert decode_text("ä\0€".encode()) == "ä\0€"
    with pytest.raises(Problem) as refused:
        decode_text(b"\xff")
    assert refused.value.kind is Kind.MALFORMED_BODY


# ---- multipart --------------------------------------------------------------------------------------------------


def part(name: str, value: bytes, more: str = "", headers: Iterable[str] = ()) -> bytes:
    lines = "".join(f"{header}\r\n" for header in headers)
    disposition = f'Content-Disposition: form-data; name="{name}"{more}\r\n'
    return b"--b\r\n" + (disposition + lines).encode() + b"\r\n" + value + b"\r\n"


FILE = '; filename="job.log"'


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        (part("a", b"1") + END, {"a": "1"}),
        (part("a", b"") + END, {"a": ""}),
        (part("a", "ä".encode()) + END, {"a": "ä"}),
        (part("ä", b"1") + END, {"ä": "1"}),
        (part("a", b"1") + part("b", b"2") + END, {"a": "1", "b": "2"}),
        (part("a", b"1") + part("a", b"2") + END, {"a": "2"}),
        (END, {}),
        # Blank lines before, words behind, no line break at the end: all allowed.
        (b"\r\n" + part("a", b"1") + END, {"a": "1"}),
        (part("a", b"1") + END + b"that was all", {"a": "1"}),
        (part("a", b"1") + b"--b--", {"a": "1"}),
        # A file name makes a file, also an empty one.
        (part("log", b"x", FILE) + END, {"log": Upload(b"x", "job.log", None)}),
        (part("log", b"", FILE) + END, {"log": Upload(b"", "job.log", None)}),
        (part("log", b"x", '; filename=""') + END, {"log": Upload(b"x", "", None)}),
        (
            part("log", b"x", FILE, ["Content-Type: text/plain; charset=utf-8"]) + END,
            {"log": Upload(b"x", "job.log", "text/plain; charset=utf-8")},
        ),
        (part("log", b"x", "", ["Content-Type: text/plain"]) + END, {"log": "x"}),
        (part("log", b"aGk=", "", ["Content-Transfer-Encoding: base64"]) + END, {"log": "hi"}),
        (part("log", b"x", "", ["Content-Transfer-Encoding: unheard-of"]) + END, {"log": "x"}),
        # Bytes are kept exactly, whatever they look like.
        (part("log", ALL_BYTES, FILE) + END, {"log": Upload(ALL_BYTES, "job.log", None)}),
        (part("log", ALL_BYTES) + END, {"log": Upload(ALL_BYTES)}),
        (
            part("log", b"\r\n--\r\n--bb\r\n-b--\r\n\r\n", FILE) + END,
            {"log": Upload(b"\r\n--\r\n--bb\r\n-b--\r\n\r\n", "job.log", None)},
        ),
    ],
)
def test_the_parts_of_a_form_by_name(body: bytes, parts: dict[str, Any]) -> None:
    assert decode_multipart(body, TYPE) == parts


def test_a_file_of_many_megabytes_is_kept_exactly() -> None:
    log = ALL_BYTES * 40_000
    assert decode_multipart(part("log", log, FILE) + END, TYPE) == {"log": Upload(log, "job.log", None)}


@pytest.mark.parametrize(
    "content_type",
    ["Multipart/Form-Data; Boundary=b", 'multipart/form-data; charset=utf-8; boundary="b"'],
)
def test_the_boundary_is_found_however_it_is_written(content_type: str) -> None:
    assert decode_multipart(part("a", b"1") + END, content_type) == {"a": "1"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (part("a", b"1") + END, "multipart/form-data"),
        (part("a", b"1") + END, "multipart/form-data; boundary="),
        (part("a", b"1") + END, "multipart/form-data; boundary=c"),
        (part("a", b"1") + END, "multipart/form-data; boundary=\xff"),
        (part("a", b"1") + END, "multipart/form-data; boundary=" + "b" * 300),
        (part("a", b"1") + END, ""),
        (b"", TYPE),
        (b"hello", TYPE),
        (b"log=hello", TYPE),
        (part("a", b"1"), TYPE),
        (part("a", b"1") + b"--b", TYPE),
        (part("a", b"1") + b'--b\r\nContent-Disposition: form-data; name="log"\r\n\r\nhalf', TYPE),
        (part("a", b"1") + b"--b\r\nContent-Dispo", TYPE),
        (part("a", b"1").replace(b"\r\n", b"\n") + END, TYPE),
        (b"--b\r\nContent-Disposition: form-data\r\n\r\n1\r\n" + END, TYPE),
        (b"--b\r\nContent-Type: text/plain\r\n\r\n1\r\n" + END, TYPE),
        (b"--b\r\n\r\n1\r\n" + END, TYPE),
        (b"--b\r\n: no name\r\n\r\n1\r\n" + END, TYPE),
        (part("a", b"1", "", ["X-Long: " + "x" * 10_000]) + END, TYPE),
        (part("a", b"1", "", [f"X-{number}: 1" for number in range(100)]) + END, TYPE),
        (part("a", b"***", "", ["Content-Transfer-Encoding: base64"]) + END, TYPE),
        (b"".join(part(str(number), b"") for number in range(PARTS_MAX + 1)) + END, TYPE),
    ],
)
def test_a_broken_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Problem) as refused:
        decode_multipart(body, content_type)
    assert refused.value.kind is Kind.MALFORMED_BODY
    assert "multipart/form-data" in refused.value.detail


def test_a_form_may_have_many_parts() -> None:
    body = b"".join(part(str(number), b"x") for number in range(PARTS_MAX)) + END
    assert len(decode_multipart(body, TYPE)) == PARTS_MAX


def test_a_file_is_a_text_to_a_schema() -> None:
    assert for_validation({"reason": "killed", "log": Upload(b"\xff")}) == {"reason": "killed", "log": ""}
