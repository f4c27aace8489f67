"""Distribution-balanced loss, for many labels with a long tail. Wu et al. 2020, https://arxiv.org/abs/2007.09654."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

import torch
from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.engine.compute import compute_loss
from torchbce.engine.options import FOCUS, Options
from torchbce.engine.overrides import loss_function
from torchbce.engine.reference import register
from torchbce.formula.functions import sigmoid, softplus
from torchbce.formula.loss import Loss
from torchbce.losses.module import LossModule

if TYPE_CHECKING:  # `bind` puts the engine's own in their place
    from torch import exp


def distribution_balanced(
    x: Any,
    y: Any,
    frequency: Any = 1.0,
    rate: Any = 1.0,
    bias: Any = 0.0,
    alpha: Any = 0.1,
    beta: Any = 10.0,
    mu: Any = 0.2,
    scale: Any = 2.0,
    gamma: Any = 2.0,
    balance: Any = 2.0,
) -> Any:
    """Weight by frequency / rate; a softplus of its own for negatives; focal in each.

    frequency: 1 / positives of the class. rate: the sum of those of the item's positives. (1 - p)^gamma is
    exp(-gamma softplus), without a logarithm.
    """
    z = x + bias
    weight = sigmoid(beta * (frequency / rate - mu)) + alpha
    positive = softplus(-z) * exp(-gamma * softplus(z))
    negative = softplus(scale * z) / scale * exp(-gamma * softplus(-scale * z))
    return weight * balance * (y * positive + (1.0 - y) * negative)


DISTRIBUTION_BALANCED = register(Loss("distribution_balanced_loss_with_logits", distribution_balanced))


@loss_function(gamma=FOCUS)
def distribution_balanced_loss_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Weight = None,
    reduction: str = "mean",
    *,
    class_counts: Tensor,
    num_samples: int,
    map_alpha: float = 0.1,
    map_beta: float = 10.0,
    map_mu: float = 0.2,
    neg_scale: float = 2.0,
    init_bias: float = 0.05,
    gamma: float = 2.0,
    balance: float = 2.0,
    mask: Tensor | None = None,
    **options: Unpack[Options],
) -> Tensor:
    r"""Distribution-balanced loss of logits, for many labels with a long tail (Wu et al. 2020); timm's results.

    Each item is weighed by ``map_alpha + sigmoid(map_beta * (r - map_mu))``, where r is the sampling probability of its
    class beside that of its sample's labels; negatives take ``softplus(neg_scale z) / neg_scale``, so that rare
    classes are not suppressed; ``z = input + bias`` of the class prior. Its outputs are no calibrated probabilities.

    Args:
        input, target: (N, classes).
        class_counts: the positives of each class in the training data, of ``num_samples`` samples.
        map_alpha, map_beta, map_mu: the map of the weights.
        neg_scale: of the logits of negatives; 1 for none.
        init_bias: how much of the prior is a bias; 0 for none.
        gamma, balance: focusing, and a factor with it; gamma 0 switches both off.
        weight, reduction, mask, options: as for :func:`torchbce.focal_loss_with_logits`.

    Example:
        >>> counts = torch.tensor([5.0, 50.0])
        >>> distribution_balanced_loss_with_logits(
        ...     torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), class_counts=counts, num_samples=100
        ... )
        tensor(0.2479)

    Source: https://arxiv.org/abs/2007.09654
    """
    counts = class_counts.to(device=input.device, dtype=torch.float64)
    if counts.ndim != 1 or num_samples < 2 or ((counts < 0) | (counts > num_samples)).any():
        raise ValueError(
            f"class_counts is a value per class from 0 to num_samples={num_samples}, got {counts.tolist()}"
        )
    if input.ndim != 2 or input.shape != target.shape or input.shape[1] != len(counts):
        raise ValueError(
            f"input and target are (N, {len(counts)}), as class_counts has {len(counts)} values; input has the shape "
            f"{tuple(input.shape)}, target {tuple(target.shape)}"
        )
    counts = counts.clamp(1, num_samples - 1)
    frequency = 1 / counts
    wide = torch.promote_types(input.dtype, torch.float32)
    # A sample without positives has a rate of 0; timm takes the smallest number then, and so the largest weight.
    rate = (target.to(wide) @ frequency.to(wide)).clamp(min=torch.finfo(torch.float32).tiny)[:, None]
    bias = -torch.log(num_samples / counts - 1) * init_bias / neg_scale
    factor = balance if gamma > 0 else 1.0
    parameters = frequency, rate.detach(), bias, map_alpha, map_beta, map_mu, neg_scale, gamma, factor
    return compute_loss(DISTRIBUTION_BALANCED, input, target, parameters, weight, reduction, mask, options)


class DistributionBalancedLoss(LossModule):
    """:func:`distribution_balanced_loss_with_logits` as a module."""

    function = staticmethod(distribution_balanced_loss_with_logits)
