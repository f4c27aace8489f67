"""What a table must have to be trained on: enough rows of each class, and a column to learn from."""

from __future__ import annotations

import numpy as np

from torchbce.common.errors import InputError
from torchbce.table.columns.roles import ColumnRoles

USABLE = ("numeric", "categorical")
FEWEST = 5  # rows of each class, to learn from some and be judged by others


def require_both_classes(answers: np.ndarray, name: str, fewest: int = FEWEST) -> None:
    """Raise unless there are rows enough of each class."""
    require_of_each_class(np.bincount(answers, minlength=2), name, fewest)


def require_of_each_class(counts: np.ndarray, name: str, fewest: int = FEWEST) -> None:
    """Raise unless there are rows enough of each class, by their counts."""
    if counts.min() < fewest:
        rare = int(counts.argmin())
        raise InputError(
            f"{name}: only {counts[rare]} of {counts.sum()} rows {'is' if counts[rare] == 1 else 'are'} of the "
            f"{'positive' if rare else 'negative'} class; at least {fewest} of each are needed to train and to validate"
        )


def usable_columns(kinds: dict[str, str], roles: ColumnRoles, name: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the kinds of the columns to learn from, and why the others are left out.

    Raises:
        InputError: there is nothing to learn from.
    """
    usable = {column: kind for column, kind in kinds.items() if kind in USABLE}
    if not usable:
        reasons = ", ".join(f"{column!r} is {kind}" for column, kind in kinds.items()) or "there is no other column"
        raise InputError(f"{name}: no column to learn from besides {roles.target!r}: {reasons}")
    left_out = {column: kind for column, kind in kinds.items() if kind not in USABLE}
    return usable, left_out | dict.fromkeys(roles.exclude, "excluded")
