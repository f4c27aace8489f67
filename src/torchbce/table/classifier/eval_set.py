"""Read the rows that a caller gives to choose the epoch by."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_array

from torchbce.io.frames import is_frame, rename_columns, to_frame
from torchbce.table.classifier.inputs import check_labels, check_weights, to_array, unpack_eval_set

if TYPE_CHECKING:
    import polars as pl


def read_eval_set(eval_set: Any, columns: list[str], *, weighted: bool) -> tuple[pl.DataFrame, np.ndarray, np.ndarray]:
    """Return the rows of positive weight as a frame, with their classes and weights.

    Args:
        eval_set: what `fit` was given.
        columns: the names of the training columns, which the columns of an array get too.
        weighted: whether the training rows have weights.

    Raises:
        ValueError: neither two parts nor three; weights that are negative, not finite or all 0.
    """
    given, labels, *weights = unpack_eval_set(eval_set)
    framed = is_frame(given)
    frame = to_frame(given if framed else check_array(to_array(given), dtype=None, ensure_all_finite="allow-nan"))
    if not framed and frame.width == len(columns):
        frame = rename_columns(frame, columns)
    y = check_labels(labels, frame.height, "eval_set's y")
    weight = check_weights(weights[0], frame.height, "eval_set's weight") if weights else None
    if weight is None:
        if weighted:
            warnings.warn(
                "sample_weight was given, and eval_set has no weights: each row of eval_set counts the same, in the "
                "choice of the epoch and in the scaling of the logits; write (X, y, weight), of ones if that is meant",
                UserWarning,
                stacklevel=4,  # the line of whoever called fit
            )
        return frame, y, np.ones(frame.height)
    counts = np.flatnonzero(weight > 0)
    return frame[counts], y[counts], weight[counts]
