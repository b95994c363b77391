"""The documents and the shipped scenarios are found in a wheel and in a checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator import resources
from simulator.assemble import load_apis
from simulator.resources import resource_folder, shipped_scenarios


def test_every_document_is_there() -> None:
    folder = resource_folder("openapi")
    assert [api.document for api in load_apis().values() if not (folder / api.document).is_file()] == []


def test_shipped_scenarios_are_known_by_the_names_of_their_files() -> None:
    scenarios = shipped_scenarios()
    assert "happy" in scenarios
    assert {name: path.name for name, path in scenarios.items()} == {
        path.stem: path.name for path in resource_folder("scenarios").iterdir() if path.suffix == ".yaml"
    }
    assert list(scenarios) == sorted(scenarios)


@pytest.mark.parametrize("place", ["package", "."], ids=["a wheel", "a checkout"])
def test_the_folder_is_inside_the_package_or_beside_it(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / place / "scenarios"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").touch()
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "package")
    assert resource_folder("scenarios").resolve() == folder.resolve()
    assert list(shipped_scenarios()) == ["mine"]


def test_what_is_inside_the_package_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("package", "."):
        (tmp_path / place / "openapi").mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "package")
    assert resource_folder("openapi") == tmp_path / "package" / "openapi"


def test_an_incomplete_installation_says_which_folder_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "package")
    (tmp_path / "openapi").touch()
    with pytest.raises(FileNotFoundError, match=r"openapi/ is missing .* install understudy again"):
        resource_folder("openapi")
