"""Compiling the losses before they are needed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from torchbce import functional
from torchbce.engine.call import FLOATS, INTEGERS
from torchbce.engine.select import engine_for, forced
from torchbce.jit import machine_code
from torchbce.losses import asymmetric, focal, poly1, quality_focal

# Those that need no more than an input and a target.
LOSSES: dict[str, Callable[..., Tensor]] = {
    loss.__name__: loss
    for loss in (
        functional.binary_cross_entropy,
        functional.binary_cross_entropy_with_logits,
        focal.focal_loss,
        focal.focal_loss_with_logits,
        asymmetric.asymmetric_loss,
        asymmetric.asymmetric_loss_with_logits,
        poly1.poly1_loss,
        poly1.poly1_loss_with_logits,
        quality_focal.quality_focal_loss,
        quality_focal.quality_focal_loss_with_logits,
    )
}
FLOAT_NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in FLOATS}
TARGET_NAMES = FLOAT_NAMES | {str(dtype).removeprefix("torch."): dtype for dtype in INTEGERS}
TENSORS = ("weight", "pos_weight", "mask")


def warm_up(
    losses: Sequence[str], dtypes: Sequence[str], targets: Sequence[str], tensors: Sequence[str]
) -> Iterator[str]:
    """Compile every kind of call of these losses, with and without gradients; yield the name of each before.

    Args:
        losses: keys of `LOSSES`.
        dtypes: of the input, keys of `FLOAT_NAMES`.
        targets: dtypes of the target, keys of `TARGET_NAMES`; empty for the input's own.
        tensors: of `TENSORS`, given together; empty for each weight alone.
    """
    for name in losses:
        taken = [tensor for tensor in TENSORS if tensor in inspect.signature(LOSSES[name]).parameters]
        chosen = [tensor for tensor in tensors if tensor in taken]
        each = [()] + ([tuple(chosen)] if tensors else [(tensor,) for tensor in taken if tensor != "mask"])
        for dtype in dtypes:
            for target in targets or [dtype]:
                for present in dict.fromkeys(each):
                    yield ", ".join([name, dtype, *(f"{target} targets" for _ in targets), *present])
                    _call(LOSSES[name], FLOAT_NAMES[dtype], TARGET_NAMES[target], present)


def why_not() -> str | None:
    """Return why nothing can be compiled here."""
    engine = engine_for(torch.zeros(1), torch.zeros(1))
    return engine.reason if engine.name == "reference" else None


def folder() -> Path | None:
    """Return where compiled code is kept; None where each process compiles for itself."""
    return machine_code.folder()


def _call(loss: Callable[..., Tensor], dtype: torch.dtype, target: torch.dtype, present: Sequence[str]) -> None:
    input, y = torch.full((2, 3), 0.5, dtype=dtype), torch.ones(2, 3).to(target)
    given = {name: torch.ones(3, dtype=torch.bool if name == "mask" else dtype) for name in present}
    with forced("cpu"):
        for reduction in ("mean", "none"):
            loss(input, y, reduction=reduction, **given)
            value = loss(input.clone().requires_grad_(), y, reduction=reduction, **given)
            torch.autograd.backward(value, torch.ones_like(value))
