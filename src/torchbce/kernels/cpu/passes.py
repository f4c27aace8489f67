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

from torchbce.formulas.binding import words
from torchbce.kernels.cpu.pieces import Parts, pointer_to, stack, take_one, two_sum
from torchbce.kernels.cpu.storage import ELEMENTS
from torchbce.kernels.cpu.variant import CHUNK, COUNTER, LAST, OUT, PIECE, SCALE, SUMS, N, Variant, X, Y
from torchbce.kernels.cpu.vocabulary import ALONE, FAST, FLOAT64, bits64, float64_of, inlined

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
    number, read, write, room_on_stack, fill = parts.number, parts.read, parts.write, parts.room, parts.fill
    value, slope, exact_value, exact_slope = parts.value, parts.slope, parts.exact_value, parts.exact_slope
    factored, factors, defined = parts.factored, parts.factors, parts.defined
    parameters, exact_parameters, labels_of = parts.parameters, parts.exact_parameters, parts.labels
    in_factor = parts.in_factor
    values_on_stack = stack(parts.element, LANES)

    sloped, weighted, partial, wide = v.out is not None, v.weight is not None, v.partial, v.wide
    products = loss.factored is not None and not (weighted or wide or set(v.kinds[loss.factored_parameters :]) - {"-"})
    sign, least, floored = f8(loss.sign), f8(loss.least_factor), loss.least_factor > 0
    zero = number(0.0)
    # A costly factor is computed at the full width of float32 and kept for the loop in float64, half as wide.
    kept = loss.factored is not None and not {"exp", "log", "log1p"}.isdisjoint(words(loss.factored))

    @inlined
    def sum_by_product(a, x, y, out, room, labels, start, blocks, scale):
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
            first = b * BLOCK
            for k in range(BLOCK if kept or sloped else 0):
                j = first + k
                xi, _, yi, keep = read(x, y, room, labels, start, j)
                if kept:
                    lines_kept[k], base, rests_kept[k] = factored(xi, yi, *in_factor(a, room[1], j))
                if sloped:
                    step = slope(xi, yi, *parameters(a, room[1], j)) * scale
                    if partial:
                        step = step if keep else zero
                    write(out, start + j, step)
            for k in range(LANES):
                product, line, rest, misfit = f8(1.0), f8(0.0), f8(0.0), misfits[k]
                for row in range(ROWS):
                    j = first + row * LANES + k
                    xi, yc, yi, keep = read(x, y, room, labels, start, j)
                    misfit = misfit if factors(xi, yi) & defined(xi, yc) else i4(1)
                    part, base, small = factored(xi, yi, *in_factor(a, room[1], j))
                    if kept:
                        part = lines_kept[row * LANES + k]
                        small = rests_kept[row * LANES + k]
                    if partial:  # an item that does not count is a factor of 1
                        part = part if keep else zero
                        base = number(base) if keep else number(1.0)
                        small = small if keep else zero
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
    def misfits_at_start(x, y, room, labels, start):
        """A look at some items first, as the pass is wasted where it does not hold."""
        misfits = i4(0)
        for k in range(LANES):
            xi, yc, yi, _ = read(x, y, room, labels, start, k)
            misfits += i4(0) if factors(xi, yi) & defined(xi, yc) else i4(1)
        return misfits

    @inlined
    def sum_by_item(a, x, y, out, room, labels, start, first, last, scale):
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
                xi, yc, yi, keep = read(x, y, room, labels, start, j)
                p = parameters(a, room[1], j)
                item = value(xi, yi, *p)
                step = slope(xi, yi, *p) * scale if sloped else zero
                if weighted:
                    item *= room[0][j]
                    step *= room[0][j]
                if partial:
                    item = item if keep else zero
                    step = step if keep else zero
                if sloped:
                    write(out, start + j, step)
                wrongs[k] = wrongs[k] if defined(xi, yc) else i4(1)
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
    def run(a, x, y, out, sums, first, last):
        room, labels, n, scale = room_on_stack(), labels_of(a), a[N], float64_of(a[SCALE])
        scale_here = number(scale)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, n - start)
            fill(a, room, start, size)
            total, rest, wrong, done = f8(0.0), f8(0.0), i4(0), 0
            if products and size >= BLOCK:
                misfits = misfits_at_start(x, y, room, labels, start)
                if misfits == 0:
                    blocks = size // BLOCK
                    part, misfits = sum_by_product(a, x, y, out, room, labels, start, blocks, scale_here)
                if misfits == 0:
                    total, done = part, size // BLOCK * ROWS
            rows = size // LANES
            part, lost, wrong = sum_by_item(a, x, y, out, room, labels, start, done, rows, scale_here)
            total, rest = two_sum(total, part)
            rest += lost
            for j in range(rows * LANES, size):
                xi, yc, yi, keep = read(x, y, room, labels, start, j)
                p = exact_parameters(a, room[1], j)
                w = f8(room[0][j]) if weighted else f8(1.0)
                item = exact_value(f8(xi), f8(yi), *p) * w
                total, lost = two_sum(total, item if keep else f8(0.0))
                rest += lost
                if sloped:
                    step = exact_slope(f8(xi), f8(yi), *p) * w * scale
                    write(out, start + j, step if keep else f8(0.0))
                wrong += i4(0) if defined(xi, yc) else i4(1)
            if abs(total) < f8(np.inf):
                total += rest
            sums[c] = f8(np.nan) if wrong != 0 else total

    return run


def items_pass(v: Variant) -> Callable[..., None]:
    """Every item's loss into `out`; the sum of a chunk is NaN if a value is not allowed, else 0."""
    parts = Parts(v)
    read, write, value, defined, parameters = parts.read, parts.write, parts.value, parts.defined, parts.parameters
    room_on_stack, fill, labels_of = parts.room, parts.fill, parts.labels
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def write_item(a, x, y, out, room, labels, start, j):
        xi, yc, yi, keep = read(x, y, room, labels, start, j)
        item = value(xi, yi, *parameters(a, room[1], j))
        if weighted:
            item *= room[0][j]
        if partial:
            item = item if keep else zero
        write(out, start + j, item)
        return defined(xi, yc)

    @inlined
    def run(a, x, y, out, sums, first, last):
        room, labels = room_on_stack(), labels_of(a)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, a[N] - start)
            fill(a, room, start, size)
            wrongs, wrong = flags_on_stack(), i4(0)
            for k in range(LANES):
                wrongs[k] = i4(0)
            for row in range(size // LANES):
                for k in range(LANES):
                    j = row * LANES + k
                    wrongs[k] = wrongs[k] if write_item(a, x, y, out, room, labels, start, j) else i4(1)
            for j in range(size // LANES * LANES, size):
                wrong = wrong if write_item(a, x, y, out, room, labels, start, j) else i4(1)
            for k in range(LANES):
                wrong += wrongs[k]
            sums[c] = f8(np.nan) if wrong != 0 else f8(0.0)

    return run


def slopes_pass(v: Variant) -> Callable[..., None]:
    """Every slope times `scale`, the weight and `grad_output`, into `out`."""
    parts = Parts(v)
    number, read, write, slope, parameters = parts.number, parts.read, parts.write, parts.slope, parts.parameters
    room_on_stack, fill, labels_of = parts.room, parts.fill, parts.labels
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def run(a, x, y, out, sums, first, last):
        room, labels = room_on_stack(), labels_of(a)
        scale = number(float64_of(a[SCALE]))
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, a[N] - start)
            fill(a, room, start, size)
            for j in range(size):
                xi, _, yi, keep = read(x, y, room, labels, start, j)
                step = slope(xi, yi, *parameters(a, room[1], j)) * (room[2][j] * scale)
                if weighted:
                    step *= room[0][j]
                if partial:
                    step = step if keep else zero
                write(out, start + j, step)

    return run


def count_pass(v: Variant) -> Callable[..., None]:
    """How many items of each chunk count, or what they weigh."""
    parts = Parts(v)
    read, room_on_stack, fill, labels_of = parts.read, parts.room, parts.fill, parts.labels
    weighted = v.weight is not None

    @inlined
    def run(a, x, y, out, sums, first, last):
        room, labels = room_on_stack(), labels_of(a)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, a[N] - start)
            fill(a, room, start, size)
            total = f8(0.0)
            for j in range(size):
                _, _, _, keep = read(x, y, room, labels, start, j)
                if keep:
                    total += f8(room[0][j]) if weighted else f8(1.0)
            sums[c] = total

    return run


PASSES = {"total": total_pass, "items": items_pass, "slopes": slopes_pass, "count": count_pass}


def compile_to_llvm(variant: Variant) -> str:
    """The pass in LLVM's language, optimised for this processor: one function, without Python in it.

    It takes the address of its arguments, laid out as in `variant`: calling C with many arguments is slow. Any number
    of threads may run it on the same arguments at once: each takes the next piece until there is none.
    """
    run = PASSES[variant.pass_name](variant)
    to_x, to_y, to_out = (
        pointer_to(ELEMENTS[dtype or torch.float32]) for dtype in (variant.input, variant.target, variant.out)
    )
    take: Any = take_one
    to_sums, to_counter = pointer_to(types.float64), pointer_to(types.int64)

    def entry(a):
        x, y, out, sums, counter = to_x(a[X]), to_y(a[Y]), to_out(a[OUT]), to_sums(a[SUMS]), to_counter(a[COUNTER])
        piece, last = a[PIECE], a[LAST]
        while True:
            first = take(counter) * piece
            if first >= last:
                return
            run(a, x, y, out, sums, first, min(first + piece, last))

    function: Any = njit(error_model="numpy", fastmath=FAST, **ALONE)(entry)
    function.compile(types.void(types.CPointer(types.int64)))
    return str(function.inspect_llvm(function.signatures[0]))
