"""The team's own tests of its client; all they know of understudy is its fixture."""

import pytest
from acme_runs import GaveUp, RunFailed, Runs, client


@pytest.fixture
def runs(understudy):
    return Runs(understudy.url("ica"), "secret-of-acme")


def test_a_run_is_waited_for(runs, understudy):
    run_id = runs.submit("align", "ubuntu")
    with understudy.linked_sleep(follow=[client]):
        assert runs.wait(run_id)["status"] == "Completed"
    understudy.calls(role="status").waited_for_end().stopped_after_terminal().at_most(10)


@pytest.mark.scenario("poll-outlives-timeouts")
def test_a_run_of_two_hours_is_not_given_up_early(runs, understudy):
    runs = Runs(understudy.url("ica"), "secret-of-acme", patience_s=4 * 3600)
    run_id = runs.submit("align", "ubuntu")
    with understudy.linked_sleep(follow=[client]):
        try:
            runs.wait(run_id)
        finally:
            understudy.calls(role="status").waited_for_end()


@pytest.mark.scenario("fail-out-of-memory")
def test_a_failed_run_is_reported(runs, understudy):
    run_id = runs.submit("align", "ubuntu")
    with understudy.linked_sleep(follow=[client]), pytest.raises(RunFailed, match="Failed"):
        runs.wait(run_id)
    understudy.calls(role="status").stopped_after_terminal()


@pytest.mark.scenario("never-finishes")
def test_a_run_that_hangs_is_given_up(runs, understudy):
    run_id = runs.submit("align", "ubuntu")
    with understudy.linked_sleep(follow=[client]), pytest.raises(GaveUp):
        runs.wait(run_id)
    understudy.calls(role="status").gave_up_within("1h")


@pytest.mark.scenario("retry-after-seconds")
def test_a_busy_service_is_asked_again_when_it_says(runs, understudy):
    run_id = runs.submit("align", "ubuntu")
    with understudy.linked_sleep(follow=[client]):
        runs.wait(run_id)
    understudy.calls(role="status").respected_retry_after()


@pytest.mark.scenario("submit-response-lost")
def test_a_lost_submit_makes_one_run(runs, understudy):
    run_id = runs.submit("align", "ubuntu")
    understudy.calls().retried_submit_safely()
    assert [job["id"] for job in understudy.jobs()] == [run_id]


def test_all_pages_are_read(runs, understudy):
    wanted = [runs.submit(f"run {number}", "ubuntu") for number in range(5)]
    listed = runs.list(page_size=2)
    understudy.calls(role="list").read_all_pages()
    assert {run["id"] for run in listed} == set(wanted)


def test_a_run_can_be_aborted(runs):
    run_id = runs.submit("align", "ubuntu")
    assert runs.abort(run_id)["status"] == "Aborted"
