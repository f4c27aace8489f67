"""A trained ensemble and how it was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.monitor.history import History
from torchbce.table.ensemble.blend import Blend
from torchbce.table.ensemble.calibration import Calibration
from torchbce.table.ensemble.ensemble import Ensemble


@dataclass(frozen=True)
class EnsembleFit:
    """A trained ensemble, and the validation rows that its epoch was chosen on.

    chosen_on: their numbers. held_out_logits: theirs in the best epoch, trees blended in, before scaling. blend: None
    without trees. calibration: None where members were judged by different rows.
    """

    ensemble: Ensemble
    history: History
    chosen_on: np.ndarray
    held_out_logits: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    blend: Blend | None
    calibration: Calibration | None
