"""The ledger: the latest violations, counted in all, never larger than it may be."""

from __future__ import annotations

from dataclasses import replace

from simulator.web.ledger import Ledger, Line


def line(number: int = 0, by: str = "client", message: str = "") -> Line:
    return Line(by, "titan", "jobs_post", f"/jobs/{number}", message)


def test_lines_come_oldest_first_and_by_whoever_broke_the_contract() -> None:
    ledger = Ledger()
    written = [line(1), line(2, by="server"), line(3)]
    for one in written:
        ledger.add(one)
    assert ledger.lines() == written
    assert ledger.lines("client") == [written[0], written[2]]
    assert ledger.lines("server") == [written[1]]
    assert ledger.lines("nobody") == []


def test_beyond_the_limit_the_oldest_is_dropped_and_still_counted() -> None:
    ledger = Ledger(limit=2)
    for number in range(5):
        ledger.add(line(number))
    assert [one.pointer for one in ledger.lines()] == ["/jobs/3", "/jobs/4"]
    assert ledger.total == 5


def test_a_line_does_not_keep_a_whole_body() -> None:
    ledger = Ledger()
    ledger.add(line(message="x" * 1_000_000))
    ledger.add(Line("client", "titan", "jobs_post", "/" + "y" * 1_000_000, "short"))
    for kept in ledger.lines():
        assert len(kept.message) + len(kept.pointer) <= 4096
    assert ledger.lines()[0].message.startswith("xxx")
    assert ledger.lines()[1].pointer.startswith("/yyy")


def test_a_list_of_lines_is_the_callers_own() -> None:
    ledger = Ledger()
    ledger.add(line())
    ledger.lines().clear()
    assert len(ledger.lines()) == 1


def test_each_world_keeps_its_own_lines_whatever_happens_in_others() -> None:
    ledger = Ledger(limit=3, limit_of_world=2)
    ledger.add(replace(line(0), world="quiet"))
    for number in range(1, 6):
        ledger.add(replace(line(number), world="noisy"))
    assert [one.pointer for one in ledger.lines(world="quiet")] == ["/jobs/0"]
    assert [one.pointer for one in ledger.lines(world="noisy")] == ["/jobs/4", "/jobs/5"]
    assert (ledger.total, ledger.total_of("quiet"), ledger.total_of("noisy")) == (6, 1, 5)
    ledger.forget("noisy")
    ledger.forget("nobody")
    assert (ledger.lines(world="noisy"), ledger.total_of("noisy"), ledger.total) == ([], 0, 6)
    assert len(ledger.lines()) == 3


def test_what_was_declared_is_shown_to_who_asks_for_it() -> None:
    ledger = Ledger()
    ledger.add(replace(line(1, by="server"), is_declared=True))
    ledger.add(line(2, by="server"))
    assert [one.pointer for one in ledger.lines("server")] == ["/jobs/2"]
    assert [one.pointer for one in ledger.lines("server", with_declared=True)] == ["/jobs/1", "/jobs/2"]
    assert ledger.total == 2
