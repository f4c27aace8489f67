"""Sums over items, apart by two whole numbers of each; they add up, and so they merge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray

WAITING = 1 << 20  # items that are added up at a time
WINDOW = 1 << 23  # numbers that lie closer together are counted, others sorted


class PairedSums:
    """A row of sums for each pair of numbers, in rising order. Rows whose first sum, a weight, is 0 are left out.

    Args:
        width: how many sums a row has.
        most: how many rows are kept.
        fewer: how many second numbers are kept apart once rows are too many; a power of 2.
    """

    def __init__(self, width: int, most: int, fewer: int) -> None:
        self._most, self._fewer = most, fewer
        self.cut = False
        self._first, self._second = np.zeros(0, np.int64), np.zeros(0, np.int64)
        self._sums = np.zeros((0, width))
        self._waiting: list[tuple[Array, Array, Array]] = []

    def __len__(self) -> int:
        self._settle()
        return len(self._first)

    def add(self, first: Array, second: Array, sums: Sequence[Array]) -> None:
        """Add items, with both numbers and the sums of each."""
        self._waiting.append((first.astype(np.int64), second.astype(np.int64), np.stack(sums, 1)))
        if sum(len(numbers) for numbers, _, _ in self._waiting) >= WAITING:
            self._settle()

    def rows(self) -> tuple[Array, Array, Array]:
        """Return both numbers and the sums of each row."""
        self._settle()
        return self._first, self._second, self._sums

    def state(self) -> dict[str, Array]:
        """Return the arrays that `restore` takes."""
        self._settle()
        return {"first": self._first, "second": self._second, "sums": self._sums, "cut": np.array(self.cut)}

    def restore(self, state: dict[str, Array]) -> None:
        """Add the rows of a `state`.

        Raises:
            ValueError: it is no state.
        """
        first, second, sums = (state[name] for name in ("first", "second", "sums"))
        whole = first.dtype == second.dtype == np.int64 and sums.dtype == np.float64
        if not (whole and first.shape == second.shape == sums.shape[:1] and sums.shape[1:] == self._sums.shape[1:]):
            raise ValueError("its sums cannot be")
        if np.isnan(sums).any() or (second < 0).any():
            raise ValueError("its sums cannot be")
        self._settle()
        self._cut(bool(state["cut"]))
        self._waiting.append((first, second, sums))
        self._settle()

    def _settle(self) -> None:
        if not self._waiting:
            return
        parts = [(self._first, self._second, self._sums), *map(self._fitting, self._waiting)]
        self._waiting = []
        self._put(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        if len(self._first) > self._most:
            self._shrink()

    def _fitting(self, part: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        """Return items with their second number as coarse as the rows have it by now."""
        first, second, sums = part
        return first, second & (self._fewer - 1) if self.cut else second, sums

    def _shrink(self) -> None:
        """Keep fewer rows."""
        self._cut(len(np.unique(self._second)) > self._fewer)

    def _cut(self, cut: bool) -> None:
        if cut and not self.cut:
            self.cut = True
            self._put(self._first, self._second & (self._fewer - 1), self._sums)

    def _put(self, first: Array, second: Array, sums: Array) -> None:
        weighs = sums[:, 0] != 0
        if not weighs.all():
            first, second, sums = first[weighs], second[weighs], sums[weighs]
        firsts, at = ranked(first)
        seconds, which = ranked(second)
        count = max(len(seconds), 1)
        rows, where = ranked(at * count + which)
        self._first, self._second = firsts[rows // count], seconds[rows % count]
        columns = [np.bincount(where, column, len(rows)) for column in sums.T]
        self._sums = np.stack(columns, 1).astype(np.float64)


def ranked(values: Array) -> tuple[Array, Array]:
    """Return the different whole numbers in rising order, and the position of each value among them."""
    if not len(values):
        return values, values
    least, most = int(values.min()), int(values.max())
    if most - least >= WINDOW:
        return np.unique(values, return_inverse=True)
    there = np.zeros(most - least + 1, bool)
    there[values - least] = True
    rank = np.cumsum(there) - 1
    return there.nonzero()[0] + least, rank[values - least]
