"""Tables of any size, some columns of them, in batches: CSV, Parquet and Arrow files, patterns, standard input.

Columns of a CSV file come as text, so an error can show what was written. Rows are counted from 1 below the header,
without blank lines.
"""

from __future__ import annotations

import contextlib
import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from torchbce.errors import InputError
from torchbce.trainer.table.files import CSV, check_header, check_rows, first_line, missing_columns, what_it_is

BATCH = 1 << 20  # rows
BLANK, LAST = "__torchbce_blank", "__torchbce_last"
STDIN = "-"


@dataclass(frozen=True)
class Source:
    """One file to read; `name` is how messages call it."""

    path: Path
    name: str


@contextlib.contextmanager
def sources(names: list[str]) -> Iterator[list[Source]]:
    """The files that names, patterns and `-` (standard input) stand for, in order."""
    with contextlib.ExitStack() as stack:
        found: list[Source] = []
        for name in names:
            if name == STDIN:
                found.append(Source(stack.enter_context(_spooled()), "standard input"))
            elif not Path(name).exists() and glob.has_magic(name):
                paths = sorted(glob.glob(name, recursive=True))
                if not paths:
                    raise InputError(f"no file matches {name!r}")
                found += [Source(Path(path), path) for path in paths]
            else:
                found.append(Source(Path(name), name))
        twice = {source.name for source in found if [other.name for other in found].count(source.name) > 1}
        if twice:
            raise InputError(f"{', '.join(sorted(twice))} is named twice, and its rows would count twice")
        yield found


@contextlib.contextmanager
def _spooled() -> Iterator[Path]:
    """Standard input as a file, since a format shows itself at its ends and a column may be needed twice."""
    handle, name = tempfile.mkstemp(prefix="torchbce-")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        yield Path(name)
    finally:
        os.unlink(name)


def count_rows(source: Source) -> int | None:
    """How many rows there are, where the file says so without being read."""
    if what_it_is(source.path, source.name) == CSV:
        return None
    return int(_lazy(source).select(pl.len()).collect().item())


def batches(
    source: Source, columns: list[str], flags: str, part: tuple[int, int] = (0, 1)
) -> Iterator[tuple[int, pl.DataFrame]]:
    """The number of the first row, and the columns; of `part` (k, n) only the k-th of n equal parts.

    Raises:
        InputError: no such file or column, a damaged file, one that changes while it is read.
    """
    before = _stamp(source)
    kind = what_it_is(source.path, source.name)
    table = _lazy(source)
    names = {name.strip(): name for name in table.collect_schema().names()}
    missing_columns([name for name in columns if name not in names], list(names), source.name, flags)
    chosen = table.select(pl.col(names[name]).alias(name) for name in dict.fromkeys(columns))
    number = 1
    if kind == CSV:
        if part[0]:
            return  # the lines of a CSV file cannot be told apart without reading them all
        chosen = table.select(
            *(pl.col(names[name]).alias(name) for name in dict.fromkeys(columns)),
            pl.all_horizontal(pl.all().is_null()).alias(BLANK),
            pl.nth(-1).is_null().alias(LAST),
        )
    elif part[1] > 1:
        rows = count_rows(source) or 0
        start, end = (rows * k // part[1] for k in (part[0], part[0] + 1))
        chosen, number = chosen.slice(start, end - start), 1 + start
    checked = False
    try:
        for frame in chosen.collect_batches(chunk_size=BATCH, maintain_order=True):
            if kind == CSV:
                frame = frame.filter(~pl.col(BLANK))
                # polars fills a short row with missing values; only a file whose last column has some can hold one.
                if not checked and frame[LAST].any():
                    check_rows(source.path, check_header(source.path, source.name), source.name)
                    checked = True
            yield number, frame
            number += frame.height
    except (pl.exceptions.PolarsError, OSError) as error:
        if kind == CSV:
            check_rows(source.path, check_header(source.path, source.name), source.name)
        raise InputError(f"{source.name} is damaged or truncated: {first_line(error)}") from error
    after = _stamp(source)
    if after != before:
        raise InputError(
            f"{source.name} changed while it was read: it had {before[0]:,} bytes, now {after[0]:,}; read it "
            "when it is complete"
        )


def _stamp(source: Source) -> tuple[int, int]:
    what_it_is(source.path, source.name)
    state = source.path.stat()
    return state.st_size, state.st_mtime_ns


def _lazy(source: Source) -> pl.LazyFrame:
    kind = what_it_is(source.path, source.name)
    try:
        if kind == "parquet":
            lazy = pl.scan_parquet(source.path, glob=False)
        elif kind == "arrow":
            lazy = pl.scan_ipc(source.path, glob=False)
        else:
            lazy = pl.scan_csv(
                source.path,
                separator=check_header(source.path, source.name),
                infer_schema=False,
                null_values=[""],
                glob=False,
            )
        lazy.collect_schema()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(f"{source.name} is damaged or truncated: {first_line(error)}") from error
    return lazy
