"""What a pass is compiled for."""

from __future__ import annotations

from typing import NamedTuple

import torch

from torchbce.formulas import Loss

CHUNK = 8192  # items with a sum of their own; small enough for the nearest caches

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Variant(NamedTuple):
    """A pass, a loss, and the dtypes of its tensors; None says that there is no such tensor."""

    pass_name: str  # "total", "items" or "slopes"
    loss: Loss
    input: torch.dtype
    target: torch.dtype
    weight: torch.dtype | None = None
    pos_weight: torch.dtype | None = None
    grad_output: torch.dtype | None = None
    out: torch.dtype | None = None

    @property
    def wide(self) -> bool:
        """Whether items are computed in float64."""
        return torch.float64 in (self.input, self.target)

    @property
    def text(self) -> str:
        return " ".join([self.pass_name, self.loss.name, *map(str, self[2:])])
