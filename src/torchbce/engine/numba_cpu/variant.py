"""What machine code is compiled for.

Three kinds: `Plain`, a loss without options on tensors of one dtype; `General`, a pass over the items that reads its
options when it runs; and `Formula`, a loss for one block of items, which the general pass calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.engine.call import Weight
from torchbce.formula.loss import Loss
from torchbce.formula.powers import PRODUCTS

BLOCK = 1024  # items that are laid out side by side, and whose losses are kept, at a time
CHUNK = 8192  # items with a sum of their own; small enough for the nearest caches
PLAIN_DTYPES = (torch.float32, torch.float64)
FEWEST_PARAMETERS = 8  # that a general pass has memory for; more than any loss of this package has


class Plain(NamedTuple):
    """The total of a loss and its gradient, without options but exponents, of an input and a target of one dtype.

    kinds: as for `Formula`, without "n".
    """

    loss: Loss
    dtype: torch.dtype
    kinds: str

    @property
    def wide(self) -> bool:
        return self.dtype is torch.float64

    @property
    def text(self) -> str:
        return f"plain {self.loss.text} {self.dtype} {self.kinds}"


class Formula(NamedTuple):
    """A loss and its derivative for a block of items.

    wide: in float64.
    kinds: of each parameter. "n" is read when it runs; "-" is its default; an exponent that makes a product of a power
        (see `formula.powers`) is that digit.
    """

    loss: Loss
    wide: bool
    kinds: str

    @property
    def text(self) -> str:
        return f"formula {self.loss.text} {self.wide} {self.kinds}"


class General(NamedTuple):
    """A pass for any loss with any options; `parameters` is how many it has memory for."""

    wide: bool
    parameters: int = FEWEST_PARAMETERS

    @property
    def text(self) -> str:
        return f"general {self.wide} {self.parameters}"


Variant = Plain | Formula | General


def fixed_parameters(loss: Loss, kinds: str) -> dict[str, float]:
    """The parameters that are compiled as constants."""
    named = zip(loss.parameters, kinds, loss.defaults, strict=True)
    return {name: default if kind == "-" else float(kind) for name, kind, default in named if kind != "n"}


def general_variant(wide: bool, parameters: int) -> General:
    """The pass for any loss with so many parameters."""
    room = FEWEST_PARAMETERS
    while room < parameters:
        room *= 2
    return General(wide, room)


def formula_kinds(loss: Loss, values: Sequence[Weight]) -> str:
    """The kinds of a `Formula`'s parameters that have these values."""
    pairs = zip(loss.parameters, values, strict=True)
    return "".join(_digit(value) if name in loss.exponents and _is_product(value) else "n" for name, value in pairs)


def plain_kinds(loss: Loss, values: Sequence[Weight]) -> str | None:
    """The kinds of a `Plain` with these parameters; None where it takes no such ones."""
    kinds = ""
    for name, value in zip(loss.parameters, values, strict=True):
        if value is not None and not (name in loss.exponents and _is_product(value)):
            return None
        kinds += "-" if value is None else _digit(value)
    return kinds


def _is_product(value: Weight) -> bool:
    """Whether a power with this exponent is a product."""
    return (value.numel() == 1 and float(value) in PRODUCTS) if isinstance(value, Tensor) else value in PRODUCTS


def _digit(value: Weight) -> str:
    return str(int(value))  # type: ignore[arg-type]
