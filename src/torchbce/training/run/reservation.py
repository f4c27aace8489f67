"""The name of a run, held from its start: of two trainings that begin together, each gets a folder of its own.

A hidden lock file beside the folder is locked by the system, so it is free again when its process is gone, however that
ended. Drafts that dead runs left are removed by the next one that gets the name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchbce.common.errors import OutputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: names are not held there
    fcntl = None


@dataclass
class Reservation:
    """A folder that nobody else will make, and the hidden one to write into until `finish`."""

    folder: Path
    draft: Path
    finished: bool = False

    def finish(self) -> None:
        """The folder appears, whole.

        Raises:
            OSError: it cannot be.
        """
        mask = _umask()
        self.draft.chmod(0o777 & ~mask)
        for path in self.draft.iterdir():  # safetensors writes files that only their owner may read
            path.chmod(0o666 & ~mask)
        os.rename(self.draft, self.folder)
        self.finished = True


@contextlib.contextmanager
def reserved(folder: Path, *, exact: bool) -> Iterator[Reservation]:
    """The folder, or, unless it has to be `exact`, the first of folder-2, folder-3 ... that is free.

    Raises:
        OutputError: it exists, another run is about to make it, or it cannot be written.
    """
    made = _missing_parents(folder)
    candidate, number = folder, 2
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while (lock := _lock(candidate)) is None or candidate.exists() or candidate.is_symlink():
            if exact:
                what = "is about to be made by another run" if lock is None else "exists already"
                raise OutputError(f"{folder} {what}; name another folder with --out, or remove it")
            _release(lock)
            candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        for left in candidate.parent.glob(f".{_escaped(candidate.name)}.draft-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{candidate.name}.draft-", dir=candidate.parent))
    except OutputError:
        _remove_empty(made)
        raise
    except (OSError, ValueError) as error:
        _remove_empty(made)
        raise OutputError(f"{candidate} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    found = Reservation(candidate, draft)
    try:
        yield found
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        _release(lock)
        if not found.finished:
            _remove_empty(made)


def _lock(folder: Path) -> tuple[int, Path] | None:
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


def _release(lock: tuple[int, Path] | None) -> None:
    if lock is not None:
        handle, path = lock
        path.unlink(missing_ok=True)  # while it is held, so that nobody takes a lock that is gone
        os.close(handle)


def _missing_parents(folder: Path) -> list[Path]:
    return [parent for parent in folder.parents if not parent.exists()]


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "[]*?" else c for c in name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
