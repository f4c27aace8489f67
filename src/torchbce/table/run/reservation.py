"""Reserve the name of a run folder from its start: of two trainings that begin together, each gets its own.

What a dead run left half-written is removed by the next one that gets the name; its checkpoints in NAME.unfinished are
not, as the same run resumes from them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchbce.checkpoint.folder import CheckpointFolder
from torchbce.common import lock as locks
from torchbce.common.errors import InputError, OutputError
from torchbce.common.writing import is_utf8, sync


@dataclass
class RunFolderLock:
    """A locked name: the folder that no other run will make, and the hidden draft that `finish` renames to it."""

    folder: Path
    draft: Path
    unfinished: CheckpointFolder | None = None
    finished: bool = False  # also if the very same run was finished before

    def finish(self) -> None:
        """Rename the draft to the folder, so that it appears whole.

        Raises:
            OSError: it cannot be.
        """
        mask = _umask()
        self.draft.chmod(0o777 & ~mask)
        for path in self.draft.iterdir():  # safetensors writes files that only their owner may read
            path.chmod(0o666 & ~mask)
            sync(path)
        sync(self.draft)
        os.rename(self.draft, self.folder)
        self.finished = True
        sync(self.folder.parent)
        if self.unfinished is not None:
            self.unfinished.remove()


def check_run_folder(folder: Path, *, exact: bool, resume: bool | None) -> None:
    """Check before anything is read that a run folder can be made, as far as can be seen without making one.

    Raises:
        OutputError: it exists, unless it may be this very run, or it cannot be written.
    """
    if exact and not resume and (folder.exists() or folder.is_symlink()):
        raise OutputError(_taken_message(folder, "exists already"))
    parent = next(parent for parent in folder.absolute().parents if os.path.lexists(parent))
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        what = "may not be written" if parent.is_dir() else "is no folder"
        raise OutputError(f"{folder} cannot be written: {parent} {what}; name another folder with --out")


def _taken_message(folder: Path, what: str) -> str:
    return f"{folder} {what}; name another folder with --out, or remove it"


@contextlib.contextmanager
def reserve_run_folder(
    folder: Path,
    *,
    exact: bool,
    identity: dict[str, Any] | None = None,
    resume: bool | None = None,
    is_finished: Callable[[Path], bool] = lambda _: False,
) -> Iterator[RunFolderLock]:
    """Lock the folder, or, unless it has to be `exact`, the first of folder-2, folder-3 ... that is free.

    identity: what the run depends on, if it writes checkpoints. An unfinished run of the same identity is resumed.
    resume: False begins anew; True also takes the same run where it is finished.

    Raises:
        OutputError: it exists, another run is about to make it, or it cannot be written.
        InputError: an unfinished run of another identity is in the way.
    """
    if not is_utf8(folder):
        raise OutputError(f"{folder} is no name in UTF-8, which a run folder needs; name another")
    parents = _missing_parents(folder)
    candidate, number, lock = folder, 2, None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        while (lock := locks.take(candidate)) is None or not _is_free(candidate, identity, resume, exact=exact):
            if resume and lock is not None and is_finished(candidate):
                break
            if exact:
                what = "is about to be made by another run" if lock is None else "exists already"
                raise OutputError(_taken_message(folder, what))
            locks.release(lock)
            candidate, number = folder.with_name(f"{folder.name}-{number}"), number + 1
        for left in candidate.parent.glob(f".{_escaped(candidate.name)}.draft-*"):
            shutil.rmtree(left, ignore_errors=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{candidate.name}.draft-", dir=candidate.parent))
        reserved = RunFolderLock(candidate, draft, _unfinished(candidate, identity), finished=candidate.exists())
        if reserved.unfinished is not None:
            if resume is False or reserved.finished:
                reserved.unfinished.remove()
            if not reserved.finished:
                reserved.unfinished.create()
    except (OutputError, InputError):
        locks.release(lock)
        _remove_empty(parents)
        raise
    except (OSError, ValueError) as error:
        locks.release(lock)
        _remove_empty(parents)
        raise OutputError(f"{candidate} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    try:
        yield reserved
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        if reserved.unfinished is not None and reserved.unfinished.is_empty:
            reserved.unfinished.remove()
        locks.release(lock)
        if not reserved.finished:
            _remove_empty(parents)


def _unfinished(folder: Path, identity: dict[str, Any] | None) -> CheckpointFolder | None:
    return None if identity is None else CheckpointFolder(folder.with_name(f"{folder.name}.unfinished"), identity)


def _is_free(folder: Path, identity: dict[str, Any] | None, resume: bool | None, *, exact: bool) -> bool:
    """Return whether a name is free: no run has it, or this very run has, unfinished."""
    if folder.exists() or folder.is_symlink():
        return False
    unfinished = _unfinished(folder, identity)
    if unfinished is None or (resume is False and exact):
        return True
    try:
        unfinished.check_identity()
    except InputError:
        if exact:
            raise
        return False
    return True


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
