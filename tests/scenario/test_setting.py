"""Settings as people are shown them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from simulator.scenario.setting import Setting


@pytest.mark.parametrize(
    ("setting", "takes", "default"),
    [
        (Setting(bool, False, "it"), "true or false", "false"),
        (Setting(int, 3, "it"), "a whole number", "3"),
        (Setting(str, "a word", "it"), "a text", "a word"),
        (Setting(str, "iso", "it", choices=("iso", "wrapped")), "iso or wrapped", "iso"),
        (Setting(list, (), "it"), "a list of texts", "[]"),
        (Setting(list, ("a", "b"), "it"), "a list of texts", "[a, b]"),
        (Setting(timedelta, None, "it"), "a duration", "-"),
        (Setting(timedelta, 90_000, "it"), "a duration", "1m30s"),
    ],
)
def test_a_setting_says_what_it_takes_and_what_it_is_when_not_set(
    setting: Setting, takes: str, default: str
) -> None:
    assert (setting.takes, setting.shown_default) == (takes, default)
