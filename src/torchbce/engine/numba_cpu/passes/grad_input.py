"""Every item's derivative by its input."""

from __future__ import annotations

from collections.abc import Callable

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.staged import staged
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK, Variant
from torchbce.jit.primitives import float64_of
from torchbce.jit.to_llvm import inlined


def grad_input(v: Variant) -> Callable[..., None]:
    """Every derivative times `scale`, the weight and `grad_output`, into `out`."""
    parts = Specialized(v)
    number, read, write, parameters = parts.number, parts.read, parts.write, parts.parameters
    cut = staged(v, parts, "dx")
    table_of, prepare, derivative = cut.table, cut.prepare, cut.results[0]
    scratch_of, fill, target_options, numbers_of = parts.scratch, parts.fill, parts.target_options, parts.numbers
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def block(x, y, out, scratch, table, options, numbers, start, size, scale):
        prepare(table, x, y, scratch, options, numbers, start, size)
        for j in range(size):
            xi, _, yi, counts = read(x, y, scratch, options, start, j)
            p = parameters(numbers, scratch.parameters, j)
            step = derivative(table, j, xi, yi, p) * (scratch.grad_output[j] * scale)
            if weighted:
                step *= scratch.weights[j]
            if partial:
                step = step if counts else zero
            write(out, start + j, step)

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, table, options, numbers = scratch_of(), table_of(), target_options(a), numbers_of(a)
        scale = number(float64_of(a[AT.scale]))
        for c in range(first, last):
            end = min((c + 1) * CHUNK, a[AT.items])
            for start in range(c * CHUNK, end, BLOCK):
                size = min(BLOCK, end - start)
                fill(a, scratch, start, size)
                block(x, y, out, scratch, table, options, numbers, start, size, scale)

    return run
