"""The commands for a running server, as a person and as a program meet them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner, Result

from simulator.cli import main
from simulator.control_client import ControlClient
from tests.running import serving

NUMBERS = count(1)
TOKEN = "open-sesame"
START = "2030-01-01T00:00:00.000Z"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving("titan", "ogc", "--time", "frozen", "--admin-token", TOKEN) as running:
        yield running.url


class Person:
    """Somebody with a terminal, who works in one world of the server."""

    def __init__(self, url: str, world: str) -> None:
        self.url = url
        self.world = world

    def environment(self) -> dict[str, str]:
        return {
            "UNDERSTUDY_URL": self.url,
            "UNDERSTUDY_WORLD": self.world,
            "UNDERSTUDY_ADMIN_TOKEN": f"{TOKEN}\n",
        }

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, list(arguments), env=self.environment())

    def text(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.text(*arguments, "--format", "json"))

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """The cells of a table, by heading."""
        heading, *lines = self.text(*arguments).splitlines()
        starts = [place for place in range(len(heading)) if place == 0 or heading[place - 2 : place] == "  "]
        starts = [place for place in starts if heading[place] != " "]
        ends = [*starts[1:], None]
        return [
            {
                heading[start:end].strip(): line[start:end].strip()
                for start, end in zip(starts, ends, strict=True)
            }
            for line in lines
        ]

    def refusal(self, *arguments: str) -> str:
        result = self.run(*arguments)
        assert (result.exit_code, result.stdout) == (2, "")
        return result.stderr

    def submit(self, message: str = "hello", path: str = "/processes/echo/execution") -> str:
        request = Request(
            f"{self.url}/worlds/{self.world}/ogc{path}",
            data=json.dumps({"inputs": {"message": message}}).encode(),
            headers={"Content-Type": "application/json", "Prefer": "respond-async"},
        )
        with urlopen(request, timeout=5) as response:
            job_id: str = json.load(response)["jobID"]
            return job_id

    def look(self, job_id: str, query: str = "") -> None:
        urlopen(f"{self.url}/worlds/{self.world}/ogc/jobs/{job_id}{query}", timeout=5).close()


@pytest.fixture
def person(url: str) -> Iterator[Person]:
    name = f"person-{next(NUMBERS)}"
    with ControlClient(url, token=TOKEN) as control:
        control.put_world(name)
        yield Person(url, name)
        control.delete_world(name)


# ---- worlds ---------------------------------------------------------------------------------------------------------


def test_a_world_is_created_listed_reset_and_deleted(person: Person) -> None:
    options = ("--scenario", "slow", "--seed", "7", "--time", "poll")
    (row,) = person.table("world", "create", "mine", *options)
    assert row == {
        "NAME": "mine",
        "SCENARIO": "slow",
        "SEED": "7",
        "MODE": "poll",
        "NOW": START,
        "JOBS": "0",
        "CALLS": "0",
        "PATH": "/worlds/mine",
    }
    assert [row["NAME"] for row in person.table("world", "list")] == ["default", person.world, "mine"]
    assert person.json("world", "list")[-1]["time"] == {"mode": "poll", "now": START}
    assert person.json("world", "create", "mine", *options)["seed"] == 7
    assert person.json("world", "reset", "mine")["scenario"] == "slow"
    assert person.text("world", "delete", "mine") == "deleted mine\n"
    person.text("world", "create", "mine")
    assert person.json("world", "delete", "mine") == {"deleted": "mine"}


def test_reset_without_a_name_means_the_world_of_the_environment(person: Person) -> None:
    person.submit()
    (row,) = person.table("world", "reset")
    assert (row["NAME"], row["JOBS"]) == (person.world, "0")


def test_a_scenario_of_a_file_is_sent_as_it_is(person: Person, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("{extends: slow, jobs: [{script: [failed: boom]}]}")
    assert person.json("world", "create", person.world, "--scenario", str(path))["scenario"] == "inline"
    job_id = person.submit()
    person.text("clock", "advance", "1s")
    assert person.json("job", "show", "ogc", job_id)["error"]["message"] == "boom"


def test_every_problem_of_a_file_is_told_with_its_place_in_the_file(person: Person, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("jobs:\n- script: [quued: 1s]\n  on_cansel: ignored\n")
    first, second = person.refusal("world", "create", person.world, "--scenario", str(path)).splitlines()
    assert first.startswith(f"understudy: {path}:2:12: jobs[0].script[0]: unknown key 'quued'")
    assert second.startswith(f"{path}:3:3: ")


@pytest.mark.parametrize("extends", ["./base.yaml", "[happy, base.yml]", "../elsewhere/base"])
def test_a_file_that_extends_files_cannot_be_sent(person: Person, tmp_path: Path, extends: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"extends: {extends}\n")
    said = person.refusal("world", "create", person.world, "--scenario", str(path))
    assert "only shipped scenarios can be extended, by their names" in said
    assert f"{path} extends the file " in said


def test_a_scenario_that_is_nowhere_is_refused(person: Person, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.yaml")
    assert person.refusal("world", "create", "x", "--scenario", absent) == (
        f"understudy: there is no file {absent}\n"
    )
    assert "there is no scenario 'hapy', did you mean 'happy'?" in person.refusal(
        "world", "create", "x", "--scenario", "hapy"
    )
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    binary = str(tmp_path / "binary.yaml")
    assert "cannot be read" in person.refusal("world", "create", "x", "--scenario", binary)


# ---- clocks ---------------------------------------------------------------------------------------------------------


def test_a_clock_is_shown_frozen_and_let_run(person: Person) -> None:
    assert person.table("clock", "show") == [{"NOW": START, "MODE": "frozen", "NEXT": "-"}]
    person.submit()
    assert person.json("clock", "show") == {
        "now": START,
        "mode": "frozen",
        "next": "2030-01-01T00:00:01.000Z",
    }
    assert person.table("clock", "rate", "poll")[0]["MODE"] == "poll"
    assert person.json("clock", "rate", "60x")["mode"] == "60x"
    assert person.json("clock", "freeze")["mode"] == "frozen"
    assert person.table("clock", "freeze")[0]["MODE"] == "frozen"


def test_advance_tells_what_happened_and_what_time_it_is(person: Person) -> None:
    job_id = person.submit()
    *table, now = person.text("clock", "advance", "10m").splitlines()
    assert now == "now 2030-01-01T00:10:00.000Z"
    assert [line.split() for line in table] == [
        ["AT", "API", "JOB", "STATE", "CAUSE"],
        ["2030-01-01T00:00:01.000Z", "ogc", job_id, "running", "scenarios/happy.yaml:11"],
        ["2030-01-01T00:00:04.000Z", "ogc", job_id, "succeeded", "scenarios/happy.yaml:14"],
    ]
    assert person.text("clock", "advance", "0s").splitlines() == ["AT  API  JOB  STATE  CAUSE", now]


def test_advance_goes_to_an_instant_to_events_or_until_all_is_done(person: Person) -> None:
    person.submit()
    assert person.json("clock", "advance", "--to", "2030-01-01T00:00:00.5Z")["events"] == []
    assert [one["state"] for one in person.json("clock", "advance", "--next", "1")["events"]] == ["running"]
    person.submit()
    result = person.run("clock", "advance", "--until-idle", "--limit", "1s")
    assert result.exit_code == 0
    assert result.stderr == "understudy: something is still due after that\n"
    done = person.json("clock", "advance", "--until-idle")
    assert (done["is_idle"], done["now"]) == (True, "2030-01-01T00:00:05.000Z")


def test_time_does_not_go_back(person: Person) -> None:
    said = person.refusal("clock", "advance", "--to", "2029-12-31T23:59:59Z")
    assert said.startswith(f"understudy: Conflict: time does not go back: it is {START}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say how far, in one way"),
        (("1s", "--next", "1"), "say how far, in one way"),
        (("1s", "--limit", "1s"), "--limit belongs to --until-idle"),
        (("5",), "'5' is not a duration; write it like"),
        (("--next", "0"), "0 is not in the range"),
        (("--to", "tomorrow"), "tomorrow"),
    ],
)
def test_a_way_that_is_none_is_refused(person: Person, arguments: tuple[str, ...], said: str) -> None:
    assert said in person.refusal("clock", "advance", *arguments)


# ---- jobs -----------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_by_api_and_state(person: Person) -> None:
    assert person.table("job", "list") == []
    assert person.json("job", "list") == []
    first, second = person.submit(), person.submit()
    person.text("job", "step", "ogc", first)
    rows = person.table("job", "list")
    assert [(row["ID"], row["STATE"], row["WORD"], row["HELD"]) for row in rows] == [
        (first, "running", "running", "no"),
        (second, "queued", "accepted", "no"),
    ]
    assert [job["id"] for job in person.json("job", "list", "--state", "queued")] == [second]
    assert person.table("job", "list", "--api", "titan") == []
    result = person.run("job", "list", "--limit", "1", "--format", "json")
    assert [job["id"] for job in json.loads(result.stdout)] == [first]
    assert result.stderr == "understudy: there are more; see --limit\n"


def test_jobs_are_found_by_what_they_are_and_whether_they_are_held(person: Person) -> None:
    first, second = person.submit(), person.submit()
    person.text("job", "hold", "ogc", first)
    assert [row["ID"] for row in person.table("job", "list", "--held")] == [first]
    assert [row["ID"] for row in person.table("job", "list", "--newest")] == [second, first]
    assert person.table("job", "list", "--kind", "no such process") == []


def test_a_job_is_held_released_and_stepped(person: Person) -> None:
    job_id = person.submit()
    (row,) = person.table("job", "hold", "ogc", job_id)
    assert (row["ID"], row["HELD"], row["DUE"]) == (job_id, "yes", "-")
    assert person.json("job", "release", "ogc", job_id)["held"] is False
    assert person.table("job", "step", "ogc", job_id)[0]["STATE"] == "running"
    assert person.json("job", "step", "ogc", job_id)["state"] == "succeeded"
    assert person.refusal("job", "hold", "ogc", job_id).startswith("understudy: Conflict: ")


def test_a_job_is_forced_into_a_state(person: Person) -> None:
    failing, done, slow = person.submit(), person.submit(), person.submit()
    error = ("--error-code", "out_of_memory", "--error-message", "Container killed")
    assert person.table("job", "force", "ogc", failing, "failed", *error)[0]["STATE"] == "failed"
    assert person.json("job", "show", "ogc", failing)["errors"][0]["code"] == "out_of_memory"
    forced = person.json("job", "force", "ogc", done, "succeeded", "--result", '{"answer": 42}')
    assert forced["result"] == {"answer": 42}
    assert person.json("job", "force", "ogc", slow, "running", "--progress", "60")["progress"] == 60
    for wrong in ("done", "NaN", "[" * 100_000):
        assert "Invalid value for --result" in person.refusal(
            "job", "force", "ogc", slow, "succeeded", "--result", wrong
        )
    assert "is not one of" in person.refusal("job", "force", "ogc", slow, "finished")


def test_a_job_is_shown_with_its_history_and_its_errors(person: Person) -> None:
    job_id = person.submit()
    person.text(
        "job", "force", "ogc", job_id, "failed", "--error-code", "oom", "--error-message", "no memory"
    )
    facts, history, errors = person.text("job", "show", "ogc", job_id).split("\n\n")
    shown = dict(line.split(maxsplit=1) for line in facts.splitlines())
    assert (shown["id"], shown["state"], shown["word"]) == (job_id, "failed", "failed")
    assert json.loads(shown["request"])["inputs"] == {"message": "hello"}
    assert [line.split() for line in history.splitlines()] == [
        ["AT", "STATE", "CAUSE"],
        [START, "queued", "client"],
        [START, "failed", "operator"],
    ]
    assert errors.splitlines()[1].split() == [START, "oom", "no", "memory", "-"]


def test_a_job_that_is_not_there_is_named(person: Person) -> None:
    assert "nothing-here" in person.refusal("job", "show", "ogc", "nothing-here")
    assert "there is no API 'ogd' here; there are: ogc, titan" in person.refusal("job", "show", "ogd", "1")


# ---- calls ----------------------------------------------------------------------------------------------------------


def test_calls_are_listed_by_what_they_were(person: Person) -> None:
    assert person.table("calls") == []
    assert person.json("calls") == []
    job_id = person.submit()
    person.look(job_id)
    person.look(job_id, "?token=secret&x=1")
    rows = person.table("calls")
    assert [(row["NUMBER"], row["METHOD"], row["STATUS"], row["AT"]) for row in rows] == [
        ("1", "POST", "201", START),
        ("2", "GET", "200", START),
        ("3", "GET", "200", START),
    ]
    assert rows[1]["PATH"].endswith(f"/ogc/jobs/{job_id}")
    assert "secret" not in person.text("calls")
    for options, numbers in (
        (("--method", "get"), [2, 3]),
        (("--job", job_id, "--path", "x=1"), [3]),
        (("--role", "submit"), [1]),
        (("--operation", rows[1]["OPERATION"]), [2, 3]),
        (("--status", "2xx", "--api", "ogc", "--newest"), [3, 2, 1]),
        (("--status", "404"), []),
        (("--violations",), []),
    ):
        assert [call["number"] for call in person.json("calls", *options)] == numbers, options
    result = person.run("calls", "--newest", "--limit", "1", "--format", "json")
    assert [call["number"] for call in json.loads(result.stdout)] == [3]
    assert "there are more" in result.stderr


def test_calls_are_counted_and_cleared(person: Person) -> None:
    person.look(person.submit())
    assert person.text("calls", "--count") == "2\n"
    assert person.json("calls", "--count", "--method", "GET") == {"count": 1}
    person.text("calls", "--clear", "--method", "POST")
    assert [call["number"] for call in person.json("calls")] == [2]
    assert person.text("calls", "--clear") == f"cleared the call log of {person.world}\n"
    assert person.json("calls", "--count") == {"count": 0}
    assert person.json("calls", "--clear") == {"cleared": person.world}


def test_one_call_is_shown_from_its_request_line_to_its_last_byte(person: Person) -> None:
    job_id = person.submit()
    text = person.text("calls", "--show", "1")
    assert f"\n\nPOST /worlds/{person.world}/ogc/processes/echo/execution\n" in text
    assert "\ncontent-type: application/json\n" in text
    assert '\n\n{\n  "inputs": {\n    "message": "hello"\n  }\n}\n\n201 Created\n' in text
    assert f'\n  "jobID": "{job_id}"' in text
    assert text.startswith("number     1\nat         2030-01-01T00:00:00.000Z\n")
    call = person.json("calls", "--show", "1")
    assert json.loads(call["response"]["body"])["jobID"] == job_id
    assert person.refusal("calls", "--show", "9").startswith("understudy: Not Found: ")


def test_a_client_cannot_steer_the_terminal_of_who_reads_the_log(person: Person) -> None:
    evil = "\x1b]0;owned\x07\x9b2J\u202e"
    person.submit(evil)
    body = b'"\x1b[2J' + b"x" * 10
    request = Request(
        f"{person.url}/worlds/{person.world}/ogc/processes/echo/execution",
        data=body,
        headers={"Content-Type": "application/json", "X-Evil": "\x9b2J"},
    )
    with pytest.raises(Exception, match="400"):
        urlopen(request, timeout=5)
    for arguments in (("calls",), ("calls", "--show", "1"), ("calls", "--show", "2"), ("job", "list")):
        for form in ("text", "json"):
            shown = person.text(*arguments, "--format", form)
            assert all(one == "\n" or one.isprintable() for one in shown), ascii(shown)
    assert "\\x1b[2J" in person.text("calls", "--show", "2")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--show", "1", "--count"),
        ("--clear", "--newest"),
        ("--clear", "--limit", "1"),
        ("--show", "1", "--violations"),
        ("--count", "--limit", "1"),
        ("--follow", "--newest"),
        ("--show", "0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(person: Person, arguments: tuple[str, ...]) -> None:
    person.refusal("calls", *arguments)


def follow(person: Person, *arguments: str) -> subprocess.Popen[str]:
    """A process that has begun to follow."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "calls", "--follow", *arguments],
        env={**os.environ, **person.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert process.stderr.readline().startswith(f"understudy: following the calls of {person.world}")
    return process


def test_calls_are_followed_as_they_come(person: Person) -> None:
    job_id = person.submit("before")
    with (
        follow(person, "--method", "get") as everything,
        follow(person, "--format", "json", "--limit", "2") as two,
    ):
        person.submit()
        person.look(job_id)
        out, errors = two.communicate(timeout=10)
        assert [json.loads(line)["number"] for line in out.splitlines()] == [2, 3]
        assert (two.returncode, errors) == (0, "")
        assert everything.stdout is not None
        assert everything.stdout.readline().split()[:4] == ["3", START, "200", "GET"]
        everything.send_signal(signal.SIGINT)
        assert everything.communicate(timeout=10) == ("", "")
        assert everything.returncode == 0


def test_who_follows_a_world_is_told_of_its_end(person: Person) -> None:
    with follow(person) as process:
        person.text("world", "reset")
        out, errors = process.communicate(timeout=10)
    assert (process.returncode, out) == (2, "")
    assert errors == f"understudy: world '{person.world}' has ended: reset\n"


# ---- what goes wrong ------------------------------------------------------------------------------------------------

COMMANDS: list[tuple[str, ...]] = [
    ("world", "reset"),
    ("clock", "show"),
    ("clock", "freeze"),
    ("clock", "rate", "60x"),
    ("clock", "advance", "1s"),
    ("job", "list"),
    ("job", "show", "ogc", "1"),
    ("job", "hold", "ogc", "1"),
    ("job", "release", "ogc", "1"),
    ("job", "step", "ogc", "1"),
    ("job", "force", "ogc", "1", "failed"),
    ("calls",),
    ("calls", "--show", "1"),
    ("calls", "--count"),
    ("calls", "--clear"),
    ("calls", "--follow"),
]


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("form", ["text", "json"])
def test_every_command_names_a_world_that_is_not_there(
    url: str, arguments: tuple[str, ...], form: str
) -> None:
    said = Person(url, "nobody").refusal(*arguments, "--format", form)
    assert said.startswith("understudy: Not Found: there is no world 'nobody'; there are: default")


@pytest.mark.parametrize("arguments", [*COMMANDS, ("world", "list"), ("world", "create", "x")], ids=" ".join)
def test_every_command_says_that_the_token_is_wrong(person: Person, arguments: tuple[str, ...]) -> None:
    said = person.refusal(*arguments, "--token", "wrong")
    assert said.startswith("understudy: Unauthorized: the control API of this server wants its token")
    assert said.endswith("give it with --token or UNDERSTUDY_ADMIN_TOKEN\n")
    assert "wrong" not in said


@pytest.mark.parametrize("arguments", [*COMMANDS, ("world", "delete", "x")], ids=" ".join)
def test_every_command_says_how_to_start_a_server_when_there_is_none(arguments: tuple[str, ...]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    said = Person("http://127.0.0.1:9", "default").refusal(*arguments, "--url", url)
    assert said.startswith(f"understudy: no understudy answers at {url} (")
    assert "start one with `understudy serve`, or say where it is with --url" in said


def test_what_is_no_text_is_refused(person: Person) -> None:
    assert "no text in UTF-8" in person.refusal("job", "show", "ogc", "\udcff")
    assert "cannot be sent" in person.refusal("world", "list", "--token", "a\x00b")


def test_the_default_world_cannot_be_deleted(person: Person) -> None:
    said = person.refusal("world", "delete", "default")
    assert said.startswith(
        "understudy: Conflict: 'default' exists always and cannot be deleted; reset it instead"
    )
