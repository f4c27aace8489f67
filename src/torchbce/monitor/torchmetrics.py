"""The mean BCE as a torchmetrics Metric: sums that add up over batches, processes and merged states."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from torchbce.explanation.statistics.entropy import cross_entropy
from torchbce.functional import binary_cross_entropy, binary_cross_entropy_with_logits
from torchbce.monitor.convention import Convention
from torchbce.monitor.counting import counted

__all__ = ["BinaryCrossEntropy"]


class BinaryCrossEntropy(Metric):
    """The mean BCE over items in nats, or as a share of the base rate's entropy.

    Args:
        from_logits: whether predictions are logits. Never guessed.
        normalized: divide by the entropy of the targets' mean (normalised entropy).
        ignore_index: targets of items that do not count; others outside [0, 1] are an error.
        kwargs: torchmetrics' own.

    Example:
        >>> metric = BinaryCrossEntropy(from_logits=False)
        >>> metric.update(torch.tensor([0.60, 0.20, 0.70]), torch.tensor([1, 0, 1]))
        >>> metric.compute()
        tensor(0.3635, dtype=torch.float64)
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False
    total: Tensor
    ones: Tensor
    count: Tensor

    def __init__(
        self, *, from_logits: bool, normalized: bool = False, ignore_index: float | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.from_logits, self.normalized, self.ignore_index = from_logits, normalized, ignore_index
        self._counting = Convention(options={} if ignore_index is None else {"ignore_index": ignore_index})
        self.set_dtype(torch.float64)
        for name, dtype in (("total", torch.float64), ("ones", torch.float64), ("count", torch.int64)):
            self.add_state(name, torch.zeros((), dtype=dtype), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Add a batch of any shape."""
        loss = binary_cross_entropy_with_logits if self.from_logits else binary_cross_entropy
        wide = target.double() if target.is_floating_point() else target
        outputs = preds.detach().double()
        self.total += loss(outputs, wide, reduction="sum", ignore_index=self.ignore_index, validate="raise")
        batch = counted(wide, self._counting, None, None)
        self.ones += batch.ones
        self.count += batch.counted

    def compute(self) -> Tensor:
        """Return the mean, a float64 scalar; NaN without items."""
        mean = self.total / self.count
        if not self.normalized:
            return mean
        share = (self.ones / self.count).item()
        return mean / cross_entropy(share, share) if 0 < share < 1 else torch.full_like(mean, torch.nan)
