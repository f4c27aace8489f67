"""The losses of a block of items, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.staged import Staged, staged
from torchbce.engine.numba_cpu.variant import Variant
from torchbce.jit.intrinsics import stack
from torchbce.jit.to_llvm import inlined

i4 = np.int32
flags_on_stack = stack(types.int32, LANES)


def block_of(v: Variant, parts: Specialized, *, by_product: bool = False) -> tuple[Any, Any]:
    """`table()`, memory for it; and `block(...)`: each loss into `values`, or `out` where a pass writes the items, and
    each derivative times `scale` into `out` where that is wanted; how many values are not allowed.
    """
    derivatives = ["dx"] if v.pass_name == "total" and v.out is not None else []
    cut = staged(v, parts, "value", *derivatives)
    block = _block(v, parts, cut)
    if v.loss.hard is None or by_product:  # products are for hard targets already
        return cut.table, block
    cut_hard = staged(v, parts, "hard", *derivatives)
    block_hard, factors, read = _block(v, parts, cut_hard), parts.factors, parts.read

    @inlined
    def all_hard(x, y, scratch, options, start, size):
        soft = i4(0)
        for j in range(size):
            xi, _, yi, _ = read(x, y, scratch, options, start, j)
            soft += i4(0) if factors(xi, yi) else i4(1)
        return soft == 0

    @inlined
    def either(x, y, out, scratch, table, values, options, numbers, start, size, scale):
        if all_hard(x, y, scratch, options, start, size):
            return block_hard(x, y, out, scratch, table, values, options, numbers, start, size, scale)
        return block(x, y, out, scratch, table, values, options, numbers, start, size, scale)

    return cut.table, either


def _block(v: Variant, parts: Specialized, cut: Staged) -> Any:
    read, write, defined, parameters, zero = parts.read, parts.write, parts.defined, parts.parameters, parts.number(0.0)
    prepare, value, derivative = cut.prepare, cut.results[0], cut.results[-1]
    weighted, partial, items = v.weight is not None, v.partial, v.pass_name == "items"
    need_grad = v.out is not None and not items

    @inlined
    def one(x, y, out, scratch, table, values, options, numbers, start, j, scale):
        xi, yc, yi, counts = read(x, y, scratch, options, start, j)
        p = parameters(numbers, scratch.parameters, j)
        item = value(table, j, xi, yi, p)
        if weighted:
            item *= scratch.weights[j]
        if partial:
            item = item if counts else zero
        if items:
            write(out, start + j, item)
        else:
            values[j] = item
        if need_grad:
            step = derivative(table, j, xi, yi, p) * scale
            if weighted:
                step *= scratch.weights[j]
            if partial:
                step = step if counts else zero
            write(out, start + j, step)
        return defined(xi, yc)

    @inlined
    def block(x, y, out, scratch, table, values, options, numbers, start, size, scale):
        prepare(table, x, y, scratch, options, numbers, start, size)
        invalids, invalid = flags_on_stack(), i4(0)
        for k in range(LANES):
            invalids[k] = i4(0)
        for row in range(size // LANES):
            for k in range(LANES):
                j = row * LANES + k
                allowed = one(x, y, out, scratch, table, values, options, numbers, start, j, scale)
                invalids[k] = invalids[k] if allowed else i4(1)
        for j in range(size // LANES * LANES, size):
            allowed = one(x, y, out, scratch, table, values, options, numbers, start, j, scale)
            invalid = invalid if allowed else i4(1)
        for k in range(LANES):
            invalid += invalids[k]
        return invalid

    return block
