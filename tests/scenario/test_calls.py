"""Rules for calls: what each construct means, and every way to get it wrong with the place of the mistake."""

from __future__ import annotations

from textwrap import dedent

import pytest

from simulator.engine.script import Span
from simulator.scenario.calls import (
    FAULTS,
    Answer,
    CallRule,
    Documented,
    Fault,
    Moment,
    RateLimit,
    Seen,
)
from simulator.scenario.model import Scenario
from simulator.scenario.nodes import Notes, read_nodes
from simulator.scenario.read import check_scenario, read_scenario
from simulator.scenario.values import span

APIS = {"ica": {}, "jbpm": {}, "titan": {}}
DECLARED = {
    ("titan", "jobs_get"): Documented("list", frozenset({"200", "429", "default"})),
    ("titan", "job_get"): Documented("status", frozenset({"200", "404", "5XX"})),
    ("ica", "GetTaskRun"): Documented("status", frozenset({"200", "404"})),
    ("jbpm", "getRequest"): Documented("status", frozenset({"200", "404"})),
}
JOBS = "jobs: [{script: [succeeded]}]\n"


def read(calls: str) -> tuple[CallRule, ...]:
    return read_scenario(JOBS + "calls:\n" + dedent(calls), apis=APIS, name="s.yaml").calls.rules


def rule(text: str) -> CallRule:
    [only] = read(f"- {{{text}}}")
    return only


def problems(calls: str, *, declared: bool = False) -> list[str]:
    """Everything `check` says of call rules, without the file's name."""
    found = check_scenario(
        JOBS + "calls:\n" + dedent(calls), apis=APIS, name="s", declared=DECLARED if declared else None
    )[1]
    return [f"{'' if problem.severity == 'error' else 'warning '}{str(problem)[2:]}" for problem in found]


# ---- meaning --------------------------------------------------------------------------------------------------------


def test_a_rule_knows_its_place_and_where_it_was_written() -> None:
    first, second = read("- {delay: 1s}\n- {when: {role: status}, fault: hang}\n")
    assert [(one.place, one.cause) for one in (first, second)] == [(0, "s.yaml:3"), (1, "s.yaml:4")]
    assert [str(one) for one in (first, second)] == ["s.yaml:3 delay", "s.yaml:4 hang"]


def test_all_conditions_are_read() -> None:
    [one] = read(
        """
        - when:
            api: [titan, ica]
            role: [status, list]
            operation: job*
            state: running
            number: 3..5
            call: 2
            every: 3
            after: 10s
            chance: 0.25
            request.a.b: [x*, y]
            header.X-Client: curl*
            query.Page: 7
          answer: {status: 503}
        """
    )
    when = one.when
    assert (when.apis, when.roles, when.states) == (("titan", "ica"), ("status", "list"), ("running",))
    assert (when.numbers, when.calls, when.every) == ((3, 5), (2, 2), 3)
    assert (when.after_ms, when.chance) == (10_000, 250_000)
    assert [(field.path, [glob.text for glob in field.globs]) for field in when.fields] == [
        ("a.b", ["x*", "y"])
    ]
    assert [field.path for field in (*when.headers, *when.query)] == ["x-client", "Page"]
    assert when.query[0].globs[0].fits("7")
    assert when.is_for("titan", "job_get", "status")
    assert not when.is_for("jbpm", "job_get", "status")
    assert not when.is_for("titan", "list_jobs", "list")
    assert not when.is_for("titan", "job_delete", "remove")


def test_an_answer_is_read_as_it_stands() -> None:
    text = 'answer: {status: 503, headers: {Retry-After: 2, X-Why: "a b"}, body: {a: [1, null]}}'
    answer = rule(text).answer
    assert answer == Answer(503, {"Retry-After": "2", "X-Why": "a b"}, {"a": [1, None]}, has_body=True)
    assert rule("answer: {status: 404}").answer == Answer(404)
    assert rule("answer: {status: 200, body: null}").answer == Answer(200, {}, None, has_body=True)


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_can_be_written_with_its_name_alone(name: str) -> None:
    kind = FAULTS[name]
    assert rule(f"fault: {name}").fault == Fault(kind, kind.default)
    assert rule(f"fault: {kind.written}").fault is not None
    assert kind.meaning.endswith((".", ")"))
    assert kind.moment in Moment


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("{hang: 30s}", 30_000),
        ("{dribble: 2s}", 2_000),
        ("{stale: PT1M}", 60_000),
        ("{not_yet_visible: 3s}", 3_000),
        ("{html_error_page: 504}", 504),
        ("{unknown_state: ZOMBIE}", "ZOMBIE"),
        ("{wrong_content_type: text/plain}", "text/plain"),
        ("hang", 600_000),
        ("not_yet_visible", None),
        ("unknown_state", None),
    ],
)
def test_a_fault_takes_a_value(written: str, value: object) -> None:
    fault = rule(f"fault: {written}").fault
    assert fault is not None
    assert fault.value == value


def test_delays_and_rate_limits() -> None:
    assert rule("delay: 200ms..800ms").delay == Span(200, 800)
    assert rule("delay: 2s, fault: hang").delay == Span(2_000, 2_000)
    limited = rule("rate_limit: {calls: 5, per: 10s}")
    assert limited.rate_limit == RateLimit(5, 10_000)
    assert str(limited) == "s.yaml:3 rate_limit"


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("when: {call: 2}, fault: hang", True),
        ("when: {every: 2}, fault: hang", True),
        ("when: {chance: 0.5}, fault: hang", True),
        ("delay: 1s..2s", True),
        ("delay: 1s", False),
        ("when: {state: running, after: 2s}, fault: hang", False),
    ],
)
def test_only_rules_whose_doing_depends_on_it_are_counted(text: str, counts: bool) -> None:
    assert rule(text).counts is counts


def test_a_delay_out_of_a_range_is_a_function_of_seed_place_job_and_count() -> None:
    one = rule("delay: 0ms..1h")
    drawn = one.delay_ms(7, 1, 1)
    assert drawn == one.delay_ms(7, 1, 1)
    assert len({drawn, one.delay_ms(8, 1, 1), one.delay_ms(7, 2, 1), one.delay_ms(7, 1, 2)}) == 4
    assert rule("fault: hang").delay_ms(7, 1, 1) == 0


def test_what_is_not_met_is_told_in_the_words_of_the_file() -> None:
    one = rule(
        "when: {state: [running, failed], after: 2s, header.x-a: b, query.c: d, request.e: f}, fault: hang"
    )
    seen = Seen(None, 1_000, 0, {}, {"x-a": "c"}, {})
    assert one.unmet(seen) == [
        "state: running or failed",
        "after: 2000ms",
        "request.e",
        "header.x-a",
        "query.c",
    ]
    counted = rule("when: {call: 2..3, every: 4}, fault: hang").when
    assert counted.unmet_by_count(1, 7, 0, 0) == ["call: 2..3 (this is 1)", "every: 4 (this is 1)"]


def test_rules_are_found_by_operation_in_order() -> None:
    scenario = read_scenario(
        JOBS
        + "calls: [{when: {role: status}, fault: hang}, {when: {api: ica}, delay: 1s}, {when: {role: list}, delay: 1s}]",
        apis=APIS,
    )
    assert [one.place for one in scenario.calls.find("ica", "GetTaskRun", "status")] == [0, 1]
    assert [one.place for one in scenario.calls.find("titan", "jobs_get", "list")] == [2]
    assert scenario.calls.find("titan", "jobs_post", "submit") == ()
    assert scenario.calls.find("ica", "GetTaskRun", "status") is scenario.calls.find(
        "ica", "GetTaskRun", "status"
    )


def test_a_scenario_without_calls_has_no_rules() -> None:
    scenario = read_scenario(JOBS, apis=APIS)
    assert isinstance(scenario, Scenario)
    assert scenario.calls.rules == ()


def test_rules_of_an_extended_file_come_after_and_are_numbered_on(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "base.yaml").write_text(JOBS + "calls: [{when: {role: list}, delay: 1s}]\n")
    (folder / "top.yaml").write_text("extends: ./base.yaml\ncalls: [{when: {role: status}, delay: 2s}]\n")
    rules = read_scenario(folder / "top.yaml", apis=APIS, shown_as="top.yaml").calls.rules
    assert [(one.place, one.cause) for one in rules] == [(0, "top.yaml:2"), (1, "base.yaml:2")]


# ---- mistakes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("- {}", ["3:3: calls[0]: does nothing"]),
        ("- {when: {role: status}}", ["does nothing: `answer`, `fault`, `delay` or `rate_limit` is missing"]),
        ("- {fualt: hang}", ["does nothing", "unknown key 'fualt', did you mean 'fault'?"]),
        ("- {fault: hangs}", ["3:11: calls[0].fault: unknown fault 'hangs', did you mean 'hang'?"]),
        ("- {fault: {hangs: 3s}}", ["unknown fault 'hangs', did you mean 'hang'?"]),
        ("- {fault: [hang]}", ["must be a fault, such as"]),
        ("- {fault: {hang: 1s, stale: 2s}}", ["must be one fault"]),
        ("- {fault: {connection_reset: 3s}}", ["connection_reset takes no value"]),
        ("- {fault: {hang: 30}}", ["30 has no unit; write 30s for seconds"]),
        ("- {fault: {hang: [1s]}}", ["must be a duration"]),
        ("- {fault: {html_error_page: 200}}", ["must be a whole number from 400 to 599"]),
        ("- {fault: {html_error_page: 499}}", ["499 is no status that proxies know"]),
        ("- {fault: {unknown_state: 7}}", ['must be a text, not 7; put it in quotes: "7"']),
        ("- {fault: {wrong_content_type: html}}", ["must be a media type such as text/plain"]),
        (
            "- {answer: {status: 503}, fault: hang}",
            ["one of answer, fault and rate_limit; there is answer already"],
        ),
        (
            "- {answer: {statsu: 503}}",
            ["`status` is missing", "unknown key 'statsu', did you mean 'status'?"],
        ),
        ("- {answer: {status: 99}}", ["must be a whole number from 200 to 599"]),
        ("- {answer: {status: ok}}", ["must be a whole number from 200 to 599"]),
        ("- {answer: 503}", ["must be a mapping, not 503"]),
        (
            "- {answer: {status: 503, headers: {Content-Length: 3}}}",
            ["Content-Length is written by the server"],
        ),
        ("- {answer: {status: 503, headers: {'a b': 3}}}", ["'a b' is no name of a header"]),
        ('- {answer: {status: 503, headers: {a: "b\\nc"}}}', ["characters that no header can carry"]),
        ("- {answer: {status: 503, headers: {a: [b]}}}", ["must be a text"]),
        (
            "- {answer: {status: 503}, violates: [sttus]}",
            ["unknown violation 'sttus', did you mean 'status'?"],
        ),
        ("- {fault: hang, violates: [status]}", ["belongs to an answer"]),
        ("- {delay: 800ms..200ms}", ["runs backwards; write 200ms..800ms"]),
        ("- {delay: soon}", ["'soon' is not a duration"]),
        ("- {rate_limit: {calls: 5}}", ["`per` is missing, such as `per: 10s`"]),
        ("- {rate_limit: {per: 5s}}", ["`calls` is missing, such as `calls: 5`"]),
        ("- {rate_limit: {calls: -1, per: 5s}}", ["must be a whole number from 0 on"]),
        ("- {rate_limit: {calls: 1, per: 0s}}", ["must be longer than no time"]),
        ("- {when: {role: stauts}, delay: 1s}", ["unknown role 'stauts', did you mean 'status'?"]),
        ("- {when: {api: titen}, delay: 1s}", ["unknown API 'titen', did you mean 'titan'?"]),
        ("- {when: {state: runing}, delay: 1s}", ["unknown state 'runing', did you mean 'running'?"]),
        ("- {when: {call: 0}, delay: 1s}", ["calls are counted from 1"]),
        ("- {when: {call: 4..2}, delay: 1s}", ["runs backwards; write 2..4"]),
        ("- {when: {call: often}, delay: 1s}", ["must be a call number like 3 or a range like 2..5"]),
        ("- {when: {every: 0}, delay: 1s}", ["must be a whole number from 1 on"]),
        ("- {when: {number: x}, delay: 1s}", ["must be a job number like 3"]),
        ("- {when: {chance: 0}, delay: 1s}", ["must be a number above 0 and up to 1"]),
        ("- {when: {chance: 1.5}, delay: 1s}", ["must be a number above 0 and up to 1"]),
        ("- {when: {chance: true}, delay: 1s}", ["must be a number above 0 and up to 1"]),
        ("- {when: {after: 10}, delay: 1s}", ["10 has no unit; write 10s for seconds"]),
        ("- {when: {header.: x}, delay: 1s}", ["what follows `header.` has 1 to 1000 characters"]),
        ("- {when: {headers.x: x}, delay: 1s}", ["unknown key 'headers.x'"]),
        ("- {when: {role: []}, delay: 1s}", ["an empty list fits nothing"]),
        (
            "- {when: {}, delay: 1s}",
            ["holds no condition; leave `when` out for a rule that takes every call"],
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(calls: str, expected: list[str]) -> None:
    found = problems(calls)
    assert len(found) == len(expected), found
    for problem, part in zip(found, expected, strict=True):
        assert part in problem
        assert problem.startswith(("3:", "2:")), problem


@pytest.mark.parametrize(
    ("calls", "expected"), [("[]", "needs at least one rule"), ("hang", "must be a list")]
)
def test_calls_are_a_list_of_rules(calls: str, expected: str) -> None:
    [problem] = check_scenario(f"{JOBS}calls: {calls}", apis=APIS, name="s")[1]
    assert expected in problem.message


def test_a_rule_behind_one_that_takes_every_call_never_fires() -> None:
    found = problems("- {delay: 1s}\n- {when: {role: list}, delay: 1s}")
    assert found == ["warning 4:3: calls[1]: never fires: calls[0] in line 3 takes every call"]
    assert problems("- {rate_limit: {calls: 5, per: 1s}}\n- {when: {role: list}, delay: 1s}") == []


@pytest.mark.parametrize(
    ("calls", "expected"),
    [
        ("- {when: {role: list}, answer: {status: 418}}", []),
        ("- {when: {api: titan, role: status}, answer: {status: 503}}", []),
        ("- {when: {role: status}, answer: {status: 404}}", []),
        (
            "- {when: {role: status}, answer: {status: 503}}",
            [
                "503 is not declared by ica GetTaskRun, jbpm getRequest; narrow `when`, or add `violates: [status]`"
            ],
        ),
        ("- {when: {role: status}, answer: {status: 503}, violates: [status]}", []),
        (
            "- {when: {role: status}, rate_limit: {calls: 1, per: 1s}}",
            ["429 is not declared by titan job_get, ica GetTaskRun, jbpm getRequest;"],
        ),
        ("- {when: {role: status}, fault: html_error_page}", []),
        (
            "- {when: {operation: getjob}, delay: 1s}",
            ["warning 3:3: calls[0]: never fires: no operation is of this"],
        ),
    ],
)
def test_an_answer_that_the_documents_do_not_allow_must_be_declared(calls: str, expected: list[str]) -> None:
    found = problems(calls, declared=True)
    assert len(found) == len(expected), found
    for problem, part in zip(found, expected, strict=True):
        assert part in problem


def test_a_span_reads_one_duration_or_two() -> None:
    notes = Notes("s")
    node = read_nodes("1s..2m", notes)
    assert node is not None
    assert span(node) == Span(1_000, 120_000)
    assert notes.problems == ()
