"""The rows that a caller gives to choose an epoch by, beside those to learn from."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils.validation import _check_sample_weight

from torchbce.training.table.frames import frame_of


def eval_rows(eval_set: tuple[Any, ...], *, weighted: bool) -> tuple[Any, np.ndarray, np.ndarray]:
    """Those that count, as a frame, with their classes and weights. `weighted`: whether the rows to learn from are.

    Raises:
        ValueError: neither two parts nor three; weights that are negative, not finite or all 0.
    """
    if len(eval_set) not in (2, 3):
        raise ValueError(f"eval_set has {len(eval_set)} parts; it is (X, y), or (X, y, weight)")
    frame, y = frame_of(eval_set[0]), np.asarray(eval_set[1])
    if len(eval_set) == 2:
        if weighted:
            warnings.warn(
                "sample_weight was given, and eval_set has no weights: each row of eval_set counts the same, in the "
                "choice of the epoch and in the scaling of the logits; write (X, y, weight), of ones if that is meant",
                UserWarning,
                stacklevel=4,  # the line of whoever called fit
            )
        return frame, y, np.ones(frame.height)
    weight = _check_sample_weight(eval_set[2], frame, ensure_non_negative=True)
    counts = np.flatnonzero(weight > 0)
    return frame[counts], y[counts], weight[counts]
