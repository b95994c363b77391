"""From a world to its capsule: its call log and what was done to it, in one order, without credentials.

The log knows when each call came among all comings and goings (`Exchange.moment`); from that and the order of the answers
follows how calls overlapped. What the log no longer has, or never had, makes a capsule that says so: it can be read but not
replayed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import count

from simulator import __version__
from simulator.capsule.model import (
    ActionStep,
    Advance,
    Answer,
    CallStep,
    Capsule,
    Headers,
    Play,
    Script,
    Serving,
    Steering,
    Step,
)
from simulator.capsule.secrets import Secrets
from simulator.engine.command import Command, Force, Hold, Release, StepOn
from simulator.engine.job import Job
from simulator.runtime.calls import Exchange, RawHeaders, said_in
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import Action, Stage
from simulator.scenario.model import Scenario

VERBS = {Hold: "hold", Release: "release", StepOn: "step", Force: "force"}
"""What a person does to a job."""


@dataclass(frozen=True, slots=True)
class History:
    """What happened in a world until now, as it is kept: credentials and all."""

    world: str
    seed: int
    mode: TimeMode
    start_ms: int
    scenario: Scenario
    exchanges: list[Exchange]
    actions: list[Action]
    gaps: list[str]


def capsule_of(stage: Stage, serving: Serving) -> Capsule:
    """The capsule of a world as it is now."""
    return capsule_from(history_of(stage), serving)


def history_of(stage: Stage) -> History:
    """What happened until now; the world may go on while it is looked at."""
    exchanges = list(stage.calls)
    return History(
        stage.name,
        stage.seed,
        stage.first_mode,
        stage.world.start_ms,
        stage.first_scenario,
        exchanges,
        list(stage.actions),
        _gaps(stage, exchanges),
    )


def capsule_from(history: History, serving: Serving) -> Capsule:
    """The capsule of all this."""
    scenarios = [history.scenario]
    steps = _in_order(history.exchanges, history.actions, scenarios)
    capsule = Capsule(
        version=__version__,
        gaps=tuple(history.gaps),
        serving=serving,
        world=history.world,
        seed=history.seed,
        mode=history.mode,
        start_ms=history.start_ms,
        scripts=tuple(Script(scenario.name, scenario.sources) for scenario in scenarios),
        steps=tuple(steps),
    )
    return without_credentials(capsule)


def _gaps(stage: Stage, exchanges: list[Exchange]) -> list[str]:
    """What keeps it from being replayed."""
    calls = stage.calls
    gaps = []
    if calls.limit == 0:
        gaps.append("the server keeps no calls; start it with another --max-calls")
    elif len(exchanges) < calls.total:
        gaps.append(
            f"the log keeps {len(exchanges)} of {calls.total} calls: others were deleted or had to make room"
        )
    if calls.begun > calls.total:
        gaps.append(f"{calls.begun - calls.total} calls were not answered yet")
    if stage.actions_total > len(stage.actions):
        gaps.append(f"{len(stage.actions)} of {stage.actions_total} actions at the controls are kept")
    for exchange in exchanges:
        if exchange.is_cut_by_log:
            gaps.append(f"the log keeps only the beginning of a body of call {exchange.number}")
            break
    return gaps


def _in_order(exchanges: list[Exchange], actions: list[Action], scenarios: list[Scenario]) -> list[Step]:
    """The steps in the order in which they began; scenarios that were set later are added to those that are known."""
    happened: dict[int, Exchange] = {}
    for exchange in exchanges:
        for moment in (exchange.moment, *(moment for _, moment in exchange.waits)):
            happened[moment] = exchange
    begun = {exchange.moment for exchange in exchanges}
    # The moments that are left are those of the ends, which are in the order of the numbers.
    left = (moment for moment in count(1) if moment not in happened)
    happened |= {next(left): one for one in sorted(exchanges, key=lambda one: one.number)}
    waiting = deque(actions)
    steps: list[Step] = []
    turn = 0
    places: dict[int, int] = {}
    turns: dict[int, list[int]] = {}
    for moment in sorted({0, *happened}):
        if (one := happened.get(moment)) is not None:
            turn += 1
            turns.setdefault(one.number, []).append(turn)
            if moment in begun:
                places[one.number] = len(steps)
                steps.append(_call(one))
        while waiting and waiting[0].moment <= moment:
            turn += 1
            steps.append(_action(waiting.popleft(), scenarios))
    steps += [_action(action, scenarios) for action in waiting]
    for number, (begins, *others) in turns.items():
        step = steps[places[number]] if number in places else None
        if isinstance(step, CallStep) and (step.waits or others != [begins + 1]):
            steps[places[number]] = replace(step, turns=tuple(others))
    return steps


def _call(exchange: Exchange) -> CallStep:
    said = said_in(exchange)
    path = said.path.partition(b"?")[0].decode("latin-1")
    if said.query:
        path += f"?{said.query.decode('latin-1')}"
    headers = _decoded(said.response_headers)
    is_left = not exchange.is_broken and (
        exchange.status == 0 or (exchange.method != "HEAD" and _length_in(headers) > exchange.response_bytes)
    )
    return CallStep(
        number=exchange.number,
        at_ms=exchange.at_ms,
        answered_ms=exchange.answered_ms,
        waits=tuple(at_ms for at_ms, _ in exchange.waits),
        turns=(),
        is_late=exchange.is_late,
        method=exchange.method,
        path=path,
        headers=_decoded(said.request_headers),
        body=said.request_body,
        answer=Answer(exchange.status, headers, said.response_body, exchange.is_broken, is_left),
    )


def _decoded(headers: RawHeaders) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _length_in(headers: Headers) -> int:
    return next((int(value) for name, value in headers if name == "content-length" and value.isdigit()), 0)


def _action(action: Action, scenarios: list[Scenario]) -> ActionStep:
    doing = action.doing
    if isinstance(doing, int):
        return ActionStep(action.at_ms, Advance(doing))
    if isinstance(doing, TimeMode):
        return ActionStep(action.at_ms, doing)
    if isinstance(doing, Scenario):
        known = [place for place, scenario in enumerate(scenarios, 1) if scenario is doing]
        if not known:
            scenarios.append(doing)
        return ActionStep(action.at_ms, Play(known[0] if known else len(scenarios)))
    return ActionStep(action.at_ms, _steering(doing))


def _steering(command: Command[Job]) -> Steering:
    assert isinstance(command, Hold | Release | StepOn | Force)
    verb = VERBS[type(command)]
    if isinstance(command, Force):
        return Steering(
            verb,
            command.api,
            command.job_id,
            command.state,
            command.failure,
            command.progress,
            command.result,
        )
    return Steering(verb, command.api, command.job_id)


def without_credentials(capsule: Capsule) -> Capsule:
    """The same with a placeholder for each credential."""
    secrets = Secrets()
    for script in capsule.scripts:
        for _, text in script.texts:
            secrets.learn_scenario(text)
    for step in capsule.calls:
        secrets.learn_message(step.headers, step.body, step.path)
        secrets.learn_message(step.answer.headers, step.answer.body)
    return replace(
        capsule,
        scripts=tuple(
            Script(
                secrets.hidden_text(script.name),
                tuple(
                    (secrets.hidden_text(file), secrets.hidden_scenario(text)) for file, text in script.texts
                ),
            )
            for script in capsule.scripts
        ),
        steps=tuple(_hidden(step, secrets) for step in capsule.steps),
    )


def _hidden(step: Step, secrets: Secrets) -> Step:
    if not isinstance(step, CallStep):
        return step
    headers, body = secrets.hidden_message(step.headers, step.body)
    answer = step.answer
    answer_headers, answer_body = secrets.hidden_message(answer.headers, answer.body)
    return replace(
        step,
        path=secrets.hidden_path(step.path),
        headers=headers,
        body=body,
        answer=replace(answer, headers=answer_headers, body=answer_body),
    )
