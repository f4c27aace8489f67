"""Columns into numbers: what each column is, what of it is fitted on the training rows, and how it is encoded.

A numeric column becomes (value - mean) / scale, its gaps the mean (0), with a second input that is 1 at a gap where the
training rows had gaps. A categorical column becomes a code: 1, 2, ... for the levels of the training rows, 0 for a gap
and for a level that they did not have or had only once. Dates count as numbers, in days. True and false are 1 and 0.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import polars as pl
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.training.table.files import column_of
from torchbce.training.table.kinds import dates, missing_as_null, numbers

FEWEST_ROWS = 20  # below which nothing is said of how often values repeat
MAX_LEVELS = 1000  # a categorical column keeps its most frequent levels
MOSTLY_NUMERIC = 0.5  # above this share of numbers, text in a column is a mistake and not a category


class NumericColumn(BaseModel):
    """A column of numbers; mean and scale are those of the training rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["numeric"] = "numeric"
    name: str
    mean: float
    scale: float = Field(gt=0)
    gaps: bool
    decimal: Literal[".", ","] = "."
    date: str = Field(default="", max_length=32)  # the format of a column of dates in a CSV file

    def encode(self, table: pl.DataFrame, file: str) -> list[np.ndarray]:
        values = _numbers(table, self.name, file, self.decimal, self.date)
        scaled = values / self.scale - self.mean / self.scale  # neither of them overflows where their difference does
        missing = np.isnan(scaled)
        scaled[missing] = 0.0
        return [scaled, missing] if self.gaps else [scaled]


class CategoricalColumn(BaseModel):
    """A column of texts; the levels are those of the training rows, the most frequent first."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["categorical"] = "categorical"
    name: str
    levels: list[str] = Field(max_length=MAX_LEVELS)

    def encode(self, table: pl.DataFrame, file: str) -> list[np.ndarray]:
        texts = _texts(column_of(table, self.name, file))
        codes = texts.replace_strict(self.levels, range(1, len(self.levels) + 1), default=0, return_dtype=pl.Int64)
        return [codes.fill_null(0).to_numpy()]

    def unseen(self, table: pl.DataFrame) -> int:
        """Rows with a level that the training rows did not have."""
        texts = _texts(column_of(table, self.name, "the table"))
        return int((texts.is_not_null() & ~texts.is_in(self.levels)).sum())


Column = Annotated[NumericColumn | CategoricalColumn, Field(discriminator="kind")]


def choose_columns(table: pl.DataFrame, exclude: list[str], categorical: list[str], file: str) -> dict[str, str]:
    """What each column is: 'numeric', 'categorical', or why it is left out ('empty', 'constant', 'all different')."""
    return {
        name: "categorical" if name in categorical else _kind(table, name, file)
        for name in table.columns
        if name not in exclude
    }


def fit_columns(
    train: pl.DataFrame, kinds: dict[str, str], file: str, decimal: str, dates: dict[str, str]
) -> list[NumericColumn | CategoricalColumn]:
    """The encodings of the usable columns, from the training rows alone; `dates` are the formats of dates."""
    columns: list[NumericColumn | CategoricalColumn] = []
    for name, kind in kinds.items():
        if kind == "numeric":
            values = _numbers(train, name, file, decimal, dates.get(name, ""))
            known = values[~np.isnan(values)]
            mean, scale = _mean_and_deviation(known)
            gaps = len(known) < len(values)
            comma: Literal[".", ","] = "," if decimal == "," else "."
            form = dates.get(name, "")
            columns.append(NumericColumn(name=name, mean=mean, scale=scale, gaps=gaps, decimal=comma, date=form))
        elif kind == "categorical":
            texts = _texts(column_of(train, name, file)).alias(
                "level"
            )  # the column may be called as polars' patterns are
            counts = texts.drop_nulls().value_counts(sort=False)
            counts = counts.filter(pl.col("count") > 1).sort(["count", "level"], descending=[True, False])
            columns.append(CategoricalColumn(name=name, levels=counts["level"].head(MAX_LEVELS).to_list()))
    return columns


def encode(table: pl.DataFrame, columns: list[NumericColumn | CategoricalColumn], file: str) -> Tensor:
    """One row of float32 inputs per row of the table: numbers and gaps first, then the codes, in the columns' order."""
    parts = [
        part for kind in ("numeric", "categorical") for c in columns if c.kind == kind for part in c.encode(table, file)
    ]
    matrix = np.empty((table.height, len(parts)), np.float32)
    for position, part in enumerate(parts):
        matrix[:, position] = part
    return torch.from_numpy(matrix)


def notes(table: pl.DataFrame, columns: list[NumericColumn | CategoricalColumn]) -> list[str]:
    """What new rows have that the training rows had not, one sentence per column."""
    found = []
    for column in columns:
        if isinstance(column, CategoricalColumn):
            unseen = column.unseen(table)
            if unseen:
                found.append(f"{column.name}: {unseen} rows with categories not seen in training, treated as missing")
        elif not column.gaps:
            values = column_of(table, column.name, "the table")
            values = missing_as_null(values) if values.dtype == pl.String else values
            gaps = values.null_count()
            if values.dtype.is_float():
                gaps += int(values.is_nan().sum())
            if gaps:
                found.append(f"{column.name}: {gaps} missing values, none in training; the mean is used")
    return found


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
            f"correct it or leave it empty, or take the whole column as categories with --categorical {name}"
        )
    distinct = texts.drop_nulls().n_unique()
    if distinct == 1 and len(known) == len(values):
        return "constant"
    if distinct > 0.5 * len(known) and distinct > FEWEST_ROWS:
        return "all different" if distinct == len(known) else f"{distinct:,} different texts in {len(known):,} rows"
    return "categorical"


def _numbers(table: pl.DataFrame, name: str, file: str, decimal: str = ".", form: str = "") -> np.ndarray:
    """The column as float64, NaN at its gaps; infinite values and texts are refused."""
    values = column_of(table, name, file)
    if values.dtype == pl.String:
        values = _parsed(missing_as_null(values), name, file, decimal, form)
    if values.dtype == pl.Datetime:
        values = values.dt.epoch("us").cast(pl.Float64) / 86_400e6  # days, as the physical value of a date
    elif values.dtype.is_temporal():
        values = values.to_physical()
    numbers_array = values.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    infinite = np.isinf(numbers_array)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{file}: row {row + 1} of column {name!r} is {numbers_array[row]}; "
            "infinite values cannot be scaled: correct it or leave it empty"
        )
    return numbers_array


def _parsed(texts: pl.Series, name: str, file: str, decimal: str, form: str) -> pl.Series:
    """Texts as numbers or dates."""
    found = dates(texts, form or None) if form else None
    if found is not None:
        return found[0]
    lowered = texts.str.to_lowercase()
    if lowered.is_in(["true", "false"]).fill_null(True).all():
        return lowered == "true"
    parsed = numbers(texts, decimal)
    wrong = texts.is_not_null() & parsed.is_null()
    if wrong.any():
        found = dates(texts)
        if found is not None and not form:
            return found[0]
        row = int(wrong.arg_max() or 0)
        what = f"dates written like {form}" if form else "numbers"
        raise InputError(
            f"{file}: row {row + 1} of column {name!r} is {texts[row]!r}; the model takes this column as {what}: "
            "correct it or leave it empty"
        )
    return parsed


def _mean_and_deviation(values: np.ndarray) -> tuple[float, float]:
    """By way of the largest size, so that squares of 1e300 do not overflow; (0, 1) where nothing is known."""
    size = float(np.abs(values).max(initial=0.0)) or 1.0
    parts = values / size
    if not len(parts):
        return 0.0, 1.0
    return size * float(parts.mean()), size * float(parts.std()) or 1.0


def _texts(values: pl.Series) -> pl.Series:
    if values.dtype.is_float():  # a code that was read as 3.0 because of gaps is still the text 3
        whole = values.fill_nan(None).drop_nulls()
        if (whole == whole.floor()).all() and (whole.abs() < 2**53).all():
            values = values.fill_nan(None).cast(pl.Int64)
    return values.cast(pl.String).str.strip_chars()
