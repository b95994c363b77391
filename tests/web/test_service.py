"""One API as HTTP: what every API has in common, shown by all five and by a made-up one that the product does not know."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from simulator.apis.contract import CHANGING, Call, Later, Reply, Role
from simulator.apis.sample import SchemaSampler
from simulator.assemble import API_MODULES
from simulator.engine.command import Submit
from simulator.engine.errors import LimitReached, UnknownJob
from simulator.engine.job import State
from simulator.engine.world import START_MS
from simulator.runtime.timesource import wall_clock
from simulator.web.service import PATH_CHARACTERS_MAX, RequestHeaders, Service
from tests.kit import Answer, Kit
from tests.web.made_up import DOCUMENT, Bakery, Wire

METHODS = ("GET", "PUT", "POST", "DELETE", "PATCH", "TRACE")
KEY = {"Authorization": "Bearer a-token"}
JSON = {"Content-Type": "application/json"}

# ---- what is known of the five: their envelopes, and what one of them answers to bad input ----------------------


def _is_envelope_of_titan(answer: Answer) -> bool:
    return isinstance(answer.json()["error"]["message"], str)


def _is_envelope_of_ogc(answer: Answer) -> bool:
    body = answer.json()
    return body["status"] == answer.status and {"type", "title", "detail"} <= body.keys()


def _is_envelope_of_ica(answer: Answer) -> bool:
    return {"code", "message"} <= answer.json().keys()


def _is_envelope_of_synapse(answer: Answer) -> bool:
    return {"concreteType", "reason"} <= answer.json().keys()


def _is_envelope_of_jbpm(answer: Answer) -> bool:
    return re.fullmatch('"[^"]*"', answer.text) is not None and answer.headers["content-type"] == "text/plain"


BAD_INPUT = dict.fromkeys(API_MODULES, 400) | {"jbpm": 500}
BAD_PARAMETER = dict.fromkeys(API_MODULES, 400) | {"jbpm": 404}


def assert_refused(name: str, answer: Answer, status: int) -> None:
    assert answer.status == status, answer.text
    assert globals()[f"_is_envelope_of_{name}"](answer), answer.text
    assert "Traceback" not in answer.text


# ---- all operations of the five, read from their documents ------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """One documented operation as it is reached on the server."""

    api: str
    id: str
    method: str
    template: str
    operation: dict[str, Any]
    examples: tuple[tuple[str, str], ...]
    base: str

    def __str__(self) -> str:
        return f"{self.api}-{self.id}"

    @property
    def path(self) -> str:
        """With the documented examples as parameters."""
        return self.path_with(dict(self.examples))

    def path_with(self, values: dict[str, str]) -> str:
        return self.base + re.sub(r"\{([^}]*)\}", lambda found: values[found[1]], self.template)

    @property
    def body_types(self) -> list[str]:
        return list(self.operation.get("requestBody", {}).get("content", {}))

    @property
    def json_type(self) -> str | None:
        return next((one for one in self.body_types if "json" in one), None)


@cache
def shared_kit() -> Kit:
    return Kit()


def _targets() -> Iterator[Target]:
    for name, service in shared_kit().front.services.items():
        document = service.document
        base = f"/{name}{service.base_path}"
        for template, item in document["paths"].items():
            for method in METHODS:
                operation = item.get(method.lower())
                if operation is None:
                    continue
                given = [
                    _found(document, one)
                    for one in (*item.get("parameters", ()), *operation.get("parameters", ()))
                ]
                operation = operation | {"parameters": given}
                if "requestBody" in operation:
                    operation["requestBody"] = _found(document, operation["requestBody"])
                examples = tuple((one["name"], str(one["example"])) for one in given if one["in"] == "path")
                yield Target(name, operation["operationId"], method, template, operation, examples, base)


def _found(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in node:
        return node
    target: Any = document
    for part in node["$ref"].removeprefix("#/").split("/"):
        target = target[part]
    return dict(target)


TARGETS = list(_targets())


def is_changing(target: Target) -> bool:
    return shared_kit().front.services[target.api].api.operations[target.id].role in CHANGING


def is_raw(target: Target) -> bool:
    return shared_kit().front.services[target.api].api.operations[target.id].raw_body


def of(condition: Callable[[Target], Any]) -> pytest.MarkDecorator:
    chosen = [target for target in TARGETS if condition(target)]
    assert chosen
    return pytest.mark.parametrize("target", chosen, ids=str)


EVERY_API = pytest.mark.parametrize("name", API_MODULES)


@pytest.fixture
def kit() -> Iterator[Kit]:
    """The server of all five; whatever a client does, no reply of ours may break its document and nothing may crash."""
    kit = shared_kit()
    before = len(kit.ledger.lines("server"))
    yield kit
    assert kit.ledger.lines("server")[before:] == []


# ---- paths and methods ------------------------------------------------------------------------------------------


@EVERY_API
@pytest.mark.parametrize(
    "path", ["/nothing/here", "", "/", "//", "/%2F", "/%0A", "/../..", "/%C3%28", "/:", "/{id}", "/%"]
)
def test_an_unknown_path_is_not_found(kit: Kit, name: str, path: str) -> None:
    service = kit.front.services[name]
    base = f"/{name}{service.base_path}"
    is_root = not path.strip("/") and (service.has_root or not service.base_path)
    for method in ("GET", "POST", "PATCH"):
        if not is_root or (path == "/" and not service.has_root):
            assert_refused(name, kit.request(method, base + path, headers=KEY), 404)


@of(lambda target: True)
def test_a_path_that_goes_on_or_has_doubled_slashes_is_not_found(kit: Kit, target: Target) -> None:
    wrong = [target.path + "/and/more", target.path.replace("/", "//"), target.path + "/%0A"]
    if not target.template.endswith("}"):
        wrong += [target.path + "%2F", target.path + "%0A", target.path + "%00"]
    for path in wrong:
        assert kit.request(target.method, path, headers=KEY).status in (404, 405), path


@of(lambda target: True)
def test_every_method_that_is_not_documented_is_refused_with_all_that_are(kit: Kit, target: Target) -> None:
    same_path = [one for one in TARGETS if (one.api, one.template) == (target.api, target.template)]
    allowed = {one.method for one in same_path} | {"OPTIONS"}
    if any(one.method == "GET" and not is_changing(one) for one in same_path):
        allowed.add("HEAD")
    for method in {*METHODS, "HEAD", "LINK"} - allowed:
        answer = kit.request(method, target.path, headers=KEY)
        assert answer.status == 405, method
        assert set(answer.headers["allow"].split(", ")) == allowed
        if method != "HEAD":
            assert_refused(target.api, answer, 405)


@of(lambda target: True)
def test_options_tells_the_same_methods_and_needs_no_credentials(kit: Kit, target: Target) -> None:
    refused = kit.request("LINK", target.path, headers=KEY)
    answer = kit.request("OPTIONS", target.path)
    assert (answer.status, answer.content) == (204, b"")
    assert answer.headers["allow"] == refused.headers["allow"]
    assert "content-length" not in answer.headers
    assert kit.request("OPTIONS", target.path + "/").headers["allow"] == refused.headers["allow"]


def test_the_very_first_call_is_told_the_same_as_all_others() -> None:
    changing = next(target for target in TARGETS if target.method == "GET" and is_changing(target))
    assert "HEAD" not in Kit(apis=(changing.api,)).request("OPTIONS", changing.path).headers["allow"]


@EVERY_API
def test_options_for_an_unknown_path_is_not_found(kit: Kit, name: str) -> None:
    answer = kit.request("OPTIONS", f"/{name}{kit.front.services[name].base_path}/nothing/here")
    assert_refused(name, answer, 404)


@of(lambda target: target.template.endswith(("}:abort", "}:heartbeat")))
def test_a_verb_behind_a_colon_is_no_part_of_an_id(kit: Kit, target: Target) -> None:
    for path in (target.path, target.path.replace(":", "%3A"), target.path.replace(":", "%3a")):
        assert_refused(target.api, kit.get(path, headers=KEY), 405)
        assert_refused(target.api, kit.request(target.method, path, headers=KEY), 404)
    # Without an id before it, it is one.
    assert kit.get(target.path_with({"runId": ""}), headers=KEY).status == 404
    assert kit.request(target.method, target.path_with({"runId": ""}), headers=KEY).status == 405


@of(lambda target: target.method == "GET" and not is_changing(target))
def test_a_trailing_slash_makes_no_difference(kit: Kit, target: Target) -> None:
    plain, slashed = kit.get(target.path, headers=KEY), kit.get(target.path + "/", headers=KEY)
    assert (plain.status, plain.headers, plain.content) == (slashed.status, slashed.headers, slashed.content)
    assert "location" not in slashed.headers


@EVERY_API
def test_a_path_may_be_long_but_not_longer_than_the_limit(kit: Kit, name: str) -> None:
    base = kit.front.services[name].base_path
    fits = base + "/" + "x" * (PATH_CHARACTERS_MAX - len(base) - 1)
    assert_refused(name, kit.get(f"/{name}{fits}"), 404)
    assert_refused(name, kit.get(f"/{name}{fits}x"), 414)
    assert kit.request("HEAD", f"/{name}{fits}x").content == b""


# ---- HEAD -------------------------------------------------------------------------------------------------------


@of(lambda target: target.method == "GET" and not is_changing(target))
def test_head_is_get_without_the_body(kit: Kit, target: Target) -> None:
    got, head = kit.get(target.path, headers=KEY), kit.request("HEAD", target.path, headers=KEY)
    assert (head.status, head.headers, head.content) == (got.status, got.headers, b"")
    assert int(head.headers["content-length"]) == len(got.content)


@pytest.mark.parametrize("path", ["/nothing", "/{id}", ""])
@EVERY_API
def test_a_refusal_of_head_has_no_body_either(kit: Kit, name: str, path: str) -> None:
    path = f"/{name}{kit.front.services[name].base_path}/nothing{path}"
    got, head = kit.get(path), kit.request("HEAD", path)
    assert (head.status, head.headers, head.content) == (got.status, got.headers, b"")


@of(lambda target: target.method == "GET" and is_changing(target))
def test_head_never_does_what_a_get_would_do(kit: Kit, target: Target) -> None:
    journal = kit.front.worlds.default.journal
    before = len(journal)
    head = kit.request("HEAD", target.path, headers=KEY)
    assert (head.status, head.content) == (405, b"")
    assert set(head.headers["allow"].split(", ")) == {"GET", "OPTIONS"}
    assert len(journal) == before


def test_head_claims_no_job_and_cancels_none() -> None:
    kit = Kit()
    [waiting] = kit.post("/titan/v1/jobs", json={"jobs": [{"image": "a"}]}).json()["jobs"]
    kit.request("HEAD", "/titan/v1/jobs/consume")
    assert kit.get(f"/titan/v1/job/{waiting['id']}").json()["job"]["status"] == "queued"
    jobs = "/synapse/repo/v1/asynchronous/job"
    body = {"concreteType": "org.sagebionetworks.repo.model.table.QueryBundleRequest"}
    job = f"{jobs}/{kit.post(jobs, json=body, headers=KEY).json()['jobId']}"
    kit.request("HEAD", f"{job}/cancel", headers=KEY)
    assert kit.get(job, headers=KEY).json()["jobCanceling"] is False
    kit.get(f"{job}/cancel", headers=KEY)
    assert kit.get(job, headers=KEY).json()["jobCanceling"] is True


# ---- credentials ------------------------------------------------------------------------------------------------


@of(lambda target: True)
def test_without_credentials_a_secured_operation_says_which_are_wanted(kit: Kit, target: Target) -> None:
    service = kit.front.services[target.api]
    wanted = target.operation.get("security", service.document.get("security"))
    settings = kit.front.worlds.default.scenario.settings[target.api]
    refuses = service.api.authenticate(None, settings, kit.world) is not None
    answer = kit.request(target.method, target.path)
    if wanted and refuses:
        assert_refused(target.api, answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "401" in target.operation["responses"]
    else:
        assert answer.status != 401


# ---- media types ------------------------------------------------------------------------------------------------


def _success_types(target: Target) -> list[str]:
    document = shared_kit().front.services[target.api].document
    successes = [
        _found(document, one) for status, one in target.operation["responses"].items() if status[0] == "2"
    ]
    return [name for one in successes for name in one.get("content", {})]


@of(_success_types)
def test_an_answer_that_nobody_accepts_is_refused_before_anything_is_done(kit: Kit, target: Target) -> None:
    journal = kit.front.worlds.default.journal
    before = len(journal)
    for accept in ("image/png", "*/*;q=0", "text/css, image/*;q=0.5"):
        answer = kit.request(target.method, target.path, headers=KEY | {"Accept": accept})
        assert_refused(target.api, answer, 406)
    assert len(journal) == before
    assert "406" in target.operation["responses"]


@of(lambda target: target.method == "GET" and not is_changing(target) and _success_types(target))
def test_every_documented_media_type_can_be_asked_for(kit: Kit, target: Target) -> None:
    for media_type in _success_types(target):
        for accept in (media_type, media_type.upper(), f"image/png, {media_type};q=0.1", "*/*"):
            assert kit.get(target.path, headers=KEY | {"Accept": accept}).status != 406


@of(lambda target: target.body_types and not is_raw(target))
def test_a_body_of_an_unknown_media_type_is_refused(kit: Kit, target: Target) -> None:
    for content_type in ("image/png", "garbage", ";", "application/", "multipart/mixed; boundary=b"):
        headers = KEY | {"Content-Type": content_type}
        answer = kit.request(target.method, target.path, data=b"{}", headers=headers)
        assert_refused(target.api, answer, 415)
    assert "415" in target.operation["responses"]


@of(lambda target: target.json_type and not is_raw(target))
def test_json_is_json_however_its_media_type_is_written(kit: Kit, target: Target) -> None:
    """All are read as JSON, for they are refused as broken and not as unknown."""
    written = [f"{name}; charset=utf-8" for name in target.body_types if "json" in name]
    for content_type in [*written, *map(str.upper, written)]:
        headers = KEY | {"Content-Type": content_type}
        answer = kit.request(target.method, target.path, data=b'{"a":', headers=headers)
        assert_refused(target.api, answer, BAD_INPUT[target.api])


# ---- bodies -----------------------------------------------------------------------------------------------------

BROKEN_JSON = [
    b"{",
    b"\xff",
    b'{"a": "\xe4"}',
    '{"a": 1}'.encode("utf-16"),
    b'{"a": NaN}',
    b"Infinity",
    b'{"a": "\\ud800"}',
    b"1e400",
    b"[" * 10_000,
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
]


@of(lambda target: target.json_type and not is_raw(target))
def test_a_body_that_is_not_json_is_refused(kit: Kit, target: Target) -> None:
    headers = KEY | {"Content-Type": str(target.json_type)}
    for body in BROKEN_JSON:
        answer = kit.request(target.method, target.path, data=body, headers=headers)
        assert_refused(target.api, answer, BAD_INPUT[target.api])
        assert len(answer.content) < 2000


ANY_JSON = [
    b"null",
    b"0",
    b'""',
    b"[]",
    b"{}",
    b'{"": ""}',
    b"123456789012345678901234567890",
    b'{"a": "\\u0000"}',
    b'{"a": 123456789012345678901234567890}',
    b'{"a":' * 190 + b"1" + b"}" * 190,
    b'{"a":' * 300 + b"1" + b"}" * 300,
]


@of(lambda target: target.json_type)
def test_any_json_value_gets_an_answer_as_documented(kit: Kit, target: Target) -> None:
    headers = KEY | {"Content-Type": str(target.json_type)}
    for body in ANY_JSON:
        answer = kit.request(target.method, target.path, data=body, headers=headers)
        assert answer.status < 500 or target.api == "jbpm", body
        assert "mistake" not in answer.text, body


@of(lambda target: target.body_types)
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(target: Target) -> None:
    kit = Kit(apis=(target.api,), body_bytes_max=1000)
    headers = KEY | {"Content-Type": target.body_types[0]}
    fits = kit.request(target.method, target.path, data=b" " * 1000, headers=headers)
    assert fits.status != 413
    for more in (
        {"data": b" " * 1001},
        {"chunks": [b" " * 400] * 3},
        {"chunks": [b" " * 1000, b"", b" "]},
        {"headers": headers | {"Content-Length": "1001"}},
    ):
        answer = kit.request(target.method, target.path, **({"headers": headers} | more))
        assert_refused(target.api, answer, 413)
        assert answer.headers["connection"] == "close"
    assert "413" in target.operation["responses"]


@EVERY_API
def test_each_api_has_its_own_limit_unless_the_server_was_told_one(name: str) -> None:
    service = Kit(apis=(name,)).front.services[name]
    assert service.body_bytes_max == service.api.body_bytes_max
    assert Kit(apis=(name,), body_bytes_max=5).front.services[name].body_bytes_max == 5


@of(
    lambda target: target.json_type and target.operation["requestBody"].get("required") and not is_raw(target)
)
def test_a_required_body_that_is_missing_is_asked_for(kit: Kit, target: Target) -> None:
    for headers in (KEY, KEY | {"Content-Type": str(target.json_type)}):
        answer = kit.request(target.method, target.path, headers=headers)
        assert_refused(target.api, answer, BAD_INPUT[target.api])


@of(lambda target: target.body_types and not target.operation["requestBody"].get("required"))
def test_an_optional_body_may_be_left_out(kit: Kit, target: Target) -> None:
    """The operation is carried out, or there is no job of the documented example's id."""
    for content_type in (None, *target.body_types, "text/nonsense"):
        headers = KEY if content_type is None else KEY | {"Content-Type": content_type}
        assert kit.request(target.method, target.path, headers=headers).status in (200, 201, 404)


@of(lambda target: target.json_type and not is_raw(target))
def test_a_body_in_pieces_is_the_same_body(target: Target) -> None:
    content = target.operation["requestBody"]["content"][target.json_type]
    example = content.get("example") or next(iter(content.get("examples", {}).values()), None)
    document = shared_kit().front.services[target.api].document
    value = _found(document, example)["value"] if "example" not in content else example
    body = json.dumps(value).encode()
    headers = KEY | {"Content-Type": str(target.json_type)}
    pieces = [body[place : place + 3] for place in range(0, len(body), 3)]
    whole = Kit(apis=(target.api,)).request(target.method, target.path, data=body, headers=headers)
    chunked = Kit(apis=(target.api,)).request(
        target.method, target.path, chunks=[b"", *pieces, b""], headers=headers
    )
    assert (chunked.status, chunked.content) == (whole.status, whole.content)


# ---- multipart --------------------------------------------------------------------------------------------------


@of(lambda target: "multipart/form-data" in target.body_types)
@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("multipart/form-data", b"log=hello"),
        ("multipart/form-data; boundary=", b"--\r\n"),
        ("multipart/form-data; boundary=b", b"hello"),
        ("multipart/form-data; boundary=b", b'--b\r\nContent-Disposition: form-data; name="log"\r\n\r\ncut'),
        ("multipart/form-data; boundary=b", b"--b--\r\n"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n1\r\n' * 2000 + b"--b--\r\n",
        ),
    ],
    ids=["no boundary", "empty boundary", "no parts", "no end", "no fields", "too many fields"],
)
def test_a_broken_form_is_refused(kit: Kit, target: Target, content_type: str, body: bytes) -> None:
    headers = KEY | {"Content-Type": content_type}
    answer = kit.request(target.method, target.path, data=body, headers=headers)
    assert_refused(target.api, answer, BAD_INPUT[target.api])


# ---- parameters -------------------------------------------------------------------------------------------------

NASTY = [
    "%2F",
    "a%2Fb",
    "%2f%2f",
    "..",
    "%2E%2E",
    "%00",
    "%0A",
    "a%0D%0AX-Evil:%20yes",
    "%FF",
    "%C3%28",
    "%ED%B0%AF",
    "%F0%9F%98%80",
    "%25",
    "%3Aabort",
    "{id}",
    "+",
    "-1",
    "0",
    "9" * 40,
    "9" * 4000,
    "-" + "9" * 4000,
    "x" * 3000,
    "'%22%3C%3E",
]


@of(lambda target: target.examples)
def test_no_id_is_too_strange_for_an_answer(kit: Kit, target: Target) -> None:
    body = {"json": {}} if target.json_type else {}
    for value in NASTY:
        path = target.path_with(dict.fromkeys(dict(target.examples), value))
        answer = kit.request(target.method, path, headers=KEY, **body)
        assert answer.status < 500 or target.api == "jbpm", value
        assert "mistake" not in answer.text, value
        assert all(text.isprintable() for text in answer.headers.values()), value
        assert "x-evil" not in answer.headers, value


@of(lambda target: target.method == "GET" and not is_changing(target))
def test_unknown_query_parameters_are_ignored(kit: Kit, target: Target) -> None:
    plain = kit.get(target.path, headers=KEY)
    for query in ("unheard-of=1", "&&=&", "%FF=%00", "a=b;c=d", "x[]=1&x[]=2"):
        assert kit.get(f"{target.path}?{query}", headers=KEY).content == plain.content


def _integers(target: Target) -> list[str]:
    return [
        one["name"]
        for one in target.operation["parameters"]
        if one["in"] == "query" and one["schema"].get("type") == "integer"
    ]


@of(_integers)
def test_a_number_that_is_none_is_refused(kit: Kit, target: Target) -> None:
    for name in _integers(target):
        for text in ("x", "", "1.5", "9" * 4000, "%00", f"1&{name}=x", "%D9%A3"):
            answer = kit.request(target.method, f"{target.path}?{name}={text}", headers=KEY)
            assert_refused(target.api, answer, BAD_PARAMETER[target.api])


@of(_integers)
def test_a_number_of_forty_digits_is_refused_where_there_is_a_maximum(kit: Kit, target: Target) -> None:
    bounded = [one["name"] for one in target.operation["parameters"] if "maximum" in one["schema"]]
    for name in _integers(target):
        answer = kit.request(target.method, f"{target.path}?{name}={'9' * 40}", headers=KEY)
        if name in bounded:
            assert_refused(target.api, answer, BAD_PARAMETER[target.api])
        else:
            assert answer.status == 200


@of(_integers)
def test_of_a_repeated_parameter_the_last_one_counts(kit: Kit, target: Target) -> None:
    for name in _integers(target):
        once = kit.request(target.method, f"{target.path}?{name}=3", headers=KEY)
        twice = kit.request(target.method, f"{target.path}?{name}=x&{name}=3", headers=KEY)
        assert (twice.status, twice.content) == (once.status, once.content)


@of(lambda target: any(one["in"] == "query" for one in target.operation["parameters"]))
def test_more_than_a_thousand_query_parameters_are_refused(kit: Kit, target: Target) -> None:
    query = "&".join(["a=1"] * 1001)
    answer = kit.request(target.method, f"{target.path}?{query}", headers=KEY)
    assert_refused(target.api, answer, BAD_INPUT[target.api])


# ---- the world's time -------------------------------------------------------------------------------------------


@EVERY_API
def test_every_answer_carries_the_date_of_the_world(name: str) -> None:
    kit = Kit(apis=(name,))
    base = f"/{name}{kit.front.services[name].base_path}"
    target = next(one for one in TARGETS if one.api == name and one.method == "GET" and not is_changing(one))
    dates = {"Tue, 01 Jan 2030 00:00:00 GMT", "Thu, 31 Jan 2030 01:00:05 GMT"}
    for date in sorted(dates, reverse=True):
        for method, path in [
            ("GET", target.path),
            ("HEAD", target.path),
            ("OPTIONS", target.path),
            ("LINK", target.path),
            ("GET", f"{base}/nothing"),
            ("GET", f"{base}/{'x' * 5000}"),
            ("GET", f"/{name}/openapi.json"),
        ]:
            assert kit.request(method, path).headers["date"] == date, (method, path)
        kit.advance("30d1h5s")


# ---- a made-up API: answers -------------------------------------------------------------------------------------


def test_a_service_can_be_made_of_any_document_and_its_functions() -> None:
    answer = Bakery(strict=True).get("/bakery/shop/cake")
    assert (answer.status, answer.json()) == (200, {"slices": 12})
    assert answer.headers == {
        "x-taste": "sweet",
        "content-type": "application/json",
        "date": "Tue, 01 Jan 2030 00:00:00 GMT",
        "content-length": "13",
    }


BREACHES: dict[str, tuple[Reply, str]] = {
    "schema": (
        Reply(200, {"slices": "many"}, {"X-Taste": "sweet"}),
        'cake 200 /slices: "many" is not of type "integer"',
    ),
    "missing member": (
        Reply(200, {}, {"X-Taste": "sweet"}),
        'cake 200 /slices: "slices" is a required property',
    ),
    "undeclared status": (Reply(418, {"oops": "tea"}), "cake 418 (whole): status 418 is not declared"),
    "undeclared media type": (
        Reply(200, b"a cake", {"X-Taste": "sweet"}, media_type="text/plain"),
        "cake 200 (whole): content type text/plain is not declared",
    ),
    "missing header": (Reply(200, {"slices": 1}), "cake 200 (whole): header x-taste is required and missing"),
    "missing body": (
        Reply(200, None, {"X-Taste": "sweet"}),
        "cake 200 (whole): the declared body is missing",
    ),
    "not UTF-8": (
        Reply(200, b"\xff", {"X-Taste": "sweet"}, media_type="application/json"),
        'cake 200 (whole): "?" is not of type "object"',
    ),
}
EVERY_BREACH = pytest.mark.parametrize(("reply", "told"), BREACHES.values(), ids=list(BREACHES))


@EVERY_BREACH
def test_a_reply_that_breaks_the_document_is_sent_and_says_so(
    reply: Reply, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    kit = Bakery(lambda call: reply)
    answer = kit.get("/bakery/shop/cake")
    assert answer.status == reply.status
    assert answer.headers["x-understudy-violation"] == told
    [line] = kit.ledger.lines("server")
    assert (line.api, line.operation) == ("bakery", "cake")
    assert "breaks the document" in caplog.text


@EVERY_BREACH
def test_a_strict_server_answers_it_with_a_500_in_the_envelope_of_the_api(reply: Reply, told: str) -> None:
    kit = Bakery(lambda call: reply, strict=True)
    answer = kit.get("/bakery/shop/cake")
    assert answer.status == 500
    assert answer.headers["x-understudy-violation"] == told
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["oops"].startswith("the reply breaks the document: cake ")
    assert "x-taste" not in answer.headers
    assert len(kit.ledger.lines("server")) == 1


def test_a_violation_on_one_line_whatever_it_quotes() -> None:
    quoted = "a\r\nSet-Cookie: evil=1\u2028\x00 ä €" + "x" * 100_000
    answer = Bakery(lambda call: Reply(200, quoted, {"X-Taste": "sweet"})).get("/bakery/shop/cake")
    told = answer.headers["x-understudy-violation"]
    assert told.isprintable()
    assert len(told) < 2000
    assert "set-cookie" not in answer.headers


def test_a_documented_error_breaks_nothing() -> None:
    kit = Bakery(lambda call: Reply(404, {"oops": "eaten"}), strict=True)
    answer = kit.get("/bakery/shop/cake")
    assert (answer.status, answer.json()) == (404, {"oops": "eaten"})
    assert kit.ledger.lines() == []


def test_values_that_json_cannot_hold_are_our_mistake(caplog: pytest.LogCaptureFixture) -> None:
    answer = Bakery(lambda call: Reply(200, {"slices": 2**70}, {"X-Taste": "sweet"})).get("/bakery/shop/cake")
    assert answer.status == 500
    assert "oops" in answer.json()


def test_a_crash_is_a_500_in_the_envelope_and_its_traceback_is_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def crash(call: Call) -> Reply:
        raise ZeroDivisionError("a secret of ours")

    kit = Bakery(crash)
    answer = kit.get("/bakery/shop/cake")
    assert answer.status == 500
    assert answer.json() == {"oops": "understudy made a mistake; its log says more"}
    assert "secret" not in str(answer)
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR and one.exc_info]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ZeroDivisionError)
    assert kit.get("/bakery/shop/links").status == 200
    assert any("crashed" in line.message for line in kit.ledger.lines("server"))


def test_a_head_that_crashes_has_no_body() -> None:
    def crash(call: Call) -> Reply:
        raise RecursionError

    answer = Bakery(crash).request("HEAD", "/bakery/shop/cake")
    assert (answer.status, answer.content) == (500, b"")


# ---- a made-up API: bodies --------------------------------------------------------------------------------------

ORDERS = "/bakery/shop/orders"


@pytest.mark.parametrize(
    ("content_type", "body", "read", "body_format"),
    [
        ("application/json", b'{"count": 3}', {"count": 3}, "application/json"),
        (None, b'{"count": 3}', {"count": 3}, "application/json"),
        ("", b'{"count": 3}', {"count": 3}, "application/json"),
        ("APPLICATION/JSON; Charset=UTF-8", b'{"count": 3}', {"count": 3}, "application/json"),
        ("text/json", b'{"count": 3}', {"count": 3}, "text/json"),
        ("Text/Json;x=y", b'{"count": 3}', {"count": 3}, "text/json"),
        ("application/*+json", b'{"count": 3}', {"count": 3}, "application/*+json"),
        ("application/vnd.acme+json", b'{"count": 3}', {"count": 3}, "application/*+json"),
        ("application/json-patch+json", b"null", None, "application/*+json"),
        ("text/plain", b'{"count": 3}', '{"count": 3}', "text/plain"),
        ("text/plain;charset=utf-8", "ä€".encode(), "ä€", "text/plain"),
        ("application/json", b"", None, ""),
        ("image/png", b"", None, ""),
    ],
)
def test_a_body_is_decoded_by_its_media_type(
    content_type: str | None, body: bytes, read: Any, body_format: str
) -> None:
    headers = {} if content_type is None else {"Content-Type": content_type}
    answer = Bakery().post(ORDERS, data=body, headers=headers)
    assert answer.json() == {"body": read, "format": body_format}


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        ("application/json", b'{"count": 101}', 400),
        ("application/*+json", b'{"count": "1"}', 400),
        ("text/json", b"{", 400),
        ("text/plain", b"\xff", 400),
        ("text/plain", b"x" * 21, 400),
        ("application/xml", b"<a/>", 415),
        ("application/problem", b"{}", 415),
        ("image/png", b"x", 415),
        ("multipart/form-data", b"x", 400),
    ],
)
def test_a_body_that_breaks_the_document_is_refused_and_noted(
    content_type: str, body: bytes, status: int
) -> None:
    kit = Bakery()
    answer = kit.post(ORDERS, data=body, headers={"Content-Type": content_type})
    assert answer.status == status
    assert answer.json()["oops"]
    [line] = kit.ledger.lines()
    assert (line.by, line.api, line.operation) == ("client", "bakery", "order")


def test_forms_bring_fields_and_files_exactly() -> None:
    log = bytes(range(256)) * 3
    form = (
        b'--b\r\nContent-Disposition: form-data; name="cake"; filename="c.bin"\r\nContent-Type: image/png\r\n\r\n'
        + log
        + b'\r\n--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nsweet\r\n--b--\r\n'
    )
    headers = {"Content-Type": "Multipart/Form-Data; boundary=b"}
    file = ["c.bin", "image/png", hashlib.sha256(log).hexdigest()]
    for more in ({"data": form}, {"chunks": [form[:7], form[7:300], form[300:]]}):
        answer = Bakery(body_bytes_max=2000).post(ORDERS, headers=headers, **more)
        assert answer.json() == {"body": {"cake": file, "note": "sweet"}, "format": "multipart/form-data"}
    too_long = form.replace(b"sweet", b"s" * 21)
    assert Bakery(body_bytes_max=2000).post(ORDERS, data=too_long, headers=headers).status == 400


def test_an_operation_without_a_body_reads_none() -> None:
    wire = Wire(Bakery().front).exchange(
        "GET", b"/bakery/shop/links", headers=[(b"content-length", b"99999")]
    )
    assert wire.answer.status == 200
    assert wire.asked == 0


def test_a_body_announced_as_too_large_is_refused_unread() -> None:
    wire = Wire(Bakery().front).exchange("POST", ORDERS.encode(), headers=[(b"content-length", b"1001")])
    assert wire.answer.status == 413
    assert wire.asked == 0


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [{"type": "http.request", "body": b'{"cou', "more_body": True}],
        [
            {"type": "http.request", "body": b"", "more_body": True},
            {"type": "http.request", "more_body": True},
        ],
    ],
)
def test_a_client_that_goes_away_while_it_sends_gets_no_answer(
    messages: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    kit = Bakery()
    wire = Wire(kit.front).exchange("POST", ORDERS.encode(), messages=messages)
    assert wire.sent == []
    assert kit.ledger.lines() == []
    assert caplog.records == []


# ---- a made-up API: parameters, names and addresses -------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a", "a"),
        ("a%20b+c", "a b+c"),
        ("%C3%A4%E2%82%AC%F0%9F%98%80", "ä€😀"),
        ("a%2Fb", "a/b"),
        ("%2F", "/"),
        ("%2f%2F", "//"),
        ("a%252Fb", "a%2Fb"),
        ("%00", "\0"),
        ("a%0Ab", "a\nb"),
        ("%0A", "\n"),
        ("%FF", "�"),
        ("%FF%2F", "�/"),
        ("%ED%B0%AF", "���"),
        ("%", "%"),
        ("%zz%2", "%zz%2"),
        ("..", ".."),
        (":", ":"),
        ("a;b=c,d@e!$&'()*", "a;b=c,d@e!$&'()*"),
        ("%3Fx%23y", "?x#y"),
    ],
)
def test_an_id_comes_to_the_handler_decoded(written: str, read: str) -> None:
    answer = Bakery().get(f"/bakery/shop/echo/{written}")
    assert answer.json() == {"id": read}


def test_a_parameter_whose_schema_has_a_name_is_typed_as_well() -> None:
    kit = Bakery()
    assert kit.get("/bakery/shop/tally/1?more=2").json() == 3
    assert kit.get("/bakery/shop/tally/1?more=101").status == 400
    assert kit.get("/bakery/shop/tally/101").status == 400
    assert kit.get("/bakery/shop/tally/one").status == 404


def test_a_header_of_an_answer_stays_on_its_line() -> None:
    answer = Bakery().get(
        "/bakery/shop/echo/" + quote("a\r\nSet-Cookie: evil=1\n\n<html>\x00\x7f\x85\u2028ä€")
    )
    assert "set-cookie" not in answer.headers
    assert answer.headers["x-echo"] == "a  Set-Cookie: evil=1  <html>    ä?"
    assert answer.json()["id"].startswith("a\r\nSet-Cookie")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:80",
        "sim.example.org:4010",
        "127.0.0.1:4010",
        "[::1]:4010",
        "[fe80::1]",
        "a_b",
        "x" * 255,
    ],
)
def test_links_carry_the_host_that_the_client_wrote(host: str) -> None:
    answer = Bakery().get("/bakery/shop/links", headers={"Host": host})
    assert answer.headers["location"] == f"http://{host}/bakery/shop/orders"
    assert answer.json() == {"self": f"http://{host}/bakery/shop"}


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "a b",
        "evil.example/path",
        "evil.example?x",
        "evil.example#x",
        "user@evil.example",
        "evil\\example",
        '"><script>',
        "a\r\nX-Evil: 1",
        "h\xf6st",
        "a:b",
        "a:80:80",
        "a:123456",
        "[::1",
        "::1",
        "[evil.example]",
        "x" * 256,
        "%41",
        "a,b",
    ],
)
def test_what_is_no_host_never_comes_into_a_link(host: str) -> None:
    answer = Bakery().get("/bakery/shop/links", headers={"Host": host})
    assert answer.headers["location"] == "http://127.0.0.1:4010/bakery/shop/orders"


@pytest.mark.parametrize(
    ("scope", "origin"),
    [
        ({"server": ("192.0.2.1", 80)}, "http://192.0.2.1:80"),
        ({"server": ("::1", 4010)}, "http://[::1]:4010"),
        ({"server": None}, "http://127.0.0.1:80"),
        ({"scheme": "https"}, "https://127.0.0.1:4010"),
        ({"root_path": "/behind"}, "http://127.0.0.1:4010/behind"),
    ],
)
def test_without_a_host_links_carry_the_address_of_the_server(scope: dict[str, Any], origin: str) -> None:
    wire = Wire(Bakery().front).exchange("GET", b"/bakery/shop/links", **scope)
    assert wire.answer.headers["location"] == f"{origin}/bakery/shop/orders"


def test_a_vault_opens_with_the_key_only() -> None:
    kit = Bakery()
    closed = kit.get("/bakery/shop/vault")
    assert (closed.status, closed.json()) == (401, {"oops": "no key"})
    assert closed.headers["www-authenticate"] == "Key"
    assert kit.get("/bakery/shop/vault", headers={"Authorization": "x"}).status == 401
    assert kit.get("/bakery/shop/vault", headers={"Authorization": "sesame"}).json() == "gold"


def test_a_world_that_is_full_may_refuse_credentials_without_a_crash() -> None:
    def full(credentials: str | None, settings: Any, world: Any) -> None:
        raise LimitReached("things", 1, "--max-things")

    kit = Bakery(strict=True)
    kit.front.services["bakery"].api.authenticate = full
    answer = kit.get("/bakery/shop/vault")
    assert (answer.status, answer.json()) == (503, {"oops": str(LimitReached("things", 1, "--max-things"))})
    assert kit.ledger.lines("server") == []


def test_a_body_may_be_prepared_before_it_is_checked() -> None:
    kit = Bakery()
    kit.front.services["bakery"].api.prepare = lambda body, settings: {"count": body["COUNT"]}
    assert kit.post("/bakery/shop/orders", json={"COUNT": 3}).json()["body"] == {"count": 3}
    assert kit.post("/bakery/shop/orders", json={"COUNT": 101}).status == 400


def test_a_refusal_before_the_operation_begins_is_held_against_its_document_as_well() -> None:
    document = yaml.safe_load(DOCUMENT)
    closed = Bakery(document=document, strict=True)
    assert closed.get("/bakery/shop/vault").status == 401
    assert [(line.by, line.operation) for line in closed.ledger.lines()] == [("client", "unlock")]
    del document["paths"]["/vault"]["get"]["responses"]["default"]
    undeclared = Bakery(document=document)
    answer = undeclared.get("/bakery/shop/vault")
    assert answer.status == 401
    assert answer.headers["x-understudy-violation"] == "unlock 401 (whole): status 401 is not declared"
    assert Bakery(document=document, strict=True).get("/bakery/shop/vault").status == 500


def test_a_reply_without_a_body_has_no_length_and_no_type() -> None:
    answer = Bakery(strict=True).post("/bakery/shop/ovens", json={})
    assert (answer.status, answer.content) == (204, b"")
    assert set(answer.headers) == {"date"}


def test_an_answer_after_an_hour_of_silence_has_the_present_date() -> None:
    """In a world whose time is real; nothing else has woken it up."""
    now_ms = 0
    kit = Bakery(time="real", timesource=lambda: now_ms)
    calls = [
        ("GET", "/bakery/shop/cake"),
        ("GET", "/bakery/shop/nothing"),
        ("PUT", "/bakery/shop/cake"),
        ("OPTIONS", "/bakery/shop/cake"),
        ("GET", "/bakery/shop/vault"),
        ("GET", "/bakery/shop/" + "x" * 5000),
        ("GET", "/shop/nothing"),
        ("GET", "/"),
        ("GET", "/bakery/openapi.json"),
        ("GET", "/__admin/health"),
        ("GET", "/__admin/nothing"),
    ]
    for hour, (method, path) in enumerate(calls, start=1):
        now_ms = hour * 3_600_000
        date = f"Thu, 01 Jan 1970 {hour:02}:00:00 GMT"
        assert kit.request(method, path).headers["date"] == date, (method, path)


# ---- a made-up API: document and functions ----------------------------------------------------------------------


def test_a_document_that_does_not_fit_its_functions_is_an_error_that_names_both_sides() -> None:
    document = yaml.safe_load(DOCUMENT)
    document["paths"]["/ovens"]["post"]["operationId"] = "roast"
    with pytest.raises(
        ValueError, match=r"bakery.yaml .*bakery .*no function for \['roast'\].*no operation for \['bake'\]"
    ):
        Bakery(document=document)


def test_a_document_is_served_as_it_was_loaded() -> None:
    document = yaml.safe_load(DOCUMENT)
    kit = Bakery(document=document)
    assert kit.front.services["bakery"].document == yaml.safe_load(DOCUMENT)
    assert kit.front.services["bakery"].base_path == "/shop"


@pytest.mark.parametrize("role", Role)
def test_the_role_of_an_operation_and_not_its_method_says_whether_it_changes_something(role: Role) -> None:
    kit = Bakery(role=role)
    is_safe = role in (Role.STATUS, Role.LIST, Role.RESULT, Role.LOG, Role.INFO)
    assert ("HEAD" in kit.request("OPTIONS", "/bakery/shop/cake").headers["allow"]) is is_safe
    assert kit.request("HEAD", "/bakery/shop/cake").status == (200 if is_safe else 405)


# ---- answers that wait ------------------------------------------------------------------------------------------

BAKED = {"slices": 12}


def baking(until_ms: int = 60_000) -> Callable[[Call], Later]:
    """An operation that submits a job and answers when it has ended, or when `until_ms` have passed."""

    def handler(call: Call) -> Later:
        job = call.world.apply(Submit(api="bakery", kind="cake"))
        end_ms = call.now_ms + until_ms

        def answer() -> Reply | None:
            state = call.world.job("bakery", job.id).state
            if state.is_final or call.now_ms >= end_ms:
                return Reply(200, BAKED, {"X-Taste": f"{state.value} after {call.now_ms - job.created_ms}"})
            return None

        return Later(answer, end_ms)

    return handler


SLOW = "jobs: [{script: [queued: 1s, running: 3s, succeeded]}]\n"
SILENT = ({"type": "http.request", "body": b""},)


def test_under_a_standing_clock_time_is_moved_to_what_is_waited_for_and_no_further() -> None:
    kit = Bakery(baking(), scenario=SLOW)
    assert kit.get("/bakery/shop/cake").headers["x-taste"] == "succeeded after 4000"
    assert kit.world.now_ms == START_MS + 4_000


def test_an_answer_that_waits_in_vain_is_given_when_its_time_is_up() -> None:
    kit = Bakery(baking(2_500), scenario="jobs: [{script: [running: forever]}]\n")
    assert kit.get("/bakery/shop/cake").headers["x-taste"] == "running after 2500"
    # With other events in between, too.
    kit = Bakery(baking(2_500), scenario=SLOW)
    assert kit.get("/bakery/shop/cake").headers["x-taste"] == "running after 2500"


def test_an_answer_that_need_not_wait_is_given_at_once() -> None:
    kit = Bakery(baking(), scenario="jobs: [{script: [succeeded]}]\n")
    assert kit.get("/bakery/shop/cake").headers["x-taste"] == "succeeded after 0"
    assert kit.world.now_ms == START_MS


def test_a_running_clock_is_waited_for() -> None:
    kit = Bakery(baking(), scenario=SLOW, time="100x", timesource=wall_clock)
    before_ms = wall_clock()
    taste = kit.get("/bakery/shop/cake").headers["x-taste"]
    assert taste.startswith("succeeded after ")
    assert int(taste.split()[-1]) >= 4_000
    assert wall_clock() - before_ms >= 40


def test_a_clock_that_is_moved_meanwhile_ends_the_waiting() -> None:
    now_ms = 0
    kit = Bakery(baking(), scenario=SLOW, time="real", timesource=lambda: now_ms)

    async def meet() -> Answer:
        waiting = asyncio.ensure_future(kit.ask("GET", "/bakery/shop/cake"))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        moved = await kit.ask("POST", "/__admin/worlds/default/clock/advance", json={"by": "1h"})
        assert moved.status == 200
        return await asyncio.wait_for(waiting, 5)

    assert asyncio.run(meet()).headers["x-taste"] == "succeeded after 3600000"


def test_a_client_that_goes_away_while_it_waits_gets_nothing_and_its_job_goes_on() -> None:
    kit = Bakery(baking(), scenario=SLOW, time="real", timesource=lambda: 0)
    wire = Wire(kit.front).exchange("GET", b"/bakery/shop/cake", messages=SILENT)
    assert wire.sent == []
    assert [job.state for job in kit.world.jobs("bakery")] == [State.QUEUED]


def test_a_refusal_may_come_late() -> None:
    def handler(call: Call) -> Later:
        def answer() -> Reply | None:
            if call.now_ms < START_MS + 500:
                return None
            raise UnknownJob("bakery", "gone")

        return Later(answer, call.now_ms + 500)

    assert Bakery(handler).get("/bakery/shop/cake").json() == {"oops": str(UnknownJob("bakery", "gone"))}


# ---- the root of an API, formats of its own ---------------------------------------------------------------------


def rooted() -> dict[str, Any]:
    document = yaml.safe_load(DOCUMENT)
    document["servers"] = [{"url": "/"}]
    document["paths"]["/"] = document["paths"].pop("/links")
    return document


@pytest.mark.parametrize("path", ["/bakery", "/bakery/", "/"])
def test_what_a_document_has_at_its_root_is_served_there(path: str) -> None:
    answer = Bakery(document=rooted()).get(path)
    assert answer.status == 200
    assert answer.json()["self"].endswith(path.rstrip("/"))


@pytest.mark.parametrize("path", ["/bakery/ui/", "/bakery/openapi.json", "/__admin/health"])
def test_a_root_hides_none_of_the_pages(path: str) -> None:
    assert Bakery(document=rooted()).get(path).status == 200
    assert Bakery(document=rooted(), names=("bakery", "butchery")).get("/").json()["name"] == "understudy"


def test_an_api_may_have_its_own_word_for_the_format() -> None:
    kit = Bakery()
    kit.front.services["bakery"].api.format_of = lambda headers: headers.get("x-format")
    told = {"X-Format": "text/plain", "Content-Type": "application/json", "Accept": "application/json"}
    answer = kit.post("/bakery/shop/orders", data="just text", headers=told)
    assert answer.json() == {"body": "just text", "format": "text/plain"}
    assert kit.post("/bakery/shop/orders", json={"count": 1}).json()["format"] == "application/json"
    unknown = {"X-Format": "image/png"}
    assert kit.post("/bakery/shop/orders", json={"count": 1}, headers=unknown).status == 200


def test_a_media_type_of_a_reply_may_have_parameters() -> None:
    def handler(call: Call) -> Reply:
        return Reply(200, BAKED, {"X-Taste": "sweet"}, media_type="application/json; charset=utf-8")

    answer = Bakery(handler, strict=True).get("/bakery/shop/cake")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=utf-8")
    assert answer.json() == BAKED


# ---- request headers --------------------------------------------------------------------------------------------


def test_request_headers_are_a_mapping_of_lower_case_names() -> None:
    headers = RequestHeaders([(b"accept", b"a"), (b"x-name", b"\xe4"), (b"accept", b"b")])
    assert headers["accept"] == "a, b"
    assert headers.get("accept") == "a, b"
    assert headers["x-name"] == "ä"
    assert headers.get("host") is None
    assert headers.get("host", "none") == "none"
    assert "accept" in headers
    assert "host" not in headers
    assert "Accept" not in headers
    assert "€" not in headers
    with pytest.raises(KeyError):
        headers["host"]
    assert list(headers) == ["accept", "x-name"]
    assert len(headers) == 2
    assert dict(headers) == {"accept": "a, b", "x-name": "ä"}
    assert headers == {"accept": "a, b", "x-name": "ä"}


# ---- how long to wait before the next status call ---------------------------------------------------------------

SUBMIT = "/ogc/processes/echo/execution"


def job_in(kit: Kit, world: str = "") -> str:
    """The path of a new job."""
    answer = kit.post(
        f"{world}{SUBMIT}", json={"inputs": {"message": "x"}}, headers={"Prefer": "respond-async"}
    )
    return f"{world}/ogc/jobs/{answer.json()['jobID']}"


HOUR = "jobs:\n  - script: [running: 1h, succeeded]\n"


def test_an_hour_passes_in_720_polls_where_polls_move_the_clock() -> None:
    kit = Kit(HOUR, apis=("ogc",), time="poll")
    path = job_in(kit)
    polls = 0
    while (status := kit.get(path)).json()["status"] == "running":
        polls += 1
        assert status.headers["retry-after"] == "0"
        assert polls < 1000
    assert polls == 720
    assert status.json()["finished"] == "2030-01-01T01:00:00.000Z"
    assert "retry-after" not in status.headers


def test_who_watches_ten_jobs_does_not_make_time_run_ten_times_as_fast() -> None:
    kit = Kit(HOUR, apis=("ogc",), time="poll")
    paths = [job_in(kit) for _ in range(10)]
    for _ in range(13):
        for path in paths:
            kit.get(path)
    assert kit.world.now_ms - kit.world.start_ms == 12 * 5_000


def test_only_status_calls_about_jobs_move_the_clock() -> None:
    kit = Kit(HOUR, apis=("ogc",), time="poll")
    job_in(kit)
    for _ in range(3):
        kit.get("/ogc/jobs")
        kit.get("/ogc/jobs/nobody")
        kit.get("/ogc/processes")
    assert kit.world.now_ms == kit.world.start_ms


def test_a_poll_that_a_rule_answers_is_a_poll() -> None:
    rules = "calls:\n  - {when: {role: status, call: 1..3}, answer: {status: 503}}\n"
    kit = Kit(HOUR + rules, apis=("ogc",), time="poll")
    path = job_in(kit)
    assert [kit.get(path).status for _ in range(4)] == [503, 503, 503, 200]
    assert kit.world.now_ms - kit.world.start_ms == 15_000


def for_an_hour(scenario: str) -> str:
    """This shipped scenario, with jobs that take long."""
    return f"extends: {scenario}\njobs:\n  - script: [running: 1h, succeeded]\n"


def polled(kit: Kit, count: int, image: str = "a") -> list[tuple[int, str | None, int]]:
    """So many status calls about one new job: status, advised wait, and seconds of the world since its beginning."""
    job = kit.post("/titan/v1/jobs", json={"jobs": [{"image": image}]}).json()["jobs"][0]
    seen = []
    for _ in range(count):
        answer = kit.get(f"/titan/v1/job/{job['id']}")
        seconds = (kit.world.now_ms - kit.world.start_ms) // 1000
        seen.append((answer.status, answer.headers.get("retry-after"), seconds))
    return seen


def test_a_poll_moves_the_clock_by_the_wait_that_a_rule_advises_in_seconds() -> None:
    kit = Kit(for_an_hour("retry-after-seconds"), apis=("titan",), time="poll", poll_step_ms=1000)
    assert polled(kit, 5) == [(200, "0", 0), (503, "0", 1), (503, "0", 6), (200, "0", 11), (200, "0", 12)]


def test_a_poll_moves_the_clock_to_the_date_that_a_rule_advises() -> None:
    kit = Kit(for_an_hour("retry-after-date"), apis=("titan",), time="poll", poll_step_ms=1000)
    past = "Fri, 31 Dec 1999 23:59:59 GMT"
    # A date that has passed advises no wait, so it stays as the rule has it.
    assert polled(kit, 4) == [(200, "0", 0), (503, past, 1), (503, "0", 2), (200, "0", 20)]


def test_a_poll_waits_until_a_rate_limit_lets_calls_through_again() -> None:
    kit = Kit(for_an_hour("poll-rate-limit"), apis=("titan",), time="poll", poll_step_ms=1000)
    assert polled(kit, 7) == [(200, "0", second) for second in range(5)] + [(429, "0", 5), (200, "0", 10)]


@pytest.mark.parametrize(
    ("advised", "shown", "seconds"),
    [
        ("0", "0", 1),
        ("soon", "soon", 1),
        ("-5", "-5", 1),
        ("1.5", "1.5", 1),
        ("Tue, 01 Jan 2030 00:00:30", "Tue, 01 Jan 2030 00:00:30", 1),
        ("Tue, 01 Jan 2030 00:00:30 +0000", "0", 30),
        (" 7 ", "0", 7),
        ("99999999999999999999", "0", 86_400),
    ],
)
def test_only_a_wait_that_can_be_read_moves_the_clock(advised: str, shown: str, seconds: int) -> None:
    rule = (
        f'{{when: {{role: status, call: 1}}, answer: {{status: 503, headers: {{retry-after: "{advised}"}}}}}}'
    )
    kit = Kit(
        f"{for_an_hour('titan-self-running')}calls: [{rule}]\n",
        apis=("titan",),
        time="poll",
        poll_step_ms=1000,
    )
    (first, *_, last) = polled(kit, 2)
    assert (first[1] or "").strip() == shown
    assert last[2] == seconds


@pytest.mark.parametrize("time", ["frozen", "real"])
def test_a_rules_own_wait_stays_as_it_is_where_polls_move_nothing(time: str) -> None:
    kit = Kit("retry-after-seconds", apis=("titan",), time=time)
    assert [advised for _, advised, _ in polled(kit, 3)][1:] == ["5", "5"]


def test_polls_of_a_job_that_has_ended_move_nothing() -> None:
    kit = Kit("jobs:\n  - script: [running: 7s, succeeded]\n", apis=("ogc",), time="poll")
    path = job_in(kit)
    for _ in range(10):
        kit.get(path)
    # The poll that was shown the end was the third.
    assert kit.world.now_ms - kit.world.start_ms == 10_000
    other = job_in(kit)
    for _ in range(3):
        kit.get(path)
        kit.get(other)
    assert kit.world.now_ms - kit.world.start_ms == 20_000


def test_polls_go_on_moving_time_while_a_client_is_not_shown_the_end() -> None:
    hidden = "{when: {role: status}, fault: {stale: 20s}}"
    kit = Kit(
        f"jobs: [{{script: [running: 7s, succeeded]}}]\ncalls: [{hidden}]\n", apis=("ogc",), time="poll"
    )
    path = job_in(kit)
    polls = 0
    while kit.get(path).json().get("status") != "successful":
        polls += 1
        assert polls < 20
    assert kit.world.now_ms - kit.world.start_ms == 30_000


def test_polls_of_a_job_that_has_ended_move_time_as_far_as_a_rule_tells_them_to_wait() -> None:
    limit = "{when: {role: status}, rate_limit: {calls: 2, per: 10s}}"
    kit = Kit(f"jobs: [{{script: [succeeded]}}]\ncalls: [{limit}]\n", apis=("ogc",), time="poll")
    path = job_in(kit)
    seen = [(kit.get(path).status, (kit.world.now_ms - kit.world.start_ms) // 1000) for _ in range(4)]
    assert seen == [(200, 0), (200, 0), (429, 0), (200, 10)]


def test_the_wait_that_a_server_would_advise_is_the_step_of_the_clock() -> None:
    kit = Kit(HOUR, apis=("ogc",), time="poll", retry_after_s=60)
    path = job_in(kit)
    for _ in range(3):
        assert kit.get(path).headers["retry-after"] == "0"
    assert kit.world.now_ms - kit.world.start_ms == 120_000


def test_unfinished_jobs_advise_a_wait_where_somebody_has_set_one() -> None:
    kit = Kit(HOUR, apis=("ogc",), retry_after_s=7)
    path = job_in(kit)
    assert kit.get(path).headers["retry-after"] == "7"
    kit.advance("1h")
    assert "retry-after" not in kit.get(path).headers
    plain = Kit(HOUR, apis=("ogc",))
    assert "retry-after" not in plain.get(job_in(plain)).headers


def test_unfinished_jobs_advise_a_wait_where_the_document_has_the_header() -> None:
    kit = Kit(HOUR, apis=("ogc",))
    document = deepcopy(kit.front.services["ogc"].document)
    described = document["paths"]["/jobs/{jobId}"]["get"]["responses"]["200"]
    described.setdefault("headers", {})["Retry-After"] = {"schema": {"type": "string"}}
    service = Service(
        kit.front.services["ogc"].api,
        document,
        sampler=SchemaSampler(document),
        ledger=kit.ledger,
        strict=True,
        body_bytes_max=1000,
    )
    kit.front.services["ogc"] = service
    assert kit.get(job_in(kit)).headers["retry-after"] == "5"
