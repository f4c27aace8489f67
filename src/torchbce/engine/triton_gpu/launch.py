"""Launching the Triton kernels on tensors. The functions are those of `select.Kernels`; none waits for the device.

Triton launches on the current device and its current stream: so each of these functions makes the device of its tensors
the current one while it runs.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchbce.engine.call import LossCall, TargetTransform, Weight, computed_in_float64
from torchbce.engine.layout import ONCE, ClassNumbers, class_numbers, in_one_order, pattern
from torchbce.engine.triton_gpu import late_check, passes
from torchbce.engine.triton_gpu.primitives import Bound
from torchbce.formula.loss import Loss

BLOCK = 1024
P = ParamSpec("P")
R = TypeVar("R")


def on_its_device(function: Callable[Concatenate[Tensor, P], R]) -> Callable[Concatenate[Tensor, P], R]:
    """Run with the first tensor's device as the current one."""

    @functools.wraps(function)
    def guarded(first: Tensor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with current(first.device):
            return function(first, *args, **kwargs)

    return guarded


def current(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Triton's interpreter works on the CPU, which is always current."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@on_its_device
def forward(
    input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
) -> tuple[Tensor, Tensor | None, bool]:
    if call.reduction == "none":
        return _items(input, target, call)
    input, target, numbers = _in_order(input, target, call)
    n, device = input.numel(), input.device
    grad_input = torch.empty_like(input) if need_grad else None
    mean = call.reduction == "mean"
    result = torch.full((), math.nan if mean else 0.0, dtype=call.result_dtype, device=device)
    if n == 0:
        return result, grad_input, True
    blocks = triton.cdiv(n, BLOCK)
    sums = torch.empty(blocks, dtype=torch.float64, device=device)
    wrongs = torch.empty(blocks, dtype=torch.int32, device=device) if call.checked else None
    wrong = torch.empty((), dtype=torch.int32, device=device) if call.checked else None
    divisor = _divisor(n, call, device)
    what = "total and gradient" if need_grad else "total"
    _run(what, input, target, numbers, call, scale, grad_input, sums, wrongs, divisor)
    passes.add_up[(1,)](sums, wrongs, result, wrong, divisor, blocks, BLOCK)
    return result, grad_input, wrong is None or late_check.passed(wrong)


@on_its_device
def grad(input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor) -> Tensor:
    input, target, numbers = _in_order(input, target, call)
    out = torch.empty_like(input)
    if out.numel():
        one = torch.ones((), dtype=torch.float64, device=input.device)
        _run("gradient", input, target, numbers, call, grad_output, out, None, None, one)
    return out


@on_its_device
def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    input, target, numbers = _in_order(input, target, call)
    n, device = input.numel(), input.device
    result = torch.zeros((), dtype=torch.float64, device=device)
    if n:
        blocks = triton.cdiv(n, BLOCK)
        sums = torch.empty(blocks, dtype=torch.float64, device=device)
        _run("count", input, target, numbers, call, None, None, sums, None, None)
        passes.add_up[(1,)](sums, None, result, None, torch.ones_like(result), blocks, BLOCK)
    return result


@on_its_device
def rescale(grad_input: Tensor, factor: Tensor) -> bool:
    """The factor stays on the device, so a 16-bit gradient is always computed again, in float32."""
    if grad_input.dtype in (torch.float16, torch.bfloat16):
        return False
    n = grad_input.numel()
    if n:
        passes.multiply[(triton.cdiv(n, BLOCK),)](grad_input, factor, n, BLOCK)
    return True


def _items(input: Tensor, target: Tensor, call: LossCall) -> tuple[Tensor, None, bool]:
    input, target, numbers = _in_order(input, target, call)
    out = torch.empty_like(input, dtype=call.result_dtype)
    if out.numel() == 0:
        return out, None, True
    blocks = triton.cdiv(out.numel(), BLOCK)
    wrongs = torch.empty(blocks, dtype=torch.int32, device=input.device) if call.checked else None
    _run("items", input, target, numbers, call, None, out, None, wrongs, None)
    return out, None, wrongs is None or late_check.passed(wrongs.sum())


def _in_order(input: Tensor, target: Tensor, call: LossCall) -> tuple[Tensor, Tensor, ClassNumbers]:
    if call.class_dim is None:
        return *in_one_order(input, target), ClassNumbers(*ONCE)
    return class_numbers(input, target, call.class_dim)


def _divisor(n: int, call: LossCall, device: torch.device) -> Tensor:
    """On the device, as it may be computed there; 1 where nothing counts, so that the mean is 0."""
    if call.reduction == "sum":
        return torch.ones((), dtype=torch.float64, device=device)
    if isinstance(call.denominator, Tensor):
        given = call.denominator.to(device=device, dtype=torch.float64)
        return torch.where(given == 0, 1.0, given)
    return torch.full(
        (), (n if call.denominator is None else call.denominator) or 1.0, dtype=torch.float64, device=device
    )


def _run(
    what: str,
    input: Tensor,
    target: Tensor,
    numbers: ClassNumbers,
    call: LossCall,
    grad_output: Tensor | None,
    out: Tensor | None,
    sums: Tensor | None,
    wrongs: Tensor | None,
    divisor: Tensor | None,
) -> None:
    wide = computed_in_float64(input, target)
    bound = _bound(call.loss, torch.float64 if wide else torch.float32)
    mask = None if call.mask is None else call.mask.to(torch.bool).view(torch.uint8)
    w, w_run = _spread(call.weight, input)
    g, g_run = _spread(grad_output, input)
    counted, mask_run = _spread(mask, input)
    given = zip(call.parameters, call.loss.defaults, strict=True)
    parameters = [_spread(default if value is None else value, input) for value, default in given]
    n = input.numel()
    passes.item_pass[(triton.cdiv(n, BLOCK),)](
        input,
        target,
        w,
        g,
        counted,
        out,
        sums,
        wrongs,
        divisor,
        _target_options(call, input.device),
        tuple(values for values, _ in parameters),
        n,
        w_run,
        g_run,
        mask_run,
        tuple(run for _, run in parameters),
        tuple(numbers),
        value=bound.value,
        derivative=bound.dx,
        defined=bound.defined,
        what=what,
        number=tl.float64 if wide else tl.float32,
        ignoring=call.ignored is not None,
        transformed=call.target_transform is not None,
        by_class=call.class_dim is not None,
        BLOCK=BLOCK,
    )


def _spread(weight: Weight, like: Tensor) -> tuple[Tensor | None, tuple[int, int]]:
    """A weight's values and how they repeat along the items."""
    if weight is None:
        return None, ONCE
    if not isinstance(weight, Tensor):
        weight = torch.tensor(weight, dtype=torch.float64, device=like.device)
    found = pattern(weight, like)
    return found.values, (found.inner, found.period)


def _target_options(call: LossCall, device: torch.device) -> Tensor:
    numbers = *(call.target_transform or TargetTransform()), 0.0 if call.ignored is None else call.ignored
    return torch.tensor(numbers, dtype=torch.float64, device=device)


@functools.cache
def _bound(loss: Loss, dtype: torch.dtype) -> Bound:
    return Bound(loss, dtype)
