"""A run as one HTML file that needs nothing else: no network, no server, no fonts.

It can be read without its script, which only filters the list of tests; the policy in its head allows this one style and this one
script and nothing besides. Long runs stay readable: tests that did not pass come first and get their calls and drawings first;
what is left out of the page is said where it is missing, and the run's JSON has all of it.
"""

from __future__ import annotations

from base64 import b64encode
from collections import defaultdict
from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path

from simulator import __version__
from simulator.report.coverage import ANY_JOB, CLASSES, NO_JOB, ApiCoverage, Coverage, Goal, role_of
from simulator.report.drawing import MARKS_MAX, Span, draw, in_words, is_disturbed, polls_of, since
from simulator.report.markup import Child, Html, element, together
from simulator.report.model import OUTCOMES, Run, SeenCall, SeenJob, Tested, Violation
from simulator.report.places import place_of
from simulator.report.sarif import rule_of
from simulator.scenario.calls import Declared

TESTS_MAX = 5_000
CALLS_MAX = 10_000
"""Rows of calls in the whole page."""
CALLS_OF_TEST_MAX = 100
JOBS_MAX = 1_000
"""Drawings in the whole page."""
JOBS_OF_TEST_MAX = 10
VIOLATIONS_OF_TEST_MAX = 50
BODIES_MAX = 500
"""Calls whose bodies are shown, of tests that did not pass."""
BODY_CHARACTERS_MAX = 2_000
FAILURE_CHARACTERS_MAX = 20_000
PATH_CHARACTERS_MAX = 300
OPENED_MAX = 3
"""Tests that did not pass and are open when the page is."""

_ALL_IS_IN_JSON = "the JSON report has them all"
_POLICY = (
    "default-src 'none'; style-src '{style}'; script-src '{script}'; base-uri 'none'; form-action 'none'"
)


class _Room:
    """What the page still has room for."""

    def __init__(self) -> None:
        self.calls = CALLS_MAX
        self.jobs = JOBS_MAX
        self.bodies = BODIES_MAX
        self.opened = OPENED_MAX


def as_html(run: Run, coverage: Coverage, declared: Declared) -> bytes:
    """The page as a file in UTF-8."""
    style, script = _part("page.css"), _part("page.js")
    policy = _POLICY.format(style=_digest(style), script=_digest(script))
    verdicts = run.verdicts
    title = f"understudy: {len(run.tests)} tests, {verdicts['failed'] + verdicts['error']} did not pass"
    page = element(
        "html",
        element(
            "head",
            element("meta", charset="utf-8"),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            element("meta", name="viewport", content="width=device-width, initial-scale=1"),
            element("meta", name="referrer", content="no-referrer"),
            element("title", title),
            Html(f"<style>{style}</style>"),
        ),
        element(
            "body",
            element("a", "Skip to the tests", href="#tests", class_="skip"),
            _summary(run, coverage),
            element("main", _coverage(coverage), _tests(run, declared)),
            Html(f"<script>{script}</script>"),
        ),
        lang="en",
    )
    return f"<!DOCTYPE html>\n{page}\n".encode()


@cache
def _part(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()


# ---- summary --------------------------------------------------------------------------------------------------------


def _summary(run: Run, coverage: Coverage) -> Html:
    verdicts = run.verdicts
    violations = sum(len(tested.undeclared) for tested in run.tests)
    tiles: list[tuple[str, Child, str]] = [
        ("Tests", len(run.tests), ""),
        ("Passed", verdicts["passed"], "good" if verdicts["passed"] else ""),
        ("Failed", verdicts["failed"], "bad" if verdicts["failed"] else ""),
        ("Errors", verdicts["error"], "bad" if verdicts["error"] else ""),
        ("Skipped", verdicts["skipped"], ""),
        ("Violations", violations, "bad" if violations else ""),
        ("Jobs", sum(len(tested.jobs) for tested in run.tests), ""),
        ("Calls", sum(len(tested.calls) for tested in run.tests), ""),
        ("Coverage", f"{coverage.percent:.1f} %", ""),
    ]
    return element(
        "header",
        element("h1", "understudy report"),
        element(
            "p", f"{run.seconds:.1f} s of real time; written by understudy {__version__}.", class_="faint"
        ),
        element(
            "dl",
            [
                element("div", element("dt", name), element("dd", value), class_=f"tile {kind}".strip())
                for name, value, kind in tiles
            ],
            class_="tiles",
        ),
    )


# ---- coverage -------------------------------------------------------------------------------------------------------


def _coverage(coverage: Coverage) -> Html:
    explained = (
        "What the tests met of what the APIs can show a client: each kind of call with a job in each state that can be told"
        " apart, and the answers that come in between. Numbers count calls."
    )
    return element(
        "section",
        element("h2", "Coverage", id="coverage"),
        element("p", explained, class_="faint"),
        None if coverage.apis else element("p", "No test called an API that understudy knows."),
        [_api_coverage(one, is_only=len(coverage.apis) == 1) for one in coverage.apis],
        element("p", f"Never called: {', '.join(coverage.never_called)}.", class_="faint")
        if coverage.never_called and coverage.apis
        else None,
        aria_labelledby="coverage",
    )


def _api_coverage(one: ApiCoverage, *, is_only: bool) -> Html:
    met = len(one.goals) - len(one.never)
    never = [element("li", str(goal)) for goal in one.never]
    return element(
        "details",
        element(
            "summary",
            element("strong", one.title),
            f" — {one.percent:.1f} % ({met} of {len(one.goals)}, {one.calls} calls)",
        ),
        element(
            "div",
            element(
                "svg",
                element("rect", x=0, y=0, width=100, height=4),
                element("rect", x=0, y=0, width=one.percent, height=4, class_="full"),
                viewBox="0 0 100 4",
                preserveAspectRatio="none",
                aria_hidden="true",
                class_="meter",
            ),
            element("div", _matrix(one), class_="scroll", tabindex=0, role="group", aria_label="Matrix"),
            element("h3", "Never met") if never else element("p", "Everything was met."),
            element("ul", never, class_="never-met") if never else None,
            class_="inside",
        ),
        open=is_only,
    )


def _matrix(one: ApiCoverage) -> Html:
    columns = list(dict.fromkeys((goal.state, goal.answer) for goal in one.goals))
    places = {state: place for place, state in enumerate((*one.states, NO_JOB, ANY_JOB))}
    columns.sort(key=lambda column: (places[column[0]], CLASSES.index(column[1])))
    goals = {(goal.role, goal.state, goal.answer): goal for goal in one.goals}
    rows = [
        element(
            "tr",
            element("th", role, scope="row"),
            [_cell(one, goals.get((role, state, answer))) for state, answer in columns],
        )
        for role in dict.fromkeys(goal.role for goal in one.goals)
    ]
    head = [element("th", "role", scope="col"), *(_column(one, *column) for column in columns)]
    return element(
        "table",
        element("thead", element("tr", head)),
        element("tbody", rows),
        class_="matrix",
    )


_COLUMN_OF_ANSWER = {"2xx": "success", "4xx": "refused", "401": "401, 403", "429": "429", "5xx": "5xx"}


def _column(one: ApiCoverage, state: str, answer: str) -> Html:
    if state == ANY_JOB:
        return element("th", _COLUMN_OF_ANSWER[answer], scope="col")
    ours = one.states.get(state, ())
    is_same = list(ours) in ([], [state])
    return element("th", state, None if is_same else element("small", ", ".join(ours)), scope="col")


def _cell(one: ApiCoverage, goal: Goal | None) -> Html:
    if goal is None:
        return element("td", element("span", "–", aria_label="not possible"), class_="impossible")
    count = one.met.get(goal, 0)
    return element("td", count, class_="met") if count else element("td", "never", class_="never")


# ---- tests ----------------------------------------------------------------------------------------------------------


def _tests(run: Run, declared: Declared) -> Html:
    named = run.with_names()
    ordered = [one for one in named if one[1].verdict in ("failed", "error")]
    ordered += [one for one in named if one[1].verdict not in ("failed", "error")]
    room = _Room()
    left_out = len(ordered) - TESTS_MAX
    return element(
        "section",
        element("h2", "Tests", id="tests"),
        _legend(),
        _filter(),
        [_test(name, tested, declared, room) for name, tested in ordered[:TESTS_MAX]],
        _left_out(left_out, "tests") if left_out > 0 else None,
        None if ordered else element("p", "There are none in this run."),
        aria_labelledby="tests",
    )


def _filter() -> Html:
    options = [element("option", "all", value=""), *(element("option", one, value=one) for one in OUTCOMES)]
    return element(
        "form",
        element("label", "Find in names", element("input", id="words", type="search", autocomplete="off")),
        element("label", "Outcome", element("select", options, id="verdict")),
        element("span", id="shown", role="status", class_="faint"),
        id="filter",
        class_="filter",
        role="search",
        hidden=True,
    )


def _legend() -> Html:
    shapes = {
        "status call": element("line", x1=10, x2=10, y1=2, y2=18, class_="poll"),
        "status call before Retry-After was over": element(
            "line", x1=10, x2=10, y1=1, y2=19, class_="poll early"
        ),
        "wait that Retry-After asked for": element("line", x1=1, x2=19, y1=10, y2=10, class_="wait"),
        "cancel": element("path", d="M4 4L16 16M4 16L16 4", class_="cancel"),
        "other call": element("circle", cx=10, cy=10, r=4, class_="other"),
        "disturbed answer": element("path", d="M10 4L17 16L3 16Z", class_="disturbed"),
        "breaks the document": element("path", d="M10 2L18 10L10 18L2 10Z", class_="violation"),
    }
    return element(
        "ul",
        [
            element("li", element("svg", shape, viewBox="0 0 20 20", aria_hidden="true"), words)
            for words, shape in shapes.items()
        ],
        class_="legend",
        aria_label="Marks in the timelines",
    )


def _test(name: str, tested: Tested, declared: Declared, room: _Room) -> Html:
    is_broken = tested.verdict in ("failed", "error")
    is_open = is_broken and room.opened > 0
    if is_open:
        room.opened -= 1
    counts = (
        f" {tested.seconds:.2f} s, {_count(len(tested.jobs), 'job')}, {_count(len(tested.calls), 'call')}"
    )
    violations = len(tested.undeclared)
    calls = [(call, role_of(call, declared)) for call in tested.seen_calls]
    span = Span.of(tested.seen_jobs, tested.seen_calls)
    return element(
        "details",
        element(
            "summary",
            element("span", tested.verdict, class_=f"badge {tested.verdict}"),
            element("code", name),
            element("span", counts, class_="faint"),
            element("strong", f", {_count(violations, 'violation')}") if violations else None,
        ),
        element(
            "div",
            _facts(tested),
            element("pre", _cut(tested.failure, FAILURE_CHARACTERS_MAX)) if tested.failure else None,
            _violations(tested.seen_violations),
            _jobs(tested.seen_jobs, calls, span, room),
            _calls(calls, span, room, with_bodies=is_broken),
            class_="inside",
        ),
        class_="test",
        data_verdict=tested.verdict,
        open=is_open,
    )


def _facts(tested: Tested) -> Html:
    facts: dict[str, Child] = {
        "World": tested.world,
        "Scenario": tested.scenario,
        "Seed": tested.seed,
        "Replay": element("code", tested.replay) if tested.replay else None,
    }
    return element(
        "dl",
        [
            (element("dt", name), element("dd", value))
            for name, value in facts.items()
            if value not in (None, "")
        ],
        class_="facts",
    )


def _violations(violations: Sequence[Violation]) -> Html | None:
    if not violations:
        return None
    rows = []
    for violation in violations[:VIOLATIONS_OF_TEST_MAX]:
        place = place_of(violation)
        rows.append(
            element(
                "tr",
                element("td", "the scenario" if violation.is_declared else violation.by),
                element(
                    "td",
                    violation.api,
                    " ",
                    element("code", violation.operation or "(no operation)"),
                    class_="operation",
                ),
                element(
                    "td", element("code", violation.pointer) if violation.pointer else "whole", class_="wide"
                ),
                element(
                    "td",
                    element("strong", rule_of(violation.kind).short),
                    " ",
                    _cut(violation.message, BODY_CHARACTERS_MAX),
                ),
                element("td", element("code", str(place)) if place else None, class_="place"),
            )
        )
    left_out = len(violations) - VIOLATIONS_OF_TEST_MAX
    return together(
        [
            element("h3", "Violations"),
            _table(("by", "operation", "where", "what", "document"), rows),
            _left_out(left_out, "violations") if left_out > 0 else None,
        ]
    )


# ---- jobs -----------------------------------------------------------------------------------------------------------


def _jobs(
    jobs: Sequence[SeenJob], calls: Sequence[tuple[SeenCall, str]], span: Span, room: _Room
) -> Html | None:
    if not jobs:
        return None
    shown = min(len(jobs), JOBS_OF_TEST_MAX, room.jobs)
    room.jobs -= shown
    about: defaultdict[tuple[str, str | None], list[tuple[SeenCall, str]]] = defaultdict(list)
    for call, role in calls:
        about[call.api, call.job].append((call, role))
    left_out = len(jobs) - shown
    return together(
        [
            element("h3", "Jobs over virtual time"),
            [_job(job, about[job.api, job.id], span) for job in jobs[:shown]],
            _left_out(left_out, "jobs") if left_out else None,
        ]
    )


def _job(job: SeenJob, calls: Sequence[tuple[SeenCall, str]], span: Span) -> Html:
    polls = polls_of(calls)
    early = sum(poll.is_early for poll in polls)
    told = sum(bool(poll.told_ms) for poll in polls)
    respected = f"Retry-After respected {told - early} of {told} times" if told else ""
    not_drawn = len(calls) - MARKS_MAX
    words = [in_words(job, span), _count(len(polls), "status call"), respected]
    return element(
        "div",
        element(
            "p",
            element("strong", job.api),
            " ",
            element("code", _cut(job.kind, PATH_CHARACTERS_MAX)) if job.kind else None,
            " ",
            element("code", job.id, class_="faint"),
        ),
        element(
            "div",
            draw(job, calls, span),
            class_="scroll",
            tabindex=0,
            role="group",
            aria_label=f"Timeline of job {job.id}",
        ),
        element("p", "; ".join(filter(None, words)), ".", class_="faint"),
        _left_out(not_drawn, "calls of this job") if not_drawn > 0 else None,
    )


# ---- calls ----------------------------------------------------------------------------------------------------------


def _calls(
    calls: Sequence[tuple[SeenCall, str]], span: Span, room: _Room, *, with_bodies: bool
) -> Html | None:
    if not calls:
        return None
    shown = min(len(calls), CALLS_OF_TEST_MAX, room.calls)
    room.calls -= shown
    first = shown - shown // 2
    rows = [_call(call, role, span, room, with_bodies) for call, role in calls[:first]]
    left_out = len(calls) - shown
    if left_out:
        rows.append(element("tr", element("td", _left_out(left_out, "calls"), colspan=7)))
    rows += [_call(call, role, span, room, with_bodies) for call, role in calls[len(calls) - shown // 2 :]]
    return together(
        [
            element("h3", "Calls"),
            _table(("#", "virtual time", "role", "call", "status", "Retry-After", "notes"), rows),
        ]
    )


def _call(call: SeenCall, role: str, span: Span, room: _Room, with_bodies: bool) -> Html:
    bodies: Html | None = None
    if with_bodies and room.bodies and (call.request_body or call.response_body):
        room.bodies -= 1
        bodies = element(
            "details",
            element("summary", "bodies"),
            [
                (element("div", words, class_="faint"), element("pre", _cut(body, BODY_CHARACTERS_MAX)))
                for words, body in (("request", call.request_body), ("response", call.response_body))
                if body
            ],
        )
    notes = [
        element("div", _cut(text, BODY_CHARACTERS_MAX)) for text in (call.cause, *call.violations) if text
    ]
    wait = "" if call.retry_after_ms is None else f"{call.retry_after_ms / 1000:g} s"
    kind = "row-violation" if call.violations else "row-disturbed" if is_disturbed(call) else None
    path = _cut(call.path, PATH_CHARACTERS_MAX)
    return element(
        "tr",
        element("td", call.number, class_="number"),
        element("td", since(call.at_ms, span)),
        element("td", role),
        element("td", element("code", f"{call.method} {path}"), class_="wide"),
        element("td", "no answer" if call.status is None else call.status),
        element("td", wait),
        element("td", notes, bodies),
        class_=kind,
    )


# ---- parts ----------------------------------------------------------------------------------------------------------


def _table(head: Iterable[str], rows: Iterable[Html]) -> Html:
    return element(
        "div",
        element(
            "table",
            element("thead", element("tr", [element("th", name, scope="col") for name in head])),
            element("tbody", rows),
        ),
        class_="scroll",
    )


def _left_out(count: int, what: str) -> Html:
    return element("p", f"{count} more {what} are left out here; {_ALL_IS_IN_JSON}.", class_="note")


def _cut(text: str, limit: int) -> str:
    left_out = len(text) - limit
    return text if left_out <= 0 else f"{text[:limit]} … ({left_out} more characters are left out here)"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
