"""The parts of a difference: separation, calibration and AUC, each with an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.comparison.bets import NO_GAPS, Gaps
from torchbce.comparison.sample import PairPoints
from torchbce.explanation.sketch.points import Array, Points
from torchbce.explanation.statistics import clustered
from torchbce.explanation.statistics.auc import auc, placements
from torchbce.explanation.statistics.clustered import Estimate
from torchbce.explanation.statistics.intervals import Interval, losses_at
from torchbce.explanation.statistics.recalibration import recalibration


@dataclass(frozen=True)
class Part:
    """A part of a difference b - a, in nats per item, with its 95 % interval."""

    nats: float
    interval: Interval

    @property
    def is_certain(self) -> bool:
        """Return whether its sign is known."""
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
    counts: tuple[float, float],
    gaps: Gaps = NO_GAPS,
) -> Parts | None:
    """Split a difference by the points of each model and of both; None where one cannot be recalibrated.

    What differs after both were recalibrated by what happened, on items that this was not fitted on, is separation, and
    the rest calibration. The errors are those of the items' own differences.

    counts: how many zeros and ones, or items of equal weight that tell as much. gaps: what unseen
    outcomes may add to the difference, as either part.
    """
    mended = [recalibrated for recalibrated in (recalibration(a), recalibration(b)) if recalibrated is not None]
    if len(mended) < 2:
        return None
    maps = [
        [values.mean(1) for values in recalibrated.losses] for recalibrated in mended
    ]  # the folds' maps differ little

    def at(points: Points, values: Array, logits: Array) -> Array:
        return np.asarray(np.interp(logits, points.logits, values))

    def part(value: float, zeros: Array, ones: Array) -> Part:
        return Part(value, gaps.around(students(value, zeros, ones), value))

    def students(value: float, zeros: Array, ones: Array) -> Interval:
        return _estimate(value, joint, np.where(joint.positive > 0, ones, zeros), sum(counts)).students

    after = [at(b, maps[1][n], joint.b) - at(a, maps[0][n], joint.a) for n in (0, 1)]
    before = [losses_at(joint.b)[n] - losses_at(joint.a)[n] for n in (0, 1)]
    # What a recalibration costs by being fitted drops out: also where a model needs none.
    separation, placed = mended[1].loss - mended[0].loss, auc(b) - auc(a)
    return Parts(
        separation=part(separation, *after),
        calibration=part(means[1] - means[0] - separation, before[0] - after[0], before[1] - after[1]),
        auc=Part(placed, students(placed, *_placed(a, b, joint, counts))),
    )


def _placed(a: Points, b: Points, joint: PairPoints, counts: tuple[float, float]) -> tuple[Array, Array]:
    """Return what a zero and a one add to the difference of AUCs: placements of the same items, subtracted (DeLong)."""
    added, both = [], sum(counts)
    negative = joint.weight - joint.positive
    (above_a, below_a), (above_b, below_b) = placements(a), placements(b)
    kinds = ((negative, below_a, below_b, counts[0]), (joint.positive, above_a, above_b, counts[1]))
    for weight, in_a, in_b, count in kinds:
        rest = np.interp(joint.b, b.logits, in_b) - np.interp(joint.a, a.logits, in_a)
        share = weight / weight.sum()
        freedom = math.sqrt(count / (count - 1) * (both - 1) / both)
        added.append((rest - share @ rest) * freedom * joint.weight.sum() / weight.sum())
    return added[0], added[1]


def _estimate(value: float, joint: PairPoints, each: Array, count: float) -> Estimate:
    """Estimate the mean of what each pair adds, from the pairs in the sample."""
    total = joint.weight.sum()
    rest = each - joint.weight @ each / total
    square = float(joint.square @ rest**2) / total**2 * count / (count - 1)
    if joint.clusters is None:
        return Estimate(value, math.sqrt(square), 0.0, count - 1)
    numbers, which = np.unique(joint.clusters, return_inverse=True)
    weights, rests = (np.bincount(which, values, len(numbers)) for values in (joint.weight, joint.weight * rest))
    estimate = clustered.estimate(value, rests, weights, numbers)
    if joint.kept.min() == 1:
        return estimate
    # Pairs that were left out make the sums of clusters vary more than those of all pairs do.
    more = float(joint.square * (1 - joint.kept) / joint.kept @ rest**2) / total**2
    return estimate._replace(standard_error=math.sqrt(max(estimate.standard_error**2 - more, square)))
