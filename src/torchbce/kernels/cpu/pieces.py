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

from torchbce.formulas.binding import bind
from torchbce.kernels.cpu.storage import ELEMENTS, reader, writer
from torchbce.kernels.cpu.variant import (
    CHUNK,
    CLASS_INNER,
    CLASSES,
    FACTOR,
    G_RUNS,
    IGNORED,
    MASK,
    MASK_RUNS,
    PARAMETERS,
    SHIFT,
    THRESHOLD,
    W_RUNS,
    G,
    Variant,
    W,
    Y,
)
from torchbce.kernels.cpu.vocabulary import FLOAT32, FLOAT64, float64_of, inlined


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
    """A formula as a compiled function; None is true everywhere."""
    if of is None:
        return inlined(lambda x, y: True)
    return bind(of, FLOAT64 if wide else FLOAT32, inlined, np.float64 if wide else np.float32)


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


def class_spreader(dtype: torch.dtype, ignoring: bool, number: Any) -> Any:
    """`fill(pointer, into, kept, start, size, inner, count, ignored)`: targets of items from class numbers.

    Item i is of class (i // inner) % count and has the class number at i // (inner * count) * inner + i % inner; its
    target is 1 where they are the same. A number that is no class makes it NaN, which no loss allows.
    """
    read = reader(dtype, np.float64)
    zero, one, missing = number(0.0), number(1.0), number(np.nan)

    @inlined
    def fill(pointer, into, kept, start, size, inner, count, ignored):
        outer = start // (inner * count)
        here = start // inner - outer * count
        k = start % inner
        for j in range(size):
            own = read(pointer, outer * inner + k)
            if ignoring and own == ignored:
                kept[j] = np.uint8(0)
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


def gatherer(kinds: str, defaults: tuple[float, ...], number: Any) -> Any:
    """`parameters(a, table, j)`: the loss's parameters for item j of a chunk, as a tuple."""
    gather = inlined(lambda a, table, j: ())
    present = sum(kind != "-" for kind in kinds)
    columns = kinds.count("t")
    for kind, default in reversed(list(zip(kinds, defaults, strict=True))):
        present -= kind != "-"
        columns -= kind == "t"
        gather = _prepended(kind, default, PARAMETERS + 3 * present, columns * CHUNK, number, gather)
    return gather


def _prepended(kind: str, default: float, place: int, column: int, number: Any, rest: Any) -> Any:
    constant = number(default)
    if kind == "-":
        return inlined(lambda a, table, j: (constant, *rest(a, table, j)))
    if kind == "n":
        return inlined(lambda a, table, j: (number(float64_of(a[place])), *rest(a, table, j)))
    return inlined(lambda a, table, j: (number(table[column + j]), *rest(a, table, j)))


@functools.cache
def offset(element: Any) -> Any:
    """`moved(pointer, by)`: the pointer to a later element."""

    @intrinsic
    def moved(_context: Any, pointer: Any, by: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.gep(args[0], [args[1]])

        return types.CPointer(element)(types.CPointer(element), types.int64), generate

    return moved


class Parts:
    """What a variant's loops call: its formulas at its width, its items with their options, room for a chunk."""

    def __init__(self, v: Variant) -> None:
        self.number: Any = np.float64 if v.wide else np.float32
        self.element = types.float64 if v.wide else types.float32
        loss = v.loss
        self.value, self.slope, self.factored = (formula(of, v.wide) for of in (loss.value, loss.dx, loss.factored))
        self.defined = formula(loss.defined if v.checked else None, v.wide)
        self.factors = formula(loss.factors, v.wide)
        self.exact_value, self.exact_slope = formula(loss.value, True), formula(loss.dx, True)
        self.write = writer(v.out or torch.float32)
        self.parameters = gatherer(v.kinds, loss.defaults, self.number)
        first = loss.factored_parameters
        self.in_factor = gatherer(v.kinds[:first], loss.defaults[:first], self.number)
        self.exact_parameters = gatherer(v.kinds, loss.defaults, np.float64)
        self.room, self.fill = self._chunk(v)
        self.labels, self.read = self._items(v)

    def _chunk(self, v: Variant) -> tuple[Any, Any]:
        """`room()`: arrays for what is spread along a chunk; `fill(a, room, start, size)` spreads it."""
        columns = [i for i, kind in enumerate(k for k in v.kinds if k != "-") if kind == "t"]
        by_class, ignoring = v.by_class, v.ignoring
        marks = v.masked or (by_class and ignoring)
        sizes = (v.weight is not None, bool(columns), v.grad_output is not None, by_class)
        weights, table, incoming, classes = (
            stack(self.element, CHUNK * max(1, len(columns) if i == 1 else 1) if used else 1)
            for i, used in enumerate(sizes)
        )
        kept = stack(types.uint8, CHUNK if marks else 1)
        spread_w = broadcaster(v.weight, self.number)
        spread_g = broadcaster(v.grad_output, self.number)
        spread_mask = broadcaster(torch.uint8 if v.masked else None, np.uint8)
        to_w, to_g = (pointer_to(ELEMENTS[dtype or torch.float32]) for dtype in (v.weight, v.grad_output))
        to_mask, to_y = pointer_to(types.uint8), pointer_to(ELEMENTS[v.target])
        spread_classes = class_spreader(v.target, ignoring, self.number) if by_class else inlined(lambda *_: None)
        spread_parameters = _parameter_spreader(tuple(columns), self.element, self.number)
        masked, yes = v.masked, np.uint8(1)

        @inlined
        def room():
            return weights(), table(), incoming(), kept(), classes()

        @inlined
        def fill(a, room, start, size):
            spread_w(to_w(a[W]), room[0], start, size, a[W_RUNS], a[W_RUNS + 1])
            spread_g(to_g(a[G]), room[2], start, size, a[G_RUNS], a[G_RUNS + 1])
            spread_parameters(a, room[1], start, size)
            if masked:
                spread_mask(to_mask(a[MASK]), room[3], start, size, a[MASK_RUNS], a[MASK_RUNS + 1])
            elif marks:
                for j in range(size):
                    room[3][j] = yes
            if by_class:
                ignored = float64_of(a[IGNORED])
                spread_classes(to_y(a[Y]), room[4], room[3], start, size, a[CLASS_INNER], a[CLASSES], ignored)

        return room, fill

    def _items(self, v: Variant) -> tuple[Any, Any]:
        """`labels(a)`: how targets are read; `read(x, y, room, labels, start, j)`: an item of a chunk.

        That is its input, its target before smoothing and after, and whether it counts. One that does not has values
        which are allowed.
        """
        number = self.number
        zero, one, safe = number(0.0), number(1.0), number(0.5)
        read_x, read_y = reader(v.input, number), reader(v.target, number)
        by_class, ignoring, shaped = v.by_class, v.ignoring and not v.by_class, v.labels
        partial, marked = v.partial, v.masked or (v.by_class and v.ignoring)
        any_options = ignoring or shaped

        @inlined
        def labels(a):
            if any_options:
                return (
                    number(float64_of(a[THRESHOLD])),
                    number(float64_of(a[FACTOR])),
                    number(float64_of(a[SHIFT])),
                    number(float64_of(a[IGNORED])),
                )
            return zero, zero, zero, zero

        @inlined
        def read(x, y, room, labels, start, j):
            xi = read_x(x, start + j)
            yi = room[4][j] if by_class else read_y(y, start + j)
            keep = True
            if ignoring:
                ignored = labels[3]
                keep = not ((yi == ignored) | ((ignored != ignored) & (yi != yi)))
            if marked:
                keep = keep & (room[3][j] != 0)
            if partial:
                xi = xi if keep else safe
                yi = yi if keep else zero
            checked = yi
            if shaped:
                threshold = labels[0]
                hard = one if yi > threshold else zero
                checked = yi if (threshold != threshold) | (yi != yi) else hard
                yi = checked * labels[1] + labels[2]
            return xi, checked, yi, keep

        return labels, read


def _parameter_spreader(places: tuple[int, ...], element: Any, number: Any) -> Any:
    """`fill(a, table, start, size)`: the parameters at these places, a column of the table each."""
    fill = inlined(lambda a, table, start, size: None)
    for column, place in enumerate(places):
        fill = _and_spread(fill, PARAMETERS + 3 * place, column * CHUNK, element, number)
    return fill


def _and_spread(before: Any, place: int, column: int, element: Any, number: Any) -> Any:
    to_values, moved = pointer_to(element), offset(element)
    spread = broadcaster(torch.float64 if number is np.float64 else torch.float32, number)

    @inlined
    def fill(a, table, start, size):
        before(a, table, start, size)
        spread(to_values(a[place]), moved(table, column), start, size, a[place + 1], a[place + 2])

    return fill
