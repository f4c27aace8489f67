"""Whether a loss per epoch comes below what always answering the base rate costs: BCE035."""

from __future__ import annotations

import math

import numpy as np

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.rules.learning_curve import LN2, Log
from torchbce.explanation.statistics.entropy import cross_entropy

FEWEST_EPOCHS = 5  # a fall that slows down takes three places to see, and one of them may be luck
ABOVE = 1.05  # times the entropy; dropout and noise alone lift the loss of a model that knows nothing by less
SLOW = 0.1  # of the way down to the entropy, in the last three epochs
SLOWER = 0.5  # times the first half's fall; a small learning rate falls as fast in the second
ONE, ZERO = math.log1p(math.exp(-1)), math.log1p(math.e)  # what targets 1 and 0 cost at a logit of 1


@rule("BCE035", "above-base-rate", "the loss comes below what the base rate costs", target="log")
def above_base_rate(log: Log) -> Outcome:
    """BCE035: a constant answer reaches the entropy of the base rate, so a loss that stays above it has a reason."""
    share = log.base_rate
    if share is None or not 0 < share < 1:
        return not_applicable("needs base_rate, between 0 and 1")
    if len(log.train) < FEWEST_EPOCHS:
        return not_applicable(f"fewer than {FEWEST_EPOCHS} epochs")
    entropy = cross_entropy(share, share)
    curves = [log.train] if log.valid is None else [log.train, log.valid]  # dropout lifts the one, chance the other
    if not all(_stays_above(curve, entropy) for curve in curves):
        return passed()
    text = (
        f"the loss is above {entropy:.4f} in all {len(log.train)} epochs (at the end {log.train[-1]:.4f}) and hardly "
        f"falls any more: that is worse than always predicting {100 * share:.4g} %, the share of ones"
    )
    evidence = {"base rate": share, "entropy": entropy, "last": float(log.train[-1])}
    fix = (
        "run check(model, batch, loss_func, optimizer); leave base_rate out if the loss is weighted, smoothed or a sum"
    )
    if not fits_sigmoid_twice(log.train, share):
        return warn(text, fix, evidence)
    floor = sigmoid_twice_floor(share)
    text += (
        f". A sigmoid applied twice gives such losses: probabilities between 0.5 and 0.7311, a loss of at least "
        f"{1 - share:.4g} * {LN2:.4f} + {share:.4g} * {ONE:.4f} = {floor:.4f}"
    )
    return warn(text, f"take the sigmoid out of the model, or the loss of logits for BCELoss; {fix}", evidence)


def sigmoid_twice_floor(share: float) -> float:
    """The least that the loss can be where a sigmoid's output is taken for a logit, so that it lies in [0, 1]."""
    return (1 - share) * LN2 + share * ONE


def fits_sigmoid_twice(losses: np.ndarray, share: float) -> bool:
    """Return whether every loss lies between the least and the most that logits in [0, 1] can cost.

    The batches of an epoch need not have exactly the base rate: it may be off by a hundredth.
    """
    most = (1 - share) * ZERO + share * LN2
    return bool(((losses >= 0.99 * sigmoid_twice_floor(share)) & (losses <= 1.01 * most)).all())


def _stays_above(losses: np.ndarray, entropy: float) -> bool:
    """Return whether no epoch comes down near the entropy, and it does not look as if later ones would.

    A fall that slows down ends at the limit of a geometric series; one that hardly slows down may go anywhere.
    """
    level = ABOVE * entropy
    if not (np.isfinite(losses).all() and (losses > level).all()):
        return False
    if losses[-3] - losses[-1] > SLOW * (losses[-1] - entropy):
        return False
    third = len(losses) // 3
    middle = (len(losses) - third) // 2
    first, half, last = (float(losses[at : at + third].mean()) for at in (0, middle, len(losses) - third))
    before, after = first - half, half - last
    if after <= 0:
        return True
    return after <= SLOWER * before and last - after * after / (before - after) > level
