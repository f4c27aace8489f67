"""How much of a change is that of the mix of groups, and how much is within them (Kitagawa 1955)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchbce.comparison.parts import Part
from torchbce.explanation.data.record import GroupLoss
from torchbce.explanation.result import Explanation
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.intervals import NOTHING, Interval, quantile


class Sides(NamedTuple):
    """A group in both periods: its losses, its shares of the weight, and its mean loss over both.

    change: of its mean loss, 0 where it is in one period only.
    """

    groups: tuple[GroupLoss | None, GroupLoss | None]
    shares: tuple[float, float]
    middle: float
    change: float
    periods: int

    @property
    def grown(self) -> float:
        """Return by how much its share is larger after."""
        return self.shares[1] - self.shares[0]

    @property
    def share(self) -> float:
        """Return the mean of both shares."""
        return sum(self.shares) / 2


def by_groups(before: Explanation, after: Explanation) -> tuple[Part, Part]:
    """Return the parts of mix and within; a group of one period only belongs to the mix."""
    sides = _sides(before, after)
    mix, within = sum(side.grown * side.middle for side in sides), sum(side.change * side.share for side in sides)
    if before.cluster_sizes is not None and after.cluster_sizes is not None:
        both = [side.periods == 2 for side in sides]
        of_mix = [[(side.grown / side.periods, sign * side.middle) for side in sides] for sign in (-1, 1)]
        of_within = [
            [(sign * side.share * has, side.change / 2) for side, has in zip(sides, both, strict=True)]
            for sign in (-1, 1)
        ]
        return _clustered_part(mix, sides, of_mix), _clustered_part(within, sides, of_within)
    noise, spread = _variances(sides)
    return _part(mix, noise, math.inf), _part(within, spread, math.inf)


def _sides(before: Explanation, after: Explanation) -> list[Sides]:
    tables: list[dict[str, GroupLoss]] = [
        {group.name: group for group in explanation.groups} for explanation in (before, after)
    ]
    weights = [sum(group.weight for group in table.values()) for table in tables]
    sides = []
    for name in sorted(tables[0].keys() | tables[1].keys()):
        both = (tables[0].get(name), tables[1].get(name))
        first, second = (group.weight / weight if group else 0.0 for group, weight in zip(both, weights, strict=True))
        losses = [group.mean for group in both if group]
        change = losses[1] - losses[0] if len(losses) == 2 else 0.0
        sides.append(Sides(both, (first, second), sum(losses) / len(losses), change, len(losses)))
    return sides


def _variances(sides: list[Sides]) -> tuple[float, float]:
    """Return the variances of mix and of within, where items are independent."""
    noise = spread = 0.0
    squares, means = [0.0, 0.0], [0.0, 0.0]
    for side in sides:
        errors = [
            0.0 if group is None or math.isnan(group.standard_error) else group.standard_error for group in side.groups
        ]
        square = errors[0] ** 2 + errors[1] ** 2
        if side.periods == 2:
            spread += side.share**2 * square
        noise += (side.grown / side.periods) ** 2 * square
        for period, share in enumerate(side.shares):
            squares[period] += share * side.middle**2
            means[period] += share * side.middle
    for period in (0, 1):
        known = [side.groups[period] for side in sides]
        weight = sum(group.weight for group in known if group)
        count = weight**2 / sum(group.weight**2 / group.equal_count for group in known if group and group.equal_count)
        noise += max(squares[period] - means[period] ** 2, 0.0) / count
    return noise, spread


def _clustered_part(value: float, sides: list[Sides], slopes: list[list[tuple[float, float]]]) -> Part:
    """Return a part with its error by clusters.

    slopes: for each period, by the mean loss and by the share of each group.
    """
    pulls: dict[int, float] = {}
    freedom = math.inf
    for period, by_group in enumerate(slopes):
        known = [
            (group, group.parts, by_mean, by_share, side.shares[period])
            for side, (by_mean, by_share) in zip(sides, by_group, strict=True)
            if (group := side.groups[period]) is not None and group.parts is not None
        ]
        numbers = np.unique(np.concatenate([parts.clusters for _, parts, *_ in known]))
        weights, rests = np.zeros(len(numbers)), np.zeros(len(numbers))
        whole = sum(group.weight for group, *_ in known)
        average = sum(by_share * share for *_, by_share, share in known)
        for group, parts, by_mean, by_share, _ in known:
            at = np.searchsorted(numbers, parts.clusters)
            weights[at] += parts.weight
            rests[at] += by_mean * (parts.total - group.mean * parts.weight) * whole / group.weight
            rests[at] += (by_share - average) * parts.weight
        estimate = clustered.estimate(0.0, rests, weights, numbers)
        if estimate.pulls is None:
            return Part(value, NOTHING)
        freedom = min(freedom, estimate.freedom)
        for number, pull in zip(estimate.pulls.clusters.tolist(), estimate.pulls.values.tolist(), strict=True):
            pulls[number] = pulls.get(number, 0.0) + pull
    array = np.array(list(pulls.values()))
    return _part(value, float(array @ array), freedom)


def _part(value: float, variance: float, freedom: float) -> Part:
    reach = quantile(freedom) * math.sqrt(variance)
    return Part(value, Interval(value - reach, value + reach))
