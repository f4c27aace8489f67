"""What a call of a loss asks for, besides input and target: the record that goes from the functions to the engines."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.formulas.loss import Loss
from torchbce.options import Reduction

Weight = Tensor | float | None


class Labels(NamedTuple):
    """Targets become 0 or 1 by a threshold, if there is one, and then factor * target + shift."""

    threshold: float = math.nan
    factor: float = 1.0
    shift: float = 0.0


class Call(NamedTuple):
    """
    parameters: of the loss, in its order; None is the default. ignored: target of items that do not count; NaN too.
    mask: False for items that do not count. class_dim: targets are class numbers, of this dimension of the input.
    denominator: of a mean; None is the number of items. checked: values that are not allowed are an error.
    """

    loss: Loss
    parameters: tuple[Weight, ...]
    weight: Weight
    reduction: Reduction
    result_dtype: torch.dtype
    checked: bool
    labels: Labels | None = None
    ignored: float | None = None
    mask: Tensor | None = None
    class_dim: int | None = None
    denominator: Tensor | float | None = None

    @property
    def tensors(self) -> list[Tensor]:
        """All that it brings along."""
        return [t for t in (*self.parameters, self.weight, self.mask, self.denominator) if isinstance(t, Tensor)]

    @property
    def is_plain(self) -> bool:
        """Whether every item counts, with its target as it is."""
        return self.labels is None and self.ignored is None and self.mask is None and self.class_dim is None


def wide(input: Tensor, target: Tensor) -> bool:
    """Whether items are computed in float64."""
    return input.dtype is torch.float64 or target.dtype is torch.float64
