"""What the passes are made of: small arrays on the stack, exact sums, formulas of one signature, broadcast weights."""

from __future__ import annotations

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


def formula(of: Callable[..., Any], vocabulary: Any, number: Any) -> Any:
    """A formula of x, y and perhaps pos_weight as a compiled function of all three."""
    bound = bind(of, vocabulary, inlined, number)
    if of.__code__.co_argcount == 3:
        return bound
    return inlined(lambda x, y, pos_weight: bound(x, y))


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
        vocabulary = FLOAT64 if v.wide else FLOAT32
        element = types.float64 if v.wide else types.float32
        everywhere = inlined(lambda x, y, pos_weight: True)

        def at_width(of: Callable[..., Any] | None) -> Any:
            return everywhere if of is None else formula(of, vocabulary, self.number)

        self.value, self.slope, self.factored = map(at_width, (v.loss.value, v.loss.dx, v.loss.factored))
        self.defined, self.factors = map(at_width, (v.loss.defined, v.loss.factors))
        self.exact_value = formula(v.loss.value, FLOAT64, np.float64)
        self.exact_slope = formula(v.loss.dx, FLOAT64, np.float64)
        self.read_x, self.read_y = reader(v.input, self.number), reader(v.target, self.number)
        self.write = writer(v.out or torch.float32)
        self.weighted, self.positive = v.weight is not None, v.pos_weight is not None
        broadcast = (v.weight, v.pos_weight, v.grad_output)
        self.spread_w, self.spread_p, self.spread_g = (broadcaster(dtype, self.number) for dtype in broadcast)
        self.weights, self.positives, self.incoming = (stack(element, CHUNK if dtype else 1) for dtype in broadcast)
        self.element = element
