"""The proof that a tensor lies in memory as compiled code reads it."""

from __future__ import annotations

import torch
from torch import Tensor


def require_dense(name: str, tensor: Tensor, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    """Raise unless a tensor lies row after row, on the CPU, with this dtype and shape.

    Raises:
        ValueError: how it lies, and what is expected.
    """
    if tensor.dtype != dtype or tensor.shape != shape or not tensor.is_contiguous() or not tensor.is_cpu:
        raise ValueError(
            f"{name} is {tensor.dtype} {tuple(tensor.shape)}, strides {tensor.stride()}, on {tensor.device}; expected "
            f"{dtype} {shape}, row after row on the CPU"
        )
