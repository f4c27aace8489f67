"""The mean and the deviation of a column that is seen in batches, exact to rounding, at any size of its values.

Chan, Golub and LeVeque (1979): the means and variances of two batches give those of both. All are kept in a unit as
large as the largest size, so that squares of 1e300 do not overflow. It grows by powers of two alone, which round
nothing: batches of one and the same value have no deviation.
"""

from __future__ import annotations

import math

import numpy as np


class Moments:
    """Weighted mean and deviation, least and greatest value, and whether there are gaps."""

    def __init__(self) -> None:
        self.gaps = False
        self._low, self._high = math.inf, -math.inf
        self._unit = 0.0  # of the mean and the deviation: the largest size is less than two of it
        self._weight, self._mean, self._variance = 0.0, 0.0, 0.0

    def add(self, values: np.ndarray, weight: np.ndarray | None) -> None:
        """Add values, NaN at gaps."""
        known = ~np.isnan(values)
        if not known.all():
            self.gaps = True
            values, weight = values[known], None if weight is None else weight[known]
        if not len(values):
            return
        self._low, self._high = min(self._low, float(values.min())), max(self._high, float(values.max()))
        total = float(len(values)) if weight is None else float(weight.sum())
        if not total:
            return
        self._make_room_for(max(abs(self._low), abs(self._high)) or 1.0)
        parts = values / self._unit
        mean = float(np.average(parts, weights=weight))
        self._merge(total, mean, float(np.average((parts - mean) ** 2, weights=weight)))

    def _make_room_for(self, size: float) -> None:
        if not self._weight:
            self._unit = size
        grown = math.frexp(size)[1] - math.frexp(self._unit)[1]
        if grown > 0:
            self._unit = math.ldexp(self._unit, grown)
            self._mean, self._variance = math.ldexp(self._mean, -grown), math.ldexp(self._variance, -2 * grown)

    def _merge(self, weight: float, mean: float, variance: float) -> None:
        share, apart = weight / (self._weight + weight), mean - self._mean
        self._variance += share * (variance - self._variance) + apart * apart * share * (1 - share)
        self._mean = mean if share == 1 else self._mean + share * apart
        self._weight += weight

    @property
    def low(self) -> float:
        """The least value, 0 where nothing is known."""
        return self._low if self._low <= self._high else 0.0

    @property
    def high(self) -> float:
        """The greatest value, 0 where nothing is known."""
        return self._high if self._low <= self._high else 0.0

    @property
    def mean(self) -> float:
        """The mean, 0 where nothing is known."""
        return self._unit * self._mean

    @property
    def scale(self) -> float:
        """The deviation, 1 where it is 0 or nothing is known."""
        return self._unit * math.sqrt(self._variance) or 1.0
