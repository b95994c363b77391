"""The composition root: the only place that wires things together, and it does so when it is called."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from simulator.apis.contract import Api, Setting
from simulator.apis.sample import SchemaSampler
from simulator.engine.world import Limits
from simulator.resources import resource_folder, shipped_scenarios
from simulator.runtime.timesource import TimeMode, TimeSource, wall_clock
from simulator.runtime.worlds import Worlds
from simulator.scenario.calls import CallRules, Declared, Documented
from simulator.scenario.extend import Files, Layer
from simulator.scenario.model import Scenario
from simulator.scenario.nodes import Node
from simulator.scenario.read import read_scenario
from simulator.scenario.review import Ability
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
    """

    apis: Sequence[str] = ()
    scenario: str | Path = "happy"
    seed: int = 1
    time: TimeMode = field(default_factory=lambda: TimeMode(1))
    strict: bool = False
    body_bytes_max: int | None = None
    limits: Limits = field(default_factory=Limits)


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
    scenario = load_scenario(settings.scenario, known, declared_in(documents, apis))
    worlds = Worlds(
        rules={name: api.rules for name, api in apis.items()},
        scenario=scenario,
        seed=settings.seed,
        mode=settings.time,
        limits=settings.limits,
        timesource=timesource,
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
        )
    return Front(worlds, services)
