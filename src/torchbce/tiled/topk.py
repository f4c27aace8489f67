"""The labels with the largest logits, of logits that are never stored."""

from __future__ import annotations

import operator

import torch
from torch import Tensor

from torchbce.tiled.grid import grid_of
from torchbce.tiled.problem import Head, check_head
from torchbce.tiled.products import factor_dtype, full_precision, logits_of, working_dtype


@torch.no_grad()
def linear_topk(
    input: Tensor, linear_weight: Tensor, k: int, *, linear_bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""The k labels with the largest logits ``input @ linear_weight.T + linear_bias`` of each row.

    Args:
        input: features (N, D).
        linear_weight: (C, D), one row per label.
        k: how many, from 1 to C.
        linear_bias: (C,).

    Returns:
        The logits (N, k), largest first, in float32 or wider, and the numbers of their labels (N, k). ``sigmoid`` of a
        logit is the label's probability. Where logits are equal, any of their labels may come first.

    Raises:
        ValueError: k is less than 1 or more than there are labels; shapes that do not fit.

    Example:
        >>> import torch
        >>> logits, labels = linear_topk(torch.ones(1, 1), torch.tensor([[0.5], [2.0], [1.0]]), 2)
        >>> labels
        tensor([[1, 2]])
    """
    head = Head(input, linear_weight, linear_bias)
    check_head(head)
    labels = linear_weight.size(0)
    if isinstance(k, bool) or not hasattr(k, "__index__") or not 1 <= operator.index(k) <= labels:
        raise ValueError(f"k is {k!r}; it is a whole number from 1 to the {labels} labels")
    k = operator.index(k)
    dtype, factors = working_dtype(input.dtype), factor_dtype(input)
    grid = grid_of(input.size(0), labels, dtype, on_gpu=input.is_cuda)
    best = torch.empty(input.size(0), k, dtype=dtype, device=input.device)
    where = torch.empty(input.size(0), k, dtype=torch.int64, device=input.device)
    with full_precision(input):
        for rows in grid.row_blocks():
            features = input[rows].to(factors)
            values = best.new_empty(features.size(0), 0)
            numbers = where.new_empty(features.size(0), 0)
            for columns in grid.column_blocks():
                bias = None if linear_bias is None else linear_bias[columns].to(dtype)
                logits = logits_of(features, linear_weight[columns].to(factors), bias)
                here, places = logits.topk(min(k, logits.size(1)))
                values = torch.cat([values, here], 1)
                numbers = torch.cat([numbers, places + columns.start], 1)
                values, chosen = values.topk(min(k, values.size(1)))
                numbers = numbers.gather(1, chosen)
            best[rows], where[rows] = values, numbers
    return best, where
