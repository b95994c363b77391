"""What call rules, faults and the client's wishes do to a call, without sockets; `test_faults_wire` has those."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from simulator.apis.contract import Role
from simulator.assemble import load_apis, load_document
from simulator.engine.world import Limits, World
from simulator.scenario.calls import FAULTS, ROLES, Moment
from simulator.web.faults import STRIKES, Broken
from tests.kit import Answer, Kit

TOKEN = {"Authorization": "Bearer token"}
JOBS = "jobs: [{script: [{queued: 1s}, {running: 100s, progress: 0..100}, succeeded]}]\n"
ENDLESS = "jobs: [{script: [running: forever]}]\n"


@dataclass(frozen=True)
class Service:
    """How a client talks to one of the APIs."""

    submit: tuple[str, Any]
    status: str
    id_of: tuple[str | int, ...]
    state_of: tuple[str | int, ...]

    @property
    def name(self) -> str:
        return self.submit[0].split("/")[1]

    def make(self, kit: Kit, **headers: str) -> Answer:
        path, body = self.submit
        return kit.post(path, json=body, headers=TOKEN | headers)

    def job(self, kit: Kit) -> str:
        answer = self.make(kit)
        assert answer.status == 201, answer.text
        return self.status.format(at(answer.json(), self.id_of))

    def state(self, answer: Answer) -> str:
        return str(at(answer.json(), self.state_of))


def at(value: Any, way: tuple[str | int, ...]) -> Any:
    for step in way:
        value = value[step]
    return value


DOWNLOAD = {
    "concreteType": "org.sagebionetworks.repo.model.table.DownloadFromTableRequest",
    "entityId": "syn1",
    "sql": "SELECT * FROM syn1",
}
SERVICES = {
    "synapse": Service(
        ("/synapse/repo/v1/asynchronous/job", DOWNLOAD),
        "/synapse/repo/v1/asynchronous/job/{}",
        ("jobId",),
        ("jobState",),
    ),
    "jbpm": Service(
        ("/jbpm/kie-server/services/rest/server/jobs", {"job-command": "a.B", "request-data": {}}),
        "/jbpm/kie-server/services/rest/server/jobs/{}",
        (),
        ("request-status",),
    ),
    "ogc": Service(
        ("/ogc/processes/echo-async/execution", {"inputs": {"message": "x"}}),
        "/ogc/jobs/{}",
        ("jobID",),
        ("status",),
    ),
    "ica": Service(("/ica/v1/tasks/runs", {}), "/ica/v1/tasks/runs/{}", ("id",), ("status",)),
    "titan": Service(
        ("/titan/v1/jobs", {"jobs": [{"image": "a"}]}),
        "/titan/v1/job/{}",
        ("jobs", 0, "id"),
        ("job", "status"),
    ),
}
OF_THE_CONNECTION = {"connection_reset", "empty_response", "hang", "response_lost", "truncated_body"}
each_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)


def only(*names: str) -> Callable[..., Kit]:
    """A server of these APIs alone, which starts sooner."""
    return partial(Kit, apis=names)


def get(kit: Kit, path: str, **headers: str) -> Answer:
    return kit.get(path, headers=TOKEN | {"Accept": "application/json"} | headers)


def statuses(kit: Kit, path: str, count: int) -> list[int]:
    return [get(kit, path).status for _ in range(count)]


def journal_of(kit: Kit) -> list[str]:
    return [type(entry.command).__name__ for entry in kit.front.worlds.default.journal]


def replayed(kit: Kit) -> World:
    """The world that the journal of this one makes."""
    stage = kit.front.worlds.default
    rules = {name: service.api.rules for name, service in kit.front.services.items()}
    return World.replay(stage.journal, seed=stage.world.seed, rules=rules, playbook=stage.scenario)


# ---- answers --------------------------------------------------------------------------------------------------------


@each_service
def test_the_second_status_call_of_each_job_is_answered_by_the_rule(service: Service) -> None:
    kit = only(service.name)(
        JOBS + 'calls: [{when: {role: status, call: 2}, answer: {status: 503, headers: {Retry-After: "2"}}}]'
    )
    first, second = service.job(kit), service.job(kit)
    assert statuses(kit, first, 3) == [200, 503, 200]
    assert statuses(kit, second, 1) == [200]
    answer = get(kit, second)
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert answer.headers["x-understudy-cause"] == "inline:2 answer 503"
    assert kit.ledger.total == 0
    assert kit.world.now_ms == kit.world.start_ms


@pytest.mark.parametrize("name", SERVICES)
def test_each_declared_refusal_can_be_had_in_the_envelope_of_the_api(name: str) -> None:
    """Strict, so that an answer which breaks the document would be a 500."""
    api = load_apis()[name]
    for path, item in load_document(api)["paths"].items():
        for method, operation in item.items():
            if not isinstance(operation, dict) or "operationId" not in operation:
                continue
            kit = only(name)(JOBS, apis=(name,))
            there = f"/{name}{kit.front.services[name].base_path}{path}"
            for parameter in ("jobId", "id", "runId", "processId", "key", "cmd", "pInstanceId"):
                there = there.replace(f"{{{parameter}}}", "4")
            for status in operation["responses"]:
                if status.isdecimal() and int(status) >= 400:
                    answer = kit.request(method.upper(), there, headers={"Prefer": f"code={status}"})
                    assert answer.status == int(status), (operation["operationId"], status, answer.text)
                    assert answer.headers["x-understudy-cause"] == f"Prefer code={status}"
                    # Such a bare call may break the document itself; the answer does not.
                    assert answer.headers.get("x-understudy-violation", "client: ").startswith("client: ")
            assert kit.ledger.lines("server") == []


def test_an_answer_says_exactly_what_is_written() -> None:
    kit = only("ogc", "titan")(
        JOBS
        + """
calls:
  - when: {api: titan, role: list, call: 1}
    answer: {status: 429, headers: {content-type: application/json; charset=utf-8, X-Why: tired}, body: {error: {message: No}}}
  - when: {api: titan, role: list, call: 2}
    answer: {status: 500, body: "Out of cheese"}
    violates: [content_type]
  - when: {api: titan, role: list, call: 3}
    answer: {status: 200, body: {jobs: 7}}
    violates: [schema]
  - when: {api: ogc, operation: "get_jobs*"}
    answer: {status: 418}
    violates: [status]
"""
    )
    first, second, third = (kit.get("/titan/v1/jobs") for _ in range(3))
    assert (first.status, first.json(), first.headers["x-why"]) == (
        429,
        {"error": {"message": "No"}},
        "tired",
    )
    assert first.headers["content-type"] == "application/json; charset=utf-8"
    assert (second.status, second.text, second.headers["content-type"]) == (
        500,
        "Out of cheese",
        "text/plain",
    )
    assert (third.status, third.json()) == (200, {"jobs": 7})
    assert kit.get("/ogc/jobs").status == 418
    assert kit.ledger.lines() == []
    assert [line.by for line in kit.ledger.lines(with_declared=True)] == ["server"] * 3


def test_an_undeclared_break_of_the_document_is_ours() -> None:
    calls = "calls: [{when: {role: list}, answer: {status: 200, body: {jobs: 7}}}]"
    kit = only("titan")(JOBS + calls, strict=False)
    assert "not of type" in kit.get("/titan/v1/jobs").headers["x-understudy-violation"]
    assert [line.operation for line in kit.ledger.lines("server")] == ["jobs_get"]
    assert only("titan")(JOBS + calls, strict=True).get("/titan/v1/jobs").status == 500


def test_a_rule_comes_before_credentials_and_checks_but_the_request_is_checked_for_the_ledger() -> None:
    kit = only("ica")(JOBS + "calls: [{when: {api: ica, role: submit}, answer: {status: 503}}]")
    assert kit.post("/ica/v1/tasks/runs", json={"name": 5}).status == 503
    assert [line.by for line in kit.ledger.lines()] == ["client"]
    assert kit.world.count("ica") == 0
    assert (
        kit.post("/ica/v1/tasks/runs", data="{", headers={"Content-Type": "application/json"}).status == 503
    )


def test_a_wrong_method_is_refused_before_any_rule() -> None:
    kit = only("ica", "titan")(JOBS + "calls: [{answer: {status: 503}}]")
    assert kit.put("/titan/v1/jobs").status == 405
    assert kit.get("/titan/v1/nothing").status == 404
    assert kit.get("/ica/v1/tasks/runs/x:abort").status == 405


@pytest.mark.parametrize("status", [499, 520, 599])
def test_a_status_that_nobody_knows_is_worded_all_the_same(status: int) -> None:
    calls = f"calls: [{{answer: {{status: {status}}}, violates: [status, schema]}}]"
    kit = Kit(JOBS + calls)
    for service in SERVICES.values():
        answer = service.make(kit)
        assert (answer.status, len(answer.content) > 0) == (status, True)


# ---- counting -------------------------------------------------------------------------------------------------------


def test_every_rule_counts_the_calls_that_meet_its_other_conditions() -> None:
    kit = only("titan")(
        JOBS
        + """
calls:
  - {when: {role: status, call: 1}, answer: {status: 500}}
  - {when: {role: status, call: 2..3}, answer: {status: 503}}
  - {when: {role: status, every: 5}, answer: {status: 429}}
"""
    )
    assert statuses(kit, SERVICES["titan"].job(kit), 10) == [500, 503, 503, 200, 429, 200, 200, 200, 200, 429]


def test_the_first_rule_that_fires_takes_the_call() -> None:
    kit = only("titan")(
        JOBS
        + """
calls:
  - {when: {role: status, call: 1..2}, answer: {status: 500}}
  - {when: {role: status, call: 1..3}, answer: {status: 503}}
"""
    )
    assert statuses(kit, SERVICES["titan"].job(kit), 4) == [500, 500, 503, 200]


def test_calls_that_name_no_job_are_counted_together_and_apis_apart() -> None:
    kit = only("ogc", "titan")(JOBS + "calls: [{when: {role: submit, call: 2}, answer: {status: 503}}]")
    made = [SERVICES[name].make(kit).status for name in ("titan", "titan", "ogc", "ogc", "titan")]
    assert made == [201, 503, 201, 503, 201]


def test_ids_that_nobody_has_share_one_count() -> None:
    kit = only("titan")(ENDLESS + "calls: [{when: {role: status, call: 3}, answer: {status: 503}}]")
    assert [kit.get(f"/titan/v1/job/{name}").status for name in "abcd"] == [404, 404, 503, 404]


def test_after_is_measured_from_the_jobs_creation_or_the_worlds_start() -> None:
    kit = only("titan")(JOBS + "calls: [{when: {role: [status, list], after: 10s}, answer: {status: 503}}]")
    kit.advance("8s")
    path = SERVICES["titan"].job(kit)
    assert (get(kit, path).status, get(kit, "/titan/v1/jobs").status) == (200, 200)
    kit.advance("2s")
    assert (get(kit, path).status, get(kit, "/titan/v1/jobs").status) == (200, 503)
    kit.advance("8s")
    assert get(kit, path).status == 503


@pytest.mark.parametrize(
    ("when", "fires"),
    [
        ("state: running", True),
        ("state: [queued, failed]", False),
        ("number: 1", True),
        ("number: 2..9", False),
        ("header.x-client: curl*", True),
        ("header.X-Client: wget*", False),
        ("header.x-other: '*'", False),
        ("query.page: '[0-9]'", True),
        ("query.page: x", False),
        ("operation: job_id_*", True),
        ("operation: jobs_get", False),
        ("api: titan, role: status", True),
        ("api: [ogc, ica]", False),
        ("role: [list, status]", True),
        ("role: status", True),
    ],
)
def test_a_condition_decides(when: str, fires: bool) -> None:
    kit = Kit(JOBS + f"calls: [{{when: {{{when}}}, answer: {{status: 503}}}}]", apis=("titan",))
    path = SERVICES["titan"].job(kit)
    kit.advance("2s")
    answer = get(kit, f"{path}?page=3", **{"X-Client": "curl/8"})
    assert answer.status == (503 if fires else 200), answer.text


def test_a_condition_on_the_body_sees_it_decoded_and_the_service_still_gets_it() -> None:
    kit = only("titan")(JOBS + "calls: [{when: {request.jobs.0.image: 'b*'}, answer: {status: 503}}]")
    assert kit.post("/titan/v1/jobs", json={"jobs": [{"image": "bash"}]}).status == 503
    answer = kit.post("/titan/v1/jobs", json={"jobs": [{"image": "cash"}]})
    assert answer.json()["jobs"][0]["image"] == "cash"
    assert kit.post("/titan/v1/jobs", data="{", headers={"Content-Type": "application/json"}).status == 400


def test_a_condition_on_the_body_sees_xml_as_well() -> None:
    kit = Kit(JOBS + "calls: [{when: {request.job-command: 'a.*'}, answer: {status: 503}}]", apis=("jbpm",))
    path = SERVICES["jbpm"].submit[0]
    body = "<job-request-instance><job-command>{}</job-command></job-request-instance>"
    xml = {"Content-Type": "application/xml"}
    assert kit.post(path, data=body.format("a.B"), headers=xml).status == 503
    assert kit.post(path, data=body.format("c.B"), headers=xml).status == 201


def test_a_scenario_that_counts_nothing_writes_nothing() -> None:
    kit = only("ogc")(JOBS + "calls: [{when: {role: status, state: failed}, answer: {status: 503}}]")
    path = SERVICES["ogc"].job(kit)
    statuses(kit, path, 3)
    assert journal_of(kit) == ["Submit"]


def test_counts_are_part_of_the_journal_and_a_replay_counts_on() -> None:
    calls = "calls: [{when: {role: status, every: 2}, answer: {status: 503}}]"
    kit = only("ogc")(JOBS + calls)
    path = SERVICES["ogc"].job(kit)
    statuses(kit, path, 3)
    again = replayed(kit)
    assert again.snapshot() == kit.world.snapshot()
    kit.front.worlds.default.world = again
    assert get(kit, path).status == 503


def test_a_rate_limit_counts_in_virtual_time_and_says_when_to_come_back() -> None:
    kit = only("titan")(JOBS + "calls: [{when: {role: status}, rate_limit: {calls: 2, per: 10s}}]")
    first, second = SERVICES["titan"].job(kit), SERVICES["titan"].job(kit)
    assert [get(kit, path).status for path in (first, second, first)] == [200, 200, 429]
    kit.advance("7500ms")
    answer = get(kit, second)
    assert (answer.status, answer.headers["retry-after"]) == (429, "3")
    assert answer.headers["x-understudy-cause"] == "inline:2 rate_limit"
    kit.advance("2500ms")
    assert statuses(kit, first, 3) == [200, 200, 429]


def test_a_full_world_refuses_to_count_in_the_envelope_of_the_api() -> None:
    # One place is taken by the image of the jobs.
    kit = only("titan")(
        ENDLESS + "calls: [{when: {role: status, call: 9}, answer: {status: 503}}]", limits=Limits(kept=2)
    )
    first, second = SERVICES["titan"].job(kit), SERVICES["titan"].job(kit)
    assert get(kit, first).status == 200
    answer = get(kit, second)
    assert answer.status == 503
    assert "--max-kept" in answer.json()["error"]["message"]


# ---- chance and delays ----------------------------------------------------------------------------------------------


def conversation(seed: int, calls: str) -> list[Answer]:
    kit = Kit(JOBS + calls, seed=seed)
    path = SERVICES["ogc"].job(kit)
    answers = []
    for _ in range(20):
        answers.append(get(kit, path))
        kit.advance("1s")
    return answers


def test_chance_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    calls = "calls: [{when: {role: status, chance: 0.4}, answer: {status: 503}}]"
    assert conversation(1, calls) == conversation(1, calls)
    drawn = {seed: [answer.status for answer in conversation(seed, calls)] for seed in (1, 2, 3)}
    assert len({tuple(line) for line in drawn.values()}) == 3
    assert all(0 < line.count(503) < 20 for line in drawn.values())


@pytest.mark.parametrize(("chance", "count"), [("1", 20), ("1.0", 20), ("0.000001", 0)])
def test_the_ends_of_chance(chance: str, count: int) -> None:
    calls = f"calls: [{{when: {{role: status, chance: {chance}}}, answer: {{status: 503}}}}]"
    assert [answer.status for answer in conversation(5, calls)].count(503) == count


def test_a_delay_waits_in_real_time_and_moves_nothing() -> None:
    kit = only("ogc")(JOBS + "calls: [{when: {role: status}, delay: 150ms}]")
    path = SERVICES["ogc"].job(kit)
    began = time.monotonic()
    answer = get(kit, path)
    assert 0.14 < time.monotonic() - began < 5
    assert (answer.status, answer.headers["x-understudy-cause"]) == (200, "inline:2 delay")
    assert kit.world.now_ms == kit.world.start_ms


def test_a_fast_clock_shortens_delays_and_none_is_longer_than_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from simulator.web import faults

    waited: list[float] = []

    async def stay(call: Any, seconds: float) -> bool:
        waited.append(seconds)
        return True

    monkeypatch.setattr(faults._Disturbed, "stay", stay)
    for mode in ("frozen", "10x", "real"):
        kit = only("ogc", "titan")(JOBS + "calls: [{when: {role: list}, delay: 20s}, {delay: 3h}]", time=mode)
        kit.get("/titan/v1/jobs")
        kit.get("/ogc/processes")
    assert waited == [20, 60, 2, 60, 20, 60]


def test_delays_out_of_a_range_are_drawn_by_seed_and_count(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.web import faults

    waited: list[float] = []

    async def stay(call: Any, seconds: float) -> bool:
        waited.append(seconds)
        return True

    monkeypatch.setattr(faults._Disturbed, "stay", stay)
    drawn = []
    for seed in (1, 1, 2):
        kit = only("titan")(JOBS + "calls: [{when: {role: list}, delay: 200ms..800ms}]", seed=seed)
        for _ in range(5):
            kit.get("/titan/v1/jobs")
        drawn.append(list(waited))
        waited.clear()
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(set(drawn[0])) > 1
    assert all(0.2 <= seconds <= 0.8 for seconds in drawn[0])


def test_a_delay_stands_together_with_an_answer_or_a_fault() -> None:
    kit = only("titan")(JOBS + "calls: [{delay: 60ms, answer: {status: 503}}]")
    began = time.monotonic()
    assert kit.get("/titan/v1/jobs").status == 503
    assert time.monotonic() - began > 0.05
    kit = only("titan")(JOBS + "calls: [{delay: 60ms, fault: html_error_page}]")
    began = time.monotonic()
    assert kit.get("/titan/v1/jobs").status == 502
    assert time.monotonic() - began > 0.05


# ---- faults ---------------------------------------------------------------------------------------------------------


def test_each_fault_of_the_language_is_carried_out_and_the_words_for_roles_are_the_contracts() -> None:
    assert STRIKES.keys() == FAULTS.keys()
    assert set(ROLES) == {role.value for role in Role}


@pytest.mark.parametrize(
    "fault", ["connection_reset", "empty_response", "{hang: 50ms}", "response_lost", "truncated_body"]
)
def test_without_a_connection_such_a_fault_is_an_exception_and_never_an_answer(fault: str) -> None:
    kit = only("ogc")(ENDLESS + f"calls: [{{when: {{role: submit}}, fault: {fault}}}]")
    with pytest.raises(Broken, match="only understudy's own server can"):
        SERVICES["ogc"].make(kit)
    name = fault.strip("{").partition(":")[0]
    assert kit.world.count("ogc") == (1 if FAULTS[name].moment is Moment.AFTER else 0)


@each_service
def test_a_malformed_body_keeps_its_content_type(service: Service) -> None:
    kit = only(service.name)(
        JOBS + "calls: [{when: {role: [submit, status], call: 2}, fault: malformed_body}]"
    )
    path = service.job(kit)
    for good, bad in ((get(kit, path), get(kit, path)), (None, service.make(kit))):
        assert bad.headers["content-type"].startswith("application/json")
        assert bad.headers["content-length"] == str(len(bad.content)) != "0"
        assert bad.headers["x-understudy-cause"] == "inline:2 malformed_body"
        assert good is None or good.status == bad.status
        with pytest.raises(json.JSONDecodeError):
            bad.json()


def test_malformed_xml_and_text_cannot_be_read_either() -> None:
    from xml.etree import ElementTree

    kit = only("jbpm")(JOBS + "calls: [{when: {role: [status, log]}, fault: malformed_body}]")
    answer = get(kit, SERVICES["jbpm"].job(kit), Accept="application/xml")
    assert answer.headers["content-type"] == "application/xml"
    with pytest.raises(ElementTree.ParseError):
        ElementTree.fromstring(answer.content)
    missing = get(kit, "/jbpm/kie-server/services/rest/server/jobs/99")
    assert missing.status == 404
    assert len(missing.content) > 0


def test_a_reply_without_a_body_cannot_be_malformed() -> None:
    kit = only("jbpm")(JOBS + "calls: [{when: {role: cancel}, fault: malformed_body}]")
    path = SERVICES["jbpm"].job(kit)
    answer = kit.delete(path)
    assert (answer.status, answer.content) == (204, b"")
    assert answer.headers["x-understudy-cause"] == "inline:2 malformed_body"


def test_the_wrong_content_type_leaves_the_body_alone() -> None:
    kit = only("titan")(
        JOBS
        + """
calls:
  - {when: {role: list, call: 1}, fault: wrong_content_type}
  - {when: {role: list, call: 2}, fault: {wrong_content_type: application/octet-stream}}
"""
    )
    first, second = kit.get("/titan/v1/jobs"), kit.get("/titan/v1/jobs")
    assert [answer.headers["content-type"] for answer in (first, second)] == [
        "text/html",
        "application/octet-stream",
    ]
    assert first.json() == second.json() == {"jobs": []}


def test_a_proxys_error_page_is_html_and_the_command_is_not_carried_out() -> None:
    kit = only("titan")(
        JOBS
        + """
calls:
  - {when: {role: submit, call: 1}, fault: html_error_page}
  - {when: {role: submit, call: 2}, fault: {html_error_page: 504}}
"""
    )
    first, second = SERVICES["titan"].make(kit), SERVICES["titan"].make(kit)
    assert (first.status, second.status) == (502, 504)
    assert first.headers["content-type"] == "text/html"
    assert "502 Bad Gateway" in first.text
    assert "504 Gateway Timeout" in second.text
    assert kit.world.count("titan") == 0


def test_a_dribbled_body_comes_whole_over_the_time() -> None:
    kit = only("ogc")(JOBS + "calls: [{when: {role: status, call: 2}, fault: {dribble: 100ms}}]")
    path = SERVICES["ogc"].job(kit)
    whole = get(kit, path)
    began = time.monotonic()
    dribbled = get(kit, path)
    assert time.monotonic() - began > 0.09
    assert dribbled.content == whole.content


@each_service
def test_an_unknown_state_is_a_word_no_client_knows(service: Service) -> None:
    kit = only(service.name)(
        JOBS
        + """
calls:
  - {when: {role: status, call: 2}, fault: unknown_state}
  - {when: {role: status, call: 3}, fault: {unknown_state: ZOMBIE}}
"""
    )
    path = service.job(kit)
    good, strange, zombie = (get(kit, path) for _ in range(3))
    known = set(load_apis()[service.name].words.values())
    assert service.state(good) in known
    assert service.state(strange).lower() == "limbo"
    assert service.state(strange).isupper() == service.state(good).isupper()
    assert service.state(zombie) == "ZOMBIE"
    assert good.text == zombie.text.replace("ZOMBIE", service.state(good))
    assert strange.status == 200
    assert kit.ledger.total == 0


def test_a_field_of_the_clients_own_that_is_called_like_the_state_is_left_alone() -> None:
    kit = only("synapse")(JOBS + "calls: [{when: {role: submit}, fault: unknown_state}]")
    answer = kit.post(SERVICES["synapse"].submit[0], json=DOWNLOAD | {"jobState": "mine"}, headers=TOKEN)
    assert answer.json()["jobState"] == "LIMBO"
    assert answer.json()["requestBody"]["jobState"] == "mine"


def test_an_unknown_state_comes_in_xml_too_and_in_lists() -> None:
    kit = only("jbpm", "titan")(JOBS + "calls: [{when: {role: [status, list]}, fault: unknown_state}]")
    path = SERVICES["jbpm"].job(kit)
    xml = get(kit, path, Accept="application/xml").text
    assert "<request-status>LIMBO</request-status>" in xml
    SERVICES["titan"].job(kit)
    assert [job["status"] for job in kit.get("/titan/v1/jobs").json()["jobs"]] == ["limbo"]


def test_a_stale_answer_shows_the_job_as_it_was() -> None:
    calls = "calls: [{when: {role: [status, list], header.x-cache: hit}, fault: {stale: 5s}}]"
    kit, fresh = only("ogc")(JOBS + calls), only("ogc")(JOBS)
    path = SERVICES["ogc"].job(kit)
    assert SERVICES["ogc"].job(fresh) == path
    kit.advance("5s")
    for seconds in range(0, 110, 7):
        then, now = get(fresh, path), get(kit, path, **{"X-Cache": "hit"})
        assert now.json() == then.json(), seconds
        assert now.headers["date"] != then.headers["date"]
        assert get(kit, "/ogc/jobs", **{"X-Cache": "hit"}).json() == get(fresh, "/ogc/jobs").json()
        for one in (kit, fresh):
            one.advance("7s")
    assert get(kit, path).json()["status"] == "successful"


def test_a_stale_answer_knows_no_job_that_was_not_there_yet_and_changes_the_world_all_the_same() -> None:
    kit = only("ogc")(JOBS + "calls: [{when: {role: [status, list, cancel]}, fault: stale}]")
    path = SERVICES["ogc"].job(kit)
    assert get(kit, path).status == 404
    assert get(kit, "/ogc/jobs").json()["jobs"] == []
    kit.advance("6s")
    cancelled = kit.delete(path)
    assert (cancelled.status, cancelled.json()["status"]) == (200, "running")
    assert kit.world.jobs("ogc")[0].state.value == "cancelled"


@each_service
def test_a_job_is_not_found_until_it_is_visible(service: Service) -> None:
    kit = only(service.name)(JOBS + "calls: [{when: {role: status, call: 1..2}, fault: not_yet_visible}]")
    path = service.job(kit)
    answers = [get(kit, path) for _ in range(3)]
    assert [answer.status for answer in answers] == [404, 404, 200]
    nobody = get(kit, path[:-1] + str((int(path[-1], 16) + 1) % 10))
    assert answers[0].headers["content-type"] == nobody.headers["content-type"]
    assert kit.ledger.lines("server") == []


def test_a_job_becomes_visible_after_a_time_and_is_missing_from_lists_until_then() -> None:
    kit = only("ogc")(JOBS + "calls: [{when: {role: [status, list, cancel]}, fault: {not_yet_visible: 3s}}]")
    path = SERVICES["ogc"].job(kit)
    assert (get(kit, path).status, kit.delete(path).status) == (404, 404)
    assert get(kit, "/ogc/jobs").json()["jobs"] == []
    kit.advance("3s")
    answer = get(kit, path)
    assert (answer.status, "x-understudy-cause" in answer.headers) == (200, False)
    assert len(get(kit, "/ogc/jobs").json()["jobs"]) == 1


@each_service
def test_a_duplicate_submit_makes_two_jobs_and_tells_of_the_second(service: Service) -> None:
    kit = only(service.name)(JOBS + "calls: [{when: {role: submit, call: 1}, fault: duplicate}]")
    path = service.job(kit)
    first, second = kit.world.jobs(service.name)
    assert path.endswith(f"/{second.id}")
    assert first.request == second.request
    service.job(kit)
    assert kit.world.count(service.name) == 3


@pytest.mark.parametrize("name", ["ogc", "synapse"])
def test_progress_goes_back_behind_what_was_shown(name: str) -> None:
    field = {"ogc": "progress", "synapse": "progressCurrent"}[name]
    kit = only(name)(JOBS + "calls: [{when: {role: status, every: 3}, fault: progress_backwards}]")
    path = SERVICES[name].job(kit)
    kit.advance("21s")
    shown = []
    for _ in range(7):
        shown.append(get(kit, path).json()[field])
        kit.advance("10s")
    assert shown == [20, 30, 15, 50, 60, 30, 80]


@pytest.mark.parametrize("name", sorted(FAULTS.keys() - OF_THE_CONNECTION))
def test_a_head_call_suffers_as_a_get_does_but_has_no_body(name: str) -> None:
    kit = only("ogc")(JOBS + f"calls: [{{when: {{role: status, call: 2..3}}, fault: {name}}}]")
    path = SERVICES["ogc"].job(kit)
    get(kit, path)
    answer, head = get(kit, path), kit.request("HEAD", path)
    assert (head.status, head.content) == (answer.status, b"")
    assert head.headers["x-understudy-cause"] == answer.headers["x-understudy-cause"]


# ---- what the client wishes -----------------------------------------------------------------------------------------


def test_prefer_code_is_taken_out_of_other_preferences_and_they_keep_their_meaning() -> None:
    kit = only("ogc")(JOBS)
    path, body = SERVICES["ogc"].submit
    wished = kit.post(
        path, json=body, headers={"Prefer": 'respond-async; x="a, code=400", wait=10, CODE="503", code=500'}
    )
    assert wished.status == 503
    usual = kit.post(path, json=body, headers={"Prefer": 'respond-async; x="code=503", wait=10'})
    assert (usual.status, usual.headers["preference-applied"]) == (201, "respond-async")
    assert kit.world.count("ogc") == 1


@pytest.mark.parametrize(
    ("header", "value", "hint"),
    [
        ("Prefer", "code=200", "refuses with"),
        ("Prefer", "code=418", "refuses with"),
        ("Prefer", "code", "refuses with"),
        ("Prefer", "code=often", "refuses with"),
        ("X-Understudy-Delay", "5", "not a duration"),
        ("X-Understudy-Delay", "2m", "at most 60s"),
        ("X-Understudy-Scenario", "unhappy", "happy"),
        ("X-Understudy-Scenario", "", "happy"),
    ],
)
@each_service
def test_a_wish_that_cannot_be_had_is_a_400_in_the_envelope(
    service: Service, header: str, value: str, hint: str
) -> None:
    kit = only(service.name)(JOBS)
    answer = service.make(kit, **{header: value})
    if value == "code=418" and service.name in ("ica", "titan"):
        assert answer.status == 418  # Their documents have a default.
        return
    assert answer.status == 400, answer.text
    assert hint in answer.text
    assert header in answer.text
    assert kit.world.count(service.name) == 0
    assert kit.ledger.lines() == []


@each_service
def test_a_submit_can_follow_another_scenario(service: Service) -> None:
    kit = only(service.name)(ENDLESS)
    service.make(kit, **{"X-Understudy-Scenario": "fails-halfway"})
    service.make(kit)
    kit.advance("1h")
    other, own, *_ = kit.world.jobs(service.name)
    assert other.part.cause.startswith("scenarios/fails-halfway.yaml")
    assert own.part.cause.startswith("inline")
    assert get(kit, service.status.format(other.id), **{"X-Understudy-Scenario": "happy"}).status == 200


def test_a_job_of_another_scenario_is_replayed_out_of_the_journal() -> None:
    kit = only("ogc")(ENDLESS)
    SERVICES["ogc"].make(kit, **{"X-Understudy-Scenario": "fails-halfway"})
    kit.advance("1h")
    assert replayed(kit).snapshot() == kit.world.snapshot()


def test_a_wish_and_a_rule_together_are_both_owned_up_to() -> None:
    kit = only("titan")(JOBS + "calls: [{fault: unknown_state}]")
    delay = {"X-Understudy-Delay": "1ms"}
    assert kit.get("/titan/v1/jobs", headers=delay).headers["x-understudy-cause"] == (
        "X-Understudy-Delay, inline:2 unknown_state"
    )
    refused = kit.get("/titan/v1/jobs", headers=delay | {"Prefer": "code=429"})
    assert (refused.status, refused.headers["x-understudy-cause"]) == (429, "Prefer code=429")


def test_a_wished_delay_is_waited_for() -> None:
    kit = only("titan")(JOBS)
    began = time.monotonic()
    answer = kit.get("/titan/v1/jobs", headers={"X-Understudy-Delay": "80ms"})
    assert time.monotonic() - began > 0.07
    assert (answer.status, answer.headers["x-understudy-cause"]) == (200, "X-Understudy-Delay")


# ---- determinism and log --------------------------------------------------------------------------------------------

EVERYTHING = """
calls:
  - {when: {role: submit, call: 2}, fault: duplicate}
  - {when: {role: status, chance: 0.2}, fault: unknown_state}
  - {when: {role: status, chance: 0.2}, fault: {stale: 5s}}
  - {when: {role: status, chance: 0.2}, fault: malformed_body}
  - {when: {role: status, every: 4}, fault: progress_backwards}
  - {when: {role: list}, rate_limit: {calls: 3, per: 20s}}
  - {when: {role: list, call: 1}, delay: 1ms..5ms}
"""


@pytest.mark.parametrize("name", SERVICES)
def test_the_same_conversation_is_the_same_byte_by_byte(name: str) -> None:
    def talk(seed: int) -> list[Answer]:
        kit = Kit(JOBS + EVERYTHING, seed=seed)
        service = SERVICES[name]
        paths = [service.job(kit) for _ in range(3)]
        answers = []
        for _ in range(8):
            answers += [get(kit, path) for path in paths]
            answers.append(get(kit, "/titan/v1/jobs"))
            kit.advance("5s")
        return answers

    assert talk(1) == talk(1)
    causes = [[answer.headers.get("x-understudy-cause") for answer in talk(seed)] for seed in (1, 2)]
    assert causes[0] != causes[1]


def test_the_log_tells_which_rule_came_nearest(caplog: pytest.LogCaptureFixture) -> None:
    kit = only("titan")(
        JOBS
        + """
calls:
  - {when: {role: status, state: failed, number: 7}, answer: {status: 503}}
  - {when: {role: status, call: 3}, answer: {status: 503}}
"""
    )
    path = SERVICES["titan"].job(kit)
    with caplog.at_level(logging.DEBUG, "understudy"):
        get(kit, path)
    assert (
        "no rule took titan job_id_get: nearest is inline:5 answer 503, which wants call: 3 (this is 1)"
        in caplog.text
    )


def test_nothing_is_logged_for_operations_without_rules(caplog: pytest.LogCaptureFixture) -> None:
    kit = only("titan")(JOBS + "calls: [{when: {role: status, call: 3}, answer: {status: 503}}]")
    with caplog.at_level(logging.DEBUG, "understudy"):
        kit.get("/titan/v1/jobs")
    assert "no rule" not in caplog.text
