"""Tasks and their versions: what a run is launched from, kept beside the jobs in the memory of the world.

A task is a name for its versions; a version says what is executed, with placeholders `{{name}}` in its texts that a launch
fills in. Neither is a job: they have no state, nothing happens to them by themselves, and there is no call that removes one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from simulator.apis.contract import Call, Kind, Problem, iso
from simulator.apis.ica_pages import Wanted
from simulator.apis.ica_parts import owner_of, shown_execution
from simulator.engine.command import Keep
from simulator.engine.draw import draw_hex
from simulator.engine.errors import EngineError, LimitReached
from simulator.engine.world import World

API = "ica"
TASK_FIELDS = ("name", "description", "acl")
VERSION_FIELDS = ("version", "description", "acl", "execution")
PLACEHOLDER = re.compile(r"\{\{([^{}]+)\}\}")
FILLED_CHARACTERS_MAX = 1_048_576
"""Most that the arguments of a launch may put into an execution: a short one may stand in it many times."""

Definition = Mapping[str, Any]
"""What is kept of a task or a version: what was asked for, and when. Never changed, only replaced."""


class Unknown(EngineError):
    """There is no such task or version."""

    def __init__(self, what: str, id_: str) -> None:
        self.what = what
        self.id = id_
        super().__init__(what, id_)

    def __str__(self) -> str:
        return f"There is no {self.what} {self.id}."


class Taken(EngineError):
    """Another task, or another version of the task, has this name."""

    def __init__(self, what: str, name: str) -> None:
        self.what = what
        self.name = name
        super().__init__(what, name)

    def __str__(self) -> str:
        return f"There is a {self.what} {self.name} already."


# ---- tasks ----------------------------------------------------------------------------------------------------------


def add_task(request: Mapping[str, Any], world: World) -> str:
    """Keep a new task with the versions that came along, all or none; its id.

    Raises:
        Taken: its name, or that of a version.
        LimitReached: there is no room for all of it.
    """
    _require_free("task", request["name"], "name", _tasks(world))
    number = len(world.kept_keys(API, _task_key(""))) + 1
    task_id = f"tdn.{draw_hex(world.seed, API, 'task', number)}"
    versions = _new_versions(task_id, request.get("taskVersions", ()), world)
    _keep({_task_key(task_id): _defined(request, TASK_FIELDS, world), **versions}, world)
    return task_id


def amend_task(task_id: str, request: Mapping[str, Any], world: World) -> None:
    """Replace what the request names.

    Raises:
        Unknown: no such task.
        Taken: the new name.
    """
    before = _task(task_id, world)
    if "name" in request:
        others = {id_: task for id_, task in _tasks(world).items() if id_ != task_id}
        _require_free("task", request["name"], "name", others)
    _amend(_task_key(task_id), before, request, TASK_FIELDS, world)


def shown_task(task_id: str, call: Call) -> dict[str, Any]:
    """The wire form of a task with its versions, as creating and updating answer it."""
    view = shown_task_summary(task_id, call)
    versions = [shown_version(task_id, version_id, call) for version_id in _versions(task_id, call.world)]
    if versions:
        view["taskVersions"] = versions
    return view


def shown_task_summary(task_id: str, call: Call) -> dict[str, Any]:
    """The wire form of a task without its versions, as reading answers it.

    Raises:
        Unknown: no such task.
    """
    task = _task(task_id, call.world)
    view = _shown(task, "task", task_id, f"/v1/tasks/{task_id}", task["name"], call)
    view["name"] = task["name"]
    return view


def listed_tasks(wanted: Wanted, call: Call) -> tuple[list[dict[str, Any]], int]:
    """The summaries of a page, and how many tasks there are on all pages."""
    names = wanted.any_of("names")
    found = {
        id_: task
        for id_, task in _tasks(call.world).items()
        if (not names or task["name"] in names) and _is_open_to(task, wanted, call)
    }
    ids = _in_order(found, wanted, {"name": _name_of_task})
    return [shown_task_summary(id_, call) for id_ in _of_page(ids, wanted)], len(ids)


# ---- versions -------------------------------------------------------------------------------------------------------


def add_version(task_id: str, request: Mapping[str, Any], world: World) -> str:
    """Keep a new version of a task; its id.

    Raises:
        Unknown: no such task.
        Taken: the task has a version of this name.
        LimitReached: there is no room for it.
    """
    _task(task_id, world)
    versions = _new_versions(task_id, [request], world)
    _keep(versions, world)
    return next(iter(versions)).removeprefix(_version_key(task_id, ""))


def amend_version(task_id: str, version_id: str, request: Mapping[str, Any], world: World) -> None:
    """Replace what the request names; runs launched earlier keep what they execute.

    Raises:
        Unknown: no such task, or it has no such version.
        Taken: the new name.
    """
    before = _version(task_id, version_id, world)
    if "version" in request:
        others = {id_: one for id_, one in _versions(task_id, world).items() if id_ != version_id}
        _require_free("version", request["version"], "version", others)
    _amend(_version_key(task_id, version_id), before, request, VERSION_FIELDS, world)


def shown_version(task_id: str, version_id: str, call: Call) -> dict[str, Any]:
    """The wire form of a version with what it executes, placeholders and all.

    Raises:
        Unknown: no such task, or it has no such version.
    """
    view = shown_version_summary(task_id, version_id, call)
    view["execution"] = shown_execution(_version(task_id, version_id, call.world))
    return view


def shown_version_summary(task_id: str, version_id: str, call: Call) -> dict[str, Any]:
    """The wire form of a version in lists and in the runs that were launched from it."""
    version = _version(task_id, version_id, call.world)
    path = f"/v1/tasks/{task_id}/versions/{version_id}"
    view = _shown(version, "taskversion", version_id, path, version["version"], call)
    view["version"] = version["version"]
    return view


def listed_versions(task_id: str, wanted: Wanted, call: Call) -> tuple[list[dict[str, Any]], int]:
    """The summaries of a page, and how many versions there are on all pages.

    Raises:
        Unknown: no such task.
    """
    _task(task_id, call.world)
    names, ids_wanted = wanted.any_of("versions"), wanted.any_of("ids")
    found = {
        id_: version
        for id_, version in _versions(task_id, call.world).items()
        if (not names or version["version"] in names)
        and (not ids_wanted or id_ in ids_wanted)
        and _is_open_to(version, wanted, call)
    }
    ids = _in_order(found, wanted, {"name": _name_of_version, "version": _name_of_version})
    return [shown_version_summary(task_id, id_, call) for id_ in _of_page(ids, wanted)], len(ids)


# ---- launching ------------------------------------------------------------------------------------------------------


def run_request(task_id: str, version_id: str, request: Mapping[str, Any], world: World) -> dict[str, Any]:
    """The request for a run that launching this version is short for.

    Raises:
        Unknown: no such task, or it has no such version.
        Problem: arguments are missing, are too long, or leave the image without a name.
    """
    version = _version(task_id, version_id, world)
    asked = {
        "name": request.get("name", version["version"]),
        "description": request.get("description", version.get("description", "")),
    }
    if "acl" in request:
        asked["acl"] = request["acl"]
    if "execution" in version:
        asked["execution"] = filled_in(version["execution"], request.get("arguments", {}))
    return asked


def filled_in(execution: Mapping[str, Any], arguments: Mapping[str, str]) -> dict[str, Any]:
    """An execution with an argument in the place of each placeholder, in all its texts and in the names of its maps.

    Raises:
        Problem: arguments are missing, are too long, or leave the image without a name.
    """
    missing: dict[str, None] = {}
    characters = 0

    def argument(placeholder: re.Match[str]) -> str:
        nonlocal characters
        text = arguments.get(placeholder[1])
        if text is None:
            missing[placeholder[1]] = None
            return ""
        characters += len(text)
        if characters > FILLED_CHARACTERS_MAX:
            raise Problem(
                Kind.TOO_LARGE,
                f"the arguments make the execution longer than {FILLED_CHARACTERS_MAX} characters",
                where="body",
                pointer="/arguments",
            )
        return text

    def filled(part: Any) -> Any:
        if isinstance(part, str):
            return PLACEHOLDER.sub(argument, part) if "{{" in part else part
        if isinstance(part, dict):
            return {filled(name): filled(value) for name, value in part.items()}
        if isinstance(part, list):
            return [filled(item) for item in part]
        return part

    found: dict[str, Any] = filled(execution)
    if missing:
        raise _bad_arguments(f"{', '.join(missing)} must be given")
    if found.get("image", {}).get("name") == "":
        raise _bad_arguments("they leave the image without a name")
    return found


def _bad_arguments(why: str) -> Problem:
    return Problem(Kind.BAD_BODY, f"body/arguments: {why}", where="body", pointer="/arguments")


# ---- what is kept ---------------------------------------------------------------------------------------------------


def _task_key(task_id: str) -> str:
    return f"task/{task_id}"


def _version_key(task_id: str, version_id: str) -> str:
    return f"version/{task_id}/{version_id}"


def _task(task_id: str, world: World) -> Definition:
    task: Definition | None = world.kept(API, _task_key(task_id))
    if task is None:
        raise Unknown("task", task_id)
    return task


def _version(task_id: str, version_id: str, world: World) -> Definition:
    _task(task_id, world)
    version: Definition | None = world.kept(API, _version_key(task_id, version_id))
    if version is None:
        raise Unknown("version", version_id)
    return version


def _tasks(world: World) -> dict[str, Definition]:
    """All tasks by id, in the order they were made."""
    return _kept_under(_task_key(""), world)


def _versions(task_id: str, world: World) -> dict[str, Definition]:
    """All versions of a task by id, in the order they were made."""
    return _kept_under(_version_key(task_id, ""), world)


def _kept_under(prefix: str, world: World) -> dict[str, Definition]:
    return {key.removeprefix(prefix): world.kept(API, key) for key in world.kept_keys(API, prefix)}


def _new_versions(task_id: str, requests: Iterable[Mapping[str, Any]], world: World) -> dict[str, Definition]:
    """What is to be kept of new versions of a task, by key.

    Raises:
        Taken: a name, by a version that there is or by another of them.
    """
    first = len(world.kept_keys(API, "version/")) + 1
    names = {version["version"] for version in _versions(task_id, world).values()}
    found = {}
    for number, request in enumerate(requests, first):
        if request["version"] in names:
            raise Taken("version", request["version"])
        names.add(request["version"])
        version_id = f"tvn.{draw_hex(world.seed, API, 'version', number)}"
        found[_version_key(task_id, version_id)] = _defined(request, VERSION_FIELDS, world)
    return found


def _require_free(what: str, name: str, field: str, others: Mapping[str, Definition]) -> None:
    if any(other[field] == name for other in others.values()):
        raise Taken(what, name)


def _defined(request: Mapping[str, Any], fields: tuple[str, ...], world: World) -> Definition:
    return {field: request[field] for field in fields if field in request} | {"created_ms": world.now_ms}


def _amend(
    key: str, before: Definition, request: Mapping[str, Any], fields: tuple[str, ...], world: World
) -> None:
    changes = {field: request[field] for field in fields if field in request}
    if changes:
        _keep({key: {**before, **changes, "modified_ms": world.now_ms}}, world)


def _keep(definitions: Mapping[str, Definition], world: World) -> None:
    """Keep all of it, or nothing when there is no room for all."""
    kept = []
    try:
        for key, definition in definitions.items():
            world.apply(Keep(API, key, definition))
            kept.append(key)
    except LimitReached:
        for key in kept:
            world.apply(Keep(API, key, None))
        raise


# ---- what is shown --------------------------------------------------------------------------------------------------


def _shown(definition: Definition, kind: str, id_: str, path: str, name: str, call: Call) -> dict[str, Any]:
    """What the wire forms of tasks and versions have in common."""
    owner = owner_of(call.world.seed)
    view = {
        "id": id_,
        "href": call.base_url + path,
        "urn": owner.urn(kind, id_, name),
        "acl": definition.get("acl") or list(owner.acl),
        "tenantId": owner.tenant,
        "subTenantId": owner.workgroup,
        "createdBy": owner.user,
        "timeCreated": iso(definition["created_ms"]),
        "timeModified": iso(definition.get("modified_ms", definition["created_ms"])),
    }
    if definition.get("description"):
        view["description"] = definition["description"]
    if "modified_ms" in definition:
        view["modifiedBy"] = owner.user
    return view


def _is_open_to(definition: Definition, wanted: Wanted, call: Call) -> bool:
    """Whether its access list has one of the entries that the list was asked for."""
    entries = wanted.any_of("acls")
    acl = definition.get("acl") or owner_of(call.world.seed).acl
    return not entries or not set(entries).isdisjoint(acl)


def _name_of_task(task: Definition) -> Any:
    return task["name"]


def _name_of_version(version: Definition) -> Any:
    return version["version"]


def _time_modified(definition: Definition) -> Any:
    return definition.get("modified_ms", definition["created_ms"])


def _in_order(
    found: Mapping[str, Definition], wanted: Wanted, names: Mapping[str, Callable[[Definition], Any]]
) -> list[str]:
    """The ids in the order that is wanted; ties, and no order at all, are in the order in which things were made."""
    field, is_descending = wanted.order
    ids = list(found)
    key = {**names, "timeModified": _time_modified}.get(field)
    if key is not None:
        ids.sort(key=lambda id_: key(found[id_]))
    if is_descending:
        ids.reverse()
    return ids


def _of_page(ids: list[str], wanted: Wanted) -> list[str]:
    return ids[wanted.offset : wanted.offset + wanted.size]
