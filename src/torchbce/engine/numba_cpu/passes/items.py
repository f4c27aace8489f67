"""The loss of every item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.intrinsics import stack
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.primitives import inlined
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import CHUNK, Variant

i4, f8 = np.int32, np.float64
flags_on_stack = stack(types.int32, LANES)


def items(v: Variant) -> Callable[..., None]:
    """Every item's loss into `out`; the sum of a chunk is NaN if a value is not allowed, else 0."""
    parts = Specialized(v)
    read, write, value, defined, parameters = parts.read, parts.write, parts.value, parts.defined, parts.parameters
    scratch_of, fill, target_options = parts.scratch, parts.fill, parts.target_options
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def write_item(a, x, y, out, scratch, options, start, j):
        xi, yc, yi, counts = read(x, y, scratch, options, start, j)
        item = value(xi, yi, *parameters(a, scratch.parameters, j))
        if weighted:
            item *= scratch.weights[j]
        if partial:
            item = item if counts else zero
        write(out, start + j, item)
        return defined(xi, yc)

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, options = scratch_of(), target_options(a)
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, a[AT.items] - start)
            fill(a, scratch, start, size)
            invalids, invalid = flags_on_stack(), i4(0)
            for k in range(LANES):
                invalids[k] = i4(0)
            for row in range(size // LANES):
                for k in range(LANES):
                    j = row * LANES + k
                    invalids[k] = invalids[k] if write_item(a, x, y, out, scratch, options, start, j) else i4(1)
            for j in range(size // LANES * LANES, size):
                invalid = invalid if write_item(a, x, y, out, scratch, options, start, j) else i4(1)
            for k in range(LANES):
                invalid += invalids[k]
            sums[c] = f8(np.nan) if invalid != 0 else f8(0.0)

    return run
