"""What a column of a table in batches holds, by the first batch with a value in it; later ones must hold the same.

The rules are those for a table in memory (`io.kinds`), which sees all values at once. A table that is read in batches
cannot be read again for one strange value in its last row: such a value is refused, with its row.
"""

from __future__ import annotations

import shlex

import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.io.kinds import (
    LEADING_ZERO,
    dates,
    missing_as_null,
    missing_in_numbers_as_null,
    numbers,
    simplified,
    typed,
)
from torchbce.table.columns.columns import texts_of

NUMBERS, BOOLEANS, DATES, TEXTS = "numbers", "true and false", "dates", "texts"


class ColumnType:
    """The type of one column; `is_category`: a user says that it holds categories, whatever they look like.

    kind: None as long as the column has no value. form: of dates in texts.
    """

    def __init__(self, name: str, decimal: str, *, is_category: bool = False) -> None:
        self.name, self.decimal, self.is_category = name, decimal, is_category
        self.kind: str | None = None
        self.form = ""
        self.notes: list[str] = []
        self._whole = True  # every number so far, "NaN" left aside
        self._names_nan = self._needs_cleaning = False

    @classmethod
    def of_series(cls, values: pl.Series, decimal: str = ".", form: str = "") -> ColumnType:
        """Return the type of a column in memory, which is read already."""
        found = cls(values.name, decimal)
        found.kind, found.form = None if values.dtype == pl.Null else _kind_of(values.dtype), form
        found._whole = values.dtype.is_integer()
        return found

    @property
    def is_text(self) -> bool:
        """Whether the column holds texts, or counts as if it did."""
        return self.is_category or self.kind == TEXTS

    @property
    def is_whole(self) -> bool:
        """Whether all are whole numbers, as in memory: there a column of numbers that names a NaN holds floats."""
        return self.kind == NUMBERS and self._whole and (self._needs_cleaning or not self._names_nan)

    def read(self, values: pl.Series, rows: FileRows) -> pl.Series:
        """Return a batch as numbers, true and false, dates, or texts as they are written; null where nothing is known.

        Raises:
            InputError: a value that is not of the column's kind.
        """
        values = simplified(values, f"{rows}: column {self.name!r}")
        if not self.is_category:
            values = self._checked(values, rows)
        if self.is_text:
            found = values.cast(pl.String)
        elif values.dtype != pl.String:
            found = values
        elif self.kind == NUMBERS:
            found = self._numbers(values, rows)
        elif self.kind == BOOLEANS:
            lowered = missing_as_null(values).str.to_lowercase()
            self._refuse(lowered.is_not_null() & ~lowered.is_in(["true", "false"]), values, rows)
            found = lowered == "true"
        else:
            found = self._dates(missing_as_null(values), rows)
        return found.alias(self.name)

    def _checked(self, values: pl.Series, rows: FileRows) -> pl.Series:
        """Return the same once the column's kind is known; texts stay as they are written.

        Raises:
            InputError: a shard says that the column holds something else.
        """
        if values.dtype == pl.Null or (values.dtype == pl.String and self._is_empty(values)):
            return pl.repeat(None, len(values), dtype=pl.Null, eager=True)
        if values.dtype != pl.String:
            return self._as_stored(values, rows)
        if self.kind is None:
            self._decide(values, rows)
        return values

    def _is_empty(self, values: pl.Series) -> bool:
        return values.null_count() == len(values) or (
            self.kind in (None, DATES) and missing_in_numbers_as_null(values).null_count() == len(values)
        )

    def _decide(self, values: pl.Series, rows: FileRows) -> None:
        frame, found = typed(pl.DataFrame([values.alias(self.name)]), str(rows), self.decimal, set())
        self.notes, self.form = found.notes, found.dates.get(self.name, "")
        self.kind = _kind_of(frame[self.name].dtype)

    def _as_stored(self, values: pl.Series, rows: FileRows) -> pl.Series:
        """Return values of a rows that says what its columns hold."""
        kind = _kind_of(values.dtype)
        self.kind = self.kind or kind
        if kind != self.kind or self.form:
            raise InputError(
                f"{rows}: column {self.name!r} holds {kind}, and {self.kind} before; store the same in all shards"
            )
        if values.dtype.is_float():
            self._whole = False
            return values.cast(pl.Float64).fill_nan(None)
        return values

    def _numbers(self, texts: pl.Series, rows: FileRows) -> pl.Series:
        if self._whole and self.decimal == ".":
            whole = texts.cast(pl.Int64, strict=False)
            if whole.null_count() == texts.null_count():
                return self._without_zeros(texts, whole, rows)
        parsed = texts.cast(pl.Float64, strict=False) if self.decimal == "." else None
        if parsed is None or parsed.null_count() > texts.null_count():
            self._needs_cleaning = True
            texts = missing_in_numbers_as_null(texts)
            parsed = numbers(texts, self.decimal)
            self._refuse(texts.is_not_null() & parsed.is_null(), texts, rows)
        known = parsed.fill_nan(None)
        if not self._whole:
            return known
        self._names_nan |= known.null_count() > parsed.null_count()
        whole = texts.cast(pl.Int64, strict=False)
        if whole.null_count() > known.null_count():
            self._whole = False
            return known
        return self._without_zeros(texts, whole, rows)

    def _without_zeros(self, texts: pl.Series, whole: pl.Series, rows: FileRows) -> pl.Series:
        """Return whole numbers, unless the texts are codes such as 007."""
        zeros = texts.str.starts_with("0") & (texts.str.len_bytes() > 1)
        if zeros.any():
            zeros = texts.str.contains(LEADING_ZERO)
            if zeros.any() and texts.str.contains(r"^\d+$").fill_null(True).all():
                row = int(zeros.arg_max() or 0)
                raise InputError(
                    f"{rows.row(row)} of column {self.name!r} is {texts[row]!r}, with a zero in "
                    "front, so these are codes and not numbers, which they were taken for; pass --categorical "
                    f"{shlex.quote(self.name)}"
                )
        return whole

    def _dates(self, texts: pl.Series, rows: FileRows) -> pl.Series:
        found = dates(texts, self.form)
        if found is not None:
            return found[0]
        good, bad = 0, len(texts)  # so many first rows can be read, and cannot
        while bad - good > 1:
            middle = (good + bad) // 2
            first = texts.head(middle)
            if first.null_count() == middle or dates(first, self.form) is not None:
                good = middle
            else:
                bad = middle
        raise self._refusal(texts, bad - 1, rows)

    def _refuse(self, wrong: pl.Series, texts: pl.Series, rows: FileRows) -> None:
        if wrong.any():
            raise self._refusal(texts, int(wrong.arg_max() or 0), rows)

    def _refusal(self, texts: pl.Series, row: int, rows: FileRows) -> InputError:
        what = f"dates written like {self.form}" if self.kind == DATES else self.kind
        return InputError(
            f"{rows.row(row)} of column {self.name!r} is {texts[row]!r}; the model takes this "
            f"column as {what}, which the rows before hold: correct it or leave it empty, or take the whole column as "
            f"categories with --categorical {shlex.quote(self.name)}"
        )


def level_names(texts: list[str], name: str, decimal: str) -> pl.Series:
    """Return the names of texts in a model that sees them together: 1 and 1.0 are one level, True and true too.

    Null where a text says that there is no value.
    """
    frame, _ = typed(pl.DataFrame([pl.Series("values", texts, dtype=pl.String)]), name, decimal, set())
    return texts_of(frame["values"])


def _kind_of(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return BOOLEANS
    if dtype.is_temporal():
        return DATES
    return TEXTS if dtype == pl.String else NUMBERS
