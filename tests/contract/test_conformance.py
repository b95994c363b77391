"""Schemathesis proves that the server keeps to its documents: all four phases, all checks, by way of `simulator.conform`.

The short form belongs to the test command; `UNDERSTUDY_CONFORMANCE=long` tries more cases per operation, each scenario
with two APIs, and each request body in each media type. What may be otherwise than the checks expect stands, with its reason,
in `simulator/conformance.toml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache

import pytest

from simulator.assemble import API_MODULES, load_apis
from simulator.conform import CONTROL, Plan, Result, Served, document_of, examine, links_of
from simulator.resources import shipped_scenarios
from simulator.web import faults
from simulator.web.service import METHODS

IS_LONG = os.environ.get("UNDERSTUDY_CONFORMANCE") == "long"
EXAMPLES = 30 if IS_LONG else 12
STORIES = 15 if IS_LONG else 10
DOCUMENTS = (*API_MODULES, CONTROL)
FLAVOURS = {"ogc": "flavour: unity", "jbpm": "date_format: wrapped", "titan": "status_words: success-error"}
"""Settings under which an API speaks otherwise."""
FLAVOUR_NAMES = {"ogc": "unity"}
"""Flavours that the exceptions have a section for."""
OPERATIONS_AT_ONCE = 20
"""A document with more of them is fuzzed in parts, so that the parts can be spread over the cores."""
SCENARIOS_AT_ONCE = 13


@cache
def served(scenario: str = "happy") -> Served:
    """One server for all documents, as long as they meet the same scenario."""
    return Served(scenario)


def flavoured(name: str) -> Served:
    return served(
        f"description: It speaks otherwise.\nextends: happy\napis: {{{name}: {{{FLAVOURS[name]}}}}}\n"
    )


def told(result: Result) -> list[str]:
    """What is wrong, readable in the report of a failed test."""
    return result.errors + [
        f"{one.phase} {one.operation} {one.check}: {one.title} {one.pointer} {one.message}\n{one.curl}"
        for one in result.findings
    ]


def operations_of(name: str) -> list[str]:
    items = document_of(name)["paths"].values()
    return [item[method]["operationId"] for item in items for method in item if method in METHODS]


def parts_of(name: str) -> Iterator[tuple[str, ...]]:
    operations = operations_of(name)
    for place in range(0, len(operations), OPERATIONS_AT_ONCE):
        yield tuple(operations[place : place + OPERATIONS_AT_ONCE])


def by_operation_id(name: str) -> dict[str, list[tuple[str, str]]]:
    """The links that lead on from an operation: each with the operation that it leads to."""
    labels = {
        f"{method.upper()} {path}": item[method]["operationId"]
        for path, item in document_of(name)["paths"].items()
        for method in item
        if method in METHODS
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for link in links_of(document_of(name)):
        source, target = link.partition(" -> [")[0], link.rpartition(" -> ")[2]
        found.setdefault(labels[source], []).append((link, labels[target]))
    return found


def role_of(name: str, operation: str) -> str:
    return load_apis((name,))[name].operations[operation].role.value


# ---- one operation at a time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_whatever_a_document_allows_or_forbids_is_dealt_with_as_it_says(name: str) -> None:
    plan = Plan(phases=("coverage",), is_thrifty=not IS_LONG)
    wrong = told(examine(name, served(), plan))
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize(
    ("name", "operations"), [(name, part) for name in DOCUMENTS for part in parts_of(name)]
)
def test_examples_and_random_requests_are_answered_as_the_document_says(
    name: str, operations: tuple[str, ...]
) -> None:
    plan = Plan(phases=("examples", "fuzzing"), examples_max=EXAMPLES, operations=operations)
    wrong = told(examine(name, served(), plan))
    assert wrong == [], "\n".join(wrong)


@pytest.mark.parametrize("name", FLAVOURS)
def test_an_api_that_speaks_otherwise_keeps_to_its_document_all_the_same(name: str) -> None:
    plan = Plan(
        examples_max=EXAMPLES,
        stories_max=STORIES,
        is_thrifty=not IS_LONG,
        flavour=FLAVOUR_NAMES.get(name, ""),
    )
    assert told(examine(name, flavoured(name), plan)) == []


# ---- along the links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCUMENTS)
def test_conversations_that_follow_links_keep_to_the_document(name: str) -> None:
    result = examine(name, served(), Plan(phases=("stateful",), stories_max=STORIES))
    assert told(result) == []
    assert result.followed.keys() & set(links_of(document_of(name)))


@pytest.mark.parametrize("name", API_MODULES)
def test_from_every_api_a_new_job_leads_to_its_status_to_its_result_and_to_its_end(name: str) -> None:
    links = by_operation_id(name)
    submits = [operation for operation in links if role_of(name, operation) == "submit"]
    for submit in submits if IS_LONG else submits[:1]:
        wanted = {link for link, target in links[submit] if role_of(name, target) in ("status", "cancel")}
        roles = {role_of(name, target) for _, target in links[submit]}
        assert {"status", "cancel"} <= roles
        result = follow(name, submit, wanted)
        assert wanted <= result.followed.keys()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_of_a_document_can_be_followed(name: str) -> None:
    """All that lead on from the first operation which has any; random stories come along the others as it happens."""
    source, links = next(iter(by_operation_id(name).items()))
    wanted = {link for link, _ in links}
    assert sorted(wanted - follow(name, source, wanted).followed.keys()) == []


def follow(name: str, source: str, wanted: set[str]) -> Result:
    """Tell stories about one operation, and those that lead to it, until all these links were followed, a few times at most."""
    links = by_operation_id(name)
    before = [source]
    for later in before:
        leading = (
            operation for operation, leads in links.items() if later in {target for _, target in leads}
        )
        before += [operation for operation in leading if operation not in before]
    operations = tuple(dict.fromkeys([*before, *(target for _, target in links[source])]))
    result = Result(name)
    for seed in range(1, 13):
        plan = Plan(phases=("stateful",), stories_max=2 * STORIES, seed=seed, operations=operations)
        found = examine(name, served(), plan)
        assert told(found) == []
        result.followed.update(found.followed)
        if wanted <= result.followed.keys():
            break
    return result


# ---- in every situation ---------------------------------------------------------------------------------------------


def chain_of(name: str, turn: int) -> tuple[str, ...]:
    """A submit and where it leads, and a list; another one at each turn."""
    links = by_operation_id(name)
    submits = [operation for operation in links if role_of(name, operation) == "submit"]
    submit = submits[turn % len(submits)]
    lists = [operation for operation in operations_of(name) if role_of(name, operation) == "list"]
    listing = [lists[turn % len(lists)]] if lists else []
    return (submit, *dict.fromkeys(target for _, target in links[submit]), *listing)


@pytest.mark.parametrize("place", range(0, len(shipped_scenarios()), SCENARIOS_AT_ONCE))
def test_every_scenario_keeps_to_the_documents_but_for_what_it_breaks_by_declaration(
    place: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Delays are real waiting, and what is answered after one is the same.
    monkeypatch.setattr(faults, "LONGEST_DELAY_SECONDS", 0.001)
    wrong: dict[str, list[str]] = {}
    for turn, scenario in [*enumerate(shipped_scenarios())][place : place + SCENARIOS_AT_ONCE][
        :: 1 if IS_LONG else 3
    ]:
        playing = _playing(scenario)
        # In the short form every third scenario. Another API at each turn; two of them in the long form.
        for name in [API_MODULES[(turn + step) % len(API_MODULES)] for step in range(2 if IS_LONG else 1)]:
            operations = chain_of(name, turn)
            plan = Plan(
                phases=("examples", "stateful"),
                examples_max=3,
                stories_max=8 if IS_LONG else 4,
                seed=turn,
                operations=operations,
            )
            result = examine(name, playing, plan)
            if found := told(result):
                wrong[f"{scenario} {name}"] = found
            never = [operation for operation in operations if not result.called[operation]]
            assert never == [], f"{scenario} {name}"
    assert wrong == {}, "\n".join(text for texts in wrong.values() for text in texts)


def _playing(scenario: str) -> Served:
    """A server of its own, made once, that plays one scenario after the other."""
    playing = served("description: Plays others.\nextends: happy\n")
    playing.play(scenario)
    return playing
