"""The rows of a table as numbers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TrainingMatrix:
    """Encoded rows of numbers, then one code per categorical column; targets 0 and 1."""

    rows: np.ndarray  # (N, inputs), float32
    target: np.ndarray  # (N,)
    levels: list[int]  # of each categorical column
    weight: np.ndarray | None = None

    @property
    def numbers(self) -> int:
        return int(self.rows.shape[1]) - len(self.levels)

    @property
    def base_rate(self) -> float:
        return float(np.average(self.target, weights=self.weight))

    @property
    def digest(self) -> str:
        """Of all of it, to the last bit."""
        weight = () if self.weight is None else (self.weight,)
        return digest(self.rows, self.target, np.array(self.levels, np.int64), *weight)


def digest(*arrays: np.ndarray) -> str:
    """Of the shapes, dtypes and bits of arrays."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.shape} {array.dtype} ".encode())
        found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.hexdigest()[:16]
