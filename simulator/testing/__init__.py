"""understudy in tests: a server for the length of a block or a test, with worlds that belong to it alone.

With pytest, the fixture `understudy` is there as soon as understudy is installed:

    @pytest.mark.scenario("fails-halfway")
    def test_a_failed_run_is_reported(understudy):
        client = Client(understudy.url("ica"))
        with understudy.linked_sleep():
            with pytest.raises(RunFailed):
                client.run_and_wait()
        understudy.calls(role="status").stopped_after_terminal()

Without pytest, sync or async:

    with server("ica", scenario="fails-halfway") as understudy:
        ...
    async with server("ica", scenario="fails-halfway") as understudy:
        await understudy.advance("10m")

What there is:

- `server(…)`: a server in a thread of this process and one world on it; or, with `url=`, a world on a server that runs already.
- `Server(…)`: the same for many worlds, `Server().world("happy")`.
- `Understudy`: one world: `url`, `headers`, `use`, `reset`, `now`, `time`, `advance`, `linked_sleep`, `jobs`, `job`, `hold`, `release`,
  `step`, `force`, `calls`, `violations`, `capsule`. `AsyncUnderstudy` is the same with methods that are awaited.
- `Calls`, a list of `Call`: what clients said, with assertions about how they poll: `respected_retry_after`, `backed_off`, `at_most`,
  `stopped_after_terminal`, `waited_for_end`, `gave_up_within`, `retried_submit_safely`, `read_all_pages`.
- `linked_sleep(clock)`: for other clocks than a world's.
- `ControlError` and `ServerUnreachable`: what the methods raise.
"""

from simulator.control_client import ControlError, ServerUnreachable
from simulator.testing.poller import Call, Calls
from simulator.testing.serving import Server, server
from simulator.testing.sleep import MovableClock, linked_sleep, unlinked
from simulator.testing.world import AsyncUnderstudy, Understudy

__all__ = [
    "AsyncUnderstudy",
    "Call",
    "Calls",
    "ControlError",
    "MovableClock",
    "Server",
    "ServerUnreachable",
    "Understudy",
    "linked_sleep",
    "server",
    "unlinked",
]
