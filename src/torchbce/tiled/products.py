"""Multiply matrices with sums in float32 or wider, whatever the dtype of the factors."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor

HALVES = (torch.float16, torch.bfloat16)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which logits, their slopes and sums of products are computed."""
    return torch.float64 if dtype is torch.float64 else torch.float32


def factor_dtype(input: Tensor) -> torch.dtype:
    """Return the dtype of the factors: autocast's or the input's; 16 bits only if the product can be wider."""
    wide = working_dtype(input.dtype)
    if not (input.is_cuda and hasattr(torch.ops.aten.mm, "dtype")):
        return wide
    chosen = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else input.dtype
    return chosen if chosen in HALVES and wide is torch.float32 else wide


def logits_of(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return input weight^T + bias."""
    if input.dtype in HALVES:
        product = torch.mm(input, weight.T, out_dtype=torch.float32)
        return product if bias is None else product.add_(bias)
    return torch.mm(input, weight.T) if bias is None else torch.addmm(bias, input, weight.T)


def add_product(total: Tensor, left: Tensor, right: Tensor, scale: float) -> None:
    """Add scale left right to `total` in place."""
    if right.dtype in HALVES:
        total.add_(torch.mm(left, right, out_dtype=torch.float32), alpha=scale)
    else:
        total.addmm_(left, right, alpha=scale)


def full_precision(input: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Return a context without autocast, which would round the logits."""
    device = input.device.type
    if not torch.amp.is_autocast_available(device):
        return contextlib.nullcontext()
    return torch.autocast(device, enabled=False)
