"""Traps: situations in which careless clients fail, and how a client's own command fares in each.

A command (a test suite, a script) is run once per trap, each time against a server of its own whose scenario is the trap, so that
worlds which the command makes for itself play it, too. How it ended says whether it survived; what the server saw says whether the
trap came into play at all, and what the client did that no exit code tells.

The command runs in a process group of its own, and none of the group is left when it has ended.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from typing import IO, Any

from simulator.apis.contract import iso
from simulator.assemble import Settings, assemble
from simulator.resources import scenario_group
from simulator.runtime.calls import Exchange
from simulator.runtime.timesource import TimeMode, wall_clock_ns
from simulator.runtime.worlds import Stage
from simulator.testing.poller import Calls
from simulator.web import server
from simulator.web.front import Front
from simulator.web.ledger import Ledger

BASELINE = "happy"
OUTPUT_BYTES_MAX = 1_048_576
"""Of what a command writes the last so many bytes are kept."""
GRACE_S = 2
"""How long a command that is to end may take to clean up."""
LAST_WORDS_S = 1
"""How long to wait for the end of the output of a command that has ended: a process that left its group may hold it open."""
NOT_ABOUT_JOBS = frozenset({"", "info"})
POLL_STEP_MS = 1_000
"""A job of four seconds is asked for often enough to meet the second, third and fourth answer."""
LONG_STEP_MS = 30_000

Check = Callable[[Calls], str | None]
"""What a client did wrong in one world, in words, if it did."""


class Ending(Enum):
    """How a command ends whose client behaves, if the command ends well only when its jobs do."""

    WELL = "0"
    BADLY = "not 0"
    EITHER = "any"


class Spring(Enum):
    """When a trap has come into play; the value says what was missing otherwise."""

    CALL = "no call met a rule of the scenario"
    ASKED = "nobody asked how a job is doing"
    ENDED = "nobody saw a job end"
    CANCELLED = "nobody cancelled a job"
    CROWDED = "there were never two jobs"
    REFUSED = "no call was answered 401"


class Verdict(Enum):
    """What became of a command in a trap."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    NOT_SPRUNG = "not sprung"

    @property
    def is_bad(self) -> bool:
        """Whether the client has something to learn."""
        return self in (Verdict.FAILED, Verdict.TIMED_OUT)


def submitted_again(calls: Calls) -> int:
    """How many submits made one more job after the same submit had made one and its answer was lost or a failure."""
    count = 0
    unanswered: set[tuple[str, str, str]] = set()
    for call in calls:
        if call.role == "submit" and call.jobs:
            asked = (call.api, call.path, call.request_body)
            count += asked in unanswered
            if call.failed:
                unanswered.add(asked)
    return count


def polls_after_end(calls: Calls) -> int:
    """How many calls asked how a job is doing that the same operation had shown to have ended."""
    count = 0
    ended: set[tuple[str, str, str | None]] = set()
    for call in calls.polls:
        asked = (call.api, call.operation, call.job)
        if asked in ended:
            count += 1
        elif call.tells_end and not call.cause:
            # What was disturbed may have told nothing.
            ended.add(asked)
    return count


def _submits_once(calls: Calls) -> str | None:
    return "it sent a submit again that had made a job" if submitted_again(calls) else None


def _keeps_retry_after(calls: Calls) -> str | None:
    if any(call.retry_after for call in calls):
        try:
            calls.respected_retry_after()
        except AssertionError as found:
            return str(found).partition("\n")[0]
    return None


@dataclass(frozen=True)
class Trap:
    """A shipped scenario in which careless clients fail.

    Args:
        name: of the scenario.
        good_client: what a good client does in it.
        apis: whom it concerns; none: all.
        step_ms: how far a poll moves the clock where the time lives by polls.
        checks: what an exit code does not tell.
    """

    name: str
    good_client: str
    ending: Ending
    spring: Spring
    apis: tuple[str, ...] = ()
    step_ms: int = POLL_STEP_MS
    checks: tuple[Check, ...] = ()

    @property
    def group(self) -> str:
        """What it is about."""
        return scenario_group(self.name)

    def concerns(self, apis: Sequence[str]) -> bool:
        """Whether clients of one of these can meet it."""
        return not self.apis or not set(self.apis).isdisjoint(apis)


_WELL, _BADLY, _EITHER = Ending.WELL, Ending.BADLY, Ending.EITHER
_CALL, _ASKED, _ENDED, _CANCELLED = Spring.CALL, Spring.ASKED, Spring.ENDED, Spring.CANCELLED
_REPORTS = "reports the failure with its reason"

TRAPS = (
    Trap("fails-halfway", _REPORTS, _BADLY, _ENDED),
    Trap(
        "never-finishes",
        "gives up after a time of its own and says so, instead of waiting for ever",
        _BADLY,
        _ASKED,
        step_ms=LONG_STEP_MS,
    ),
    Trap("slow", "waits as long as the job goes on", _WELL, _ASKED, step_ms=LONG_STEP_MS),
    Trap(
        "submit-connection-reset",
        "looks whether there is a job before it submits again, or says that it does not know",
        _EITHER,
        _CALL,
    ),
    Trap("submit-duplicate", "follows the job that it was told of and lives with the other", _WELL, _CALL),
    Trap("submit-internal-error", "says that the submit failed, or submits again", _EITHER, _CALL),
    Trap("submit-not-yet-visible", "asks again when a job that was just made is not found yet", _WELL, _CALL),
    Trap(
        "submit-response-lost",
        "does not submit a second time before it has looked for its job",
        _EITHER,
        _CALL,
        checks=(_submits_once,),
    ),
    Trap(
        "submit-unavailable",
        "waits as long as Retry-After says and submits again",
        _WELL,
        _CALL,
        checks=(_keeps_retry_after,),
    ),
    Trap(
        "queue-long",
        "does not count the time in the queue as time that the job takes",
        _WELL,
        _ASKED,
        step_ms=LONG_STEP_MS,
    ),
    Trap("queue-one-worker", "gives a job that waits for others more time", _WELL, Spring.CROWDED),
    Trap(
        "queue-stuck",
        "gives up after a time of its own and says so, instead of waiting for ever",
        _BADLY,
        _ASKED,
        step_ms=LONG_STEP_MS,
    ),
    Trap("poll-done-at-once", "takes a job that is done from the start", _WELL, _ENDED),
    Trap("poll-falls-back-to-queued", "goes on when a running job is queued again", _WELL, _ASKED),
    Trap("poll-never-running", "does not wait to see a job run", _WELL, _ENDED),
    Trap(
        "poll-outlives-timeouts",
        "waits as long as the job goes on, or says that it gave up",
        _EITHER,
        _ASKED,
        step_ms=2 * LONG_STEP_MS,
    ),
    Trap("poll-progress-backwards", "goes on when progress falls", _WELL, _CALL, ("synapse", "ogc")),
    Trap(
        "poll-rate-limit",
        "waits as long as Retry-After says and asks again",
        _WELL,
        _CALL,
        step_ms=500,
        checks=(_keeps_retry_after,),
    ),
    Trap("poll-silent", "does not take silence for the end of a job", _WELL, _ASKED, step_ms=LONG_STEP_MS),
    Trap(
        "poll-stalls-at-99",
        "does not take a standstill for the end of a job",
        _WELL,
        _ASKED,
        step_ms=LONG_STEP_MS,
    ),
    Trap(
        "result-expired",
        "fetches results while they are there, or says that they are gone",
        _EITHER,
        _CALL,
        ("ogc", "titan"),
    ),
    Trap("result-job-purged", "says that the job is not known any more", _EITHER, _CALL),
    Trap("result-late", "asks again for a result that is not ready", _WELL, _CALL, ("ogc", "titan")),
    Trap(
        "result-log-missing", "reports the failure although there is no log", _BADLY, _ENDED, ("ica", "titan")
    ),
    Trap(
        "result-missing",
        "says that there is no result, and does not crash over it",
        _EITHER,
        _ENDED,
        ("synapse", "jbpm", "ogc", "titan"),
    ),
    Trap(
        "result-partly-failed",
        "reads in the result which parts failed",
        _EITHER,
        _ENDED,
        ("synapse", "jbpm", "ogc", "titan"),
    ),
    Trap(
        "list-incomplete",
        "does not submit again what is missing from a list",
        _WELL,
        _CALL,
        ("jbpm", "ogc", "ica", "titan"),
        checks=(_submits_once,),
    ),
    Trap(
        "list-page-token-expires",
        "begins again at the first page",
        _WELL,
        _CALL,
        ("ogc", "ica"),
    ),
    Trap(
        "list-stale",
        "asks for the job itself before it acts",
        _WELL,
        _CALL,
        ("jbpm", "ogc", "ica", "titan"),
        step_ms=5 * POLL_STEP_MS,
    ),
    Trap("cancel-ends-failed", "takes a cancelled job for ended when it says failed", _EITHER, _CANCELLED),
    Trap("cancel-ignored", "looks whether the job has really stopped", _EITHER, _CANCELLED),
    Trap("cancel-overtaken", "takes a job that succeeded for a success", _EITHER, _CANCELLED),
    Trap("cancel-refused", "goes on following the job, or says that it goes on", _EITHER, _CANCELLED),
    Trap("cancel-response-lost", "looks at the job before it cancels again", _EITHER, _CALL),
    Trap(
        "cancel-slow",
        "waits until the job has stopped, and cancels once",
        _EITHER,
        _CANCELLED,
        step_ms=5 * POLL_STEP_MS,
    ),
    Trap("cancel-too-late", "takes a refused cancel of a finished job for its end", _EITHER, _CANCELLED),
    Trap("fail-at-once", _REPORTS, _BADLY, _ENDED),
    Trap("fail-conflict", _REPORTS, _BADLY, _ENDED),
    Trap("fail-forbidden", _REPORTS, _BADLY, _ENDED),
    Trap("fail-not-found", _REPORTS, _BADLY, _ENDED),
    Trap("fail-out-of-memory", _REPORTS, _BADLY, _ENDED),
    Trap(
        "fail-timeout",
        "reports that the service's time was up, not its own",
        _BADLY,
        _ENDED,
        step_ms=5 * POLL_STEP_MS,
    ),
    Trap("fail-with-long-reason", "shows a long reason in other alphabets as it is", _BADLY, _ENDED),
    Trap("fail-without-reason", "reports a failure that has no reason", _BADLY, _ENDED),
    Trap("retry-chain", "follows the job from attempt to attempt", _WELL, _ENDED),
    Trap("retry-exhausted", "reports the failure after the last attempt", _BADLY, _ENDED),
    Trap("retry-last-attempt", "does not take an attempt that failed for the end", _WELL, _ENDED),
    Trap("retry-waiting", "waits for the next attempt", _WELL, _ENDED, step_ms=5 * POLL_STEP_MS),
    Trap("retry-after-absent", "asks again after pauses of its own that grow", _WELL, _CALL),
    Trap("retry-after-date", "reads a Retry-After that is a date, also one that has passed", _WELL, _CALL),
    Trap("retry-after-huge", "has a longest pause of its own, or gives up", _EITHER, _CALL),
    Trap(
        "retry-after-seconds",
        "waits as long as Retry-After says and asks again",
        _WELL,
        _CALL,
        checks=(_keeps_retry_after,),
    ),
    Trap("fault-bad-gateway", "asks again, and does not read a page of HTML as JSON", _WELL, _CALL),
    Trap("fault-connection-reset", "asks again, and does not take it for the job's failure", _WELL, _CALL),
    Trap("fault-dribble", "waits for an answer that comes in drops", _WELL, _CALL),
    Trap("fault-empty-response", "asks again, and does not take it for the job's failure", _WELL, _CALL),
    Trap("fault-flaky", "tries reading calls again", _WELL, _CALL),
    Trap("fault-hang", "has a time limit for a single call, and asks again", _WELL, _CALL),
    Trap("fault-lock-contention", "asks again", _WELL, _CALL),
    Trap("fault-malformed-body", "asks again, or says what it could not read", _EITHER, _CALL),
    Trap("fault-read-only", "does not take a 500 for the job's failure, and asks again", _WELL, _CALL),
    Trap("fault-slow-answers", "counts time and not calls, and waits for each answer", _WELL, _CALL),
    Trap("fault-truncated-body", "asks again, and uses nothing of half an answer", _WELL, _CALL),
    Trap("fault-unknown-state", "goes on, or says which word it does not know", _EITHER, _CALL),
    Trap("fault-wrong-content-type", "asks again, or says what it was given", _EITHER, _CALL),
    Trap("token-expires", "gets a new token and goes on", _WELL, Spring.REFUSED, ("synapse", "ica")),
    Trap(
        "token-expires-once",
        "gets a new token and asks again",
        _WELL,
        _CALL,
        ("synapse", "jbpm", "ica"),
    ),
    Trap(
        "token-forbidden",
        "says which job it may not read, and goes on with the others",
        _EITHER,
        _CALL,
        ("synapse", "ica"),
    ),
    Trap(
        "worker-claim-lost",
        "asks for the next job, and does not wait for the lost one",
        _WELL,
        _CALL,
        ("titan",),
    ),
    Trap("worker-dies", "reports that the job's time was up", _BADLY, _ENDED, step_ms=5 * POLL_STEP_MS),
    Trap("worker-late", "drops its work, and does not report it again", _EITHER, _CALL, ("titan",)),
    Trap("worker-queue-down", "asks for jobs again", _WELL, _CALL, ("titan",)),
)
"""In the order of `simulator.resources.GROUPS`."""


@dataclass
class Seen:
    """What a server saw of a command."""

    calls: int = 0
    jobs: int = 0
    violations: int = 0
    """Of a document, by the client; those that a scenario or the client itself asked for do not count."""
    polls_after_end: int = 0
    submitted_again: int = 0
    apis: set[str] = field(default_factory=set)
    is_sprung: bool = False
    misdeeds: list[str] = field(default_factory=list)
    waiting: set[str] = field(default_factory=set)
    """APIs with jobs that waited in the end for a worker who takes them."""

    @property
    def remarks(self) -> list[str]:
        """What is worth to be told, whatever the verdict."""
        counted = {
            "broke the document {} times": self.violations,
            "asked {} times after the end": self.polls_after_end,
            "submitted {} times again": self.submitted_again,
        }
        return [text.format(count).replace(" 1 times", " once") for text, count in counted.items() if count]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    exit_code: int | None
    """None: it was ended when its time was up. Negative: a signal ended it."""
    seconds: float
    output: str
    """Both streams, the last of it; may hold any character."""


@dataclass(frozen=True)
class Outcome:
    """What became of a command in a trap; without one, of its baseline."""

    trap: Trap | None
    verdict: Verdict
    reason: str
    ended: Ended
    seen: Seen

    @property
    def name(self) -> str:
        """Of the trap."""
        return "baseline" if self.trap is None else self.trap.name


class CannotStart(Exception):
    """There is no such command, or it is none."""

    def __init__(self, program: str, reason: str) -> None:
        self.program = program
        self.reason = reason
        super().__init__(program, reason)

    def __str__(self) -> str:
        return f"cannot start {self.program!r}: {self.reason}"


class Interrupted(Exception):
    """The runner was told to stop."""


def judge(trap: Trap, ended: Ended, seen: Seen, *, knows_traps: bool = False) -> tuple[Verdict, str]:
    """Whether the client survived, and why not.

    Args:
        knows_traps: the command ends well whenever the client behaved, also where its job cannot succeed.
    """
    wanted = Ending.WELL if knows_traps else trap.ending
    if (bad := _how_badly(ended)) is not None and (ended.exit_code is None or ended.exit_code < 0):
        return (Verdict.TIMED_OUT if ended.exit_code is None else Verdict.FAILED), bad
    if seen.misdeeds:
        return Verdict.FAILED, seen.misdeeds[0]
    if bad is not None and (wanted is Ending.WELL or not seen.is_sprung):
        return Verdict.FAILED, bad if seen.is_sprung else f"{bad}, and the trap was not sprung"
    if not seen.is_sprung:
        return Verdict.NOT_SPRUNG, trap.spring.value if seen.calls else "no call came"
    if bad is None and wanted is Ending.BADLY:
        return Verdict.FAILED, "it ended with exit code 0, though no job could succeed"
    return Verdict.PASSED, ""


def _how_badly(ended: Ended) -> str | None:
    if ended.exit_code is None:
        return f"it still ran after {ended.seconds:.0f} s and was ended"
    if ended.exit_code < 0:
        return f"it was ended by {_signal_name(-ended.exit_code)}"
    return f"it ended with exit code {ended.exit_code}" if ended.exit_code else None


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Runner:
    """Runs one command in traps, each time against a fresh server in this process.

    Args:
        apis: names of those to serve; none: all.
        timeout_s: how long the command may take.
        knows_traps: see `judge`.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        apis: Sequence[str] = (),
        time: TimeMode,
        seed: int = 1,
        timeout_s: float = 60,
        knows_traps: bool = False,
    ) -> None:
        self._command = command
        self._apis = apis
        self._time = time
        self._seed = seed
        self._timeout_s = timeout_s
        self._knows_traps = knows_traps
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopped = False

    def run_baseline(self, scenario: str = BASELINE) -> Outcome:
        """Run the command where nothing goes wrong.

        Raises:
            CannotStart: there is no such command.
            simulator.assemble.UsageError: there is no such scenario.
            simulator.scenario.read.ScenarioError: the scenario has problems.
        """
        ended, seen = self._run(scenario, None)
        bad = _how_badly(ended)
        verdict = Verdict.TIMED_OUT if ended.exit_code is None else Verdict.FAILED if bad else Verdict.PASSED
        return Outcome(None, verdict, bad or "", ended, seen)

    def run(self, trap: Trap) -> Outcome:
        """Run the command in a trap.

        Raises:
            CannotStart: there is no such command.
            Interrupted: it was stopped meanwhile.
        """
        ended, seen = self._run(trap.name, trap)
        verdict, reason = judge(trap, ended, seen, knows_traps=self._knows_traps)
        return Outcome(trap, verdict, reason, ended, seen)

    def run_all(
        self, traps: Sequence[Trap], *, jobs: int = 1, fail_fast: bool = False
    ) -> Generator[Outcome, None, None]:
        """Run the command in each trap, so many at once; outcomes come as they are there.

        Whoever does not want the rest closes the iterator: then commands under way are ended.

        Raises:
            CannotStart: there is no such command.
        """
        with ThreadPoolExecutor(jobs, thread_name_prefix="traps") as pool:
            futures = [pool.submit(self.run, trap) for trap in traps]
            try:
                for future in as_completed(futures):
                    outcome = future.result()
                    yield outcome
                    if fail_fast and outcome.verdict.is_bad:
                        break
            finally:
                for future in futures:
                    future.cancel()
                self.stop()

    def stop(self) -> None:
        """End commands under way, and start no others."""
        with self._lock:
            self._is_stopped = True
            for process in self._running:
                _signal_group(process, signal.SIGKILL)

    def _run(self, scenario: str, trap: Trap | None) -> tuple[Ended, Seen]:
        ledger = Ledger()
        settings = Settings(
            apis=self._apis,
            scenario=scenario,
            seed=self._seed,
            time=self._time,
            poll_step_ms=POLL_STEP_MS if trap is None else trap.step_ms,
        )
        front = assemble(settings, ledger=ledger)
        witness = _Witness(trap, front)
        with _served(front) as url:
            ended = self._execute(_environment(front, url, trap))
        return ended, witness.conclude(ledger)

    def _execute(self, environment: dict[str, str]) -> Ended:
        output = _Tail()
        began_ns = wall_clock_ns()
        process = self._start(environment)
        assert process.stdout is not None
        reader = threading.Thread(target=output.read, args=(process.stdout,), daemon=True)
        reader.start()
        exit_code: int | None = None
        try:
            exit_code = process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            _end(process)
        finally:
            with self._lock:
                self._running.discard(process)
            # Whatever it has started and left behind.
            _signal_group(process, signal.SIGKILL)
            process.wait()
            reader.join(LAST_WORDS_S)
            if not reader.is_alive():
                process.stdout.close()
        if self._is_stopped:
            raise Interrupted
        return Ended(exit_code, (wall_clock_ns() - began_ns) / 1e9, output.text())

    def _start(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        # Under the lock, so that none is started that `stop` does not see.
        with self._lock:
            if self._is_stopped:
                raise Interrupted
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    env=environment,
                    start_new_session=True,
                    bufsize=0,
                )
            except (OSError, ValueError) as problem:
                reason = (problem.strerror if isinstance(problem, OSError) else None) or str(problem)
                raise CannotStart(self._command[0], reason) from None
            self._running.add(process)
            return process


@contextmanager
def _served(front: Front) -> Iterator[str]:
    """The URL of a server in a thread, for the length of the block."""
    background = server.Background(front, server.listen("127.0.0.1", 0))
    background.start()
    try:
        yield background.url
    finally:
        background.stop()


def _environment(front: Front, url: str, trap: Trap | None) -> dict[str, str]:
    """What the command is told."""
    environment = {
        # What a command had to say is lost with it when it is ended.
        "PYTHONUNBUFFERED": "1",
        **os.environ,
        "UNDERSTUDY_URL": url,
        **{
            f"UNDERSTUDY_{name.upper()}_URL": f"{url}/{name}{service.base_path}"
            for name, service in front.services.items()
        },
    }
    environment.pop("UNDERSTUDY_TRAP", None)
    return environment if trap is None else environment | {"UNDERSTUDY_TRAP": trap.name}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask a command to end, with all that it has started; then make it."""
    _signal_group(process, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):
        pass  # Nobody is left; some systems say so in the second way.


class _Tail:
    """The last of what a command wrote."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._left_out = 0

    def read(self, stream: IO[bytes]) -> None:
        """Until its end."""
        while chunk := stream.read(65_536):
            self._kept += chunk
            if len(self._kept) > 2 * OUTPUT_BYTES_MAX:
                self._cut()

    def text(self) -> str:
        """With line feeds at the ends of lines; bytes that are no text are replaced."""
        self._cut()
        text = bytes(self._kept).decode("utf-8", "replace").replace("\r\n", "\n")
        return f"[{self._left_out} bytes before this were left out]\n{text}" if self._left_out else text

    def _cut(self) -> None:
        too_many = max(len(self._kept) - OUTPUT_BYTES_MAX, 0)
        del self._kept[:too_many]
        self._left_out += too_many


class _Witness:
    """Sees what is said in all worlds of a server, also in those that do not live to its end."""

    def __init__(self, trap: Trap | None, front: Front) -> None:
        self._trap = trap
        self._front = front
        self._scenario = front.worlds.default.scenario.name
        self._seen = Seen()
        self._forget = front.worlds.on_gone
        front.worlds.on_gone = self._gone

    def conclude(self, ledger: Ledger) -> Seen:
        """What was seen, when the server has stopped."""
        for name in self._front.worlds.names():
            if (stage := self._front.worlds.find(name)) is not None:
                self._look_at(stage)
        is_token_spoilt = self._trap is not None and self._trap.spring is Spring.REFUSED
        self._seen.violations = sum(
            # Who comes with a token that the trap let expire breaks nothing.
            not (is_token_spoilt and line.pointer == "Authorization")
            for line in ledger.lines("client")
        )
        return self._seen

    def _gone(self, stage: Stage) -> None:
        self._look_at(stage)
        self._forget(stage)

    def _look_at(self, stage: Stage) -> None:
        exchanges = [*stage.calls]
        calls = Calls.of(map(_told, exchanges))
        seen = self._seen
        seen.calls += stage.calls.total
        seen.jobs += sum(one.jobs_made for one in exchanges)
        seen.apis |= {one.api for one in exchanges if one.operation}
        seen.polls_after_end += polls_after_end(calls)
        seen.submitted_again += submitted_again(calls)
        seen.waiting |= {
            api
            for api in self._front.services
            if stage.scenario.workers(api) == 0
            and any(not job.state.is_final for job in stage.world.jobs(api))
        }
        # A command may make worlds in which it plays something else.
        if self._trap is not None and stage.scenario.name == self._scenario:
            seen.is_sprung = seen.is_sprung or self._is_sprung(self._trap, stage, exchanges, calls)
            for check in self._trap.checks:
                found = check(calls)
                if found and stage.mode.is_poll:
                    # Where polls alone move the clock, whoever waits before another call waits by the wall clock.
                    found = check(Calls.of(_told(one, by_wall=True) for one in exchanges))
                if found:
                    seen.misdeeds.append(found)

    def _is_sprung(self, trap: Trap, stage: Stage, exchanges: list[Exchange], calls: Calls) -> bool:
        about_jobs = [one for one in exchanges if one.role not in NOT_ABOUT_JOBS]
        match trap.spring:
            case Spring.CALL:
                rules = f"{stage.scenario.source}:"
                return any(rules in one.cause for one in exchanges)
            case Spring.ASKED:
                made = any(one.jobs_made for one in exchanges)
                return made and any(one.role != "submit" for one in about_jobs)
            case Spring.ENDED:
                ends = [
                    job.finished_ms
                    for api in self._front.services
                    for job in stage.world.jobs(api)
                    if job.finished_ms is not None
                ]
                first_ms = min(ends, default=None)
                # A job that was removed since is seen in what was told of it.
                return any(call.tells_end for call in calls) or (
                    first_ms is not None and any(one.answered_ms >= first_ms for one in about_jobs)
                )
            case Spring.CANCELLED:
                return any(one.role == "cancel" for one in exchanges)
            case Spring.CROWDED:
                return sum(one.jobs_made for one in exchanges) > 1
            case Spring.REFUSED:
                return any(one.status == 401 for one in exchanges)


def _told(one: Exchange, *, by_wall: bool = False) -> dict[str, Any]:
    """An exchange as far as `simulator.testing.poller` looks at it, in virtual time or in real time."""
    return {
        "number": one.number,
        "api": one.api,
        "operation": one.operation,
        "role": one.role,
        "method": one.method,
        "path": one.path,
        "job": one.job_id,
        "jobs": list(one.jobs),
        "status": one.status or None,
        "at": iso(one.wall_ms if by_wall else one.at_ms),
        "cause": one.cause,
        "request": {"headers": one.request_headers, "body": one.request_body.decode("utf-8", "replace")},
        "response": {"headers": one.response_headers, "body": one.response_body.decode("utf-8", "replace")},
    }
