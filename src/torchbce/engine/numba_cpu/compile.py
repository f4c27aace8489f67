"""From a variant to LLVM's language, by numba."""

from __future__ import annotations

from typing import Any

from numba import njit, types

from torchbce.engine.numba_cpu.arguments import BLOCK_OFFSET, OFFSET, TASKS
from torchbce.engine.numba_cpu.passes.block import block_functions
from torchbce.engine.numba_cpu.passes.general import general
from torchbce.engine.numba_cpu.passes.plain import plain
from torchbce.engine.numba_cpu.variant import Formula, Plain, Variant
from torchbce.jit.intrinsics import pointer_to, take_one
from torchbce.jit.primitives import ALONE, FAST


def compile_to_llvm(variant: Variant) -> str:
    """The variant in LLVM's language, optimised for this processor: one function, without Python in it.

    It takes the address of its arguments, laid out as `arguments` says.
    """
    if isinstance(variant, Formula):
        entry = _block_entry(variant)
    else:
        entry = _pass_entry(plain(variant) if isinstance(variant, Plain) else general(variant))
    function: Any = njit(error_model="numpy", fastmath=FAST, **ALONE)(entry)
    function.compile(types.void(types.CPointer(types.int64)))
    return str(function.inspect_llvm(function.signatures[0]))


def _pass_entry(run: Any) -> Any:
    """Any number of threads may run it on the same arguments at once: each takes the next piece until there is none."""
    take: Any = take_one
    to_sums, to_counter = pointer_to(types.float64), pointer_to(types.int64)

    def entry(a):
        sums, counter = to_sums(a[OFFSET.sums]), to_counter(a[OFFSET.next_piece])
        piece, last = a[OFFSET.piece], a[OFFSET.end]
        while True:
            first = take(counter) * piece
            if first >= last:
                return
            run(a, sums, first, min(first + piece, last))

    return entry


def _block_entry(variant: Formula) -> Any:
    evaluate, exact, factors, product = block_functions(variant)

    def entry(b):
        task = b[BLOCK_OFFSET.task]
        if task == TASKS.evaluate:
            evaluate(b)
        elif task == TASKS.exact:
            exact(b)
        elif task == TASKS.factors:
            factors(b)
        else:
            product(b)

    return entry
