"""A loss's formulas evaluated for a block of items, one costly function at a time (see `formula.stages`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torchbce.engine.numba_cpu.specialize import Specialized
from torchbce.engine.numba_cpu.variant import BLOCK, Variant
from torchbce.formula.stages import stages
from torchbce.jit.intrinsics import stack
from torchbce.jit.primitives import formula
from torchbce.jit.to_llvm import inlined

WIDE = 32  # items in an iteration, so that constants are loaded once for several vectors


class Staged(NamedTuple):
    """The compiled functions of a variant's loops.

    Attributes:
        table: ``table()``, memory for what the steps give.
        prepare: ``prepare(table, x, y, scratch, options, numbers, start, size)``, runs the steps for a block.
        results: for each ``result(table, j, xi, yi, parameters)``.
    """

    table: Callable[..., Any]
    prepare: Callable[..., None]
    results: list[Callable[..., Any]]


def staged(v: Variant, parts: Specialized, *results: str) -> Staged:
    """The stages of a variant's loss: of its "value", its "dx" or both."""
    fixed = {
        name: default if kind == "-" else float(kind)
        for name, kind, default in zip(v.loss.parameters, v.parameter_kinds, v.loss.defaults, strict=True)
        if kind not in "nt"
    }
    cut = stages(v.loss, results, fixed)
    prepare: Any = inlined(lambda table, x, y, scratch, options, numbers, start, size: None)
    earlier: Any = inlined(lambda table, j: ())
    for number, step in enumerate(cut.steps):
        prepare = _and_run(prepare, formula(step, v.wide), earlier, number * BLOCK, parts)
        earlier = _and_given(earlier, number * BLOCK)
    found = [_result(formula(result, v.wide), earlier) for result in cut.results]
    return Staged(stack(parts.element, BLOCK * max(1, len(cut.steps))), prepare, found)


def _and_run(before: Any, step: Any, earlier: Any, column: int, parts: Specialized) -> Any:
    read, parameters = parts.read, parts.parameters

    @inlined
    def prepare(table, x, y, scratch, options, numbers, start, size):
        before(table, x, y, scratch, options, numbers, start, size)
        for row in range(size // WIDE):
            for k in range(WIDE):
                j = row * WIDE + k
                xi, _, yi, _ = read(x, y, scratch, options, start, j)
                table[column + j] = step(xi, yi, *parameters(numbers, scratch.parameters, j), *earlier(table, j))
        for j in range(size // WIDE * WIDE, size):
            xi, _, yi, _ = read(x, y, scratch, options, start, j)
            table[column + j] = step(xi, yi, *parameters(numbers, scratch.parameters, j), *earlier(table, j))

    return prepare


def _and_given(before: Any, column: int) -> Any:
    return inlined(lambda table, j: (*before(table, j), table[column + j]))


def _result(result: Any, earlier: Any) -> Any:
    return inlined(lambda table, j, xi, yi, parameters: result(xi, yi, *parameters, *earlier(table, j)))
