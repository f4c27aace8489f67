"""95 % intervals of means whose items are skewed, as losses are: most items cost little and a few cost much.

Student's interval around such a mean is too far down: of rare events it holds 88 times of 100, not 95. Hall's cubic
takes the skewness of the items out of the t statistic and can be undone (Hall 1992, On the removal of skewness by
transformation, JRSS B 54, 221-228; how often they hold is measured in the docs).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.points import Array, Points

LEVEL = 0.95
FEWEST_OF_A_CLASS = 5  # with fewer, what the next of them will cost is anybody's guess


class Interval(NamedTuple):
    """From where to where a figure lies, 95 times of 100."""

    low: float
    high: float

    def within(self, least: float, most: float) -> Interval:
        """The part of it that the figure can reach."""
        return Interval(*(min(max(bound, least), most) for bound in self))

    def holding(self, value: float) -> Interval:
        """The same, and up to the value."""
        return Interval(min(self.low, value), max(self.high, value))


NOTHING = Interval(math.nan, math.nan)  # where nothing can be told


@functools.lru_cache(maxsize=1024)
def quantile(freedom: float) -> float:
    """What Student's t stays below in size, 95 times of 100."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, float(freedom)))  # SciPy takes no whole number beyond 64 bits


def enough_of_both(count: float, positive: float) -> bool:
    """Whether a mean over the items of both classes can have an interval."""
    return min(positive, count - positive) >= FEWEST_OF_A_CLASS


def interval_of_mean(mean: float, standard_error: float, skew: float, count: float) -> Interval:
    """By Student's t with `count` - 1 degrees of freedom, corrected for skewness.

    skew: of the sum, so that of the items divided by the square root of their number.
    """
    if not (math.isfinite(mean) and math.isfinite(standard_error)):
        return NOTHING
    q = quantile(count - 1)
    return Interval(mean - standard_error * _uncorrected(q, skew), mean - standard_error * _uncorrected(-q, skew))


def _uncorrected(t: float, skew: float) -> float:
    """The t statistic that Hall's cubic, t + k t^2 / 3 + k^2 t^3 / 27 + k / 6, turns into this one."""
    if abs(skew) < 1e-8:
        return t
    return 3 / skew * (math.cbrt(1 + skew * (t - skew / 6)) - 1)


def interval_of_difference(before: float, around: Interval, after: float, around_after: Interval) -> Interval:
    """Of `after` - `before`, which are independent, from the interval of each (Zou and Donner 2008)."""
    change = after - before
    return Interval(
        change - math.hypot(after - around_after.low, around.high - before),
        change + math.hypot(around_after.high - after, before - around.low),
    )


@dataclass(frozen=True)
class Moments:
    """The mean of a value over items, and the variance and third moment around it.

    count: how many items, or items of equal weight that tell as much. factor: how many times the variance of the mean
    is that of independent items.
    """

    mean: float
    variance: float
    third: float
    count: float
    factor: float = 1.0

    @property
    def standard_error(self) -> float:
        return math.sqrt(self.factor * self.variance / (self.count - 1)) if self.count > 1 else math.nan

    @property
    def interval(self) -> Interval:
        """Of the mean."""
        skew = self.third / self.variance**1.5 / math.sqrt(self.count) if self.variance > 0 else 0.0
        return interval_of_mean(self.mean, self.standard_error, skew, self.count)


def moments(points: Points, zeros: Array | float, ones: Array | float, count: float, factor: float = 1.0) -> Moments:
    """Of a value that is `zeros` for items with target 0 and `ones` for those with 1: at each point, in each fold."""
    kinds = ((points.weight - points.positive, zeros), (points.positive, ones))
    weight, value = (np.stack([np.broadcast_to(kind[n], points.weight.shape) for kind in kinds]) for n in (0, 1))
    used = weight > 0  # where nothing is, a value may be infinite
    weight, value = weight[used], value[used]
    weight = weight / weight.sum()
    mean = float(weight @ value)
    rest = value - mean
    return Moments(mean, float(weight @ rest**2), float(weight @ rest**3), count, factor)


def losses_at(logits: Array) -> tuple[Array, Array]:
    """What items with target 0 and with 1 cost there, in nats."""
    both = np.logaddexp(0.0, logits)
    return both, both - logits
