"""Items that belong together: the patients of visits, the images of pixels. Between clusters items are independent.

A standard error that takes dependent items for independent is too small, by up to the square root of a cluster's size.
The sums of each cluster are independent, whatever goes on inside it (Liang and Zeger 1986).
"""

from __future__ import annotations

import math
import zlib
from typing import Any

import numpy as np
from torch import Tensor

from torchbce.explanation.statistics.calibration import LARGEST_LOGIT

FEWEST = 10  # below so many clusters their spread says nothing
MOST = 5_000_000
COLUMNS = ("count", "total", "slope_score", "shift_score")

Array = np.ndarray


class Clusters:
    """Sums over the items of each cluster: how many, their loss, and the score of slope 1 and shift 0."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}
        self._sums = np.zeros((1024, len(COLUMNS)))

    def __len__(self) -> int:
        return len(self._places)

    def add(
        self, codes: Array, names: list[str], losses: Tensor, logits: Tensor, targets: Tensor, weights: Tensor | None
    ) -> None:
        """Add items, each of the cluster `names[code]`."""
        residual = targets - logits.sigmoid()
        if weights is not None:
            residual = residual * weights
        z = logits.clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
        columns = (None, losses.numpy(), (residual * z).numpy(), residual.numpy())
        sums = np.stack([np.bincount(codes, column, len(names)) for column in columns], 1)
        self._add(names, sums)

    def merge(self, other: Clusters) -> None:
        """Add what others have seen of the same clusters, or of more."""
        self._add(list(other._places), other.sums)

    @property
    def sums(self) -> Array:
        """A row for each cluster, with the columns of `COLUMNS`."""
        return self._sums[: len(self)]

    def standard_error(self, mean: float) -> float:
        """Of the mean loss over all items; NaN where there are too few clusters."""
        if len(self) < FEWEST:
            return math.nan
        rest = self.sums[:, 1] - mean * self.sums[:, 0]
        return math.sqrt(len(self) / (len(self) - 1) * float(rest @ rest)) / float(self.sums[:, 0].sum())

    def p_value(self) -> float:
        """How often right predictions have so large a score by chance; NaN where there are too few clusters.

        Hotelling's T^2 of the clusters' scores; its F distribution with 2 and G - 2 degrees of freedom has this form.
        """
        n = len(self)
        if n < FEWEST:
            return math.nan
        scores = self.sums[:, 2:]
        total = scores.sum(0)
        spread = scores - total / n
        covariance = spread.T @ spread * n / (n - 1)
        statistic = float(total @ np.linalg.pinv(covariance, hermitian=True) @ total)
        return float((1 + statistic / (n - 1)) ** (-(n - 2) / 2))

    def state(self) -> dict[str, Any]:
        """What `restored` makes them from: names and sums."""
        return {"names": list(self._places), "sums": self.sums}

    @classmethod
    def restored(cls, names: list[str], sums: Array) -> Clusters:
        found = cls()
        found._add(names, sums)
        return found

    def _add(self, names: list[str], sums: Array) -> None:
        used = sums[:, 0].nonzero()[0]
        places = np.array([self._places.setdefault(names[i], len(self._places)) for i in used], np.int64)
        if len(self) > MOST:
            raise ValueError(f"there are more than {MOST:,} clusters; name a column that tells what items belong to")
        if len(self) > len(self._sums):
            self._sums = np.concatenate([self._sums, np.zeros((len(self), len(COLUMNS)))])
        self._sums[places] += sums[used]


def fold_keys(codes: Array, names: list[str]) -> Array:
    """A number for each item that is the same for all of its cluster, in every file and process."""
    keys = np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in names], np.int64)
    return np.asarray(keys[codes])
