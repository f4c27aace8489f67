"""The sum of logarithms as the logarithm of a product: one logarithm per lane instead of one per item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import BLOCK_OFFSET
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.variant import Formula
from torchbce.jit.intrinsics import pointer_to, stack
from torchbce.jit.primitives import FLOAT64, bits64, float64_of, formula, inlined

ROWS = 4  # factors multiplied before their exponent is taken out: four of at least e^-100 cannot underflow
GROUP = LANES * ROWS
LN2 = 0.6931471805599453
log = FLOAT64["log"]
i4, i8, f8 = np.int32, np.int64, np.float64

new_sums = stack(types.float64, LANES)
new_exponents = stack(types.int64, LANES)
new_flags = stack(types.int32, LANES)
# The lanes between blocks: the product's mantissa and its error as float64, its exponent, and whether a factor is none.
new_lanes = stack(types.int64, 4 * LANES)
to_lanes = pointer_to(types.int64)


@inlined
def begin_product(lanes):
    """Let a product be 1."""
    for k in range(LANES):
        lanes[k] = bits64(f8(1.0))
        lanes[LANES + k] = bits64(f8(0.0))
        lanes[2 * LANES + k] = i8(0)
        lanes[3 * LANES + k] = i8(0)


@inlined
def end_product(lanes, items):
    """The sum of the logarithms of so many factors, negated, and how many lanes had an item that is none."""
    total, count = f8(0.0), i8(0)
    for k in range(LANES):
        exponent = f8(lanes[2 * LANES + k] - i8(1023) * (items // GROUP))
        logarithm = log(float64_of(lanes[k])) + exponent * f8(LN2)
        total -= logarithm + float64_of(lanes[LANES + k])
        count += lanes[3 * LANES + k]
    return total, count


def product_of(v: Formula, element: Any, number: Any) -> tuple[Any, Any]:
    """`factors(b)` and `product(b)` of `BlockFunctions`."""
    loss, pointer = v.loss, pointer_to(element)
    factored, factors, defined = (formula(f, v.wide) for f in (loss.factored, loss.factors, loss.defined))
    least = f8(loss.least_factor)

    @inlined
    def count_others(b):
        x, y, checked = (
            pointer(b[BLOCK_OFFSET.input]),
            pointer(b[BLOCK_OFFSET.target]),
            pointer(b[BLOCK_OFFSET.checked_target]),
        )
        unchecked, others = b[BLOCK_OFFSET.checked] == 0, i4(0)
        for j in range(b[BLOCK_OFFSET.size]):
            allowed = factors(x[j], y[j]) & (defined(x[j], checked[j]) | unchecked)
            others += i4(0) if allowed else i4(1)
        b[BLOCK_OFFSET.invalid] = others

    @inlined
    def multiply(b):
        x, y, checked, counted = (
            pointer(b[BLOCK_OFFSET.input]),
            pointer(b[BLOCK_OFFSET.target]),
            pointer(b[BLOCK_OFFSET.checked_target]),
            pointer(b[BLOCK_OFFSET.mask]),
        )
        partial, lanes = b[BLOCK_OFFSET.mask] != 0, to_lanes(b[BLOCK_OFFSET.lanes])
        unchecked = b[BLOCK_OFFSET.checked] == 0
        mantissa, residuals, exponent, unfactored = new_sums(), new_sums(), new_exponents(), new_flags()
        for k in range(LANES):
            mantissa[k] = float64_of(lanes[k])
            residuals[k] = float64_of(lanes[LANES + k])
            exponent[k] = lanes[2 * LANES + k]
            unfactored[k] = i4(lanes[3 * LANES + k])
        for g in range(b[BLOCK_OFFSET.size] // GROUP):
            for k in range(LANES):
                product, residual, not_factored = f8(1.0), f8(0.0), unfactored[k]
                for row in range(ROWS):
                    j = (g * ROWS + row) * LANES + k
                    allowed = factors(x[j], y[j]) & (defined(x[j], checked[j]) | unchecked)
                    not_factored = not_factored if allowed else i4(1)
                    base, small = factored(x[j], y[j])
                    if partial:  # an item that does not count is a factor of 1
                        base = number(base) if counted[j] != 0 else number(1.0)
                        small = small if counted[j] != 0 else number(0.0)
                    base, small = f8(base), f8(small)
                    factor = base + small
                    residual += small - (factor - base)
                    product *= least if factor < least else factor
                bits = bits64(mantissa[k] * product)
                mantissa[k] = float64_of((bits & i8(0x000FFFFFFFFFFFFF)) | i8(0x3FF0000000000000))
                exponent[k] += bits >> i8(52)
                residuals[k] += residual
                unfactored[k] = not_factored
        for k in range(LANES):
            lanes[k] = bits64(mantissa[k])
            lanes[LANES + k] = bits64(residuals[k])
            lanes[2 * LANES + k] = exponent[k]
            lanes[3 * LANES + k] = i8(unfactored[k])

    return count_others, multiply
