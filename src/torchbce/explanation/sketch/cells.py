"""Sums over items at each logit, apart by a second number, as exact as memory allows.

Logits are kept as they are while they are few. When they become too many, one binary digit after the other is dropped
from the end of all of them, so that cells are narrow where logits lie close together; a cell stands at the mean of its
items. How many digits are dropped depends on what has come, not on the order, so cells of parts, merged, are those of
all.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.paired_sums import Array, PairedSums

SIGN = np.int64(-(1 << 63))
MOST_DROPPED = 49  # of the 52 binary digits that a number has


class Cells(NamedTuple):
    """Rows in rising order of logits: the logit, the second number, and sums."""

    logits: Array
    others: Array
    sums: Array


class CellTable(PairedSums):
    """Cells that are being collected.

    Args:
        width: how many sums a row has; the first is of the weight.
        most_logits: how many different logits are kept.
        most, fewer: see `PairedSums`.
    """

    def __init__(self, width: int, most_logits: int, most: int, fewer: int) -> None:
        super().__init__(width + 1, most, fewer)  # the last is of weight times logit
        self._most_logits = most_logits
        self._dropped = 0

    @property
    def is_exact(self) -> bool:
        """Return whether all logits are kept as they are."""
        self._settle()
        return self._dropped == 0

    @property
    def width(self) -> int:
        return self._sums.shape[1] - 1

    def add_items(self, logits: Array, others: Array, sums: Sequence[Array]) -> None:
        """Add items, with the second number and the sums of each."""
        self.add(_keys(logits), others, [*sums, sums[0] * logits])

    def merge(self, other: CellTable) -> None:
        """Add what another table has collected."""
        self.restore(other.state())

    def widen(self, columns: Sequence[int]) -> None:
        """Give each row more sums, copies of its present sums at these positions, unless it has them."""
        if len(columns) != self.width:
            self._settle()
            self._sums = self._sums[:, [*columns, -1]]

    def cells(self) -> Cells:
        """Return the cells collected so far."""
        keys, others, sums = self.rows()
        logits = _logits(keys)
        if self._dropped:
            _, inverse = np.unique(keys, return_inverse=True)
            weight, product = (np.bincount(inverse, sums[:, n]) for n in (0, -1))
            logits = (product / weight)[inverse]
        return Cells(logits, others, sums[:, :-1])

    @property
    def digest(self) -> int:
        """A number that differs where other logits came."""
        return zlib.crc32(self.rows()[0].tobytes())

    def state(self) -> dict[str, Array]:
        return super().state() | {"dropped": np.array(self._dropped)}

    def restore(self, state: dict[str, Array]) -> None:
        dropped, keys = int(state["dropped"]), state["first"]
        sums = state["sums"]
        if not (0 <= dropped <= MOST_DROPPED and keys.dtype == np.int64 and np.isfinite(sums).all()):
            raise ValueError("its cells cannot be")
        if sums.ndim != 2 or (sums[:, :-1] < 0).any():
            raise ValueError("its cells cannot be")
        keys = keys << np.int64(dropped)
        if not np.isfinite(_logits(keys)).all():
            raise ValueError("its logits cannot be")
        self._settle()
        self._drop(dropped)
        super().restore(state | {"first": keys})

    def _fitting(self, part: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        keys, others, sums = super()._fitting(part)
        return keys >> np.int64(self._dropped), others, sums

    def _put(self, first: Array, second: Array, sums: Array) -> None:
        super()._put(first, second, sums)
        if len(self._first) > self._most_logits:
            self._drop(self._digits_to_drop(math.inf))

    def _shrink(self) -> None:
        super()._shrink()
        self._drop(self._digits_to_drop(self._most))

    def _digits_to_drop(self, most: float) -> int:
        """The fewest with which there are not too many logits, and at most so many rows."""
        order = np.lexsort((self._first, self._second))
        keys, others = self._first[order], self._second[order]
        # Two numbers become one when all digits are dropped down to the first in which they differ.
        until = _lengths(self._first[1:] ^ self._first[:-1])
        rows_until = np.where(others[1:] == others[:-1], _lengths(keys[1:] ^ keys[:-1]), 64)
        for more in range(MOST_DROPPED - self._dropped):
            if (until > more).sum() < self._most_logits and (rows_until > more).sum() < most:
                return self._dropped + more
        return MOST_DROPPED

    def _drop(self, dropped: int) -> None:
        if dropped > self._dropped:
            keys = self._first >> np.int64(dropped - self._dropped)
            self._dropped = dropped
            super()._put(keys, self._second, self._sums)


def _lengths(numbers: Array) -> Array:
    """Return how many binary digits each has; a negative one all 64."""
    lengths = np.zeros(len(numbers), np.int64)
    rest = numbers.view(np.uint64).copy()
    for size in (32, 16, 8, 4, 2, 1):
        large = rest >> np.uint64(size) > 0
        lengths[large] += size
        rest[large] >>= np.uint64(size)
    return lengths + (rest > 0)


def _keys(logits: Array) -> Array:
    """The bits of each as a whole number that rises with it."""
    bits = (logits + 0.0).view(np.int64)  # 0 and -0 are one logit
    return np.asarray(np.where(bits < 0, ~(bits ^ SIGN), bits))


def _logits(keys: Array) -> Array:
    return np.asarray(np.where(keys < 0, ~keys ^ SIGN, keys).view(np.float64))
