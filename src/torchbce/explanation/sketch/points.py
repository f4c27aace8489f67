"""Predictions as points: every logit that occurs, with the weight of the items there and of their positives.

Up to `LIMIT` different logits are kept as they are, so small data and everything in 16 bits are exact. More are rounded
to bfloat16, whose 65,536 values bound the memory however many items come. Points add up, so they can be merged.
Each item belongs to one of `FOLDS` parts by its row, for cross-fitting.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

FOLDS = 5
LIMIT = 65_536
FARTHEST = 1e30  # stands for an infinite logit

Array = np.ndarray


# Which part a row is in: chance, but the same for one row wherever and however often it is read.
@functools.cache
def _parts() -> Array:
    return np.random.default_rng(0).integers(0, FOLDS, 1 << 16)


def folds(rows: Array) -> Array:
    """The part of each row, 0 ... `FOLDS` - 1."""
    return np.asarray(_parts()[rows & 0xFFFF])


@dataclass(frozen=True, eq=False)  # compared and hashed as the object that it is
class Points:
    """Distinct logits in rising order; `weight` and `positive` have one column for each fold."""

    logits: Array
    weight: Array
    positive: Array

    @classmethod
    def empty(cls) -> Points:
        return cls(np.zeros(0), np.zeros((0, FOLDS)), np.zeros((0, FOLDS)))

    @classmethod
    def of(cls, logits: Array, targets: Array, weights: Array | None = None) -> Points:
        """The points of items in memory."""
        table = PointTable()
        z, y, w = (
            None if a is None else torch.from_numpy(np.asarray(a, np.float64)) for a in (logits, targets, weights)
        )
        assert z is not None
        assert y is not None
        table.add(z, y, w, np.arange(len(z)), hard=False)
        return table.points()

    @property
    def total_weight(self) -> Array:
        return np.asarray(self.weight.sum(1))

    @property
    def total_positive(self) -> Array:
        return np.asarray(self.positive.sum(1))


class PointTable:
    """Points that are being collected."""

    def __init__(self) -> None:
        self._exact: Points | None = Points.empty()
        self._coarse = torch.zeros(2, FOLDS, LIMIT, dtype=torch.float64)  # weight of negatives and of positives

    @property
    def is_exact(self) -> bool:
        return self._exact is not None

    def add(self, logits: Tensor, targets: Tensor, weights: Tensor | None, rows: Array, hard: bool) -> None:
        """All are float64 and finite; `hard` says that every target is 0 or 1."""
        part = torch.from_numpy(folds(rows))
        weight = torch.ones_like(targets) if weights is None else weights
        if self._exact is not None:
            places, inverse = np.unique(logits.numpy(), return_inverse=True)
            if len(places) <= LIMIT:
                cells, size = inverse * FOLDS + part.numpy(), len(places) * FOLDS
                sums = (np.bincount(cells, w.numpy(), size).reshape(-1, FOLDS) for w in (weight, weight * targets))
                self._add_exact(Points(places, *sums))
                return
            self._coarsen()
        cells = part * LIMIT + _keys(logits)
        if hard:
            cells += targets.long() * (FOLDS * LIMIT)
            self._coarse.view(-1).scatter_add_(0, cells, weight)
        else:
            for row, share in enumerate((1 - targets, targets)):
                self._coarse[row].view(-1).scatter_add_(0, cells, weight * share)

    def merge(self, other: PointTable) -> None:
        """Add what another table has collected."""
        if other._exact is not None:
            self._add_exact(other._exact)
        else:
            self._coarsen()
            self._coarse += other._coarse

    def points(self) -> Points:
        """What has been collected."""
        if self._exact is not None:
            return self._exact
        negative, positive = self._coarse.numpy().transpose(0, 2, 1)
        found = (negative + positive).any(1)
        values = torch.arange(LIMIT, dtype=torch.int32).to(torch.uint16).view(torch.bfloat16).double().numpy()
        return _sum(values[found], (negative + positive)[found], positive[found])

    def state(self) -> dict[str, Array]:
        """Arrays from which `restored` makes the table again."""
        found = self.points()
        return {
            "logits": found.logits,
            "weight": found.weight,
            "positive": found.positive,
            "exact": np.array(self.is_exact),
        }

    @classmethod
    def restored(cls, state: dict[str, Array]) -> PointTable:
        table = cls()
        if not state["exact"]:
            table._coarsen()
        table._add_exact(Points(state["logits"], state["weight"], state["positive"]))
        return table

    def _add_exact(self, points: Points) -> None:
        if self._exact is not None:
            both = [np.concatenate(pair) for pair in zip(_fields(self._exact), _fields(points), strict=True)]
            self._exact = _sum(*both)
            if len(self._exact.logits) > LIMIT:
                self._coarsen()
            return
        cells = _keys(torch.from_numpy(points.logits))
        for row, weight in enumerate((points.weight - points.positive, points.positive)):
            self._coarse[row].index_add_(1, cells, torch.from_numpy(weight.T.copy()))

    def _coarsen(self) -> None:
        if self._exact is not None:
            points, self._exact = self._exact, None
            self._add_exact(points)


def _keys(logits: Tensor) -> Tensor:
    """The bits of each logit as bfloat16, as numbers from 0."""
    return logits.to(torch.bfloat16).view(torch.uint16).long()


def _fields(points: Points) -> tuple[Array, Array, Array]:
    return points.logits, points.weight, points.positive


def _sum(logits: Array, weight: Array, positive: Array) -> Points:
    """Points in rising order, equal logits (also 0 and -0) added up; without those that weigh nothing."""
    weighs = weight.any(1)
    logits, weight, positive = logits[weighs], weight[weighs], positive[weighs]
    places, inverse = np.unique(logits, return_inverse=True)
    cells = (inverse[:, None] * FOLDS + np.arange(FOLDS)).ravel()
    size = len(places) * FOLDS
    both = weight.ravel(), positive.ravel()
    sums = (np.bincount(cells, values, size).astype(np.float64).reshape(-1, FOLDS) for values in both)  # int if empty
    return Points(places, *sums)
