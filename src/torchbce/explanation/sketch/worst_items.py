"""The items that cost most, and how much of the loss few items carry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from torchbce.explanation.sketch.columns import Array, concatenated, ordered

KEPT = 1000  # the worst 1 % of 100,000 items
BINS = 1 << 15  # the upper 16 bits of a float32 that is not negative


class Worst(NamedTuple):
    """Items as columns, the one that costs most first; `output` is what was given, `source` a number of a file."""

    loss: Array
    source: Array
    row: Array
    output: Array
    target: Array
    weight: Array

    @classmethod
    def none(cls) -> Worst:
        return cls(*(np.zeros(0, np.int64 if name in ("source", "row") else np.float64) for name in cls._fields))

    def and_(self, other: Worst, most: int) -> Worst:
        """Return the worst of both; of equal ones the earlier."""
        joined = concatenated(self, other)
        return ordered(joined, (joined.row, joined.source, -joined.loss), most)


def candidates(losses: Tensor, least: float, most: int) -> Array:
    """Return the positions of items that may be among the `most` worst, of those that cost `least` or more."""
    positions = (losses >= least).nonzero().squeeze(1)
    if len(positions) > 4 * most:
        # Those that cost more than the last of the worst here, and the first of those that cost the same.
        chosen = losses[positions]
        edge = torch.topk(chosen, most, sorted=False).values.min()
        positions = torch.cat([positions[chosen > edge], positions[chosen == edge][:most]])
    return np.asarray(positions.numpy())


@dataclass
class LossHistogram:
    """How many items cost about so much, and what those cost together: bins at most 0.8 % wide."""

    counts: Tensor
    sums: Tensor

    @classmethod
    def empty(cls) -> LossHistogram:
        return cls(torch.zeros(BINS, dtype=torch.int64), torch.zeros(BINS, dtype=torch.float64))

    def add(self, losses: Tensor) -> None:
        """Count float64 losses."""
        keys = (losses.float().view(torch.int32) >> 16).clamp_(min=0).long()  # -0 counts as 0
        self.counts.scatter_add_(0, keys, torch.ones_like(keys))
        self.sums.scatter_add_(0, keys, losses)

    def coarse(self) -> tuple[tuple[float, int], ...]:
        """Return the number of items in each fifth of a decade, as (loss from, items)."""
        counts = self.counts.numpy()
        filled = counts.nonzero()[0]
        losses = torch.from_numpy(filled << 16).int().view(torch.float32).double().numpy()
        fifths = np.floor(5 * np.log10(np.clip(losses, 1e-8, 300.0))).astype(int)
        return tuple((float(10 ** (step / 5)), int(counts[filled[fifths == step]].sum())) for step in range(-40, 13))

    def share_of_worst(self, fraction: float, worst: Worst) -> float:
        """Return the share of the loss that the worst `fraction` of the items has."""
        count, total = int(self.counts.sum()), float(self.sums.sum())
        wanted = max(1, round(fraction * count))
        if total == 0:
            return 0.0
        if not math.isfinite(total):
            return 1.0
        if wanted <= len(worst.loss):
            return float(worst.loss[:wanted].sum() / total)
        counts, sums = self.counts.numpy()[::-1], self.sums.numpy()[::-1]
        upto = np.cumsum(counts)
        last = int(np.searchsorted(upto, wanted))
        before = upto[last] - counts[last]
        return float((sums[:last].sum() + sums[last] * (wanted - before) / counts[last]) / total)
