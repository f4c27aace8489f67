"""The mean loss of a group, and how far it may be from the truth."""

from __future__ import annotations

import math

from torchbce.explanation.sketch.groups import Group
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.clustered import Estimate


def mean_of(group: Group) -> Estimate:
    """Estimate the mean of a group by weight, with the error by clusters where these are known."""
    if group.parts is not None:
        _, weight, total, _ = parts = group.parts
        return clustered.estimate(group.mean, total - group.mean * weight, weight, parts.clusters)
    if not (group.count > 1 and group.equal_count > 1):
        return Estimate(group.mean, math.nan, math.nan, math.nan)
    error = math.sqrt(group.square * group.equal_count / (group.equal_count - 1)) / group.weight
    skew = group.cube / group.square**1.5 if group.square > 0 else 0.0
    return Estimate(group.mean, error, skew, group.equal_count - 1)


def design_effect_of(group: Group) -> float:
    """Return how many times the variance of its mean is that of independent items."""
    if group.parts is None or not group.square > 0:
        return 1.0
    error, alone = mean_of(group).standard_error, math.sqrt(group.square) / group.weight
    return 1.0 if math.isnan(error) else (error / alone) ** 2


def rarer_of(group: Group) -> float:
    """Return how many items of the rarer class there are; or clusters with such, where these are fewer."""
    if not group.weight:
        return 0.0
    fewest = min(group.base_rate, 1 - group.base_rate) * group.count
    if group.parts is None:
        return fewest
    positive, weight = group.parts.positive, group.parts.weight
    return min(fewest, int((positive > 0).sum()), int((positive < weight).sum()))
