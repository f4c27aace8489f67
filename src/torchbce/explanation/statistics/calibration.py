"""Are the probabilities right? The straight line in logits that would repair them, and what that would save."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from torchbce.common.newton import newton
from torchbce.explanation.sketch.logits import sigmoid
from torchbce.explanation.sketch.points import Array
from torchbce.explanation.statistics.intervals import NOTHING, Interval
from torchbce.explanation.statistics.sample import Sample
from torchbce.explanation.statistics.verdict import CERTAIN, WORTH_MENDING
from torchbce.functional import binary_cross_entropy_with_logits

# Pulls slope to 1 and shift to 0 as much as a thousandth of an item does, whatever the base rate: it is felt only where
# data are separable, and the slope would be infinite.
RIDGE = 1e-3
LEAST_GAIN = 1e-13  # relative; what a further step of Newton's method gains is its square, far below rounding
FEWEST_ITEMS = 50  # below this, or with a handful of the rarer class, a calibration error cannot be told from noise
FEWEST_OF_A_CLASS = 10
LARGEST_LOGIT = 40.0  # beyond it a probability is 0 or 1 in float64; logits that are larger as a rule are scaled


@dataclass(frozen=True)
class Calibration:
    """The logits would fit the targets best as ``slope * logit + shift``.

    gain: how much that lowers the mean loss, in nats. p_value: how often perfectly calibrated predictions would
    gain as much by chance: by likelihood ratio with two degrees of freedom (Wilks), or, where items belong to clusters,
    by the scores of the clusters; NaN where these are too few. separated: the classes are told apart almost without
    error, so that hardly an item says whether probabilities are right. miscalibration: what is lost per item, in nats,
    whether a line mends it or not (cross-fitted). The intervals are of 95 %.
    """

    slope: float
    shift: float
    gain: float
    p_value: float
    slope_interval: Interval = NOTHING
    shift_interval: Interval = NOTHING
    separated: bool = False
    miscalibration: float = math.nan
    miscalibration_interval: Interval = NOTHING

    def is_off(self, entropy: float) -> bool:
        """Return whether a line gains certainly, and more than 1 % of the base rate's entropy."""
        return self.p_value < CERTAIN and self.gain > WORTH_MENDING * entropy

    @property
    def direction(self) -> str:
        """Return what is wrong with the probabilities, by the line; empty where it is little."""
        words = []
        if self.slope < 0:
            words.append("flipped: large logits go with target 0")
        elif self.slope < 0.9:
            words.append("over-confident")
        elif self.slope > 1.1:
            words.append("under-confident")
        if abs(self.shift) > 0.1:
            words.append(f"too {'low' if self.shift > 0 else 'high'} on the whole")
        return " and ".join(words)


def has_enough_items(zeros: float, ones: float) -> bool:
    """Return whether there are items enough of both classes to say anything about calibration."""
    return zeros + ones >= FEWEST_ITEMS and min(zeros, ones) >= FEWEST_OF_A_CLASS


def calibration(sample: Sample, *, separated: bool = False) -> Calibration | None:
    """Fit the best line by Newton's method (Platt, on logits); None where there are too few items."""
    points = sample.points
    if not has_enough_items(sample.zeros, sample.ones):
        return None
    weight, positive = points.total_weight, points.total_positive
    total = float(weight.sum())
    z = for_lines(points.logits, weight)
    slope, shift = best_line(z, weight, positive, sample.count)
    before, after = loss_at(points.logits, weight, positive), loss_at(slope * z + shift, weight, positive)
    gain = max((before - after) / total, 0.0)
    p = sigmoid(slope * z + shift)
    x = np.stack([z, np.ones(len(z))])
    # Sandwich (Huber 1967, White 1982): it holds whether a line is right or not.
    bread = total * np.linalg.pinv(
        (x * (weight * p * (1 - p))) @ x.T + RIDGE * total / sample.count * np.eye(2), hermitian=True
    )
    pulls = bread @ x
    line = [sample.estimate(v, -pull * p, pull * (1 - p)) for v, pull in zip((slope, shift), pulls, strict=True)]
    return Calibration(
        slope=slope,
        shift=shift,
        gain=gain,
        p_value=_p_value(sample, z, gain),
        slope_interval=line[0].students,
        shift_interval=line[1].students,
        separated=separated,
    )


def line_cost(sample: Sample) -> float:
    """Return what a line costs per item for being fitted on as many items as these: half the trace of H^-1 V.

    With H the second derivatives of the mean loss and V the variance of its first; 1 / n of independent items where
    the predictions are right.
    """
    points = sample.points
    z = for_lines(points.logits, points.total_weight)
    p, x = sigmoid(z), np.stack([z, np.ones(len(z))])
    variance = sample.covariance(*((-row * p, row * (1 - p)) for row in x))
    if not np.isfinite(variance).all():
        return 1 / sample.count
    second = (x * (points.total_weight * p * (1 - p))) @ x.T / points.total_weight.sum()
    return float(np.trace(np.linalg.pinv(second, hermitian=True) @ variance)) / 2


def _p_value(sample: Sample, z: Array, gain: float) -> float:
    """Return the p-value by likelihood ratio (Wilks), by scores for clusters, or by both for weighted items."""
    by_likelihood = math.exp(-sample.count * gain)
    if sample.is_plain:
        return by_likelihood
    by_score = _score_test(sample, z)
    return by_score if sample.sizes is not None else max(by_score, by_likelihood)


def _score_test(sample: Sample, z: Array) -> float:
    """Return how often right predictions have so large a score of slope and shift by chance.

    Hotelling's T^2; its F distribution with 2 and n - 2 degrees of freedom has this form.
    """
    points = sample.points
    p = sigmoid(z)
    scores = [(-x * p, x * (1 - p)) for x in (z, np.ones(len(z)))]
    zeros, ones = points.total_weight - points.total_positive, points.total_positive
    mean = np.array([zeros @ at_zero + ones @ at_one for at_zero, at_one in scores]) / points.total_weight.sum()
    covariance, freedom = sample.covariance(*scores), sample.estimate(0.0, *scores[1]).freedom
    if not np.isfinite(covariance).all():
        return math.nan
    statistic = float(mean @ np.linalg.pinv(covariance, hermitian=True) @ mean)
    return float((1 + statistic / freedom) ** (-(freedom - 1) / 2))


def for_lines(logits: Array, weight: Array) -> Array:
    """Clip outliers, such as infinite logits, which a line would bend to, at twenty times the median or at 40."""
    order = np.argsort(np.abs(logits))
    before = np.cumsum(weight[order])
    usual = abs(float(logits[order][np.searchsorted(before, before[-1] / 2)]))
    limit = max(LARGEST_LOGIT, 20 * usual)
    return np.asarray(np.clip(logits, -limit, limit))


def best_line(z: Array, weight: Array, positive: Array, count: float) -> tuple[float, float]:
    """Return the slope and shift of least loss, with a ridge that weighs RIDGE of one of `count` items."""
    n = weight.sum()
    size = max(1.0, math.sqrt(float((z * z) @ weight) / float(n)))  # Newton's steps need logits near 1
    x = np.stack([z / size, np.ones(len(z))])
    start, ridge = np.array([size, 0.0]), np.array([RIDGE / size**2, RIDGE]) / count

    def objective(at: Array) -> float:
        return loss_at(at @ x, weight, positive) / float(n) + 0.5 * float((ridge * (at - start) ** 2).sum())

    def derivatives(at: Array) -> tuple[Array, Array]:
        p = sigmoid(at @ x)
        gradient = x @ (weight * p - positive) / n + ridge * (at - start)
        return gradient, (x * (weight * p * (1 - p))) @ x.T / n + np.diag(ridge)

    line = newton(objective, derivatives, np.array([1.0, 0.0]), least_gain=LEAST_GAIN)
    assert line is not None  # the ridge makes it strictly convex
    return float(line[0]) / size, float(line[1])


def loss_at(z: Array, weight: Array, positive: Array) -> float:
    """Return the total loss of logits that stand for `weight` items each, `positive` of them ones."""
    used = weight > 0
    logits, w, ones = (torch.from_numpy(np.ascontiguousarray(a[used])) for a in (z, weight, positive))
    share = (ones / w).clamp(0.0, 1.0)
    return float(binary_cross_entropy_with_logits(logits, share, w, reduction="sum"))
