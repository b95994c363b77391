"""The HTML report is one file that opens without a complaint, hides nothing silently and lets no text become markup."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from simulator.assemble import declared_in, load_apis, load_document
from simulator.report import coverage_of, html, write
from simulator.report.html import CALLS_MAX, CALLS_OF_TEST_MAX, JOBS_MAX, TESTS_MAX, as_html
from simulator.report.model import Run, Tested
from simulator.scenario.calls import Declared
from tests.browser import Page, find_browser, open_page
from tests.report.parts import STATUS, call, hostile_run, job, large_run, small_run, violation

BYTES_MAX = 20_000_000


@cache
def declared() -> Declared:
    apis = load_apis()
    return declared_in({name: load_document(api) for name, api in apis.items()}, apis)


class Reader(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.is_balanced = True
        self.feed(text)
        self.close()
        self.is_balanced &= not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "input"}:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self.is_balanced &= bool(self._open) and self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def page(run: Run) -> Reader:
    return Reader(as_html(run, coverage_of(run), declared()).decode())


def opened(run: Run, folder: Path, *options: str) -> Page:
    path = write(run, folder, ["html"])["html"]
    return open_page(path, folder / "profile", *options)


# ---- in a browser ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [Run(), small_run(), hostile_run()], ids=["empty", "small", "hostile"])
@pytest.mark.browser
def test_a_browser_opens_it_without_a_complaint(run: Run, tmp_path: Path) -> None:
    shown = opened(run, tmp_path)
    assert shown.console == []
    assert f"{len(run.tests)} of {len(run.tests)} shown" in shown.dom


def test_a_missing_browser_fails_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AssertionError, match="apt-get install -y chromium"):
        find_browser()


@pytest.mark.browser
def test_the_browser_would_tell_of_a_script_that_the_policy_refuses(tmp_path: Path) -> None:
    path = write(small_run(), tmp_path, ["html"])["html"]
    path.write_text(path.read_text().replace("</main>", "<script>alert(1)</script></main>"))
    assert any("Content Security Policy" in line for line in open_page(path, tmp_path / "profile").console)


@pytest.mark.browser
def test_a_browser_opens_two_thousand_tests_with_a_hundred_thousand_calls(tmp_path: Path) -> None:
    run = large_run(2_000, 50)
    shown = opened(run, tmp_path)
    assert (tmp_path / "report.html").stat().st_size < BYTES_MAX
    assert shown.console == []
    assert "2000 of 2000 shown" in shown.dom


@pytest.mark.browser
def test_the_filter_shows_tests_by_name_and_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = html._part
    asked = (
        "words.value = 'TEST_submit'; words.dispatchEvent(new Event('input'));"
        "verdict.value = 'failed'; verdict.dispatchEvent(new Event('change'));"
    )
    monkeypatch.setattr(html, "_part", lambda name: part(name) + (asked if name == "page.js" else ""))
    shown = opened(small_run(), tmp_path)
    assert shown.console == []
    assert "1 of 5 shown" in shown.dom
    visible = [
        attributes
        for tag, attributes in Reader(shown.dom).elements
        if tag == "details" and attributes.get("class") == "test" and "hidden" not in attributes
    ]
    assert [one["data-verdict"] for one in visible] == ["failed"]


# ---- without one ----------------------------------------------------------------------------------------------------


def test_it_needs_nothing_from_elsewhere() -> None:
    text = as_html(small_run(), coverage_of(small_run()), declared()).decode()
    assert not re.search(r"(src|href)=\"(?!#)|@import|url\(|https?://", text)
    assert "default-src 'none'" in text
    assert not re.search(r"<[a-z]+[^>]* (style|on[a-z]+)=", text)


@pytest.mark.parametrize("run", [Run(), small_run(), hostile_run()], ids=["empty", "small", "hostile"])
def test_elements_are_closed_and_ids_are_used_once(run: Run) -> None:
    reader = page(run)
    assert reader.is_balanced
    ids = [attributes["id"] for _, attributes in reader.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_hostile_texts_are_shown_and_are_no_markup() -> None:
    reader = page(hostile_run())
    tags = [tag for tag, _ in reader.elements]
    assert tags.count("script") == 1
    assert "img" not in tags
    assert any("<script>alert(1)</script>" in text for text in reader.texts)
    assert not any(name.startswith("on") for _, attributes in reader.elements for name in attributes)


def test_it_can_be_used_with_a_keyboard_and_a_screen_reader() -> None:
    reader = page(small_run())
    assert ("html", {"lang": "en"}) in reader.elements
    assert any(tag == "a" and one.get("href") == "#tests" for tag, one in reader.elements)
    for tag, attributes in reader.elements:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or attributes.get("aria-label")
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if attributes.get("class") == "scroll" and attributes.get("role"):
            assert attributes.get("tabindex") == "0"
            assert attributes.get("aria-label")


def test_what_did_not_pass_comes_first_and_is_open() -> None:
    tests = [
        one for tag, one in page(small_run()).elements if tag == "details" and one.get("class") == "test"
    ]
    assert [one["data-verdict"] for one in tests] == ["failed", "failed", "error", "passed", "skipped"]
    assert ["open" in one for one in tests] == [True, True, True, False, False]


def test_a_test_shows_its_failure_violations_lines_and_replay() -> None:
    text = " ".join(page(small_run()).texts)
    for wanted in (
        "AssertionError: still running",
        "understudy replay capsules/test-2.json",
        "openapi/ogc.yaml:",
        "A request body breaks its schema.",
        "Retry-After respected 3 of 4 times",
        "no test ever polled a job that is failed",
    ):
        assert wanted in text, wanted


def cut(**fields: Any) -> str:
    run = Run((Tested("t", "failed", **fields),))
    return " ".join(page(run).texts)


def test_what_is_left_out_is_said() -> None:
    calls = tuple(call(place, STATUS) for place in range(CALLS_OF_TEST_MAX + 7))
    assert "7 more calls are left out here; the JSON report has them all" in cut(calls=calls)
    jobs = tuple(job(str(place), (0, "queued")) for place in range(15))
    assert "5 more jobs are left out here" in cut(jobs=jobs)
    violations = tuple(violation(str(place)) for place in range(53))
    assert "3 more violations are left out here" in cut(violations=violations)
    assert "(500 more characters are left out here)" in cut(failure="x" * 20_500)
    marks = tuple(call(place, STATUS) for place in range(230))
    assert "30 more calls of this job are left out here" in cut(jobs=jobs[1:2], calls=marks)


def test_the_first_and_the_last_calls_of_a_long_test_are_shown() -> None:
    calls = tuple(call(place, STATUS, path=f"/call-{place}.") for place in range(1_000))
    text = cut(calls=calls)
    assert "/call-0." in text
    assert "/call-999." in text
    assert "/call-500." not in text


def test_the_whole_page_has_room_for_so_much_and_broken_tests_take_it_first() -> None:
    passed = large_run(CALLS_MAX // CALLS_OF_TEST_MAX + 20, CALLS_OF_TEST_MAX)
    broken = Tested("z", "failed", calls=(call(0, STATUS, path="/broken"),), jobs=(job("b", (0, "queued")),))
    reader = page(Run((*passed.tests, broken)))
    assert any("/broken" in text for text in reader.texts)
    assert sum(tag == "tr" for tag, _ in reader.elements) < CALLS_MAX + 500
    drawn = sum(one.get("class") == "timeline" for _, one in page(large_run(JOBS_MAX + 5, 1)).elements)
    assert drawn == JOBS_MAX


def test_more_tests_than_a_page_holds_are_counted() -> None:
    run = Run(tuple(Tested(str(number)) for number in range(TESTS_MAX + 3)))
    assert "3 more tests are left out here" in " ".join(page(run).texts)


def test_the_same_run_gives_the_same_page() -> None:
    once, again = (as_html(small_run(), coverage_of(small_run()), declared()) for _ in range(2))
    assert once == again
