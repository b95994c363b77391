"""The call log of one world: its latest exchanges, as somebody who looks for a mistake wants to read them.

To write an exchange down costs a call next to nothing: what was said is kept by reference, as it was. What it means is worked
out when somebody reads it, each time anew, and then credentials are struck out of it (`simulator.runtime.redaction`): nothing
that an `Exchange` shows holds one.

The log is a ring, limited in number and in bytes: the oldest exchange makes room. All logs of a server share an `Allowance`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from simulator.runtime.redaction import Headers, redacted_body, redacted_headers, redacted_path

CALLS_MAX = 10_000
BODY_BYTES_MAX = 65_536
KEPT_BYTES_MAX = 32 * 1_048_576
"""Of one log."""
CALL_BYTES_MAX = 256 * 1_048_576
"""Of all logs of one server."""
JOBS_SHOWN_MAX = 100
"""Of the jobs that one call made."""

EXCHANGE_BYTES = 890
"""What an exchange takes but for its texts: objects, numbers, lists, its share of the log."""
HEADER_BYTES = 140
"""What a header takes but for its texts."""
RESPONSE_HEADER_BYTES = 200
"""What a header of ours takes, its short texts included."""
NOTES_BYTES = 300
NEAREST_BYTES = 1_000
"""What is kept to find out which rule was nearest."""
LENGTH_DIGITS_MAX = 15
_VIOLATION = b"x-understudy-violation"
_BY_CLIENT = b"client: "
"""How the header begins where it repeats what is noted of the client."""

RawHeaders = list[tuple[bytes, bytes]]


class Served(Protocol):
    """What is asked of an API about a call when somebody reads of it."""

    @property
    def name(self) -> str:
        """Its word in paths."""

    @property
    def operations(self) -> Mapping[str, Any]:
        """What is known of each operationId: its `role`, which has a `value`."""

    @property
    def codecs(self) -> Mapping[str, Any]:
        """How media types other than JSON carry the same values: `decode(body, operationId)`."""

    @property
    def job_id(self) -> Callable[[Mapping[str, Any]], str | None]:
        """The job that parameters of a path name."""


Record = tuple[
    int,  # number
    int,  # about how many bytes it takes
    int,  # the moment when it came
    Served,
    str | None,  # operation
    Mapping[str, Any],  # path parameters
    str,  # method
    bytes,  # path
    bytes,  # query
    int,  # status
    int,  # virtual time at the beginning, then at the end
    int,
    int,  # real time at the beginning, then how long it took
    int,
    RawHeaders,  # of the request, and its body
    bytes,
    RawHeaders,  # of the response, and its body
    bytes,
    "Notes | None",
]
"""One exchange as it is kept, credentials and all: a plain tuple, as one is made for each call."""


class Notes:
    """What there is to say of a few calls only."""

    __slots__ = (
        *("cause", "is_broken", "is_late", "jobs", "jobs_made", "nearest", "request_bytes", "response_bytes"),
        *("violations", "waits"),
    )

    def __init__(self) -> None:
        self.cause = ""
        """Which rule of the scenario, or which wish of the client, answered or disturbed it."""
        self.nearest: object = ""
        """What says as a text which rule was nearest, where there are rules for the operation and none took the call."""
        self.jobs: tuple[str, ...] = ()
        """Ids of the jobs that the call made, the first ones of very many."""
        self.jobs_made = 0
        self.violations: tuple[str, ...] = ()
        """Where the client broke the document, in words."""
        self.request_bytes = 0
        """The length of the body, if it was cut; likewise `response_bytes`."""
        self.response_bytes = 0
        self.waits: list[tuple[int, int]] = []
        """Virtual time whenever the call had to wait, and the moment when it went on (0: not yet)."""
        self.is_broken = False
        """The scenario broke its connection."""
        self.is_late = False
        """The first wait was for the body, which others overtook on its way."""


_NO_NOTES = Notes()


class Said(NamedTuple):
    """What went over the wire in one exchange, as it was kept: credentials and all, so never to be shown to anybody."""

    path: bytes
    query: bytes
    request_headers: RawHeaders
    request_body: bytes
    response_headers: RawHeaders
    response_body: bytes


class Exchange:
    """One request and what it was answered, for whoever reads the log."""

    __slots__ = (
        *("_api", "_notes", "_operation", "_params", "_path", "_query", "_record", "_took_ns", "_wall_ns"),
        *("_request_body", "_request_headers", "_response_body", "_response_headers"),
        *("answered_ms", "at_ms", "method", "moment", "number", "status"),
    )

    number: int
    """Counts from 1 over all exchanges of a world, in the order in which they ended, those included that are not kept."""
    moment: int
    """Its place among all comings and goings of calls, when it came."""
    method: str
    """The HTTP verb."""
    status: int
    """0 when the connection was broken before there was one."""
    at_ms: int
    """Virtual time when the call came."""
    answered_ms: int
    """Virtual time when it ended."""

    def __init__(self, record: Record) -> None:
        self._record = record
        (
            self.number,
            _,
            self.moment,
            self._api,
            self._operation,
            self._params,
            self.method,
            self._path,
            self._query,
            self.status,
            self.at_ms,
            self.answered_ms,
            self._wall_ns,
            self._took_ns,
            self._request_headers,
            self._request_body,
            self._response_headers,
            self._response_body,
            notes,
        ) = record
        self._notes = notes or _NO_NOTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Exchange) and self._record is other._record

    def __hash__(self) -> int:
        return hash(self.number)

    @property
    def waits(self) -> tuple[tuple[int, int], ...]:
        """Virtual time whenever it had to wait, and the moment when it went on."""
        return tuple(self._notes.waits)

    @property
    def is_late(self) -> bool:
        """The first wait was for its body, which others overtook on its way."""
        return self._notes.is_late

    @property
    def is_broken(self) -> bool:
        """The scenario broke its connection."""
        return self._notes.is_broken

    @property
    def is_cut_by_log(self) -> bool:
        """More of a body was heard or sent than is kept."""
        return bool(self._notes.request_bytes or self._notes.response_bytes)

    @property
    def api(self) -> str:
        """The API's name."""
        return self._api.name

    @property
    def operation(self) -> str:
        """The operationId; empty where the call led to none."""
        return self._operation or ""

    @property
    def role(self) -> str:
        """What the operation does to jobs; empty where there is none."""
        return "" if not self._operation else str(self._api.operations[self._operation].role.value)

    @property
    def path(self) -> str:
        """With its query, as the client sent it but for credentials."""
        path = self._path.partition(b"?")[0].decode("latin-1")
        return redacted_path(f"{path}?{self._query.decode('latin-1')}") if self._query else path

    @property
    def job_id(self) -> str | None:
        """The job that the path names, else the first one that the call made."""
        named = self._api.job_id(self._params) if self._operation else None
        return self.jobs[0] if named is None and self.jobs else named

    @property
    def jobs(self) -> tuple[str, ...]:
        """Ids of the jobs that the call made, the first ones of very many."""
        return self._notes.jobs

    @property
    def jobs_made(self) -> int:
        """How many jobs the call made."""
        return self._notes.jobs_made

    @property
    def wall_ms(self) -> int:
        """Real time when the call came."""
        return self._wall_ns // 1_000_000

    @property
    def took_us(self) -> int:
        """Real time until its answer had gone, in microseconds."""
        return max(self._took_ns, 0) // 1000

    @property
    def request_headers(self) -> Headers:
        """Names in lower case."""
        return redacted_headers(_decoded(self._request_headers))

    @property
    def request_body(self) -> bytes:
        """What was received of it and is kept; nothing where nobody read it."""
        return redacted_body(self._request_body)

    @property
    def request_bytes(self) -> int:
        """The length of the body before it was cut; as the client announced it where that is more than was read."""
        announced = next((value for name, value in self._request_headers if name == b"content-length"), b"")
        is_number = announced.isdigit() and len(announced) <= LENGTH_DIGITS_MAX
        received = self._notes.request_bytes or len(self._request_body)
        return max(received, int(announced) if is_number else 0)

    @property
    def is_request_cut(self) -> bool:
        """Not all of its body is kept."""
        return self.request_bytes > len(self._request_body)

    @property
    def response_headers(self) -> Headers:
        """As they were sent."""
        return redacted_headers(_decoded(self._response_headers))

    @property
    def response_body(self) -> bytes:
        """What was sent of it and is kept."""
        return redacted_body(self._response_body)

    @property
    def response_bytes(self) -> int:
        """The length of the body before it was cut."""
        return self._notes.response_bytes or len(self._response_body)

    @property
    def is_response_cut(self) -> bool:
        """Not all of its body is kept."""
        return self.response_bytes > len(self._response_body)

    @property
    def cause(self) -> str:
        """Which rule of the scenario, or which wish of the client, answered or disturbed it; empty when none did."""
        return self._notes.cause

    @property
    def nearest(self) -> str:
        """Where there are rules for the operation and none took the call: which was nearest, and what it wants."""
        return str(self._notes.nearest)

    @property
    def violations(self) -> tuple[str, ...]:
        """Where it breaks the document, in words: the client's violations, then the server's."""
        ours = (
            value
            for name, value in self._response_headers
            if name == _VIOLATION and not value.startswith(_BY_CLIENT)
        )
        return (*self._notes.violations, *(value.decode("latin-1") for value in ours))

    @property
    def codecs(self) -> Mapping[str, Any]:
        """How the bodies may be read that are no JSON."""
        return self._api.codecs

    def __repr__(self) -> str:
        return f"<Exchange {self.number}: {self.api} {self.method} {self.path} {self.status}>"


class Wish(Protocol):
    """Says which exchanges are looked for."""

    def holds(self, exchange: Exchange, /) -> bool:
        """Whether it is one of them."""


class Allowance:
    """What all call logs of one server may hold together.

    When there is too much, the largest logs give up their older halves until there is some room again, so that this does not
    happen at each call.
    """

    def __init__(self, kept_bytes_max: int = CALL_BYTES_MAX) -> None:
        self.kept_bytes_max = kept_bytes_max
        self.kept_bytes = 0
        self.logs: set[CallLog] = set()

    def make_room(self) -> None:
        """Give a sixteenth of everything back, which is half of what one log may hold under the usual limits."""
        wanted = self.kept_bytes_max - self.kept_bytes_max // 16
        for log in sorted(self.logs, key=attrgetter("kept_bytes", "total"), reverse=True):
            if self.kept_bytes <= wanted:
                return
            log.give_up_half()


def said_in(exchange: Exchange) -> Said:
    """What went over the wire, credentials and all."""
    return Said(
        exchange._path,
        exchange._query,
        exchange._request_headers,
        exchange._request_body,
        exchange._response_headers,
        exchange._response_body,
    )


class CallLog:
    """The latest exchanges of one world.

    Args:
        limit: how many are kept; 0 keeps none.
        body_bytes_max: bodies are cut here.
        kept_bytes_max: of everything that is kept.
        allowance: what this and other logs may hold together.
    """

    def __init__(
        self,
        limit: int = CALLS_MAX,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        kept_bytes_max: int = KEPT_BYTES_MAX,
        allowance: Allowance | None = None,
    ) -> None:
        self.limit = limit
        self.total = 0
        """How many there were, whatever is kept of them."""
        self.begun = 0
        """How many have come, those included that are not answered yet."""
        self.resumed = 0
        """How often calls went on after they had to wait."""
        self.kept_bytes = 0
        """About what is kept takes in memory."""
        self.on_add: Callable[[Exchange], None] | None = None
        """Called with each exchange when it has been written down."""
        self._body_bytes_max = body_bytes_max
        self._kept_bytes_max = kept_bytes_max
        self._allowance = Allowance() if allowance is None else allowance
        self._allowance.logs.add(self)
        self._records: deque[Record] = deque()

    @property
    def moment(self) -> int:
        """How often calls have come, gone on or gone until now."""
        return self.begun + self.resumed + self.total

    def add(
        self,
        moment: int,
        api: Served,
        operation: str | None,
        params: Mapping[str, Any],
        method: str,
        path: bytes,
        query: bytes,
        status: int,
        at_ms: int,
        answered_ms: int,
        wall_ns: int,
        took_ns: int,
        request_headers: RawHeaders,
        request_body: bytes,
        response_headers: RawHeaders,
        response_body: bytes,
        notes: Notes | None = None,
    ) -> None:
        """Write an exchange down. All in one place, as each call pays for it.

        Args:
            operation, params: the operationId and what the path says; None and nothing where there was no operation.
        """
        self.total = number = self.total + 1
        body_bytes_max = self._body_bytes_max
        if len(request_body) > body_bytes_max:
            notes = notes or Notes()
            notes.request_bytes = len(request_body)
            request_body = request_body[:body_bytes_max]
        if len(response_body) > body_bytes_max:
            notes = notes or Notes()
            notes.response_bytes = len(response_body)
            response_body = response_body[:body_bytes_max]
        else:
            # A copy, as orjson leaves what it writes in a buffer of four kilobytes at least, which would be kept with it.
            response_body = bytes(memoryview(response_body))
        size = (
            EXCHANGE_BYTES
            + HEADER_BYTES * len(request_headers)
            + RESPONSE_HEADER_BYTES * len(response_headers)
            + len(path)
            + len(query)
            + len(request_body)
            + len(response_body)
        )
        for name, value in request_headers:
            size += len(name) + len(value)
        if notes is not None:
            size += _size_of(notes, response_headers)
        records = self._records
        records.append(
            (
                number,
                size,
                moment,
                api,
                operation,
                params,
                method,
                path,
                query,
                status,
                at_ms,
                answered_ms,
                wall_ns,
                took_ns,
                request_headers,
                request_body,
                response_headers,
                response_body,
                notes,
            )
        )
        if len(records) > self.limit:
            size -= records.popleft()[1]
        self.kept_bytes += size
        allowance = self._allowance
        allowance.kept_bytes += size
        if self.kept_bytes > self._kept_bytes_max:
            self._drop_until(self._kept_bytes_max)
        if allowance.kept_bytes > allowance.kept_bytes_max:
            allowance.make_room()
        if self.on_add is not None and records:
            self.on_add(Exchange(records[-1]))

    def list(
        self,
        wanted: Wish | None = None,
        *,
        limit: int | None = None,
        after: int = 0,
        newest_first: bool = False,
    ) -> list[Exchange]:
        """Those that are wanted, oldest first unless said otherwise.

        Args:
            limit: at most so many.
            after: only those with a higher number.
        """
        return [*islice(self._found(wanted, after, newest_first), limit)]

    def find(self, number: int) -> Exchange | None:
        """The exchange with this number, if it is still kept."""
        return next((Exchange(record) for record in self._records if record[0] == number), None)

    def count(self, wanted: Wish | None = None, *, after: int = 0) -> int:
        """How many of those that are kept are wanted."""
        return sum(1 for _ in self._found(wanted, after))

    def clear(self, wanted: Wish | None = None, *, after: int = 0) -> None:
        """Forget those that are wanted; numbers go on."""
        gone = {exchange.number for exchange in self._found(wanted, after)}
        self._shrink(sum(record[1] for record in self._records if record[0] in gone))
        self._records = deque(record for record in self._records if record[0] not in gone)

    def move(self, limit: int, allowance: Allowance) -> None:
        """Belong to another server from now on, which keeps so many exchanges of a world."""
        self._allowance.logs.discard(self)
        self._allowance.kept_bytes -= self.kept_bytes
        self.limit, self._allowance, self._kept_bytes_max = limit, allowance, KEPT_BYTES_MAX
        allowance.logs.add(self)
        allowance.kept_bytes += self.kept_bytes
        while len(self._records) > limit:
            self._shrink(self._records.popleft()[1])
        if self.kept_bytes > self._kept_bytes_max:
            self._drop_until(self._kept_bytes_max)
        if allowance.kept_bytes > allowance.kept_bytes_max:
            allowance.make_room()

    def close(self) -> None:
        """The world is gone: keep nothing any more, and give everything back."""
        self.limit = 0
        self.clear()
        self._allowance.logs.discard(self)

    def give_up_half(self) -> None:
        """Forget the older half, by what it takes in memory."""
        self._drop_until(self.kept_bytes // 2)

    def _found(self, wanted: Wish | None, after: int, newest_first: bool = False) -> Iterator[Exchange]:
        for record in reversed(self._records) if newest_first else self._records:
            if record[0] > after:
                exchange = Exchange(record)
                if wanted is None or wanted.holds(exchange):
                    yield exchange

    def _drop_until(self, kept_bytes: int) -> None:
        too_much, freed = self.kept_bytes - kept_bytes, 0
        while freed < too_much:
            freed += self._records.popleft()[1]
        self._shrink(freed)

    def _shrink(self, freed: int) -> None:
        self.kept_bytes -= freed
        self._allowance.kept_bytes -= freed

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Exchange]:
        return map(Exchange, self._records)


def _decoded(headers: RawHeaders) -> Iterable[tuple[str, str]]:
    return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)


def _size_of(notes: Notes, headers: RawHeaders) -> int:
    """What they take, together with the texts of headers: a rule may send long ones."""
    size = NOTES_BYTES + sum(len(value) for _, value in headers) + sum(map(len, notes.violations))
    return size if isinstance(notes.nearest, str) else size + NEAREST_BYTES
