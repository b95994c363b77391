"""The printed schema and the reader say the same of a file; where the reader knows more, it is listed here with the reason."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema_rs import Draft202012Validator

from simulator.assemble import load_apis, settings_of
from simulator.engine.job import State
from simulator.resources import shipped_scenarios
from simulator.scenario.calls import FAULTS, RULE_KEYS, WHEN_KEYS
from simulator.scenario.nodes import Notes, read_nodes
from simulator.scenario.read import RULE_KEYS as JOB_RULE_KEYS
from simulator.scenario.read import TOP_KEYS, check_scenario
from simulator.scenario.read import WHEN_KEYS as JOB_WHEN_KEYS
from simulator.scenario.schema import scenario_schema
from simulator.scenario.setting import Setting

APIS = {
    "ica": {
        "tokens": Setting(list, None, "Tokens that are good."),
        "colours": Setting(list, [], "Some colours.", choices=("red", "green")),
        "page_size": Setting(int, 50, "Jobs on a page.", choices=(50, 100)),
        "lifetime": Setting(timedelta, 600_000, "How long tokens live."),
    },
    "jbpm": {
        "date_format": Setting(str, "wrapped", "How times look.", choices=("wrapped", "plain")),
        "strict": Setting(bool, True, "Refuse what is not documented."),
    },
    "synapse": {},
    "ogc": {},
    "titan": {},
}
SCHEMA = scenario_schema(APIS)
VALIDATOR = Draft202012Validator(SCHEMA)


def schema_accepts(text: str) -> bool:
    notes = Notes("s.yaml")
    node = read_nodes(text, notes)
    assert node is not None, notes.problems
    return bool(VALIDATOR.is_valid(node.json()))


def reader_accepts(text: str) -> bool:
    return check_scenario(text, apis=APIS, find=shipped_scenarios().get)[0] is not None


def test_it_is_a_schema() -> None:
    jsonschema_rs.meta.validate(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"]
    assert SCHEMA["title"]


def test_every_key_is_described_so_that_an_editor_can_show_what_it_is() -> None:
    def look(schema: Any, path: str) -> None:
        if isinstance(schema, dict):
            for name, part in schema.get("properties", {}).items():
                if isinstance(part, dict) and "const" not in part:
                    reference = part.get("$ref", "").removeprefix("#/$defs/")
                    known = part if not reference else {**SCHEMA["$defs"][reference], **part}
                    assert known.get("description"), f"{path}.{name}"
            for name, part in schema.items():
                look(part, f"{path}.{name}")

    look(SCHEMA, "")


def test_it_has_the_keys_of_the_reader() -> None:
    parts = SCHEMA["$defs"]
    assert set(SCHEMA["properties"]) == set(TOP_KEYS)
    assert set(parts["jobRule"]["properties"]) == set(JOB_RULE_KEYS)
    assert set(parts["callRule"]["properties"]) == set(RULE_KEYS)
    for part, keys in (("jobWhen", JOB_WHEN_KEYS), ("callWhen", WHEN_KEYS)):
        prefixes = {key.partition(".")[0] for key in keys if "<" in key}
        assert set(parts[part]["properties"]) == {key for key in keys if "<" not in key}
        assert {pattern[1:].partition("\\")[0] for pattern in parts[part]["patternProperties"]} == prefixes
    assert set(parts["fault"]["then"]["enum"]) == set(FAULTS)
    assert set(parts["longStep"]["properties"]) == {state.value for state in State} | {"progress", "message"}


@pytest.mark.parametrize("path", shipped_scenarios().values(), ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path) -> None:
    schema = scenario_schema(settings_of(load_apis()))
    Draft202012Validator(schema).validate(read_nodes(path, Notes(path.name)).json())  # type: ignore[union-attr]


# ---- whatever is valid ----------------------------------------------------------------------------------------------

WORD = st.sampled_from(["a", "nightly-*", "10", "x y", "Größe", "[a-c]?"])
AMOUNT = st.integers(1, 999)
DURATIONS = st.builds(
    "{}{}".format, AMOUNT, st.sampled_from(["ms", "s", "m", "h", "d", "m30s", ".5h"])
) | st.sampled_from(["PT5M", "P1D", "p1dt2h", "PT1.5S", "0s", "1d2h"])
SPANS = DURATIONS | st.integers(1, 500).flatmap(
    lambda low: st.integers(low, 999).map(lambda high: f"{low}s..{high}s")
)
LASTING = SPANS | st.sampled_from(["hold", "1 poll", "3 polls", "2..4 polls", " 2s ", "1s .. 2s"])
TEXT = st.sampled_from(["", "Working", "{job.id} of {request.name}", "{{braces}}", "two\nlines"])
GLOBS = (
    WORD
    | st.integers(-5, 5)
    | st.booleans()
    | st.none()
    | st.floats(0, 1)
    | st.lists(WORD, min_size=1, max_size=3)
)
NUMBERS = AMOUNT | st.sampled_from(["1..3", "7", " 2 .. 4 "])
CHANCE = st.floats(0.001, 1)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | WORD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORD, inner, max_size=3),
    max_leaves=5,
)


def one_or_several(values: list[str]) -> st.SearchStrategy[Any]:
    return st.sampled_from(values) | st.lists(st.sampled_from(values), min_size=1, max_size=3)


def some(required: dict[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required or {}, optional=optional)


def without_contradiction(value: Any) -> Any:
    """`no_log` beside a `log`, and `no_result` beside a `result`, may only be false."""
    if isinstance(value, dict):
        for key in ("log", "result"):
            if key in value and f"no_{key}" in value:
                value[f"no_{key}"] = False
    return value


def logs(required: dict[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return some(required, **optional, log=TEXT, no_log=st.booleans()).map(without_contradiction)


ERRORS = TEXT | some(code=WORD, message=TEXT, details=TEXT)
ENDS = st.one_of(
    st.sampled_from(["succeeded", "failed", "cancelled"]),
    st.fixed_dictionaries(
        {"failed": ERRORS.filter(lambda error: isinstance(error, str)) | logs(error=ERRORS, message=TEXT)}
    ),
    st.fixed_dictionaries({"cancelled": st.none() | logs(message=TEXT)}),
    st.fixed_dictionaries(
        {"succeeded": st.none() | logs(result=JSON.filter(bool), no_result=st.booleans(), message=TEXT)}
    ),
)
RUNNING = some(
    {"running": LASTING}, progress=st.integers(0, 100) | st.sampled_from(["0..60", "5"]), message=TEXT
)
QUEUED = some({"queued": LASTING}, message=TEXT)
DELAYED = some({"delayed": LASTING}, message=TEXT)
SCRIPTS = st.builds(
    lambda parts, running, end: [*parts, *running, end],
    st.lists(DELAYED, max_size=1).flatmap(
        lambda first: st.lists(QUEUED, max_size=2).map(lambda rest: first + rest)
    ),
    st.lists(RUNNING, max_size=3),
    ENDS,
)
CANCELS = st.sampled_from(["at_once", "ignored", "refused", "too_late"]) | some({"after": SPANS}, then=ENDS)
JOB_WHEN = some(
    api=one_or_several(list(APIS)), kind=GLOBS, number=NUMBERS, every=AMOUNT, chance=CHANCE
).flatmap(
    lambda known: some(**{"request.name": GLOBS, "request.a.0": GLOBS}).map(
        lambda more: {"kind": "a", **known, **more}
    )
)
JOB_RULES = logs({"script": SCRIPTS}, when=JOB_WHEN, on_cancel=CANCELS) | logs(
    {"attempts": st.lists(SCRIPTS, min_size=1, max_size=3)}, when=JOB_WHEN, on_cancel=CANCELS
)
CALL_WHEN = some(
    {"operation": GLOBS},
    api=one_or_several(list(APIS)),
    role=one_or_several(["submit", "status", "list"]),
    call=NUMBERS,
    every=AMOUNT,
    after=DURATIONS,
    chance=CHANCE,
    state=one_or_several([state.value for state in State]),
    number=NUMBERS,
    **{"request.a": GLOBS, "header.Accept": GLOBS, "query.n": GLOBS},
)
HEADERS = st.dictionaries(
    st.sampled_from(["Retry-After", "X-A", "connectionless"]),
    st.sampled_from(["2", "a b"]) | st.integers(0, 9) | st.booleans(),
)
ANSWERS = some({"status": st.integers(200, 599)}, headers=HEADERS, body=JSON)
TAKING = {
    "duration": DURATIONS,
    "status": st.sampled_from([404, 502]),
    "word": WORD,
    "media type": st.just("text/plain"),
}
FAULTED = st.sampled_from(list(FAULTS)) | st.sampled_from(
    [kind for kind in FAULTS.values() if kind.takes]
).flatmap(lambda kind: st.fixed_dictionaries({kind.name: TAKING[kind.takes or ""]}))
VIOLATES = one_or_several(["status", "schema", "content_type"])
CALL_RULES = st.one_of(
    some({"answer": ANSWERS}, when=CALL_WHEN, delay=SPANS, violates=VIOLATES),
    some({"fault": FAULTED}, when=CALL_WHEN, delay=SPANS),
    some({"delay": SPANS}, when=CALL_WHEN),
    some(
        {"rate_limit": st.fixed_dictionaries({"calls": st.integers(0, 9), "per": st.just("10s")})},
        when=CALL_WHEN,
        violates=VIOLATES,
    ),
)
FILES = some(
    {"jobs": st.lists(JOB_RULES, min_size=1, max_size=3)},
    **{"$schema": TEXT},
    description=TEXT,
    extends=one_or_several(["happy", "slow"]),
    apis=some(
        ica=some(
            tokens=st.lists(WORD, max_size=2),
            colours=st.lists(st.sampled_from(["red", "green"]), max_size=2),
            page_size=st.sampled_from([50, 100]),
            lifetime=DURATIONS,
        ),
        jbpm=some(date_format=st.sampled_from(["wrapped", "plain"]), strict=st.booleans()),
    ),
    workers=some(titan=st.sampled_from(["external", "unlimited"]) | AMOUNT, ica=AMOUNT),
    calls=st.lists(CALL_RULES, min_size=1, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(FILES)
def test_whatever_is_valid_is_read(value: Any) -> None:
    text = json.dumps(value)
    VALIDATOR.validate(value)
    problems = check_scenario(text, apis=APIS, find=shipped_scenarios().get)[1]
    assert [str(problem) for problem in problems if problem.severity == "error"] == []


# ---- what both refuse -----------------------------------------------------------------------------------------------

FULL = """\
description: Everything the language has.
extends: happy
apis: {ica: {tokens: [a], page_size: 50, lifetime: 10m}, jbpm: {date_format: plain, strict: false}}
workers: {titan: external, jbpm: 1}
jobs:
  - when: {api: [ica, jbpm], kind: "a*", number: 1..3, every: 2, chance: 0.5, request.a: true}
    script: [delayed: 1s, queued: 2s, {running: 3 polls, progress: 0..9, message: m}, hold, failed: {error: {code: c, message: m}}]
    on_cancel: {after: 1s, then: succeeded}
    log: text
  - attempts: [[failed: b], [running: 1s, succeeded: {result: {a: 1}, message: m}]]
    on_cancel: refused
    no_log: true
calls:
  - when: {api: ica, role: status, operation: Get*, call: 2, every: 2, after: 10s, chance: 0.1, state: running, number: 1, header.a: b, query.c: d}
    answer: {status: 503, headers: {Retry-After: 2}, body: [1]}
    violates: [status]
  - fault: {hang: 3s}
  - {delay: 1s..2s, fault: connection_reset}
  - rate_limit: {calls: 5, per: 10s}
"""
MUTATIONS = [
    ("description:", "descripton:"),
    ("description: Everything the language has.", "description: 3"),
    ("extends: happy", "extends: []"),
    ("extends: happy", "extends: 3"),
    ("extends: happy", "extends: [3]"),
    ("apis: {", "apis: {icca: {}, "),
    ("apis: {", "apis: {ogc: {anything: 1}, "),
    ("tokens: [a]", "tokens: a"),
    ("tokens: [a]", "tokens: [1]"),
    ("page_size: 50", "page_size: 51"),
    ("page_size: 50", "page_size: fifty"),
    ("lifetime: 10m", "lifetime: 10"),
    ("lifetime: 10m", "lifetime: ten"),
    ("date_format: plain", "date_format: plane"),
    ("strict: false", "strict: 'no'"),
    ("titan: external", "titan: outside"),
    ("jbpm: 1}", "jbpm: 0}"),
    ("jbpm: 1}", "jbpm: [1]}"),
    ("api: [ica, jbpm]", "api: [ica, jbmp]"),
    ("api: [ica, jbpm]", "api: []"),
    ('kind: "a*"', "kind: {}"),
    ("number: 1..3", "number: 0"),
    ("number: 1..3", "number: few"),
    ("every: 2, chance: 0.5", "every: 0, chance: 0.5"),
    ("every: 2, chance: 0.5", "every: 2.5, chance: 0.5"),
    ("chance: 0.5", "chance: 0"),
    ("chance: 0.5", "chance: 2"),
    ("chance: 0.5", "chance: often"),
    ("request.a", "requests.a"),
    ("request.a", "request."),
    ("delayed: 1s", "delayed: 1"),
    ("delayed: 1s", "dellayed: 1s"),
    ("delayed: 1s", "delayed"),
    ("delayed: 1s", "delayed: "),
    ("delayed: 1s", "delayed: -1s"),
    ("delayed: 1s", "{delayed: 1s, progress: 3}"),
    ("queued: 2s", "{queued: 2s, running: 3s}"),
    ("queued: 2s", "{message: m}"),
    ("queued: 2s", "queued: 2 weeks"),
    ("queued: 2s", "3"),
    ("queued: 2s", "[]"),
    ("3 polls", "0 polls"),
    ("3 polls", "3 pols"),
    ("progress: 0..9", "progress: 101"),
    ("progress: 0..9", "progress: 0..110"),
    ("progress: 0..9", "progress: half"),
    ("message: m}, hold", "message: 3}, hold"),
    ("hold", "holdd"),
    ("hold", "{hold: 2s}"),
    ("failed: {error: {code: c, message: m}}", "failed: {code: c}"),
    ("failed: {error: {code: c, message: m}}", "failed: 3"),
    ("failed: {error: {code: c, message: m}}", "failed: [a]"),
    ("failed: {error: {code: c, message: m}}", "{failed: a, progress: 3}"),
    ("{code: c, message: m}", "{kode: c}"),
    ("{code: c, message: m}", "3"),
    ("{after: 1s, then: succeeded}", "{then: succeeded}"),
    ("{after: 1s, then: succeeded}", "{}"),
    ("{after: 1s, then: succeeded}", "at_onc"),
    ("{after: 1s, then: succeeded}", "3"),
    ("then: succeeded", "then: running"),
    ("then: succeeded", "then: {running: 2s}"),
    ("log: text", "log: 3"),
    ("log: text", "log: text\n    no_log: true"),
    ("no_log: true", "no_log: 1"),
    ("attempts: [[failed: b], ", "attempts: [[], "),
    ("attempts: [[failed: b], ", "attempts: [succeeded, "),
    ("  - attempts:", "  - script: [succeeded]\n    attempts:"),
    ("[[failed: b], [running: 1s, succeeded: {result: {a: 1}, message: m}]]", "[]"),
    ("{result: {a: 1}, message: m}", "{results: 1}"),
    ("{result: {a: 1}, message: m}", "{result: 1, no_result: true}"),
    ("{result: {a: 1}, message: m}", "done"),
    ("on_cancel: refused", "on_cancell: refused"),
    ("role: status", "role: statuss"),
    ("role: status", "role: 3"),
    ("call: 2", "call: 0"),
    ("call: 2", "call: twice"),
    ("after: 10s", "after: 10"),
    ("after: 10s", "after: 1s..2s"),
    ("state: running", "state: Running"),
    ("number: 1, h", "number: first, h"),
    ("header.a: b", "headers.a: b"),
    ("query.c: d", "query.: d"),
    ("status: 503", "status: 99"),
    ("status: 503", "status: '503'"),
    ("status: 503, ", ""),
    ("Retry-After: 2", "Retry After: 2"),
    ("Retry-After: 2", "Content-Length: 2"),
    ("Retry-After: 2", "Retry-After: "),
    ("Retry-After: 2", "Retry-After: é"),
    ("Retry-After: 2", 'Retry-After: "a\\n"'),
    ("body: [1]", "bodies: [1]"),
    ("violates: [status]", "violates: [stat]"),
    ("violates: [status]", "violates: []"),
    ("violates: [status]", "fault: hang"),
    ("fault: {hang: 3s}", "fault: hangs"),
    ("fault: {hang: 3s}", "fault: {hang: 3}"),
    ("fault: {hang: 3s}", "fault: {}"),
    ("fault: {hang: 3s}", "fault: {hang: 3s, dribble: 2s}"),
    ("fault: {hang: 3s}", "fault: {connection_reset: 3s}"),
    ("fault: {hang: 3s}", "fault: {html_error_page: 200}"),
    ("fault: {hang: 3s}", "fault: {wrong_content_type: html}"),
    ("fault: {hang: 3s}", "fault: {unknown_state: ''}"),
    ("fault: {hang: 3s}", "violates: [status]\n    delay: 1s"),
    ("fault: {hang: 3s}", "when: {role: list}"),
    ("delay: 1s..2s", "delay: soon"),
    ("calls: 5", "calls: -1"),
    ("calls: 5, ", ""),
    (", per: 10s", ""),
    ("per: 10s", "per: 10s..20s"),
    ("when: {api: ica, role", "whenn: {api: ica, role"),
    ("rate_limit: {calls: 5, per: 10s}", "when: {}\n    delay: 1s"),
]


def test_the_text_to_be_changed_is_valid() -> None:
    assert schema_accepts(FULL)
    assert reader_accepts(FULL)


@pytest.mark.parametrize(("old", "new"), MUTATIONS)
def test_what_is_wrong_is_refused_by_both(old: str, new: str) -> None:
    assert old in FULL
    text = FULL.replace(old, new, 1)
    assert not reader_accepts(text)
    assert not schema_accepts(text)


@pytest.mark.parametrize(
    "text", ["{}", "description: nothing", "jobs: []", "jobs: 3", "[]", "calls: [{fault: hang}]", "jobs:"]
)
def test_a_file_that_says_too_little_is_refused_by_both(text: str) -> None:
    assert not reader_accepts(text)
    assert not schema_accepts(text)


def test_a_message_speaks_of_the_mistake() -> None:
    value = read_nodes(FULL.replace("on_cancel: refused", "on_cancel: refuse"), Notes("s")).json()  # type: ignore[union-attr]
    [error] = VALIDATOR.iter_errors(value)
    assert list(error.instance_path) == ["jobs", 1, "on_cancel"]
    assert '"at_once", "ignored"' in error.message


# ---- what only the reader knows -------------------------------------------------------------------------------------

ONLY_THE_READER = [
    ("queued: 2s", "succeeded", "what follows what"),
    ("queued: 2s", "retrying: 2s", "which state a job may come to from which"),
    ("delayed: 1s", "delayed: forever", "nothing follows forever"),
    ("[delayed: 1s, queued: 2s, ", "[running: 1s, delayed: 2s, ", "which state a job may come to from which"),
    ("number: 1..3", "number: 3..1", "a range runs forward"),
    ("progress: 0..9", "progress: 9..0", "a range runs forward"),
    ("delay: 1s..2s", "delay: 2s..1s", "a range runs forward"),
    ("3 polls", "3..2 polls", "a range runs forward"),
    ("lifetime: 10m", "lifetime: 200000d", "a hundred years are enough"),
    ("per: 10s", "per: 0s", "no time at all, however it is written"),
    ("number: 1..3", "number: 0x1", "how a number is spelled: it is read as text"),
    ("every: 2, chance", "every: 2.0, chance", "2.0 is an integer to JSON Schema"),
    ("message: m}, hold", "message: '{job.nmae}'}, hold", "variables in a text"),
    ("message: m}, hold", "message: 'a } b'}, hold", "braces in a text"),
    ("{a: 1}", "{a: {job.id}}", "a variable without quotes is a mapping to YAML"),
    ("extends: happy", "extends: hapy", "which files there are"),
    ("on_cancel: refused", "on_cancel: too_late\n    when: {api: ica}\n  - script: [running: hold]\n    on_cancel: too_late", "whether the script has an end"),
    ("description: Everything the language has.", 'description: "\\ud800"', "half a surrogate pair"),
    ("fault: {hang: 3s}", 'fault: {unknown_state: "\\x07"}', "which characters can be shown"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "why"), ONLY_THE_READER)
def test_the_reader_knows_more(old: str, new: str, why: str) -> None:
    """When one of these is refused by the schema, too, it belongs to `MUTATIONS`."""
    assert old in FULL
    text = FULL.replace(old, new, 1)
    assert not reader_accepts(text), why
    assert schema_accepts(text)
