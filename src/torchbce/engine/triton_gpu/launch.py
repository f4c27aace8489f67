"""Launch the Triton kernels on tensors. The functions are those of `select.Kernels`; none waits for the device.

Triton launches on the current device and its current stream: so each of these functions makes its tensors' device
current while it runs.
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
from torchbce.engine.layout import ONCE, ClassNumbers, class_numbers, in_one_order, memory, pattern
from torchbce.engine.triton_gpu import late_check, passes
from torchbce.engine.triton_gpu.primitives import Bound
from torchbce.formula.loss import Loss

BLOCK = 1024
MANY = 8  # blocks of a program
LARGE = 1 << 22  # items
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
    """Make a tensor's device current; that of Triton's interpreter, the CPU, always is."""
    return torch.cuda.device(device) if device.type == "cuda" else contextlib.nullcontext()


@on_its_device
def forward(
    input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
) -> tuple[Tensor, Tensor | None, bool]:
    input, target, numbers = _in_order(input, target, call)
    device, dtype, total = input.device, call.result_dtype, call.reduction != "none"
    if total and input.numel() == 0:
        nothing = torch.full((), math.nan if call.reduction == "mean" else 0.0, dtype=dtype, device=device)
        return nothing, torch.empty_like(input) if need_grad else None, True
    if not total:
        out = torch.empty_like(input, dtype=dtype)
        wrong = _run("items", input, target, numbers, call, None, out)
        return out, None, wrong is None or late_check.passed(wrong)
    result = torch.empty((), dtype=dtype, device=device)
    grad_input = torch.empty_like(input) if need_grad else None
    what = "total and gradient" if need_grad else "total"
    wrong = _run(what, input, target, numbers, call, scale, grad_input, result)
    return result, grad_input, wrong is None or late_check.passed(wrong)


@on_its_device
def grad(input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor) -> Tensor:
    input, target, numbers = _in_order(input, target, call)
    out = torch.empty_like(input)
    _run("gradient", input, target, numbers, call, grad_output, out)
    return out


@on_its_device
def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    input, target, numbers = _in_order(input, target, call)
    result = torch.zeros((), dtype=torch.float64, device=input.device)
    _run("count", input, target, numbers, call._replace(reduction="sum", checked=False), None, None, result)
    return result


@on_its_device
def rescale(grad_input: Tensor, factor: Tensor, input: Tensor, target: Tensor, call: LossCall) -> bool:
    """Multiply in place on the device, where the factor stays: where it is 1, memory is not touched."""
    n = grad_input.numel()
    if grad_input.dtype in (torch.float16, torch.bfloat16):  # computed again, to be rounded once
        input, target, numbers = _in_order(input, target, call)
        _run("gradient", input, target, numbers, call, factor, grad_input, unless_one=True)
    elif n:
        blocks = _blocks(n)
        passes.multiply[(triton.cdiv(n, blocks * BLOCK),)](memory(grad_input, n), factor, n, blocks, BLOCK)
    return True


def _blocks(n: int) -> int:
    """Return the blocks of each program: many if one program then does all, or if there are a great many."""
    return MANY if n <= MANY * BLOCK or n > LARGE else 1


def _in_order(input: Tensor, target: Tensor, call: LossCall) -> tuple[Tensor, Tensor, ClassNumbers]:
    if call.class_dim is None:
        return *in_one_order(input, target), ClassNumbers(*ONCE)
    return class_numbers(input, target, call.class_dim)


def _divisor(call: LossCall, device: torch.device) -> Tensor | None:
    """Return a divisor that stays on the device; None is 1, or for a mean the number of items."""
    given = call.denominator if call.reduction == "mean" else None
    if given is None or isinstance(given, Tensor):
        return None if given is None else given.to(device=device, dtype=torch.float64)
    return torch.full((), given, dtype=torch.float64, device=device)


def _run(
    what: str,
    input: Tensor,
    target: Tensor,
    numbers: ClassNumbers,
    call: LossCall,
    grad_output: Tensor | None,
    out: Tensor | None,
    result: Tensor | None = None,
    *,
    unless_one: bool = False,
) -> Tensor | None:
    """Fill `out` item by item and `result` with the sum; return the count of values not allowed, if checked."""
    n, device = input.numel(), input.device
    if n == 0:
        return None
    wide = computed_in_float64(input, target)
    bound = _bound(call.loss, torch.float64 if wide else torch.float32)
    mask = None if call.mask is None else call.mask.to(torch.bool).view(torch.uint8)
    w, w_run = _spread(call.weight, input)
    g, g_run = _spread(grad_output, input)
    counted, mask_run = _spread(mask, input)
    given = zip(call.parameters, call.loss.defaults, strict=True)
    parameters = [_spread(default if value is None else value, input) for value, default in given]
    blocks = _blocks(n)
    programs = triton.cdiv(n, blocks * BLOCK)
    adding = result is not None and programs > 1
    sums = torch.empty(programs, dtype=torch.float64, device=device) if adding else None
    checked = call.checked and what != "gradient"
    wrongs = torch.empty(programs, dtype=torch.int32, device=device) if checked else None
    divisor, by_count = _divisor(call, device), call.reduction == "mean"
    passes.item_pass[(programs,)](
        memory(input, n),
        memory(target, n // numbers.classes),
        w,
        g,
        counted,
        None if out is None else memory(out, n),
        sums,
        wrongs,
        None if adding else result,
        divisor,
        _target_options(call, device),
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
        by_count=by_count,
        unless_one=unless_one,
        BLOCKS=blocks,
        BLOCK=BLOCK,
    )
    if not adding:
        return None if wrongs is None else wrongs.sum()
    wrong = None if wrongs is None else torch.empty((), dtype=torch.int32, device=device)
    passes.add_up[(1,)](sums, wrongs, result, wrong, divisor, n, programs, by_count=by_count, BLOCK=BLOCK)
    return wrong


def _spread(weight: Weight, like: Tensor) -> tuple[Tensor | None, tuple[int, int]]:
    """Return a weight's values and how they repeat along the items."""
    if weight is None:
        return None, ONCE
    if not isinstance(weight, Tensor):
        weight = torch.full((), weight, dtype=torch.float64, device=like.device)  # torch.tensor would wait
    layout = pattern(weight, like)
    return memory(layout.values, layout.period), (layout.inner, layout.period)


def _target_options(call: LossCall, device: torch.device) -> Tensor | None:
    """Fill target options in on the device: a copy from the host would wait for it, and could not be captured."""
    if call.target_transform is None and call.ignored is None:
        return None
    numbers = *(call.target_transform or TargetTransform()), 0.0 if call.ignored is None else call.ignored
    options = torch.empty(len(numbers), dtype=torch.float64, device=device)
    for value, number in zip(options, numbers, strict=True):
        value.fill_(number)
    return options


@functools.cache
def _bound(loss: Loss, dtype: torch.dtype) -> Bound:
    return Bound(loss, dtype)
