"""Items in memory: numbers of any container, checked, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchbce.common.visible import shown

Codes = tuple[np.ndarray, list[str]]  # a number for each item, and what each number is called


@dataclass(frozen=True)
class Items:
    """Columns of the same length; `shape` is the one in which the items lay."""

    outputs: Tensor
    targets: Tensor
    weights: Tensor | None
    rows: np.ndarray
    codes: dict[str, Codes | None]
    shape: tuple[int, ...]


def as_items(
    outputs: Any,
    targets: Any,
    from_logits: bool,
    weight: Any,
    rows: Any,
    labels: dict[str, Any],
    name: str = "outputs",
) -> Items:
    """Return items as columns of numbers; a ValueError names the first value that is not allowed.

    labels: a value per item that names its group or cluster, by the argument's name. name: that of `outputs`.
    """
    x, y = as_tensor(name, outputs), as_tensor("targets", targets)
    if not x.numel():
        raise ValueError(f"there are no items to explain: {name} has the shape {tuple(x.shape)}")
    if x.shape != y.shape:
        raise ValueError(f"{name} has the shape {tuple(x.shape)} and targets {tuple(y.shape)}; write both alike")
    w = None if weight is None else _weights(as_tensor("weight", weight), y)
    shape = tuple(x.shape)
    x, y = x.flatten(), y.flatten()
    if not x.is_floating_point():
        x = x.double()
    check_values(x, y, w, from_logits, shape, name)
    numbers = np.arange(1, len(x) + 1) if rows is None else np.asarray(rows)
    if len(numbers) != len(x):
        raise ValueError(f"there are {len(numbers)} rows for {len(x)} items")
    codes = {label: codes_of(label, values, len(x), shape) for label, values in labels.items()}
    return Items(x, y, w, numbers, codes, shape)


def _weights(weight: Tensor, y: Tensor) -> Tensor:
    try:
        return weight.double().expand(y.shape).flatten()
    except RuntimeError as error:
        raise ValueError(
            f"weight has the shape {tuple(weight.shape)} and targets {tuple(y.shape)}; one per item, or one for all"
        ) from error


def check_values(
    x: Tensor, y: Tensor, w: Tensor | None, from_logits: bool, shape: tuple[int, ...], name: str = "outputs"
) -> None:
    """Raise a ValueError that names the first value that is not allowed."""
    checks = [(name, x, (x >= 0) & (x <= 1), "probabilities lie in [0, 1]; logits need from_logits=True")]
    if from_logits:
        checks = [(name, x, ~x.isnan(), "a logit is a number")]
    advice = "targets lie in [0, 1]: {-1, 1} become (targets + 1) / 2, {0, 255} targets / 255"
    checks.append(("targets", y, (y >= 0) & (y <= 1), advice))
    if w is not None:
        checks.append(("weight", w, (w >= 0) & w.isfinite(), "weights are finite and at least 0"))
    for whose, values, allowed, rule in checks:
        if not allowed.all():
            first = int((~allowed).nonzero()[0])
            count = int((~allowed).sum())
            raise ValueError(
                f"{whose}: item {place(first + 1, shape)} is {values[first].item():g} "
                f"({count} such item{'s' * (count != 1)}); {rule}"
            )


def as_tensor(name: str, values: Any) -> Tensor:
    """Return the numbers of any container in their own floating-point dtype, else float64; a tensor is detached."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
        return torch.from_numpy(np.array(array, np.float64 if array.dtype.kind != "f" else array.dtype))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as numbers: {shown(error)}") from error


def codes_of(name: str, values: Any, count: int, shape: tuple[int, ...] = ()) -> Codes | None:
    """Return the number of each item's name, and the names; a sample of several items may have one for all."""
    if values is None:
        return None
    names, codes = np.unique(np.asarray(values).ravel().astype(str), return_inverse=True)
    if len(shape) > 1 and len(codes) == shape[0]:  # one for each sample of several items
        codes = np.repeat(codes, count // shape[0])
    if len(codes) != count:
        raise ValueError(f"{name} has {len(codes)} values, one for each item; there are {count} items")
    return codes, names.tolist()


def place(row: int, shape: tuple[int, ...]) -> str:
    """Return where the item with this number lay, counted from 1: a row, or "row, column" and so on."""
    if math.prod(shape[1:]) <= 1:
        return str(row)
    return ", ".join(str(int(index) + 1) for index in np.unravel_index(row - 1, shape))
