"""Focal, quality focal and Poly-1 losses, of logits and of probabilities."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from torchbce.call import Weight
from torchbce.evaluate import ask
from torchbce.formulas import focal
from torchbce.options import FOCUS, SHARE, Options
from torchbce.reference import register_all
from torchbce.torch_function import loss_function

register_all(focal)  # torch.compile cannot derive derivatives


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
    r"""Focal loss of logits: BCE that looks away from items which are easy already (Lin et al. 2017).

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
        gamma: how much easy items are looked away from; at least 0.
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
    parameters = gamma, alpha, _rest(alpha), pos_weight
    return ask(focal.FOCAL_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


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
    parameters = gamma, alpha, _rest(alpha), pos_weight
    return ask(focal.FOCAL, input, target, parameters, weight, reduction, mask, options)


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
    return ask(focal.QUALITY_FOCAL_WITH_LOGITS, input, target, (beta,), weight, reduction, mask, options)


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
    return ask(focal.QUALITY_FOCAL, input, target, (beta,), weight, reduction, mask, options)


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
    parameters = epsilon, gamma, alpha, _rest(alpha), pos_weight
    return ask(focal.POLY1_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


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
    parameters = epsilon, gamma, alpha, _rest(alpha), pos_weight
    return ask(focal.POLY1, input, target, parameters, weight, reduction, mask, options)


def _rest(alpha: Weight) -> Weight:
    """The weight of negatives."""
    return None if alpha is None else 1.0 - alpha
