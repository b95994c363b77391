"""A scenario as the engine plays it."""

from __future__ import annotations

from simulator.engine.command import Submit
from simulator.engine.job import State
from simulator.engine.rules import Rules
from simulator.engine.script import Part, Playbook, Script, Step
from simulator.engine.world import World
from simulator.scenario.match import When
from simulator.scenario.model import NO_RULE, JobRule, Scenario


def scenario(*rules: JobRule, crew: dict[str, int | None] | None = None) -> Scenario:
    return Scenario("test", "", "test.yaml", {}, crew or {}, rules)


def part(state: State) -> Part:
    return Part(Script((Step(state),)))


def test_the_first_rule_that_holds_gives_the_part_and_jobs_share_it() -> None:
    failing, passing = part(State.FAILED), part(State.SUCCEEDED)
    playbook: Playbook = scenario(
        JobRule(When(numbers=(2, 3)), failing), JobRule(When(), passing), JobRule(When(), failing)
    )

    assert [playbook.part_for(Submit("ica", "run"), number) for number in (1, 2, 3, 4)] == [
        passing,
        failing,
        failing,
        passing,
    ]
    assert playbook.part_for(Submit("ica", "run"), 2) is playbook.part_for(Submit("ogc", "other"), 3)


def test_a_job_that_no_rule_is_for_succeeds_and_its_history_says_why() -> None:
    playbook = scenario(JobRule(When(apis=("titan",)), part(State.FAILED)))
    world = World(seed=1, rules={"ica": Rules(identify=lambda seed, number: str(number))}, playbook=playbook)
    job = world.apply(Submit("ica", "run"))

    world.advance(world.start_ms + 2_500)
    assert world.job("ica", job.id).progress_percent(world.now_ms) == 50
    world.advance(world.start_ms + 4_000)
    moves = [(move.state, move.at_ms - world.start_ms) for move in world.job("ica", job.id).history]
    assert moves == [(State.QUEUED, 0), (State.RUNNING, 1_000), (State.SUCCEEDED, 4_000)]
    assert [move.cause for move in world.job("ica", job.id).history][1:] == [NO_RULE, NO_RULE]


def test_workers_are_unlimited_unless_the_scenario_counts_them() -> None:
    playbook = scenario(crew={"titan": 0, "jbpm": 2, "ogc": None})
    assert [playbook.workers(api) for api in ("titan", "jbpm", "ogc", "ica")] == [0, 2, None, None]


def test_a_share_of_the_jobs_is_drawn_by_the_seed_of_their_world() -> None:
    playbook = scenario(JobRule(When(chance=0.5), part(State.FAILED)), JobRule(When(), part(State.SUCCEEDED)))

    def ends(seed: int) -> list[State]:
        rules = {"ica": Rules(identify=lambda seed, number: str(number))}
        world = World(seed=seed, rules=rules, playbook=playbook)
        return [world.apply(Submit("ica", "run")).state for _ in range(30)]

    assert set(ends(1)) == {State.FAILED, State.SUCCEEDED}
    assert ends(1) == ends(1) != ends(2)
