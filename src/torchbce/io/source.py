"""Turn a named input into a seekable UTF-8 file: regular, not compressed, with a name in UTF-8.

Pipes, standard input, .gz, .zst and other encodings are written to a temporary file first, as the format of a file is
seen at both of its ends, and a column may be read twice.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from torchbce.common.errors import InputError
from torchbce.common.writing import is_utf8
from torchbce.io.folder_keys import Keys, keys_of

STDIN = "-"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
CHUNK = 1 << 20


@dataclass(frozen=True)
class Format:
    """Options of a user for a CSV file; None where the file itself shows it."""

    decimal: str = "."
    delimiter: str | None = None
    encoding: str | None = None


@dataclass(frozen=True)
class SourceFile:
    """A file to read.

    name: the file's name in messages.
    keys: columns in the names of its folders.
    """

    path: Path
    name: str
    format: Format = field(default_factory=Format)
    keys: Keys = field(default_factory=dict)


@contextlib.contextmanager
def open_source(name: str, format: Format | None = None) -> Iterator[SourceFile]:
    """Yield the file that a name stands for, as one that can be read in any way; `-` is standard input.

    Raises:
        InputError: there is no such file, or it cannot be decompressed or decoded.
    """
    format = format or Format()
    label = "standard input" if name == STDIN else name
    with contextlib.ExitStack() as stack:

        def draft() -> Path:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="torchbce-"))
            return Path(folder) / "table"

        if name == STDIN and sys.stdin is None:
            raise InputError("standard input is closed; name a file in place of -, or open it, as with < FILE")
        try:
            path = _write_out(sys.stdin.buffer, draft()) if name == STDIN else _regular_file(Path(name), label, draft)
            path = _decompressed(path, draft)
            if format.encoding is not None:
                path = _decoded(path, format.encoding, label, draft())
        except InputError:
            raise
        except (OSError, EOFError, zlib.error, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"{label}: cannot be read: {reason}") from error
        yield SourceFile(path, label, format, keys_of(name))


def _regular_file(path: Path, name: str, draft: Callable[[], Path]) -> Path:
    """Return a regular file with the content of `path`: itself, an alias in UTF-8, or a copy of a pipe."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise InputError(f"{name}: no such file{_neighbours(path)}") from None
    if stat.S_ISDIR(mode):
        raise InputError(f"{name} is a folder; name a CSV or Parquet file in it")
    if not stat.S_ISREG(mode):  # a pipe, as of <(...), can be read once
        with path.open("rb") as file:
            return _write_out(file, draft())
    if not is_utf8(path):
        alias = draft()
        alias.symlink_to(path.resolve())
        return alias
    return path


def _write_out(file: IO[bytes], path: Path) -> Path:
    with path.open("wb") as out:
        shutil.copyfileobj(file, out, CHUNK)
    return path


def is_compressed(path: Path) -> bool:
    """Return whether a file is compressed, by its first bytes."""
    with path.open("rb") as file:
        return file.read(4).startswith((GZIP, ZSTD))


def _decompressed(path: Path, draft: Callable[[], Path]) -> Path:
    """Return a file that is not compressed: itself, or what it unpacks to."""
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(0)
        if head[:2] == GZIP:
            with gzip.open(file) as content:
                return _write_out(content, draft())  # type: ignore[arg-type]
        if head == ZSTD:
            import zstandard

            try:
                with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as content:
                    return _write_out(content, draft())
            except zstandard.ZstdError as error:
                raise ValueError(f"it is damaged: {error}") from error
    return path


def _decoded(path: Path, encoding: str, name: str, out: Path) -> Path:
    """Write a file of another encoding to `out` as UTF-8."""
    try:
        codecs.lookup(encoding)
    except LookupError:
        raise InputError(f"there is no encoding {encoding!r}; such as latin1, cp1252, utf-16") from None
    try:
        with path.open(encoding=encoding, newline="") as file, out.open("w", encoding="utf-8", newline="") as written:
            shutil.copyfileobj(file, written, CHUNK)
    except UnicodeError as error:
        raise InputError(f"{name} is not {encoding}: {error}") from error
    return out


def _neighbours(path: Path) -> str:
    """Return the end of a message about a mistyped name: files with a similar one."""
    import difflib

    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist either"
    near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""
