"""Titan's images: what jobs were ever made of, by when it was first used."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engine.world import Limits, World
from tests.apis.test_titan import JOBS, call, enqueue, in_words, job_in, serve
from tests.kit import Kit

IMAGES = "/titan/v1/images"
IMAGE = "/titan/v1/image"


def images(kit: Kit) -> list[dict[str, Any]]:
    """All images there are."""
    answer = kit.get(IMAGES)
    assert answer.status == 200, answer.text
    assert answer.json().keys() == {"images"}
    return list(answer.json()["images"])


def names(kit: Kit) -> list[str]:
    """Their names, in the order of the list."""
    return [image["image"] for image in images(kit)]


def test_a_world_without_jobs_has_no_images() -> None:
    assert images(serve()) == []


def test_each_image_is_listed_once_with_the_time_of_its_first_job() -> None:
    kit = serve()
    enqueue(kit, image="acme/resize:3")
    kit.advance("1500ms")
    batch = [{"image": name} for name in ("acme/report:1", "acme/resize:3", "acme/report:1", "plain")]
    assert kit.post(JOBS, json={"jobs": batch}).status == 201
    assert images(kit) == [
        {"image": "acme/resize:3", "name": "acme/resize:3", "created_at": "2030-01-01T00:00:00.000Z"},
        {"image": "acme/report:1", "name": "acme/report:1", "created_at": "2030-01-01T00:00:01.500Z"},
        {"image": "plain", "name": "plain", "created_at": "2030-01-01T00:00:01.500Z"},
    ]


def test_an_image_outlives_its_jobs() -> None:
    kit = serve()
    call(kit, "delete", job_in(kit, "succeeded"))
    assert kit.get(JOBS).json() == {"jobs": []}
    assert names(kit) == ["acme/resize:3"]


def test_a_retry_brings_no_new_image() -> None:
    kit = serve()
    call(kit, "retry", job_in(kit, "failed"))
    assert names(kit) == ["acme/resize:3"]


def test_jobs_that_were_refused_leave_no_image() -> None:
    kit = Kit(apis=("titan",), limits=Limits(jobs=2))
    assert kit.post(JOBS, json={"jobs": [{"image": "a"}, {"image": ""}]}).status == 400
    assert kit.post(JOBS, json={"jobs": [{"image": "a"}] * 3}).status == 503
    assert names(kit) == []


def test_when_too_much_is_kept_already_jobs_are_taken_all_the_same() -> None:
    kit = Kit(apis=("titan",), limits=Limits(kept=2))
    for name in ("a", "b", "c", "a"):
        enqueue(kit, image=name)
    assert names(kit) == ["a", "b"]
    assert len(kit.get(JOBS).json()["jobs"]) == 4
    assert in_words(kit.get(f"{IMAGE}/c")) == "404 error"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("plain", "plain"),
        ("acme/resize:3", "acme%2Fresize:3"),
        ("acme/resize:3", "acme%2fresize%3A3"),
        ("acme/resize:3", "acme/resize:3"),
        ("registry.example:5000/a/b@sha256:0f", "registry.example:5000%2Fa%2Fb%40sha256%3A0f"),
        ("registry.example:5000/a/b@sha256:0f", "registry.example:5000/a/b@sha256:0f"),
        ("größe 1/ü", "gr%C3%B6%C3%9Fe%201%2F%C3%BC"),
        ("50%2F", "50%252F"),
    ],
)
def test_an_image_is_found_by_its_name_however_its_slashes_are_written(name: str, path: str) -> None:
    kit = serve()
    enqueue(kit, image="other")
    job = enqueue(kit, image=name)
    assert job["image_id"] == name
    answer = kit.get(f"{IMAGE}/{path}")
    assert answer.status == 200, answer.text
    assert answer.json() == {"image": {"image": name, "name": name, "created_at": "2030-01-01T00:00:00.000Z"}}


@pytest.mark.parametrize("path", ["acme", "acme%2Fresize", "resize:3", "acme%2Fresize:4", "ACME%2Fresize:3"])
def test_what_is_not_the_whole_name_of_an_image_is_not_found(path: str) -> None:
    kit = serve()
    enqueue(kit, image="acme/resize:3")
    answer = kit.get(f"{IMAGE}/{path}")
    assert in_words(answer) == "404 error"
    assert "fields" not in answer.json()["error"]


def test_the_same_commands_make_the_same_images() -> None:
    kit = serve()
    enqueue(kit, image="b")
    kit.advance("1s")
    enqueue(kit, image="a")
    world = kit.world
    again = World.replay(
        kit.front.worlds.default.journal,
        seed=world.seed,
        rules={"titan": kit.front.services["titan"].api.rules},
        playbook=world.initial_playbook,
    )
    assert again.kept_keys("titan") == world.kept_keys("titan") == ["image/b", "image/a"]
    assert again.kept("titan", "image/a") == world.kept("titan", "image/a")
