"""One world on a running server, as tests of a client see it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

from simulator.control_client import Advanced, ControlClient, Filters, Job, JobInFull, Violation, World
from simulator.scenario.duration import parse_duration
from simulator.testing.poller import Calls, Wait, seconds_of
from simulator.testing.sleep import linked_sleep

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

WORLD_HEADER = "X-Understudy-World"
Scenario = str | Path | Mapping[str, Any]
"""A shipped one's name, YAML text with a line break in it, the path of a file, or the scenario itself."""


class Understudy:
    """A world of its own for one test, with its jobs, clock, scenario and call log.

    Args:
        control: speaks to the server; must be there as long as this is used.
        name: of the world; it is made by `use` or by the first call.
        time: how time passes when nothing else is said: `poll`, `frozen`, `real` or a factor such as `60x`.

    Methods raise `simulator.control_client.ControlError` when the server refuses what is asked for.
    """

    def __init__(
        self, control: ControlClient, name: str, *, seed: int | None = None, time: str | None = None
    ) -> None:
        self.control = control
        self.name = name
        self._seed = seed
        self._time = time
        self._base_paths: dict[str, str] = {}

    # ---- where clients find it --------------------------------------------------------------------------------------

    def url(self, api: str) -> str:
        """The base URL that a client of this API is given, without a slash at its end.

        Raises:
            ValueError: there is no such API here.
        """
        if not self._base_paths:
            self._base_paths = {one["name"]: one["path"] for one in self.control.apis()}
        if api not in self._base_paths:
            raise ValueError(f"there is no API {api!r} here; there are: {', '.join(self._base_paths)}")
        return f"{self.control.url}/worlds/{self.name}{self._base_paths[api]}".rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        """What leads a client here that is given the server's own URL and can send a header."""
        return {WORLD_HEADER: self.name}

    # ---- what it plays ----------------------------------------------------------------------------------------------

    def use(
        self, scenario: Scenario | None = None, *, seed: int | None = None, time: str | None = None
    ) -> Understudy:
        """Begin anew with this scenario; what is not said stays as it was, or is the server's."""
        if isinstance(scenario, Path):
            scenario = scenario.read_text(encoding="utf-8")
            if "\n" not in scenario:
                scenario += "\n"
        self._seed = self._seed if seed is None else seed
        self._time = self._time if time is None else time
        self.control.put_world(self.name, scenario=scenario, seed=self._seed, time=self._time)
        return self

    def facts(self) -> World:
        """What the server says of this world: its scenario, seed, time, and how many jobs and calls there are."""
        return self.control.world(self.name)

    def reset(self) -> Understudy:
        """Begin anew with the same scenario, seed and way of time."""
        self.control.reset_world(self.name)
        return self

    def close(self) -> None:
        """Forget the world."""
        self.control.delete_world(self.name)

    # ---- its time ---------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        """What time it is in this world."""
        return datetime.fromisoformat(self.control.clock(self.name)["now"])

    @property
    def time(self) -> str:
        """How time passes at present."""
        return self.control.clock(self.name)["mode"]

    @time.setter
    def time(self, mode: str) -> None:
        self.control.set_clock(self.name, mode)

    def advance(
        self,
        by: Wait | None = None,
        *,
        to: datetime | str | None = None,
        next: int | None = None,  # noqa: A002  # the API's word
        until_idle: bool = False,
        limit: Wait | None = None,
    ) -> Advanced:
        """Move time forward; answers when all that became due has happened, with the events in order.

        Args:
            by: a duration such as `10m`, seconds, or a timedelta.
            to: an instant.
            next: so many times to the next instant at which something is due.
            until_idle: until nothing is due any more.
            limit: how far `until_idle` goes at most.
        """
        if isinstance(to, datetime):
            to = to.astimezone(UTC).isoformat()
        return self.control.advance(
            self.name,
            by=None if by is None else _written(by),
            to=to,
            next=next,
            until_idle=until_idle,
            limit=None if limit is None else _written(limit),
        )

    @contextmanager
    def linked_sleep(
        self, follow: Iterable[ModuleType | str] = (), *, threads: Iterable[Thread] = ()
    ) -> Iterator[None]:
        """Within the block the client's sleeps move this world's clock instead of waiting.

        The clock stands still meanwhile but for these sleeps, and goes on in its own way after the block.

        Args:
            follow: modules in which `time.time`, `time.monotonic` and the like tell virtual time; see
                `simulator.testing.sleep.linked_sleep`.
            threads: further threads of the client that began before the block.
        """
        mode = self.time
        self.time = "frozen"
        try:
            with linked_sleep(_WorldClock(self), follow=follow, threads=threads):
                yield
        finally:
            self.time = mode

    # ---- its jobs ---------------------------------------------------------------------------------------------------

    def jobs(self, api: str | None = None, state: str | None = None) -> list[Job]:
        """The jobs, oldest first."""
        return [*self.control.jobs(self.name, api=api, state=state)]

    def job(self, id: str, api: str | None = None) -> JobInFull:  # noqa: A002  # the APIs' word
        """One job with its history.

        Args:
            api: needed only if jobs of several APIs have this id.

        Raises:
            LookupError: there is no such job, or there are several.
        """
        return self.control.job(self.name, self._api_of(id, api), id)

    def hold(self, id: str, api: str | None = None) -> JobInFull:  # noqa: A002
        """Stop a job where it is."""
        return self.control.hold(self.name, self._api_of(id, api), id)

    def release(self, id: str, api: str | None = None) -> JobInFull:  # noqa: A002
        """Let a job go on that is held, here or by its script."""
        return self.control.release(self.name, self._api_of(id, api), id)

    def step(self, id: str, api: str | None = None) -> JobInFull:  # noqa: A002
        """End the present step of a job's script now."""
        return self.control.step(self.name, self._api_of(id, api), id)

    def force(
        self,
        id: str,  # noqa: A002
        state: str,
        *,
        api: str | None = None,
        error: Mapping[str, str] | None = None,
        progress: int | None = None,
        result: Any = None,
    ) -> JobInFull:
        """Put a job into a state, whatever its script says."""
        return self.control.force(
            self.name, self._api_of(id, api), id, state, error=error, progress=progress, result=result
        )

    def _api_of(self, job_id: str, api: str | None) -> str:
        if api is not None:
            return api
        found = [job["api"] for job in self.jobs() if job["id"] == job_id]
        if len(found) != 1:
            known = ", ".join(f"{job['id']} ({job['api']})" for job in self.jobs()[-5:]) or "none"
            several = f"jobs of {' and '.join(found)} have the id" if found else "there is no job"
            raise LookupError(f"{several} {job_id!r} in world {self.name}; the latest are: {known}")
        return found[0]

    # ---- what was said ----------------------------------------------------------------------------------------------

    def calls(self, **wanted: Any) -> Calls:
        """What clients said to this world, oldest first, with assertions about it.

        Args:
            wanted: `api`, `operation`, `role`, `method`, `path` (a part of it), `job`, `status`, `violations` (whether there
                are any): all must hold.

        Raises:
            TypeError: another word.
        """
        unknown = wanted.keys() - Filters.__annotations__.keys()
        if unknown:
            raise TypeError(
                f"calls are not found by {', '.join(sorted(unknown))}, but by {', '.join(Filters.__annotations__)}"
            )
        return Calls.of(self.control.calls(self.name, **wanted))

    def violations(self) -> list[Violation]:
        """In what ways documents were broken in this world, by clients or by the server."""
        return self.control.ledger(self.name)["lines"]

    def capsule(self) -> str:
        """All that happened here as one file that `understudy replay` plays again, as YAML."""
        return self.control.capsule(self.name)


class AsyncUnderstudy:
    """An `Understudy` whose methods are awaited, for tests that live in an event loop.

    `url`, `name` and `headers` are as there; every other method gives an awaitable of what it gives there.
    """

    def __init__(self, understudy: Understudy) -> None:
        self.sync = understudy
        """The same world, for calls that may block the event loop."""
        self.name = understudy.name
        self.headers = understudy.headers
        self.use = _awaited(understudy.use)
        self.reset = _awaited(understudy.reset)
        self.advance = _awaited(understudy.advance)
        self.jobs = _awaited(understudy.jobs)
        self.job = _awaited(understudy.job)
        self.hold = _awaited(understudy.hold)
        self.release = _awaited(understudy.release)
        self.step = _awaited(understudy.step)
        self.force = _awaited(understudy.force)
        self.calls = _awaited(understudy.calls)
        self.violations = _awaited(understudy.violations)
        self.capsule = _awaited(understudy.capsule)
        self.linked_sleep = understudy.linked_sleep
        self.url = understudy.url


def _awaited(function: Callable[Arguments, Result]) -> Callable[Arguments, Awaitable[Result]]:
    @wraps(function)
    async def awaited(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        return await asyncio.to_thread(partial(function, *arguments, **named))

    return awaited


class _WorldClock:
    """A world's clock as linked sleep wants it."""

    def __init__(self, understudy: Understudy) -> None:
        self._understudy = understudy

    def now_ms(self) -> int:
        now = self._understudy.now
        return (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)

    def advance_to(self, to_ms: int) -> None:
        self._understudy.advance(to=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=to_ms))


def _written(wait: Wait) -> str:
    """A duration as the control API reads it, in whole milliseconds."""
    if isinstance(wait, str):
        parse_duration(wait)
        return wait
    return f"{round(seconds_of(wait) * 1000)}ms"
