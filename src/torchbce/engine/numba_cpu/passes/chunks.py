"""Work on chunks of items: the total with or without gradient, the items, the gradient, or how many count."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import BLOCK_OFFSET, OFFSET, RESULTS, BlockArguments
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.passes.block import BlockFunctions
from torchbce.engine.numba_cpu.passes.product import GROUP, begin_product, end_product, new_lanes
from torchbce.engine.numba_cpu.variant import BLOCK, CHUNK
from torchbce.jit.intrinsics import address_of, pointer_to, stack
from torchbce.jit.primitives import float64_of, inlined

ROWS = 4  # added to each other first, so that fewer sums wait for their turn
i4, i8, f8 = np.int32, np.int64, np.float64
new_sums = stack(types.float64, LANES)
new_block = stack(types.int64, len(BlockArguments._fields))
TOTAL, GRAD_INPUT, COUNT = RESULTS.total, RESULTS.grad_input, RESULTS.count


class Steps(NamedTuple):
    """How a pass reads its options, in `a`, and where a block's items lie, in `b`: functions that `run_of` calls.

    Attributes:
        loss: of a block.
        memory: ``memory()``, for a block.
        result: ``result(a)``, one of `RESULTS`.
        may_factor: ``may_factor(a)``, whether a total may be the logarithm of a product.
        has_slopes: ``has_slopes(a)``, whether slopes are wanted.
        begin: ``begin(a, b, memory)``, before the first block.
        fill: ``fill(a, b, memory, start, size)``, lays out the items of a block.
        weigh: ``weigh(a, b, size)``, weighs what a formula gave.
        write: ``write(a, memory, start, size)``, writes it where it does not lie there yet.
        weight: ``weight(a, b, j)``, of an item, in float64.
        counts: ``counts(a, b, j)``, whether an item counts.
    """

    loss: BlockFunctions
    memory: Any
    result: Any
    may_factor: Any
    has_slopes: Any
    begin: Any
    fill: Any
    weigh: Any
    write: Any
    weight: Any
    counts: Any


@inlined
def two_sum(a, b):
    """a + b and what its rounding took (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


def run_of(steps: Steps, wide: bool) -> Any:
    """`run(a, sums, first, last)`: chunks first ... last.

    A chunk's sum is NaN if a value is not allowed. Its last items, fewer than `LANES`, are computed in float64.
    """
    memory_of, result_of, may_factor, has_slopes = steps.memory, steps.result, steps.may_factor, steps.has_slopes
    begin, fill, weigh, write, weight, counts = steps[-6:]
    evaluate, exact, factors, product = steps.loss
    to_values = pointer_to(types.float64 if wide else types.float32)
    number: Any = np.float64 if wide else np.float32

    @inlined
    def add_rows(values, size, sums, residuals):
        """Whole rows of `LANES` losses, to a sum of each lane."""
        rows = size // LANES
        lanes = min(LANES, size)  # a loop of a length that is known would be unrolled before it can be vectorised
        for row in range(0, 0 if wide else rows // ROWS * ROWS, ROWS):
            for k in range(lanes):
                j = row * LANES + k
                low = f8(values[j]) + f8(values[j + LANES])
                sums[k] += low + (f8(values[j + 2 * LANES]) + f8(values[j + 3 * LANES]))
        for row in range(0 if wide else rows // ROWS * ROWS, rows):
            for k in range(lanes):
                sums[k], residual = two_sum(sums[k], f8(values[row * LANES + k]))
                residuals[k] += residual

    @inlined
    def with_rows(total, sums, residuals):
        """A total, with the sums of the lanes: the new one, and what rounding took."""
        part, lost = f8(0.0), f8(0.0)
        for k in range(LANES):
            part, rounded = two_sum(part, sums[k])
            lost += rounded + residuals[k]
        total, residual = two_sum(total, part)
        return total, residual + lost

    @inlined
    def run(a, chunk_sums, first, last):
        block, memory, lanes, exact_values, exact_slopes = new_block(), memory_of(), new_lanes(), new_sums(), new_sums()
        sums, residuals = new_sums(), new_sums()
        result, wants_slopes, n, scale = result_of(a), has_slopes(a), a[OFFSET.items], float64_of(a[OFFSET.scale])
        factorable = may_factor(a)
        block[BLOCK_OFFSET.scale], block[BLOCK_OFFSET.lanes] = a[OFFSET.scale], address_of(lanes)
        block[BLOCK_OFFSET.soft] = i8(1) if factorable or result == GRAD_INPUT else i8(0)
        begin(a, block, memory)
        for c in range(first, last):
            start, end = c * CHUNK, min((c + 1) * CHUNK, n)
            rows_end = start + (end - start) // LANES * LANES if result == TOTAL else end
            product_end = start + (end - start) // GROUP * GROUP
            in_product, by_rows = factorable and product_end > start, False
            total, residual, invalid = f8(0.0), f8(0.0), i8(0)
            begin_product(lanes)
            for k in range(LANES):
                sums[k] = f8(0.0)
                residuals[k] = f8(0.0)
            place = start
            while place < end:
                is_last = place >= rows_end
                until = product_end if in_product else end if is_last else rows_end
                size = min(BLOCK, until - place)
                fill(a, block, memory, place, size)
                if in_product and place == start:  # a look at some items first, as it is wasted where it does not hold
                    block[BLOCK_OFFSET.size] = min(LANES, size)
                    factors(block)
                    if block[BLOCK_OFFSET.invalid] != 0:
                        in_product = False
                        continue
                block[BLOCK_OFFSET.size] = size
                if result == COUNT:
                    for j in range(size):
                        total += weight(a, block, j) if counts(a, block, j) else f8(0.0)
                elif is_last:
                    if by_rows:
                        total, residual = with_rows(total, sums, residuals)
                        by_rows = False
                    slopes = to_values(block[BLOCK_OFFSET.slopes])
                    block[BLOCK_OFFSET.values] = address_of(exact_values)
                    block[BLOCK_OFFSET.slopes] = address_of(exact_slopes) if wants_slopes else i8(0)
                    exact(block)
                    invalid += block[BLOCK_OFFSET.invalid]
                    for j in range(size):
                        w, is_counted = weight(a, block, j), counts(a, block, j)
                        total, lost = two_sum(total, exact_values[j] * w if is_counted else f8(0.0))
                        residual += lost
                        if wants_slopes:
                            slopes[j] = number(exact_slopes[j] * w * scale if is_counted else f8(0.0))
                else:
                    if in_product:
                        product(block)
                        block[BLOCK_OFFSET.values] = 0
                    if wants_slopes or not in_product:
                        evaluate(block)
                        weigh(a, block, size)
                    if not in_product:
                        invalid += block[BLOCK_OFFSET.invalid]
                        if result == TOTAL:
                            by_rows = True
                            add_rows(to_values(block[BLOCK_OFFSET.values]), size, sums, residuals)
                write(a, memory, place, size)
                place += size
                if in_product and place == product_end:
                    in_product = False
                    total, others = end_product(lanes, product_end - start)
                    if others != 0:
                        total, place = f8(0.0), start
            if by_rows:
                total, residual = with_rows(total, sums, residuals)
            if abs(total) < f8(np.inf):
                total += residual
            chunk_sums[c] = f8(np.nan) if invalid != 0 else total

    return run
