"""Read some columns of tables of any size in batches: CSV, Parquet and Arrow files, patterns, folders, pipes.

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
from torchbce.io.csv_checks import check_rows
from torchbce.io.csv_header import Header, read_header
from torchbce.io.files import (
    READ_ERRORS,
    file_format,
    first_line,
    refuse_filled,
    refuse_missing_columns,
    translate_read_errors,
)
from torchbce.io.folder_keys import Keys, key_column, missing_keys, name_with_keys
from torchbce.io.row_names import stored_row_names
from torchbce.io.signatures import ARROW, CSV, PARQUET
from torchbce.io.source import STDIN, Format, SourceFile, open_source
from torchbce.io.windows import read_slices, row_bytes, rows_within, split_frame, text_lengths

MAX_BATCH_ROWS = 1 << 20  # rows
SAMPLE_BYTES = 1 << 22  # bytes of a CSV file, by which the length of its lines is known
TABLE_SUFFIXES = (
    ".csv",
    ".csv.gz",
    ".csv.zst",
    ".csv.xz",
    ".csv.bz2",
    ".parquet",
    ".pq",
    ".arrow",
    ".feather",
    ".ipc",
)  # what a folder's tables end in
BLANK, LAST, EMPTY = "__torchbce_blank", "__torchbce_last", "__torchbce_empty"


@contextlib.contextmanager
def open_sources(names: list[str], format: Format | None = None) -> Iterator[list[SourceFile]]:
    """Yield the files that names, patterns, folders and `-` (standard input) stand for, in order."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_source(name, format)) for name in expand_names(names)]


def expand_names(names: list[str]) -> list[str]:
    """Return the names of files that names, patterns and folders stand for; those of a pattern or folder are sorted.

    Raises:
        InputError: nothing matches, a folder without tables, a file that is named twice.
    """
    files: list[str] = []
    for name in names:
        if name != STDIN and not Path(name).exists() and glob.has_magic(name):
            paths = sorted(glob.glob(name, recursive=True))
            if not paths:
                raise InputError(f"no file matches {name!r}")
            files += [name_with_keys(path, name) for path in paths]
        elif name != STDIN and Path(name).is_dir():
            files += _tables_in(Path(name))
        else:
            files.append(name)
    twice = {name for name in files if files.count(name) > 1} if len(set(files)) < len(files) else set()
    if twice:
        raise InputError(f"{', '.join(sorted(twice))} is named twice, and its rows would count twice")
    return files


def _tables_in(folder: Path) -> list[str]:
    """Return the names of the tables in a folder, without hidden files."""
    tables = sorted(
        str(path)
        for path in folder.iterdir()
        if path.name.lower().endswith(TABLE_SUFFIXES) and not path.name.startswith(".") and not path.is_dir()
    )
    if not tables:
        raise InputError(
            f"{folder} is a folder without tables; tables are {', '.join('*' + end for end in TABLE_SUFFIXES)}"
        )
    return tables


def count_rows(source: SourceFile) -> int | None:
    """Return the number of rows if the file states it, which a CSV file does not."""
    kind = file_format(source)
    if kind == CSV:
        return None
    with translate_read_errors(source.name, kind):
        return int(scan_table(source).select(pl.len()).collect().item())


def count_text_bytes(source: SourceFile) -> int:
    """Return how many bytes the texts of a file take once each is written out."""
    if file_format(source) == CSV:
        return source.path.stat().st_size
    schema = scan_table(source).collect_schema()
    texts = [name.strip() for name, kind in schema.items() if kind == pl.String]
    return sum(int(text_lengths(frame).sum()) for _, frame in read_batches(source, texts, "")) if texts else 0


def column_names(source: SourceFile, *, with_row_names: bool = False) -> list[str]:
    """Return the names of a table's columns, without reading rows."""
    if file_format(source) == CSV:
        header = read_header(source)
        own = [*(header.row_names if with_row_names else []), *header.columns]
    else:
        stored = scan_table(source).collect_schema().names()
        left_out = set() if with_row_names else set(stored_row_names(stored, source))
        own = [name.strip() for name in stored if name not in left_out]
    return [*own, *missing_keys(source.keys, own)]


def read_batches(
    source: SourceFile, columns: list[str], flags: str, part: tuple[int, int] = (0, 1), rows: int | None = None
) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the number of the first row and the columns, at most `rows` at a time, or what a window of memory holds.

    part: (k, n) for the k-th of n equal parts, from 0; of a CSV file the first part is the whole.

    Raises:
        InputError: no such file or column, a damaged file, one that changes while it is read.
    """
    before = file_stamp(source.path)
    kind = file_format(source)
    header = read_header(source) if kind == CSV else None
    table = scan_table(source)
    names = {name.strip(): name for name in table.collect_schema().names()}
    keys = missing_keys(source.keys, list(names))
    known = [*(names if header is None else header.columns), *keys]
    refuse_missing_columns(
        [name for name in columns if name not in names and name not in keys], known, source.name, flags
    )
    # Exact names: polars takes what begins with ^ and ends with $ for a pattern.
    own = [name for name in dict.fromkeys(columns) if name in names] or list(names)[:1]
    wanted = [selectors.by_name(names[name]).as_expr().alias(name) for name in own]
    chosen = table.select(wanted)
    number, most = 1, rows or MAX_BATCH_ROWS
    if header is not None:
        if part[0]:
            return  # the lines of a CSV file cannot be told apart without reading them all
        chosen = table.select(*wanted, *_seen_of_rows(header))
        size = rows_within(row_bytes(chosen.collect_schema()) + _line_bytes(source), most)
        frames = _table_rows(_collect_batches(chosen, size), header, source)
    else:
        total = count_rows(source) or 0
        start, end = (total * k // part[1] for k in (part[0], part[0] + 1))
        number = 1 + start
        if kind == PARQUET:
            frames = read_slices(table, wanted, start, end)
        else:
            frames = _collect_batches(
                chosen.slice(start, end - start), rows_within(row_bytes(chosen.collect_schema()), most)
            )
    while True:
        look()
        try:
            frame = next(frames, None)
        except InputError:
            raise
        except READ_ERRORS as error:
            if header is not None:
                check_rows(source, header, strictly=True)
            raise InputError(f"{source.name} is damaged or truncated: {first_line(error)}") from error
        if frame is None:
            break
        for piece in split_frame(frame, most):
            yield number, _add_keys(piece, columns, keys)
            number += piece.height
    after = file_stamp(source.path)
    if after != before:
        raise InputError(
            f"{source.name} changed while it was read: it had {before[0]:,} bytes, now {after[0]:,}; read it "
            "when it is complete"
        )


def _seen_of_rows(header: Header) -> list[pl.Expr]:
    """Return whether a row is blank, whether its last field is missing, and what columns hold that are to be empty."""
    return [
        pl.all_horizontal(pl.all().is_null()).alias(BLANK),
        pl.nth(header.fewest - 1).is_null().alias(LAST),
        *([header.unnamed_values.alias(EMPTY)] if header.empty else []),
    ]


def _table_rows(frames: Iterator[pl.DataFrame], header: Header, source: SourceFile) -> Iterator[pl.DataFrame]:
    """Yield the rows of a CSV file that are none of blank lines and of what stands below the table."""
    number, checked, waiting = 1, False, pl.DataFrame()
    for frame in frames:
        frame = frame.filter(~pl.col(BLANK))
        if header.tail.rows:
            frame = pl.concat([waiting, frame]) if waiting.height else frame
            waiting = frame.tail(header.tail.rows)
            frame = frame.head(frame.height - waiting.height)
        # polars fills a short row with missing values; only a file whose last column has some can hold one.
        if not checked and frame[LAST].any():
            check_rows(source, header)
            checked = True
        if header.empty:
            refuse_filled(frame[EMPTY], header, number, source.name)
        number += frame.height
        yield frame.drop(BLANK, LAST, *([EMPTY] if header.empty else []))


def _line_bytes(source: SourceFile) -> float:
    """Return the mean length of the lines at the start of a CSV file."""
    with source.path.open("rb") as file:
        start = file.read(SAMPLE_BYTES)
    return len(start) / max(start.count(b"\n"), 1)


def _add_keys(frame: pl.DataFrame, columns: list[str], keys: Keys) -> pl.DataFrame:
    """Return the columns, with those in the names of folders."""
    if not keys:
        return frame
    wanted = dict.fromkeys(columns)
    return pl.DataFrame([key_column(c, keys[c], frame.height) if c in keys else frame[c] for c in wanted])


def _collect_batches(table: pl.LazyFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Collect in bounded memory; all at once where polars lacks the method, which is new and marked unstable."""
    stream = getattr(table, "collect_batches", None)
    if stream is None:
        yield from table.collect(engine="streaming").iter_slices(rows)
    else:
        yield from stream(chunk_size=rows, maintain_order=True)


def file_stamp(path: Path) -> tuple[int, int]:
    """Return what changes with a file: its size in bytes and its time in nanoseconds.

    Raises:
        InputError: it is not there any more.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read any more: {error.strerror or error}") from error
    return state.st_size, state.st_mtime_ns


def scan_table(source: SourceFile) -> pl.LazyFrame:
    """Return a table as a lazy frame, after reading its beginning or end alone."""
    kind = file_format(source)
    with translate_read_errors(source.name, kind):
        if kind == PARQUET:
            lazy = pl.scan_parquet(source.path, glob=False)
        elif kind == ARROW:
            lazy = pl.scan_ipc(source.path, glob=False)
        else:
            lazy = pl.scan_csv(source.path, **read_header(source).options)
        lazy.collect_schema()
    return lazy
