"""Scripts as scenarios write them: steps with how long they last, how they end, and what cancelling does."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Any

from simulator.engine.fill import REQUEST, VARIABLES, UnknownVariable, has_variables, template
from simulator.engine.job import ALLOWED, FINAL, Failure, State
from simulator.engine.script import (
    CancelAfter,
    CancelEffect,
    CancelTooLate,
    Lasting,
    OnCancel,
    Polls,
    Script,
    Span,
    Step,
)
from simulator.scenario.nodes import Node, shown, unknown
from simulator.scenario.values import span, whole_range

TIMED = {state.value: state for state in State if state not in FINAL}
ENDS = {state.value: state for state in State if state in FINAL}
BARE_STEPS = (*ENDS, "hold", "forever")
PROGRESSING = frozenset({State.QUEUED, State.RUNNING, State.RETRYING, State.CANCELLING})
EFFECTS: dict[str, OnCancel] = {
    "at_once": CancelEffect.AT_ONCE,
    "ignored": CancelEffect.IGNORED,
    "refused": CancelEffect.REFUSED,
    "too_late": CancelTooLate(),
}


# ---- a script -------------------------------------------------------------------------------------------------------


def read_script(node: Node, *, goes_on: bool = False) -> Script:
    """The steps of a script; `goes_on` tells that another attempt follows it."""
    items = node.items()
    if node.is_list and not items:
        node.problem("needs at least one step, such as `running: 2s`")
    steps: list[Step] = []
    before: Step | None = None
    reached: int | None = None
    for item in items:
        step = _step(item, before)
        if step is not None:
            waits = goes_on and step.state is State.RETRYING and item.path == items[-1].path
            if before is not None and not (waits and before.state is State.FAILED):
                _check_order(item, before, step)
            reached = _check_progress(item, step, reached)
            if waits and (before is None or before.state is not State.FAILED):
                # How long it waits says also that it failed.
                steps.append(_failed_before(step))
            steps.append(step)
        before = step
    if before is not None and goes_on:
        if not any(step.state is State.FAILED for step in steps):
            items[-1].warn("this attempt does not fail: only a client's retry leads to the next one")
    elif before is not None and isinstance(before.lasts, Span | Polls) and before.state not in FINAL:
        word = before.state.value
        items[-1].warn(
            f"the script ends here and the job stays {word}; end with succeeded, failed or cancelled, or say `{word}: forever`"
        )
    return Script(tuple(steps))


def _failed_before(wait: Step) -> Step:
    failure = None if wait.message is None else Failure(wait.message)
    return Step(State.FAILED, failure=failure, cause=wait.cause, has_variables=wait.has_variables)


def _check_order(node: Node, before: Step, step: Step) -> None:
    was, becomes = before.state, step.state
    if was in FINAL:
        node.problem(f"nothing follows {was.value}, which ends the script")
    elif before.lasts is Lasting.FOREVER:
        node.problem("nothing follows a step that lasts forever; `hold` lasts until it is released")
    elif becomes is not was and becomes not in ALLOWED[was]:
        possible = ", ".join(state.value for state in State if state in ALLOWED[was])
        node.problem(f"a {was.value} job cannot become {becomes.value}; it can become {possible}")


def _check_progress(node: Node, step: Step, reached: int | None) -> int | None:
    """Warn when progress falls within one attempt; answers with the percent reached after this step."""
    if step.state in (State.QUEUED, State.RETRYING):
        reached = None
    if step.progress is None:
        return reached
    start, end = step.progress
    if reached is not None and start < reached:
        node.warn(f"progress falls from {reached} to {start}")
    if start != end and isinstance(step.lasts, Lasting):
        node.warn(f"progress stays at {start}: a step without an end has no time to reach {end} in")
    return end


# ---- a step ---------------------------------------------------------------------------------------------------------


def _step(node: Node, before: Step | None) -> Step | None:
    """One step, or None when it is not even clear which state it is."""
    if node.is_mapping:
        return _mapped_step(node)
    word = node.written
    if word in ENDS:
        return Step(ENDS[word], cause=node.cause)
    if node.is_text and word in ("hold", "forever"):
        state = State.QUEUED if before is None else before.state
        return Step(state, Lasting(word), cause=node.cause)
    state_word, _, rest = word.partition(" ")
    if word in TIMED:
        node.problem(f"how long? Write `{word}: 2s`, or `{word}: forever`")
    elif rest and state_word in TIMED:
        node.problem(f"a colon is missing: write `{state_word}: {shown(rest.strip(), quote=False)}`")
    elif node.is_text:
        node.problem(unknown("step", word, (*BARE_STEPS, *(f"{state}: DURATION" for state in TIMED))))
    else:
        node.problem("must be a step, such as `running: 2s` or `succeeded`")
    return None


def _mapped_step(node: Node) -> Step | None:
    states = [(key, value) for key, value in node.entries() if key.written in TIMED or key.written in ENDS]
    if not states:
        if any(key.written in ("hold", "forever") for key, _ in node.entries()):
            node.problem("`hold` and `forever` stand alone, or for a duration: `running: hold`")
        else:
            known = node.fields((*TIMED, *ENDS, "progress", "message"))
            if len(known) == len(node.entries()):
                node.problem(f"a step needs a state: {', '.join((*TIMED, *ENDS))}")
        return None
    for key, _ in states[1:]:
        key.problem(f"a step has one state; begin another step with `- {key.written}`")
    word, value = states[0][0].written, states[0][1]
    if word in ENDS:
        return _final_step(node, ENDS[word], value, {key.written for key, _ in states})
    state = TIMED[word]
    fields = node.fields((*(key.written for key, _ in states), "progress", "message"))
    progress = _progress(fields["progress"]) if "progress" in fields else None
    if progress is not None and state not in PROGRESSING:
        fields["progress"].problem(f"a {word} job has no progress")
    message = read_text(fields["message"]) if "message" in fields else None
    return Step(
        state,
        _lasting(value, word),
        progress=progress,
        message=message,
        cause=node.cause,
        has_variables=has_variables(message),
    )


def _final_step(node: Node, state: State, value: Node, states: set[str]) -> Step:
    word = state.value
    for key, _ in node.entries():
        if key.written == "message":
            key.problem(f"belongs inside: `{word}: {{message: …}}`")
        elif key.written not in states:
            key.problem(f"{word} ends the script and takes no {shown(key.written)}")
    if value.is_null:
        return Step(state, cause=node.cause)
    if state is State.FAILED and value.is_text:
        error = Failure(read_text(value))
        return Step(state, failure=error, cause=node.cause, has_variables=has_variables(error.message))
    if not value.is_mapping:
        value.problem(f"must be {_FINAL_FORMS[state]}, or `{word}` alone")
        return Step(state, cause=node.cause)
    if state is State.FAILED:
        for key, _ in value.entries():
            if key.written in ("code", "details"):
                value.problem(
                    f"`{key.written}` belongs to the error: write `failed: {{error: {{{key.written}: …}}}}`"
                )
                return Step(state, cause=node.cause)
    fields = value.fields(_FINAL_KEYS[state])
    if state is State.FAILED and "message" in fields and "error" not in fields:
        fields["message"].warn("the error has a message of its own: `failed: {error: {message: …}}`")
    failure = _failure(fields["error"]) if "error" in fields else None
    result, no_result = _result(fields)
    message = read_text(fields["message"]) if "message" in fields else None
    log, no_log = read_log(fields)
    texts = [message, result, log]
    if failure is not None:
        texts += [failure.message, failure.code, failure.details]
    return Step(
        state,
        message=message,
        failure=failure,
        result=result,
        cause=node.cause,
        log=log,
        no_log=no_log,
        no_result=no_result,
        has_variables=has_variables(texts),
    )


_FINAL_KEYS = {
    State.SUCCEEDED: ("result", "no_result", "message", "log", "no_log"),
    State.FAILED: ("error", "message", "log", "no_log"),
    State.CANCELLED: ("message", "log", "no_log"),
}
_FINAL_FORMS = {
    State.SUCCEEDED: "{result: …}",
    State.FAILED: "{error: {code: …, message: …}}",
    State.CANCELLED: "{message: …}",
}


def _failure(node: Node) -> Failure:
    """An error, or only its message."""
    if node.is_text:
        return Failure(read_text(node))
    texts: dict[str, Any] = {
        key: read_text(value) for key, value in node.fields(("message", "code", "details")).items()
    }
    return Failure(**texts)


def _result(fields: dict[str, Node]) -> tuple[Any, bool]:
    """The result of a success, and whether there is none and none is to be made up."""
    no_result = _truth(fields["no_result"]) if "no_result" in fields else False
    if "result" not in fields:
        return None, no_result
    node = fields["result"]
    if no_result:
        fields["no_result"].problem("there is a `result`")
    _find_unquoted(node)
    result = node.json(read_text)
    if result is None:
        node.warn("a null result is as none: the API makes one up; for none at all write `no_result: true`")
    return result, no_result


def _progress(node: Node) -> tuple[int, int]:
    progress = whole_range(node)
    if progress is None or max(progress) > 100:
        node.problem("must be a percentage from 0 to 100 or a range of them like 0..60")
    elif progress[0] > progress[1]:
        node.problem(f"progress does not fall; write {progress[1]}..{progress[0]}")
    return progress or (0, 0)


def _lasting(node: Node, word: str) -> Span | Polls | Lasting:
    if node.is_text and node.written in ("forever", "hold"):
        return Lasting(node.written)
    if node.is_null:
        node.problem(f"how long? Write `{word}: 2s`, or `{word}: forever`")
        return Lasting.HOLD
    counted = _COUNTED.fullmatch(node.written)
    if counted is None or not get_close_matches(counted[3].lower(), ("polls", "poll"), 1):
        return span(node)
    low, high = int(counted[1]), int(counted[2] or counted[1])
    if counted[3] not in ("polls", "poll"):
        node.problem(f"unknown unit {shown(counted[3])}, did you mean 'polls'?")
    elif low < 1:
        node.problem("a step lasts at least one poll")
    elif low > high:
        node.problem(f"runs backwards; write {high}..{low} polls")
    else:
        return Polls(low, high)
    return Polls(1, 1)


_COUNTED = re.compile(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9}))?\s+([A-Za-z]{1,20})\s*")


# ---- logs and texts -------------------------------------------------------------------------------------------------


def read_log(fields: dict[str, Node]) -> tuple[str | None, bool]:
    """The log that is left, under `log`, and whether there is none at all, under `no_log`."""
    no_log = _truth(fields["no_log"]) if "no_log" in fields else False
    if no_log and "log" in fields:
        fields["no_log"].problem("there is a `log`")
    return (read_text(fields["log"]) if "log" in fields else None), no_log


def read_text(node: Node) -> str:
    """A text, taken apart where it has variables."""
    _find_unquoted(node)
    try:
        return template(node.text())
    except UnknownVariable as problem:
        node.problem(
            f"{unknown('variable', problem.name, (*VARIABLES, f'{REQUEST}<path>'))}; write {{{{ and }}}} for braces"
        )
    except ValueError as problem:
        node.problem(str(problem))
    return ""


def _find_unquoted(node: Node) -> None:
    """YAML takes `{request.name}` without quotes for a mapping with one key, and means it."""
    if node.is_list:
        for item in node.items():
            _find_unquoted(item)
    elif node.is_mapping:
        entries = node.entries()
        key = entries[0][0].written if len(entries) == 1 and entries[0][1].is_null else ""
        if key in VARIABLES or key.startswith(REQUEST):
            node.problem(f'a variable stands in quotes: "{{{shown(key, quote=False)}}}"')
        for _, value in entries:
            _find_unquoted(value)


def _truth(node: Node) -> bool:
    value = node.scalar() if node.is_scalar else None
    if not isinstance(value, bool):
        node.problem("must be true or false")
    return value is True


# ---- cancelling -----------------------------------------------------------------------------------------------------


def read_on_cancel(node: Node) -> OnCancel:
    """What cancelling does."""
    if node.is_mapping:
        fields = node.fields(("after", "then"))
        if "after" in fields:
            then = _then(fields["then"]) if "then" in fields else None
            return CancelAfter(span(fields["after"]), then)
        if "then" in fields or not node.entries():
            node.problem("`after` is missing: how long the job is cancelling, such as {after: 2s}")
    elif node.is_text and node.written in EFFECTS:
        return EFFECTS[node.written]
    elif node.written:
        node.problem(f"{unknown('effect', node.written, EFFECTS)}, {_AFTER}")
    else:
        node.problem(f"must be one of {', '.join(EFFECTS)}, {_AFTER}")
    return CancelEffect.AT_ONCE


_AFTER = "{after: 2s}, {after: 2s, then: failed}"


def _then(node: Node) -> Step | None:
    """How a job ends that was cancelling; None is the usual way."""
    if not node.is_mapping:
        if node.is_text and node.written in ENDS:
            return Step(ENDS[node.written], cause=node.cause)
        if node.written:
            node.problem(unknown("end", node.written, ENDS))
        else:
            node.problem(f"must be one of {', '.join(ENDS)}")
        return None
    step = _mapped_step(node)
    if step is not None and step.state not in FINAL:
        node.problem(f"must be an end: one of {', '.join(ENDS)}")
    return step
