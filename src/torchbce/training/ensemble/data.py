"""What an ensemble learns from, and what comes out."""

from __future__ import annotations

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
