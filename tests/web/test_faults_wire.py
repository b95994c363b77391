"""Faults of the connection, as a raw socket sees them, against a real server process."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.running import Running, serving

SCENARIO = """
jobs: [{script: [running: forever]}]
calls:
  - {when: {role: submit, header.x-fault: reset}, fault: connection_reset}
  - {when: {role: submit, header.x-fault: empty}, fault: empty_response}
  - {when: {role: submit, header.x-fault: lost}, fault: response_lost}
  - {when: {role: submit, header.x-fault: hang}, fault: {hang: 300ms}}
  - {when: {role: submit, header.x-fault: endless}, fault: hang}
  - {when: {header.x-fault: truncated}, fault: truncated_body}
  - {when: {header.x-fault: dribble}, fault: {dribble: 400ms}}
  - {when: {header.x-fault: slow}, delay: 200ms}
  - {when: {header.x-fault: late}, delay: 10s}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    path: Path = tmp_path_factory.mktemp("faults") / "faults.yaml"
    path.write_text(SCENARIO)
    with serving("titan", "--scenario", str(path), "--time", "frozen") as running:
        yield running
        code, errors = running.stop()
        assert (code, [line for line in errors.splitlines() if "ERROR" in line or "Traceback" in line]) == (
            0,
            [],
        )


def test_a_server_that_stops_cuts_held_calls_off(tmp_path: Path) -> None:
    path = tmp_path / "hang.yaml"
    path.write_text("jobs: [{script: [succeeded]}]\ncalls: [{fault: hang}]\n")
    with serving("titan", "--scenario", str(path)) as running, connected(running) as client:
        client.sendall(request("GET", "none"))
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        began = time.monotonic()
        code, errors = running.stop()
        assert (code, "ERROR" in errors) == (0, False), errors
        assert time.monotonic() - began < 4


@contextmanager
def connected(server: Running) -> Iterator[socket.socket]:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        yield client


def request(method: str, fault: str, body: str = "") -> bytes:
    head = [
        f"{method} /v1/jobs HTTP/1.1",
        "Host: there",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"X-Fault: {fault}",
    ]
    return "\r\n".join([*head, "", body]).encode()


SUBMIT = json.dumps({"jobs": [{"image": "a"}]})


def everything(client: socket.socket) -> list[bytes]:
    """The pieces that come until the connection ends."""
    pieces = []
    while piece := client.recv(65536):
        pieces.append(piece)
    return pieces


def whole_answer(client: socket.socket) -> list[bytes]:
    """The pieces of one answer with a Content-Length."""
    pieces = [client.recv(65536)]
    while True:
        head, _, body = b"".join(pieces).partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        if len(body) >= length:
            return pieces
        pieces.append(client.recv(65536))


def jobs_in(server: Running) -> int:
    with connected(server) as client:
        client.sendall(request("GET", "none"))
        body = b"".join(whole_answer(client)).partition(b"\r\n\r\n")[2]
    return len(json.loads(body)["jobs"])


@pytest.mark.parametrize("fault", ["reset", "hang"])
def test_a_reset_connection_is_a_tcp_reset_and_nothing_was_done(server: Running, fault: str) -> None:
    before = jobs_in(server)
    with connected(server) as client:
        began = time.monotonic()
        client.sendall(request("POST", fault, SUBMIT))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
        assert time.monotonic() - began > (0.25 if fault == "hang" else 0)
    assert jobs_in(server) == before


def test_an_empty_response_is_the_end_of_the_connection_without_a_byte(server: Running) -> None:
    before = jobs_in(server)
    with connected(server) as client:
        client.sendall(request("POST", "empty", SUBMIT))
        assert client.recv(1) == b""
    assert jobs_in(server) == before


def test_of_a_lost_response_nothing_comes_but_the_job_is_there(server: Running) -> None:
    before = jobs_in(server)
    with connected(server) as client:
        client.sendall(request("POST", "lost", SUBMIT))
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    assert jobs_in(server) == before + 1


def test_a_truncated_body_is_shorter_than_its_length(server: Running) -> None:
    before = jobs_in(server)
    with connected(server) as client:
        client.sendall(request("POST", "truncated", SUBMIT))
        head, _, body = b"".join(everything(client)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 201 ")
    assert b"x-understudy-cause:" in head.lower()
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert 0 < len(body) == length // 2
    assert jobs_in(server) == before + 1


def test_a_dribbled_body_comes_in_pieces_and_the_connection_can_be_used_again(server: Running) -> None:
    with connected(server) as client:
        for fault, is_dribbled in (("dribble", True), ("none", False)):
            began = time.monotonic()
            client.sendall(request("POST", fault, SUBMIT))
            pieces = whole_answer(client)
            assert (len(pieces) > 3) == is_dribbled
            assert (time.monotonic() - began > 0.35) == is_dribbled
            assert json.loads(b"".join(pieces).partition(b"\r\n\r\n")[2])["jobs"]


def test_a_delayed_answer_comes_later_and_a_client_that_leaves_is_not_waited_for(server: Running) -> None:
    with connected(server) as client:
        began = time.monotonic()
        client.sendall(request("GET", "slow"))
        assert b"200 OK" in whole_answer(client)[0]
        assert time.monotonic() - began > 0.18
    before = jobs_in(server)
    for fault in ("late", "endless"):
        with connected(server) as client:
            client.sendall(request("POST", fault, SUBMIT))
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)
    time.sleep(0.2)
    assert jobs_in(server) == before
