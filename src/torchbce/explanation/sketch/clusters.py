"""Items that belong together: the patients of visits, the images of pixels. Between clusters items are independent.

A standard error that takes dependent items for independent is too small, by up to the square root of a cluster's size.
The sums of each cluster are independent, whatever goes on inside it (Liang and Zeger 1986).
"""

from __future__ import annotations

import math
import zlib

import numpy as np
import torch
from torch import Tensor

from torchbce.explanation.sketch.keyed_sums import Array, KeyedSums
from torchbce.explanation.statistics.calibration import LARGEST_LOGIT

FEWEST = 10  # below so many clusters their spread says nothing
MOST = 5_000_000
TOO_MANY = f"there are more than {MOST:,} clusters; name a column that tells what items belong to"
COLUMNS = ("count", "total", "slope_score", "shift_score", "weight", "positive")


class Clusters(KeyedSums):
    """Sums over the items of each cluster: how many, their loss, and the score of slope 1 and shift 0."""

    def __init__(self) -> None:
        super().__init__(len(COLUMNS), MOST, TOO_MANY)

    def add_losses(
        self, codes: Array, names: list[str], losses: Tensor, logits: Tensor, targets: Tensor, weights: Tensor | None
    ) -> None:
        """Add items, `losses` with their weights in them."""
        z = logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        w = torch.ones_like(targets) if weights is None else weights
        residual = (targets - logits.sigmoid()) * w
        columns = (losses, residual * z, residual, w, targets * w)
        self.add_items(codes, names, (None, *(column.numpy() for column in columns)))

    def spread_of(self, mean: float) -> tuple[float, float]:
        """The standard error of the mean loss over all items and the skewness of its sum; NaN: too few clusters."""
        return spread(self.sums[:, 1] - mean * self.sums[:, 0], float(self.sums[:, 0].sum()))

    def score_covariance(self) -> Array | None:
        """Of the sums of the scores of slope and shift; None where there are too few clusters."""
        n = len(self)
        if n < FEWEST:
            return None
        rests = self.sums[:, 2:4] - self.sums[:, 2:4].mean(0)
        return np.asarray(rests.T @ rests * n / (n - 1))

    def p_value(self) -> float:
        """How often right predictions have so large a score by chance; NaN where there are too few clusters.

        Hotelling's T^2 of the clusters' scores; its F distribution with 2 and G - 2 degrees of freedom has this form.
        """
        covariance, n = self.score_covariance(), len(self)
        if covariance is None:
            return math.nan
        total = self.sums[:, 2:4].sum(0)
        statistic = float(total @ np.linalg.pinv(covariance, hermitian=True) @ total)
        return float((1 + statistic / (n - 1)) ** (-(n - 2) / 2))

    def standard_error_of_d2(self, entropy: float, slope: float) -> float:
        """Of 1 - loss / entropy, with `slope` the derivative of the entropy by the base rate; NaN for too few."""
        _, totals, _, _, weight, positive = self.sums.T
        mean, rate = totals.sum() / weight.sum(), positive.sum() / weight.sum()
        rests = -(totals - mean * weight) / entropy + mean / entropy**2 * slope * (positive - rate * weight)
        return spread(rests, float(weight.sum()))[0]


def spread(rests: Array, divisor: float) -> tuple[float, float]:
    """The standard error and the skewness of a figure to which each cluster adds `rest / divisor`; NaN for too few."""
    n = len(rests)
    square = float(rests @ rests)
    if n < FEWEST:
        return math.nan, math.nan
    skew = float((rests**3).sum()) / square**1.5 if square > 0 else 0.0
    return math.sqrt(n / (n - 1) * square) / divisor, skew


def fold_keys(codes: Array, names: list[str]) -> Array:
    """A number for each item that is the same for all of its cluster, in every file and process."""
    keys = np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names], np.int64)
    return np.asarray(keys[codes])
