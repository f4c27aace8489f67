"""The sum of the losses of each chunk, and every item's derivative with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.intrinsics import stack
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.primitives import FLOAT64, bits64, float64_of, inlined
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import CHUNK, Variant
from torchbce.formula.binding import names_in

ROWS = 4  # factors multiplied before their exponent is taken out: four of at least e^-100 cannot underflow
BLOCK = LANES * ROWS
LN2 = 0.6931471805599453
log = FLOAT64["log"]
i4, i8, f8 = np.int32, np.int64, np.float64

sums_on_stack = stack(types.float64, LANES)
exponents_on_stack = stack(types.int64, LANES)
flags_on_stack = stack(types.int32, LANES)
block_on_stack = stack(types.float32, BLOCK)


@inlined
def two_sum(a, b):
    """a + b and what its rounding took (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def total(v: Variant) -> Callable[..., None]:
    """The sum of each chunk, NaN if a value is not allowed; with `out`, every derivative times `scale`."""
    parts, loss = Specialized(v), v.loss
    number, read, write, scratch_of, fill = parts.number, parts.read, parts.write, parts.scratch, parts.fill
    value, derivative, exact_value, exact_derivative = (
        parts.value,
        parts.derivative,
        parts.exact_value,
        parts.exact_derivative,
    )
    factored, factors, defined = parts.factored, parts.factors, parts.defined
    parameters, exact_parameters, target_options = parts.parameters, parts.exact_parameters, parts.target_options
    in_factor = parts.in_factor
    values_on_stack = stack(parts.element, LANES)

    need_grad, weighted, partial, wide = v.out is not None, v.weight is not None, v.partial, v.wide
    products = loss.factored is not None and not (
        weighted or wide or set(v.parameter_kinds[loss.factored_parameters :]) - {"-"}
    )
    sign, least, floored = f8(loss.sign), f8(loss.least_factor), loss.least_factor > 0
    zero = number(0.0)
    # A costly factor is computed at the full width of float32 and kept for the loop in float64, half as wide.
    kept = loss.factored is not None and not {"exp", "log", "log1p"}.isdisjoint(names_in(loss.factored))

    @inlined
    def sum_by_product(a, x, y, out, scratch, options, start, blocks, scale):
        """The sum of line + sign log(factor), with one logarithm per lane, and how many items it does not hold for."""
        mantissa, lines, residuals = sums_on_stack(), sums_on_stack(), sums_on_stack()
        exponent, unfactored = exponents_on_stack(), flags_on_stack()
        lines_kept, residuals_kept = block_on_stack(), block_on_stack()
        for k in range(LANES):
            mantissa[k] = f8(1.0)
            lines[k] = f8(0.0)
            residuals[k] = f8(0.0)
            exponent[k] = i8(0)
            unfactored[k] = i4(0)
        for b in range(blocks):
            first = b * BLOCK
            for k in range(BLOCK if kept or need_grad else 0):
                j = first + k
                xi, _, yi, counts = read(x, y, scratch, options, start, j)
                if kept:
                    lines_kept[k], base, residuals_kept[k] = factored(xi, yi, *in_factor(a, scratch.parameters, j))
                if need_grad:
                    step = derivative(xi, yi, *parameters(a, scratch.parameters, j)) * scale
                    if partial:
                        step = step if counts else zero
                    write(out, start + j, step)
            for k in range(LANES):
                product, line, residual, not_factored = f8(1.0), f8(0.0), f8(0.0), unfactored[k]
                for row in range(ROWS):
                    j = first + row * LANES + k
                    xi, yc, yi, counts = read(x, y, scratch, options, start, j)
                    not_factored = not_factored if factors(xi, yi) & defined(xi, yc) else i4(1)
                    part, base, small = factored(xi, yi, *in_factor(a, scratch.parameters, j))
                    if kept:
                        part = lines_kept[row * LANES + k]
                        small = residuals_kept[row * LANES + k]
                    if partial:  # an item that does not count is a factor of 1
                        part = part if counts else zero
                        base = number(base) if counts else number(1.0)
                        small = small if counts else zero
                    base, small = f8(base), f8(small)
                    factor = base + small
                    residual += small - (factor - base)
                    line += f8(part)
                    product *= least if floored and factor < least else factor
                bits = bits64(mantissa[k] * product)
                mantissa[k] = float64_of((bits & i8(0x000FFFFFFFFFFFFF)) | i8(0x3FF0000000000000))
                exponent[k] += bits >> i8(52)
                lines[k] += line
                residuals[k] += residual
                unfactored[k] = not_factored
        total, count = f8(0.0), i4(0)
        for k in range(LANES):
            logarithm = log(mantissa[k]) + f8(exponent[k] - i8(1023) * blocks) * f8(LN2)
            total += lines[k] + sign * (logarithm + residuals[k])
            count += unfactored[k]
        return total, count

    @inlined
    def unfactored_at_start(x, y, scratch, options, start):
        """A look at some items first, as the pass is wasted where it does not hold."""
        unfactored = i4(0)
        for k in range(LANES):
            xi, yc, yi, _ = read(x, y, scratch, options, start, k)
            unfactored += i4(0) if factors(xi, yi) & defined(xi, yc) else i4(1)
        return unfactored

    @inlined
    def sum_by_item(a, x, y, out, scratch, options, start, first, last, scale):
        """The sum of rows first ... last of `LANES` items each, its rounding error, and how many are not allowed."""
        sums, residuals, invalids = sums_on_stack(), sums_on_stack(), flags_on_stack()
        for k in range(LANES):
            sums[k] = f8(0.0)
            residuals[k] = f8(0.0)
            invalids[k] = i4(0)
        values = values_on_stack()
        for row in range(first, last):
            for k in range(LANES):
                j = row * LANES + k
                xi, yc, yi, counts = read(x, y, scratch, options, start, j)
                p = parameters(a, scratch.parameters, j)
                item = value(xi, yi, *p)
                step = derivative(xi, yi, *p) * scale if need_grad else zero
                if weighted:
                    item *= scratch.weights[j]
                    step *= scratch.weights[j]
                if partial:
                    item = item if counts else zero
                    step = step if counts else zero
                if need_grad:
                    write(out, start + j, step)
                invalids[k] = invalids[k] if defined(xi, yc) else i4(1)
                values[k] = item
            for k in range(LANES):
                if wide:
                    sums[k], residual = two_sum(sums[k], values[k])
                    residuals[k] += residual
                else:
                    sums[k] += f8(values[k])
        total, residual, invalid = f8(0.0), f8(0.0), i4(0)
        for k in range(LANES):
            total, lost = two_sum(total, sums[k])
            residual += lost + residuals[k]
            invalid += invalids[k]
        return total, residual, invalid

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, options, n, scale = scratch_of(), target_options(a), a[AT.items], float64_of(a[AT.scale])
        scale_here = number(scale)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            fill(a, scratch, start, size)
            total, residual, invalid, done = f8(0.0), f8(0.0), i4(0), 0
            if products and size >= BLOCK:
                unfactored = unfactored_at_start(x, y, scratch, options, start)
                if unfactored == 0:
                    blocks = size // BLOCK
                    part, unfactored = sum_by_product(a, x, y, out, scratch, options, start, blocks, scale_here)
                if unfactored == 0:
                    total, done = part, size // BLOCK * ROWS
            rows = size // LANES
            part, lost, invalid = sum_by_item(a, x, y, out, scratch, options, start, done, rows, scale_here)
            total, residual = two_sum(total, part)
            residual += lost
            for j in range(rows * LANES, size):
                xi, yc, yi, counts = read(x, y, scratch, options, start, j)
                p = exact_parameters(a, scratch.parameters, j)
                w = f8(scratch.weights[j]) if weighted else f8(1.0)
                item = exact_value(f8(xi), f8(yi), *p) * w
                total, lost = two_sum(total, item if counts else f8(0.0))
                residual += lost
                if need_grad:
                    step = exact_derivative(f8(xi), f8(yi), *p) * w * scale
                    write(out, start + j, step if counts else f8(0.0))
                invalid += i4(0) if defined(xi, yc) else i4(1)
            if abs(total) < f8(np.inf):
                total += residual
            sums[c] = f8(np.nan) if invalid != 0 else total

    return run
