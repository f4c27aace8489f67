"""Sums over every slice on one or two columns, in one pass over binned rows; tables of other rows add up."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from torchbce.explanation.sketch.items import Codes
from torchbce.explanation.slices.bins import Bins
from torchbce.explanation.slices.evidence import KNOTS, entropy, rarer_side, spreads
from torchbce.explanation.slices.lanes import Lanes

BLOCK = 1 << 14  # rows at a time: what they add stays in the caches
CLUSTERED_BLOCK = 1 << 17  # the sums of all clusters do not, and are to be gone through seldom
SUMS = 5 + len(KNOTS)  # items, loss, its square, excess, its square, and the spread of the excess at every knot
WEIGHT_SUMS = 4  # weight, its square, its square times loss, and weight times the variance of the loss
MOST_PAIRS = 10_000_000  # of bins, about 1.2 GB of sums
LANE_SUMS = 4  # of each cluster: excess, its slope, loss, weight
MOST_CELLS = 32_000_000  # lanes times pairs of bins, about 1 GB of sums
EXCESS, SLOPE, LOSS, WEIGHT = range(LANE_SUMS)
LANES = 64, 512  # so many clusters at least have sums of their own, and at most


@dataclass(frozen=True)
class Sums:
    """Named views of sums, of one slice (a row) or of many (an array whose last axis is the sums).

    lanes: the same of each cluster, shape (..., lanes, 4), where clusters are known.
    """

    rows: np.ndarray
    lanes: np.ndarray | None = None

    def __getitem__(self, which: Any) -> Sums:
        return Sums(self.rows[which], None if self.lanes is None else self.lanes[which])

    def __sub__(self, other: Sums) -> Sums:
        lanes = None if self.lanes is None or other.lanes is None else self.lanes - other.lanes
        return Sums(self.rows - other.rows, lanes)

    def add_at(self, places: np.ndarray, others: Sums) -> None:
        """Add the sums of others to those at places, of which some may be the same."""
        np.add.at(self.rows, places, others.rows)
        if self.lanes is not None and others.lanes is not None:
            np.add.at(self.lanes, places, others.lanes)

    def lane(self, which: int) -> np.ndarray:
        """Return one of the sums of each cluster, shape (..., lanes)."""
        if self.lanes is None:
            raise ValueError("these sums know no clusters")
        return np.asarray(self.lanes[..., which])

    @property
    def clusters(self) -> np.ndarray:
        """Return the number of lanes with a weight above 0."""
        return np.asarray((self.lane(WEIGHT) > 0).sum(-1))

    @property
    def count(self) -> np.ndarray:
        """Return the number of items with a weight above 0."""
        return np.asarray(self.rows[..., 0])

    @property
    def effective_count(self) -> np.ndarray:
        """Return the effective number of items, (sum w)^2 / sum w^2: a weight is no repetition."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(self.weight**2 / self._squares)

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
    def slope(self) -> np.ndarray:
        """The excess for each unit by which the logits' factor is below 1, the sum of weight * variance of the loss."""
        return np.asarray(self.rows[..., SUMS + 3 if self.weighted else 5])

    @property
    def weight(self) -> np.ndarray:
        """Sum of weights."""
        return np.asarray(self.rows[..., SUMS if self.weighted else 0])

    @property
    def mean(self) -> np.ndarray:
        """Return the mean loss by weight; NaN where there is none."""
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
        squared_loss = self.rows[..., SUMS + 2] if self.weighted else self.loss
        with np.errstate(invalid="ignore", divide="ignore"):
            around = self.rows[..., 2] - 2 * self.mean * squared_loss + self.mean**2 * self._squares
            count = self.effective_count
            return np.asarray(np.maximum(around, 0.0) / self.weight**2 * count / (count - 1))

    @property
    def _squares(self) -> np.ndarray:
        """Sum of the squares of the weights."""
        return np.asarray(self.rows[..., SUMS + 1] if self.weighted else self.count)

    @property
    def weighted(self) -> bool:
        """Return whether items have weights."""
        return bool(self.rows.shape[-1] > SUMS)


def typical(weights: np.ndarray | None) -> float | None:
    """Return a unit for these weights; all of them may be 0."""
    return None if weights is None else float(weights.mean()) or 1.0


class _Kept:
    """Sums at each position of an array, which gains lanes as clusters come."""

    def __init__(self, shape: tuple[int, ...], width: int, clustered: bool) -> None:
        self.shape = shape
        self.rows = np.zeros((*shape, width))
        self.lanes = np.zeros((*shape, 0, LANE_SUMS)) if clustered else None

    @property
    def sums(self) -> Sums:
        """Return the sums by position."""
        return Sums(self.rows, self.lanes)

    def add(self, places: np.ndarray, values: np.ndarray, lanes: np.ndarray | None) -> None:
        """Add items, each at several positions; values has the shape (items, sums)."""
        size = math.prod(self.shape)
        self.rows += _sums_by_place(places, values, size).reshape(self.rows.shape)
        if lanes is None or self.lanes is None:
            return
        count = max(self.lanes.shape[-2], int(lanes.max()) + 1)
        if count > self.lanes.shape[-2]:
            grown = np.zeros((*self.shape, count, LANE_SUMS))
            grown[..., : self.lanes.shape[-2], :] = self.lanes
            self.lanes = grown
        items = Sums(values)
        clustered = np.stack([items.excess, items.slope, items.loss, items.weight], 1)
        self.lanes += _sums_by_place(places * np.int32(count) + lanes[:, None], clustered, size * count).reshape(
            self.lanes.shape
        )


class SliceTable:
    """Sums over all slices of binned columns: for each bin, and for each pair of bins of two columns.

    unit: a typical weight; without it there are no weights. clustered: whether sums are kept of each cluster too.

    Raises:
        ValueError: more than 10 million pairs of bins, or half a million with clusters.
    """

    def __init__(self, columns: Sequence[Bins], *, unit: float | None = None, clustered: bool = False) -> None:
        self.columns = tuple(columns)
        self.unit = unit
        self.clusters: Lanes | None = None
        sizes = [column.size for column in self.columns]
        self.starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])  # of each column's bins among all
        after = [int(self.starts[-1] - start) for start in self.starts[1:]]  # bins of the columns after each
        pairs = sum(size * others for size, others in zip(sizes, after, strict=True))
        most = MOST_CELLS // LANES[0] if clustered else MOST_PAIRS
        if pairs > most:
            raise ValueError(
                f"{len(sizes)} columns of {self.starts[-1]:,} bins make {pairs:,} pairs of bins; at most "
                f"{most:,} can be kept{' where clusters are given' * clustered}, so name fewer columns or cut them "
                "into fewer bins"
            )
        if clustered:
            self.clusters = Lanes(min(LANES[1], MOST_CELLS // max(pairs, 1)))
        width = SUMS + (WEIGHT_SUMS if unit else 0)
        self._whole = _Kept((1,), width, clustered)
        self._ones = _Kept((int(self.starts[-1]),), width, clustered)
        # Of each column's bins with those of all columns after it.
        self._pairs = [_Kept(shape, width, clustered) for shape in zip(sizes, after, strict=True)]

    def add(
        self,
        codes: Sequence[np.ndarray],
        losses: np.ndarray,
        probabilities: np.ndarray,
        weights: np.ndarray | None = None,
        clusters: Codes | None = None,
    ) -> None:
        """Add rows: the bins' codes by column, and of each row the loss in nats, its probability, weight and cluster.

        Raises:
            ValueError: weights where the table has no unit of them, or none where it has; the same of clusters.
        """
        if (weights is None) != (self.unit is None):
            raise ValueError("a table made with a unit of weight takes weights, and one without takes none")
        if (clusters is None) != (self.clusters is None):
            raise ValueError("a table made for clusters takes the cluster of each row, and another takes none")
        lanes = None if clusters is None or self.clusters is None else self.clusters.of(clusters)
        block = BLOCK if lanes is None else CLUSTERED_BLOCK
        for start in range(0, len(losses), block):
            part = slice(start, start + block)
            weight = None if weights is None or self.unit is None else weights[part] / self.unit
            lane = None if lanes is None else lanes[part]
            self._add([code[part] for code in codes], losses[part], probabilities[part], weight, lane)

    def _add(
        self,
        codes: list[np.ndarray],
        losses: np.ndarray,
        probabilities: np.ndarray,
        weights: np.ndarray | None,
        lanes: np.ndarray | None,
    ) -> None:
        if weights is not None and not weights.all():
            weighs = weights > 0
            codes, weights = [code[weighs] for code in codes], weights[weighs]
            losses, probabilities = losses[weighs], probabilities[weighs]
            lanes = None if lanes is None else lanes[weighs]
        if not len(losses):
            return
        values = _values(losses, probabilities, weights)
        self._whole.add(np.zeros((len(values), 1), np.int32), values, lanes)
        if not self.columns:
            return
        places = np.stack(codes, 1).astype(np.int32) + self.starts[:-1].astype(np.int32)  # a bin among all bins
        self._ones.add(places, values, lanes)
        for i, pairs in enumerate(self._pairs[:-1]):
            rows = (codes[i].astype(np.int32) * pairs.shape[1])[:, None]
            pairs.add(places[:, i + 1 :] + (rows - np.int32(self.starts[i + 1])), values, lanes)

    def merge(self, other: SliceTable) -> None:
        """Add what another table of the same bins has seen.

        Raises:
            ValueError: its bins, or its unit of weight, are others; there are clusters, which may be in both.
        """
        if self.columns != other.columns or self.unit != other.unit:
            raise ValueError("tables add up if they have the same bins and the same unit of weight")
        if self.clusters is not None or other.clusters is not None:
            raise ValueError("tables of clusters do not add up: one cluster may have a lane of its own in each")
        for mine, others in zip(self._all, other._all, strict=True):
            mine.rows += others.rows

    @property
    def _all(self) -> list[_Kept]:
        return [self._whole, self._ones, *self._pairs]

    @property
    def whole(self) -> Sums:
        """Return the sums of all items."""
        return self._whole.sums[0]

    @property
    def ones(self) -> Sums:
        """Return the sums of every bin of every column, in order."""
        return self._ones.sums

    def pairs(self, column: int) -> Sums:
        """Return the sums of a column's bins with every bin of the columns after it, shape (bins, bins after, ...)."""
        return self._pairs[column].sums

    def column_of(self, bin: int) -> int:
        """Return the column of a bin, by its position among all bins."""
        return int(np.searchsorted(self.starts, bin, side="right")) - 1

    def pair(self, bin: int, other: int) -> Sums | None:
        """Return the sums of items in both bins; None for two bins of one column."""
        first, second = sorted((bin, other))
        column = self.column_of(first)
        if second < self.starts[column + 1]:
            return None
        return self.pairs(column)[first - self.starts[column], second - self.starts[column + 1]]

    def words(self, bin: int) -> str:
        """The condition that a bin stands for."""
        column = self.column_of(bin)
        return self.columns[column].words(bin - int(self.starts[column]))


def _values(losses: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Return what each item adds, shape (items, sums)."""
    a, q = rarer_side(probabilities)
    w = 1.0 if weights is None else weights
    excess = w * (losses - entropy(a, q))
    values = [np.ones(len(losses)), w * losses, (w * losses) ** 2, excess, excess**2, *spreads(a, q, weights)]
    if weights is not None:
        values += [weights, weights**2, weights**2 * losses, weights * q * (1 - q) * a**2]
    return np.stack(values, 1)


def _sums_by_place(places: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Sum values by position: places has the shape (items, several), values (items, sums), the result (size, sums)."""
    from scipy.sparse import csc_array

    # A product with a sparse matrix of ones takes all sums at once; benchmarks/slices.py has np.bincount beside it.
    items, several = places.shape
    ends = np.arange(0, items * several + 1, several, dtype=np.int32)
    ones = csc_array((np.ones(items * several), places.ravel(), ends), shape=(size, items))
    return np.asarray(ones @ values)
