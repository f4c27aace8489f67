"""Filling a block's scratch arrays: broadcast weights, targets from class numbers, the loss's parameters."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch

from torchbce.engine.numba_cpu.arguments import PARAMETERS
from torchbce.engine.numba_cpu.storage import reader
from torchbce.engine.numba_cpu.variant import BLOCK
from torchbce.jit.intrinsics import offset, pointer_to
from torchbce.jit.primitives import float64_of
from torchbce.jit.to_llvm import inlined


@functools.cache
def broadcaster(dtype: torch.dtype | None, number: Any) -> Any:
    """`fill(pointer, into, start, size, inner, period)`: the weights of items start ... start + size.

    Item i has weight (i // inner) % period, which is how any broadcast tensor lies along the items.
    """
    read = reader(dtype or torch.float32, number)

    @inlined
    def fill(pointer, into, start, size, inner, period):
        if pointer_is_missing:
            return
        run = start // inner
        left = inner - (start - run * inner)
        run = run % period
        if inner == 1:
            # The first period, then copies of what is there.
            head = min(period - run, size)
            for k in range(head):
                into[k] = read(pointer, run + k)
            whole = min(period, size)
            for k in range(whole - head):
                into[head + k] = read(pointer, k)
            at = whole
            while at < size:
                count = min(at, size - at)
                for k in range(count):
                    into[at + k] = into[k]
                at += at
            return
        at = 0
        while at < size:
            count = min(left, size - at)
            weight = read(pointer, run)
            for k in range(count):
                into[at + k] = weight
            left = inner
            run = run + 1 if run + 1 < period else 0
            at += count

    pointer_is_missing = dtype is None
    return fill


def class_spreader(dtype: torch.dtype, ignoring: bool, number: Any) -> Any:
    """`fill(pointer, into, counted, start, size, inner, count, ignored)`: targets of items from class numbers.

    Item i is of class (i // inner) % count and has the class number at i // (inner * count) * inner + i % inner; its
    target is 1 where they are the same. A number that is not a class makes it NaN, which no loss allows.
    """
    read = reader(dtype, np.float64)
    zero, one, missing = number(0.0), number(1.0), number(np.nan)

    @inlined
    def fill(pointer, into, counted, start, size, inner, count, ignored):
        outer = start // (inner * count)
        here = start // inner - outer * count
        k = start % inner
        for j in range(size):
            own = read(pointer, outer * inner + k)
            if ignoring and own == ignored:
                counted[j] = np.uint8(0)
                into[j] = zero
            else:
                target = one if own == np.float64(here) else zero
                into[j] = target if own >= 0.0 and own < np.float64(count) else missing
            k += 1
            if k == inner:
                k = 0
                here += 1
                if here == count:
                    here = 0
                    outer += 1

    return fill


def gatherer(kinds: str, defaults: tuple[float, ...], number: Any) -> tuple[Any, Any]:
    """`numbers(a)`: the parameters that are numbers; `parameters(numbers, table, j)`: all, for item j of a block."""
    load, gather = inlined(lambda a: ()), inlined(lambda numbers, table, j: ())
    present = sum(kind != "-" for kind in kinds)
    columns, count = kinds.count("t"), kinds.count("n")
    for kind, default in reversed(list(zip(kinds, defaults, strict=True))):
        present -= kind != "-"
        columns -= kind == "t"
        count -= kind == "n"
        if kind == "n":
            load = _and_loaded(PARAMETERS + 3 * present, number, load)
        default = float(kind) if kind.isdigit() else default
        gather = _and_gathered(kind, number(default), columns * BLOCK, count, number, gather)
    return load, gather


def _and_loaded(place: int, number: Any, rest: Any) -> Any:
    return inlined(lambda a: (number(float64_of(a[place])), *rest(a)))


def _and_gathered(kind: str, default: Any, column: int, place: int, number: Any, rest: Any) -> Any:
    if kind not in "nt":
        return inlined(lambda numbers, table, j: (default, *rest(numbers, table, j)))
    if kind == "n":
        return inlined(lambda numbers, table, j: (numbers[place], *rest(numbers, table, j)))
    return inlined(lambda numbers, table, j: (number(table[column + j]), *rest(numbers, table, j)))


def parameter_spreader(places: tuple[int, ...], element: Any, number: Any) -> Any:
    """`fill(a, table, start, size)`: the parameters at these places, a column of the table each."""
    fill = inlined(lambda a, table, start, size: None)
    for column, place in enumerate(places):
        fill = _and_spread(fill, PARAMETERS + 3 * place, column * BLOCK, element, number)
    return fill


def _and_spread(before: Any, place: int, column: int, element: Any, number: Any) -> Any:
    to_values, moved = pointer_to(element), offset(element)
    spread = broadcaster(torch.float64 if number is np.float64 else torch.float32, number)

    @inlined
    def fill(a, table, start, size):
        before(a, table, start, size)
        spread(to_values(a[place]), moved(table, column), start, size, a[place + 1], a[place + 2])

    return fill
