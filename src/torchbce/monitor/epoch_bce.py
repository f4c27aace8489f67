"""EpochBCE: the mean loss over items, from batches of any size."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from torchbce.common import group
from torchbce.explanation.statistics.entropy import cross_entropy, percent_below
from torchbce.explanation.statistics.plain_bce import is_plain_bce

__all__ = ["EpochBCE"]


class EpochBCE:
    r"""The true mean of a loss over all items of an epoch, in nats.

    The mean of batch means is not it: a short last batch gets the weight of a full one. The meter keeps
    ``sum(loss * count)`` and ``sum(count)`` in float64 and divides once. On a GPU it waits for nothing until it is
    read.

    Args:
        loss_func: the loss whose values it gets; its ``reduction`` says what a 0-d loss is. Without one, or for a loss
            that does not say, a 0-d loss is taken for a mean, and the printed text says so. Where it is weighted,
            smoothed or another loss than BCE, it is not compared with the base rate.

    Example:
        >>> meter = EpochBCE()
        >>> meter.update(torch.tensor(0.5), torch.zeros(100))  # the mean loss of 100 items, and their targets
        >>> meter.update(torch.tensor(3.0), torch.zeros(1))
        >>> round(meter.compute(), 4)  # and not (0.5 + 3.0) / 2
        0.5248
    """

    def __init__(self, loss_func: object = None) -> None:
        known = getattr(loss_func, "reduction", None)
        self._reduction = known if known in ("mean", "sum") else None
        self._plain = is_plain_bce(loss_func)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._total: float | Tensor = 0.0
        self._ones: float | Tensor = 0.0
        self._count = 0
        self._targets_seen = 0
        self._assumed = False

    def update(
        self,
        loss: Tensor | float,
        targets: Tensor | None = None,
        *,
        count: int | None = None,
        reduction: str | None = None,
    ) -> None:
        """Add a batch.

        Args:
            loss: the batch's mean or sum (0-d), or the losses of its items (any other shape).
            targets: the batch's targets; they give the count and the base rate.
            count: the number of items, where there are no targets.
            reduction: what a 0-d loss is: ``'mean'`` or ``'sum'``; by default what the loss function says.

        Raises:
            ValueError: a 0-d loss without targets or count, since a mean means nothing without its count; counts that
                contradict each other; an unknown reduction.
        """
        losses = loss.detach() if isinstance(loss, Tensor) else torch.tensor(float(loss), dtype=torch.float64)
        self._assumed |= not losses.ndim and reduction is None and self._reduction is None
        reduction = reduction or self._reduction or "mean"
        if reduction not in ("mean", "sum"):
            raise ValueError(f"reduction is {reduction!r}; a 0-d loss is a 'mean' or a 'sum'")
        if targets is not None and not isinstance(targets, Tensor):
            raise TypeError(f"targets must be a Tensor, got {type(targets).__name__}; a number of items goes to count=")
        known = {
            "targets": None if targets is None else targets.numel(),
            "count": count,
            "loss": losses.numel() if losses.ndim else None,
        }
        counts = {name: number for name, number in known.items() if number is not None}
        if not counts:
            raise ValueError(
                "a mean means nothing without its count: write update(loss, targets) or count=len(targets)"
            )
        if len(set(counts.values())) > 1:
            given = ", ".join(f"{name} {number}" for name, number in counts.items())
            raise ValueError(f"the numbers of items differ: {given}")
        items = next(iter(counts.values()))
        if not items:
            return
        if losses.ndim:
            total: float | Tensor = losses.sum(dtype=_wide(losses))
        else:
            value = losses.item() if losses.device.type == "cpu" else losses.to(_wide(losses))
            total = value * items if reduction == "mean" else value
        self._total = self._total + total
        self._count += items
        if targets is not None:
            self._ones = self._ones + targets.detach().sum(dtype=_wide(targets))
            self._targets_seen += items

    def merge(self, other: EpochBCE) -> None:
        """Add what another meter has seen: of another process, or of another part of the data."""
        self._total = self._total + other._total
        self._ones = self._ones + other._ones
        self._count += other._count
        self._targets_seen += other._targets_seen
        self._assumed |= other._assumed

    def gathered(self) -> EpochBCE:
        """The meter of all processes of `torch.distributed`, the same in each; of this one where there are no others.

        Every process counts what it has seen: a sampler that pads its part repeats items, and they would count twice.
        """
        whole = EpochBCE()
        parts: list[tuple[float, float, int, int]] = [
            (float(self._total), float(self._ones), self._count, self._targets_seen)
        ]
        if group.count() > 1:
            parts *= group.count()
            torch.distributed.all_gather_object(parts, parts[group.number()])
        whole._total = math.fsum(total for total, *_ in parts)
        whole._ones = math.fsum(ones for _, ones, *_ in parts)
        whole._count = sum(part[2] for part in parts)
        whole._targets_seen = sum(part[3] for part in parts)
        whole._assumed, whole._plain = self._assumed, self._plain
        return whole

    def state_dict(self) -> dict[str, Any]:
        """What it has seen, in numbers."""
        return {
            "total": float(self._total),
            "ones": float(self._ones),
            "count": self._count,
            "targets_seen": self._targets_seen,
            "assumed": self._assumed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` was taken of."""
        self._total, self._ones, self._count = state["total"], state["ones"], state["count"]
        self._targets_seen, self._assumed = state["targets_seen"], state["assumed"]

    @property
    def count(self) -> int:
        """Items seen."""
        return self._count

    @property
    def total(self) -> float:
        """The sum of the loss over all items, in nats."""
        return float(self._total)

    def compute(self) -> float:
        """The mean loss over all items, in nats; NaN where there are none."""
        return self.total / self._count if self._count else math.nan

    @property
    def share(self) -> float:
        """The mean of the targets, the base rate; NaN unless every update gave them."""
        return float(self._ones) / self._count if self._count and self._targets_seen == self._count else math.nan

    @property
    def baseline(self) -> float:
        """What always answering the base rate would cost, in nats; NaN where that is not known, or of another loss."""
        return cross_entropy(self.share, self.share) if self._plain and 0 <= self.share <= 1 else math.nan

    def __str__(self) -> str:
        if not self._count:
            return "no items yet"
        text = f"{self.compute():.4f} nats per item over {self._count:,} item{'s' * (self._count != 1)}"
        if not math.isnan(self.baseline):
            text += f", {percent_below(self.compute(), self.baseline)}"
        return text + ", each loss taken for a mean" * self._assumed

    def __repr__(self) -> str:
        return f"EpochBCE({self})"


def _wide(tensor: Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
