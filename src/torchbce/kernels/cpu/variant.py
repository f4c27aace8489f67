"""What a pass is compiled for, and how its arguments lie."""

from __future__ import annotations

from typing import NamedTuple

import torch

from torchbce.formulas.loss import Loss

CHUNK = 8192  # items with a sum of their own; small enough for the nearest caches

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)

# A pass has one argument, the address of these words. Addresses of tensors first; a piece's chunks, the chunk to stop
# before, the number of items and the scale; a call without options ends here.
X, Y, W, G, OUT, SUMS, COUNTER, PIECE, LAST, N, SCALE = range(11)
# The mask; how weights, incoming gradients and the mask repeat (see `layout.Pattern`); how class numbers lie; labels.
MASK, W_RUNS, G_RUNS, MASK_RUNS, CLASS_INNER, CLASSES = 11, 12, 14, 16, 18, 19
THRESHOLD, FACTOR, SHIFT, IGNORED = 20, 21, 22, 23
PARAMETERS = 24  # three words each: the number, or an address and how it repeats


class Variant(NamedTuple):
    """A pass, a loss, the dtypes of its tensors (None: there is none), and which options it has.

    parameters: for each, "-" for its default, "n" for a number, "t" for a tensor along the items.
    """

    pass_name: str  # "total", "items", "slopes" or "count"
    loss: Loss
    input: torch.dtype
    target: torch.dtype
    out: torch.dtype | None = None
    checked: bool = True
    weight: torch.dtype | None = None
    grad_output: torch.dtype | None = None
    parameters: str = ""
    labels: bool = False
    ignoring: bool = False
    masked: bool = False
    by_class: bool = False

    @property
    def wide(self) -> bool:
        """Whether items are computed in float64."""
        return torch.float64 in (self.input, self.target)

    @property
    def kinds(self) -> str:
        return self.parameters or "-" * len(self.loss.parameters)

    @property
    def partial(self) -> bool:
        """Whether some items may not count."""
        return self.ignoring or self.masked

    @property
    def text(self) -> str:
        return " ".join([self.pass_name, self.loss.text, *map(str, self[2:])])
