"""Calling the compiled passes on tensors."""

from __future__ import annotations

import ctypes
import math
import struct

import torch
from torch import Tensor

from torchbce.formulas import Loss
from torchbce.kernels.cpu import buffers, machine_code, threads
from torchbce.kernels.cpu.variant import CHUNK, FLOATS, INTEGERS
from torchbce.kernels.layout import Pattern, in_one_order, pattern

# The one argument of a compiled pass: addresses of input, target, weight, pos_weight, grad_output, out, sums and the
# counter of pieces; a piece's chunks, the chunk to stop before, the number of items; the scale; how the weights repeat.
ARGUMENTS = struct.Struct("=8q3qd6q")
NONE: tuple[torch.dtype | None, ...] = (None,) * 3
ONCE: tuple[int, ...] = (1,) * 6  # how no weights repeat
TWO_WORDS = ctypes.c_double * 2
PIECE = 64  # chunks that a thread takes at a time, at most: 2 MiB of float32, a huge page
SLICE = 1024 * PIECE  # half a billion items: between slices, Ctrl-C is seen


def total(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    weight: Tensor | float | None,
    result_dtype: torch.dtype,
    *,
    mean: bool,
    with_slopes: bool,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, bool]:
    """The sum or mean; its derivative by every item's input, times `scale`; whether all values were allowed."""
    if not (input.is_contiguous() and target.is_contiguous()):
        input, target = in_one_order(input, target)
    n = input.numel()
    slopes = buffers.new(input, input.dtype) if with_slopes else None
    factor = 1.0 if scale is None else scale.item()
    if mean and n:
        factor /= n
    sums = _run("total", loss, input, target, pos_weight, weight, None, slopes, factor)
    value = sums[0] if len(sums) == 1 else _add(sums)
    allowed = value == value  # a value that is not allowed makes the sum NaN
    if mean:
        value = value / n if n else math.nan
    return torch.scalar_tensor(value, dtype=result_dtype), slopes, allowed


def items(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    weight: Tensor | float | None,
    result_dtype: torch.dtype,
) -> tuple[Tensor, bool]:
    """Every item's loss, and whether all values were allowed."""
    input, target = in_one_order(input, target)
    out = buffers.new(input, result_dtype)
    sums = _run("items", loss, input, target, pos_weight, weight, None, out, 1.0)
    return out, not any(map(math.isnan, sums))


def slopes(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    weight: Tensor | float | None,
    grad_output: Tensor,
) -> Tensor:
    """The derivative of every item's loss by its input, times `grad_output`."""
    input, target = in_one_order(input, target)
    out = buffers.new(input, input.dtype)
    _run("slopes", loss, input, target, pos_weight, weight, grad_output, out, 1.0)
    return out


def scale(slopes: Tensor, factor: Tensor) -> bool:
    """Multiplies in place; False where that would round 16-bit slopes twice, or lose them to underflow."""
    number = factor.item()
    if number == 1.0:
        return True
    if slopes.dtype in (torch.float16, torch.bfloat16):
        return False
    slopes.mul_(number)
    return True


def _run(
    name: str,
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    weight: Tensor | float | None,
    grad_output: Tensor | None,
    out: Tensor | None,
    scale: float,
) -> list[float]:
    """The sum of each chunk."""
    n = input.numel()
    weights: tuple[Tensor | None, ...] = ()
    weight_dtypes, runs = NONE, ONCE
    weight_addresses: tuple[int, ...] = (0, 0, 0)
    if weight is not None or pos_weight is not None or grad_output is not None:
        patterns = [None if t is None else _pattern(t, input) for t in (weight, pos_weight, grad_output)]
        weights = tuple(None if pattern is None else pattern.values for pattern in patterns)
        weight_dtypes = tuple(None if t is None else t.dtype for t in weights)
        weight_addresses = tuple(0 if t is None else t.data_ptr() for t in weights)
        runs = tuple(size for pattern in patterns for size in (pattern[1:] if pattern else (1, 1)))
    out_dtype, out_address = (None, 0) if out is None else (out.dtype, out.data_ptr())
    function = machine_code.function((name, loss, input.dtype, target.dtype, *weight_dtypes, out_dtype))
    addresses = input.data_ptr(), target.data_ptr(), *weight_addresses, out_address
    if n <= CHUNK:  # in few steps, as a call of ten items is all steps
        result = TWO_WORDS()  # the sum, and the counter of pieces
        place = ctypes.addressof(result)
        function(ARGUMENTS.pack(*addresses, place, place + 8, 1, 1, n, scale, *runs))
        return [result[0]]
    chunks = (n + CHUNK - 1) // CHUNK
    sums, counter = (ctypes.c_double * chunks)(), ctypes.c_int64(0)
    places = *addresses, ctypes.addressof(sums), ctypes.addressof(counter)
    alive = input, target, weights, out, sums, counter
    piece = PIECE if chunks >= 8 * PIECE else max(1, chunks // 16)
    for first in range(0, chunks, SLICE):
        last = min(first + SLICE, chunks)
        counter.value = first // piece
        arguments = ARGUMENTS.pack(*places, piece, last, n, scale, *runs)
        threads.together(function, arguments, -(-(last - first) // piece), alive)
    return list(sums)


def _pattern(weight: Tensor | float, like: Tensor) -> Pattern:
    if not isinstance(weight, Tensor):
        weight = torch.scalar_tensor(weight, dtype=torch.float64)
    return pattern(weight if weight.dtype in FLOATS + INTEGERS else weight.double(), like)


def _add(sums: list[float]) -> float:
    """The exactly rounded sum; with infinities and NaN, what they make of it."""
    try:
        return math.fsum(sums)
    except (ValueError, OverflowError):
        return sum(sums)
