"""The loss in the batch's own form: with its shapes, dtypes and number of items, called as it is called in training."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from torchbce.checks.probing.form import Form

FEWEST = 8  # outputs, to tell losses apart
MOST = 8192  # outputs, beyond which a part of the items is enough
LossOf = Callable[[Tensor, Tensor, Tensor | None], Tensor]  # of outputs, targets and the rows that they belong to


@dataclass(frozen=True)
class Batch:
    """Outputs and targets of a batch, and the loss of others in their place."""

    outputs: Tensor
    targets: Tensor
    loss_of: LossOf


def batch_forms(batch: Batch, low: float, high: float) -> list[Form]:
    """The forms in which a loss may be tried; labels 0 and 1 become the targets `low` and `high`.

    None where outputs and targets do not belong together one to one, or as scores of classes and the right class.
    """
    outputs, targets = batch.outputs.detach(), batch.targets.detach()
    if outputs.ndim == 0 or targets.ndim == 0 or len(outputs) != len(targets) or not outputs.is_floating_point():
        return []
    gradient = batch_gradient(batch)
    if gradient is None or not gradient.isfinite().all() or not outputs.numel():
        return []
    taken = gradient.reshape(len(outputs), -1) != 0
    places = taken.any(0).nonzero().flatten()
    size, wanted = outputs[0].numel(), targets[0].numel()
    if not len(places):  # a constant loss
        places = torch.arange(size)
    counts = None
    if size == wanted:
        places = torch.arange(size)
        if not taken.all() and taken.any():
            counts = taken.reshape(outputs.shape)
        layouts: list[_Layout | _Classes] = [_Layout(outputs, targets, places, order) for order in _orders(batch)]
    elif len(places) == wanted < size:  # one column of several
        layouts = [_Layout(outputs, targets, places, None)]
    else:
        dim = _class_dim(outputs, targets)
        layouts = [] if dim is None else [_Classes(outputs, targets, dim)]
    forms = []
    for layout in layouts:
        for rows in dict.fromkeys((min(len(outputs), max(FEWEST, MOST // size)), len(outputs))):
            if rows * math.prod(layout.item) < FEWEST:
                continue
            for dtype in dict.fromkeys((torch.float64, _at_least_float32(outputs.dtype))):
                function = _called(batch, layout, rows, low, high)
                counted = None if counts is None else counts[:rows]
                if counted is None or int(counted.sum()) >= FEWEST:
                    forms.append(Form(function, layout.item, rows, layout.exclusive, counted, dtype, True))
    return forms


def batch_gradient(batch: Batch) -> Tensor | None:
    """The loss's gradient in the outputs as they are; zeros where it does not depend on them, None where it fails."""
    outputs = batch.outputs.detach().clone().requires_grad_()
    try:
        loss = batch.loss_of(outputs, batch.targets, None)
        if not loss.requires_grad:
            return torch.zeros_like(outputs)
        (gradient,) = torch.autograd.grad(loss.sum(), outputs, allow_unused=True)
    except Exception:  # a loss that fails is BCE032
        return None
    return torch.zeros_like(outputs) if gradient is None else gradient


class _Layout:
    """Outputs that belong to the targets one to one, in their order or in that of other dimensions."""

    exclusive = False

    def __init__(self, outputs: Tensor, targets: Tensor, places: Tensor, order: tuple[int, ...] | None) -> None:
        self._outputs, self._targets, self._places, self._order = outputs, targets, places, order
        self.item = tuple(outputs.shape[1:] if len(places) == outputs[0].numel() else targets.shape[1:])

    def outputs(self, chosen: Tensor) -> Tensor:
        """The model's outputs with these in the places that count."""
        if chosen.shape[1:] == self._outputs.shape[1:]:
            return chosen
        whole = self._outputs[: len(chosen)].to(chosen.dtype).flatten(1).clone()
        whole[:, self._places] = chosen.reshape(len(chosen), -1)
        return whole.reshape(len(chosen), *self._outputs.shape[1:])

    def targets(self, labels: Tensor) -> Tensor:
        """Return labels as the targets that the loss takes."""
        labels = labels if self._order is None else labels.permute(0, *self._order)
        return labels.reshape(len(labels), *self._targets.shape[1:])


class _Classes:
    """A score for each class, and targets that are the number of the right one."""

    exclusive = True

    def __init__(self, outputs: Tensor, targets: Tensor, dim: int) -> None:
        self._targets, self._dim = targets, dim
        self.item = tuple(outputs.movedim(dim, -1).shape[1:])

    def outputs(self, chosen: Tensor) -> Tensor:
        return chosen.movedim(-1, self._dim)

    def targets(self, labels: Tensor) -> Tensor:
        return labels.argmax(-1).reshape(len(labels), *self._targets.shape[1:])


def _called(batch: Batch, layout: _Layout | _Classes, rows: int, low: float, high: float) -> Callable[..., Tensor]:
    def loss_func(outputs: Tensor, labels: Tensor) -> Tensor:
        targets = layout.targets(labels)
        if not layout.exclusive:
            targets = low + (high - low) * targets
        given = batch.targets
        targets = targets.to(outputs.dtype if given.is_floating_point() else given.dtype)
        part = None if len(outputs) == len(batch.outputs) else torch.arange(len(outputs))
        return batch.loss_of(layout.outputs(outputs), targets, part)

    return loss_func


def _orders(batch: Batch) -> list[tuple[int, ...] | None]:
    """The orders of dimensions in which outputs may belong to targets of another shape; as they are first."""
    ours, theirs = tuple(batch.outputs.shape[1:]), tuple(batch.targets.shape[1:])
    if ours == theirs or sorted(ours) != sorted(theirs):
        return [None]
    others = [p for p in itertools.permutations(range(len(ours))) if tuple(ours[i] for i in p) == theirs]
    return [tuple(i + 1 for i in order) for order in others]


def _class_dim(outputs: Tensor, targets: Tensor) -> int | None:
    """Return where the scores of classes are, if whole targets can be the numbers of these."""
    for dim in dict.fromkeys((outputs.ndim - 1, 1)):
        if outputs.ndim < 2 or outputs.shape[dim] < 2:
            continue
        others = [size for axis, size in enumerate(outputs.shape) if axis != dim]
        alike = others == list(targets.shape) or [*others, 1] == list(targets.shape)
        if alike and bool(((targets == targets.round()) & (targets >= 0) & (targets < outputs.shape[dim])).all()):
            return dim
    return None


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype.itemsize < 4 else dtype
