"""The call log of a world: what it keeps, what it shows, and how much it takes."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from simulator.runtime.calls import Allowance, CallLog, Exchange
from simulator.runtime.wanted import Wanted
from tests.runtime.said import call, noted


def numbers(exchanges: list[Exchange]) -> list[int]:
    return [exchange.number for exchange in exchanges]


def test_an_exchange_is_kept_as_it_was() -> None:
    log = CallLog()
    exchange = call(
        log,
        "/v1/jobs?x=1",
        operation="launch",
        params={"id": "j1"},
        method="POST",
        status=201,
        request_headers=[(b"Accept", b"*/*")],
        request_body=b"{}",
        response_headers=[(b"Location", b"/v1/jobs/j1"), (b"x-understudy-violation", b"ours")],
        response_body=b'{"id":"j1"}',
        notes=noted(cause="x.yaml:3", violations=("/id: is no number",)),
    )
    assert exchange is not None
    assert log.list() == [exchange] == [*log]
    assert (exchange.number, exchange.at_ms, exchange.wall_ms) == (1, 1_000, 2_000)
    assert (exchange.answered_ms, exchange.took_us, exchange.role) == (1_500, 7, "submit")
    assert (exchange.operation, exchange.method, exchange.path) == ("launch", "POST", "/v1/jobs?x=1")
    assert (exchange.job_id, exchange.status, exchange.cause) == ("j1", 201, "x.yaml:3")
    assert (exchange.request_headers, exchange.request_body) == ((("Accept", "*/*"),), b"{}")
    assert exchange.response_headers[0] == ("Location", "/v1/jobs/j1")
    assert (exchange.response_body, exchange.response_bytes) == (b'{"id":"j1"}', 11)
    assert exchange.violations == ("/id: is no number", "ours")
    assert not exchange.is_request_cut
    assert not exchange.is_response_cut


def test_the_oldest_exchange_makes_room_and_numbers_go_on() -> None:
    log = CallLog(3)
    for _ in range(10):
        call(log)
    assert numbers(log.list()) == [8, 9, 10]
    assert (len(log), log.total, log.count()) == (3, 10, 3)
    log.clear()
    assert (log.list(), log.total) == ([], 10)
    call(log)
    assert numbers(log.list()) == [11]


def test_a_log_of_no_length_keeps_nothing_and_counts() -> None:
    log = CallLog(0)
    call(log)
    assert (log.list(), log.total) == ([], 1)


def test_a_long_body_is_cut_and_says_how_long_it_was() -> None:
    log = CallLog(body_bytes_max=4)
    cut = call(log, request_body=b"12345", response_body=b"1234")
    assert (cut.request_body, cut.request_bytes, cut.is_request_cut) == (b"1234", 5, True)
    assert (cut.response_body, cut.response_bytes, cut.is_response_cut) == (b"1234", 4, False)
    cut = call(log, response_body=b"12345")
    assert (cut.response_body, cut.response_bytes, cut.is_response_cut) == (b"1234", 5, True)


def test_a_body_that_nobody_read_is_as_long_as_the_client_said() -> None:
    log = CallLog()
    unread = call(log, request_headers=[(b"content-length", b"1000000")])
    assert (unread.request_body, unread.request_bytes, unread.is_request_cut) == (b"", 1_000_000, True)
    for nonsense in (b"-1", b"x", b"9" * 5_000, b"\xb2"):
        assert call(log, request_headers=[(b"content-length", nonsense)]).request_bytes == 0


LONG: dict[str, dict[str, Any]] = {
    "request body": {"request_body": b"x" * 20_000},
    "response body": {"response_body": b"x" * 20_000},
    "path": {"path": "/" + "x" * 20_000},
    "query": {"path": "/?" + "x" * 20_000},
    "request header": {"request_headers": [(b"a", b"x" * 20_000)]},
    "request header name": {"request_headers": [(b"x" * 20_000, b"")]},
    "header of a scripted answer": {
        "response_headers": [(b"a", b"x" * 20_000)],
        "notes": noted(cause="x.yaml:3"),
    },
    "violation": {"notes": noted(violations=("x" * 20_000,))},
}


@pytest.mark.parametrize("what", LONG)
def test_all_that_a_client_can_make_long_is_limited_however_few_exchanges_it_is(what: str) -> None:
    log = CallLog(100, kept_bytes_max=70_000)
    for _ in range(20):
        call(log, **{"path": "/"} | LONG[what])
    assert numbers(log.list()) == [18, 19, 20]
    for _ in range(1_000):
        call(log, "/")
    assert 50 < len(log) <= 100
    assert log.kept_bytes <= 70_000
    log.clear()
    assert log.kept_bytes == 0


def test_an_exchange_that_is_too_long_for_the_whole_log_is_not_kept() -> None:
    log = CallLog(kept_bytes_max=5_000)
    log.on_add = lambda exchange: None
    call(log, request_body=b"x" * 6_000)
    assert (log.list(), log.kept_bytes) == ([], 0)
    call(log)
    assert numbers(log.list()) == [2]


# ---- all logs of a server -------------------------------------------------------------------------------------------


def test_the_largest_log_gives_up_its_older_half_when_all_together_keep_too_much() -> None:
    allowance = Allowance(1_000_000)
    small, large = CallLog(allowance=allowance), CallLog(allowance=allowance)
    for _ in range(10):
        call(small, request_body=b"x" * 10_000)
    for _ in range(200):
        call(large, request_body=b"x" * 10_000)
        assert allowance.kept_bytes == small.kept_bytes + large.kept_bytes <= 1_000_000
    assert numbers(small.list()) == [*range(1, 11)]
    kept = numbers(large.list())
    assert 30 < len(kept) < 90
    assert kept == [*range(201 - len(kept), 201)]


def test_room_is_made_seldom_however_many_logs_there_are() -> None:
    made: list[int] = []

    class Watched(Allowance):
        def make_room(self) -> None:
            made.append(1)
            super().make_room()

    allowance = Watched(16_000_000)
    logs = [CallLog(allowance=allowance) for _ in range(500)]
    for number in range(20_000):
        call(logs[number % 500], request_body=b"x" * 1_000)
    # Each time a sixteenth is given back, which is some 500 exchanges.
    assert 10 < len(made) < 40
    assert allowance.kept_bytes == sum(log.kept_bytes for log in logs) <= 16_000_000


def test_a_log_that_is_closed_gives_everything_back_and_keeps_nothing_more() -> None:
    allowance = Allowance()
    log = CallLog(allowance=allowance)
    call(log)
    log.close()
    call(log)
    assert (log.list(), log.kept_bytes, allowance.kept_bytes, allowance.logs) == ([], 0, 0, set())


def test_a_list_is_read_page_by_page_and_from_either_end() -> None:
    log = CallLog()
    for api in ("ica", "ica", "ogc", "ogc"):
        call(log, api=api)
    assert numbers(log.list(limit=2)) == [1, 2]
    assert numbers(log.list(limit=2, after=2)) == [3, 4]
    assert numbers(log.list(after=4)) == []
    assert numbers(log.list(limit=2, newest_first=True)) == [4, 3]
    assert numbers(log.list(Wanted(api="ica"), limit=1, newest_first=True)) == [2]
    assert log.list(limit=0) == []


def test_an_exchange_is_found_by_its_number_as_long_as_it_is_kept() -> None:
    log = CallLog(2)
    assert log.find(1) is None
    for _ in range(3):
        call(log)
    assert [getattr(log.find(number), "number", None) for number in range(5)] == [None, None, 2, 3, None]


def test_those_that_are_wanted_are_forgotten_and_the_others_keep_their_numbers() -> None:
    log = CallLog()
    for api in ("ica", "ogc", "ica", "ogc"):
        call(log, api=api)
    log.clear(Wanted(api="ica"), after=1)
    assert numbers(log.list()) == [1, 2, 4]
    assert (log.count(), log.find(3), log.find(4)) == (3, None, log.list()[-1])
    log.clear()
    assert log.kept_bytes == 0


def test_the_job_is_the_one_in_the_path_else_the_first_that_was_made() -> None:
    log = CallLog()
    made = noted(jobs=("7", "8"), jobs_made=2)
    assert call(log, operation="launch", params={"id": "3"}, notes=made).job_id == "3"
    assert call(log, operation="launch", notes=made).job_id == "7"
    assert call(log, params={"id": "3"}).job_id is None


def test_nothing_that_is_shown_holds_a_credential() -> None:
    log = CallLog()
    exchange = call(
        log,
        "/a?token=s3cret",
        request_headers=[(b"Authorization", b"Bearer s3cret"), (b"Cookie", b"s3cret")],
        request_body=b'{"password":"s3cret"}',
        response_headers=[(b"Set-Cookie", b"s3cret"), (b"Location", b"/b?sig=s3cret")],
        response_body=b'{"accessToken":"s3cret"}',
    )
    names = [name for name in dir(Exchange) if not name.startswith("_")]
    shown = [getattr(exchange, name) for name in names]
    assert "s3cret" not in repr((exchange, shown))
    assert len(names) > 20


@pytest.mark.parametrize("headers", [2, 8, 30])
def test_what_a_log_is_thought_to_take_is_about_what_it_takes(headers: int) -> None:
    log = CallLog(10_000, kept_bytes_max=1 << 40)
    tracemalloc.start()
    try:
        for number in range(2_000):
            call(
                log,
                f"/v1/jobs/{number}",
                operation="launch",
                params={"id": f"{number}"},
                at_ms=1_000_000 + number,
                took_ns=10_000 + number,
                request_headers=[
                    (b"name-%d" % place, b"value-%d" % (place + number)) for place in range(headers)
                ],
                response_headers=[(b"name-%d" % place, b"value-%d" % (place + number)) for place in range(4)],
                response_body=b"%d" % number * 40,
            )
        really = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert really / 2 < log.kept_bytes < really * 2
