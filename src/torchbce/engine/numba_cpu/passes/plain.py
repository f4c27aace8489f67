"""The pass of a loss without options on tensors of one dtype: the items are computed where they lie."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import BLOCK_OFFSET, OFFSET, RESULTS
from torchbce.engine.numba_cpu.passes.block import block_functions
from torchbce.engine.numba_cpu.passes.chunks import Steps, run_of
from torchbce.engine.numba_cpu.variant import BLOCK, Formula, Plain
from torchbce.jit.intrinsics import address_of, stack
from torchbce.jit.primitives import inlined

i8, f8 = np.int64, np.float64


def plain(v: Plain) -> Any:
    """`run` of `run_of`, for the total and its gradient."""
    factorable, total, checked = v.loss.factored is not None and not v.wide, RESULTS.total, i8(v.loss.checks_input)
    width = i8(v.dtype.itemsize)

    @inlined
    def begin(a, b, memory):
        b[BLOCK_OFFSET.checked] = checked
        b[BLOCK_OFFSET.mask] = 0
        b[BLOCK_OFFSET.parameters] = 0
        b[BLOCK_OFFSET.exact_parameters] = 0

    @inlined
    def fill(a, b, memory, start, size):
        b[BLOCK_OFFSET.input] = a[OFFSET.input] + start * width
        b[BLOCK_OFFSET.target] = a[OFFSET.target] + start * width
        b[BLOCK_OFFSET.checked_target] = b[BLOCK_OFFSET.target]
        b[BLOCK_OFFSET.values] = address_of(memory)
        b[BLOCK_OFFSET.slopes] = a[OFFSET.out] + start * width if a[OFFSET.out] != 0 else i8(0)

    return run_of(
        Steps(
            loss=block_functions(Formula(v.loss, v.wide, v.kinds)),
            memory=stack(types.float64 if v.wide else types.float32, BLOCK),
            result=inlined(lambda a: total),
            may_factor=inlined(lambda a: factorable),
            has_slopes=inlined(lambda a: a[OFFSET.out] != 0),
            begin=begin,
            fill=fill,
            weigh=inlined(lambda a, b, size: None),
            write=inlined(lambda a, memory, start, size: None),
            weight=inlined(lambda a, b, j: f8(1.0)),
            counts=inlined(lambda a, b, j: True),
        ),
        v.wide,
    )
