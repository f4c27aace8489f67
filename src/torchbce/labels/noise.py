"""Labels with noise: P(label = 1 | z) = rho_0 + (1 - rho_0 - rho_1) sigmoid(t(z)).

rho_0 is the chance that a true 0 is labelled 1, rho_1 that a true 1 is labelled 0; t is a line in the calibrated logit
z, with a slope below 0 and one above, so that either end may rise as fast as it does. Copas 1988,
https://doi.org/10.1111/j.2517-6161.1988.tb01723.x. A share of labels that stays away from 0 or 1 however far out z is
can only be noise to this curve.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.logits import sigmoid
from torchbce.explanation.statistics.calibration import RIDGE
from torchbce.labels.tails import Array

BINS = 1024  # of equal weight: finer ones change no digit that is shown, and the cost stays the same for any n
DEVIANCE = 3.841  # 95 % of chi2 with one degree of freedom
STEEPEST = 100.0  # slopes of calibrated logits are near 1, and a few times that under much noise
FARTHEST_SHIFT = 50.0
TINY = 1e-12

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Bins:
    """Calibrated logits, the weight of items at each and of those labelled 1; squares of weights, by label."""

    logits: Array
    weight: Array
    positive: Array
    squares: tuple[Array, Array]

    @classmethod
    def of(cls, logits: Array, weight: Array, positive: Array, squares: tuple[Array, Array]) -> Bins:
        """Make at most `BINS` bins of equal weight, from logits in rising order."""
        upto = np.cumsum(weight)
        _, cells = np.unique(np.floor(BINS * (upto - weight / 2) / upto[-1]), return_inverse=True)
        total = np.bincount(cells, weight)
        zeros, ones = (np.bincount(cells, square) for square in squares)
        return cls(np.bincount(cells, weight * logits) / total, total, np.bincount(cells, positive), (zeros, ones))

    @property
    def design(self) -> Array:
        """Return what the slope below 0, the slope above and the shift multiply."""
        return np.stack([np.minimum(self.logits, 0), np.maximum(self.logits, 0), np.ones(len(self.logits))])


@dataclass(frozen=True)
class Curve:
    """The two rates, and the line of what is true."""

    false_ones: float  # rho_0
    false_zeros: float  # rho_1
    below: float
    above: float
    shift: float
    loss: float  # total, where it was fitted

    @property
    def rates(self) -> tuple[float, float]:
        return self.false_ones, self.false_zeros

    def chances(self, z: Array) -> tuple[Array, Array]:
        """Return the chance that a label 1 is wrong, and that a label 0 is: Bayes' theorem, in logits."""
        t = self.below * np.minimum(z, 0) + self.above * np.maximum(z, 0) + self.shift
        with np.errstate(divide="ignore"):
            of_one, of_zero = np.log(self.rates) - np.log1p([-self.false_zeros, -self.false_ones])
        return sigmoid(of_one - t), sigmoid(of_zero + t)


def fitted(bins: Bins, false_ones: Bounds, false_zeros: Bounds, near: Curve | None = None) -> Curve:
    """Fit the likeliest curve whose rates lie within bounds; equal bounds fix a rate. `near`: a curve to start at."""
    from scipy.optimize import minimize

    x, weight, positive = bins.design, bins.weight, bins.positive
    negative = weight - positive
    usual = np.array([1.0, 1.0, 0.0])  # of calibrated logits without noise

    def loss(at: Array) -> tuple[float, Array]:
        line, (zero, one) = at[:3], at[3:]
        true = sigmoid(line @ x)
        label = np.clip(zero + (1 - zero - one) * true, TINY, 1 - TINY)
        away = line - usual
        value = -(positive @ np.log(label) + negative @ np.log1p(-label)) + 0.5 * RIDGE * float(away @ away)
        slope = negative / (1 - label) - positive / label
        by_line = x @ (slope * (1 - zero - one) * true * (1 - true)) + RIDGE * away
        return float(value), np.array([*by_line, slope @ (1 - true), -(slope @ true)])

    box = [(0.0, STEEPEST), (0.0, STEEPEST), (-FARTHEST_SHIFT, FARTHEST_SHIFT), false_ones, false_zeros]
    low, high = np.array(box).T
    starts = [[*usual, *at] for at in _starts(box[3], box[4])]
    if near is not None:
        starts = [[near.below, near.above, near.shift, *near.rates]]
    ends = (minimize(loss, np.clip(at, low, high), jac=True, method="L-BFGS-B", bounds=box) for at in starts)
    best = min(ends, key=lambda end: float(end.fun))
    below, above, shift, zero, one = map(float, best.x)
    return Curve(zero, one, below, above, shift, float(best.fun))


def _starts(false_ones: Bounds, false_zeros: Bounds) -> Iterator[tuple[float, float]]:
    """Yield rates to begin at: little noise, half of what is allowed, and much in one class."""
    for parts in {(0.02, 0.02), (0.5, 0.5), (0.8, 0.1), (0.1, 0.8)}:
        low, high = np.array([false_ones, false_zeros]).T
        one, other = low + np.array(parts) * (high - low)
        yield float(one), float(other)
        if (low == high).all():
            return


def least_rates(bins: Bins, best: Curve, false_ones: Bounds, false_zeros: Bounds) -> tuple[float, float]:
    """Return the lower ends of both rates' profile-likelihood intervals (95 %); 0 where no noise fits nearly as well.

    Weighted likelihoods fall faster or more slowly than those of items of one weight: by how much the variance of the
    rate is another, as its scores have it (Rotnitzky and Jewell 1990, https://doi.org/10.1093/biomet/77.3.485).
    """
    wider = spread(bins, best)

    def least(most: float, at: int) -> float:
        from scipy.optimize import brentq

        def above(rate: float) -> float:
            bounds = [false_ones, false_zeros]
            bounds[at] = (rate, rate)
            return 2 * (fitted(bins, bounds[0], bounds[1], near=best).loss - best.loss) - DEVIANCE * wider[at]

        if most <= TINY or above(0.0) <= 0:
            return 0.0
        return float(brentq(above, 0.0, most, xtol=1e-5))

    return least(best.false_ones, 0), least(best.false_zeros, 1)


def spread(bins: Bins, curve: Curve) -> tuple[float, float]:
    """Return the variance of each rate, divided by what it would be if all items weighed 1."""
    zero, one = curve.rates
    true = sigmoid(np.array([curve.below, curve.above, curve.shift]) @ bins.design)
    label = np.clip(zero + (1 - zero - one) * true, TINY, 1 - TINY)
    slopes = np.vstack([bins.design * ((1 - zero - one) * true * (1 - true)), 1 - true, -true])
    free = np.array([True, True, True, zero > TINY, one > TINY])  # a rate at its end is no parameter
    slopes = slopes[free]
    weights = bins.weight - bins.positive, bins.positive
    parts = slopes / (1 - label), slopes / label

    def scores(of: tuple[Array, Array]) -> Array:
        return np.asarray(sum((part * values) @ part.T for part, values in zip(parts, of, strict=True)))

    scale = np.sqrt(np.maximum(np.diag(scores(weights)), TINY))
    parts = parts[0] / scale[:, None], parts[1] / scale[:, None]
    inverse = np.linalg.pinv(scores(weights), rcond=1e-9)
    ratio = np.ones(5)
    ratio[free] = np.diag(inverse @ scores(bins.squares) @ inverse) / np.maximum(np.diag(inverse), TINY)
    return float(ratio[3]), float(ratio[4])
