"""AUC and its interval: how often an item with target 1 has a larger logit than one with target 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from torchbce.explanation.sketch.points import Array, Points
from torchbce.explanation.statistics.intervals import LEVEL, NOTHING, Interval, quantile

if TYPE_CHECKING:
    from torchbce.explanation.statistics.clustered import Estimate
    from torchbce.explanation.statistics.sample import Sample

SEPARATED = 0.999  # an AUC beyond is of classes that are told apart almost without error


def auc(points: Points) -> float:
    """Return the AUC, where ties count half; NaN where one class is missing."""
    above, _ = placements(points)
    positive = points.total_positive
    return float(positive @ above / positive.sum()) if positive.sum() > 0 else math.nan


def placements(points: Points) -> tuple[Array, Array]:
    """Return the share of zeros below each point and of ones above it, ties half (DeLong et al. 1988)."""
    positive = points.total_positive
    negative = points.total_weight - positive
    with np.errstate(invalid="ignore"):
        above = (np.cumsum(negative) - 0.5 * negative) / negative.sum()
        below = 1 - (np.cumsum(positive) - 0.5 * positive) / positive.sum()
    return above, below


def influences(sample: Sample) -> tuple[Array, Array]:
    """Return what an item with target 0 and one with 1 adds to the AUC, as a mean over all items (DeLong)."""
    points, value = sample.points, auc(sample.points)
    positive, total = points.total_positive.sum(), points.total_weight.sum()
    above, below = placements(points)
    # The variance of each class has its own degrees of freedom.
    zeros, ones = (math.sqrt(n / (n - 1) * (sample.count - 1) / sample.count) for n in (sample.zeros, sample.ones))
    return (below - value) * zeros * total / (total - positive), (above - value) * ones * total / positive


def auc_estimate(sample: Sample) -> Estimate:
    """Estimate the AUC by the influences of items; there are two of each class at least."""
    return sample.estimate(auc(sample.points), *influences(sample))


def auc_interval(sample: Sample) -> Interval:
    """Return DeLong's interval on the scale of log odds; there are two items of each class at least."""
    value = auc(sample.points)
    if value in (0.0, 1.0):
        # So many independent pairs of one and zero were all in order: an order that holds less often is refuted.
        least = ((1 - LEVEL) / 2) ** (1 / sample.rarer)
        return Interval(least, 1.0) if value else Interval(0.0, 1 - least)
    estimate = auc_estimate(sample)
    if math.isnan(estimate.standard_error):
        return NOTHING
    reach = quantile(estimate.freedom) * estimate.standard_error / (value * (1 - value))
    odds = math.log(value / (1 - value))
    return Interval(*(1 / (1 + math.exp(-bound)) for bound in (odds - reach, odds + reach)))
