"""The composition root: the only place that wires things together, and it does so when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
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
from simulator.scenario.model import Scenario
from simulator.scenario.read import read_scenario
from simulator.web.front import Front
from simulator.web.ledger import Ledger
from simulator.web.service import Service

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


def load_scenario(wanted: str | Path, apis: Mapping[str, Api]) -> Scenario:
    """A scenario by shipped name, by path, or from its text.

    Raises:
        UsageError: neither a shipped name nor a file.
        ScenarioError: the file has problems.
    """
    declared = settings_of(apis)
    if isinstance(wanted, str) and "\n" in wanted:
        return read_scenario(wanted, apis=declared, name="inline", shown_as="inline")
    shipped = shipped_scenarios()
    if isinstance(wanted, str) and wanted in shipped:
        return read_scenario(shipped[wanted], apis=declared, shown_as=f"scenarios/{wanted}.yaml")
    path = Path(wanted)
    if not path.is_file():
        raise UsageError(
            f"there is no scenario {str(wanted)!r}: neither a file nor one of {', '.join(shipped)}"
        )
    return read_scenario(path, apis=declared)


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
    scenario = load_scenario(settings.scenario, known)
    worlds = Worlds(
        rules={name: api.rules for name, api in apis.items()},
        scenario=scenario,
        seed=settings.seed,
        mode=settings.time,
        limits=settings.limits,
        timesource=timesource,
    )
    ledger = ledger or Ledger()
    services = {}
    for name, api in apis.items():
        document = load_document(api)
        services[name] = Service(
            api,
            document,
            sampler=SchemaSampler(document),
            ledger=ledger,
            strict=settings.strict,
            body_bytes_max=settings.body_bytes_max or api.body_bytes_max,
        )
    return Front(worlds, services)
