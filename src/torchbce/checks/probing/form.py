"""How a loss is called with chosen outputs and labels, and the items that are chosen to tell losses apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

ITEMS = 16
LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Form:
    """A loss as a function of outputs and of labels 0 and 1, both of the shape (rows, *item).

    Attributes:
        exclusive: one label of each row along the last dimension is 1, as the loss takes classes.
        counts: where the loss has a gradient; None for everywhere.
        of_batch: this is how a batch has it, and not how losses mostly are called.
    """

    loss_func: LossFunction
    item: tuple[int, ...] = ()
    rows: int = ITEMS
    exclusive: bool = False
    counts: Tensor | None = None
    dtype: torch.dtype = torch.float64
    of_batch: bool = False


class Probe:
    """Calls a loss function on chosen items and gives their gradients."""

    def __init__(self, form: Form, takes: str) -> None:
        self.form, self.takes = form, takes
        self.reduced = True

    @property
    def rows(self) -> int:
        """The number of items."""
        return self.form.rows

    def points(self) -> tuple[Tensor, Tensor]:
        """Return logits on both sides of 0 for both targets; some are not probabilities, which BCELoss refuses."""
        shape = (self.rows, *self.form.item)
        count = math.prod(shape)
        z = torch.linspace(-3.1, 2.9, count, dtype=torch.float64).reshape(shape)
        if self.form.exclusive:
            classes = shape[-1]
            chosen = torch.arange(count // classes) % classes
            return z, torch.eye(classes, dtype=torch.float64)[chosen].reshape(shape)
        places = torch.arange(count // self.rows)
        label = (torch.arange(self.rows)[:, None] + places) % 3 != 0
        return z, label.double().reshape(shape)

    def turned(self, y: Tensor, item: int) -> tuple[Tensor, Tensor]:
        """Return the labels with one item's flipped, and which outputs are its own."""
        own = torch.zeros_like(y, dtype=torch.bool)
        turned = y.clone()
        if self.form.exclusive:
            classes = y.shape[-1]
            row = item // classes
            turned.view(-1, classes)[row] = turned.view(-1, classes)[row].roll(1)
            own.view(-1, classes)[row] = True
        else:
            turned.view(-1)[item] = 1 - turned.view(-1)[item]
            own.view(-1)[item] = True
        return turned, own

    def __call__(self, z: Tensor, y: Tensor) -> Tensor:
        z = z.to(self.form.dtype, copy=True).requires_grad_()
        loss = self.form.loss_func(z if self.takes == "logits" else torch.sigmoid(z), y.to(self.form.dtype, copy=True))
        self.reduced = loss.ndim == 0
        if not loss.isfinite().all():
            raise ValueError("it is not finite")
        if not loss.requires_grad:
            return torch.zeros_like(z, dtype=torch.float64)
        (gradient,) = torch.autograd.grad(loss.sum(), z, allow_unused=True)
        gradients = torch.zeros_like(z) if gradient is None else gradient
        if not gradients.isfinite().all():
            raise ValueError("its gradient is not finite")
        return gradients.double()

    def along(self, line: Tensor, label: float) -> Tensor:
        """Return the gradients along a line of logits, of items that count and all have this label."""
        shape = (self.rows, *self.form.item)
        places = (
            torch.arange(math.prod(shape)) if self.form.counts is None else self.form.counts.flatten().nonzero()[:, 0]
        )
        gradients = []
        for start in range(0, len(line), len(places)):
            part = line[start : start + len(places)]
            z = torch.zeros(math.prod(shape), dtype=torch.float64)
            z[places[: len(part)]] = part
            z = z.reshape(shape)
            gradients.append(self(z, torch.full_like(z, label)).flatten()[places[: len(part)]])
        return torch.cat(gradients)
