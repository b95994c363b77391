"""The shape of the code: who imports whom, who reads clocks, and that documents, functions and README fit together.

A failing message says what to do instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.assemble import (
    API_MODULES,
    Settings,
    assemble,
    load_apis,
    load_control_document,
    load_document,
)
from simulator.engine.job import State
from simulator.web.service import METHODS

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "simulator"
MODULES = sorted(PACKAGE.rglob("*.py"))

MAY_IMPORT = {
    "engine": {"engine"},
    "scenario": {"scenario", "engine"},
    "journal": {"journal", "engine"},
    "runtime": {"runtime", "scenario", "journal", "engine"},
    "apis": {"apis", "scenario", "engine"},
    "web": {"web", "apis", "runtime", "scenario", "engine", "__init__"},
    "capsule": {"capsule", "web", "apis", "runtime", "scenario", "engine", "__init__"},
    "resources": set(),
    "assemble": {"capsule", "web", "apis", "runtime", "scenario", "journal", "engine", "resources"},
    "demo": set(),
    "timeline": {"assemble", "web", "apis", "runtime", "scenario", "engine"},
    "cli": {
        *("assemble", "web", "apis", "runtime", "scenario", "engine", "resources"),
        *(
            "demo",
            "timeline",
            "__init__",
            "cli_conform",
            "cli_control",
            "cli_parts",
            "cli_replay",
            "cli_report",
            "cli_traps",
        ),
    },
    "cli_control": {"cli_parts", "control_client", "runtime", "scenario", "engine", "resources"},
    "cli_parts": {"runtime", "scenario"},
    "cli_replay": {"cli_parts", "assemble", "capsule", "web", "scenario", "__init__"},
    "control_client": set(),
    "cli_conform": {"cli_parts", "conform", "assemble", "scenario", "__init__"},
    "cli_report": {"cli_parts", "report"},
    "cli_traps": {"cli_parts", "traps", "assemble", "runtime", "scenario"},
    "conform": {"assemble", "web", "runtime", "scenario"},
    "traps": {"assemble", "web", "apis", "runtime", "resources", "testing"},
    "pytest_plugin": {"testing", "control_client"},
    "testing": {"testing", "report", "control_client", "assemble", "web", "apis", "scenario"},
    "report": {"report", "assemble", "apis", "scenario", "engine", "resources", "__init__"},
    "__main__": {"cli"},
    "__init__": set(),
}
"""Imports point downwards only."""

ENGINE_LIBRARIES = {"sortedcontainers"}
CLOCKS = {"time", "datetime"}
CLOCK_READERS = {"runtime/timesource.py", "demo.py"}
"""The wall clock, and the demo's own waiting. `apis/contract.py` formats times and never asks for one."""
BANNED_IN_ENGINE = {
    "random": "use simulator.engine.draw, a function of seed and purpose",
    "time": "time comes in as an argument (`at_ms`)",
    "datetime": "time is integer milliseconds; formatting belongs to simulator.apis.contract",
    "os": "the engine does not look outside",
    "pathlib": "the engine does not look outside",
    "threading": "a world belongs to one call between two awaits; there are no threads",
    "asyncio": "handlers are plain functions; waiting belongs to the web layer",
    "secrets": "use simulator.engine.draw",
    "uuid": "use simulator.engine.draw.draw_uuid",
    "logging": "answers are values; the edges write logs",
}


def layer_of(path: Path) -> str:
    relative = path.relative_to(PACKAGE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            folder = ROOT / node.module.replace(".", "/")
            yield from (
                f"{node.module}.{alias.name}"
                for alias in node.names
                if (folder / f"{alias.name}.py").is_file()
            )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downwards(path: Path) -> None:
    layer = layer_of(path)
    for name in imports_of(path):
        if name == "simulator" or name.startswith("simulator."):
            target = name.split(".")[1] if "." in name else "__init__"
            assert target in MAY_IMPORT[layer], (
                f"{path.relative_to(ROOT)} imports {name}: {layer} may import {sorted(MAY_IMPORT[layer])};"
                " hand the value in as an argument instead"
            )


@pytest.mark.parametrize("path", sorted((PACKAGE / "apis").glob("*.py")), ids=lambda path: path.stem)
def test_api_modules_do_not_know_each_other(path: Path) -> None:
    shared = {"contract", "negotiation", "sample"}
    family = path.stem.partition("_")[0]
    for name in imports_of(path):
        if name.startswith("simulator.apis."):
            target = name.split(".")[2]
            assert target in shared or target.partition("_")[0] == family, (
                f"{path.name} imports {name}: move what both need to apis/contract.py"
            )


@pytest.mark.parametrize("path", sorted((PACKAGE / "engine").glob("*.py")), ids=lambda path: path.stem)
def test_the_engine_does_not_look_outside(path: Path) -> None:
    for name in imports_of(path):
        top = name.split(".")[0]
        assert top not in BANNED_IN_ENGINE, f"{path.name} imports {name}: {BANNED_IN_ENGINE[top]}"
        is_known = top in {"simulator", "__future__"} or top in ENGINE_LIBRARIES or _is_stdlib(top)
        assert is_known, (
            f"{path.name} imports {name}: the engine uses the standard library and {ENGINE_LIBRARIES}"
        )


def _is_stdlib(name: str) -> bool:
    import sys

    return name in sys.stdlib_module_names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_the_time_source_reads_the_wall_clock(path: Path) -> None:
    relative = str(path.relative_to(PACKAGE))
    text = path.read_text()
    if relative in CLOCK_READERS:
        return
    found = re.search(
        r"\b(time\.(time|time_ns|monotonic|sleep)|datetime\.now|datetime\.utcnow|asyncio\.sleep)\(", text
    )
    assert found is None, (
        f"{relative} calls {found and found[0]}: ask the world's clock (call.now_ms) instead"
    )


@pytest.mark.parametrize("path", sorted((PACKAGE / "web").glob("*.py")), ids=lambda path: path.stem)
def test_the_web_layer_knows_no_api_by_name(path: Path) -> None:
    code = ast.parse(path.read_text())
    names = {
        node.value
        for node in ast.walk(code)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert not names & set(API_MODULES), f"{path.name} names an API: make it a field of Api"


def test_importing_does_nothing() -> None:
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            is_call = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            assert not is_call, f"{path.relative_to(ROOT)}:{node.lineno} calls something when it is imported"


@pytest.mark.parametrize("name", API_MODULES)
def test_each_document_and_its_functions_fit_together(name: str) -> None:
    api = load_apis((name,))[name]
    documented = {
        operation["operationId"]
        for item in load_document(api)["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict) and "operationId" in operation
    }
    assert documented == set(api.operations)
    assert set(api.words) == set(State), "words must be total over State"
    assert set(api.rules.cancel) == set(State), "the cancel table must be total over State"


def test_the_control_document_and_its_functions_fit_together() -> None:
    control = assemble(Settings(apis=("ogc",))).control
    assert control is not None
    documented = {
        operation["operationId"]
        for item in load_control_document()["paths"].values()
        for method, operation in item.items()
        if method in METHODS
    }
    assert documented == set(control.api.operations)
    assert control.api.name not in {*API_MODULES, *load_apis()}, "the control API simulates nothing"
    assert not control.is_simulated


def test_the_readme_names_every_command_and_api() -> None:
    from simulator.cli import main

    readme = (ROOT / "README.md").read_text()
    for command in main.commands:
        assert f"understudy {command}" in readme, f"README does not show `understudy {command}`"
    for api in load_apis().values():
        assert f"/{api.name}" in readme
        assert (ROOT / "openapi" / api.document).is_file()
    for option in main.commands["serve"].params:
        for word in option.opts:
            if word.startswith("--"):
                assert f"`{word}" in readme or f"{word} " in readme, f"README does not describe {word}"


def test_the_tests_mirror_the_packages() -> None:
    here = ROOT / "tests"
    for path in MODULES:
        relative = path.relative_to(PACKAGE)
        if path.name.startswith("__") or relative.name in {"command.py", "rules.py"}:
            continue  # values without behaviour of their own
        wanted = here / relative.parent / f"test_{relative.name}"
        assert wanted.is_file(), f"{relative} has no {wanted.relative_to(ROOT)}"
