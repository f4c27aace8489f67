"""Pairs of logits as points: every pair that occurs, with the weight of the items there and of their positives.

Up to `LIMIT` different pairs are kept as they are. More are rounded to a grid, which bounds the memory however many
items come. Points add up, so they can be merged.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LIMIT = 65_536
STEP = 1 / 32  # of the grid: sigmoid changes by less than 0.008 from one line to the next
SIDE = 1024  # lines, so from -16 to 16: beyond, a probability is 0 or 1 to seven digits

Array = np.ndarray


@dataclass(frozen=True)
class PairPoints:
    """Distinct pairs of logits `a` and `b`."""

    a: Array
    b: Array
    weight: Array
    positive: Array


class JointPoints:
    """Pairs that are being collected."""

    def __init__(self) -> None:
        nothing = np.zeros(0)
        self._exact: PairPoints | None = PairPoints(nothing, nothing, nothing, nothing)
        self._coarse = torch.zeros(2, 0, dtype=torch.float64)  # weight of negatives and of positives

    @property
    def is_exact(self) -> bool:
        return self._exact is not None

    def add(self, a: Tensor, b: Tensor, targets: Tensor, weights: Tensor | None) -> None:
        """All are float64 and finite."""
        weight = torch.ones_like(targets) if weights is None else weights
        positive = weight * targets
        if self._exact is None:
            self._add_coarse(a, b, weight, positive)
        else:
            self._add_exact(PairPoints(*(column.numpy() for column in (a, b, weight, positive))))

    def merge(self, other: JointPoints) -> None:
        """Add what others have collected."""
        if other._exact is not None:
            self.add_points(other._exact)
        else:
            self.coarsen()
            self._coarse += other._coarse

    def add_points(self, points: PairPoints) -> None:
        """Add points that were collected before."""
        if self._exact is not None:
            self._add_exact(points)
        else:
            self._add_coarse(*(torch.from_numpy(column) for column in vars(points).values()))

    def points(self) -> PairPoints:
        """What has been collected."""
        if self._exact is not None:
            return self._exact
        negative, positive = self._coarse.numpy()
        cells = (negative + positive).nonzero()[0]
        a, b = ((place - SIDE // 2) * STEP for place in np.divmod(cells, SIDE))
        return PairPoints(a, b, (negative + positive)[cells], positive[cells])

    def _add_exact(self, points: PairPoints) -> None:
        assert self._exact is not None
        a, b, weight, positive = (
            np.concatenate(both) for both in zip(vars(self._exact).values(), vars(points).values(), strict=True)
        )
        places, inverse = np.unique((a + 0.0) + 1j * (b + 0.0), return_inverse=True)
        sums = (np.bincount(inverse, values, len(places)) for values in (weight, positive))
        self._exact = PairPoints(places.real.copy(), places.imag.copy(), *sums)
        if len(places) > LIMIT:
            self.coarsen()

    def _add_coarse(self, a: Tensor, b: Tensor, weight: Tensor, positive: Tensor) -> None:
        cells = _line(a) * SIDE + _line(b)
        for row, values in enumerate((weight - positive, positive)):
            self._coarse[row].scatter_add_(0, cells, values)

    def coarsen(self) -> None:
        """Round what there is, and what comes."""
        if self._exact is None:
            return
        points, self._exact = self._exact, None
        self._coarse = torch.zeros(2, SIDE * SIDE, dtype=torch.float64)
        self.add_points(points)


def _line(logits: Tensor) -> Tensor:
    """The nearest line of the grid."""
    return (logits / STEP + SIDE // 2).round_().clamp_(0, SIDE - 1).long()
