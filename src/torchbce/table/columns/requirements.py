"""What the rows of a table must have to be trained on: enough of each class, weights that are finite and from 0."""

from __future__ import annotations

import numpy as np

from torchbce.common.errors import InputError
from torchbce.io.files import row_number

FEWEST = 5  # rows of each class, to learn from some and be judged by others


def require_both_classes(answers: np.ndarray, name: str, fewest: int = FEWEST) -> None:
    """Rows enough of each class; the error says how many there are."""
    require_of_each_class(np.bincount(answers, minlength=2), name, fewest)


def require_of_each_class(counts: np.ndarray, name: str, fewest: int = FEWEST) -> None:
    """Rows enough of each class, by how many there are."""
    if counts.min() < fewest:
        rare = int(counts.argmin())
        raise InputError(
            f"{name}: only {counts[rare]} of {counts.sum()} rows {'is' if counts[rare] == 1 else 'are'} of the "
            f"{'positive' if rare else 'negative'} class; at least {fewest} of each are needed to train and to validate"
        )


def require_weights(weights: np.ndarray, column: str, name: str) -> None:
    """Each is a finite number from 0; the error names the first that is not, by its row in the file."""
    wrong = ~(weights >= 0)
    if wrong.any():
        place = int(wrong.argmax())
        what = "missing" if np.isnan(weights[place]) else f"{weights[place]:g}"
        raise InputError(
            f"{name}: row {row_number(name, place)} of the weights {column!r} is {what}; a weight is a finite number "
            "from 0"
        )
