"""Compute the fingerprint of a cache's source, which changes with the files, the options and the version."""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torchbce.common.errors import InputError

PIECES, PIECE = 64, 1 << 16  # so many pieces of a file, evenly spaced, of so many bytes


def fingerprint(files: list[Path], options: dict[str, Any], *, complete: bool) -> str:
    """Return the digest of the names, sizes, times and sampled content of files, and of the options (as JSON).

    A file may move to another folder. Files of a gigabyte are not read through; one that was changed keeping its size,
    its time and all sampled pieces is not noticed. Not `complete`: some input has no name, so no two fingerprints are
    the same.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for path in files:
        with _readable(path):
            _add(digest, path)
    if not complete:
        digest.update(secrets.token_bytes(32))
    return digest.hexdigest()


def sampled(names: list[str]) -> str:
    """Return the digest of the sizes and sampled content of files, the same on every machine that has a copy.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in (path for path in map(Path, names) if path.is_file()):  # what can be read only once is not read here
        with _readable(path):
            _add_samples(digest, path, path.stat().st_size)
    return digest.hexdigest()[:16]


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _add(digest: hashlib._Hash, path: Path) -> None:
    state = path.stat()
    digest.update(json.dumps([path.name, state.st_size, state.st_mtime_ns]).encode("utf-8", "replace"))
    _add_samples(digest, path, state.st_size)


def _add_samples(digest: hashlib._Hash, path: Path, size: int) -> None:
    with path.open("rb", buffering=0) as file:
        last = max(0, size - PIECE)
        for offset in sorted({last * i // (PIECES + 1) for i in range(PIECES + 2)}):
            file.seek(offset)
            digest.update(file.read(PIECE))
