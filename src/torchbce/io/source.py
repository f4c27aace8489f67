"""Turn a named input into a seekable file: CSV in UTF-8, Parquet or Arrow, not compressed, with a name in UTF-8.

Pipes, standard input, compressed files, other encodings and other kinds are written to a temporary file first, as the
format of a file is seen at both of its ends, and a column may be read twice.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from torchbce.common.errors import InputError
from torchbce.common.writing import is_utf8
from torchbce.io.compressed import CHUNK, DAMAGED, decompressed, write_out
from torchbce.io.converted import CONVERTED, converted
from torchbce.io.folder_keys import Keys, keys_of
from torchbce.io.signatures import WORKBOOK, kind_of

STDIN = "-"


@dataclass(frozen=True)
class Format:
    """Options of a user for a CSV file or a workbook; None where the file itself shows it.

    skip_rows: lines above the header. na: further texts of a gap. sheet: of a workbook. as_is: nothing is left out, no
    row names, no empty columns, no row of totals. named: columns that options name, which are not left out either.
    """

    decimal: str = "."
    delimiter: str | None = None
    encoding: str | None = None
    skip_rows: int | None = None
    na: tuple[str, ...] = ()
    sheet: str | None = None
    as_is: bool = False
    named: tuple[str, ...] = ()


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
            path = write_out(sys.stdin.buffer, draft()) if name == STDIN else _regular_file(Path(name), label, draft)
            path = decompressed(path, draft)
            path, format = _converted(path, draft, label, format)
            if format.encoding is not None:
                path = _decoded(path, format.encoding, label, draft())
        except InputError:
            raise
        except (OSError, ValueError, *DAMAGED) as error:
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
            return write_out(file, draft())
    if not is_utf8(path):
        alias = draft()
        alias.symlink_to(path.resolve())
        return alias
    return path


def _converted(path: Path, draft: Callable[[], Path], name: str, format: Format) -> tuple[Path, Format]:
    """Return a file that is read as it is, and how."""
    kind = kind_of(path, name)
    if kind == WORKBOOK:
        if format.decimal != ".":
            raise InputError(f"{name} is a workbook, whose numbers have no decimal comma; leave --decimal out")
        format = replace(format, delimiter=",", encoding=None)  # of the CSV file that it becomes
    elif format.sheet is not None:
        raise InputError(f"{name} is no workbook, so it has no sheet {format.sheet!r}; leave --sheet out")
    return (converted(path, kind, draft(), name, format.sheet), format) if kind in CONVERTED else (path, format)


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
