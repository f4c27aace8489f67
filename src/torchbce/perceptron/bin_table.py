"""Encode binned numbers: one gather and one multiply-add per number forward, one scatter-add backward.

A piecewise-linear encoding (see `table/network/bins`) and the linear layer after it are one piecewise-linear function
per column: at the start of bin k it is the bias and the weights of the bins before, within the bin it rises by the
bin's weight. `table` holds start and rise side by side and is computed in each step, so the work per row does not grow
with the number of bins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from torchbce.jit.primitives import spliced
from torchbce.perceptron.arguments import BIN_FLOATS, WIDTH

ZERO = np.float32(0.0)

_number = ir.FloatType()
_vector = ir.VectorType(_number, WIDTH)
_floats = types.CPointer(types.float32)
_zeros = ir.Constant(_vector, [0.0] * WIDTH)


def _load(builder: Any, base: Any, offset: Any) -> Any:
    value = builder.load(builder.bitcast(builder.gep(base, [offset]), _vector.as_pointer()))
    value.align = 4
    return value


def _store(builder: Any, value: Any, base: Any, offset: Any) -> None:
    builder.store(value, builder.bitcast(builder.gep(base, [offset]), _vector.as_pointer())).align = 4


def _spread(builder: Any, number: Any) -> Any:
    integers = ir.VectorType(ir.IntType(32), WIDTH)
    first = builder.insert_element(ir.Constant(_vector, ir.Undefined), number, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, first, ir.Constant(integers, [0] * WIDTH))


def _second(builder: Any, offset: Any) -> Any:
    return builder.add(offset, ir.Constant(ir.IntType(64), WIDTH))


def _times_and_plus(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return builder.fadd(c, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def _look_up(_context: Any, table: Any, bin_offset: Any, fraction: Any, out: Any, offset: Any) -> Any:
    """Compute out = relu(start + fraction * rise) of a bin."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        table, bin_offset, fraction, out, offset = args
        rise = _load(builder, table, _second(builder, bin_offset))
        value = _times_and_plus(builder, _spread(builder, fraction), rise, _load(builder, table, bin_offset))
        _store(builder, builder.select(builder.fcmp_ordered("<", value, _zeros), _zeros, value), out, offset)
        return context.get_dummy_value()

    return types.void(_floats, types.int64, types.float32, _floats, types.int64), generate


def _add_to_bin(
    _context: Any, gradient: Any, bin_offset: Any, fraction: Any, out: Any, grad_out: Any, offset: Any
) -> Any:
    """Add the gradient of the output to that of the bin's start and rise."""

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        gradient, bin_offset, fraction, out, grad_out, offset = args
        active = builder.fcmp_ordered(">", _load(builder, out, offset), _zeros)
        arrived = builder.select(active, _load(builder, grad_out, offset), _zeros)
        _store(builder, builder.fadd(_load(builder, gradient, bin_offset), arrived), gradient, bin_offset)
        rise = _second(builder, bin_offset)
        risen = _times_and_plus(builder, _spread(builder, fraction), arrived, _load(builder, gradient, rise))
        _store(builder, risen, gradient, rise)
        return context.get_dummy_value()

    return types.void(_floats, types.int64, types.float32, _floats, _floats, types.int64), generate


look_up: Any = intrinsic(_look_up)
add_to_bin: Any = intrinsic(_add_to_bin)


@spliced
def fill_table(table, parameters, weight, bias, columns, bins):
    """Write the start and the rise of every bin."""
    for column in range(columns):
        for w in range(WIDTH):
            value = parameters[bias + column * WIDTH + w]
            for bin_number in range(column * bins, (column + 1) * bins):
                rise = parameters[weight + bin_number * WIDTH + w]
                table[bin_number * BIN_FLOATS + w] = value
                table[bin_number * BIN_FLOATS + WIDTH + w] = rise
                value += rise


@spliced
def collect_gradient(table_gradient, gradient, weight, bias, columns, bins):
    """Sum gradients from the last bin to the first, as a weight is part of every later bin's start."""
    for column in range(columns):
        for w in range(WIDTH):
            later = ZERO
            for i in range(bins):
                bin_number = (column + 1) * bins - 1 - i
                gradient[weight + bin_number * WIDTH + w] = table_gradient[bin_number * BIN_FLOATS + WIDTH + w] + later
                later += table_gradient[bin_number * BIN_FLOATS + w]
            gradient[bias + column * WIDTH + w] = later
