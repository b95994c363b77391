"""Where the documents and the shipped scenarios are: in a wheel beside the code, in a checkout beside the package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


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
    return {path.stem: path for path in sorted(resource_folder("scenarios").glob("*.yaml"))}
