"""From a YAML file to a `Scenario`, or to everything that is wrong with the file at once.

One function per construct of the language. Each notes what is wrong and goes on with a harmless stand-in, so that one reading
finds every problem; a scenario is made only when there was none. Lines are kept: each step and rule knows where it was written.
Scripts are read by `steps`, rules for calls by `calls`, and `extend` finds the files that a file extends.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from simulator.engine.script import CancelTooLate, Part, Script
from simulator.scenario.calls import CallRules, Declared, read_calls
from simulator.scenario.extend import (
    Files,
    Find,
    Layer,
    merged_calls,
    merged_crew,
    merged_rules,
    merged_settings,
)
from simulator.scenario.match import GLOB_CHARACTERS_MAX, Field, When, text_of
from simulator.scenario.model import JobRule, Scenario
from simulator.scenario.nodes import Node, Problem, shown, unknown
from simulator.scenario.setting import Setting
from simulator.scenario.steps import read_log, read_on_cancel, read_script
from simulator.scenario.values import counted, globs, milliseconds, one_or_several

__all__ = ["Problem", "ScenarioError", "check_scenario", "read_scenario"]

Apis = Mapping[str, Mapping[str, Setting]]
"""The settings of each API there is, by API name."""

TOP_KEYS = ("description", "$schema", "extends", "apis", "workers", "jobs", "calls")
RULE_KEYS = ("when", "script", "attempts", "on_cancel", "log", "no_log")
REQUEST = "request."
WHEN_KEYS = ("api", "kind", "number", "every", "chance", f"{REQUEST}<path>")
PATH_CHARACTERS_MAX = GLOB_CHARACTERS_MAX
ATTEMPTS_MAX = 100


class ScenarioError(Exception):
    """The file cannot be used; `problems` says everything that must be mended."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        super().__init__(problems)

    def __str__(self) -> str:
        return "\n".join(map(str, self.problems))


def read_scenario(
    source: Path | str,
    *,
    apis: Apis,
    name: str | None = None,
    shown_as: str | None = None,
    declared: Declared | None = None,
    find: Find | None = None,
    texts: Mapping[str, str] | None = None,
) -> Scenario:
    """The scenario in a file (`Path`) or a YAML text (`str`).

    Args:
        apis: which APIs there are, with the settings that a scenario may set.
        name: how a person calls it; default: the file's stem.
        shown_as: the file's path as messages and histories show it.
        declared: what the documents allow to answer; without it nobody compares.
        find: the file of a shipped scenario by its name, for those that extend it; without it there are none.
        texts: what the files said (`Scenario.sources`); then `shown_as` says which is the first, and no file is opened.

    Raises:
        ScenarioError: with every problem of the file and of those that it extends.
    """
    scenario, problems = check_scenario(
        source, apis=apis, name=name, shown_as=shown_as, declared=declared, find=find, texts=texts
    )
    if scenario is None:
        raise ScenarioError(tuple(problem for problem in problems if problem.severity == "error"))
    return scenario


def check_scenario(
    source: Path | str,
    *,
    apis: Apis,
    name: str | None = None,
    shown_as: str | None = None,
    declared: Declared | None = None,
    find: Find | None = None,
    texts: Mapping[str, str] | None = None,
) -> tuple[Scenario | None, tuple[Problem, ...]]:
    """As `read_scenario`, but with the warnings, and without raising: the scenario is None when there are errors."""
    called = name or (source.stem if isinstance(source, Path) else "inline")
    shown_source = shown_as or (str(source) if isinstance(source, Path) else called)

    def read(top: Node, is_extended: bool) -> Layer:
        return _layer(top, apis, declared, is_extended=is_extended)

    files = Files(read, find, texts)
    files.open(source, shown_source)
    problems = tuple(problem for notes in files.notes for problem in notes.problems)
    if any(notes.has_errors for notes in files.notes):
        return None, problems
    layers = files.layers
    defaults = {
        api: {name: setting.default for name, setting in known.items()} for api, known in apis.items()
    }
    scenario = Scenario(
        name=called,
        description=layers[0].description,
        source=shown_source,
        settings=merged_settings(layers, defaults),
        crew=merged_crew(layers),
        rules=merged_rules(layers),
        calls=merged_calls(layers),
        sources=tuple((notes.file, notes.text) for notes in files.notes),
    )
    return scenario, problems


def _layer(top: Node, apis: Apis, declared: Declared | None, *, is_extended: bool) -> Layer:
    fields = top.fields(TOP_KEYS)
    if top.is_mapping and not is_extended and "jobs" not in fields and "extends" not in fields:
        top.problem(
            "`jobs` is missing: a list of rules, such as `jobs: [{script: [running: 2s, succeeded]}]`"
        )
    return Layer(
        description=fields["description"].text() if "description" in fields else "",
        settings=_settings(fields["apis"], apis) if "apis" in fields else {},
        crew=_crew(fields["workers"], apis) if "workers" in fields else {},
        rules=_rules(fields["jobs"], apis) if "jobs" in fields else (),
        calls=read_calls(fields["calls"], apis, declared) if "calls" in fields else CallRules(),
        extends=fields.get("extends"),
    )


# ---- apis and workers -----------------------------------------------------------------------------------------------


def _settings(node: Node, apis: Apis) -> dict[str, dict[str, Any]]:
    """What the file sets."""
    return {
        api: {
            name: _setting(value, apis[api][name])
            for name, value in chosen.fields(apis[api], "setting").items()
        }
        for api, chosen in node.fields(apis, "API").items()
    }


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
    return milliseconds(node, node.written)


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
    if node.is_mapping and "script" not in fields and "attempts" not in fields:
        node.problem("`script` is missing: a list of steps, such as `script: [running: 2s, succeeded]`")
    if "script" in fields and "attempts" in fields:
        fields["attempts"].problem("a rule has one of script and attempts")
    if "attempts" in fields:
        scripts = _attempts(fields["attempts"])
    else:
        scripts = [read_script(fields["script"])] if "script" in fields else [Script(())]
    on_cancel = read_on_cancel(fields["on_cancel"]) if "on_cancel" in fields else None
    if isinstance(on_cancel, CancelTooLate) and scripts[-1].steps and scripts[-1].end is None:
        fields["on_cancel"].problem(
            "too_late needs an end to come to: end the script with succeeded, failed or cancelled"
        )
    log, no_log = read_log(fields)
    part: Part | None = None
    for attempt in range(len(scripts), 0, -1):
        part = Part(scripts[attempt - 1], on_cancel, node.cause, log, no_log, attempt, part)
    assert part is not None
    return JobRule(_when(fields["when"], apis) if "when" in fields else When(), part)


def _attempts(node: Node) -> list[Script]:
    """The script of each attempt, at least one."""
    items = node.items()
    if node.is_list and not items:
        node.problem("needs at least one script, such as `- [running: 2s, failed]`")
    if len(items) > ATTEMPTS_MAX:
        items[ATTEMPTS_MAX].problem(f"a rule has at most {ATTEMPTS_MAX} attempts; the last one repeats")
        items = items[:ATTEMPTS_MAX]
    last = items[-1].path if items else ""
    return [read_script(item, goes_on=item.path != last) for item in items] or [Script(())]


def _when(node: Node, apis: Apis) -> When:
    fields = node.fields(WHEN_KEYS, prefix=REQUEST)
    if node.is_mapping and not node.raw.value:
        node.problem("holds no condition; leave `when` out for a rule that takes every job")
    return When(
        apis=_api_names(fields["api"], apis) if "api" in fields else (),
        kinds=globs(fields["kind"]) if "kind" in fields else (),
        numbers=counted(fields["number"], "job") if "number" in fields else None,
        fields=tuple(_field(key, value) for key, value in fields.items() if key.startswith(REQUEST)),
        every=_every(fields["every"]) if "every" in fields else None,
        chance=_chance(fields["chance"]) if "chance" in fields else None,
    )


def _api_names(node: Node, apis: Apis) -> tuple[str, ...]:
    names = one_or_several(node)
    for name in names:
        if not name.is_text:
            name.problem("must be the name of an API")
        elif name.written not in apis:
            name.problem(unknown("API", name.written, apis))
    return tuple(name.written for name in names)


def _field(key: str, node: Node) -> Field:
    path = key.removeprefix(REQUEST)
    if not 0 < len(path) <= PATH_CHARACTERS_MAX:
        node.problem(f"a path has 1 to {PATH_CHARACTERS_MAX} characters: request.name, request.inputs.0.url")
    return Field(path, globs(node))


def _every(node: Node) -> int:
    value = node.scalar() if node.is_scalar else None
    if type(value) is int and value > 0:
        return value
    node.problem("must be a whole number from 1 on: 3 for every third job of the world")
    return 1


def _chance(node: Node) -> float:
    value = node.scalar() if node.is_scalar else None
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1:
        return value
    node.problem("must be a number above 0 and up to 1, such as 0.1 for one job in ten")
    return 1
