"""What each column of a table is, and what of it is fitted on the training rows."""

from __future__ import annotations

import math
import shlex
from typing import Literal

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import column_of
from torchbce.io.kinds import missing_as_null, numbers
from torchbce.table.columns.columns import (
    MAX_LEVELS,
    CalendarColumn,
    CalendarPart,
    CategoricalColumn,
    FittedColumn,
    NumericColumn,
    calendar_codes,
    number_values,
    texts_of,
)

USABLE = ("numeric", "categorical")

FEWEST_ROWS = 20  # below which nothing is said of how often values repeat
MOSTLY_NUMERIC = 0.5  # above this share of numbers, text in a column is a mistake and not a category
# Whole numbers of few values count as categories too where there are rows enough for each: days, hours, ratings.
MANY_ROWS, FEW_VALUES = 100_000, 64
CALENDAR: tuple[CalendarPart, ...] = ("month", "weekday", "hour")


def choose_columns(table: pl.DataFrame, exclude: list[str], categorical: list[str], file: str) -> dict[str, str]:
    """What each column is: 'numeric', 'categorical', or why it is left out ('empty', 'constant', 'all different')."""
    return {
        name: "categorical" if name in categorical else _kind(table, name, file)
        for name in table.columns
        if name not in exclude
    }


def fit_columns(
    train: pl.DataFrame,
    kinds: dict[str, str],
    file: str,
    decimal: str,
    dates: dict[str, str],
    weight: np.ndarray | None = None,
) -> list[FittedColumn]:
    """The encodings of the usable columns, from the training rows alone; `dates` are the formats of dates."""
    columns: list[FittedColumn] = []
    for name, kind in kinds.items():
        if kind == "numeric":
            form = dates.get(name, "")
            columns.append(_numeric(train, name, file, "," if decimal == "," else ".", form, weight))
            columns += _calendar(train, name, file, form)
            if _is_of_few_values(train[name]):
                columns.append(_categorical(train, name, file))
        elif kind == "categorical":
            columns.append(_categorical(train, name, file))
    return columns


def _numeric(
    train: pl.DataFrame, name: str, file: str, decimal: Literal[".", ","], form: str, weight: np.ndarray | None
) -> NumericColumn:
    values = number_values(train, name, file, decimal, form)
    is_known = ~np.isnan(values)
    known = values[is_known]
    mean, scale = _mean_and_deviation(known, None if weight is None else weight[is_known])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 0.0)
    gaps = len(known) < len(values)
    return NumericColumn(
        name=name,
        mean=mean,
        scale=scale,
        low=low,
        high=high,
        gaps=gaps,
        is_date=_is_date(train, name, form),
        decimal=decimal,
        date=form,
    )


def _categorical(train: pl.DataFrame, name: str, file: str) -> CategoricalColumn:
    texts = texts_of(column_of(train, name, file)).alias("level")  # the column may be called as polars' patterns are
    counts = texts.drop_nulls().value_counts(sort=False)
    counts = counts.filter(pl.col("count") > 1).sort(["count", "level"], descending=[True, False])
    levels = counts["level"].head(MAX_LEVELS).to_list()
    kept = int(counts["count"].head(MAX_LEVELS).sum())
    return CategoricalColumn.of(name, levels, gaps=texts.null_count(), others=len(texts) - texts.null_count() - kept)


def _calendar(train: pl.DataFrame, name: str, file: str, form: str) -> list[CalendarColumn]:
    """The parts of a date that differ between rows."""
    if not _is_date(train, name, form):
        return []
    found = []
    for part in CALENDAR:
        column = CalendarColumn(name=name, part=part, date=form)
        known = np.unique(calendar_codes(train, column, file))
        if len(known) > 1:
            found.append(column.model_copy(update={"known": known.tolist()}))
    return found


def _is_date(train: pl.DataFrame, name: str, form: str) -> bool:
    return bool(form) or train[name].dtype in (pl.Date, pl.Datetime)


def _is_of_few_values(values: pl.Series) -> bool:
    return len(values) >= MANY_ROWS and values.dtype.is_integer() and 2 < values.drop_nulls().n_unique() <= FEW_VALUES


def _kind(table: pl.DataFrame, name: str, file: str) -> str:
    values = column_of(table, name, file)
    known = values.drop_nulls()
    if values.dtype.is_float():
        known = known.drop_nans()
    if not len(known):
        return "empty"
    if values.dtype != pl.String:
        if known.n_unique() == 1 and len(known) == len(values):
            return "constant"
        counts = values.dtype.is_integer() and len(known) == len(values) > FEWEST_ROWS
        return "counts the rows" if counts and bool((values.diff().drop_nulls() == 1).all()) else "numeric"
    texts = missing_as_null(values)
    parsed = numbers(texts)
    wrong = texts.is_not_null() & parsed.is_null()
    share = 1 - float(wrong.sum()) / len(known)
    if MOSTLY_NUMERIC < share < 1:
        row = int(wrong.arg_max() or 0)
        raise InputError(
            f"{file}: row {row + 1} of column {name!r} is {values[row]!r}, but {share:.1%} of the column are numbers; "
            "correct it or leave it empty, or take the whole column as categories with "
            f"--categorical {shlex.quote(name)}"
        )
    distinct = texts.drop_nulls().n_unique()
    if distinct == 1 and len(known) == len(values):
        return "constant"
    if distinct > 0.5 * len(known) and distinct > FEWEST_ROWS:
        return "all different" if distinct == len(known) else f"{distinct:,} different texts in {len(known):,} rows"
    return "categorical"


def _mean_and_deviation(values: np.ndarray, weight: np.ndarray | None) -> tuple[float, float]:
    """By way of the largest size, so that squares of 1e300 do not overflow; (0, 1) where nothing is known."""
    size = float(np.abs(values).max(initial=0.0)) or 1.0
    parts = values / size
    if not len(parts) or (weight is not None and not weight.any()):
        return 0.0, 1.0
    mean = float(np.average(parts, weights=weight))
    return size * mean, size * math.sqrt(float(np.average((parts - mean) ** 2, weights=weight))) or 1.0
