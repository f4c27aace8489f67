"""Cut a matrix of logits into tiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

# Bytes of a tile: its logits, their slopes and its targets.
BYTES = 24 << 20
GPU_BYTES = 512 << 20  # a GPU finishes a small tile before the host has asked for the next
ALIGNED = 64
PER_LOGIT = {torch.float64: 8 + 8 + 8, torch.float32: 4 + 4 + 4}

Index = TypeVar("Index", int, Tensor)  # of one position, or of many


class Grid(NamedTuple):
    """A matrix of `rows` by `columns` in tiles of at most `height` by `width`."""

    rows: int
    columns: int
    height: int
    width: int

    @property
    def down(self) -> int:
        """Number of tiles below each other; one, which is empty, where there are no rows."""
        return max(1, -(-self.rows // self.height))

    @property
    def across(self) -> int:
        """Number of tiles beside each other."""
        return max(1, -(-self.columns // self.width))

    def number(self, row: Index, column: Index) -> Index:
        """Return the number of the tile that holds a position, in the order of `tiles`."""
        return column // self.width * self.down + row // self.height

    def column_blocks(self) -> Iterator[slice]:
        return _cut(self.columns, self.width)

    def row_blocks(self) -> Iterator[slice]:
        return _cut(self.rows, self.height)

    def tiles(self) -> Iterator[tuple[slice, slice]]:
        """Return the tiles, down the rows first: so a block of the weight is read once."""
        return ((rows, columns) for columns in self.column_blocks() for rows in self.row_blocks())


def grid_of(rows: int, columns: int, dtype: torch.dtype, chunk: int | None = None, *, on_gpu: bool = False) -> Grid:
    """Return tiles of `chunk` by `chunk`, or else of about a thousand columns, as flat products are slow."""
    if chunk is not None:
        return Grid(rows, columns, min(chunk, max(1, rows)), min(chunk, max(1, columns)))
    logits = (GPU_BYTES if on_gpu else BYTES) // PER_LOGIT[dtype]
    height = max(1, min(rows, logits // min(max(columns, 1), 1024)))
    return Grid(rows, columns, _aligned(height, rows), _aligned(max(1, min(columns, logits // height)), columns))


def _aligned(step: int, size: int) -> int:
    """Round down to a multiple of 64: a GPU is several times slower at other products of 16-bit matrices."""
    return step - step % ALIGNED if ALIGNED < step < size else step


def part(tensor: Tensor, grid: Grid, rows: slice, columns: slice) -> Tensor:
    """Return the tile of a tensor that broadcasts to the grid."""
    if tensor.ndim and tensor.size(-1) > 1:
        tensor = tensor[..., columns]
    return tensor[rows] if tensor.ndim == 2 and tensor.size(0) > 1 else tensor


def _cut(size: int, step: int) -> Iterator[slice]:
    return (slice(first, min(first + step, size)) for first in range(0, size, step))
