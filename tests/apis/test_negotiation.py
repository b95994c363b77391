"""Choosing the media type of an answer: qualities, wildcards, ties and nonsense."""

from __future__ import annotations

import pytest

from simulator.apis.negotiation import best_match, media_type_of, wait_ms_in

JSON, XML, TEXT = "application/json", "application/xml", "text/plain"
BOTH = (XML, JSON)


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        # Nothing said, anything goes: the first that is offered.
        ("", BOTH, XML),
        ("*/*", BOTH, XML),
        ("*", BOTH, XML),
        (" , ,", BOTH, XML),
        ("", (), None),
        # One wish.
        (JSON, BOTH, JSON),
        ("APPLICATION/Json", BOTH, JSON),
        ("application/json; charset=utf-8", BOTH, JSON),
        ("application/json;version=1;q=0.5", BOTH, JSON),
        (TEXT, BOTH, None),
        ("text/*", BOTH, None),
        ("application/*", BOTH, XML),
        ("application/*", (TEXT, JSON), JSON),
        # Several: the quality decides, then the server's order.
        (f"{JSON}, {XML}", BOTH, XML),
        (f"{JSON}, {XML};q=0.9", BOTH, JSON),
        (f"{XML};q=0.2, {JSON};q=0.3", BOTH, JSON),
        (f"{TEXT}, {JSON};q=0.1", BOTH, JSON),
        (f"{JSON};Q=0.1,{XML} ; q = 0.2", BOTH, XML),
        # The more specific range wins, however good the other is.
        (f"*/*, {XML};q=0.1", BOTH, JSON),
        (f"application/*;q=0.9, {XML};q=0.1, */*;q=0.5", BOTH, JSON),
        ("*/*;q=1, application/*;q=0", BOTH, None),
        (f"{JSON};q=0, */*", (JSON, TEXT), TEXT),
        (f"{JSON};q=0, */*", (JSON,), None),
        (f"{JSON};q=0.0", BOTH, None),
        # The same range twice: the better one counts.
        (f"{JSON};q=0.1, {JSON};q=0.9, {XML};q=0.5", BOTH, JSON),
        # A quality that is none asks for nothing.
        (f"{JSON};q=abc, {XML};q=0.1", BOTH, XML),
        (f"{JSON};q=", (JSON,), None),
        (f"{JSON};q=nan", (JSON,), None),
        (f"{JSON};q=inf, {XML}", BOTH, XML),
        (f"{JSON};q=-1", (JSON,), None),
        (f"{JSON};q=1.0000, {XML};q=1e0", BOTH, JSON),
        # No media ranges at all.
        ("json", BOTH, None),
        (";;;", BOTH, None),
        ("/", BOTH, None),
        ("\xff/\x00", BOTH, None),
    ],
)
def test_the_best_of_what_is_offered_is_chosen(
    accept: str, offered: tuple[str, ...], chosen: str | None
) -> None:
    assert best_match(accept, offered) == chosen


@pytest.mark.parametrize(
    ("content_type", "media_type"),
    [
        ("application/json", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        (" text/plain ;charset=utf-8;x=y", "text/plain"),
        ("", ""),
        (";", ""),
    ],
)
def test_a_media_type_is_what_stands_before_the_parameters(content_type: str, media_type: str) -> None:
    assert media_type_of(content_type) == media_type


def test_parameters_of_an_offer_do_not_matter() -> None:
    offered = ("text/html", "application/vnd.oai.openapi+json;version=3.0")
    assert best_match("application/vnd.oai.openapi+json", offered) == offered[1]


@pytest.mark.parametrize(
    ("written", "wait_ms"),
    [
        ("5", 5_000),
        (" 0 ", 0),
        ("9" * 5_000, 999_999_999_999_000),
        ("Tue, 01 Jan 2030 00:01:00 GMT", 60_000),
        ("Mon, 31 Dec 2029 23:59:59 GMT", -1_000),
        ("Tue, 01 Jan 2030 00:01:00 -0000", None),
        ("Tue, 99 Jan 2030 00:01:00 GMT", None),
        ("soon", None),
        ("-1", None),
        ("", None),
    ],
)
def test_a_wait_is_so_many_seconds_or_until_a_date_and_nothing_when_it_cannot_be_read(
    written: str, wait_ms: int | None
) -> None:
    assert wait_ms_in(written, 1_893_456_000_000) == wait_ms
