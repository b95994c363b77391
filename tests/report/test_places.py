"""Violations point at the line of the document that they break."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulator.report.model import Tested, Violation
from simulator.report.places import DocumentPlaces, place_of
from tests.report.parts import HOSTILE, violation

DOCUMENT = """\
openapi: 3.0.3
security:
  - token: []
paths:
  /jobs:
    parameters:
      - name: tenant
        in: query
    post:
      operationId: submit
      parameters:
        - $ref: '#/components/parameters/Limit'
      requestBody:
        content:
          application/json:
            schema:
              $ref: '#/components/schemas/Wish'
      responses:
        '201':
          content:
            application/json:
              schema:
                properties:
                  id: {type: string}
        default: {description: A problem.}
components:
  parameters:
    Limit:
      name: limit
      in: query
  schemas:
    Wish:
      allOf:
        - properties:
            steps:
              items:
                properties:
                  a/b: {type: string}
            self:
              $ref: '#/components/schemas/Wish'
"""


def told(**more: Any) -> Violation:
    fields = {"operation": "submit", "pointer": "", "api": "some"} | more
    return Tested("t", violations=(violation(**fields),)).seen_violations[0]


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (told(operation=""), 4),
        (told(operation="other"), 4),
        (told(kind="method_not_allowed"), 9),
        (told(kind="unauthorized"), 2),
        (told(pointer="limit"), 28),
        (told(pointer="tenant"), 7),
        (told(pointer="unknown"), 9),
        (told(kind="bad_body"), 32),
        (told(kind="missing_body"), 32),
        (told(pointer="/steps"), 35),
        (told(pointer="/steps/0/a~1b"), 38),
        (told(pointer="/steps/0/unknown"), 36),
        (told(pointer="/self/self/steps"), 35),
        (told(by="server"), 18),
        (told(by="server", status=201, pointer="/id"), 24),
        (told(by="server", status=418), 25),
    ],
)
def test_a_violation_points_at_the_nearest_line_of_the_document(broken: Violation, line: int) -> None:
    place = DocumentPlaces(DOCUMENT, "openapi/some.yaml").of_violation(broken)
    assert place.line == line, str(place)
    assert str(place).startswith(f"openapi/some.yaml:{line}:")


def test_a_place_covers_the_name_of_what_is_broken() -> None:
    place = DocumentPlaces(DOCUMENT, "x").of_violation(told(pointer="/steps"))
    line = DOCUMENT.splitlines()[place.line - 1]
    assert line[place.column - 1 : place.end_column - 1] == "steps"


def test_references_in_a_circle_end() -> None:
    text = "paths: {/a: {get: {operationId: submit, requestBody: {$ref: '#/a'}}}}\na: {$ref: '#/b'}\nb: {$ref: '#/a'}"
    assert DocumentPlaces(text, "x").of_violation(told(kind="bad_body")).line in (2, 3)


def test_every_operation_of_every_shipped_document_is_found() -> None:
    from simulator.assemble import load_apis

    for api in load_apis().values():
        for operation in api.operations:
            place = place_of(told(api=api.name, operation=operation, kind="forbidden"))
            assert place is not None
            lines = Path("openapi", api.document).read_text().splitlines()
            assert lines[place.line - 1].strip().rstrip(":") in ("get", "put", "post", "delete", "patch")


@pytest.mark.parametrize("api", ["control/../ogc", "../pyproject", "nothing", "", HOSTILE])
def test_an_api_without_a_document_has_no_places(api: str) -> None:
    assert place_of(told(api=api)) is None
