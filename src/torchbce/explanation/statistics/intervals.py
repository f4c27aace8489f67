"""95 % intervals of means whose items are skewed, as losses are: most items cost little and a few cost much.

Student's interval around such a mean is too far down: of rare events it holds 88 times of 100, not 95. Hall's cubic
takes the skewness of the items out of the t statistic and can be undone (Hall 1992, On the removal of skewness by
transformation, JRSS B 54, 221-228; how often they hold is measured in the docs).
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from torchbce.explanation.sketch.points import Array

LEVEL = 0.95
FEWEST_OF_A_CLASS = 5  # with fewer, what the next of them will cost is anybody's guess


class Interval(NamedTuple):
    """The bounds between which a figure lies, 95 times of 100."""

    low: float
    high: float

    def within(self, least: float, most: float) -> Interval:
        """Return the part of the interval that the figure can reach."""
        return Interval(*(min(max(bound, least), most) for bound in self))

    def holding(self, value: float) -> Interval:
        """Return the interval, widened up to the value."""
        return Interval(min(self.low, value), max(self.high, value))


NOTHING = Interval(math.nan, math.nan)  # where nothing can be told


@functools.lru_cache(maxsize=1024)
def quantile(freedom: float) -> float:
    """Return what Student's t stays below in size, 95 times of 100."""
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, float(freedom)))  # SciPy takes no whole number beyond 64 bits


def interval_of_mean(mean: float, standard_error: float, skew: float, count: float) -> Interval:
    """Return the interval by Student's t with `count` - 1 degrees of freedom, corrected for skewness.

    skew: of the sum, so that of the items divided by the square root of their number.
    """
    if not (math.isfinite(mean) and math.isfinite(standard_error)):
        return NOTHING
    q = quantile(count - 1)
    return Interval(mean - standard_error * _uncorrected(q, skew), mean - standard_error * _uncorrected(-q, skew))


def _uncorrected(t: float, skew: float) -> float:
    """Return the t statistic that Hall's cubic, t + k t^2 / 3 + k^2 t^3 / 27 + k / 6, turns into this one."""
    if abs(skew) < 1e-8:
        return t
    return 3 / skew * (math.cbrt(1 + skew * (t - skew / 6)) - 1)


def interval_of_difference(
    before: float, around: Interval, after: float, around_after: Interval, correlation: float = 0.0
) -> Interval:
    """Return the interval of `after` - `before` from that of each (Zou and Donner 2008; correlated, Zou 2007)."""

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one * one + other * other - 2 * correlation * one * other, 0.0))

    change = after - before
    return Interval(
        change - reach(around.high - before, after - around_after.low),
        change + reach(before - around.low, around_after.high - after),
    )


def losses_at(logits: Array) -> tuple[Array, Array]:
    """Return what items with target 0 and with 1 cost at these logits, in nats."""
    both = np.logaddexp(0.0, logits)
    return both, both - logits
