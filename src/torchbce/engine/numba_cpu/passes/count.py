"""How many items count."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK, Variant
from torchbce.jit.to_llvm import inlined

f8 = np.float64


def count(v: Variant) -> Callable[..., None]:
    """How many items of each chunk count, or what they weigh."""
    parts = Specialized(v)
    read, scratch_of, fill, target_options = parts.read, parts.scratch, parts.fill, parts.target_options
    weighted = v.weight is not None

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, options = scratch_of(), target_options(a)
        for c in range(first, last):
            total, end = f8(0.0), min((c + 1) * CHUNK, a[AT.items])
            for start in range(c * CHUNK, end, BLOCK):
                size = min(BLOCK, end - start)
                fill(a, scratch, start, size)
                for j in range(size):
                    _, _, _, counts = read(x, y, scratch, options, start, j)
                    if counts:
                        total += f8(scratch.weights[j]) if weighted else f8(1.0)
            sums[c] = total

    return run
