"""What new rows have that the training rows had not, counted over all batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from torchbce.training.table.columns import CategoricalColumn, FittedColumn, NumericColumn, texts_of
from torchbce.training.table.files import column_of

UNSEEN, BEYOND, GAPS = "unseen", "beyond", "gaps"


class Noticed:
    """Unknown categories, numbers out of range, and gaps where training had none, by column."""

    def __init__(self, columns: list[FittedColumn]) -> None:
        self.columns = columns
        self._numeric = {column.name for column in columns if isinstance(column, NumericColumn)}
        self._counts: Counter[tuple[str, str]] = Counter()

    def look(self, table: pl.DataFrame, file: str) -> None:
        """At some more rows."""
        for column in self.columns:
            if isinstance(column, CategoricalColumn) and column.name not in self._numeric:
                texts = texts_of(column_of(table, column.name, file))
                self._counts[column.name, UNSEEN] += int((texts.is_not_null() & ~texts.is_in(column.levels)).sum())
            elif isinstance(column, NumericColumn):
                values = column.values(table, file)
                self._counts[column.name, BEYOND] += int(((values < column.low) | (values > column.high)).sum())
                self._counts[column.name, GAPS] += 0 if column.gaps else int(np.isnan(values).sum())

    def sentences(self) -> list[str]:
        """One for each thing that there is to say."""
        found = []
        for column in self.columns:
            unseen, beyond, gaps = (self._counts[column.name, what] for what in (UNSEEN, BEYOND, GAPS))
            if unseen and isinstance(column, CategoricalColumn):
                found.append(f"{column.name}: {unseen} rows with categories not seen in training, treated as missing")
            if isinstance(column, NumericColumn):
                if beyond:
                    found.append(
                        f"{column.name}: {beyond} rows beyond the training rows' {column.low:g} to {column.high:g}, "
                        "taken for the nearest of these"
                    )
                if gaps:
                    found.append(f"{column.name}: {gaps} missing values, none in training; the mean is used")
        return found
