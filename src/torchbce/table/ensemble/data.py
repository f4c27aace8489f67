"""What an ensemble learns from, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.monitor.history import History
from torchbce.table.ensemble.blend import Blend
from torchbce.table.ensemble.calibration import Calibration
from torchbce.table.ensemble.ensemble import Ensemble


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
