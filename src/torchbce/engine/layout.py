"""Lay tensors out along the items: one order for all, and broadcast weights as runs that repeat."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

ONCE = (1, 1)  # the `inner` and `period` of an absent tensor


class Pattern(NamedTuple):
    """Item i, in memory order, has weight `values[(i // inner) % period]`; `values` lie one after another."""

    values: Tensor
    inner: int
    period: int


def in_one_order(input: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return both tensors as dense memory with the same strides, copied only where they are not."""
    if input.is_contiguous() and target.is_contiguous():
        return input, target
    if not is_dense(input):
        input = input.contiguous()
    if target.stride() != input.stride():
        target = torch.empty_like(input, dtype=target.dtype).copy_(target)
    return input, target


class ClassNumbers(NamedTuple):
    """Item i is of class (i // inner) % classes; its target has the class number."""

    inner: int
    classes: int


def class_numbers(input: Tensor, target: Tensor, dim: int) -> tuple[Tensor, Tensor, ClassNumbers]:
    """Return an input as dense memory, and a target that lacks its dimension `dim`, in the same order without it."""
    if not is_dense(input):
        input = input.contiguous()
    order = sorted(range(input.ndim), key=input.stride, reverse=True)
    position = order.index(dim)
    inner = math.prod(input.size(d) for d in order[position + 1 :])
    others = [d - (d > dim) for d in order if d != dim]
    return input, target.permute(others).contiguous(), ClassNumbers(inner, input.size(dim))


def pattern(weight: Tensor, like: Tensor) -> Pattern:
    """Return the pattern of a weight that broadcasts to `like`, along the dense memory of `like`."""
    n, own, weight = like.numel(), weight.numel(), weight.detach()
    if n == 0:
        return Pattern(weight.new_empty(1), 1, 1)  # nothing is read
    if own == 1:
        return Pattern(weight, n, 1)
    if like.is_contiguous() and weight.is_contiguous() and weight.size() == like.size()[-weight.ndim :]:
        return Pattern(weight, 1, own)  # the common case first
    order = sorted(range(like.ndim), key=like.stride, reverse=True)
    view = weight.expand(like.shape).permute(order)
    varying = [d for d in range(view.ndim) if view.size(d) != 1 and view.stride(d) != 0] or [view.ndim]
    inner = math.prod(view.shape[varying[-1] + 1 :]) if varying[0] < view.ndim else n
    for d in (*range(varying[0]), *range(varying[-1] + 1, view.ndim)):
        view = view.narrow(d, 0, 1)
    # A copy of the weight's size, where its order differs; `reshape` alone keeps a uniform stride.
    values = view.reshape(-1).contiguous()
    return Pattern(values, inner, values.numel())


def memory(tensor: Tensor, items: int) -> Tensor:
    """Return the tensor, checked to be `items` contiguous numbers: compiled code is given nothing else."""
    if tensor.numel() != items or not (tensor.is_contiguous() or is_dense(tensor)) or tensor.is_neg():
        raise RuntimeError(
            f"compiled code needs {items} numbers one after another, got a tensor of {tuple(tensor.shape)} with "
            f"strides {tensor.stride()}; this is a fault of torchbce, please report it"
        )
    return tensor


def address(tensor: Tensor, items: int) -> int:
    """Return the address of such memory."""
    if tensor.is_contiguous() and tensor.numel() == items and not tensor.is_neg():
        return tensor.data_ptr()  # the common case first, for small calls
    return memory(tensor, items).data_ptr()


def is_dense(tensor: Tensor) -> bool:
    return torch.ops.aten.is_non_overlapping_and_dense(tensor)  # type: ignore[no-any-return]
