"""The lock of a folder's name: a hidden file beside it, held with filelock.

The system frees it when its holder is gone, however that ended.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold a name for the block; False where another process holds it.

    Raises:
        OSError: the folder it lies in does not exist, or cannot be written.
    """
    lock = take(folder)
    try:
        yield lock is not None
    finally:
        release(lock)


def take(folder: Path) -> BaseFileLock | None:
    """Return the lock of a name, held; None where another process holds it.

    Raises:
        OSError: the folder it lies in does not exist, or cannot be written.
    """
    path = folder.with_name(f".{folder.name}.lock")
    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(2, "No such file or directory", str(path))
    lock = FileLock(path, timeout=0, mode=0o600, thread_local=False, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        return None
    return lock


def release(lock: BaseFileLock | None) -> None:
    """Release a lock, if it is held, and remove its file."""
    if lock is not None:
        with contextlib.suppress(OSError):  # Windows, where filelock removes it
            Path(lock.lock_file).unlink()  # while it is held: who opens it later locks another file
        lock.release()
