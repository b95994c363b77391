"""The contract of one operation, compiled once at start: parameter readers, body and reply validators.

Nothing in here knows an API by name. Requests that break the document become a `Problem` for the API's envelope; replies that
do are our own bug.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qs

from connexion.uri_parsing import OpenAPIURIParser

from simulator.apis.contract import Kind, Problem
from simulator.apis.negotiation import media_type_of
from simulator.web.body import for_validation
from simulator.web.schema import Validator, Violation

_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_ANYTHING: dict[str, Any] = {}
SLASH = "\udc2f"
"""Stands for an encoded slash inside a path parameter while the path is matched; no decoded UTF-8 text contains it."""


def readable(path: str) -> str:
    """A path for messages: what stands for an encoded slash cannot be written in UTF-8."""
    return path.replace(SLASH, "%2F")


def _as_integer(text: str) -> Any:
    return int(text) if _INTEGER.fullmatch(text) else text


def _as_number(text: str) -> Any:
    return float(text) if _NUMBER.fullmatch(text) else text


def _as_boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.lower(), text)


def _as_text(text: str) -> Any:
    return text


_COERCE: dict[str, Callable[[str], Any]] = {
    "integer": _as_integer,
    "number": _as_number,
    "boolean": _as_boolean,
}


class Parameter:
    """One documented parameter: where it is, how its text becomes a value, what the value must be."""

    def __init__(self, definition: Mapping[str, Any], compile_: Callable[[Any], Validator]) -> None:
        schema = definition["schema"]
        self.name: str = definition["name"]
        self.where: str = definition["in"]
        self.is_required = bool(definition.get("required"))
        self.has_default = "default" in schema
        self.default = schema.get("default")
        self.is_array = schema.get("type") == "array"
        # An array is read repeated and comma-separated, unless its document insists on the former.
        self.is_repeated = self.is_array and definition.get("explode") is True
        self._coerce = _COERCE.get(schema.get("type", ""), _as_text)
        self._coerce_item = _COERCE.get(schema.get("items", {}).get("type", ""), _as_text)
        self._validator = compile_(schema)
        # The commonest schema by far, `type: string` and nothing else, accepts every text.
        self._accepts_any_text = {
            key for key in schema if key not in ("description", "example", "default")
        } == {"type"} and schema["type"] == "string"

    def read(self, raw: Any) -> Any:
        """The typed value of a text (or of a list of texts).

        Raises:
            Problem: BAD_PARAMETER.
        """
        if isinstance(raw, list):
            value: Any = [self._coerce_item(item) if isinstance(item, str) else item for item in raw]
        elif isinstance(raw, str):
            value = self._coerce(raw)
        else:
            value = raw
        if self._accepts_any_text and isinstance(value, str):
            return value
        if not self._validator.accepts(value):
            violation = self._validator.violation(value)
            raise Problem(
                Kind.BAD_PARAMETER,
                f"{self.where} parameter {self.name}: {violation.message}",
                where=self.where,
                pointer=self.name,
                value=raw,
            )
        return value

    def missing(self) -> Problem:
        """The refusal of a call without it."""
        return Problem(
            Kind.BAD_PARAMETER,
            f"{self.where} parameter {self.name} is required",
            where=self.where,
            pointer=self.name,
        )


class Parameters:
    """All parameters of one operation."""

    def __init__(self, definitions: list[Mapping[str, Any]], compile_: Callable[[Any], Validator]) -> None:
        parameters = [Parameter(definition, compile_) for definition in definitions]
        # Starlette allows no hyphen in names, and Connexion writes an underscore instead.
        self._path = [(one.name.replace("-", "_"), one) for one in parameters if one.where == "path"]
        self._query = [one for one in parameters if one.where == "query"]
        self._header = [(one.name.lower(), one) for one in parameters if one.where == "header"]
        arrays = {one.name for one in self._query if one.is_array and not one.is_repeated}
        self._arrays = [definition for definition in definitions if definition["name"] in arrays]
        self._uri_parser = OpenAPIURIParser(self._arrays, {})
        self._query_defaults = {one.name: one.default for one in self._query if one.has_default}
        self._query_is_optional = not any(one.is_required for one in self._query)

    def read(self, path: Mapping[str, Any], query: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """Typed values by documented name; absent ones without a default are missing.

        Raises:
            Problem: BAD_PARAMETER, for the first parameter that is missing or wrong.
        """
        values: dict[str, Any] = {}
        for key, parameter in self._path:
            raw = path[key]
            if isinstance(raw, str) and SLASH in raw:
                raw = raw.replace(SLASH, "/")
            values[parameter.name] = parameter.read(raw)
        if not query and self._query_is_optional:
            values |= self._query_defaults
        elif self._query:
            self._read_query(query, values)
        for key, parameter in self._header:
            text = headers.get(key)
            if text is not None:
                values[parameter.name] = parameter.read(text)
            elif parameter.is_required:
                raise parameter.missing()
            elif parameter.has_default:
                values[parameter.name] = parameter.default
        return values

    def _read_query(self, query: bytes, values: dict[str, Any]) -> None:
        try:
            given = parse_qs(query.decode("latin-1"), keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise Problem(
                Kind.BAD_PARAMETER, "there are more than 1000 query parameters", where="query"
            ) from None
        arrays = {}
        if self._arrays:
            wanted = {name: given[name] for name in (one["name"] for one in self._arrays) if name in given}
            arrays = self._uri_parser.resolve_query(wanted)
        for parameter in self._query:
            if parameter.name in arrays:
                values[parameter.name] = parameter.read(arrays[parameter.name])
            elif parameter.name in given:
                texts = given[parameter.name]
                values[parameter.name] = parameter.read(texts if parameter.is_repeated else texts[-1])
            elif parameter.is_required:
                raise parameter.missing()
            elif parameter.has_default:
                values[parameter.name] = parameter.default


class RequestBody:
    """What an operation takes: its media types, each with its schema."""

    def __init__(self, definition: Mapping[str, Any], compile_: Callable[[Any], Validator]) -> None:
        self.is_required = bool(definition.get("required"))
        self._by_media_type = {
            media_type.lower(): compile_(content.get("schema", _ANYTHING))
            for media_type, content in definition["content"].items()
        }
        self.media_types: list[str] = list(self._by_media_type)

    def media_type_for(self, content_type: str | None) -> str:
        """The declared media type that a Content-Type falls under; without one, the first.

        Raises:
            Problem: UNSUPPORTED_MEDIA_TYPE.
        """
        if not content_type:
            return self.media_types[0]
        wanted = media_type_of(content_type)
        if wanted in self._by_media_type:
            return wanted
        for declared in self.media_types:
            if "*" in declared and re.fullmatch(re.escape(declared).replace(r"\*", ".*"), wanted):
                return declared
        raise Problem(
            Kind.UNSUPPORTED_MEDIA_TYPE,
            f"Content-Type {content_type!r} is not taken here; send {' or '.join(self.media_types)}",
            where="header",
            pointer="Content-Type",
            value=content_type,
        )

    def check(self, value: Any, media_type: str) -> None:
        """Compare a decoded body with its schema.

        Raises:
            Problem: BAD_BODY, pointing at the first thing that is wrong.
        """
        validator = self._by_media_type[media_type]
        seen = for_validation(value) if media_type.startswith("multipart/") else value
        if validator.accepts(seen):
            return
        violation = validator.violation(seen)
        raise Problem(
            Kind.BAD_BODY,
            f"body{violation.pointer}: {violation.message}",
            where="body",
            pointer=violation.pointer,
        )


class Replies:
    """What an operation may answer, by status and media type."""

    def __init__(self, responses: Mapping[str, Any], compile_: Callable[[Any], Validator]) -> None:
        self._by_status = {
            str(status): _Response(response, compile_) for status, response in responses.items()
        }
        successes = [r for status, r in sorted(self._by_status.items()) if status.startswith("2")]
        self.media_types: list[str] = list(
            dict.fromkeys(name for response in successes for name in response.contents)
        )
        """Media types of the successful answers, preferred first."""

    def violation(
        self, status: int, media_type: str | None, value: Any, headers: Mapping[str, str]
    ) -> Violation | None:
        """How this reply breaks the document; None when it does not.

        `value` is the JSON value or the text that is sent, None for an empty body.
        """
        response = self._response_to(status)
        if response is None:
            return Violation("", f"status {status} is not declared")
        return response.violation(media_type, value, headers)

    def _response_to(self, status: int) -> _Response | None:
        known = self._by_status
        return known.get(str(status)) or known.get(f"{status // 100}XX") or known.get("default")

    def has_type(self, status: int, media_type: str | None) -> bool:
        """Whether an answer with this status may have this media type (or, for None, no body)."""
        response = self._response_to(status)
        return response is not None and response.has_type(media_type)


class _Response:
    def __init__(self, response: Mapping[str, Any], compile_: Callable[[Any], Validator]) -> None:
        self.contents = {
            media_type.lower(): compile_(content.get("schema", _ANYTHING))
            for media_type, content in response.get("content", {}).items()
        }
        self._required_headers = [
            name.lower() for name, header in response.get("headers", {}).items() if header.get("required")
        ]

    def has_type(self, media_type: str | None) -> bool:
        if media_type is None:
            return not self.contents
        return media_type in self.contents or media_type_of(media_type) in self.contents

    def violation(self, media_type: str | None, value: Any, headers: Mapping[str, str]) -> Violation | None:
        for name in self._required_headers:
            if not any(given.lower() == name for given in headers):
                return Violation("", f"header {name} is required and missing")
        if media_type is None:
            return Violation("", "the declared body is missing") if self.contents else None
        validator = self.contents.get(media_type) or self.contents.get(media_type_of(media_type))
        if validator is None:
            return Violation("", f"content type {media_type} is not declared")
        if validator.accepts(value):
            return None
        return validator.violation(value)
