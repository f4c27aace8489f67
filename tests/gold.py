"""The oracle: both losses and their derivatives at 60 digits, by mpmath, from the inputs' exact binary values.

Written from the definitions alone: -(pos_weight y log p + (1 - y) log(1 - p)), with torch's two floors of
probabilities.
"""

from __future__ import annotations

import math

import mpmath
import torch
from mpmath import mp, mpf

from torchbce.losses.bce import SLOPE_FLOOR

mp.dps = 60
LOGITS = [0.0, 1e-30, 1e-8, 0.3, 1.0, 5.0, 10.0, 15.0, 18.0, 37.0, 88.0, 104.0, 700.0, 710.0, 1e4, 1e20]
LOGITS = sorted({sign * x for x in LOGITS for sign in (1, -1)})
PROBABILITIES = [0.0, 1e-44, 1e-38, 1e-13, 1e-12, 1e-7, 0.1, 0.25, 0.5, 0.6, 0.75, 0.9, 1 - 2**-10, 1 - 2**-24, 1.0]
TARGETS = [0.0, 0.05, 0.3, 0.5, 0.95, 1.0]


def _log(v: mpf, floor: bool) -> mpf:
    value = mpmath.log(v) if v > 0 else mpf("-inf")
    return max(value, mpf(-100)) if floor else value


def bce(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y = mpf(x), mpf(y)
    return -(pos_weight * y * _log(x, True) + (1 - y) * _log(1 - x, True))


def bce_dx(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y = mpf(x), mpf(y)
    return ((1 - y) * x - pos_weight * y * (1 - x)) / max(x * (1 - x), mpf(SLOPE_FLOOR))


def bce_dy(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x = mpf(x)
    return _log(1 - x, False) - pos_weight * _log(x, False)


def bce_dxx(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y = mpf(x), mpf(y)
    return ((1 - y) * x * x + pos_weight * y * (1 - x) ** 2) / max(x * (1 - x), mpf(SLOPE_FLOOR)) ** 2


def bce_dxy(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x = mpf(x)
    return -(x + pos_weight * (1 - x)) / max(x * (1 - x), mpf(SLOPE_FLOOR))


def _softplus(x: mpf) -> mpf:
    return max(x, mpf(0)) + mpmath.log1p(mpmath.exp(-abs(x)))


def _sigmoid(x: mpf) -> mpf:
    return 1 / (1 + mpmath.exp(-x)) if x >= 0 else mpmath.exp(x) / (1 + mpmath.exp(x))


def bce_with_logits(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y, w = mpf(x), mpf(y), mpf(pos_weight)
    return w * y * _softplus(-x) + (1 - y) * _softplus(x)


def bce_with_logits_dx(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y, w = mpf(x), mpf(y), mpf(pos_weight)
    return (1 - y) * _sigmoid(x) - w * y * _sigmoid(-x)


def bce_with_logits_dy(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, w = mpf(x), mpf(pos_weight)
    return w * _softplus(-x) - _softplus(x)


def bce_with_logits_dxx(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, y, w = mpf(x), mpf(y), mpf(pos_weight)
    return (1 - y + w * y) * _sigmoid(x) * _sigmoid(-x)


def bce_with_logits_dxy(x: float, y: float, pos_weight: float = 1.0) -> mpf:
    x, w = mpf(x), mpf(pos_weight)
    return -(_sigmoid(x) + w * _sigmoid(-x))


def cancelling_terms(name: str, x: float, y: float, pos_weight: float = 1.0) -> mpf:
    """The size of the terms whose difference a derivative is, where no formula can avoid that they cancel; else 0."""
    x, y, w = mpf(x), mpf(y), mpf(pos_weight)
    if name == "bce_with_logits_dx" and 0 < y < 1:
        return (1 - y) * _sigmoid(x) + w * y * _sigmoid(-x)
    if name == "bce_with_logits_dy" and w != 1:
        return _softplus(x) + w * _softplus(-x)
    if name == "bce_dy":
        return w * abs(_log(x, True)) + abs(_log(1 - x, True))
    if name == "bce_dx" and 0 < y < 1 and 0 < x < 1 and w != 1:
        return ((1 - y) * x + w * y * (1 - x)) / max(x * (1 - x), mpf(SLOPE_FLOOR))
    return mpf(0)


def ulps(value: float, exact: mpf, dtype: torch.dtype, scale: mpf | None = None) -> float:
    """The error of a value in units of the last place of its dtype at `scale`, by default the exact value.

    Infinities must match.
    """
    info = torch.finfo(dtype)
    if abs(exact) > mpf(info.max):
        return 0.0 if math.isinf(value) and (value > 0) == (exact > 0) else math.inf
    if math.isnan(value) or math.isinf(value):
        return math.inf
    scale = abs(exact) if scale is None else scale
    exponent = max(mpmath.frexp(scale)[1] if scale else -(10**6), math.frexp(info.tiny)[1])
    last_place = mpmath.ldexp(mpf(info.eps), exponent - 1)
    return float(abs(mpf(value) - exact) / last_place)
