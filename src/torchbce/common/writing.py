"""The one way to write a file: it appears whole or not at all.

The draft lies beside the file, under a name that nobody can foresee and that is not followed if it is there already.
Links are followed, so what a link points to is replaced and the link stays; a file that exists keeps its permissions, a
new one gets those of the umask. What is no regular file (a terminal, a pipe, /dev/null) is written as it is.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from torchbce.common.errors import OutputError

__all__ = ["is_same_file", "is_utf8", "naming", "obstacle", "sync", "whole_file"]


@contextlib.contextmanager
def whole_file(path: Path, mode: int = 0o666, *, durable: bool = False) -> Iterator[IO[bytes]]:
    """Open a file to write into, which becomes `path` at the end of the block; after an error nothing has changed.

    `durable`: it is on the disk, not only in the system's memory, before it gets its name.

    Raises:
        OSError: it cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        before = target.stat().st_mode
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before):
        with target.open("wb") as file:
            yield file
        return
    draft = target.with_name(f".torchbce-{secrets.token_hex(8)}.draft")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if before is not None:
                os.chmod(draft, stat.S_IMODE(before))
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, target)
        if durable:
            sync(target.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(draft)
        raise


@contextlib.contextmanager
def naming(path: Path, way_out: str = "") -> Iterator[None]:
    """Name what cannot be written in an error of writing it.

    Raises:
        OutputError: in place of an OSError of the block; `way_out` ends its message.
    """
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}{way_out}") from error


def obstacle(path: Path) -> str | None:
    """Return why a file cannot be written, as far as it shows beforehand; None where nothing is in the way."""
    target = Path(os.path.realpath(path))
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return _obstacle_in(target.parent)
    except OSError as error:
        return error.strerror
    if stat.S_ISDIR(mode):
        return "it is a folder"
    if stat.S_ISREG(mode):
        return _obstacle_in(target.parent)
    return None if os.access(target, os.W_OK) else "it may not be written"


def _obstacle_in(folder: Path) -> str | None:
    """Return why no file can be made in a folder."""
    if not folder.exists():
        return f"the folder {folder} does not exist"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"the folder {folder} may not be written"


def sync(path: Path) -> None:
    """Put a file, or the names in a folder, on the disk and not only into the system's memory, on POSIX."""
    if os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_utf8(path: Path) -> bool:
    """Return whether the name can be given to libraries that take UTF-8 alone."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_same_file(one: Path, other: Path) -> bool:
    """Return whether both names lead to one file that exists."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
