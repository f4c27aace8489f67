"""Unpack compressed files: gzip, Zstandard, xz and bzip2, known by their first bytes."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

GZIP, ZSTD, XZ, BZIP2 = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\x00", b"BZh"
BZIP2_BLOCK = b"1AY&SY"  # follows BZh and a digit, which a text may begin with
MAGIC = 10  # bytes
CHUNK = 1 << 20  # bytes
DAMAGED = (EOFError, zlib.error, lzma.LZMAError)  # raised for a damaged file, besides OSError and ValueError


def write_out(file: IO[bytes], path: Path) -> Path:
    """Copy what is left of an open file to `path`."""
    with path.open("wb") as out:
        shutil.copyfileobj(file, out, CHUNK)
    return path


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, by its first bytes."""
    return _opener(path) is not None


def decompressed(path: Path, draft: Callable[[], Path]) -> Path:
    """Return a file that is not compressed: itself, or what it unpacks to."""
    opener = _opener(path)
    if opener is None:
        return path
    with path.open("rb") as file, opener(file) as content:
        return write_out(content, draft())


def _opener(path: Path) -> Callable[[IO[bytes]], Any] | None:
    with path.open("rb") as file:
        head = file.read(MAGIC)
    if head.startswith(GZIP):
        return gzip.open
    if head.startswith(XZ):
        return lzma.open
    if head.startswith(BZIP2) and head[4:] == BZIP2_BLOCK:
        return bz2.open
    return _ZstdFile if head.startswith(ZSTD) else None


class _ZstdFile:
    """The content of a file of Zstandard, frame after frame."""

    def __init__(self, file: IO[bytes]) -> None:
        import zstandard

        self._damaged = zstandard.ZstdError
        self._content: Any = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)

    def __enter__(self) -> _ZstdFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            return bytes(self._content.read(size))
        except self._damaged as error:
            raise ValueError(f"it is damaged: {error}") from error
