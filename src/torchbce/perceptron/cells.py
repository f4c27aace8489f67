"""Numbers that are cut into pieces: one gather and one multiply-add per cell forward, one scatter-add backward.

A piecewise-linear encoding and the linear layer after it are one piecewise-linear function per column: at the start of
piece k it is the bias and the weights of the pieces before, within the piece it rises by the piece's weight. `table`
holds both, side by side, anew each step; nothing that is done per row grows with the number of pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from torchbce.jit.primitives import spliced
from torchbce.perceptron.words import CELL, WIDTH

ZERO = np.float32(0.0)

_number = ir.FloatType()
_vector = ir.VectorType(_number, WIDTH)
_floats = types.CPointer(types.float32)
_zeros = ir.Constant(_vector, [0.0] * WIDTH)


def _load(builder: Any, base: Any, place: Any) -> Any:
    value = builder.load(builder.bitcast(builder.gep(base, [place]), _vector.as_pointer()))
    value.align = 4
    return value


def _store(builder: Any, value: Any, base: Any, place: Any) -> None:
    builder.store(value, builder.bitcast(builder.gep(base, [place]), _vector.as_pointer())).align = 4


def _spread(builder: Any, number: Any) -> Any:
    integers = ir.VectorType(ir.IntType(32), WIDTH)
    first = builder.insert_element(ir.Constant(_vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(integers, [0] * WIDTH))


def _second(builder: Any, place: Any) -> Any:
    return builder.add(place, ir.Constant(ir.IntType(64), WIDTH))


def _times_and_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(c, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def _look_up(_context: Any, table: Any, cell: Any, fraction: Any, out: Any, place: Any) -> Any:
    """out = relu(start + fraction * rise), of a cell."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        table, cell, fraction, out, place = args
        rise = _load(builder, table, _second(builder, cell))
        value = _times_and_plus(builder, _spread(builder, fraction), rise, _load(builder, table, cell))
        _store(builder, builder.select(builder.fcmp_ordered("<", value, _zeros), _zeros, value), out, place)
        return context.get_dummy_value()

    return types.void(_floats, types.int64, types.float32, _floats, types.int64), generate


def _add_to_cell(_context: Any, gradient: Any, cell: Any, fraction: Any, out: Any, grad_out: Any, place: Any) -> Any:
    """The way back: what arrives at the start of the cell's piece, and at its rise."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        gradient, cell, fraction, out, grad_out, place = args
        active = builder.fcmp_ordered(">", _load(builder, out, place), _zeros)
        arrived = builder.select(active, _load(builder, grad_out, place), _zeros)
        _store(builder, builder.fadd(_load(builder, gradient, cell), arrived), gradient, cell)
        rise = _second(builder, cell)
        risen = _times_and_plus(builder, _spread(builder, fraction), arrived, _load(builder, gradient, rise))
        _store(builder, risen, gradient, rise)
        return context.get_dummy_value()

    return types.void(_floats, types.int64, types.float32, _floats, _floats, types.int64), generate


look_up: Any = intrinsic(_look_up)
add_to_cell: Any = intrinsic(_add_to_cell)


@spliced
def fill_table(table, parameters, weight, bias, columns, pieces):
    for column in range(columns):
        for w in range(WIDTH):
            value = parameters[bias + column * WIDTH + w]
            for piece in range(column * pieces, (column + 1) * pieces):
                rise = parameters[weight + piece * WIDTH + w]
                table[piece * CELL + w] = value
                table[piece * CELL + WIDTH + w] = rise
                value += rise


@spliced
def collect_gradient(table_gradient, gradient, weight, bias, columns, pieces):
    """A weight is in every later piece's start: sums from the last piece to the first."""
    for column in range(columns):
        for w in range(WIDTH):
            later = ZERO
            for i in range(pieces):
                piece = (column + 1) * pieces - 1 - i
                gradient[weight + piece * WIDTH + w] = table_gradient[piece * CELL + WIDTH + w] + later
                later += table_gradient[piece * CELL + w]
            gradient[bias + column * WIDTH + w] = later
