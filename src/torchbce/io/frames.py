"""What Python users hold as tables: polars and pandas frames, Arrow tables, arrays."""

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

TABLES = "give a pandas or polars DataFrame, an Arrow table or an array (rows, columns)"
NAME = "x{}"  # of a column that has none
SHOWN = 5  # names in a message
NUMBERS = int | float | Decimal | np.integer | np.floating | np.bool_
EPOCH = datetime.datetime(1970, 1, 1)


def is_frame(table: Any) -> bool:
    """Whether it has columns with names."""
    return isinstance(table, pl.DataFrame | pl.LazyFrame) or hasattr(table, "iloc") or hasattr(table, "column_names")


def column_names(table: Any) -> list[str]:
    """Of a frame, as they are called here.

    Raises:
        TypeError: it has no columns.
    """
    if isinstance(table, pl.LazyFrame):
        return table.collect_schema().names()
    names = getattr(
        table, "columns" if isinstance(table, pl.DataFrame) or hasattr(table, "iloc") else "column_names", None
    )
    if names is None:
        raise TypeError(f"X is {described(table)}; {TABLES}")
    return [str(name) for name in names]


def frame_of(table: Any, names: list[str] | None = None) -> pl.DataFrame:
    """A frame, or an array of two dimensions, as a polars frame; texts stay texts, missing values become null.

    Moments are those of UTC, without a time zone. `names`: those of a frame that are wanted, or of all of an array's.

    Raises:
        TypeError: anything else, or a column of lists, bytes and the like.
        InputError: two columns of one name.
    """
    if isinstance(table, np.ndarray) and table.ndim == 2:
        called = names or [NAME.format(i) for i in range(table.shape[1])]
        return pl.DataFrame([_plain(_of(name, table[:, i])) for i, name in enumerate(called)])
    found, wanted = column_names(table), None if names is None else set(names)
    places = [i for i, name in enumerate(found) if wanted is None or name in wanted]
    twice = [name for name, count in Counter(found[i] for i in places).items() if count > 1]
    if twice:
        raise InputError(f"X has more than one column {named(twice)}; give each column a name of its own")
    if isinstance(table, pl.LazyFrame):
        table = table.select(pl.nth(places)).collect()
        places = list(range(len(places)))
    if hasattr(table, "iloc"):
        columns = [_from_pandas(found[i], table.iloc[:, i]) for i in places]
    elif isinstance(table, pl.DataFrame):
        columns = [table.to_series(i) for i in places]
    else:
        columns = [pl.Series(found[i], table.column(i)) for i in places]  # Arrow's
    return pl.DataFrame([_plain(column) for column in columns])


def described(value: Any) -> str:
    """What a message calls something that was given: its type, and its shape if it has one."""
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" of the shape {tuple(shape)}" if isinstance(shape, tuple) else "")


def series_of(name: str, values: Any) -> pl.Series:
    """One column: a series of any kind, a list or an array; missing values become null.

    Raises:
        TypeError: values that cannot be used.
        InputError: more than one column.
    """
    if isinstance(values, pl.Series):
        return _plain(values.alias(name))
    if hasattr(values, "iloc") or isinstance(values, pl.DataFrame):
        if len(values.shape) == 2:
            if values.shape[1] != 1:
                raise InputError(f"{name} is {described(values)}; it is one column: a value for each row")
            return series_of(name, values[values.columns[0]])
        return _plain(_from_pandas(name, values))
    array = values if isinstance(values, np.ndarray) else _array_of(name, values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"{name} is {described(values)}, of the shape {array.shape}; it is one value for each row")
    return _plain(_of(name, array))


def stacked(upper: pl.DataFrame, lower: pl.DataFrame) -> pl.DataFrame:
    """One below the other, of the upper's columns.

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


def renamed(frame: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """The same columns in the same order, called otherwise."""
    return pl.DataFrame([column.alias(name) for column, name in zip(frame.get_columns(), names, strict=True)])


def named(names: Sequence[str]) -> str:
    """The first of some names, as a message shows them."""
    return ", ".join(map(repr, names[:SHOWN])) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def _kind(dtype: pl.DataType) -> str:
    return "number" if dtype.is_numeric() or dtype == pl.Boolean else "time" if dtype.is_temporal() else str(dtype)


def _plain(values: pl.Series) -> pl.Series:
    """Numbers, texts, moments or true/false, null at gaps."""
    name = values.name
    if values.dtype == pl.Object:
        return _of(name, np.array([*values, None], dtype=object)[:-1])
    try:
        found = simplified(values, f"column {name!r}")
    except InputError as error:
        raise TypeError(f"{error}: an argument must be a string or a number") from error
    if isinstance(found.dtype, pl.Datetime) and found.dtype.time_zone is not None:
        found = found.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if found.dtype == pl.Datetime:
        found = found.dt.cast_time_unit("us")
    return (found.fill_nan(None) if found.dtype.is_float() else found).alias(name)


def _array_of(name: str, values: Any) -> np.ndarray:
    if hasattr(values, "to_pylist"):  # Arrow's
        values = values.to_pylist()
    if isinstance(values, list | tuple) and any(value is None for value in values):
        return np.array([*values, None], dtype=object)[:-1]
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(
            f"{name} is {described(values)} with items of different lengths; it is one value for each row"
        ) from error


def _from_pandas(name: str, values: Any) -> pl.Series:
    """Whatever its gaps are: NaN, None, NaT, NA."""
    kind, own = getattr(values.dtype, "kind", "O"), getattr(values.dtype, "pyarrow_dtype", values.dtype)
    if hasattr(values.dtype, "categories") or kind not in "iufbMm" or str(own).startswith("date32"):
        return _of(name, values.astype(object).to_numpy())
    if kind == "M":
        moments = values if getattr(own, "tz", None) is None else values.dt.tz_convert("UTC").dt.tz_localize(None)
        return pl.Series(name, moments.to_numpy(dtype="datetime64[us]", na_value=np.datetime64("NaT")))
    if kind == "m":
        return pl.Series(name, values.to_numpy(dtype="timedelta64[us]", na_value=np.timedelta64("NaT")))
    if isinstance(values.dtype, np.dtype):
        return _of(name, values.to_numpy())
    plain = np.dtype(values.dtype.numpy_dtype)  # of pandas' own, with gaps
    return pl.Series(name, values.to_numpy(dtype=plain, na_value=plain.type(0))).set(
        pl.Series(np.asarray(values.isna(), dtype=bool)), None
    )


def _of(name: str, values: np.ndarray) -> pl.Series:
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
    known = [None if is_gap(value) else value for value in values.tolist()]
    return _of_objects(name, known)


def is_gap(value: Any) -> bool:
    """None, NaN, NaT, and pandas' NA, of which no comparison is true or false."""
    if value is None or isinstance(value, str | bytes):
        return value is None
    if type(value).__name__ in ("NAType", "NaTType"):
        return True
    if isinstance(value, Decimal):
        return value.is_nan()  # one that signals cannot be compared
    return isinstance(value, NUMBERS | np.datetime64 | np.timedelta64) and bool(value != value)


def _of_objects(name: str, known: list[Any]) -> pl.Series:
    """A column of Python objects: numbers, moments or texts where all of them are, else texts."""
    there = [value for value in known if value is not None]
    if all(isinstance(value, NUMBERS) for value in there):
        return pl.Series(name, [None if value is None else float(value) for value in known], dtype=pl.Float64)
    if all(isinstance(value, datetime.date | np.datetime64) for value in there):
        return pl.Series(name, [None if value is None else _moment(value) for value in known], dtype=pl.Datetime("us"))
    strange = next((value for value in there if not _is_text(value)), None)
    if strange is not None:
        raise TypeError(
            f"column {name!r} holds {strange!r}, a {type(strange).__name__}; argument must be a string or a number"
        )
    return pl.Series(name, [None if value is None else str(value) for value in known], dtype=pl.String)


def _is_text(value: Any) -> bool:
    """Whether what it is written as says what it is: no list, no bytes, no object that only has an address."""
    has_words = any({"__str__", "__repr__"} & vars(kind).keys() for kind in type(value).__mro__[:-1])
    return isinstance(value, str) or (has_words and not hasattr(value, "__len__") and not isinstance(value, complex))


def _moment(value: Any) -> datetime.datetime:
    """Of UTC, without a time zone."""
    if isinstance(value, np.datetime64):
        return EPOCH + datetime.timedelta(microseconds=int(value.astype("datetime64[us]").astype(np.int64)))
    if not isinstance(value, datetime.datetime):
        return datetime.datetime(value.year, value.month, value.day)
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return datetime.datetime.combine(value.date(), value.time())
