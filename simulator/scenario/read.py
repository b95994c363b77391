"""From a YAML file to a `Scenario`, or to everything that is wrong with the file at once.

One function per construct of the language. Each notes what is wrong and goes on with a harmless stand-in, so that one reading
finds every problem; a scenario is made only when there was none. Lines are kept: each step and rule knows where it was written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from simulator.engine.job import ALLOWED, FINAL, Failure, State
from simulator.engine.script import CancelAfter, CancelEffect, Lasting, Part, Script, Span, Step
from simulator.scenario.duration import parse_duration
from simulator.scenario.match import GLOB_CHARACTERS_MAX, Field, Glob, When, text_of
from simulator.scenario.model import JobRule, Scenario
from simulator.scenario.nodes import Node, Notes, Problem, read_nodes, shown, unknown
from simulator.scenario.setting import Setting

__all__ = ["Problem", "ScenarioError", "check_scenario", "read_scenario"]

Apis = Mapping[str, Mapping[str, Setting]]
"""The settings of each API there is, by API name."""

TOP_KEYS = ("description", "$schema", "apis", "workers", "jobs")
RULE_KEYS = ("when", "script", "on_cancel")
REQUEST = "request."
WHEN_KEYS = ("api", "kind", "number", f"{REQUEST}<path>")
TIMED = {state.value: state for state in State if state not in FINAL}
ENDS = {state.value: state for state in State if state in FINAL}
BARE_STEPS = (*ENDS, "hold", "forever")
PROGRESSING = frozenset({State.QUEUED, State.RUNNING, State.RETRYING, State.CANCELLING})
EFFECTS = {
    effect.value: effect for effect in (CancelEffect.AT_ONCE, CancelEffect.IGNORED, CancelEffect.REFUSED)
}
PATH_CHARACTERS_MAX = GLOB_CHARACTERS_MAX


class ScenarioError(Exception):
    """The file cannot be used; `problems` says everything that must be mended."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def read_scenario(
    source: Path | str, *, apis: Apis, name: str | None = None, shown_as: str | None = None
) -> Scenario:
    """The scenario in a file (`Path`) or a YAML text (`str`).

    Args:
        apis: which APIs there are, with the settings that a scenario may set.
        name: how a person calls it; default: the file's stem.
        shown_as: the file's path as messages and histories show it.

    Raises:
        ScenarioError: with every problem of the file.
    """
    scenario, problems = check_scenario(source, apis=apis, name=name, shown_as=shown_as)
    if scenario is None:
        raise ScenarioError(tuple(problem for problem in problems if problem.severity == "error"))
    return scenario


def check_scenario(
    source: Path | str, *, apis: Apis, name: str | None = None, shown_as: str | None = None
) -> tuple[Scenario | None, tuple[Problem, ...]]:
    """As `read_scenario`, but with the warnings, and without raising: the scenario is None when there are errors."""
    called = name or (source.stem if isinstance(source, Path) else "inline")
    notes = Notes(shown_as or (str(source) if isinstance(source, Path) else called))
    top = read_nodes(source, notes)
    scenario = None if top is None else _scenario(top, apis, called)
    return (None if notes.has_errors else scenario), notes.problems


def _scenario(top: Node, apis: Apis, name: str) -> Scenario:
    fields = top.fields(TOP_KEYS)
    if top.is_mapping and "jobs" not in fields:
        top.problem(
            "`jobs` is missing: a list of rules, such as `jobs: [{script: [running: 2s, succeeded]}]`"
        )
    return Scenario(
        name=name,
        description=fields["description"].text() if "description" in fields else "",
        source=top.notes.file,
        settings=_settings(fields.get("apis"), apis),
        crew=_crew(fields["workers"], apis) if "workers" in fields else {},
        rules=_rules(fields["jobs"], apis) if "jobs" in fields else (),
    )


# ---- apis and workers -----------------------------------------------------------------------------------------------


def _settings(node: Node | None, apis: Apis) -> dict[str, dict[str, Any]]:
    settings = {
        api: {name: setting.default for name, setting in declared.items()} for api, declared in apis.items()
    }
    for api, chosen in node.fields(apis, "API").items() if node else ():
        for name, value in chosen.fields(apis[api], "setting").items():
            settings[api][name] = _setting(value, apis[api][name])
    return settings


def _setting(node: Node, setting: Setting) -> Any:
    if setting.type is list:
        if node.is_scalar:
            node.problem(f"must be a list; write [{shown(node.written, quote=False)}]")
            return []
        return [_word(item, setting) for item in node.items()]
    if setting.type is str:
        return _word(node, setting)
    if setting.type is timedelta:
        return _time(node, setting)
    value = node.scalar() if node.is_scalar else None
    if type(value) is not setting.type:
        wanted = "true or false" if setting.type is bool else "a whole number"
        node.problem(f"must be {wanted}")
        return setting.default
    return _choice(node, value, setting)


def _time(node: Node, setting: Setting) -> int | None:
    if not node.is_scalar or node.is_null:
        node.problem("must be a duration like 250ms, 2s or 10m")
        return None
    return _milliseconds(node, node.written)


def _word(node: Node, setting: Setting) -> str:
    word = node.text()
    if node.is_text:
        _choice(node, word, setting)
    return word


def _choice(node: Node, value: Any, setting: Setting) -> Any:
    if setting.choices and value not in setting.choices:
        node.problem(unknown("value", node.written, [text_of(choice) for choice in setting.choices]))
    return value


def _crew(node: Node, apis: Apis) -> dict[str, int | None]:
    return {api: _workers(value) for api, value in node.fields(apis, "API").items()}


def _workers(node: Node) -> int | None:
    value = node.scalar() if node.is_scalar else None
    if value == "external":
        return 0
    if value == "unlimited":
        return None
    if type(value) is int and value > 0:
        return value
    node.problem("must be a number of workers from 1 on, `external` (nothing runs by itself) or `unlimited`")
    return None


# ---- rules ----------------------------------------------------------------------------------------------------------


def _rules(node: Node, apis: Apis) -> tuple[JobRule, ...]:
    rules: list[JobRule] = []
    catch_all: Node | None = None
    items = node.items()
    if node.is_list and not items:
        node.problem("needs at least one rule, such as `- script: [running: 2s, succeeded]`")
    for item in items:
        if catch_all is not None:
            item.warn(f"never fires: {catch_all.path} in line {catch_all.line} takes every job")
        rule = _rule(item, apis)
        rules.append(rule)
        if catch_all is None and item.is_mapping and rule.when.is_always:
            catch_all = item
    return tuple(rules)


def _rule(node: Node, apis: Apis) -> JobRule:
    fields = node.fields(RULE_KEYS)
    if node.is_mapping and "script" not in fields:
        node.problem("`script` is missing: a list of steps, such as `script: [running: 2s, succeeded]`")
    part = Part(
        script=_script(fields["script"]) if "script" in fields else Script(()),
        on_cancel=_on_cancel(fields["on_cancel"]) if "on_cancel" in fields else None,
        cause=node.cause,
    )
    return JobRule(_when(fields["when"], apis) if "when" in fields else When(), part)


def _on_cancel(node: Node) -> CancelEffect | CancelAfter:
    if node.is_mapping:
        fields = node.fields(("after",))
        if "after" in fields:
            return CancelAfter(_span(fields["after"]))
        if not node.entries():
            node.problem("`after` is missing: how long the job is cancelling, such as {after: 2s}")
    elif node.is_text and node.written in EFFECTS:
        return EFFECTS[node.written]
    elif node.written:
        node.problem(f"{unknown('effect', node.written, EFFECTS)}, {{after: 2s}}")
    else:
        node.problem(f"must be one of {', '.join(EFFECTS)}, {{after: 2s}}")
    return CancelEffect.AT_ONCE


def _when(node: Node, apis: Apis) -> When:
    fields = node.fields(WHEN_KEYS, prefix=REQUEST)
    if node.is_mapping and not node.raw.value:
        node.problem("holds no condition; leave `when` out for a rule that takes every job")
    return When(
        apis=_api_names(fields["api"], apis) if "api" in fields else (),
        kinds=_globs(fields["kind"]) if "kind" in fields else (),
        numbers=_numbers(fields["number"]) if "number" in fields else None,
        fields=tuple(_field(key, value) for key, value in fields.items() if key.startswith(REQUEST)),
    )


def _one_or_several(node: Node) -> list[Node]:
    if not node.is_list:
        return [node]
    items = node.items()
    if not items:
        node.problem("an empty list fits no job")
    return items


def _api_names(node: Node, apis: Apis) -> tuple[str, ...]:
    names = _one_or_several(node)
    for name in names:
        if not name.is_text:
            name.problem("must be the name of an API")
        elif name.written not in apis:
            name.problem(unknown("API", name.written, apis))
    return tuple(name.written for name in names)


def _globs(node: Node) -> tuple[Glob, ...]:
    return tuple(_glob(item) for item in _one_or_several(node))


def _glob(node: Node) -> Glob:
    try:
        return Glob.of(text_of(node.scalar()))
    except ValueError as error:
        node.problem(str(error))
        return Glob.of("")


def _field(key: str, node: Node) -> Field:
    path = key.removeprefix(REQUEST)
    if not 0 < len(path) <= PATH_CHARACTERS_MAX:
        node.problem(f"a path has 1 to {PATH_CHARACTERS_MAX} characters: request.name, request.inputs.0.url")
    return Field(path, _globs(node))


def _numbers(node: Node) -> tuple[int, int]:
    numbers = _whole_range(node)
    if numbers is None:
        node.problem("must be a job number like 3 or a range like 2..5")
    elif numbers[0] < 1:
        node.problem("jobs are counted from 1")
    elif numbers[0] > numbers[1]:
        node.problem(f"runs backwards; write {numbers[1]}..{numbers[0]}")
    return numbers or (1, 1)


def _whole_range(node: Node) -> tuple[int, int] | None:
    found = _WHOLE_RANGE.fullmatch(node.written)
    if found is None:
        return None
    first, last = found.groups()
    return int(first), int(last or first)


_WHOLE_RANGE = re.compile(r"\s*([0-9]{1,9})\s*(?:\.\.\s*([0-9]{1,9})\s*)?")


# ---- scripts --------------------------------------------------------------------------------------------------------


def _script(node: Node) -> Script:
    items = node.items()
    if node.is_list and not items:
        node.problem("needs at least one step, such as `running: 2s`")
    steps: list[Step] = []
    before: Step | None = None
    reached: int | None = None
    for item in items:
        step = _step(item, before)
        if step is not None:
            if before is not None:
                _check_order(item, before, step)
            reached = _check_progress(item, step, reached)
            steps.append(step)
        before = step
    if before is not None and isinstance(before.lasts, Span) and before.state not in FINAL:
        word = before.state.value
        items[-1].warn(
            f"the script ends here and the job stays {word}; end with succeeded, failed or cancelled, or say `{word}: forever`"
        )
    return Script(tuple(steps))


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
    if start != end and not isinstance(step.lasts, Span):
        node.warn(f"progress stays at {start}: a step without an end has no time to reach {end} in")
    return end


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
    return Step(
        state,
        _lasting(value, word),
        progress=progress,
        message=fields["message"].text() if "message" in fields else None,
        cause=node.cause,
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
    if not value.is_mapping:
        value.problem(f"must be {_FINAL_FORMS[state]}, or `{word}` alone")
        return Step(state, cause=node.cause)
    known = _FINAL_KEYS[state]
    if state is State.FAILED:
        for key, _ in value.entries():
            if key.written in ("code", "details"):
                value.problem(
                    f"`{key.written}` belongs to the error: write `failed: {{error: {{{key.written}: …}}}}`"
                )
                return Step(state, cause=node.cause)
    fields = value.fields(known)
    result = fields["result"].json() if "result" in fields else None
    if "result" in fields and result is None:
        fields["result"].warn("a null result is as none: the API makes one up")
    if state is State.FAILED and "message" in fields and "error" not in fields:
        fields["message"].warn("the error has a message of its own: `failed: {error: {message: …}}`")
    return Step(
        state,
        message=fields["message"].text() if "message" in fields else None,
        failure=_failure(fields["error"]) if "error" in fields else None,
        result=result,
        cause=node.cause,
    )


_FINAL_KEYS = {
    State.SUCCEEDED: ("result", "message"),
    State.FAILED: ("error", "message"),
    State.CANCELLED: ("message",),
}
_FINAL_FORMS = {
    State.SUCCEEDED: "{result: …}",
    State.FAILED: "{error: {code: …, message: …}}",
    State.CANCELLED: "{message: …}",
}


def _failure(node: Node) -> Failure:
    texts: dict[str, Any] = {
        key: value.text() for key, value in node.fields(("message", "code", "details")).items()
    }
    return Failure(**texts)


def _progress(node: Node) -> tuple[int, int]:
    progress = _whole_range(node)
    if progress is None or max(progress) > 100:
        node.problem("must be a percentage from 0 to 100 or a range of them like 0..60")
    elif progress[0] > progress[1]:
        node.problem(f"progress does not fall; write {progress[1]}..{progress[0]}")
    return progress or (0, 0)


# ---- durations ------------------------------------------------------------------------------------------------------


def _lasting(node: Node, word: str) -> Span | Lasting:
    if node.is_text and node.written in ("forever", "hold"):
        return Lasting(node.written)
    if node.is_null:
        node.problem(f"how long? Write `{word}: 2s`, or `{word}: forever`")
        return Lasting.HOLD
    return _span(node)


def _span(node: Node) -> Span:
    """A duration or a range of durations."""
    if node.is_mapping or node.is_list or node.is_null:
        node.problem("must be a duration like 2s or a range like 2s..5s")
        return Span(0, 0)
    low, dots, high = node.written.partition("..")
    low_ms = _milliseconds(node, low)
    high_ms = _milliseconds(node, high) if dots else low_ms
    if low_ms is None or high_ms is None:
        return Span(0, 0)
    if low_ms > high_ms:
        node.problem(f"runs backwards; write {high.strip()}..{low.strip()}")
        return Span(high_ms, low_ms)
    return Span(low_ms, high_ms)


def _milliseconds(node: Node, text: str) -> int | None:
    text = text.strip()
    if text.startswith("-"):
        node.problem(f"{shown(text)} is negative; time only goes forward")
    elif _BARE_NUMBER.fullmatch(text):
        number = shown(text, quote=False)
        node.problem(f"{number} has no unit; write {number}s for seconds")
    elif len(text) > _DURATION_CHARACTERS_MAX:
        node.problem(f"{shown(text)} is not a duration")
    else:
        try:
            return parse_duration(text)
        except ValueError as error:
            node.problem(str(error))
    return None


_BARE_NUMBER = re.compile(r"\+?[0-9]+(?:\.[0-9]+)?")
_DURATION_CHARACTERS_MAX = 100
