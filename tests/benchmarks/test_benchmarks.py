"""The benchmarks run and print their tables; how fast anything is, no test asserts."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.benchmarks.servers import ROOT

pytestmark = pytest.mark.slow


def printed(*command: str, codes: tuple[int, ...] = (0,)) -> str:
    """What a benchmark prints, with counts too small to mean anything."""
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode in codes, done.stderr
    return done.stdout


def row(table: str, *cells: str) -> list[str]:
    """The rest of the row that begins with these cells."""
    wanted = " ".join(cells).split()
    (found,) = [words for line in table.splitlines() if (words := line.split())[: len(wanted)] == wanted]
    return found[len(wanted) :]


def is_figure(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).isdigit()


@pytest.mark.parametrize("api", ["titan", "ica", "ogc"])
def test_http_cost_compares_understudy_with_a_bare_app_and_says_that_prism_is_not_there(api: str) -> None:
    table = printed(
        "tests.benchmarks.http_cost", api, "--rounds", "1", "--requests", "64", "--warm-up", "16",
        "--prism", "/no/such/prism",
    )  # fmt: skip
    assert "Prism is not measured: /no/such/prism was not found" in table
    for call in ("GET", "POST"):
        for server in ("understudy", "with ten rules", "bare ASGI app"):
            figures = row(table, api, call, server)
            assert len(figures) == 5
            assert int(figures[0]) > 100, "the answer's bytes"
        assert row(table, api, call, "understudy")[3:] in (["1.00", "1.00"], ["nan", "nan"])
    assert "understudy / bare app, GET" in table


def test_http_cost_compares_two_checkouts_in_the_same_rounds() -> None:
    table = printed(
        "tests.benchmarks.http_cost", "titan", "--rounds", "1", "--requests", "64", "--warm-up", "16",
        "--prism", "/no/such/prism", "--against", str(ROOT),
    )  # fmt: skip
    for call in ("GET", "POST"):
        assert (
            row(table, "titan", call, "the other checkout")[0] == row(table, "titan", call, "understudy")[0]
        )
        assert f"understudy / the other checkout, {call}" in table


@pytest.mark.parametrize("api", ["ica", "jbpm"])
def test_engine_cost_prints_submits_moves_and_memory(api: str) -> None:
    table = printed(
        "tests.benchmarks.engine_cost", "speed", "memory", "--jobs", "60", "--many", "100", "--rounds", "1"
    )
    for what in ("submits", "moves"):
        assert all(is_figure(figure) for figure in row(table, api, what, "60 as they are"))
    for how in ("waiting", "done"):
        assert len(row(table, api, how)) == 2


def test_engine_cost_prints_the_pages_of_the_api_and_of_the_engine() -> None:
    table = printed("tests.benchmarks.engine_cost", "pages", "--many", "2000")
    for page in ("newest first", "by state", "by label", "sorted by name", "engine: newest first"):
        figures = row(table, page)
        assert len(figures) == 4
        assert all(map(is_figure, figures))


def test_start_time_prints_when_the_server_was_ready_and_when_it_answered() -> None:
    table = printed("tests.benchmarks.start_time", "--runs", "1")
    for what in ("ready line", "first answer"):
        assert all(0 < float(figure) < 60 for figure in row(table, what))


def test_a_small_soak_has_no_error_and_prints_each_tenth() -> None:
    # How long answers take depends on what else the machine does, so the aim for that may be missed here.
    table = printed(
        "tests.benchmarks.soak", "--requests", "2000", "--jobs", "6000", "--worlds", "10", codes=(0, 1)
    )
    assert "met     errors: 0.00" in table
    assert "met     resident memory / predicted" in table
    assert " 10 worlds in " in table
    for tenth in range(1, 11):
        figures = row(table, str(tenth))
        assert len(figures) == 6
        assert all(map(is_figure, figures))
    requests, jobs = (int(word.replace(",", "")) for word in table.split()[:3:2])
    assert requests >= 2_000
    assert jobs >= 5_500
