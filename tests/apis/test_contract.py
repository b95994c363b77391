"""What every API module is made of."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.apis.contract import (
    CHANGING,
    Api,
    Call,
    Kind,
    Problem,
    Reply,
    Role,
    has_expired,
    iso,
    job_id_in,
    status_of,
)
from simulator.assemble import API_MODULES, load_apis
from simulator.engine.errors import LimitReached, UnknownJob
from simulator.engine.job import State
from simulator.engine.rules import Rules
from simulator.engine.world import START_MS
from tests.kit import Kit


def test_an_operation_is_registered_under_the_name_of_its_function() -> None:
    api = Api(
        name="tiny",
        title="Tiny",
        document="tiny.yaml",
        rules=Rules(identify=lambda seed, number: str(number)),
        words={state: state.value for state in State},
        error=lambda refusal, call: Reply(status_of(refusal)),
    )

    @api.operation(Role.STATUS)
    def GetThing(call: Call) -> Reply:
        return Reply(200)

    assert api.operations["GetThing"].handler is GetThing
    assert api.operations["GetThing"].role is Role.STATUS


@pytest.mark.parametrize(
    ("at_ms", "text"),
    [
        (START_MS, "2030-01-01T00:00:00.000Z"),
        (START_MS + 3_661_007, "2030-01-01T01:01:01.007Z"),
        (0, "1970-01-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_utc_with_milliseconds(at_ms: int, text: str) -> None:
    assert iso(at_ms) == text


def test_refusals_have_the_usual_status() -> None:
    assert status_of(UnknownJob("titan", "x")) == 404
    assert status_of(LimitReached("jobs", 1, "--max-jobs")) == 503
    for kind in Kind:
        assert status_of(Problem(kind, "no")) == kind.status


@pytest.mark.parametrize("name", API_MODULES)
@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.word)
def test_every_envelope_words_every_kind_of_refusal(name: str, kind: Kind) -> None:
    api = load_apis((name,))[name]
    reply = api.error(Problem(kind, "the reason is this"), Kit(apis=(name,)).call(name))
    assert 400 <= reply.status <= 599
    assert reply.body


@pytest.mark.parametrize("name", API_MODULES)
def test_each_api_can_submit_and_read_jobs(name: str) -> None:
    roles = {operation.role for operation in load_apis((name,))[name].operations.values()}
    assert {Role.SUBMIT, Role.STATUS, Role.CANCEL} - roles <= {Role.CANCEL}
    assert roles & CHANGING


def test_a_token_lives_from_its_first_use_and_is_remembered_as_a_digest_only() -> None:
    kit = Kit(apis=("ica",))
    assert not has_expired(kit.world, "ica", "secret", 1_000)
    kit.advance("999ms")
    assert not has_expired(kit.world, "ica", "secret", 1_000)
    assert not has_expired(kit.world, "ica", "another", 1_000)
    kit.advance("1ms")
    assert has_expired(kit.world, "ica", "secret", 1_000)
    assert not has_expired(kit.world, "ica", "another", 1_000)
    assert "secret" not in repr(list(kit.front.worlds.default.journal))


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        (None, "text/plain"),
        ("*/*", "text/plain"),
        ("application/json", "application/json"),
        ("text/plain;q=0.5, application/json", "application/json"),
        ("image/png", None),
    ],
)
def test_a_call_knows_what_its_client_prefers(accept: str | None, preferred: str | None) -> None:
    call = replace(Kit(apis=("ica",)).call("ica"), headers={} if accept is None else {"accept": accept})
    assert call.preferred(("text/plain", "application/json")) == preferred


def test_a_problem_can_have_another_status_than_its_kind() -> None:
    assert status_of(Problem(Kind.BAD_BODY, "no")) == 400
    assert status_of(Problem(Kind.BAD_BODY, "no", status=422)) == 422


def test_a_path_names_a_job_under_one_of_the_usual_names() -> None:
    assert job_id_in({"runId": "7", "other": "8"}) == "7"
    assert job_id_in({"id": "a"}) == "a"
    assert job_id_in({"processId": "a"}) is None
    assert job_id_in({"id": 7}) is None


@pytest.mark.parametrize(
    ("name", "params", "job_id"),
    [
        ("synapse", {"jobId": "007"}, "7"),
        ("jbpm", {"jobId": 7}, "7"),
        ("jbpm", {"id": "a-container"}, None),
        ("ogc", {"jobId": "a"}, "a"),
        ("ogc", {"processId": "echo"}, None),
        ("ica", {"runId": "trn.1"}, "trn.1"),
        ("titan", {"id": "a"}, "a"),
        ("synapse", {}, None),
    ],
)
def test_each_api_finds_the_job_in_its_paths(
    name: str, params: dict[str, object], job_id: str | None
) -> None:
    assert load_apis((name,))[name].job_id(params) == job_id
