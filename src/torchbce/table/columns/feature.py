"""What is learnt of one column on the way through a table: what it is, and how it is encoded.

The same as `choose_columns` and `fit_columns` find on a table in memory.
"""

from __future__ import annotations

import math
import shlex

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import PartName, row_number
from torchbce.io.kinds import missing_as_null, numbers, simplified
from torchbce.table.columns import choose
from torchbce.table.columns.columns import (
    CalendarColumn,
    CategoricalColumn,
    FittedColumn,
    NumericColumn,
    calendar_codes,
    number_values,
)
from torchbce.table.columns.decided import DATES, TEXTS, Decided, as_one_column
from torchbce.table.columns.levels import Levels, most_frequent
from torchbce.table.columns.moments import Moments


class Feature:
    """A column to learn from, row by row; `is_category`: a user says so, whatever it holds; `room`: bytes for texts."""

    def __init__(self, name: str, decimal: str, *, is_category: bool, room: int) -> None:
        self.name, self.is_category = name, is_category
        self.decided = Decided(name, decimal)
        self._decimal, self._room = decimal, room
        self._rows = self._gaps = self._train_rows = 0
        self._moments = Moments()
        self._low, self._high = math.inf, -math.inf
        self._last: int | None = None
        self._counts_up = True
        self._levels = Levels(room)
        self._is_few = True
        self._parts = {part: np.zeros(0, np.int64) for part in choose.CALENDAR}
        self._stranger: tuple[str, int, str] | None = None  # file, row and value: the first text that is no number

    @property
    def is_text(self) -> bool:
        """Whether it was found to hold texts, or counts as such."""
        return self.is_category or self.decided.kind == TEXTS

    def texts(self, values: pl.Series, file: PartName) -> pl.Series:
        """As they are written, of a column of texts."""
        if not self.is_category:
            values = self.decided.looked_at(values, file)
        return simplified(values, f"{file}: column {self.name!r}").cast(pl.String).alias(self.name)

    def typed(self, values: pl.Series, file: PartName) -> pl.Series:
        """A batch as the column holds it; see `Decided.of`."""
        return missing_as_null(self.texts(values, file)) if self.is_category else self.decided.of(values, file)

    def take(
        self, values: pl.Series, train: np.ndarray, weight: np.ndarray | None, kept: np.ndarray, file: PartName
    ) -> pl.Series:
        """More rows: which of them are training rows, and the weights of these. Typed values at `kept`."""
        self._rows += len(values)
        self._train_rows += int(train.sum())
        values = values.alias("values")  # methods go wrong where a name looks like a pattern
        if not self.is_category:
            self.decided.looked_at(values, file)
        if self.is_text:
            self._take_texts(self.texts(values, file).alias("values"), pl.Series(train), file)
            return self.typed(values.gather(kept), file)
        typed = self.decided.of(values, file).alias("values")
        self._take_numbers(typed, train, weight, file)
        return typed.gather(kept).alias(self.name)

    def _take_texts(self, texts: pl.Series, train: pl.Series, file: PartName) -> None:
        if self._stranger is None and not self.is_category:
            self._look_for_stranger(missing_as_null(texts), file)
        self._gaps += len(texts) - self._levels.add(texts, train)

    def _take_numbers(self, values: pl.Series, train: np.ndarray, weight: np.ndarray | None, file: PartName) -> None:
        self._gaps += values.null_count()
        named = pl.DataFrame([values.alias(self.name)])
        found = number_values(named, self.name, file)
        self._moments.add(found[train], weight)
        if values.null_count() < len(values):
            self._low = min(self._low, float(np.fmin.reduce(found)))
            self._high = max(self._high, float(np.fmax.reduce(found)))
        if values.dtype.is_integer():
            self._add_whole(values, pl.Series(train))
        else:
            self._counts_up = False
            self._is_few &= values.dtype == pl.Null
        if values.dtype in (pl.Date, pl.Datetime):
            for part, before in self._parts.items():
                codes = calendar_codes(named, CalendarColumn(name=self.name, part=part), file)
                self._parts[part] = np.union1d(before, codes[train])
        elif train.any() and values.dtype == pl.Null:
            self._parts = {part: np.union1d(codes, [0]) for part, codes in self._parts.items()}

    def _add_whole(self, values: pl.Series, train: pl.Series) -> None:
        if self._counts_up:
            steps = values.diff().drop_nulls()
            follows = self._last is None or values[0] == self._last + 1
            self._counts_up = follows and not values.null_count() and bool((steps == 1).all())
            self._last = values[-1]
        if self._is_few:
            self._levels.add(values, train)
            self._is_few = self._few_values <= choose.FEW_VALUES
            if not self._is_few:
                self._levels = Levels(self._room)

    @property
    def _few_values(self) -> int:
        return int((self._levels.counts["train"] > 0).sum())

    def _look_for_stranger(self, texts: pl.Series, file: PartName) -> None:
        wrong = texts.is_not_null() & numbers(texts).is_null()
        if not wrong.any():
            return
        row = int(wrong.arg_max() or 0)
        self._stranger = str(file), row_number(file, row), str(texts[row])

    def kind(self) -> str:
        """'numeric', 'categorical', or why the column is left out, as `choose_columns` says it.

        Raises:
            InputError: most texts are numbers, and some are not.
        """
        if self.is_category:
            return "categorical"
        if self.decided.kind is None:
            return "empty"
        if self.decided.kind == TEXTS:
            return self._kind_of_texts()
        if self._low == self._high and not self._gaps:
            return "constant"
        if self._low > self._high:
            return "empty"
        counts = self._counts_up and self.decided.is_whole and self._rows > choose.FEWEST_ROWS
        return "counts the rows" if counts else "numeric"

    def _kind_of_texts(self) -> str:
        counts, known = self._levels.counts, self._rows - self._gaps
        numeric = int(counts.filter(numbers(counts["level"]).is_not_null())["rows"].sum())
        share = numeric / int(counts["rows"].sum())
        if choose.MOSTLY_NUMERIC < share < 1 and self._stranger is not None:
            file, row, text = self._stranger
            raise InputError(
                f"{file}: row {row} of column {self.name!r} is {text!r}, but {share:.1%} of the column are numbers; "
                "correct it or leave it empty, or take the whole column as categories with "
                f"--categorical {shlex.quote(self.name)}"
            )
        distinct = self._levels.distinct
        if distinct == 1 and not self._gaps:
            return "constant"
        if distinct > 0.5 * known and distinct > choose.FEWEST_ROWS:
            return "all different" if distinct == known else f"{self._levels.known} different texts in {known:,} rows"
        return "categorical"

    def fitted(self, kind: str) -> list[FittedColumn]:
        """Its encodings, from the training rows alone."""
        if kind == "categorical":
            return [self._categorical(self._named_levels())]
        moments, form = self._moments, self.decided.form
        is_known = moments.low <= moments.high
        columns: list[FittedColumn] = [
            NumericColumn(
                name=self.name,
                mean=moments.mean,
                scale=moments.scale,
                low=moments.low if is_known else 0.0,
                high=moments.high if is_known else 0.0,
                gaps=moments.gaps,
                is_date=self.decided.kind == DATES,
                decimal="," if self._decimal == "," else ".",
                date=form,
            )
        ]
        if self.decided.kind == DATES:
            differing = {part: codes.tolist() for part, codes in self._parts.items() if len(codes) > 1}
            columns += [
                CalendarColumn(name=self.name, part=p, date=form, known=codes) for p, codes in differing.items()
            ]
        if self._train_rows >= choose.MANY_ROWS and self._is_few and self.decided.is_whole and self._few_values > 2:
            columns.append(self._categorical(self._levels.counts))
        return columns

    def _categorical(self, counts: pl.DataFrame) -> CategoricalColumn:
        levels = most_frequent(counts)
        kept = int(counts.filter(pl.col("level").is_in(levels))["train"].sum())
        known = self._levels.train
        return CategoricalColumn.of(self.name, levels, gaps=self._train_rows - known, others=known - kept)

    def level_names(self) -> dict[str, str] | None:
        """What a model calls each text as it was read, where a user says that they are categories."""
        if not self.is_category:
            return None
        texts = self._levels.counts["level"].sort()
        named = as_one_column(texts.to_list(), self.name, self._decimal)
        return {text: name for text, name in zip(texts, named, strict=True) if name is not None}

    def _named_levels(self) -> pl.DataFrame:
        """The counts by the names of the levels."""
        names = self.level_names()
        counts = self._levels.counts
        if names is None:
            return counts
        renamed = counts.with_columns(level=pl.Series([names.get(text) for text in counts["level"]], dtype=pl.String))
        return renamed.drop_nulls("level").group_by("level").agg(pl.col("rows").sum(), pl.col("train").sum())
