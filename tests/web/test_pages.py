"""What is found beside the APIs: the index, each document and each Swagger UI."""

from __future__ import annotations

import re
from functools import cache
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
import schemathesis
import yaml
from openapi_spec_validator import validate

from simulator import __version__
from simulator.assemble import API_MODULES
from tests.kit import Kit
from tests.web.made_up import DOCUMENT, Bakery

EVERY_API = pytest.mark.parametrize("name", API_MODULES)
KEY = {"Authorization": "Bearer a-token"}


@cache
def served() -> Kit:
    """All five; nothing here changes anything."""
    return Kit()


def path_of(url: str) -> str:
    return urlsplit(url).path


class Links(HTMLParser):
    """The targets of a page's links, styles and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value for name, value in attrs if name in ("href", "src") and value]


# ---- the index --------------------------------------------------------------------------------------------------


def test_the_index_lists_what_is_served_and_every_link_leads_there() -> None:
    kit = served()
    index = kit.get("/").json()
    assert (index["name"], index["version"]) == ("understudy", __version__)
    assert [api["name"] for api in index["apis"]] == list(API_MODULES)
    assert kit.get(path_of(index["health"])).status == 200
    assert kit.get(path_of(index["control"])).headers["content-type"] == "text/html; charset=utf-8"
    for api in index["apis"]:
        assert api["title"]
        assert (
            api["base_url"]
            == f"http://127.0.0.1:4010/{api['name']}{kit.front.services[api['name']].base_path}"
        )
        assert kit.get(path_of(api["document"])).headers["content-type"] == "application/json"
        assert kit.get(path_of(api["ui"])).headers["content-type"] == "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (None, "application/json"),
        ("*/*", "application/json"),
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("image/png", "application/json"),
    ],
)
def test_programs_get_json_and_browsers_a_page(accept: str | None, content_type: str) -> None:
    answer = served().get("/", headers={} if accept is None else {"Accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, content_type)


def test_the_page_has_all_links_and_shows_titles_as_text() -> None:
    kit = Bakery(names=("bakery", "mill"))
    page = kit.get("/", headers={"Accept": "text/html"}).text
    assert "The &lt;Bakery&gt;" in page
    assert "<Bakery>" not in page
    targets = Links(page).targets
    assert [path_of(target) for target in targets] == [
        "/bakery/ui/",
        "/bakery/openapi.json",
        "/mill/ui/",
        "/mill/openapi.json",
    ]
    assert [kit.get(path_of(target)).status for target in targets] == [200] * 4


def test_links_carry_the_host_of_the_client_and_never_its_markup() -> None:
    kit = served()
    assert kit.get("/", headers={"Host": "sim:80"}).json()["health"] == "http://sim:80/__admin/health"
    page = kit.get("/", headers={"Host": '"><script>alert(1)</script>', "Accept": "text/html"}).text
    assert "<script>" not in page
    assert "http://127.0.0.1:4010/ogc" in page


# ---- the documents ----------------------------------------------------------------------------------------------


@EVERY_API
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with the others"])
def test_a_served_document_is_valid_and_leads_to_the_api(name: str, alone: bool) -> None:
    kit = Kit(apis=(name,)) if alone else served()
    document = kit.get(f"/{name}/openapi.json").json()
    validate(document)
    [server] = document["servers"]
    base = server["url"].rstrip("/")
    assert base == f"/{name}{kit.front.services[name].base_path}"
    reached = {
        template: kit.get(base + template, headers=KEY).status
        for template, item in document["paths"].items()
        if "get" in item and "{" not in template
    }
    assert set(reached.values()) <= {200}
    # Anything else below it is answered by this API, too.
    assert kit.get(f"{base}/nothing").headers["content-type"] != "application/problem+json"


@EVERY_API
def test_a_served_document_is_the_written_one_but_for_its_servers(name: str) -> None:
    kit = served()
    document = kit.get(f"/{name}/openapi.json").json()
    written: dict[str, Any] = kit.front.services[name].document
    assert document | {"servers": None} == written | {"servers": None}
    assert written["servers"][0]["url"].rstrip("/") == kit.front.services[name].base_path


@EVERY_API
def test_a_fuzzer_can_be_pointed_at_a_served_document(name: str) -> None:
    kit = served()
    schema = schemathesis.openapi.from_dict(kit.get(f"/{name}/openapi.json").json())
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {operation.definition.raw["operationId"] for operation in operations} == set(
        kit.front.services[name].api.operations
    )
    for operation in operations:
        path = operation.base_url and urlsplit(operation.base_url).path.rstrip("/") + operation.path
        assert str(path).startswith(f"/{name}/")


def test_a_recursive_schema_is_served() -> None:
    document = yaml.safe_load(DOCUMENT)
    tree = {
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}},
    }
    document["components"]["schemas"]["Tree"] = tree
    document["components"]["schemas"]["Order"]["properties"]["tree"] = {"$ref": "#/components/schemas/Tree"}
    kit = Bakery(document=document)
    assert kit.get("/bakery/openapi.json").json()["components"]["schemas"]["Tree"] == tree
    assert kit.post("/bakery/shop/orders", json={"tree": {"kids": [{"kids": []}]}}).status == 200
    assert kit.post("/bakery/shop/orders", json={"tree": {"kids": [{"kids": 1}]}}).status == 400


# ---- Swagger UI -------------------------------------------------------------------------------------------------


@EVERY_API
def test_swagger_ui_finds_its_scripts_and_its_document(name: str) -> None:
    kit = served()
    answer = kit.get(f"/{name}/ui/")
    assert answer.status == 200
    assert kit.front.services[name].api.title in answer.text
    targets = Links(answer.text).targets
    assert any(target.endswith(".js") for target in targets)
    assert any(target.endswith(".css") for target in targets)
    [document] = re.findall(r'url: "([^"]*)"', answer.text)
    for target in (*targets, document):
        path = urljoin(f"/{name}/ui/", target)
        assert path.startswith(f"/{name}/"), "nothing is loaded from elsewhere"
        assert kit.get(path).status == 200
        assert len(kit.get(path).content) > 1000
    assert urljoin(f"/{name}/ui/", document) == f"/{name}/openapi.json"


@pytest.mark.parametrize(
    ("asset", "content_type"),
    [
        ("swagger-ui.css", "text/css"),
        ("swagger-ui-bundle.js", "text/javascript"),
        ("favicon-32x32.png", "image/png"),
    ],
)
def test_assets_have_their_media_types_and_may_be_kept(asset: str, content_type: str) -> None:
    answer = Bakery().get(f"/bakery/ui/{asset}")
    assert answer.status == 200
    assert answer.headers["content-type"] in (content_type, "application/javascript")
    assert answer.headers["cache-control"] == "max-age=86400"


@pytest.mark.parametrize(
    "asset",
    [
        "nothing.js",
        "../openapi.json",
        "..%2F..%2Fetc%2Fpasswd",
        "%2e%2e/x",
        "index.html",
        "%00",
        "a/b",
        "swagger-ui.css/",
    ],
)
def test_nothing_else_of_the_disk_is_served(asset: str) -> None:
    answer = Bakery().get(f"/bakery/ui/{asset}")
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("path", ["/bakery", "/bakery/ui"])
def test_the_way_to_swagger_ui_is_shown(path: str) -> None:
    answer = Bakery().get(path)
    assert (answer.status, answer.headers["location"]) == (307, "/bakery/ui/")


def test_titles_are_text_in_the_page() -> None:
    page = Bakery().get("/bakery/ui/").text
    assert "<title>The &lt;Bakery&gt; – understudy</title>" in page


def test_the_document_of_the_control_api_is_served_and_valid() -> None:
    document = served().get("/__admin/openapi.json").json()
    validate(document)
    assert document["servers"] == [{"url": "/__admin"}]
