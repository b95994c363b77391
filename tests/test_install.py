"""The README's set-up command in a copy of the project, and a wheel that serves from any directory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from urllib.request import urlopen

import pytest

from simulator.assemble import API_MODULES
from tests.running import READY, serving
from tests.test_readme import ROOT, RUN

pytestmark = pytest.mark.slow

SOURCES = ["simulator", "openapi", "scenarios", "pyproject.toml", "README.md", "LICENSE"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    return folder


def test_the_set_up_command_of_the_readme_serves(copy: Path) -> None:
    process = subprocess.Popen(
        [
            "bash",
            "-c",
            f"exec 2>&1; {RUN.replace('&& .venv', '&& exec .venv').replace('exec .venv/bin/pip', '.venv/bin/pip')}",
        ],
        cwd=copy,
        env={**os.environ, "UNDERSTUDY_PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith(READY):
                break
        assert said, "it said nothing"
        assert said[-1].startswith(READY), said
        with urlopen(f"{said[-1].removeprefix(READY).strip()}/", timeout=10) as response:
            assert [api["name"] for api in json.load(response)["apis"]] == list(API_MODULES)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_wheel_installed_elsewhere_serves_from_any_directory(copy: Path, tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "-w", str(tmp_path), str(copy)], check=True)
    (wheel,) = tmp_path.glob("understudy-*.whl")
    home = tmp_path / "home"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    python = home / "bin" / "python"
    # The dependencies are borrowed from here; understudy itself can only come from the wheel.
    (site,) = home.glob("lib/python*/site-packages")
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    subprocess.run(
        [str(python), "-m", "pip", "install", "-q", "--no-deps", "--no-index", str(wheel)], check=True
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    command = home / "bin" / "understudy"
    where = "import simulator, sys; print(simulator.__file__)"
    found = subprocess.run(
        [str(python), "-c", where], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith(str(site))
    with serving("--time", "frozen", python=command, command=(), cwd=elsewhere) as running:
        with urlopen(f"{running.url}/", timeout=10) as response:
            apis = json.load(response)["apis"]
        for api in apis:
            with urlopen(api["document"], timeout=10) as response:
                assert json.load(response)["openapi"] == "3.0.3"
            with urlopen(api["ui"], timeout=10) as response:
                assert b"swagger-ui" in response.read()
    assert [api["name"] for api in apis] == list(API_MODULES)
    listed = subprocess.run(
        [str(command), "check"], cwd=elsewhere, capture_output=True, text=True, check=True
    )
    assert " 0 errors" in listed.stderr
