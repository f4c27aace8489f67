"""How many labels are wrong: between what only noise explains and what the surest predictions allow.

Predictions that learnt from noisy labels tell P(label | x), and noise and true uncertainty look alike there. So two
ends are estimated. The low one is the noise of the curve (see `noise`): all that a curve without a floor explains is
taken for uncertainty. The high one takes every contradiction among the surest predictions for an error (see `tails`);
it overstates where even those are uncertain, and never understates but by chance. The estimate is their middle.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.points import Points
from torchbce.explanation.statistics.calibration import best_line, for_lines, has_enough_items
from torchbce.labels.noise import Bins, Curve, fitted, least_rates
from torchbce.labels.tails import Array, Labelled, Tail, surest

LARGEST_SHARE = 0.2  # of contradicted labels among the surest: above it nothing says whether labels or features fail
LARGEST_LIMIT = 0.3  # with fewer items among the surest, so much cannot be excluded


@dataclass(frozen=True)
class Count:
    """How many labels are wrong, and 95 % limits."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Noise:
    """Estimates: wrong labels among ones, zeros and all; the limits of the rates; the curve of items."""

    curve: Curve
    least: tuple[float, float]
    most: tuple[float, float]
    ones: Count
    zeros: Count
    both: Count


@dataclass(frozen=True)
class Line:
    """Calibrated logits: slope * logit + shift, of logits no farther out than `limit`."""

    slope: float
    shift: float
    limit: float

    def logits(self, logits: Array) -> Array:
        """Calibrate a model's logits."""
        return np.asarray(self.slope * np.clip(logits, -self.limit, self.limit) + self.shift)


def calibrated(points: Points) -> Line:
    """Return the line of least loss; for few items, or logits that point the wrong way, the identity.

    Two numbers from all items flatter none of them, so it is not cross-fitted.
    """
    weight, positive = points.total_weight, points.total_positive
    z = for_lines(points.logits, weight)
    limit = float(np.abs(z).max())
    if not has_enough_items(*points.counts):
        return Line(1.0, 0.0, limit)
    slope, shift = best_line(z, weight, positive, sum(points.counts))
    return Line(slope, shift, limit) if slope > 0 else Line(1.0, 0.0, limit)


def estimated(points: Points, line: Line) -> Noise | str:
    """Estimate the noise, or return why it cannot be told."""
    if not has_enough_items(*points.counts):
        return "there are too few items: 50 are needed, and 10 of each label"
    unit = float(sum(square.sum() for square in points.squares) / points.total_weight.sum())  # of an item, as a rule
    weight, positive = points.total_weight / unit, points.total_positive / unit
    squares = points.squares[0] / unit**2, points.squares[1] / unit**2
    z = line.logits(points.logits)
    zeros, ones = Labelled(weight - positive, squares[0]), Labelled(positive, squares[1])
    tails = surest(z, zeros, ones), surest(-z[::-1], ones.backwards(), zeros.backwards())
    for label, tail in enumerate(tails):
        if tail.share > LARGEST_SHARE or tail.limit > LARGEST_LIMIT:
            return _unsure(label, tail)
    bins = Bins.of(z, weight, positive, squares)
    bounds = (0.0, tails[0].limit), (0.0, tails[1].limit)
    curve = fitted(bins, *bounds)
    middle = [(rate + tail.share) / 2 for rate, tail in zip(curve.rates, tails, strict=True)]
    # A tail's share may by chance be less than the curve's limit.
    zero, one = map(min, least_rates(bins, curve, *bounds), middle)
    least = zero, one
    most = tails[0].limit, tails[1].limit
    at, low, high = (fitted(bins, (a, a), (b, b)) for a, b in (middle, least, most))
    return Noise(at, least, most, *_counts(z, ones, zeros, (at, low, high), unit))


def _unsure(label: int, tail: Tail) -> str:
    if tail.limit >= 1:
        return f"no prediction says {label}, so nothing tells how often a label contradicts a sure one"
    return (
        f"no region is certain: of the items that are surest to be {label}, {100 * tail.share:.0f} % are labelled "
        f"{1 - label} (at most {100 * tail.limit:.0f} %), which may be wrong labels or features that do not tell"
    )


def _counts(
    z: Array, ones: Labelled, zeros: Labelled, curves: tuple[Curve, Curve, Curve], unit: float
) -> Iterator[Count]:
    """Yield the counts of wrong labels among ones, among zeros and in all: sums of items' chances, and their limits.

    What is not known of the rates and chance itself are independent.
    """
    labelled, squares = (np.stack(pair) for pair in ((ones.weight, zeros.weight), (ones.square, zeros.square)))
    sums = np.stack([(labelled * curve.chances(z)).sum(1) for curve in curves])
    chances = np.stack(curves[0].chances(z))
    variances = (squares * chances * (1 - chances)).sum(1)  # of the weight that is wrong, if the rates are right
    for labels in ([0], [1], [0, 1]):
        expected, least, most = sums[:, labels].sum(1)
        chance = 1.96 * math.sqrt(variances[labels].sum())
        below, above = (math.hypot(max(gap, 0.0), chance) for gap in (expected - least, most - expected))
        ends = np.clip([expected, expected - below, expected + above], 0.0, labelled[labels].sum())
        yield Count(*(unit * float(end) for end in ends))
