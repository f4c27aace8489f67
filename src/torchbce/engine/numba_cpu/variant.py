"""What a pass is compiled for."""

from __future__ import annotations

from typing import NamedTuple

import torch

from torchbce.formula.loss import Loss

BLOCK = 1024  # items whose weights are laid out beside them, and whose losses are kept, at a time
CHUNK = 8192  # items with a sum of their own; small enough for the nearest caches


class Variant(NamedTuple):
    """A pass, a loss, the dtypes of its tensors (None: there is none), and which options it has.

    parameters: for each, "-" for its default, "n" for a number, "t" for a tensor along the items; an exponent that
        makes a product of a power (see `formula.powers`) is that digit.
    """

    pass_name: str  # "total", "items", "grad_input" or "count"
    loss: Loss
    input: torch.dtype
    target: torch.dtype
    out: torch.dtype | None = None
    checked: bool = True
    weight: torch.dtype | None = None
    grad_output: torch.dtype | None = None
    parameters: str = ""
    transformed: bool = False  # targets, by threshold or label smoothing
    ignoring: bool = False
    masked: bool = False
    by_class: bool = False

    @property
    def wide(self) -> bool:
        """Whether items are computed in float64."""
        return torch.float64 in (self.input, self.target)

    @property
    def parameter_kinds(self) -> str:
        return self.parameters or "-" * len(self.loss.parameters)

    @property
    def partial(self) -> bool:
        """Whether some items may not count."""
        return self.ignoring or self.masked

    @property
    def text(self) -> str:
        return " ".join([self.pass_name, self.loss.text, *map(str, self[2:])])
