"""Losses for classes of very different size.

Distribution-balanced: Wu et al. 2020, https://arxiv.org/abs/2007.09654, as timm has it. Logit adjustment: Menon et al.
2021, https://arxiv.org/abs/2007.07314.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchbce.formulas.bce import bce_with_logits, bce_with_logits_dx, bce_with_logits_factored
from torchbce.formulas.loss import Loss
from torchbce.formulas.parts import sigmoid, softplus

if TYPE_CHECKING:  # whose they are is decided by `bind`
    from torch import exp


def logit_adjusted(x: Any, y: Any, shift: Any = 0.0, pos_weight: Any = 1.0) -> Any:
    """BCE of x + shift, shift = tau log(prior / (1 - prior))."""
    return bce_with_logits(x + shift, y, pos_weight)


def logit_adjusted_dx(x: Any, y: Any, shift: Any = 0.0, pos_weight: Any = 1.0) -> Any:
    return bce_with_logits_dx(x + shift, y, pos_weight)


def logit_adjusted_factored(x: Any, y: Any, shift: Any = 0.0) -> Any:
    """As BCE's; see there."""
    return bce_with_logits_factored(x + shift, y)


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


LOGIT_ADJUSTED = Loss(
    "logit_adjusted_loss_with_logits", logit_adjusted, logit_adjusted_dx, factored=logit_adjusted_factored
)
DISTRIBUTION_BALANCED = Loss("distribution_balanced_loss_with_logits", distribution_balanced)
