"""Is a mean difference more than luck? Student's t on paired items, or on clusters of them.

The difference of two losses on the same items varies far less than either loss: what is tested is the mean of the
differences, never whether two intervals overlap. Where positives are few, a handful of items decides, the t statistic
does not follow Student's distribution, and there is no p-value (measured in the docs).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from torchbce.common.text import counted
from torchbce.comparison.bets import NO_GAPS, Gaps
from torchbce.explanation.statistics.clustered import FEWEST as FEWEST_CLUSTERS
from torchbce.explanation.statistics.clustered import sizes_of
from torchbce.explanation.statistics.intervals import LEVEL, NOTHING, Interval, quantile

FEWEST_ITEMS = 30
FEWEST_OF_A_CLASS = 20  # of equal weight
POWERFUL = 0.8416212335729143  # what a normal number stays below 80 times of 100
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Evidence:
    """What is known of a mean difference.

    interval: 95 %. p_value: how often two models that are equally good differ as much by luck; None where there is too
    little to tell, and then `reason` says why. freedom: degrees of freedom. decided_by: how many items like these would
    show this difference with a probability of 80 %; infinite where there is none.
    """

    mean: float
    standard_error: float
    freedom: float
    interval: Interval
    p_value: float | None
    reason: str
    decided_by: float


def evidence(
    mean: float,
    standard_error: float,
    freedom: float,
    count: int,
    reason: str,
    *,
    gaps: Gaps = NO_GAPS,
    at_once: int = 1,
) -> Evidence:
    """Weigh a mean difference of `count` items; `reason` is why there is too little to tell, or empty.

    gaps: what outcomes of which too few were seen may add; see `unless_unseen`.
    at_once: how many differences are looked at together; the interval is wide enough for all (Bonferroni).
    """
    from scipy.stats import t

    interval, p_value, decided_by = NOTHING, None, math.inf
    if math.isfinite(mean) and math.isfinite(standard_error):
        q = quantile(freedom) if at_once == 1 else _quantile_of_many(freedom, at_once)
        interval = gaps.around(Interval(mean - q * standard_error, mean + q * standard_error), mean)
        if standard_error == 0 and mean != 0:
            reason = reason or "every item differs by the same, so nothing shows how far chance goes"
        if not reason:
            p_value = 1.0 if mean == 0 else float(2 * t.sf(abs(mean) / standard_error, freedom))
        if mean != 0:
            decided_by = count * ((quantile(math.inf) + POWERFUL) * standard_error / mean) ** 2
    return Evidence(mean, standard_error, freedom, interval, p_value, reason, decided_by)


@functools.lru_cache(maxsize=64)
def _quantile_of_many(freedom: float, at_once: int) -> float:
    """Return what so many of Student's t all stay below in size, 95 times of 100."""
    from scipy.stats import t

    return float(t.ppf(1 - (1 - LEVEL) / 2 / at_once, freedom))


def unless_unseen(known: Evidence, gaps: Gaps, count: int, p_value: float | None) -> Evidence:
    """Take the p-value away where it, adjusted for many, shows a sign that unseen outcomes could turn."""
    reason = gaps.reason(known.mean) if p_value is not None and p_value < SIGNIFICANT else ""
    if not reason:
        return known
    needed = count * gaps.against(known.mean).reach / abs(known.mean)
    return replace(known, p_value=None, reason=reason, decided_by=max(known.decided_by, needed))


def too_few(zeros: float, ones: float, clusters: np.ndarray | None) -> str:
    """Return why a comparison cannot be told from luck; empty where it can.

    zeros, ones: how many of each class, of equal weight. clusters: the weight of each, and that of its ones.
    """
    if clusters is not None:
        both = min(int((clusters[:, 1] > 0).sum()), int((clusters[:, 1] < clusters[:, 0]).sum()))
        if both < FEWEST_CLUSTERS:
            return f"{counted(both, 'cluster')} with items of the rarer class: too few, it takes {FEWEST_CLUSTERS}"
        sizes = sizes_of(clusters[:, 0])
        if not sizes.say_enough:
            return sizes.summary()
    count = round(zeros + ones)
    if count < FEWEST_ITEMS:
        return f"{counted(count, 'item')} {'is' if count == 1 else 'are'} too few; it takes {FEWEST_ITEMS}"
    rarer = min(zeros, ones)
    if rarer < FEWEST_OF_A_CLASS:
        return f"{rarer:.3g} items of the rarer class: too few, it takes {FEWEST_OF_A_CLASS}"
    return ""


def holm(p_values: list[float]) -> list[float]:
    """Adjust p-values so that one of many falls below 0.05 by luck 5 times of 100 (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, most = [0.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[at]))
        adjusted[at] = most
    return adjusted
