"""What makes thousands of servers in one process bearable."""

from __future__ import annotations

import warnings
from typing import Any

import orjson

with warnings.catch_warnings():
    # What third parties import is theirs to mend.
    warnings.simplefilter("ignore")
    from connexion.spec import Specification

_valid: set[bytes] = set()
_validate = Specification._validate_spec.__func__


def _validate_once(cls: type[Specification], document: Any) -> None:
    """Connexion looks at a document anew for each server; the same document need not be looked at twice."""
    key = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    if key not in _valid:
        _validate(cls, document)
        _valid.add(key)


Specification._validate_spec = classmethod(_validate_once)
