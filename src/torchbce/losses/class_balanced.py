"""Class-balanced loss: targets weighed by their effective number. Cui et al. 2019, https://arxiv.org/abs/1901.05555."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import FOCUS, Options, Range
from torchbce.engine.overrides import loss_function
from torchbce.losses.class_counts import effective_weight
from torchbce.losses.focal import FOCAL_WITH_LOGITS
from torchbce.losses.module import LossModule

COUNT = Range(0.0, math.inf, "how many items there are")
EFFECTIVE = Range(0.0, 1.0, "1 would divide by zero; 0.99 to 0.9999 is usual", ends=False)


@loss_function(positives=COUNT, negatives=COUNT, beta=EFFECTIVE, gamma=FOCUS)
def class_balanced_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    positives: Weight,
    negatives: Weight,
    beta: float = 0.999,
    gamma: Weight = None,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Focal loss (BCE for gamma None) with each target weighed by its effective number of samples (Cui et al. 2019).

    Targets of 1 weigh ``(1 - beta) / (1 - beta ** positives)`` and of 0 the same of negatives, scaled so that both
    weights add up to 2. Like a pos_weight, it makes probabilities of the rarer target too high.

    Args:
        positives, negatives: how many items of either target there are: numbers, or values per class.
        beta: 0.99 to 0.9999; towards 1 it is the inverse frequency.
        gamma: focusing, see :func:`torchbce.focal_loss_with_logits`, as are the other arguments.

    Example:
        >>> logit, target = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
        >>> class_balanced_loss_with_logits(logit, target, reduction="none", positives=10, negatives=1000)
        tensor([1.3648, 0.0215])

    Source: https://arxiv.org/abs/1901.05555
    """
    counts = [torch.as_tensor(given, dtype=torch.float64) for given in (positives, negatives)]
    yes, no = (effective_weight(count.clamp(min=1), beta).to(input.device) for count in counts)
    parameters = gamma, 2 * yes / (yes + no), 2 * no / (yes + no), None
    return compute_loss(FOCAL_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


class ClassBalancedLoss(LossModule):
    """:func:`class_balanced_loss_with_logits` as a module."""

    function = staticmethod(class_balanced_loss_with_logits)
