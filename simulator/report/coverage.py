"""What a client's tests have met of what the APIs can show them.

A *goal* is something that a client's code has to cope with and that a test can bring about. The goals of an API follow from its
document and its words, for each role that its operations have:

- Roles whose operations name a job in their path (`status`, `cancel`, `result` …): one goal for each state that a client of this
  API can tell apart (states with the same word are one). It is met when a call of this role came to a job in this state and the
  service answered by it: with a success, and for roles other than `status` with a refusal as well, for whether a running job has
  results or a finished one can be cancelled is the service's to decide. One more goal is a job that does not exist, where the
  document has 404 or 410.
- Roles whose operations name none (`submit`, `list`, `claim` …): a success, and a refusal (a 4xx other than the following ones).
- All roles: refused credentials (401 or 403), too many calls (429) and an error of the server (5xx), where the document has
  them. They come from in front of the service, whatever the job does, so each is one goal and not one for each state.

Operations of the role `info` have nothing to do with jobs and make no goals; neither does `default`, which names no status. Each
goal can be met: the states come by scripts and by force, the statuses by call rules. So 100 % is within reach, and what is
missing is a situation in which nobody has seen the client. An API that no test called is not what is tested, and counts nothing.

The state that a call met is that in which the job was when the call arrived, by its history and the call's virtual time. Of several
moves in one instant, those that a client or a worker commanded come after the call that may have commanded them, and a status call
that nobody disturbed says itself what it saw. A job that was removed has no history any more; it was as its last status call said.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

from simulator.apis.contract import CHANGING, Api, Role
from simulator.engine.job import State
from simulator.engine.world import CLIENT, WORKER
from simulator.report.model import Run, SeenCall, SeenMove, Tested
from simulator.scenario.calls import Declared
from simulator.scenario.review import Ability

NO_JOB = "no such job"
ANY_JOB = ""
"""Stands for the state where it does not matter."""

SUCCESS, REFUSAL, CREDENTIALS, TOO_MANY, SERVER_ERROR = "2xx", "4xx", "401", "429", "5xx"
CLASSES = (SUCCESS, REFUSAL, CREDENTIALS, TOO_MANY, SERVER_ERROR)
_BEFORE_THE_SERVICE = (CREDENTIALS, TOO_MANY, SERVER_ERROR)
_NOT_THERE = frozenset({404, 410})
_COMMANDED = frozenset({CLIENT, WORKER})
_CHANGING = frozenset(role.value for role in CHANGING)

_DEEDS = {
    "status": "polled {job}",
    "result": "asked for the result of {job}",
    "log": "read the log of {job}",
    "cancel": "cancelled {job}",
    "retry": "retried {job}",
    "amend": "changed {job}",
    "remove": "removed {job}",
    "touch": "kept {job} alive",
    "finish": "finished {job}",
}
_ANSWERS = {
    SUCCESS: "was answered with success",
    REFUSAL: "was refused",
    CREDENTIALS: "had its credentials refused",
}


class Goal(NamedTuple):
    """One situation of the client: a call of this role that met this state and was answered so."""

    role: str
    state: str
    """As the API says it; NO_JOB, or ANY_JOB where the state does not matter."""
    answer: str
    """One of `CLASSES`; where the service decides between success and refusal, its success."""

    def __str__(self) -> str:
        if self.answer in (TOO_MANY, SERVER_ERROR):
            return f"{self.answer} on {self.role} never met"
        if self.state == ANY_JOB:
            return f"no {self.role} call ever {_ANSWERS[self.answer]}"
        job = "a job that does not exist" if self.state == NO_JOB else f"a job that is {self.state}"
        return "no test ever " + _DEEDS.get(self.role, f"called {self.role} for {{job}}").format(job=job)


@dataclass(frozen=True)
class ApiCoverage:
    """What was met of one API."""

    api: str
    title: str
    states: Mapping[str, Sequence[str]]
    """The API's word → our states that it says, in their order."""
    goals: Sequence[Goal]
    met: Mapping[Goal, int]
    """Goals → how many calls met it."""
    calls: int

    @cached_property
    def never(self) -> tuple[Goal, ...]:
        """Goals that no call met."""
        return tuple(goal for goal in self.goals if not self.met.get(goal))

    @property
    def percent(self) -> float:
        """How much was met, 0 to 100; it is 100 only when all was."""
        return _percent(len(self.goals) - len(self.never), len(self.goals))


@dataclass(frozen=True)
class Coverage:
    """What was met of all APIs that were called."""

    apis: Sequence[ApiCoverage]
    never_called: Sequence[str] = ()
    """Known APIs that no test called."""

    @property
    def met(self) -> int:
        """How many goals were met."""
        return self.possible - sum(len(api.never) for api in self.apis)

    @property
    def possible(self) -> int:
        """How many there are."""
        return sum(len(api.goals) for api in self.apis)

    @property
    def percent(self) -> float:
        """Of all goals of the APIs that were called; 0 when none was."""
        return _percent(self.met, self.possible)

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "percent": self.percent,
            "met": self.met,
            "possible": self.possible,
            "never_called": list(self.never_called),
            "apis": [
                {
                    "api": one.api,
                    "percent": one.percent,
                    "goals": [goal._asdict() | {"calls": one.met.get(goal, 0)} for goal in one.goals],
                    "never": [str(goal) for goal in one.never],
                }
                for one in self.apis
            ],
        }


def measure(
    run: Run,
    apis: Mapping[str, Api],
    declared: Declared,
    abilities: Mapping[str, Ability],
    *,
    roles: Collection[str] | None = None,
) -> Coverage:
    """What the tests of this run have met.

    Args:
        declared: what the documents say that operations answer.
        abilities: which operations name a job.
        roles: only these are looked at, for a client that is never a worker or never lists; None: all.
    """
    met: defaultdict[str, Counter[Goal]] = defaultdict(Counter)
    calls: Counter[str] = Counter()
    for tested in run.tests:
        for call, state in met_states(tested, apis, declared):
            if call.api not in apis:
                continue
            calls[call.api] += 1
            goal = _goal_met(call, state, apis[call.api], declared, abilities[call.api])
            if goal is not None:
                met[call.api][goal] += 1
    measured = []
    for name in apis:
        if calls[name]:
            goals = [
                goal
                for goal in goals_of(apis[name], declared, abilities[name])
                if roles is None or goal.role in roles
            ]
            counts = {goal: met[name][goal] for goal in goals}
            measured.append(
                ApiCoverage(name, apis[name].title, states_of(apis[name]), goals, counts, calls[name])
            )
    return Coverage(measured, [name for name in apis if not calls[name]])


def states_of(api: Api) -> dict[str, list[str]]:
    """The states that a client of this API can tell apart, by the API's words."""
    states: dict[str, list[str]] = {}
    for state in State:
        states.setdefault(api.words[state], []).append(state.value)
    return states


def goals_of(api: Api, declared: Declared, ability: Ability) -> list[Goal]:
    """All that can be met of an API, role by role."""
    about_jobs: defaultdict[str, set[str]] = defaultdict(set)
    others: defaultdict[str, set[str]] = defaultdict(set)
    for (name, operation), documented in declared.items():
        if name == api.name and documented.role != Role.INFO.value:
            statuses = about_jobs if operation in ability.job_operations else others
            statuses[documented.role] |= documented.statuses
    goals = []
    for role in (role.value for role in Role):
        classes = {_class_of(status) for status in about_jobs[role] | others[role]}
        if others[role]:
            of_others = {_class_of(status) for status in others[role]}
            goals += [Goal(role, ANY_JOB, answer) for answer in (SUCCESS, REFUSAL) if answer in of_others]
        if about_jobs[role]:
            goals += [Goal(role, word, SUCCESS) for word in states_of(api)]
            if about_jobs[role] & set(map(str, _NOT_THERE)):
                goals.append(Goal(role, NO_JOB, REFUSAL))
        goals += [Goal(role, ANY_JOB, answer) for answer in _BEFORE_THE_SERVICE if answer in classes]
    return goals


def met_states(
    tested: Tested, apis: Mapping[str, Api], declared: Declared
) -> Iterator[tuple[SeenCall, str | None]]:
    """Each call of a test, and the API's word for the state in which it met its job.

    NO_JOB where the call named a job that there is not; None where it named none, or one of which nothing is known.
    """
    past = {(job.api, job.id): _Past(job.moves) for job in tested.seen_jobs}
    for call in tested.seen_calls:
        api, role = apis.get(call.api), role_of(call, declared)
        if role == Role.CLAIM.value:
            for (name, job_id), one in past.items():
                if name == call.api and job_id in call.response_body:
                    one.command(call.at_ms)
        if api is None or call.job is None or role == Role.SUBMIT.value:
            yield call, None
            continue
        one = past.setdefault((call.api, call.job), _Past(()))
        one.wait(call.at_ms)
        if role == Role.STATUS.value and _is_success(call) and not call.cause:
            one.told(_word_in(call.response_body, api), api, call.at_ms)
        yield call, one.met(call, api)
        if role in _CHANGING and (call.status is None or call.status < 400):
            one.command(call.at_ms)


class _Past:
    """What had become of a job when each of its calls came.

    Its history says so, but that several moves in one instant have the calls between them; and there is none of a job that was
    removed, of which only the answers tell.
    """

    def __init__(self, history: Sequence[SeenMove]) -> None:
        self._history = history
        self._reached = 1
        self._told = ""

    def wait(self, at_ms: int) -> None:
        """All that happened by itself until then."""
        while (move := self._next) and (
            move.at_ms < at_ms or (move.at_ms == at_ms and move.cause not in _COMMANDED)
        ):
            self._reached += 1

    def command(self, at_ms: int) -> None:
        """A client or a worker has changed something."""
        if (move := self._next) and move.at_ms == at_ms and move.cause in _COMMANDED:
            self._reached += 1

    def told(self, word: str, api: Api, at_ms: int) -> None:
        """An answer says that this is the state now, as far as the history has it in this instant or goes on to it."""
        self._told = word
        later = list(range(self._reached - 1, len(self._history)))
        earlier = [
            place for place in reversed(range(self._reached - 1)) if self._history[place + 1].at_ms == at_ms
        ]
        for place in (*later, *earlier):
            move = self._history[place]
            if move.at_ms <= at_ms and _word(api, move.state) == word:
                self._reached = place + 1
                return

    def met(self, call: SeenCall, api: Api) -> str | None:
        """The API's word for the state in which this call meets it; NO_JOB when it is not there, None when nobody knows."""
        if self._history:
            return _word(api, self._history[self._reached - 1].state)
        return NO_JOB if call.status in _NOT_THERE else self._told or None

    @property
    def _next(self) -> SeenMove | None:
        return self._history[self._reached] if self._reached < len(self._history) else None


def _is_success(call: SeenCall) -> bool:
    return call.status is not None and 200 <= call.status < 300


def _word_in(body: str, api: Api) -> str:
    """The state that an answer in JSON or XML tells; empty when it tells none."""
    for found in _status_pattern(api.status_fields).finditer(body):
        if found[1] in api.words.values():
            return found[1]
    return ""


@cache
def _status_pattern(fields: frozenset[str]) -> re.Pattern[str]:
    names = "|".join(map(re.escape, sorted(fields))) or "(?!)"
    return re.compile(rf'["<](?:{names})(?:"\s*:\s*"|>)([^"<]*)')


def role_of(call: SeenCall, declared: Declared) -> str:
    """What a call does to jobs; empty when it led to no operation that is known."""
    if call.role:
        return call.role
    documented = declared.get((call.api, call.operation))
    return "" if documented is None else documented.role


def _goal_met(
    call: SeenCall, state: str | None, api: Api, declared: Declared, ability: Ability
) -> Goal | None:
    role = role_of(call, declared)
    if not role or call.status is None:
        return None
    answer = _class_of(str(call.status))
    if answer in _BEFORE_THE_SERVICE:
        return Goal(role, ANY_JOB, answer)
    if call.operation not in ability.job_operations:
        return Goal(role, ANY_JOB, answer)
    if state == NO_JOB:
        return Goal(role, NO_JOB, REFUSAL) if answer == REFUSAL else None
    if answer == REFUSAL and role == Role.STATUS.value:
        return Goal(role, NO_JOB, REFUSAL) if call.status in _NOT_THERE else None
    return None if state is None else Goal(role, state, SUCCESS)


def _word(api: Api, state: str) -> str:
    try:
        return api.words[State(state)]
    except ValueError:
        return state


def _class_of(status: str) -> str:
    if status in ("401", "403"):
        return CREDENTIALS
    if status == "429":
        return TOO_MANY
    return f"{status[0]}xx" if status[0] in "245" else ""


def _percent(met: int, possible: int) -> float:
    """One decimal, rounded down, so that almost all is never shown as all."""
    return met * 1000 // possible / 10 if possible else 0.0
