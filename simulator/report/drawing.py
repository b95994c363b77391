"""The life of a job as a drawing: its states as bars over virtual time, and below them the calls that were about it.

What the drawing shows is told in words beside it as well, for those who do not see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from simulator.report.markup import Html, element
from simulator.report.model import SeenCall, SeenJob
from simulator.scenario.duration import format_duration

WIDTH, HEIGHT = 1000, 80
MARKS_MAX = 200
_BAR_TOP, _BAR_HEIGHT = 4, 24
_CALLS_Y = 44
_AXIS_Y = 60
_CHARACTER_WIDTH = 7.2
_LEAST_WIDTH = 3.0
_MARGIN = 10
"""For marks at the very ends."""
_EDGE = 30
"""So near to an end a text in the middle of its mark would be cut."""
_STEPS_SHOWN_MAX = 8
_DAY_MS = 86_400_000
_STEPS_MS = (
    *(1, 2, 5, 10, 20, 50, 100, 200, 500),
    *(second * 1_000 for second in (1, 2, 5, 10, 15, 30)),
    *(minute * 60_000 for minute in (1, 2, 5, 10, 15, 30)),
    *(hour * 3_600_000 for hour in (1, 2, 6, 12)),
    *(day * _DAY_MS for day in (1, 2, 7, 30, 100, 365)),
)
_ROOM_AFTER = 0.08
"""Of the whole, so that a state which came last can be seen."""


class Span(NamedTuple):
    """The time that a drawing shows."""

    from_ms: int
    to_ms: int

    @classmethod
    def of(cls, jobs: Sequence[SeenJob], calls: Sequence[SeenCall]) -> Span:
        """From the first to the last of all that happened to these."""
        instants = [move.at_ms for job in jobs for move in job.moves] + [call.at_ms for call in calls]
        first, last = min(instants, default=0), max(instants, default=0)
        return cls(first, last + max(1, round((last - first) * _ROOM_AFTER)))

    def x(self, at_ms: int) -> float:
        """Where an instant is."""
        x = (at_ms - self.from_ms) / (self.to_ms - self.from_ms) * WIDTH
        return round(min(max(x, 0.0), float(WIDTH)), 1)


class Poll(NamedTuple):
    """One status call about a job."""

    call: SeenCall
    waited_ms: int | None
    """Since the answer before; None for the first."""
    told_ms: int | None
    """How long that answer told to wait, if it did."""

    @property
    def is_early(self) -> bool:
        """It came before the time that the service had asked for."""
        return self.told_ms is not None and self.waited_ms is not None and self.waited_ms < self.told_ms


def polls_of(calls: Sequence[tuple[SeenCall, str]]) -> list[Poll]:
    """The status calls among the calls (with their roles) about one job, each with what it waited."""
    polls: list[Poll] = []
    for call, role in calls:
        if role == "status":
            last = polls[-1].call if polls else None
            polls.append(
                Poll(
                    call,
                    None if last is None else call.at_ms - last.answered_ms,
                    None if last is None else last.retry_after_ms,
                )
            )
    return polls


def is_disturbed(call: SeenCall) -> bool:
    """A scenario, a limit or a broken connection came between the service and the client."""
    return bool(call.cause) or call.status is None or call.status == 429 or call.status >= 500


def draw(job: SeenJob, calls: Sequence[tuple[SeenCall, str]], span: Span) -> Html:
    """One job with the calls about it, each with its role."""
    polls = polls_of(calls)
    early = {poll.call.number for poll in polls if poll.is_early}
    return element(
        "svg",
        _bars(job, span),
        [_wait(poll, span) for poll in polls[:MARKS_MAX]],
        [_mark(call, role, call.number in early, span) for call, role in calls[:MARKS_MAX]],
        _axis(span),
        viewBox=f"{-_MARGIN} 0 {WIDTH + 2 * _MARGIN} {HEIGHT}",
        role="img",
        aria_label=f"Timeline of job {job.id}: {in_words(job, span)}",
        class_="timeline",
    )


def in_words(job: SeenJob, span: Span) -> str:
    """Its states and when they began, counted from the beginning of the drawing."""
    return ", ".join(f"{move.state} at {since(move.at_ms, span)}" for move in job.moves) or "no history"


def since(at_ms: int, span: Span) -> str:
    """An instant as a distance from the beginning."""
    distance_ms = at_ms - span.from_ms
    return f"+{format_duration(distance_ms)}" if distance_ms >= 0 else f"-{format_duration(-distance_ms)}"


def _bars(job: SeenJob, span: Span) -> list[Html]:
    bars = []
    for place, move in enumerate(job.moves):
        is_last = place + 1 == len(job.moves)
        x = span.x(move.at_ms)
        width = (WIDTH if is_last else span.x(job.moves[place + 1].at_ms)) - x
        if width <= 0:
            continue
        title = f"{move.state} at {since(move.at_ms, span)}" + (f", by {move.cause}" if move.cause else "")
        label = element("text", move.state, x=round(x + 6, 1), y=_BAR_TOP + 17, class_="label")
        bars.append(
            element(
                "g",
                element("title", title),
                element(
                    "rect",
                    x=x,
                    y=_BAR_TOP,
                    width=round(max(width, _LEAST_WIDTH), 1),
                    height=_BAR_HEIGHT,
                    class_=f"bar {move.state if move.state.isalpha() else ''}",
                ),
                label if width > len(move.state) * _CHARACTER_WIDTH + 10 else None,
            )
        )
    return bars


def _wait(poll: Poll, span: Span) -> Html | None:
    """The wait that the answer before had asked for, as a line to the end of it."""
    if not poll.told_ms or poll.waited_ms is None:
        return None
    answered_ms = poll.call.at_ms - poll.waited_ms
    return element(
        "line",
        x1=span.x(answered_ms),
        x2=span.x(answered_ms + poll.told_ms),
        y1=_CALLS_Y,
        y2=_CALLS_Y,
        class_="wait early" if poll.is_early else "wait",
    )


def _mark(call: SeenCall, role: str, is_early: bool, span: Span) -> Html:
    x, y = span.x(call.at_ms), _CALLS_Y
    status = "no answer" if call.status is None else str(call.status)
    words = [f"{role or call.method} at {since(call.at_ms, span)}: {status}"]
    shapes = []
    if role == "status":
        shapes.append(element("line", x1=x, x2=x, y1=y - 10, y2=y + 10, class_="poll"))
    elif role == "cancel":
        path = f"M{x - 6} {y - 6}L{x + 6} {y + 6}M{x - 6} {y + 6}L{x + 6} {y - 6}"
        shapes.append(element("path", d=path, class_="cancel"))
    else:
        shapes.append(element("circle", cx=x, cy=y, r=4, class_="other"))
    if is_early:
        words.append("before Retry-After was over")
        shapes.append(element("line", x1=x, x2=x, y1=y - 12, y2=y + 12, class_="poll early"))
    if is_disturbed(call):
        words.append(call.cause or "disturbed")
        shapes.append(
            element("path", d=f"M{x} {y - 14}L{x + 6} {y - 4}L{x - 6} {y - 4}Z", class_="disturbed")
        )
    if call.violations:
        words.append("breaks the document")
        shapes.append(
            element(
                "path", d=f"M{x} {y + 3}L{x + 6} {y + 9}L{x} {y + 15}L{x - 6} {y + 9}Z", class_="violation"
            )
        )
    return element("g", element("title", ", ".join(words)), shapes)


def _axis(span: Span) -> list[Html]:
    length_ms = span.to_ms - span.from_ms
    step_ms = next((step for step in _STEPS_MS if length_ms <= step * _STEPS_SHOWN_MAX), length_ms)
    marks = [element("line", x1=0, x2=WIDTH, y1=_AXIS_Y, y2=_AXIS_Y, class_="axis")]
    for at_ms in range(span.from_ms, span.to_ms + 1, step_ms):
        x = span.x(at_ms)
        anchor = "start" if x < _EDGE else "end" if x > WIDTH - _EDGE else "middle"
        marks.append(element("line", x1=x, x2=x, y1=_AXIS_Y, y2=_AXIS_Y + 4, class_="axis"))
        marks.append(
            element("text", since(at_ms, span), x=x, y=_AXIS_Y + 16, text_anchor=anchor, class_="time")
        )
    return marks
