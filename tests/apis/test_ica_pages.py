"""Tokens of ICA's lists: what they carry, and for which list they are good."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.apis.contract import Call, Problem
from simulator.apis.ica_pages import Wanted, page, wanted_page
from tests.kit import Kit

FILTERS = ("names", "acls")


@pytest.fixture(scope="module")
def kit() -> Kit:
    """A server whose calls are only made, not sent."""
    return Kit(apis=("ica",))


def call(kit: Kit, **params: Any) -> Call:
    """A call with these parameters."""
    made = kit.call("ica")
    made.params = {"pageSize": 10, **params}
    return made


def test_a_page_is_what_the_parameters_say(kit: Kit) -> None:
    wanted = wanted_page(call(kit, pageSize=3, sort="name desc", names="a,b"), "things", FILTERS)
    assert wanted == Wanted("things", 3, 0, "name desc", {"names": "a,b", "acls": ""})
    assert wanted.order == ("name", True)
    assert wanted.any_of("names") == ["a", "b"]
    assert wanted.any_of("acls") == []


@pytest.mark.parametrize(
    ("sort", "order"), [("", ("", False)), ("name", ("name", False)), ("name asc", ("name", False))]
)
def test_an_order_ascends_unless_it_is_said_to_descend(kit: Kit, sort: str, order: tuple[str, bool]) -> None:
    assert wanted_page(call(kit, sort=sort), "things", FILTERS).order == order


def test_a_token_brings_its_page_back(kit: Kit) -> None:
    asked = call(kit, pageSize=2, sort="name", names="a")
    wanted = wanted_page(asked, "things", FILTERS)
    found = page(wanted, [{"id": 1}, {"id": 2}], 5, asked)
    assert (found["itemCount"], found["totalItemCount"], found["totalPageCount"]) == (2, 5, 3)
    again = wanted_page(call(kit, pageToken=found["nextPageToken"], names="b"), "things", FILTERS)
    assert again == Wanted("things", 2, 2, "name", {"names": "a", "acls": ""})
    last = wanted_page(call(kit, pageToken=found["lastPageToken"]), "things", FILTERS)
    assert last.offset == 4
    assert "prevPageToken" not in found
    assert "nextPageToken" not in page(last, [{"id": 5}], 5, asked)


def test_a_token_is_refused_by_any_other_list(kit: Kit) -> None:
    asked = call(kit)
    token = page(wanted_page(asked, "things", FILTERS), [], 0, asked)["firstPageToken"]
    assert wanted_page(call(kit, pageToken=token), "things", FILTERS).of == "things"
    with pytest.raises(Problem, match="not a token of this list"):
        wanted_page(call(kit, pageToken=token), "other things", FILTERS)


@pytest.mark.parametrize(
    ("offset", "total", "previous", "following"),
    [
        (0, 0, None, None),
        (0, 2, None, None),
        (0, 3, None, 2),
        (2, 3, 0, None),
        (2, 5, 0, 4),
        # Behind the last page, since things went away or the token is from elsewhere: the way back is the last page.
        (8, 5, 4, None),
        (4, 0, 0, None),
    ],
)
def test_neighbours_are_left_out_where_there_are_none(
    kit: Kit, offset: int, total: int, previous: int | None, following: int | None
) -> None:
    asked = call(kit)
    found = page(Wanted("things", 2, offset, "", {}), [], total, asked)

    def place(name: str) -> int | None:
        token = found.get(name)
        return None if token is None else wanted_page(call(kit, pageToken=token), "things", ()).offset

    assert (place("prevPageToken"), place("nextPageToken")) == (previous, following)
    assert place("firstPageToken") == 0
