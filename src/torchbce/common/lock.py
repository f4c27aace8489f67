"""The lock of a folder's name: a hidden file beside it.

The system frees it when its holder is gone, however that ended.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: names are not held there
    fcntl = None

Lock = tuple[int, Path]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a name for the block; False where another process holds it.

    Raises:
        OSError: the folder it lies in is not there, or cannot be written.
    """
    lock = take(folder)
    try:
        yield lock is not None
    finally:
        release(lock)


def take(folder: Path) -> Lock | None:
    """The lock of a name, held; None where somebody else holds it."""
    path = folder.with_name(f".{folder.name}.lock")
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        if fcntl is None:
            return handle, path
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle, path
        os.close(handle)  # its last holder has removed it meanwhile


def release(lock: Lock | None) -> None:
    """Let go of it, if it is held."""
    if lock is not None:
        handle, path = lock
        path.unlink(missing_ok=True)  # while it is held, so that nobody takes a lock that is gone
        os.close(handle)
