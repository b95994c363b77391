"""The pages that come as JSON or as HTML."""

from __future__ import annotations

import pytest

from simulator.apis.ogc_pages import page
from tests.apis.ogc_parts import in_words, serve
from tests.kit import Kit

PATHS = ["/ogc/", "/ogc/api", "/ogc/conformance", "/ogc/api/processes-list"]
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


@pytest.fixture(scope="module")
def kit() -> Kit:
    """A server that nothing happens on."""
    return serve()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("f", "accept", "is_html"),
    [
        (None, None, False),
        (None, "*/*", False),
        (None, "application/json", False),
        (None, BROWSER, True),
        (None, "text/html", True),
        ("json", None, False),
        ("json", BROWSER, False),
        ("html", None, True),
        ("html", "application/json", True),
    ],
)
def test_the_parameter_f_and_then_the_header_accept_decide_the_format(
    kit: Kit, path: str, f: str | None, accept: str | None, is_html: bool
) -> None:
    headers = {} if accept is None else {"Accept": accept}
    answer = kit.get(path if f is None else f"{path}?f={f}", headers=headers)
    assert answer.status == 200
    media_type = answer.headers["content-type"]
    if is_html:
        assert media_type == "text/html; charset=utf-8"
        assert answer.text.startswith("<!doctype html>")
    else:
        assert "json" in media_type
        assert answer.json()


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("f", ["xml", "JSON", ""])
def test_another_format_is_not_acceptable(kit: Kit, path: str, f: str) -> None:
    answer = kit.get(f"{path}?f={f}", headers={"Accept": BROWSER})
    assert in_words(answer) == "406 about:blank"


@pytest.mark.parametrize("path", PATHS)
def test_a_media_type_that_cannot_be_sent_is_refused_in_plain_json(kit: Kit, path: str) -> None:
    answer = kit.get(path, headers={"Accept": "image/png"})
    assert in_words(answer) == "406 about:blank"
    assert answer.headers["content-type"] == "application/json"


def test_a_page_escapes_what_it_shows() -> None:
    body = page("a<b", [('http://example.org/?a=1&b="', "<i>")]).body.decode()
    assert "<title>a&lt;b</title>" in body
    assert '<a href="http://example.org/?a=1&amp;b=&quot;">&lt;i&gt;</a>' in body
