"""Where the documents and the shipped scenarios are: in a wheel beside the code, in a checkout beside the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
GROUPS = (
    "basic",
    "submit",
    "queue",
    "poll",
    "result",
    "list",
    "cancel",
    "fail",
    "retry",
    "fault",
    "token",
    "worker",
    "flavour",
)
"""What the shipped scenarios are about, in the order in which a client meets it."""


def resource_folder(name: str) -> Path:
    """The folder `openapi` or `scenarios`, in a wheel, an editable install or a checkout.

    Raises:
        FileNotFoundError: the installation is incomplete.
    """
    for folder in (_PACKAGE / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"the folder {name}/ is missing beside {_PACKAGE}; please install understudy again"
    )


def shipped_scenarios() -> dict[str, Path]:
    """The scenarios that come with understudy, by name."""
    files = resource_folder("scenarios").glob("*.yaml")
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem)}


def scenario_group(name: str) -> str:
    """What a shipped scenario is about: its first word where that is a group, else it is a basic one."""
    word = name.partition("-")[0]
    return word if word in GROUPS else GROUPS[0]
