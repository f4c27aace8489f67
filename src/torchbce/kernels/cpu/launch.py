"""Calling the compiled passes on tensors."""

from __future__ import annotations

import ctypes
import math
import struct
from typing import Any

import torch
from torch import Tensor

from torchbce.formulas import Loss
from torchbce.kernels.cpu import buffers, machine_code, threads
from torchbce.kernels.cpu.variant import CHUNK, FLOATS, INTEGERS, Variant
from torchbce.kernels.layout import Pattern, in_one_order, pattern

# The one argument of a compiled pass: addresses of input, target, weight, pos_weight, grad_output, out, sums and the
# counter of pieces; a piece's chunks, the chunk to stop before, the number of items; the scale; how the weights repeat.
ARGUMENTS = struct.Struct("=8q3qd6q")
ONCE = (1,) * 6
PIECE = 64  # chunks that a thread takes at a time, at most: 2 MiB of float32, a huge page
SLICE = 1024 * PIECE  # half a billion items: between slices, Ctrl-C is seen
_ready: dict[Any, Any] = {}


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
    if n <= CHUNK and weight is None and pos_weight is None:
        value = _sum_of_one_chunk("total", loss, input, target, n, slopes, factor)
    else:
        value = _add(_run("total", loss, input, target, pos_weight, weight, None, slopes, factor))
    allowed = value == value  # a value that is not allowed makes the sum NaN
    if mean:
        value = value / n if n else math.nan
    return input.new_full((), value, dtype=result_dtype), slopes, allowed


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
    n = input.numel()
    if n <= CHUNK and weight is None and pos_weight is None:
        return out, not math.isnan(_sum_of_one_chunk("items", loss, input, target, n, out, 1.0))
    return out, not any(map(math.isnan, _run("items", loss, input, target, pos_weight, weight, None, out, 1.0)))


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


def _sum_of_one_chunk(
    name: str, loss: Loss, input: Tensor, target: Tensor, n: int, out: Tensor | None, scale: float
) -> float:
    """What `_run` does for one chunk without weights, in fewer steps: a call of ten items is all steps."""
    out_dtype, out_address = (None, 0) if out is None else (out.dtype, out.data_ptr())
    key = name, loss, input.dtype, target.dtype, out_dtype
    function = _ready.get(key)
    if function is None:
        variant = Variant(name, loss, input.dtype, target.dtype, None, None, None, out_dtype)
        function = _ready[key] = machine_code.function(variant)
    result = (ctypes.c_double * 2)()  # the sum, and the counter of pieces
    place = ctypes.addressof(result)
    addresses = (input.data_ptr(), target.data_ptr(), 0, 0, 0, out_address, place, place + 8)
    function(ARGUMENTS.pack(*addresses, 1, 1, n, scale, *ONCE))
    return result[0]


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
    patterns = [None if t is None else _pattern(t, input) for t in (weight, pos_weight, grad_output)]
    weights = [None if pattern is None else pattern.values for pattern in patterns]
    runs = [size for pattern in patterns for size in (pattern[1:] if pattern else (1, 1))]
    w_dtype, p_dtype, g_dtype, out_dtype = (None if t is None else t.dtype for t in (*weights, out))
    function = machine_code.function(
        Variant(name, loss, input.dtype, target.dtype, w_dtype, p_dtype, g_dtype, out_dtype)
    )
    n = input.numel()
    chunks = (n + CHUNK - 1) // CHUNK or 1
    sums, counter = (ctypes.c_double * chunks)(), ctypes.c_int64(0)
    addresses = [0 if t is None else t.data_ptr() for t in (input, target, *weights, out)]
    addresses += ctypes.addressof(sums), ctypes.addressof(counter)
    alive = input, target, weights, out, sums, counter
    piece = PIECE if chunks >= 8 * PIECE else max(8, chunks // 16)
    for first in range(0, chunks, SLICE):
        last = min(first + SLICE, chunks)
        counter.value = first // piece
        arguments = ARGUMENTS.pack(*addresses, piece, last, n, scale, *runs)
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
