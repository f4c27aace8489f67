"""Where machine code is kept between processes, and whom it may come from.

Code that is loaded is run. So it is read only from a folder that is this user's own and that nobody else may write, and
only from files that are this user's own.
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

import filelock  # before `machine_code` asks to be told of forks: it is told first then, and filelock holds nobody up
import platformdirs

from torchbce.common.ownership import is_own
from torchbce.common.writing import whole_file

PATIENCE = 60.0  # seconds that a process waits for another one that makes the same file


@functools.cache
def folder(chosen: str | None) -> Path | None:
    """`chosen` (TORCHBCE_CACHE), else the user's cache folder, else one in the folder for temporary files.

    None where none of them can be used: then every process compiles for itself. There may be no home, as for a user
    without an entry in /etc/passwd, and it may be read-only.
    """
    places = [Path(chosen)] if chosen else []
    with contextlib.suppress(RuntimeError, KeyError, OSError):  # no home
        places.append(platformdirs.user_cache_path("torchbce"))
    places.append(Path(tempfile.gettempdir()) / f"torchbce-{_user()}")
    return next((place for place in places if _usable(place)), None)


def read(file: Path) -> bytes | None:
    """The content, if it is there, whole and our own."""
    stored = owned(file)
    if stored is None:
        return None
    digest, content = stored[:32], stored[32:]
    return content if digest == hashlib.sha256(content).digest() else None


def write(file: Path, content: bytes) -> None:
    """Keep it; not being able to is allowed."""
    put(file, hashlib.sha256(content).digest() + content)


@contextlib.contextmanager
def made_once(file: Path) -> Iterator[None]:
    """For the block, no other process makes this file; all may where it cannot be held, or another is long about it."""
    lock = filelock.FileLock(file.with_suffix(".lock"), timeout=PATIENCE)
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError, NotImplementedError):  # a Timeout is an OSError; some file systems cannot
            stack.enter_context(lock)
        yield


def owned(file: Path) -> bytes | None:
    """All bytes of a file of our own."""
    try:
        handle = os.open(file, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(handle, "rb") as opened:
            return opened.read() if is_own(os.fstat(opened.fileno())) else None
    except OSError:
        return None


def put(file: Path, content: bytes) -> None:
    """A file of our own with these bytes; not being able to is allowed."""
    with contextlib.suppress(OSError), whole_file(file, 0o600) as out:
        out.write(content)


def _usable(place: Path) -> bool:
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
    except OSError:
        return False
    if not stat.S_ISDIR(found.st_mode) or not is_own(found):
        warnings.warn(
            f"{place} is not used for compiled kernels: it must be a folder of this user alone (chmod 700)",
            RuntimeWarning,
            stacklevel=2,
        )
        return False
    return os.access(place, os.W_OK | os.X_OK)


def _user() -> str:
    return str(os.geteuid()) if hasattr(os, "geteuid") else "user"
