"""What the engine refuses, as values: which job, what was wanted, which limit. Text is made where it is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.engine.job import Job


class EngineError(Exception):
    """A command or a read that the world refuses; each API words it in its own envelope."""


class UnknownJob(EngineError):
    """No job has this id; `removed` tells that there was one once."""

    def __init__(self, api: str, job_id: str, *, removed: bool = False) -> None:
        self.api = api
        self.job_id = job_id
        self.removed = removed
        super().__init__(api, job_id, removed)

    def __str__(self) -> str:
        return f"there is no job {self.job_id} in {self.api}" + (" any more" if self.removed else "")


class NotAllowed(EngineError):
    """The job is in a state from which `wanted` (a verb or a state's name) cannot happen."""

    def __init__(self, job: Job, wanted: str) -> None:
        self.job = job
        self.wanted = wanted
        super().__init__(job, wanted)

    def __str__(self) -> str:
        return f"job {self.job.id} is {self.job.state.value}: {self.wanted} is not possible"


class LimitReached(EngineError):
    """A limit with a name was reached; nothing was changed."""

    def __init__(self, limit: str, maximum: int, option: str) -> None:
        self.limit = limit
        self.maximum = maximum
        self.option = option
        super().__init__(limit, maximum, option)

    def __str__(self) -> str:
        return f"the limit of {self.maximum} {self.limit} is reached; raise it with {self.option}"


class TimeGoesBack(EngineError):
    """Virtual time only goes forward."""

    def __init__(self, now_ms: int, wanted_ms: int) -> None:
        self.now_ms = now_ms
        self.wanted_ms = wanted_ms
        super().__init__(now_ms, wanted_ms)

    def __str__(self) -> str:
        return f"time does not go back: it is {self.now_ms} ms, {self.wanted_ms} ms was asked for"
