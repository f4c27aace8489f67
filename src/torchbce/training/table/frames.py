"""What Python users hold as tables: polars and pandas frames, Arrow tables, arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from torchbce.common.errors import InputError

NAME = "x{}"  # of a column that has none


def is_frame(table: Any) -> bool:
    """Whether it has columns with names."""
    return isinstance(table, pl.DataFrame | pl.LazyFrame) or hasattr(table, "iloc") or hasattr(table, "column_names")


def frame_of(table: Any, names: list[str] | None = None) -> pl.DataFrame:
    """A frame, or an array of two dimensions, as a polars frame; texts stay texts, missing values become null.

    `names`: of an array's columns.

    Raises:
        TypeError: anything else.
    """
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, pl.DataFrame):
        return table
    if hasattr(table, "iloc"):
        return pl.DataFrame([_from_pandas(str(name), table.iloc[:, i]) for i, name in enumerate(table.columns)])
    if hasattr(table, "__arrow_c_stream__"):
        return pl.DataFrame(table)
    if isinstance(table, np.ndarray) and table.ndim == 2:
        names = names or [NAME.format(i) for i in range(table.shape[1])]
        return pl.DataFrame([_of(name, table[:, i]) for i, name in enumerate(names)])
    raise TypeError(
        f"X is {type(table).__name__}; give a pandas or polars DataFrame, an Arrow table or an array (rows, columns)"
    )


def stacked(upper: pl.DataFrame, lower: pl.DataFrame) -> pl.DataFrame:
    """One below the other, of the upper's columns.

    Raises:
        InputError: a column is missing below.
    """
    missing = [name for name in upper.columns if name not in lower.columns]
    if missing:
        raise InputError(f"eval_set's X has no column {missing[0]!r}")
    return pl.concat([upper, lower.select(upper.columns)], how="vertical_relaxed")


def _from_pandas(name: str, values: Any) -> pl.Series:
    kind = values.dtype
    if hasattr(kind, "categories"):
        return _of(name, values.astype(object).to_numpy())
    if getattr(kind, "kind", "O") == "M":
        return pl.Series(name, values.to_numpy().astype("datetime64[us]"))
    if getattr(kind, "kind", "O") in "iufb" and not isinstance(kind, np.dtype):  # pandas' own, with gaps
        return _of(name, values.to_numpy(dtype=np.float64, na_value=np.nan))
    return _of(name, values.to_numpy())


def _of(name: str, values: np.ndarray) -> pl.Series:
    if values.dtype != object:
        series = pl.Series(name, np.ascontiguousarray(values))
        return series.fill_nan(None) if series.dtype.is_float() else series
    known = [None if value is None or value != value else value for value in values.tolist()]
    if all(isinstance(value, int | float | np.number | None) for value in known):
        return pl.Series(name, known, dtype=pl.Float64, strict=False)
    if any(isinstance(value, dict | list | set | tuple) for value in known):
        strange = next(value for value in known if isinstance(value, dict | list | set | tuple))
        raise TypeError(
            f"column {name!r} holds {strange!r}, a {type(strange).__name__}; argument must be a string or a number"
        )
    return pl.Series(name, [None if value is None else str(value) for value in known], dtype=pl.String)
