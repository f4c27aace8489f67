"""The mean and the deviation of a column that is seen in pieces, exact to rounding, at any size of its values.

Chan, Golub and LeVeque (1979): two pieces' means and sums of squares around them give those of both. All are kept by
way of a power of two as large as the largest value, so that squares of 1e300 do not overflow.
"""

from __future__ import annotations

import math

import numpy as np


class Moments:
    """Of values so far: their weighted mean and deviation, the least and the greatest, and whether there are gaps."""

    def __init__(self) -> None:
        self.low, self.high, self.gaps = math.inf, -math.inf, False
        self._exponent = -1074  # values are kept as value / 2**exponent, at most 1
        self._weight, self._mean, self._squares = 0.0, 0.0, 0.0

    def add(self, values: np.ndarray, weight: np.ndarray | None) -> None:
        """More values, NaN at gaps."""
        known = ~np.isnan(values)
        if not known.all():
            self.gaps = True
            values, weight = values[known], None if weight is None else weight[known]
        if not len(values):
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        total = float(len(values)) if weight is None else float(weight.sum())
        if not total:
            return
        self._at_least(math.frexp(max(abs(self.low), abs(self.high)))[1])
        parts = np.ldexp(values, -self._exponent)
        mean = float(np.average(parts, weights=weight))
        squares = (parts - mean) ** 2
        both = self._weight + total
        apart = mean - self._mean
        self._squares += float(squares.sum() if weight is None else (squares * weight).sum())
        self._squares += apart * apart * (self._weight * (total / both))
        self._mean += apart * (total / both)
        self._weight = both

    def _at_least(self, exponent: int) -> None:
        if exponent > self._exponent:
            down = self._exponent - exponent
            self._mean, self._squares = math.ldexp(self._mean, down), math.ldexp(self._squares, 2 * down)
            self._exponent = exponent

    @property
    def mean(self) -> float:
        return math.ldexp(self._mean, self._exponent)

    @property
    def scale(self) -> float:
        """The deviation, 1 where it is 0 or nothing is known."""
        return math.ldexp(math.sqrt(self._squares / self._weight), self._exponent) or 1.0 if self._weight else 1.0
