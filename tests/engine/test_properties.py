"""Whatever is asked of a world, in whatever order: laws that hold for every journal.

A plan is a list of (milliseconds to wait, what to do then); it is carried out on a world with four services, whose scripts
hold every kind of step. Which job a command is for is a number, taken modulo the jobs there are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.engine.command import (
    Amend,
    Cancel,
    Claim,
    Command,
    Conclude,
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
from simulator.engine.errors import EngineError
from simulator.engine.fill import template
from simulator.engine.job import ALLOWED, FINAL, Failure, Job, State
from simulator.engine.script import CancelAfter, CancelEffect, CancelTooLate, Lasting, Polls, Span
from simulator.engine.world import Entry, Limits, World
from simulator.journal.memory import MemoryJournal
from tests.engine.parts import (
    ANYTHING,
    FLAGGING,
    HAPPY,
    HOLD,
    NEW_JOB,
    SAME_JOB,
    Book,
    attempts,
    cancelled,
    cancelling,
    delayed,
    failed,
    part,
    queued,
    retrying,
    running,
    succeeded,
)

RULES = {"jbpm": SAME_JOB, "synapse": FLAGGING, "titan": NEW_JOB, "anything": ANYTHING}
PARTS = {
    "happy": HAPPY,
    "at once": part(succeeded()),
    "never": part(failed()),
    "drawn": part(queued((0, 2_000)), running((500, 3_000), progress=(0, 60)), failed()),
    "delayed": part(delayed(700), running(1_000, progress=(0, 100)), failed()),
    "flaky": part(running(600), retrying(400), running(600), succeeded()),
    "back": part(
        queued(300, progress=(0, 5)), running(900), queued(500), running(900, progress=(50, 80)), failed()
    ),
    "held": part(queued(HOLD), running(1_000), running(HOLD, message="held"), succeeded()),
    "stuck": part(running(1_000, progress=(0, 40))),
    "forever": part(queued(200), running(Lasting.FOREVER)),
    "stops": part(running(2_000), cancelling(1_000), cancelled()),
    "too late": part(running(2_000), cancelling(1_000), failed()),
    "slow to stop": part(queued(500), running(3_000), succeeded(), on_cancel=CancelAfter(Span(300, 2_000))),
    "stubborn": part(running(3_000), succeeded(), on_cancel=CancelEffect.REFUSED),
    "obedient": part(running(3_000), retrying(3_000), failed(), on_cancel=CancelEffect.AT_ONCE),
    "polled": part(
        queued(Polls(1, 2)),
        running(Polls(2, 5), progress=(10, 70)),
        running(500, progress=(70, 90)),
        failed(),
    ),
    "polled to wait": part(
        delayed(Polls(1, 3)), running(400), retrying(Polls(1, 1)), running(400), succeeded()
    ),
    "third time lucky": attempts(
        (queued(200), running(600, progress=(0, 40)), failed(failure=Failure("One"))),
        (running(Polls(1, 2)), failed(log="two"), retrying((100, 800))),
        (queued(100), running(300), succeeded(result="{job.attempt}", no_log=True)),
        log="whatever",
    ),
    "never lucky": attempts((failed(),), (failed(),), (running(300), retrying(200)), (delayed(9), failed())),
    "faster": part(queued(300), running(2_000), failed(no_log=True), on_cancel=CancelTooLate()),
    "faster at last": attempts(
        (running(900), failed()), (running(900), succeeded()), on_cancel=CancelTooLate(), log="said"
    ),
    "ends as it likes": part(running(2_000), on_cancel=CancelAfter(Span(400, 900), succeeded(result=7))),
    "ends badly": part(running(Polls(9, 9)), on_cancel=CancelAfter(Span(0, 0), failed(log="out"))),
    "speaks": part(
        queued(100, message=template("{job.id} {request.x}"), has_variables=True),
        running(900, message="plain"),
        failed(failure=Failure(template("{job.attempt} of {world.seed}")), has_variables=True),
    ),
    "fleeting": part(queued(0), running(0, progress=(0, 50)), retrying(0), running(0), failed()),
}
JOBS_MAX = 40
KEPT_MAX = 3
REMARK = "somebody said something"
SEED = 7

Asked = Callable[[World], Command[Any] | None]


@dataclass(frozen=True)
class Ask:
    """What to do, and how it is shown when a plan fails."""

    what: str
    asked: Asked

    def __repr__(self) -> str:
        return self.what


def everyone(world: World) -> list[Job]:
    """All jobs of a world in the order they were made."""
    return sorted((job for api in RULES for job in world.jobs(api)), key=lambda job: job.number)


def on_a_job(kind: Callable[..., Command[Any]], place: int, **more: Any) -> Ask:
    def asked(world: World) -> Command[Any] | None:
        jobs = everyone(world)
        job = jobs[place % len(jobs)] if jobs else None
        return None if job is None else kind(job.api, job.id, **more)

    return Ask(f"{kind.__name__}({place}, {more})", asked)


def ask(command: Command[Any]) -> Ask:
    return Ask(repr(command), lambda world: command)


NOTHING = Ask("nothing", lambda world: None)
"""What a line of a plan that fails is reduced to when it has no part in the failure."""

crews = st.dictionaries(st.sampled_from(sorted(RULES)), st.sampled_from([None, 0, 1, 1, 2]))
books = crews.map(lambda crew: Book(PARTS, crew))
submits = st.builds(
    Submit,
    api=st.sampled_from(sorted(RULES)),
    kind=st.sampled_from(sorted(PARTS)),
    priority=st.integers(0, 2),
    delay_ms=st.sampled_from([0, 0, 0, -100, 400, 1_500]),
    timeout_ms=st.sampled_from([None, 0, 700, 1_500]),
    retries=st.integers(0, 2),
    retry_delays_ms=st.sampled_from([(), (300,), (0, 800)]),
    repeat_after_ms=st.sampled_from([None, None, None, 600]),
    lasts_ms=st.sampled_from([0, 0, 1_700]),
    fails_with=st.sampled_from([None, None, None, Failure("It cannot be")]),
)
places = st.integers(0, 30)
requests = st.sampled_from([None, *sorted(PARTS)])
asks = st.one_of(
    st.just(NOTHING),
    submits.map(ask),
    submits.map(ask),
    submits.map(ask),
    st.builds(Claim, st.sampled_from(sorted(RULES)), st.integers(0, 3)).map(ask),
    st.builds(lambda place: on_a_job(Touch, place), places),
    st.builds(
        lambda place, failure: on_a_job(Finish, place, failure=failure),
        places,
        st.sampled_from([None, Failure()]),
    ),
    st.builds(lambda place: on_a_job(Cancel, place), places),
    st.builds(lambda place: on_a_job(Retry, place), places),
    st.builds(lambda place: on_a_job(Poll, place), places),
    st.builds(lambda place: on_a_job(Poll, place), places),
    st.builds(lambda place: on_a_job(Conclude, place), places),
    st.builds(lambda place, request: on_a_job(Amend, place, request=request), places, requests),
    st.builds(lambda place: on_a_job(Remove, place), places),
    st.builds(lambda place: on_a_job(Release, place), places),
    st.builds(lambda place: on_a_job(Release, place), places),
    st.builds(lambda place: on_a_job(Hold, place), places),
    st.builds(lambda place: on_a_job(StepOn, place), places),
    st.builds(
        lambda place, state, progress: on_a_job(Force, place, state=state, progress=progress),
        places,
        st.sampled_from(sorted(State)),
        st.sampled_from([None, 0, 45, 100]),
    ),
    st.builds(lambda place: on_a_job(Remark, place, text=REMARK), places),
    st.builds(
        Keep,
        st.sampled_from(sorted(RULES)),
        st.sampled_from(["one", "two", "three"]),
        st.sampled_from([None, "value", 7]),
    ).map(ask),
    st.builds(SetScenario, books).map(ask),
)
waits = st.sampled_from([0, 0, 0, 1, 100, 300, 500, 600, 700, 1_000, 1_500, 4_000])
# Left to itself, Hypothesis makes short lists, in which little can happen.
plans = st.lists(st.tuples(waits, asks), min_size=25, max_size=40)

Advance = Callable[[World, int], None]


def jump(world: World, by_ms: int) -> None:
    world.advance(world.now_ms + by_ms)


def carry_out(world: World, plan: list[tuple[int, Ask]], advance: Advance = jump) -> Iterator[World]:
    """Do what is planned, and give the world out after each line. What is refused is refused; anything else is a bug."""
    for wait_ms, what in plan:
        advance(world, wait_ms)
        command = what.asked(world)
        if command is not None:
            try:
                world.apply(command)
            except EngineError:
                pass
        yield world
    advance(world, 10_000)
    yield world


def world_of(scenario: Book, journal: MemoryJournal | None = None) -> World:
    return World(
        seed=SEED, rules=RULES, playbook=scenario, limits=Limits(JOBS_MAX, KEPT_MAX), journal=journal
    )


bounded = settings(deadline=None, print_blob=True, max_examples=120)


def in_pieces(pieces: int) -> Advance:
    """Time passes bit by bit, and at each stop somebody looks at everything."""

    def advance(world: World, by_ms: int) -> None:
        began_ms = world.now_ms
        for piece in range(1, pieces + 1):
            world.advance(began_ms + by_ms * piece // pieces)
            look_at(world)

    return advance


def look_at(world: World) -> None:
    """Every read there is."""
    assert world.next_due_ms is None or world.next_due_ms > world.now_ms
    for api in RULES:
        for job in world.jobs(api, states=[State.QUEUED, State.RUNNING], newest_first=True):
            world.job(api, job.id).progress_percent(world.now_ms)
        world.count(api, states=FINAL)
        world.jobs_sorted_by(api, "since", lambda job: job.since_ms, offset=0, limit=3)
    world.snapshot()


@bounded
@given(scenario=books, plan=plans, pieces=st.integers(2, 7))
def test_time_in_one_jump_and_in_pieces_with_looks_between_make_the_same_world(
    scenario: Book, plan: list[tuple[int, Ask]], pieces: int
) -> None:
    jumping = carry_out(world_of(scenario), plan)
    stepping = carry_out(world_of(scenario), plan, in_pieces(pieces))
    for one, other in zip(jumping, stepping, strict=True):
        assert one.snapshot() == other.snapshot()


@bounded
@given(scenario=books, plan=plans)
def test_moving_from_event_to_event_makes_the_same_world_as_one_jump(
    scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    def event_by_event(world: World, by_ms: int) -> None:
        to_ms = world.now_ms + by_ms
        while (due_ms := world.next_due_ms) is not None and due_ms <= to_ms:
            assert due_ms > world.now_ms
            world.apply(MoveClock(due_ms))
        world.advance(to_ms)

    jumping = carry_out(world_of(scenario), plan)
    stepping = carry_out(world_of(scenario), plan, event_by_event)
    for one, other in zip(jumping, stepping, strict=True):
        assert one.snapshot() == other.snapshot()


@bounded
@given(scenario=books, plan=plans)
def test_a_replayed_journal_makes_the_same_world(scenario: Book, plan: list[tuple[int, Ask]]) -> None:
    journal, copy = MemoryJournal(), MemoryJournal()
    [*_, world] = carry_out(world_of(scenario, journal), plan)
    again = World.replay(
        journal, seed=SEED, rules=RULES, playbook=scenario, limits=Limits(JOBS_MAX, KEPT_MAX), journal=copy
    )
    again.advance(world.now_ms)
    assert again.snapshot() == world.snapshot()
    assert list(copy) == list(journal)
    assert [entry.position for entry in journal] == list(range(len(journal)))


@bounded
@given(scenario=books, plan=plans)
def test_what_is_refused_leaves_no_trace(scenario: Book, plan: list[tuple[int, Ask]]) -> None:
    journal = MemoryJournal()
    world = world_of(scenario, journal)
    for wait_ms, what in plan:
        jump(world, wait_ms)
        command = what.asked(world)
        if command is None:
            continue
        before, written = world.snapshot(), len(journal)
        try:
            world.apply(command)
        except EngineError:
            if len(journal) > written:
                # A cancel came too late: that its job came to its end first is a command of its own.
                assert isinstance(command, Cancel)
                [*_, last] = journal
                assert last.command == Conclude(command.api, command.job_id)
                assert len(journal) == written + 1
                assert world.job(command.api, command.job_id).state in FINAL
            else:
                assert world.snapshot() == before


def moves_of(job: Job) -> list[State]:
    return [move.state for move in job.history if move.cause != REMARK]


@bounded
@given(scenario=books, plan=plans)
def test_every_move_is_one_of_the_table_and_history_only_grows(
    scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    histories: dict[int, tuple[Any, ...]] = {}
    for world in carry_out(world_of(scenario), plan):
        for job in everyone(world):
            before = histories.get(job.number, ())
            assert job.moves[: len(before)] == before
            histories[job.number] = job.moves
            assert all(after in ALLOWED[state] for state, after in pairwise(moves_of(job)))
            moments = [move.at_ms for move in job.history]
            assert moments == sorted(moments)
            last = [move for move in job.history if move.cause != REMARK][-1]
            assert (job.state, job.since_ms) == (last.state, last.at_ms)
            assert moments[0] == job.created_ms
            assert not next(job.history).state.is_final


@bounded
@given(scenario=books, plan=plans)
def test_no_id_and_no_number_ever_stands_for_two_jobs(scenario: Book, plan: list[tuple[int, Ask]]) -> None:
    created: dict[int, tuple[str, str, int]] = {}
    highest = 0
    for world in carry_out(world_of(scenario), plan):
        for job in everyone(world):
            if job.number not in created:
                assert job.number > highest
            assert created.setdefault(job.number, (job.api, job.id, job.created_ms)) == (
                job.api,
                job.id,
                job.created_ms,
            )
            assert world.job(job.api, job.id) == job
        highest = max(created, default=0)
    assert len({(api, job_id) for api, job_id, _ in created.values()}) == len(created)


@bounded
@given(scenario=books, plan=plans)
def test_lines_crews_and_indexes_always_agree_with_the_jobs(
    scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    for world in carry_out(world_of(scenario), plan):
        crews_now = world.snapshot()["crews"]
        assert len(everyone(world)) <= JOBS_MAX
        for api, rules in RULES.items():
            jobs = world.jobs(api)
            busy, waiting, claimable = crews_now[api]
            limit = world.playbook.workers(api)
            assert busy == sum(job.has_worker for job in jobs)
            assert not waiting or (limit is not None and busy >= limit), (
                "somebody waits while a worker is free"
            )
            for _, number in waiting:
                [job] = [job for job in jobs if job.number == number]
                assert job.state in (State.QUEUED, State.RETRYING)
                assert not job.has_worker
                assert job.event == 0
            expected = {
                job.number for job in jobs if rules.claims and job.state is State.QUEUED and not job.held
            }
            assert {number for _, number in claimable} == expected
            found = Counter({state: world.count(api, states=[state]) for state in State})
            assert found == Counter(job.state for job in jobs)
            for job in jobs:
                assert not (job.has_worker and job.claimed)
                assert not (job.has_worker or job.claimed) or job.state in (State.RUNNING, State.CANCELLING)
                assert job.state is not State.RUNNING or job.has_worker or job.claimed
                assert not job.waits_for_polls or job.event == 0
                assert not job.held or (job.event == 0 and not job.state.is_final)
                assert not (job.waits_for_polls and (job.claimed or job.state.is_final))
                assert (job.deadline_ms is None) or (job.claimed and job.state is State.RUNNING)


@bounded
@given(scenario=books, plan=plans)
def test_what_a_job_counts_agrees_with_what_it_lived_through(
    scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    for world in carry_out(world_of(scenario), plan):
        for job in everyone(world):
            states = Counter(moves_of(job))
            assert job.state.is_final == (job.finished_ms is not None)
            assert 0 <= job.retries_left <= max(job.submit.retries, 0)
            assert job.executions == len(job.failures) + states[State.SUCCEEDED]
            assert len(job.failures) == states[State.RETRYING] + states[State.FAILED]
            assert [failure.at_ms for failure in job.failures] == [
                move.at_ms
                for move in job.history
                if move.state in (State.RETRYING, State.FAILED) and move.cause != REMARK
            ]
            percent = job.progress_percent(world.now_ms)
            assert percent is None or 0 <= percent <= 100
            assert job.created_ms <= job.changed_ms(world.now_ms) <= world.now_ms


@bounded
@given(scenario=books, plan=plans)
def test_what_is_told_of_a_jump_is_what_the_histories_say(
    scenario: Book, plan: list[tuple[int, Ask]]
) -> None:
    [*_, world] = carry_out(world_of(scenario), plan)
    lived = Counter((job.api, job.id, *move) for job in everyone(world) for move in job.history)
    told = world.advance_and_tell(world.now_ms + 3_000)
    after = Counter((job.api, job.id, *move) for job in everyone(world) for move in job.history)
    assert (
        Counter((fired.api, fired.job_id, fired.state, fired.at_ms, fired.cause) for fired in told)
        == after - lived
    )
    assert [fired.at_ms for fired in told] == sorted(fired.at_ms for fired in told)


@bounded
@given(scenario=books, plan=plans, limit=st.integers(0, 10))
def test_a_journal_is_complete_up_to_its_limit_and_says_when_it_is_not(
    scenario: Book, plan: list[tuple[int, Ask]], limit: int
) -> None:
    whole, short = MemoryJournal(), MemoryJournal(limit)
    for _ in carry_out(world_of(scenario, whole), plan):
        pass
    for _ in carry_out(world_of(scenario, short), plan):
        pass
    entries: list[Entry] = list(short)
    assert short.is_complete == (len(whole) <= limit)
    assert entries == (list(whole) if short.is_complete else [])
