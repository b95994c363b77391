"""Violations of the APIs' documents as SARIF 2.1.0, which code hosts show beside the lines that are broken.

One rule for each kind of violation; each result points into the document of the API. The same violation by many calls is one
result that says how often it occurred and in which tests. What a scenario asked for is no finding and left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple

from simulator import __version__
from simulator.report.model import Run, Violation
from simulator.report.places import Place, place_of

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
FINGERPRINT = "violation/v1"
_INDEX = re.compile(r"/[0-9]+(?=/|$)")
TESTS_SHOWN_MAX = 10


class Rule(NamedTuple):
    """What one kind of violation is, and what to do about it."""

    short: str
    help: str


RULES: dict[str, Rule] = {
    "no_such_path": Rule(
        "A call to a path that the document does not have.",
        "Compare method and path with the document; a base URL that lacks its prefix is the commonest cause.",
    ),
    "method_not_allowed": Rule(
        "A call with a method that its path does not have.",
        "Use one of the methods that the document has for this path.",
    ),
    "bad_parameter": Rule(
        "A path, query or header parameter is missing or breaks its schema.",
        "Send the parameter as its schema in the document says.",
    ),
    "bad_body": Rule(
        "A request body breaks its schema.",
        "Send the member that the pointer names as its schema in the document says.",
    ),
    "malformed_body": Rule(
        "A request body cannot be read at all.",
        "Send well-formed content of the type that Content-Type announces.",
    ),
    "missing_body": Rule(
        "A request body that the document wants is missing.", "Send the body that the document describes."
    ),
    "unsupported_media_type": Rule(
        "A request body has a content type that the operation does not take.",
        "Send one of the content types that the document lists, and say so in Content-Type.",
    ),
    "not_acceptable": Rule(
        "A call accepts none of the content types that the operation answers with.",
        "Name one of the documented content types in Accept, or leave Accept out.",
    ),
    "unauthorized": Rule(
        "A call lacks the credentials that the document wants, or has wrong ones.",
        "Send what the security scheme of the document describes; a token may have expired.",
    ),
    "forbidden": Rule(
        "The credentials of a call do not allow it.", "Use credentials that are good for this operation."
    ),
    "too_large": Rule("A request body is larger than is taken.", "Send less at once."),
    "uri_too_long": Rule("The address of a call is longer than is taken.", "Move long values into the body."),
    "bad_request": Rule(
        "A request breaks the document.", "Compare the request with the operation in the document."
    ),
    "bad_reply": Rule(
        "An answer breaks the document, and no scenario asked for it.",
        "This is no mistake of the client. If a scenario means it, declare it there with `violates`; otherwise report it.",
    ),
}
"""By the kind of a violation; kinds that are not here get a rule made of their word."""


@dataclass
class _Finding:
    violation: Violation
    place: Place | None
    count: int = 0
    tests: list[str] = field(default_factory=list)


def as_sarif(run: Run) -> bytes:
    """The report as a file in UTF-8."""
    findings = _findings(run)
    kinds = [*RULES, *sorted({one.violation.kind for one in findings.values()} - RULES.keys())]
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "understudy",
                        "version": __version__,
                        "semanticVersion": __version__,
                        "rules": [_rule(kind) for kind in kinds],
                    }
                },
                "columnKind": "unicodeCodePoints",
                "invocations": [{"executionSuccessful": True}],
                "results": [
                    _result(fingerprint, one, kinds.index(one.violation.kind))
                    for fingerprint, one in findings.items()
                ],
            }
        ],
    }
    return json.dumps(log, ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"


def rule_of(kind: str) -> Rule:
    """What a kind of violation is."""
    plain = kind.replace("_", " ")
    return RULES.get(kind) or Rule(
        f"A call breaks the document: {plain}.", "Compare it with the operation in the document."
    )


def _findings(run: Run) -> dict[str, _Finding]:
    """Those of the whole run by fingerprint, in the order in which they first occurred."""
    findings: dict[str, _Finding] = {}
    for name, tested in run.with_names():
        for violation in tested.undeclared:
            key = fingerprint_of(violation)
            finding = findings.get(key)
            if finding is None:
                finding = findings[key] = _Finding(violation, place_of(violation))
            finding.count += 1
            if name not in finding.tests[-1:]:
                finding.tests.append(name)
    return findings


def fingerprint_of(violation: Violation) -> str:
    """The same for the same mistake in another run: values that change with each call are not part of it."""
    told = (
        violation.by,
        violation.api,
        violation.operation,
        violation.kind,
        _INDEX.sub("/*", violation.pointer),
    )
    return sha256("\0".join(told).encode("utf-8", "replace")).hexdigest()


def _rule(kind: str) -> dict[str, Any]:
    rule = rule_of(kind)
    return {
        "id": _id(kind),
        "name": "".join(word.capitalize() for word in kind.split("_")),
        "shortDescription": {"text": rule.short},
        "fullDescription": {"text": f"{rule.short} {rule.help}"},
        "help": {"text": rule.help, "markdown": rule.help},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["openapi", "contract"]},
    }


def _id(kind: str) -> str:
    return kind.replace("_", "-")


def _result(fingerprint: str, finding: _Finding, rule: int) -> dict[str, Any]:
    violation = finding.violation
    operation = violation.operation or "(no operation)"
    where = f"at {violation.pointer}" if violation.pointer else "in whole"
    location: dict[str, Any] = {
        "logicalLocations": [
            {
                "name": operation,
                "fullyQualifiedName": f"{violation.api}.{operation}",
                "kind": "function",
            }
        ]
    }
    if finding.place is not None:
        place = finding.place
        location["physicalLocation"] = {
            "artifactLocation": {"uri": place.file},
            "region": {
                "startLine": place.line,
                "startColumn": place.column,
                "endLine": place.end_line,
                "endColumn": place.end_column,
            },
        }
    result: dict[str, Any] = {
        "ruleId": _id(violation.kind),
        "ruleIndex": rule,
        "level": "error",
        "kind": "fail",
        "message": {"text": f"{violation.api} {operation} {where}: {violation.message}{_seen_in(finding)}"},
        "locations": [location],
        "partialFingerprints": {FINGERPRINT: fingerprint},
        "occurrenceCount": finding.count,
        "properties": {
            "by": violation.by,
            "api": violation.api,
            "operation": violation.operation,
            "pointer": violation.pointer,
            "tests": finding.tests[:TESTS_SHOWN_MAX],
        },
    }
    return result


def _seen_in(finding: _Finding) -> str:
    tests: Sequence[str] = finding.tests
    more = len(tests) - TESTS_SHOWN_MAX
    shown = ", ".join(tests[:TESTS_SHOWN_MAX]) + (f" and {more} more" if more > 0 else "")
    times = "once" if finding.count == 1 else f"{finding.count} times"
    return f" ({times}, in {shown})"
