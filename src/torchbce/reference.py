"""The formulas run by plain torch operations: the oracle, and the path for every dtype, device and transform.

Nothing here is torch's own binary cross-entropy. The gradients are the formulas' own (torch's differ from what autograd
would make of its forward), and each is again differentiable: backward, double backward, forward mode, torch.func and
torch.compile all pass through the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchbce.call import Call
from torchbce.formulas.binding import Formula, bind
from torchbce.formulas.loss import Loss


def _word(of_tensors: Callable[..., Any], of_numbers: Callable[..., Any]) -> Callable[..., Any]:
    """A word that also takes parameters, which are plain numbers, or what was made of them."""
    return lambda v, *rest: of_tensors(v, *rest) if isinstance(v, Tensor) else of_numbers(v, *rest)


VOCABULARY = {
    "exp": _word(torch.exp, math.exp),
    "log": _word(torch.log, math.log),
    "log1p": _word(torch.log1p, math.log1p),
    "where": _word(torch.where, lambda condition, yes, no: yes if condition else no),
    "abs": _word(torch.abs, abs),
    "at_least": _word(torch.clamp_min, max),
    "held": _word(torch.Tensor.detach, float),
}
SAFE_INPUT = 0.5  # allowed as a probability and as a logit


# Plain dictionaries, as torch.compile traces through them; `register` fills them before a loss is used.
BOUND: dict[Formula, Formula] = {}
DERIVATIVES: dict[Formula, tuple[Formula | None, Formula | None]] = {}


def register(loss: Loss) -> Loss:
    """Make ready what torch.compile may need; second derivatives are found (or derived) when they are asked for."""
    for formula in (loss.value, loss.dx, loss.dy):
        if formula is not None:
            bound(formula)
    DERIVATIVES[loss.value] = loss.dx, loss.dy
    return loss


def register_all(module: ModuleType) -> None:
    """Register every loss of a module of formulas."""
    for value in vars(module).values():
        if isinstance(value, Loss):
            register(value)


def bound(formula: Formula) -> Formula:
    """A formula in torch's words."""
    found = BOUND.get(formula)
    if found is None:
        found = BOUND[formula] = bind(formula, VOCABULARY)
    return found


def _derivatives(loss: Loss, formula: Formula) -> tuple[Formula | None, Formula | None]:
    """By input and by target; None is 0."""
    found = DERIVATIVES.get(formula)
    if found is None:
        by = {loss.value: ("dx", "dy"), loss.dx: ("dxx", "dxy")}.get(formula, ("dxy", "dyy"))
        found = getattr(loss, by[0]), getattr(loss, by[1])
        DERIVATIVES[formula] = found
    return found


def apply(loss: Loss, formula: Formula | None, x: Tensor, y: Tensor, *constants: Tensor | float) -> Tensor:
    """A formula of a loss at every item, differentiable in x and y to any order; None is 0."""
    if formula is None:
        return torch.zeros_like(x)
    transformed = not torch.compiler.is_compiling() and (
        torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0
    )
    wanted = transformed or (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad))
    # Neither knows functions with a backward of their own.
    if (transformed and _functionalized()) or (not torch.compiler.is_compiling() and torch._C._is_tracing()):
        wanted = False
    if not wanted or formula not in (loss.value, loss.dx, loss.dy):  # further ones are differentiated by autograd
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]
    function = _Transformed if transformed else _Derived
    return function.apply(loss, formula, x, y, *constants)  # type: ignore[no-any-return, no-untyped-call]


def _functionalized() -> bool:
    """Whether `torch.func.functionalize` is among the transforms in force."""
    functorch = torch._C._functorch
    stack = functorch.get_interpreter_stack() or ()
    return any(level.key() == functorch.TransformType.Functionalize for level in stack)


class _Derived(torch.autograd.Function):
    """A formula whose derivatives are other formulas."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        _remember(ctx, loss, formula, x, y, *constants)
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        x, y, constants = _recall(ctx)
        by_x, by_y = _derivatives(ctx.loss, ctx.formula)
        # A traced backward is never differentiated again (torch.compile has no double backward).
        derivative = _plain if torch.compiler.is_compiling() else apply
        grad_x = grad * derivative(ctx.loss, by_x, x, y, *constants) if ctx.needs_input_grad[2] else None
        grad_y = grad * derivative(ctx.loss, by_y, x, y, *constants) if ctx.needs_input_grad[3] else None
        return None, None, grad_x, grad_y, *(None for _ in constants)


class _Transformed(torch.autograd.Function):
    """The same for torch.func and forward mode, which torch.compile does not trace and which cost some time."""

    generate_vmap_rule = True

    @staticmethod
    def forward(loss: Loss, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _remember(ctx, *inputs)
        ctx.save_for_forward(*ctx.to_save)

    backward = _Derived.backward

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, tangent_x: Tensor | None, tangent_y: Tensor | None, *___: None) -> Tensor:
        by_x, by_y = _derivatives(ctx.loss, ctx.formula)
        # torch switches forward mode off in here; without it a second forward derivative would silently be 0.
        with forward_ad._set_fwd_grad_enabled(True):
            x, y, constants = _recall(ctx)
            x, y = (forward_ad.unpack_dual(v, level=0).primal for v in (x, y))  # type: ignore[no-untyped-call]
            result = torch.zeros_like(x)
            if tangent_x is not None:
                result = result + tangent_x * apply(ctx.loss, by_x, x, y, *constants)
            if tangent_y is not None:
                result = result + tangent_y * apply(ctx.loss, by_y, x, y, *constants)
            return result


def _plain(_: Loss, formula: Formula | None, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
    return torch.zeros_like(x) if formula is None else bound(formula)(x, y, *constants)


def _remember(ctx: Any, loss: Loss, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> None:
    ctx.loss, ctx.formula = loss, formula
    ctx.numbers = [None if isinstance(c, Tensor) else c for c in constants]
    ctx.save_for_backward(x, y, *(c for c in constants if isinstance(c, Tensor)))


def _recall(ctx: Any) -> tuple[Tensor, Tensor, list[Any]]:
    x, y, *tensors = ctx.saved_tensors
    rest = iter(tensors)
    return x, y, [next(rest) if number is None else number for number in ctx.numbers]


def total(input: Tensor, target: Tensor, call: Call) -> Tensor:
    """The reduced loss: items in float32 or wider, sums in float64, rounded once to `result_dtype`."""
    items = _weighted(call.loss.value, input, target, call)
    if call.reduction == "none":
        return items.to(call.result_dtype)
    wide = torch.float32 if items.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    if call.reduction == "mean" and call.denominator is None:
        return items.mean(dtype=wide).to(call.result_dtype)
    total = items.sum(dtype=wide)
    return (total if call.reduction == "sum" else total / divisor(input, call)).to(call.result_dtype)


def divisor(input: Tensor, call: Call) -> Tensor | float:
    """Of a mean. Where nothing counts, 1: the sum is 0, and so is the mean."""
    given = call.denominator
    if given is None:
        return input.numel()
    return torch.where(given == 0, 1, given) if isinstance(given, Tensor) else given or 1.0


def slopes(input: Tensor, target: Tensor, call: Call, scale: Tensor | float) -> Tensor:
    """The derivative of every item by its input, times `scale`, in the input's dtype; it can be differentiated."""
    return (_weighted(call.loss.dx, input, target, call) * scale).to(input.dtype)


def count(input: Tensor, target: Tensor, call: Call) -> Tensor:
    """How many items count, or what they weigh together if there are weights."""
    kept = targets_and_kept(input, target, call, torch.float64)[1]
    assert kept is not None
    counted = kept if call.weight is None else torch.where(kept, _in_dtype(call.weight, torch.float64), 0.0)
    return counted.expand(input.shape).sum(dtype=torch.float64)


def targets_and_kept(input: Tensor, target: Tensor, call: Call, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """Each item's target before smoothing, and which items count; None if all do."""
    kept: Tensor | None = None
    if call.ignored is not None:
        # A comparison in the target's own dtype would round the number.
        kept = ~target.isnan() if math.isnan(call.ignored) else target.to(dtype) != call.ignored
    if call.class_dim is None:
        y = target.to(dtype)
    else:
        shape = [1] * input.ndim
        shape[call.class_dim] = input.size(call.class_dim)
        numbers = torch.arange(input.size(call.class_dim), device=target.device).reshape(shape)
        target = target.unsqueeze(call.class_dim)
        there = (target >= 0) & (target < input.size(call.class_dim))
        y = torch.where(there, (target == numbers).to(dtype), math.nan)
        kept = None if kept is None else kept.unsqueeze(call.class_dim).expand(input.shape)
    if call.mask is not None:
        mask = call.mask.to(torch.bool).expand(input.shape)
        kept = mask if kept is None else kept & mask
    if call.labels is not None and not math.isnan(call.labels.threshold):
        y = torch.where(y.isnan(), y, (y > call.labels.threshold).to(dtype))
    return y, kept


def _weighted(formula: Formula, input: Tensor, target: Tensor, call: Call) -> Tensor:
    dtype = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    if not dtype.is_floating_point:
        dtype = torch.promote_types(input.dtype, torch.float32)
    x, y, kept = input.to(dtype), target, None
    if call.is_plain:
        y = target.to(dtype)
    else:
        y, kept = targets_and_kept(input, target, call, dtype)
        if call.labels is not None:
            y = y * call.labels.factor + call.labels.shift
        if kept is not None:  # what is ignored may hold anything: it never reaches the formula, nor its derivative
            x, y = torch.where(kept, x, SAFE_INPUT), torch.where(kept, y, 0.0)
    chosen = zip(call.parameters, call.loss.defaults, strict=True)
    constants = (_in_dtype(default if given is None else given, dtype) for given, default in chosen)
    items = apply(call.loss, formula, x, y, *constants)
    if call.weight is not None:
        items = items * _in_dtype(call.weight, dtype)
    return items if kept is None else torch.where(kept, items, 0.0)


def _in_dtype(weight: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    return weight.to(dtype) if isinstance(weight, Tensor) else weight
