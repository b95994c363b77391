"""Looking after the files of a scenario while a server runs: what was changed and is good is taken over, what is broken is not.

The files are asked for their time and size now and then; that costs nothing, needs no library, and works on every file system. A
change is never taken halfway: the old scenario goes on until the new one was read without an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from simulator.scenario.model import Scenario
from simulator.scenario.read import ScenarioError

LOOK_SECONDS = 0.5

Signature = dict[Path, tuple[int, int] | None]
"""Time of the last change and size; None for a file that is not there."""


class Watch:
    """Watches the files of one scenario.

    Args:
        files: which files it is made of, as they are now; raises `ValueError` when there is no such file.
        load: reads it; raises `ScenarioError`, or `ValueError` when there is no such file.
        use: takes a new one over.
        say: tells the person at the controls.
    """

    def __init__(
        self,
        files: Callable[[], Sequence[Path]],
        load: Callable[[], Scenario],
        use: Callable[[Scenario], None],
        say: Callable[[str], None],
    ) -> None:
        self._files = files
        self._load = load
        self._use = use
        self._say = say
        self._known = _signature(files())

    def start(self) -> None:
        """Look from now on, as long as the event loop runs."""
        asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self.start()
        self.look()

    def look(self) -> None:
        """Take the scenario over if one of its files has changed and all of them are good."""
        if _signature(self._known) == self._known:
            return
        # Those that were known stay so until a good scenario does without them: one that is gone may come back. The files are
        # looked at before they are read, so that what changes meanwhile is seen next time.
        self._known = _signature(self._known)
        try:
            files = _signature(self._files())
            self._known |= files
            scenario = self._load()
        except ScenarioError as broken:
            self._say(f"the scenario was changed and is broken; the one before goes on\n{broken}")
        except ValueError as gone:
            self._say(f"the scenario cannot be read any more; the one before goes on\n{gone}")
        else:
            self._known = files
            self._use(scenario)
            self._say(f"the scenario was changed: {scenario.source} is used from now on")


def _signature(files: Iterable[Path]) -> Signature:
    return {path: _facts(path) for path in files}


def _facts(path: Path) -> tuple[int, int] | None:
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size
