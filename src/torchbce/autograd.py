"""The losses as torch operations: which engine a call takes, and what backward does with its result.

A kernel computes the value and every item's slope in one pass, so `mean` and `sum` store exactly one tensor of N: the
gradient itself, which backward hands on. Whatever is differentiated further, or transformed, takes the reference.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from torchbce import options, reference
from torchbce.call import Call
from torchbce.formulas.bce import BCE, BCE_WITH_LOGITS
from torchbce.formulas.loss import Loss
from torchbce.kernels import choice


def usual(loss: Loss, input: Tensor, target: Tensor, reduction: str) -> Tensor | None:
    """A call without options on two plain tensors, in few steps, as a small batch is all steps; else None."""
    call = _USUAL.get((loss, reduction))
    if call is None or not choice.usual(input, target) or input.size() != target.size():
        return None
    if input.requires_grad and torch.is_grad_enabled():
        return _apply(input, target, choice.cpu(), call)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(input, target, choice.cpu(), call, with_slopes=False)[0]


def compute(input: Tensor, target: Tensor, call: Call) -> Tensor:
    """The reduced loss, by the fastest engine that is right here."""
    engine = choice.kernels(input, target, call.tensors)
    if engine is None:
        result = reference.total(input, target, call)
        if call.checked:
            _check_values(input, target, call, result)
        return result
    if torch.is_grad_enabled() and input.requires_grad:
        return _apply(input, target, engine, call)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(input, target, engine, call, with_slopes=False)[0]


def count(input: Tensor, target: Tensor, call: Call) -> Tensor:
    """How many items count, or what they weigh together if there are weights; 0-d float64."""
    engine = choice.kernels(input, target, call.tensors)
    return (engine or reference).count(input, target, call)  # type: ignore[no-any-return]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, engine: ModuleType, call: Call) -> Tensor:
        result, ctx.slopes = _forward(input, target, engine, call, with_slopes=call.reduction != "none")
        ctx.engine, ctx.call = engine, call
        # Saved, so that backward refuses to use them if they were changed in between.
        ctx.save_for_backward(input, target, *call.tensors)
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        input, target, *_ = ctx.saved_tensors  # looked at always: it raises where one was changed since forward
        slopes, ctx.slopes = ctx.slopes, None  # given away once; a second backward computes them again
        again = torch.is_grad_enabled() or choice.transformed(grad_output)  # first by create_graph
        if slopes is None or again or not ctx.engine.scale(slopes, grad_output):
            slopes = _backward(input, target, grad_output, ctx.engine, ctx.call, by_reference=again)
        return slopes, None, None, None


def _forward(
    input: Tensor, target: Tensor, engine: ModuleType, call: Call, *, with_slopes: bool
) -> tuple[Tensor, Tensor | None]:
    if call.reduction == "none":
        result, allowed = engine.items(input, target, call)
        slopes = None
    else:
        result, slopes, allowed = engine.total(input, target, call, with_slopes=with_slopes)
    if not allowed and call.checked:
        _check_values(input, target, call, torch.tensor(torch.nan))
    return result, slopes


def _backward(
    input: Tensor, target: Tensor, grad_output: Tensor, engine: ModuleType, call: Call, *, by_reference: bool
) -> Tensor:
    if by_reference:
        scale = grad_output
        if call.reduction == "mean":
            scale = grad_output / reference.divisor(input, call)
        return reference.slopes(input, target, call, scale)
    slopes: Tensor
    if call.reduction == "none":
        slopes = engine.slopes(input, target, call, grad_output)
    else:
        slopes = engine.total(input, target, call, with_slopes=True, scale=grad_output)[1]
    return slopes


def _check_values(input: Tensor, target: Tensor, call: Call, loss: Tensor) -> None:
    """Raise for the first value that is not allowed, among the items that count, where values can be looked at."""
    if torch.compiler.is_compiling() or torch._C._is_tracing():
        return
    by_class, safe = call.class_dim is not None, reference.SAFE_INPUT
    if call.ignored is not None or (call.mask is not None and not by_class):
        whole = call._replace(class_dim=None, mask=None if by_class else call.mask)
        kept = reference.targets_and_kept(target if by_class else input, target, whole, torch.float64)[1]
        assert kept is not None
        target = torch.where(kept, target, torch.zeros((), dtype=target.dtype, device=target.device))
        input = input if by_class else torch.where(kept, input, safe)
    if call.class_dim is not None:
        options.check_class_numbers(target, input.size(call.class_dim))
    if call.loss.checks_input:
        options.check_input(input, loss)
    if not by_class and (call.labels is None or math.isnan(call.labels.threshold)):
        options.check_target(target)


# Function.apply without its Python part, which is about torch.func: kernels never run while that is active.
_apply = super(torch.autograd.Function, _Fused).apply
_USUAL: dict[tuple[Loss, str], Call] = {
    (loss, reduction): Call(loss, (None,), None, reduction, torch.float32, loss.checks_input)
    for loss in map(reference.register, (BCE, BCE_WITH_LOGITS))
    for reduction in options.REDUCTIONS
}
