"""Columns as a model has them: what of each was fitted on the training rows, and how it is encoded.

A numeric column becomes (value - mean) / scale. Where the training rows had gaps, a gap becomes the mean (0), with a
second input that is 1 there. A value beyond those of the training rows counts as the nearest that they had. A
categorical column becomes a code: 1, 2, ... for the levels of the training rows, and 0 for gaps and for levels that
they had only once, if they had enough of these. A date is a number, in days, and its month, weekday and hour are codes.
True and false are 1 and 0. Where the training rows tell nothing, as of a level that they lack, stands NaN: see
`ensemble.background`.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows, column_of
from torchbce.io.kinds import dates, missing_as_null, missing_in_numbers_as_null, numbers

MICROSECONDS = 86_400e6  # of a day
MAX_LEVELS = 1000  # a categorical column keeps its most frequent levels
FEWEST_OF_A_CODE = 10  # training rows, below which what a code 0 means is chance


class NumericColumn(BaseModel):
    """A column of numbers; mean and scale are those of the training rows."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["numeric"] = "numeric"
    name: str
    mean: float
    scale: float = Field(gt=0)
    low: float  # the least and the greatest value of the training rows
    high: float
    gaps: bool
    is_date: bool = False  # in days since 1970
    decimal: Literal[".", ","] = "."
    date: str = Field(default="", max_length=32)  # the format of a column of dates in a CSV rows

    def encode(self, table: pl.DataFrame, rows: FileRows) -> list[np.ndarray]:
        values = self.values(table, rows).clip(self.low, self.high)
        scaled = values / self.scale - self.mean / self.scale  # neither of them overflows where their difference does
        if not self.gaps:
            return [scaled]
        missing = np.isnan(scaled)
        scaled[missing] = 0.0
        return [scaled, missing]

    def values(self, table: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """Return the values as they stand in a table, NaN at gaps."""
        return number_values(table, self.name, rows, self.decimal, self.date)


class CategoricalColumn(BaseModel):
    """A column of texts; the levels are those of the training rows, the most frequent first.

    Code 0 is learnt of gaps, of other levels, of both or of nothing: where the training rows had `FEWEST_OF_A_CODE`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["categorical"] = "categorical"
    name: str
    levels: list[str] = Field(max_length=MAX_LEVELS)
    gaps: bool
    others: bool

    @classmethod
    def of(cls, name: str, levels: list[str], *, gaps: int, others: int) -> CategoricalColumn:
        """Return the column, by how many training rows have a gap, and how many a level that is not kept."""
        enough = FEWEST_OF_A_CODE
        return cls(name=name, levels=levels, gaps=gaps >= enough, others=others >= max(enough, gaps))

    @property
    def code_of_gap(self) -> float:
        """The code of a gap, NaN if nothing was learnt of gaps."""
        return 0.0 if self.gaps else np.nan

    @property
    def code_of_others(self) -> float:
        """The code of levels that are not kept, NaN if nothing was learnt of them."""
        return 0.0 if self.others else np.nan

    @field_validator("levels")
    @classmethod
    def _differ(cls, levels: list[str]) -> list[str]:
        repeated = next((level for level, count in Counter(levels).items() if count > 1), None)
        if repeated is not None:
            raise ValueError(f"the level {repeated!r} repeats")
        return levels

    def encode(self, table: pl.DataFrame, rows: FileRows) -> list[np.ndarray]:
        texts = texts_of(column_of(table, self.name, rows))
        codes = texts.replace_strict(
            self.levels, range(1, len(self.levels) + 1), default=self.code_of_others, return_dtype=pl.Float64
        )
        return [codes.set(texts.is_null(), self.code_of_gap).to_numpy()]


def zero_in_front(column: object) -> str | None:
    """Return a level of digits with a zero in front, as postcodes have: read as a number, it is another text."""
    levels = column.levels if isinstance(column, CategoricalColumn) else []
    return next((level for level in levels if level.isdigit() and len(level) > 1 and level[0] == "0"), None)


CalendarPart = Literal["month", "weekday", "hour"]
CALENDAR_LEVELS: dict[CalendarPart, int] = {"month": 12, "weekday": 7, "hour": 24}


class CalendarColumn(BaseModel):
    """A part of a date as a code: months and weekdays from 1, hours from 1 for midnight; `known` in training."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["calendar"] = "calendar"
    name: str
    part: CalendarPart
    date: str = Field(default="", max_length=32)
    known: list[int] = Field(default=[], max_length=25)

    @model_validator(mode="after")
    def _fits(self) -> CalendarColumn:
        most = CALENDAR_LEVELS[self.part]
        strange = [code for code in self.known if not 0 <= code <= most]
        if strange:
            raise ValueError(f"{strange[0]} is no {self.part}: they are numbered from 0 to {most}")
        return self

    def encode(self, table: pl.DataFrame, rows: FileRows) -> list[np.ndarray]:
        codes = calendar_codes(number_values(table, self.name, rows, ".", self.date), self.part)
        return [np.where(np.isin(codes, self.known), codes, np.nan)]


Column = Annotated[NumericColumn | CategoricalColumn | CalendarColumn, Field(discriminator="kind")]
FittedColumn = NumericColumn | CategoricalColumn | CalendarColumn


def check_names(columns: list[FittedColumn]) -> None:
    """Raise unless each column of a table is one thing: a date may be a number and several parts of it.

    Raises:
        ValueError: a column that is two.
    """
    by_name: dict[str, list[tuple[object, str]]] = {}
    for column in columns:
        kind = column.part if isinstance(column, CalendarColumn) else "number" if _is_date(column) else column.kind
        form = "" if isinstance(column, CategoricalColumn) else column.date
        by_name.setdefault(column.name, []).append((kind, form))
    for name, found in by_name.items():
        kinds, forms = {kind for kind, _ in found}, {form for _, form in found}
        if len(kinds) < len(found) or len(forms) > 1 or (len(kinds) > 1 and not kinds <= {"number", *CALENDAR_LEVELS}):
            raise ValueError(f"the column {name!r} is there twice")


def _is_date(column: FittedColumn) -> bool:
    return isinstance(column, NumericColumn) and column.is_date


def level_count(column: FittedColumn) -> int:
    """Return how many codes a column has, 0 for one of numbers."""
    if isinstance(column, CategoricalColumn):
        return len(column.levels) + 1
    return CALENDAR_LEVELS[column.part] + 1 if isinstance(column, CalendarColumn) else 0


def known_codes(column: CategoricalColumn | CalendarColumn) -> list[int]:
    """Return the codes that the training rows tell something of."""
    if isinstance(column, CalendarColumn):
        return column.known
    return list(range(0 if column.gaps or column.others else 1, len(column.levels) + 1))


def number_count(columns: list[FittedColumn]) -> int:
    """Return how many numbers the columns give."""
    return sum(1 + column.gaps for column in columns if isinstance(column, NumericColumn))


def levels_of(columns: list[FittedColumn]) -> list[int]:
    """Return how many codes each coded column has, in the order in which `encode` has them."""
    return [level_count(column) for column in _in_order(columns) if not isinstance(column, NumericColumn)]


def inputs_of(columns: list[FittedColumn]) -> dict[str, list[int]]:
    """Return which inputs of an encoded row are made of each column of the table."""
    found: dict[str, list[int]] = {}
    place = 0
    for column in _in_order(columns):
        count = 1 + column.gaps if isinstance(column, NumericColumn) else 1
        found.setdefault(column.name, []).extend(range(place, place + count))
        place += count
    return found


def calendar_codes(days: np.ndarray, part: CalendarPart) -> np.ndarray:
    """Return the part of each date, given in days since 1970; 0 at a gap."""
    moments = pl.Series(np.round(days * MICROSECONDS)).fill_nan(None).cast(pl.Int64).cast(pl.Datetime("us"))
    if part == "month":
        codes = moments.dt.month()
    elif part == "weekday":
        codes = moments.dt.weekday()
    else:
        codes = moments.dt.hour() + 1
    return codes.cast(pl.Int64).fill_null(0).to_numpy()


def encode(table: pl.DataFrame, columns: list[FittedColumn], rows: FileRows) -> np.ndarray:
    """Return a row of float32 inputs per row: numbers and gaps first, then the codes, in the columns' order."""
    parts = [part for column in _in_order(columns) for part in column.encode(table, rows)]
    matrix = np.empty((table.height, len(parts)), np.float32)
    for position, part in enumerate(parts):
        matrix[:, position] = part
    return matrix


def _in_order(columns: list[FittedColumn]) -> list[FittedColumn]:
    """Return the columns, numbers first."""
    return sorted(columns, key=lambda column: not isinstance(column, NumericColumn))


def number_values(table: pl.DataFrame, name: str, rows: FileRows, decimal: str = ".", form: str = "") -> np.ndarray:
    """Return the column as float64, NaN at its gaps; infinite values and texts are refused."""
    values = column_of(table, name, rows)
    if values.dtype == pl.String:
        values = _parsed(missing_as_null(values), name, rows, decimal, form)
    if values.dtype == pl.Datetime:
        values = values.dt.epoch("us").cast(pl.Float64) / MICROSECONDS  # days, as the physical value of a date
    elif values.dtype.is_temporal():
        values = values.to_physical()
    numbers_array = values.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    infinite = np.isinf(numbers_array)
    if infinite.any():
        row = int(infinite.argmax())
        raise InputError(
            f"{rows.row(row)} of column {name!r} is {numbers_array[row]}; "
            "infinite values cannot be scaled: correct it or leave it empty"
        )
    return numbers_array


def _parsed(texts: pl.Series, name: str, rows: FileRows, decimal: str, form: str) -> pl.Series:
    """Parse texts as numbers or dates."""
    found = dates(texts, form or None) if form else None
    if found is not None:
        return found[0]
    lowered = texts.str.to_lowercase()
    if lowered.is_in(["true", "false"]).fill_null(True).all():
        return lowered == "true"
    if not form:
        texts = missing_in_numbers_as_null(texts)
    parsed = numbers(texts, decimal)
    wrong = texts.is_not_null() & parsed.is_null()
    if wrong.any():
        found = dates(texts)
        if found is not None and not form:
            return found[0]
        row = int(wrong.arg_max() or 0)
        what = f"dates written like {form}" if form else "numbers"
        raise InputError(
            f"{rows.row(row)} of column {name!r} is {texts[row]!r}; the model takes this column as "
            f"{what}: correct it or leave it empty"
        )
    return parsed


def texts_of(values: pl.Series) -> pl.Series:
    """Return values as the texts that levels are called by."""
    if values.dtype.is_float():  # a code that was read as 3.0 because of gaps is still the text 3
        whole = values.fill_nan(None).drop_nulls()
        if (whole == whole.floor()).all() and (whole.abs() < 2**53).all():
            values = values.fill_nan(None).cast(pl.Int64)
    return values.cast(pl.String).str.strip_chars()
