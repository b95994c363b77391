"""What runs, tasks and lists of ICA share: whose things are, how they are named, and what is shown of an execution.

What comes back of a request are the fields that the service knows, with their defaults, and none of the secrets: no passwords,
no storage credentials.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from simulator.engine.draw import draw_bytes, draw_uuid

REGION = "aps2"


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose runs and tasks they are: in one world, always the same."""

    tenant: str
    workgroup: str
    user: str
    acl: tuple[str, str]
    """Who may see a thing when its request names nobody."""

    def urn(self, kind: str, id_: str, name: str | None) -> str:
        """How a thing of this owner is called anywhere."""
        return f"urn:ilmn:iap:{REGION}:{self.tenant}:{kind}:{id_}" + (f"#{name}" if name else "")


@lru_cache(maxsize=1000)
def owner_of(seed: int) -> Owner:
    """The one owner in a world with this seed."""
    # 61 bytes are the 82 letters that the service's tenants have.
    tenant = to_base64(b"".join(draw_bytes(seed, "ica", "tenant", part) for part in range(4))[:61])
    workgroup = f"wid:{draw_uuid(seed, 'ica', 'workgroup')}"
    return Owner(tenant, workgroup, draw_uuid(seed, "ica", "user"), (f"tid:{tenant}", workgroup))


def to_base64(data: bytes) -> str:
    """Letters that a url takes as they are, without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def to_json(value: Any) -> bytes:
    """JSON without a space too many."""
    return json.dumps(value, separators=(",", ":")).encode()


def shown_execution(request: Mapping[str, Any], retries: int = 0) -> dict[str, Any]:
    """What a request for a run or for a task version executes, as the service shows it."""
    execution: dict[str, Any] = _execution(request.get("execution", {}))
    execution.setdefault("retryLimit", 3)
    execution["retryCount"] = retries
    return execution


NAMES = {
    name.lower(): name
    for name in (
        *("name", "description", "acl", "execution", "version", "taskVersions", "arguments", "image"),
        *(
            "tag",
            "digest",
            "credentials",
            "command",
            "args",
            "inputs",
            "outputs",
            "systemFiles",
            "environment",
        ),
        *(
            "workingDirectory",
            "retryLimit",
            "retryCount",
            "storageProvider",
            "path",
            "url",
            "urn",
            "mode",
            "type",
        ),
        *("serviceUrl", "variables", "resources", "size", "cpuCores", "memoryGb", "hardware", "tier"),
        *("inputStreamSettings", "accessPattern", "cacheSizeGB", "blockSizeMB", "prefetchBlocks"),
        *(
            "lastHeartbeat",
            "podName",
            "podUID",
            "podHardwareDetails",
            "jobRetryCount",
            "nonce",
            "containerStatus",
        ),
        *("state", "waiting", "running", "terminated", "reason", "message", "startedAt", "finishedAt"),
        *("exitCode", "signal", "containerID"),
    )
}
"""Lower case → the property of a request as the document spells it."""
MAPS = frozenset({"variables", "credentials", "arguments"})
"""Properties whose keys are the client's own."""


def prepared(body: Any, settings: Mapping[str, Any]) -> Any:
    """A request under the setting `ignore_case`: with its properties in the spelling of the document."""
    return _respelt(body) if settings["ignore_case"] else body


def _respelt(value: Any) -> Any:
    if isinstance(value, list):
        return [_respelt(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = ((NAMES.get(name.lower(), name), part) for name, part in value.items())
    return {name: part if name in MAPS else _respelt(part) for name, part in named}


Known = Callable[[Any], Any]
"""From a value of a request to what is known of it."""


def _object(fields: Mapping[str, Known | None], defaults: Mapping[str, Any] | None = None) -> Known:
    """What is known of an object: these fields, None for those with any value; with defaults when it was asked for."""
    shapes = dict(fields)
    given = dict(defaults or ())

    def known(asked: Mapping[str, Any]) -> dict[str, Any]:
        found = given.copy()
        # As many steps as there are fields in the request, which are few: each new run comes this way.
        for name, value in asked.items():
            if name not in shapes:
                continue
            shape = shapes[name]
            if shape is not None:
                value = shape(value)
            if value or value != {}:
                found[name] = value
        return found

    return known


def _each(shape: Known) -> Known:
    return lambda asked: [shape(item) for item in asked]


# Secrets are not among what is known.
MOUNT = dict.fromkeys(("storageProvider", "path", "url", "urn", "mode", "type", "serviceUrl"))
RESOURCES = dict.fromkeys(("type", "size", "cpuCores", "memoryGb", "hardware", "tier"))
STREAMS = {"accessPattern": "sequential", "cacheSizeGB": 50, "blockSizeMB": 32, "prefetchBlocks": 32}
_execution = _object(
    {
        "image": _object(
            {"name": None, "tag": None, "digest": None, "credentials": _object({"username": None})}
        ),
        "command": None,
        "args": None,
        "inputs": _each(_object(MOUNT, {"type": "File"})),
        "outputs": _each(_object(MOUNT)),
        "systemFiles": _object(MOUNT),
        "environment": _object(
            {
                "variables": None,
                # Users test these two for 0, and a missing one breaks them.
                "resources": _object(RESOURCES, {"cpuCores": 0, "memoryGb": 0}),
                "inputStreamSettings": _object(dict.fromkeys(STREAMS), STREAMS),
            }
        ),
        "workingDirectory": None,
        "retryLimit": None,
    }
)
