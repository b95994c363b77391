"""What is asked of answers that a scenario has a say in."""

from __future__ import annotations

from simulator.assemble import load_apis, load_scenario
from simulator.conform import not_to_be_asked


def test_a_scripted_answer_has_to_fit_the_document_in_all_that_its_rule_does_not_break_by_declaration() -> (
    None
):
    rules = load_scenario("fault-lock-contention", load_apis()).calls.rules
    declared, fitting = (not_to_be_asked(rule) for rule in rules)
    assert "response_schema_conformance" in declared
    assert "status_code_conformance" not in declared
    assert "response_schema_conformance" not in fitting
    assert "not_a_server_error" in fitting
