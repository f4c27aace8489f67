"""The formulas' primitives as compiled functions, for float32 and float64."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from torchbce.formula import elementary
from torchbce.formula.binding import bind
from torchbce.jit.to_llvm import inlined

spliced: Any = njit(inline="always")  # into its caller before types are found: quicker to compile, no closures


def _reinterpret(source: Any, result: Any, llvm_type: ir.Type) -> Any:
    @intrinsic
    def same_bits(context: Any, value: Any) -> Any:
        return result(source), lambda _context, builder, _signature, args: builder.bitcast(args[0], llvm_type)

    return same_bits


bits32 = _reinterpret(types.float32, types.int32, ir.IntType(32))
bits64 = _reinterpret(types.float64, types.int64, ir.IntType(64))
float32_of = _reinterpret(types.int32, types.float32, ir.FloatType())
float64_of = _reinterpret(types.int64, types.float64, ir.DoubleType())


@inlined
def where(condition, yes, no):
    return yes if condition else no


@inlined
def at_least(v, floor):
    return floor if v < floor else v  # NaN stays NaN


@inlined
def absolute(v):
    return abs(v)


@inlined
def as_it_is(v):
    return v


SHARED = {"where": where, "at_least": at_least, "abs": absolute, "stop_gradient": as_it_is}


def _primitives(width: str, number: Any, integer: Any, bits: Any, float_of: Any) -> dict[str, Any]:
    basic = {
        **SHARED,
        "bits": bits,
        "float_of": float_of,
        "integer": inlined(lambda v: integer(v)),
        "number": inlined(lambda v: number(integer(v))),
    }
    functions = {name: bind(getattr(elementary, name + width), basic, inlined, number) for name in elementary.NAMES}
    return {**SHARED, **functions}


FLOAT32 = _primitives("_float32", np.float32, np.int32, bits32, float32_of)
FLOAT64 = _primitives("_float64", np.float64, np.int64, bits64, float64_of)


@functools.cache
def formula(of: Callable[..., Any] | None, wide: bool) -> Any:
    """Return a formula as a compiled function; None is true everywhere."""
    if of is None:
        return inlined(lambda x, y: True)
    return bind(of, FLOAT64 if wide else FLOAT32, inlined, np.float64 if wide else np.float32)
