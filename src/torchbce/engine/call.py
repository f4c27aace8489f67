"""The validated record of a call, which goes from the loss functions to the engines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.engine.options import Reduction
from torchbce.formula.loss import Loss

Weight = Tensor | float | None
# What kernels read; inputs are FLOATS.
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class TargetTransform(NamedTuple):
    """Change of targets: 0 or 1 by a threshold (NaN: none), and then ``factor * target + shift``."""

    threshold: float = math.nan
    factor: float = 1.0
    shift: float = 0.0


class LossCall(NamedTuple):
    """Everything about a call but its input and target, which autograd keeps.

    Attributes:
        loss: the formula, its derivatives and its name.
        parameters: of the loss, in its order; None is the default.
        weight: of the items.
        reduction: "none", "mean" or "sum".
        result_dtype: of the value.
        checked: values that are not allowed are an error.
        target_transform: threshold and label smoothing; None leaves targets as they are.
        ignored: target of items that do not count; may be NaN.
        mask: False for items that do not count.
        class_dim: targets are class numbers, of this dimension of the input.
        denominator: of a mean; None is the number of items.
        plain: known to have no option but the reduction.
    """

    loss: Loss
    parameters: tuple[Weight, ...]
    weight: Weight
    reduction: Reduction
    result_dtype: torch.dtype
    checked: bool
    target_transform: TargetTransform | None = None
    ignored: float | None = None
    mask: Tensor | None = None
    class_dim: int | None = None
    denominator: Tensor | float | None = None
    plain: bool = False

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors among the options."""
        return [t for t in (*self.parameters, self.weight, self.mask, self.denominator) if isinstance(t, Tensor)]

    @property
    def counts_all(self) -> bool:
        """Return whether every item counts, with its target as it is."""
        return self.target_transform is None and self.ignored is None and self.mask is None and self.class_dim is None


def computed_in_float64(input: Tensor, target: Tensor) -> bool:
    """Return whether items are computed in float64; others are computed in float32."""
    return input.dtype is torch.float64 or target.dtype is torch.float64
