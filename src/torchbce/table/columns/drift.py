"""Drift: what new rows have that the training rows had not, counted over all batches."""

from __future__ import annotations

from collections import Counter

import numpy as np
import polars as pl

from torchbce.common.visible import shown
from torchbce.io.files import FileRows, column_of
from torchbce.table.columns.columns import CategoricalColumn, FittedColumn, NumericColumn, texts_of

UNSEEN, BEYOND, GAPS = "unseen", "beyond", "gaps"
AVERAGE = "answered by the mean over the values that it has in training"
MOST = 5  # unknown categories that are shown


class DriftCounter:
    """Unknown categories, numbers out of range, and gaps where training had none, by column."""

    def __init__(self, columns: list[FittedColumn]) -> None:
        self.columns = columns
        self._numeric = {column.name for column in columns if isinstance(column, NumericColumn)}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._unknown: dict[str, list[str]] = {}  # one more than are shown

    def update(self, table: pl.DataFrame, rows: FileRows) -> None:
        """Update the counts from a batch."""
        for column in self.columns:
            if isinstance(column, CategoricalColumn) and column.name not in self._numeric:
                self._update_categories(column, table, rows)
            elif isinstance(column, NumericColumn):
                values = column.values(table, rows)
                self._counts[column.name, BEYOND] += int(((values < column.low) | (values > column.high)).sum())
                self._counts[column.name, GAPS] += 0 if column.gaps else int(np.isnan(values).sum())

    def _update_categories(self, column: CategoricalColumn, table: pl.DataFrame, rows: FileRows) -> None:
        texts = texts_of(column_of(table, column.name, rows))
        unknown = texts.filter(texts.is_not_null() & ~texts.is_in(column.levels))
        self._counts[column.name, UNSEEN] += len(unknown)
        self._counts[column.name, GAPS] += 0 if column.gaps else texts.null_count()
        shown = self._unknown.setdefault(column.name, [])
        if len(unknown) and len(shown) <= MOST:
            new = [text for text in unknown.unique(maintain_order=True).to_list() if text not in shown]
            shown.extend(new[: MOST + 1 - len(shown)])

    def messages(self) -> list[str]:
        """Return a message for each kind of drift that was seen."""
        found = []
        for column in self.columns:
            found += self.of_categories(column) if isinstance(column, CategoricalColumn) else []
            name = shown(column.name)
            beyond, gaps = (self._counts[column.name, what] for what in (BEYOND, GAPS))
            if beyond and isinstance(column, NumericColumn):
                found.append(
                    f"{name}: {beyond} rows beyond the training rows' {column.low:g} to {column.high:g}, "
                    "taken for the nearest of these"
                )
            if gaps and isinstance(column, NumericColumn) == (column.name in self._numeric):
                few = "none" if isinstance(column, NumericColumn) else "too few"
                found.append(f"{name}: {gaps} missing values, {few} in training, {AVERAGE}")
        return found

    def of_categories(self, column: CategoricalColumn) -> list[str]:
        """Return the message on unknown categories, if there are any."""
        unseen, texts = self._counts[column.name, UNSEEN], self._unknown.get(column.name, [])
        if not unseen:
            return []
        few = ", ".join(shown(repr(text)) for text in texts[:MOST]) + (", ..." if len(texts) > MOST else "")
        rows = f"{unseen} row{'s' * (unseen != 1)}"
        taken = "taken for a rare one" if column.others else AVERAGE
        return [f"{shown(column.name)}: {rows} with categories not seen in training, or once only, {taken}: {few}"]


def unknown_categories(table: pl.DataFrame, columns: list[FittedColumn], rows: FileRows) -> list[str]:
    """Return the messages on the categories of one table: a number a little out of range is no news."""
    numeric = {column.name for column in columns if isinstance(column, NumericColumn)}
    own = [c for c in columns if isinstance(c, CategoricalColumn) and c.name not in numeric]
    counter = DriftCounter([*own])
    counter.update(table, rows)
    return [message for column in own for message in counter.of_categories(column)]
