"""A sample of paired logits, for how far two models differ item by item: as many of each class as are kept.

Which items are kept is chance, but the same whatever order they come in: those whose hashed row numbers are least. So
samples of parts, merged, are the sample of all. Up to `KEPT` items of a class it is all of them.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from torchbce.common import splitmix
from torchbce.explanation.sketch.columns import Array, concatenated, ordered

KEPT = 32_768  # of each class: a variance is then known to a percent or two


@dataclass(frozen=True)
class PairPoints:
    """Pairs of logits `a` and `b`, with the weight that each stands for and that of its positives.

    square: of the weight of the items that each stands for. kept: the share of its class that was kept. clusters: the
    number of each one's; None where items are independent.
    """

    a: Array
    b: Array
    weight: Array
    positive: Array
    square: Array
    kept: Array
    clusters: Array | None


class Kept(NamedTuple):
    """Items of one class as columns, the one with the least key first."""

    key: Array
    a: Array
    b: Array
    weight: Array
    cluster: Array  # its number, 0 where there are none

    @classmethod
    def none(cls) -> Kept:
        return cls(np.zeros(0, np.uint64), np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0, np.int64))

    def and_(self, other: Kept) -> Kept:
        """Return the items of both with the least keys."""
        joined = concatenated(self, other)
        return ordered(joined, (joined.b, joined.a, joined.key), KEPT)


class PairSample:
    """Collects pairs of zeros and of ones, and what all items of each class weigh."""

    def __init__(self) -> None:
        self.kept = [Kept.none(), Kept.none()]
        self.weights = [0.0, 0.0]
        self.counts = [0, 0]  # of items that weigh something
        self.clustered = False

    def add(
        self,
        a: Tensor,
        b: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        rows: Array,
        source: str,
        clusters: Array | None = None,
    ) -> None:
        """Add items; all are float64 and finite, and soft targets are left out."""
        keys = hashed(rows, source)
        y, w = targets.numpy(), np.ones(len(rows)) if weights is None else weights.numpy()
        numbers = np.zeros(len(rows), np.int64) if clusters is None else clusters
        self.clustered = self.clustered or clusters is not None
        for label in (0, 1):
            mine = y == label
            self.weights[label] += float(w[mine].sum())
            least = self.kept[label]
            chosen = mine & (w > 0)
            self.counts[label] += int(chosen.sum())
            if len(least.key) == KEPT:
                chosen &= keys <= least.key[-1]
            if chosen.any():
                more = Kept(keys[chosen], a.numpy()[chosen], b.numpy()[chosen], w[chosen], numbers[chosen])
                self.kept[label] = least.and_(more)

    def merge(self, other: PairSample) -> None:
        """Add what another sample has collected."""
        self.kept = [mine.and_(theirs) for mine, theirs in zip(self.kept, other.kept, strict=True)]
        self.weights = [mine + theirs for mine, theirs in zip(self.weights, other.weights, strict=True)]
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.clustered = self.clustered or other.clustered

    def points(self) -> PairPoints:
        """Return the pairs in the sample, each class with the weight of all of its items."""
        weights, squares, shares = [], [], []
        for items, weight, count in zip(self.kept, self.weights, self.counts, strict=True):
            share = len(items.key) / count if count else 1.0
            weights.append(items.weight * (weight / items.weight.sum() if len(items.weight) else 0.0))
            squares.append(items.weight**2 / share)
            shares.append(np.full(len(items.key), share))
        a, b, clusters = (
            np.concatenate([getattr(items, name) for items in self.kept]) for name in ("a", "b", "cluster")
        )
        positive = np.concatenate([np.zeros(len(weights[0])), weights[1]])
        each, square, part = (np.concatenate(columns) for columns in (weights, squares, shares))
        return PairPoints(a, b, each, positive, square, part, clusters if self.clustered else None)


def hashed(rows: Array, source: str) -> Array:
    """Return a number for each row of a source that looks like chance."""
    return splitmix.hashed(np.asarray(rows), zlib.crc32(source.encode("utf-8", "surrogatepass")) << 32)
