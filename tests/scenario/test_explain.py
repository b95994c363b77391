"""Which rule would take a job or a call that somebody thinks of."""

from __future__ import annotations

import pytest

from simulator.scenario.calls import Documented
from simulator.scenario.explain import Imagined, Unclear, explain
from simulator.scenario.read import read_scenario

DECLARED = {
    ("ica", "GetTaskRun"): Documented("status", frozenset({"200", "503"})),
    ("ica", "ListTaskRuns"): Documented("list", frozenset({"200", "503"})),
}
SCENARIO = read_scenario(
    """\
jobs:
- when: {api: ica, request.name: "nightly-*", number: 2..3}
  script: [running: 1s..2s, {running: 3 polls, progress: 0..60}, failed: {error: {code: oom, message: Out}}]
- when: {api: ica, kind: [a, b], every: 2}
  attempts: [[queued: hold, failed], [succeeded]]
calls:
- {when: {role: status, call: 2}, answer: {status: 503}}
- {when: {api: ica, operation: List*, query.n: "1*"}, fault: hang}
- {when: {state: running, after: 5s, header.X-A: b}, delay: 1s}
- {when: {role: submit}, rate_limit: {calls: 3, per: 10s}}
""",
    apis={"ica": {}, "ogc": {}},
    name="s.yaml",
)


def told(written: str) -> list[str]:
    return explain(SCENARIO, Imagined.parse(written), DECLARED)


def test_the_rule_that_takes_a_job_is_shown_with_its_script() -> None:
    assert told("api=ica,request.name=nightly-7,number=2") == [
        "s.yaml:2: this rule takes the job",
        "  running 1s..2s, running 3 polls (0..60 %), failed (oom: Out)",
    ]


def test_each_attempt_has_a_line() -> None:
    assert told("api=ica,kind=b,number=4") == [
        "s.yaml:4: this rule takes the job",
        "  attempt 1: queued hold, failed",
        "  attempt 2: succeeded",
    ]


@pytest.mark.parametrize(
    ("written", "nearest"),
    [
        ("api=ica,request.name=daily,number=3", "s.yaml:2: comes nearest, and wants request.name: nightly-*, not 'daily'"),
        ("api=ica,number=3", "s.yaml:2: comes nearest, and wants request.name: nightly-*, which is not there"),
        ("api=ica,request.name=nightly-1", "s.yaml:2: comes nearest, and wants number: 2..3, not 1"),
        ("api=ica,kind=c,number=4", "s.yaml:4: comes nearest, and wants kind: a or b, not 'c'"),
        ("api=ica,kind=a", "s.yaml:4: comes nearest, and wants every: 2, and this is job 1"),
        ("api=ogc,kind=a,number=4", "s.yaml:4: comes nearest, and wants api: ica, not ogc"),
    ],
)  # fmt: skip
def test_when_no_rule_takes_a_job_the_nearest_is_shown_and_what_it_wants(written: str, nearest: str) -> None:
    assert told(written) == [
        "no rule takes the job",
        nearest,
        "  queued 1s, running 3s (0..100 %), succeeded",
    ]


@pytest.mark.parametrize(
    ("written", "cause"),
    [
        ("api=ica,role=status,call=2", "s.yaml:7 answer 503"),
        ("api=ica,operation=GetTaskRun,call=2", "s.yaml:7 answer 503"),
        ("operation=ListTaskRuns,api=ica,query.n=10", "s.yaml:8 hang"),
        ("api=ica,state=running,after=6s,header.x-a=b", "s.yaml:9 delay"),
    ],
)
def test_the_rule_that_takes_a_call_is_shown(written: str, cause: str) -> None:
    assert told(written) == [f"{cause}: this rule takes the call"]


def test_a_rate_limit_says_from_when_on() -> None:
    assert told("role=submit") == [
        "s.yaml:10 rate_limit: this rule takes the call, once there are more than 3 in 10s"
    ]


@pytest.mark.parametrize(
    ("written", "wants"),
    [
        ("api=ica,role=status", "s.yaml:7 answer 503: comes nearest, and wants call: 2 (this is 1)"),
        ("api=ica,operation=ListTaskRuns", "s.yaml:7 answer 503: comes nearest, and wants role: status, not list"),
        ("api=ica,state=running,header.x-a=b", "s.yaml:7 answer 503: comes nearest, and wants role: status, not none"),
    ],
)  # fmt: skip
def test_when_no_rule_takes_a_call_the_nearest_is_shown(written: str, wants: str) -> None:
    assert told(written) == ["no rule takes the call: the service answers it", wants]


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("ica", "'ica' is no key=value"),
        ("apis=ica", "unknown key 'apis', did you mean 'api'?"),
        ("api=icaa", "unknown API 'icaa', did you mean 'ica'?"),
        ("api=ica,number=first", "number=first: must be a whole number from 1 on"),
        ("role=statuss", "unknown role 'statuss', did you mean 'status'?"),
        ("operation=GetTaskRn", "unknown operation 'GetTaskRn'"),
        ("state=Running", "unknown state 'Running', did you mean 'running'?"),
        ("after=5", "after=5: "),
    ],
)
def test_what_cannot_be_understood_is_said_to_be_so(written: str, said: str) -> None:
    with pytest.raises(Unclear) as caught:
        told(written)
    assert str(caught.value).startswith(said)


def test_a_scenario_without_rules_for_calls_leaves_them_to_the_service() -> None:
    plain = read_scenario("jobs: [{script: [succeeded]}]", apis={"ica": {}}, name="s")
    assert explain(plain, Imagined.parse("role=status"), {}) == [
        "no rule takes the call: the service answers it"
    ]
    assert explain(plain, Imagined.parse("api=ica"), {}) == ["s:1: this rule takes the job", "  succeeded"]
