"""The sum of logarithms as the logarithm of a product: one logarithm per lane instead of one per item."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.staged import staged
from torchbce.engine.numba_cpu.variant import BLOCK, Variant
from torchbce.jit.intrinsics import stack
from torchbce.jit.primitives import FLOAT64, bits64, float64_of
from torchbce.jit.to_llvm import inlined

ROWS = 4  # factors multiplied before their exponent is taken out: four of at least e^-100 cannot underflow
LN2 = 0.6931471805599453
log = FLOAT64["log"]
i4, i8, f8 = np.int32, np.int64, np.float64

sums_on_stack = stack(types.float64, LANES)
exponents_on_stack = stack(types.int64, LANES)
flags_on_stack = stack(types.int32, LANES)


def product(v: Variant, parts: Specialized) -> tuple[bool, Any]:
    """Whether a variant may be summed so, and `sum_by_product(...)`: the sum, and of how many first items of a chunk.

    That is 0 where an item is no logarithm of a factor.
    """
    loss = v.loss
    possible = loss.factored is not None and not (v.weight is not None or v.wide or set(v.parameter_kinds) - {"-"})
    if not possible:
        return False, inlined(lambda *_: (f8(0.0), 0))
    number, read, write, fill = parts.number, parts.read, parts.write, parts.fill
    factored, factors, defined, parameters = parts.factored, parts.factors, parts.defined, parts.parameters
    cut = staged(v, parts, "dx")
    table_of, prepare, derivative = cut.table, cut.prepare, cut.results[0]
    need_grad, partial, least, zero = v.out is not None, v.partial, f8(loss.least_factor), number(0.0)

    @inlined
    def derivatives(x, y, out, scratch, options, numbers, start, size, scale):
        table = table_of()
        prepare(table, x, y, scratch, options, numbers, start, size)
        for j in range(size):
            xi, _, yi, counts = read(x, y, scratch, options, start, j)
            step = derivative(table, j, xi, yi, parameters(numbers, scratch.parameters, j)) * scale
            if partial:
                step = step if counts else zero
            write(out, start + j, step)

    @inlined
    def all_factor(x, y, scratch, options, start, size):
        """A look at some items first, as the pass is wasted where it does not hold."""
        unfactored = i4(0)
        for k in range(min(LANES, size)):
            xi, yc, yi, _ = read(x, y, scratch, options, start, k)
            unfactored += i4(0) if factors(xi, yi) & defined(xi, yc) else i4(1)
        return unfactored == 0

    @inlined
    def sum_by_product(a, x, y, out, scratch, options, numbers, start, size, scale):
        mantissa, residuals, exponent, unfactored = (
            sums_on_stack(),
            sums_on_stack(),
            exponents_on_stack(),
            flags_on_stack(),
        )
        for k in range(LANES):
            mantissa[k] = f8(1.0)
            residuals[k] = f8(0.0)
            exponent[k] = i8(0)
            unfactored[k] = i4(0)
        groups = size // (LANES * ROWS)
        done = groups * LANES * ROWS
        for first in range(0, done, BLOCK):
            here, begin = min(BLOCK, done - first), start + first
            fill(a, scratch, begin, here)
            if first == 0 and not all_factor(x, y, scratch, options, begin, here):
                return f8(0.0), 0
            if need_grad:
                derivatives(x, y, out, scratch, options, numbers, begin, here, scale)
            for g in range(here // (LANES * ROWS)):
                for k in range(LANES):
                    product, residual, not_factored = f8(1.0), f8(0.0), unfactored[k]
                    for row in range(ROWS):
                        xi, yc, yi, counts = read(x, y, scratch, options, begin, (g * ROWS + row) * LANES + k)
                        not_factored = not_factored if factors(xi, yi) & defined(xi, yc) else i4(1)
                        base, small = factored(xi, yi)
                        if partial:  # an item that does not count is a factor of 1
                            base = number(base) if counts else number(1.0)
                            small = small if counts else zero
                        base, small = f8(base), f8(small)
                        factor = base + small
                        residual += small - (factor - base)
                        product *= least if factor < least else factor
                    bits = bits64(mantissa[k] * product)
                    mantissa[k] = float64_of((bits & i8(0x000FFFFFFFFFFFFF)) | i8(0x3FF0000000000000))
                    exponent[k] += bits >> i8(52)
                    residuals[k] += residual
                    unfactored[k] = not_factored
        total, count = f8(0.0), i4(0)
        for k in range(LANES):
            logarithm = log(mantissa[k]) + f8(exponent[k] - i8(1023) * groups) * f8(LN2)
            total -= logarithm + residuals[k]
            count += unfactored[k]
        if count != 0:
            return f8(0.0), 0
        return total, done

    return True, sum_by_product
