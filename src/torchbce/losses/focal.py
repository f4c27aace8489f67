"""Focal loss: BCE that down-weights well-classified items. Lin et al. 2017, https://arxiv.org/abs/1708.02002."""

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
from torchbce.losses.module import LossModule


def focal_with_logits(
    x: Any, y: Any, gamma: Any = 0.0, alpha: Any = 1.0, rest: Any = 1.0, pos_weight: Any = 1.0
) -> Any:
    """a_t (1 - p_t)^gamma BCE, a_t = alpha y + rest (1 - y)."""
    weight = alpha * y + rest * (1.0 - y)
    return weight * power_unit(missed(sigmoid(x), sigmoid(-x), y), gamma) * bce_with_logits(x, y, pos_weight)


def focal(x: Any, y: Any, gamma: Any = 0.0, alpha: Any = 1.0, rest: Any = 1.0, pos_weight: Any = 1.0) -> Any:
    """Return the focal loss of probabilities."""
    weight = alpha * y + rest * (1.0 - y)
    return weight * power_unit(missed(x, 1.0 - x, y), gamma) * bce(x, y, pos_weight)


FOCAL_WITH_LOGITS = register(Loss("focal_loss_with_logits", focal_with_logits))
FOCAL = register(Loss("focal_loss", focal, defined=bce_defined, checks_input=True))


@loss_function(gamma=FOCUS, alpha=SHARE)
def focal_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma: Weight = 2.0,
    alpha: Weight = None,
    pos_weight: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Focal loss of logits: BCE that down-weights well-classified items (Lin et al. 2017).

    ``a_t * (1 - p_t) ** gamma * BCE``, with ``p_t = p y + (1 - p)(1 - y)``, ``p = sigmoid(input)`` and
    ``a_t = alpha y + (1 - alpha)(1 - y)``. torchvision's and Keras's results, with finite gradients at any logit; for
    targets of 0 and 1 MONAI's, kornia's and segmentation-models-pytorch's too (for soft targets these three weigh the
    positive and the negative part each by a focus of its own). For gamma 0 and no alpha it is BCE.

    Probabilities trained with it are not calibrated: it draws them towards 1/2.

    Args:
        input: logits, any shape.
        target: the same shape, in [0, 1]; floating point, bool or integer.
        weight: a number or a tensor that broadcasts to the input.
        reduction: ``'none'``, ``'mean'`` or ``'sum'``.
        gamma: how strongly well-classified items are down-weighted; at least 0.
        alpha: the weight of positives, 1 - alpha that of negatives: a number in [0, 1], or such a value per class.
            None: 1 for both.
        pos_weight: the weight of the positive part of BCE.
        mask, options: as for :func:`torchbce.functional.binary_cross_entropy_with_logits`.

    Returns:
        0-d, or the shape of the input for ``'none'``.

    Raises:
        ValueError: alpha or gamma out of range.
        TypeError, ValueError, RuntimeError: as :func:`torchbce.functional.binary_cross_entropy_with_logits`.

    Example:
        >>> import torch
        >>> focal_loss_with_logits(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 1.0]), gamma=2.0, reduction="none")
        tensor([0.1733, 0.0018])

    Source: https://arxiv.org/abs/1708.02002
    """
    parameters = gamma, alpha, negative_weight(alpha), pos_weight
    return compute_loss(FOCAL_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


@loss_function(gamma=FOCUS, alpha=SHARE)
def focal_loss(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma: Weight = 2.0,
    alpha: Weight = None,
    pos_weight: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Focal loss of probabilities; see :func:`focal_loss_with_logits`. Logarithms are at least -100, as in torch's
    BCE.

    Example:
        >>> import torch
        >>> focal_loss(torch.tensor([0.5]), torch.tensor([1.0]), gamma=2.0)
        tensor(0.1733)

    Source: https://arxiv.org/abs/1708.02002
    """
    parameters = gamma, alpha, negative_weight(alpha), pos_weight
    return compute_loss(FOCAL, input, target, parameters, weight, reduction, mask, options)


def negative_weight(alpha: Weight) -> Weight:
    """Return the weight of negatives."""
    return None if alpha is None else 1.0 - alpha


class FocalWithLogitsLoss(LossModule):
    """:func:`focal_loss_with_logits` as a module."""

    function = staticmethod(focal_loss_with_logits)


class FocalLoss(LossModule):
    """:func:`focal_loss` as a module.

    Example:
        >>> FocalLoss(gamma=2.0)(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.1733)
    """

    function = staticmethod(focal_loss)
