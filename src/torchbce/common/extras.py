"""The packages of the extra `train`, and what to install where one is missing."""

from __future__ import annotations

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
