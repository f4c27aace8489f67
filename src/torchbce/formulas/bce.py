"""Binary cross-entropy for one item, of probabilities and of logits; and what the engines know of both.

A sum over items need not take a logarithm of each: log a + log b = log(ab). `_factored` writes the loss of one item as
line - or + log(base + rest), where base is 0 or 1 and the sum is left to the engine, so that no digit of a small rest
is lost.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from torchbce.formulas.loss import Loss

if TYPE_CHECKING:  # whose they are is decided by `bind`; for reading and for type checking, torch's
    from torch import clamp_min as at_least
    from torch import exp, log, log1p, where

INFINITY = math.inf
LOG_FLOOR = -100.0  # torch floors each logarithm here, so that log(0) costs 100 and not infinity
SLOPE_FLOOR = 9.999999960041972e-13  # float32(1e-12): torch's floor of x(1 - x) under the gradient, in every dtype


def bce(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-(pos_weight y log x + (1 - y) log(1 - x)), each logarithm floored at -100."""
    return (y - 1.0) * at_least(log1p(-x), LOG_FLOOR) - pos_weight * y * at_least(log(x), LOG_FLOOR)


def bce_dx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(x - y) / (x (1 - x)) for a pos_weight of 1.

    The floor of the logarithm is not differentiated, but the denominator has its own.
    """
    return (x - y - (pos_weight - 1.0) * y * (1.0 - x)) / at_least((1.0 - x) * x, SLOPE_FLOOR)


def bce_dy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """log(1 - x) - pos_weight log x, without a floor."""
    return log1p(-x) - pos_weight * log(x)


def bce_dxx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """pos_weight y / x^2 + (1 - y) / (1 - x)^2, as one fraction over the floored denominator."""
    v = at_least((1.0 - x) * x, SLOPE_FLOOR)
    return ((1.0 - y) * x * x + pos_weight * y * (1.0 - x) * (1.0 - x)) / v / v


def bce_dxy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-1 / (x (1 - x)) for a pos_weight of 1."""
    return (-1.0 - (pos_weight - 1.0) * (1.0 - x)) / at_least((1.0 - x) * x, SLOPE_FLOOR)


def bce_defined(x: Any, y: Any) -> Any:
    """Both lie in [0, 1]; NaN does not."""
    return (x >= 0.0) & (x <= 1.0) & (y >= 0.0) & (y <= 1.0)


def bce_factored(x: Any, y: Any) -> Any:
    """0 - log of the probability given to the truth."""
    return 0.0, where(y == 1.0, 0.0, 1.0), where(y == 1.0, x, -x)


def bce_factors(x: Any, y: Any) -> Any:
    """Where one logarithm is enough: the target is 0 or 1 exactly."""
    return (x >= 0.0) & (x <= 1.0) & ((y == 0.0) | (y == 1.0))


# With logits the loss is  no softplus(x) + yes softplus(-x),  where no = 1 - y, yes = pos_weight y and softplus(x) =
# max(x, 0) + log1p(exp(-|x|)). Collecting the terms by sign leaves nothing to cancel: a confident right answer keeps
# all of its digits, and exp never overflows.
# The second derivatives write |x| as a choice, because that can be differentiated further, at x = 0 too.


def far_line(x: Any, no: Any, yes: Any) -> Any:
    """The straight line that the loss approaches far from 0; an infinite logit that is right costs 0, not 0 * inf.

    Only an infinite one: elsewhere the line has a derivative by the target, at a hard target too.
    """
    steep = where(x >= 0.0, no, yes)
    return steep * where((steep == 0.0) & (abs(x) == INFINITY), 0.0, abs(x))


def bce_with_logits(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-(pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x)))."""
    near = (1.0 + (pos_weight - 1.0) * y) * log1p(exp(-abs(x)))
    return near + far_line(x, 1.0 - y, pos_weight * y)


def bce_with_logits_dx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(1 - y) sigmoid(x) - pos_weight y sigmoid(-x)."""
    no, yes = 1.0 - y, pos_weight * y
    e = exp(-abs(x))
    return where(x >= 0.0, no - yes * e, no * e - yes) / (1.0 + e)


def bce_with_logits_dy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """pos_weight softplus(-x) - softplus(x); exactly -x where pos_weight is 1."""
    return where(x >= 0.0, -x, -pos_weight * x) + (pos_weight - 1.0) * log1p(exp(-abs(x)))


def bce_with_logits_dxx(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """(1 - y + pos_weight y) sigmoid(x) sigmoid(-x)."""
    e = exp(where(x >= 0.0, -x, x))
    return (1.0 + (pos_weight - 1.0) * y) * e / ((1.0 + e) * (1.0 + e))


def bce_with_logits_dxy(x: Any, y: Any, pos_weight: Any = 1.0) -> Any:
    """-(sigmoid(x) + pos_weight sigmoid(-x))."""
    e = exp(where(x >= 0.0, -x, x))
    return -where(x >= 0.0, 1.0 + pos_weight * e, e + pos_weight) / (1.0 + e)


def bce_with_logits_factored(x: Any, y: Any) -> Any:
    """The line + log(1 + exp(-|x|)), for a pos_weight of 1 and any target; nothing here is differentiated."""
    steep = where(x >= 0.0, 1.0 - y, y)
    return steep * where(steep == 0.0, 0.0, abs(x)), 1.0, exp(-abs(x))


BCE = Loss(
    "binary_cross_entropy",
    bce,
    bce_dx,
    dy=bce_dy,
    dxx=bce_dxx,
    dxy=bce_dxy,
    linear_in_target=True,
    factored=bce_factored,
    sign=-1.0,
    log_floor=LOG_FLOOR,
    defined=bce_defined,
    checks_input=True,
    factors=bce_factors,
)
BCE_WITH_LOGITS = Loss(
    "binary_cross_entropy_with_logits",
    bce_with_logits,
    bce_with_logits_dx,
    dy=bce_with_logits_dy,
    dxx=bce_with_logits_dxx,
    dxy=bce_with_logits_dxy,
    linear_in_target=True,
    factored=bce_with_logits_factored,
    sign=1.0,
)
