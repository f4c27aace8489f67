"""Asymmetric loss: focusing of its own for positives and negatives, and a margin below which negatives cost nothing.

Ridnik et al. 2021, https://arxiv.org/abs/2009.14119.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torchbce.formulas.bce import INFINITY, LOG_FLOOR, bce_defined
from torchbce.formulas.loss import Loss
from torchbce.formulas.parts import missed, power, sigmoid, softplus

if TYPE_CHECKING:  # whose they are is decided by `bind`
    from torch import clamp_min as at_least
    from torch import log, log1p, where

    def held(v: Any) -> Any: ...


def shifted(p: Any, clip: Any) -> Any:
    """The probability of a negative, less the margin."""
    return at_least(p - clip, 0.0)


def shifted_cost(p: Any, q: Any, clip: Any) -> Any:
    """-log(1 - shifted(p)), for a clip above 0."""
    return -where(p > 0.5, log(q + clip), log1p(-shifted(p, clip)))


def focus(p: Any, q: Any, y: Any, gamma_pos: Any, gamma_neg: Any, clip: Any) -> Any:
    """(1 - p_t)^gamma, with the gamma of the target."""
    return power(missed(shifted(p, clip), q, y), gamma_pos * y + gamma_neg * (1.0 - y))


def cost_with_logits(x: Any, y: Any, p: Any, q: Any, clip: Any, pos_weight: Any) -> Any:
    """BCE with the margin."""
    # An infinite logit that is right costs 0, and not 0 * inf.
    yes = where((y == 0.0) & (x == -INFINITY), 0.0, softplus(-x))
    no = where((y == 1.0) & (x == INFINITY), 0.0, softplus(x))
    return pos_weight * y * yes + (1.0 - y) * where(clip > 0.0, shifted_cost(p, q, clip), no)


def asymmetric_with_logits(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """-(1 - p_t)^gamma (pos_weight y log p + (1 - y) log(1 - max(p - clip, 0)))."""
    p, q = sigmoid(x), sigmoid(-x)
    return focus(p, q, y, gamma_pos, gamma_neg, clip) * cost_with_logits(x, y, p, q, clip, pos_weight)


def asymmetric_with_logits_held(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """The same with a focusing weight that is not differentiated."""
    p, q = sigmoid(x), sigmoid(-x)
    return held(focus(p, q, y, gamma_pos, gamma_neg, clip)) * cost_with_logits(x, y, p, q, clip, pos_weight)


def cost(x: Any, y: Any, clip: Any, pos_weight: Any) -> Any:
    negative = where(clip > 0.0, shifted_cost(x, 1.0 - x, clip), -at_least(log1p(-x), LOG_FLOOR))
    return -pos_weight * y * at_least(log(x), LOG_FLOOR) + (1.0 - y) * negative


def asymmetric(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """Of probabilities."""
    return focus(x, 1.0 - x, y, gamma_pos, gamma_neg, clip) * cost(x, y, clip, pos_weight)


def asymmetric_held(
    x: Any, y: Any, gamma_pos: Any = 0.0, gamma_neg: Any = 0.0, clip: Any = 0.0, pos_weight: Any = 1.0
) -> Any:
    """Of probabilities, with a focusing weight that is not differentiated."""
    return held(focus(x, 1.0 - x, y, gamma_pos, gamma_neg, clip)) * cost(x, y, clip, pos_weight)


ASYMMETRIC_WITH_LOGITS = Loss("asymmetric_loss_with_logits", asymmetric_with_logits)
ASYMMETRIC_WITH_LOGITS_HELD = Loss("asymmetric_loss_with_logits, held", asymmetric_with_logits_held)
ASYMMETRIC = Loss("asymmetric_loss", asymmetric, defined=bce_defined, checks_input=True)
ASYMMETRIC_HELD = Loss("asymmetric_loss, held", asymmetric_held, defined=bce_defined, checks_input=True)
