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
from dataclasses import dataclass, replace

import numpy as np

from torchbce.explanation.sketch.points import FOLDS, Array, Points
from torchbce.explanation.statistics.calibration import loss_at
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.intervals import NOTHING, Interval, losses_at, moments
from torchbce.explanation.statistics.isotonic import recalibrated
from torchbce.explanation.statistics.recalibration import recalibration

LINE = 2  # its parameters


@dataclass(frozen=True)
class Decomposition:
    """All in nats per item.

    uncertainty: UNC, the entropy of the base rate. miscalibration, discrimination: MCB and DSC, cross-fitted.
    corp_miscalibration, corp_discrimination: the same in sample, by isotonic regression (CORP). corp_band: predictions
    that are right have a corp_miscalibration below it 95 times of 100; NaN where items are weighted. Intervals: 95 %.
    """

    uncertainty: float
    miscalibration: float
    discrimination: float
    corp_miscalibration: float
    corp_discrimination: float
    corp_band: float
    uncertainty_interval: Interval = NOTHING
    miscalibration_interval: Interval = NOTHING
    discrimination_interval: Interval = NOTHING


def decomposition(
    points: Points,
    mean: float,
    fits: list[tuple[Array, Array]] | None,
    count: float,
    factor: float = 1.0,
    reach: float = 0.0,
) -> Decomposition | None:
    """The parts of the mean loss; None where one class is missing, or the loss is infinite.

    fits: what right predictions would give, see `isotonic.right_fits`. count: how many items, or items of equal weight
    that tell as much. factor: how many times the variance of a mean is that of independent items. reach: what unseen
    items may add to the mean, as either part.
    """
    weight, positive = points.total_weight, points.total_positive
    total = weight.sum()
    share = float(positive.sum() / total)
    if not 0 < share < 1 or not math.isfinite(mean):
        return None
    uncertainty = cross_entropy(share, share)
    in_sample = float(_loss_of(recalibrated(points), weight, positive) / total)
    mended = recalibration(points)
    gain = mended.gain if mended else 0.0
    separated = uncertainty - (mean - gain)
    surprise = -math.log1p(-share), -math.log(share)  # what zeros and ones cost who answers the base rate
    told = losses_at(points.logits[:, None])
    after = mended.losses if mended else told

    # A line fitted on four fifths of the items costs the others so much more than the best line, on the average.
    bias = LINE / (2 * (1 - 1 / FOLDS) * count / factor)

    def around(value: float, zeros: Array | float, ones: Array | float, least: float, bias: float) -> Interval:
        found = replace(moments(points, zeros, ones, count, factor), mean=value + bias).interval
        return found.within(least, math.inf).holding(value)

    return Decomposition(
        uncertainty=uncertainty,
        miscalibration=gain,
        discrimination=separated,
        corp_miscalibration=mean - in_sample,
        corp_discrimination=uncertainty - in_sample,
        corp_band=math.nan if fits is None else _null_band(points, fits),
        uncertainty_interval=around(uncertainty, *surprise, 0.0, 0.0).within(0.0, math.log(2)),
        miscalibration_interval=around(gain, told[0] - after[0], told[1] - after[1], 0.0, bias).holding(gain + reach),
        discrimination_interval=around(
            separated, surprise[0] - after[0], surprise[1] - after[1], -math.inf, bias
        ).holding(separated - reach),
    )


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
