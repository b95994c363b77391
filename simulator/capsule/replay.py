"""A capsule played again in this process: the same calls to a server of its own, and every answer compared byte by byte.

Nothing waits. The event loop has no time of its own: what would wait in real time goes on when its turn comes in the order that
was recorded, and the world's clock then shows what it showed. So a day of calls takes as long as computing their answers.

What comes of it is itself the log of a world, and so again a capsule: two capsules are compared, and credentials that the
server made up by itself are placeholders in both.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from contextvars import Context, ContextVar
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from starlette.types import ASGIApp, Message

from simulator.capsule.compare import differences
from simulator.capsule.model import (
    ActionStep,
    Advance,
    CallStep,
    Capsule,
    Play,
    Steering,
    turns_of,
)
from simulator.capsule.record import capsule_of
from simulator.capsule.secrets import Learned
from simulator.engine.command import Command, Force, Hold, Release, StepOn
from simulator.engine.errors import EngineError
from simulator.engine.job import Job
from simulator.runtime.calls import CallLog
from simulator.runtime.timesource import Clock, TimeMode, TimeSource, wall_clock
from simulator.runtime.worlds import Stage, Worlds
from simulator.scenario.model import Scenario
from simulator.web.faults import Broken
from simulator.web.front import Front

WAITS_MAX = 1_000
"""So often a call may wait longer than it did before it is given up."""
STEERED: Mapping[str, Callable[[str, str], Command[Job]]] = {"hold": Hold, "release": Release, "step": StepOn}
_ADDRESS = ("127.0.0.1", 4010)
"""What the server is called where a client does not say what it calls it."""

_caller: ContextVar[_Caller | None] = ContextVar("caller", default=None)


class ScriptedClock(Clock):
    """A clock that shows what another one showed: while time runs by itself, it is told what time it is."""

    def __init__(self, mode: TimeMode, start_ms: int) -> None:
        super().__init__(mode, lambda: 0, start_ms)
        self._first_ms: int | None = None
        self._then_ms = start_ms
        self._is_scripted = True

    def tell(self, first_ms: int, then_ms: int | None = None) -> None:
        """Show one time to the next who asks, and another one to all who ask then."""
        self._first_ms = first_ms
        self._then_ms = first_ms if then_ms is None else then_ms

    def now_ms(self) -> int:
        """What it was told, but it never goes back."""
        if not self._is_scripted:
            return super().now_ms()
        if self.mode.rate:
            told_ms = self._then_ms if self._first_ms is None else self._first_ms
            self._last_ms = max(self._last_ms, told_ms)
        self._first_ms = None
        return self._last_ms

    def run_by_itself(self, timesource: TimeSource = wall_clock) -> None:
        """From now on time passes again as its mode says."""
        self._is_scripted = False
        self._origin_ms = self._last_ms
        self._timesource = timesource
        self._wall_origin_ms = timesource() if self.mode.rate else 0


def play(capsule: Capsule, front: Front, scenarios: list[Scenario]) -> Played:
    """Play a capsule in a world of this server, which must not serve anybody meanwhile.

    Args:
        scenarios: what each of the capsule's scripts says.
    """
    stage, _ = front.worlds.create(
        capsule.world,
        scenario=scenarios[0],
        seed=capsule.seed,
        mode=capsule.mode,
        start_ms=capsule.start_ms,
    )
    # It keeps everything, as it is to be compared; placeholders may be longer than what they stand for.
    stage.calls = CallLog(len(capsule.steps), body_bytes_max=2**40, kept_bytes_max=2**40)
    asyncio.run(front.build())
    worlds = front.worlds
    # A world that was restored under another name has calls that speak of it by both.
    front.worlds = cast(Worlds, _OneWorld(stage))
    try:
        played = Replay(capsule, front, stage, scenarios).run()
    finally:
        front.worlds = worlds
    front.callbacks.forget(stage)
    return played


@dataclass(frozen=True, slots=True)
class _OneWorld:
    """As much of all worlds as a front door asks for; every name means the same one."""

    default: Stage

    def find(self, name: str) -> Stage:
        """The world."""
        return self.default

    def ensure(self, name: str) -> Stage:
        """The world."""
        return self.default


def compared(capsule: Capsule, played: Played) -> dict[str, Any]:
    """What went otherwise than is written, as a JSON value."""
    again = capsule_of(played.stage, capsule.serving)
    return {
        "steps": len(capsule.steps),
        "calls": sum(1 for _ in capsule.calls),
        "differences": [one.as_json() for one in differences(capsule, again)],
        "stuck": [{"step": step, "reason": reason} for step, reason in played.stuck],
    }


@dataclass(frozen=True, slots=True)
class Played:
    """A world that has been through everything that a capsule holds."""

    stage: Stage
    stuck: tuple[tuple[int, str], ...]
    """Steps, counted from 1, that could not be done again, and why."""

    def go_on(self, timesource: TimeSource = wall_clock) -> None:
        """From now on time passes in the world again as its mode says."""
        assert isinstance(self.stage.clock, ScriptedClock)
        self.stage.clock.run_by_itself(timesource)


class _Loop(asyncio.SelectorEventLoop):
    """An event loop in which time stands still. Who waits for it goes on when the replay says so."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        super().__init__(_Selector(on_idle))

    def time(self) -> float:
        """Always the same."""
        return 0.0

    def call_at(  # type: ignore[override]  # the types of the arguments are those of the callback
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Keep what is to happen later, with the call that it belongs to."""
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        caller = _caller.get()
        if caller is not None:
            caller.timers.append(timer)
        return timer


class _Selector(selectors.SelectSelector):
    """Tells when nothing more can happen by itself."""

    def __init__(self, on_idle: Callable[[], None]) -> None:
        super().__init__()
        self._on_idle = on_idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Never wait."""
        if timeout != 0:
            self._on_idle()
        return super().select(0)


@dataclass(eq=False, slots=True)
class _Caller:
    """The client of one call."""

    step: CallStep
    place: int
    """Of its step, from 0."""
    heard: list[Message]
    """What the server is still to hear."""
    timers: list[asyncio.TimerHandle] = field(default_factory=list)
    listening: asyncio.Future[Message] | None = None
    task: asyncio.Future[None] | None = None
    says: Message | None = None
    """The body, as long as it is held back."""
    sent: list[Message] = field(default_factory=list)
    """What the server said."""
    is_gone: bool = False

    async def receive(self) -> Message:
        """What the server hears."""
        if self.heard:
            return self.heard.pop(0)
        if self.is_gone:
            return {"type": "http.disconnect"}
        if self.listening is None or self.listening.done():
            self.listening = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self.listening)

    async def send(self, message: Message) -> None:
        """What the server says."""
        self.sent.append(message)

    @property
    def has_heard_all(self) -> bool:
        """Whether as much was said as the client heard before it went away."""
        answer = self.step.answer
        length = sum(len(message.get("body", b"")) for message in self.sent)
        return length >= len(answer.body) and bool(self.sent or not answer.status)

    def leave(self) -> None:
        """Go away."""
        self.is_gone = True
        self.say({"type": "http.disconnect"})

    def say(self, message: Message) -> None:
        """Let the server hear something."""
        if self.listening is not None and not self.listening.done():
            self.listening.set_result(message)
        else:
            self.heard.append(message)

    def fire(self) -> bool:
        """Let what waits for the shortest time go on; whether there was anything."""
        self.timers = [timer for timer in self.timers if not timer.cancelled()]
        if not self.timers:
            return False
        timer = min(self.timers, key=asyncio.TimerHandle.when)
        self.timers.remove(timer)
        timer._run()
        return True


class Replay:
    """Plays the steps of one capsule to a server.

    Args:
        app: the server, whose world of the capsule's name is `stage`, as it was at the beginning.
        scenarios: one for each script of the capsule.
    """

    def __init__(self, capsule: Capsule, app: ASGIApp, stage: Stage, scenarios: list[Scenario]) -> None:
        self._capsule = capsule
        self._app = app
        self._stage = stage
        self._scenarios = scenarios
        self._learned = Learned(capsule)
        self._clock = ScriptedClock(capsule.mode, capsule.start_ms)
        stage.clock = self._clock
        self._todo = turns_of(capsule.steps)
        self._todo.reverse()
        self._callers: dict[int, _Caller] = {}
        self._waits = 0
        self._stuck: list[tuple[int, str]] = []
        self._loop = _Loop(self._go_on)
        self._is_over = False
        self._failure: BaseException | None = None

    def run(self) -> Played:
        """Play all steps; nothing else may run in this thread."""
        try:
            self._loop.run_forever()
        finally:
            self._is_over = True
            self._loop.run_until_complete(self._rest())
            self._loop.close()
        if self._failure is not None:
            raise self._failure
        return Played(self._stage, tuple(self._stuck))

    async def _rest(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _go_on(self) -> None:
        """Nothing can happen by itself any more: the next step, or the end."""
        if self._is_over:
            return
        try:
            if not self._todo:
                self._loop.stop()
                return
            turn = self._todo[-1]
            step = self._capsule.steps[turn.place]
            if isinstance(step, ActionStep):
                self._todo.pop()
                self._act(step, turn.place)
            elif turn.number == 0:
                self._todo.pop()
                self._begin(step, turn.place)
            elif not turn.is_end:
                self._todo.pop()
                self._resume(self._callers[turn.place], turn.number)
            elif self._ended(self._callers[turn.place]):
                self._todo.pop()
            # Nothing else may wake the loop.
            self._loop.call_soon(lambda: None)
        except BaseException as failure:
            self._failure = failure
            self._loop.stop()

    def _begin(self, step: CallStep, place: int) -> None:
        """A call comes."""
        path = self._learned.actual(step.path)
        headers, body = self._learned.actual_message(step.headers, step.body)
        message: Message = {"type": "http.request", "body": body, "more_body": _is_more(step, body)}
        caller = _Caller(step, place, [])
        if (step.waits and not step.is_late) or not step.turns:
            caller.heard.append(message)
            self._clock.tell(step.at_ms, step.waits[0] if step.waits else step.answered_ms)
        else:
            # Others overtook its body, or it never came.
            caller.says = message
            self._clock.tell(step.at_ms)
        raw_path, _, query = path.partition("?")
        raw = raw_path.encode("latin-1")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": step.method,
            "scheme": "http",
            "path": unquote(raw.decode("ascii")) if raw.isascii() else raw.decode("utf-8", "replace"),
            "raw_path": raw,
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "server": _ADDRESS,
            "client": None,
        }
        self._callers[place] = caller
        self._waits = 0
        _caller.set(caller)
        caller.task = self._loop.create_task(self._call(scope, caller))
        _caller.set(None)

    async def _call(self, scope: dict[str, Any], caller: _Caller) -> None:
        try:
            await self._app(scope, caller.receive, caller.send)
        except Broken:
            pass  # The log says so.

    def _resume(self, caller: _Caller, number: int) -> None:
        """A call goes on after so many waits."""
        step = caller.step
        is_last = number == len(step.waits)
        self._clock.tell(step.answered_ms if is_last else step.waits[number])
        # Somebody may have looked at the world meanwhile, which is no step.
        self._stage.catch_up()
        if caller.says is not None:
            caller.say(caller.says)
            caller.says = None
        elif is_last and step.answer.is_left and caller.has_heard_all:
            caller.leave()
        else:
            caller.fire()

    def _ended(self, caller: _Caller) -> bool:
        """Let a call come to its end, as its turn has come; whether it is there."""
        task, step = caller.task, caller.step
        assert task is not None
        if task.done():
            if (failure := task.exception()) is not None:
                self._stuck.append((caller.place + 1, f"the server crashed: {failure!r}"))
            del self._callers[caller.place]
            self._learned.look(step, caller.sent)
            return True
        self._waits += 1
        self._clock.tell(step.answered_ms)
        self._stage.catch_up()
        if caller.says is not None:
            caller.say(caller.says)
            caller.says = None
        elif step.answer.is_left and not caller.is_gone:
            caller.leave()
        elif self._waits > WAITS_MAX or not caller.fire():
            self._stuck.append((caller.place + 1, "the server waits where it did not wait before"))
            task.cancel()
            del self._callers[caller.place]
            return True
        return False

    def _act(self, step: ActionStep, place: int) -> None:
        """What the person at the controls did."""
        stage, doing = self._stage, step.doing
        self._clock.tell(step.at_ms)
        try:
            if isinstance(doing, Advance):
                stage.advance_to(doing.to_ms)
            elif isinstance(doing, TimeMode):
                stage.set_rate(doing)
            elif isinstance(doing, Play):
                stage.set_scenario(self._scenarios[doing.number - 1])
            else:
                stage.steer(_command(doing))
        except EngineError as refusal:
            self._stuck.append((place + 1, str(refusal)))
        # Subscribers of jobs were told then, and are not told again.
        stage.world.told.clear()


def _is_more(step: CallStep, body: bytes) -> bool:
    """Whether the client went away while it was sending."""
    announced = next((value for name, value in step.headers if name == "content-length"), "")
    return step.answer.is_left and announced.isdigit() and int(announced) > len(body)


def _command(doing: Steering) -> Command[Job]:
    if doing.verb != "force":
        return STEERED[doing.verb](doing.api, doing.job_id)
    assert doing.state is not None
    return Force(doing.api, doing.job_id, doing.state, doing.failure, doing.progress, doing.result)
