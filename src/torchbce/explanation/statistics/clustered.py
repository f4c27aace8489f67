"""Figures of items that belong to clusters, such as visits to patients: what each cluster adds, and its spread.

A figure is as uncertain as the sums over whole clusters are (Liang and Zeger 1986). Left out one at a time, as in the
jackknife, clusters say how far: that also holds where a few are large. Then as many clusters of equal size as tell as
much, (sum n)^2 / sum n^2, give the degrees of freedom of Student's t.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.keyed_sums import Array
from torchbce.explanation.statistics.intervals import NOTHING, Interval, interval_of_mean, quantile

FEWEST = 10  # below so many clusters their spread says nothing
FEWEST_EQUAL = 4.0  # the same of clusters of equal size
FEW, LARGE = 20, 0.1  # fewer clusters, or one with a larger share, are worth a word


class Pulls(NamedTuple):
    """How far each cluster, by its number, pulls a figure to its side."""

    clusters: Array
    values: Array


class Estimate(NamedTuple):
    """A figure, its standard error, the skewness of its sum, and degrees of freedom; NaN where nothing can be told."""

    value: float
    standard_error: float
    skew: float
    freedom: float
    pulls: Pulls | None = None

    @property
    def interval(self) -> Interval:
        """Return the 95 % interval, corrected for skewness."""
        return interval_of_mean(self.value, self.standard_error, self.skew, self.freedom + 1)

    @property
    def students(self) -> Interval:
        """Return the 95 % interval by Student's t alone."""
        if math.isnan(self.standard_error):
            return NOTHING
        reach = quantile(self.freedom) * self.standard_error
        return Interval(self.value - reach, self.value + reach)


class Sizes(NamedTuple):
    """How many clusters there are, how many of equal size tell as much, and the share of the largest."""

    number: int
    equal: float
    largest: float

    @property
    def say_enough(self) -> bool:
        """Return whether their spread says how far a figure may be from the truth."""
        return self.number >= FEWEST and self.equal >= FEWEST_EQUAL

    @property
    def are_few(self) -> bool:
        """Return whether they are few or unequal, so that an interval rests on a few of them."""
        return self.number < FEW or self.largest > LARGE

    def summary(self) -> str:
        """Return what is wrong with the clusters, and what follows."""
        large = (
            f", of which one holds {100 * self.largest:.0f} %," if self.largest > max(LARGE, 2 / self.number) else ""
        )
        if not self.say_enough:
            return f"{self.number:,} cluster{'s' * (self.number != 1)}{large} say too little of how far they differ"
        return (
            f"only {self.number:,} clusters{large} tell as much as {self.equal:.3g} of equal size: by Student's t with "
            f"{self.equal - 1:.3g} degrees of freedom"
        )


def sizes_of(weights: Array) -> Sizes:
    """Return the sizes of clusters of these weights."""
    weights = weights[weights > 0]
    total = weights.sum()
    if not len(weights):
        return Sizes(0, 0.0, math.nan)
    return Sizes(len(weights), float(total**2 / (weights @ weights)), float(weights.max() / total))


def estimate(value: float, rests: Array, weights: Array, numbers: Array | None = None) -> Estimate:
    """Estimate a mean over items; a cluster's rest is the sum of what its items differ from the mean."""
    used = weights > 0
    rests, weights = rests[used], weights[used]
    sizes = sizes_of(weights)
    if not sizes.say_enough:
        return Estimate(value, math.nan, math.nan, math.nan)
    pulls = rests / (weights.sum() - weights)
    square = float(pulls @ pulls)
    skew = float((pulls**3).sum()) / square**1.5 if square > 0 else 0.0
    error = math.sqrt((sizes.number - 1) / sizes.number * square)
    return Estimate(value, error, skew, sizes.equal - 1, None if numbers is None else Pulls(numbers[used], pulls))


def correlation(one: Pulls | None, other: Pulls | None) -> float:
    """Return the correlation of two figures, from the clusters with items in both; 0 where there are none."""
    if one is None or other is None:
        return 0.0
    _, here, there = np.intersect1d(one.clusters, other.clusters, return_indices=True)
    product = math.sqrt(float(one.values @ one.values) * float(other.values @ other.values))
    return float(one.values[here] @ other.values[there]) / product if product > 0 else 0.0
