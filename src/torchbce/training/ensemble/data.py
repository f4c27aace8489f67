"""What an ensemble learns from, and what comes out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from torchbce.training.ensemble.blend import Blend
from torchbce.training.ensemble.calibration import Calibration
from torchbce.training.ensemble.ensemble import Ensemble
from torchbce.training.history import History

Split = tuple[np.ndarray, np.ndarray]  # the numbers of the rows to learn from, and of those to be judged by


@dataclass(frozen=True)
class Data:
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


@dataclass(frozen=True)
class Fitted:
    """A trained ensemble.

    chosen_on: rows that members were judged by, and their logits then, trees mixed in, before scaling; weight: of those
    rows. blend: None without trees. calibration: None where members were judged by different rows.
    """

    ensemble: Ensemble
    history: History
    chosen_on: np.ndarray
    held_out_logits: np.ndarray
    target: np.ndarray  # of those rows
    weight: np.ndarray | None
    blend: Blend | None
    calibration: Calibration | None
