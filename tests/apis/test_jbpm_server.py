"""What the KIE server says about itself, and whom it lets in."""

from __future__ import annotations

from base64 import b64encode
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.apis.test_jbpm import COMMAND, JOBS, JSON, SERVER, XML, error_text, serve
from tests.kit import Kit

XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
START = "2030-01-01T00:00:00.000Z"
USUAL = ["KieServer", "BRM", "BPM", "CaseMgmt", "BPM-UI", "BRP", "DMN", "Swagger"]


def set_to(**settings: Any) -> Kit:
    """A server with these settings."""
    chosen = ", ".join(f"{name}: {value}" for name, value in settings.items())
    return serve(f"apis:\n  jbpm: {{{chosen}}}\njobs:\n  - script: [queued: 1s, running: 3s, succeeded]\n")


# ---- what it is -----------------------------------------------------------------------------------------------------


def test_the_server_says_what_it_can_do() -> None:
    body = serve().get(SERVER, headers=JSON).json()
    assert (body["type"], body["msg"]) == ("SUCCESS", "Kie Server info")
    info = body["result"]["kie-server-info"]
    assert info.keys() == {"id", "version", "name", "location", "capabilities", "messages", "mode"}
    assert info["capabilities"] == USUAL
    assert info["location"] == f"http://127.0.0.1:4010{SERVER}"
    assert info["mode"] in ("DEVELOPMENT", "PRODUCTION")
    [message] = info["messages"]
    assert (message["severity"], message["timestamp"]) == ("INFO", START)
    assert "started successfully" in message["content"][0]


def test_the_server_says_the_same_in_xml() -> None:
    kit = serve()
    info = kit.get(SERVER, headers=JSON).json()["result"]["kie-server-info"]
    answer = kit.get(SERVER)
    assert answer.headers["content-type"] == "application/xml"
    root = ElementTree.fromstring(answer.content)
    assert (root.tag, root.attrib) == ("response", {"type": "SUCCESS", "msg": "Kie Server info"})
    assert [child.tag for child in root] == ["kie-server-info"]
    assert [element.text for element in root[0].iterfind("capabilities")] == info["capabilities"]
    for name in ("id", "version", "name", "location", "mode"):
        assert root[0].findtext(name) == info[name]
    message = root[0].find("messages")
    assert message is not None
    assert [(part.tag, part.text) for part in message] == [
        ("content", info["messages"][0]["content"][0]),
        ("severity", "INFO"),
        ("timestamp", START),
    ]


def test_the_server_began_when_its_world_did() -> None:
    kit = serve()
    kit.advance("1h")
    [message] = kit.get(SERVER, headers=JSON).json()["result"]["kie-server-info"]["messages"]
    assert message["timestamp"] == START


def test_a_scenario_says_what_the_server_can_do() -> None:
    kit = set_to(capabilities="[KieServer, BRM]")
    assert kit.get(SERVER, headers=JSON).json()["result"]["kie-server-info"]["capabilities"] == [
        "KieServer",
        "BRM",
    ]
    root = ElementTree.fromstring(kit.get(SERVER, headers=XML).content)
    assert [element.text for element in root.iterfind("kie-server-info/capabilities")] == ["KieServer", "BRM"]


# ---- whether it is well ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "ready", "healthy"),
    [
        ({}, 200, 200),
        ({"ready": "false"}, 503, 503),
        ({"healthy": "false"}, 200, 503),
        ({"ready": "false", "healthy": "false"}, 503, 503),
    ],
)
def test_the_checks_answer_by_their_status_alone(settings: dict[str, str], ready: int, healthy: int) -> None:
    kit = set_to(**settings)
    for check, expected in (("readycheck", ready), ("healthcheck", healthy)):
        answer = kit.get(f"{SERVER}/{check}")
        assert (answer.status, answer.content) == (expected, b"")
        assert answer.headers["content-type"].startswith("text/plain")
    assert kit.get(JOBS).status == 200


def severities(kit: Kit) -> list[str]:
    """The severities of the messages of a health report."""
    answer = kit.get(f"{SERVER}/healthcheck?report=true", headers=JSON)
    assert answer.status == (503 if "ERROR" in answer.text else 200)
    return [message["severity"] for message in answer.json()]


def test_a_health_report_tells_of_the_server_and_each_of_its_extensions() -> None:
    kit = set_to(capabilities="[BPM, BRM]")
    kit.advance("26h3m4s")
    messages = kit.get(f"{SERVER}/healthcheck?report=true", headers=JSON).json()
    assert [message["content"][-1] for message in messages] == [
        "Server is up for 1 days 2 hours 3 minutes 4 seconds",
        "jBPM is alive",
        "Drools is alive",
    ]
    assert {message["timestamp"] for message in messages} == {"2030-01-02T02:03:04.000Z"}


def test_a_health_report_says_what_is_wrong() -> None:
    assert set(severities(serve())) == {"INFO"}
    assert severities(set_to(ready="false", capabilities="[]")) == ["ERROR", "INFO"]
    assert severities(set_to(healthy="false", capabilities="[]")) == ["INFO", "ERROR"]


def test_a_health_report_says_the_same_in_xml() -> None:
    kit = set_to(healthy="false")
    messages = kit.get(f"{SERVER}/healthcheck?report=true", headers=JSON).json()
    answer = kit.get(f"{SERVER}/healthcheck?report=true")
    assert (answer.status, answer.headers["content-type"]) == (503, "application/xml")
    root = ElementTree.fromstring(answer.content)
    assert (root.tag, [child.tag for child in root]) == ("list-type", ["items"])
    assert {item.get(XSI_TYPE) for item in root[0]} == {"kie-message"}
    assert [
        {
            "content": [line.text for line in item.iterfind("content")],
            "severity": item.findtext("severity"),
            "timestamp": item.findtext("timestamp"),
        }
        for item in root[0]
    ] == messages


@pytest.mark.parametrize("word", ["false", "yes", "1", ""])
def test_a_health_report_is_given_for_the_word_true_alone(word: str) -> None:
    kit = serve()
    assert kit.get(f"{SERVER}/healthcheck?report={word}", headers=JSON).content == b""
    assert kit.get(f"{SERVER}/healthcheck?report=TRUE", headers=JSON).content != b""


# ---- whom it lets in ------------------------------------------------------------------------------------------------

USERS = '["mary:s3cret", "john:a:b", "zoë:größe"]'
CALLS = [
    ("GET", SERVER),
    ("GET", JOBS),
    ("POST", JOBS),
    ("GET", f"{JOBS}/1"),
    ("PUT", f"{JOBS}/1"),
    ("DELETE", f"{JOBS}/1"),
    ("POST", f"{JOBS}/1/data"),
    ("GET", f"{JOBS}/keys/k"),
    ("GET", f"{JOBS}/commands/a.B"),
    ("GET", f"{JOBS}/containers/c"),
    ("GET", f"{JOBS}/processes/instances/7"),
]


def basic(user: str) -> dict[str, str]:
    """The header of a user, given as `name:password`."""
    return {"Authorization": "Basic " + b64encode(user.encode()).decode()}


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_with_users_everything_wants_one_of_them(method: str, path: str) -> None:
    kit = set_to(users=USERS)
    body = {"job-command": COMMAND}
    answer = kit.request(method, path, json=body, headers={"X-KIE-ConversationId": "talk"})
    assert (answer.status, answer.text) == (401, '"Unauthorized"')
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["www-authenticate"] == 'Basic realm="KIE Server"'
    assert answer.headers["x-kie-conversationid"] == "talk"
    assert kit.request(method, path, json=body, headers=basic("mary:s3cret")).status != 401


@pytest.mark.parametrize("user", ["mary:s3cret", "john:a:b", "zoë:größe"])
def test_a_user_is_let_in(user: str) -> None:
    kit = set_to(users=USERS)
    assert kit.get(JOBS, headers=basic(user)).status == 200
    header = basic(user)["Authorization"].replace("Basic", "bAsIc")
    assert kit.get(JOBS, headers={"Authorization": header}).status == 200


@pytest.mark.parametrize(
    "credentials",
    [
        *[
            basic(user)["Authorization"]
            for user in ("mary:wrong", "mary:", "mary", ":", "john:a", "zoe:größe")
        ],
        "Basic",
        "Basic !!!",
        "Basic bWFyeTpzM2NyZXQ",
        "Basic /w==",
        "Bearer bWFyeTpzM2NyZXQ=",
        "bWFyeTpzM2NyZXQ=",
        "",
    ],
)
def test_nobody_else_is(credentials: str) -> None:
    kit = set_to(users=USERS)
    answer = kit.get(JOBS, headers={"Authorization": credentials})
    assert answer.status == 401
    assert error_text(answer) == "Unauthorized"


@pytest.mark.parametrize("headers", [{}, basic("any:one"), {"Authorization": "nonsense"}])
def test_without_users_anyone_is(headers: dict[str, str]) -> None:
    kit = serve()
    for method, path in CALLS:
        assert kit.request(method, path, json={"job-command": COMMAND}, headers=headers).status != 401


@pytest.mark.parametrize("check", ["readycheck", "healthcheck", "healthcheck?report=true"])
def test_the_checks_are_for_everyone(check: str) -> None:
    assert set_to(users=USERS).get(f"{SERVER}/{check}").status == 200
