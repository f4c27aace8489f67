"""The loss of every item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.primitives import inlined
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.staged import staged
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK, Variant

i4, f8 = np.int32, np.float64


def items(v: Variant) -> Callable[..., None]:
    """Every item's loss into `out`; the sum of a chunk is NaN if a value is not allowed, else 0."""
    parts = Specialized(v)
    read, write, defined, parameters = parts.read, parts.write, parts.defined, parts.parameters
    cut = staged(v, parts, "value")
    table_of, prepare, value = cut.table, cut.prepare, cut.results[0]
    scratch_of, fill, target_options, numbers_of = parts.scratch, parts.fill, parts.target_options, parts.numbers
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def block(x, y, out, scratch, table, options, numbers, start, size):
        prepare(table, x, y, scratch, options, numbers, start, size)
        invalid = i4(0)
        for j in range(size):
            xi, yc, yi, counts = read(x, y, scratch, options, start, j)
            item = value(table, j, xi, yi, parameters(numbers, scratch.parameters, j))
            if weighted:
                item *= scratch.weights[j]
            if partial:
                item = item if counts else zero
            write(out, start + j, item)
            invalid += i4(0) if defined(xi, yc) else i4(1)
        return invalid

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, table, options, numbers = scratch_of(), table_of(), target_options(a), numbers_of(a)
        for c in range(first, last):
            invalid, end = i4(0), min((c + 1) * CHUNK, a[AT.items])
            for start in range(c * CHUNK, end, BLOCK):
                size = min(BLOCK, end - start)
                fill(a, scratch, start, size)
                invalid += block(x, y, out, scratch, table, options, numbers, start, size)
            sums[c] = f8(np.nan) if invalid != 0 else f8(0.0)

    return run
