"""No credential is in a capsule, wherever it was; and the replay does not notice."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import Any

import pytest

from simulator.capsule.compare import differences
from simulator.capsule.model import Answer, CallStep, Capsule, read_capsule, to_yaml
from simulator.capsule.secrets import Learned, Secrets
from tests.capsule.test_model import call, capsule
from tests.capsule.test_replay import again
from tests.kit import Kit

SCENARIO = """
apis:
  ica: {tokens: [good-token, reader-7], read_only_tokens: [reader-7], foreign_tokens: [foreign-1], token_lifetime: 10m}
  jbpm:
    users:
      - "wbadmin:s3cret!"   # the one that is shipped
      - 'bob:password'
  synapse: {tokens: [t1], forbidden_tokens: [t2]}
jobs:
  - {when: {request.name: broken}, script: [running: 1s, failed: {error: {code: x, message: no place for good-token}}]}
  - script: [running: 1s, succeeded]
calls:
  - {when: {api: ica, role: list, header.x-api-key: key-12345}, answer: {status: 503}}
"""
SECRET = (
    *(
        "good-token",
        "reader-7",
        "foreign-1",
        "unknown-9",
        "s3cret",
        "wr0ng",
        "pw-123456",
        "tok-99",
        "abcdef123",
        "key-12345",
    ),
    *("[t1]", "[t2]", "Bearer t", b64encode(b"bob:password").decode()),
)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(user: str) -> dict[str, str]:
    return {"Authorization": f"Basic {b64encode(user.encode()).decode()}"}


def conversation() -> tuple[Kit, list[int]]:
    kit = Kit(SCENARIO)
    said = []
    runs = "/ica/v1/tasks/runs"
    image = {"name": "u", "credentials": {"username": "me", "password": "pw-123456"}}
    for name, token in (("a", "good-token"), ("broken", "reader-7"), ("b", "foreign-1"), ("c", "unknown-9")):
        wish = {"name": name, "description": f"made by {token}", "execution": {"image": image}}
        answer = kit.post(runs, json=wish, headers=bearer(token))
        said.append(answer.status)
        said.append(kit.get(f"{runs}?token=tok-99&x={token}", headers=bearer(token)).status)
    said.append(kit.get(runs, headers=bearer("good-token") | {"X-Api-Key": "key-12345"}).status)
    jobs = "/jbpm/kie-server/services/rest/server/jobs"
    said += [
        kit.get(jobs, headers=basic(user)).status
        for user in ("wbadmin:s3cret!", "bob:password", "bob:wr0ng", "eve:s3cret!")
    ]
    cookies = {"Cookie": "sid=abcdef123; x=1"}
    said += [
        kit.get("/synapse/repo/v1/asynchronous/job/1", headers=bearer(token) | cookies).status
        for token in ("t1", "t2", "t3")
    ]
    kit.advance("11m")
    said.append(kit.get(runs, headers=bearer("good-token")).status)
    return kit, said


def test_no_credential_leaves_the_server_and_the_replay_is_the_same() -> None:
    kit, said = conversation()
    assert said == [201, 200, 403, 200, 403, 403, 401, 401, 503, 200, 200, 401, 401, 404, 404, 401, 401]
    text = kit.get("/__admin/worlds/default/capsule").text
    json = kit.get("/__admin/worlds/default/capsule", headers={"Accept": "application/json"}).text
    for secret in SECRET:
        assert secret not in text
        assert secret not in json
    read = read_capsule(text)
    assert read == read_capsule(json)
    for step in read.calls:
        for name, value in step.headers:
            if value.startswith("Basic "):
                assert re.fullmatch(r"(bob|wbadmin|eve):credential-\d+", b64decode(value[6:]).decode()), name
    assert [*differences(read, again(read))] == []
    assert to_yaml(again(read)) == text


def test_lines_of_a_scenario_stay_where_they_are() -> None:
    secrets = Secrets()
    secrets.learn_scenario(SCENARIO)
    hidden = secrets.hidden_scenario(SCENARIO)
    assert len(hidden.splitlines()) == len(SCENARIO.splitlines())
    assert '      - "wbadmin:credential-4"   # the one that is shipped' in hidden
    assert "token_lifetime: 10m" in hidden
    assert "no place for credential-1" in hidden


@pytest.mark.parametrize(
    ("headers", "body", "hidden_headers", "hidden_body"),
    [
        ([("Authorization", "Bearer a1b2c3")], "", [("Authorization", "Bearer credential-1")], ""),
        ([("authorization", "a1b2c3")], "", [("authorization", "credential-1")], ""),
        ([("Set-Cookie", "sid=a1b2c3; Path=/")], "", [("Set-Cookie", "sid=credential-1; Path=/")], ""),
        ([("Location", "/x?sig=a%2Fb1&y=2")], "", [("Location", "/x?sig=credential-1&y=2")], ""),
        ([], '{"password": "a\\"1", "x": "y"}', [], '{"password": "credential-1", "x": "y"}'),
        ([], '{"clientSecret": 12345, "n": 12345}', [], '{"clientSecret": 1, "n": 12345}'),
        ([], '{"password": null, "accessToken": ""}', [], '{"password": null, "accessToken": ""}'),
        ([], '{"credentials": {"user": "me", "key": "a1b2"}}', [], '{"credentials": {"user": "credential-1", "key": "credential-2"}}'),
        ([], '{"inner": "{\\"password\\":\\"a1b2\\"}"}', [], '{"inner": "{\\"password\\":\\"credential-1\\"}"}'),
        ([], "<password>a1b2</password><x>a1b2</x>", [], "<password>credential-1</password><x>credential-1</x>"),
        ([], "password=a1%202&x=1", [], "password=credential-1&x=1"),
        ([], '{"pageToken": "abc", "token": "def"}', [], '{"pageToken": "abc", "token": "def"}'),
        ([("content-length", "21")], '{"password": "a1b2"}\n', [("content-length", "29")], '{"password": "credential-1"}\n'),
    ],
)  # fmt: skip
def test_credentials_are_found_in_their_places(
    headers: Any, body: str, hidden_headers: Any, hidden_body: str
) -> None:
    secrets = Secrets()
    secrets.learn_message(tuple(headers), body.encode())
    assert secrets.hidden_message(tuple(headers), body.encode()) == (
        tuple(hidden_headers),
        hidden_body.encode(),
    )


def test_a_plain_word_stays_where_it_is_no_credential() -> None:
    secrets = Secrets()
    secrets.learn_message((("authorization", "Bearer password"), ("x-api-key", "me")), b"")
    body = b'{"message": "the password of me", "password": null, "said": "password", "me": "me"}'
    hidden = b'{"message": "the password of me", "password": null, "said": "credential-1", "me": "me"}'
    assert secrets.hidden_message((), body)[1] == hidden


def test_what_is_known_later_is_hidden_before_as_well() -> None:
    kit = Kit()
    kit.get("/ogc/jobs/late-secret-1")
    kit.get("/ogc/jobs", headers=bearer("late-secret-1"))
    assert "late-secret-1" not in kit.get("/__admin/worlds/default/capsule").text


def _made_up(token: str, used: str) -> Capsule:
    made = Answer(200, (("content-length", "1"),), f'{{"accessToken":"{token}"}}'.encode())
    return capsule(call(1, answer=made), call(2, headers=(("authorization", f"Bearer {used}"),)))


def test_a_credential_that_the_server_makes_up_is_used_by_its_clients() -> None:
    written = _made_up("credential-1", "credential-1")
    learned = Learned(written)
    first, second = written.calls
    assert isinstance(first, CallStep)
    sent = [
        {"type": "http.response.start", "status": 200, "headers": []},
        {"type": "http.response.body", "body": b'{"accessToken":"really-x"}'},
    ]
    learned.look(first, sent)
    assert learned.actual_message(second.headers, b"say credential-1") == (
        (("authorization", "Bearer really-x"),),
        b"say really-x",
    )
    assert learned.actual("/x?token=credential-2") == "/x?token=credential-2"
