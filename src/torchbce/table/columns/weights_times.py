"""The columns that weigh the rows and that order them, of a table in memory and of one in batches."""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.io.shards import TableBatch
from torchbce.table.columns.column_type import ColumnType
from torchbce.table.columns.columns import number_values


def weights_of(table: pl.DataFrame, column: str, rows: FileRows, decimal: str = ".") -> np.ndarray:
    """Return weights as float64.

    Raises:
        InputError: a weight that is missing, negative or infinite; with its row.
    """
    weights = number_values(table, column, rows, decimal)
    wrong = ~(weights >= 0)
    if wrong.any():
        row = int(wrong.argmax())
        what = "missing" if np.isnan(weights[row]) else f"{weights[row]:g}"
        raise InputError(f"{rows.row(row)} of the weights {column!r} is {what}; a weight is a finite number from 0")
    return weights


def times_of(table: pl.DataFrame, column: str, rows: FileRows, decimal: str = ".", form: str = "") -> np.ndarray:
    """Return times as float64, dates in days; `form`: the format of dates in texts.

    Raises:
        InputError: a row without a time.
    """
    times = number_values(table, column, rows, decimal, form)
    gaps = np.isnan(times)
    if gaps.any():
        raise InputError(
            f"{rows.row(int(gaps.argmax()))} of the times {column!r} is missing; rows are ordered "
            "by it, so each needs one"
        )
    return times


class Weights:
    """Weights of a table in batches."""

    def __init__(self, column: str, decimal: str) -> None:
        self.column, self._type = column, ColumnType(column, decimal)

    def of(self, batch: TableBatch) -> np.ndarray:
        """Return the weights of a batch; see `weights_of`."""
        values = self._type.read(batch.frame[self.column], batch.rows)
        return weights_of(pl.DataFrame([values]), self.column, batch.rows)


class Times:
    """Times of a table in batches."""

    def __init__(self, column: str, decimal: str) -> None:
        self._column, self._type = column, ColumnType(column, decimal)

    def of(self, batch: TableBatch) -> np.ndarray:
        """Return the times of a batch; see `times_of`."""
        values = self._type.read(batch.frame[self._column], batch.rows)
        return times_of(pl.DataFrame([values]), self._column, batch.rows)
