"""BCE040: does pos_weight lift the rare class, or the common one?"""

from __future__ import annotations

import math

import torch

from torchbce.checks.catalogue.finding import Outcome, not_applicable, passed, warn
from torchbce.checks.catalogue.registry import rule
from torchbce.checks.probing.trial import Trial

RARE = 2.5  # times as many of the other class
NEAR = 0.25  # of the logarithm of the ratio, beside what chance does in a batch
SURE = 5.0  # standard errors, to tell a weight from its inverse


@rule("BCE040", "pos-weight-inverted", "pos_weight lifts the rare class", target="model")
def pos_weight_inverted(t: Trial) -> Outcome:
    """BCE040: a weight that is the ratio of the batch's ones to its zeros; that of zeros to ones balances them."""
    if t.loss is None or t.loss.family != "bce" or t.recoded:
        return not_applicable("the loss is not BCE, or fails on plain outputs")
    weights = t.loss.pos_weight
    if weights == (1.0,):
        return not_applicable("the loss has no pos_weight")
    ones, zeros = _counts(t)
    if len(weights) not in (1, len(ones)):
        return not_applicable("pos_weight has another length than there are labels")
    if len(weights) == 1:
        ones, zeros = [sum(ones)], [sum(zeros)]
    inverted = [_is_inverted(w, p, n) for w, p, n in zip(weights, ones, zeros, strict=True)]
    telling = [is_inverted for is_inverted in inverted if is_inverted is not None]
    if not telling or sum(telling) < 0.8 * len(telling):
        return passed()
    k = inverted.index(True)
    where = f" of label {k + 1}" if len(weights) > 1 else ""
    share, right = ones[k] / (ones[k] + zeros[k]), zeros[k] / ones[k]
    return warn(
        f"pos_weight{where} is {weights[k]:.4g}, as are positives / negatives: {100 * share:.3g} % of this batch are "
        f"positives, and negatives / positives, which balances them, is {right:.4g}",
        "pos_weight = (targets == 0).sum(0) / (targets == 1).sum(0)",
        {"pos_weight": list(weights), "share": share},
    )


def _counts(t: Trial) -> tuple[list[int], list[int]]:
    """Return how many ones and zeros each label has, of the targets that count."""
    y = t.targets.detach()
    counts = torch.ones_like(y, dtype=torch.bool) if t.counts is None else t.counts
    columns = y.shape[1] if y.ndim == 2 else 1
    ones = ((y == 1) & counts).reshape(-1, columns).sum(0).tolist()
    zeros = ((y == 0) & counts).reshape(-1, columns).sum(0).tolist()
    return ones, zeros


def _is_inverted(weight: float, ones: int, zeros: int) -> bool | None:
    """Return whether a weight is the ratio of ones to zeros, or the share of ones; None where a batch cannot tell."""
    if not ones or not zeros or weight <= 0:
        return None
    ratio, error = math.log(ones / zeros), math.sqrt(1 / ones + 1 / zeros)
    if abs(ratio) < math.log(RARE):
        return None
    log_weight = math.log(weight)
    if abs(log_weight) < math.log(RARE) - NEAR:  # no balance was meant
        return False
    return abs(log_weight - ratio) < NEAR + 2 * error and abs(log_weight + ratio) > SURE * error
