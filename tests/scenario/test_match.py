"""Which jobs a rule is for."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.command import Submit
from simulator.scenario.match import Field, Glob, When, text_of, values_at


def globs(*texts: str) -> tuple[Glob, ...]:
    return tuple(map(Glob.of, texts))


@pytest.mark.parametrize(
    ("glob", "text", "fits"),
    [
        ("nightly-*", "nightly-7", True),
        ("nightly-*", "my nightly-7", False),
        ("*Command", "org.jbpm.PrintOutCommand", True),
        ("step?", "step1", True),
        ("step?", "step", False),
        ("run[1-3]", "run2", True),
        ("run[!1-3]", "run2", False),
        ("Upload", "upload", False),
        ("a.b", "axb", False),
        ("a*", "a\nb", True),
        ("[z-a]", "z", False),
        ("[[:alpha:]&&~]", "x", False),
        ("", "", True),
    ],
)
def test_a_glob_fits_the_whole_text_and_cases_count(glob: str, text: str, fits: bool) -> None:
    assert Glob.of(glob).fits(text) is fits


def test_an_endless_glob_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 1000 characters"):
        Glob.of("*" * 1001)


def test_a_glob_of_many_stars_does_not_take_for_ever() -> None:
    assert not Glob.of("*a" * 200).fits("a" * 199 + "b" * 5_000)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("name", ["tonight"]),
        ("inputs.0.name", ["raw"]),
        ("inputs.1", ["plain"]),
        ("inputs.2", []),
        ("inputs.-1", []),
        ("inputs.x", []),
        ("inputs.99999999999999999999", []),
        ("a.b", ["literal", "nested"]),
        ("a.b.c", []),
        ("x.y.z", ["deep"]),
        ("name.more", []),
        ("nothing", [None]),
        ("missing", []),
        ("", ["empty"]),
    ],
)
def test_a_path_leads_through_keys_and_indexes_and_the_longest_key_comes_first(
    path: str, found: list[Any]
) -> None:
    request = {
        "name": "tonight",
        "inputs": [{"name": "raw"}, "plain"],
        "a.b": "literal",
        "a": {"b": "nested"},
        "x": {"y.z": "deep"},
        "nothing": None,
        "": "empty",
    }
    assert list(values_at(request, path)) == found


def test_a_request_that_is_a_list_is_entered_by_index() -> None:
    assert list(values_at([{"id": 4}], "0.id")) == [4]


def test_a_request_without_structure_has_no_values() -> None:
    assert list(values_at("text", "0")) == []
    assert list(values_at(None, "name")) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (True, "true"),
        (None, "null"),
        (3, "3"),
        (1.50, "1.5"),
        ({"é": [1, 2]}, '{"é":[1,2]}'),
        (b"raw", "\"b'raw'\""),
    ],
)
def test_values_are_compared_in_the_spelling_of_json(value: Any, text: str) -> None:
    assert text_of(value) == text


def test_nothing_asked_for_holds_for_every_job() -> None:
    assert When().is_always
    assert When().holds(Submit("ica", "run"), 1)


@pytest.mark.parametrize(
    "when",
    [
        When(apis=("titan", "ogc")),
        When(kinds=globs("walk", "sw*")),
        When(numbers=(3, 5)),
        When(every=3),
        When(chance=1e-9),
        When(fields=(Field("name", globs("other")),)),
        When(apis=("ica",), kinds=globs("run"), numbers=(2, 2), fields=(Field("size", globs("1")),)),
    ],
)
def test_one_condition_that_fails_keeps_the_rule_from_the_job(when: When) -> None:
    assert not when.is_always
    assert not when.holds(Submit("ica", "run", request={"name": "tonight", "size": 12}), 2)


@pytest.mark.parametrize(
    "when",
    [
        When(apis=("titan", "ica")),
        When(kinds=globs("walk", "r*")),
        When(numbers=(2, 5)),
        When(numbers=(1, 2)),
        When(every=2),
        When(every=1, chance=1),
        When(fields=(Field("name", globs("x", "to*")), Field("size", globs("12")))),
    ],
)
def test_a_rule_is_for_the_job_when_every_condition_holds(when: When) -> None:
    assert when.holds(Submit("ica", "run", request={"name": "tonight", "size": 12}), 2)


def drawn(chance: float, *, seed: int = 1, place: int = 0) -> list[int]:
    """Which of the first thousand jobs are drawn."""
    when = When(chance=chance, place=place)
    assert not when.is_always
    return [number for number in range(1, 1_001) if when.holds(Submit("ica", "run"), number, seed)]


def test_every_third_job_is_one_whose_number_three_divides() -> None:
    when = When(every=3, numbers=(4, 12))
    assert [number for number in range(1, 20) if when.holds(Submit("ica", "run"), number)] == [6, 9, 12]


def test_a_chance_takes_its_share_of_the_jobs() -> None:
    assert 60 < len(drawn(0.1)) < 140
    assert 440 < len(drawn(0.5)) < 560
    assert len(drawn(1)) == 1_000


def test_who_is_drawn_depends_on_the_seed_and_the_rule_alone() -> None:
    assert drawn(0.3) == drawn(0.3)
    assert drawn(0.3) != drawn(0.3, seed=2)
    assert drawn(0.3) != drawn(0.3, place=1)
    assert set(drawn(0.3)) < set(drawn(0.6)), "who is drawn stays drawn when the chance grows"
