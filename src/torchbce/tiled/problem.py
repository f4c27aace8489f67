"""The checked arguments of a call: loss, targets and options, and their values at a tile."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce.engine.call import FLOATS
from torchbce.engine.compute import is_autocast
from torchbce.engine.options import Normalize, Reduction
from torchbce.engine.validate import (
    check_tensors,
    check_weight,
    checked_normalize,
    ignored,
    reduction_named,
    refuse_dtype,
)
from torchbce.losses.denominator import counted_items
from torchbce.losses.fused_loss import FusedLoss
from torchbce.tiled.grid import Grid, grid_of, part
from torchbce.tiled.products import factor_dtype, working_dtype
from torchbce.tiled.targets import Matrix, Target, target_of

Tile = tuple[slice, slice]
LossFunction = Callable[..., Tensor]


class Head(NamedTuple):
    """Factors of the logits: features (N, D), a weight (C, D) and perhaps a bias (C,)."""

    input: Tensor
    weight: Tensor
    bias: Tensor | None


class Problem(NamedTuple):
    """A loss of the logits, with targets and options.

    Attributes:
        loss: a function of logits and targets.
        numbers, tensors: its options; each tensor broadcasts to the logits.
        target, grid: the targets, and how the logits are cut.
        reduction: of all losses.
        divisor: of a mean.
        result_dtype: of the value.
        factors: the dtype of the factors of products.
    """

    loss: LossFunction
    numbers: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    target: Target
    grid: Grid
    reduction: Reduction
    divisor: float
    result_dtype: torch.dtype
    factors: torch.dtype

    @property
    def scale(self) -> float:
        """Factor of the sum of the losses; a mean of nothing is NaN, and its gradients are 0."""
        return 1.0 / self.divisor if self.divisor else 1.0

    @property
    def all_tensors(self) -> tuple[Tensor, ...]:
        return (*self.target.tensors, *self.tensors.values())

    def loss_of(self, logits: Tensor, tile: Tile, reduction: str) -> Tensor:
        """Return the loss of the logits of a tile."""
        tensors = {name: part(tensor, self.grid, *tile) for name, tensor in self.tensors.items()}
        try:
            return self.loss(logits, self.target.tile(*tile), reduction=reduction, **self.numbers, **tensors)
        except (ValueError, RuntimeError) as error:
            rows, columns = tile
            if (rows.start, columns.start) != (0, 0):
                error.add_note(f"Positions count from row {rows.start}, column {columns.start} of the target.")
            raise


def problem_of(
    head: Head,
    target: object,
    loss: LossFunction,
    reduction: str,
    normalize: Normalize | None,
    options: Mapping[str, Any],
    chunk: int | None = None,
) -> Problem:
    """Return the checked arguments of a call.

    Raises:
        TypeError: not tensors, or not a loss of logits.
        ValueError, RuntimeError: shapes, dtypes, devices, positions or options that do not fit.
    """
    check_head(head)
    check_loss(loss)
    mode = reduction_named(reduction)
    normalize = "numel" if normalize is None else normalize
    for name in ("num_classes", "class_dim"):
        if options.get(name) is not None:
            raise ValueError(
                f"{name} has no use here: labels are the rows of the weight; write target=numbers[:, None]"
            )
    for name in ("size_average", "reduce"):
        if options.get(name) is not None:
            raise TypeError(f"there is no option {name!r}, which torch has deprecated; write reduction='mean' or 'sum'")
    rows, labels, dtype = head.input.size(0), head.weight.size(0), working_dtype(head.input.dtype)
    grid = grid_of(rows, labels, dtype, chunk, on_gpu=head.input.is_cuda)
    given = {name: value for name, value in options.items() if value is not None}
    tensors = {name: value for name, value in given.items() if isinstance(value, Tensor)}
    like = head.input.detach().new_empty(()).expand(grid.rows, grid.columns)
    for name, tensor in tensors.items():
        check_weight(name, tensor, like)
    numbers = {name: value for name, value in given.items() if name not in tensors}
    targets = target_of(target, grid, head.input, dtype)
    if isinstance(targets, Matrix) and "target_threshold" not in numbers:
        targets.check_whole_numbers(ignored(numbers))  # type: ignore[arg-type]
    return Problem(
        loss=loss,
        numbers=numbers,
        tensors=tensors,
        target=targets,
        grid=grid,
        reduction=mode,
        divisor=_divisor(mode, normalize, targets, grid, numbers, tensors),
        result_dtype=result_dtype(head.input, targets.dtype),
        factors=factor_dtype(head.input),
    )


def check_head(head: Head) -> None:
    """Raise unless the shapes, dtypes and devices of a head fit."""
    input, weight, bias = head
    check_tensors(input=input, linear_weight=weight)
    if bias is not None:
        check_tensors(input=input, linear_bias=bias)
    if input.ndim != 2 or weight.ndim != 2 or input.size(1) != weight.size(1):
        raise ValueError(
            f"input is (N, D) and linear_weight (C, D); they have the shapes {tuple(input.shape)} and "
            f"{tuple(weight.shape)}" + ("; write input.flatten(0, -2)" if input.ndim > 2 else "")
        )
    if bias is not None and bias.size() != weight.size()[:1]:
        raise ValueError(
            f"linear_bias has the shape {tuple(bias.shape)}; it has one value for each of the {weight.size(0)} rows of "
            "linear_weight"
        )
    named = {"input": input, "linear_weight": weight} | ({} if bias is None else {"linear_bias": bias})
    alike = is_autocast(input) or len({tensor.dtype for tensor in named.values()}) == 1
    if not alike or not all(tensor.dtype in FLOATS for tensor in named.values()):
        refuse_dtype(RuntimeError, "input, weight and bias must be floating point, of one dtype", **named)


def check_loss(loss: LossFunction) -> None:
    """Raise unless the loss is a function of logits, neither a module nor a loss of probabilities."""
    if isinstance(loss, torch.nn.Module) or (isinstance(loss, type) and issubclass(loss, torch.nn.Module)):
        named = loss if isinstance(loss, type) else type(loss)
        raise TypeError(
            f"loss is a module, {named.__name__}; pass the function, and its options by name, such as "
            "loss=torchbce.focal_loss_with_logits, gamma=2.0"
        )
    if not callable(loss):
        raise TypeError(f"loss is a function of logits and targets, got {type(loss).__name__}")
    name = getattr(loss, "__name__", "")
    ours = getattr(loss, "__module__", "").startswith("torchbce.losses") and not isinstance(loss, FusedLoss)
    if (ours and not name.endswith("_with_logits")) or (isinstance(loss, FusedLoss) and loss.loss.checks_input):
        raise TypeError(
            f"{name} takes probabilities; a product of features and weights is a logit: pass a loss of logits"
        )


def result_dtype(input: Tensor, target: torch.dtype) -> torch.dtype:
    """Return the dtype of the result: the wider of input and target, at least float32 under autocast."""
    dtype = torch.promote_types(input.dtype, target) if target in FLOATS else input.dtype
    return torch.promote_types(dtype, torch.float32) if is_autocast(input) else dtype


def _divisor(
    reduction: Reduction,
    normalize: Normalize,
    target: Target,
    grid: Grid,
    numbers: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
) -> float:
    """Return the divisor of the sum; 1 unless the reduction is a mean."""
    normalize = checked_normalize(normalize, reduction)
    if isinstance(normalize, Tensor):
        return float(normalize.item())
    if normalize == "numel":
        return float(grid.rows * grid.columns) if reduction == "mean" else 1.0
    if normalize == "batch":
        return float(grid.rows)
    if not isinstance(normalize, str):
        return normalize
    weighed = {**numbers, **tensors}.get("weight") if normalize == "weight" else None

    without, total = ignored(numbers), 0.0  # type: ignore[arg-type]
    for tile in grid.tiles():
        mask, weight = (
            part(given, grid, *tile) if isinstance(given, Tensor) else given for given in (tensors.get("mask"), weighed)
        )
        total += counted_items(target.tile(*tile), without, mask, weight).item()
    return total
