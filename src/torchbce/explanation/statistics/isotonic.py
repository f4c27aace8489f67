"""Isotonic regression of targets on logits (pool-adjacent-violators, by SciPy), and the reliability curve it makes.

CORP: Dimitriadis, Gneiting and Jordan 2021, https://doi.org/10.1073/pnas.2016191118.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.logits import sigmoid
from torchbce.explanation.sketch.points import Array, Points

REFITS = 100


@dataclass(frozen=True)
class ReliabilityCurve:
    """Blocks of items whose observed share of ones rises.

    `low` and `high`: 90 % of the curves of calibrated predictions lie between them (consistency band; Broecker and
    Smith 2007); None where items are weighted.
    """

    predicted: Array
    observed: Array
    count: Array
    low: Array | None = None
    high: Array | None = None


def recalibrated(points: Points) -> Array:
    """Return for every logit the share of ones that isotonic regression fits."""
    return fit(points.total_weight, points.total_positive)


def fit(weight: Array, positive: Array) -> Array:
    """Fit the rising shares of ones nearest to `positive / weight`, for points in rising order."""
    from scipy.optimize import isotonic_regression

    return np.asarray(isotonic_regression(positive / weight, weights=weight).x)


def reliability_curve(points: Points, fits: list[tuple[Array, Array]] | None = None) -> ReliabilityCurve:
    """Return mean prediction, share of ones and number of items of each block; with `right_fits`, the band."""
    from scipy.optimize import isotonic_regression

    weight, positive, p = points.total_weight, points.total_positive, sigmoid(points.logits)
    blocks = isotonic_regression(positive / weight, weights=weight).blocks[:-1]
    sizes = np.add.reduceat(weight, blocks)
    predicted = np.add.reduceat(p * weight, blocks) / sizes
    low = high = None
    if fits is not None:
        curves = [np.interp(predicted, p, shares) for _, shares in fits]
        low, high = np.quantile(curves, [0.05, 0.95], axis=0)
    return ReliabilityCurve(predicted, np.add.reduceat(positive, blocks) / sizes, sizes, low, high)


def right_fits(points: Points) -> list[tuple[Array, Array]]:
    """Draw positives as if the predictions were right, and fit them, `REFITS` times.

    For items without weights.
    """
    rng = np.random.default_rng(0)
    weight, p = points.total_weight, sigmoid(points.logits)
    count = weight.round().astype(np.int64)
    drawn = (rng.binomial(count, p).astype(np.float64) for _ in range(REFITS))
    return [(positive, fit(weight, positive)) for positive in drawn]
