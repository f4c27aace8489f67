"""A loss and its derivative for a block of items, one costly function at a time (see `formula.stages`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from torchbce.engine.numba_cpu.arguments import BLOCK_OFFSET
from torchbce.engine.numba_cpu.passes import LANES
from torchbce.engine.numba_cpu.passes.product import product_of
from torchbce.engine.numba_cpu.variant import BLOCK, Formula, fixed_parameters
from torchbce.formula.stages import stages
from torchbce.jit.intrinsics import pointer_to, stack
from torchbce.jit.primitives import float64_of, formula, inlined

WIDE = 32  # items in an iteration, so that constants are loaded once for several vectors
i4, f8 = np.int32, np.float64


class BlockFunctions(NamedTuple):
    """What a loss is asked for a block: functions of `BlockArguments`.

    Attributes:
        evaluate: values, and slopes times `scale`.
        exact: the same of the last few items, in float64, without `scale`.
        factors: how many items are no logarithm of a factor, as `invalid`.
        product: multiplies the factors of whole rows into `lanes`.
    """

    evaluate: Any
    exact: Any
    factors: Any
    product: Any


def block_functions(v: Formula) -> BlockFunctions:
    """The functions of a loss."""
    parts = _Parts(v)
    if v.loss.factored is None or v.wide:
        nothing = inlined(lambda b: None)
        return BlockFunctions(_evaluate(v, parts), _exact(v, parts), nothing, nothing)
    factors, product = product_of(v, parts.element, parts.number)
    return BlockFunctions(_evaluate(v, parts), _exact(v, parts), factors, product)


class _Parts:
    def __init__(self, v: Formula) -> None:
        self.number: Any = np.float64 if v.wide else np.float32
        self.element = types.float64 if v.wide else types.float32
        self.pointer = pointer_to(self.element)
        self.fixed = fixed_parameters(v.loss, v.kinds)
        self.defined = formula(v.loss.defined, v.wide)
        fixed = [self.fixed.get(name) for name in v.loss.parameters]
        self.parameters = _gatherer(fixed, BLOCK, self.number)
        self.exact_parameters = _gatherer(fixed, LANES, f8)


def _gatherer(fixed: Sequence[float | None], size: int, number: Any) -> Any:
    """`parameters(table, j)`: the parameters of item j, each a constant or of its column of the table."""
    gather = inlined(lambda table, j: ())
    for place, constant in reversed(list(enumerate(fixed))):
        if constant is None:
            gather = _and_read(place * size, gather)
        else:
            gather = _and_constant(number(constant), gather)
    return gather


def _and_read(column: int, rest: Any) -> Any:
    return inlined(lambda table, j: (table[column + j], *rest(table, j)))


def _and_constant(constant: Any, rest: Any) -> Any:
    return inlined(lambda table, j: (constant, *rest(table, j)))


def _evaluate(v: Formula, parts: _Parts) -> Any:
    pointer, defined = parts.pointer, parts.defined
    soft = _by_stages(v, parts, "value")

    @inlined
    def count_invalid(b):
        if b[BLOCK_OFFSET.checked] == 0:
            return i4(0)
        x, y, invalid = pointer(b[BLOCK_OFFSET.input]), pointer(b[BLOCK_OFFSET.checked_target]), i4(0)
        for j in range(b[BLOCK_OFFSET.size]):
            invalid += i4(0) if defined(x[j], y[j]) else i4(1)
        return invalid

    if v.loss.hard is None:

        @inlined
        def evaluate(b):
            soft(b)
            b[BLOCK_OFFSET.invalid] = count_invalid(b)

        return evaluate
    hard, factors = _by_stages(v, parts, "hard"), formula(v.loss.factors, v.wide)

    @inlined
    def all_hard(b):
        x, y, others = pointer(b[BLOCK_OFFSET.input]), pointer(b[BLOCK_OFFSET.target]), i4(0)
        for j in range(b[BLOCK_OFFSET.size]):
            others += i4(0) if factors(x[j], y[j]) else i4(1)
        return others == 0

    @inlined
    def evaluate(b):
        if b[BLOCK_OFFSET.soft] == 0 and all_hard(b):
            hard(b)
        else:
            soft(b)
        b[BLOCK_OFFSET.invalid] = count_invalid(b)

    return evaluate


def _by_stages(v: Formula, parts: _Parts, value: str) -> Any:
    """`run(b)`: the loss by its formula `value`, and its slope, of a block."""
    cut = stages(v.loss, (value, "dx"), parts.fixed)
    value_of, slope_of = (formula(result, v.wide) for result in cut.results)
    prepare: Any = inlined(lambda steps, x, y, table, values, slopes, size: None)
    earlier: Any = inlined(lambda steps, j: ())
    for number, (step, needs) in enumerate(zip(cut.steps, cut.needs, strict=True)):
        prepare = _and_run(prepare, formula(step, v.wide), earlier, number * BLOCK, parts, needs)
        earlier = _and_given(earlier, number * BLOCK)
    new_steps = stack(parts.element, BLOCK * max(1, len(cut.steps)))
    pointer, number, parameters = parts.pointer, parts.number, parts.parameters

    @inlined
    def run(b):
        x, y, table = (
            pointer(b[BLOCK_OFFSET.input]),
            pointer(b[BLOCK_OFFSET.target]),
            pointer(b[BLOCK_OFFSET.parameters]),
        )
        has_values, has_slopes = b[BLOCK_OFFSET.values] != 0, b[BLOCK_OFFSET.slopes] != 0
        size, steps = b[BLOCK_OFFSET.size], new_steps()
        prepare(steps, x, y, table, has_values, has_slopes, size)
        if has_values:
            values = pointer(b[BLOCK_OFFSET.values])
            for j in range(size):
                values[j] = value_of(x[j], y[j], *parameters(table, j), *earlier(steps, j))
        if has_slopes:
            slopes, scale = pointer(b[BLOCK_OFFSET.slopes]), number(float64_of(b[BLOCK_OFFSET.scale]))
            for j in range(size):
                slopes[j] = slope_of(x[j], y[j], *parameters(table, j), *earlier(steps, j)) * scale

    return run


def _and_run(before: Any, step: Any, earlier: Any, column: int, parts: _Parts, needs: tuple[bool, bool]) -> Any:
    parameters = parts.parameters
    for_values, for_slopes = needs

    @inlined
    def prepare(steps, x, y, table, values, slopes, size):
        before(steps, x, y, table, values, slopes, size)
        if (for_values and values) or (for_slopes and slopes):
            for row in range(size // WIDE):
                for k in range(WIDE):
                    j = row * WIDE + k
                    steps[column + j] = step(x[j], y[j], *parameters(table, j), *earlier(steps, j))
            for j in range(size // WIDE * WIDE, size):
                steps[column + j] = step(x[j], y[j], *parameters(table, j), *earlier(steps, j))

    return prepare


def _and_given(before: Any, column: int) -> Any:
    return inlined(lambda steps, j: (*before(steps, j), steps[column + j]))


def _exact(v: Formula, parts: _Parts) -> Any:
    pointer, to_doubles, parameters = parts.pointer, pointer_to(types.float64), parts.exact_parameters
    value_of, slope_of, defined = formula(v.loss.value, True), formula(v.loss.dx, True), parts.defined

    @inlined
    def exact(b):
        x, y, checked = (
            pointer(b[BLOCK_OFFSET.input]),
            pointer(b[BLOCK_OFFSET.target]),
            pointer(b[BLOCK_OFFSET.checked_target]),
        )
        table, values, slopes = (
            to_doubles(b[BLOCK_OFFSET.exact_parameters]),
            to_doubles(b[BLOCK_OFFSET.values]),
            to_doubles(b[BLOCK_OFFSET.slopes]),
        )
        has_slopes, invalid = b[BLOCK_OFFSET.slopes] != 0, i4(0)
        for j in range(b[BLOCK_OFFSET.size]):
            p = parameters(table, j)
            values[j] = value_of(f8(x[j]), f8(y[j]), *p)
            if has_slopes:
                slopes[j] = slope_of(f8(x[j]), f8(y[j]), *p)
            invalid += i4(0) if defined(x[j], checked[j]) else i4(1)
        b[BLOCK_OFFSET.invalid] = invalid if b[BLOCK_OFFSET.checked] != 0 else i4(0)

    return exact
