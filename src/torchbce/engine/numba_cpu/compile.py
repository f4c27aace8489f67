"""From a variant to LLVM's language, by numba."""

from __future__ import annotations

from typing import Any

import torch
from numba import types

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.passes.count import count
from torchbce.engine.numba_cpu.passes.grad_input import grad_input
from torchbce.engine.numba_cpu.passes.items import items
from torchbce.engine.numba_cpu.passes.total import total
from torchbce.engine.numba_cpu.storage import ELEMENTS
from torchbce.engine.numba_cpu.variant import Variant
from torchbce.jit.intrinsics import pointer_to, take_one
from torchbce.jit.to_llvm import to_llvm

PASSES = {"total": total, "items": items, "grad_input": grad_input, "count": count}


def compile_to_llvm(variant: Variant) -> str:
    """The pass in LLVM's language, optimised for this processor: one function, without Python in it.

    It takes the address of its arguments, laid out as `arguments` says. Any number
    of threads may run it on the same arguments at once: each takes the next piece until there is none.
    """
    run = PASSES[variant.pass_name](variant)
    to_x, to_y, to_out = (
        pointer_to(ELEMENTS[dtype or torch.float32]) for dtype in (variant.input, variant.target, variant.out)
    )
    take: Any = take_one
    to_sums, to_counter = pointer_to(types.float64), pointer_to(types.int64)

    def entry(a):
        x, y, out, sums, counter = (
            to_x(a[AT.input]),
            to_y(a[AT.target]),
            to_out(a[AT.out]),
            to_sums(a[AT.sums]),
            to_counter(a[AT.next_piece]),
        )
        piece, last = a[AT.piece], a[AT.end]
        while True:
            first = take(counter) * piece
            if first >= last:
                return
            run(a, x, y, out, sums, first, min(first + piece, last))

    return to_llvm(entry)
