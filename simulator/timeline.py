"""`understudy timeline`: what will happen to a job under a scenario, per API, without a server and without waiting.

For each API a server is put together in this process with a clock that stands still. The job is submitted with the example of the
API's document, found again by the links of the answer, and the clock is moved from event to event; at each one the status is
asked for, as a client would. What a client sees is therefore what the server would answer, call rules and faults included. Every
status call of the timeline counts as one: a rule for the second call meets the second row, and while a step lasts polls, the polls
between two rows count as well.

Nothing here knows an API by name. Whoever waits in real time (delays, faults that hang) waits on an event loop whose time jumps, so
that an answer that comes a minute late is there at once, and is told to be late.
"""

from __future__ import annotations

import asyncio
import json
import re
import selectors
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from simulator.apis.contract import Role
from simulator.assemble import Settings, assemble
from simulator.engine.errors import UnknownJob
from simulator.engine.job import Job
from simulator.engine.script import Lasting
from simulator.engine.world import CLIENT
from simulator.runtime.timesource import TimeMode
from simulator.runtime.worlds import Stage
from simulator.scenario.duration import format_duration
from simulator.web.faults import CAUSE_HEADER, Broken
from simulator.web.front import Front
from simulator.web.service import METHODS, Service

ROWS_MAX = 200
LONGEST_MS = 86_400_000
SUBMITS_MAX = 5
"""After so many a client gives up."""
POLLS_MAX = 1_000
"""Status calls on end that change nothing visible."""
TEXT_MAX = 70
FIRST_REFUSAL = 300
_TITLE = re.compile(rb"<title>([^<]{1,70})</title>")


@dataclass(frozen=True)
class Row:
    """One moment: what the job is, and what a client that asks just then is told."""

    at: str
    """Virtual time since the first submit, `+4s`."""
    at_ms: int
    state: str
    """Ours; empty before there is a job."""
    word: str
    """The API's."""
    progress: int | None
    status: int | None
    """Of the HTTP answer; None when there is none, or nobody asked."""
    answer: str
    """The state's word in it, or the text of the error, or the name of a fault."""
    late_ms: int
    """How long the answer is kept back."""
    disturbed_by: str
    """The rule that answered or disturbed the call."""
    cause: str


@dataclass(frozen=True)
class Timeline:
    """What happens to the job of one API."""

    api: str
    submit: str
    """Method and path."""
    status: str
    rows: Sequence[Row]
    end: str
    """How it stands when nothing more happens."""
    notes: Sequence[str] = field(default=())
    """What this API cannot express of the scenario."""


class CannotTell(Exception):
    """The document of an API lacks what it takes to drive it; the text says what."""


def timelines(
    scenario: str | Path,
    apis: Sequence[str],
    *,
    seed: int = 1,
    notes: Mapping[str, Sequence[str]] | None = None,
) -> list[Timeline]:
    """One for each API.

    Raises:
        UsageError: an unknown API or scenario.
        ScenarioError: the scenario has problems.
    """
    selector = _Jumping()
    told = []
    with asyncio.Runner(loop_factory=lambda: _JumpingLoop(selector)) as runner:
        for name in apis:
            front = assemble(Settings(apis=(name,), scenario=scenario, seed=seed, time=TimeMode(0)))
            client = _Client(front, selector)
            told.append(runner.run(_Story(front, name, client).tell((notes or {}).get(name, ()))))
    return told


def as_json(told: Sequence[Timeline]) -> str:
    """For programs."""
    return json.dumps([asdict(one) for one in told], indent=2, ensure_ascii=False)


def as_text(told: Sequence[Timeline]) -> str:
    """For people: a table per API."""
    return "\n\n".join("\n".join(_lines(one)) for one in told)


def _lines(told: Timeline) -> Iterator[str]:
    yield f"{told.api}: {told.submit}, then {told.status}" if told.status else f"{told.api}: {told.submit}"
    table = [("AT", "STATE", "WORD", "PROGRESS", "ANSWER", "CAUSE")]
    table += [
        (
            row.at,
            row.state or "-",
            row.word or "-",
            "-" if row.progress is None else f"{row.progress} %",
            _shown_answer(row),
            row.cause or "-",
        )
        for row in told.rows
    ]
    widths = [max(len(line[place]) for line in table) for place in range(len(table[0]))]
    for line in table:
        yield "  " + "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
    yield f"  end: {told.end}"
    for note in told.notes:
        yield f"  note: {note}"


def _shown_answer(row: Row) -> str:
    text = " ".join(filter(None, ["" if row.status is None else str(row.status), row.answer])) or "-"
    if row.late_ms:
        text += f", {format_duration(row.late_ms)} late"
    return f"{text} [{row.disturbed_by}]" if row.disturbed_by else text


# ---- the story of one job -------------------------------------------------------------------------------------------


class _Story:
    """One API, one job, from its submit to when nothing more happens."""

    def __init__(self, front: Front, api: str, client: _Client) -> None:
        self._service: Service = front.services[api]
        self._stage: Stage = front.worlds.default
        self._api = self._service.api
        self._document = self._service.document
        self._client = client
        self._began_ms = self._stage.world.now_ms
        self._authorization = _authorization(self._service, self._stage)
        self._rows: list[Row] = []

    async def tell(self, notes: Sequence[str]) -> Timeline:
        path, method, submit = _first_of(self._service, Role.SUBMIT)
        url = self._url(path, {})
        status = ""
        found = await self._submit(method, url, submit)
        if found is None:
            end = "no job: every submit went wrong"
        else:
            link, params = found
            end, status = await self._follow(link, params)
        return Timeline(self._api.name, f"{method.upper()} {url}", status, self._rows, end, list(notes))

    async def _submit(
        self, method: str, url: str, operation: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], dict[str, str]] | None:
        """The status link of the answer, and what its parameters are; None when no submit came through."""
        media_type, body = self._example(operation)
        headers = {"content-type": media_type}
        for parameter in self._parameters(operation):
            if parameter["in"] == "header" and _example_in(parameter) is not None:
                headers[parameter["name"].lower()] = str(_example_in(parameter))
        link = self._status_link(operation)
        for _ in range(SUBMITS_MAX):
            answer = await self._ask(method, url, headers, body)
            if answer.status is not None and answer.status < FIRST_REFUSAL:
                return link, self._params(link, answer)
            self._row(None, answer, "")
        return None

    def _params(self, link: Mapping[str, Any], answer: _Answer) -> dict[str, str]:
        """What the link makes of the answer; where it says nothing of the job (it has waited for its end), the newest job."""
        newest = self._stage.world.jobs(self._api.name, limit=1, newest_first=True)
        params = {}
        for name, expression in link["parameters"].items():
            value = _pointed_at(answer, expression)
            is_plain = isinstance(value, str | int) and not isinstance(value, bool)
            params[name] = str(value) if is_plain else newest[0].id if newest else ""
        return params

    async def _follow(self, link: Mapping[str, Any], params: dict[str, str]) -> tuple[str, str]:
        """Ask at each event; how it ends, and the first status call."""
        path, method, _ = self._operation(link["operationId"])
        first = f"{method.upper()} {self._url(path, params)}"
        shown_moves = 0
        shown: tuple[int, int, int] | None = None
        idle = 0
        while True:
            job = self._job(params)
            if job is None:
                return "the job that the answer names is not there", first
            moves = list(job.history)[shown_moves:]
            for move in moves[:-1]:
                if len(self._rows) < ROWS_MAX:
                    self._passing(move.at_ms, move.state, move.cause)
            now = (job.number, job.step, len(job.moves))
            if now != shown or job.waits_for_polls:
                answer = await self._ask(method, self._url(path, params), {}, None)
                if now != shown:
                    idle = 0
                    self._row(job, answer, self._cause(job, moves[-1].cause if moves else ""))
                    shown, shown_moves = now, len(job.moves) // 3
            idle += 1
            if len(self._rows) >= ROWS_MAX:
                return f"more than {ROWS_MAX} rows; the rest is left out", first
            asked = self._job(params)
            if asked is None or (asked.number, asked.step, len(asked.moves)) != now:
                continue
            if job.state.is_final:
                return job.state.value, first
            if asked.waits_for_polls and idle < POLLS_MAX:
                continue
            due_ms = self._stage.world.next_due_ms
            if due_ms is None:
                return self._standstill(asked), first
            if due_ms - self._began_ms > LONGEST_MS:
                return f"still {job.state.value} after {format_duration(LONGEST_MS)}", first
            self._stage.advance(due_ms - self._stage.world.now_ms)

    def _standstill(self, job: Job) -> str:
        """Why nothing more happens to a job that has not ended."""
        steps = job.part.script.steps
        lasts = steps[job.step].lasts if 0 <= job.step < len(steps) else None
        if job.waits_for_polls:
            why = "it waits for more status calls"
        elif lasts is Lasting.HOLD:
            why = "it is held until somebody releases it"
        elif self._stage.scenario.workers(self._api.name) == 0:
            why = "it waits for a worker that takes it"
        else:
            why = "its script goes no further"
        return f"stays {job.state.value}: {why}"

    # ---- rows -------------------------------------------------------------------------------------------------------

    def _row(self, job: Job | None, answer: _Answer, cause: str) -> None:
        now_ms = self._stage.world.now_ms
        seen = None if job is None else _word_in(answer.json, self._api.status_fields)
        word = "" if job is None else self._api.words[job.state]
        if seen is not None and not answer.disturbed_by:
            # A setting may have changed the API's words.
            word = seen
        self._rows.append(
            Row(
                at=f"+{format_duration(now_ms - self._began_ms)}",
                at_ms=now_ms - self._began_ms,
                state="" if job is None else job.state.value,
                word=word,
                progress=None if job is None else job.progress_percent(now_ms),
                status=answer.status,
                answer=answer.fault or (answer.text if seen is None else seen),
                late_ms=answer.late_ms,
                disturbed_by=answer.disturbed_by,
                cause=cause,
            )
        )

    def _passing(self, at_ms: int, state: Any, cause: str) -> None:
        """A state that was over before anybody could ask."""
        after_ms = at_ms - self._began_ms
        word = self._api.words[state]
        at = f"+{format_duration(after_ms)}"
        self._rows.append(Row(at, after_ms, state.value, word, None, None, "", 0, "", cause))

    def _cause(self, job: Job, moved_by: str) -> str:
        """The step's own line, when it began without a move or with the submit."""
        steps = job.part.script.steps
        if moved_by not in ("", CLIENT) or not 0 <= job.step < len(steps):
            return moved_by
        return steps[job.step].cause

    # ---- the world --------------------------------------------------------------------------------------------------

    def _job(self, params: Mapping[str, str]) -> Job | None:
        try:
            return self._stage.world.job(self._api.name, self._api.job_id(params) or "")
        except UnknownJob:
            return None

    # ---- the document -----------------------------------------------------------------------------------------------

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> _Answer:
        more = {"accept": "application/json"} | (
            {"authorization": self._authorization} if self._authorization else {}
        )
        return await self._client.ask(method.upper(), url, {**more, **headers}, body)

    def _url(self, path: str, params: Mapping[str, str]) -> str:
        """The path as clients call it; parameters that are not given are those of the document's examples."""
        examples = {
            one["name"]: _example_in(one)
            for one in (self._found(one) for one in self._document["paths"][path].get("parameters", ()))
        }
        for operation in self._document["paths"][path].values():
            if isinstance(operation, Mapping):
                examples |= {one["name"]: _example_in(one) for one in self._parameters(operation)}
        filled = re.sub(
            r"{(\w+)}",
            lambda found: quote(params.get(found[1], str(examples.get(found[1]))), safe=""),
            path,
        )
        return f"/{self._api.name}{self._service.base_path}{filled}"

    def _operation(self, operation_id: str) -> tuple[str, str, Mapping[str, Any]]:
        return next(one for one in _operations(self._document) if one[2]["operationId"] == operation_id)

    def _parameters(self, operation: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        return [self._found(one) for one in operation.get("parameters", ())]

    def _example(self, operation: Mapping[str, Any]) -> tuple[str, bytes]:
        """The example of the body, in JSON if there is one."""
        content = self._found(operation.get("requestBody", {})).get("content", {})
        for media_type in sorted(content, key=lambda name: not name.endswith("json")):
            definition = content[media_type]
            examples = [self._found(one)["value"] for one in definition.get("examples", {}).values()]
            example = definition.get("example", examples[0] if examples else None)
            if example is not None:
                return media_type, example.encode() if isinstance(example, str) else json.dumps(
                    example
                ).encode()
        raise CannotTell(f"the document of {self._api.name} has no example of a submit")

    def _status_link(self, operation: Mapping[str, Any]) -> Mapping[str, Any]:
        """Where the document says that the new job's status is."""
        for response in map(self._found, operation["responses"].values()):
            for one in response.get("links", {}).values():
                link: Mapping[str, Any] = self._found(one)
                if self._api.operations[link["operationId"]].role is Role.STATUS:
                    return link
        raise CannotTell(
            f"the document of {self._api.name} has no link from {operation['operationId']} to a status"
        )

    def _found(self, node: Any) -> Any:
        while isinstance(node, Mapping) and "$ref" in node:
            target: Any = self._document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield path, method, operation


def _first_of(service: Service, role: Role) -> tuple[str, str, Mapping[str, Any]]:
    for one in _operations(service.document):
        if service.api.operations[one[2]["operationId"]].role is role:
            return one
    raise CannotTell(f"{service.api.name} has no operation of the role {role.value}")


def _example_in(parameter: Mapping[str, Any]) -> Any:
    examples = [one["value"] for one in parameter.get("examples", {}).values() if "value" in one]
    return parameter.get("example", examples[0] if examples else parameter.get("schema", {}).get("example"))


def _authorization(service: Service, stage: Stage) -> str:
    """Credentials that are good here; empty when none are needed."""
    settings = stage.scenario.settings[service.api.name]
    known = [one for value in settings.values() if isinstance(value, list | tuple) for one in value]
    tries = [""]
    for secret in ["understudy", "understudy:understudy", *map(str, known)]:
        tries += [f"Bearer {secret}", f"Basic {b64encode(secret.encode()).decode()}"]
    for credentials in tries:
        if service.api.authenticate(credentials or None, settings, stage.world) is None:
            return credentials
    return ""


def _pointed_at(answer: _Answer, expression: str) -> Any:
    """The value of a runtime expression of OpenAPI about an answer; None when there is none."""
    if expression.startswith("$response.header."):
        return answer.headers.get(expression.removeprefix("$response.header.").lower())
    value = answer.json
    for part in expression.removeprefix("$response.body").removeprefix("#").split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, dict):
            value = value.get(name)
        else:
            return None
    return value


def _texts_in(value: Any, wanted: Callable[[str], bool]) -> Iterator[str]:
    """Texts under the keys that are wanted, from the outside in as they are written."""
    if isinstance(value, dict):
        for key, part in value.items():
            if isinstance(part, str) and wanted(key):
                yield part
            yield from _texts_in(part, wanted)
    elif isinstance(value, list):
        for part in value:
            yield from _texts_in(part, wanted)


def _word_in(value: Any, names: frozenset[str]) -> str | None:
    return next(_texts_in(value, names.__contains__), None)


# ---- asking in this process -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Answer:
    """What came back, if anything did."""

    status: int | None
    headers: Mapping[str, str]
    body: bytes
    late_ms: int
    fault: str = ""
    """The connection broke."""

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def disturbed_by(self) -> str:
        """The rule, as the answer owns up to it."""
        return self.headers.get(CAUSE_HEADER.lower(), "")

    @property
    def text(self) -> str:
        """What a person would read in it: the first sentence, else all of it, cut to fit."""
        page = _TITLE.search(self.body)
        if page is not None:
            return page[1].decode("utf-8", "replace")
        value = self.json
        texts = [value] if isinstance(value, str) else _texts_in(value, lambda key: True)
        sentence = next((text for text in texts if " " in text), None)
        text = " ".join((self.body.decode("utf-8", "replace") if sentence is None else sentence).split())
        return text if len(text) <= TEXT_MAX else f"{text[:TEXT_MAX]}…"


class _Client:
    """Calls a front door without sockets."""

    def __init__(self, front: Front, clock: _Jumping) -> None:
        self._front = front
        self._clock = clock

    async def ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> _Answer:
        """One call, until its answer is there."""
        data = body or b""
        given = {"host": "127.0.0.1:4010", **headers} | ({"content-length": str(len(data))} if data else {})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(url),
            "raw_path": url.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
            "server": ("127.0.0.1", 4010),
            "client": ("127.0.0.1", 50_000),
        }
        waiting = [{"type": "http.request", "body": data, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> Any:
            # The client stays until it has its answer.
            return waiting.pop() if waiting else await asyncio.get_running_loop().create_future()

        async def send(message: Any) -> None:
            sent.append(message)

        began = self._clock.seconds
        fault = ""
        try:
            await self._front(scope, receive, send)
        except Broken as broken:
            fault = broken.fault
        late_ms = round((self._clock.seconds - began) * 1000)
        if fault or not sent:
            return _Answer(None, {}, b"", late_ms, fault or "no answer")
        start, *bodies = sent
        return _Answer(
            start["status"],
            {name.decode().lower(): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in bodies),
            late_ms,
        )


class _Jumping(selectors.DefaultSelector):
    """Waits for nothing: time jumps to when the next one wants to be woken."""

    seconds = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout > 0:
            self.seconds += timeout
            timeout = 0
        return super().select(timeout)


class _JumpingLoop(asyncio.SelectorEventLoop):
    """Its time is the selector's, and nobody else's."""

    def __init__(self, selector: _Jumping) -> None:
        super().__init__(selector)
        self._jumping = selector

    def time(self) -> float:
        return self._jumping.seconds
