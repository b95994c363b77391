"""A client of the control API of a running server, for the command line, for tests and for other tools.

Answers are what `openapi/control.yaml` describes, typed as dictionaries: what a later server says besides stays in them. It
knows nothing of terminals; an error is an exception that carries its values, and its text is for people.

    with ControlClient("http://127.0.0.1:4010") as control:
        control.put_world("mine", scenario="late-failure", time="frozen")
        for event in control.advance("mine", by="10m")["events"]:
            print(event["at"], event["job"], event["state"])
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, NotRequired, TypedDict, Unpack, cast
from urllib.parse import quote

import httpx

PREFIX = "/__admin"
PAGE = 1_000
"""How many jobs or calls one answer holds at most."""
SHOWN_CHARACTERS_MAX = 200
"""Of an answer that is none of understudy."""


LONG_S = 300
"""How long the answer about a capsule may take."""


class WorldTime(TypedDict):
    """How time passes in a world, and what time it is there."""

    mode: str
    now: str


class Health(TypedDict):
    """What a server plays; time, scenario and seed are those of its world `default`."""

    status: str
    version: str
    apis: list[str]
    time: WorldTime
    scenario: str
    seed: int


class ServedApi(TypedDict):
    """One simulated API."""

    name: str
    title: str
    path: str
    """Where it is served, seen from the server's address."""
    operations: int


class World(TypedDict):
    """One world."""

    name: str
    scenario: str
    seed: int
    time: WorldTime
    jobs: int
    calls: int
    path: str
    """What the paths of its APIs begin with."""


class Restored(TypedDict):
    """A world that was made of a capsule, and what in it went otherwise than is written there."""

    world: World
    steps: int
    calls: int
    differences: list[dict[str, Any]]
    stuck: list[dict[str, Any]]


class Clock(TypedDict):
    """The clock of a world, and when something happens there next."""

    now: str
    mode: str
    next: str | None


class Fired(TypedDict):
    """A job that came into a state because its time had come."""

    at: str
    api: str
    job: str
    state: str
    cause: str


class Advanced(TypedDict):
    """What happened while a clock was moved."""

    now: str
    events: list[Fired]
    is_idle: NotRequired[bool]


class Failure(TypedDict):
    """Why a job failed."""

    code: str
    message: str
    details: NotRequired[str]
    at: NotRequired[str]


class Job(TypedDict):
    """A job as lists show it."""

    id: str
    api: str
    kind: str
    state: str
    word: str
    """The API's word for the state."""
    held: bool
    created: str
    since: str
    progress: NotRequired[int]
    message: NotRequired[str]
    attempt: NotRequired[int]
    due: NotRequired[str]
    started: NotRequired[str]
    finished: NotRequired[str]
    error: NotRequired[Failure]


class Move(TypedDict):
    """A state that a job came into."""

    at: str
    state: str
    cause: str


class JobInFull(Job):
    """A job with what was asked for, what came of it and how."""

    request: Any
    errors: list[Failure]
    history: list[Move]
    result: NotRequired[Any]
    rule: NotRequired[str]


class Message(TypedDict):
    """A request or a response."""

    headers: list[tuple[str, str]]
    body: str
    bytes: int
    is_cut: bool


class Call(TypedDict):
    """One exchange between a client and a world."""

    number: int
    """Counts from 1 in each world, in the order in which calls ended."""
    api: str
    operation: str
    role: str
    method: str
    path: str
    job: str | None
    jobs: list[str]
    """Those that the call made; the first hundred."""
    jobs_made: int
    status: int | None
    """None when there was no answer."""
    at: str
    answered: NotRequired[str]
    virtual_ms: int
    """How long it took in the time of the world."""
    wall: str
    wall_ms: float
    violations: list[str]
    request: Message
    response: Message
    cause: NotRequired[str]
    nearest: NotRequired[str]
    """The rule for calls that came nearest, where there are some and none took the call."""


class FoundCalls(TypedDict):
    """For each pattern how many calls are like it, and the calls that are like any."""

    counts: list[int]
    calls: list[Call]


class Filters(TypedDict, total=False):
    """Which calls are looked for: all that is said here must hold; None says nothing."""

    api: str | None
    operation: str | None
    role: str | None
    method: str | None
    path: str | None
    """A part of the path, query included."""
    job: str | None
    status: int | str | None
    """A status, or a class of them such as `4xx`."""
    violations: bool | None
    """Whether it breaks the document."""


class Violation(TypedDict):
    """One way in which a document was broken."""

    by: Literal["client", "server"]
    world: str
    at: str
    api: str
    operation: str
    pointer: str
    message: str
    declared: bool
    """A scenario or the client wanted it so; it is nobody's mistake."""


class Ledger(TypedDict):
    """The latest violations, and how many there were ever."""

    total: int
    lines: list[Violation]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a world, as the server told it when it happened."""

    id: str
    type: str
    data: Any


class ControlError(Exception):
    """The server refused; the exception has what its problem document says."""

    def __init__(self, status: int, title: str, detail: str, problems: Iterable[str] = ()) -> None:
        self.status = status
        self.title = title
        self.detail = detail
        self.problems = tuple(problems)
        super().__init__(status, title, detail, self.problems)

    def __str__(self) -> str:
        return "\n".join([f"{self.title}: {self.detail}", *(f"  {problem}" for problem in self.problems)])


class ServerUnreachable(Exception):
    """Nobody answers there, or not to the end."""

    def __init__(self, url: str, reason: str = "") -> None:
        self.url = url
        self.reason = reason
        super().__init__(url, reason)

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return (
            f"no understudy answers at {self.url}{reason}; start one with `understudy serve`,"
            " or say where it is with --url or UNDERSTUDY_URL"
        )


class ControlClient:
    """Speaks to the control API of one server.

    Args:
        url: of the server, such as `http://127.0.0.1:4010`.
        token: the server's admin token, if it wants one.
        timeout_s: how long an answer may take.
        transport: what carries requests, instead of the network.

    Every method raises `ControlError` when the server refuses, and `ServerUnreachable` when there is none or it does not answer
    in time.

    Raises:
        ValueError: the token cannot be one.
        ServerUnreachable: the address cannot be one.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout_s: float = 30,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = (url if "://" in url else f"http://{url}").rstrip("/")
        headers = {b"Accept": b"application/json"}
        if token is not None:
            if not token.isprintable():
                raise ValueError(
                    "the admin token holds a character that cannot be sent, such as a line break"
                )
            headers[b"Authorization"] = f"Bearer {token}".encode()
        try:
            self._http = httpx.Client(
                base_url=f"{self.url}{PREFIX}/",
                headers=headers,
                timeout=timeout_s,
                # Certificates take long to read, and mostly there are none.
                verify=self.url.startswith("https:"),
                # The way to a stand-in leads through no proxy that the environment names.
                trust_env=False,
                transport=transport,
            )
        except httpx.InvalidURL as problem:
            raise ServerUnreachable(url, str(problem)) from None

    def __enter__(self) -> ControlClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._http.close()

    # ---- the server -------------------------------------------------------------------------------------------------

    def health(self) -> Health:
        """Whether the server is there, and what it plays; needs no token."""
        return cast(Health, self._ask("GET", "health"))

    def apis(self) -> list[ServedApi]:
        """The APIs that are simulated there, in the order in which they are served."""
        return cast(list[ServedApi], self._ask("GET", "apis")["apis"])

    def scenarios(self) -> list[str]:
        """The names of the scenarios that the server brings."""
        return cast(list[str], self._ask("GET", "scenarios")["scenarios"])

    def ledger(
        self, world: str | None = None, *, by: Literal["client", "server"] | None = None, limit: int = PAGE
    ) -> Ledger:
        """In what ways documents were broken, in one world or in all."""
        path = "ledger" if world is None else _world(world, "ledger")
        return cast(Ledger, self._ask("GET", path, params={"by": by, "limit": limit}))

    # ---- worlds -----------------------------------------------------------------------------------------------------

    def worlds(self) -> list[World]:
        """All worlds, in the order in which they were made."""
        return cast(list[World], self._ask("GET", "worlds")["worlds"])

    def world(self, name: str) -> World:
        """One world."""
        return cast(World, self._ask("GET", _world(name)))

    def put_world(
        self,
        name: str,
        *,
        scenario: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
        time: str | None = None,
    ) -> World:
        """Make a world, or make it anew; what is not said is taken from the settings of the server.

        Args:
            scenario: a shipped one's name, a scenario as YAML text with a line break in it, or as an object.
            time: `real`, `frozen`, `poll` or a factor such as `60x`.
        """
        wish = {"scenario": scenario, "seed": seed, "time": time}
        return cast(World, self._ask("PUT", _world(name), body=_said(wish)))

    def reset_world(self, name: str) -> World:
        """Begin a world anew, with the same scenario, seed and way of time."""
        return cast(World, self._ask("POST", _world(name, "reset")))

    def delete_world(self, name: str) -> None:
        """Forget a world and all that is in it."""
        self._ask("DELETE", _world(name))

    def capsule(self, world: str) -> str:
        """All that happened in a world as one file, as YAML, which `understudy replay` plays again."""
        request = self._http.build_request(
            "GET", _world(world, "capsule"), headers={"Accept": "application/yaml"}, timeout=LONG_S
        )
        response = self._send(request)
        if response.headers.get("content-type", "").startswith("application/yaml"):
            return response.content.decode("utf-8", "replace")
        self._value(response)
        raise ControlError(response.status_code, response.reason_phrase, "the server has sent no capsule")

    def restore(self, world: str, capsule: str) -> Restored:
        """Make a world, or make it anew, of all that a capsule holds."""
        request = self._http.build_request(
            "POST",
            _world(world, "capsule"),
            content=capsule.encode(),
            headers={"Content-Type": "application/yaml"},
            timeout=LONG_S,
        )
        return cast(Restored, self._value(self._send(request)))

    # ---- clocks -----------------------------------------------------------------------------------------------------

    def clock(self, world: str) -> Clock:
        """What time it is in a world, how time passes, and when something happens next."""
        return cast(Clock, self._ask("GET", _world(world, "clock")))

    def set_clock(self, world: str, mode: str) -> Clock:
        """Let time pass in another way from now on: `real`, `frozen`, `poll` or a factor such as `60x`."""
        return cast(Clock, self._ask("PUT", _world(world, "clock"), body={"mode": mode}))

    def advance(
        self,
        world: str,
        *,
        by: str | None = None,
        to: str | None = None,
        next: int | None = None,  # noqa: A002  # the API's word
        until_idle: bool = False,
        limit: str | None = None,
    ) -> Advanced:
        """Move time forward and tell what happened, in order. One of `by`, `to`, `next` and `until_idle` says how far.

        Args:
            by: a duration such as `10m`.
            to: an instant such as `2030-01-01T00:10:00Z`.
            next: so many times to the next instant at which something is due.
            until_idle: until nothing is due any more.
            limit: how far `until_idle` goes at most, as a duration.
        """
        wish = {"by": by, "to": to, "next": next, "until": "idle" if until_idle else None, "limit": limit}
        return cast(Advanced, self._ask("POST", _world(world, "clock", "advance"), body=_said(wish)))

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def jobs(
        self,
        world: str,
        *,
        api: str | None = None,
        state: str | None = None,
        kind: str | None = None,
        held: bool | None = None,
        newest_first: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> Iterator[Job]:
        """The jobs of a world, oldest first unless said otherwise, asked for page by page.

        Args:
            kind: a part of what was asked for: a command, a process, an image.
            held: whether they wait to be released.
            limit: at most so many; None: all.
            offset: leaves out so many at the beginning.
        """
        wanted = {
            "api": api,
            "state": state,
            "kind": kind,
            "held": held,
            "newest_first": newest_first or None,
        }
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            params = {**wanted, "limit": size, "offset": offset}
            page: list[Job] = self._ask("GET", _world(world, "jobs"), params=params)["jobs"]
            yield from page
            if len(page) < size:
                return
            offset += len(page)
            left = None if left is None else left - len(page)

    def job(self, world: str, api: str, job_id: str) -> JobInFull:
        """One job with its history."""
        return cast(JobInFull, self._ask("GET", _world(world, "jobs", api, job_id)))

    def hold(self, world: str, api: str, job_id: str) -> JobInFull:
        """Stop a job where it is."""
        return self._steer(world, api, job_id, "hold")

    def release(self, world: str, api: str, job_id: str) -> JobInFull:
        """Let a job go on that is held, here or by its script."""
        return self._steer(world, api, job_id, "release")

    def step(self, world: str, api: str, job_id: str) -> JobInFull:
        """End the present step of a job's script now."""
        return self._steer(world, api, job_id, "step")

    def force(
        self,
        world: str,
        api: str,
        job_id: str,
        state: str,
        *,
        error: Mapping[str, str] | None = None,
        progress: int | None = None,
        result: Any = None,
    ) -> JobInFull:
        """Put a job into a state, whatever its script says.

        Args:
            error: `code`, `message` and `details` of why it fails, each if known.
            progress: percent.
            result: what it leaves, any JSON value; None leaves it to the server.
        """
        wish = {"state": state, "error": error, "progress": progress, "result": result}
        return self._steer(world, api, job_id, "force", _said(wish))

    def _steer(self, world: str, api: str, job_id: str, verb: str, body: Any = None) -> JobInFull:
        return cast(JobInFull, self._ask("POST", _world(world, "jobs", api, job_id, verb), body=body))

    # ---- what was said ----------------------------------------------------------------------------------------------

    def calls(
        self,
        world: str,
        *,
        newest_first: bool = False,
        after: int = 0,
        limit: int | None = None,
        **filters: Unpack[Filters],
    ) -> Iterator[Call]:
        """What clients and a world said to each other, oldest first, asked for page by page.

        Args:
            newest_first: the latest first; then at most as many as one answer holds.
            after: only those with a higher number.
            limit: at most so many; None: all.
        """
        order = "newest" if newest_first else None
        left = limit
        while left is None or left > 0:
            size = PAGE if left is None else min(left, PAGE)
            params = {**_query(filters), "limit": size, "after": after, "order": order}
            page: list[Call] = self._ask("GET", _world(world, "calls"), params=params)["calls"]
            yield from page
            if len(page) < size or newest_first:
                return
            after = page[-1]["number"]
            left = None if left is None else left - len(page)

    def call(self, world: str, number: int) -> Call:
        """One exchange by its number."""
        return cast(Call, self._ask("GET", _world(world, "calls", str(number))))

    def find_calls(
        self,
        world: str,
        patterns: Sequence[Mapping[str, Any]],
        *,
        after: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> FoundCalls:
        """Exchanges that are like one of several patterns, which are those of a scenario's `when`."""
        order = "newest" if newest_first else None
        wish = {"patterns": list(patterns), "after": after or None, "limit": limit, "order": order}
        return cast(FoundCalls, self._ask("POST", _world(world, "calls", "find"), body=_said(wish)))

    def count_calls(self, world: str, *, after: int = 0, **filters: Unpack[Filters]) -> int:
        """How many calls of a kind are in the log."""
        params = {**_query(filters), "after": after or None}
        count: int = self._ask("GET", _world(world, "calls", "count"), params=params)["count"]
        return count

    def delete_calls(self, world: str, *, after: int = 0, **filters: Unpack[Filters]) -> None:
        """Empty the call log of a world, or take those out of it that are of a kind."""
        self._ask("DELETE", _world(world, "calls"), params={**_query(filters), "after": after or None})

    def events(
        self, world: str, types: Iterable[str] = (), *, limit: int | None = None, last_id: str | None = None
    ) -> Iterator[Event]:
        """What happens in a world, as it happens, until the world is gone or the server stops.

        Whatever happens after this method has returned is told.

        Args:
            types: only those of `job`, `call`, `clock` and `world`; none: all.
            limit: ends after so many.
            last_id: begins after the event with this id.
        """
        headers = {"Accept": "text/event-stream", "Last-Event-ID": last_id}
        request = self._http.build_request(
            "GET",
            _world(world, "events"),
            params=_said({"types": ",".join(types) or None, "limit": limit}),
            headers=_said(headers),
            # Nothing may happen for long.
            timeout=httpx.Timeout(self._http.timeout.connect, read=None),
        )
        response = self._send(request, stream=True)
        if not response.is_success:
            with self._speaking():
                response.read()
            self._value(response)
        return self._listen(response)

    def _listen(self, response: httpx.Response) -> Iterator[Event]:
        with self._speaking():
            try:
                yield from read_events(response.iter_bytes())
            finally:
                response.close()

    # ---- the wire ---------------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None
    ) -> Any:
        """The value of one answer; None when it has none."""
        request = self._http.build_request(method, path, params=_said(params or {}), json=body)
        return self._value(self._send(request))

    def _send(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        with self._speaking():
            return self._http.send(request, stream=stream)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """What goes wrong on the way means that there is no server."""
        try:
            yield
        except httpx.TimeoutException:
            raise ServerUnreachable(self.url, "no answer in time") from None
        except (httpx.RequestError, httpx.InvalidURL) as problem:
            raise ServerUnreachable(self.url, str(problem)) from None

    def _value(self, response: httpx.Response) -> Any:
        if response.status_code == httpx.codes.NO_CONTENT:
            return None
        try:
            value = response.json()
        except ValueError:
            value = None
        if not isinstance(value, dict):
            text = response.text[:SHOWN_CHARACTERS_MAX]
            raise ControlError(
                response.status_code,
                response.reason_phrase or str(response.status_code),
                f"{response.url} does not answer as understudy does: {text!r}",
            )
        if response.is_success:
            return value
        raise ControlError(
            response.status_code,
            str(value.get("title", response.reason_phrase)),
            str(value.get("detail", "no reason was given")),
            map(str, value.get("problems", ())),
        )


def read_events(chunks: Iterable[bytes]) -> Iterator[Event]:
    """The events of a `text/event-stream`, whose data are JSON. What the stream breaks off in the middle of is none."""
    event_id, kind = "", ""
    data: list[str] = []
    for line in _lines(chunks):
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield Event(event_id, kind or "message", _json("\n".join(data)))
            kind, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            kind = value
        elif field == "id" and "\0" not in value:
            event_id = value


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The whole lines of a stream, each as soon as its end is there.

    Only a line feed, a carriage return or both end a line; what else Unicode knows, `str.splitlines` included, may be data.
    """
    rest = b""
    is_return_last = False
    is_first = True
    for chunk in filter(None, chunks):
        begun = chunk[1:] if is_return_last and chunk.startswith(b"\n") else chunk
        is_return_last = chunk.endswith(b"\r")
        *whole, rest = _LINE_END.split(rest + begun)
        for line in whole:
            yield line.removeprefix(b"\xef\xbb\xbf" if is_first else b"").decode("utf-8", "replace")
            is_first = False


_LINE_END = re.compile(rb"\r\n|\n|\r")


def _json(text: str) -> Any:
    """The value that is written here; a text that is no JSON stays itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _query(filters: Filters) -> dict[str, Any]:
    """Which calls are looked for, as the query says it."""
    query: dict[str, Any] = {**filters}
    if filters.get("method") is not None:
        query["method"] = str(filters["method"]).upper()
    if filters.get("status") is not None:
        query["status"] = str(filters["status"]).upper()
    return query


def _said(members: Mapping[str, Any]) -> dict[str, Any]:
    """Those members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def _world(*parts: str) -> str:
    """The path of a world, or of something in it."""
    return "/".join(["worlds", *map(_segment, parts)])


def _segment(text: str) -> str:
    """One part of a path; dots alone are written out, as they would lead elsewhere."""
    return quote(text, safe="") if text.strip(".") else text.replace(".", "%2E")
