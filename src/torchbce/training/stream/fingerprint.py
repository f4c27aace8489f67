"""What a cache was made from, as one number: another file, other options or another version give another."""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

from torchbce.common.errors import InputError

PIECES, PIECE = 64, 1 << 16  # so many pieces of a file, evenly spaced, of so many bytes


def fingerprint(files: list[Path], options: dict[str, Any], *, complete: bool) -> str:
    """Of the names, sizes, times and samples of the content of files, and of options that JSON can hold.

    A file may move to another folder. Files of a gigabyte are not read through; one that was changed keeping its size,
    its time and all sampled pieces is not told apart. Not `complete`: something is read that has no name, so no two are
    the same.

    Raises:
        InputError: a file cannot be read.
    """
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for path in files:
        try:
            _add(digest, path)
        except OSError as error:
            raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    if not complete:
        digest.update(secrets.token_bytes(32))
    return digest.hexdigest()


def _add(digest: hashlib._Hash, path: Path) -> None:
    state = path.stat()
    digest.update(json.dumps([path.name, state.st_size, state.st_mtime_ns]).encode("utf-8", "replace"))
    with path.open("rb", buffering=0) as file:
        last = max(0, state.st_size - PIECE)
        for place in sorted({last * i // (PIECES + 1) for i in range(PIECES + 2)}):
            file.seek(place)
            digest.update(file.read(PIECE))
