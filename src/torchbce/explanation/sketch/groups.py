"""Sums over the items of each group, enough for its mean loss and the interval around it."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from torchbce.explanation.sketch.keyed_sums import Array, KeyedSums
from torchbce.explanation.statistics.intervals import Interval, interval_of_mean

MOST = 10_000
TOO_MANY = f"there are more than {MOST:,} groups; name a column with fewer values"
# With w the weight and x the weighted loss of an item: the sums that the squares and cubes of x - mean * w need.
COLUMNS = ("count", "total", "weight", "positive", "ww", "wx", "xx", "www", "wwx", "wxx", "xxx")


class Groups(KeyedSums):
    """A row with the columns of `COLUMNS` for each group."""

    def __init__(self) -> None:
        super().__init__(len(COLUMNS), MOST, TOO_MANY)

    def add_losses(
        self, codes: Array, names: list[str], losses: Tensor, targets: Tensor, weights: Tensor | None
    ) -> None:
        """Add items, `losses` with their weights in them."""
        x, y = losses.numpy(), targets.numpy()
        w = np.ones(len(x)) if weights is None else weights.numpy()
        products = (w * w, w * x, x * x, w * w * w, w * w * x, w * x * x, x * x * x)
        self.add_items(codes, names, (None, x, w, y * w, *products))

    def rows(self) -> Iterator[Group]:
        """Each group with its sums."""
        return (Group(name, *row) for name, row in zip(self.names, self.sums.tolist(), strict=True))


class Group:
    """One group of items.

    mean: of its losses, by weight. interval: 95 % around it; NaN where it has one item.
    """

    def __init__(self, name: str, count: float, total: float, weight: float, positive: float, *powers: float) -> None:
        self.name, self.count, self.total, self.weight = name, int(count), total, weight
        self.base_rate = positive / weight if weight else math.nan
        self.mean = total / weight if weight else math.nan
        ww, wx, xx, www, wwx, wxx, xxx = powers
        m = self.mean
        # Rounding must not make a sum of squares negative where all items cost the same.
        self.square = max(xx - 2 * m * wx + m * m * ww, 0.0)
        self.cube = xxx - 3 * m * wxx + 3 * m * m * wwx - m**3 * www

    @property
    def standard_error(self) -> float:
        """Of the mean; NaN for one item."""
        if self.count < 2 or not self.weight:
            return math.nan
        return math.sqrt(self.square * self.count / (self.count - 1)) / self.weight

    @property
    def interval(self) -> Interval:
        skew = self.cube / self.square**1.5 if self.square > 0 else 0.0
        return interval_of_mean(self.mean, self.standard_error, skew, self.count)
