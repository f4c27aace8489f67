"""Predictions mended by what happened: by a line or by isotonic regression, whichever does better on items not seen."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.points import FOLDS, Array, Points
from torchbce.explanation.statistics.calibration import best_line, for_lines, loss_at
from torchbce.explanation.statistics.intervals import losses_at
from torchbce.explanation.statistics.isotonic import fit


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
    """The better of both, fitted on four fifths of the items and judged on the fifth; None where a fifth has none."""
    weight, positive = points.total_weight, points.total_positive
    z = for_lines(points.logits, weight)
    by_line, by_isotonic = [], []
    for fold in range(FOLDS):
        rest_w, rest_ones = weight - points.weight[:, fold], positive - points.positive[:, fold]
        seen = rest_w > 1e-9 * weight  # what subtraction leaves of 0 is not an item
        if not seen.any() or not 0 < rest_ones[seen].sum() < rest_w[seen].sum():
            return None
        slope, shift = best_line(z[seen], rest_w[seen], rest_ones[seen])
        by_line.append(losses_at(slope * z + shift))
        count = rest_w[seen].sum()
        shares = (1 - 1 / (count + 1)) * fit(rest_w[seen], rest_ones[seen]) + 0.5 / (
            count + 1
        )  # never 0 or 1 (Laplace)
        shares = np.interp(points.logits, points.logits[seen], shares)
        by_isotonic.append((-np.log1p(-shares), -np.log(shares)))
    found = []
    for losses in (by_line, by_isotonic):
        zeros, ones = (np.stack(columns, 1) for columns in zip(*losses, strict=True))
        total = float(((points.weight - points.positive) * zeros + points.positive * ones).sum())
        found.append((total, (zeros, ones)))
    total, mended = min(found, key=lambda one: one[0])
    before = loss_at(points.logits, weight, positive)
    return Recalibration(total / float(weight.sum()), max(0.0, before - total) / float(weight.sum()), mended)
