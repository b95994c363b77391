"""A run as JUnit XML, the format that build servers show: one suite per file of tests, one case per test.

It keeps to the form that Jenkins reads (`junit-10.xsd`), which has no properties of a single case; so what a test's world was, and
the command that replays it, is its standard output. A violation that no scenario asked for is a failure of its test, also where
the test itself noticed nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree

from simulator import __version__
from simulator.report.coverage import Coverage
from simulator.report.model import Run, Tested, Violation
from simulator.report.places import place_of

_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CARRIAGE_RETURN = re.compile("\r\n?")
NAME = "understudy"


def as_junit(run: Run, coverage: Coverage) -> bytes:
    """The report as a file in UTF-8."""
    root = ElementTree.Element("testsuites", {"name": NAME, **_counts(run.tests)})
    named = sorted(((*_split(name), tested) for name, tested in run.with_names()), key=lambda one: one[0])
    for file, cases in groupby(named, key=lambda one: one[0]):
        tests = [(name, tested) for _, name, tested in cases]
        suite = ElementTree.SubElement(
            root, "testsuite", {"name": _text(file or NAME), **_counts([tested for _, tested in tests])}
        )
        suite.set("skipped", str(sum(tested.verdict == "skipped" for _, tested in tests)))
        properties = ElementTree.SubElement(suite, "properties")
        facts = {
            "understudy.version": __version__,
            "understudy.coverage.percent": f"{coverage.percent:.1f}",
            **{f"understudy.coverage.percent.{api.api}": f"{api.percent:.1f}" for api in coverage.apis},
        }
        for name, value in facts.items():
            ElementTree.SubElement(properties, "property", {"name": name, "value": value})
        for name, tested in tests:
            _add_case(suite, file, name, tested)
    ElementTree.indent(root)
    report: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return report + b"\n"


def _counts(tests: Sequence[Tested]) -> dict[str, str]:
    """A test counts once, however much is wrong with it."""
    return {
        "tests": str(len(tests)),
        "failures": str(sum(tested.verdict == "failed" for tested in tests)),
        "errors": str(sum(tested.verdict == "error" for tested in tests)),
        "time": f"{sum(tested.seconds for tested in tests):.3f}",
    }


def _split(name: str) -> tuple[str, str]:
    """The file of a test, as pytest names it, and the rest of its name."""
    # A parameter of a test may hold anything.
    bare, bracket, parameters = name.partition("[")
    file, colons, rest = bare.partition("::")
    return (file, rest + bracket + parameters) if colons else ("", name)


def _add_case(suite: ElementTree.Element, file: str, name: str, tested: Tested) -> None:
    bare, bracket, parameters = name.partition("[")
    classes, _, function = bare.rpartition("::")
    module = file.removesuffix(".py").replace("\\", "/").replace("/", ".")
    case = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": _text(".".join(filter(None, [module or NAME, *classes.split("::")]))),
            "name": _text(function + bracket + parameters),
            "time": f"{tested.seconds:.3f}",
        },
    )
    if tested.outcome == "error":
        _add(case, "error", "error", tested.failure)
    elif tested.outcome == "failed":
        _add(case, "failure", "failed", tested.failure)
    elif tested.verdict == "skipped":
        _add(case, "skipped", "skipped", tested.failure)
    for (kind, text), count in Counter(
        (violation.kind, violation_text(violation)) for violation in tested.undeclared
    ).items():
        _add(case, "failure", kind, text if count == 1 else f"{text} ({count} times)")
    facts = {
        "world": tested.world,
        "scenario": tested.scenario,
        "seed": "" if tested.seed is None else str(tested.seed),
        "jobs": str(len(tested.jobs)),
        "calls": str(len(tested.calls)),
        "replay": tested.replay,
    }
    output = ElementTree.SubElement(case, "system-out")
    output.text = "\n".join(f"{name}: {_text(value)}" for name, value in facts.items() if value)


def violation_text(violation: Violation) -> str:
    """A violation on one line: what, in which operation, where in the body, and the line of the document that it breaks."""
    who = "client" if violation.by == "client" else "answer"
    place = place_of(violation)
    return " ".join(
        filter(
            None,
            [
                f"{who} breaks the document:",
                f"{violation.api} {violation.operation or '(no operation)'}",
                f"at {violation.pointer}:" if violation.pointer else "in whole:",
                violation.message,
                f"({place})" if place else "",
            ],
        )
    )


def _add(case: ElementTree.Element, tag: str, kind: str, text: str) -> None:
    lines = text.strip().splitlines()
    # The last line of what Python says of a failure is its reason.
    element = ElementTree.SubElement(
        case, tag, {"type": _text(kind), "message": _text(lines[-1] if lines else kind)}
    )
    element.text = _text(text)


def _text(text: str) -> str:
    """Without what XML cannot hold, which is written out as Python writes it."""
    plain = _CARRIAGE_RETURN.sub("\n", text)
    return _NOT_IN_XML.sub(lambda found: ascii(found[0])[1:-1], plain)
