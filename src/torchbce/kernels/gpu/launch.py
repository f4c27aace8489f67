"""Launching the Triton kernels on tensors. Forward and backward never wait for the device."""

from __future__ import annotations

import functools
import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchbce.formulas import Loss
from torchbce.kernels.gpu import late_check, passes
from torchbce.kernels.gpu.vocabulary import Bound
from torchbce.kernels.layout import in_one_order, pattern

BLOCK = 1024
Weight = Tensor | float | None


def total(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Weight,
    weight: Weight,
    result_dtype: torch.dtype,
    *,
    mean: bool,
    with_slopes: bool,
    scale: Tensor | None = None,
) -> tuple[Tensor, Tensor | None, bool]:
    """The sum or mean; its derivative by every item's input, times `scale`; whether all values are allowed."""
    input, target = in_one_order(input, target)
    n = input.numel()
    slopes = torch.empty_like(input) if with_slopes else None
    result = torch.full((), math.nan if mean else 0.0, dtype=result_dtype, device=input.device)
    if n == 0:
        return result, slopes, True
    blocks = triton.cdiv(n, BLOCK)
    sums = torch.empty(blocks, dtype=torch.float64, device=input.device)
    wrongs = torch.empty(blocks, dtype=torch.int32, device=input.device) if loss.defined else None
    wrong = torch.empty((), dtype=torch.int32, device=input.device) if loss.defined else None
    what = "total and slopes" if with_slopes else "total"
    divisor = n if mean else 1
    _run(what, loss, input, target, pos_weight, weight, scale, slopes, sums, wrongs, divisor)
    passes.add_up[(1,)](sums, wrongs, result, wrong, blocks, divisor, BLOCK)
    return result, slopes, wrong is None or late_check.passed(wrong)


def items(
    loss: Loss, input: Tensor, target: Tensor, pos_weight: Weight, weight: Weight, result_dtype: torch.dtype
) -> tuple[Tensor, bool]:
    """Every item's loss, and whether all values are known to be allowed."""
    input, target = in_one_order(input, target)
    out = torch.empty_like(input, dtype=result_dtype)
    if out.numel() == 0:
        return out, True
    blocks = triton.cdiv(out.numel(), BLOCK)
    wrongs = torch.empty(blocks, dtype=torch.int32, device=input.device) if loss.defined else None
    _run("items", loss, input, target, pos_weight, weight, None, out, None, wrongs, 1)
    return out, wrongs is None or late_check.passed(wrongs.sum())


def slopes(
    loss: Loss, input: Tensor, target: Tensor, pos_weight: Weight, weight: Weight, grad_output: Tensor
) -> Tensor:
    """The derivative of every item's loss by its input, times `grad_output`."""
    input, target = in_one_order(input, target)
    out = torch.empty_like(input)
    if out.numel():
        _run("slopes", loss, input, target, pos_weight, weight, grad_output, out, None, None, 1)
    return out


def scale(slopes: Tensor, factor: Tensor) -> bool:
    """Multiplies in place; False where that would round 16-bit slopes twice, or lose them to underflow.

    The factor stays on the device, so 16-bit slopes are always computed again, in float32.
    """
    if slopes.dtype in (torch.float16, torch.bfloat16):
        return False
    n = slopes.numel()
    if n:
        passes.multiply[(triton.cdiv(n, BLOCK),)](slopes, factor, n, BLOCK)
    return True


def _run(
    what: str,
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Weight,
    weight: Weight,
    grad_output: Tensor | None,
    out: Tensor | None,
    sums: Tensor | None,
    wrongs: Tensor | None,
    divisor: int,
) -> None:
    wide = torch.float64 in (input.dtype, target.dtype)
    bound = _bound(loss, torch.float64 if wide else torch.float32)
    weights: list[Tensor | None] = []
    runs: list[int] = []
    for given in (weight, pos_weight, grad_output):
        if given is None:
            weights.append(None)
            runs += 1, 1
            continue
        tensor = given if isinstance(given, Tensor) else torch.tensor(given, dtype=torch.float64, device=input.device)
        found = pattern(tensor, input)
        weights.append(found.values)
        runs += found.inner, found.period
    n = input.numel()
    passes.item_pass[(triton.cdiv(n, BLOCK),)](
        input,
        target,
        *weights,
        out,
        sums,
        wrongs,
        n,
        divisor,
        *runs,
        value=bound.value,
        slope=bound.dx,
        defined=bound.defined,
        takes_pos_weight=loss.has_pos_weight,
        what=what,
        number=tl.float64 if wide else tl.float32,
        BLOCK=BLOCK,
    )


@functools.cache
def _bound(loss: Loss, dtype: torch.dtype) -> Bound:
    return Bound(loss, dtype)
