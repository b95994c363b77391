"""What an API module is made of: one `Api` value, one function per operationId, one error envelope.

The engine decides, an API module translates: wire words → command → job → wire words. Nothing outside this package names
one of the APIs, so another can be added by writing its document and its module. HTTP itself (sockets, routing, checks) is
`simulator.web`; this module knows neither Connexion nor ASGI.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol

__all__ = [
    "CHANGING",
    "Announcement",
    "Api",
    "Call",
    "Codec",
    "Handler",
    "Kind",
    "Later",
    "Operation",
    "Problem",
    "Refusal",
    "Reply",
    "Role",
    "Sampler",
    "Setting",
    "Stream",
    "Upload",
    "has_expired",
    "iso",
    "job_id_in",
    "status_of",
]

from simulator.apis.negotiation import best_match
from simulator.engine.command import Keep
from simulator.engine.errors import EngineError, LimitReached, NotAllowed, UnknownJob
from simulator.engine.job import Job, State
from simulator.engine.rules import Rules
from simulator.engine.world import World
from simulator.scenario.setting import Setting


class Role(Enum):
    """What an operation does to jobs; the same word for all APIs."""

    SUBMIT = "submit"
    STATUS = "status"
    LIST = "list"
    RESULT = "result"
    LOG = "log"
    CANCEL = "cancel"
    RETRY = "retry"
    AMEND = "amend"
    REMOVE = "remove"
    CLAIM = "claim"
    TOUCH = "touch"
    FINISH = "finish"
    INFO = "info"


CHANGING = frozenset(Role) - {Role.STATUS, Role.LIST, Role.RESULT, Role.LOG, Role.INFO}
"""Roles that change a world, whatever the HTTP verb: two of our GETs cancel or claim jobs."""


class Kind(Enum):
    """Why a call was refused before or beside the engine, with the status most services answer."""

    BAD_PARAMETER = ("bad_parameter", 400)
    """A path, query or header parameter breaks its schema."""
    MALFORMED_BODY = ("malformed_body", 400)
    """The body cannot be read at all: broken JSON or XML, not UTF-8, no multipart boundary."""
    BAD_BODY = ("bad_body", 400)
    """The body can be read and breaks its schema."""
    MISSING_BODY = ("missing_body", 400)
    UNAUTHORIZED = ("unauthorized", 401)
    FORBIDDEN = ("forbidden", 403)
    NO_SUCH_PATH = ("no_such_path", 404)
    METHOD_NOT_ALLOWED = ("method_not_allowed", 405)
    NOT_ACCEPTABLE = ("not_acceptable", 406)
    TOO_LARGE = ("too_large", 413)
    URI_TOO_LONG = ("uri_too_long", 414)
    UNSUPPORTED_MEDIA_TYPE = ("unsupported_media_type", 415)
    ASKED_FOR = ("asked_for", 503)
    """Nothing was wrong: a scenario, or the client itself, wants this status (`Problem.status`)."""
    INTERNAL = ("internal", 500)
    """Our own mistake: a crash, or a reply that breaks the document under --strict."""

    def __init__(self, word: str, status: int) -> None:
        self.word = word
        self.status = status


class Problem(Exception):
    """A refusal with everything an envelope may want to say.

    Args:
        kind: why.
        detail: one sentence for the one who caused it: what, where, what instead.
        where: `path`, `query`, `header` or `body`, when one of them is to blame.
        pointer: the parameter's name, or a JSON pointer into the body.
        headers: to be sent along, such as `Allow` or `WWW-Authenticate`.
        status: other than the usual one of its kind.
    """

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        where: str = "",
        pointer: str = "",
        value: Any = None,
        headers: Mapping[str, str] | None = None,
        status: int | None = None,
    ) -> None:
        self.kind = kind
        self.status = kind.status if status is None else status
        self.detail = detail
        self.where = where
        self.pointer = pointer
        self.value = value
        self.headers = dict(headers or {})
        super().__init__(kind, detail)

    def __str__(self) -> str:
        return self.detail


Refusal = Problem | EngineError
"""What an API's error envelope is asked to word."""


def status_of(refusal: Refusal) -> int:
    """The status most services answer; an API's envelope may know better."""
    if isinstance(refusal, Problem):
        return refusal.status
    if isinstance(refusal, UnknownJob):
        return 404
    if isinstance(refusal, NotAllowed):
        return 409
    if isinstance(refusal, LimitReached):
        return 503
    return 400


@dataclass(frozen=True, slots=True)
class Upload:
    """A file part of a multipart body. A part without a file name arrives as one too when its bytes are not UTF-8."""

    data: bytes
    filename: str | None = None
    media_type: str | None = None


@dataclass(slots=True)
class Reply:
    """What an operation answers.

    `body` is a JSON value, sent in the negotiated format; `bytes` are sent as they are under `media_type`. None is an empty
    body without a Content-Type.
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    media_type: str | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """An answer that waits for something in the world, such as the end of a job.

    The web layer asks `answer` at once, after each event of the world, and at last at `until_ms`. Time passes as it does for
    this world; a clock that stands still is moved from event to event, since the client can do nothing else meanwhile.
    """

    answer: Callable[[], Reply | None]
    """The reply, or None to go on waiting; at `until_ms` and later it must give one. Reads and changes the world as a handler
    does, and may raise what a handler may."""
    until_ms: int


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer with status 200 that goes on: its pieces are sent as they come, until there are no more or the client leaves."""

    pieces: AsyncIterator[bytes]
    close: Callable[[], None]
    """Ends `pieces`, also while one is waited for. It is called in any case, and perhaps more than once."""
    media_type: str


@dataclass(frozen=True, slots=True)
class Announcement:
    """What the service tells a subscriber of a job by a POST of its own."""

    label: str
    """What this one is for, in the API's words."""
    url: str
    body: Any
    """JSON value."""
    hosts: tuple[str, ...]
    """The only hosts that may be told."""


class Sampler(Protocol):
    """Makes values that fit a schema of the API's document, always the same ones for the same seed and purpose."""

    def make(self, schema_name: str, seed: int, *purpose: str | int) -> Any:
        """A value valid for `#/components/schemas/<schema_name>`; texts from Faker, times never."""
        ...

    def text(self, seed: int, *purpose: str | int, lines: int = 1) -> str:
        """Some lines of plausible prose, for logs and messages."""
        ...


@dataclass(slots=True)
class Call:
    """One HTTP request as an API module sees it: checked against the document, decoded, in its world and time."""

    world: World
    """Already advanced to the time of this call."""
    operation: str
    """operationId; empty when the path or the method led to no operation."""
    params: Mapping[str, Any]
    """Path, query and header parameters by their documented names, typed, with defaults; absent ones are missing."""
    body: Any
    """JSON value (also of XML bodies), dict of str and `Upload` for multipart, str for text, bytes for raw operations."""
    headers: Mapping[str, str]
    """Request headers, names in lower case."""
    base_url: str
    """Where this API's document begins for this client, without a trailing slash: `http://host:4010/ogc`."""
    settings: Mapping[str, Any]
    """This API's settings under the world's scenario, complete with defaults."""
    sampler: Sampler
    document: Mapping[str, Any]
    """This API's OpenAPI document as loaded, references unresolved. Not to be changed."""
    body_format: str = ""
    """The media type the body came in, lower case, no parameters; empty without a body."""
    world_name: str = ""

    @property
    def now_ms(self) -> int:
        """Virtual time of this call."""
        return self.world.now_ms

    def preferred(self, offered: tuple[str, ...]) -> str | None:
        """Which of these media types the client likes best; the first wins a tie, None when it wants none of them."""
        return best_match(self.headers.get("accept", ""), offered)


Handler = Callable[[Call], "Reply | Later | Stream | Awaitable[Reply]"]
"""What carries an operation out. Only the server's own control API waits for something outside of the world."""


@dataclass(frozen=True)
class Operation:
    """One operationId: its function and what the web layer must know beyond the document."""

    id: str
    role: Role
    handler: Handler
    raw_body: bool = False
    """The body is handed on as bytes, undecoded and unchecked, whatever its Content-Type says."""
    body_bytes_max: int = 0
    """Larger bodies are refused; 0: what the server says for the API."""


@dataclass(frozen=True)
class Codec:
    """How a media type other than JSON carries the same JSON values."""

    decode: Callable[[bytes, str], Any]
    """(body, operationId) → JSON value. Raises `Problem(Kind.MALFORMED_BODY, …)`."""
    encode: Callable[[Any, str], bytes]
    """(JSON value, operationId) → body."""


def nobody_checks(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """Anyone may call."""
    return None


def has_expired(world: World, api: str, token: str, lifetime_ms: int) -> bool:
    """Whether a token has lived longer than it may; its life begins when the world first sees it.

    The world remembers a digest, never the token.
    """
    key = f"token/{blake2b(token.encode(), digest_size=16).hexdigest()}"
    seen_ms = world.kept(api, key)
    if seen_ms is None:
        world.apply(Keep(api, key, world.now_ms))
        return False
    return bool(world.now_ms - seen_ms >= lifetime_ms)


def job_id_in(params: Mapping[str, Any]) -> str | None:
    """The job that a path names: the first of the usual names for it."""
    for name in ("jobId", "runId", "id", "asyncToken"):
        if isinstance(params.get(name), str):
            return str(params[name])
    return None


@dataclass
class Api:
    """One simulated service.

    Args:
        name: its word in paths, scenarios and commands.
        title: what people call it.
        document: file name in `openapi/`.
        rules: what its service allows, for the engine.
        words: our state → its word, total.
        further_words: words that it has for states under other settings.
        error: words every refusal, ours, the engine's or the checks', in the API's envelope. When no operation was found
            (`call.operation` is empty) or the call was refused early, parameters and body are missing.
        authenticate: (Authorization header or None, settings, world) → why not, or None. Asked only for operations whose
            document says `security`.
        codecs: further media types for bodies, by name.
        replies_in_request_format: a body's Content-Type decides the format of the answer before Accept does.
        prepare: (decoded body, settings) → the body as it is checked and handled.
        format_of: (request headers) → the media type that body and answer are in whatever the usual headers say, or None.
        job_id: (path parameters) → the id of the job that they name, as the engine knows it, or None.
        status_fields: names under which replies show the state's word.
        progress_fields: names under which replies show progress in percent.
        announce: (a watched job as it was at a move, its settings) → what its subscriber is told then, or None.
        body_bytes_max: larger request bodies are refused unless the server was told otherwise.
        cannot: what of the scenario language this API has no way to express (a feature of `simulator.scenario.review`, or
            a role that it has no operation for) → what happens instead, said after the API's name.
    """

    name: str
    title: str
    document: str
    rules: Rules
    words: Mapping[State, str]
    error: Callable[[Refusal, Call], Reply]
    further_words: tuple[tuple[State, str], ...] = ()
    authenticate: Callable[[str | None, Mapping[str, Any], World], Problem | None] = nobody_checks
    settings: Mapping[str, Setting] = field(default_factory=dict)
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    replies_in_request_format: bool = False
    prepare: Callable[[Any, Mapping[str, Any]], Any] | None = None
    format_of: Callable[[Mapping[str, str]], str | None] | None = None
    job_id: Callable[[Mapping[str, Any]], str | None] = job_id_in
    status_fields: frozenset[str] = frozenset()
    progress_fields: frozenset[str] = frozenset()
    announce: Callable[[Job, Mapping[str, Any]], Announcement | None] | None = None
    body_bytes_max: int = 1_048_576
    cannot: Mapping[str, str] = field(default_factory=dict)
    operations: dict[str, Operation] = field(default_factory=dict)

    def operation(
        self, role: Role, *, raw_body: bool = False, body_bytes_max: int = 0
    ) -> Callable[[Handler], Handler]:
        """Register a function as the operation of the same name."""

        def register(handler: Handler) -> Handler:
            name: str = handler.__name__
            self.operations[name] = Operation(name, role, handler, raw_body, body_bytes_max)
            return handler

        return register


@lru_cache(maxsize=4096)
def _to_the_second(seconds: int) -> str:
    # Not strftime, whose years before 1000 have fewer than four digits on Linux.
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def iso(at_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds and `Z`, as all five services print times."""
    seconds, milliseconds = divmod(at_ms, 1000)
    return f"{_to_the_second(seconds)}.{milliseconds:03d}Z"
