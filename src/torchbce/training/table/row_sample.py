"""A uniform sample of rows that depends on their numbers and the seed alone, however a table is cut into batches.

The rows whose hashes are least are kept. A quantile of n rows of them is that of all rows but for a share of at most
sqrt(ln(2 / p) / (2 n)), with a probability of at most p of being further off (Dvoretzky, Kiefer and Wolfowitz 1956,
with Massart's constant, 1990): 0.6 % of the rows at n = 200,000 and p = one in a million.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.common.splitmix import hashed, key_of

KEY = "__torchbce_key"


class RowSample:
    """At most `size` rows."""

    def __init__(self, size: int, seed: int, purpose: int) -> None:
        self._size, self._key = size, key_of(seed, purpose)
        self._kept: list[pl.DataFrame] = []
        self._rows = 0
        self._border = 2**64 - 1

    def chosen(self, numbers: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of rows by their numbers, those that may be kept: their places and keys."""
        keys = hashed(numbers, self._key)
        places = np.flatnonzero(among & (keys <= np.uint64(self._border)))
        return places, keys[places]

    def add(self, frame: pl.DataFrame, keys: np.ndarray) -> None:
        """Rows that were chosen, with the same columns each time."""
        if not frame.height:
            return
        self._kept.append(frame.with_columns(pl.Series(KEY, keys)))
        self._rows += frame.height
        if self._rows > self._size * 5 // 4:
            self._kept = [self._least()]
            self._rows = self._kept[0].height
            self._border = int(self._kept[0][KEY].to_numpy().max())

    def _least(self) -> pl.DataFrame:
        """Those that stay, in the order in which they came."""
        whole = pl.concat(self._kept, how="vertical_relaxed")
        if whole.height <= self._size:
            return whole
        border = np.partition(whole[KEY].to_numpy(), self._size - 1)[self._size - 1]
        return whole.filter(whole[KEY] <= border)

    def frame(self) -> pl.DataFrame:
        """The sample, in the order of the table."""
        return self._least().drop(KEY)
