"""The formulas' primitives for Triton, for float32 and float64."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

from torchbce.formula import elementary
from torchbce.formula.binding import bind
from torchbce.formula.loss import Loss


@triton.jit
def where(condition, yes, no):
    return tl.where(condition, yes, no)


@triton.jit
def at_least(v, floor):
    return tl.where(v < floor, floor, v)  # NaN stays NaN


@triton.jit
def absolute(v):
    return tl.abs(v)


@triton.jit
def as_it_is(v):
    return v


@triton.jit
def bits32(v):
    return v.to(tl.int32, bitcast=True)


@triton.jit
def bits64(v):
    return v.to(tl.int64, bitcast=True)


@triton.jit
def float32_of(b):
    return b.to(tl.float32, bitcast=True)


@triton.jit
def float64_of(b):
    return b.to(tl.float64, bitcast=True)


@triton.jit
def integer(v):
    return v


@triton.jit
def number32(v):
    return v.to(tl.float32)


@triton.jit
def number64(v):
    return v.to(tl.float64)


SHARED = {
    "where": where,
    "at_least": at_least,
    "abs": absolute,
    "stop_gradient": as_it_is,
    "integer": integer,
    "tl": tl,
    "Any": tl.tensor,
}


def _primitives(width: str, **basic: Any) -> dict[str, Any]:
    functions = {
        name: bind(getattr(elementary, name + width), {**SHARED, **basic}, triton.jit, tl.constexpr)
        for name in elementary.NAMES
    }
    return {**SHARED, **functions}


FLOAT32 = _primitives("_float32", bits=bits32, float_of=float32_of, number=number32)
FLOAT64 = _primitives("_float64", bits=bits64, float_of=float64_of, number=number64)


class Bound:
    """A loss's formulas as Triton functions."""

    def __init__(self, loss: Loss, dtype: torch.dtype) -> None:
        primitives = FLOAT64 if dtype == torch.float64 else FLOAT32
        formulas = loss.value, loss.dx, loss.defined
        self.value, self.dx, self.defined = (bind(f, primitives, triton.jit, tl.constexpr) for f in formulas)
