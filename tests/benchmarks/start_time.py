"""How long `understudy serve` takes from the start of its process to its first answer, with all APIs.

    python -m tests.benchmarks.start_time [--runs 5]

The first run may read files from a cold disk; it is done once more than asked for and not counted.
"""

from __future__ import annotations

import argparse
import socket
import time
from statistics import median

from tests.benchmarks import servers
from tests.benchmarks.table import judge, print_table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    found = [measure() for _ in range(runs + 1)][1:]
    print_table(
        ("seconds until", "min", "median", "max"),
        [
            (what, *(f"{pick(times):.2f}" for pick in (min, median, max)))
            for what, times in zip(("ready line", "first answer"), zip(*found, strict=True), strict=True)
        ],
    )
    print()
    judge("seconds to the first answer, median", median(answered for _, answered in found), at_most=1.5)


def measure() -> tuple[float, float]:
    """Seconds from the start of the process to the line that it is ready, and to the first answer."""
    began = time.perf_counter()
    with servers.understudy() as server:
        ready = time.perf_counter()
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /titan/v1/jobs?n=1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            status = connection.recv(65_536)[9:12]
        answered = time.perf_counter()
    assert status == b"200", status
    return ready - began, answered - began


if __name__ == "__main__":
    main()
