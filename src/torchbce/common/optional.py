"""Libraries that only some results need."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


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
