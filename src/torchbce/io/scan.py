"""Tables of any size, some columns of them, in batches: CSV, Parquet and Arrow files, patterns, folders, pipes.

Columns of a CSV file come as text, so an error can show what was written. Rows are counted from 1 below the header,
without blank lines.
"""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator
from pathlib import Path

import polars as pl
from polars import selectors

from torchbce.common.errors import InputError
from torchbce.common.signals import look
from torchbce.io.files import (
    ARROW,
    CSV,
    PARQUET,
    READ_ERRORS,
    check_rows,
    damaged,
    first_line,
    missing_columns,
    read_header,
    what_it_is,
)
from torchbce.io.folder_keys import Keys, key_column, missing_keys, with_keys
from torchbce.io.opened import STDIN, Format, Source, opened
from torchbce.io.windows import pieces, row_bytes, rows_within, slices, text_lengths

BATCH = 1 << 20  # rows
START = 1 << 22  # bytes of a CSV file, by which the length of its lines is known
SHARDS = (
    ".csv",
    ".csv.gz",
    ".csv.zst",
    ".parquet",
    ".pq",
    ".arrow",
    ".feather",
    ".ipc",
)  # what a folder's tables end in
BLANK, LAST = "__torchbce_blank", "__torchbce_last"


@contextlib.contextmanager
def sources(names: list[str], format: Format | None = None) -> Iterator[list[Source]]:
    """The files that names, patterns, folders and `-` (standard input) stand for, in order."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(opened(name, format)) for name in files_of(names)]


def files_of(names: list[str]) -> list[str]:
    """The files that names, patterns and folders of shards stand for; those of a pattern or folder sorted by name.

    Raises:
        InputError: nothing matches, a folder without tables, a file that is named twice.
    """
    wanted: list[str] = []
    for name in names:
        if name != STDIN and not Path(name).exists() and glob.has_magic(name):
            paths = sorted(glob.glob(name, recursive=True))
            if not paths:
                raise InputError(f"no file matches {name!r}")
            wanted += [with_keys(path, name) for path in paths]
        elif name != STDIN and Path(name).is_dir():
            wanted += _shards(Path(name))
        else:
            wanted.append(name)
    twice = {name for name in wanted if wanted.count(name) > 1} if len(set(wanted)) < len(wanted) else set()
    if twice:
        raise InputError(f"{', '.join(sorted(twice))} is named twice, and its rows would count twice")
    return wanted


def _shards(folder: Path) -> list[str]:
    """The tables in a folder, hidden files left out."""
    found = sorted(
        str(path)
        for path in folder.iterdir()
        if path.name.lower().endswith(SHARDS) and not path.name.startswith(".") and not path.is_dir()
    )
    if not found:
        raise InputError(f"{folder} is a folder without tables; tables are {', '.join('*' + end for end in SHARDS)}")
    return found


def count_rows(source: Source) -> int | None:
    """How many rows there are, where the file says so without being read."""
    kind = what_it_is(source)
    if kind == CSV:
        return None
    with damaged(source.name, kind):
        return int(scanned(source).select(pl.len()).collect().item())


def text_bytes(source: Source) -> int:
    """Of all texts in a file, as they are once each is written out."""
    if what_it_is(source) == CSV:
        return source.path.stat().st_size
    schema = scanned(source).collect_schema()
    texts = [name.strip() for name, kind in schema.items() if kind == pl.String]
    return sum(int(text_lengths(frame).sum()) for _, frame in batches(source, texts, "")) if texts else 0


def column_names(source: Source) -> list[str]:
    """Of a table, without its rows."""
    own = [name.strip() for name in scanned(source).collect_schema().names()]
    return [*own, *missing_keys(source.keys, own)]


def batches(
    source: Source, columns: list[str], flags: str, part: tuple[int, int] = (0, 1), rows: int | None = None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The number of the first row, and the columns, so many rows at a time; of `part` (k, n) the k-th of n equal parts.

    Fewer rows at a time, where so many would take more memory than a window.

    Raises:
        InputError: no such file or column, a damaged file, one that changes while it is read.
    """
    before = stamp(source.path)
    kind = what_it_is(source)
    table = scanned(source)
    names = {name.strip(): name for name in table.collect_schema().names()}
    keys = missing_keys(source.keys, list(names))
    known = [*names, *keys]
    missing_columns([name for name in columns if name not in known], known, source.name, flags)
    # Exact names: polars takes what begins with ^ and ends with $ for a pattern.
    own = [name for name in dict.fromkeys(columns) if name in names] or list(names)[:1]
    wanted = [selectors.by_name(names[name]).as_expr().alias(name) for name in own]
    chosen = table.select(wanted)
    number, most = 1, rows or BATCH
    if kind == CSV:
        if part[0]:
            return  # the lines of a CSV file cannot be told apart without reading them all
        chosen = table.select(
            *wanted, pl.all_horizontal(pl.all().is_null()).alias(BLANK), pl.nth(-1).is_null().alias(LAST)
        )
        frames = _batches(chosen, rows_within(row_bytes(chosen.collect_schema()) + _line_bytes(source), most))
    else:
        total = count_rows(source) or 0
        start, end = (total * k // part[1] for k in (part[0], part[0] + 1))
        number = 1 + start
        if kind == PARQUET:
            frames = slices(table, wanted, start, end)
        else:
            frames = _batches(chosen.slice(start, end - start), rows_within(row_bytes(chosen.collect_schema()), most))
    checked = False
    while True:
        look()
        try:
            frame = next(frames, None)
        except READ_ERRORS as error:
            if kind == CSV:
                check_rows(source, read_header(source), strictly=True)
            raise InputError(f"{source.name} is damaged or truncated: {first_line(error)}") from error
        if frame is None:
            break
        if kind == CSV:
            frame = frame.filter(~pl.col(BLANK))
            # polars fills a short row with missing values; only a file whose last column has some can hold one.
            if not checked and frame[LAST].any():
                check_rows(source, read_header(source))
                checked = True
        for piece in pieces(frame, most):
            yield number, _with_keys(piece, columns, keys)
            number += piece.height
    after = stamp(source.path)
    if after != before:
        raise InputError(
            f"{source.name} changed while it was read: it had {before[0]:,} bytes, now {after[0]:,}; read it "
            "when it is complete"
        )


def _line_bytes(source: Source) -> float:
    """Of a CSV file, a mean over the lines at its start."""
    with source.path.open("rb") as file:
        start = file.read(START)
    return len(start) / max(start.count(b"\n"), 1)


def _with_keys(frame: pl.DataFrame, columns: list[str], keys: Keys) -> pl.DataFrame:
    """The columns, of which the names of folders hold some."""
    if not keys:
        return frame
    wanted = dict.fromkeys(columns)
    return pl.DataFrame([key_column(c, keys[c], frame.height) if c in keys else frame[c] for c in wanted])


def _batches(table: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """In bounded memory where this polars can, whose method for it is new and marked unstable; else all at once."""
    stream = getattr(table, "collect_batches", None)
    if stream is None:
        yield from table.collect(engine="streaming").iter_slices(rows)
    else:
        yield from stream(chunk_size=rows, maintain_order=True)


def stamp(path: Path) -> tuple[int, int]:
    """What changes when a file does: its size in bytes, and its time in nanoseconds.

    Raises:
        InputError: it is not there any more.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read any more: {error.strerror or error}") from error
    return state.st_size, state.st_mtime_ns


def scanned(source: Source) -> pl.LazyFrame:
    """A table, of which nothing but the beginning or the end was read."""
    kind = what_it_is(source)
    with damaged(source.name, kind):
        if kind == PARQUET:
            lazy = pl.scan_parquet(source.path, glob=False)
        elif kind == ARROW:
            lazy = pl.scan_ipc(source.path, glob=False)
        else:
            header = read_header(source)
            lazy = pl.scan_csv(
                source.path,
                separator=header.delimiter,
                skip_rows=header.skipped,
                new_columns=header.names,
                infer_schema=False,
                null_values=[""],
                glob=False,
            )
        lazy.collect_schema()
    return lazy
