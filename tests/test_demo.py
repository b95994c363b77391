"""`understudy demo` as a user runs it, and its failure."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from simulator import demo
from simulator.assemble import API_MODULES
from simulator.demo import DRIVERS, Client, Seen, run_demo


def test_the_demo_drives_every_api_to_its_end() -> None:
    shown = io.StringIO()
    assert run_demo(1, Console(file=shown, width=160)) == 0
    text = shown.getvalue()
    for word in ("COMPLETE", "DONE", "successful", "Completed", "succeeded", "resized one picture"):
        assert word in text


def test_there_is_a_driver_for_every_api() -> None:
    assert set(DRIVERS) == set(API_MODULES)


def test_a_job_that_does_not_end_fails_the_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(client: Client) -> Iterator[Seen]:
        yield Seen("PROCESSING", 10)

    monkeypatch.setattr(demo, "DRIVERS", {"synapse": stuck})
    assert run_demo(1, Console(file=io.StringIO())) == 1


def test_a_refused_call_names_what_was_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "call", lambda *_, **__: (503, "later"))
    with pytest.raises(RuntimeError, match="answered 503: later"):
        Client("http://127.0.0.1:1").json("GET", "/jobs")
