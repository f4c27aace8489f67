"""The losses as torch operations: forward by the chosen engine, and the backward pass.

A kernel computes the value and every item's derivative in one pass, so `mean` and `sum` store exactly one tensor of N:
the gradient itself, which backward hands on. Whatever is differentiated further, or transformed, takes the reference.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchbce.engine import reference, select, torch_internals
from torchbce.engine.call import LossCall
from torchbce.engine.check_values import check_values
from torchbce.engine.select import Kernels


def compute(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    """Return the reduced loss by the fastest engine that fits."""
    engine = select.kernels(input, target, call.tensors)
    if engine is None:
        return forward(input, target, reference, call)[0]
    return compute_by(engine, input, target, call)


def compute_by(engine: Kernels, input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    """Return the reduced loss by an engine's kernels."""
    if input.requires_grad and torch.is_grad_enabled():
        return _apply(input, target, engine, call)  # type: ignore[no-any-return]
    return forward(input, target, engine, call)[0]


def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    """Return the number of items that count, or their total weight if there are weights; 0-d float64."""
    return (select.kernels(input, target, call.tensors) or reference).count(input, target, call)


def forward(
    input: Tensor, target: Tensor, engine: Kernels, call: LossCall, *, need_grad: bool = False
) -> tuple[Tensor, Tensor | None]:
    """Return the value and, if needed, the gradient; raise for a value that is not allowed."""
    value, grad_input, allowed = engine.forward(input, target, call, need_grad=need_grad)
    if call.checked and not allowed:
        check_values(input, target, call)
    return value, grad_input


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, target: Tensor, engine: Kernels, call: LossCall) -> Tensor:
        value, ctx.grad_input = forward(input, target, engine, call, need_grad=call.reduction != "none")
        ctx.engine, ctx.call = engine, call
        # Saved, so that backward refuses to use them if they were changed in between.
        ctx.save_for_backward(input, target, *call.tensors)
        return value

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor, None, None, None]:
        input, target, *_ = ctx.saved_tensors  # always read: this raises where a tensor was changed since forward
        call, grad_input = ctx.call, ctx.grad_input
        ctx.grad_input = None  # handed on once; a second backward computes it again
        # Differentiated further (create_graph), transformed, or not readable by a kernel.
        if (
            torch.is_grad_enabled()
            or torch_internals.gradients_are_transformed(grad_output)
            or (call.reduction == "none" and not select.is_plain(grad_output))
        ):
            scale = grad_output / reference.divisor(input, call) if call.reduction == "mean" else grad_output
            grad_input = reference.grad(input, target, call, scale)
        elif grad_input is None or not ctx.engine.rescale(grad_input, grad_output, input, target, call):
            if call.reduction == "none":
                grad_input = ctx.engine.grad(input, target, call, grad_output)
            else:
                grad_input = ctx.engine.forward(input, target, call, need_grad=True, scale=grad_output)[1]
        return grad_input, None, None, None


# Kernels never run while torch.func is active.
_apply = torch_internals.fast_apply(_Fused)
