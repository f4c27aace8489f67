"""The formulas run by plain torch operations: the oracle, and the path for every dtype, device and transform.

Nothing here is torch's own binary cross-entropy. The gradients are the formulas' own (torch's differ from what autograd
would make of its forward), and each is again differentiable: backward, double backward, forward mode, torch.func and
torch.compile all pass through the same functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchbce.formulas import BCE, BCE_WITH_LOGITS, Formula, Loss, bind
from torchbce.options import Reduction

VOCABULARY = {
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "where": torch.where,
    "abs": torch.abs,
    "at_least": torch.clamp_min,
}


LOSSES = (BCE, BCE_WITH_LOGITS)
BOUND = {f: bind(f, VOCABULARY) for loss in LOSSES for f in (loss.value, loss.dx, loss.dy, loss.dxx, loss.dxy)}

# What each formula becomes when differentiated by x and by y. A formula not listed is differentiated by autograd.
DERIVATIVES: dict[Formula, tuple[Formula, Formula | None]] = {}
for _loss in LOSSES:
    DERIVATIVES[_loss.value] = _loss.dx, _loss.dy
    DERIVATIVES[_loss.dx] = _loss.dxx, _loss.dxy
    DERIVATIVES[_loss.dy] = _loss.dxy, None


def apply(formula: Formula, x: Tensor, y: Tensor, *constants: Tensor | float) -> Tensor:
    """A formula at every item, differentiable in x and y to any order."""
    transformed = not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )
    wanted = transformed or (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad))
    if not wanted or formula not in DERIVATIVES:
        return BOUND[formula](x, y, *constants)  # type: ignore[no-any-return]
    function = _Transformed if transformed else _Derived
    return function.apply(formula, x, y, *constants)  # type: ignore[no-any-return, no-untyped-call]


class _Derived(torch.autograd.Function):
    """A formula whose derivatives are other formulas."""

    @staticmethod
    def forward(ctx: Any, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        _remember(ctx, formula, x, y, *constants)
        return BOUND[formula](x, y, *constants)  # type: ignore[no-any-return]

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
        return BOUND[formula](x, y, *constants)  # type: ignore[no-any-return]

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
    return BOUND[formula](x, y, *constants)  # type: ignore[no-any-return]


def _remember(ctx: Any, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> None:
    ctx.formula = formula
    ctx.numbers = [None if isinstance(c, Tensor) else c for c in constants]
    ctx.save_for_backward(x, y, *(c for c in constants if isinstance(c, Tensor)))


def _recall(ctx: Any) -> tuple[Tensor, Tensor, list[Any]]:
    x, y, *tensors = ctx.saved_tensors
    rest = iter(tensors)
    return x, y, [next(rest) if number is None else number for number in ctx.numbers]


def total(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    *,
    weight: Tensor | float | None,
    reduction: Reduction,
    result_dtype: torch.dtype,
) -> Tensor:
    """The reduced loss: items in float32 or wider, sums in float64, rounded once to `result_dtype`."""
    items = _weighted(loss.value, loss, input, target, pos_weight, weight)
    if reduction == "none":
        return items.to(result_dtype)
    wide = torch.float32 if items.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    total = items.mean(dtype=wide) if reduction == "mean" else items.sum(dtype=wide)
    return total.to(result_dtype)


def slopes(
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    *,
    weight: Tensor | float | None,
    scale: Tensor | float,
) -> Tensor:
    """The derivative of every item by its input, times `scale`, in the input's dtype; it can be differentiated."""
    return (_weighted(loss.dx, loss, input, target, pos_weight, weight) * scale).to(input.dtype)


def _weighted(
    formula: Formula,
    loss: Loss,
    input: Tensor,
    target: Tensor,
    pos_weight: Tensor | float | None,
    weight: Tensor | float | None,
) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    pos_weight = 1.0 if pos_weight is None else pos_weight
    constants = (_in_dtype(pos_weight, dtype),) if loss.has_pos_weight else ()
    items = apply(formula, input.to(dtype), target.to(dtype), *constants)
    return items if weight is None else items * _in_dtype(weight, dtype)


def _in_dtype(weight: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    return weight.to(dtype) if isinstance(weight, Tensor) else weight
