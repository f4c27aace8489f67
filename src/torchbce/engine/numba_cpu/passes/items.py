"""The loss of every item."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.passes.block import block_of
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK, Variant
from torchbce.jit.to_llvm import inlined

i4, f8 = np.int32, np.float64


def items(v: Variant) -> Callable[..., None]:
    """Every item's loss into `out`; the sum of a chunk is NaN if a value is not allowed, else 0."""
    parts = Specialized(v)
    scratch_of, fill, target_options, numbers_of = parts.scratch, parts.fill, parts.target_options, parts.numbers
    table_of, block = block_of(v, parts)
    one = parts.number(1.0)

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, table, options, numbers = scratch_of(), table_of(), target_options(a), numbers_of(a)
        for c in range(first, last):
            invalid, end = i4(0), min((c + 1) * CHUNK, a[AT.items])
            for start in range(c * CHUNK, end, BLOCK):
                size = min(BLOCK, end - start)
                fill(a, scratch, start, size)
                invalid += block(x, y, out, scratch, table, table, options, numbers, start, size, one)
            sums[c] = f8(np.nan) if invalid != 0 else f8(0.0)

    return run
