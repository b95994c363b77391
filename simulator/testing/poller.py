"""What a client said to a world, and assertions about how it said it.

`Calls` is a list of calls in the order in which they were made. Its assertions are about clients that submit, poll and wait:
each raises an `AssertionError` whose text says which call it was, when (virtual time), and what the server had said before. Each
gives the calls back, so that several can be written in one line:

    understudy.calls(role="status").respected_retry_after().at_most(20).stopped_after_terminal()
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from itertools import groupby, pairwise
from typing import Any, SupportsIndex, overload
from urllib.parse import unquote, urlsplit

from simulator.apis.contract import Api
from simulator.apis.negotiation import wait_ms_in
from simulator.assemble import load_apis
from simulator.scenario.duration import parse_duration

Wait = str | float | timedelta
"""A duration as in scenarios (`10s`, `1m30s`), a number of seconds, or a timedelta."""

POLLS = frozenset({"status", "result"})
"""Roles of calls that ask how a job is doing."""


def seconds_of(wait: Wait) -> float:
    """A duration in seconds.

    Raises:
        ValueError: the text is no duration.
    """
    if isinstance(wait, timedelta):
        return wait.total_seconds()
    return parse_duration(wait) / 1000 if isinstance(wait, str) else float(wait)


@dataclass(frozen=True)
class Call:
    """One exchange of the call log, as the control API tells it (`Call` in `openapi/control.yaml`).

    `told` is all of it; what follows are its parts that tests ask for.
    """

    told: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Counts from 1 in each world."""
        return int(self.told["number"])

    @property
    def api(self) -> str:
        """The name of the API."""
        return str(self.told["api"])

    @property
    def operation(self) -> str:
        """The operationId; empty when there was none at this path."""
        return str(self.told["operation"])

    @property
    def role(self) -> str:
        """What the operation does to jobs: submit, status, list, cancel, …"""
        return str(self.told.get("role") or "")

    @property
    def method(self) -> str:
        """GET, POST, …"""
        return str(self.told["method"])

    @property
    def path(self) -> str:
        """With its query."""
        return str(self.told["path"])

    @property
    def job(self) -> str | None:
        """The job that it was about, or that it made."""
        return self.told.get("job")

    @property
    def jobs(self) -> list[str]:
        """All jobs that it was about, or that it made."""
        return list(self.told.get("jobs") or ([self.job] if self.job is not None else []))

    @property
    def status(self) -> int | None:
        """None when the connection was broken before there was one."""
        return self.told.get("status")

    @cached_property
    def at(self) -> datetime:
        """Virtual time."""
        return datetime.fromisoformat(self.told["at"])

    @property
    def cause(self) -> str:
        """What of the scenario, or of the client's own wishes, changed the answer; empty when nothing did."""
        return str(self.told.get("cause") or "")

    @property
    def violations(self) -> list[str]:
        """Where it breaks the document, in words."""
        return list(self.told.get("violations") or ())

    @property
    def request_body(self) -> str:
        """As text, perhaps cut."""
        return str(self.told["request"]["body"])

    @property
    def response_body(self) -> str:
        """As text, perhaps cut."""
        return str(self.told["response"]["body"])

    def json(self) -> Any:
        """What was answered, as JSON.

        Raises:
            ValueError: it is no JSON.
        """
        return json.loads(self.response_body)

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        return _header(self.told["response"]["headers"], name)

    def request_header(self, name: str) -> str | None:
        """A header of the request; credentials are struck out."""
        return _header(self.told["request"]["headers"], name)

    @cached_property
    def retry_after(self) -> float | None:
        """How many seconds the server asked to wait, if it did; a date counts from the time of the call on (RFC 9110, 10.2.3)."""
        written = self.header("retry-after")
        if written is None:
            return None
        wait_ms = wait_ms_in(written, round(self.at.timestamp() * 1000))
        return None if wait_ms is None else max(wait_ms, 0) / 1000

    @cached_property
    def word(self) -> str | None:
        """The word for the job's state that the answer holds, if it holds one."""
        api = _apis().get(self.api)
        return None if api is None else _word_in(self.response_body, api.status_fields)

    @property
    def tells_end(self) -> bool:
        """Whether the client could know from this answer that the job has ended."""
        api = _apis().get(self.api)
        if api is None or self.status is None or not 200 <= self.status < 300:
            return False
        if self.word is not None:
            return self.word in _final_words(api)
        # A call that answers with the result itself shows no state; 202 says that there is none yet. What a rule of the
        # scenario has spoilt tells nothing.
        return self.role in POLLS and self.status == 200 and not self.cause

    @cached_property
    def next_page(self) -> str | None:
        """Where the answer says that the next page is: a page token, or the path and query of a link."""
        if self.status is None or not 200 <= self.status < 300 or self.response_body[:1] != "{":
            return None
        try:
            answer = self.json()
        except ValueError:
            return None
        token = _found(answer, frozenset({"nextPageToken"}))
        if token:
            return token
        links = answer.get("links")
        for link in links if isinstance(links, list) else ():
            if isinstance(link, dict) and link.get("rel") == "next" and isinstance(link.get("href"), str):
                address = urlsplit(link["href"])
                return f"{address.path}?{address.query}" if address.query else address.path
        return None

    @property
    def failed(self) -> bool:
        """Whether it was not answered, or by a refusal that may pass: 408, 429 or 5xx."""
        return self.status is None or self.status in (408, 429) or self.status >= 500

    def __str__(self) -> str:
        said = "no answer" if self.status is None else str(self.status)
        if self.word is not None:
            said += f", {self.word}"
        if self.header("retry-after") is not None:
            said += f", Retry-After: {self.header('retry-after')}"
        cause = f" [{self.cause}]" if self.cause else ""
        return f"call {self.number} at {_shown(self.at)}: {self.method} {self.path} → {said}{cause}"


class Calls(list[Call]):
    """Calls in the order in which they were made, with assertions about them."""

    @classmethod
    def of(cls, told: Iterable[Mapping[str, Any]]) -> Calls:
        """From what the control API tells."""
        return cls(Call(one) for one in told)

    @overload
    def __getitem__(self, place: SupportsIndex) -> Call: ...
    @overload
    def __getitem__(self, place: slice) -> Calls: ...
    def __getitem__(self, place: SupportsIndex | slice) -> Call | Calls:
        """One of them; a slice is `Calls` again."""
        return Calls(super().__getitem__(place)) if isinstance(place, slice) else super().__getitem__(place)

    @property
    def polls(self) -> Calls:
        """Those that ask how a job is doing."""
        return Calls(call for call in self if call.role in POLLS)

    def of_job(self, job: str) -> Calls:
        """Those about one job."""
        return Calls(call for call in self if job in call.jobs)

    def respected_retry_after(self, tolerance: Wait = 0.05) -> Calls:
        """After each answer with Retry-After, the next call of the same operation about the same job came no earlier.

        Args:
            tolerance: how much too early a call may be; by default 50 ms.
        """
        allowed = seconds_of(tolerance)
        if not any(call.retry_after for call in self):
            raise _failure(
                "nothing shows whether the client respects Retry-After: no answer had one"
                f" (choose a scenario such as retry-after-seconds{self._moved_by_polls()})",
                *self[-3:],
            )
        for calls in self._alike():
            for before, after in pairwise(calls):
                if before.retry_after is None:
                    continue
                waited = _seconds_between(before, after)
                if waited < before.retry_after - allowed:
                    raise _failure(
                        f"the client did not respect Retry-After: it waited {_duration(waited)} of"
                        f" {_duration(before.retry_after)}",
                        before,
                        after,
                    )
        return self

    def backed_off(self, *, jitter: float = 0.1) -> Calls:
        """Where calls failed in a row (no answer, 408, 429, 5xx), the waits between them grew.

        Args:
            jitter: a wait may be shorter than the one before by this part of it; the last must be longer than the first.
        """
        rows = 0
        for calls in self._alike():
            for failed, row in groupby(_with_next(calls), key=lambda pair: pair[0].failed):
                pairs = [(before, after) for before, after in row if after is not None]
                if not failed or len(pairs) < 2:
                    continue
                rows += 1
                waits = [_seconds_between(before, after) for before, after in pairs]
                for (before, after), (wait, following) in zip(pairs[1:], pairwise(waits), strict=True):
                    if following < wait * (1 - jitter):
                        raise _failure(
                            f"the client did not back off: after a wait of {_duration(wait)} it waited only"
                            f" {_duration(following)}",
                            pairs[0][0],
                            before,
                            after,
                        )
                if waits[-1] <= waits[0]:
                    raise _failure(
                        f"the client did not back off: its {len(waits)} waits between failed calls were"
                        f" {', '.join(map(_duration, waits))}",
                        *(before for before, _ in pairs),
                    )
        if not rows:
            raise _failure(
                "nothing shows whether the client backs off: it never met two failed calls in a row"
                " and went on (choose a scenario such as fault-flaky or retry-after-absent)",
                *self[-3:],
            )
        return self

    def at_most(self, count: int) -> Calls:
        """There are no more than so many."""
        if len(self) > count:
            raise _failure(
                f"the client made {len(self)} calls, {len(self) - count} more than the {count} allowed",
                *self[max(count - 1, 0) : count + 1],
            )
        return self

    def stopped_after_terminal(self) -> Calls:
        """Nobody asked how a job is doing who had been told that it has ended.

        Whoever is told the end by a status call may still fetch the result.
        """
        ended = 0
        for calls in self._of_each_job(self.polls):
            told = next((place for place, call in enumerate(calls) if call.tells_end), None)
            if told is None:
                continue
            ended += 1
            after = Calls(call for call in calls[told + 1 :] if call.operation == calls[told].operation)
            if after:
                raise _failure(
                    f"the client polled {len(after)} more times after it had been told that job"
                    f" {calls[told].job} has ended ({calls[told].word or calls[told].status})",
                    calls[told],
                    after[0],
                )
        if not ended:
            raise _failure(
                "the client was never told that a job has ended, so it could not go on asking", *self[-3:]
            )
        return self

    def waited_for_end(self) -> Calls:
        """About each job that the client asked after, it asked until it was told that the job has ended."""
        polls = [*self._of_each_job(self.polls)]
        if not polls:
            raise _failure("the client never asked how a job is doing", *self[-3:])
        for calls in polls:
            if not any(call.tells_end for call in calls):
                raise _failure(
                    f"the client gave up early: it asked {len(calls)} times in"
                    f" {_duration(_seconds_between(calls[0], calls[-1]))} about job {calls[0].job}, and was not told that it"
                    " has ended",
                    calls[-1],
                )
        return self

    def read_all_pages(self) -> Calls:
        """Whenever an answer said that there is a further page, the client asked for it."""
        pages = 0
        for place, call in enumerate(self):
            following = call.next_page
            if following is None:
                continue
            pages += 1
            if not any(following in _asked(after) for after in self[place + 1 :]):
                raise _failure(
                    f"the client lost pages: it never asked for the one after this, {following}", call
                )
        if not pages:
            raise _failure(
                "nothing shows whether the client reads all pages: no answer had a further one", *self[-3:]
            )
        return self

    def gave_up_within(self, limit: Wait) -> Calls:
        """About no job that it never saw end did the client ask for longer than this, in virtual time."""
        allowed = seconds_of(limit)
        endless = 0
        for calls in self._of_each_job(self):
            if any(call.tells_end for call in calls):
                continue
            endless += 1
            lasted = _seconds_between(calls[0], calls[-1])
            if lasted > allowed:
                raise _failure(
                    f"the client did not give up within {_duration(allowed)}: it asked about job"
                    f" {calls[0].job} for {_duration(lasted)}",
                    calls[0],
                    calls[-1],
                )
        if not endless:
            raise _failure(
                "nothing shows whether the client gives up: it saw each job end"
                " (choose a scenario such as never-finishes)",
                *self[-3:],
            )
        return self

    def retried_submit_safely(self) -> Calls:
        """No submit that had made a job was simply sent again.

        A submit without an answer may have made a job. Who sends it again makes a second one; who first looks (at a list, or
        at the job) and finds it does not have to.
        """
        made: dict[tuple[str, str, str], Call] = {}
        submits = [call for call in self if call.role == "submit"]
        if not submits:
            raise _failure("the client never submitted anything", *self[-3:])
        for call in submits:
            asked = (call.api, call.path, call.request_body)
            before = made.get(asked)
            if before is not None and before.failed and call.jobs:
                raise _failure(
                    f"the client sent a submit again that had made job {', '.join(before.jobs)}; now there is"
                    f" {', '.join(call.jobs)}, too",
                    before,
                    call,
                )
            if call.jobs:
                made[asked] = call
        return self

    def _moved_by_polls(self) -> str:
        """A hint for those who look for waits where there are none."""
        if not any(call.retry_after == 0 for call in self):
            return ""
        return "; polls moved the clock here, so waits do not show: use linked_sleep() or another way of time"

    def _alike(self) -> Iterator[Calls]:
        """The calls of each operation about each job, and of each operation about none."""
        groups: dict[tuple[str, str, str], Calls] = {}
        for call in self:
            # A submit made its job; what it asked for is what makes the next one the same.
            about = call.request_body if call.role == "submit" else call.job or ""
            groups.setdefault((call.api, call.operation, about), Calls()).append(call)
        yield from groups.values()

    @staticmethod
    def _of_each_job(calls: Iterable[Call]) -> Iterator[Calls]:
        groups: dict[tuple[str, str], Calls] = {}
        for call in calls:
            if call.role != "submit" and call.job is not None:
                groups.setdefault((call.api, call.job), Calls()).append(call)
        yield from groups.values()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def _asked(call: Call) -> str:
    """All that a call asked, in which the token of a page is found as it was handed out."""
    return f"{call.path}\n{unquote(call.path)}\n{call.request_body}"


@cache
def _apis() -> Mapping[str, Api]:
    return load_apis()


def _final_words(api: Api) -> frozenset[str]:
    """Words that stand for nothing but states in which a job has ended, in any flavour of the API."""
    words = [*api.words.items(), *api.further_words]
    alive = {word for state, word in words if not state.is_final}
    return frozenset(word for _, word in words) - alive


def _word_in(body: str, names: Iterable[str]) -> str | None:
    """The first state word in an answer, be it JSON or XML."""
    if body[:1] in ("{", "["):
        try:
            return _found(json.loads(body), frozenset(names))
        except ValueError:
            return None
    for name in names:
        if (seen := re.search(rf"<{name}>([^<]*)</{name}>", body)) is not None:
            return seen[1]
    return None


def _found(value: Any, names: frozenset[str]) -> str | None:
    if isinstance(value, dict):
        for name in names:
            if isinstance(value.get(name), str):
                return str(value[name])
        parts: Iterable[Any] = value.values()
    else:
        parts = value if isinstance(value, list) else ()
    return next((word for part in parts if (word := _found(part, names)) is not None), None)


def _header(headers: Iterable[Iterable[str]], wanted: str) -> str | None:
    return next((value for name, value in headers if name.lower() == wanted.lower()), None)


def _with_next(calls: Calls) -> list[tuple[Call, Call | None]]:
    return [(call, calls[place + 1] if place + 1 < len(calls) else None) for place, call in enumerate(calls)]


def _seconds_between(before: Call, after: Call) -> float:
    return (after.at - before.at).total_seconds()


def _duration(seconds: float) -> str:
    return f"{seconds:g} s"


def _shown(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _failure(text: str, *calls: Call) -> AssertionError:
    return AssertionError("\n".join([text, *(f"  {call}" for call in calls)]))


__all__ = ["Call", "Calls", "Wait", "seconds_of"]
