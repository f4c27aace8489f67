"""Losses for classes of very different size, of logits."""

from __future__ import annotations

import math
from typing import Unpack

import torch
from torch import Tensor

from torchbce.call import Weight
from torchbce.evaluate import ask
from torchbce.family.counts import effective_weight
from torchbce.formulas import balanced, focal
from torchbce.options import FOCUS, Options, Range
from torchbce.reference import register_all
from torchbce.torch_function import loss_function

register_all(balanced)  # torch.compile cannot derive derivatives
PRIOR = Range(0.0, 1.0, "the base rate of a class that occurs, and not always", ends=False)
COUNT = Range(0.0, math.inf, "how many items there are")
EFFECTIVE = Range(0.0, 1.0, "such as 0.999", ends=False)


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
            :func:`torchbce.family.focal.focal_loss_with_logits`.

    Example:
        >>> logit_adjusted_loss_with_logits(torch.tensor([0.0]), torch.tensor([1.0]), prior=0.1)
        tensor(2.3026)

    Source: https://arxiv.org/abs/2007.07314
    """
    shift = (tau * torch.logit(torch.as_tensor(prior, dtype=torch.float64))).to(input.device)
    return ask(balanced.LOGIT_ADJUSTED, input, target, (shift, pos_weight), weight, reduction, mask, options)


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
        gamma: focusing, see :func:`torchbce.family.focal.focal_loss_with_logits`, as are the other arguments.

    Example:
        >>> logit, target = torch.tensor([0.0, 0.0]), torch.tensor([1.0, 0.0])
        >>> class_balanced_loss_with_logits(logit, target, reduction="none", positives=10, negatives=1000)
        tensor([1.3641, 0.0222])

    Source: https://arxiv.org/abs/1901.05555
    """
    counts = [torch.as_tensor(given, dtype=torch.float64) for given in (positives, negatives)]
    yes, no = (effective_weight(count.clamp(min=1), beta).to(input.device) for count in counts)
    parameters = gamma, 2 * yes / (yes + no), 2 * no / (yes + no), None
    return ask(focal.FOCAL_WITH_LOGITS, input, target, parameters, weight, reduction, mask, options)


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
        weight, reduction, mask, options: as for :func:`torchbce.family.focal.focal_loss_with_logits`.

    Example:
        >>> counts = torch.tensor([5.0, 50.0])
        >>> distribution_balanced_loss_with_logits(
        ...     torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), class_counts=counts, num_samples=100
        ... )
        tensor(0.2486)

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
    return ask(balanced.DISTRIBUTION_BALANCED, input, target, parameters, weight, reduction, mask, options)
