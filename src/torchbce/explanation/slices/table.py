"""Sums over every slice on one or two columns, in one pass over binned rows; tables of other rows add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.slices.bins import Bins
from torchbce.explanation.slices.evidence import KNOTS, entropy, rarer_side, spreads

BLOCK = 1 << 14  # rows at a time: what they add stays in the caches
SUMS = 5 + len(KNOTS)  # items, loss, its square, excess, its square, and the spread of the excess at every knot
WEIGHT_SUMS = 3  # weight, its square, its square times loss
MOST_PAIRS = 10_000_000  # of bins, about 1.2 GB of sums


@dataclass(frozen=True)
class Sums:
    """Named views of sums, of one slice (a row) or of many (an array whose last axis is the sums)."""

    rows: np.ndarray

    def __getitem__(self, which: np.ndarray | int) -> Sums:
        return Sums(self.rows[which])

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.rows + other.rows)

    def __sub__(self, other: Sums) -> Sums:
        return Sums(self.rows - other.rows)

    @property
    def count(self) -> np.ndarray:
        """Items with a weight above 0."""
        return np.asarray(self.rows[..., 0])

    @property
    def loss(self) -> np.ndarray:
        """Sum of weight * loss."""
        return np.asarray(self.rows[..., 1])

    @property
    def excess(self) -> np.ndarray:
        """Sum of weight * (loss - expected loss)."""
        return np.asarray(self.rows[..., 3])

    @property
    def excess_squared(self) -> np.ndarray:
        """Sum of the squares of weight * (loss - expected loss)."""
        return np.asarray(self.rows[..., 4])

    @property
    def excess_variance(self) -> np.ndarray:
        """The empirical variance of the sum of excess."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.excess_squared - self.excess**2 / self.count)

    @property
    def spread(self) -> np.ndarray:
        """2 K(t) / t^2 of the sum of excess at the knots."""
        return np.asarray(self.rows[..., 5:SUMS])

    @property
    def weight(self) -> np.ndarray:
        """Sum of weights."""
        return np.asarray(self.rows[..., SUMS if self._weighted else 0])

    @property
    def mean(self) -> np.ndarray:
        """Loss by weight; NaN where there is none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.loss / self.weight)

    @property
    def expected(self) -> np.ndarray:
        """The mean loss that the probabilities expect of themselves."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.loss - self.excess) / self.weight)

    @property
    def error_squared(self) -> np.ndarray:
        """The squared standard error of the mean loss."""
        squares = self.rows[..., SUMS + 1] if self._weighted else self.count
        squared_loss = self.rows[..., SUMS + 2] if self._weighted else self.loss
        with np.errstate(invalid="ignore", divide="ignore"):
            around = self.rows[..., 2] - 2 * self.mean * squared_loss + self.mean**2 * squares
            return np.asarray(np.maximum(around, 0.0) / self.weight**2 * self.count / (self.count - 1))

    @property
    def _weighted(self) -> bool:
        return bool(self.rows.shape[-1] > SUMS)


class SliceTable:
    """What is to be known of all slices of binned columns: for each bin, and each pair of bins of two columns, sums.

    unit: a typical weight; without it there are no weights.

    Raises:
        ValueError: more than 10 million pairs of bins.
    """

    def __init__(self, columns: Sequence[Bins], *, unit: float | None = None) -> None:
        self.columns = tuple(columns)
        self.unit = unit
        sizes = [column.size for column in self.columns]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # of each column's bins among all
        sums = SUMS + (WEIGHT_SUMS if unit else 0)
        self._whole = np.zeros(sums)
        self._ones = np.zeros((int(self.starts[-1]), sums))
        after = [int(self.starts[-1] - start) for start in self.starts[1:]]  # bins of the columns after each
        pairs = sum(size * others for size, others in zip(sizes, after, strict=True))
        if pairs > MOST_PAIRS:
            raise ValueError(
                f"{len(sizes)} columns of {self.starts[-1]:,} bins make {pairs:,} pairs of bins; at most "
                f"{MOST_PAIRS:,} can be kept, so name fewer columns or cut them into fewer bins"
            )
        # Of each column's bins with those of all columns after it.
        self._pairs = [np.zeros((size, others, sums)) for size, others in zip(sizes, after, strict=True)]

    def add(
        self,
        codes: Sequence[np.ndarray],
        losses: np.ndarray,
        probabilities: np.ndarray,
        weights: np.ndarray | None = None,
    ) -> None:
        """Add rows: the bins' codes by column, and of each row the loss in nats, its probability and its weight.

        Raises:
            ValueError: weights where the table has no unit of them, or none where it has.
        """
        if (weights is None) != (self.unit is None):
            raise ValueError("a table made with a unit of weight takes weights, and one without takes none")
        for start in range(0, len(losses), BLOCK):
            part = slice(start, start + BLOCK)
            weight = None if weights is None or self.unit is None else weights[part] / self.unit
            self._add([code[part] for code in codes], losses[part], probabilities[part], weight)

    def _add(
        self, codes: list[np.ndarray], losses: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None
    ) -> None:
        if weights is not None and not weights.all():
            kept = weights > 0
            codes, weights = [code[kept] for code in codes], weights[kept]
            losses, probabilities = losses[kept], probabilities[kept]
        values = _values(losses, probabilities, weights)
        self._whole += values.sum(0)
        if not self.columns or not len(values):
            return
        places = np.stack(codes, 1).astype(np.int32) + self.starts[:-1].astype(np.int32)  # a bin among all bins
        self._ones += _sums_by_place(places, values, len(self._ones))
        for i, pairs in enumerate(self._pairs[:-1]):
            width = pairs.shape[1]
            rows = (codes[i].astype(np.int32) * width)[:, None]
            after = places[:, i + 1 :] + (rows - np.int32(self.starts[i + 1]))
            pairs += _sums_by_place(after, values, len(pairs) * width).reshape(pairs.shape)

    def merge(self, other: SliceTable) -> None:
        """Add what another table of the same bins has seen.

        Raises:
            ValueError: its bins, or its unit of weight, are others.
        """
        if self.columns != other.columns or self.unit != other.unit:
            raise ValueError("tables add up if they have the same bins and the same unit of weight")
        self._whole += other._whole
        self._ones += other._ones
        for pairs, others in zip(self._pairs, other._pairs, strict=True):
            pairs += others

    @property
    def whole(self) -> Sums:
        """Of all items."""
        return Sums(self._whole)

    @property
    def ones(self) -> Sums:
        """Of every bin of every column, in order."""
        return Sums(self._ones)

    def pairs(self, column: int) -> Sums:
        """Of every bin of a column with every bin of the columns after it, shape (bins, bins after, ...)."""
        return Sums(self._pairs[column])

    def column_of(self, place: int) -> int:
        """The column of a bin, by the bin's place among all bins."""
        return int(np.searchsorted(self.starts, place, side="right")) - 1

    def pair(self, place: int, other: int) -> Sums | None:
        """Of items in both bins; None for two bins of one column."""
        first, second = sorted((place, other))
        column = self.column_of(first)
        if second < self.starts[column + 1]:
            return None
        return Sums(self._pairs[column][first - self.starts[column], second - self.starts[column + 1]])

    def words(self, place: int) -> str:
        """The condition that a bin stands for."""
        column = self.column_of(place)
        return self.columns[column].words(place - int(self.starts[column]))


def _values(losses: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """What each item adds, shape (items, sums)."""
    a, q = rarer_side(probabilities)
    w = 1.0 if weights is None else weights
    excess = w * (losses - entropy(a, q))
    found = [np.ones(len(losses)), w * losses, (w * losses) ** 2, excess, excess**2, *spreads(a, q, weights)]
    if weights is not None:
        found += [weights, weights**2, weights**2 * losses]
    return np.stack(found, 1)


def _sums_by_place(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """values summed by place: places has the shape (items, several), values (items, sums), the result (size, sums)."""
    from scipy.sparse import csc_array

    # A product with a sparse matrix of ones takes all sums at once; benchmarks/slices.py has np.bincount beside it.
    items, several = places.shape
    ends = np.arange(0, items * several + 1, several, dtype=np.int32)
    ones = csc_array((np.ones(items * several), places.ravel(), ends), shape=(size, items))
    return np.asarray(ones @ values)
