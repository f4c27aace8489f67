"""Poly-1 loss: BCE with another first coefficient. Leng et al. 2022, https://arxiv.org/abs/2204.12511."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import FOCUS, SHARE, Options
from torchbce.engine.overrides import loss_function
from torchbce.engine.reference import register
from torchbce.formula.functions import missed, power_unit, sigmoid
from torchbce.formula.loss import Loss
from torchbce.losses.bce import bce, bce_defined
from torchbce.losses.bce_with_logits import bce_with_logits
from torchbce.losses.focal import negative_weight
from torchbce.losses.module import LossModule


def poly1_with_logits(
    x: Any,
    y: Any,
    epsilon: Any = 0.0,
    gamma: Any = 0.0,
    alpha: Any = 1.0,
    rest: Any = 1.0,
    pos_weight: Any = 1.0,
) -> Any:
    """a_t (1 - p_t)^gamma (BCE + epsilon (1 - p_t)); focal for an epsilon of 0."""
    m = missed(sigmoid(x), sigmoid(-x), y)
    weight = alpha * y + rest * (1.0 - y)
    return weight * power_unit(m, gamma) * (bce_with_logits(x, y, pos_weight) + epsilon * m)


def poly1(
    x: Any,
    y: Any,
    epsilon: Any = 0.0,
    gamma: Any = 0.0,
    alpha: Any = 1.0,
    rest: Any = 1.0,
    pos_weight: Any = 1.0,
) -> Any:
    """Return the Poly-1 loss of probabilities."""
    m = missed(x, 1.0 - x, y)
    weight = alpha * y + rest * (1.0 - y)
    return weight * power_unit(m, gamma) * (bce(x, y, pos_weight) + epsilon * m)


POLY1_WITH_LOGITS = register(Loss("poly1_loss_with_logits", poly1_with_logits))
POLY1 = register(Loss("poly1_loss", poly1, defined=bce_defined, checks_input=True))


@loss_function(gamma=FOCUS, alpha=SHARE)
def poly1_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    epsilon: Weight = 2.0,
    gamma: Weight = None,
    alpha: Weight = None,
    pos_weight: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Poly-1 of logits: ``a_t * (1 - p_t) ** gamma * (BCE + epsilon * (1 - p_t))`` (Leng et al. 2022); timm's results.

    BCE is a series in 1 - p_t whose first coefficient is 1; here it is 1 + epsilon. For epsilon 0 it is the focal loss.
    Arguments as for :func:`focal_loss_with_logits`; gamma None is 0.

    Example:
        >>> import torch
        >>> poly1_loss_with_logits(torch.tensor([0.0]), torch.tensor([1.0]), epsilon=2.0)
        tensor(1.6931)

    Source: https://arxiv.org/abs/2204.12511
    """
    parameters = epsilon, gamma, alpha, negative_weight(alpha), pos_weight
    return compute_loss(POLY1_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


@loss_function(gamma=FOCUS, alpha=SHARE)
def poly1_loss(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    epsilon: Weight = 2.0,
    gamma: Weight = None,
    alpha: Weight = None,
    pos_weight: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Poly-1 of probabilities; see :func:`poly1_loss_with_logits`.

    Example:
        >>> import torch
        >>> poly1_loss(torch.tensor([0.5]), torch.tensor([1.0]), epsilon=2.0)
        tensor(1.6931)

    Source: https://arxiv.org/abs/2204.12511
    """
    parameters = epsilon, gamma, alpha, negative_weight(alpha), pos_weight
    return compute_loss(POLY1, input, target, parameters, weight, reduction, mask, options)


class Poly1WithLogitsLoss(LossModule):
    """:func:`poly1_loss_with_logits` as a module."""

    function = staticmethod(poly1_loss_with_logits)


class Poly1Loss(LossModule):
    """:func:`poly1_loss` as a module."""

    function = staticmethod(poly1_loss)
