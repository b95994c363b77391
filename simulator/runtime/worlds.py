"""The worlds of one server, each with its clock, scenario and journal."""

from __future__ import annotations

from collections.abc import Mapping

from simulator.engine.command import SetScenario
from simulator.engine.errors import TimeGoesBack
from simulator.engine.rules import Rules
from simulator.engine.world import Fired, Limits, World
from simulator.journal.memory import MemoryJournal
from simulator.runtime.timesource import Clock, TimeMode, TimeSource
from simulator.scenario.model import Scenario

DEFAULT_WORLD = "default"
LONGEST_WAIT_SECONDS = 0.25
"""After so long, who waits for an event looks whether the clock was moved."""


class Stage:
    """One world and what makes its time pass."""

    def __init__(
        self, name: str, world: World, clock: Clock, scenario: Scenario, journal: MemoryJournal
    ) -> None:
        self.name = name
        self.world = world
        self.clock = clock
        self.scenario = scenario
        self.journal = journal

    def catch_up(self) -> World:
        """The world, advanced to the present time of its clock."""
        world = self.world
        now_ms = self.clock.now_ms()
        if now_ms > world.now_ms:
            world.advance(now_ms)
        return world

    def advance(self, by_ms: int) -> list[Fired]:
        """Move this world's time forward and tell what happened, in order.

        Raises:
            TimeGoesBack: `by_ms` is negative.
        """
        world = self.catch_up()
        to_ms = world.now_ms + by_ms
        fired = world.advance_and_tell(to_ms)
        try:
            self.clock.move_to(to_ms)
        except TimeGoesBack:
            pass  # A clock that runs has come past it meanwhile.
        return fired

    def set_scenario(self, scenario: Scenario) -> None:
        """From now on new jobs and all calls follow this scenario."""
        self.catch_up().apply(SetScenario(scenario))
        self.scenario = scenario

    def pass_time(self, until_ms: int) -> float:
        """Bring this world closer to its next event, or to `until_ms` when that comes first.

        A clock that stands still is moved there. One that runs is waited for: how many seconds to wait at most before
        asking again (somebody may move the clock meanwhile), 0 when there is no need to.
        """
        world = self.catch_up()
        next_ms = until_ms if world.next_due_ms is None else min(world.next_due_ms, until_ms)
        if next_ms <= world.now_ms:
            return 0
        rate = self.clock.mode.rate
        if rate == 0:
            self.advance(next_ms - world.now_ms)
            return 0
        return min((next_ms - world.now_ms) / rate / 1000, LONGEST_WAIT_SECONDS)


class Worlds:
    """Worlds by name. `default` exists always."""

    def __init__(
        self,
        *,
        rules: Mapping[str, Rules],
        scenario: Scenario,
        seed: int,
        mode: TimeMode,
        limits: Limits,
        timesource: TimeSource,
    ) -> None:
        self._rules = rules
        self._scenario = scenario
        self._seed = seed
        self._mode = mode
        self._limits = limits
        self._timesource = timesource
        self._stages = {DEFAULT_WORLD: self._make(DEFAULT_WORLD)}

    @property
    def default(self) -> Stage:
        """The world of calls that name none."""
        return self._stages[DEFAULT_WORLD]

    def find(self, name: str) -> Stage | None:
        """The world of this name, if there is one."""
        return self._stages.get(name)

    def set_scenario(self, scenario: Scenario) -> None:
        """From now on every world follows this scenario; jobs under way keep their scripts."""
        self._scenario = scenario
        for stage in self._stages.values():
            stage.set_scenario(scenario)

    def _make(self, name: str) -> Stage:
        clock = Clock(self._mode, self._timesource)
        journal = MemoryJournal()
        world = World(
            seed=self._seed,
            rules=self._rules,
            playbook=self._scenario,
            start_ms=clock.now_ms(),
            limits=self._limits,
            journal=journal,
        )
        return Stage(name, world, clock, self._scenario, journal)
