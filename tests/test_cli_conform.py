"""`understudy conform`: what it asks, what it tells, and how it leaves."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from simulator.cli_conform import conform


def run(*arguments: str) -> Result:
    return CliRunner().invoke(conform, arguments)


class Liar(BaseHTTPRequestHandler):
    """Says of everything that it is fine, in a form that no document knows."""

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        body = b'["lie"]'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_HEAD = do_TRACE = do_GET  # noqa: N815 (its caller's)

    def log_message(self, *told: object) -> None:
        """Nobody wants to read it."""


@pytest.fixture
def liar() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Liar) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_server_of_ours_conforms_and_each_phase_is_told_in_plain_lines_without_a_terminal() -> None:
    result = run("--api", "titan", "--max-examples", "2", "--phases", "examples,stateful")
    assert result.exit_code == 0, result.output
    assert "titan examples: 13 operations" in result.output
    assert "titan stateful:" in result.output
    assert result.output.rstrip().endswith("conforms")
    assert "\x1b" not in result.output


def test_a_service_that_breaks_its_document_is_told_with_operation_place_and_a_command_that_repeats_it(
    liar: str, tmp_path: Path
) -> None:
    report = tmp_path / "junit.xml"
    result = run(
        *("--api", "titan", "--url", liar, "--phases", "examples", "--max-examples", "1"),
        *("--header", "X-Tenant: lab", "--report", f"junit={report}"),
    )
    assert result.exit_code == 1, result.output
    assert "GET /jobs (jobs_get)" in result.output
    assert "response_schema_conformance in examples" in result.output
    # Without a path of its own the URL gets the one of the document.
    assert f"{liar}/v1/jobs" in result.output
    assert "does not conform" in result.output
    failures = ElementTree.parse(report).findall("./testsuite[@name='titan']/testcase/failure")
    assert failures


def test_machines_are_told_everything_in_json(liar: str) -> None:
    result = run("--api", "titan", "--url", f"{liar}/base", "--phases", "examples", "--format", "json")
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)
    assert told["api"] == "titan"
    assert told["conforms"] is False
    findings = [one for one in told["findings"] if one["operation_id"] == "jobs_get"]
    assert {"response_schema_conformance"} <= {one["check"] for one in findings}
    assert all("/base/jobs" in one["curl"] for one in findings)
    keys = [(one["operation"], one["check"], one["title"], one["pointer"]) for one in told["findings"]]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--api", "nothing"), "there is no API 'nothing'"),
        (("--phases", "guessing"), "there is no phase 'guessing'"),
        (("--report", "html=x"), "write --report junit=FILE"),
        (("--scenario", "no-such"), "there is no scenario 'no-such'"),
        (("--token", "secret"), "--token belongs to --url"),
        (("--url", "http://127.0.0.1:1"), "say which by --api NAME"),
        (("--api", "ogc", "--url", "ftp://127.0.0.1"), "is no base URL"),
        (("--api", "ogc", "--url", "http://127.0.0.1:1", "--rate-limit", "fast"), "is no rate"),
        (("--api", "ogc", "--url", "https://example.org/ogc"), "add --yes"),
        (
            ("--api", "ogc", "--url", "http://127.0.0.1:1", "--scenario", "happy"),
            "--scenario is for a server",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    arguments: tuple[str, ...], said: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_where_nobody_answers_that_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        result = run("--api", "titan", "--url", f"http://127.0.0.1:{port}")
    assert result.exit_code == 2
    assert f"nobody answers at 127.0.0.1:{port}" in result.stderr


def test_without_schemathesis_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.conform.is_installed", lambda: False)
    result = run("--api", "titan")
    assert result.exit_code == 2
    assert "pip install 'understudy[conform]'" in result.stderr
