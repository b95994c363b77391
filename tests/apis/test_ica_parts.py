"""What runs, tasks and lists of ICA share: the owner, and what is shown of an execution."""

from __future__ import annotations

import re

from simulator.apis.ica_parts import owner_of, shown_execution, to_base64, to_json


def test_a_world_has_one_owner_and_another_world_another() -> None:
    owner = owner_of(1)
    assert owner == owner_of(1)
    other = owner_of(2)
    assert owner.tenant != other.tenant
    assert owner.workgroup != other.workgroup
    assert owner.user != other.user
    assert re.fullmatch(r"[A-Za-z0-9_-]{82}", owner.tenant)
    assert owner.acl == (f"tid:{owner.tenant}", owner.workgroup)


def test_a_thing_without_a_name_has_a_shorter_urn() -> None:
    owner = owner_of(1)
    assert owner.urn("task", "tdn.1", "count") == f"urn:ilmn:iap:aps2:{owner.tenant}:task:tdn.1#count"
    assert owner.urn("task", "tdn.1", "") == owner.urn("task", "tdn.1", None)
    assert owner.urn("task", "tdn.1", None).endswith(":task:tdn.1")


def test_an_execution_that_was_not_asked_for_has_its_defaults() -> None:
    assert shown_execution({}) == {"retryLimit": 3, "retryCount": 0}
    assert shown_execution({"execution": {"retryLimit": 0, "retryCount": 7}}, retries=2) == {
        "retryLimit": 0,
        "retryCount": 2,
    }


def test_a_request_is_not_changed_by_showing_it_and_defaults_are_not_shared() -> None:
    request = {"execution": {"inputs": [{"path": "/a"}], "environment": {"resources": {"size": "small"}}}}
    first = shown_execution(request)
    first["inputs"][0]["type"] = "Folder"
    first["environment"]["resources"]["cpuCores"] = 9
    assert request == {
        "execution": {"inputs": [{"path": "/a"}], "environment": {"resources": {"size": "small"}}}
    }
    assert shown_execution(request) == {
        "inputs": [{"path": "/a", "type": "File"}],
        "environment": {"resources": {"size": "small", "cpuCores": 0, "memoryGb": 0}},
        "retryLimit": 3,
        "retryCount": 0,
    }


def test_objects_of_which_nothing_is_known_are_left_out() -> None:
    shown = shown_execution(
        {
            "execution": {
                "image": {"name": "tool", "credentials": {"password": "s3cr3t"}},
                "environment": {"variables": {}},
                "systemFiles": {"more": 1},
                "args": [],
                "more": 1,
            }
        }
    )
    assert shown == {"image": {"name": "tool"}, "args": [], "retryLimit": 3, "retryCount": 0}


def test_encodings_are_compact_and_fit_into_a_url() -> None:
    assert to_json({"a": [1, "ä"]}) == b'{"a":[1,"\\u00e4"]}'
    assert to_base64(b"\xff\xfe\xfd\xfc") == "__79_A"
