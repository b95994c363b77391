"""The scenarios that come with understudy do what they say."""

from __future__ import annotations

import pytest

from simulator.assemble import load_apis, settings_of
from simulator.engine.command import Claim, Finish, Submit
from simulator.engine.job import Job, State
from simulator.engine.rules import Rules
from simulator.engine.world import World
from simulator.resources import shipped_scenarios
from simulator.scenario.model import Scenario
from simulator.scenario.read import check_scenario

APIS = ("synapse", "jbpm", "ogc", "ica", "titan")
RULES = {api: Rules(identify=lambda seed, number: f"job-{number}", claims=api == "titan") for api in APIS}
SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000


def shipped(name: str) -> Scenario:
    files = shipped_scenarios()
    scenario, problems = check_scenario(files[name], apis=settings_of(load_apis()), find=files.get)
    assert problems == ()
    assert scenario is not None
    return scenario


class Stage:
    """A world that plays one shipped scenario, with one job."""

    def __init__(self, name: str, api: str, seed: int = 1) -> None:
        self.world = World(seed=seed, rules=RULES, playbook=shipped(name))
        self.api = api
        self.id = self.world.apply(Submit(api, "anything")).id

    def after(self, milliseconds: int) -> Job:
        """The job so long after its submit."""
        self.world.advance(self.world.start_ms + milliseconds)
        return self.world.job(self.api, self.id)

    def progress_after(self, milliseconds: int) -> int | None:
        return self.after(milliseconds).progress_percent(self.world.now_ms)

    def moves(self) -> list[tuple[State, int]]:
        history = self.world.job(self.api, self.id).history
        return [(move.state, move.at_ms - self.world.start_ms) for move in history]


@pytest.mark.parametrize("name", sorted(shipped_scenarios()))
def test_a_shipped_scenario_has_no_problems_and_says_who_meets_it(name: str) -> None:
    scenario = shipped(name)
    assert scenario.name == name
    assert len(scenario.description) > 40
    assert shipped_scenarios()[name].read_text().startswith("# ")


@pytest.mark.parametrize(
    ("name", "api"),
    [
        (name, api)
        for name in ("happy", "titan-self-running")
        for api in APIS
        if (name, api) != ("happy", "titan")
    ],
)
def test_the_straight_way_takes_four_seconds(name: str, api: str) -> None:
    stage = Stage(name, api)
    assert stage.progress_after(2_500) == 50
    assert stage.after(2_500).message == "Working"
    stage.after(DAY)
    assert stage.moves() == [
        (State.QUEUED, 0),
        (State.RUNNING, 1 * SECOND),
        (State.SUCCEEDED, 4 * SECOND),
    ]


def test_happy_leaves_titans_jobs_to_the_client() -> None:
    stage = Stage("happy", "titan")
    assert stage.after(MINUTE).state is State.QUEUED
    [claimed] = stage.world.apply(Claim("titan"))
    assert stage.world.apply(Finish("titan", claimed.id)).state is State.SUCCEEDED


@pytest.mark.parametrize("api", APIS)
def test_fails_halfway_runs_to_fifty_percent_and_runs_out_of_memory(api: str) -> None:
    stage = Stage("fails-halfway", api)
    assert stage.progress_after(3 * SECOND) == 25
    job = stage.after(5 * SECOND)
    assert (job.state, job.progress_percent(stage.world.now_ms)) == (State.FAILED, 50)
    assert job.failure is not None
    assert job.failure.code == "out_of_memory"
    assert job.failure.message == "The container was killed after it ran out of memory."
    assert "SIGKILL" in str(job.failure.details)


@pytest.mark.parametrize("seed", range(5))
def test_slow_runs_ten_to_twenty_minutes_by_seed_and_says_what_it_is_at(seed: int) -> None:
    stage, again = Stage("slow", "titan", seed), Stage("slow", "titan", seed)
    assert stage.after(MINUTE - 1).state is State.QUEUED
    messages, last = [], -1
    for minute in range(1, 22):
        job = stage.after(minute * MINUTE)
        messages.append(job.message)
        percent = job.progress_percent(stage.world.now_ms) or 0
        assert percent >= last
        last = percent
    assert list(dict.fromkeys(messages)) == [
        "Fetching inputs",
        "Computing, first pass",
        "Computing, second pass",
        "Writing results",
        None,
    ]
    (_, began_ms), (ended, ended_ms) = stage.moves()[-2:]
    assert ended is State.SUCCEEDED
    assert 10 * MINUTE <= ended_ms - began_ms <= 20 * MINUTE
    again.after(30 * MINUTE)
    assert again.moves() == stage.moves()


def test_slow_differs_between_seeds() -> None:
    ends = set()
    for seed in range(5):
        stage = Stage("slow", "ica", seed)
        stage.after(DAY)
        ends.add(stage.moves()[-1])
    assert len(ends) > 1


@pytest.mark.parametrize("api", APIS)
def test_never_finishes_hangs_at_ninety_percent(api: str) -> None:
    stage = Stage("never-finishes", api)
    assert stage.progress_after(31 * SECOND) == 45
    for milliseconds in (61 * SECOND, DAY, 365 * DAY):
        job = stage.after(milliseconds)
        assert (job.state, job.message) == (State.RUNNING, "Almost there")
        assert job.progress_percent(stage.world.now_ms) == 90
    assert stage.world.next_due_ms is None
