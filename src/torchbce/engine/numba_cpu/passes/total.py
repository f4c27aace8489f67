"""The sum of the losses of each chunk, and every item's derivative with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.passes.block import block_of
from torchbce.engine.numba_cpu.passes.product import product
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK, Variant
from torchbce.jit.intrinsics import stack
from torchbce.jit.primitives import float64_of
from torchbce.jit.to_llvm import inlined

ROWS = 4  # added to each other first, so that fewer sums wait for their turn
i4, f8 = np.int32, np.float64
sums_on_stack = stack(types.float64, LANES)


@inlined
def two_sum(a, b):
    """a + b and what its rounding took (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def total(v: Variant) -> Callable[..., None]:
    """The sum of each chunk, NaN if a value is not allowed; with `out`, every derivative times `scale`."""
    parts = Specialized(v)
    number, read, write, scratch_of, fill = parts.number, parts.read, parts.write, parts.scratch, parts.fill
    exact_value, exact_derivative = parts.exact_value, parts.exact_derivative
    defined, numbers_of = parts.defined, parts.numbers
    exact_numbers_of, exact_parameters, target_options = (
        parts.exact_numbers,
        parts.exact_parameters,
        parts.target_options,
    )
    need_grad, weighted, wide = v.out is not None, v.weight is not None, v.wide
    by_product, sum_by_product = product(v, parts)
    table_of, block = block_of(v, parts, by_product=by_product)
    values_on_stack = stack(parts.element, BLOCK)

    @inlined
    def sum_by_item(a, x, y, out, scratch, options, numbers, start, size, scale):
        """The sum of whole rows of `LANES` items, its rounding error, and how many values are not allowed."""
        sums, residuals, invalid = sums_on_stack(), sums_on_stack(), i4(0)
        table, values = table_of(), values_on_stack()
        for k in range(LANES):
            sums[k] = f8(0.0)
            residuals[k] = f8(0.0)
        for first in range(0, size, BLOCK):
            here = min(BLOCK, size - first)
            fill(a, scratch, start + first, here)
            invalid += block(x, y, out, scratch, table, values, options, numbers, start + first, here, scale)
            rows = here // LANES
            lanes = min(LANES, here)  # a loop of a length that is known would be unrolled before it can be vectorised
            for row in range(0, 0 if wide else rows // ROWS * ROWS, ROWS):
                for k in range(lanes):
                    j = row * LANES + k
                    low = f8(values[j]) + f8(values[j + LANES])
                    sums[k] += low + (f8(values[j + 2 * LANES]) + f8(values[j + 3 * LANES]))
            for row in range(0 if wide else rows // ROWS * ROWS, rows):
                for k in range(lanes):
                    sums[k], residual = two_sum(sums[k], f8(values[row * LANES + k]))
                    residuals[k] += residual
        total, residual = f8(0.0), f8(0.0)
        for k in range(LANES):
            total, lost = two_sum(total, sums[k])
            residual += lost + residuals[k]
        return total, residual, invalid

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, options, n, scale = scratch_of(), target_options(a), a[AT.items], float64_of(a[AT.scale])
        numbers, exact_numbers, scale_here = numbers_of(a), exact_numbers_of(a), number(scale)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            total, residual, invalid, done = f8(0.0), f8(0.0), i4(0), 0
            if by_product:
                total, done = sum_by_product(a, x, y, out, scratch, options, numbers, start, size, scale_here)
            rows = (size - done) // LANES * LANES
            if rows > 0:
                part, lost, invalid = sum_by_item(
                    a, x, y, out, scratch, options, numbers, start + done, rows, scale_here
                )
                total, residual = two_sum(total, part)
                residual += lost
            done += rows
            if done < size:
                fill(a, scratch, start + done, size - done)
            for j in range(size - done):
                xi, yc, yi, counts = read(x, y, scratch, options, start + done, j)
                p = exact_parameters(exact_numbers, scratch.parameters, j)
                w = f8(scratch.weights[j]) if weighted else f8(1.0)
                item = exact_value(f8(xi), f8(yi), *p) * w
                total, lost = two_sum(total, item if counts else f8(0.0))
                residual += lost
                if need_grad:
                    step = exact_derivative(f8(xi), f8(yi), *p) * w * scale
                    write(out, start + done + j, step if counts else f8(0.0))
                invalid += i4(0) if defined(xi, yc) else i4(1)
            if abs(total) < f8(np.inf):
                total += residual
            sums[c] = f8(np.nan) if invalid != 0 else total

    return run
