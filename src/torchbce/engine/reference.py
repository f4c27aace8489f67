"""Run formulas by plain torch operations: the oracle, and the path for every dtype, device and transform.

Nothing here is torch's own binary cross-entropy. The gradients are the formulas' own (torch's differ from what autograd
would make of its forward), and each is again differentiable: backward, double backward, forward mode, torch.func and
torch.compile all pass through the same functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from torchbce.engine import graph_ops, torch_internals
from torchbce.engine.call import LossCall
from torchbce.formula.binding import Formula, bind
from torchbce.formula.loss import Loss


def _primitive(of_tensors: Callable[..., Any], of_numbers: Callable[..., Any]) -> Callable[..., Any]:
    """Return an operation on tensors and numbers, as a parameter may be either."""
    return lambda v, *rest: of_tensors(v, *rest) if isinstance(v, Tensor) else of_numbers(v, *rest)


def _log_unit(base: float, rest: Any) -> Any:
    """Return log(base + rest), base 0 or 1, with all digits of rest."""
    return PRIMITIVES["log1p" if base == 1.0 else "log"](rest)


def _abs(v: Tensor) -> Tensor:
    """Return |v| with the derivative of `formula.derivative`; torch's is 0 at 0, where branches of a formula meet."""
    return torch.where(v >= 0, v, -v)


PRIMITIVES: dict[str, Callable[..., Any]] = {
    "exp": _primitive(torch.exp, math.exp),
    "log": _primitive(torch.log, math.log),
    "log1p": _primitive(torch.log1p, math.log1p),
    "exp_unit": _primitive(torch.exp, math.exp),
    "log1p_unit": _primitive(torch.log1p, math.log1p),
    "log_unit": _log_unit,
    "where": _primitive(torch.where, lambda condition, yes, no: yes if condition else no),
    "abs": _primitive(_abs, abs),
    "at_least": _primitive(torch.clamp_min, max),
    "stop_gradient": _primitive(torch.Tensor.detach, float),
}
SAFE_INPUT = 0.5  # allowed as a probability and as a logit


# Plain dictionaries, as torch.compile traces through them; `register` fills them before a loss is used.
BOUND: dict[Formula, Formula] = {}
DERIVATIVES: dict[Formula, tuple[Formula | None, Formula | None]] = {}
REGISTERED: list[Loss] = []  # at their numbers


def register(loss: Loss) -> Loss:
    """Prepare what torch.compile may need; second derivatives are derived when they are first needed."""
    for formula in (loss.value, loss.dx, loss.dy):
        if formula is not None:
            bound(formula)
    DERIVATIVES[loss.value] = loss.dx, loss.dy
    loss.number = len(REGISTERED)
    REGISTERED.append(loss)
    return loss


def bound(formula: Formula) -> Formula:
    """Return a formula bound to torch operations."""
    bound_formula = BOUND.get(formula)
    if bound_formula is None:
        bound_formula = BOUND[formula] = bind(formula, PRIMITIVES)
    return bound_formula


def _derivatives(loss: Loss, formula: Formula) -> tuple[Formula | None, Formula | None]:
    """Return the derivatives by input and by target; None is 0."""
    derivatives = DERIVATIVES.get(formula)
    if derivatives is None:
        by = {loss.value: ("dx", "dy"), loss.dx: ("dxx", "dxy")}.get(formula, ("dxy", "dyy"))
        derivatives = getattr(loss, by[0]), getattr(loss, by[1])
        DERIVATIVES[formula] = derivatives
    return derivatives


def apply(loss: Loss, formula: Formula | None, x: Tensor, y: Tensor, *constants: Tensor | float) -> Tensor:
    """Return a formula of a loss at every item, differentiable in x and y to any order; None is 0."""
    if formula is None:
        return torch.zeros_like(x)
    compiling = torch.compiler.is_compiling()
    in_graph = graph_ops.needed()
    transformed = not compiling and (torch_internals.transforms_active() or torch_internals.forward_mode_active())
    wanted = in_graph or transformed or (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad))
    if not (compiling or torch_internals.custom_derivatives_work()):
        wanted = False
    if not wanted or formula not in (loss.value, loss.dx, loss.dy):  # further ones are differentiated by autograd
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]
    if in_graph:
        tensors = [c if isinstance(c, Tensor) else None for c in constants]
        numbers = [0.0 if isinstance(c, Tensor) else c for c in constants]
        by = "" if formula is loss.value else "x" if formula is loss.dx else "y"
        return _ITEMS(loss.number, by, x, y, tensors, numbers)  # type: ignore[no-any-return]
    function = _Transformed if transformed else _Derived
    return function.apply(loss, formula, x, y, *constants)  # type: ignore[no-any-return, no-untyped-call]


class _Derived(torch.autograd.Function):
    """A formula whose derivatives are other formulas."""

    @staticmethod
    def forward(ctx: Any, loss: Loss, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        _remember(ctx, loss, formula, x, y, *constants)
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        # A traced backward is never differentiated again (torch.compile has no double backward).
        return _backward(ctx, grad, _plain if torch.compiler.is_compiling() else apply)


class _Transformed(torch.autograd.Function):
    """`_Derived` for torch.func and forward mode, which torch.compile does not trace and which cost time."""

    @staticmethod
    def forward(loss: Loss, formula: Formula, x: Tensor, y: Tensor, *constants: Any) -> Tensor:
        return bound(formula)(x, y, *constants)  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _remember(ctx, *inputs)
        ctx.save_for_forward(*(v for v in inputs if isinstance(v, Tensor)))

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[int | None, ...], loss: Loss, formula: Formula, *items: Any
    ) -> tuple[Tensor, int]:
        """Apply the formula to batches, with the batch dimension first in all tensors."""
        dims = in_dims[2:]
        rank = max(v.ndim - (dim is not None) for v, dim in zip(items, dims, strict=True) if isinstance(v, Tensor))
        x, y, *constants = (
            v if dim is None else _batch_first(v, dim, rank) for v, dim in zip(items, dims, strict=True)
        )
        # One shape, so that autograd sums the gradient of an input without a batch over the batch.
        x, y = torch.broadcast_tensors(x, y)  # type: ignore[no-untyped-call]
        return _Transformed.apply(loss, formula, x, y, *constants), 0  # type: ignore[no-untyped-call]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        return _backward(ctx, grad, apply)

    @staticmethod
    def jvp(ctx: Any, _: None, __: None, tangent_x: Tensor | None, tangent_y: Tensor | None, *___: None) -> Tensor:
        by_x, by_y = _derivatives(ctx.loss, ctx.formula)
        with torch_internals.forward_mode_on():
            x, y, constants = _recall(ctx)
            x, y = (forward_ad.unpack_dual(v, level=0).primal for v in (x, y))  # type: ignore[no-untyped-call]
            result = torch.zeros_like(x)
            if tangent_x is not None:
                result = result + tangent_x * apply(ctx.loss, by_x, x, y, *constants)
            if tangent_y is not None:
                result = result + tangent_y * apply(ctx.loss, by_y, x, y, *constants)
            return result


def _backward(ctx: Any, grad: Tensor, derivative: Callable[..., Tensor]) -> tuple[Any, ...]:
    x, y, constants = _recall(ctx)
    by_x, by_y = _derivatives(ctx.loss, ctx.formula)
    grad_x = grad * derivative(ctx.loss, by_x, x, y, *constants) if ctx.needs_input_grad[2] else None
    grad_y = grad * derivative(ctx.loss, by_y, x, y, *constants) if ctx.needs_input_grad[3] else None
    return None, None, grad_x, grad_y, *(None for _ in constants)


def _batch_first(tensor: Tensor, dim: int, rank: int) -> Tensor:
    """Return a tensor with its batch dimension in front of `rank` dimensions."""
    first = tensor.movedim(dim, 0)
    return first.reshape(first.size(0), *(1,) * (rank - first.ndim + 1), *first.shape[1:])


def _items(number: int, by: str, x: Tensor, y: Tensor, tensors: list[Tensor | None], numbers: list[float]) -> Tensor:
    """Call `apply` for a registered loss or its derivative by number, as a graph holds no functions."""
    loss = REGISTERED[number]
    formula = {"": loss.value, "x": loss.dx, "y": loss.dy}[by]
    constants = (c if tensor is None else tensor for tensor, c in zip(tensors, numbers, strict=True))
    return _Transformed.apply(loss, formula, x, y, *constants)  # type: ignore[no-any-return, no-untyped-call]


_ITEMS = graph_ops.graph_op(
    "items(int number, str by, Tensor x, Tensor y, Tensor?[] tensors, float[] numbers) -> Tensor", _items
)


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


def forward(
    input: Tensor, target: Tensor, call: LossCall, *, need_grad: bool = False, scale: Tensor | None = None
) -> tuple[Tensor, None, bool]:
    """Return the value, which autograd differentiates; `check_values` finds values that are not allowed."""
    return value(input, target, call), None, False


def value(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    """Return the reduced loss: items in float32 or wider, sums in float64, rounded once to `result_dtype`."""
    items = _weighted(call.loss.value, input, target, call)
    if call.reduction == "none":
        return items.to(call.result_dtype)
    wide = torch.float32 if items.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    if call.reduction == "mean" and call.denominator is None:
        return items.mean(dtype=wide).to(call.result_dtype)
    total = items.sum(dtype=wide)
    return (total if call.reduction == "sum" else total / divisor(input, call)).to(call.result_dtype)


def divisor(input: Tensor, call: LossCall) -> Tensor | float:
    """Return the divisor of a mean; 1 where nothing counts, so that the mean is 0."""
    given = call.denominator
    if given is None:
        return input.numel()
    return torch.where(given == 0, 1, given) if isinstance(given, Tensor) else given or 1.0


def grad(input: Tensor, target: Tensor, call: LossCall, grad_output: Tensor | float) -> Tensor:
    """Return the derivative of every item's loss by its input, times `grad_output`; it is differentiable."""
    return (_weighted(call.loss.dx, input, target, call) * grad_output).to(input.dtype)


def rescale(grad_input: Tensor, factor: Tensor, input: Tensor, target: Tensor, call: LossCall) -> bool:
    """Return True: autograd multiplies the gradients."""
    return False


def count(input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    """Return the number of items that count, or their total weight if there are weights."""
    counted = targets_and_counted(input, target, call, _item_dtype(input, target))[1]
    assert counted is not None
    counted = counted if call.weight is None else torch.where(counted, _in_dtype(call.weight, torch.float64), 0.0)
    return counted.expand(input.shape).sum(dtype=torch.float64)


def targets_and_counted(
    input: Tensor, target: Tensor, call: LossCall, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Return each item's target before smoothing, and which items count; None if all do."""
    counted: Tensor | None = None
    if call.ignored is not None:
        # A comparison in the target's own dtype would round the number.
        counted = ~target.isnan() if math.isnan(call.ignored) else target.to(dtype) != call.ignored
    if call.class_dim is None:
        y = target.to(dtype)
    else:
        shape = [1] * input.ndim
        shape[call.class_dim] = input.size(call.class_dim)
        numbers = torch.arange(input.size(call.class_dim), device=target.device).reshape(shape)
        target = target.unsqueeze(call.class_dim)
        there = (target >= 0) & (target < input.size(call.class_dim))
        y = torch.where(there, (target == numbers).to(dtype), math.nan)
        counted = None if counted is None else counted.unsqueeze(call.class_dim).expand(input.shape)
    if call.mask is not None:
        mask = call.mask.to(torch.bool).expand(input.shape)
        counted = mask if counted is None else counted & mask
    if call.target_transform is not None and not math.isnan(call.target_transform.threshold):
        y = torch.where(y.isnan(), y, (y > call.target_transform.threshold).to(dtype))
    return y, counted


def _weighted(formula: Formula, input: Tensor, target: Tensor, call: LossCall) -> Tensor:
    dtype = _item_dtype(input, target)
    x, y, counted = input.to(dtype), target, None
    if call.counts_all:
        y = target.to(dtype)
    else:
        y, counted = targets_and_counted(input, target, call, dtype)
        if call.target_transform is not None:
            y = y * call.target_transform.factor + call.target_transform.shift
        if counted is not None:  # ignored items may hold anything: they never reach the formula or its derivative
            x, y = torch.where(counted, x, SAFE_INPUT), torch.where(counted, y, 0.0)
    chosen = zip(call.parameters, call.loss.defaults, strict=True)
    constants = (_in_dtype(default if given is None else given, dtype) for given, default in chosen)
    items = apply(call.loss, formula, x, y, *constants)
    if call.weight is not None:
        items = items * _in_dtype(call.weight, dtype)
    return items if counted is None else torch.where(counted, items, 0.0)


def _item_dtype(input: Tensor, target: Tensor) -> torch.dtype:
    """Return the dtype in which items are computed, and targets compared with the ignored one."""
    dtype = torch.promote_types(torch.promote_types(input.dtype, target.dtype), torch.float32)
    return dtype if dtype.is_floating_point else torch.promote_types(input.dtype, torch.float32)


def _in_dtype(weight: Tensor | float, dtype: torch.dtype) -> Tensor | float:
    return weight.to(dtype) if isinstance(weight, Tensor) else weight
