"""Intervals of what is read off items with known classes: base rate, D2 and AUC."""

from __future__ import annotations

import math

from torchbce.explanation.sketch.clusters import Clusters, spread
from torchbce.explanation.sketch.points import Points
from torchbce.explanation.sketch.sketch import Sketch
from torchbce.explanation.statistics.auc import auc_interval
from torchbce.explanation.statistics.calibration import FEWEST_OF_A_CLASS
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.intervals import NOTHING, Interval, interval_of_mean, losses_at, moments, quantile


def of_rates(
    points: Points, answer: float, count: float, factor: float, clusters: Clusters | None, reach: float
) -> dict[str, Interval]:
    """By name; NaN where nothing can be told.

    answer: the probability that the baseline gives. count: how many items, or items of equal weight that tell as much.
    factor: how many times the variance of a mean is that of independent items. reach: what unseen items may add to the
    mean loss.
    """
    found = {"base_rate": _of_base_rate(points, count / factor), "d2": NOTHING, "auc": NOTHING}
    ones = count * float(points.total_positive.sum() / points.total_weight.sum())
    if min(ones, count - ones) >= FEWEST_OF_A_CLASS:
        found["d2"] = _of_d2(points, answer, count, factor, clusters, reach)
        found["auc"] = auc_interval(points, count, factor)
    return found


def of_weighted_mean(sketch: Sketch) -> Interval:
    """Of the loss divided by the weights, both of which vary."""
    if sketch.clusters is not None:
        _, totals, _, _, weight, _ = sketch.clusters.sums.T
        mean = float(totals.sum() / weight.sum())
        return interval_of_mean(mean, *spread(totals - mean * weight, float(weight.sum())), len(sketch.clusters))
    (whole,) = sketch.whole.rows()
    return whole.interval


def _of_base_rate(points: Points, count: float) -> Interval:
    """Wilson's."""
    if not count > 1:
        return NOTHING
    share, q = float(points.total_positive.sum() / points.total_weight.sum()), quantile(math.inf)
    middle = (share + q * q / count / 2) / (1 + q * q / count)
    reach = q * math.sqrt(share * (1 - share) / count + (q / count) ** 2 / 4) / (1 + q * q / count)
    return Interval(middle - reach, middle + reach).within(0.0, 1.0)


def _of_d2(
    points: Points, answer: float, count: float, factor: float, clusters: Clusters | None, reach: float
) -> Interval:
    """By the first derivatives of loss and baseline by each item (delta method), corrected for skewness."""
    weight, positive = points.total_weight, points.total_positive
    share = float(positive.sum() / weight.sum())
    baseline, slope = cross_entropy(share, answer), math.log((1 - answer) / answer)
    zeros, ones = losses_at(points.logits[:, None])
    ratio = moments(points, zeros, ones, count).mean / baseline
    by_zeros, by_ones = (
        (baseline - loss + ratio * slope * (y - share)) / baseline for loss, y in ((zeros, 0), (ones, 1))
    )
    found = moments(points, by_zeros, by_ones, count, factor)
    around = found.interval
    if clusters is not None:
        error = clusters.standard_error_of_d2(baseline, slope)
        half = quantile(len(clusters) - 1) * error
        around = Interval(found.mean - half, found.mean + half)
    return around.holding(found.mean - reach / baseline)
