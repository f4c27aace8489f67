"""The functions that the loops of one variant call; numba compiles each for what the variant says."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numba import types

from torchbce.engine.numba_cpu.arguments import AT
from torchbce.engine.numba_cpu.broadcast import broadcaster, class_spreader, gatherer, parameter_spreader
from torchbce.engine.numba_cpu.storage import ELEMENTS, reader, writer
from torchbce.engine.numba_cpu.variant import BLOCK, Variant
from torchbce.jit.intrinsics import pointer_to, stack
from torchbce.jit.primitives import float64_of, formula
from torchbce.jit.to_llvm import inlined


class Scratch(NamedTuple):
    """Arrays of a block, on the stack; of one element where they are not used."""

    weights: Any
    parameters: Any
    grad_output: Any
    counted: Any
    targets: Any


class TargetOptions(NamedTuple):
    """How targets are read; NaN is no threshold."""

    threshold: Any
    factor: Any
    shift: Any
    ignored: Any


class Specialized:
    """The functions that a variant's loops call: its formulas at its width, and its items with their options."""

    def __init__(self, v: Variant) -> None:
        self.number: Any = np.float64 if v.wide else np.float32
        self.element = types.float64 if v.wide else types.float32
        loss = v.loss
        self.factored = formula(loss.factored, v.wide)
        self.defined = formula(loss.defined if v.checked else None, v.wide)
        self.factors = formula(loss.factors, v.wide)
        self.exact_value, self.exact_derivative = formula(loss.value, True), formula(loss.dx, True)
        self.write = writer(v.out or torch.float32)
        self.numbers, self.parameters = gatherer(v.parameter_kinds, loss.defaults, self.number)
        self.exact_numbers, self.exact_parameters = gatherer(v.parameter_kinds, loss.defaults, np.float64)
        self.scratch, self.fill = self._chunk(v)
        self.target_options, self.read = self._items(v)

    def _chunk(self, v: Variant) -> tuple[Any, Any]:
        """`scratch()`: arrays for what is spread along a block; `fill(a, scratch, start, size)` spreads it."""
        columns = [i for i, kind in enumerate(k for k in v.parameter_kinds if k != "-") if kind == "t"]
        by_class, ignoring = v.by_class, v.ignoring
        marks = v.masked or (by_class and ignoring)
        sizes = (v.weight is not None, bool(columns), v.grad_output is not None, by_class)
        weights, table, incoming, classes = (
            stack(self.element, BLOCK * max(1, len(columns) if i == 1 else 1) if used else 1)
            for i, used in enumerate(sizes)
        )
        counted = stack(types.uint8, BLOCK if marks else 1)
        spread_w = broadcaster(v.weight, self.number)
        spread_g = broadcaster(v.grad_output, self.number)
        spread_mask = broadcaster(torch.uint8 if v.masked else None, np.uint8)
        to_w, to_g = (pointer_to(ELEMENTS[dtype or torch.float32]) for dtype in (v.weight, v.grad_output))
        to_mask, to_y = pointer_to(types.uint8), pointer_to(ELEMENTS[v.target])
        spread_classes = class_spreader(v.target, ignoring, self.number) if by_class else inlined(lambda *_: None)
        spread_parameters = parameter_spreader(tuple(columns), self.element, self.number)
        masked, yes = v.masked, np.uint8(1)

        @inlined
        def scratch():
            return Scratch(weights(), table(), incoming(), counted(), classes())

        @inlined
        def fill(a, scratch, start, size):
            spread_w(to_w(a[AT.weight]), scratch.weights, start, size, a[AT.weight_inner], a[AT.weight_period])
            spread_g(to_g(a[AT.grad_output]), scratch.grad_output, start, size, a[AT.grad_inner], a[AT.grad_period])
            spread_parameters(a, scratch.parameters, start, size)
            if masked:
                spread_mask(to_mask(a[AT.mask]), scratch.counted, start, size, a[AT.mask_inner], a[AT.mask_period])
            elif marks:
                for j in range(size):
                    scratch.counted[j] = yes
            if by_class:
                ignored = float64_of(a[AT.ignored])
                spread_classes(
                    to_y(a[AT.target]),
                    scratch.targets,
                    scratch.counted,
                    start,
                    size,
                    a[AT.class_inner],
                    a[AT.classes],
                    ignored,
                )

        return scratch, fill

    def _items(self, v: Variant) -> tuple[Any, Any]:
        """`target_options(a)`: how targets are read; `read(x, y, scratch, options, start, j)`: an item of a block.

        That is its input, its target before smoothing and after, and whether it counts. One that does not has values
        which are allowed.
        """
        number = self.number
        zero, one, safe = number(0.0), number(1.0), number(0.5)
        read_x, read_y = reader(v.input, number), reader(v.target, number)
        by_class, ignoring, transformed = v.by_class, v.ignoring and not v.by_class, v.transformed
        partial, marked = v.partial, v.masked or (v.by_class and v.ignoring)
        any_options = ignoring or transformed

        @inlined
        def target_options(a):
            if any_options:
                return TargetOptions(
                    number(float64_of(a[AT.threshold])),
                    number(float64_of(a[AT.factor])),
                    number(float64_of(a[AT.shift])),
                    number(float64_of(a[AT.ignored])),
                )
            return TargetOptions(zero, zero, zero, zero)

        @inlined
        def read(x, y, scratch, options, start, j):
            xi = read_x(x, start + j)
            yi = scratch.targets[j] if by_class else read_y(y, start + j)
            counts = True
            if ignoring:
                ignored = options.ignored
                counts = not ((yi == ignored) | ((ignored != ignored) & (yi != yi)))
            if marked:
                counts = counts & (scratch.counted[j] != 0)
            if partial:
                xi = xi if counts else safe
                yi = yi if counts else zero
            checked = yi
            if transformed:
                threshold = options.threshold
                hard = one if yi > threshold else zero
                checked = yi if (threshold != threshold) | (yi != yi) else hard
                yi = checked * options.factor + options.shift
            return xi, checked, yi, counts

        return target_options, read
