"""The worlds of one server, each with its clock, scenario, journal and call log.

A world is made by its first use or by a person; it is forgotten when a person says so, or when nobody has used it for long and
another one is made. Worlds know nothing of each other. Who still holds a stage that was replaced or forgotten, such as a call
that waits, goes on in it undisturbed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from simulator.engine.command import Command, SetScenario
from simulator.engine.errors import EngineError, LimitReached, TimeGoesBack
from simulator.engine.job import Job
from simulator.engine.rules import Rules
from simulator.engine.world import Fired, Limits, World
from simulator.journal.memory import MemoryJournal
from simulator.runtime.calls import CALL_BYTES_MAX, CALLS_MAX, Allowance, CallLog
from simulator.runtime.timesource import Clock, TimeMode, TimeSource
from simulator.scenario.model import Scenario

DEFAULT_WORLD = "default"
LONGEST_WAIT_SECONDS = 0.25
"""After so long, who waits for an event looks whether the clock was moved."""
WORLDS_MAX = 1_000
IDLE_MS = 3_600_000
"""Worlds that nobody has used for so long make room for others."""
POLL_STEP_MS = 5_000
"""How far a poll moves a clock that lives by polls, unless the client was told otherwise."""
LONGEST_POLL_MS = 86_400_000
"""No poll moves a clock further, whatever the client was told."""
INSTANTS_MAX = 100_000
"""At so many instants one advance stops to look for the next event."""

ACTIONS_MAX = 10_000
"""So many of the latest actions of the person at the controls are kept of each world."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_SHOWN_CHARACTERS_MAX = 80


class BadName(EngineError):
    """No world can be called so, or this one cannot be what was wanted of it."""

    def __init__(self, name: str, reason: str) -> None:
        self.name = name
        self.reason = reason
        super().__init__(name, reason)

    def __str__(self) -> str:
        cut = "…" if len(self.name) > _SHOWN_CHARACTERS_MAX else ""
        # What is no printable ASCII is written out: a name may be shown in a header or on a terminal.
        return f"{self.name[:_SHOWN_CHARACTERS_MAX]!a}{cut} {self.reason}"


class UnknownWorld(EngineError):
    """There is no world of this name."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)

    def __str__(self) -> str:
        return f"there is no world {self.name[:_SHOWN_CHARACTERS_MAX]!a}"


class NeverIdle(EngineError):
    """Something is still due in a world after it was moved as far as was allowed."""

    def __init__(self, now_ms: int, next_due_ms: int, fired: list[Fired]) -> None:
        self.now_ms = now_ms
        self.next_due_ms = next_due_ms
        self.fired = fired
        super().__init__(now_ms, next_due_ms, fired)

    def __str__(self) -> str:
        return (
            f"the world has not come to rest: it is {self.now_ms} ms, {len(self.fired)} moves happened, and the next"
            f" event is due at {self.next_due_ms} ms"
        )


def require_name(name: str) -> None:
    """Refuse what cannot be the name of a world.

    Raises:
        BadName: it is empty, too long, or has other characters than those allowed.
    """
    if _NAME.fullmatch(name) is None:
        raise BadName(
            name,
            "cannot be the name of a world: write 1 to 64 of a-z, 0-9, dot, dash and underscore,"
            " beginning with a letter or a digit",
        )


@dataclass(frozen=True, slots=True)
class Action:
    """Something that the person at the controls did to a world."""

    moment: int
    """How many calls had come or gone before (`CallLog.moment`)."""
    at_ms: int
    """Virtual time when it was done."""
    doing: int | TimeMode | Scenario | Command[Job]
    """An instant that time was moved to, another way of time, another scenario, or what was done to a job."""


class Stage:
    """One world and what makes its time pass."""

    def __init__(
        self,
        name: str,
        world: World,
        clock: Clock,
        scenario: Scenario,
        journal: MemoryJournal,
        calls: CallLog | None = None,
        poll_step_ms: int = POLL_STEP_MS,
    ) -> None:
        self.name = name
        self.world = world
        self.clock = clock
        self.scenario = scenario
        self.journal = journal
        self.calls = CallLog() if calls is None else calls
        self.poll_step_ms = poll_step_ms
        self.first_scenario = scenario
        self.first_mode = clock.mode
        self.actions: deque[Action] = deque(maxlen=ACTIONS_MAX)
        """What the person at the controls did, the latest of it."""
        self.actions_total = 0
        """How many actions there were, whatever is kept of them."""
        self.used_ms = 0
        """When somebody last used it, by the wall clock."""
        self._polled_ms = 0
        # Who was polled at that instant, and how far the next poll of the same job moves the clock.
        self._polled: dict[tuple[str, str], int] = {}

    @property
    def seed(self) -> int:
        """What every drawn value is a function of."""
        return self.world.seed

    @property
    def mode(self) -> TimeMode:
        """How its time passes at present."""
        return self.clock.mode

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
        fired = self._move(self.catch_up().now_ms + by_ms)
        self._note(self.world.now_ms)
        return fired

    def advance_to(self, to_ms: int) -> list[Fired]:
        """As `advance`, to an instant.

        Raises:
            TimeGoesBack: it is later than that.
        """
        self.catch_up()
        fired = self._move(to_ms)
        self._note(self.world.now_ms)
        return fired

    def advance_to_next(self, count: int = 1) -> list[Fired]:
        """Move time to the next instant at which something is due, so many times or until nothing is due any more."""
        world = self.catch_up()
        fired: list[Fired] = []
        for _ in range(min(count, INSTANTS_MAX)):
            due_ms = world.next_due_ms
            if due_ms is None:
                break
            fired += self._move(due_ms)
        self._note(world.now_ms)
        return fired

    def advance_until_idle(self, limit_ms: int) -> list[Fired]:
        """Move time until nothing is due any more, at most so far.

        Raises:
            NeverIdle: something still is; time was moved to the last event within the limit, and the error has what happened.
        """
        world = self.catch_up()
        last_ms = world.now_ms + limit_ms
        fired: list[Fired] = []
        for _ in range(INSTANTS_MAX):
            due_ms = world.next_due_ms
            if due_ms is None or due_ms > last_ms:
                break
            fired += self._move(due_ms)
        self._note(world.now_ms)
        if (due_ms := world.next_due_ms) is None:
            return fired
        raise NeverIdle(world.now_ms, due_ms, fired)

    def _move(self, to_ms: int) -> list[Fired]:
        fired = self.world.advance_and_tell(to_ms)
        try:
            self.clock.move_to(to_ms)
        except TimeGoesBack:
            pass  # A clock that runs has come past it meanwhile.
        return fired

    def set_rate(self, mode: TimeMode) -> None:
        """From now on time passes in another way; it goes on from where it is."""
        self.catch_up()
        self.clock.set_mode(mode)
        self._note(mode)

    def set_scenario(self, scenario: Scenario) -> None:
        """From now on new jobs and all calls follow this scenario."""
        self.catch_up().apply(SetScenario(scenario))
        self.scenario = scenario
        self._note(scenario)

    def steer(self, command: Command[Job]) -> Job:
        """Let a person do something to a job.

        Raises:
            EngineError: the job is not there, or this cannot be done to it.
        """
        job = self.catch_up().apply(command)
        self._note(command)
        return job

    def _note(self, doing: int | TimeMode | Scenario | Command[Job]) -> None:
        """Write down what a person did; of moves of time in a row the last one counts."""
        action = Action(self.calls.moment, self.world.now_ms, doing)
        last = self.actions[-1] if self.actions else None
        if (
            isinstance(doing, int)
            and last is not None
            and last.moment == action.moment
            and isinstance(last.doing, int)
        ):
            self.actions[-1] = action
            return
        self.actions.append(action)
        self.actions_total += 1

    def polled(self, api: str, job_id: str) -> None:
        """A status call about a job is to be answered; where the time lives by polls, it may move the clock first.

        It does so if that same job was polled at the present instant before: whoever watches many jobs asks for each of them
        once, and that is one step of time. Nothing moves for a job whose end the client was shown.
        """
        if not self.clock.mode.is_poll:
            return
        polled = self._polled_at(self.clock.now_ms())
        job = (api, job_id)
        if wait_ms := polled.get(job):
            to_ms = self._polled_ms + wait_ms
            # What happens on the way happens before the clock has moved.
            self.world.advance(to_ms)
            self.clock.move_to(to_ms)
            polled = self._polled_at(to_ms)
        polled[job] = self.poll_step_ms

    def advertised(self, api: str, job_id: str, wait_ms: int) -> None:
        """A client was told to ask for this job again after so long: its next poll moves a clock that lives by polls so far."""
        polled = self._polled_at(self.clock.now_ms())
        if wait_ms > 0 and (api, job_id) in polled:
            polled[api, job_id] = min(wait_ms, LONGEST_POLL_MS)

    def settled(self, api: str, job_id: str) -> None:
        """A client was shown that nothing more will come of this job: there is nothing that its next poll could wait for."""
        polled = self._polled_at(self.clock.now_ms())
        if (api, job_id) in polled:
            polled[api, job_id] = 0

    def _polled_at(self, now_ms: int) -> dict[tuple[str, str], int]:
        if now_ms != self._polled_ms:
            self._polled_ms = now_ms
            self._polled.clear()
        return self._polled

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
            self._move(next_ms)
            return 0
        return min((next_ms - world.now_ms) / rate / 1000, LONGEST_WAIT_SECONDS)


class Worlds:
    """Worlds by name. `default` exists always.

    Args:
        scenario, seed, mode: of every world that is made without settings of its own.
        limits: what each world refuses to grow beyond.
        worlds_max: how many there may be, `default` included.
        idle_ms: worlds unused for so long of wall time are forgotten when another one is made; None forgets none.
        poll_step_ms: how far a poll moves a clock that lives by polls.
        calls_max: how many exchanges the call log of each world keeps.
        call_bytes_max: how much all call logs together keep.
    """

    def __init__(
        self,
        *,
        rules: Mapping[str, Rules],
        scenario: Scenario,
        seed: int,
        mode: TimeMode,
        limits: Limits,
        timesource: TimeSource,
        worlds_max: int = WORLDS_MAX,
        idle_ms: int | None = IDLE_MS,
        poll_step_ms: int = POLL_STEP_MS,
        calls_max: int = CALLS_MAX,
        call_bytes_max: int = CALL_BYTES_MAX,
    ) -> None:
        self.limits = limits
        self.worlds_max = worlds_max
        self.idle_ms = idle_ms
        self.on_gone: Callable[[Stage], None] = _nobody_is_told
        """Called with every stage that was deleted, replaced or forgotten; its call log can still be read then."""
        self.rules = rules
        """Of each API that a world can have jobs of."""
        self._scenario = scenario
        self._seed = seed
        self._mode = mode
        self._timesource = timesource
        self._poll_step_ms = poll_step_ms
        self._calls_max = calls_max
        self._allowance = Allowance(call_bytes_max)
        self._stages = {DEFAULT_WORLD: self._make(DEFAULT_WORLD, scenario, seed, mode)}

    @property
    def default(self) -> Stage:
        """The world of calls that name none."""
        return self._stages[DEFAULT_WORLD]

    def find(self, name: str) -> Stage | None:
        """The world of this name, if there is one. To look at a world is not to use it."""
        return self._stages.get(name)

    def use(self, name: str) -> Stage:
        """The world of this name, used now.

        Raises:
            UnknownWorld: there is none.
        """
        stage = self._stages.get(name)
        if stage is None:
            raise UnknownWorld(name)
        stage.used_ms = self._timesource()
        return stage

    def names(self) -> list[str]:
        """The names of all worlds in the order in which they were made."""
        return list(self._stages)

    def ensure(self, name: str) -> Stage:
        """The world of this name, used now; made with the settings of the server if there is none.

        Raises:
            BadName: no world can be called so.
            LimitReached: there are too many.
        """
        stage = self._stages.get(name)
        if stage is None:
            return self.create(name)[0]
        stage.used_ms = self._timesource()
        return stage

    def create(
        self,
        name: str,
        *,
        scenario: Scenario | None = None,
        seed: int | None = None,
        mode: TimeMode | None = None,
        start_ms: int | None = None,
    ) -> tuple[Stage, bool]:
        """A fresh world with these settings, the server's where there are none, in the place of any that was there.

        Args:
            start_ms: when its time begins, if not where it always does.

        Returns:
            The world, and whether there was none of this name.

        Raises:
            BadName: no world can be called so.
            LimitReached: there are too many.
        """
        self._require_place(name)
        stage = self._make(
            name,
            self._scenario if scenario is None else scenario,
            self._seed if seed is None else seed,
            self._mode if mode is None else mode,
            start_ms,
        )
        return stage, self._put(stage)

    def adopt(self, name: str, stage: Stage) -> bool:
        """Let a world that was made elsewhere be the one of this name, in the place of any that was there.

        Returns:
            Whether there was none of this name.

        Raises:
            BadName: no world can be called so.
            LimitReached: there are too many.
        """
        self._require_place(name)
        stage.name = name
        stage.calls.move(self._calls_max, self._allowance)
        stage.used_ms = self._timesource()
        return self._put(stage)

    def _require_place(self, name: str) -> None:
        require_name(name)
        if name not in self._stages:
            self._make_room()

    def _put(self, stage: Stage) -> bool:
        before = self._stages.get(stage.name)
        self._stages[stage.name] = stage
        if before is not None and before is not stage:
            self.on_gone(before)
            before.calls.close()
        return before is None

    def reset(self, name: str) -> Stage:
        """A fresh world of the same scenario, seed and way of time in the place of this one.

        Raises:
            UnknownWorld: there is none.
        """
        before = self.use(name)
        return self.create(name, scenario=before.scenario, seed=before.seed, mode=before.mode)[0]

    def delete(self, name: str) -> None:
        """Forget a world with everything in it.

        Raises:
            UnknownWorld: there is none.
            BadName: it is the default one.
        """
        stage = self.use(name)
        if name == DEFAULT_WORLD:
            raise BadName(name, "exists always and cannot be deleted; reset it instead")
        del self._stages[name]
        self.on_gone(stage)
        stage.calls.close()

    def set_scenario(self, scenario: Scenario) -> None:
        """From now on this is the server's scenario; worlds that follow it go over to it, jobs under way keep their scripts."""
        before, self._scenario = self._scenario, scenario
        for stage in self._stages.values():
            if stage.scenario is before:
                stage.set_scenario(scenario)

    def _make_room(self) -> None:
        """Forget who was idle too long; refuse one more world if there are too many all the same."""
        if self.idle_ms is not None:
            since_ms = self._timesource() - self.idle_ms
            idle = [
                stage
                for stage in self._stages.values()
                if stage.used_ms <= since_ms and stage.name != DEFAULT_WORLD
            ]
            for stage in idle:
                self.delete(stage.name)
        if len(self._stages) >= self.worlds_max:
            raise LimitReached("worlds", self.worlds_max, "--max-worlds")

    def _make(
        self, name: str, scenario: Scenario, seed: int, mode: TimeMode, start_ms: int | None = None
    ) -> Stage:
        clock = Clock(mode, self._timesource, start_ms)
        journal = MemoryJournal()
        world = World(
            seed=seed,
            rules=self.rules,
            playbook=scenario,
            start_ms=clock.now_ms() if start_ms is None else start_ms,
            limits=self.limits,
            journal=journal,
        )
        calls = CallLog(self._calls_max, allowance=self._allowance)
        stage = Stage(name, world, clock, scenario, journal, calls, self._poll_step_ms)
        stage.used_ms = self._timesource()
        return stage


def _nobody_is_told(stage: Stage) -> None:
    pass
