"""A sample of items with known classes, from which figures are estimated: by one rule, whatever figure.

Near the truth every figure is a mean over items, of what each adds to it (its influence). So its variance is that of
the items' influences, by the squares of their weights, or that of the sums over clusters.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from torchbce.explanation.sketch.clusters import Clusters
from torchbce.explanation.sketch.points import Array, Points, folds
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.clustered import Estimate, Sizes, sizes_of

Values = Array | float  # at each point, or at each point in each fold


class Sample:
    """Points of items, and the clusters that these belong to.

    count: how many items, or items of equal weight of either class that tell as much.
    """

    def __init__(self, points: Points, clusters: Clusters | None = None) -> None:
        self.points, self._clusters = points, clusters
        self.zeros, self.ones = points.counts
        self.count = self.zeros + self.ones

    @property
    def is_plain(self) -> bool:
        """Return whether items are independent and have no weights."""
        whole = float(self.points.total_weight.sum())
        return self._clusters is None and math.isclose(self.count, whole, rel_tol=1e-9)

    @functools.cached_property
    def sizes(self) -> Sizes | None:
        """Return the sizes of the clusters; None where items are independent."""
        return None if self._clusters is None else sizes_of(self._clusters.sums[:, 2])

    @functools.cached_property
    def rarer(self) -> float:
        """Return how many items of the rarer class there are; or clusters with such, where these are fewer."""
        fewest = min(self.zeros, self.ones)
        if self._clusters is not None:
            weight, positive = self._clusters.sums[:, 2:4].T
            fewest = min(fewest, int((positive > 0).sum()), int((positive < weight).sum()))
        return fewest

    @property
    def independent(self) -> float:
        """Return how many items or clusters of them."""
        return self.count if self.sizes is None else min(self.count, self.sizes.number)

    def estimate(self, value: float, zeros: Values, ones: Values) -> Estimate:
        """Estimate a figure to which items with target 0 and with 1 add so much, up to a constant."""
        both = self.points.by_class
        total = float(self.points.total_weight.sum())
        if self._clusters is not None:
            of_cells = self._at_cells(zeros, ones)
            rests = np.bincount(self._cluster, of_cells, len(self._numbers))
            rests = rests - rests.sum() / self._weight.sum() * self._weight
            return clustered.estimate(value, rests, self._weight, self._numbers)
        shape = both[0].shape
        at = [np.broadcast_to(np.asarray(one)[:, None] if np.ndim(one) == 1 else one, shape) for one in (zeros, ones)]
        used = [weight > 0 for weight in both]  # where nothing is, a value may be infinite
        mean = sum(float(w[u] @ v[u]) for w, v, u in zip(both, at, used, strict=True)) / total
        square = cube = 0.0
        for weight, squares, cubes, here, there in zip(
            both, self.points.squares, self.points.cubes, at, used, strict=True
        ):
            rest = np.where(there, here, mean) - mean
            per_fold = weight / np.maximum(weight.sum(1, keepdims=True), 1e-300)
            # As if each item were left out in turn: one of much weight says little of how far others are.
            left_out = squares + 2 * (cubes / total - squares / max(self.count, 2))
            square += float(left_out @ (per_fold * rest**2).sum(1))
            cube += float(cubes @ (per_fold * rest**3).sum(1))
        if not self.count > 1:
            return Estimate(value, math.nan, math.nan, math.nan)
        error = math.sqrt(square * self.count / (self.count - 1)) / total
        return Estimate(value, error, cube / square**1.5 if square > 0 else 0.0, self.count - 1)

    def covariance(self, first: tuple[Values, Values], second: tuple[Values, Values]) -> Array:
        """Return the covariance of two figures, shape (2, 2); NaN where nothing can be told."""

        def variance(sign: float) -> float:
            zeros, ones = (np.asarray(a) + sign * np.asarray(b) for a, b in zip(first, second, strict=True))
            return self.estimate(0.0, zeros, ones).standard_error ** 2

        both = (variance(1.0) - variance(-1.0)) / 4
        one, other = (self.estimate(0.0, *figure).standard_error ** 2 for figure in (first, second))
        return np.array([[one, both], [both, other]])

    def _at_cells(self, zeros: Values, ones: Values) -> Array:
        """Return what the items of each cell add."""
        point, fold, of_zeros, of_ones = self._cells
        values = []
        for weight, value in ((of_zeros, zeros), (of_ones, ones)):
            array = np.asarray(value)
            at = array if array.ndim == 0 else array[point] if array.ndim == 1 else array[point, fold]
            values.append(np.where(weight > 0, weight * np.where(weight > 0, at, 0.0), 0.0))
        return np.asarray(values[0] + values[1])

    @functools.cached_property
    def _cells(self) -> tuple[Array, Array, Array, Array]:
        """Return for each cell its point, its fold, and the weight of zeros and of ones."""
        assert self._clusters is not None
        logits, numbers, sums = self._clusters.cells.cells()
        known = self.points.logits
        point = np.searchsorted((known[1:] + known[:-1]) / 2, logits)  # the nearest
        self._numbers, self._cluster = np.unique(numbers, return_inverse=True)
        return point, folds(numbers), sums[:, 1], sums[:, 2]

    @functools.cached_property
    def _weight(self) -> Array:
        """Return the weight of each cluster."""
        _, _, zeros, ones = self._cells
        return np.bincount(self._cluster, zeros + ones, len(self._numbers))
