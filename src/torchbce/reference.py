"""The formulas run by plain torch operations: the oracle, and the path for every dtype, device and transform.

Nothing here is torch's own binary cross-entropy. The gradients are the formulas' own (torch's differ from what autograd
would make of its forward), and each is again differentiable: backward, double backward, forward mode, torch.func and
torch.compile all pass through the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchbce import formulas
from torchbce.options import Reduction

Formula = Callable[..., Tensor]

VOCABULARY = {
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "where": torch.where,
    "abs": torch.abs,
    "at_least": torch.clamp_min,
}

bce = formulas.bind(formulas.bce, VOCABULARY)
bce_dx = formulas.bind(formulas.bce_dx, VOCABULARY)
bce_dy = formulas.bind(formulas.bce_dy, VOCABULARY)
bce_dxx = formulas.bind(formulas.bce_dxx, VOCABULARY)
bce_dxy = formulas.bind(formulas.bce_dxy, VOCABULARY)
bce_with_logits = formulas.bind(formulas.bce_with_logits, VOCABULARY)
bce_with_logits_dx = formulas.bind(formulas.bce_with_logits_dx, VOCABULARY)
bce_with_logits_dy = formulas.bind(formulas.bce_with_logits_dy, VOCABULARY)
bce_with_logits_dxx = formulas.bind(formulas.bce_with_logits_dxx, VOCABULARY)
bce_with_logits_dxy = formulas.bind(formulas.bce_with_logits_dxy, VOCABULARY)

# What each formula becomes when differentiated by x and by y. A formula not listed is differentiated by autograd.
DERIVATIVES: dict[Formula, tuple[Formula, Formula | None]] = {
    bce: (bce_dx, bce_dy),
    bce_dx: (bce_dxx, bce_dxy),
    bce_dy: (bce_dxy, None),
    bce_with_logits: (bce_with_logits_dx, bce_with_logits_dy),
    bce_with_logits_dx: (bce_with_logits_dxx, bce_with_logits_dxy),
    bce_with_logits_dy: (bce_with_logits_dxy, None),
}


def apply(formula: Formula, x: Tensor, y: Tensor, *constants: Tensor | float) -> Tensor:
    """A formula at every item, differentiable in x and y to any order."""
    transformed = not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )
    wanted = transformed or (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad))
    if not wanted or formula not in DERIVATIVES:
        return formula(x, y, *constants)
    function = _Transformed if transformed else _Derived
    return function.apply(formula, x, y, *constants)  # type: ignore[no-any-return, no-untyped-call]


class _Derived(torch.autograd.Function):
    """A formula whose derivatives are other formulas."""

    @staticmethod
    def forward(ctx: Any, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        _remember(ctx, formula, x, y, *constants)
        return formula(x, y, *constants)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, y, constants = _recall(ctx)
        by_x, by_y = DERIVATIVES[ctx.formula]
        # A traced backward is never differentiated again (torch.compile has no double backward).
        derivative = _plain if torch.compiler.is_compiling() else apply
        grad_x = grad * derivative(by_x, x, y, *constants) if ctx.needs_input_grad[1] else None
        grad_y = grad * derivative(by_y, x, y, *constants) if by_y and ctx.needs_input_grad[2] else None
        return None, grad_x, grad_y, *(None for _ in constants)


class _Transformed(torch.autograd.Function):
    """The same for torch.func and forward mode, which torch.compile does not trace and which cost some time."""

    generate_vmap_rule = True

    @staticmethod
    def forward(formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        return formula(x, y, *constants)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _remember(ctx, *inputs)
        ctx.save_for_forward(*ctx.to_save)

    backward = _Derived.backward

    @staticmethod
    def jvp(ctx: Any, _: None, tangent_x: Tensor | None, tangent_y: Tensor | None, *__: None) -> Tensor:
        by_x, by_y = DERIVATIVES[ctx.formula]
        # torch switches forward mode off in here; without it a second forward derivative would silently be 0.
        with forward_ad._set_fwd_grad_enabled(True):
            x, y, constants = _recall(ctx)
            x, y = (forward_ad.unpack_dual(v, level=0).primal for v in (x, y))  # type: ignore[no-untyped-call]
            result = torch.zeros_like(x)
            if tangent_x is not None:
                result = result + tangent_x * apply(by_x, x, y, *constants)
            if tangent_y is not None and by_y is not None:
                result = result + tangent_y * apply(by_y, x, y, *constants)
            return result


def _plain(formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
    return formula(x, y, *constants)


def _remember(ctx: Any, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> None:
    ctx.formula = formula
    ctx.numbers = [None if isinstance(c, Tensor) else c for c in constants]
    ctx.save_for_backward(x, y, *(c for c in constants if isinstance(c, Tensor)))


def _recall(ctx: Any) -> tuple[Tensor, Tensor, list[Any]]:
    x, y, *tensors = ctx.saved_tensors
    rest = iter(tensors)
    return x, y, [next(rest) if number is None else number for number in ctx.numbers]


def loss(
    formula: Formula,
    input: Tensor,
    target: Tensor,
    *constants: Tensor | float,
    weight: Tensor | float | None,
    reduction: Reduction,
    result_dtype: torch.dtype,
) -> Tensor:
    """The reduced loss: items in float32 or wider, sums in float64, rounded once to `result_dtype`."""
    dtype = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    constants = tuple(c.to(dtype) if isinstance(c, Tensor) else c for c in constants)
    items = apply(formula, input.to(dtype), target.to(dtype), *constants)
    if weight is not None:
        items = items * (weight.to(dtype) if isinstance(weight, Tensor) else weight)
    if reduction == "none":
        return items.to(result_dtype)
    wide = torch.float32 if items.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    total = items.mean(dtype=wide) if reduction == "mean" else items.sum(dtype=wide)
    return total.to(result_dtype)
