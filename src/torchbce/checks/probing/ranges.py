"""Between which numbers a tensor must lie, by the operations that made it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from torchbce.checks.probing.graph import AVERAGING, TRANSPARENT, is_square, name_of

DEEPEST = 24  # operations that are followed


@dataclass(frozen=True)
class Range:
    """The least and the greatest value, and the operation that says so: "" where it is no single one."""

    low: float = -math.inf
    high: float = math.inf
    by: str = ""

    @property
    def is_unlimited(self) -> bool:
        """Return whether every number may occur, as far as is known."""
        return self.low == -math.inf and self.high == math.inf


ANY = Range()
FIXED = {
    "Sigmoid": (0.0, 1.0),
    "SpecialExpit": (0.0, 1.0),
    "Hardsigmoid": (0.0, 1.0),
    "Softmax": (0.0, 1.0),
    "LogSigmoid": (-math.inf, 0.0),
    "LogSoftmax": (-math.inf, 0.0),
    "Tanh": (-1.0, 1.0),
    "Relu": (0.0, math.inf),
    "Softplus": (0.0, math.inf),
    "Abs": (0.0, math.inf),
    "Exp": (0.0, math.inf),
    "Sqrt": (0.0, math.inf),
    "Norm": (0.0, math.inf),
    "LinalgVectorNorm": (0.0, math.inf),
    "Cdist": (0.0, math.inf),
    "Elu": (-1.0, math.inf),
    "Gelu": (-0.17, math.inf),
    "Silu": (-0.2785, math.inf),
}
JOINS = {"Cat", "Stack", "Where", "Maximum", "Minimum"}
CLAMPS = ("Clamp", "Hardtanh")


def range_of(node: Any) -> Range:
    """The range of what a node of the graph gives; it is never narrower than what may occur."""
    return _range(node, 0)


def _range(node: Any, depth: int) -> Range:
    if node is None or depth > DEEPEST:
        return ANY
    name = name_of(node)
    before = [part for part, _ in node.next_functions]
    if is_square(node):
        return Range(0.0, math.inf, name)
    if name in FIXED:
        low, high = FIXED[name]
        if name == "Elu":
            low = -abs(float(getattr(node, "_saved_alpha", 1.0))) * float(getattr(node, "_saved_scale", 1.0))
        return Range(low, high, name)
    if not before:
        return ANY
    if name in TRANSPARENT or name in AVERAGING:
        return _range(before[0], depth + 1)
    if name in JOINS:
        parts = [_range(part, depth + 1) for part in before]
        low, high = min(part.low for part in parts), max(part.high for part in parts)
        return Range(low, high, next((part.by for part in parts if part.by), ""))
    if name in ("Sum", "NativeDropout", "Neg"):
        inner = _range(before[0], depth + 1)
        if name == "Neg":
            return Range(-inner.high, -inner.low, inner.by)
        low = 0.0 if inner.low >= 0 else -math.inf  # only the sign is kept
        return Range(low, 0.0 if inner.high <= 0 else math.inf, inner.by)
    if name in ("Add", "Sub") and len(before) == 2 and None not in before:
        return _added(node, name, *(_range(part, depth + 1) for part in before))
    if name in ("Mul", "Div"):
        return _scaled(node, name, before, depth)
    if name.startswith(CLAMPS):
        return _clamped(node, name, _range(before[0], depth + 1))
    return ANY


def _added(node: Any, name: str, one: Range, other: Range) -> Range:
    """The range of a sum or a difference."""
    factor = float(getattr(node, "_saved_alpha", 1)) * (1 if name == "Add" else -1)
    ends = sorted((_times(other.low, factor), _times(other.high, factor)))
    return Range(one.low + ends[0], one.high + ends[1], one.by and other.by and one.by)


def _scaled(node: Any, name: str, before: list[Any], depth: int) -> Range:
    """A range times a constant."""
    if len(before) != 2 or (before[0] is None) == (before[1] is None):
        return ANY
    side = 0 if before[1] is None else 1
    other = _saved(node, "_saved_other" if side == 0 else "_saved_self")
    if other is None or not other.numel() or (name == "Div" and side == 1):
        return ANY
    least, most = (bound.item() for bound in other.detach().double().aminmax())
    if least < 0 or (name == "Div" and least == 0):
        return ANY
    inner = _range(before[side], depth + 1)
    factors = (1 / most, 1 / least) if name == "Div" else (least, most)
    low = min(_times(inner.low, factor) for factor in factors)
    return Range(low, max(_times(inner.high, factor) for factor in factors), inner.by)


def _clamped(node: Any, name: str, inner: Range) -> Range:
    low, high = getattr(node, "_saved_min", None), getattr(node, "_saved_max", None)
    low, high = getattr(node, "_saved_min_val", low), getattr(node, "_saved_max_val", high)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return ANY
    by = inner.by if inner.low >= 0 and inner.high <= 1 else name  # a sigmoid stays what it is
    low = inner.low if low is None else max(inner.low, float(low))
    return Range(low, inner.high if high is None else min(inner.high, float(high)), by)


def _times(bound: float, factor: float) -> float:
    return 0.0 if factor == 0 else bound * factor


def _saved(node: Any, name: str) -> Tensor | None:
    """Return what autograd saved for the backward pass; None where it has been freed."""
    try:
        value = getattr(node, name, None)
    except RuntimeError:
        return None
    return value if isinstance(value, Tensor) else None
