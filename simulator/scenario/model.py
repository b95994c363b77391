"""A scenario as the engine plays it: rules that give scripts to jobs, settings of the APIs, and how many work at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from simulator.engine.command import Submit
from simulator.engine.job import State
from simulator.engine.script import Part, Script, Span, Step
from simulator.scenario.calls import CallRules
from simulator.scenario.match import When

NO_RULE = "no rule matched"


@dataclass(frozen=True, slots=True)
class JobRule:
    """The part for every job that meets the conditions."""

    when: When
    part: Part
    """Built once, when the scenario is read, and shared by all its jobs."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """What a YAML file says; the engine's `Playbook`."""

    name: str
    description: str
    source: str
    """Where it came from, as people are shown it."""
    settings: Mapping[str, Mapping[str, Any]]
    """Per API, complete with defaults."""
    crew: Mapping[str, int | None]
    """Workers of the APIs that the scenario speaks of."""
    rules: tuple[JobRule, ...]
    calls: CallRules = field(default_factory=CallRules)
    sources: tuple[tuple[str, str], ...] = ()
    """What it was read from: the name of each file as people are shown it, and its text; first its own, then those it extends."""

    def part_for(self, submit: Submit, number: int, seed: int = 0) -> Part:
        """The part of the first rule that holds; without one the job simply succeeds."""
        for rule in self.rules:
            if rule.when.holds(submit, number, seed):
                return rule.part
        return FALLBACK

    def workers(self, api: str) -> int | None:
        """How many jobs of this API run at once; None is no limit, 0 means that only an external worker runs them."""
        return self.crew.get(api)


FALLBACK = Part(
    Script(
        (
            Step(State.QUEUED, Span(1_000, 1_000), cause=NO_RULE),
            Step(State.RUNNING, Span(3_000, 3_000), progress=(0, 100), cause=NO_RULE),
            Step(State.SUCCEEDED, cause=NO_RULE),
        )
    ),
    cause=NO_RULE,
)
"""What a job does that no rule is for."""
