"""Path templates: which methods a path has, and which template hides which."""

from __future__ import annotations

import re
from typing import Any

import pytest

from simulator.assemble import API_MODULES
from simulator.web.paths import PathTable
from tests.kit import Kit

ID: dict[str, Any] = {"name": "id", "in": "path", "schema": {"type": "string"}}
NUMBER: dict[str, Any] = {"name": "number", "in": "path", "schema": {"type": "integer"}}
PATH: dict[str, Any] = {"name": "path", "in": "path", "schema": {"type": "string", "format": "path"}}
TABLE = PathTable(
    "/v1",
    {
        "paths": {
            "/runs": {"get": {}, "post": {}},
            "/runs/{id}": {"parameters": [ID], "get": {}, "delete": {}},
            "/runs/{id}:abort": {"put": {"parameters": [ID]}},
            "/runs/latest": {"get": {}},
            "/jobs/{number}": {"get": {"parameters": [NUMBER]}, "x-note": "no method"},
            "/jobs/next": {"post": {}},
            "/file/{path}": {"parameters": [PATH], "get": {}},
            "/a.b/{id}": {"parameters": [ID], "patch": {}},
        }
    },
)


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/runs", ["GET", "POST"]),
        ("/v1/runs/7", ["GET", "DELETE"]),
        ("/v1/runs/7:abort", ["PUT"]),
        ("/v1/runs/7:abor", ["GET", "DELETE"]),
        ("/v1/runs/:abort", ["GET", "DELETE"]),
        ("/v1/runs/latest", ["GET"]),
        ("/v1/runs/latest:abort", ["PUT"]),
        ("/v1/runs/a\nb", ["GET", "DELETE"]),
        ("/v1/jobs/7", ["GET"]),
        ("/v1/jobs/-7", ["GET"]),
        ("/v1/jobs/next", ["POST"]),
        ("/v1/jobs/x7", []),
        ("/v1/file/a", ["GET"]),
        ("/v1/file/a/b/c", ["GET"]),
        ("/v1/file/", []),
        ("/v1/a.b/1", ["PATCH"]),
        ("/v1/aXb/1", []),
        ("/v1/runs/", []),
        ("/v1/runs/7/8", []),
        ("/v1/runs\n", []),
        ("/runs", []),
        ("", []),
    ],
)
def test_a_path_has_the_methods_of_the_most_special_template(path: str, methods: list[str]) -> None:
    assert TABLE.methods_at(path) == methods


@pytest.mark.parametrize(
    ("template", "rivals"),
    [
        ("/runs/{id}", ["/v1/runs/7:abort", "/v1/runs/latest"]),
        ("/runs/{id}:abort", []),
        ("/runs/latest", []),
        ("/jobs/{number}", []),
        ("/jobs/next", []),
    ],
)
def test_a_template_knows_which_paths_belong_to_a_more_special_one(template: str, rivals: list[str]) -> None:
    paths = ["/v1/runs/7", "/v1/runs/7:abort", "/v1/runs/latest", "/v1/jobs/7", "/v1/jobs/next"]
    patterns = TABLE.rivals_of(template)
    assert [path for path in paths if any(one.fullmatch(path) for one in patterns)] == rivals


@pytest.mark.parametrize("name", API_MODULES)
def test_every_template_of_a_document_has_its_own_methods(name: str) -> None:
    service = Kit(apis=(name,)).front.services[name]
    for template, item in service.document["paths"].items():
        path = service.base_path + re.sub(r"\{[^}]*\}", "7", template)
        documented = {key.upper() for key in item if key in ("get", "put", "post", "delete", "patch")}
        assert set(service.paths.methods_at(path)) == documented
        assert service.paths.pattern_of(template).fullmatch(path)
        assert not any(rival.fullmatch(path) for rival in service.paths.rivals_of(template))
