"""The loss of a head as a torch operation, which computes loss and gradients in one pass over the tiles, in forward.

Backward hands the gradients on. What is differentiated further, or transformed, takes plain torch, which stores the
logits; losses that are not reduced, and a second backward, make the tiles again.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from torchbce.engine import torch_internals
from torchbce.engine.torch_internals import PLAIN_TYPES
from torchbce.tiled import passes
from torchbce.tiled.passes import Gradients, Wanted
from torchbce.tiled.problem import Head, Problem
from torchbce.tiled.products import HALVES, full_precision, working_dtype


def compute(head: Head, problem: Problem, learning_rate: float | None = None) -> Tensor:
    """Return the loss; with a learning rate, backward takes the step of SGD for weight and bias."""
    tensors = [tensor for tensor in (*head, *problem.all_tensors) if tensor is not None]
    if torch_internals.watcher() is not None or any(type(tensor) not in PLAIN_TYPES for tensor in tensors):
        if learning_rate is not None:
            raise RuntimeError("sgd_lr needs plain tensors, outside of torch.func and other transforms")
        return plain(head, problem)
    if not (torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in head)):
        return _value(head, problem)
    if learning_rate is not None:
        return _Stepped.apply(*head, problem, learning_rate)  # type: ignore[no-any-return, no-untyped-call]
    return _Tiled.apply(*head, problem)  # type: ignore[no-any-return, no-untyped-call]


def plain(head: Head, problem: Problem) -> Tensor:
    """Return the loss by torch operations on all logits, in the dtype that tiles are computed in."""
    wide = working_dtype(head.input.dtype)
    with full_precision(head.input):
        input, weight, bias = head.input.to(wide), head.weight.to(wide), head.bias
        logits = torch.nn.functional.linear(input, weight, None if bias is None else bias.to(wide))
        reduction = "none" if problem.reduction == "none" else "sum"
        target, options = problem.target.matrix(), {**problem.numbers, **problem.tensors}
        value = problem.loss(logits, target, reduction=reduction, **options)
    return value.to(problem.result_dtype) if reduction == "none" else _reduced(value, head, problem)


class _Tiled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, problem: Problem) -> Tensor:
        head = _keep(ctx, input, weight, bias, problem)
        if problem.reduction == "none":
            return _value(head, problem)
        with full_precision(head.input):
            total, ctx.gradients = passes.total_and_gradients(head, problem, problem.scale, ctx.wanted)
        return _reduced(total, head, problem)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        head, problem = _kept(ctx)
        if torch.is_grad_enabled() or torch_internals.gradients_are_transformed(grad_output):
            return *_differentiable(head, problem, ctx.wanted, grad_output), None
        gradients, ctx.gradients = ctx.gradients, None  # handed on once; a second backward computes them again
        with full_precision(head.input):
            if problem.reduction == "none":
                gradients = passes.item_gradients(head, problem, grad_output, ctx.wanted)
            elif gradients is None or not _rescale(gradients, grad_output):
                scale = problem.scale * grad_output.item()
                gradients = passes.total_and_gradients(head, problem, scale, ctx.wanted)[1]
        return *gradients, None


class _Stepped(torch.autograd.Function):
    """Step weight and bias by SGD in backward, block by block; their gradients are never stored."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, problem: Problem, learning_rate: float
    ) -> Tensor:
        ctx.learning_rate, ctx.address = learning_rate, weight.data_ptr()
        return _value(_keep(ctx, input, weight, bias, problem), problem)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        head, problem = _kept(ctx)
        if head.weight.data_ptr() != ctx.address:
            raise RuntimeError("sgd_lr steps the weight itself; a hook on saved tensors gives backward a copy of it")
        with full_precision(head.input):
            scale = problem.scale * grad_output.item()
            of_input = passes.step(head, problem, scale, ctx.learning_rate, ctx.wanted)
        return of_input, None, None, None, None


def _keep(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, problem: Problem) -> Head:
    ctx.problem, ctx.gradients = problem, None
    ctx.wanted = Wanted(*ctx.needs_input_grad[:3])
    # Saved, so that backward refuses to use them if they were changed in between.
    ctx.save_for_backward(input, weight, bias, *problem.all_tensors)
    return Head(input, weight, bias)


def _kept(ctx: Any) -> tuple[Head, Problem]:
    return Head(*ctx.saved_tensors[:3]), ctx.problem


def _value(head: Head, problem: Problem) -> Tensor:
    with torch.no_grad(), full_precision(head.input):
        if problem.reduction == "none":
            return passes.items(head, problem, problem.result_dtype)
        return _reduced(passes.total(head, problem), head, problem)


def _reduced(total: Tensor, head: Head, problem: Problem) -> Tensor:
    """Return the reduced loss: the mean of no items is NaN, as in torch; where all are ignored it is 0."""
    if not problem.divisor and not problem.grid.rows * problem.grid.columns:
        return torch.full_like(total, math.nan, dtype=problem.result_dtype)
    return (total * problem.scale).to(problem.result_dtype)


def _rescale(gradients: Gradients, factor: Tensor) -> bool:
    """Multiply in place; return False where that would round 16-bit gradients twice, or lose them to underflow."""
    given = [gradient for gradient in gradients if gradient is not None]
    if factor.is_cpu and factor.item() == 1.0:
        return True
    if any(gradient.dtype in HALVES for gradient in given):
        return False
    for gradient in given:
        gradient.mul_(factor)
    return True


def _differentiable(head: Head, problem: Problem, wanted: Wanted, grad_output: Tensor) -> tuple[Tensor | None, ...]:
    """Return gradients that can be differentiated.

    They are taken by views of the head's tensors, as one tensor may be computed from another.
    """
    with torch.enable_grad():
        input, weight, bias = head
        views = Head(input.view_as(input), weight.view_as(weight), None if bias is None else bias.view_as(bias))
        value = plain(views, problem)
        chosen = [tensor for tensor, wants in zip(views, wanted, strict=True) if wants and tensor is not None]
        gradients = iter(torch.autograd.grad(value, chosen, grad_output, create_graph=True))
    return tuple(next(gradients) if wants else None for wants in wanted)
