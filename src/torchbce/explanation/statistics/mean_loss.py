"""The mean loss of all items, and how far it may be from the truth: from exact sums, whatever the targets are."""

from __future__ import annotations

import math

from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.clustered import Estimate
from torchbce.explanation.statistics.group_means import mean_of


def mean_loss(sketch: Sketch) -> dict[str, Estimate]:
    """Estimate the "mean", the total divided by the items, and the "weighted_mean", divided by the weights."""
    sums = sketch.sums
    if sketch.clusters is not None:
        count, total, weight, _ = sketch.clusters.sums.T
        divided = {"mean": (sums.count, count), "weighted_mean": (sums.weight, weight)}
        return {
            name: clustered.estimate(mean, total - mean * sizes, sizes)
            for name, (divisor, sizes) in divided.items()
            for mean in [sums.total / divisor if divisor else math.nan]
        }
    alone = _independent(sketch)
    if not sketch.weighted:
        return {"mean": alone, "weighted_mean": alone}
    (whole,) = sketch.whole.rows()
    return {"mean": alone, "weighted_mean": mean_of(whole)}


def design_effect(sketch: Sketch, mean: Estimate) -> float:
    """Return how many times the variance of the mean is that of independent items."""
    error, alone = mean.standard_error, _independent(sketch).standard_error
    return (error / alone) ** 2 if alone > 0 and not math.isnan(error) else 1.0


def _independent(sketch: Sketch) -> Estimate:
    """Estimate the mean, taking items for independent."""
    sums = sketch.sums
    error = math.sqrt(sums.moment / (sums.count - 1) / sums.count) if sums.count > 1 else math.nan
    skew = sums.third / sums.moment**1.5 if sums.moment > 0 else 0.0
    return Estimate(sums.total / sums.count, error, skew, sums.count - 1.0)
