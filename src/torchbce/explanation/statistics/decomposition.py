"""What part of the loss is separation and what part miscalibration.

S = MCB - DSC + UNC: the loss is the entropy of the base rate, less what telling items apart earns, plus what wrong
probabilities cost. DSC = UNC - R and MCB = S - R, with R the loss of the best recalibrated predictions; so
D2 = (DSC - MCB) / UNC. R is not irreducible: better features would lower it.

Recalibrating on the items that are then judged flatters: MCB comes out too high, by 0.01 nats at 2,000 items. So the
number to use is cross-fitted: the better of a line and of isotonic regression, fitted on four fifths and judged on the
fifth (Berta et al., https://arxiv.org/abs/2501.19195; measured in the docs).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.explanation.sketch.points import FOLDS, Array, Points
from torchbce.explanation.statistics.calibration import best_line, for_lines, loss_at
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.isotonic import fit, recalibrated


@dataclass(frozen=True)
class Decomposition:
    """All in nats per item.

    uncertainty: UNC, the entropy of the base rate. miscalibration, discrimination: MCB and DSC, cross-fitted.
    corp_miscalibration, corp_discrimination: the same in sample, by isotonic regression (CORP). corp_band: predictions
    that are right have a corp_miscalibration below it 95 times of 100; NaN where items are weighted.
    """

    uncertainty: float
    miscalibration: float
    discrimination: float
    corp_miscalibration: float
    corp_discrimination: float
    corp_band: float

    def in_words(self) -> str:
        """Both as shares of the base rate's entropy."""
        separation, lost = (100 * v / self.uncertainty for v in (self.discrimination, self.miscalibration))
        return f"separation earns {separation:.1f} % of the baseline, miscalibration loses {lost:.1f} %"


def decomposition(points: Points, mean: float, fits: list[tuple[Array, Array]] | None) -> Decomposition | None:
    """The parts of the mean loss; None where one class is missing, or the loss is infinite.

    fits: what right predictions would give, see `isotonic.right_fits`.
    """
    weight, positive = points.total_weight, points.total_positive
    total = weight.sum()
    share = float(positive.sum() / total)
    if not 0 < share < 1 or not math.isfinite(mean):
        return None
    uncertainty = cross_entropy(share, share)
    in_sample = float(_loss_of(recalibrated(points), weight, positive) / total)
    mended = cross_fitted_gain(points)
    return Decomposition(
        uncertainty=uncertainty,
        miscalibration=mended,
        discrimination=uncertainty - (mean - mended),
        corp_miscalibration=mean - in_sample,
        corp_discrimination=uncertainty - in_sample,
        corp_band=math.nan if fits is None else _null_band(points, fits),
    )


def cross_fitted_gain(points: Points) -> float:
    """What recalibration saves on items that it was not fitted on, in nats per item; at least 0."""
    weight, positive = points.total_weight, points.total_positive
    z = for_lines(points.logits, weight)
    line_loss = isotonic_loss = 0.0
    for fold in range(FOLDS):
        w, ones = points.weight[:, fold], points.positive[:, fold]
        rest_w, rest_ones = weight - w, positive - ones
        seen = rest_w > 1e-9 * weight  # what subtraction leaves of 0 is not an item
        if not seen.any() or not 0 < rest_ones[seen].sum() < rest_w[seen].sum():
            return 0.0
        slope, shift = best_line(z[seen], rest_w[seen], rest_ones[seen])
        line_loss += loss_at(slope * z + shift, w, ones)
        shares = fit(rest_w[seen], rest_ones[seen])
        count = rest_w[seen].sum()
        shares = (1 - 1 / (count + 1)) * shares + 0.5 / (count + 1)  # never 0 or 1 (Laplace)
        isotonic_loss += _loss_of(np.interp(points.logits, points.logits[seen], shares), w, ones)
    return max(0.0, loss_at(points.logits, weight, positive) - min(line_loss, isotonic_loss)) / float(weight.sum())


def auc(points: Points) -> float:
    """How often an item with target 1 has a larger logit than one with target 0; ties count half."""
    positive = points.total_positive
    negative = points.total_weight - positive
    before = np.cumsum(negative) - negative
    pairs = positive.sum() * negative.sum()
    return float((positive * (before + 0.5 * negative)).sum() / pairs) if pairs > 0 else math.nan


def _null_band(points: Points, fits: list[tuple[Array, Array]]) -> float:
    """The 95 % quantile of in-sample miscalibration if the predictions were right."""
    weight = points.total_weight
    excess = [
        (loss_at(points.logits, weight, positive) - _loss_of(shares, weight, positive)) / weight.sum()
        for positive, shares in fits
    ]
    return float(np.quantile(excess, 0.95))


def _loss_of(share: Array, weight: Array, positive: Array) -> float:
    """The total loss of answering `share`; where no item contradicts 0 or 1, those cost nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(positive > 0, -positive * np.log(share), 0.0)
        negative = weight - positive
        no = np.where(negative > 0, -negative * np.log1p(-share), 0.0)
    return float(yes.sum() + no.sum())
