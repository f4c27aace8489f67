"""How much of a difference is separation and how much calibration, each with an interval; and AUC beside AUC."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.comparison.bets import NO_GAPS, Gaps
from torchbce.comparison.sample import PairPoints
from torchbce.explanation.sketch.points import Array, Points
from torchbce.explanation.statistics.auc import auc, placements
from torchbce.explanation.statistics.intervals import Interval, losses_at, quantile
from torchbce.explanation.statistics.recalibration import recalibration


@dataclass(frozen=True)
class Part:
    """A part of a difference b - a, in nats per item, with its 95 % interval."""

    nats: float
    interval: Interval

    @property
    def is_certain(self) -> bool:
        """Whether its sign is known."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class Parts:
    """separation + calibration = the difference. auc: that of b less that of a."""

    separation: Part
    calibration: Part
    auc: Part


def parts(
    a: Points,
    b: Points,
    joint: PairPoints,
    means: tuple[float, float],
    count: float,
    factor: float,
    gaps: Gaps = NO_GAPS,
) -> Parts | None:
    """From the points of each and of both; None where one of them cannot be recalibrated.

    What differs after both were recalibrated by what happened, on items that this was not fitted on, is separation, and
    the rest calibration. The errors are those of the items' own differences.

    count: how many items, or items of equal weight that tell as much. factor: how many times the variance of a mean is
    that of independent items. gaps: what unseen outcomes may add to the difference, as either part.
    """
    mended = [one for one in (recalibration(a), recalibration(b)) if one is not None]
    if len(mended) < 2:
        return None
    maps = [[values.mean(1) for values in one.losses] for one in mended]  # the folds' maps differ little
    positive = joint.positive / joint.weight.sum()
    negative = joint.weight / joint.weight.sum() - positive

    def at(points: Points, values: Array, logits: Array) -> Array:
        return np.asarray(np.interp(logits, points.logits, values))

    def part(value: float, zeros: Array, ones: Array) -> Part:
        mean = float(negative @ zeros + positive @ ones)
        variance = float(negative @ (zeros - mean) ** 2 + positive @ (ones - mean) ** 2)
        reach = quantile(count - 1) * math.sqrt(factor * variance / (count - 1))
        return Part(value, gaps.around(Interval(value - reach, value + reach), value))

    after = [at(b, maps[1][n], joint.b) - at(a, maps[0][n], joint.a) for n in (0, 1)]
    before = [losses_at(joint.b)[n] - losses_at(joint.a)[n] for n in (0, 1)]
    # What a recalibration costs by being fitted drops out: also where a model needs none.
    separation = mended[1].loss - mended[0].loss
    return Parts(
        separation=part(separation, *after),
        calibration=part(means[1] - means[0] - separation, before[0] - after[0], before[1] - after[1]),
        auc=_auc_part(a, b, joint, count, factor),
    )


def _auc_part(a: Points, b: Points, joint: PairPoints, count: float, factor: float) -> Part:
    """DeLong's interval of the difference: placements of the same items, subtracted."""
    value = auc(b) - auc(a)
    (above_a, below_a), (above_b, below_b) = placements(a), placements(b)
    variance = 0.0
    kinds = ((joint.positive, above_a, above_b), (joint.weight - joint.positive, below_a, below_b))
    for weight, in_a, in_b in kinds:
        rest = np.interp(joint.b, b.logits, in_b) - np.interp(joint.a, a.logits, in_a)
        share = weight / weight.sum()
        items = count * float(weight.sum() / joint.weight.sum())
        variance += float(share @ (rest - share @ rest) ** 2) / (items - 1)
    reach = quantile(count - 1) * math.sqrt(factor * variance)
    return Part(value, Interval(value - reach, value + reach))
