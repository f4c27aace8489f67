"""What several processes of one run of the tests need is made by the first of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import filelock
import pytest


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the folder `name` of this run of the tests, which `make` fills in the first process that needs it."""
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # each worker has a folder below the run's
    folder = base / name
    with filelock.FileLock(base / f"{name}.lock"):
        if not (base / f"{name}.made").exists():
            folder.mkdir(exist_ok=True)
            make(folder)
            (base / f"{name}.made").touch()
    return folder
