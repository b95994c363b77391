"""A server in the process of the tests, or one that runs elsewhere, with worlds for those who ask."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Sequence
from types import TracebackType

from simulator.control_client import ControlClient
from simulator.testing.world import AsyncUnderstudy, Scenario, Understudy

DEFAULT_TIME = "poll"
"""A client that polls sees its jobs end, whether or not it can be taught to wait in virtual time."""


class Server:
    """Where worlds are: a server in a thread of this process, or one that runs already.

    Args:
        apis: names of the APIs to serve; none: all.
        url: of a server that runs already; then nothing is started, and what it serves is up to it.
        token: its admin token, if it wants one.
        seed, time: of worlds that are made without their own.
        strict: a reply that breaks its document becomes a 500.
    """

    def __init__(
        self,
        apis: Sequence[str] = (),
        *,
        url: str | None = None,
        token: str | None = None,
        seed: int | None = None,
        time: str = DEFAULT_TIME,
        strict: bool = False,
    ) -> None:
        self._seed = seed
        self._time = time
        self._started = None
        self._number = 0
        self.is_shared = url is not None
        """Others may use it, too."""
        if url is None:
            # All that a server needs is loaded only where one is started.
            from simulator.assemble import Settings, assemble
            from simulator.web import server

            settings = Settings(apis=apis, strict=strict)
            self._started = server.Background(assemble(settings), server.listen("127.0.0.1", 0))
            self._started.start()
            url = self._started.url
        # Names of worlds are free to choose on a server of one's own, and repeat in each run.
        self._prefix = f"test-{secrets.token_hex(4)}" if self.is_shared else "test"
        self.control = ControlClient(url, token=token)
        self.url = self.control.url

    def world(
        self,
        scenario: Scenario | None = None,
        *,
        name: str | None = None,
        seed: int | None = None,
        time: str | None = None,
    ) -> Understudy:
        """A fresh world.

        Args:
            name: of the world; one that is there already begins anew.
        """
        if name is None:
            self._number += 1
            name = (
                f"{self._prefix}-{os.getpid()}-{self._number}" if self.is_shared else f"test-{self._number}"
            )
        understudy = Understudy(
            self.control, name, seed=self._seed if seed is None else seed, time=time or self._time
        )
        return understudy.use(scenario)

    def close(self) -> None:
        """Stop the server, if it was started here."""
        self.control.close()
        if self._started is not None:
            self._started.stop()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class server:  # noqa: N801  # used like a function: with server() as understudy
    """A server for the length of a block, and a world on it: `with server() as understudy:`, also `async with`.

    Args:
        apis: names of the APIs to serve; none: all.
        scenario: a shipped one's name, YAML text with a line break in it, the path of a file, or the scenario itself.
        seed: every id and every drawn value follows from it.
        time: `poll` (status calls move the clock), `frozen`, `real`, or a factor such as `60x`.
        strict: a reply that breaks its document becomes a 500.
        url, token: of a server that runs already, instead of starting one.

    Raises:
        simulator.control_client.ControlError: the scenario has problems.
        simulator.control_client.ServerUnreachable: nobody answers at `url`.
    """

    def __init__(
        self,
        *apis: str,
        scenario: Scenario | None = None,
        seed: int = 1,
        time: str = DEFAULT_TIME,
        strict: bool = False,
        url: str | None = None,
        token: str | None = None,
    ) -> None:
        self._apis = apis
        self._scenario = scenario
        self._seed = seed
        self._time = time
        self._strict = strict
        self._url = url
        self._token = token
        self._server: Server | None = None
        self._understudy: Understudy | None = None

    def __enter__(self) -> Understudy:
        self._server = Server(
            self._apis,
            url=self._url,
            token=self._token,
            seed=self._seed,
            time=self._time,
            strict=self._strict,
        )
        try:
            self._understudy = self._server.world(self._scenario)
        except BaseException:
            self._server.close()
            raise
        return self._understudy

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        assert self._understudy is not None
        try:
            if self._server.is_shared:
                self._understudy.close()
        finally:
            self._server.close()

    async def __aenter__(self) -> AsyncUnderstudy:
        return AsyncUnderstudy(await asyncio.to_thread(self.__enter__))

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.__exit__, kind, error, trace)
