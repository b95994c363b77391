"""Which rule would take a job or a call that somebody thinks of, or which comes nearest and what it wants instead.

The imagined one is described in the words of `when`: `api=ica,request.name=nightly-7`, or for a call
`api=ica,operation=GetTaskRun,call=2`. What is not said is not there: no body, no header, the first job, the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from simulator.engine.command import Submit
from simulator.engine.job import Job, State
from simulator.engine.script import Lasting, Part, Polls, Span, Step
from simulator.scenario.calls import HEADER, QUERY, REQUEST, ROLES, CallRule, Declared, Seen
from simulator.scenario.duration import format_duration, parse_duration
from simulator.scenario.match import Field, When, text_of, values_at
from simulator.scenario.model import FALLBACK, Scenario
from simulator.scenario.nodes import shown, unknown

CALL_WORDS = ("operation", "role", "call", "state", "after")
WORDS = ("api", "kind", "number", *CALL_WORDS)
PREFIXES = (REQUEST, HEADER, QUERY)


class Unclear(ValueError):
    """The description is none; the text says what would be."""


@dataclass(frozen=True, slots=True)
class Imagined:
    """A job or a call, as somebody describes it."""

    texts: Mapping[str, str]

    @classmethod
    def parse(cls, written: str) -> Imagined:
        """From `key=value,key=value`.

        Raises:
            Unclear: it is not of this form, or has a key that nobody knows.
        """
        texts = {}
        for part in written.split(","):
            key, equals, value = part.strip().partition("=")
            if not equals:
                raise Unclear(
                    f"{part.strip()!r} is no key=value; write it like api=ica,request.name=nightly-7"
                )
            if key not in WORDS and not key.startswith(PREFIXES):
                raise Unclear(unknown("key", key, (*WORDS, *(f"{prefix}<name>" for prefix in PREFIXES))))
            texts[key] = value
        return cls(texts)

    @property
    def is_call(self) -> bool:
        """It speaks of what only calls have."""
        return any(key in CALL_WORDS or key.startswith((HEADER, QUERY)) for key in self.texts)

    def number(self, key: str) -> int:
        """A whole number from 1 on, 1 when nothing is said.

        Raises:
            Unclear: it is none.
        """
        text = self.texts.get(key, "1")
        if not text.isascii() or not text.isdecimal() or not 0 < int(text[:10]) <= 999_999_999:
            raise Unclear(f"{key}={text}: must be a whole number from 1 on")
        return int(text)

    def below(self, prefix: str) -> dict[str, str]:
        """What is said under this prefix."""
        return {
            key.removeprefix(prefix): value for key, value in self.texts.items() if key.startswith(prefix)
        }

    @property
    def request(self) -> Any:
        """The body: paths are keys as they are written, which conditions find as well as nested ones."""
        return self.below(REQUEST)


def explain(scenario: Scenario, imagined: Imagined, declared: Declared, *, seed: int = 1) -> list[str]:
    """Lines that say which rule it is, or which is nearest.

    Raises:
        Unclear: the description names something that does not exist.
    """
    apis = list(scenario.settings)
    api = imagined.texts.get("api")
    if api is not None and api not in apis:
        raise Unclear(unknown("API", api, apis))
    if imagined.is_call:
        return _explain_call(scenario, imagined, declared, seed)
    return _explain_job(scenario, imagined, seed)


# ---- jobs -----------------------------------------------------------------------------------------------------------


def _explain_job(scenario: Scenario, imagined: Imagined, seed: int) -> list[str]:
    number = imagined.number("number")
    submit = Submit(imagined.texts.get("api", ""), imagined.texts.get("kind", ""), imagined.request)
    misses: list[tuple[str, list[str]]] = []
    for rule in scenario.rules:
        unmet = _unmet(rule.when, submit, number, seed)
        if not unmet:
            return [f"{rule.part.cause}: this rule takes the job", *_lines_of(rule.part)]
        misses.append((rule.part.cause, unmet))
    return ["no rule takes the job", *_nearest(misses), *_lines_of(FALLBACK)]


def _unmet(when: When, submit: Submit, number: int, seed: int) -> list[str]:
    unmet = []
    if when.apis and submit.api not in when.apis:
        unmet.append(f"api: {_or(when.apis)}, not {submit.api or 'none'}")
    if when.kinds and not any(glob.fits(submit.kind) for glob in when.kinds):
        unmet.append(f"kind: {_or([glob.text for glob in when.kinds])}, not {shown(submit.kind)}")
    if when.numbers is not None and not when.numbers[0] <= number <= when.numbers[1]:
        unmet.append(f"number: {when.numbers[0]}..{when.numbers[1]}, not {number}")
    if when.every is not None and number % when.every:
        unmet.append(f"every: {when.every}, and this is job {number}")
    unmet += [_unmet_field(one, submit.request) for one in when.fields if not one.holds(submit.request)]
    if not unmet and not when.holds(submit, number, seed):
        unmet.append(f"chance: {when.chance}, and job {number} of seed {seed} is not drawn")
    return unmet


def _unmet_field(condition: Field, request: Any) -> str:
    wanted = _or([glob.text for glob in condition.globs])
    given = next((text_of(value) for value in values_at(request, condition.path)), None)
    return f"request.{condition.path}: {wanted}, {'which is not there' if given is None else f'not {shown(given)}'}"


def _lines_of(part: Part) -> list[str]:
    """The script of each attempt, on a line of its own."""
    lines = []
    attempt: Part | None = part
    while attempt is not None:
        head = f"attempt {attempt.attempt}: " if part.next_attempt is not None else ""
        lines.append(f"  {head}{', '.join(map(_words_of, attempt.script.steps))}")
        attempt = attempt.next_attempt
    return lines


def _words_of(step: Step) -> str:
    word = step.state.value
    if step.state.is_final:
        return word if step.failure is None else f"{word} ({step.failure.code}: {step.failure.message})"
    progress = "" if step.progress is None else f" ({step.progress[0]}..{step.progress[1]} %)"
    return f"{word} {_length(step.lasts)}{progress}"


def _length(lasts: Span | Polls | Lasting) -> str:
    if isinstance(lasts, Lasting):
        return lasts.value
    if isinstance(lasts, Polls):
        low, high, unit = str(lasts.low), str(lasts.high), " polls"
    else:
        low, high, unit = format_duration(lasts.low_ms), format_duration(lasts.high_ms), ""
    return f"{low if low == high else f'{low}..{high}'}{unit}"


# ---- calls ----------------------------------------------------------------------------------------------------------


def _explain_call(scenario: Scenario, imagined: Imagined, declared: Declared, seed: int) -> list[str]:
    texts = imagined.texts
    api, operation, role = texts.get("api", ""), texts.get("operation", ""), texts.get("role", "")
    if role and role not in ROLES:
        raise Unclear(unknown("role", role, ROLES))
    if operation and not role:
        known = [one for (of, one) in declared if of == api or not api]
        found = [
            documented for (of, one), documented in declared.items() if one == operation and api in ("", of)
        ]
        if not found:
            raise Unclear(unknown("operation", operation, known))
        role = found[0].role
    seen, count = _seen(imagined), imagined.number("call")
    misses: list[tuple[str, list[str]]] = []
    for rule in scenario.calls.rules:
        unmet = _unmet_by_call(rule, api, operation, role)
        unmet += rule.unmet(seen)
        unmet += [] if unmet else rule.when.unmet_by_count(count, seed, rule.place, imagined.number("number"))
        if not unmet:
            limit = rule.rate_limit
            after = (
                ""
                if limit is None
                else f", once there are more than {limit.calls} in {format_duration(limit.per_ms)}"
            )
            return [f"{rule}: this rule takes the call{after}"]
        misses.append((str(rule), unmet))
    return ["no rule takes the call: the service answers it", *_nearest(misses)]


def _unmet_by_call(rule: CallRule, api: str, operation: str, role: str) -> list[str]:
    when = rule.when
    unmet = []
    if when.apis and api not in when.apis:
        unmet.append(f"api: {_or(when.apis)}, not {api or 'none'}")
    if when.roles and role not in when.roles:
        unmet.append(f"role: {_or(when.roles)}, not {role or 'none'}")
    if when.operations and not any(glob.fits(operation) for glob in when.operations):
        unmet.append(f"operation: {_or([glob.text for glob in when.operations])}, not {operation or 'none'}")
    return unmet


def _seen(imagined: Imagined) -> Seen:
    texts = imagined.texts
    try:
        now_ms = parse_duration(texts["after"]) if "after" in texts else 0
    except ValueError as problem:
        raise Unclear(f"after={texts['after']}: {problem}") from None
    state = texts.get("state")
    states = {one.value: one for one in State}
    if state is not None and state not in states:
        raise Unclear(unknown("state", state, states))
    job = None
    if state is not None or "number" in texts:
        job = _job(states[state or "queued"], imagined.number("number"))
    return Seen(
        job,
        now_ms,
        0,
        imagined.request,
        {name.lower(): value for name, value in imagined.below(HEADER).items()},
        {name: [value] for name, value in imagined.below(QUERY).items()},
    )


def _job(state: State, number: int) -> Job:
    return Job(
        id="imagined",
        number=number,
        submit=Submit("", ""),
        part=FALLBACK,
        request=None,
        created_ms=0,
        state=state,
        since_ms=0,
    )


# ---- words ----------------------------------------------------------------------------------------------------------


def _nearest(misses: Sequence[tuple[str, list[str]]]) -> list[str]:
    if not misses:
        return []
    cause, unmet = min(misses, key=lambda miss: len(miss[1]))
    return [f"{cause}: comes nearest, and wants {' and '.join(unmet)}"]


def _or(words: Sequence[str]) -> str:
    return " or ".join(words)
