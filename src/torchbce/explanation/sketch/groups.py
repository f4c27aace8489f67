"""Sums over the items of each group, enough for its mean loss and how far that may be from the truth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from torch import Tensor

from torchbce.explanation.sketch.clusters import numbers_of
from torchbce.explanation.sketch.items import Codes
from torchbce.explanation.sketch.keyed_sums import Array, KeyedSums
from torchbce.explanation.sketch.paired_sums import PairedSums
from torchbce.explanation.sketch.points import FOLDED

MOST = 10_000
TOO_MANY = f"there are more than {MOST:,} groups; name a column with fewer values"
# With w the weight and x the weighted loss of an item: the sums that the squares and cubes of x - mean * w need.
COLUMNS = ("count", "total", "weight", "positive", "ww", "wx", "xx", "www", "wwx", "wxx", "xxx")
MOST_PARTS = 1 << 20


class Parts(NamedTuple):
    """The part of a group in each cluster: the cluster's number, and the weight, the loss and the ones there."""

    clusters: Array
    weight: Array
    total: Array
    positive: Array


class Groups(KeyedSums):
    """A row with the columns of `COLUMNS` for each group, and sums over its part in each cluster, if there are any."""

    def __init__(self) -> None:
        super().__init__(len(COLUMNS), MOST, TOO_MANY)
        self.parts: PairedSums | None = None

    def add_losses(
        self,
        codes: Array,
        names: list[str],
        losses: Tensor,
        targets: Tensor,
        weights: Tensor | None,
        clusters: Codes | None = None,
    ) -> None:
        """Add items, `losses` with their weights in them."""
        x, y = losses.numpy(), targets.numpy()
        w = np.ones(len(x)) if weights is None else weights.numpy()
        products = (w * w, w * x, x * x, w * w * w, w * w * x, w * x * x, x * x * x)
        self.add_items(codes, names, (None, x, w, y * w, *products))
        if clusters is not None:
            self.parts = self.parts or new_parts()
            self.parts.add(self.places(names)[codes], numbers_of(*clusters), (w, x, y * w))

    def merge(self, other: KeyedSums) -> None:
        super().merge(other)
        assert isinstance(other, Groups)
        if other.parts is not None:
            self.parts = self.parts or new_parts()
            state = other.parts.state()
            self.parts.restore(state | {"first": self.places(other.names)[state["first"]]})

    def rows(self) -> Iterator[Group]:
        """Yield each group with its sums."""
        of_group: list[Parts | None] = [None] * len(self)
        if self.parts is not None:
            groups, clusters, sums = self.parts.rows()
            bounds = np.searchsorted(groups, np.arange(len(self) + 1))
            of_group = [Parts(clusters[a:b], *sums[a:b].T) for a, b in itertools.pairwise(bounds.tolist())]
        rows = zip(self.names, self.sums.tolist(), of_group, strict=True)
        return (Group(name, parts, *row) for name, row, parts in rows)


def new_parts() -> PairedSums:
    """Return an empty table for the parts of groups in clusters."""
    return PairedSums(3, MOST_PARTS, FOLDED)


class Group:
    """One group of items.

    mean: of its losses, by weight. square, cube: sums over items of the powers of what each loss differs from it.
    parts: in clusters, if there are any. equal_count: as many items of equal weight tell as much (Kish).
    """

    def __init__(
        self,
        name: str,
        parts: Parts | None,
        count: float,
        total: float,
        weight: float,
        positive: float,
        *powers: float,
    ) -> None:
        self.name, self.parts = name, parts
        self.count, self.total, self.weight, self.positive = int(count), total, weight, positive
        self.base_rate = positive / weight if weight else math.nan
        self.mean = total / weight if weight else math.nan
        ww, wx, xx, www, wwx, wxx, xxx = powers
        m = self.mean
        # Rounding must not make a sum of squares negative where all items cost the same.
        self.square = max(xx - 2 * m * wx + m * m * ww, 0.0)
        self.cube = xxx - 3 * m * wxx + 3 * m * m * wwx - m**3 * www
        self.equal_count = weight * weight / ww if ww else 0.0
