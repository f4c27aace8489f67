"""A table of any library as columns: arrays of numbers with NaN, or of objects with None, where a value is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Columns = dict[str, np.ndarray]


def columns_of(features: Any) -> Columns:
    """Return the columns of a mapping, of a pandas or polars DataFrame, or of a 2-d array (x0, x1, ...).

    Raises:
        ValueError: it is none of these, or its columns differ in length or have more than one dimension.
    """
    if isinstance(features, Mapping):
        columns = {str(name): _array(values) for name, values in features.items()}
    elif hasattr(features, "columns"):
        columns = {str(name): _array(features[name]) for name in features.columns}
    else:
        table = np.asarray(features)
        if table.ndim != 2:
            raise ValueError(
                f"features is a {type(features).__name__} of shape {table.shape}; give a DataFrame, "
                "a mapping of a name to a column, or an array of shape (items, columns)"
            )
        columns = {f"x{i}": column for i, column in enumerate(table.T)}
    if not columns:
        raise ValueError("features has no columns")
    first, count = next((name, len(column)) for name, column in columns.items())
    for name, column in columns.items():
        if column.ndim != 1:
            raise ValueError(f"features: column {name!r} has the shape {column.shape}; one value for each item")
        if len(column) != count:
            raise ValueError(f"features: column {name!r} has {len(column)} values and {first!r} has {count}")
    return columns


def _array(values: Any) -> np.ndarray:
    if hasattr(values, "isna"):  # pandas, whose NA can be compared with nothing
        missing = np.asarray(values.isna())
        array = np.asarray(values.to_numpy())
        if array.dtype == object and missing.any():
            array = array.copy()
            array[missing] = None
        return array
    if hasattr(values, "to_numpy"):
        return np.asarray(values.to_numpy())
    if isinstance(values, list | tuple):  # numpy would make words of a list of words and numbers
        kinds = {type(value) for value in values}
        mixed = len(kinds - {int, float}) > 0 and kinds != {bool}
        return np.fromiter(values, object, len(values)) if mixed else np.asarray(values)
    array = np.asarray(values)
    return array if array.ndim else array[None]
