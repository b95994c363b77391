"""A small client of task runs: submit, wait, list, abort."""

import json
import time
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

ENDED = {"Completed", "Failed", "Aborted", "TimedOut"}
FIRST_WAIT_S = 2
LONGEST_WAIT_S = 60


class RunFailed(Exception):
    """The run ended, and not well."""


class GaveUp(Exception):
    """The run did not end in time, or the service did not answer in time."""


class Runs:
    """The runs of one project.

    Args:
        url: base URL of the service.
        token: who calls.
        patience_s: how long to wait for a run, or for the service to come back.
    """

    def __init__(self, url, token, patience_s=3600):
        self._url = f"{url}/v1/tasks/runs"
        self._token = token
        self._patience_s = patience_s

    def submit(self, name, image, command="true"):
        """Start a run and give its id; names of runs are unique for whoever uses this client."""
        body = {"name": name, "execution": {"image": {"name": image}, "command": command}}
        try:
            return self._call("POST", "", body)["id"]
        except ConnectionError:
            # It may have been started all the same.
            known = [run["id"] for run in self.list() if run["name"] == name]
            return known[0] if known else self._call("POST", "", body)["id"]

    def run(self, run_id):
        """The run as it is now."""
        return self._call("GET", f"/{quote(run_id)}")

    def wait(self, run_id):
        """The run once it has ended.

        Raises:
            RunFailed: it did not complete.
            GaveUp: it did not end in time.
        """
        began = time.monotonic()
        wait_s = FIRST_WAIT_S
        while True:
            run = self.run(run_id)
            if run["status"] in ENDED:
                break
            if time.monotonic() - began + wait_s > self._patience_s:
                raise GaveUp(f"{run_id} is still {run['status']}")
            time.sleep(wait_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)
        if run["status"] != "Completed":
            raise RunFailed(f"{run_id} is {run['status']}")
        return run

    def list(self, page_size=100):
        """All runs."""
        runs = []
        query = f"?pageSize={page_size}"
        while True:
            page = self._call("GET", query)
            runs += page["items"]
            if not page.get("nextPageToken"):
                return runs
            query = f"?pageSize={page_size}&pageToken={quote(page['nextPageToken'], safe='')}"

    def abort(self, run_id):
        """Stop a run."""
        return self._call("PUT", f"/{quote(run_id)}:abort")

    def _call(self, method, path, body=None):
        began = time.monotonic()
        wait_s = 1
        while True:
            request = Request(self._url + path, method=method)
            request.add_header("Authorization", f"Bearer {self._token}")
            if body is not None:
                request.add_header("Content-Type", "application/json")
                request.data = json.dumps(body).encode()
            try:
                with urlopen(request) as answer:
                    return json.load(answer)
            except HTTPError as refusal:
                with refusal:
                    if refusal.code not in (429, 503):
                        raise
                    wait_s = float(refusal.headers.get("Retry-After", wait_s * 2))
                    if time.monotonic() - began + wait_s > self._patience_s:
                        raise GaveUp(f"{method} {path} is answered {refusal.code}") from None
                time.sleep(wait_s)
