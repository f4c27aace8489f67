"""What to install where a library is missing: the extra `train`, or the packages that one result needs."""

from __future__ import annotations

import importlib

TRAIN = (
    "jinja2",
    "matplotlib",
    "polars",
    "pydantic",
    "rich",
    "safetensors",
    "sklearn",
    "typer",
    "zstandard",
)  # imports


def how_to_install(user: str, error: ModuleNotFoundError) -> str | None:
    """Return what to install for `user`, or None if what is missing is no package of the extra."""
    missing = (error.name or "").partition(".")[0]
    return f"{user} needs {missing}; install it with: pip install 'torchbce[train]'" if missing in TRAIN else None


def require_packages(user: str, *packages: str, error: type[Exception] = ModuleNotFoundError) -> None:
    """Raise `error`, which says what to install, unless all packages that `user` needs can be imported."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as missing:
            raise error(
                f"{user} needs {' and '.join(packages)}; install it with: pip install {' '.join(packages)}"
            ) from missing
