"""Quality focal loss, for soft targets. Li et al. 2020, https://arxiv.org/abs/2006.04388."""

from __future__ import annotations

from typing import Any, Unpack

from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import FOCUS, Options
from torchbce.engine.overrides import loss_function
from torchbce.engine.reference import register
from torchbce.formula.functions import power_unit, sigmoid
from torchbce.formula.loss import Loss
from torchbce.losses.bce import bce, bce_defined
from torchbce.losses.bce_with_logits import bce_with_logits
from torchbce.losses.module import LossModule


def quality_focal_with_logits(x: Any, y: Any, beta: Any = 0.0) -> Any:
    """|p - y|^beta BCE, for targets that say how good an item is."""
    return power_unit(abs((1.0 - y) * sigmoid(x) - y * sigmoid(-x)), beta) * bce_with_logits(x, y, 1.0)


def quality_focal(x: Any, y: Any, beta: Any = 0.0) -> Any:
    """Return the quality focal loss of probabilities."""
    return power_unit(abs((1.0 - y) * x - y * (1.0 - x)), beta) * bce(x, y, 1.0)


QUALITY_FOCAL_WITH_LOGITS = register(Loss("quality_focal_loss_with_logits", quality_focal_with_logits))
QUALITY_FOCAL = register(Loss("quality_focal_loss", quality_focal, defined=bce_defined, checks_input=True))


@loss_function(beta=FOCUS)
def quality_focal_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    beta: Weight = 2.0,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Quality focal loss of logits: ``|sigmoid(input) - target| ** beta * BCE``, for soft targets (Li et al. 2020).

    The targets say how good an item is, such as the overlap of a box; the loss is lowest where the probability equals
    the target. For beta 0 it is BCE. Arguments as for :func:`focal_loss_with_logits`.

    Example:
        >>> import torch
        >>> quality_focal_loss_with_logits(torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.5]), reduction="none")
        tensor([0.1733, 0.0000])

    Source: https://arxiv.org/abs/2006.04388
    """
    return compute_loss(QUALITY_FOCAL_WITH_LOGITS, input, target, (beta,), weight, reduction, mask, options)


@loss_function(beta=FOCUS)
def quality_focal_loss(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    beta: Weight = 2.0,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Quality focal loss of probabilities; see :func:`quality_focal_loss_with_logits`.

    Example:
        >>> import torch
        >>> quality_focal_loss(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.1733)

    Source: https://arxiv.org/abs/2006.04388
    """
    return compute_loss(QUALITY_FOCAL, input, target, (beta,), weight, reduction, mask, options)


class QualityFocalWithLogitsLoss(LossModule):
    """:func:`quality_focal_loss_with_logits` as a module."""

    function = staticmethod(quality_focal_loss_with_logits)


class QualityFocalLoss(LossModule):
    """:func:`quality_focal_loss` as a module."""

    function = staticmethod(quality_focal_loss)
