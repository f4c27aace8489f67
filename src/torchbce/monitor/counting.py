"""How many items of a batch count, how many of those are ones, and what the loss divided their sum by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from torchbce.engine import reference
from torchbce.engine.call import Weight
from torchbce.engine.options import Normalize
from torchbce.engine.validate import checked_normalize, validated
from torchbce.losses.bce_with_logits import BCE_WITH_LOGITS
from torchbce.monitor.convention import Convention

Number = float | Tensor  # a tensor on a device is not waited for
UNITS = {"batch": "row", "weight": "unit of weight"}  # of a mean that is not one over items


class Batch(NamedTuple):
    """The counts of a batch: its values, those that count, the sum of their targets, rows, and weight."""

    size: int
    counted: Number
    ones: Number
    rows: int
    weight: Number


@dataclass(frozen=True)
class Divided:
    """The divisors of a batch's mean and of the epoch's, and the number of units that the mean is over."""

    factor: Number
    divisor: Number
    count: Number
    unit: str


def counted(
    targets: Tensor, convention: Convention, mask: Tensor | None, weight: Weight, *, weighs: bool = False
) -> Batch:
    """Count a batch by its targets; `weighs`: whether the weight is asked for.

    Raises:
        ValueError, RuntimeError, TypeError: targets, mask or weights that do not fit each other, as for the loss.
    """
    targets = targets.detach()
    wide = torch.float32 if targets.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
    if mask is None and convention.counts_all and not weighs:
        size = targets.numel()
        return Batch(size, size, read(targets.sum(dtype=wide)), targets.size(0) if targets.ndim else 1, size)
    if convention.by_class:
        return _of_classes(targets, convention)
    options: Any = {**convention.options, "validate": "none"}
    own = options.pop("weight", None)
    weight = own if weight is None else weight
    weight = weight.detach().to(targets.device) if isinstance(weight, Tensor) else weight
    like = torch.zeros((), device=targets.device).expand(_shape(targets, options))
    call = validated(BCE_WITH_LOGITS, like, targets, (None,), weight, "mean", torch.float64, mask, options)
    y, counts = reference.targets_and_counted(like, targets, call, torch.promote_types(targets.dtype, torch.float32))
    counts = torch.ones((), dtype=torch.bool, device=targets.device) if counts is None else counts
    counts = counts.expand(like.shape)
    heavy = 1.0 if call.weight is None else call.weight
    return Batch(
        size=like.numel(),
        counted=read(counts.sum()),
        ones=read(torch.where(counts, y, 0.0).sum(dtype=wide)),
        rows=like.size(0) if like.ndim else 1,
        weight=read(torch.where(counts, heavy, 0.0).sum(dtype=wide)),
    )


def _of_classes(targets: Tensor, convention: Convention) -> Batch:
    """Count a batch of torch's cross-entropy: targets are class numbers, or probabilities along dimension 1."""
    rows = targets.size(0) if targets.ndim else 1
    if targets.is_floating_point():
        items = targets.numel() // max(1, targets.size(min(1, targets.ndim - 1)))
        return Batch(items, items, math.nan, rows, items)
    counts = targets != convention.options.get("ignore_index", -100)
    number, weight = counts.sum(), convention.options.get("weight")
    heavy = (
        number if weight is None else weight.to(targets.device)[torch.where(counts, targets, 0)][counts].double().sum()
    )
    return Batch(targets.numel(), read(number), math.nan, rows, read(heavy))


def divided(batch: Batch, normalize: Normalize) -> Divided:
    """Return what a mean over a batch was divided by, by the loss's rule.

    Raises:
        ValueError: a rule that is not known.
    """
    normalize = checked_normalize(normalize)
    if not isinstance(normalize, str):
        factor = read(normalize) if isinstance(normalize, Tensor) else normalize
        return Divided(factor, batch.counted, batch.counted, "item")
    return {
        "numel": Divided(batch.size, batch.size, batch.size, "item"),
        "valid": Divided(batch.counted, batch.counted, batch.counted, "item"),
        "weight": Divided(batch.weight, batch.weight, batch.counted, UNITS["weight"]),
        "batch": Divided(batch.rows, batch.rows, batch.rows, UNITS["batch"]),
    }[normalize]


def read(value: Tensor) -> Number:
    """Return a number, or a tensor where a number would cost waiting."""
    return value.item() if value.device.type == "cpu" else value


def total_of(loss: Tensor, factor: Number | None) -> Number:
    """Return the sum of losses: of single ones, or of a mean times its divisor; a sum has the factor None."""
    wide = torch.float32 if loss.device.type == "mps" else torch.float64
    if loss.ndim:
        return read(loss.sum(dtype=wide))
    if factor is None:
        return read(loss.to(wide))
    # Of nothing the loss says 0 or NaN, and it adds nothing.
    if isinstance(factor, Tensor):
        return torch.where(factor == 0, 0.0, loss.to(wide) * factor)
    return read(loss.to(wide) * factor) if factor else 0.0


def _shape(targets: Tensor, options: dict[str, Any]) -> tuple[int, ...]:
    """Return the shape of the loss's input; class numbers lack the dimension of the classes."""
    classes, shape = options.get("num_classes"), list(targets.shape)
    if classes is None:
        return tuple(shape)
    dim = options.get("class_dim")
    dim = 1 if dim is None else dim
    dim = dim + len(shape) + 1 if dim < 0 else dim
    if not 0 <= dim <= len(shape):
        raise ValueError(f"class_dim is {options.get('class_dim', 1)}, and targets have the shape {tuple(shape)}")
    return (*shape[:dim], int(classes), *shape[dim:])
