"""The list of OGC jobs: its order, its pages, its filters."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.apis.ogc_parts import FAIL, PROCESSES, execute, in_words, job_in, link, serve, status
from tests.kit import Kit


def test_the_list_is_newest_first_and_its_links_walk_through_all_of_it() -> None:
    kit = serve()
    made = []
    for _ in range(25):
        made.append(execute(kit)["jobID"])
        kit.advance("100ms")
    page = kit.get("/ogc/jobs").json()
    assert link(page, "prev") is None
    forward = [page]
    while (next_path := link(page, "next")) is not None:
        page = kit.get(next_path).json()
        forward.append(page)
    assert [len(one["jobs"]) for one in forward] == [10, 10, 5]
    seen = [job["jobID"] for one in forward for job in one["jobs"]]
    assert seen == made[::-1]
    for before, after in pairwise(forward):
        prev_path = link(after, "prev")
        assert prev_path is not None
        assert [job["jobID"] for job in kit.get(prev_path).json()["jobs"]] == [
            job["jobID"] for job in before["jobs"]
        ]


def test_a_listed_job_is_shown_as_its_status() -> None:
    kit = serve()
    for state in ("successful", "failed", "dismissed", "running"):
        job_in(kit, state)
    listed = kit.get("/ogc/jobs").json()["jobs"]
    assert [job["status"] for job in listed] == ["running", "dismissed", "failed", "successful"]
    assert listed == [status(kit, job["jobID"]) for job in listed]


@pytest.mark.parametrize("offset", [3, 4, 10**9, 10**30])
def test_past_the_end_the_list_is_empty_and_leads_back(offset: int) -> None:
    kit = serve()
    for _ in range(3):
        execute(kit)
    body = kit.get(f"/ogc/jobs?limit=2&offset={offset}").json()
    assert body["jobs"] == []
    assert link(body, "next") is None
    prev_path = link(body, "prev")
    assert prev_path is not None
    assert len(kit.get(prev_path).json()["jobs"]) == 2


def test_a_list_that_ends_with_its_page_has_no_next() -> None:
    kit = serve()
    for _ in range(2):
        execute(kit)
    body = kit.get("/ogc/jobs?limit=2").json()
    assert len(body["jobs"]) == 2
    assert link(body, "next") is None
    assert link(body, "self") == "/ogc/jobs?limit=2&offset=0"


def test_an_empty_list_has_links_too() -> None:
    body = serve().get("/ogc/jobs").json()
    assert body["jobs"] == []
    assert [one["rel"] for one in body["links"]] == ["self"]


# ---- filters --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many() -> Kit:
    """A server at 00:20 with a job of each state, all but the first a second apart.

    0 s echo successful (1 to 4 s) · 10 s fail failed (11 to 14) · 11 s echo-async dismissed while accepted · 12 s echo dismissed
    after a second of work (13 to 14) · 17 s echo running since 18 · 19.5 s fail accepted
    """
    kit = serve()
    execute(kit)
    kit.advance("10s")
    execute(kit, FAIL)
    kit.advance("1s")
    kit.delete(f"/ogc/jobs/{execute(kit, f'{PROCESSES}/echo-async/execution')['jobID']}")
    kit.advance("1s")
    interrupted = execute(kit)["jobID"]
    kit.advance("2s")
    kit.delete(f"/ogc/jobs/{interrupted}")
    kit.advance("3s")
    execute(kit)
    kit.advance("2500ms")
    execute(kit, FAIL)
    kit.advance("500ms")
    return kit


def seconds(body: dict[str, Any]) -> list[float]:
    """When the listed jobs were made."""
    return [float(job["created"][17:-1]) for job in body["jobs"]]


EVERYTHING = [19.5, 17, 12, 11, 10, 0]
DAY = "2030-01-01T00:00:"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", EVERYTHING),
        ("type=process", EVERYTHING),
        ("type=process&type=process", EVERYTHING),
        ("processID=fail", [19.5, 10]),
        ("processID=fail,echo-async", [19.5, 11, 10]),
        ("processID=fail&processID=echo-async", [19.5, 11, 10]),
        ("processID=nothing", []),
        ("processID=nothing,fail", [19.5, 10]),
        ("status=accepted", [19.5]),
        ("status=running", [17]),
        ("status=successful", [0]),
        ("status=failed", [10]),
        ("status=dismissed", [12, 11]),
        ("status=dismissed,accepted", [19.5, 12, 11]),
        ("status=dismissed&status=accepted", [19.5, 12, 11]),
        ("status=dismissed&processID=echo", [12]),
        ("status=accepted,failed&processID=echo", []),
        (f"datetime={DAY}17Z", [17]),
        (f"datetime={DAY}17.000Z", [17]),
        ("datetime=2030-01-01T01:00:17%2B01:00", [17]),
        ("datetime=2029-12-31t23:30:17-00:30", [17]),
        (f"datetime={DAY}17.001Z", []),
        (f"datetime={DAY}10Z/{DAY}12Z", [12, 11, 10]),
        (f"datetime={DAY}10.0001Z/{DAY}11.9999Z", [11]),
        (f"datetime={DAY}12Z/..", [19.5, 17, 12]),
        (f"datetime={DAY}12Z/", [19.5, 17, 12]),
        (f"datetime=../{DAY}10Z", [10, 0]),
        (f"datetime=/{DAY}10Z", [10, 0]),
        ("datetime=0001-01-01T00:00:00%2B23:59/9999-12-31T23:59:59-23:59", EVERYTHING),
        (f"datetime={DAY}11Z/..&processID=echo", [17, 12]),
        # Only jobs that run or have ended are looked at, and among them those that ever ran: 2 s so far, 1 s, 3 s, 3 s.
        ("minDuration=0", [17, 12, 10, 0]),
        ("minDuration=2", [17, 10, 0]),
        ("minDuration=3", [10, 0]),
        ("minDuration=4", []),
        ("maxDuration=0", []),
        ("maxDuration=1", [12]),
        ("maxDuration=2", [17, 12]),
        ("minDuration=2&maxDuration=2", [17]),
        ("minDuration=3&maxDuration=2", []),
        ("minDuration=1&status=dismissed,accepted", [12]),
        ("maxDuration=5&status=accepted", []),
        (f"minDuration=1&status=dismissed,successful&datetime={DAY}01Z/..&processID=echo", [12]),
    ],
)
def test_a_job_is_listed_when_it_meets_every_filter(many: Kit, query: str, expected: list[float]) -> None:
    answer = many.get(f"/ogc/jobs?{query}")
    assert answer.status == 200, answer.text
    assert seconds(answer.json()) == expected


@pytest.mark.parametrize(
    "query",
    [
        "type=thing",
        "type=",
        "status=succeeded",
        "status=running,succeeded",
        "status=",
        "limit=10001",
        "limit=0",
        "offset=-1",
        "minDuration=-1",
        "minDuration=soon",
        "minDuration=1.5",
        "maxDuration=",
        "maxDuration=1,2",
        "datetime=",
        "datetime=junk",
        "datetime=/",
        "datetime=../..",
        "datetime=2030-01-01",
        "datetime=2030-01-01T00:00:00",
        "datetime=2030-01-01 00:00:00Z",
        "datetime=2030-01-01T00:00:00+01:00",
        "datetime=2030-02-30T00:00:00Z",
        "datetime=2030-01-01T25:00:00Z",
        "datetime=2030-01-01T00:00:00%2B25:00",
        "datetime=0000-01-01T00:00:00Z",
        f"datetime={DAY}02Z/{DAY}01Z",
        f"datetime={DAY}01Z/{DAY}02Z/{DAY}03Z",
    ],
)
def test_a_filter_that_says_nothing_sensible_is_an_invalid_parameter(many: Kit, query: str) -> None:
    answer = many.get(f"/ogc/jobs?{query}")
    assert in_words(answer) == "400 InvalidParameterValue"
    assert query.partition("=")[0] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("processID=echo,fail", [19.5, 17, 12, 10, 0]),
        ("processID=echo&processID=fail", [19.5, 17, 12, 10, 0]),
        ("status=dismissed,failed,successful&type=process", [12, 11, 10, 0]),
        (f"datetime={DAY}00%2B00:00/..&status=failed,running,accepted", [19.5, 17, 10]),
        ("minDuration=1&maxDuration=3", [17, 12, 10, 0]),
    ],
)
def test_the_links_between_pages_keep_the_filters(many: Kit, query: str, expected: list[float]) -> None:
    page = many.get(f"/ogc/jobs?{query}&limit=2").json()
    forward = [page]
    while (next_path := link(page, "next")) is not None:
        assert many.get(link(page, "self") or "").json() == page
        page = many.get(next_path).json()
        forward.append(page)
    assert [second for one in forward for second in seconds(one)] == expected
    assert {len(one["jobs"]) for one in forward[:-1]} == {2}
    for before, after in pairwise(forward):
        assert many.get(link(after, "prev") or "").json()["jobs"] == before["jobs"]


def test_ten_thousand_jobs_fit_on_a_page(many: Kit) -> None:
    assert seconds(many.get("/ogc/jobs?limit=10000").json()) == EVERYTHING


def test_a_job_that_runs_on_comes_into_the_list_of_long_ones() -> None:
    kit = serve()
    execute(kit, pause=100)
    kit.advance("30s")
    assert kit.get("/ogc/jobs?minDuration=30").json()["jobs"] == []
    kit.advance("1s")
    assert len(kit.get("/ogc/jobs?minDuration=30").json()["jobs"]) == 1
