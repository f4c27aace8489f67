"""Turn tables of Python users into polars frames: those of polars and pandas, Arrow tables, arrays."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.kinds import simplified

TABLES_HINT = "give a pandas or polars DataFrame, an Arrow table or an array (rows, columns)"
UNNAMED = "x{}"  # of a column that has none
MAX_SHOWN = 5  # names in a message
NUMBERS = int | float | Decimal | np.integer | np.floating | np.bool_
EPOCH = datetime.datetime(1970, 1, 1)


def is_frame(table: Any) -> bool:
    """Return whether a table has columns with names."""
    return isinstance(table, pl.DataFrame | pl.LazyFrame) or hasattr(table, "iloc") or hasattr(table, "column_names")


def frame_column_names(table: Any) -> list[str]:
    """Return the names of a frame's columns, as texts.

    Raises:
        TypeError: it has no columns.
    """
    if isinstance(table, pl.LazyFrame):
        return table.collect_schema().names()
    names = getattr(
        table, "columns" if isinstance(table, pl.DataFrame) or hasattr(table, "iloc") else "column_names", None
    )
    if names is None:
        raise TypeError(f"X is {describe_value(table)}; {TABLES_HINT}")
    return [str(name) for name in names]


def to_frame(table: Any, names: list[str] | None = None) -> pl.DataFrame:
    """Return a frame, or an array of two dimensions, as a polars frame; texts stay texts, missing values become null.

    Moments are those of UTC, without a time zone.

    names: which columns of a frame to take, or what to call all columns of an array.

    Raises:
        TypeError: anything else, or a column of lists, bytes and the like.
        InputError: two columns of one name.
    """
    if isinstance(table, np.ndarray) and table.ndim == 2:
        labels = names or [UNNAMED.format(i) for i in range(table.shape[1])]
        return pl.DataFrame([_simplify(_from_array(name, table[:, i])) for i, name in enumerate(labels)])
    own, wanted = frame_column_names(table), None if names is None else set(names)
    positions = [i for i, name in enumerate(own) if wanted is None or name in wanted]
    twice = [name for name, count in Counter(own[i] for i in positions).items() if count > 1]
    if twice:
        raise InputError(f"X has more than one column {join_names(twice)}; give each column a name of its own")
    if isinstance(table, pl.LazyFrame):
        table = table.select(pl.nth(positions)).collect()
        positions = list(range(len(positions)))
    if hasattr(table, "iloc"):
        columns = [_from_pandas(own[i], table.iloc[:, i]) for i in positions]
    elif isinstance(table, pl.DataFrame):
        columns = [table.to_series(i) for i in positions]
    else:
        columns = [pl.Series(own[i], table.column(i)) for i in positions]  # Arrow's
    return pl.DataFrame([_simplify(column) for column in columns])


def describe_value(value: Any) -> str:
    """Return what messages call a value: its type, and its shape if it has one."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of the shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def to_series(name: str, values: Any) -> pl.Series:
    """Return a series of any kind, a list or an array as a polars series; missing values become null.

    Raises:
        TypeError: values that cannot be used.
        InputError: more than one column.
    """
    if isinstance(values, pl.Series):
        return _simplify(values.alias(name))
    if hasattr(values, "iloc") or isinstance(values, pl.DataFrame):
        if len(values.shape) == 2:
            if values.shape[1] != 1:
                raise InputError(f"{name} is {describe_value(values)}; it is one column: a value for each row")
            return to_series(name, values[values.columns[0]])
        return _simplify(_from_pandas(name, values))
    array = values if isinstance(values, np.ndarray) else _to_array(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(
            f"{name} is {describe_value(values)}, of the shape {array.shape}; it is one value for each row"
        )
    return _simplify(_from_array(name, array))


def stack_frames(upper: pl.DataFrame, lower: pl.DataFrame) -> pl.DataFrame:
    """Return one frame below another, with the upper one's columns.

    Raises:
        InputError: a column is missing below, or holds something else there.
    """
    missing = [name for name in upper.columns if name not in lower.columns]
    if missing:
        raise InputError(f"eval_set's X has no column {missing[0]!r}")
    for name in upper.columns:
        above, below = upper[name].dtype, lower[name].dtype
        if pl.Null not in (above, below) and _kind(above) != _kind(below):
            raise InputError(
                f"eval_set's X holds {below} in column {name!r}, where X holds {above}; give both the same kind"
            )
    return pl.concat([upper, lower.select(upper.columns)], how="vertical_relaxed")


def rename_columns(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Return the columns in the same order under other names."""
    return pl.DataFrame([column.alias(name) for column, name in zip(frame.get_columns(), names, strict=True)])


def join_names(names: Sequence[str]) -> str:
    """Return the first of some names, as messages show them."""
    return ", ".join(map(repr, names[:MAX_SHOWN])) + (
        f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    )


def _kind(dtype: pl.DataType) -> str:
    return "number" if dtype.is_numeric() or dtype == pl.Boolean else "time" if dtype.is_temporal() else str(dtype)


def _simplify(values: pl.Series) -> pl.Series:
    """Return a series as numbers, texts, moments or true/false, null at gaps."""
    name = values.name
    if values.dtype == pl.Object:
        return _from_array(name, np.array([*values, None], dtype=object)[:-1])
    try:
        simple = simplified(values, f"column {name!r}")
    except InputError as error:
        raise TypeError(f"{error}: an argument must be a string or a number") from error
    if isinstance(simple.dtype, pl.Datetime) and simple.dtype.time_zone is not None:
        simple = simple.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if simple.dtype == pl.Datetime:
        simple = simple.dt.cast_time_unit("us")
    return (simple.fill_nan(None) if simple.dtype.is_float() else simple).alias(name)


def _to_array(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "to_pylist"):  # Arrow's
        values = values.to_pylist()
    if isinstance(values, list | tuple) and any(value is None for value in values):
        return np.array([*values, None], dtype=object)[:-1]
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} is {describe_value(values)} with items of different lengths; it is one value for each row"
        ) from error


def _from_pandas(name: str, values: Any) -> pl.Series:
    """Return a pandas series with null at its gaps, which are NaN, None, NaT or NA."""
    kind, own = getattr(values.dtype, "kind", "O"), getattr(values.dtype, "pyarrow_dtype", values.dtype)
    if hasattr(values.dtype, "categories") or kind not in "iufbMm" or str(own).startswith("date32"):
        return _from_array(name, values.astype(object).to_numpy())
    if kind == "M":
        moments = values if getattr(own, "tz", None) is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, moments.to_numpy(dtype="datetime64[us]", na_value=np.datetime64("NaT")))
    if kind == "m":
        return pl.Series(name, values.to_numpy(dtype="timedelta64[us]", na_value=np.timedelta64("NaT")))
    if isinstance(values.dtype, np.dtype):
        return _from_array(name, values.to_numpy())
    plain = np.dtype(values.dtype.numpy_dtype)  # of pandas' own, with gaps
    return pl.Series(name, values.to_numpy(dtype=plain, na_value=plain.type(0))).set(
        pl.Series(np.asarray(values.isna(), dtype=bool)), None
    )


def _from_array(name: str, values: np.ndarray) -> pl.Series:
    """Return an array of one dimension as a series, null at its gaps."""
    if values.dtype.kind in "cV":
        raise TypeError(
            f"column {name!r} holds {values.dtype}; numbers, texts, dates and true/false can be used. "
            "Complex data not supported"
        )
    if values.dtype.kind in "Mm":
        return pl.Series(name, values.astype(f"{values.dtype.kind}8[us]"))
    if values.dtype.kind == "T":  # numpy's texts of any length
        values = values.astype(object)
    if values.dtype != object:
        known_to_polars = {np.dtype(np.float16): np.float32, np.dtype(np.longdouble): np.float64}
        series = pl.Series(name, np.ascontiguousarray(values, known_to_polars.get(values.dtype)))
        return series.fill_nan(None) if series.dtype.is_float() else series
    known = [None if is_missing(value) else value for value in values.tolist()]
    return _from_objects(name, known)


def is_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA, which compares as neither true nor false."""
    if value is None or isinstance(value, str | bytes):
        return value is None
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()  # one that signals cannot be compared
    return isinstance(value, NUMBERS | np.datetime64 | np.timedelta64) and bool(value != value)


def _from_objects(name: str, known: list[Any]) -> pl.Series:
    """Return Python objects as numbers or moments where all are such, else as texts."""
    present = [value for value in known if value is not None]
    if all(isinstance(value, NUMBERS) for value in present):
        return pl.Series(name, [None if value is None else float(value) for value in known], dtype=pl.Float64)
    if all(isinstance(value, datetime.date | np.datetime64) for value in present):
        return pl.Series(name, [None if value is None else _to_utc(value) for value in known], dtype=pl.Datetime("us"))
    strange = next((value for value in present if not _is_text(value)), None)
    if strange is not None:
        raise TypeError(
            f"column {name!r} holds {strange!r}, a {type(strange).__name__}; argument must be a string or a number"
        )
    return pl.Series(name, [None if value is None else str(value) for value in known], dtype=pl.String)


def _is_text(value: Any) -> bool:
    """Return whether a value's text says what it is: no list, no bytes, no object whose text is its address."""
    has_words = any({"__str__", "__repr__"} & vars(kind).keys() for kind in type(value).__mro__[:-1])
    return isinstance(value, str) or (has_words and not hasattr(value, "__len__") and not isinstance(value, complex))


def _to_utc(value: Any) -> datetime.datetime:
    """Return a date or moment as a moment of UTC without a time zone."""
    if isinstance(value, np.datetime64):
        return EPOCH + datetime.timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return datetime.datetime.combine(value.date(), value.time())
