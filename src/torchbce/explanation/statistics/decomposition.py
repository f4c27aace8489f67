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
from torchbce.explanation.statistics.calibration import line_cost, loss_at
from torchbce.explanation.statistics.clustered import Estimate, Pulls
from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.explanation.statistics.intervals import NOTHING, Interval, losses_at
from torchbce.explanation.statistics.isotonic import recalibrated
from torchbce.explanation.statistics.rates import around_entropy
from torchbce.explanation.statistics.recalibration import recalibration
from torchbce.explanation.statistics.sample import Sample


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
    sample: Sample,
    mean: float,
    fits: list[tuple[Array, Array]] | None,
    around_base_rate: Interval,
    factor: float = 1.0,
    reach: float = 0.0,
) -> tuple[Decomposition, dict[str, Pulls | None]] | None:
    """Split the mean loss, with the pulls of clusters; None where a class is missing or the loss is infinite.

    fits: what right predictions would give, see `isotonic.right_fits`. factor: how many times the variance of a mean is
    that of independent items. reach: what unseen items may add to the mean, as either part.
    """
    points = sample.points
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
    unmended = losses_at(points.logits[:, None])
    after = mended.losses if mended else unmended

    # A line fitted on four fifths of the items costs the others so much more than the best line, on the average.
    bias = line_cost(sample) / (1 - 1 / FOLDS)
    loses = _varying(sample.estimate(gain + bias, unmended[0] - after[0], unmended[1] - after[1]), bias)
    few = factor / (2 * sample.count)  # the entropy of a share that was seen is so much too low, on the average
    earns = sample.estimate(separated + bias + few, surprise[0] - after[0], surprise[1] - after[1])
    earns = _varying(earns, bias)
    parts = Decomposition(
        uncertainty=uncertainty,
        miscalibration=gain,
        discrimination=separated,
        corp_miscalibration=mean - in_sample,
        corp_discrimination=uncertainty - in_sample,
        corp_band=math.nan if fits is None else _null_band(points, fits),
        uncertainty_interval=around_entropy(around_base_rate),
        miscalibration_interval=loses.interval.within(0.0, math.inf).holding(gain + reach).holding(gain),
        discrimination_interval=earns.interval.holding(separated - reach).within(-math.inf, uncertainty),
    )
    return parts, {"miscalibration": loses.pulls, "discrimination": earns.pulls}


def _varying(estimate: Estimate, bias: float) -> Estimate:
    """Add the variance of what a fitted line costs, the square of the cost (a chi-square of two degrees of freedom)."""
    return estimate._replace(standard_error=math.hypot(estimate.standard_error, bias))


def _null_band(points: Points, fits: list[tuple[Array, Array]]) -> float:
    """Return the 95 % quantile of in-sample miscalibration if the predictions were right."""
    weight = points.total_weight
    excess = [
        (loss_at(points.logits, weight, positive) - _loss_of(shares, weight, positive)) / weight.sum()
        for positive, shares in fits
    ]
    return float(np.quantile(excess, 0.95))


def _loss_of(share: Array, weight: Array, positive: Array) -> float:
    """Return the total loss of answering `share`; where no item contradicts 0 or 1, those cost nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        yes = np.where(positive > 0, -positive * np.log(share), 0.0)
        negative = weight - positive
        no = np.where(negative > 0, -negative * np.log1p(-share), 0.0)
    return float(yes.sum() + no.sum())
