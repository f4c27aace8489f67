"""The losses as torch operations: which engine a call takes, and what backward does with its result.

A kernel computes the value and every item's slope in one pass, so `mean` and `sum` store exactly one tensor of N: the
gradient itself, which backward hands on. Whatever is differentiated further, or transformed, takes the reference.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce import options, reference
from torchbce.formulas import BCE, BCE_WITH_LOGITS, Loss
from torchbce.kernels import choice
from torchbce.options import Reduction


class Call(NamedTuple):
    """What is asked for, besides input and target."""

    loss: Loss
    pos_weight: Tensor | float | None
    weight: Tensor | float | None
    reduction: Reduction
    result_dtype: torch.dtype


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
    engine = choice.kernels(input, target, call.weight, call.pos_weight)
    if engine is None:
        result = reference.total(
            call.loss,
            input,
            target,
            call.pos_weight,
            weight=call.weight,
            reduction=call.reduction,
            result_dtype=call.result_dtype,
        )
        if call.loss.defined:
            options.check_probabilities(input, target, result)
        return result
    if torch.is_grad_enabled() and input.requires_grad:
        return _apply(input, target, engine, call)  # type: ignore[no-any-return, no-untyped-call]
    return _forward(input, target, engine, call, with_slopes=False)[0]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, engine: ModuleType, call: Call) -> Tensor:
        result, ctx.slopes = _forward(input, target, engine, call, with_slopes=call.reduction != "none")
        ctx.engine, ctx.call = engine, call
        # Saved, so that backward refuses to use them if they were changed in between.
        if call.pos_weight is None and call.weight is None:
            ctx.save_for_backward(input, target)
        else:
            tensors = (w for w in (call.pos_weight, call.weight) if isinstance(w, Tensor))
            ctx.save_for_backward(input, target, *tensors)
        return result

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        slopes, ctx.slopes = ctx.slopes, None  # given away once; a second backward computes them again
        again = torch.is_grad_enabled() or choice.transformed(grad_output)  # first by create_graph
        if slopes is None or again or not ctx.engine.scale(slopes, grad_output):
            input, target, *_ = ctx.saved_tensors
            slopes = _backward(input, target, grad_output, ctx.engine, ctx.call, by_reference=again)
        return slopes, None, None, None


def _forward(
    input: Tensor, target: Tensor, engine: ModuleType, call: Call, *, with_slopes: bool
) -> tuple[Tensor, Tensor | None]:
    loss, pos_weight, weight, reduction, dtype = call
    if reduction == "none":
        result, allowed = engine.items(loss, input, target, pos_weight, weight, dtype)
        slopes = None
    else:
        result, slopes, allowed = engine.total(
            loss, input, target, pos_weight, weight, dtype, mean=reduction == "mean", with_slopes=with_slopes
        )
    if not allowed and loss.defined:
        options.check_probabilities(input, target, torch.tensor(torch.nan))
    return result, slopes


def _backward(
    input: Tensor, target: Tensor, grad_output: Tensor, engine: ModuleType, call: Call, *, by_reference: bool
) -> Tensor:
    loss, pos_weight, weight, reduction, dtype = call
    mean = reduction == "mean"
    if by_reference:
        scale = grad_output / input.numel() if mean else grad_output
        return reference.slopes(loss, input, target, pos_weight, weight=weight, scale=scale)
    slopes: Tensor
    if reduction == "none":
        slopes = engine.slopes(loss, input, target, pos_weight, weight, grad_output)
    else:
        _, slopes, _ = engine.total(
            loss, input, target, pos_weight, weight, dtype, mean=mean, with_slopes=True, scale=grad_output
        )
    return slopes


# Function.apply without its Python part, which is about torch.func: kernels never run while that is active.
_apply = super(torch.autograd.Function, _Fused).apply
_USUAL: dict[tuple[Loss, str], Call] = {
    (loss, reduction): Call(loss, None, None, reduction, torch.float32)
    for loss in (BCE, BCE_WITH_LOGITS)
    for reduction in options.REDUCTIONS
}
