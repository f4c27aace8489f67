"""Sample rows uniformly, by their numbers and the seed alone, however a table is cut into batches.

The rows whose hashes are least are kept. A quantile of n rows of them is that of all rows but for a share of at most
sqrt(ln(2 / p) / (2 n)), with a probability of at most p of being further off (Dvoretzky, Kiefer and Wolfowitz 1956,
with Massart's constant, 1990): 0.6 % of the rows at n = 200,000 and p = one in a million.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.common.splitmix import hashed, key_of

KEY = "__torchbce_key"
ROOM = 1 << 28  # bytes


class RowSample:
    """Sample of at most `size` rows; `size` is halved, again and again, while they take more memory than `ROOM`."""

    def __init__(self, size: int, seed: int, purpose: int) -> None:
        self._size, self._key = size, key_of(seed, purpose)
        self._kept: list[pl.DataFrame] = []
        self._rows = self._bytes = 0
        self._border = 2**64 - 1

    def chosen(self, numbers: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the positions and keys of the rows that may stay in the sample, given their numbers."""
        keys = hashed(numbers, self._key)
        positions = np.flatnonzero(among & (keys <= np.uint64(self._border)))
        return positions, keys[positions]

    def add(self, frame: pl.DataFrame, keys: np.ndarray) -> None:
        """Add chosen rows, with the same columns each time."""
        if not frame.height:
            return
        self._kept.append(frame.with_columns(pl.Series(KEY, keys)))
        self._rows += frame.height
        self._bytes += int(frame.estimated_size())
        if self._rows > self._size * 5 // 4 or self._bytes > ROOM * 5 // 4:
            whole = self._least()
            self._kept, self._rows, self._bytes = [whole], whole.height, int(whole.estimated_size())
            if whole.height >= self._size:
                self._border = int(whole[KEY].to_numpy().max())

    def _least(self) -> pl.DataFrame:
        """Return the rows that stay, in the order in which they came."""
        whole = pl.concat(self._kept, how="vertical_relaxed")
        while True:
            if whole.height > self._size:
                border = np.partition(whole[KEY].to_numpy(), self._size - 1)[self._size - 1]
                whole = whole.filter(whole[KEY] <= border)
            if whole.estimated_size() <= ROOM or self._size == 1:
                return whole
            self._size //= 2

    def frame(self) -> pl.DataFrame:
        """Return the sample, in the order of the table."""
        return self._least().drop(KEY)
