"""Encode numbers as the network has them: some binned, the others plain.

The same bins as by `network.bins.bin_index`, three times as fast: a number's cell on a grid says between which edges
it can lie, and a comparison or two say between which it does. Where edges crowd, `bin_index` searches for them.
"""

from __future__ import annotations

import numpy as np

from torchbce.table.network.bins import bin_counts, bin_fraction, bin_index

ROWS = 1 << 14  # at a time: a chunk of the columns stays in the processor's cache
GRID, CROWD = 4096, 4  # cells; edges in a cell beyond which a search is as fast


class Pieces:
    """`cut`: indices of the binned numbers, those with more than two edges; `plain`: of the others."""

    def __init__(self, edges: list[np.ndarray], numbers: int) -> None:
        pieces = bin_counts(edges, numbers)
        self.cut = [i for i, count in enumerate(pieces) if count]
        self.plain = [i for i, count in enumerate(pieces) if not count]
        self._grids = [_Grid(edges[i][:-1], np.diff(edges[i])) for i in self.cut]

    def encode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return bins and fractions of the binned numbers."""
        shape = len(numbers), len(self.cut)
        bins, fractions = np.empty(shape, np.uint16), np.empty(shape, np.float32)
        for first in range(0, len(numbers), ROWS):
            rows = slice(first, first + ROWS)
            for i, (column, grid) in enumerate(zip(self.cut, self._grids, strict=True)):
                bins[rows, i], fractions[rows, i] = grid.encode(np.ascontiguousarray(numbers[rows, column]))
        return bins, fractions


class _Grid:
    """The bins of one number, and for each cell of a grid over them the last bin that begins before it."""

    def __init__(self, start: np.ndarray, length: np.ndarray) -> None:
        self._start, self._length = start, length
        self._end = np.append(start[1:], np.float32(np.inf))
        with np.errstate(over="ignore", divide="ignore"):
            self._scale = np.float32(GRID) / (start[-1] - start[0])
        self._most = CROWD + 1
        if np.isfinite(self._scale):
            cells = self._cells(start)
            # Cells grow with numbers: what begins in an earlier cell begins before every number of this one.
            self._before = (np.searchsorted(cells, np.arange(GRID)) - 1).clip(0)
            self._most = int(np.bincount(cells).max())

    def _cells(self, numbers: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            return np.asarray(((numbers - self._start[0]) * self._scale).clip(0, GRID - 1).astype(np.int32))

    def encode(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        piece = bin_index(numbers, self._start) if self._most > CROWD else self._from_grid(numbers)
        return piece, bin_fraction(numbers, piece, self._start, self._length)

    def _from_grid(self, numbers: np.ndarray) -> np.ndarray:
        piece = self._before[self._cells(numbers)]
        for _ in range(self._most):
            piece = piece + (numbers >= self._end[piece])
        return np.asarray(piece)
