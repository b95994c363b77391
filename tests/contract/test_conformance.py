"""Schemathesis proves that the server conforms to its documents: phases examples, coverage and fuzzing, all checks.

Time is frozen and moves a little before each call, so that cases meet jobs in all states and a run can be repeated. The short
form belongs to the test command; `UNDERSTUDY_CONFORMANCE=long` tries many more cases per operation.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from simulator.apis.contract import Api
from simulator.assemble import API_MODULES, Settings, assemble, load_apis, load_document
from simulator.runtime.timesource import TimeMode
from simulator.web.front import Front
from simulator.web.ledger import Ledger

IS_LONG = os.environ.get("UNDERSTUDY_CONFORMANCE") == "long"
EXAMPLES = 150 if IS_LONG else 15
CONFIG = Path(__file__).with_name("schemathesis.toml")
STEP_MS = 700
HEADERS = {
    # Answers would be XML otherwise, which Schemathesis cannot compare with a schema; tests/apis/test_jbpm_xml.py does.
    "jbpm": {"Accept": "application/json"},
}
SCENARIO = """
description: As happy, and only one token is good, so that credentials can be seen to matter.
apis:
  synapse: {synapse}
  jbpm: {jbpm}
  ogc: {ogc}
  ica: {ica}
  titan: {titan}
workers: {{titan: external}}
jobs:
  - script: [queued: 1s, {{running: 3s, progress: 0..100}}, succeeded]
"""
DEFAULTS = {
    "synapse": "{tokens: [conformance]}",
    "jbpm": "{users: ['conformance:conformance']}",
    "ogc": "{}",
    "ica": "{tokens: [conformance]}",
    "titan": "{}",
}
FLAVOURS = {
    "ogc unity": "{flavour: unity}",
    "jbpm wrapped": "{users: ['conformance:conformance'], date_format: wrapped}",
    "titan success_error": "{status_words: success-error}",
}
"""Settings under which an API speaks otherwise; `schemathesis.toml` may have a project of the title with the flavour."""


class Served:
    """A server that is assembled when it is first called and whose time moves with each call."""

    def __init__(self, settings_of_apis: Mapping[str, str]) -> None:
        self.ledger = Ledger()
        self.scenario = SCENARIO.format_map(settings_of_apis)
        self._front: Front | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self._front is None:
            self._front = assemble(
                Settings(scenario=self.scenario, seed=11, strict=True, time=TimeMode(0)), ledger=self.ledger
            )
        if scope["type"] == "http":
            self._front.worlds.default.advance(STEP_MS)
        await self._front(scope, receive, send)


def schema_of(api: Api, served: Served, flavour: str = "") -> Any:
    """The document as Schemathesis sees it when it is served here."""
    document = deepcopy(load_document(api))
    base_path = document["servers"][0]["url"].rstrip("/")
    document["servers"] = [{"url": f"/{api.name}{base_path}"}]
    title = f"{document['info']['title']} ({flavour})"
    if f'title = "{title}"' in CONFIG.read_text():
        document["info"] = document["info"] | {"title": title}
    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_path(CONFIG))
    schema.app = served
    return schema


SERVED = Served(DEFAULTS)
MODEST = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def _conforms(called: str) -> Any:
    name, _, flavour = called.partition(" ")
    served = Served(DEFAULTS | {name: FLAVOURS[called]}) if flavour else SERVED

    @schema_of(load_apis()[name], served, flavour).parametrize()
    @MODEST
    def test(case: Case) -> None:
        # Schemathesis writes a map in XML as elements and not as entries, and a null as a text: what it takes for valid is
        # not, and what it takes for invalid is lost without a word.
        lost = (
            [negative_data_rejection, positive_data_acceptance]
            if case.media_type == "application/xml"
            else []
        )
        case.call_and_validate(headers=HEADERS.get(name), excluded_checks=lost)
        # A service that answers 500 to bad input would hide a reply that breaks the document.
        assert served.ledger.lines("server") == []

    return test


test_synapse_conforms = _conforms("synapse")
test_jbpm_conforms = _conforms("jbpm")
test_ogc_conforms = _conforms("ogc")
test_ica_conforms = _conforms("ica")
test_titan_conforms = _conforms("titan")
test_ogc_unity_conforms = _conforms("ogc unity")
test_jbpm_wrapped_conforms = _conforms("jbpm wrapped")
test_titan_success_error_conforms = _conforms("titan success_error")


def test_every_api_and_every_flavour_has_its_conformance_test() -> None:
    tested = {
        name.removeprefix("test_").removesuffix("_conforms")
        for name in globals()
        if name.endswith("_conforms") and name.startswith("test_")
    }
    assert tested == {*API_MODULES, *(flavour.replace(" ", "_") for flavour in FLAVOURS)}
