"""Read a part of a cache by whole blocks, into memory that is reused."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torchbce.common.errors import InputError
from torchbce.perceptron.rows import Rows
from torchbce.table.packed.bounds import Bounds, OutOfBounds
from torchbce.table.packed.part_file import Part
from torchbce.table.packed.records import BLOCK, Arrays, Layout, padding


class Window(NamedTuple):
    """Encoded rows, and their numbers in the table, from 1 (int64). Valid until the next window is read."""

    rows: Rows
    numbers: np.ndarray


class Stored:
    """The rows of a part. Not for several threads; each window takes the memory of the one before.

    All that is read is within `bounds`, whatever the file holds: compiled code looks its numbers up.
    """

    def __init__(self, folder: Path, part: Part, layout: Layout, bounds: Bounds) -> None:
        self.path, self.layout = folder / part.file, layout
        self._part, self._bounds = part, bounds
        self._handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._closed = weakref.finalize(self, os.close, self._handle)
        self._memory = _Memory(layout)

    def __len__(self) -> int:
        return self._part.rows

    @property
    def digest(self) -> str:
        """Return the digest of the rows as they were packed."""
        return self._part.sha256[:16]

    @property
    def ones(self) -> int:
        """Return the number of rows of the positive class."""
        return self._part.ones

    @property
    def weight(self) -> float:
        """Return the weight of all rows together; their number, if they have no weights."""
        return self._part.weight

    @property
    def share(self) -> float:
        """Return the base rate: the weighted share of the positive class."""
        return self._part.weight_of_ones / self._part.weight if self._part.weight else float("nan")

    @property
    def blocks(self) -> int:
        return -(-len(self) // BLOCK)

    def rows_of(self, block: int) -> int:
        """Return the number of rows of a block: all are full but the last."""
        return min(BLOCK, len(self) - block * BLOCK)

    def window(self, blocks: Sequence[int] | np.ndarray) -> Window:
        """Return the rows of `blocks`, one block after the other.

        Raises:
            InputError: a block cannot be read, or holds what no row has; the message names it.
        """
        return self._read(blocks, self._memory)

    def in_order(self, rows: int = 65_536) -> Iterator[Window]:
        """Yield all rows in the table's order, about `rows` at a time, without touching what `window` returned."""
        memory, count = _Memory(self.layout), self.layout.blocks_within(max(1, rows // BLOCK))
        for first in range(0, self.blocks, count):
            yield self._read(range(first, min(first + count, self.blocks)), memory)

    def _read(self, blocks: Sequence[int] | np.ndarray, memory: _Memory) -> Window:
        counts = [self.rows_of(int(block)) for block in blocks]
        arrays = memory.of(sum(counts))
        start = 0
        for block, count in zip(blocks, counts, strict=True):
            self._read_block(int(block), [array[start : start + count] for array in arrays.values()])
            start += count
        try:
            return Window(self._bounds.rows(arrays), arrays["rows"])
        except OutOfBounds as error:
            block = int(blocks[int(np.searchsorted(np.cumsum(counts), error.row, side="right"))])
            raise InputError(
                f"{self.path}: block {block}, row {arrays['rows'][error.row]} of the table: {error}; the file is not "
                f"what was written: delete the cache {self.path.parent}, and it is made anew"
            ) from error

    def _read_block(self, block: int, parts: list[np.ndarray]) -> None:
        into: list[memoryview | bytearray] = []
        for part in parts:
            if part.nbytes:
                into.append(part.data)
            if padding(part.nbytes):
                into.append(bytearray(padding(part.nbytes)))
        size = self.layout.block_bytes(len(parts[-1]))
        try:
            read = os.preadv(self._handle, into, block * self.layout.block_bytes(BLOCK))
        except OSError as error:
            raise InputError(f"{self.path}: block {block} cannot be read: {error.strerror or error}") from error
        if read != size:
            raise InputError(
                f"{self.path}: block {block} has {read:,} of {size:,} bytes: the file was cut after it was opened; "
                f"delete the cache {self.path.parent}, and it is made anew"
            )


class _Memory:
    """Arrays that grow to the largest window read so far."""

    def __init__(self, layout: Layout) -> None:
        self._layout, self._rows = layout, 0
        self._arrays: Arrays = {}

    def of(self, rows: int) -> Arrays:
        if rows > self._rows:
            self._arrays, self._rows = self._layout.arrays(rows), rows
        return {name: array[:rows] for name, array in self._arrays.items()}
