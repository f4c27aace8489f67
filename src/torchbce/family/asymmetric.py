"""Asymmetric loss, of logits and of probabilities."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from torchbce.call import Weight
from torchbce.evaluate import ask
from torchbce.formulas import asymmetric
from torchbce.options import FOCUS, Options, Range
from torchbce.reference import register_all
from torchbce.torch_function import loss_function

register_all(asymmetric)  # torch.compile cannot derive derivatives
MARGIN = Range(0.0, 1.0, "negatives whose probability is below it cost nothing")


@loss_function(gamma_pos=FOCUS, gamma_neg=FOCUS, clip=MARGIN)
def asymmetric_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma_pos: Weight = 1.0,
    gamma_neg: Weight = 4.0,
    clip: Weight = 0.05,
    pos_weight: Weight = None,
    detach_focus: bool = False,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Asymmetric loss of logits, for many labels of which few are positive (Ridnik et al. 2021); timm's results.

    ``-(1 - p_t) ** g * (pos_weight y log p + (1 - y) log(1 - m))`` with ``m = max(p - clip, 0)``,
    ``p_t = p y + (1 - m)(1 - y)`` and ``g = gamma_pos y + gamma_neg (1 - y)``. timm floors probabilities at 1e-8,
    where its gradient ends; here it does not. For gammas and clip of 0 it is BCE.

    Probabilities trained with it are not calibrated: negatives below the margin are not learned from.

    Args:
        gamma_pos, gamma_neg: focusing of positives and of negatives.
        clip: the margin; a negative whose probability is below costs nothing.
        detach_focus: the focusing weight is not differentiated (``disable_torch_grad_focal_loss`` in timm).
        input, target, weight, reduction, pos_weight, mask, options: as for
            :func:`torchbce.family.focal.focal_loss_with_logits`. timm's ``reduction='batchmean'`` is
            ``normalize='batch'``.

    Example:
        >>> import torch
        >>> asymmetric_loss_with_logits(torch.tensor([0.0, -4.0]), torch.tensor([1.0, 0.0]), reduction="none")
        tensor([0.3466, 0.0000])

    Source: https://arxiv.org/abs/2009.14119
    """
    loss = asymmetric.ASYMMETRIC_WITH_LOGITS_HELD if detach_focus else asymmetric.ASYMMETRIC_WITH_LOGITS
    return ask(loss, input, target, (gamma_pos, gamma_neg, clip, pos_weight), weight, reduction, mask, options)


@loss_function(gamma_pos=FOCUS, gamma_neg=FOCUS, clip=MARGIN)
def asymmetric_loss(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    gamma_pos: Weight = 1.0,
    gamma_neg: Weight = 4.0,
    clip: Weight = 0.05,
    pos_weight: Weight = None,
    detach_focus: bool = False,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Asymmetric loss of probabilities; see :func:`asymmetric_loss_with_logits`.

    Example:
        >>> import torch
        >>> asymmetric_loss(torch.tensor([0.5]), torch.tensor([1.0]))
        tensor(0.3466)

    Source: https://arxiv.org/abs/2009.14119
    """
    loss = asymmetric.ASYMMETRIC_HELD if detach_focus else asymmetric.ASYMMETRIC
    return ask(loss, input, target, (gamma_pos, gamma_neg, clip, pos_weight), weight, reduction, mask, options)
