"""Predictions as points: the logits that occur, with the weight of the items there and of their positives.

Up to `LIMIT` different logits are kept as they are, so small data and everything in 16 bits are exact; of more, the
last digits are dropped. Points add up, so they can be merged. For cross-fitting, items are dealt out to `FOLDS` parts:
by what they belong to, or else by chance that is the same for the same items, in whatever order and files they came.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from torchbce.explanation.sketch.cells import CellTable

FOLDS = 5
LIMIT = 65_536
FARTHEST = 1e30  # stands for an infinite logit
ALONE = FOLDS  # stands for the fold of items that are dealt out one by one
PLAIN, WEIGHTED = 3, 9  # sums of a cell: weight, zeros, ones; with weights also counts, squares and cubes by class
EQUAL_WEIGHTS = (0, 1, 2, 1, 2, 1, 2, 1, 2)

Array = np.ndarray


@dataclass(frozen=True, eq=False)  # compared and hashed as the object that it is
class Points:
    """Distinct logits in rising order; `weight` and `positive` have one column for each fold.

    squares, cubes: sums of squared and of cubed weights, of zeros and of ones.
    """

    logits: Array
    weight: Array
    positive: Array
    squares: tuple[Array, Array]
    cubes: tuple[Array, Array]

    @classmethod
    def of(cls, logits: Array, targets: Array, weights: Array | None = None) -> Points:
        """Return the points of items in memory."""
        table = PointTable()
        z, y, w = (
            None if a is None else torch.from_numpy(np.asarray(a, np.float64)) for a in (logits, targets, weights)
        )
        assert z is not None
        assert y is not None
        table.add(z, y, w)
        return table.points()

    @functools.cached_property
    def total_weight(self) -> Array:
        return np.asarray(self.weight.sum(1))

    @functools.cached_property
    def total_positive(self) -> Array:
        return np.asarray(self.positive.sum(1))

    @property
    def by_class(self) -> tuple[Array, Array]:
        """Return the weight of zeros and of ones."""
        return self.weight - self.positive, self.positive

    @functools.cached_property
    def counts(self) -> tuple[float, float]:
        """Return the effective numbers of zeros and of ones, (sum w)^2 / sum w^2 of each (Kish)."""
        zeros, ones = (
            float(weight.sum() ** 2 / square.sum()) if square.sum() > 0 else 0.0
            for weight, square in zip(self.by_class, self.squares, strict=True)
        )
        return zeros, ones


class PointTable:
    """Points that are being collected."""

    def __init__(self) -> None:
        self._cells = CellTable(PLAIN, LIMIT, 2 * FOLDS * LIMIT, 2 * FOLDS)

    @property
    def is_exact(self) -> bool:
        return self._cells.is_exact

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None, parts: Array | None = None) -> None:
        """Add items; all are float64 and finite, and `parts` are folds."""
        y = targets.numpy()
        w = np.ones(len(y)) if weights is None else weights.numpy()
        used = w > 0
        sums = [w, w * (1 - y), w * y]
        if weights is not None or self._cells.width == WEIGHTED:
            self._cells.widen(EQUAL_WEIGHTS)
            sums += [used * (1 - y), used * y]
            sums += [w**power * share for power in (2, 3) for share in (1 - y, y)]
        self._cells.add_items(logits.numpy(), np.full(len(y), ALONE) if parts is None else parts, sums)

    def merge(self, other: PointTable) -> None:
        """Add what another table has collected."""
        if other._cells.width != self._cells.width:
            for table in (self, other):
                table._cells.widen(EQUAL_WEIGHTS)
        self._cells.merge(other._cells)

    def points(self) -> Points:
        """Return the points collected so far."""
        cells = self._cells.cells()
        _, zeros, ones, *powers = cells.sums.T
        number_of_zeros, number_of_ones, *powers = powers or (zeros, ones, zeros, ones, zeros, ones)
        first = np.r_[True, cells.logits[1:] != cells.logits[:-1]][: len(cells.logits)]
        point, size = np.cumsum(first) - 1, int(first.sum())

        def at_points(values: Array) -> Array:
            return np.bincount(point, values, size).astype(np.float64)

        by_class = []
        # The same parts for the same items, and other ones for others: or a chance would befall every sample alike.
        alone, rng = cells.others == ALONE, np.random.default_rng(self._cells.digest)
        for weight, number in ((zeros, number_of_zeros), (ones, number_of_ones)):
            parts = np.zeros((size, FOLDS))
            np.add.at(parts, (point[~alone], cells.others[~alone]), weight[~alone])
            parts[point[alone]] += _dealt(weight[alone], number[alone], rng)
            by_class.append(parts)
        squared_zeros, squared_ones, cubed_zeros, cubed_ones = map(at_points, powers)
        squares, cubes = (squared_zeros, squared_ones), (cubed_zeros, cubed_ones)
        return Points(cells.logits[first], by_class[0] + by_class[1], by_class[1], squares, cubes)

    def state(self) -> dict[str, Array]:
        """Return the arrays from which `restored` makes the table again."""
        return self._cells.state()

    @classmethod
    def restored(cls, state: dict[str, Array]) -> PointTable:
        """Restore a table.

        Raises:
            ValueError: these are no points.
        """
        table = cls()
        if state["sums"].ndim == 2 and state["sums"].shape[1] == WEIGHTED + 1:
            table._cells.widen(EQUAL_WEIGHTS)
        table._cells.restore(state)
        if not ((state["second"] >= 0) & (state["second"] <= ALONE)).all():
            raise ValueError("its points cannot be")
        return table


def _dealt(weight: Array, number: Array, rng: np.random.Generator) -> Array:
    """Deal the weight of so many items at each point out to the folds by chance."""
    left = np.ceil(number).astype(np.int64)  # soft targets make parts of items
    each = weight / np.maximum(left, 1)
    by_fold = np.empty((len(weight), FOLDS))
    for fold in range(FOLDS):
        dealt = rng.binomial(left, 1 / (FOLDS - fold))
        by_fold[:, fold] = dealt * each
        left = left - dealt
    return by_fold


@functools.cache
def _fold_of() -> Array:
    return np.random.default_rng(0).integers(0, FOLDS, FOLDED)


FOLDED = 4096  # numbers of clusters that are told apart in dealing them out


def folds(clusters: Array) -> Array:
    """Return the fold of each cluster, by its number: by chance, but the same in every file and run."""
    return np.asarray(_fold_of()[clusters & (FOLDED - 1)])
