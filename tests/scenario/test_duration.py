"""Durations as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.scenario.duration import MAXIMUM_MS, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("250ms", 250),
        ("2s", 2_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        (" 1d ", 86_400_000),
        ("0s", 0),
        ("PT5M", 300_000),
        ("P1DT2H", 93_600_000),
        ("pt0.5s", 500),
    ],
)
def test_a_duration_is_so_many_milliseconds(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "2", "s", "2 s", "-2s", "2x", "P", "PT", "2s3", "3 polls", "soon"])
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it like 250ms"):
        parse_duration(text)


def test_more_than_a_hundred_years_is_refused() -> None:
    assert parse_duration("36500d") == MAXIMUM_MS
    with pytest.raises(ValueError, match="longer than a hundred years"):
        parse_duration("36501d")


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0, max_value=MAXIMUM_MS))
def test_a_written_duration_is_read_back_the_same(milliseconds: int) -> None:
    assert parse_duration(format_duration(milliseconds)) == milliseconds
