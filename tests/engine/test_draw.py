"""Chance as a function of seed and purpose."""

from __future__ import annotations

from uuid import RFC_4122, UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.draw import Purpose, draw_between, draw_bytes, draw_hex, draw_uuid


def test_a_draw_is_the_same_in_every_process_and_on_every_machine() -> None:
    assert draw_hex(7, "id", "titan", 1) == "aa9c8b8372a0206f50a420e4df507c81"
    assert draw_uuid(7, "id", "titan", 1) == "aa9c8b83-72a0-406f-90a4-20e4df507c81"
    assert draw_between(1, 1_000_000, 7, "step", 1, 1, 0) == 435_334


def test_no_draw_depends_on_the_draws_before_it() -> None:
    alone = draw_bytes(7, "b")
    for purpose in range(100):
        draw_bytes(7, "a", purpose)
    assert draw_bytes(7, "b") == alone


def test_another_seed_or_another_purpose_draws_something_else() -> None:
    purposes: list[tuple[Purpose, ...]] = [
        (),
        ("",),
        ("a",),
        ("b",),
        (1,),
        (11,),
        ("a", 1),
        ("a", 2),
        (1, "a"),
        (1, 1),
    ]
    drawn = {draw_bytes(seed, *purpose) for seed in (-1, 0, 1, 7, 71) for purpose in purposes}
    assert len(drawn) == 5 * 10


def test_words_of_a_purpose_do_not_run_together() -> None:
    assert draw_bytes(7, "ab", "c") != draw_bytes(7, "a", "bc")
    assert draw_bytes(1, "1a") != draw_bytes(11, "a")


def test_a_hex_draw_is_thirty_two_lower_case_digits() -> None:
    for number in range(200):
        drawn = draw_hex(7, number)
        assert len(drawn) == 32
        assert set(drawn) <= set("0123456789abcdef")


def test_a_uuid_draw_is_a_random_uuid_by_the_book() -> None:
    for number in range(200):
        drawn = UUID(draw_uuid(7, number))
        assert drawn.version == 4
        assert drawn.variant == RFC_4122
        assert str(drawn) == draw_uuid(7, number)


@settings(deadline=None, print_blob=True)
@given(low=st.integers(-(10**12), 10**12), width=st.integers(0, 10**12), seed=st.integers())
def test_a_draw_between_two_numbers_stays_between_them(low: int, width: int, seed: int) -> None:
    assert low <= draw_between(low, low + width, seed, "step") <= low + width


@pytest.mark.parametrize("width", [0, 1, 5])
def test_both_ends_and_everything_between_are_drawn_about_as_often(width: int) -> None:
    draws = [draw_between(3, 3 + width, 7, number) for number in range(1_200)]
    expected = len(draws) // (width + 1)
    for value in range(3, 3 + width + 1):
        assert 0.8 * expected <= draws.count(value) <= 1.2 * expected
