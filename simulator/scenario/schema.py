"""The scenario language as a JSON Schema, for editors: what can be written where, and what it means.

It says what a schema can say: keys, types, words, and the form of durations and ranges. What follows from two places at once
(which step may come after which, a range that runs backwards, a rule that never fires) only the reader knows;
`tests/scenario/test_schema.py` lists all of that, and keeps the rest equal. Alternatives are kept shallow and told apart by their
type, so that a validator's message speaks of the mistake and not of all the things that were not meant.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from simulator.engine.fill import VARIABLES
from simulator.engine.job import State
from simulator.scenario.calls import FAULTS, FRAMING, ROLES, VIOLATES, FaultKind
from simulator.scenario.match import GLOB_CHARACTERS_MAX
from simulator.scenario.read import ATTEMPTS_MAX
from simulator.scenario.setting import Setting
from simulator.scenario.steps import EFFECTS, ENDS, PROGRESSING, TIMED

Schema = dict[str, Any]

SCHEMA_ID = "urn:understudy:scenario"
_NUMBER = r"[0-9]+(\.[0-9]+)?"
_PLAIN_TIME = rf"({_NUMBER}(ms|s|m|h|d))+"
_ISO_TIME = rf"[Pp](?=[Tt]?[0-9])([0-9]+[Dd])?([Tt]([0-9]+[Hh])?([0-9]+[Mm])?({_NUMBER}[Ss])?)?"
_TIME = rf"\s*({_PLAIN_TIME}|{_ISO_TIME})\s*"
_COUNT = r"0*[1-9][0-9]{0,8}"
_PERCENT = r"0{0,6}(100|[1-9]?[0-9])"
DURATION = rf"^{_TIME}$"
SPAN = rf"^{_TIME}(\.\.{_TIME})?$"
LASTING = rf"^({_TIME}(\.\.{_TIME})?|\s*{_COUNT}\s*(\.\.\s*{_COUNT})?\s+polls?\s*|forever|hold)$"
COUNTED = rf"^\s*{_COUNT}\s*(\.\.\s*{_COUNT}\s*)?$"
PERCENTS = rf"^\s*{_PERCENT}\s*(\.\.\s*{_PERCENT}\s*)?$"
HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
MEDIA_TYPE = r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(\s*;.*)?$"


def scenario_schema(apis: Mapping[str, Mapping[str, Setting]]) -> Schema:
    """The schema of a whole file, with the settings of these APIs."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "understudy scenario",
        "description": "What jobs do and what happens to calls, once for all APIs.",
        **_mapping(
            {
                "$schema": {"description": "Where this schema is, for editors. Not looked at."},
                "description": _text("What happens, and which clients meet it."),
                "extends": _said(
                    "Other scenarios whose rules come after the ones of this file: names of shipped ones, or paths from here.",
                    _one_or_several(
                        _text("A shipped scenario's name, or a path such as ./base.yaml.", minLength=1)
                    ),
                ),
                "apis": _said("Settings, by API.", _mapping(_each_api(apis, _settings))),
                "workers": _said(
                    "How many jobs run at once, by API; without an entry, as many as there are.",
                    _mapping(_each_api(apis, _workers)),
                ),
                "jobs": {
                    "description": "Rules that give scripts to jobs; the first one whose `when` holds is taken.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/jobRule"},
                },
                "calls": {
                    "description": "Rules that answer or disturb calls; the first one that fires takes the call.",
                    "type": "array",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/callRule"},
                },
            }
        ),
        "anyOf": [{"required": ["jobs"]}, {"required": ["extends"]}],
        "$defs": _definitions(tuple(apis)),
    }


def _definitions(apis: tuple[str, ...]) -> Schema:
    return {
        "jobRule": _job_rule(),
        "jobWhen": _job_when(apis),
        "script": {
            "description": "States in order, each with how long it lasts. The last one is succeeded, failed or cancelled, or the job stays where it is.",
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/step"},
        },
        "step": {
            "description": "A state and how long it lasts, such as `running: 2s`; a final state stands alone.",
            "type": ["string", "object"],
            "if": {"type": "string"},
            "then": {"enum": [*ENDS, "hold", "forever"]},
            "else": {"$ref": "#/$defs/longStep"},
        },
        "longStep": _long_step((*TIMED, *ENDS)),
        "final": _long_step(tuple(ENDS)),
        "onCancel": _on_cancel(),
        "callRule": _call_rule(),
        "callWhen": _call_when(apis),
        "answer": _answer(),
        "fault": _fault(),
        "text": _text(
            f"A text with variables: {', '.join(f'{{{name}}}' for name in VARIABLES)}, {{request.<path>}}; {{{{ and }}}} are braces."
        ),
        "duration": {
            "description": "A time such as 250ms, 2s, 1m30s, 1h or PT5M.",
            "type": "string",
            "pattern": DURATION,
            "examples": ["250ms", "2s", "1m30s", "1h", "PT5M"],
        },
        "span": {
            "description": "A time such as 2s, or a range 2s..5s from which the seed draws.",
            "type": "string",
            "pattern": SPAN,
            "examples": ["2s", "200ms..800ms"],
        },
        "lasting": {
            "description": "A time (2s), a range from which the seed draws (2s..5s), a number of status calls (3 polls), forever, or hold: until it is released.",
            "type": "string",
            "pattern": LASTING,
            "examples": ["2s", "2s..5s", "3 polls", "forever", "hold"],
        },
        "counted": {
            "description": "A number counted from 1, or a range such as 2..4.",
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": 999_999_999,
            "pattern": COUNTED,
        },
        "globs": _said(
            "A pattern over the whole value (* ? [a-c]), or several, of which one must fit; upper and lower case count.",
            _one_or_several(
                {"type": ["string", "number", "boolean", "null"], "maxLength": GLOB_CHARACTERS_MAX}
            ),
        ),
        "chance": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    }


# ---- settings and workers -------------------------------------------------------------------------------------------


def _each_api(apis: Mapping[str, Mapping[str, Setting]], make: Any) -> Schema:
    return {name: make(name, settings) for name, settings in apis.items()}


def _settings(name: str, settings: Mapping[str, Setting]) -> Schema:
    return _said(
        f"Settings of {name}.", _mapping({key: _setting(setting) for key, setting in settings.items()})
    )


def _setting(setting: Setting) -> Schema:
    description = setting.description
    if setting.default is not None:
        description = f"{description} (default: {setting.shown_default})"
    if setting.type is timedelta:
        return {"$ref": "#/$defs/duration", "description": description}
    value: Schema = {"type": {bool: "boolean", int: "integer", str: "string", list: "string"}[setting.type]}
    if setting.choices:
        value["enum"] = list(setting.choices)
    if setting.type is list:
        return {"description": description, "type": "array", "items": value}
    return _said(description, value)


def _workers(name: str, _: Mapping[str, Setting]) -> Schema:
    return {
        "description": f"{name}: so many at once, `external` (nothing runs by itself) or `unlimited`.",
        "type": ["integer", "string"],
        "if": {"type": "string"},
        "then": {"enum": ["external", "unlimited"]},
        "else": {"minimum": 1},
    }


# ---- rules for jobs -------------------------------------------------------------------------------------------------


def _job_rule() -> Schema:
    return {
        "description": "What the jobs that meet `when` do.",
        **_mapping(
            {
                "when": {"$ref": "#/$defs/jobWhen"},
                "script": {"$ref": "#/$defs/script"},
                "attempts": {
                    "description": "A script for each attempt at the same work; the last one repeats.",
                    "type": "array",
                    "minItems": 1,
                    "maxItems": ATTEMPTS_MAX,
                    "items": {"$ref": "#/$defs/script"},
                },
                "on_cancel": {"$ref": "#/$defs/onCancel"},
                **_log(),
            }
        ),
        "oneOf": [{"required": ["script"]}, {"required": ["attempts"]}],
        "dependentSchemas": _no_log_beside_a_log(),
    }


def _job_when(apis: tuple[str, ...]) -> Schema:
    return {
        "description": "All of it must hold. Leave `when` out for a rule that takes every job.",
        **_mapping(
            {
                "api": _words("The API, or several.", apis),
                "kind": _globs("What is asked for: a command class, a process id, an image."),
                "number": _counted("Which jobs, counted over all jobs of the world."),
                "every": _whole("Every third job: 3.", 1),
                "chance": _chance("The share of jobs, above 0 and up to 1; the seed draws which."),
            },
            {"request": "What the request has at a path: request.name, request.inputs.0.url."},
        ),
        "minProperties": 1,
    }


def _log() -> Schema:
    return {
        "log": _refer("text", "The log that is left, where the API has one."),
        "no_log": {"description": "There is no log, and none is made up.", "type": "boolean"},
    }


def _no_log_beside_a_log() -> Schema:
    return {"log": {"properties": {"no_log": {"const": False}}}}


def _long_step(states: tuple[str, ...]) -> Schema:
    properties: Schema = {}
    alone: Schema = {}
    for state in states:
        if state in TIMED:
            properties[state] = _refer("lasting", f"How long the job is {state}.")
            if TIMED[state] not in PROGRESSING:
                alone[state] = {"not": {"required": ["progress"]}}
        else:
            properties[state] = _final(State(state))
            alone[state] = {"maxProperties": 1}
    if any(state in TIMED for state in states):
        properties["progress"] = {
            "description": "Percent, or from and to: 0..60. It does not fall.",
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 100,
            "pattern": PERCENTS,
        }
        properties["message"] = _refer("text", "What the job says it is doing.")
    return {
        "description": "One state, and what can be seen of it.",
        **_mapping(properties),
        "oneOf": [{"required": [state]} for state in states],
        "dependentSchemas": alone,
    }


def _final(state: State) -> Schema:
    message = {"message": _refer("text", "What the job says last.")}
    if state is State.SUCCEEDED:
        fields = {
            "result": {"description": "The result; its texts may have variables. Without one it is made up."},
            "no_result": {"description": "There is no result, and none is made up.", "type": "boolean"},
            **message,
            **_log(),
        }
        beside = {**_no_log_beside_a_log(), "result": {"properties": {"no_result": {"const": False}}}}
        return _final_form("The job succeeds.", ["null", "object"], fields, beside)
    if state is State.FAILED:
        error = {
            "description": "Why: a message alone, or with a code and details.",
            **_mapping(
                {
                    "code": _refer("text", "A short stable word: timeout, out_of_memory."),
                    "message": _refer("text", "One line."),
                    "details": _refer("text", "Longer text, such as a stack trace."),
                }
            ),
            "type": ["string", "object"],
        }
        fields = {"error": error, **message, **_log()}
        return _final_form(
            "The job fails; a text alone is the error's message.",
            ["null", "string", "object"],
            fields,
            _no_log_beside_a_log(),
        )
    return _final_form(
        "The job is cancelled.", ["null", "object"], {**message, **_log()}, _no_log_beside_a_log()
    )


def _final_form(description: str, types: list[str], fields: Schema, beside: Schema) -> Schema:
    return {"description": description, **_mapping(fields), "type": types, "dependentSchemas": beside}


def _on_cancel() -> Schema:
    long = {
        **_mapping(
            {
                "after": _refer("span", "How long the job is cancelling."),
                "then": {
                    "description": "How it ends then; without it the job is cancelled.",
                    "type": ["string", "object"],
                    "if": {"type": "string"},
                    "then": {"enum": list(ENDS)},
                    "else": {"$ref": "#/$defs/final"},
                },
            }
        ),
        "required": ["after"],
    }
    return {
        "description": "What cancelling does: at_once, ignored (told that all is well), refused, too_late (it ends just before), or {after: 2s}. Without it, as the API does.",
        "type": ["string", "object"],
        "if": {"type": "string"},
        "then": {"enum": list(EFFECTS)},
        "else": long,
    }


# ---- rules for calls ------------------------------------------------------------------------------------------------


def _call_rule() -> Schema:
    one_of = ("answer", "fault", "rate_limit")
    return {
        "description": "What happens to the calls that meet `when`.",
        **_mapping(
            {
                "when": {"$ref": "#/$defs/callWhen"},
                "answer": {"$ref": "#/$defs/answer"},
                "fault": {"$ref": "#/$defs/fault"},
                "delay": _refer("span", "The answer comes so much later."),
                "rate_limit": {
                    "description": "More calls than this in such a time are answered by 429 with Retry-After.",
                    **_mapping(
                        {
                            "calls": _whole("So many calls are let through.", 0),
                            "per": _refer("duration", "In so much virtual time, from the first of them on."),
                        }
                    ),
                    "required": ["calls", "per"],
                },
                "violates": _words("What of the API's document the answer breaks on purpose.", VIOLATES),
            }
        ),
        "anyOf": [{"required": [key]} for key in (*one_of, "delay")],
        "dependentSchemas": {
            "answer": {"not": {"anyOf": [{"required": ["fault"]}, {"required": ["rate_limit"]}]}},
            "fault": {"not": {"required": ["rate_limit"]}},
            "violates": {"anyOf": [{"required": ["answer"]}, {"required": ["rate_limit"]}]},
        },
    }


def _call_when(apis: tuple[str, ...]) -> Schema:
    return {
        "description": "All of it must hold. Leave `when` out for a rule that takes every call.",
        **_mapping(
            {
                "api": _words("The API, or several.", apis),
                "role": _words("What the operation does to jobs, the same word for all APIs.", ROLES),
                "operation": _globs("The operationId in the API's document."),
                "call": _counted("Which of the calls that meet all else, counted per job: 2, or 2..4."),
                "every": _whole("Every third of them: 3.", 1),
                "after": _refer("duration", "So long after the job's submit, or the world's start."),
                "chance": _chance("The share of calls, above 0 and up to 1; the seed draws which."),
                "state": _words(
                    "The state that the job of the call is in.", [state.value for state in State]
                ),
                "number": _counted("Which jobs, counted over all jobs of the world."),
            },
            {
                "request": "What the body has at a path: request.name.",
                "header": "What a header says: header.Authorization.",
                "query": "What a query parameter says: query.status.",
            },
        ),
        "minProperties": 1,
    }


def _answer() -> Schema:
    reserved = "|".join(
        "".join(f"[{a.upper()}{a}]" if a.isalpha() else a for a in name) for name in sorted(FRAMING)
    )
    return {
        "description": "What is answered instead of the service's own words.",
        **_mapping(
            {
                "status": _whole("HTTP status.", 200, 599),
                "headers": {
                    "description": "Headers, by name.",
                    "type": "object",
                    "propertyNames": {"pattern": HEADER_NAME, "not": {"pattern": f"^({reserved})$"}},
                    "additionalProperties": {
                        "type": ["string", "number", "boolean"],
                        "pattern": "^[ -~]*$",
                    },
                },
                "body": {
                    "description": "A JSON value, or a text. Without it, the API's own error for the status."
                },
            }
        ),
        "required": ["status"],
    }


def _fault() -> Schema:
    taking = {kind.name: _fault_value(kind) for kind in FAULTS.values() if kind.takes is not None}
    listed = "\n".join(f"{kind.name}: {kind.meaning}" for kind in FAULTS.values())
    return {
        "description": f"What goes wrong with the call.\n{listed}",
        "type": ["string", "object"],
        "if": {"type": "string"},
        "then": {"enum": list(FAULTS)},
        "else": {**_mapping(taking), "minProperties": 1, "maxProperties": 1},
    }


def _fault_value(kind: FaultKind) -> Schema:
    if kind.takes == "duration":
        return _refer("duration", kind.meaning)
    if kind.takes == "status":
        return {"description": kind.meaning, "enum": [int(one) for one in HTTPStatus if one >= 400]}
    if kind.takes == "media type":
        return _text(kind.meaning, pattern=MEDIA_TYPE)
    return _text(kind.meaning, minLength=1)


# ---- parts of schemas -----------------------------------------------------------------------------------------------


def _said(description: str, schema: Schema) -> Schema:
    return {"description": description, **schema}


def _refer(name: str, description: str) -> Schema:
    return {"$ref": f"#/$defs/{name}", "description": description}


def _mapping(properties: Mapping[str, Any], prefixes: Mapping[str, str] | None = None) -> Schema:
    """An object with these keys and no others, save those that begin with a prefix and a dot."""
    schema: Schema = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    if prefixes:
        schema["patternProperties"] = {
            rf"^{prefix}\.[\s\S]{{1,{GLOB_CHARACTERS_MAX}}}$": _globs(description)
            for prefix, description in prefixes.items()
        }
    return schema


def _one_or_several(schema: Schema) -> Schema:
    """A value, or a list of such values with at least one in it."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {
        "type": [*types, "array"],
        "if": {"type": "array"},
        "then": {"minItems": 1, "items": schema},
        "else": schema,
    }


def _words(description: str, known: Iterable[str]) -> Schema:
    return _said(description, _one_or_several({"type": "string", "enum": list(known)}))


def _text(description: str, **more: Any) -> Schema:
    return {"description": description, "type": "string", **more}


def _globs(description: str) -> Schema:
    return _refer("globs", description)


def _counted(description: str) -> Schema:
    return _refer("counted", description)


def _chance(description: str) -> Schema:
    return _refer("chance", description)


def _whole(description: str, low: int, high: int | None = None) -> Schema:
    schema = {"description": description, "type": "integer", "minimum": low}
    return schema if high is None else schema | {"maximum": high}
