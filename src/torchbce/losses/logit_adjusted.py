"""Logit-adjusted loss: the base rate is added to the logit. Menon et al. 2021, https://arxiv.org/abs/2007.07314."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import Options, Range
from torchbce.engine.overrides import loss_function
from torchbce.engine.reference import register
from torchbce.formula.loss import Loss
from torchbce.losses.bce_with_logits import bce_with_logits, bce_with_logits_dx
from torchbce.losses.module import LossModule

PRIOR = Range(0.0, 1.0, "a base rate above 0 and below 1", ends=False)


def logit_adjusted(x: Any, y: Any, shift: Any = 0.0, pos_weight: Any = 1.0) -> Any:
    """BCE of x + shift, shift = tau log(prior / (1 - prior))."""
    return bce_with_logits(x + shift, y, pos_weight)


def logit_adjusted_dx(x: Any, y: Any, shift: Any = 0.0, pos_weight: Any = 1.0) -> Any:
    return bce_with_logits_dx(x + shift, y, pos_weight)


LOGIT_ADJUSTED = register(Loss("logit_adjusted_loss_with_logits", logit_adjusted, logit_adjusted_dx))


@loss_function(prior=PRIOR)
def logit_adjusted_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    prior: Weight,
    tau: float = 1.0,
    pos_weight: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""BCE of ``input + tau * log(prior / (1 - prior))``: the model need not learn the base rate (Menon et al. 2021).

    Without the shift, at prediction, a class is named if it is likelier than its base rate. For probabilities add it
    again; then they are calibrated like BCE's.

    Args:
        prior: the base rate of each class, between 0 and 1: a number, or a value per class.
        tau: how much of it; 0 is BCE.
        input, target, weight, reduction, pos_weight, mask, options: as for
            :func:`torchbce.focal_loss_with_logits`.

    Example:
        >>> logit_adjusted_loss_with_logits(torch.tensor([0.0]), torch.tensor([1.0]), prior=0.1)
        tensor(2.3026)

    Source: https://arxiv.org/abs/2007.07314
    """
    shift = (tau * torch.logit(torch.as_tensor(prior, dtype=torch.float64))).to(input.device)
    return compute_loss(LOGIT_ADJUSTED, input, target, (shift, pos_weight), weight, reduction, mask, options)


class LogitAdjustedLoss(LossModule):
    """:func:`logit_adjusted_loss_with_logits` as a module."""

    function = staticmethod(logit_adjusted_loss_with_logits)
