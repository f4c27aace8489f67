"""Statistics of one column on the way through a table, in one batch or in many: what it is, and how it is encoded."""

from __future__ import annotations

import math
import shlex

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.io.kinds import missing_in_numbers_as_null, numbers
from torchbce.table.columns.column_type import DATES, ColumnType, level_names
from torchbce.table.columns.columns import (
    CalendarColumn,
    CalendarPart,
    CategoricalColumn,
    FittedColumn,
    NumericColumn,
    calendar_codes,
    number_values,
)
from torchbce.table.columns.levels import Levels, most_frequent
from torchbce.table.columns.moments import Moments

FEWEST_ROWS = 20  # below which nothing is said of how often values repeat
MOSTLY_NUMERIC = 0.5  # above this share of numbers, text in a column is a mistake and not a category
FIRST_ROWS = 1000  # in which a text that is no number is looked for first
# Whole numbers of few values count as categories too where there are rows enough for each: days, hours, ratings.
MANY_ROWS, FEW_VALUES = 100_000, 64
CALENDAR: tuple[CalendarPart, ...] = ("month", "weekday", "hour")


class ColumnFitter:
    """Learns what a column is and how it is encoded; `kind`: where it is known what it is."""

    def __init__(self, type: ColumnType, levels: Levels, kind: str | None = None) -> None:
        self.type, self._kind = type, "categorical" if type.is_category else kind
        self._rows = self._gaps = self._train_rows = 0
        self._moments = Moments()
        self._low, self._high = math.inf, -math.inf
        self._last: int | None = None
        self._counts_up = True
        self._levels = levels
        self._whole_levels = Levels(room=None)
        self._is_few = True
        self._parts = {part: np.zeros(0, np.int64) for part in CALENDAR}
        self._stranger: tuple[str, str] | None = None  # row and value: the first text that is no number

    def add(self, values: pl.Series, train: np.ndarray, weight: np.ndarray | None, rows: FileRows) -> None:
        """Add rows as `type` reads them: which of them are training rows, and the weights of these."""
        self._rows += len(values)
        self._train_rows += int(train.sum())
        values = values.alias("values")  # methods go wrong where a name looks like a pattern
        if self._kind == "categorical" or self.type.is_text:
            if self._kind is None and self._stranger is None:
                self._look_for_stranger(values, rows)
            self._gaps += len(values) - self._levels.add(values, pl.Series(train))
            return
        self._gaps += values.null_count()
        found = number_values(pl.DataFrame([values.alias(self.type.name)]), self.type.name, rows)
        if self._kind is None:
            self._add_to_kind(values, found)
        if train.any():
            self._add_to_encoding(values, found, train, weight)

    def _look_for_stranger(self, texts: pl.Series, rows: FileRows) -> None:
        for some in (texts.head(FIRST_ROWS), texts):
            known = missing_in_numbers_as_null(some)
            wrong = known.is_not_null() & numbers(known).is_null()
            if wrong.any():
                row = int(wrong.arg_max() or 0)
                self._stranger = rows.row(row), str(known[row])
                return

    def _add_to_kind(self, values: pl.Series, found: np.ndarray) -> None:
        if not np.isnan(found).all():
            self._low = min(self._low, float(np.fmin.reduce(found)))
            self._high = max(self._high, float(np.fmax.reduce(found)))
        if not values.dtype.is_integer():
            self._counts_up = False
        elif self._counts_up:
            steps = values.diff().drop_nulls()
            follows = self._last is None or values[0] == self._last + 1
            self._counts_up = follows and not values.null_count() and bool((steps == 1).all())
            self._last = values[-1]

    def _add_to_encoding(
        self, values: pl.Series, found: np.ndarray, train: np.ndarray, weight: np.ndarray | None
    ) -> None:
        found = found[train]
        self._moments.add(found, weight)
        if self.type.kind == DATES:
            for part, before in self._parts.items():
                self._parts[part] = np.union1d(before, calendar_codes(found, part))
        elif values.dtype == pl.Null:  # all gaps, of a column that may be one of dates
            self._parts = {part: np.union1d(codes, [0]) for part, codes in self._parts.items()}
        if not values.dtype.is_integer():
            self._is_few &= values.dtype == pl.Null
        elif self._is_few:
            values = values.filter(pl.Series(train))
            self._is_few = values.n_unique() <= FEW_VALUES + 1  # one of them may be the gap
            if self._is_few:
                self._whole_levels.add(values, pl.repeat(True, len(values), eager=True))
                self._is_few = self._whole_levels.distinct <= FEW_VALUES

    def kind(self) -> str:
        """Return 'numeric', 'categorical', or why the column is left out: 'empty', 'constant', 'all different' ...

        Raises:
            InputError: most texts are numbers, and some are not.
        """
        if self._kind is not None:
            return self._kind
        if self.type.kind is None:
            return "empty"
        if self.type.is_text:
            return self._kind_of_texts()
        if self._low == self._high and not self._gaps:
            return "constant"
        if self._low > self._high:
            return "empty"
        counts = self._counts_up and self.type.is_whole and self._rows > FEWEST_ROWS
        return "counts the rows" if counts else "numeric"

    def _kind_of_texts(self) -> str:
        counts, known = self._levels.counts, self._rows - self._gaps
        if not known:
            return "empty"
        numeric = int(counts.filter(numbers(counts["level"]).is_not_null())["rows"].sum())
        share = numeric / int(counts["rows"].sum())
        if MOSTLY_NUMERIC < share < 1 and self._stranger is not None:
            row, text = self._stranger
            raise InputError(
                f"{row} of column {self.type.name!r} is {text!r}, but {share:.1%} of the column are "
                "numbers; correct it or leave it empty, or take the whole column as categories with "
                f"--categorical {shlex.quote(self.type.name)}"
            )
        distinct = self._levels.distinct
        if distinct == 1 and not self._gaps:
            return "constant"
        if distinct > 0.5 * known and distinct > FEWEST_ROWS:
            return "all different" if distinct == known else f"{self._levels.known} different texts in {known:,} rows"
        return "categorical"

    def encoders(self, kind: str) -> list[FittedColumn]:
        """Return the encodings of a column of this kind, from the training rows alone."""
        if kind == "categorical":
            return [self._categorical(self._levels, self._named_counts())]
        moments, name, form, is_date = self._moments, self.type.name, self.type.form, self.type.kind == DATES
        columns: list[FittedColumn] = [
            NumericColumn(
                name=name,
                mean=moments.mean,
                scale=moments.scale,
                low=moments.low,
                high=moments.high,
                gaps=moments.gaps,
                is_date=is_date,
                decimal="," if self.type.decimal == "," else ".",
                date=form,
            )
        ]
        differing = {part: codes.tolist() for part, codes in self._parts.items() if is_date and len(codes) > 1}
        columns += [CalendarColumn(name=name, part=part, date=form, known=known) for part, known in differing.items()]
        if self._train_rows >= MANY_ROWS and self._is_few and self.type.is_whole and self._whole_levels.distinct > 2:
            columns.append(self._categorical(self._whole_levels, self._whole_levels.counts))
        return columns

    def _categorical(self, levels: Levels, counts: pl.DataFrame) -> CategoricalColumn:
        """`counts`: by the names of the levels."""
        kept = most_frequent(counts)
        gaps = self._train_rows - levels.train
        others = levels.train - int(kept["train"].sum())
        return CategoricalColumn.of(self.type.name, kept["level"].to_list(), gaps=gaps, others=others)

    def level_names(self) -> dict[str, str] | None:
        """Return the level of each text as it was read, where a user says that they are categories."""
        if not self.type.is_category:
            return None
        texts = self._levels.counts["level"].sort()
        named = level_names(texts.to_list(), self.type.name, self.type.decimal)
        return {text: name for text, name in zip(texts, named, strict=True) if name is not None}

    def _named_counts(self) -> pl.DataFrame:
        """Return the counts by the names of the levels."""
        names, counts = self.level_names(), self._levels.counts
        if names is None:
            return counts
        renamed = counts.with_columns(level=pl.Series([names.get(text) for text in counts["level"]], dtype=pl.String))
        return renamed.drop_nulls("level").group_by("level").agg(pl.col("rows").sum(), pl.col("train").sum())
