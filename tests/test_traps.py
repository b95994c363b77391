"""Traps: what a client's own command does in them, how it is judged, and that nothing of it is left."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from simulator import traps
from simulator.assemble import abilities_of, load_apis, load_document
from simulator.cli_traps import traps as command
from simulator.resources import GROUPS, shipped_scenarios
from simulator.traps import TRAPS, Ended, Ending, Seen, Spring, Trap, Verdict, judge

NO_TRAPS = {
    *("happy", "titan-self-running", "poll-counted"),
    *("flavour-status-words", "flavour-unity", "flavour-wrapped-dates"),
}
"""Shipped scenarios for other ends: where nothing goes wrong, or where a service is of another kind."""

SPEAKS = """
import json, os, sys, time, urllib.error, urllib.request
BASE = os.environ["UNDERSTUDY_ICA_URL"]
TASK = {"name": "align", "execution": {"image": {"name": "ubuntu"}}}

def ask(method, path, body=None, base=None, timeout=30):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer me"}
    request = urllib.request.Request((base or BASE) + path, data, headers, method=method)
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        text = answer.read()
        return json.loads(text) if text else None
"""
GOOD = (
    SPEAKS
    + """
def patiently(path):
    for pause in (0, 0.01, 0.02, 0.04, 0.08):
        time.sleep(pause)
        try:
            return ask("GET", path, timeout=2)
        except urllib.error.HTTPError as refusal:
            if refusal.code < 500 and refusal.code != 404:
                raise
        except (OSError, ValueError):
            pass
    sys.exit("no answer")

try:
    run = ask("POST", "/v1/tasks/runs", TASK)
except OSError as problem:
    pause = getattr(problem, "headers", {}).get("Retry-After")
    if pause is None:
        sys.exit(f"nobody knows whether it was submitted: {problem}")
    time.sleep(float(pause))
    run = ask("POST", "/v1/tasks/runs", TASK)
for _ in range(200):
    run = patiently("/v1/tasks/runs/" + run["id"])
    if run["status"] == "Completed":
        sys.exit(0)
    if run["status"] == "Failed":
        sys.exit("failed")
sys.exit("gave up")
"""
)
CARELESS = (
    SPEAKS
    + """
try:
    run = ask("POST", "/v1/tasks/runs", TASK)
except OSError:
    run = ask("POST", "/v1/tasks/runs", TASK)
while run["status"] in ("Pending", "Running"):
    run = ask("GET", "/v1/tasks/runs/" + run["id"])
"""
)


@pytest.fixture(autouse=True)
def short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that do not want to end are made to, soon."""
    monkeypatch.setattr(traps, "GRACE_S", 0.2)


def script(folder: Path, text: str) -> tuple[str, ...]:
    """A command that runs this program."""
    file = folder / "client.py"
    file.write_text(text)
    return (sys.executable, "-S", str(file))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, ["run", *arguments])


def run_json(*arguments: str) -> dict[str, Any]:
    """The scorecard, by name of trap, and its summary."""
    result = run("--format", "json", *arguments)
    card = json.loads(result.stdout)
    return {
        **{one["trap"]: one for one in card["traps"]},
        "baseline": card["baseline"],
        "summary": card["summary"],
        "exit_code": result.exit_code,
    }


def chosen(*names: str) -> list[str]:
    return [word for name in names for word in ("--trap", name)]


def is_alive(process: int) -> bool:
    """Whether it runs; one that nobody has buried does not."""
    stat = Path(f"/proc/{process}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# ---- which traps there are ------------------------------------------------------------------------------------------


def test_every_shipped_scenario_is_a_trap_or_known_to_be_none() -> None:
    names = [trap.name for trap in TRAPS]
    assert len(names) == len(set(names))
    assert {*names} | NO_TRAPS == shipped_scenarios().keys()
    assert not {*names} & NO_TRAPS


def test_traps_are_told_in_the_order_in_which_a_client_meets_them() -> None:
    places = [GROUPS.index(trap.group) for trap in TRAPS]
    assert places == sorted(places)


def test_a_trap_concerns_only_apis_that_can_do_what_springs_it() -> None:
    apis = load_apis()
    abilities = abilities_of({name: load_document(api) for name, api in apis.items()}, apis)
    roles = {"list": "list", "cancel": "cancel", "worker": "claim"}
    for trap in TRAPS:
        assert {*trap.apis} <= apis.keys()
        role = roles.get(trap.group)
        if role is not None and trap.name != "worker-dies":
            assert all(role in abilities[api].roles for api in trap.apis or apis), trap.name


# ---- how a command is judged ----------------------------------------------------------------------------------------

WELL = Trap("fault-hang", "", Ending.WELL, Spring.CALL)
BADLY = Trap("fails-halfway", "", Ending.BADLY, Spring.ENDED)
EITHER = Trap("cancel-slow", "", Ending.EITHER, Spring.CANCELLED)


@pytest.mark.parametrize(
    ("trap", "exit_code", "is_sprung", "verdict"),
    [
        (WELL, 0, True, Verdict.PASSED),
        (WELL, 0, False, Verdict.NOT_SPRUNG),
        (WELL, 1, True, Verdict.FAILED),
        (WELL, 1, False, Verdict.FAILED),
        (WELL, None, True, Verdict.TIMED_OUT),
        (BADLY, 0, True, Verdict.FAILED),
        (BADLY, 0, False, Verdict.NOT_SPRUNG),
        (BADLY, 1, True, Verdict.PASSED),
        (BADLY, 1, False, Verdict.FAILED),
        (BADLY, -signal.SIGSEGV, True, Verdict.FAILED),
        (BADLY, None, True, Verdict.TIMED_OUT),
        (EITHER, 0, True, Verdict.PASSED),
        (EITHER, 1, True, Verdict.PASSED),
        (EITHER, 0, False, Verdict.NOT_SPRUNG),
        (EITHER, 1, False, Verdict.FAILED),
    ],
)
def test_the_exit_code_and_whether_the_trap_was_sprung_make_the_verdict(
    trap: Trap, exit_code: int | None, is_sprung: bool, verdict: Verdict
) -> None:
    found, reason = judge(trap, Ended(exit_code, 1.0, ""), Seen(calls=1, is_sprung=is_sprung))
    assert found is verdict
    assert bool(reason) is (verdict is not Verdict.PASSED)


def test_a_command_that_knows_its_trap_survives_with_0_alone() -> None:
    seen = Seen(calls=1, is_sprung=True)
    assert judge(BADLY, Ended(0, 1.0, ""), seen, knows_traps=True)[0] is Verdict.PASSED
    assert judge(BADLY, Ended(1, 1.0, ""), seen, knows_traps=True)[0] is Verdict.FAILED


def test_what_the_server_saw_counts_more_than_a_good_exit_code() -> None:
    seen = Seen(calls=1, is_sprung=True, misdeeds=["it submitted twice"])
    assert judge(WELL, Ended(0, 1.0, ""), seen) == (Verdict.FAILED, "it submitted twice")


# ---- clients in traps -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_good_client_survives(tmp_path: Path) -> None:
    names = ("fault-bad-gateway", "fault-connection-reset", "fails-halfway", "never-finishes", "submit-*")
    result = run("--api", "ica", "--jobs", "2", *chosen(*names), "--", *script(tmp_path, GOOD))
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith("\n10 of 10 traps survived\n")
    assert "baseline: passed" in result.stderr


@pytest.mark.slow
def test_a_careless_client_is_caught_each_time_in_its_own_way(tmp_path: Path) -> None:
    names = ("fault-bad-gateway", "fails-halfway", "never-finishes", "submit-response-lost")
    client = script(tmp_path, CARELESS)
    card = run_json("--api", "ica", "--jobs", "2", "--timeout", "2s", *chosen(*names), "--", *client)
    assert card["exit_code"] == 1
    assert {name: card[name]["verdict"] for name in names} == {
        "fault-bad-gateway": "failed",
        "fails-halfway": "failed",
        "never-finishes": "timed out",
        "submit-response-lost": "failed",
    }
    assert "HTTP Error 502" in card["fault-bad-gateway"]["output"]
    assert "though no job could succeed" in card["fails-halfway"]["reason"]
    assert card["never-finishes"]["exit_code"] is None
    assert (card["submit-response-lost"]["submitted_again"], card["submit-response-lost"]["jobs"]) == (1, 2)
    assert card["submit-response-lost"]["replay"] == (
        "understudy serve --scenario submit-response-lost --time poll --seed 1"
    )
    assert card["summary"] == {
        "traps": 4,
        "passed": 0,
        "failed": 3,
        "timed_out": 1,
        "not_sprung": 0,
        "interrupted": False,
    }


@pytest.mark.slow
def test_who_comes_back_too_early_is_caught_although_it_got_through(tmp_path: Path) -> None:
    result = run("--api", "ica", *chosen("submit-unavailable"), "--", *script(tmp_path, CARELESS))
    assert result.exit_code == 1
    assert "did not respect Retry-After" in result.stdout
    assert "a good client   waits as long as Retry-After says" in result.stdout


def test_polls_after_the_end_are_told_but_no_reason_to_fail(tmp_path: Path) -> None:
    client = script(tmp_path, CARELESS + 'ask("GET", "/v1/tasks/runs/" + run["id"])\n')
    card = run_json("--no-baseline", "--api", "ica", *chosen("poll-done-at-once"), "--", *client)
    one = card["poll-done-at-once"]
    assert (one["verdict"], one["polls_after_end"]) == ("passed", 0)
    card = run_json("--no-baseline", "--api", "ica", *chosen("poll-never-running"), "--", *client)
    one = card["poll-never-running"]
    assert (one["verdict"], one["polls_after_end"]) == ("passed", 1)


def test_a_trap_that_nothing_sprang_is_no_success(tmp_path: Path) -> None:
    card = run_json("--api", "ica", *chosen("cancel-slow"), "--", *script(tmp_path, GOOD))
    assert (card["cancel-slow"]["verdict"], card["exit_code"]) == ("not sprung", 1)
    assert card["cancel-slow"]["reason"] == "nobody cancelled a job"
    idle = run_json("--no-baseline", "--api", "ica", *chosen("fault-hang"), "--", *script(tmp_path, ""))
    assert (idle["fault-hang"]["verdict"], idle["fault-hang"]["reason"]) == ("not sprung", "no call came")


def test_worlds_that_the_command_makes_and_removes_count(tmp_path: Path) -> None:
    client = script(
        tmp_path,
        SPEAKS
        + """
server = os.environ["UNDERSTUDY_URL"]
scenario = {"scenario": "happy"} if sys.argv[1:] else {}
ask("PUT", "/__admin/worlds/mine", scenario, base=server)
ours = BASE.replace(server, server + "/worlds/mine")
run = ask("POST", "/v1/tasks/runs", TASK, base=ours)
for _ in range(3):
    try:
        ask("GET", "/v1/tasks/runs/" + run["id"], base=ours)
    except urllib.error.HTTPError as refusal:
        print(refusal.code)
ask("DELETE", "/__admin/worlds/mine", base=server)
""",
    )
    wanted = ("--no-baseline", "--api", "ica", *chosen("retry-after-seconds"), "--")
    one = run_json(*wanted, *client)["retry-after-seconds"]
    assert (one["verdict"], one["calls"], one["jobs"]) == ("passed", 4, 1)
    assert one["output"] == "503\n503\n"
    other = run_json(*wanted, *client, "happy")["retry-after-seconds"]
    assert (other["verdict"], other["calls"]) == ("not sprung", 4)


def test_without_choice_only_traps_of_the_apis_are_set_that_the_baseline_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [trap for trap in TRAPS if trap.name in ("worker-late", "fault-bad-gateway")]
    monkeypatch.setattr(traps, "TRAPS", few)
    card = run_json("--", *script(tmp_path, GOOD))
    assert card["baseline"]["apis"] == ["ica"]
    assert card["fault-bad-gateway"]["verdict"] == "passed"
    assert "worker-late" not in card


def test_the_command_is_told_where_the_server_is_and_which_trap_it_is_in(tmp_path: Path) -> None:
    told = (
        "print(sorted((name, value) for name, value in os.environ.items() if name.startswith('UNDERSTUDY_')))"
    )
    client = script(tmp_path, f"{CARELESS}\n{told}\n")
    card = run_json("--api", "ica", *chosen("poll-done-at-once"), "--", *client)
    before, after = (dict(eval(card[name]["output"])) for name in ("baseline", "poll-done-at-once"))
    assert "UNDERSTUDY_TRAP" not in before
    assert after["UNDERSTUDY_TRAP"] == "poll-done-at-once"
    assert after["UNDERSTUDY_ICA_URL"] == f"{after['UNDERSTUDY_URL']}/ica"
    assert "UNDERSTUDY_OGC_URL" not in after


def test_fail_fast_stops_at_the_first_trap_that_catches_the_client(tmp_path: Path) -> None:
    names = chosen("fault-bad-gateway", "fault-connection-reset", "fault-flaky")
    result = run("--fail-fast", "--api", "ica", *names, "--", *script(tmp_path, CARELESS))
    assert result.exit_code == 1
    assert "0 of 1 traps survived, 1 failed\nstopped before 2 further traps\n" in result.stdout


# ---- commands that are broken ---------------------------------------------------------------------------------------


def test_a_command_that_fails_without_a_trap_is_told_so(tmp_path: Path) -> None:
    result = run(
        *chosen("fault-hang"), "--", *script(tmp_path, "print('no such table')\nraise SystemExit(3)")
    )
    assert result.exit_code == 2
    assert "fails without any trap, in happy: it ended with exit code 3\n| no such table" in result.stderr
    assert result.stdout == ""


def test_a_client_that_only_submits_to_titan_is_told_of_the_baseline_where_jobs_run(tmp_path: Path) -> None:
    submit = """
job = {"jobs": [{"image": "acme/resize:3"}]}
answer = ask("POST", "/jobs", job, base=os.environ["UNDERSTUDY_TITAN_URL"])
sys.exit("it never ran")
"""
    speaks = SPEAKS.replace("UNDERSTUDY_ICA_URL", "UNDERSTUDY_TITAN_URL")
    result = run("--api", "titan", *chosen("fault-hang"), "--", *script(tmp_path, speaks + submit))
    assert result.exit_code == 2
    assert "it never ran" in result.stderr, result.stderr
    assert "jobs of titan waited for a worker" in result.stderr
    assert "--baseline titan-self-running" in result.stderr


def test_a_command_that_calls_nothing_is_told_where_the_server_is(tmp_path: Path) -> None:
    result = run("--api", "ica", *chosen("fault-hang"), "--", *script(tmp_path, "print('fine')"))
    assert result.exit_code == 2
    assert "without a single call" in result.stderr
    assert "UNDERSTUDY_URL" in result.stderr


# ---- what commands write --------------------------------------------------------------------------------------------


HOSTILE = r"""
import sys
sys.stdout.buffer.write(b"\x1b]0;owned\x07\xff\xfe\x00 <b>]]>&\r\nsecond\rline \xe2\x80\xae\xef\xbf\xbf\n")
sys.stdout.flush()
sys.exit(1)
"""


def test_of_much_output_the_end_is_kept_and_the_last_lines_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(traps, "OUTPUT_BYTES_MAX", 10_000)
    client = script(tmp_path, "for n in range(100_000): print(n)\nraise SystemExit(1)")
    wanted = ("--no-baseline", "--api", "ica", *chosen("fault-hang"), "--")
    card = run_json(*wanted, *client)
    output = card["fault-hang"]["output"]
    assert output.endswith("99998\n99999\n")
    assert output.startswith("[578890 bytes before this were left out]\n")
    shown = run(*wanted, *client).stdout
    assert "| 99960\n" in shown
    assert "| 99959\n" not in shown
    assert "| 99000\n" in run("-v", *wanted, *client).stderr


# ---- nothing is left ------------------------------------------------------------------------------------------------

STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(100)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
print("waiting", flush=True)
time.sleep(float(sys.argv[2]))
"""


def test_at_the_timeout_the_whole_process_group_dies(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    client = script(tmp_path, STUBBORN)
    wanted = ("--no-baseline", "--api", "ica", "--timeout", "1s", *chosen("fault-hang"), "--")
    card = run_json(*wanted, *client, str(pids), "100")
    assert (card["fault-hang"]["verdict"], card["exit_code"]) == ("timed out", 1)
    assert card["fault-hang"]["output"] == "waiting\n"
    assert card["fault-hang"]["seconds"] < 5
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


def test_what_a_command_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    client = script(tmp_path, STUBBORN)
    card = run_json("--no-baseline", "--api", "ica", *chosen("fault-hang"), "--", *client, str(pids), "0")
    assert card["fault-hang"]["verdict"] == "not sprung"
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_shows_the_scorecard_so_far_and_leaves_no_process(
    tmp_path: Path, number: signal.Signals
) -> None:
    pids = tmp_path / "pids"
    text = STUBBORN.replace(
        "\nsignal.signal", "\nif 'hang' not in os.environ['UNDERSTUDY_TRAP']: sys.exit(1)\nsignal.signal"
    )
    client = script(tmp_path, text)
    process = subprocess.Popen(
        [
            *(sys.executable, "-c", "from simulator.cli_traps import traps; traps()"),
            *(
                "run",
                "--no-baseline",
                "--api",
                "ica",
                *chosen("fault-flaky", "fault-hang", "fault-lock-contention"),
            ),
            *("--", *client, str(pids), "100"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    try:
        until = time.monotonic() + 15
        while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
            time.sleep(0.02)
        process.send_signal(number)
        output, errors = process.communicate(timeout=15)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 128 + number, errors
    assert "0 of 1 traps survived, 1 failed\n" in output
    assert f"interrupted by {number.name} before 2 further traps" in output
    assert "Traceback" not in errors
    assert not any(is_alive(int(pid)) for pid in pids.read_text().split())
