"""The cache of machine code on disk.

Code that is loaded is run. So it is read only from a folder that this user owns and nobody else may write, and only
from files that this user owns.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import filelock  # before `machine_code` registers for forks: its locks are then taken before filelock's
import platformdirs

from torchbce.common.ownership import is_own
from torchbce.common.writing import whole_file

PATIENCE = 60.0  # seconds that a process waits for another one that makes the same file


@functools.cache
def folder(chosen: str | None) -> Path | None:
    """Return `chosen` (TORCHBCE_CACHE), else the user's cache folder, else one in the folder for temporary files.

    None if none of them can be used: then every process compiles for itself. There may be no home, as for a user
    without an entry in /etc/passwd, and it may be read-only.
    """
    folders = [Path(chosen)] if chosen else []
    with contextlib.suppress(RuntimeError, KeyError, OSError):  # no home
        folders.append(platformdirs.user_cache_path("torchbce"))
    folders.append(Path(tempfile.gettempdir()) / f"torchbce-{_user()}")
    return next((path for path in folders if _is_usable(path)), None)


def read(file: Path) -> bytes | None:
    """Return the content of a file, if it exists, is whole and this user's."""
    stored = owned(file)
    if stored is None:
        return None
    digest, content = stored[:32], stored[32:]
    return content if digest == hashlib.sha256(content).digest() else None


def write(file: Path, content: bytes) -> None:
    """Write a file with its digest; a failure is ignored."""
    put(file, hashlib.sha256(content).digest() + content)


@contextlib.contextmanager
def made_once(file: Path) -> Iterator[None]:
    """Let no other process make this file in the block, unless it cannot be locked or another one takes too long."""
    lock = filelock.FileLock(file.with_suffix(".lock"), timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # a Timeout is an OSError; some file systems cannot
            stack.enter_context(lock)
        yield


def owned(file: Path) -> bytes | None:
    """Return all bytes of a file, if this user owns it."""
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as opened:
            return opened.read() if is_own(os.fstat(opened.fileno())) else None
    except OSError:
        return None


def put(file: Path, content: bytes) -> None:
    """Write a file that only this user can read; a failure is ignored."""
    with contextlib.suppress(OSError), whole_file(file, 0o600) as out:
        out.write(content)


def _is_usable(path: Path) -> bool:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(status.st_mode) or not is_own(status):
        warnings.warn(
            f"{path} is not used for compiled kernels: it must be a folder of this user alone (chmod 700)",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return os.access(path, os.W_OK | os.X_OK)


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"
