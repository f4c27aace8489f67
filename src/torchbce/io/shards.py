"""Read a table in several files of the same columns as one, from the first row to the last, as often as needed.

Each file is open_source when its turn comes, so that of compressed files one at a time is unpacked on the disk.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.csv_header import read_header
from torchbce.io.files import FileRows
from torchbce.io.scan import column_names, count_rows, count_text_bytes, expand_names, file_stamp, read_batches
from torchbce.io.source import STDIN, Format, SourceFile, open_source

MAX_BATCH_ROWS = 1 << 16  # at a time
CHUNK_BYTES = 1 << 22  # bytes, in which lines are counted


@dataclass(frozen=True)
class TableBatch:
    """Rows of a shard.

    first: the position of the first row among those of all shards, from 0. rows: where they stand in their shard.
    """

    first: int
    rows: FileRows
    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height


class Shards:
    """The files of one table, in order.

    rows: their number, an estimate where a file does not state it.
    """

    def __init__(self, names: list[str], format: Format | None, copies: dict[str, SourceFile]) -> None:
        self.names, self.format = names, format or Format()
        self._copies = copies  # of what can be read only once
        self._stamps = {name: file_stamp(Path(name)) for name in names if name not in copies}

    @property
    def columns(self) -> list[str]:
        """Return the columns of all shards.

        Raises:
            InputError: a shard has other columns than the first.
        """
        return self._columns_and_rows[0]

    @property
    def rows(self) -> int:
        return self._columns_and_rows[1]

    @property
    def name(self) -> str:
        """Return the name of all of them in messages."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} and {len(self.names) - 1} more"

    @property
    def files(self) -> list[Path]:
        """Return the files that another process can read again: all but pipes and standard input."""
        return [Path(name) for name in self.names if name not in self._copies]

    @property
    def is_lasting(self) -> bool:
        """Return whether another process can read all of them again."""
        return not self._copies

    def text_bytes(self) -> int:
        """Return how many bytes all texts take once each is written out."""
        size = 0
        for name in self.names:
            with self._source(name) as source:
                size += count_text_bytes(source)
        return size

    def batches(self, columns: list[str], flags: str) -> Iterator[TableBatch]:
        """Yield these columns of all rows.

        Raises:
            InputError: a damaged shard, or one that has changed since its first reading.
        """
        first = 0
        for name in self.names:
            with self._source(name) as source:
                for number, frame in read_batches(source, columns, flags, rows=MAX_BATCH_ROWS):
                    if frame.height:
                        yield TableBatch(first, FileRows(source.name, number), frame)
                        first += frame.height
            self._check_unchanged(name)
        if not first:
            raise InputError(f"{self.name}: a header and no rows")

    def _check_unchanged(self, name: str) -> None:
        if name not in self._copies and file_stamp(Path(name)) != self._stamps[name]:
            raise InputError(f"{name} changed while it was read; read it when it is complete")

    @contextlib.contextmanager
    def _source(self, name: str) -> Iterator[SourceFile]:
        if name in self._copies:
            yield self._copies[name]
        else:
            with open_source(name, self.format) as source:
                yield source

    @functools.cached_property
    def _columns_and_rows(self) -> tuple[list[str], int]:
        """Return the columns, which are the same in all shards, and about how many rows there are."""
        first: list[str] = []
        rows = 0
        for name in self.names:
            with self._source(name) as source:
                columns = column_names(source)
                first = first or columns
                own, expected = set(columns), set(first)
                for column in first:
                    if column not in own:
                        raise InputError(
                            f"{name} has no column {column!r}, as {self.names[0]} has; shards have the same"
                        )
                for column in columns:
                    if column not in expected:
                        raise InputError(f"{name} has a column {column!r} that {self.names[0]} has not")
                known = count_rows(source)
                rows += _count_lines(source) if known is None else known
        return first, rows


@contextlib.contextmanager
def open_shards(names: list[str], format: Format | None = None) -> Iterator[Shards]:
    """Yield the shards that files, patterns, folders and `-` stand for; what can be read only once is copied first.

    Raises:
        InputError: no such file, or shards with different columns.
    """
    with contextlib.ExitStack() as stack:
        files = expand_names(names)
        once = [name for name in files if name == STDIN or (Path(name).exists() and not Path(name).is_file())]
        copies = {name: stack.enter_context(open_source(name, format)) for name in once}
        missing = [name for name in files if name not in copies and not Path(name).is_file()]
        for name in missing:
            stack.enter_context(open_source(name, format))  # says what is near it
        yield Shards(files, format, copies)


def _count_lines(source: SourceFile) -> int:
    """Return the lines below the header: the rows, unless lines are blank or fields have several lines."""
    count, last = 0, b"\n"
    with source.path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK_BYTES):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    header = read_header(source)
    return max(0, count + (last != b"\n") - header.line - header.tail.rows)
