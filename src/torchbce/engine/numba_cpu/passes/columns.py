"""Laying out a block's columns: input, target, weights and parameters of any dtype, however they repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import OFFSET
from torchbce.engine.numba_cpu.storage import loader
from torchbce.engine.numba_cpu.variant import BLOCK
from torchbce.jit.intrinsics import offset, pointer_to, stack
from torchbce.jit.primitives import float64_of, inlined

f8 = np.float64
to_class_numbers = pointer_to(types.int64)


def spreader(element: Any, number: Any) -> Any:
    """`spread(address, code, inner, period, into, start, size)`: a column's values of items start ... start + size.

    Item i has value (i // inner) % period, which is how any broadcast tensor lies along the items.
    """
    load, moved, new_values = loader(number), offset(element), stack(element, BLOCK)

    @inlined
    def spread(address, code, inner, period, into, start, size):
        # The distinct values that are needed, up to a period of them, from the first on.
        run = start if inner == 1 else start // inner
        runs = size if inner == 1 else (start + size - 1) // inner - run + 1
        run = run if run < period else run % period
        distinct = min(runs, period)
        head = min(period - run, distinct)
        values = new_values()
        found = into if inner == 1 else values
        for piece in range(2):
            first, at = (run, 0) if piece == 0 else (0, head)
            load(code, address, first, moved(found, at), head if piece == 0 else distinct - head)
        if inner == 1:
            at = distinct
            while at < size:  # copies of what is there
                count = min(at, size - at)
                for k in range(count):
                    into[at + k] = into[k]
                at += at
            return
        left, at, k = inner - start % inner, 0, 0
        while at < size:
            count, value = min(left, size - at), values[k]
            for j in range(count):
                into[at + j] = value
            left = inner
            k = k + 1 if k + 1 < distinct else 0
            at += count

    return spread


def class_spreader(number: Any) -> Any:
    """`spread(a, target, counted, start, size)`: targets of items from class numbers.

    Item i is of class (i // inner) % count and has the class number at i // (inner * count) * inner + i % inner; its
    target is 1 where they are the same. A number that is not a class makes it NaN, which no loss allows.
    """
    zero, one, missing = number(0.0), number(1.0), number(np.nan)

    @inlined
    def spread(a, target, counted, start, size):
        pointer, inner, count = to_class_numbers(a[OFFSET.target]), a[OFFSET.class_inner], a[OFFSET.classes]
        ignoring, ignored = a[OFFSET.ignoring] != 0, float64_of(a[OFFSET.ignored])
        outer = start // (inner * count)
        here = start // inner - outer * count
        k = start % inner
        for j in range(size):
            own = pointer[outer * inner + k]
            if ignoring and f8(own) == ignored:
                counted[j] = zero
                target[j] = zero
            else:
                hit = one if own == here else zero
                target[j] = hit if own >= 0 and own < count else missing
            k += 1
            if k == inner:
                k = 0
                here += 1
                if here == count:
                    here = 0
                    outer += 1

    return spread
