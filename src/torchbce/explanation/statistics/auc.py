"""AUC and its interval: how often an item with target 1 has a larger logit than one with target 0."""

from __future__ import annotations

import math

import numpy as np

from torchbce.explanation.sketch.points import Array, Points
from torchbce.explanation.statistics.intervals import LEVEL, Interval, quantile

SEPARATED = 0.999  # an AUC beyond is of classes that are told apart almost without error


def auc(points: Points) -> float:
    """Ties count half; NaN where one class is missing."""
    above, _ = placements(points)
    positive = points.total_positive
    return float(positive @ above / positive.sum()) if positive.sum() > 0 else math.nan


def placements(points: Points) -> tuple[Array, Array]:
    """The share of zeros below each point and of ones above it, ties half (DeLong et al. 1988)."""
    positive = points.total_positive
    negative = points.total_weight - positive
    with np.errstate(invalid="ignore"):
        above = (np.cumsum(negative) - 0.5 * negative) / negative.sum()
        below = 1 - (np.cumsum(positive) - 0.5 * positive) / positive.sum()
    return above, below


def auc_interval(points: Points, count: float, factor: float = 1.0) -> Interval:
    """DeLong's, on the scale of log odds, which keeps it within 0 and 1.

    There are two items of each class at least.

    count: how many items, or items of equal weight that tell as much. factor: how many times the variance is that of
    independent items.
    """
    value = auc(points)
    positive = points.total_positive
    negative = points.total_weight - positive
    ones = count * float(positive.sum() / points.total_weight.sum())
    zeros = count - ones
    above, below = placements(points)
    if value in (0.0, 1.0):
        # So many independent pairs of one and zero were all in order: an order that holds less often is refuted.
        least = ((1 - LEVEL) / 2) ** (factor / min(ones, zeros))
        return Interval(least, 1.0) if value else Interval(0.0, 1 - least)
    variance = _variance(above, positive) / (ones - 1) + _variance(below, negative) / (zeros - 1)
    reach = quantile(count - 1) * math.sqrt(factor * variance) / (value * (1 - value))
    odds = math.log(value / (1 - value))
    return Interval(*(1 / (1 + math.exp(-bound)) for bound in (odds - reach, odds + reach)))


def _variance(values: Array, weight: Array) -> float:
    mean = values @ weight / weight.sum()
    return float(weight @ (values - mean) ** 2 / weight.sum())
