"""The passes over the items, as loops: a sum with or without slopes, items, slopes.

Each pass is written once; a `Variant` says for which loss, how each tensor is read and which options there are. Work
goes in chunks of a fixed size, each with a sum of its own, so no result depends on which thread did which. Within a
chunk, `LANES` independent sums fill the SIMD registers and keep the chains of rounding errors short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numba import njit, types

from torchbce.kernels.cpu.pieces import Parts, pointer_to, stack, take_one, two_sum
from torchbce.kernels.cpu.storage import ELEMENTS
from torchbce.kernels.cpu.variant import CHUNK, Variant
from torchbce.kernels.cpu.vocabulary import FAST, FLOAT64, bits64, float64_of, inlined

LANES = 32
ROWS = 4  # factors multiplied before their exponent is taken out: four of at least e^-100 cannot underflow
BLOCK = LANES * ROWS
LN2 = 0.6931471805599453
log = FLOAT64["log"]
i4, i8, f8 = np.int32, np.int64, np.float64

sums_on_stack = stack(types.float64, LANES)
exponents_on_stack = stack(types.int64, LANES)
flags_on_stack = stack(types.int32, LANES)
block_on_stack = stack(types.float32, BLOCK)


def total_pass(v: Variant) -> Callable[..., None]:
    """The sum of each chunk, NaN if a value is not allowed; with `out`, every slope times `scale`."""
    parts, loss = Parts(v), v.loss
    number, read_x, read_y, write = parts.number, parts.read_x, parts.read_y, parts.write
    value, slope, exact_value, exact_slope = parts.value, parts.slope, parts.exact_value, parts.exact_slope
    factored, factors, defined = parts.factored, parts.factors, parts.defined
    spread_w, spread_p = parts.spread_w, parts.spread_p
    weights_on_stack, positives_on_stack = parts.weights, parts.positives
    values_on_stack = stack(parts.element, LANES)

    sloped, weighted, positive, wide = v.out is not None, parts.weighted, parts.positive, v.wide
    products = not (weighted or positive or wide)
    sign, least, floored = f8(loss.sign), f8(loss.least_factor), loss.least_factor > 0
    one, zero = number(1.0), number(0.0)
    # A costly factor is computed at the full width of float32 and kept for the loop in float64, half as wide.
    kept = not {"exp", "log", "log1p"}.isdisjoint(loss.factored.__code__.co_names)

    @inlined
    def sum_by_product(x, y, out, start, blocks, scale):
        """The sum of line + sign log(factor), with one logarithm per lane, and how many items it does not hold for."""
        mantissa, lines, rests = sums_on_stack(), sums_on_stack(), sums_on_stack()
        exponent, misfits = exponents_on_stack(), flags_on_stack()
        lines_kept, rests_kept = block_on_stack(), block_on_stack()
        for k in range(LANES):
            mantissa[k] = f8(1.0)
            lines[k] = f8(0.0)
            rests[k] = f8(0.0)
            exponent[k] = i8(0)
            misfits[k] = i4(0)
        for b in range(blocks):
            first = start + b * BLOCK
            for k in range(BLOCK if kept or sloped else 0):
                i = first + k
                xi, yi = read_x(x, i), read_y(y, i)
                if kept:
                    lines_kept[k], base, rests_kept[k] = factored(xi, yi, one)
                if sloped:
                    write(out, i, slope(xi, yi, one) * scale)
            for k in range(LANES):
                product, line, rest, misfit = f8(1.0), f8(0.0), f8(0.0), misfits[k]
                for row in range(ROWS):
                    i = first + row * LANES + k
                    xi, yi = read_x(x, i), read_y(y, i)
                    misfit = misfit if factors(xi, yi, one) else i4(1)
                    part, base, small = factored(xi, yi, one)
                    if kept:
                        part = lines_kept[row * LANES + k]
                        small = rests_kept[row * LANES + k]
                    base, small = f8(base), f8(small)
                    factor = base + small
                    rest += small - (factor - base)
                    line += f8(part)
                    product *= least if floored and factor < least else factor
                bits = bits64(mantissa[k] * product)
                mantissa[k] = float64_of((bits & i8(0x000FFFFFFFFFFFFF)) | i8(0x3FF0000000000000))
                exponent[k] += bits >> i8(52)
                lines[k] += line
                rests[k] += rest
                misfits[k] = misfit
        total, count = f8(0.0), i4(0)
        for k in range(LANES):
            logarithm = log(mantissa[k]) + f8(exponent[k] - i8(1023) * blocks) * f8(LN2)
            total += lines[k] + sign * (logarithm + rests[k])
            count += misfits[k]
        return total, count

    @inlined
    def sum_by_item(x, y, weights, positives, out, start, first, last, scale):
        """The sum of rows first ... last of `LANES` items each, its rounding error, and how many are not allowed."""
        sums, rests, wrongs = sums_on_stack(), sums_on_stack(), flags_on_stack()
        for k in range(LANES):
            sums[k] = f8(0.0)
            rests[k] = f8(0.0)
            wrongs[k] = i4(0)
        values = values_on_stack()
        for row in range(first, last):
            for k in range(LANES):
                j = row * LANES + k
                i = start + j
                xi, yi = read_x(x, i), read_y(y, i)
                pi = positives[j] if positive else one
                item = value(xi, yi, pi)
                step = slope(xi, yi, pi) * scale if sloped else zero
                if weighted:
                    item *= weights[j]
                    step *= weights[j]
                if sloped:
                    write(out, i, step)
                wrongs[k] = wrongs[k] if defined(xi, yi, one) else i4(1)
                values[k] = item
            for k in range(LANES):
                if wide:
                    sums[k], rest = two_sum(sums[k], values[k])
                    rests[k] += rest
                else:
                    sums[k] += f8(values[k])
        total, rest, wrong = f8(0.0), f8(0.0), i4(0)
        for k in range(LANES):
            total, lost = two_sum(total, sums[k])
            rest += lost + rests[k]
            wrong += wrongs[k]
        return total, rest, wrong

    @inlined
    def run(x, y, w, p, g, out, sums, first, last, n, scale, wi, wp, pi, pp, gi, gp):
        weights, positives = weights_on_stack(), positives_on_stack()
        scale_here = number(scale)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            spread_w(w, weights, start, size, wi, wp)
            spread_p(p, positives, start, size, pi, pp)
            total, rest, wrong, done = f8(0.0), f8(0.0), i4(0), 0
            if products and size >= BLOCK:
                misfits = i4(0)
                for k in range(LANES):  # a look at some items first, as the pass is wasted where it does not hold
                    misfits += i4(0) if factors(read_x(x, start + k), read_y(y, start + k), one) else i4(1)
                if misfits == 0:
                    part, misfits = sum_by_product(x, y, out, start, size // BLOCK, scale_here)
                if misfits == 0:
                    total, done = part, size // BLOCK * ROWS
            part, lost, wrong = sum_by_item(x, y, weights, positives, out, start, done, size // LANES, scale_here)
            total, rest = two_sum(total, part)
            rest += lost
            for j in range(size // LANES * LANES, size):
                i = start + j
                xi, yi = f8(read_x(x, i)), f8(read_y(y, i))
                pi_ = f8(positives[j]) if positive else f8(1.0)
                wi_ = f8(weights[j]) if weighted else f8(1.0)
                total, lost = two_sum(total, exact_value(xi, yi, pi_) * wi_)
                rest += lost
                if sloped:
                    write(out, i, exact_slope(xi, yi, pi_) * wi_ * scale)
                wrong += i4(0) if defined(number(xi), number(yi), one) else i4(1)
            if abs(total) < f8(np.inf):
                total += rest
            sums[c] = f8(np.nan) if wrong != 0 else total

    return run


def items_pass(v: Variant) -> Callable[..., None]:
    """Every item's loss into `out`; the sum of a chunk is NaN if a value is not allowed, else 0."""
    parts = Parts(v)
    read_x, read_y, write, value, defined = parts.read_x, parts.read_y, parts.write, parts.value, parts.defined
    spread_w, spread_p = parts.spread_w, parts.spread_p
    weights_on_stack, positives_on_stack = parts.weights, parts.positives
    weighted, positive, one = parts.weighted, parts.positive, parts.number(1.0)

    @inlined
    def write_item(x, y, weights, positives, out, start, j):
        xi, yi = read_x(x, start + j), read_y(y, start + j)
        item = value(xi, yi, positives[j] if positive else one)
        write(out, start + j, item * weights[j] if weighted else item)
        return defined(xi, yi, one)

    @inlined
    def run(x, y, w, p, g, out, sums, first, last, n, scale, wi, wp, pi, pp, gi, gp):
        weights, positives = weights_on_stack(), positives_on_stack()
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            spread_w(w, weights, start, size, wi, wp)
            spread_p(p, positives, start, size, pi, pp)
            wrongs, wrong = flags_on_stack(), i4(0)
            for k in range(LANES):
                wrongs[k] = i4(0)
            for row in range(size // LANES):
                for k in range(LANES):
                    j = row * LANES + k
                    wrongs[k] = wrongs[k] if write_item(x, y, weights, positives, out, start, j) else i4(1)
            for j in range(size // LANES * LANES, size):
                wrong = wrong if write_item(x, y, weights, positives, out, start, j) else i4(1)
            for k in range(LANES):
                wrong += wrongs[k]
            sums[c] = f8(np.nan) if wrong != 0 else f8(0.0)

    return run


def slopes_pass(v: Variant) -> Callable[..., None]:
    """Every slope times `scale`, the weight and `grad_output`, into `out`."""
    parts = Parts(v)
    number, read_x, read_y, write, slope = parts.number, parts.read_x, parts.read_y, parts.write, parts.slope
    spread_w, spread_p, spread_g = parts.spread_w, parts.spread_p, parts.spread_g
    weights_on_stack, positives_on_stack, incoming_on_stack = parts.weights, parts.positives, parts.incoming
    weighted, positive, one = parts.weighted, parts.positive, number(1.0)

    @inlined
    def run(x, y, w, p, g, out, sums, first, last, n, scale, wi, wp, pi, pp, gi, gp):
        weights, positives, incoming = weights_on_stack(), positives_on_stack(), incoming_on_stack()
        scale_here = number(scale)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            spread_w(w, weights, start, size, wi, wp)
            spread_p(p, positives, start, size, pi, pp)
            spread_g(g, incoming, start, size, gi, gp)
            for j in range(size):
                xi, yi = read_x(x, start + j), read_y(y, start + j)
                step = slope(xi, yi, positives[j] if positive else one) * (incoming[j] * scale_here)
                write(out, start + j, step * weights[j] if weighted else step)

    return run


PASSES = {"total": total_pass, "items": items_pass, "slopes": slopes_pass}


def compile_to_llvm(variant: Variant) -> str:
    """The pass in LLVM's language, optimised for this processor: one function, without Python in it.

    It takes the address of its arguments, laid out as `launch.ARGUMENTS`: calling C with many arguments is slow. Any
    number of threads may run it on the same arguments at once: each takes the next piece until there is none.
    """
    run = PASSES[variant.pass_name](variant)
    dtypes = (variant.input, variant.target, variant.weight, variant.pos_weight, variant.grad_output, variant.out)
    to_x, to_y, to_w, to_p, to_g, to_out = (pointer_to(ELEMENTS[dtype or torch.float32]) for dtype in dtypes)
    take: Any = take_one
    to_sums, to_counter = pointer_to(types.float64), pointer_to(types.int64)

    def entry(a):
        x, y, w, p, g, out = to_x(a[0]), to_y(a[1]), to_w(a[2]), to_p(a[3]), to_g(a[4]), to_out(a[5])
        sums, counter = to_sums(a[6]), to_counter(a[7])
        piece, last, n, scale = a[8], a[9], a[10], float64_of(a[11])
        while True:
            first = take(counter) * piece
            if first >= last:
                return
            end = min(first + piece, last)
            run(x, y, w, p, g, out, sums, first, end, n, scale, a[12], a[13], a[14], a[15], a[16], a[17])

    without_python: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    function: Any = njit(error_model="numpy", fastmath=FAST, **without_python)(entry)
    function.compile(types.void(types.CPointer(types.int64)))
    return str(function.inspect_llvm(function.signatures[0]))
