"""The path templates of one document, for what routing alone does not tell: a complete `Allow`, and who shadows whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PARAMETER = re.compile(r"\{([^}]*)\}")


_SEGMENT = "[^/]+"


def _pattern_of(schema: Mapping[str, Any]) -> str:
    """What Connexion lets a path parameter be; `format: path` may hold slashes."""
    if schema.get("type") == "integer":
        return "[+-]?[0-9]+"
    return ".+" if schema.get("format") == "path" else _SEGMENT


class _Template:
    def __init__(self, base_path: str, template: str, item: Mapping[str, Any]) -> None:
        patterns = {
            parameter["name"]: _pattern_of(parameter["schema"])
            for holder in (item, *(item[method] for method in _METHODS if method in item))
            for parameter in holder.get("parameters", ())
            if parameter["in"] == "path"
        }
        literals = _PARAMETER.split(template)
        pattern, sample = re.escape(base_path), base_path
        for place, text in enumerate(literals):
            if place % 2 == 0:
                pattern += re.escape(text)
                sample += text
            else:
                pattern += patterns.get(text, _SEGMENT)
                sample += "0"
        self.template = template
        self.pattern = re.compile(pattern)
        self.sample = sample
        self.methods = [method.upper() for method in _METHODS if method in item]

    def hides(self, other: _Template) -> bool:
        """Whether this one is the more special of two that both match some path."""
        return (
            other.pattern.fullmatch(self.sample) is not None and self.pattern.fullmatch(other.sample) is None
        )


class PathTable:
    """All path templates of a document, below its base path. `spec` has its references resolved."""

    def __init__(self, base_path: str, spec: Mapping[str, Any]) -> None:
        self._templates = [_Template(base_path, path, item) for path, item in spec["paths"].items()]

    def methods_at(self, path: str) -> list[str]:
        """Documented methods of the most special template that matches; empty when none does."""
        matching = [one for one in self._templates if one.pattern.fullmatch(path)]
        special = [one for one in matching if not any(other.hides(one) for other in matching)]
        return list(dict.fromkeys(method for one in special for method in one.methods))

    def pattern_of(self, template: str) -> re.Pattern[str]:
        """What a path under this template looks like."""
        return self._named(template).pattern

    def rivals_of(self, template: str) -> list[re.Pattern[str]]:
        """Patterns of the templates that are more special than this one where both match."""
        mine = self._named(template)
        return [one.pattern for one in self._templates if one.hides(mine)]

    def _named(self, template: str) -> _Template:
        return next(one for one in self._templates if one.template == template)
