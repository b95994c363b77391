"""What a scenario that can be read will still surprise with: rules that never fire, and what an API cannot say of it.

The reader (`simulator.scenario.read`) tells what is wrong with each value and warns of what it sees in passing. This module
compares: rules with each other, and the language with the APIs, which come as values (`Ability`). It looks at one file: the files
that it extends are reviewed when they are checked themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from simulator.scenario.calls import CallRule, CallWhen, Declared, Fault
from simulator.scenario.match import Field, Glob, When
from simulator.scenario.model import Scenario
from simulator.scenario.nodes import Node, Notes, Problem, Severity, read_nodes
from simulator.scenario.steps import ENDS

FEATURES = (
    "progress",
    "message",
    "delayed",
    "retrying",
    "cancelling",
    "cancelled",
    "result",
    "error",
    "code",
    "details",
    "log",
    "attempts",
    "refused",
    "worker",
)
"""What an API may not be able to express, beside the roles that it has no operation for."""
_WORDS_INSIDE = frozenset({"result", "error", "code", "details", "log"})
_STATES = frozenset({"delayed", "retrying", "cancelling", "cancelled"})


@dataclass(frozen=True)
class Ability:
    """What one API can do, as far as scenarios care."""

    roles: frozenset[str] = frozenset()
    """What its operations do to jobs."""
    job_operations: frozenset[str] = frozenset()
    """Those whose path names a job."""
    cannot: Mapping[str, str] = field(default_factory=dict)
    """A feature or a role that it has no way to express → what happens instead, after the API's name."""


def review(
    source: Path | str,
    scenario: Scenario,
    *,
    shown_as: str,
    abilities: Mapping[str, Ability],
    declared: Declared,
) -> tuple[Problem, ...]:
    """Warnings and notes about a file whose scenario was read without errors, in the order of the file."""
    notes = Notes(shown_as)
    top = read_nodes(source, Notes(shown_as))
    if top is None:
        return ()
    top = Node(top.raw, top.path, notes)
    fields = {key.written: value for key, value in top.entries()}
    jobs = fields["jobs"].items() if "jobs" in fields else []
    calls = fields["calls"].items() if "calls" in fields else []
    # The rules of the file itself come first, those of what it extends after them.
    whens = [rule.when for rule in scenario.rules[: len(jobs)]]
    rules = scenario.calls.rules[: len(calls)]
    _review_job_rules(jobs, whens)
    _review_call_rules(calls, rules, declared, abilities)
    inexpressible = _Inexpressible(abilities)
    for item, apis in zip(jobs, _reached(whens, abilities), strict=True):
        for feature, node in _features_of(item):
            inexpressible.note(feature, node, apis)
    for item, call in zip(calls, rules, strict=True):
        for feature, node in _features_of_call(item, call):
            inexpressible.note(feature, node, call.when.apis or tuple(abilities))
    _review_workers(fields.get("workers", top), scenario, abilities, inexpressible)
    return notes.problems


def _add(node: Node, message: str, severity: Severity = "warning") -> None:
    node.notes.add_at(node.raw.start_mark, node.path, message, severity)


# ---- rules that never fire ------------------------------------------------------------------------------------------


def _review_job_rules(items: Sequence[Node], whens: Sequence[When]) -> None:
    for place, (item, when) in enumerate(zip(items, whens, strict=True)):
        reason = _no_multiple(when.every, when.numbers, "number")
        if reason:
            _add(item, f"never fires: {reason}")
            continue
        for earlier, earlier_item in zip(whens[:place], items, strict=False):
            if not earlier.is_always and _takes_all_jobs_of(earlier, when):
                _add(
                    item,
                    f"never fires: {earlier_item.path} in line {earlier_item.line} takes every job that this one could",
                )
                break


def _review_call_rules(
    items: Sequence[Node],
    rules: Sequence[CallRule],
    declared: Declared,
    abilities: Mapping[str, Ability],
) -> None:
    for place, (item, rule) in enumerate(zip(items, rules, strict=True)):
        reason = _no_multiple(rule.when.every, rule.when.calls, "call") or _jobless(rule, declared, abilities)
        if reason:
            _add(item, f"never fires: {reason}")
            continue
        for earlier, earlier_item in zip(rules[:place], items, strict=False):
            if not earlier.when.is_always and _takes_all_calls_of(earlier, rule.when):
                _add(
                    item,
                    f"never fires: {earlier_item.path} in line {earlier_item.line} takes every call that this one could",
                )
                break


def _no_multiple(every: int | None, numbers: tuple[int, int] | None, what: str) -> str:
    """Why no number can be in the range and one of every so many; empty when one can."""
    if every is None or numbers is None:
        return ""
    low, high = numbers
    return "" if high // every * every >= low else f"no {what} from {low} to {high} is one of every {every}"


def _jobless(rule: CallRule, declared: Declared, abilities: Mapping[str, Ability]) -> str:
    """Why the rule asks for a job where there can be none."""
    when = rule.when
    asked = [
        name for name, value in (("state", when.states), ("number", when.numbers)) if value not in ((), None)
    ]
    fitting = [
        (api, operation)
        for (api, operation), documented in declared.items()
        if when.is_for(api, operation, documented.role)
    ]
    if not asked or not fitting:
        return ""
    if any(api in abilities and operation in abilities[api].job_operations for api, operation in fitting):
        return ""
    return f"`{asked[0]}` is asked of the job that the path names, and none of these operations names one"


def _takes_all_jobs_of(earlier: When, later: When) -> bool:
    """Whether every job that meets the later conditions meets the earlier ones."""
    return (
        earlier.chance is None
        and _no_narrower(earlier.apis, later.apis)
        and _within(later.numbers, earlier.numbers)
        and _divides(earlier.every, later.every)
        and _globs_cover(earlier.kinds, later.kinds)
        and _fields_cover(earlier.fields, later.fields)
    )


def _takes_all_calls_of(earlier: CallRule, later: CallWhen) -> bool:
    """Whether every call that meets the later conditions is taken by the earlier rule."""
    when = earlier.when
    if earlier.rate_limit is not None or _is_timed(earlier.fault):
        return False
    if when.calls is not None or when.every is not None or when.chance is not None:
        return False
    return (
        _no_narrower(when.apis, later.apis)
        and _no_narrower(when.roles, later.roles)
        and _no_narrower(when.states, later.states)
        and _within(later.numbers, when.numbers)
        and _globs_cover(when.operations, later.operations)
        and (when.after_ms is None or (later.after_ms is not None and later.after_ms >= when.after_ms))
        and _fields_cover(when.fields, later.fields)
        and _fields_cover(when.headers, later.headers)
        and _fields_cover(when.query, later.query)
    )


def _is_timed(fault: Fault | None) -> bool:
    """Such a fault takes calls for a while only."""
    return fault is not None and fault.kind.name == "not_yet_visible" and fault.value is not None


def _no_narrower(earlier: Sequence[str], later: Sequence[str]) -> bool:
    return not earlier or (bool(later) and set(later) <= set(earlier))


def _within(inner: tuple[int, int] | None, outer: tuple[int, int] | None) -> bool:
    return outer is None or (inner is not None and outer[0] <= inner[0] and inner[1] <= outer[1])


def _divides(earlier: int | None, later: int | None) -> bool:
    return earlier is None or (later is not None and later % earlier == 0)


def _globs_cover(earlier: Sequence[Glob], later: Sequence[Glob]) -> bool:
    if not earlier or any(glob.text == "*" for glob in earlier):
        return True
    return bool(later) and all(
        any(
            wide.text == narrow.text or (not set(narrow.text) & set("*?[") and wide.fits(narrow.text))
            for wide in earlier
        )
        for narrow in later
    )


def _fields_cover(earlier: Sequence[Field], later: Sequence[Field]) -> bool:
    return all(
        any(
            wide.path == narrow.path and bool(narrow.globs) and _globs_cover(wide.globs, narrow.globs)
            for narrow in later
        )
        for wide in earlier
    )


# ---- what an API cannot express -------------------------------------------------------------------------------------


class _Inexpressible:
    """Notes each thing that an API cannot express once, where the file speaks of it first."""

    def __init__(self, abilities: Mapping[str, Ability]) -> None:
        self._abilities = abilities
        self._noted: set[tuple[str, str]] = set()

    def note(self, feature: str, node: Node, apis: Collection[str]) -> None:
        """This feature is used for jobs of these APIs."""
        for api in apis:
            ability = self._abilities.get(api)
            if ability is None or feature not in ability.cannot or (api, feature) in self._noted:
                continue
            self._noted.add((api, feature))
            _add(node, f"{api} {ability.cannot[feature]}", "note")


def _reached(whens: Sequence[When], abilities: Mapping[str, Ability]) -> Iterator[list[str]]:
    """For each rule, the APIs whose jobs can come to it."""
    taken: set[str] = set()
    for when in whens:
        yield [api for api in when.apis or abilities if api not in taken]
        if not (when.kinds or when.numbers or when.fields or when.every) and when.chance is None:
            taken |= set(when.apis or abilities)


def _features_of(rule: Node) -> Iterator[tuple[str, Node]]:
    """What a rule for jobs speaks of, and where."""
    fields = {key.written: value for key, value in rule.entries()}
    scripts: list[Node] = []
    if "script" in fields:
        scripts = [fields["script"]]
    elif "attempts" in fields:
        scripts = fields["attempts"].items()
        if len(scripts) > 1:
            yield "attempts", fields["attempts"]
    for script in scripts:
        for step in script.items():
            yield from _features_of_step(step)
    if "on_cancel" in fields:
        node = fields["on_cancel"]
        if node.written == "refused":
            yield "refused", node
        elif node.is_mapping:
            yield "cancelling", node
            fields = dict(_texts(node))
            if "then" in fields:
                yield from _features_of_step(fields["then"])
    if "log" in fields:
        yield "log", fields["log"]


def _features_of_step(step: Node) -> Iterator[tuple[str, Node]]:
    if not step.is_mapping:
        if step.written in _STATES:
            yield step.written, step
        elif step.written == "failed":
            yield "error", step
        return
    for name, value in _texts(step):
        if name in _STATES:
            yield name, value
        if name in ENDS:
            yield from _features_of_end(name, value)
        elif name in ("progress", "message"):
            yield name, value


def _features_of_end(state: str, node: Node) -> Iterator[tuple[str, Node]]:
    if state == "failed":
        yield "error", node
    if node.is_mapping:
        for name, value in _texts(node):
            if name in _WORDS_INSIDE:
                yield name, value
            if name == "error" and value.is_mapping:
                yield from _features_of_end("error", value)


def _texts(node: Node) -> Iterator[tuple[str, Node]]:
    return ((key.written, value) for key, value in node.entries())


def _features_of_call(item: Node, rule: CallRule) -> Iterator[tuple[str, Node]]:
    for role in rule.when.roles:
        yield role, item
    if rule.fault is not None and rule.fault.kind.name == "progress_backwards":
        yield "progress", item


def _review_workers(
    node: Node, scenario: Scenario, abilities: Mapping[str, Ability], inexpressible: _Inexpressible
) -> None:
    fields = dict(_texts(node)) if node.path == "workers" else {}
    for api, ability in abilities.items():
        if scenario.workers(api) != 0:
            continue
        where = fields.get(api, node)
        if "claim" in ability.roles:
            inexpressible.note("worker", where, [api])
        else:
            _add(
                where,
                f"{api} has no operation by which a worker takes jobs: they wait for ever; write a number, or `unlimited`",
            )
