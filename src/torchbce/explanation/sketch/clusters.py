"""Items that belong together: the patients of visits, the images of pixels. Between clusters items are independent.

A standard error that takes dependent items for independent is too small, by up to the square root of a cluster's size.
The sums of each cluster are independent, whatever goes on inside it (Liang and Zeger 1986).
"""

from __future__ import annotations

import zlib

import numpy as np
from torch import Tensor

from torchbce.explanation.sketch.cells import CellTable
from torchbce.explanation.sketch.keyed_sums import Array, KeyedSums
from torchbce.explanation.sketch.points import FOLDED, LIMIT

MOST = 5_000_000
TOO_MANY = f"there are more than {MOST:,} clusters; name a column that tells what items belong to"
COLUMNS = ("count", "total", "weight", "positive")
MOST_CELLS = 1 << 20


class Clusters(KeyedSums):
    """Sums over the items of each cluster: how many, their loss, and their weights; and the logits that each has.

    cells: the weight of all items, of zeros and of ones, at each logit, by the number of the cluster.
    """

    def __init__(self) -> None:
        super().__init__(len(COLUMNS), MOST, TOO_MANY)
        self.cells = CellTable(3, LIMIT, MOST_CELLS, FOLDED)

    def add_losses(
        self, codes: Array, names: list[str], losses: Tensor, logits: Tensor, targets: Tensor, weights: Tensor | None
    ) -> None:
        """Add items, `losses` with their weights in them."""
        y = targets.numpy()
        w = np.ones(len(y)) if weights is None else weights.numpy()
        self.add_items(codes, names, (None, losses.numpy(), w, w * y))
        self.cells.add_items(logits.numpy(), numbers_of(codes, names), (w, w * (1 - y), w * y))

    def merge(self, other: KeyedSums) -> None:
        super().merge(other)
        assert isinstance(other, Clusters)
        self.cells.merge(other.cells)


def numbers_of(codes: Array, names: list[str]) -> Array:
    """Return a number for each item that is the same for all of its cluster, in every file and process."""
    numbers = np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names], np.int64)
    return np.asarray(numbers[codes])
