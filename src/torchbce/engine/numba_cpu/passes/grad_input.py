"""Every item's derivative by its input."""

from __future__ import annotations

from collections.abc import Callable

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.primitives import float64_of, inlined
from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import CHUNK, Variant


def grad_input(v: Variant) -> Callable[..., None]:
    """Every derivative times `scale`, the weight and `grad_output`, into `out`."""
    parts = Specialized(v)
    number, read, write, derivative, parameters = (
        parts.number,
        parts.read,
        parts.write,
        parts.derivative,
        parts.parameters,
    )
    scratch_of, fill, target_options = parts.scratch, parts.fill, parts.target_options
    weighted, partial, zero = v.weight is not None, v.partial, parts.number(0.0)

    @inlined
    def run(a, x, y, out, sums, first, last):
        scratch, options = scratch_of(), target_options(a)
        scale = number(float64_of(a[AT.scale]))
        for c in range(first, last):
            start = c * CHUNK
            size = min(CHUNK, a[AT.items] - start)
            fill(a, scratch, start, size)
            for j in range(size):
                xi, _, yi, counts = read(x, y, scratch, options, start, j)
                step = derivative(xi, yi, *parameters(a, scratch.parameters, j)) * (scratch.grad_output[j] * scale)
                if weighted:
                    step *= scratch.weights[j]
                if partial:
                    step = step if counts else zero
                write(out, start + j, step)

    return run
