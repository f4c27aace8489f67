"""Calling the compiled passes on tensors. The functions are those of `select.Kernels`."""

from __future__ import annotations

import ctypes
import math

import torch
from torch import Tensor

from torchbce.engine.call import LossCall
from torchbce.engine.layout import address
from torchbce.engine.numba_cpu import buffers, threads
from torchbce.engine.numba_cpu.arguments import RESULTS, pack_pass
from torchbce.engine.numba_cpu.options import Prepared, plain_function, prepared
from torchbce.engine.numba_cpu.variant import CHUNK

TWO_WORDS = ctypes.c_double * 2
PIECE = 64  # chunks that a thread takes at a time, at most: 2 MiB of float32, a huge page
SLICE = 1024 * PIECE  # half a billion items: between slices, Ctrl-C is seen
FLOAT32_MAX = torch.finfo(torch.float32).max


def forward(
    input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
) -> tuple[Tensor, Tensor | None, bool]:
    if call.reduction == "none":
        return _items(input, target, call)
    function = plain_function(input, target, call) if input.is_contiguous() and target.is_contiguous() else None
    ready = (
        prepared(RESULTS.total, input, target, call, input.dtype if need_grad else None)
        if function is None
        else Prepared(function, input, target)
    )
    input = ready.input
    grad_input = buffers.new(input, input.dtype) if need_grad else None
    given, factor = call.denominator, 1.0 if scale is None else scale.item()
    divisor = input.numel() if given is None else given.item() if isinstance(given, Tensor) else given
    mean = call.reduction == "mean"
    if mean and divisor:
        factor /= divisor
    sums = _run(ready, grad_input, factor)
    value = sums[0] if len(sums) == 1 else _add(sums)
    allowed = value == value  # a value that is not allowed makes the sum NaN
    if mean:
        # The mean of no items is NaN, as torch has it; where all are ignored, their sum is 0, and so is the mean.
        value = value / divisor if divisor else value if input.numel() else math.nan
    return _scalar(value, call.result_dtype), grad_input, allowed


def grad(input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor) -> Tensor:
    ready = prepared(RESULTS.grad_input, input, target, call, input.dtype, grad_output)
    out = buffers.new(ready.input, input.dtype)
    _run(ready, out, 1.0)
    return out


def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    ready = prepared(RESULTS.count, input, target, call, None)
    return torch.scalar_tensor(_add(_run(ready, None, 1.0)), dtype=torch.float64)


def rescale(grad_input: Tensor, factor: Tensor, input: Tensor, target: Tensor, call: LossCall) -> bool:
    """False where it would round a 16-bit gradient twice, or lose it to underflow."""
    number = factor.item()
    if number == 1.0:
        return True
    if grad_input.dtype in (torch.float16, torch.bfloat16):
        return False
    grad_input.mul_(number)
    return True


def _scalar(value: float, dtype: torch.dtype) -> Tensor:
    if FLOAT32_MAX < abs(value) < math.inf:  # scalar_tensor refuses it; a sum of that dtype would be infinite
        return torch.scalar_tensor(value, dtype=torch.float64).to(dtype)
    return torch.scalar_tensor(value, dtype=dtype)


def _items(input: Tensor, target: Tensor, call: LossCall) -> tuple[Tensor, None, bool]:
    ready = prepared(RESULTS.items, input, target, call, call.result_dtype)
    out = buffers.new(ready.input, call.result_dtype)
    sums = _run(ready, out, 1.0)
    return out, None, not any(map(math.isnan, sums))


def _run(ready: Prepared, out: Tensor | None, scale: float) -> list[float]:
    """The sum of each chunk."""
    items = ready.input.numel()
    if items == 0:
        return [0.0]
    input_address, target_address = address(ready.input, items), address(ready.target, items // ready.classes)
    out_address = 0 if out is None else address(out, items)
    chunks = (items + CHUNK - 1) // CHUNK
    small = chunks <= 1
    results = TWO_WORDS() if small else (ctypes.c_double * (chunks + 1))()  # the sums, and the counter of pieces
    place = ctypes.addressof(results)
    counter = place + 8 * max(1, chunks)
    piece = PIECE if chunks >= 8 * PIECE else max(1, chunks // 16)
    for first in range(0, max(1, chunks), SLICE):
        last = min(first + SLICE, max(1, chunks))
        arguments = pack_pass(
            input=input_address,
            target=target_address,
            out=out_address,
            sums=place,
            next_piece=counter,
            piece=piece,
            end=last,
            items=items,
            scale=scale,
        )
        packed = arguments + ready.options
        if small:  # overhead is what a call of ten items costs
            ready.function(packed)
            return [results[0]]
        ctypes.c_int64.from_address(counter).value = first // piece
        threads.run_together(ready.function, packed, -(-(last - first) // piece), (ready, out, results))
    return list(results)[:chunks]


def _add(sums: list[float]) -> float:
    """The exactly rounded sum; with infinities and NaN, what they make of it."""
    try:
        return math.fsum(sums)
    except (ValueError, OverflowError):
        return sum(sums)
