"""Real sockets: what only a running server can show."""

from __future__ import annotations

import socket
import threading
from urllib.parse import urlsplit

import httpx
import pytest

from simulator.web.server import is_loopback, listen, url_of
from tests.running import Running, serving


def raw(running: Running, request: bytes) -> bytes:
    """Send bytes, read until the server closes or says nothing for a while."""
    parts = urlsplit(running.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=5) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


def test_a_chunked_body_arrives_whole() -> None:
    with serving("--time", "frozen") as running:
        pieces = [b'{"jobs": [{"ima', b'ge": "acme/re', b'size:3"}]}']
        answer = httpx.post(
            f"{running.url}/titan/v1/jobs", content=iter(pieces), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == 201
    assert answer.json()["jobs"][0]["image"] == "acme/resize:3"


def test_the_date_is_the_worlds_and_the_server_does_not_tell_its_name() -> None:
    with serving("--time", "frozen") as running:
        headers = httpx.get(f"{running.url}/titan/v1/jobs").headers
    assert headers["date"] == "Tue, 01 Jan 2030 00:00:00 GMT"
    assert "server" not in headers


def test_twenty_megabytes_are_refused_and_the_server_goes_on() -> None:
    body = b"x" * (20 * 1024 * 1024)
    with serving() as running:
        for path in ("/ica/v1/tasks/runs", "/titan/v1/jobs"):
            headers = {"Content-Type": "application/json", "Authorization": "Bearer me"}
            answer = httpx.post(f"{running.url}{path}", content=body, headers=headers)
            assert answer.status_code == 413
            assert "--max-body" in answer.text
        assert httpx.get(f"{running.url}/titan/v1/jobs").status_code == 200


def test_a_client_that_goes_away_while_sending_does_no_harm() -> None:
    with serving() as running:
        parts = urlsplit(running.url)
        for _ in range(5):
            client = socket.create_connection((parts.hostname, parts.port), timeout=5)
            client.sendall(
                b"POST /titan/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                b'Content-Length: 1000\r\n\r\n{"jobs"'
            )
            client.close()
        assert httpx.get(f"{running.url}/titan/v1/jobs").json() == {"jobs": []}
        code, errors = running.stop()
    assert code == 0
    assert "Traceback" not in errors


def test_bytes_that_are_no_http_are_refused_and_the_server_goes_on() -> None:
    with serving() as running:
        assert raw(running, b"\x16\x03\x01 hello\r\n\r\n").startswith(b"HTTP/1.1 400")
        assert httpx.get(f"{running.url}/__admin/health").status_code == 200


def test_keep_alive_serves_many_calls_on_one_connection() -> None:
    with serving() as running, httpx.Client(base_url=running.url) as client:
        assert {client.get("/titan/v1/jobs").status_code for _ in range(50)} == {200}


def test_each_job_is_claimed_by_one_worker_only() -> None:
    with serving("titan") as running:
        jobs = {"jobs": [{"image": "acme/resize:3"}] * 60}
        httpx.post(f"{running.url}/v1/jobs", json=jobs)
        claimed: list[str] = []

        def work() -> None:
            with httpx.Client(base_url=running.url) as client:
                while taken := client.get("/v1/jobs/consume?n=1").json()["jobs"]:
                    claimed.append(taken[0]["id"])

        workers = [threading.Thread(target=work) for _ in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert len(claimed) == len(set(claimed)) == 60


@pytest.mark.parametrize(
    ("host", "is_own"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("192.0.2.7", False),
        ("2001:db8::1", False),
        ("no-such-name.invalid", False),
        ("a" * 300, False),
        ("..", False),
    ],
)
def test_only_what_leads_back_to_this_machine_is_loopback(host: str, is_own: bool) -> None:
    assert is_loopback(host) is is_own


def test_a_name_is_loopback_when_all_of_its_addresses_are(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"mine": ["127.0.0.1", "::1"], "theirs": ["127.0.0.1", "192.0.2.7"]}

    def look_up(host: str, port: int, **more: object) -> list[object]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert [is_loopback(host) for host in found] == [True, False]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_port_0_takes_a_free_port(host: str) -> None:
    bound = listen(host, 0)
    try:
        assert url_of(bound).startswith("http://")
        assert not url_of(bound).endswith(":0")
    finally:
        bound.close()
