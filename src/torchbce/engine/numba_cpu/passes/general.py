"""The pass for any loss with any options: each block's items are laid out first, and weighed after the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import types

from torchbce.engine.numba_cpu.arguments import (
    ABSENT,
    BLOCK_OFFSET,
    CODES,
    COLUMN,
    COLUMN_OFFSET,
    COLUMN_SIZE,
    FIRST_COLUMN,
    MEMORY,
    NUMBER,
    OFFSET,
    RESULTS,
    TASKS,
)
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.passes.block import BlockFunctions
from torchbce.engine.numba_cpu.passes.chunks import Steps, run_of
from torchbce.engine.numba_cpu.passes.columns import class_spreader, spreader
from torchbce.engine.numba_cpu.storage import store
from torchbce.engine.numba_cpu.variant import BLOCK, General
from torchbce.jit.intrinsics import address_of, call, offset, pointer_to, stack
from torchbce.jit.primitives import float64_of, inlined

i8, f8 = np.int64, np.float64
ITEMS, GRAD_INPUT, COUNT = RESULTS.items, RESULTS.grad_input, RESULTS.count
COLUMNS = len(COLUMN)


def general(v: General) -> Any:
    """`run` of `run_of`, whatever is asked."""
    return run_of(_General(v).steps(), v.wide)


class _General:
    def __init__(self, v: General) -> None:
        self.number: Any = f8 if v.wide else np.float32
        self.element = types.float64 if v.wide else types.float32
        self.pointer, self.moved = pointer_to(self.element), offset(self.element)
        self.own = CODES[torch.float64 if v.wide else torch.float32]
        self.width = i8(8 if v.wide else 4)
        self.memory = stack(self.element, MEMORY.columns + BLOCK * (COLUMNS + v.parameters))
        self.new_exact = stack(types.float64, LANES * v.parameters)

    def steps(self) -> Steps:
        pointer = self.pointer
        return Steps(
            loss=BlockFunctions(*(_asked(task) for task in TASKS)),
            memory=self.memory,
            result=inlined(lambda a: a[OFFSET.result]),
            may_factor=inlined(lambda a: a[OFFSET.by_product] != 0),
            has_slopes=inlined(lambda a: a[OFFSET.out] != 0 and a[OFFSET.result] != ITEMS),
            begin=self.begin(),
            fill=self.fill(),
            weigh=self.weigh(),
            write=self.write(),
            weight=inlined(
                lambda a, b, j: f8(pointer(b[BLOCK_OFFSET.weight])[j]) if b[BLOCK_OFFSET.weight] != 0 else f8(1.0)
            ),
            counts=inlined(lambda a, b, j: b[BLOCK_OFFSET.mask] == 0 or pointer(b[BLOCK_OFFSET.mask])[j] != 0),
        )

    def begin(self) -> Any:
        """Columns of numbers are filled once."""
        moved, number, new_exact = self.moved, self.number, self.new_exact

        @inlined
        def begin(a, b, memory):
            exact = new_exact()
            b[BLOCK_OFFSET.formula] = a[OFFSET.formula]
            b[BLOCK_OFFSET.checked] = a[OFFSET.checked]
            b[BLOCK_OFFSET.parameters] = address_of(moved(memory, MEMORY.columns + COLUMNS * BLOCK))
            b[BLOCK_OFFSET.exact_parameters] = address_of(exact)
            for k in range(a[OFFSET.columns]):
                words, column = FIRST_COLUMN + COLUMN_SIZE * k, moved(memory, MEMORY.columns + k * BLOCK)
                code = a[words + COLUMN_OFFSET.dtype]
                if k < COLUMNS:
                    b[k] = i8(0) if code == ABSENT else address_of(column)
                if code == NUMBER:
                    value = float64_of(a[words + COLUMN_OFFSET.value])
                    for j in range(min(BLOCK, a[OFFSET.items])):
                        column[j] = number(value)
                    if k >= COLUMNS:
                        for j in range(LANES):
                            exact[(k - COLUMNS) * LANES + j] = value
            if a[OFFSET.ignoring] != 0:  # then items are marked, too
                b[BLOCK_OFFSET.mask] = address_of(moved(memory, MEMORY.columns + COLUMN.mask * BLOCK))

        return begin

    def fill(self) -> Any:
        pointer, moved, number, own, width = self.pointer, self.moved, self.number, self.own, self.width
        spread, spread_classes = spreader(self.element, number), class_spreader(number)
        to_doubles = pointer_to(types.float64)
        zero, one, safe = number(0.0), number(1.0), number(0.5)

        @inlined
        def fill_columns(a, b, memory, start, size, partial, transformed, by_class):
            exact = to_doubles(b[BLOCK_OFFSET.exact_parameters])
            for k in range(a[OFFSET.columns]):
                words = FIRST_COLUMN + COLUMN_SIZE * k
                code, inner, period = (
                    a[words + COLUMN_OFFSET.dtype],
                    a[words + COLUMN_OFFSET.inner],
                    a[words + COLUMN_OFFSET.period],
                )
                address = a[words + COLUMN_OFFSET.value]
                if code == ABSENT or code == NUMBER or (k == COLUMN.target and by_class):
                    continue
                changes = (partial and k <= COLUMN.target) or (transformed and k == COLUMN.target)
                if k < COLUMNS and code == own and inner == 1 and period == a[OFFSET.items] and not changes:
                    b[k] = address + start * width  # where it lies
                    continue
                column = moved(memory, MEMORY.columns + k * BLOCK)
                spread(address, code, inner, period, column, start, size)
                if k >= COLUMNS:
                    for j in range(min(size, LANES)):
                        exact[(k - COLUMNS) * LANES + j] = f8(column[j])

        @inlined
        def leave_out(a, x, y, counted, size, by_class):
            """Items that do not count get values that are allowed."""
            if a[OFFSET.ignoring] != 0 and not by_class:
                ignored = number(float64_of(a[OFFSET.ignored]))
                for j in range(size):
                    is_ignored = (y[j] == ignored) | ((ignored != ignored) & (y[j] != y[j]))
                    counted[j] = zero if is_ignored else counted[j]
            for j in range(size):
                x[j] = x[j] if counted[j] != zero else safe
                y[j] = y[j] if counted[j] != zero else zero

        @inlined
        def transform(a, y, checked, size):
            threshold = number(float64_of(a[OFFSET.threshold]))
            factor, shift = number(float64_of(a[OFFSET.factor])), number(float64_of(a[OFFSET.shift]))
            for j in range(size):
                hard = one if y[j] > threshold else zero
                checked[j] = y[j] if (threshold != threshold) | (y[j] != y[j]) else hard
                y[j] = checked[j] * factor + shift

        @inlined
        def fill(a, b, memory, start, size):
            partial, transformed = b[BLOCK_OFFSET.mask] != 0, a[OFFSET.transformed] != 0
            by_class, counted = a[OFFSET.classes] != 0, pointer(b[BLOCK_OFFSET.mask])
            fill_columns(a, b, memory, start, size, partial, transformed, by_class)
            x, y = pointer(b[BLOCK_OFFSET.input]), pointer(b[BLOCK_OFFSET.target])
            if partial and a[FIRST_COLUMN + COLUMN_SIZE * COLUMN.mask + COLUMN_OFFSET.dtype] == ABSENT:
                for j in range(size):
                    counted[j] = one
            if by_class:
                spread_classes(a, y, counted, start, size)
            if partial:
                leave_out(a, x, y, counted, size, by_class)
            b[BLOCK_OFFSET.checked_target] = b[BLOCK_OFFSET.target]
            if transformed:
                checked = moved(memory, MEMORY.checked_target)
                transform(a, y, checked, size)
                b[BLOCK_OFFSET.checked_target] = address_of(checked)
            is_direct, out, result = a[OFFSET.out_dtype] == own, a[OFFSET.out] + start * width, a[OFFSET.result]
            values, slopes = address_of(moved(memory, MEMORY.values)), address_of(moved(memory, MEMORY.slopes))
            if is_direct:
                values, slopes = out if result == ITEMS else values, out
            b[BLOCK_OFFSET.values] = i8(0) if result == GRAD_INPUT else values
            b[BLOCK_OFFSET.slopes] = i8(0) if result == ITEMS or a[OFFSET.out] == 0 else slopes

        return fill

    def weigh(self) -> Any:
        pointer, zero = self.pointer, self.number(0.0)

        @inlined
        def weigh(a, b, size):
            weights, incoming, counted = (
                pointer(b[BLOCK_OFFSET.weight]),
                pointer(b[BLOCK_OFFSET.grad_output]),
                pointer(b[BLOCK_OFFSET.mask]),
            )
            values, slopes = pointer(b[BLOCK_OFFSET.values]), pointer(b[BLOCK_OFFSET.slopes])
            if b[BLOCK_OFFSET.slopes] != 0 and b[BLOCK_OFFSET.grad_output] != 0:
                for j in range(size):
                    slopes[j] *= incoming[j]
            if b[BLOCK_OFFSET.weight] != 0:
                if b[BLOCK_OFFSET.values] != 0:
                    for j in range(size):
                        values[j] *= weights[j]
                if b[BLOCK_OFFSET.slopes] != 0:
                    for j in range(size):
                        slopes[j] *= weights[j]
            if b[BLOCK_OFFSET.mask] != 0:
                if b[BLOCK_OFFSET.values] != 0:
                    for j in range(size):
                        values[j] = values[j] if counted[j] != zero else zero
                if b[BLOCK_OFFSET.slopes] != 0:
                    for j in range(size):
                        slopes[j] = slopes[j] if counted[j] != zero else zero

        return weigh

    def write(self) -> Any:
        moved, own = self.moved, self.own

        @inlined
        def write(a, memory, start, size):
            code = a[OFFSET.out_dtype]
            if a[OFFSET.out] != 0 and code != own:
                place = MEMORY.values if a[OFFSET.result] == ITEMS else MEMORY.slopes
                store(code, a[OFFSET.out], start, moved(memory, place), size)

        return write


def _asked(task: int) -> Any:
    @inlined
    def ask(b):
        b[BLOCK_OFFSET.task] = task
        call(b[BLOCK_OFFSET.formula], b)

    return ask
