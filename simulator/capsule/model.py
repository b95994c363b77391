"""The file itself: what a capsule holds, written as YAML and read again.

Everything in it follows from what was said and done: the same history gives the same file, byte for byte, on any machine. JSON
is read as well, as all JSON is YAML. What cannot be understood is refused with the place where it stands.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, TypeVar

import yaml

from simulator.apis.contract import iso
from simulator.engine.job import Failure, State
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import BadName, require_name

FORMAT = 1
"""The number of the format that is written; others are refused."""
BYTES_MAX = 64 * 1_048_576
DEPTH_MAX = 300
STATUS_MAX = 999
_SEVERAL_LINES = re.compile(r"[ -~\n\xa1-\ud7ff][ -~\n\xa1-\u2027\u2030-\ud7ff]*")
"""A text that YAML can show as a block; what could be changed on the way is quoted instead."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Headers = tuple[tuple[str, str], ...]
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Serving:
    """The settings of a server that change what it answers."""

    apis: tuple[str, ...]
    strict: bool
    poll_step_ms: int
    retry_after_s: int | None
    body_bytes_max: int | None
    jobs_max: int
    kept_max: int
    cors: tuple[str, ...]
    documents: tuple[tuple[str, str], ...]
    """The SHA-256 of each API's document, by API name."""


@dataclass(frozen=True, slots=True)
class Script:
    """A scenario as it was read: its own text first, then those that it extends, each as people are shown its name."""

    name: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call was answered; `status` is 0 where there was none."""

    status: int
    headers: Headers
    body: bytes
    is_broken: bool = False
    """The scenario broke the connection."""
    is_left: bool = False
    """The client went away before the end."""


@dataclass(frozen=True, slots=True)
class CallStep:
    """A call and its answer."""

    number: int
    """Its place in the order in which calls ended."""
    at_ms: int
    answered_ms: int
    waits: tuple[int, ...]
    """What time it was whenever it had to wait."""
    turns: tuple[int, ...]
    """When it was its turn again, after each wait and at the end (`turns_of`); empty when it never waited and nothing else
    happened before its end."""
    is_late: bool
    """The first wait was for its body."""
    method: str
    path: str
    """With its query, as it was sent, each byte as one character."""
    headers: Headers
    body: bytes
    answer: Answer


@dataclass(frozen=True, slots=True)
class Steering:
    """What a person did to a job."""

    verb: str
    api: str
    job_id: str
    state: State | None = None
    failure: Failure | None = None
    progress: int | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class Advance:
    """Time was moved."""

    to_ms: int


@dataclass(frozen=True, slots=True)
class Play:
    """Another scenario was set: its place in the capsule."""

    number: int


@dataclass(frozen=True, slots=True)
class ActionStep:
    """Something that the person at the controls did."""

    at_ms: int
    doing: Advance | TimeMode | Play | Steering


Step = CallStep | ActionStep


@dataclass(frozen=True, slots=True)
class Capsule:
    """All that happened in a world, and what it takes to let it happen again."""

    version: str
    """Of the understudy that wrote it."""
    gaps: tuple[str, ...]
    """Why it cannot be replayed: what is missing. Empty when nothing is."""
    serving: Serving
    world: str
    seed: int
    mode: TimeMode
    start_ms: int
    scripts: tuple[Script, ...]
    """The scenario of the beginning, then those that were set later."""
    steps: tuple[Step, ...]

    @property
    def calls(self) -> Iterator[CallStep]:
        """The calls among the steps, in the order in which they came."""
        return (step for step in self.steps if isinstance(step, CallStep))


class Unreadable(ValueError):
    """This is no capsule, or none that this understudy understands."""

    def __init__(self, message: str, line: int | None = None) -> None:
        self.message = message
        self.line = line
        super().__init__(message, line)

    def __str__(self) -> str:
        return self.message if self.line is None else f"line {self.line}: {self.message}"


@dataclass(frozen=True, slots=True)
class Turn:
    """Something begins, goes on or ends."""

    place: int
    """Of its step, from 0."""
    number: int
    """0: it begins; otherwise it goes on after so many waits."""
    is_end: bool


def turns_of(steps: Sequence[Step]) -> list[Turn]:
    """All turns in order. They count from 1; a call says the numbers of its own where they do not follow from the order.

    Raises:
        ValueError: the numbers do not fit together.
    """
    told: dict[int, Turn] = {}
    simple: list[list[Turn]] = []
    for place, step in enumerate(steps):
        begins = Turn(place, 0, is_end=False)
        if isinstance(step, CallStep) and step.turns:
            last = len(step.turns)
            if len(step.waits) != last - 1 or sorted(set(step.turns)) != list(step.turns):
                raise ValueError(
                    f"steps[{place}]: as many turns as waits, and one more, are wanted, in order"
                )
            for number, at in enumerate(step.turns, 1):
                if at in told:
                    raise ValueError(f"steps[{place}]: turn {at} is taken")
                told[at] = Turn(place, number, is_end=number == last)
            simple.append([begins])
        else:
            if isinstance(step, CallStep) and step.waits:
                raise ValueError(f"steps[{place}]: who waits has turns")
            ends = [Turn(place, 1, is_end=True)] if isinstance(step, CallStep) else []
            simple.append([begins, *ends])
    turns: list[Turn] = []
    for group in simple:
        for turn in group:
            while (next_told := told.pop(len(turns) + 1, None)) is not None:
                turns.append(next_told)
            turns.append(turn)
    while (next_told := told.pop(len(turns) + 1, None)) is not None:
        turns.append(next_told)
    if told:
        raise ValueError(f"there is no turn {min(told)}")
    begun: set[int] = set()
    for one in turns:
        if one.number and one.place not in begun:
            raise ValueError(f"steps[{one.place}]: a turn comes before the call")
        begun.add(one.place)
    return turns


# ---- writing --------------------------------------------------------------------------------------------------------


def to_yaml(capsule: Capsule) -> str:
    """The file."""
    text: str = yaml.dump(
        as_value(capsule), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=2**31 - 1
    )
    return text


def as_value(capsule: Capsule) -> dict[str, Any]:
    """The same as a JSON value."""
    serving = capsule.serving
    settings = {
        "strict": serving.strict,
        "poll_step_ms": serving.poll_step_ms,
        "retry_after_s": serving.retry_after_s,
        "body_bytes_max": serving.body_bytes_max,
        "jobs_max": serving.jobs_max,
        "kept_max": serving.kept_max,
        "cors": list(serving.cors),
    }
    return {
        "capsule": FORMAT,
        "understudy": capsule.version,
        "complete": not capsule.gaps,
        **({"gaps": list(capsule.gaps)} if capsule.gaps else {}),
        "documents": dict(serving.documents),
        "world": capsule.world,
        "seed": capsule.seed,
        "time": str(capsule.mode),
        "start": iso(capsule.start_ms),
        "settings": {"apis": list(serving.apis), **settings},
        "scenarios": [
            {"name": script.name, "texts": [{"file": file, "text": text} for file, text in script.texts]}
            for script in capsule.scripts
        ],
        "steps": [_call(step) if isinstance(step, CallStep) else _action(step) for step in capsule.steps],
    }


def _call(step: CallStep) -> dict[str, Any]:
    value: dict[str, Any] = {"call": step.number, "at": iso(step.at_ms)}
    if step.waits:
        value["waits"] = [iso(at_ms) for at_ms in step.waits]
    if step.answered_ms != step.at_ms:
        value["answered"] = iso(step.answered_ms)
    if step.turns:
        value["turns"] = list(step.turns)
    if step.is_late:
        value["late"] = True
    value["request"] = {"method": step.method, "path": step.path} | _message(step.headers, step.body)
    answer = step.answer
    value["answer"] = {"status": answer.status or None} | _message(answer.headers, answer.body)
    for word, is_so in (("broken", answer.is_broken), ("left", answer.is_left)):
        if is_so:
            value["answer"][word] = True
    return value


def _message(headers: Headers, body: bytes) -> dict[str, Any]:
    value: dict[str, Any] = {"headers": [{name: text} for name, text in headers]}
    if body:
        try:
            value["body"] = body.decode()
        except UnicodeDecodeError:
            value["body"] = {"base64": b64encode(body).decode()}
    return value


def _action(step: ActionStep) -> dict[str, Any]:
    value: dict[str, Any] = {"at": iso(step.at_ms)}
    doing = step.doing
    if isinstance(doing, Advance):
        value["advance"] = iso(doing.to_ms)
    elif isinstance(doing, TimeMode):
        value["time"] = str(doing)
    elif isinstance(doing, Play):
        value["scenario"] = doing.number
    else:
        value[doing.verb] = {"api": doing.api, "job": doing.job_id} | _wish(doing)
    return value


def _wish(doing: Steering) -> dict[str, Any]:
    value: dict[str, Any] = {}
    if doing.state is not None:
        value["state"] = doing.state.value
    if (failure := doing.failure) is not None:
        value["error"] = {"code": failure.code, "message": failure.message}
        if failure.details is not None:
            value["error"]["details"] = failure.details
    if doing.progress is not None:
        value["progress"] = doing.progress
    if doing.result is not None:
        value["result"] = doing.result
    return value


def _shown(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None
    if "\n" in text and _SEVERAL_LINES.fullmatch(text):
        style = "|"
    elif not text.isprintable():
        style = '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # whichever there is
    """Texts of several lines as blocks, where that keeps every character."""

    yaml_representers: ClassVar[dict[Any, Any]] = {**yaml.SafeDumper.yaml_representers, str: _shown}

    def ignore_aliases(self, data: Any) -> bool:
        """Everything is written out: a person reads it."""
        return True


# ---- reading --------------------------------------------------------------------------------------------------------


def read_capsule(data: bytes | str) -> Capsule:
    """The capsule that this file holds.

    Raises:
        Unreadable: it holds none; where and why.
    """
    if len(data) > BYTES_MAX:
        raise Unreadable(f"larger than {BYTES_MAX // 1_048_576} MiB, the limit for a capsule")
    try:
        text = data if isinstance(data, str) else data.decode()
    except UnicodeDecodeError as problem:
        raise Unreadable(f"not UTF-8: byte 0x{problem.object[problem.start]:02x}") from None
    try:
        return _capsule(_At(_parsed(text), ()))
    except _Wrong as problem:
        raise Unreadable(str(problem), _line_of(problem.path, text)) from None


def _parsed(text: str) -> Any:
    if text.lstrip()[:1] == "{":
        try:
            return json.loads(text)
        except ValueError:
            pass  # It may be YAML all the same, and its reader says better what is wrong.
        except RecursionError:
            raise Unreadable("nests too deeply") from None
    try:
        _require_flat(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(filter(None, [error.context, error.problem]))
        raise Unreadable(what, _line_at(mark)) from None
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {error}".splitlines()[0]) from None
    except (ValueError, OverflowError, IndexError) as problem:
        if isinstance(problem, Unreadable):
            raise
        raise Unreadable("a value is beyond what can be read") from None


def _require_flat(text: str) -> None:
    """Refuse what is very deep, which the reader of YAML does not survive, and what a few aliases would make very large.

    Raises:
        Unreadable: it is.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise Unreadable("aliases (&name, *name) have no place in a capsule", _line_at(event.start_mark))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_MAX:
                raise Unreadable("nests too deeply", _line_at(event.start_mark))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _line_at(mark: Any) -> int | None:
    return None if mark is None else int(mark.line) + 1


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # whichever there is
    """Times stay the texts that they are, also where nobody has quoted them."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":timestamp", ":merge"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class _Wrong(Exception):
    """A value that is not what it should be."""

    def __init__(self, path: tuple[str | int, ...], message: str) -> None:
        self.path = path
        self.message = message
        super().__init__(path, message)

    def __str__(self) -> str:
        where = ""
        for part in self.path:
            where += f"[{part}]" if isinstance(part, int) else f"{'.' if where else ''}{part}"
        return f"{where}: {self.message}" if where else self.message


_NULLABLE = frozenset({"status", "retry_after_s", "body_bytes_max"})
"""Members whose null says that there is none."""


@dataclass(frozen=True, slots=True)
class _At:
    """A value and where it stands."""

    value: Any
    path: tuple[str | int, ...]

    def wrong(self, message: str) -> _Wrong:
        return _Wrong(self.path, message)

    def members(self) -> dict[str, _At]:
        if not isinstance(self.value, dict):
            raise self.wrong("must be an object")
        return {str(name): _At(value, (*self.path, str(name))) for name, value in self.value.items()}

    def member(self, name: str) -> _At:
        found = self.find(name)
        if found is None:
            raise self.wrong(f"{name!r} is missing")
        return found

    def find(self, name: str) -> _At | None:
        if not isinstance(self.value, dict):
            raise self.wrong("must be an object")
        if name not in self.value or (self.value[name] is None and name in _NULLABLE):
            return None
        return _At(self.value[name], (*self.path, name))

    def items(self) -> list[_At]:
        if not isinstance(self.value, list):
            raise self.wrong("must be a list")
        return [_At(value, (*self.path, place)) for place, value in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.wrong("must be a text")
        return self.value

    def whole(self, least: int = 0) -> int:
        if type(self.value) is not int or not least <= self.value < 2**63:
            raise self.wrong(f"must be a whole number, at least {least}")
        return self.value

    def is_so(self) -> bool:
        if not isinstance(self.value, bool):
            raise self.wrong("must be true or false")
        return self.value

    def as_(self, read: Callable[[str], Value]) -> Value:
        try:
            return read(self.text())
        except ValueError as problem:
            raise self.wrong(str(problem)) from None


def _maybe(found: _At | None, read: Callable[[_At], Value]) -> Value | None:
    return None if found is None else read(found)


def _capsule(top: _At) -> Capsule:
    if not isinstance(top.value, dict) or "capsule" not in top.value:
        raise top.wrong("this is no capsule: it does not begin with `capsule: 1`")
    number = top.member("capsule")
    if number.value != FORMAT:
        raise number.wrong(
            f"format {number.value!r} is not known here; this understudy reads format {FORMAT}"
        )
    name = top.member("world")
    try:
        require_name(name.text())
    except BadName as problem:
        raise name.wrong(str(problem)) from None
    scripts = tuple(_script(one) for one in top.member("scenarios").items())
    if not scripts:
        raise top.member("scenarios").wrong("holds no scenario")
    gaps = _maybe(top.find("gaps"), lambda found: tuple(one.text() for one in found.items())) or ()
    if not gaps and not top.member("complete").is_so():
        gaps = ("something is missing",)
    steps = tuple(_step(one, len(scripts)) for one in top.member("steps").items())
    try:
        turns_of(steps)
    except ValueError as problem:
        raise top.member("steps").wrong(str(problem)) from None
    return Capsule(
        version=top.member("understudy").text(),
        gaps=gaps,
        serving=_serving(top),
        world=name.text(),
        seed=_seed(top.member("seed")),
        mode=top.member("time").as_(TimeMode.parse),
        start_ms=_instant(top.member("start")),
        scripts=scripts,
        steps=steps,
    )


def _seed(at: _At) -> int:
    if type(at.value) is not int:
        raise at.wrong("must be a whole number")
    return at.value


def _serving(top: _At) -> Serving:
    settings = top.member("settings")
    whole = _At.whole
    return Serving(
        apis=tuple(one.text() for one in settings.member("apis").items()),
        strict=settings.member("strict").is_so(),
        poll_step_ms=settings.member("poll_step_ms").whole(1),
        retry_after_s=_maybe(settings.find("retry_after_s"), whole),
        body_bytes_max=_maybe(settings.find("body_bytes_max"), whole),
        jobs_max=settings.member("jobs_max").whole(1),
        kept_max=settings.member("kept_max").whole(1),
        cors=tuple(one.text() for one in settings.member("cors").items()),
        documents=tuple((name, one.text()) for name, one in top.member("documents").members().items()),
    )


def _script(at: _At) -> Script:
    texts = tuple(
        (one.member("file").text(), one.member("text").text()) for one in at.member("texts").items()
    )
    if not texts:
        raise at.member("texts").wrong("holds no text")
    return Script(at.member("name").text(), texts)


def _step(at: _At, scripts: int) -> Step:
    if "call" in at.members():
        return _call_step(at)
    at_ms = _instant(at.member("at"))
    if (found := at.find("advance")) is not None:
        return ActionStep(at_ms, Advance(_instant(found)))
    if (found := at.find("time")) is not None:
        return ActionStep(at_ms, found.as_(TimeMode.parse))
    if (found := at.find("scenario")) is not None:
        if not 1 <= found.whole() <= scripts:
            raise found.wrong(f"there are scenarios 1 to {scripts}")
        return ActionStep(at_ms, Play(found.whole()))
    for verb in ("hold", "release", "step", "force"):
        if (found := at.find(verb)) is not None:
            return ActionStep(at_ms, _steering(verb, found))
    raise at.wrong("is neither a call nor one of advance, time, scenario, hold, release, step and force")


def _steering(verb: str, at: _At) -> Steering:
    state = _maybe(at.find("state"), lambda found: found.as_(State))
    if verb == "force" and state is None:
        raise at.wrong("'state' is missing")
    return Steering(
        verb,
        at.member("api").text(),
        at.member("job").text(),
        state,
        _maybe(at.find("error"), _failure),
        _maybe(at.find("progress"), _At.whole),
        at.value.get("result"),
    )


def _failure(at: _At) -> Failure:
    return Failure(
        message=at.member("message").text(),
        code=at.member("code").text(),
        details=_maybe(at.find("details"), _At.text),
    )


def _call_step(at: _At) -> CallStep:
    at_ms = _instant(at.member("at"))
    request, answer = at.member("request"), at.member("answer")
    status = _maybe(answer.find("status"), _At.whole) or 0
    if status > STATUS_MAX:
        raise answer.member("status").wrong("is no status of HTTP")
    path = request.member("path")
    if not path.text().startswith("/") or not _is_bytes(path.text()):
        raise path.wrong("must begin with a slash and hold bytes only")
    answered = at.find("answered")
    return CallStep(
        number=at.member("call").whole(1),
        at_ms=at_ms,
        answered_ms=at_ms if answered is None else _instant(answered),
        waits=_maybe(at.find("waits"), lambda found: tuple(map(_instant, found.items()))) or (),
        turns=_maybe(at.find("turns"), lambda found: tuple(one.whole(1) for one in found.items())) or (),
        is_late=_maybe(at.find("late"), _At.is_so) or False,
        method=request.member("method").text(),
        path=path.text(),
        headers=_headers(request),
        body=_body(request),
        answer=Answer(
            status,
            _headers(answer),
            _body(answer),
            _maybe(answer.find("broken"), _At.is_so) or False,
            _maybe(answer.find("left"), _At.is_so) or False,
        ),
    )


def _headers(at: _At) -> Headers:
    found = at.find("headers")
    headers: list[tuple[str, str]] = []
    for one in () if found is None else found.items():
        for name, value in one.members().items():
            if not _is_bytes(name) or not _is_bytes(value.text()):
                raise value.wrong("a header holds bytes only")
            headers.append((name, value.text()))
    return tuple(headers)


def _is_bytes(text: str) -> bool:
    return all(ord(character) < 256 for character in text)


def _body(at: _At) -> bytes:
    found = at.find("body")
    if found is None:
        return b""
    if isinstance(found.value, dict):
        try:
            return b64decode(found.member("base64").text(), validate=True)
        except ValueError:
            raise found.wrong("is no base64") from None
    try:
        return found.text().encode()
    except UnicodeEncodeError:
        raise found.wrong("holds half of a character") from None


def _instant(at: _At) -> int:
    """Milliseconds since the epoch."""
    try:
        passed = datetime.fromisoformat(at.text()) - _EPOCH
    except (ValueError, TypeError, OverflowError):
        raise at.wrong(f"{at.value!r} is no instant; write it like 2030-01-01T00:00:05.000Z") from None
    at_ms = passed.days * 86_400_000 + passed.seconds * 1000 + passed.microseconds // 1000
    if at_ms < 0:
        raise at.wrong("is before the year 1970")
    return at_ms


def _line_of(path: Sequence[str | int], text: str) -> int | None:
    """The line where a value stands, as far as it can be found."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None
    for part in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        elif isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == part), None)
            if inner is None:
                break
            node = inner
    return None if node is None else _line_at(node.start_mark)
