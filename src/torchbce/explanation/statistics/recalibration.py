"""Recalibrated predictions: by a line, by isotonic regression or in bins.

Whichever does best on items that were not seen: a line where these are few, isotonic regression where the truth rises
with the predictions, bins (twice the cube root of the number of items) where it does not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.points import FOLDS, Array, Points
from torchbce.explanation.statistics.calibration import best_line, for_lines, loss_at
from torchbce.explanation.statistics.intervals import losses_at
from torchbce.explanation.statistics.isotonic import fit

FEWEST_FOR_CURVES = 200  # items of equal weight


@dataclass(frozen=True)
class Recalibration:
    """loss: on items that it was not fitted on, in nats per item. gain: what that saves; at least 0.

    losses: what items with target 0 and with 1 cost at each point, a column for each fold, mended by the other folds.
    """

    loss: float
    gain: float
    losses: tuple[Array, Array]


@functools.lru_cache(maxsize=4)  # an explanation and a comparison of the same points both need it
def recalibration(points: Points) -> Recalibration | None:
    """Recalibrate by the best method, fitted on four fifths and judged on the fifth; None where a class is missing."""
    weight, positive = points.total_weight, points.total_positive
    sample_size = float(weight.sum() ** 2 / sum(squares.sum() for squares in points.squares))
    z = for_lines(points.logits, weight)
    by_line, by_isotonic, by_bins = [], [], []
    for fold in range(FOLDS):
        rest_w, rest_ones = weight - points.weight[:, fold], positive - points.positive[:, fold]
        seen = rest_w > 1e-9 * weight  # what subtraction leaves of 0 is not an item
        if not seen.any() or not 0 < rest_ones[seen].sum() < rest_w[seen].sum():
            return None
        slope, shift = best_line(
            z[seen], rest_w[seen], rest_ones[seen], sample_size * float(rest_w.sum() / weight.sum())
        )
        by_line.append(losses_at(slope * z + shift))
        count = rest_w[seen].sum()
        shares = (1 - 1 / (count + 1)) * fit(rest_w[seen], rest_ones[seen]) + 0.5 / (count + 1)  # Laplace: never 0 or 1
        shares = np.interp(points.logits, points.logits[seen], shares)
        by_isotonic.append((-np.log1p(-shares), -np.log(shares)))
        shares = _binned(rest_w, rest_ones, sample_size)
        by_bins.append((-np.log1p(-shares), -np.log(shares)))
    methods = []
    # What a few items do in bins is mostly chance, and so is the best of several.
    curves = (by_isotonic, by_bins) if sample_size >= FEWEST_FOR_CURVES else ()
    for losses in (by_line, *curves):
        zeros, ones = (np.stack(columns, 1) for columns in zip(*losses, strict=True))
        total = float(((points.weight - points.positive) * zeros + points.positive * ones).sum())
        methods.append((total, (zeros, ones)))
    total, mended = min(methods, key=lambda pair: pair[0])
    before = loss_at(points.logits, weight, positive)
    return Recalibration(total / float(weight.sum()), max(0.0, before - total) / float(weight.sum()), mended)


def _binned(weight: Array, positive: Array, count: float) -> Array:
    """Return the share of ones at each point, in bins of equal weight."""
    bins = max(1, round(2 * count ** (1 / 3)))
    before = np.cumsum(weight) - weight / 2
    bin_index = np.minimum((bins * before / before[-1]).astype(np.int64) if before[-1] > 0 else 0, bins - 1)
    inside, ones = (np.bincount(bin_index, values, bins) for values in (weight, positive))
    each = count / bins * inside / inside.mean()  # items of equal weight
    shares = (ones / np.maximum(inside, 1e-300) * each + 0.5) / (each + 1)
    return np.asarray(shares[bin_index])
