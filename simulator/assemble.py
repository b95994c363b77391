"""The composition root: the only place that wires things together, and it does so when it is called."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cache, partial
from hashlib import sha256
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from simulator.apis.contract import Api, Setting
from simulator.apis.sample import SchemaSampler
from simulator.capsule.model import Capsule, Serving, Unreadable, as_value, read_capsule, to_yaml
from simulator.capsule.record import capsule_from, history_of
from simulator.capsule.replay import compared, play
from simulator.engine.world import Limits
from simulator.resources import resource_folder, shipped_scenarios
from simulator.runtime.calls import CALL_BYTES_MAX, CALLS_MAX
from simulator.runtime.timesource import TimeMode, TimeSource, wall_clock
from simulator.runtime.worlds import IDLE_MS, POLL_STEP_MS, WORLDS_MAX, Stage, Worlds
from simulator.scenario.calls import CallRules, Declared, Documented
from simulator.scenario.extend import Files, Layer
from simulator.scenario.model import Scenario
from simulator.scenario.nodes import Node
from simulator.scenario.read import ScenarioError, read_scenario
from simulator.scenario.review import Ability
from simulator.web.callbacks import Callbacks
from simulator.web.control_api import DOCUMENT as CONTROL_DOCUMENT
from simulator.web.control_api import BadCapsule, Capsules, Controlled, ReadScenario, make_control_api
from simulator.web.events import STREAMS_MAX, Events
from simulator.web.front import Front
from simulator.web.ledger import Ledger
from simulator.web.service import METHODS, Service

API_MODULES = ("synapse", "jbpm", "ogc", "ica", "titan")
"""Names of the modules in `simulator.apis` that hold an `api`."""


@dataclass(frozen=True)
class Settings:
    """What a server is started with.

    Args:
        apis: names of the APIs to serve; empty means all.
        scenario: a shipped scenario's name, a path to a file, or the text of one (it holds a newline).
        seed: every drawn value is a function of it.
        time: how virtual time passes.
        strict: a reply that breaks the document becomes a 500.
        body_bytes_max: larger request bodies are refused; an API may take more (`Api.body_bytes_max`).
        admin_token: whoever uses the control API must bring it; None: anyone may.
        retry_after_s: what every status call about an unfinished job advises; None: where the document has the header.
        worlds_max: so many worlds at once.
        worlds_idle_ms: a world that nobody used for so long makes room for others.
        poll_step_ms: how far a status call moves a clock that lives by them.
        calls_max: so many calls of a world are kept in its log; 0 keeps none.
        call_bytes_max: so much is kept in the logs of all worlds together.
        cors: pages of these origins, such as `http://localhost:3000`, may call everything, the control API included.
        streams_max: so many event streams at once.
    """

    apis: Sequence[str] = ()
    scenario: str | Path = "happy"
    seed: int = 1
    time: TimeMode = field(default_factory=lambda: TimeMode(1))
    strict: bool = False
    body_bytes_max: int | None = None
    limits: Limits = field(default_factory=Limits)
    admin_token: str | None = None
    retry_after_s: int | None = None
    worlds_max: int = WORLDS_MAX
    worlds_idle_ms: int = IDLE_MS
    poll_step_ms: int = POLL_STEP_MS
    calls_max: int = CALLS_MAX
    call_bytes_max: int = CALL_BYTES_MAX
    cors: Sequence[str] = ()
    streams_max: int = STREAMS_MAX


class UsageError(ValueError):
    """The settings name something that does not exist; the text says what does."""


def load_apis(names: Sequence[str] = ()) -> dict[str, Api]:
    """API values by name, in the usual order; all when no names are given.

    Raises:
        UsageError: there is no such API.
    """
    unknown = [name for name in names if name not in API_MODULES]
    if unknown:
        raise UsageError(f"there is no API {unknown[0]!r}; there are: {', '.join(API_MODULES)}")
    return {
        name: import_module(f"simulator.apis.{name}").api
        for name in API_MODULES
        if not names or name in names
    }


def settings_of(apis: Mapping[str, Api]) -> dict[str, Mapping[str, Setting]]:
    """What a scenario may set under `apis:`, for the reader."""
    return {name: api.settings for name, api in apis.items()}


def load_document(api: Api) -> dict[str, Any]:
    """The OpenAPI document of an API, references unresolved.

    What it holds is shared by all who load it, and not to be changed.
    """
    return dict(_document(api.document))


def load_control_document() -> dict[str, Any]:
    """The document of the control API; not to be changed either."""
    return dict(_document(CONTROL_DOCUMENT))


@cache
def _document(name: str) -> dict[str, Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (resource_folder("openapi") / name).read_bytes()
    document: dict[str, Any] = yaml.load(text, Loader=loader)
    return document


def declared_in(documents: Mapping[str, Mapping[str, Any]], apis: Mapping[str, Api]) -> Declared:
    """What the documents (by API name) say that operations answer, for the reader."""
    return {
        (name, operation["operationId"]): Documented(
            apis[name].operations[operation["operationId"]].role.value,
            frozenset(map(str, operation["responses"])),
        )
        for name, document in documents.items()
        for item in document["paths"].values()
        for method, operation in item.items()
        if method in METHODS
    }


def abilities_of(documents: Mapping[str, Mapping[str, Any]], apis: Mapping[str, Api]) -> dict[str, Ability]:
    """What each API can do, as far as scenarios care."""
    return {
        name: Ability(
            roles=frozenset(operation.role.value for operation in apis[name].operations.values()),
            job_operations=frozenset(
                operation["operationId"]
                for path, item in document["paths"].items()
                for method, operation in item.items()
                if method in METHODS
                and apis[name].job_id(dict.fromkeys(re.findall(r"{(\w+)}", path), "1")) is not None
            ),
            cannot=apis[name].cannot,
        )
        for name, document in documents.items()
    }


def find_scenario(wanted: str | Path) -> tuple[Path, str]:
    """The file of a scenario, by shipped name or by path, and how people are shown it.

    Raises:
        UsageError: neither a shipped name nor a file.
    """
    shipped = shipped_scenarios()
    if isinstance(wanted, str) and wanted in shipped:
        return shipped[wanted], f"scenarios/{wanted}.yaml"
    path = Path(wanted)
    if not path.is_file():
        raise UsageError(
            f"there is no scenario {str(wanted)!r}: neither a file nor one of {', '.join(shipped)}"
        )
    return path, str(path)


def load_scenario(wanted: str | Path, apis: Mapping[str, Api], declared: Declared | None = None) -> Scenario:
    """A scenario by shipped name, by path, or from its text.

    Args:
        declared: what the documents allow to answer; without it nobody compares.

    Raises:
        UsageError: neither a shipped name nor a file.
        ScenarioError: the file has problems.
    """
    read = partial(read_scenario, apis=settings_of(apis), declared=declared, find=shipped_scenarios().get)
    if isinstance(wanted, str) and "\n" in wanted:
        return read(wanted, name="inline", shown_as="inline")
    path, shown_as = find_scenario(wanted)
    return read(path, shown_as=shown_as)


def scenario_files(wanted: str | Path) -> list[Path]:
    """The file of a scenario and those that it extends, as far as they are there.

    Raises:
        UsageError: neither a shipped name nor a file.
    """

    def extends_only(top: Node, is_extended: bool) -> Layer:
        fields = {key.written: value for key, value in top.entries()} if top.is_mapping else {}
        return Layer("", {}, {}, (), CallRules(), fields.get("extends"))

    shipped = shipped_scenarios()
    path, _ = find_scenario(wanted)
    files = Files(extends_only, shipped.get)
    files.open(path, str(path))
    # Shipped ones are shown by their names in the project; nobody changes them while they are served.
    return [path, *(Path(notes.file) for notes in files.notes[1:] if Path(notes.file).is_file())]


class ShippedScenarios(Mapping[str, Scenario]):
    """The shipped scenarios by name, each read when it is first asked for."""

    def __init__(self, apis: Mapping[str, Api]) -> None:
        self._apis = apis
        self._files = shipped_scenarios()
        self._read: dict[str, Scenario] = {}

    def __getitem__(self, name: str) -> Scenario:
        if name not in self._read:
            if name not in self._files:
                raise KeyError(name)
            self._read[name] = load_scenario(name, self._apis)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def assemble(
    settings: Settings, *, timesource: TimeSource = wall_clock, ledger: Ledger | None = None
) -> Front:
    """A server, ready to be run by any ASGI server.

    Raises:
        UsageError: an unknown API or scenario.
        ScenarioError: the scenario has problems.
    """
    known = load_apis()
    apis = load_apis(settings.apis)
    documents = {name: load_document(api) for name, api in apis.items()}
    declared = declared_in(documents, apis)
    scenario = load_scenario(settings.scenario, known, declared)
    worlds = Worlds(
        rules={name: api.rules for name, api in apis.items()},
        scenario=scenario,
        seed=settings.seed,
        mode=settings.time,
        limits=settings.limits,
        timesource=timesource,
        worlds_max=settings.worlds_max,
        idle_ms=settings.worlds_idle_ms,
        poll_step_ms=settings.poll_step_ms,
        calls_max=settings.calls_max,
        call_bytes_max=settings.call_bytes_max,
    )
    ledger = ledger or Ledger()
    shipped = ShippedScenarios(known)
    services = {}
    for name, api in apis.items():
        services[name] = Service(
            api,
            documents[name],
            sampler=SchemaSampler(documents[name]),
            ledger=ledger,
            strict=settings.strict,
            body_bytes_max=settings.body_bytes_max or api.body_bytes_max,
            scenarios=shipped,
            retry_after_s=settings.retry_after_s,
        )
    read = partial(read_wish, shipped=shipped, apis=known, declared=declared)
    return make_front(
        worlds,
        services,
        ledger,
        read,
        _Capsules(serving_of(settings), timesource),
        strict=settings.strict,
        admin_token=settings.admin_token,
        origins=settings.cors,
        streams_max=settings.streams_max,
    )


def assemble_for(
    capsule: Capsule, settings: Settings | None = None, *, timesource: TimeSource = wall_clock
) -> Front:
    """A server for the replay of a capsule.

    Args:
        settings: of everything that changes no answer.

    Raises:
        UsageError: the capsule is about an API that is not known here.
    """
    serving = capsule.serving
    front = assemble(
        replace(
            settings or Settings(),
            apis=serving.apis,
            seed=capsule.seed,
            time=capsule.mode,
            strict=serving.strict,
            body_bytes_max=serving.body_bytes_max,
            limits=Limits(jobs=serving.jobs_max, kept=serving.kept_max),
            retry_after_s=serving.retry_after_s,
            poll_step_ms=serving.poll_step_ms,
            cors=serving.cors,
        ),
        timesource=timesource,
    )
    # The world may go on in a server of other APIs, which then can have jobs in it.
    front.worlds.rules = {name: api.rules for name, api in load_apis().items()}
    return front


def scenarios_in(capsule: Capsule) -> list[Scenario]:
    """The scenarios that a capsule holds.

    Raises:
        UsageError: the capsule is about an API that is not known here.
        ScenarioError: one of them cannot be played by this understudy.
    """
    known = load_apis()
    apis = load_apis(capsule.serving.apis)
    declared = declared_in({name: load_document(api) for name, api in apis.items()}, apis)
    return [
        read_scenario(
            script.texts[0][0],
            apis=settings_of(known),
            name=script.name,
            shown_as=script.texts[0][0],
            declared=declared,
            texts=dict(script.texts),
        )
        for script in capsule.scripts
    ]


def serving_of(settings: Settings) -> Serving:
    """What of a server's settings changes its answers.

    Raises:
        UsageError: there is no such API.
    """
    apis = load_apis(settings.apis)
    return Serving(
        apis=tuple(apis),
        strict=settings.strict,
        poll_step_ms=settings.poll_step_ms,
        retry_after_s=settings.retry_after_s,
        body_bytes_max=settings.body_bytes_max,
        jobs_max=settings.limits.jobs,
        kept_max=settings.limits.kept,
        cors=tuple(settings.cors),
        documents=tuple((name, _digest(api.document)) for name, api in apis.items()),
    )


def _serving(
    worlds: Worlds, services: Mapping[str, Service], strict: bool, origins: Sequence[str]
) -> Serving:
    """What is known of a server that was not made of settings."""
    limits = worlds.limits
    return Serving(
        tuple(services),
        strict,
        worlds.default.poll_step_ms,
        None,
        None,
        limits.jobs,
        limits.kept,
        tuple(origins),
        (),
    )


@cache
def _digest(document: str) -> str:
    return sha256((resource_folder("openapi") / document).read_bytes()).hexdigest()


class _Capsules:
    """The capsules of one server."""

    def __init__(self, serving: Serving, timesource: TimeSource) -> None:
        self._serving = serving
        self._timesource = timesource

    def write(self, stage: Stage, *, as_yaml: bool) -> Callable[[], str | dict[str, Any]]:
        """See `simulator.web.control_api.Capsules`."""
        history = history_of(stage)

        def write() -> str | dict[str, Any]:
            capsule = capsule_from(history, self._serving)
            return to_yaml(capsule) if as_yaml else as_value(capsule)

        return write

    def restore(self, data: bytes) -> tuple[Stage, dict[str, Any]]:
        """See `simulator.web.control_api.Capsules`."""
        try:
            capsule = read_capsule(data)
            if capsule.gaps:
                raise BadCapsule("the capsule is not complete and cannot be replayed", capsule.gaps)
            missing = [name for name in capsule.serving.apis if name not in self._serving.apis]
            if missing:
                raise BadCapsule(f"the capsule is about {missing[0]}, which is not served here")
            scenarios = scenarios_in(capsule)
            front = assemble_for(capsule)
        except (Unreadable, UsageError) as problem:
            raise BadCapsule(f"this cannot be played: {problem}") from None
        except ScenarioError as problem:
            raise BadCapsule("a scenario in it cannot be played", map(str, problem.problems)) from None
        played = play(capsule, front, scenarios)
        played.go_on(self._timesource)
        return played.stage, compared(capsule, played)


def make_front(
    worlds: Worlds,
    services: Mapping[str, Service],
    ledger: Ledger,
    read_scenario: ReadScenario,
    capsules: Capsules | None = None,
    *,
    strict: bool = False,
    admin_token: str | None = None,
    origins: Sequence[str] = (),
    streams_max: int = STREAMS_MAX,
) -> Front:
    """These services behind one door, with the control API beside them."""
    callbacks = Callbacks(service.api for service in services.values())
    events = Events(worlds, streams_max=streams_max)

    def forget(stage: Stage) -> None:
        callbacks.forget(stage)
        events.forget(stage)
        ledger.forget(stage.name)

    worlds.on_gone = forget
    if capsules is None:
        capsules = _Capsules(_serving(worlds, services, strict, origins), wall_clock)
    controlled = Controlled(
        worlds, services, callbacks, events, ledger, shipped_scenarios(), read_scenario, capsules
    )
    api = make_control_api(controlled, admin_token)
    document = load_control_document()
    control = Service(
        api,
        document,
        sampler=SchemaSampler(document),
        ledger=ledger,
        strict=strict,
        body_bytes_max=api.body_bytes_max,
        is_simulated=False,
    )
    return Front(
        worlds, services, control, callbacks, events=events, is_open=admin_token is None, origins=origins
    )


def read_wish(
    wanted: Any, *, shipped: Mapping[str, Scenario], apis: Mapping[str, Api], declared: Declared | None = None
) -> Scenario:
    """A scenario that came over the wire: a shipped one's name, YAML text with a line break in it, or an object.

    Never a path: whoever sends it need not be allowed to read the files of this machine.

    Raises:
        ScenarioError: it has problems.
        ValueError: there is none of this name.
    """
    if not isinstance(wanted, str):
        # JSON is YAML; on several lines, so that a line says where a problem is.
        wanted = json.dumps(wanted, ensure_ascii=False, indent=2) + "\n"
    if "\n" in wanted:
        return load_scenario(wanted, apis, declared)
    if wanted not in shipped:
        close = get_close_matches(wanted, shipped, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(shipped)}."
        raise ValueError(
            f"there is no scenario {wanted!r}, {hint} Or send a scenario itself, as YAML or JSON"
        )
    return shipped[wanted]
