"""Binary cross-entropy for ONE item: each loss and its derivatives, written once as ordinary Python.

The functions below name `exp`, `log`, `where` ... without saying whose. An engine lends them its own: `bind` returns a
copy of a formula whose globals are that engine's vocabulary. So one text is plain torch operations in `reference`, and
can be a compiled loop elsewhere, and the engines cannot drift apart.

x is the input (a probability or a logit), y the target. A formula's derivatives are named after it: `_dx` by the input,
`_dy` by the target, `_dxx` and `_dxy` the second ones. Binary cross-entropy is linear in y: `_dyy` is 0.
"""

from __future__ import annotations

import builtins
import types
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # whose they are is decided by `bind`; for reading and for type checking, torch's
    from torch import clamp_min as at_least
    from torch import exp, log, log1p, where

LOG_FLOOR = -100.0  # torch floors each logarithm here, so that log(0) costs 100 and not infinity
SLOPE_FLOOR = 9.999999960041972e-13  # float32(1e-12): torch's floor of x(1 - x) under the gradient, in every dtype


def bce(x: Any, y: Any) -> Any:
    """-(y log x + (1 - y) log(1 - x)), each logarithm floored at -100."""
    return (y - 1) * at_least(log1p(-x), LOG_FLOOR) - y * at_least(log(x), LOG_FLOOR)


def bce_dx(x: Any, y: Any) -> Any:
    """(x - y) / (x (1 - x)): the floor of the logarithm is not differentiated, but the denominator has its own."""
    return (x - y) / at_least((1 - x) * x, SLOPE_FLOOR)


def bce_dy(x: Any, y: Any) -> Any:
    """-logit(x), without a floor."""
    return log1p(-x) - log(x)


def bce_dxx(x: Any, y: Any) -> Any:
    """y / x^2 + (1 - y) / (1 - x)^2, as one fraction over the floored denominator."""
    v = at_least((1 - x) * x, SLOPE_FLOOR)
    return ((x - y) * (x - y) + y * (1 - y)) / v / v


def bce_dxy(x: Any, y: Any) -> Any:
    """-1 / (x (1 - x))."""
    return -1 / at_least((1 - x) * x, SLOPE_FLOOR)


# With logits the loss is  no softplus(x) + yes softplus(-x),  where no = 1 - y, yes = pos_weight y and softplus(x) =
# max(x, 0) + log1p(exp(-|x|)). Collecting the terms by sign leaves nothing to cancel: a confident right answer keeps
# all of its digits, and exp never overflows.
# The second derivatives write |x| as a choice, because that can be differentiated further, at x = 0 too.


def bce_with_logits(x: Any, y: Any, pos_weight: Any) -> Any:
    """-(pos_weight y log sigmoid(x) + (1 - y) log(1 - sigmoid(x)))."""
    no, yes = 1 - y, pos_weight * y
    size = abs(x)
    near = (no + yes) * log1p(exp(-size))
    steep = where(x >= 0, no, yes)  # the slope of the straight line that the loss approaches far from 0
    return where(steep == 0, near, near + steep * size)  # an infinite logit that is right costs 0, not 0 * inf


def bce_with_logits_dx(x: Any, y: Any, pos_weight: Any) -> Any:
    """(1 - y) sigmoid(x) - pos_weight y sigmoid(-x)."""
    no, yes = 1 - y, pos_weight * y
    e = exp(-abs(x))
    return where(x >= 0, no - yes * e, no * e - yes) / (1 + e)


def bce_with_logits_dy(x: Any, y: Any, pos_weight: Any) -> Any:
    """pos_weight softplus(-x) - softplus(x); exactly -x where pos_weight is 1."""
    return where(x >= 0, -x, -pos_weight * x) + (pos_weight - 1) * log1p(exp(-abs(x)))


def bce_with_logits_dxx(x: Any, y: Any, pos_weight: Any) -> Any:
    """(1 - y + pos_weight y) sigmoid(x) sigmoid(-x)."""
    e = exp(where(x >= 0, -x, x))
    return (1 - y + pos_weight * y) * e / ((1 + e) * (1 + e))


def bce_with_logits_dxy(x: Any, y: Any, pos_weight: Any) -> Any:
    """-(sigmoid(x) + pos_weight sigmoid(-x))."""
    e = exp(where(x >= 0, -x, x))
    return -where(x >= 0, 1 + pos_weight * e, e + pos_weight) / (1 + e)


def bind(formula: Callable[..., Any], vocabulary: Mapping[str, Any]) -> Callable[..., Any]:
    """A copy of a formula that finds `exp`, `log`, `where` ... in an engine's vocabulary."""
    names = {"__builtins__": builtins, "LOG_FLOOR": LOG_FLOOR, "SLOPE_FLOOR": SLOPE_FLOOR, **vocabulary}
    return types.FunctionType(formula.__code__, names, formula.__name__)
