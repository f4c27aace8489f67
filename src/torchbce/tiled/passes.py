"""Loop over tiles: compute each tile's logits, losses and slopes, and add its part of the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.tiled.problem import Head, Problem, Tile
from torchbce.tiled.products import add_product, logits_of, working_dtype

Slopes = Callable[[Tensor, Tile], Tensor]


class Wanted(NamedTuple):
    """Flags: which of a head's tensors need a gradient."""

    input: bool
    weight: bool
    bias: bool


class Gradients(NamedTuple):
    """Gradients by a head's tensors."""

    input: Tensor | None
    weight: Tensor | None
    bias: Tensor | None


def total(head: Head, problem: Problem) -> Tensor:
    """Return the sum of all losses, 0-d float64."""
    return total_and_gradients(head, problem, 1.0, Wanted(False, False, False))[0]


def total_and_gradients(head: Head, problem: Problem, scale: float, wanted: Wanted) -> tuple[Tensor, Gradients]:
    """Return the sum of all losses, 0-d float64, and its gradients times `scale`."""
    result = torch.zeros((), dtype=torch.float64, device=head.input.device)

    def slopes(logits: Tensor, tile: Tile) -> Tensor:
        value, slope = loss_and_slopes(logits, problem, tile, need_slopes=any(wanted))
        result.add_(value)
        return slope

    return result, gradients(head, problem, slopes, scale, wanted)


def loss_and_slopes(logits: Tensor, problem: Problem, tile: Tile, *, need_slopes: bool) -> tuple[Tensor, Tensor]:
    """Return the sum of a tile's losses and its derivative by each logit (if not needed, the logits)."""
    if not need_slopes:
        return problem.loss_of(logits, tile, "sum"), logits
    with torch.enable_grad():
        value = problem.loss_of(logits.requires_grad_(), tile, "sum")
    return value.detach(), torch.autograd.grad(value, logits)[0]


def items(head: Head, problem: Problem, dtype: torch.dtype) -> Tensor:
    """Return the loss of each item."""
    out = torch.empty(problem.grid.rows, problem.grid.columns, dtype=dtype, device=head.input.device)

    def write(logits: Tensor, tile: Tile) -> Tensor:
        out[tile] = problem.loss_of(logits, tile, "none")
        return logits

    gradients(head, problem, write, 1.0, Wanted(False, False, False))
    return out


def item_gradients(head: Head, problem: Problem, grad_output: Tensor, wanted: Wanted) -> Gradients:
    """Return the gradients of the sum of all losses times `grad_output`, which is as large as the logits."""

    def slopes(logits: Tensor, tile: Tile) -> Tensor:
        with torch.enable_grad():
            losses = problem.loss_of(logits.requires_grad_(), tile, "none")
        return torch.autograd.grad(losses, logits, grad_output[tile].to(losses.dtype))[0]

    return gradients(head, problem, slopes, 1.0, wanted)


def gradients(
    head: Head,
    problem: Problem,
    slopes: Slopes,
    scale: float,
    wanted: Wanted,
    finished: Callable[[slice, Tensor | None, Tensor | None], None] | None = None,
) -> Gradients:
    """Return the gradients of the head's tensors from the slopes of all logits, times `scale`.

    `finished` is called with the gradients of each block of weight and bias, which are then not stored.
    """
    dtype, factors = working_dtype(head.input.dtype), problem.factors
    of_input = torch.zeros_like(head.input, dtype=dtype) if wanted.input else None
    stored = Gradients(of_input, None, None) if finished is not None else _storage(head, of_input, wanted)
    for columns in problem.grid.column_blocks():
        weight = head.weight[columns].to(factors)
        bias = None if head.bias is None else head.bias[columns].to(dtype)
        of_weight = _zeros(stored.weight, columns, weight, dtype) if wanted.weight else None
        of_bias = _zeros(stored.bias, columns, weight.new_empty(weight.size(0)), dtype) if wanted.bias else None
        for rows in problem.grid.row_blocks():
            input = head.input[rows].to(factors)
            slope = slopes(logits_of(input, weight, bias), (rows, columns))
            if of_bias is not None:
                of_bias.add_(slope.sum(0), alpha=scale)
            if of_input is not None or of_weight is not None:
                slope = slope.to(factors)  # once for both
            if of_input is not None:
                add_product(of_input[rows], slope, weight, scale)
            if of_weight is not None:
                add_product(of_weight, slope.T, input, scale)
        if finished is not None:
            finished(columns, of_weight, of_bias)
        for whole, block in ((stored.weight, of_weight), (stored.bias, of_bias)):
            if whole is not None and block is not None and whole.dtype != dtype:
                whole[columns] = block
    return stored._replace(input=None if of_input is None else of_input.to(head.input.dtype))


def _storage(head: Head, of_input: Tensor | None, wanted: Wanted) -> Gradients:
    return Gradients(
        of_input,
        torch.empty_like(head.weight, memory_format=torch.contiguous_format) if wanted.weight else None,
        torch.empty_like(head.bias) if wanted.bias and head.bias is not None else None,
    )


def _zeros(stored: Tensor | None, columns: slice, like: Tensor, dtype: torch.dtype) -> Tensor:
    """Return zeros for a block's gradient: a view of the stored gradient, if its dtype is wide enough to sum in."""
    if stored is not None and stored.dtype == dtype:
        return stored[columns].zero_()
    return torch.zeros_like(like, dtype=dtype)


def step(head: Head, problem: Problem, scale: float, learning_rate: float, wanted: Wanted) -> Tensor | None:
    """Step weight and bias by SGD, where their gradients are wanted; return the input's gradient times `scale`."""

    def slopes(logits: Tensor, tile: Tile) -> Tensor:
        return loss_and_slopes(logits, problem, tile, need_slopes=True)[1]

    def finished(columns: slice, of_weight: Tensor | None, of_bias: Tensor | None) -> None:
        if of_weight is not None:
            head.weight[columns].sub_(of_weight, alpha=learning_rate)
        if of_bias is not None and head.bias is not None:
            head.bias[columns].sub_(of_bias, alpha=learning_rate)

    return gradients(head, problem, slopes, scale, wanted, finished).input
