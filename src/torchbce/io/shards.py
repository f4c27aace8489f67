"""A table in several files of the same columns, read as one from the first row to the last, as often as it is needed.

Each file is opened when its turn comes: of compressed ones, one at a time lies unpacked on the disk.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows, read_header
from torchbce.io.opened import STDIN, Format, Source, opened
from torchbce.io.scan import batches, column_names, count_rows, files_of, stamp, text_bytes

ROWS = 1 << 16  # at a time
CHUNK = 1 << 22  # bytes, in which lines are counted


@dataclass(frozen=True)
class Batch:
    """Some rows: the number of the first in all shards, from 0, and where they stand in their shard."""

    first: int
    rows: FileRows
    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height


class Shards:
    """The files, in order; `rows` may be an estimate where a file does not say how many it has."""

    def __init__(self, names: list[str], format: Format | None, held: dict[str, Source]) -> None:
        self.names, self.format = names, format or Format()
        self._held = held
        self._stamps = {name: stamp(Path(name)) for name in names if name not in held}

    @property
    def columns(self) -> list[str]:
        """Of all shards.

        Raises:
            InputError: a shard has other columns than the first.
        """
        return self._looked[0]

    @property
    def rows(self) -> int:
        return self._looked[1]

    @property
    def name(self) -> str:
        """How messages call all of them."""
        return self.names[0] if len(self.names) == 1 else f"{self.names[0]} and {len(self.names) - 1} more"

    @property
    def files(self) -> list[Path]:
        """Those that can be read again by another process: all but pipes and standard input."""
        return [Path(name) for name in self.names if name not in self._held]

    @property
    def is_lasting(self) -> bool:
        """Whether all are such files."""
        return not self._held

    def text_bytes(self) -> int:
        """Of all texts, as they are once each is written out."""
        found = 0
        for name in self.names:
            with self._source(name) as source:
                found += text_bytes(source)
        return found

    def batches(self, columns: list[str], flags: str) -> Iterator[Batch]:
        """These columns of all rows.

        Raises:
            InputError: a damaged shard, or one that has changed since its first reading.
        """
        first = 0
        for name in self.names:
            with self._source(name) as source:
                for number, frame in batches(source, columns, flags, rows=ROWS):
                    if frame.height:
                        yield Batch(first, FileRows(source.name, number), frame)
                        first += frame.height
            self._check_unchanged(name)
        if not first:
            raise InputError(f"{self.name}: a header and no rows")

    def _check_unchanged(self, name: str) -> None:
        if name not in self._held and stamp(Path(name)) != self._stamps[name]:
            raise InputError(f"{name} changed while it was read; read it when it is complete")

    @contextlib.contextmanager
    def _source(self, name: str) -> Iterator[Source]:
        if name in self._held:
            yield self._held[name]
        else:
            with opened(name, self.format) as source:
                yield source

    @functools.cached_property
    def _looked(self) -> tuple[list[str], int]:
        """The columns, which are the same in all shards, and how many rows there are about."""
        first: list[str] = []
        rows = 0
        for name in self.names:
            with self._source(name) as source:
                columns = column_names(source)
                first = first or columns
                here, there = set(columns), set(first)
                for column in first:
                    if column not in here:
                        raise InputError(
                            f"{name} has no column {column!r}, as {self.names[0]} has; shards have the same"
                        )
                for column in columns:
                    if column not in there:
                        raise InputError(f"{name} has a column {column!r} that {self.names[0]} has not")
                known = count_rows(source)
                rows += _lines(source) if known is None else known
        return first, rows


@contextlib.contextmanager
def shards_of(names: list[str], format: Format | None = None) -> Iterator[Shards]:
    """What files, patterns, folders and `-` stand for. What can be read only once is written out first.

    Raises:
        InputError: no such file, or shards with different columns.
    """
    with contextlib.ExitStack() as stack:
        found = files_of(names)
        once = [name for name in found if name == STDIN or (Path(name).exists() and not Path(name).is_file())]
        held = {name: stack.enter_context(opened(name, format)) for name in once}
        missing = [name for name in found if name not in held and not Path(name).is_file()]
        for name in missing:
            stack.enter_context(opened(name, format))  # says what is near it
        yield Shards(found, format, held)


def _lines(source: Source) -> int:
    """Below the header: as many as rows, unless there are blank lines or fields of several lines."""
    count, last = 0, b"\n"
    with source.path.open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            count += chunk.count(b"\n")
            last = chunk[-1:]
    return max(0, count + (last != b"\n") - 1 - read_header(source).skipped)
