"""A world: an isolated universe of jobs with its own time, seed, scenario and ids.

A world is a fold over its journal. `apply` carries out one command and is the only thing that changes what happens;
`advance` fires what is due. State is a function of virtual time, not of being looked at: one jump of an hour fires the same
events in the same order as 3600 jumps of a second. Between two events nothing is stored; progress is computed.

Not here: wall time, storage, HTTP. They come in as arguments or stay outside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush, heapreplace
from typing import Any, NamedTuple, Protocol, TypeVar

from sortedcontainers import SortedDict

from simulator.engine.archive import Archive
from simulator.engine.command import (
    Amend,
    Cancel,
    Claim,
    Command,
    Conclude,
    CountCall,
    Finish,
    Force,
    Hold,
    Keep,
    MoveClock,
    Poll,
    Release,
    Remark,
    Remove,
    Retry,
    SetScenario,
    StepOn,
    Submit,
    Touch,
)
from simulator.engine.draw import draw_between
from simulator.engine.errors import LimitReached, NotAllowed, TimeGoesBack, UnknownJob
from simulator.engine.fill import Template, filled_step
from simulator.engine.job import ALLOWED, FINAL, Failure, Job, State
from simulator.engine.rules import Line, RetryBy, Rules
from simulator.engine.script import (
    CancelAfter,
    CancelEffect,
    CancelTooLate,
    Lasting,
    OnCancel,
    Part,
    Playbook,
    Polls,
    Span,
    Step,
)
from simulator.engine.shelf import Label, Shelf, SortKey

Answer = TypeVar("Answer")

START_MS = 1_893_456_000_000
"""2030-01-01T00:00:00Z, where the time of a frozen world begins."""

# Bound once, as a look into an Enum costs as much as a call and the script asks for them at every move.
DELAYED, QUEUED, RUNNING, RETRYING = State.DELAYED, State.QUEUED, State.RUNNING, State.RETRYING
SUCCEEDED, FAILED, CANCELLED = State.SUCCEEDED, State.FAILED, State.CANCELLED

CLIENT = "client"
WORKER = "worker"
TIMED_OUT = "timeout"
OPERATOR = "operator"


class Entry(NamedTuple):
    """One line of a journal: the command carried out at a position and a virtual time."""

    position: int
    at_ms: int
    command: Command[Any]


class Journal(Protocol):
    """Where a world writes its commands."""

    def append(self, entry: Entry) -> None:
        """Keep one more entry."""
        ...


class Fired(NamedTuple):
    """One move of a job that happened because time passed."""

    at_ms: int
    api: str
    job_id: str
    state: State
    cause: str


@dataclass(frozen=True)
class Limits:
    """What a world refuses to grow beyond."""

    jobs: int = 1_000_000
    kept: int = 100_000
    """What APIs keep beside their jobs, and what calls are counted under."""


class _Crew:
    """The workers of one API and the jobs that wait for them."""

    __slots__ = ("busy", "claimable", "waiting")

    def __init__(self) -> None:
        self.busy = 0
        self.waiting: SortedDict = SortedDict()
        self.claimable: SortedDict = SortedDict()


class World:
    """Jobs of all APIs under one clock, one seed and one scenario.

    Args:
        seed: every id and every drawn duration is a function of it.
        rules: the rules of each API's service, by API name.
        playbook: the scenario to begin with.
        start_ms: virtual time at the beginning.
        journal: where commands are written; None keeps none.
    """

    def __init__(
        self,
        *,
        seed: int,
        rules: Mapping[str, Rules],
        playbook: Playbook,
        start_ms: int = START_MS,
        limits: Limits | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.seed = seed
        self.now_ms = start_ms
        self.start_ms = start_ms
        self.playbook = playbook
        self.initial_playbook = playbook
        self.limits = limits or Limits()
        self._rules = rules
        self._journal = journal
        self._position = 0
        self._sequence = 0
        self._agenda: list[int] = []
        self._jobs = Archive()
        self._jobs.append(None)
        self._job_count = 0
        self._numbers: dict[str, dict[str, int]] = {api: {} for api in rules}
        self._removed: dict[str, dict[str, None]] = {api: {} for api in rules}
        self._shelves: dict[str, Shelf] = {api: Shelf(self._jobs) for api in rules}
        self._crews: dict[str, _Crew] = {api: _Crew() for api in rules}
        self._kept: dict[str, dict[str, Any]] = {api: {} for api in rules}
        self._kept_count = 0
        self._counted: dict[str, dict[str, tuple[int, int]]] = {api: {} for api in rules}
        self._fired: list[Fired] | None = None
        self.counts_polls = False
        """Some job has come to a step that lasts so many status calls, so that they must be told of."""
        self.told: list[Job] = []
        """Watched jobs as they were at each of their moves, oldest first; whoever tells the watchers empties it."""
        self.on_move: Callable[[Job, str], None] | None = None
        """Called with a job and a cause at each line of its history as it is written, and when a person holds it or lets it go."""
        self._carry_out: dict[type, Callable[[Any], Any]] = {
            Submit: self._submit,
            Claim: self._claim,
            Touch: self._touch,
            Finish: self._finish,
            Cancel: self._cancel,
            Conclude: self._conclude,
            Poll: self._poll,
            Retry: self._retry,
            Amend: self._amend,
            Remove: self._remove,
            Hold: self._hold,
            Release: self._release,
            StepOn: self._step_on,
            Force: self._force,
            Remark: self._remark,
            Keep: self._keep,
            CountCall: self._count_call,
            SetScenario: self._set_scenario,
            MoveClock: self._move_clock,
        }

    # ---- reading ------------------------------------------------------------------------------------------------

    def job(self, api: str, job_id: str) -> Job:
        """The job with this id, as it is now.

        Raises:
            UnknownJob: no such job, or not any more.
        """
        number = self._numbers[api].get(job_id)
        if number is None:
            raise UnknownJob(api, job_id, removed=job_id in self._removed[api])
        return self._numbered(number)

    @property
    def next_number(self) -> int:
        """The number that the next job will have."""
        return len(self._jobs)

    def ids_from(self, number: int, limit: int) -> tuple[str, ...]:
        """The ids of the jobs with this number and the next ones, as far as they are there; at most so many."""
        return tuple(job.id for job in self._jobs[number : number + limit] if job is not None)

    def jobs(
        self,
        api: str,
        *,
        states: Iterable[State] | None = None,
        labels: Iterable[Iterable[Label]] = (),
        offset: int = 0,
        limit: int | None = None,
        newest_first: bool = False,
    ) -> list[Job]:
        """A page of an API's jobs in the order they were made.

        Args:
            states: any of these; None means all.
            labels: groups of (name, value); a job must carry one label of each group.
        """
        return self._shelves[api].select(
            states=states, labels=labels, offset=offset, limit=limit, newest_first=newest_first
        )

    def count(
        self, api: str, *, states: Iterable[State] | None = None, labels: Iterable[Iterable[Label]] = ()
    ) -> int:
        """How many jobs `jobs` would find without a limit."""
        return self._shelves[api].count(states=states, labels=labels)

    def jobs_sorted_by(
        self, api: str, name: str, key: SortKey, *, offset: int, limit: int, descending: bool = False
    ) -> list[Job]:
        """A page of all jobs of an API in the order of `key`; `name` names the index that is kept for it."""
        return self._shelves[api].sorted_by(name, key, offset=offset, limit=limit, descending=descending)

    def is_held(self, job: Job) -> bool:
        """A person holds it, or its script does: somebody has to release it."""
        return job.held is not None or self._is_in_hold_step(job)

    def kept(self, api: str, key: str) -> Any:
        """What is kept under this key; None when nothing is."""
        return self._kept[api].get(key)

    def kept_keys(self, api: str, prefix: str = "") -> list[str]:
        """The keys that begin so, in the order in which they were first kept."""
        return [key for key in self._kept[api] if key.startswith(prefix)]

    def counted_since_ms(self, api: str, key: str) -> int | None:
        """When the present count under this key began; None when nothing was counted."""
        counted = self._counted[api].get(key)
        return None if counted is None else counted[1]

    def require_room(self, count: int) -> None:
        """Refuse now what would not fit, so that a batch is taken whole or not at all.

        Raises:
            LimitReached: `count` more jobs would be too many.
        """
        if self._job_count + count > self.limits.jobs:
            raise LimitReached("jobs in a world", self.limits.jobs, "--max-jobs")

    @property
    def next_due_ms(self) -> int | None:
        """When the next event is due; stale entries of the agenda do not count."""
        agenda = self._agenda
        while agenda:
            due_ms, sequence, number = _entry_of(agenda[0])
            job = self._jobs[number]
            if job is None or job.event != sequence:
                heappop(agenda)
            elif job.deadline_ms is not None and job.deadline_ms > due_ms:
                # As when time gets there, and with the same sequence: looking ahead must not change the order of ties.
                heapreplace(agenda, _agenda_entry(job.deadline_ms, sequence, number))
            else:
                return due_ms
        return None

    def snapshot(self) -> dict[str, Any]:
        """Everything that decides what this world will do next, as comparable values."""
        return {
            "seed": self.seed,
            "now_ms": self.now_ms,
            "jobs": list(self._jobs),
            "removed": {api: sorted(ids) for api, ids in self._removed.items()},
            "kept": {api: list(kept.items()) for api, kept in self._kept.items()},
            "counted": {api: list(counted.items()) for api, counted in self._counted.items()},
            "agenda": sorted(
                (due_ms if job.deadline_ms is None else job.deadline_ms, sequence, number)
                for due_ms, sequence, number in map(_entry_of, self._agenda)
                if (job := self._jobs[number]) is not None and job.event == sequence
            ),
            "crews": {
                api: (crew.busy, list(crew.waiting.items()), list(crew.claimable.items()))
                for api, crew in self._crews.items()
            },
        }

    # ---- changing -----------------------------------------------------------------------------------------------

    def apply(self, command: Command[Answer], *, at_ms: int | None = None) -> Answer:
        """Carry out one command at `at_ms` (default: now), after everything due by then.

        What the command makes due at this same instant happens before `apply` returns, so the answer shows the job as any
        later read at this instant would. A refused command changes nothing and is not written down.

        Raises:
            EngineError: what the command refuses; see each command.
            TimeGoesBack: `at_ms` lies before now.
        """
        if at_ms is not None:
            self.advance(at_ms)
        answer = self._carry_out[type(command)](command)
        if self._journal is not None:
            self._journal.append(Entry(self._position, self.now_ms, command))
        self._position += 1
        self._fire_until(self.now_ms)
        if type(answer) is Job:
            answer = self._jobs[answer.number] or answer
        elif type(answer) is tuple:
            answer = tuple(self._jobs[job.number] or job for job in answer)
        return answer  # type: ignore[no-any-return]  # the table pairs each command with a method of its answer type

    def advance(self, to_ms: int) -> None:
        """Let time pass up to and including `to_ms`, firing what is due in order.

        Raises:
            TimeGoesBack: `to_ms` lies before now.
        """
        if to_ms < self.now_ms:
            raise TimeGoesBack(self.now_ms, to_ms)
        self._fire_until(to_ms)
        self.now_ms = to_ms

    def advance_and_tell(self, to_ms: int) -> list[Fired]:
        """As `advance`, and written into the journal; answers with the moves that happened, in order."""
        fired: list[Fired] = []
        self._fired = fired
        try:
            self.apply(MoveClock(to_ms))
        finally:
            self._fired = None
        return fired

    @classmethod
    def replay(
        cls,
        entries: Iterable[Entry],
        *,
        seed: int,
        rules: Mapping[str, Rules],
        playbook: Playbook,
        start_ms: int = START_MS,
        limits: Limits | None = None,
        journal: Journal | None = None,
    ) -> World:
        """The world that these journal entries make."""
        world = cls(
            seed=seed, rules=rules, playbook=playbook, start_ms=start_ms, limits=limits, journal=journal
        )
        for entry in entries:
            world.apply(entry.command, at_ms=entry.at_ms)
        return world

    # ---- commands -----------------------------------------------------------------------------------------------

    def _submit(self, command: Submit, cause: str = CLIENT, part: Part | None = None) -> Job:
        """Make a job; one that tries another again brings its part."""
        self.require_room(1)
        number = len(self._jobs)
        self._jobs.append(None)
        self._job_count += 1
        rules = self._rules[command.api]
        if part is None:
            part = (command.playbook or self.playbook).part_for(command, number, self.seed)
            if command.attempt > 1:
                part = part.on_attempt(command.attempt)
        state = DELAYED if command.delay_ms > 0 else self._first_state(command.api, part.script.steps)
        job = Job(
            id=rules.identify(self.seed, number),
            number=number,
            submit=command,
            part=part,
            request=command.request,
            created_ms=self.now_ms,
            state=state,
            since_ms=self.now_ms,
            step_ms=self.now_ms,
            attempt=command.attempt,
            retries_left=command.retries,
            message=command.message,
            moves=(state, self.now_ms, cause),
        )
        if job.id in self._numbers[command.api]:
            raise AssertionError(f"id {job.id} was drawn twice")
        self._numbers[command.api][job.id] = number
        if state is DELAYED and command.delay_ms > 0:
            due_ms = self.now_ms + command.delay_ms
            return self._put(self._schedule(job, due_ms), None)
        return self._enter(job, 0, is_new=True)

    def _claim(self, command: Claim) -> tuple[Job, ...]:
        crew = self._crews[command.api]
        claimed: list[Job] = []
        while crew.claimable and len(claimed) < command.count:
            job = self._numbered(crew.claimable.peekitem(0)[1])
            timeout_ms = job.submit.timeout_ms
            deadline_ms = None if timeout_ms is None else self.now_ms + timeout_ms
            taken = job.become(
                State.RUNNING,
                at_ms=self.now_ms,
                cause=WORKER,
                claimed=True,
                until_ms=None,
                event=0 if deadline_ms is None else self._note(deadline_ms, job.number),
                progress_mark=job.progress_percent(self.now_ms),
                step=len(job.part.script.steps),
                started_ms=self.now_ms,
                deadline_ms=deadline_ms,
            )
            claimed.append(self._put(taken, job))
        return tuple(claimed)

    def _touch(self, command: Touch) -> Job:
        job = self.job(command.api, command.job_id)
        if job.state is not State.RUNNING:
            raise NotAllowed(job, "touch")
        if job.deadline_ms is None or job.submit.timeout_ms is None:
            return job
        return self._put(job.altered(deadline_ms=self.now_ms + job.submit.timeout_ms), job)

    def _finish(self, command: Finish) -> Job:
        job = self.job(command.api, command.job_id)
        if job.state is not State.RUNNING:
            raise NotAllowed(job, "finish")
        logged = job if command.log is None else job.altered(log=command.log)
        ending = self._ending(logged)
        failure = command.failure
        if failure is None and not job.claimed:
            failure = job.submit.fails_with
        if failure is not None:
            return self._fail(job, logged, failure, WORKER, ending)
        return self._succeed(job, logged, command.result, WORKER, ending)

    def _cancel(self, command: Cancel) -> Job:
        job = self.job(command.api, command.job_id)
        effect: OnCancel = self._rules[command.api].cancel[job.state]
        if not job.state.is_final and job.part.on_cancel is not None:
            effect = job.part.on_cancel
        match effect:
            case CancelTooLate():
                self.apply(Conclude(command.api, command.job_id))
                return self._cancel(command)
            case CancelEffect.REFUSED:
                raise NotAllowed(job, "cancel")
            case CancelEffect.IGNORED:
                return job
            case CancelEffect.REMOVED:
                return self._take_away(job)
            case CancelEffect.FLAG:
                return self._put(job.altered(cancel_requested=True), job)
            case CancelEffect.AT_ONCE:
                return self._leave(job, CANCELLED, CLIENT, self._ending(job), cancel_requested=True)
            case CancelAfter(lasts, _):
                if job.state is State.CANCELLING:
                    return job
                due_ms = self.now_ms + self._length(lasts, job, "cancel")
                cancelling = job.become(
                    State.CANCELLING,
                    at_ms=self.now_ms,
                    cause=CLIENT,
                    cancel_requested=True,
                    deadline_ms=None,
                    progress_mark=job.progress_percent(self.now_ms),
                    reported_ms=job.changed_ms(self.now_ms),
                    step=len(job.part.script.steps),
                )
                return self._put(self._schedule(cancelling, due_ms), job)
        raise AssertionError(effect)

    def _conclude(self, command: Conclude) -> Job:
        job = self.job(command.api, command.job_id)
        if job.state in FINAL:
            raise NotAllowed(job, "conclude")
        end = job.part.end
        if end.has_variables:
            end = filled_step(end, job, self.seed)
        return self._end(job, end, for_good=True)

    def _poll(self, command: Poll) -> Job:
        job = self.job(command.api, command.job_id)
        if job.polls is None or job.held is not None:
            return job
        answered, wanted = job.polls[0] + 1, job.polls[1]
        changes: dict[str, Any] = {"polls": (answered, wanted)}
        progress = job.part.script.steps[job.step].progress
        if progress is not None:
            percent = progress[0] + (progress[1] - progress[0]) * answered // wanted
            if job.progress_mark is None or percent > job.progress_mark:
                changes["progress_mark"] = percent
                changes["step_ms"] = self.now_ms
        polled = self._put(job.altered(**changes), job)
        return polled if answered < wanted else self._enter(polled, job.step + 1)

    def _retry(self, command: Retry) -> Job:
        job = self.job(command.api, command.job_id)
        rules = self._rules[command.api]
        if job.state in rules.retry_refused_in:
            raise NotAllowed(job, "retry")
        if rules.retry_needs_exhaustion and job.state is State.FAILED and job.submit.retries > 0:
            raise NotAllowed(job, "retry")
        if job.state not in rules.retry_in:
            return job
        if rules.retry_by is RetryBy.NEW_JOB:
            again = replace(
                job.submit, request=job.request, retry_of=job.id, delay_ms=0, attempt=job.attempt + 1
            )
            return self._submit(again, part=job.part.again)
        if job.state in (State.DELAYED, State.QUEUED):
            return job
        # The request may have been amended since, so the scenario is asked again.
        playbook = job.submit.playbook or self.playbook
        part = playbook.part_for(replace(job.submit, request=job.request), job.number, self.seed)
        # Who waits for the next attempt already has its script.
        part = part.on_attempt(job.part.attempt + (job.state is not RETRYING))
        queued = job.become(
            State.QUEUED,
            at_ms=self.now_ms,
            cause=CLIENT,
            part=part,
            attempt=job.attempt + 1,
            claimed=False,
            has_worker=False,
            deadline_ms=None,
            progress_mark=None,
            until_ms=None,
            event=0,
            **_ANEW,
        )
        self._put(queued, job)
        return self._enter(queued, 0)

    def _amend(self, command: Amend) -> Job:
        job = self.job(command.api, command.job_id)
        if job.state not in self._rules[command.api].amend_in:
            raise NotAllowed(job, "amend")
        submit = replace(
            job.submit,
            fails_with=command.fails_with,
            lasts_ms=command.lasts_ms,
            repeat_after_ms=command.repeat_after_ms,
        )
        return self._put(job.altered(request=command.request, submit=submit), job)

    def _remove(self, command: Remove) -> Job:
        job = self.job(command.api, command.job_id)
        if job.state not in self._rules[command.api].remove_in:
            raise NotAllowed(job, "remove")
        return self._take_away(job)

    def _hold(self, command: Hold) -> Job:
        job = self.job(command.api, command.job_id)
        if not _can_be_held(job):
            raise NotAllowed(job, "hold")
        return self._held(job)

    def _release(self, command: Release) -> Job:
        job = self.job(command.api, command.job_id)
        if not self.is_held(job):
            raise NotAllowed(job, "release")
        is_over = job.held is None or job.held[1]
        job = self._let_go(job)
        if is_over or self._is_in_hold_step(job):
            return self._go_on(job)
        return job if job.until_ms is None else self._put(self._schedule(job, job.until_ms), job)

    def _step_on(self, command: StepOn) -> Job:
        job = self.job(command.api, command.job_id)
        is_off_script = job.step >= len(job.part.script.steps) and job.state is not State.CANCELLING
        if job.state in FINAL or is_off_script or self._waits_for_worker(job):
            raise NotAllowed(job, "step")
        is_held = job.held is not None
        job = self._numbered(self._go_on(self._let_go(job)).number)
        return self._held(job) if is_held and _can_be_held(job) else job

    def _force(self, command: Force) -> Job:
        job = self.job(command.api, command.job_id)
        state = command.state
        if state not in ALLOWED[job.state] and (state is not job.state or state in FINAL):
            raise NotAllowed(job, state.value)
        percent = job.progress_percent(self.now_ms) if command.progress is None else command.progress
        if state is job.state:
            return self._progressed(self._held(job) if _can_be_held(job) else job, percent)
        # Whatever its step still had to bring is off.
        told = job.altered(until_ms=None, progress_mark=percent, step_ms=job.changed_ms(self.now_ms))
        if state is SUCCEEDED:
            return self._succeed(job, told, command.result, OPERATOR, self._ending(job))
        if state is FAILED:
            failure = command.failure or Failure()
            return self._fail(job, told, failure, OPERATOR, self._ending(job), for_good=True)
        if state is CANCELLED:
            return self._leave(told, CANCELLED, OPERATOR, self._ending(job))
        return self._put(
            told.become(
                state,
                at_ms=self.now_ms,
                cause=OPERATOR,
                event=0,
                held=(self.now_ms, True),
                **self._forced(told, command),
            ),
            job,
        )

    def _progressed(self, job: Job, percent: int | None) -> Job:
        """The job, put to this progress by a person."""
        if percent == job.progress_percent(self.now_ms):
            return job
        changes: dict[str, Any] = {"progress_mark": percent, "step_ms": self.now_ms}
        if job.held is not None:
            # It is as if it were held only now, with the same time left.
            at_ms, is_over = job.held
            changes["held"] = (self.now_ms, is_over)
            if job.until_ms is not None:
                changes["until_ms"] = job.until_ms + self.now_ms - at_ms
        return self._put(job.altered(**changes), job)

    def _forced(self, job: Job, command: Force) -> dict[str, Any]:
        """What else changes when a person moves a job into this state, in which it has yet to live."""
        if command.state is State.CANCELLING:
            over = len(job.part.script.steps)
            return {"deadline_ms": None, "reported_ms": job.step_ms, "step": over}
        if command.state is RUNNING:
            self._crews[job.api].busy += 1
            return {"has_worker": True, "started_ms": self.now_ms}
        changes: dict[str, Any] = {"has_worker": False, "claimed": False, "deadline_ms": None}
        if job.state is RUNNING or command.state is RETRYING:
            # What it was at is done again.
            changes["step"] = job.part.script.first_running - 1
        if command.state is RETRYING:
            failure = replace(command.failure or Failure(), at_ms=self.now_ms)
            changes["failures"] = (*job.failures, failure)
            changes["executions"] = job.executions + 1
            changes["retries_left"] = max(job.retries_left - 1, 0)
            changes["attempt"] = job.attempt + 1
        elif job.state is FAILED:
            changes |= _ANEW
            changes["step"] = -1
            changes["attempt"] = job.attempt + 1
        return changes

    def _remark(self, command: Remark) -> Job:
        job = self.job(command.api, command.job_id)
        moves = (*job.moves, job.state, self.now_ms, command.text)
        return self._put(job.altered(moves=moves), job)

    def _keep(self, command: Keep) -> None:
        kept = self._kept[command.api]
        if command.value is None:
            self._kept_count -= kept.pop(command.key, None) is not None
            return
        if command.key not in kept:
            self._require_place()
            self._kept_count += 1
        kept[command.key] = command.value

    def _count_call(self, command: CountCall) -> int:
        counted = self._counted[command.api]
        if command.key not in counted:
            self._require_place()
            self._kept_count += 1
        count, since_ms = counted.get(command.key, (0, self.now_ms))
        if command.window_ms is not None and self.now_ms - since_ms >= command.window_ms:
            count, since_ms = 0, self.now_ms
        counted[command.key] = (count + 1, since_ms)
        return count + 1

    def _require_place(self) -> None:
        if self._kept_count >= self.limits.kept:
            raise LimitReached("things kept beside the jobs of a world", self.limits.kept, "--max-kept")

    def _set_scenario(self, command: SetScenario) -> None:
        self.playbook = command.playbook
        for api in self._crews:
            self._put_crew_to_work(api)

    def _move_clock(self, command: MoveClock) -> None:
        self.advance(command.to_ms)

    # ---- the script ---------------------------------------------------------------------------------------------

    def _held(self, job: Job) -> Job:
        """The job, stopped where it is."""
        if job.held is not None:
            return job
        is_over = self._waits_for_worker(job)
        self._leave_line(job)
        return self._put(job.altered(event=0, held=(self.now_ms, is_over)), job)

    def _let_go(self, job: Job) -> Job:
        """The job as it was when it was held, with its times moved on to now; nothing of it is on the agenda yet."""
        if job.held is None:
            return job
        changes: dict[str, Any] = {"held": None}
        if job.until_ms is not None:
            passed_ms = self.now_ms - job.held[0]
            changes["until_ms"] = job.until_ms + passed_ms
            changes["step_ms"] = job.step_ms + passed_ms
        if job.state is QUEUED and self._rules[job.api].claims:
            self._crews[job.api].claimable[self._place(job)] = job.number
        return self._put(job.altered(**changes), job)

    def _go_on(self, job: Job) -> Job:
        """Its present step is over."""
        if job.step < len(job.part.script.steps):
            return self._enter(job, job.step + 1)
        if job.state is State.CANCELLING:
            self._stop(job)
            return self._numbered(job.number)
        return job

    def _waits_for_worker(self, job: Job) -> bool:
        crew = self._crews[job.api]
        return bool(crew.waiting) and job.state in _IN_LINE and self._place(job) in crew.waiting

    def _is_in_hold_step(self, job: Job) -> bool:
        """Its present step lasts until somebody releases it. A job in line for a worker has that step behind it."""
        steps = job.part.script.steps
        if job.event or not 0 <= job.step < len(steps):
            return False
        step = steps[job.step]
        if step.lasts is not Lasting.HOLD or step.state is not job.state:
            return False
        return not (job.held and job.held[1]) and not self._waits_for_worker(job)

    def _first_state(self, api: str, steps: tuple[Step, ...]) -> State:
        """A job is never born finished, and never running without a worker: such scripts begin in the queue."""
        first = steps[0].state
        if first is RUNNING and self._has_free_worker(api):
            return first
        return first if first in (DELAYED, QUEUED) else QUEUED

    def _enter(self, job: Job, index: int, *, is_new: bool = False) -> Job:
        """Begin step `index` of the job's script, or wait for a worker first."""
        steps = job.part.script.steps
        before = None if is_new else job
        if index >= len(steps):
            following = job.part.next_attempt
            if following is not None and job.state is RETRYING:
                # It is not queued anew, as where the service itself tries again: no client sees it fall back.
                begin = following.script.first_running
                waited = self._put(
                    job.altered(**self._standstill(job), part=following, step=begin - 1), before
                )
                return self._enter(waited, begin)
            return self._put(job.altered(**self._standstill(job), step=index), before)
        step = steps[index]
        state = step.state
        if step.has_variables:
            step = filled_step(step, job, self.seed)
        if state is DELAYED and job.state is not state:
            # A second attempt does not go back behind the queue.
            return self._enter(job, index + 1)
        if state is RETRYING and job.state is DELAYED:
            # An attempt can only fail once it was begun.
            job = before = self._put(job.become(QUEUED, at_ms=self.now_ms, cause=step.cause), before)
        if is_new and state is not job.state and state is not RUNNING:
            # Its birth is one move and this step another, at the same instant.
            return self._put(self._schedule(job.altered(step=index - 1), self.now_ms), None)
        if state in FINAL:
            return self._end(job, step, index)
        changes: dict[str, Any] = {"step": index, "until_ms": None, "event": 0}
        if state is RUNNING and not job.has_worker:
            if not self._has_free_worker(job.submit.api):
                return self._wait_for_worker(job, index, is_new=is_new)
            self._crews[job.submit.api].busy += 1
            changes["has_worker"] = True
            changes["started_ms"] = self.now_ms
        elif state in _IN_LINE:
            changes["has_worker"] = False
        lasts = step.lasts
        if type(lasts) is Span:
            length_ms = lasts.low_ms if lasts.low_ms == lasts.high_ms else self._length(lasts, job, index)
            if job.submit.lasts_ms > length_ms and index == job.part.script.last_timed_running:
                length_ms = job.submit.lasts_ms
            changes["until_ms"] = until_ms = self.now_ms + length_ms
            changes["event"] = self._note(until_ms, job.number)
        elif type(lasts) is Polls:
            self.counts_polls = True
            wanted = draw_between(lasts.low, lasts.high, self.seed, "step", job.number, job.attempt, index)
            changes["polls"] = (0, wanted)
        if step.message is not None:
            changes["message"] = step.message
        if step.progress is not None:
            changes["progress_mark"] = step.progress[0]
        elif job.progress_mark is not None:
            changes["progress_mark"] = job.progress_percent(self.now_ms)
        if state is job.state:
            if job.polls is not None:
                changes.setdefault("polls", None)
            return self._put(job.altered(**changes, step_ms=self.now_ms), before)
        if state is RETRYING:
            changes["attempt"] = job.attempt + 1
            changes["executions"] = job.executions + 1
            failure = Failure(step.message) if step.message is not None else Failure()
            changes["failures"] = (*job.failures, replace(failure, at_ms=self.now_ms))
            changes["retries_left"] = max(job.retries_left - 1, 0)
        return self._put(job.become(state, at_ms=self.now_ms, cause=step.cause, **changes), before)

    def _end(self, job: Job, step: Step, index: int | None = None, *, for_good: bool = False) -> Job:
        """Carry out a final step: number `index` of the script, or one that something else brings.

        Args:
            for_good: a failure is not tried again.
        """
        ending = self._ending(job, step)
        if step.state is SUCCEEDED:
            # What it said while it worked is over; what it said last before it failed stays.
            told = job.altered(message=step.message)
            if job.submit.fails_with is not None and not job.claimed:
                ending = self._ending(job)
                return self._fail(job, told, job.submit.fails_with, step.cause, ending, index, for_good)
            return self._succeed(job, told, step.result, step.cause, ending)
        told = job if step.message is None else job.altered(message=step.message)
        if step.state is FAILED:
            return self._fail(job, told, step.failure or Failure(), step.cause, ending, index, for_good)
        return self._leave(told, CANCELLED, step.cause, ending)

    def _ending(self, job: Job, step: Step | None = None) -> dict[str, Any]:
        """What changes when a job ends, whichever way; its final step, if there is one, has the first word about the log."""
        log, no_log = job.part.log, job.part.no_log
        if step is not None and (step.log is not None or step.no_log):
            log, no_log = step.log, step.no_log
        elif job.log is not None:
            # A worker has brought one.
            log, no_log = None, False
        no_result = step is not None and step.no_result
        if log is None and not no_log and not no_result:
            return _AT_THE_END
        ending = _AT_THE_END | {"no_log": no_log, "no_result": no_result}
        if log is not None:
            text = log.filled(job, self.seed) if isinstance(log, Template) else log
            ending["log"] = text.encode("utf-8", "replace")
        elif no_log:
            ending["log"] = None
        return ending

    def _wait_for_worker(self, job: Job, index: int, *, is_new: bool = False) -> Job:
        """Stay queued (or retrying) until a worker is free for step `index`."""
        if job.state in _IN_LINE:
            waiting = job.altered(**self._standstill(job), step=index - 1)
        else:
            waiting = job.become(
                State.QUEUED, at_ms=self.now_ms, cause=job.part.cause, step=index - 1, until_ms=None, event=0
            )
        self._crews[job.api].waiting[self._place(waiting)] = job.number
        return self._put(waiting, None if is_new else job)

    def _standstill(self, job: Job) -> dict[str, Any]:
        """What changes when a step is over and no other begins: time moves nothing any more, and progress stays."""
        return {
            "until_ms": None,
            "event": 0,
            "polls": None,
            "progress_mark": job.progress_percent(self.now_ms),
            "step_ms": job.changed_ms(self.now_ms),
        }

    def _succeed(self, before: Job, job: Job, result: Any, cause: str, ending: dict[str, Any]) -> Job:
        done = job.become(
            State.SUCCEEDED,
            at_ms=self.now_ms,
            cause=cause,
            result=result,
            executions=job.executions + 1,
            progress_mark=100 if job.progress_mark is not None else None,
            **ending,
        )
        self._put(done, before)
        if job.submit.repeat_after_ms is not None and self._has_room:
            self._submit(
                replace(
                    job.submit,
                    request=job.request,
                    repeat_of=job.id,
                    delay_ms=job.submit.repeat_after_ms,
                    attempt=1,
                ),
                cause=f"repeat of {job.id}",
            )
        return done

    def _fail(
        self,
        before: Job,
        job: Job,
        failure: Failure,
        cause: str,
        ending: dict[str, Any],
        index: int | None = None,
        for_good: bool = False,
    ) -> Job:
        """One execution failed: try again if the rules and the retries left allow, else the job is failed.

        Where the service tries nothing again, the attempts of the script come one after the other: `index` is the step that
        failed, and what the script says after it is played before the next attempt.
        """
        failure = replace(failure, at_ms=self.now_ms)
        failed = job.altered(
            failures=(*job.failures, failure),
            executions=job.executions + 1,
            progress_mark=job.progress_percent(self.now_ms),
            reported_ms=job.changed_ms(self.now_ms),
        )
        by = self._rules[job.api].retry_by
        # A job that is being cancelled has no way back, so it is not tried again.
        if job.state is not State.CANCELLING and not for_good:
            if by is RetryBy.SAME_JOB and job.retries_left > 0:
                part = job.part.again
                step = part.script.first_running - 1
                return self._try_again(before, failed, cause, part, step, _retry_delay_ms(job))
            if by is None and index is not None and job.part.next_attempt is not None:
                return self._try_again(before, failed, cause, job.part, index, 0)
        failed = self._put(failed.become(State.FAILED, at_ms=self.now_ms, cause=cause, **ending), before)
        if by is RetryBy.NEW_JOB and job.submit.retries > 0 and self._has_room:
            self._submit(
                replace(
                    job.submit,
                    request=job.request,
                    retry_of=job.id,
                    retries=job.submit.retries - 1,
                    retry_delays_ms=job.submit.retry_delays_ms[1:] or job.submit.retry_delays_ms,
                    delay_ms=_retry_delay_ms(job),
                    attempt=job.attempt + 1,
                ),
                cause=f"retry of {job.id}",
                part=job.part.again,
            )
        return failed

    def _try_again(self, before: Job, failed: Job, cause: str, part: Part, step: int, delay_ms: int) -> Job:
        """An execution failed and the job did not: so much later it goes on with what comes after `step` of this part."""
        if RETRYING not in ALLOWED[failed.state]:
            # It fails without having run: it comes due, and fails at this same instant.
            before = failed = self._put(
                failed.become(State.QUEUED, at_ms=self.now_ms, cause=part.cause), before
            )
        again = failed.become(
            RETRYING,
            at_ms=self.now_ms,
            cause=cause,
            has_worker=False,
            claimed=False,
            deadline_ms=None,
            retries_left=max(failed.retries_left - 1, 0),
            attempt=failed.attempt + 1,
            part=part,
            step=step,
        )
        return self._put(self._schedule(again, self.now_ms + delay_ms), before)

    def _stop(self, job: Job) -> None:
        """Cancelling has lasted long enough."""
        effect = job.part.on_cancel
        then = effect.then if isinstance(effect, CancelAfter) else None
        if then is None:
            cause = CLIENT if job.cancel_requested else OPERATOR
            self._leave(job, CANCELLED, cause, self._ending(job))
        else:
            self._end(job, filled_step(then, job, self.seed) if then.has_variables else then)

    def _leave(self, job: Job, state: State, cause: str, ending: dict[str, Any], **changes: Any) -> Job:
        changes["progress_mark"] = job.progress_percent(self.now_ms)
        if job.state is not State.CANCELLING:
            changes["reported_ms"] = job.changed_ms(self.now_ms)
        left = job.become(state, at_ms=self.now_ms, cause=cause, **ending, **changes)
        return self._put(left, job)

    def _length(self, lasts: Span, job: Job, purpose: str | int) -> int:
        if lasts.low_ms == lasts.high_ms:
            return lasts.low_ms
        return draw_between(lasts.low_ms, lasts.high_ms, self.seed, "step", job.number, job.attempt, purpose)

    # ---- workers ------------------------------------------------------------------------------------------------

    def _has_free_worker(self, api: str) -> bool:
        workers = self.playbook.workers(api)
        return workers is None or self._crews[api].busy < workers

    def _put_crew_to_work(self, api: str) -> None:
        crew = self._crews[api]
        while crew.waiting and self._has_free_worker(api):
            _, number = crew.waiting.popitem(0)
            job = self._numbered(number)
            self._enter(job, job.step + 1)

    def _place(self, job: Job) -> tuple[int, int, int]:
        """Where a job stands in the line of its API."""
        if self._rules[job.api].line is Line.DUE_FIRST:
            return (job.due_ms, -job.submit.priority, job.number)
        return (-job.submit.priority, job.since_ms, job.number)

    # ---- the agenda ---------------------------------------------------------------------------------------------

    def _schedule(self, job: Job, due_ms: int) -> Job:
        """The job with its one pending event at `due_ms`; an earlier one becomes stale."""
        return job.altered(until_ms=due_ms, event=self._note(due_ms, job.number))

    def _note(self, due_ms: int, number: int) -> int:
        self._sequence = sequence = self._sequence + 1
        heappush(self._agenda, _agenda_entry(due_ms, sequence, number))
        return sequence

    def _fire_until(self, to_ms: int) -> None:
        agenda, jobs = self._agenda, self._jobs
        later = _agenda_entry(to_ms + 1, 0, 0)
        while agenda and agenda[0] < later:
            due_ms, sequence, number = _entry_of(heappop(agenda))
            job = jobs[number]
            if job is None or job.event != sequence:
                continue
            deadline_ms = job.deadline_ms
            if deadline_ms is not None and deadline_ms > due_ms:
                # Touched since: a job has one entry, however often it is touched.
                heappush(agenda, _agenda_entry(deadline_ms, sequence, number))
                continue
            self.now_ms = due_ms
            if deadline_ms is not None:
                silent = Failure("The worker was silent for too long.", code="timeout")
                self._fail(job, job, silent, TIMED_OUT, self._ending(job))
            elif job.step >= len(job.part.script.steps):
                # Cancelling took it off its script, and has lasted long enough.
                self._stop(job)
            else:
                self._enter(job, job.step + 1)

    # ---- keeping ------------------------------------------------------------------------------------------------

    @property
    def _has_room(self) -> bool:
        return self._job_count < self.limits.jobs

    def _numbered(self, number: int) -> Job:
        job = self._jobs[number]
        assert job is not None, number
        return job

    def _put(self, job: Job, before: Job | None) -> Job:
        """Store a job, keep the indexes and the lines true, tell who listens, and hand a free worker on."""
        api = job.submit.api
        self._jobs[job.number] = job
        self._shelves[api].put(job, before)
        state = job.state
        if before is not None and before.state is state:
            if self.on_move is not None:
                self._tell_of_the_same_state(job, before)
            return job
        crew = self._crews[api]
        if before is not None and (crew.waiting or crew.claimable) and before.state in _IN_LINE:
            self._leave_line(before)
        if state is QUEUED and job.held is None and self._rules[api].claims:
            crew.claimable[self._place(job)] = job.number
        if self._fired is not None:
            self._fired.append(Fired(job.since_ms, api, job.id, state, job.moves[-1]))
        if self.on_move is not None:
            self.on_move(job, job.moves[-1])
        if job.submit.watched:
            self.told.append(job)
        if before is not None and before.has_worker and not job.has_worker:
            crew.busy -= 1
            if crew.waiting:
                self._put_crew_to_work(api)
        return job

    def _tell_of_the_same_state(self, job: Job, before: Job) -> None:
        assert self.on_move is not None
        if len(job.moves) > len(before.moves):
            self.on_move(job, job.moves[-1])
        elif (job.held is None) is not (before.held is None) or (
            job.held is not None and job.progress_mark != before.progress_mark
        ):
            self.on_move(job, OPERATOR)

    def _leave_line(self, job: Job) -> None:
        crew, place = self._crews[job.api], self._place(job)
        crew.waiting.pop(place, None)
        crew.claimable.pop(place, None)

    def _take_away(self, job: Job) -> Job:
        self._leave_line(job)
        self._jobs[job.number] = None
        self._job_count -= 1
        del self._numbers[job.api][job.id]
        removed = self._removed[job.api]
        removed[job.id] = None
        if len(removed) > self.limits.jobs:
            del removed[next(iter(removed))]
        self._shelves[job.api].discard(job)
        if job.has_worker:
            self._crews[job.api].busy -= 1
            self._put_crew_to_work(job.api)
        return job


_NUMBER_BITS = 32
_SEQUENCE_BITS = 40


def _agenda_entry(due_ms: int, sequence: int, number: int) -> int:
    """What is due when, and whose it is, as one integer: in the same order as the three, and a third of the memory."""
    return (due_ms << _SEQUENCE_BITS | sequence) << _NUMBER_BITS | number


def _entry_of(entry: int) -> tuple[int, int, int]:
    """The instant, the sequence and the job number of an entry."""
    rest = entry >> _NUMBER_BITS
    return rest >> _SEQUENCE_BITS, rest & (1 << _SEQUENCE_BITS) - 1, entry & (1 << _NUMBER_BITS) - 1


_IN_LINE = frozenset({State.QUEUED, State.RETRYING})
_AT_THE_END: dict[str, Any] = {"has_worker": False, "claimed": False, "until_ms": None, "event": 0}
_ANEW: dict[str, Any] = {"finished_ms": None, "cancel_requested": False, "log": None, "no_log": False}
"""What is forgotten of a job's end when it begins again."""


def _can_be_held(job: Job) -> bool:
    """Its script moves it, or the time that its cancelling takes."""
    return job.state not in FINAL and not (job.claimed and job.state is RUNNING)


def _retry_delay_ms(job: Job) -> int:
    """How long to wait before the next retry: the n-th of the list, the last one again when the list is at its end."""
    delays = job.submit.retry_delays_ms
    if not delays:
        return 0
    return delays[min(len(job.failures), len(delays) - 1)]
