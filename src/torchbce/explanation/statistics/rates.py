"""Intervals of what is read off items with known classes: base rate, its entropy, and D2."""

from __future__ import annotations

import math

from torchbce.explanation.statistics.clustered import Estimate, Pulls
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.intervals import NOTHING, Interval, losses_at, quantile
from torchbce.explanation.statistics.sample import Sample


def base_rate(sample: Sample) -> Estimate:
    """Estimate the share of ones, by weight."""
    points = sample.points
    return sample.estimate(float(points.total_positive.sum() / points.total_weight.sum()), 0.0, 1.0)


def around_base_rate(rate: Estimate, count: float) -> Interval:
    """Return Wilson's interval of the base rate, by the effective number of items; `count` are there."""
    share, q = rate.value, quantile(rate.freedom) if rate.freedom > 0 else math.nan
    if math.isnan(rate.standard_error) or math.isnan(q):
        return NOTHING
    if rate.standard_error > 0:
        count = share * (1 - share) / rate.standard_error**2
    middle = (share + q * q / count / 2) / (1 + q * q / count)
    reach = q * math.sqrt(share * (1 - share) / count + (q / count) ** 2 / 4) / (1 + q * q / count)
    return Interval(middle - reach, middle + reach).within(0.0, 1.0)


def around_entropy(share: Interval) -> Interval:
    """Return the interval of the entropy of a base rate within these bounds."""
    if math.isnan(share.low):
        return NOTHING
    ends = [cross_entropy(bound, bound) if 0 < bound < 1 else 0.0 for bound in share]
    return Interval(min(ends), math.log(2) if share.low <= 0.5 <= share.high else max(ends))


def entropy_pulls(share: Estimate) -> Pulls | None:
    """Return how clusters pull the entropy of a base rate: up while it is below a half."""
    if share.pulls is None:
        return None
    return share.pulls._replace(values=share.pulls.values * (1 if share.value < 0.5 else -1))


def d2(sample: Sample, answer: float) -> Estimate:
    """Estimate 1 - mean loss / baseline, where the baseline answers a probability, by the delta method."""
    points = sample.points
    share = float(points.total_positive.sum() / points.total_weight.sum())
    baseline, slope = cross_entropy(share, answer), math.log((1 - answer) / answer)
    zeros, ones = losses_at(points.logits)
    negative, positive = points.total_weight - points.total_positive, points.total_positive
    mean = float(negative @ zeros + positive @ ones) / float(points.total_weight.sum())
    ratio = mean / baseline
    by_zeros, by_ones = (
        (baseline - loss + ratio * slope * (y - share)) / baseline for loss, y in ((zeros, 0), (ones, 1))
    )
    return sample.estimate(1 - ratio, by_zeros, by_ones)
