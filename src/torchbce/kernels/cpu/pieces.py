"""What the passes are made of: small arrays on the stack, exact sums, formulas of one signature, broadcast weights."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from torchbce.formulas import bind
from torchbce.kernels.cpu.storage import reader, writer
from torchbce.kernels.cpu.variant import CHUNK, Variant
from torchbce.kernels.cpu.vocabulary import FLOAT32, FLOAT64, inlined


@functools.cache
def stack(element: Any, count: int) -> Any:
    """`allocate()`: an array of `count` elements on the stack, for the length of the call."""

    @intrinsic
    def allocate(_context: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, _args: Any) -> Any:
            with builder.goto_entry_block():
                place = builder.alloca(context.get_value_type(element), ir.Constant(ir.IntType(32), count))
            place.align = 64
            return place

        return types.CPointer(element)(), generate

    return allocate


@inlined
def two_sum(a, b):
    """a + b and what its rounding took (Knuth)."""
    s = a + b
    back = s - a
    return s, (a - (s - back)) + (b - back)


@functools.cache
def formula(of: Callable[..., Any] | None, wide: bool) -> Any:
    """A formula as a compiled function of x, y and pos_weight, which it may not use; None is true everywhere."""
    if of is None:
        return inlined(lambda x, y, pos_weight: True)
    bound = bind(of, FLOAT64 if wide else FLOAT32, inlined, np.float64 if wide else np.float32)
    if of.__code__.co_argcount == 3:
        return bound
    return inlined(lambda x, y, pos_weight: bound(x, y))


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
        at = 0
        while at < size:
            if inner == 1:
                count = min(period - run, size - at)
                for k in range(count):
                    into[at + k] = read(pointer, run + k)
                run = 0
            else:
                count = min(left, size - at)
                weight = read(pointer, run)
                for k in range(count):
                    into[at + k] = weight
                left = inner
                run = run + 1 if run + 1 < period else 0
            at += count

    pointer_is_missing = dtype is None
    return fill


@intrinsic
def take_one(_context: Any, counter: Any) -> Any:
    """The counter's value, which no other thread gets."""

    def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.atomic_rmw("add", args[0], ir.Constant(ir.IntType(64), 1), "monotonic")

    return types.int64(types.CPointer(types.int64)), generate


@functools.cache
def pointer_to(element: Any) -> Any:
    """`pointer(address)`"""

    @intrinsic
    def pointer(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(element)(address), generate

    return pointer


class Parts:
    """What a variant's loops call: its formulas at its width, its tensors' readers, room for its weights."""

    def __init__(self, v: Variant) -> None:
        self.number: Any = np.float64 if v.wide else np.float32
        self.element = types.float64 if v.wide else types.float32
        loss = v.loss
        self.value, self.slope, self.factored = (formula(of, v.wide) for of in (loss.value, loss.dx, loss.factored))
        self.defined, self.factors = formula(loss.defined, v.wide), formula(loss.factors, v.wide)
        self.exact_value, self.exact_slope = formula(loss.value, True), formula(loss.dx, True)
        self.read_x, self.read_y = reader(v.input, self.number), reader(v.target, self.number)
        self.write = writer(v.out or torch.float32)
        self.weighted, self.positive = v.weight is not None, v.pos_weight is not None
        broadcast = (v.weight, v.pos_weight, v.grad_output)
        self.spread_w, self.spread_p, self.spread_g = (broadcaster(dtype, self.number) for dtype in broadcast)
        self.weights, self.positives, self.incoming = (
            stack(self.element, CHUNK if dtype else 1) for dtype in broadcast
        )
