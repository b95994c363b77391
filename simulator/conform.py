"""Does a service keep to its document? Schemathesis asks it, in four phases: examples, coverage, fuzzing, stateful.

The service is understudy itself, assembled here, or whatever answers at a URL. Either way the same exceptions hold; they stand,
each with its reason, in `conformance.toml`. Only the links that a document declares are followed: what others could be guessed
proves nothing about the document.

A scenario may disturb calls. Such a reply owns up to it (`X-Understudy-Cause`), and the rule that it names decides what can
still be asked of the reply: what the service made itself is judged in full; what a scenario put there says nothing about how a
request was dealt with, but has to fit the document in everything that the rule does not break by declaration. A call whose
connection a fault broke has no reply to judge.

Schemathesis comes with the tests, not with the product, so it is imported when it is needed.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.types import Message, Receive, Scope, Send

from simulator.assemble import (
    Settings,
    assemble,
    load_apis,
    load_control_document,
    load_document,
    load_scenario,
)
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import DEFAULT_WORLD
from simulator.scenario.calls import CallRule
from simulator.scenario.model import Scenario
from simulator.web.faults import CAUSE_HEADER, Broken
from simulator.web.front import Front
from simulator.web.ledger import Ledger
from simulator.web.service import CLIENT_BROKE, METHODS, VIOLATION_HEADER

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, Response
    from schemathesis.core.failures import Failure
    from schemathesis.engine.recorder import ScenarioRecorder
    from schemathesis.specs.openapi.schemas import OpenApiSchema

PHASES = ("examples", "coverage", "fuzzing", "stateful")
CONTROL = "control"
"""Our own control API; nobody lists it among the simulated ones, and its document says where it is served."""
REQUIREMENT = "schemathesis>=4.32,<5"
EXCEPTIONS = Path(__file__).with_name("conformance.toml")
TOKEN = "conformance"
"""The one good credential of a server that is assembled here, so that credentials can be seen to matter."""
STEP_MS = 700
"""Virtual time moves so far before each call, so that calls meet jobs in all states."""
PATIENCE_SECONDS = 0.05
"""So long a call waits, in real time, for a service in this process that holds it back."""
BROKEN_HEADER = "X-Understudy-Broken"
BROKEN_STATUS = 599
IN_PROCESS = "http://testserver"
SERVED_AT = "http://127.0.0.1:4010"

ABOUT_HANDLING = frozenset(
    {
        "not_a_server_error",
        "negative_data_rejection",
        "positive_data_acceptance",
        "missing_required_header",
        "unsupported_method",
        "allow_header_conformance",
        "use_after_free",
        "ensure_resource_availability",
        "ignored_auth",
    }
)
"""Checks of how a request was dealt with; the others look at the reply alone."""
STATUS, CONTENT_TYPE = "status_code_conformance", "content_type_conformance"
SCHEMA, HEADERS = "response_schema_conformance", "response_headers_conformance"
BROKEN_BY_DECLARATION = {"status": {STATUS}, "content_type": {CONTENT_TYPE, SCHEMA}, "schema": {SCHEMA}}
"""What cannot be asked of an answer that `violates` something."""
BROKEN_BY_FAULT: Mapping[str, frozenset[str]] = {
    "html_error_page": ABOUT_HANDLING | {STATUS, CONTENT_TYPE, SCHEMA, HEADERS},
    "malformed_body": frozenset({SCHEMA}),
    "wrong_content_type": frozenset({CONTENT_TYPE, SCHEMA}),
    "unknown_state": frozenset({SCHEMA}),
    # Jobs are not shown as they are, so one that is there may look as if it were not, and the other way round.
    "stale": ABOUT_HANDLING,
    "not_yet_visible": ABOUT_HANDLING,
}
"""What cannot be asked of a reply that a fault disturbed; all of it where the fault is not named here."""
NOT_IN_XML = frozenset({"negative_data_rejection", "positive_data_acceptance"})


def is_installed() -> bool:
    """Whether Schemathesis is here."""
    return find_spec("schemathesis") is not None


@cache
def _exceptions() -> dict[str, Any]:
    return tomllib.loads(EXCEPTIONS.read_text(encoding="utf-8"))


# ---- what is asked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Plan:
    """How much is tried.

    Args:
        phases: some of `PHASES`.
        examples_max: so many cases for each operation when it is fuzzed.
        stories_max: so many conversations that follow links; None: as many as cases.
        seed: the same cases come again with the same seed.
        operations: only these operationIds, and the links among them; empty means all. What other methods a path has is not
            known then, so it does not go with the phase `coverage`.
        is_thrifty: where a body may come in several media types with the same schema, only the first one is tried.
        flavour: names a section of its own in the exceptions: the title of the document, and this in brackets.
    """

    phases: Sequence[str] = PHASES
    examples_max: int = 25
    stories_max: int | None = None
    seed: int = 1
    operations: Sequence[str] = ()
    is_thrifty: bool = False
    flavour: str = ""


@dataclass(frozen=True)
class Remote:
    """A service that is already there.

    Args:
        url: what stands before the paths of the document.
        token: credentials for whatever the document asks for; `user:password` where that is basic authentication.
        rate_limit: as Schemathesis writes it: `10/s`, `100/m`.
    """

    url: str
    token: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: str | None = None
    timeout_seconds: float = 10.0


class Served:
    """understudy in this process, playing a scenario. Time stands still and moves a little before each call.

    Args:
        scenario: a shipped one's name, a path, or a text.
        patience_seconds: when a call is held back so long, its client gives it up.
    """

    def __init__(
        self,
        scenario: str | Path = "happy",
        *,
        seed: int = 11,
        apis: Sequence[str] = (),
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self.ledger = Ledger()
        self._patience_seconds = patience_seconds
        self.front: Front = assemble(
            Settings(
                apis=tuple(name for name in apis if name != CONTROL),
                scenario=scenario,
                seed=seed,
                time=TimeMode(0),
                admin_token=TOKEN,
                worlds_max=20,
                calls_max=20,
            ),
            ledger=self.ledger,
        )
        read = with_credentials(load_scenario(scenario, load_apis()))
        self.rules: Mapping[str, CallRule] = {}
        self.credentials: Mapping[str, str] = {}
        self._play(read)

    def play(self, scenario: str | Path) -> None:
        """From now on play this one."""
        self._play(with_credentials(load_scenario(scenario, load_apis())))

    def _play(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.rules = {str(rule): rule for rule in scenario.calls.rules}
        self.credentials = {name: _good_credential(values) for name, values in scenario.settings.items()}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget everything that was there."""
        worlds = self.front.worlds
        for name in worlds.names():
            if name != DEFAULT_WORLD:
                worlds.delete(name)
        worlds.set_scenario(self._scenario)
        worlds.create(DEFAULT_WORLD)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a call, and in the place of an answer that never comes, one that says why."""
        if scope["type"] != "http":
            await self.front(scope, receive, send)
            return
        stage = self.front.worlds.default
        stage.advance(STEP_MS)
        sent: list[Message] = []

        async def keep(message: Message) -> None:
            sent.append(message)

        async def patiently() -> Message:
            try:
                return await asyncio.wait_for(receive(), self._patience_seconds)
            except TimeoutError:
                return {"type": "http.disconnect"}

        broken = ""
        try:
            await self.front(scope, patiently, keep)
        except Broken as fault:
            broken = fault.fault
        if not sent:
            calls = stage.calls.list(limit=1, newest_first=True)
            broken = broken or (calls[0].cause if calls else "")
        if broken:
            name = BROKEN_HEADER.lower().encode()
            sent = [
                {
                    "type": "http.response.start",
                    "status": BROKEN_STATUS,
                    "headers": [(name, broken.encode("latin-1", "replace")), (b"content-length", b"0")],
                },
                {"type": "http.response.body", "body": b""},
            ]
        for message in sent:
            await send(message)


def with_credentials(scenario: Scenario) -> Scenario:
    """This scenario, in which not just any credentials are good."""
    settings = {}
    for name, values in scenario.settings.items():
        good = {"tokens": (TOKEN,), "users": (f"{TOKEN}:{TOKEN}",)}
        settings[name] = {**values, **{key: good[key] for key in good if key in values and not values[key]}}
    return replace(scenario, settings=settings)


def _good_credential(settings: Mapping[str, Any]) -> str:
    known = settings.get("tokens") or settings.get("users") or (TOKEN,)
    return str(known[0])


Target = Served | Remote


# ---- what comes out -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, told once, however often it was met."""

    api: str
    phase: str
    operation: str
    """Method and path, as in the document."""
    operation_id: str
    check: str
    title: str
    message: str
    pointer: str = ""
    """Where in the reply's body, as a JSON pointer."""
    curl: str = ""
    """Repeats it; several lines where it takes several calls."""


@dataclass
class PhaseResult:
    """What one phase came to."""

    name: str
    total: int = 0
    """Operations to try; in `stateful` conversations."""
    done: int = 0
    cases: int = 0
    findings: int = 0
    seconds: float = 0.0
    skipped: str = ""
    """Why nothing was tried."""
    has_ended: bool = False


@dataclass
class Result:
    """What the examination of one API came to, so far."""

    api: str
    phases: dict[str, PhaseResult] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """What kept an operation from being tried."""
    called: Counter[str] = field(default_factory=Counter)
    """How often each operation was called, by operationId."""
    followed: Counter[str] = field(default_factory=Counter)
    """How often each link of the document was followed."""
    broken: Counter[str] = field(default_factory=Counter)
    """How often a fault of the scenario left a call without a reply."""

    @property
    def is_fine(self) -> bool:
        """Nothing is wrong, and everything could be tried."""
        return not self.findings and not self.errors


def document_of(name: str) -> dict[str, Any]:
    """The document of an API, or of the control API; a copy."""
    return deepcopy(load_control_document() if name == CONTROL else load_document(load_apis((name,))[name]))


def base_path_of(document: Mapping[str, Any]) -> str:
    """What the document says stands before its paths, without host and trailing slash."""
    url: str = document["servers"][0]["url"]
    return "/" + url.partition("://")[2].partition("/")[2].rstrip("/") if "://" in url else url.rstrip("/")


def links_of(document: Mapping[str, Any]) -> list[str]:
    """Every link of a document, as Schemathesis calls them: `POST /jobs -> [201] getJob -> GET /job/{id}`."""
    labels = {
        operation["operationId"]: f"{method.upper()} {path}"
        for path, method, operation in _operations(document)
    }

    return [
        f"{labels[operation['operationId']]} -> [{status}] {name} -> {labels[_resolved(document, link)['operationId']]}"
        for _, _, operation in _operations(document)
        for status, response in operation["responses"].items()
        for name, link in _resolved(document, response).get("links", {}).items()
    ]


def _resolved(document: Mapping[str, Any], value: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference refers to."""
    while "$ref" in value:
        found: Any = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


# ---- asking ---------------------------------------------------------------------------------------------------------


def examine(
    name: str, target: Target, plan: Plan, on_progress: Callable[[Result, PhaseResult], None] | None = None
) -> Result:
    """Ask one API, and say what came out. A server that is assembled here begins anew.

    Args:
        on_progress: called with the result so far whenever something was tried.
    """
    from schemathesis.engine import events, from_schema

    result = Result(name)
    tell = on_progress or _nobody_is_told
    if isinstance(target, Served):
        target.begin_anew()
    schema = schema_of(name, target, plan)
    asked = _Asked(result, target)
    current = PhaseResult("")
    for event in from_schema(schema).execute():
        match event:
            case events.PhaseStarted() if event.phase.name.value in plan.phases:
                current = result.phases.setdefault(
                    event.phase.name.value, PhaseResult(event.phase.name.value)
                )
                current.total = (
                    (plan.stories_max or plan.examples_max)
                    if current.name == "stateful"
                    else schema.statistic.operations.selected
                )
                began = event.timestamp
                tell(result, current)
            case events.PhaseFinished() if event.phase.name.value in plan.phases:
                current.seconds = event.timestamp - began
                reason = event.phase.skip_reason
                current.skipped = "" if reason is None else reason.display
                current.has_ended = True
                tell(result, current)
            case events.ScenarioFinished() if event.phase.value in PHASES:
                current.done += 1
                asked.look(event.recorder, current)
                current.findings = sum(1 for finding in result.findings if finding.phase == current.name)
                tell(result, current)
            case events.NonFatalError():
                _note_error(result, f"{event.label}: {event.info.title}: {event.info.message}")
            case events.FatalError():
                _note_error(result, f"{type(event.exception).__name__}: {event.exception}")
            case events.Interrupted():
                raise KeyboardInterrupt
            case _:
                pass
    return result


def _nobody_is_told(result: Result, phase: PhaseResult) -> None:
    pass


def _note_error(result: Result, text: str) -> None:
    text = " ".join(text.split())
    if text not in result.errors:
        result.errors.append(text)


def schema_of(name: str, target: Target, plan: Plan) -> OpenApiSchema:
    """The document as Schemathesis sees it where it is served."""
    import schemathesis

    document = document_of(name)
    settings = _settings_of(plan)
    title = f"{document['info']['title']} ({plan.flavour})"
    if any(project["title"] == title for project in settings["project"]):
        document["info"] = {**document["info"], "title": title}
    if plan.operations:
        _keep_operations(document, frozenset(plan.operations))
    if plan.is_thrifty:
        _keep_unlike_bodies(document)
    if isinstance(target, Remote):
        document["servers"] = [{"url": target.url.rstrip("/") or "/"}]
        settings["base-url"] = target.url
        settings["request-timeout"] = target.timeout_seconds
        token = target.token
        if target.headers:
            settings["headers"] = dict(target.headers)
        if target.rate_limit:
            settings["rate-limit"] = target.rate_limit
    else:
        token = TOKEN if name == CONTROL else target.credentials[name]
        settings["output"] = {"sanitization": {"enabled": False}}
        if name != CONTROL:
            document["servers"] = [{"url": f"/{name}{base_path_of(document)}"}]
    if token is not None and (authentication := _authentication(document, token)):
        settings["auth"] = {"openapi": authentication}
    schema: Any = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(settings))
    if isinstance(target, Served):
        schema.app = target

    def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
        return not excused(failure.checks, case, response, target.rules if isinstance(target, Served) else {})

    schema.hook(filter_failure)
    known: OpenApiSchema = schema
    return known


def _keep_operations(document: dict[str, Any], wanted: frozenset[str]) -> None:
    for path, item in list(document["paths"].items()):
        for method in METHODS & item.keys():
            if item[method]["operationId"] not in wanted:
                del item[method]
        if not METHODS & item.keys():
            del document["paths"][path]
    for _, _, operation in _operations(document):
        for status, response in operation["responses"].items():
            found = _resolved(document, response)
            if "links" in found:
                links = {
                    name: link
                    for name, link in found["links"].items()
                    if _resolved(document, link)["operationId"] in wanted
                }
                operation["responses"][status] = {**found, "links": links}


def _keep_unlike_bodies(document: dict[str, Any]) -> None:
    bodies = document.get("components", {}).get("requestBodies", {}).values()
    for body in (*bodies, *(operation.get("requestBody", {}) for _, _, operation in _operations(document))):
        unlike: dict[str, Any] = {}
        for media_type, content in body.get("content", {}).items():
            if all(content.get("schema") != other.get("schema") for other in unlike.values()):
                unlike[media_type] = content
        if unlike:
            body["content"] = unlike


def _settings_of(plan: Plan) -> dict[str, Any]:
    """The exceptions, with what this plan asks for."""
    settings = deepcopy(_exceptions())
    settings["seed"] = plan.seed
    settings["cache"] = {"enabled": False}
    settings["generation"] = {"max-examples": plan.examples_max, "database": "none"}
    settings["phases"] = {phase: {"enabled": phase in plan.phases} for phase in PHASES}
    settings["phases"]["stateful"] |= {
        # Only the document's own links.
        "inference": {"algorithms": []},
        "generation": {"max-examples": plan.stories_max or plan.examples_max, "database": "none"},
    }
    return settings


def _authentication(document: Mapping[str, Any], token: str) -> dict[str, dict[str, str]]:
    """This credential, as each security scheme of the document wants it."""
    schemes = document.get("components", {}).get("securitySchemes", {})
    found: dict[str, dict[str, str]] = {}
    for name, scheme in schemes.items():
        if scheme["type"] == "http" and scheme["scheme"].lower() == "basic":
            user, _, password = token.partition(":")
            found[name] = {"username": user, "password": password}
        elif scheme["type"] == "http":
            found[name] = {"bearer": token}
        elif scheme["type"] == "apiKey":
            is_bare = scheme["name"].lower() == "authorization" and " " not in token
            found[name] = {"api_key": f"Bearer {token}" if is_bare else token}
    return found


# ---- judging --------------------------------------------------------------------------------------------------------


def excused(
    checks: Sequence[str], case: Case[Any], response: Response, rules: Mapping[str, CallRule]
) -> bool:
    """Whether what any of these checks found in a reply is more than can be asked of it."""
    headers = response.headers
    if BROKEN_HEADER.lower() in headers:
        return True
    # Schemathesis writes a map in XML as elements and not as entries, and a null as a text: what it takes for valid is not,
    # and what it takes for invalid is lost without a word.
    void = NOT_IN_XML if case.media_type == "application/xml" else frozenset()
    if rules:
        # It calls again by itself, and what a rule makes of those calls is not to be seen here.
        void |= {"ignored_auth"}
    if CAUSE_HEADER.lower() in headers:
        cause = headers[CAUSE_HEADER.lower()][0]
        rule = next((rule for text, rule in rules.items() if cause.endswith(text)), None)
        void |= ABOUT_HANDLING if rule is None else not_to_be_asked(rule)
    return not void.isdisjoint(checks)


def not_to_be_asked(rule: CallRule) -> frozenset[str]:
    """The checks that say nothing about a reply that this rule disturbed."""
    if rule.answer is not None or rule.rate_limit is not None:
        declared = (BROKEN_BY_DECLARATION[part] for part in rule.violates)
        return ABOUT_HANDLING.union(*declared)
    if rule.fault is not None:
        return BROKEN_BY_FAULT.get(rule.fault.kind.name, frozenset())
    return frozenset()


class _Asked:
    """Reads what Schemathesis has recorded."""

    def __init__(self, result: Result, target: Target) -> None:
        self._result = result
        self._is_remote = isinstance(target, Remote)
        self._known: set[tuple[str, str, str, str]] = set()

    def look(self, recorder: ScenarioRecorder, phase: PhaseResult) -> None:
        """Take from one recorder what is new."""
        phase.cases += len(recorder.interactions)
        for node in recorder.cases.values():
            self._result.called[_operation_id(node.value)] += 1
            if node.transition is not None and node.is_transition_applied:
                self._result.followed[node.transition.id] += 1
        for case_id, checks in recorder.checks.items():
            for check in checks:
                if (info := check.failure_info) is not None:
                    case = recorder.cases[case_id].value
                    self._add(phase.name, case, check.name, info.failure, info.code_sample)
        for case_id, interaction in recorder.interactions.items():
            response = interaction.response
            if response is None:
                continue
            if BROKEN_HEADER.lower() in response.headers:
                self._result.broken[response.headers[BROKEN_HEADER.lower()][0]] += 1
            told = response.headers.get(VIOLATION_HEADER.lower(), [""])[0]
            if told and not told.startswith(CLIENT_BROKE):
                self._add_violation(phase.name, recorder.cases[case_id].value, told)

    def _add(self, phase: str, case: Case[Any], check: str, failure: Failure, curl: str) -> None:
        path = getattr(failure, "instance_path", ())
        pointer = "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)
        self._put(
            case,
            Finding(
                self._result.api,
                phase,
                case.operation.label,
                _operation_id(case),
                check,
                failure.title,
                failure.message.strip(),
                pointer,
                curl if self._is_remote else curl.replace(IN_PROCESS, SERVED_AT),
            ),
        )

    def _add_violation(self, phase: str, case: Case[Any], text: str) -> None:
        """understudy itself has found that its reply breaks the document."""
        place, _, message = text.partition(": ")
        pointer = place.rpartition(" ")[2]
        curl = case.as_curl_command()
        self._put(
            case,
            Finding(
                self._result.api,
                phase,
                case.operation.label,
                _operation_id(case),
                "understudy",
                "Reply breaks the document",
                message,
                pointer if pointer.startswith("/") else "",
                curl if self._is_remote else curl.replace(IN_PROCESS, SERVED_AT),
            ),
        )

    def _put(self, case: Case[Any], finding: Finding) -> None:
        key = (finding.operation, finding.check, finding.title, finding.pointer)
        if key not in self._known:
            self._known.add(key)
            self._result.findings.append(finding)


def _operation_id(case: Case[Any]) -> str:
    raw: Mapping[str, Any] = case.operation.definition.raw
    return str(raw.get("operationId", ""))
