"""Rules for calls: what a scenario answers instead of the service, or how it disturbs an answer, and the faults it knows.

The rules of an operation are asked in the order of the file; the first that fires takes the call, but every rule counts the
calls that meet its other conditions, so `call: 2` is the second such call whatever an earlier rule did with the first. Counts
are kept by the world (`CountCall`), per API, rule and job where the path names a job that is there, else per API and rule.
`after` is measured from that job's creation, else from the world's start. Chance is a function of the seed, the rule's place in
the file, and the count.

How a fault is carried out is `simulator.web.faults`' business; this module only knows that there is one.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, Protocol

from simulator.engine.draw import draw_between
from simulator.engine.job import Job, State
from simulator.engine.script import Span
from simulator.scenario.match import GLOB_CHARACTERS_MAX, Field, Glob
from simulator.scenario.nodes import Node, shown, unknown
from simulator.scenario.values import counted, duration, globs, span, words

ROLES = (
    "submit",
    "status",
    "list",
    "result",
    "log",
    "cancel",
    "retry",
    "amend",
    "remove",
    "claim",
    "touch",
    "finish",
    "info",
)
"""What an operation does to jobs, in the words of the API contract."""
VIOLATES = ("status", "schema", "content_type")
"""What an answer may break of a document when it says so."""
WORDS = {state: state.value for state in State}
"""Faster than to ask the states themselves."""
CHANCES = 1_000_000
TOO_MANY_REQUESTS = 429

Takes = Literal["duration", "status", "word", "media type"]


class Moment(Enum):
    """When a fault strikes, seen from the command that the call carries."""

    BEFORE = "before"
    """The command is not carried out."""
    AFTER = "after"
    """It is carried out, and then its answer is disturbed."""
    INSTEAD = "instead"
    """It is not carried out, and something else answers."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One fault of the language: `fault: name`, or `fault: {name: value}` where it takes a value."""

    name: str
    moment: Moment
    meaning: str
    takes: Takes | None = None
    default: int | str | None = None

    @property
    def written(self) -> str:
        """Its longest form."""
        examples = {"duration": "5s", "status": "504", "word": "WORD", "media type": "text/plain"}
        return self.name if self.takes is None else f"{{{self.name}: {examples[self.takes]}}}"


FAULTS = {
    kind.name: kind
    for kind in (
        FaultKind("connection_reset", Moment.BEFORE, "The connection is reset (TCP RST)."),
        FaultKind("empty_response", Moment.BEFORE, "The connection is closed without a byte."),
        FaultKind(
            "hang",
            Moment.BEFORE,
            "No answer until the client gives up, or until so much real time has passed (10m); then a reset.",
            "duration",
            600_000,
        ),
        FaultKind("response_lost", Moment.AFTER, "The answer is lost: the connection is reset instead."),
        FaultKind(
            "truncated_body",
            Moment.AFTER,
            "Half of the body, then the connection is closed; without a body, closed at once.",
        ),
        FaultKind(
            "malformed_body",
            Moment.AFTER,
            "The body is no JSON (or XML) any more, its Content-Type is right.",
        ),
        FaultKind(
            "wrong_content_type",
            Moment.AFTER,
            "The Content-Type is another one (text/html).",
            "media type",
            "text/html",
        ),
        FaultKind(
            "html_error_page",
            Moment.INSTEAD,
            "A proxy's error page in HTML answers (502).",
            "status",
            502,
        ),
        FaultKind(
            "dribble",
            Moment.AFTER,
            "The body comes in pieces over so much time (2s), which passes as a delay does.",
            "duration",
            2_000,
        ),
        FaultKind(
            "unknown_state",
            Moment.AFTER,
            "The job's state is a word that no client knows (limbo, in the API's letters).",
            "word",
        ),
        FaultKind("stale", Moment.AFTER, "Jobs are shown as they were so long ago (5s).", "duration", 5_000),
        FaultKind(
            "not_yet_visible",
            Moment.INSTEAD,
            "The job is not found; with a duration, only while it is younger than that. Lists leave it out.",
            "duration",
        ),
        FaultKind(
            "duplicate",
            Moment.AFTER,
            "The submit is carried out twice, and the client hears of the second job.",
        ),
        FaultKind(
            "progress_backwards",
            Moment.AFTER,
            "Progress is half of what was shown last.",
        ),
    )
}
"""Every fault by name, in the order of the lists that people are shown."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as a rule asks for it."""

    kind: FaultKind
    value: int | str | None = None
    """Milliseconds, a status or a word, as its kind takes; None when it takes nothing or there is no default."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A scripted answer."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    has_body: bool = False
    """Without one the API's own error body for the status is sent, or none below 400."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """So many calls in a window of virtual time, which begins with its first call."""

    calls: int
    per_ms: int


class AsksOfJob(Protocol):
    """What the conditions ask of a job."""

    @property
    def state(self) -> State:
        """As it is now."""

    @property
    def number(self) -> int:
        """Counts the jobs of its world."""

    @property
    def created_ms(self) -> int:
        """When it was made."""


class Seen(NamedTuple):
    """A call as the conditions see it."""

    job: AsksOfJob | None
    """The one that the path names, when it is there."""
    now_ms: int
    start_ms: int
    """When the world began."""
    request: Any
    """The decoded body; None while no rule asks for it."""
    headers: Mapping[str, str]
    query: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True)
class CallWhen:
    """All that must hold for a rule to fire; nothing at all holds for every call."""

    apis: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    operations: tuple[Glob, ...] = ()
    states: tuple[str, ...] = ()
    numbers: tuple[int, int] | None = None
    after_ms: int | None = None
    fields: tuple[Field, ...] = ()
    headers: tuple[Field, ...] = ()
    """By lower-case name."""
    query: tuple[Field, ...] = ()
    calls: tuple[int, int] | None = None
    every: int | None = None
    chance: int | None = None
    """Millionths."""

    def is_for(self, api: str, operation: str, role: str) -> bool:
        """Whether calls of this operation can meet it."""
        return (
            (not self.apis or api in self.apis)
            and (not self.roles or role in self.roles)
            and (not self.operations or any(glob.fits(operation) for glob in self.operations))
        )

    @property
    def is_always(self) -> bool:
        """No call can fail to meet it."""
        return self == CallWhen()

    def holds(self, seen: Seen) -> bool:
        """Whether this call meets them all, counting and chance aside; `unmet` says which it does not."""
        job = seen.job
        if self.states and (job is None or WORDS[job.state] not in self.states):
            return False
        if self.numbers is not None and (job is None or not self.numbers[0] <= job.number <= self.numbers[1]):
            return False
        if self.after_ms is not None:
            begin_ms = seen.start_ms if job is None else job.created_ms
            if seen.now_ms - begin_ms < self.after_ms:
                return False
        if not (self.fields or self.headers or self.query):
            return True
        return not self.unmet(seen)

    def unmet(self, seen: Seen) -> list[str]:
        """The conditions that this call does not meet, counting and chance aside, as people write them."""
        job = seen.job
        unmet = []
        if self.states and (job is None or job.state.value not in self.states):
            unmet.append(f"state: {' or '.join(self.states)}")
        if self.numbers is not None and (job is None or not self.numbers[0] <= job.number <= self.numbers[1]):
            unmet.append(f"number: {_range(self.numbers)}")
        if self.after_ms is not None:
            begin_ms = seen.start_ms if job is None else job.created_ms
            if seen.now_ms - begin_ms < self.after_ms:
                unmet.append(f"after: {self.after_ms}ms")
        unmet += [f"request.{one.path}" for one in self.fields if not one.holds(seen.request)]
        for condition in self.headers:
            value = seen.headers.get(condition.path)
            if value is None or not any(glob.fits(value) for glob in condition.globs):
                unmet.append(f"header.{condition.path}")
        for condition in self.query:
            values = seen.query.get(condition.path, ())
            if not any(glob.fits(value) for value in values for glob in condition.globs):
                unmet.append(f"query.{condition.path}")
        return unmet

    def unmet_by_count(self, count: int, seed: int, place: int, job_number: int) -> list[str]:
        """The conditions on the count, and the chance, that the call with this count does not meet."""
        unmet = []
        if self.calls is not None and not self.calls[0] <= count <= self.calls[1]:
            unmet.append(f"call: {_range(self.calls)} (this is {count})")
        if self.every is not None and count % self.every:
            unmet.append(f"every: {self.every} (this is {count})")
        if self.chance is not None:
            drawn = draw_between(0, CHANCES - 1, seed, "call", place, job_number, count)
            if drawn >= self.chance:
                unmet.append(f"chance: {self.chance / CHANCES}")
        return unmet


def _range(numbers: tuple[int, int]) -> str:
    return str(numbers[0]) if numbers[0] == numbers[1] else f"{numbers[0]}..{numbers[1]}"


@dataclass(frozen=True, slots=True)
class CallRule:
    """What happens to the calls that meet the conditions."""

    when: CallWhen
    place: int
    """Its place in the file, from 0."""
    cause: str
    """Where it was written, `scenarios/x.yaml:12`."""
    answer: Answer | None = None
    fault: Fault | None = None
    delay: Span | None = None
    rate_limit: RateLimit | None = None
    violates: frozenset[str] = frozenset()

    @property
    def counts(self) -> bool:
        """What it does depends on how many calls there were."""
        when = self.when
        is_drawn = self.delay is not None and self.delay.low_ms != self.delay.high_ms
        return is_drawn or when.calls is not None or when.every is not None or when.chance is not None

    def holds(self, seen: Seen) -> bool:
        """Whether this call meets its conditions, counting and chance aside."""
        return self.when.holds(seen) and not (self.fault is not None and self.unmet(seen))

    def unmet(self, seen: Seen) -> list[str]:
        """The conditions that this call does not meet, counting and chance aside, as people write them."""
        unmet = self.when.unmet(seen)
        fault = self.fault
        if fault is None or fault.kind.name != "not_yet_visible" or not isinstance(fault.value, int):
            return unmet
        if seen.job is not None and seen.now_ms - seen.job.created_ms >= fault.value:
            unmet.append(f"not_yet_visible: {fault.value}ms")
        return unmet

    def key(self, job: Job | None) -> str:
        """What the world counts its calls under."""
        return f"{self.place} {self.cause}" if job is None else f"{self.place} {self.cause} {job.id}"

    @property
    def rate_key(self) -> str:
        """What the world counts the calls of a rate limit under: all jobs together, as services do."""
        return f"{self.place} {self.cause} rate"

    def delay_ms(self, seed: int, job_number: int, count: int) -> int:
        """How long this call is delayed."""
        if self.delay is None:
            return 0
        low_ms, high_ms = self.delay.low_ms, self.delay.high_ms
        return draw_between(low_ms, high_ms, seed, "delay", self.place, job_number, count)

    def __str__(self) -> str:
        """The place and what it does, as replies carry it."""
        if self.answer is not None:
            deed = f"answer {self.answer.status}"
        elif self.fault is not None:
            deed = self.fault.kind.name
        else:
            deed = "rate_limit" if self.rate_limit is not None else "delay"
        return f"{self.cause} {deed}"


class OperationRules(tuple[CallRule, ...]):
    """The rules that calls of one operation can meet, in order, and what has to be known of a call to ask them."""

    asks_body: bool
    asks_query: bool
    moves_progress: bool

    @classmethod
    def of(cls, rules: Iterable[CallRule]) -> OperationRules:
        """Find out once what every call would ask for."""
        found = cls(rules)
        found.asks_body = any(rule.when.fields for rule in found)
        found.asks_query = any(rule.when.query for rule in found)
        found.moves_progress = any(
            rule.fault is not None and rule.fault.kind.name == "progress_backwards" for rule in found
        )
        return found


@dataclass(frozen=True, slots=True)
class CallRules:
    """The call rules of a scenario, ready to be asked by operation."""

    rules: tuple[CallRule, ...] = ()
    _by_operation: dict[tuple[str, str], OperationRules] = field(
        default_factory=dict, compare=False, repr=False
    )

    def find(self, api: str, operation: str, role: str) -> OperationRules:
        """The rules that calls of this operation can meet, in order; found out once."""
        found = self._by_operation.get((api, operation))
        if found is None:
            found = OperationRules.of(rule for rule in self.rules if rule.when.is_for(api, operation, role))
            self._by_operation[api, operation] = found
        return found


# ---- reading --------------------------------------------------------------------------------------------------------


class Documented(NamedTuple):
    """What a document says of one operation."""

    role: str
    statuses: frozenset[str]
    """As in the document: `404`, `4XX`, `default`."""

    def declares(self, status: int) -> bool:
        """Whether an answer may have this status."""
        return not self.statuses.isdisjoint((str(status), f"{status // 100}XX", "default"))


Declared = Mapping[tuple[str, str], Documented]
"""By API and operationId."""

RULE_KEYS = ("when", "answer", "fault", "delay", "rate_limit", "violates")
REQUEST, HEADER, QUERY = "request.", "header.", "query."
WHEN_KEYS = (
    "api",
    "role",
    "operation",
    "call",
    "every",
    "after",
    "chance",
    "state",
    "number",
    f"{REQUEST}<path>",
    f"{HEADER}<name>",
    f"{QUERY}<name>",
)
FRAMING = frozenset({"content-length", "transfer-encoding", "connection"})
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(\s*;.*)?")
_OPERATIONS_SHOWN = 3


def read_calls(node: Node, apis: Collection[str], declared: Declared | None = None) -> CallRules:
    """The rules under `calls`. With `declared`, answers that a document does not allow are problems."""
    rules: list[CallRule] = []
    taken: Node | None = None
    items = node.items()
    if node.is_list and not items:
        node.problem(
            "needs at least one rule, such as `- {when: {role: status, call: 2}, answer: {status: 503}}`"
        )
    for place, item in enumerate(items):
        if taken is not None:
            item.warn(f"never fires: {taken.path} in line {taken.line} takes every call")
        rule = _rule(item, place, apis, declared or {})
        rules.append(rule)
        if taken is None and item.is_mapping and rule.when.is_always and rule.rate_limit is None:
            taken = item
    return CallRules(tuple(rules))


def _rule(node: Node, place: int, apis: Collection[str], declared: Declared) -> CallRule:
    fields = node.fields(RULE_KEYS)
    deeds = [key for key in ("answer", "fault", "rate_limit") if key in fields]
    if node.is_mapping and not deeds and "delay" not in fields:
        node.problem(
            "does nothing: `answer`, `fault`, `delay` or `rate_limit` is missing, such as `fault: connection_reset`"
        )
    for key in deeds[1:]:
        fields[key].problem(f"a rule has one of answer, fault and rate_limit; there is {deeds[0]} already")
    when = _when(fields["when"], apis) if "when" in fields else CallWhen()
    answer = _answer(fields["answer"]) if "answer" in fields else None
    violates = (
        frozenset(words(fields["violates"], VIOLATES, "violation")) if "violates" in fields else frozenset()
    )
    if violates and answer is None and "rate_limit" not in fields:
        fields["violates"].problem("belongs to an answer; a fault says by its name what it breaks")
    rule = CallRule(
        when=when,
        place=place,
        cause=node.cause,
        answer=answer,
        fault=_fault(fields["fault"]) if "fault" in fields else None,
        delay=span(fields["delay"]) if "delay" in fields else None,
        rate_limit=_rate_limit(fields["rate_limit"]) if "rate_limit" in fields else None,
        violates=violates,
    )
    if declared:
        _check_against(declared, rule, node, fields.get("answer") or fields.get("rate_limit"))
    return rule


def _check_against(declared: Declared, rule: CallRule, node: Node, deed: Node | None) -> None:
    """Compare a rule with what the documents say."""
    fitting = {
        operation: documented
        for operation, documented in declared.items()
        if rule.when.is_for(*operation, documented.role)
    }
    if not fitting:
        node.warn("never fires: no operation is of this api, role and operation")
    if deed is None or "status" in rule.violates:
        return
    status = TOO_MANY_REQUESTS if rule.answer is None else rule.answer.status
    wrong = [" ".join(one) for one, documented in fitting.items() if not documented.declares(status)]
    if wrong:
        shown_ones = ", ".join(wrong[:_OPERATIONS_SHOWN])
        more = f" and {len(wrong) - _OPERATIONS_SHOWN} more" if len(wrong) > _OPERATIONS_SHOWN else ""
        deed.problem(
            f"{status} is not declared by {shown_ones}{more}; narrow `when`, or add `violates: [status]` to the rule"
        )


def _when(node: Node, apis: Collection[str]) -> CallWhen:
    fields = node.fields(WHEN_KEYS, prefix=(REQUEST, HEADER, QUERY))
    if node.is_mapping and not node.raw.value:
        node.problem("holds no condition; leave `when` out for a rule that takes every call")
    return CallWhen(
        apis=words(fields["api"], apis, "API") if "api" in fields else (),
        roles=words(fields["role"], ROLES, "role") if "role" in fields else (),
        operations=globs(fields["operation"]) if "operation" in fields else (),
        states=words(fields["state"], [state.value for state in State], "state") if "state" in fields else (),
        numbers=counted(fields["number"], "job") if "number" in fields else None,
        after_ms=duration(fields["after"]) if "after" in fields else None,
        fields=_conditions(fields, REQUEST),
        headers=_conditions(fields, HEADER),
        query=_conditions(fields, QUERY),
        calls=counted(fields["call"], "call") if "call" in fields else None,
        every=_whole(fields["every"], 1) if "every" in fields else None,
        chance=_chance(fields["chance"]) if "chance" in fields else None,
    )


def _conditions(fields: Mapping[str, Node], prefix: str) -> tuple[Field, ...]:
    conditions = []
    for key, node in fields.items():
        if key.startswith(prefix):
            path = key.removeprefix(prefix)
            if not 0 < len(path) <= GLOB_CHARACTERS_MAX:
                node.problem(f"what follows `{prefix}` has 1 to {GLOB_CHARACTERS_MAX} characters")
            conditions.append(Field(path.lower() if prefix == HEADER else path, globs(node)))
    return tuple(conditions)


def _whole(node: Node, low: int, high: int | None = None) -> int:
    value = node.scalar() if node.is_scalar else None
    if type(value) is int and low <= value and (high is None or value <= high):
        return value
    node.problem(f"must be a whole number from {low} {'on' if high is None else f'to {high}'}")
    return low


def _chance(node: Node) -> int:
    value = node.scalar() if node.is_scalar else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return round(value * CHANCES)
    node.problem("must be a number above 0 and up to 1, such as 0.1 for one call in ten")
    return CHANCES


def _rate_limit(node: Node) -> RateLimit:
    fields = node.fields(("calls", "per"))
    for key, example in (("calls", "calls: 5"), ("per", "per: 10s")):
        if node.is_mapping and key not in fields:
            node.problem(f"`{key}` is missing, such as `{example}`")
    per_ms = duration(fields["per"]) if "per" in fields else 1
    if per_ms == 0 and "per" in fields:
        fields["per"].problem("must be longer than no time")
    return RateLimit(_whole(fields["calls"], 0) if "calls" in fields else 0, per_ms)


def _answer(node: Node) -> Answer:
    fields = node.fields(("status", "headers", "body"))
    if node.is_mapping and "status" not in fields:
        node.problem("`status` is missing, such as `status: 503`")
    return Answer(
        status=_whole(fields["status"], 200, 599) if "status" in fields else 503,
        headers=_headers(fields["headers"]) if "headers" in fields else {},
        body=fields["body"].json() if "body" in fields else None,
        has_body="body" in fields,
    )


def _headers(node: Node) -> dict[str, str]:
    headers = {}
    for key, value in node.entries():
        name = key.written
        text = value.written
        if not _HEADER_NAME.fullmatch(name):
            key.problem(f"{shown(name)} is no name of a header")
        elif name.lower() in FRAMING:
            key.problem(f"{name} is written by the server; a fault such as truncated_body breaks it")
        elif not value.is_scalar or value.is_null:
            value.problem("must be a text")
        elif not text.isprintable() or not text.isascii():
            value.problem("holds characters that no header can carry")
        headers[name] = text
    return headers


def _fault(node: Node) -> Fault | None:
    name_node, value = node, None
    if node.is_mapping:
        entries = node.entries()
        if len(entries) != 1:
            node.problem("must be one fault, such as `connection_reset` or `{hang: 30s}`")
            return None
        [(name_node, value)] = entries
    elif not node.is_scalar:
        node.problem("must be a fault, such as `connection_reset` or `{hang: 30s}`")
        return None
    kind = FAULTS.get(name_node.written)
    if kind is None:
        name_node.problem(unknown("fault", name_node.written, FAULTS))
        return None
    if value is None:
        return Fault(kind, kind.default)
    if kind.takes is None:
        value.problem(f"{kind.name} takes no value; write `fault: {kind.name}`")
        return Fault(kind)
    return Fault(kind, _fault_value(value, kind.takes))


def _fault_value(node: Node, takes: Takes) -> int | str:
    if takes == "duration":
        return duration(node)
    if takes == "status":
        status = _whole(node, 400, 599)
        if status not in _PHRASES:
            node.problem(f"{status} is no status that proxies know")
        return status
    text = node.text()
    if not node.is_text:
        return text
    if takes == "media type" and not _MEDIA_TYPE.fullmatch(text):
        node.problem("must be a media type such as text/plain")
    elif not text or not text.isprintable():
        node.problem("must be a word")
    return text


_PHRASES = frozenset(HTTPStatus)
