"""A made-up API for tests of the web layer: nothing there knows any API, so any document with its functions will do."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import yaml

from simulator.apis.contract import Api, Call, Kind, Later, Problem, Refusal, Reply, Role, Upload, status_of
from simulator.apis.sample import SchemaSampler
from simulator.assemble import make_front, read_wish
from simulator.engine.job import State
from simulator.engine.rules import Rules
from simulator.engine.world import Limits, World
from simulator.runtime.timesource import TimeMode, TimeSource
from simulator.runtime.worlds import Worlds
from simulator.scenario.read import read_scenario
from simulator.web.front import Front
from simulator.web.ledger import Ledger
from simulator.web.service import Service
from tests.kit import Answer, Kit

DOCUMENT = """
openapi: 3.0.3
info: {title: Bakery, version: '1'}
servers: [{url: /shop}]
paths:
  /echo/{id}:
    get:
      operationId: echo
      parameters:
        - {name: id, in: path, required: true, schema: {type: string}}
        - {name: q, in: query, schema: {type: string}}
      responses: {'200': {$ref: '#/components/responses/Anything'}, default: {$ref: '#/components/responses/Error'}}
  /tally/{number}:
    get:
      operationId: tally
      parameters:
        - {name: number, in: path, required: true, schema: {$ref: '#/components/schemas/Number'}}
        - {name: more, in: query, schema: {$ref: '#/components/schemas/Number'}}
      responses: {'200': {$ref: '#/components/responses/Anything'}, default: {$ref: '#/components/responses/Error'}}
  /links:
    get:
      operationId: links
      responses:
        '200':
          description: Where we are.
          headers: {Location: {required: true, schema: {type: string}}}
          content: {application/json: {schema: {type: object}}}
        default: {$ref: '#/components/responses/Error'}
  /orders:
    post:
      operationId: order
      requestBody:
        content:
          application/json: {schema: {$ref: '#/components/schemas/Order'}}
          text/json: {schema: {$ref: '#/components/schemas/Order'}}
          application/*+json: {schema: {$ref: '#/components/schemas/Order'}}
          text/plain: {schema: {type: string, maxLength: 20}}
          multipart/form-data:
            schema: {type: object, properties: {cake: {type: string}, note: {type: string, maxLength: 20}}}
      responses: {'200': {$ref: '#/components/responses/Anything'}, default: {$ref: '#/components/responses/Error'}}
  /ovens:
    post:
      operationId: bake
      requestBody:
        required: true
        content: {application/json: {schema: {$ref: '#/components/schemas/Order'}}}
      responses: {'204': {description: Done.}, default: {$ref: '#/components/responses/Error'}}
  /vault:
    get:
      operationId: unlock
      security: [{key: []}]
      responses: {'200': {$ref: '#/components/responses/Anything'}, default: {$ref: '#/components/responses/Error'}}
  /cake:
    get:
      operationId: cake
      responses:
        '200':
          description: A cake.
          headers: {X-Taste: {required: true, schema: {type: string}}}
          content:
            application/json: {schema: {type: object, required: [slices], properties: {slices: {type: integer}}}}
        '404': {description: Eaten., content: {application/json: {schema: {type: object, required: [oops]}}}}
components:
  securitySchemes: {key: {type: apiKey, in: header, name: Authorization}}
  schemas:
    Number: {type: integer, minimum: 0, maximum: 100}
    Order: {type: object, properties: {count: {$ref: '#/components/schemas/Number'}}, nullable: true}
  responses:
    Anything: {description: Anything., content: {application/json: {schema: {}}}}
    Error:
      description: No.
      content: {application/json: {schema: {type: object, required: [oops], properties: {oops: {type: string}}}}}
"""


def error(refusal: Refusal, call: Call) -> Reply:
    """`{"oops": …}` for everything."""
    return Reply(status_of(refusal), {"oops": str(refusal)})


def authenticate(credentials: str | None, settings: Mapping[str, Any], world: World) -> Problem | None:
    """The key is `sesame`."""
    if credentials == "sesame":
        return None
    return Problem(Kind.UNAUTHORIZED, "no key", headers={"WWW-Authenticate": "Key"})


def make_api(cake: Callable[[Call], Reply | Later], role: Role = Role.STATUS) -> Api:
    """The API, in which one operation does what the test wants."""
    api = Api(
        name="bakery",
        title="The <Bakery>",
        document="bakery.yaml",
        rules=Rules(identify=lambda seed, number: str(number)),
        words={state: state.value for state in State},
        error=error,
        authenticate=authenticate,
    )

    @api.operation(Role.STATUS)
    def echo(call: Call) -> Reply:
        return Reply(200, dict(call.params), {"X-Echo": call.params["id"]})

    @api.operation(Role.STATUS)
    def tally(call: Call) -> Reply:
        return Reply(200, call.params["number"] + call.params.get("more", 0))

    @api.operation(Role.INFO)
    def links(call: Call) -> Reply:
        return Reply(200, {"self": call.base_url}, {"Location": f"{call.base_url}/orders"})

    @api.operation(Role.SUBMIT)
    def order(call: Call) -> Reply:
        return Reply(200, {"body": shown(call.body), "format": call.body_format})

    @api.operation(Role.SUBMIT)
    def bake(call: Call) -> Reply:
        return Reply(204)

    @api.operation(Role.INFO)
    def unlock(call: Call) -> Reply:
        return Reply(200, "gold")

    def cake_(call: Call) -> Reply | Later:
        return cake(call)

    cake_.__name__ = "cake"
    api.operation(role)(cake_)
    return api


def shown(body: Any) -> Any:
    """A body as JSON; of a file its name and a digest."""
    if isinstance(body, Upload):
        return [body.filename, body.media_type, hashlib.sha256(body.data).hexdigest()]
    if isinstance(body, dict):
        return {name: shown(part) for name, part in body.items()}
    return body


def good_cake(call: Call) -> Reply:
    return Reply(200, {"slices": 12}, {"X-Taste": "sweet"})


class Bakery(Kit):
    """A server of the made-up API alone, below `/bakery`, or of several copies of it under other names."""

    def __init__(
        self,
        cake: Callable[[Call], Reply | Later] = good_cake,
        *,
        role: Role = Role.STATUS,
        strict: bool = False,
        time: str = "frozen",
        timesource: TimeSource = lambda: 0,
        body_bytes_max: int = 1000,
        document: dict[str, Any] | None = None,
        scenario: str = "jobs: [{script: [succeeded]}]\n",
        names: Iterable[str] = ("bakery",),
        admin_token: str | None = None,
        retry_after_s: int | None = None,
        **limits: Any,
    ) -> None:
        self.ledger = Ledger()
        document = document or yaml.safe_load(DOCUMENT)
        services = {}
        for name in names:
            api = make_api(cake, role)
            api.name = name
            services[name] = Service(
                api,
                document,
                sampler=SchemaSampler(document),
                ledger=self.ledger,
                strict=strict,
                body_bytes_max=body_bytes_max,
                retry_after_s=retry_after_s,
            )
        worlds = Worlds(
            rules={name: service.api.rules for name, service in services.items()},
            scenario=read_scenario(scenario, apis={name: {} for name in services}, name="inline"),
            seed=7,
            mode=TimeMode.parse(time),
            limits=Limits(),
            timesource=timesource,
            **limits,
        )
        self.front = make_front(
            worlds,
            services,
            self.ledger,
            partial(read_wish, shipped={}, apis={name: service.api for name, service in services.items()}),
            strict=True,
            admin_token=admin_token,
        )


class Wire:
    """One exchange with everything in the hands of the test: raw bytes, messages one by one, the server's own address."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self.sent: list[dict[str, Any]] = []
        self.asked = 0

    def exchange(
        self,
        method: str = "GET",
        raw_path: bytes = b"/",
        *,
        path: str | None = None,
        query: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] = (),
        messages: Iterable[dict[str, Any]] = ({"type": "http.request", "body": b""},),
        **scope: Any,
    ) -> Wire:
        """Send a request; what comes back is in `sent`."""
        waiting = list(messages)

        async def receive() -> dict[str, Any]:
            self.asked += 1
            return waiting.pop(0) if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            self.sent.append(dict(message))

        whole = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": raw_path.decode("latin-1") if path is None else path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": list(headers),
            "server": ("127.0.0.1", 4010),
            "client": ("127.0.0.1", 50000),
        }
        asyncio.run(self.front(whole | scope, receive, send))
        return self

    @property
    def answer(self) -> Answer:
        start, *bodies = self.sent
        return Answer(
            start["status"],
            {name.decode(): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in bodies),
        )
