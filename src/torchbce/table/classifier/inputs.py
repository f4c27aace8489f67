"""Check what a classifier is given besides a table: labels, weights, groups, and rows to validate on."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target

from torchbce.common.errors import InputError
from torchbce.io.frames import describe_value, is_missing, to_series
from torchbce.table.read import group_numbers

LABELS = "labels are texts, whole numbers, or true and false"
EVAL_SET = "eval_set is (X, y) or (X, y, weight), or a list of one of these"


def check_labels(y: Any, rows: int, name: str = "y") -> np.ndarray:
    """Return one label for each row of X, (rows,): texts, numbers, or true and false.

    Raises:
        ValueError: another number of labels, a label that is missing, labels of several kinds or of none of these.
    """
    if y is None:
        raise InputError(f"requires y to be passed, but the target {name} is None")
    try:
        labels = np.asarray(y)
    except ValueError as error:
        raise InputError(f"{name} is {describe_value(y)} with items of different lengths; {LABELS}") from error
    if labels.ndim != 1 and not (labels.ndim == 2 and labels.shape[1] == 1):
        raise InputError(f"{name} is {describe_value(y)}; it is one label for each row of X")
    if labels.dtype.kind == "c":
        raise InputError(f"Unknown label type: {name} holds {labels.dtype}; {LABELS}")
    labels = column_or_1d(labels, warn=True)
    _require_length(name, labels, rows)
    gaps = np.array([is_missing(label) for label in labels.tolist()], dtype=bool)
    if gaps.any():
        raise InputError(
            f"{name} has no label in row {int(gaps.argmax()) + 1} ({int(gaps.sum())} such rows); leave out the rows "
            "whose label is not known"
        )
    return _of_one_kind(labels, name)


def to_array(X: Any) -> Any:
    """Return a list of rows as an array, and anything else as it is.

    Raises:
        ValueError: rows of different lengths.
    """
    if not isinstance(X, list | tuple):
        return X
    try:
        return np.asarray(X)
    except ValueError as error:
        raise InputError(f"X is a {type(X).__name__} of rows of different lengths; give each row the same") from error


def check_weights(sample_weight: Any, rows: int, name: str = "sample_weight") -> np.ndarray | None:
    """Return a weight for each row of X, float64.

    Raises:
        ValueError: another number of weights, one that is no finite number from 0, none above 0.
    """
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        sample_weight = np.full(rows, sample_weight)
    values = to_series(name, sample_weight)
    _require_length(name, values, rows)
    if not (values.dtype.is_numeric() or str(values.dtype) == "Boolean"):
        raise InputError(f"{name} holds {values.dtype}, such as {values[0]!r}; a weight is a finite number from 0")
    weights = values.cast(float).fill_null(np.nan).to_numpy()
    wrong = ~((weights >= 0) & (weights < np.inf))
    if wrong.any():
        position = int(wrong.argmax())
        what = "missing (NaN)" if np.isnan(weights[position]) else f"{weights[position]:g}"
        what += ", negative" * bool(weights[position] < 0)
        raise InputError(f"{name} of row {position + 1} is {what}; a weight is a finite number from 0")
    if not weights.any():
        raise InputError(f"{name} is zero in all rows; no row would count")
    return weights


def encode_groups(groups: Any, rows: int) -> np.ndarray | None:
    """Return a number for each row's group; a row without one is a group of its own."""
    if groups is None:
        return None
    values = to_series("groups", groups)
    _require_length("groups", values, rows)
    return group_numbers(values)


def unpack_eval_set(eval_set: Any) -> tuple[Any, ...]:
    """Return (X, y) or (X, y, weight), given as such or in a list of one, as LightGBM and XGBoost take it.

    Raises:
        ValueError: several pairs, or something else.
    """
    if isinstance(eval_set, list) and len(eval_set) == 1 and isinstance(eval_set[0], tuple | list):
        eval_set = eval_set[0]
    if isinstance(eval_set, list) and eval_set and all(isinstance(pair, tuple) for pair in eval_set):
        raise InputError(f"eval_set holds {len(eval_set)} pairs, and the epoch is chosen by one; {EVAL_SET}")
    if not isinstance(eval_set, tuple | list) or len(eval_set) not in (2, 3):
        size = f" of {len(eval_set)}" if isinstance(eval_set, tuple | list) else ""
        raise InputError(f"eval_set is a {describe_value(eval_set)}{size}; {EVAL_SET}")
    return tuple(eval_set)


def _require_length(name: str, values: Any, rows: int) -> None:
    if len(values) != rows:
        raise InputError(
            f"X has {rows} rows, {name} has {len(values)}: inconsistent numbers of samples; give one for each row"
        )


def _of_one_kind(labels: np.ndarray, name: str) -> np.ndarray:
    if labels.dtype.kind in "OT":
        listed = labels.tolist()
        if all(isinstance(label, bool | int | float | np.number | np.bool_) for label in listed):
            labels = np.array(listed)
        elif not all(isinstance(label, str) for label in listed):
            strange = next(label for label in listed if not isinstance(label, str))
            other = next((label for label in listed if type(label) is not type(strange)), None)
            beside = "" if other is None else f", beside {other!r}"
            raise InputError(
                f"Unknown label type: {name} holds {strange!r}, a {type(strange).__name__}{beside}; {LABELS}"
            )
    if labels.dtype.kind not in "biufUOT":
        raise InputError(f"Unknown label type: {name} holds {labels.dtype}, such as {labels[0]!r}; {LABELS}")
    kind = type_of_target(labels, input_name=name)
    if kind not in ("binary", "multiclass"):
        raise InputError(f"Unknown label type: {name} is {kind}, such as {labels[0]!r}; {LABELS}")
    return labels
