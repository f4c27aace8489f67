"""Losses that look away from items which are easy already, and Poly-1.

Focal: Lin et al. 2017, https://arxiv.org/abs/1708.02002. Quality focal: Li et al. 2020,
https://arxiv.org/abs/2006.04388. Poly-1: Leng et al. 2022, https://arxiv.org/abs/2204.12511.
"""

from __future__ import annotations

from typing import Any

from torchbce.formulas.bce import bce, bce_defined, bce_with_logits
from torchbce.formulas.loss import Loss
from torchbce.formulas.parts import missed, power, sigmoid


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
    return weight * power(m, gamma) * (bce_with_logits(x, y, pos_weight) + epsilon * m)


def poly1(
    x: Any,
    y: Any,
    epsilon: Any = 0.0,
    gamma: Any = 0.0,
    alpha: Any = 1.0,
    rest: Any = 1.0,
    pos_weight: Any = 1.0,
) -> Any:
    """The same of probabilities."""
    m = missed(x, 1.0 - x, y)
    weight = alpha * y + rest * (1.0 - y)
    return weight * power(m, gamma) * (bce(x, y, pos_weight) + epsilon * m)


def focal_with_logits(
    x: Any, y: Any, gamma: Any = 0.0, alpha: Any = 1.0, rest: Any = 1.0, pos_weight: Any = 1.0
) -> Any:
    """a_t (1 - p_t)^gamma BCE, a_t = alpha y + rest (1 - y)."""
    weight = alpha * y + rest * (1.0 - y)
    return weight * power(missed(sigmoid(x), sigmoid(-x), y), gamma) * bce_with_logits(x, y, pos_weight)


def focal(x: Any, y: Any, gamma: Any = 0.0, alpha: Any = 1.0, rest: Any = 1.0, pos_weight: Any = 1.0) -> Any:
    """The same of probabilities."""
    weight = alpha * y + rest * (1.0 - y)
    return weight * power(missed(x, 1.0 - x, y), gamma) * bce(x, y, pos_weight)


def quality_focal_with_logits(x: Any, y: Any, beta: Any = 0.0) -> Any:
    """|p - y|^beta BCE, for targets that say how good an item is."""
    return power(abs((1.0 - y) * sigmoid(x) - y * sigmoid(-x)), beta) * bce_with_logits(x, y, 1.0)


def quality_focal(x: Any, y: Any, beta: Any = 0.0) -> Any:
    """The same of probabilities."""
    return power(abs((1.0 - y) * x - y * (1.0 - x)), beta) * bce(x, y, 1.0)


FOCAL_WITH_LOGITS = Loss("focal_loss_with_logits", focal_with_logits)
FOCAL = Loss("focal_loss", focal, defined=bce_defined, checks_input=True)
POLY1_WITH_LOGITS = Loss("poly1_loss_with_logits", poly1_with_logits)
POLY1 = Loss("poly1_loss", poly1, defined=bce_defined, checks_input=True)
QUALITY_FOCAL_WITH_LOGITS = Loss("quality_focal_loss_with_logits", quality_focal_with_logits)
QUALITY_FOCAL = Loss("quality_focal_loss", quality_focal, defined=bce_defined, checks_input=True)
