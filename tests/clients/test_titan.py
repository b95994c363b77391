"""Titan as its clients call it, over a real socket: the Ruby gem, the JavaScript client and the Go worker.

No client of this job server is published where Python or JavaScript can install it (the gem `iron_titan` is Ruby's, the
JavaScript client never reached a registry, the worker is a program). So these classes send what those three send, quirk by
quirk, and take and refuse what they take and refuse. Nothing here knows more of the server than they do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.running import serving

BASE = "/titan/v1"
SCENARIO = "workers: {titan: external}\njobs:\n  - script: [running: 3s, succeeded]\n"
PATIENCE_SECONDS = 20.0
IMAGE = "acme/resize:3"
WORDS_OF_0_2_9 = ("delayed", "queued", "running", "succeeded", "failed", "cancelled")
WORDS_OF_0_2_11 = ("delayed", "queued", "running", "success", "error", "cancelled")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a server is that checks every reply against its document, five times as fast as time."""
    scenario = tmp_path_factory.mktemp("titan") / "scenario.yaml"
    scenario.write_text(SCENARIO)
    with serving("titan", "--time", "5x", "--strict", "--scenario", str(scenario)) as server:
        yield server.url


@pytest.fixture(autouse=True)
def _nothing_is_left_to_do(url: str) -> Iterator[None]:
    """A job that one test leaves behind would be handed out, or its retry, in another."""
    yield
    gem = Gem(url)
    for job in gem.jobs_get(1000):
        if job["status"] in ("delayed", "queued", "running"):
            gem.job_id_cancel_post(job["id"], "not needed")


class ApiError(Exception):
    """What the clients raise for any status outside 2xx."""

    def __init__(self, code: int, body: bytes) -> None:
        self.code = code
        self.body = body.decode()
        super().__init__(code, self.body)

    @property
    def error(self) -> Any:
        return json.loads(self.body)


def send(
    url: str, method: str, path: str, headers: dict[str, str], body: bytes | None = None
) -> tuple[HTTPResponse, bytes]:
    """One call with these headers and no others of weight."""
    with closing(HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_SECONDS)) as connection:
        connection.request(method, BASE + path, body=body, headers=headers)
        response = connection.getresponse()
        content = response.read()
    if not 200 <= response.status < 300:
        # Their error bodies are looked at as JSON, whatever was asked for.
        json.loads(content)
        raise ApiError(response.status, content)
    return response, content


def multipart(boundary: str, *parts: tuple[str, bytes]) -> bytes:
    """A body of parts, each with the rest of its headers after `form-data; name=`."""
    pieces = [
        f"--{boundary}\r\nContent-Disposition: form-data; name={head}\r\n\r\n".encode() + content + b"\r\n"
        for head, content in parts
    ]
    return b"".join(pieces) + f"--{boundary}--\r\n".encode()


def until(wanted: Callable[[], bool]) -> None:
    """Ask again and again, as a client that polls."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not wanted():
        assert time.monotonic() < give_up
        time.sleep(0.05)


# ---- the Ruby gem ---------------------------------------------------------------------------------------------------


class Gem:
    """`iron_titan` 0.2.9 (or 0.2.11 and later, by its words): `Content-Type: application/json` on every call but the reports.

    It raises on a status word that is not in its model, takes only `application/json` for an answer it reads, sends the details of
    a cancel without quotes, guesses the type of a log from its file's name, and escapes no slash.
    """

    def __init__(self, url: str, words: tuple[str, ...] = WORDS_OF_0_2_9) -> None:
        self.url = url
        self.words = words

    def call(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Any:
        headers = {
            "Content-Type": content_type,
            "Accept": accept,
            "User-Agent": "Swagger-Codegen/0.2.9/ruby",
        }
        carries = body if body or method == "POST" else None
        response, content = send(self.url, method, quote(path, safe="/?=&:"), headers, carries)
        if accept == "text/plain" or not content:
            return content
        if not response.getheader("Content-Type", "").startswith("application/json"):
            raise TypeError("Content-Type is not supported")
        return json.loads(content)

    def model(self, job: dict[str, Any]) -> dict[str, Any]:
        """A job whose word is known and whose times were parsed."""
        if job["status"] not in self.words:
            raise ValueError(f"invalid value for 'status', must be one of {self.words}")
        assert None not in job.values()
        times = {name: datetime.fromisoformat(job[name]) for name in job if name.endswith("_at")}
        return job | times

    def jobs_post(self, *jobs: dict[str, Any]) -> list[dict[str, Any]]:
        wrapped = self.call("POST", "/jobs", json.dumps({"jobs": jobs}).encode())
        return [self.model(job) for job in wrapped["jobs"]]

    def jobs_get(self, n: int | None = None) -> list[dict[str, Any]]:
        query = "" if n is None else "?" + urlencode({"n": n})
        return [self.model(job) for job in self.call("GET", f"/jobs{query}")["jobs"]]

    def jobs_consume_get(self, n: int | None = None) -> list[dict[str, Any]]:
        query = "" if n is None else "?" + urlencode({"n": n})
        return [self.model(job) for job in self.call("GET", f"/jobs/consume{query}")["jobs"]]

    def job_id_get(self, job_id: str) -> dict[str, Any]:
        return self.model(self.call("GET", f"/job/{job_id}")["job"])

    def job_id_delete(self, job_id: str) -> None:
        assert self.call("DELETE", f"/job/{job_id}") == b""

    def job_id_cancel_post(self, job_id: str, details: str) -> dict[str, Any]:
        return self.model(self.call("POST", f"/job/{job_id}/cancel", details.encode())["job"])

    def job_id_retry_post(self, job_id: str) -> dict[str, Any]:
        return self.model(self.call("POST", f"/job/{job_id}/retry")["job"])

    def job_id_touch_post(self, job_id: str) -> None:
        assert self.call("POST", f"/job/{job_id}/touch") == b""

    def report(self, job_id: str, outcome: str, *parts: tuple[str, bytes]) -> dict[str, Any]:
        boundary = "------------------------5f0b7c9a11d4e5f6"
        content_type = f"multipart/form-data; boundary={boundary}"
        body = multipart(boundary, *parts)
        return self.model(
            self.call("POST", f"/job/{job_id}/{outcome}", body, content_type=content_type)["job"]
        )

    def log(self, name: str, content: bytes) -> tuple[str, bytes]:
        guessed = "text/plain" if name.endswith((".log", ".txt")) else "application/octet-stream"
        return f'"log"; filename="{name}"\r\nContent-Type: {guessed}', content

    def job_id_success_post(self, job_id: str, name: str, content: bytes) -> dict[str, Any]:
        return self.report(job_id, "success", self.log(name, content))

    def job_id_fail_post(
        self, job_id: str, reason: str, details: str, name: str, content: bytes
    ) -> dict[str, Any]:
        parts = (('"reason"', reason.encode()), ('"details"', details.encode()), self.log(name, content))
        return self.report(job_id, "fail", *parts)

    def job_id_log_get(self, job_id: str) -> bytes:
        log: bytes = self.call("GET", f"/job/{job_id}/log", accept="text/plain")
        return log

    def images_get(self) -> list[str]:
        return [image["image"] for image in self.call("GET", "/images")["images"]]

    def image_id_get(self, image: str) -> dict[str, Any]:
        return dict(self.call("GET", f"/image/{image}")["image"])


@pytest.fixture
def gem(url: str) -> Gem:
    return Gem(url)


def test_the_gem_sees_a_job_through_to_the_end_and_reads_its_log(gem: Gem) -> None:
    [job] = gem.jobs_post({"image": IMAGE, "payload": '{"w":80}', "priority": 2})
    assert (job["status"], job["payload"], job["max_retries"]) == ("queued", '{"w":80}', 3)
    assert job["id"] in [one["id"] for one in gem.jobs_get(1000)]
    [taken] = gem.jobs_consume_get()
    assert (taken["id"], taken["status"]) == (job["id"], "running")
    with pytest.raises(ApiError) as early:
        gem.job_id_log_get(job["id"])
    assert (early.value.code, early.value.error.keys()) == (428, {"error"})
    gem.job_id_touch_post(job["id"])
    log = "größer → fertig\r\n".encode()
    assert gem.job_id_success_post(job["id"], "run.log", log)["status"] == "succeeded"
    done = gem.job_id_get(job["id"])
    assert done["created_at"] <= done["started_at"] <= done["completed_at"]
    assert gem.job_id_log_get(job["id"]) == log
    gem.job_id_delete(job["id"])
    gem.job_id_delete(job["id"])
    with pytest.raises(ApiError) as gone:
        gem.job_id_get(job["id"])
    assert gone.value.code == 404
    assert gone.value.error["error"]["message"]


@pytest.mark.parametrize("name", ["run.log", "run.txt", "run.out", "run"])
def test_the_gem_may_call_its_log_anything(gem: Gem, name: str) -> None:
    [job] = gem.jobs_post({"image": IMAGE})
    gem.jobs_consume_get()
    gem.job_id_success_post(job["id"], name, b"\x00\xff it ran\n")
    assert gem.job_id_log_get(job["id"]) == b"\x00\xff it ran\n"


def test_the_gem_fails_a_job_and_finds_the_retry(gem: Gem) -> None:
    [job] = gem.jobs_post({"image": IMAGE, "max_retries": 1, "retries_delay": 1})
    gem.jobs_consume_get()
    failed = gem.job_id_fail_post(job["id"], "killed", "out of memory", "run.log", b"dying\n")
    assert (failed["status"], failed["reason"]) == ("failed", "killed")
    with pytest.raises(ApiError) as refused:
        gem.job_id_retry_post(job["id"])
    assert (refused.value.code, refused.value.error) == (409, {"id": job["id"], "status": "failed"})
    [retry] = [one for one in gem.jobs_get(1000) if one.get("retry_of") == job["id"]]
    assert retry["max_retries"] == 0
    until(lambda: gem.job_id_get(retry["id"])["status"] == "queued")
    [taken] = gem.jobs_consume_get()
    assert taken["id"] == retry["id"]
    gem.job_id_fail_post(retry["id"], "bad_exit", "exit code 2", "run.log", b"")
    again = gem.job_id_retry_post(retry["id"])
    assert (again["status"], again["retry_of"], again["max_retries"]) == ("queued", retry["id"], 0)


def test_the_gem_cancels_with_a_bare_text_that_is_no_json(gem: Gem) -> None:
    [job] = gem.jobs_post({"image": IMAGE, "delay": 1000})
    cancelled = gem.job_id_cancel_post(job["id"], "why now")
    assert (cancelled["status"], cancelled["reason"]) == ("cancelled", "client_request")
    with pytest.raises(ApiError) as refused:
        gem.job_id_cancel_post(job["id"], "again")
    assert (refused.value.code, refused.value.error.keys()) == (409, {"error"})
    assert gem.job_id_retry_post(job["id"])["status"] == "queued"


def test_the_gem_is_told_which_job_of_a_batch_is_wrong_and_none_is_taken(gem: Gem) -> None:
    before = len(gem.jobs_get(1000))
    with pytest.raises(ApiError) as refused:
        gem.jobs_post({"image": IMAGE}, {"image": IMAGE, "priority": 7})
    assert refused.value.code == 400
    assert refused.value.error["error"]["fields"] == "priority"
    assert len(gem.jobs_get(1000)) == before


def test_the_gem_consumes_by_priority_and_sees_an_empty_queue(gem: Gem) -> None:
    made = gem.jobs_post(*({"image": IMAGE, "priority": priority} for priority in (0, 2, 1)))
    assert [job["id"] for job in gem.jobs_consume_get(2)] == [made[1]["id"], made[2]["id"]]
    assert [job["id"] for job in gem.jobs_consume_get(5)] == [made[0]["id"]]
    assert gem.jobs_consume_get() == []


def test_the_gem_sends_a_text_for_a_file_as_something_that_is_no_multipart(gem: Gem) -> None:
    [job] = gem.jobs_post({"image": IMAGE})
    gem.jobs_consume_get()
    body = urlencode({"log": "it ran"}).encode()
    with pytest.raises(ApiError) as refused:
        gem.call("POST", f"/job/{job['id']}/success", body, content_type="multipart/form-data")
    assert (refused.value.code, refused.value.error.keys()) == (400, {"error"})
    assert gem.job_id_get(job["id"])["status"] == "running"


def test_the_gem_reads_images_whose_slashes_it_does_not_escape(gem: Gem) -> None:
    gem.jobs_post({"image": "acme/only here:1"})
    assert "acme/only here:1" in gem.images_get()
    image = gem.image_id_get("acme/only here:1")
    assert image["image"] == "acme/only here:1"
    datetime.fromisoformat(image["created_at"])
    with pytest.raises(ApiError) as unknown:
        gem.image_id_get("acme/nowhere:1")
    assert unknown.value.code == 404


def test_later_releases_of_the_gem_want_other_words(url: str, tmp_path: Any) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(f"apis:\n  titan: {{status_words: success-error}}\n{SCENARIO}")

    def finished(gem: Gem) -> tuple[str, str]:
        done, failed = gem.jobs_post({"image": IMAGE}, {"image": IMAGE, "max_retries": 0})
        gem.jobs_consume_get(2)
        return (
            gem.job_id_success_post(done["id"], "run.log", b"")["status"],
            gem.job_id_fail_post(failed["id"], "bad_exit", "", "run.log", b"")["status"],
        )

    with serving("titan", "--strict", "--scenario", str(scenario)) as server:
        assert finished(Gem(server.url, WORDS_OF_0_2_11)) == ("success", "error")
        with pytest.raises(ValueError, match="must be one of"):
            finished(Gem(server.url, WORDS_OF_0_2_9))
    with pytest.raises(ValueError, match="must be one of"):
        finished(Gem(url, WORDS_OF_0_2_11))


# ---- the JavaScript client ------------------------------------------------------------------------------------------


class JavaScript:
    """The client over superagent: as the gem, but a log from a Buffer is a part without a file name."""

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Any:
        usual = {"Content-Type": "application/json", "Accept": "application/json"}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        _, content = send(self.url, method, path, usual | named, body)
        return json.loads(content) if content else None

    def report(self, job_id: str, outcome: str, log: bytes, **fields: str) -> Any:
        boundary = "--------------------------123456789012345678901234"
        parts = [(f'"{name}"', text.encode()) for name, text in fields.items()]
        body = multipart(boundary, *parts, ('"log"\r\nContent-Type: application/octet-stream', log))
        return self.call(
            "POST",
            f"/job/{job_id}/{outcome}",
            body,
            Content_Type=f"multipart/form-data; boundary={boundary}",
        )


@pytest.fixture
def javascript(url: str) -> JavaScript:
    return JavaScript(url)


def test_the_javascript_client_reports_with_logs_that_have_no_file_names(javascript: JavaScript) -> None:
    jobs = json.dumps({"jobs": [{"image": IMAGE, "max_retries": 0}] * 2}).encode()
    done, failed = (job["id"] for job in javascript.call("POST", "/jobs", jobs)["jobs"])
    javascript.call("GET", "/jobs/consume?n=2")
    log = b"\x89PNG is no text\n"
    assert javascript.report(done, "success", log)["job"]["status"] == "succeeded"
    report = javascript.report(failed, "fail", b"", reason="bad_exit", details="exit code 2")
    assert report["job"]["reason"] == "bad_exit"
    for job_id, expected in ((done, log), (failed, b"")):
        response, content = send(javascript.url, "GET", f"/job/{job_id}/log", {"Accept": "text/plain"})
        assert content == expected
        assert response.getheader("Content-Type", "").startswith("text/plain")


def test_the_javascript_client_reads_times_by_replacing_their_t(javascript: JavaScript) -> None:
    [job] = javascript.call("POST", "/jobs", b'{"jobs": [{"image": "a"}]}')["jobs"]
    for name, value in job.items():
        assert value is not None, name
        if name.endswith("_at"):
            assert datetime.strptime(value.replace("T", " "), "%Y-%m-%d %H:%M:%S.%fZ")


def test_the_javascript_client_cancels_and_retries_without_json(javascript: JavaScript) -> None:
    [job] = javascript.call("POST", "/jobs", b'{"jobs": [{"image": "a"}]}')["jobs"]
    assert (
        javascript.call("POST", f"/job/{job['id']}/cancel", b"no longer wanted")["job"]["status"]
        == "cancelled"
    )
    retry = javascript.call("POST", f"/job/{job['id']}/retry")["job"]
    assert retry["retry_of"] == job["id"]
    assert javascript.call("DELETE", f"/job/{job['id']}") is None


def test_the_javascript_client_escapes_the_slashes_of_an_image(javascript: JavaScript) -> None:
    javascript.call("POST", "/jobs", b'{"jobs": [{"image": "acme/escaped:1"}]}')
    assert (
        javascript.call("GET", f"/image/{quote('acme/escaped:1', safe='')}")["image"]["name"]
        == "acme/escaped:1"
    )


# ---- the Go worker --------------------------------------------------------------------------------------------------


class GoWorker:
    """The worker: asks for one job at a time, touches it while it works, looks whether it was cancelled, reports with a file.

    It sends no details with a failure, quotes the details of a cancel, and always sends a log, an empty one if it has none.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def call(self, method: str, path: str, body: bytes | None = None, content_type: str = "") -> Any:
        headers = {"Accept": "application/json", "User-Agent": "Go-http-client/1.1"}
        if content_type:
            headers["Content-Type"] = content_type
        _, content = send(self.url, method, path, headers, body)
        return json.loads(content) if content else None

    def take(self) -> dict[str, Any] | None:
        jobs = self.call("GET", "/jobs/consume?n=1")["jobs"]
        return dict(jobs[0]) if jobs else None

    def is_cancelled(self, job_id: str) -> bool:
        return bool(self.call("GET", f"/job/{job_id}")["job"]["status"] == "cancelled")

    def cancel(self, job_id: str, details: str) -> None:
        self.call("POST", f"/job/{job_id}/cancel", json.dumps(details).encode(), "application/json")

    def report(self, job_id: str, outcome: str, log: bytes = b"", reason: str = "") -> dict[str, Any]:
        boundary = "9f2c41d0be0a7f0c6f6a1a5b"
        parts = [('"reason"', reason.encode())] if reason else []
        head = '"log"; filename="log"\r\nContent-Type: application/octet-stream'
        body = multipart(boundary, *parts, (head, log))
        content_type = f"multipart/form-data; boundary={boundary}"
        return dict(self.call("POST", f"/job/{job_id}/{outcome}", body, content_type)["job"])


@pytest.fixture
def worker(url: str) -> GoWorker:
    return GoWorker(url)


def test_the_worker_waits_for_a_job_and_works_on_it(worker: GoWorker, gem: Gem) -> None:
    assert worker.take() is None
    [made] = gem.jobs_post({"image": IMAGE, "delay": 1})
    until(lambda: gem.job_id_get(made["id"])["status"] == "queued")
    job = worker.take()
    assert job is not None
    assert (job["id"], job["status"]) == (made["id"], "running")
    assert worker.take() is None
    assert worker.report(job["id"], "success")["status"] == "succeeded"
    assert gem.job_id_log_get(job["id"]) == b""


def test_the_worker_fails_a_job_without_details(worker: GoWorker, gem: Gem) -> None:
    gem.jobs_post({"image": IMAGE, "max_retries": 0})
    job = worker.take()
    assert job is not None
    failed = worker.report(job["id"], "fail", b"exit 1\n", reason="bad_exit")
    assert (failed["status"], failed["reason"]) == ("failed", "bad_exit")


def test_the_worker_notices_that_its_job_was_cancelled(worker: GoWorker, gem: Gem) -> None:
    gem.jobs_post({"image": IMAGE})
    job = worker.take()
    assert job is not None
    assert not worker.is_cancelled(job["id"])
    worker.cancel(job["id"], "stop it")
    assert worker.is_cancelled(job["id"])
    with pytest.raises(ApiError) as late:
        worker.report(job["id"], "success")
    assert (late.value.code, late.value.error) == (409, {"id": job["id"], "status": "cancelled"})


def test_the_worker_that_falls_silent_comes_too_late(worker: GoWorker, gem: Gem) -> None:
    gem.jobs_post({"image": IMAGE, "timeout": 1, "max_retries": 1, "retries_delay": 0})
    job = worker.take()
    assert job is not None
    until(lambda: gem.job_id_get(job["id"])["status"] == "failed")
    for late in (
        lambda: worker.call("POST", f"/job/{job['id']}/touch"),
        lambda: worker.report(job["id"], "success"),
        lambda: worker.report(job["id"], "fail", reason="bad_exit"),
    ):
        with pytest.raises(ApiError) as caught:
            late()
        assert (caught.value.code, caught.value.error) == (409, {"id": job["id"], "status": "failed"})
    again = worker.take()
    assert again is not None
    assert again["retry_of"] == job["id"]


def test_the_worker_keeps_a_slow_job_by_touching_it(worker: GoWorker, gem: Gem) -> None:
    # Five times as fast as time: its timeout is four seconds.
    gem.jobs_post({"image": IMAGE, "timeout": 20})
    job = worker.take()
    assert job is not None
    began = time.monotonic()
    while time.monotonic() - began < 5:
        assert worker.call("POST", f"/job/{job['id']}/touch") is None
        time.sleep(0.2)
    assert worker.report(job["id"], "success", b"slow\n")["status"] == "succeeded"
