"""What is read from a header Prefer."""

from __future__ import annotations

import pytest

from simulator.apis.ogc_prefer import ASYNC, SYNC, Preferences, read_preferences


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Preferences()),
        ("respond-async", Preferences(respond_async=True)),
        (" Respond-Async ", Preferences(respond_async=True)),
        ("respond-async;x=1", Preferences(respond_async=True)),
        ("respond-asynchronously", Preferences()),
        ("respond-sync", Preferences()),
        ("wait=10", Preferences(wait_seconds=10)),
        ('wait = "10"', Preferences(wait_seconds=10)),
        ("wait=10;x=y , handling=lenient", Preferences(wait_seconds=10)),
        ("wait=3, wait=10", Preferences(wait_seconds=3)),
        ("wait=-1", Preferences()),
        ("wait=1.5", Preferences()),
        ("wait=9999999999", Preferences()),
        ("wait", Preferences()),
        ("return=minimal", Preferences(returns="minimal")),
        ('RETURN="Representation"', Preferences(returns="representation")),
        ("return=everything", Preferences()),
        ('note="respond-async, wait=3"; x="return=minimal"', Preferences()),
        ('note="a \\", respond-async"', Preferences()),
        (
            "return=minimal,respond-async,,wait=1",
            Preferences(respond_async=True, wait_seconds=1, returns="minimal"),
        ),
        ('note="never closed, wait=3', Preferences()),
        ('=, ;, "", respond-async', Preferences(respond_async=True)),
    ],
)
def test_a_header_is_read_as_its_known_preferences(header: str, expected: Preferences) -> None:
    assert read_preferences(header) == expected


@pytest.mark.parametrize(
    ("header", "options", "is_async", "may_become_async"),
    [
        ("", (SYNC, ASYNC), False, False),
        ("", (SYNC,), False, False),
        ("", (ASYNC,), True, False),
        ("respond-async", (SYNC, ASYNC), True, False),
        ("respond-async", (SYNC,), False, False),
        ("wait=1", (SYNC, ASYNC), False, True),
        ("wait=1", (SYNC,), False, False),
    ],
)
def test_the_mode_follows_from_what_is_offered_and_preferred(
    header: str, options: tuple[str, ...], is_async: bool, may_become_async: bool
) -> None:
    preferences = read_preferences(header)
    assert preferences.is_async(options) == is_async
    assert preferences.may_become_async(options) == may_become_async
