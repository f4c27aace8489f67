"""What to install where a library is missing: an extra of torchbce, or the packages that one result needs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

EXTRAS = {
    "train": ("jinja2", "matplotlib", "polars", "pydantic", "rich", "safetensors", "sklearn", "typer", "zstandard"),
    "files": ("fastexcel", "pyreadstat"),
}  # by their names, what they let be imported


def how_to_install(user: str, error: ModuleNotFoundError) -> str | None:
    """Return what to install for `user`, or None if what is missing is no package of an extra."""
    missing = (error.name or "").partition(".")[0]
    extra = next((extra for extra, packages in EXTRAS.items() if missing in packages), None)
    return extra and f"{user} needs {missing}; install it with: pip install 'torchbce[{extra}]'"


@contextlib.contextmanager
def needed(what: str, packages: str) -> Iterator[None]:
    """Say what to install where the imports of the block fail; `what` needs `packages`.

    Raises:
        ModuleNotFoundError: a library is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"{what} needs {packages}; pip install {packages.replace(' and', '')}") from error
