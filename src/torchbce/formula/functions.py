"""Functions that several losses share; each keeps its digits at any logit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # `bind` puts the engine's own in their place
    from torch import clamp_min as at_least
    from torch import exp, log, where
    from torch import exp as exp_unit
    from torch import log1p as log1p_unit

    from torchbce.formula.elementary import log_unit_float64 as log_unit

SMALLEST = 1e-37  # a power of less is a power of this; just above where float32 loses digits


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)); sigmoid(-x) is 1 - sigmoid(x) with all of its digits."""
    e = exp_unit(-abs(x))
    return where(x >= 0.0, 1.0, e) / (1.0 + e)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)) = -log(sigmoid(-x))."""
    return where(x >= 0.0, x, 0.0) + log1p_unit(exp_unit(-abs(x)))


def power(v: Any, exponent: Any) -> Any:
    """Return v to a power, for v of at least 0."""
    return exp(exponent * log(at_least(v, SMALLEST)))


def power_unit(v: Any, exponent: Any) -> Any:
    """Return v to a power of at least 0, for v in [0, 1]."""
    return exp_unit(exponent * log_unit(0.0, at_least(v, SMALLEST)))


def missed(p: Any, q: Any, y: Any) -> Any:
    """Return 1 - p_t, the probability not given to the target; p of target 1, q = 1 - p of target 0."""
    return (1.0 - y) * p + y * q
