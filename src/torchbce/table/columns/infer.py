"""What each column of a table in memory is, and its encoding: the table is one batch of what `fitter` learns from."""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.io.files import FileRows, column_of
from torchbce.table.columns.column_type import ColumnType
from torchbce.table.columns.columns import FittedColumn, texts_of
from torchbce.table.columns.fitter import ColumnFitter
from torchbce.table.columns.levels import Levels


def infer_column_types(
    table: pl.DataFrame, exclude: list[str], categorical: list[str], rows: FileRows
) -> dict[str, str]:
    """Return what each column is: 'numeric', 'categorical', or why it is left out ('empty', 'constant' ...).

    Raises:
        InputError: most texts of a column are numbers and some are not, or a number is infinite; with its row.
    """
    return {
        name: "categorical" if name in categorical else _kind(table, name, rows)
        for name in table.columns
        if name not in exclude
    }


def fit_encoders(
    train: pl.DataFrame,
    kinds: dict[str, str],
    rows: FileRows,
    decimal: str,
    dates: dict[str, str],
    weight: np.ndarray | None = None,
) -> list[FittedColumn]:
    """Return the encodings of columns of known kinds, from training rows alone; `dates` are the formats of dates."""
    columns: list[FittedColumn] = []
    for name, kind in kinds.items():
        values = column_of(train, name, rows)
        if kind == "categorical":
            values = texts_of(values)
        elif train[name].dtype.is_integer():  # those of 64 bits without a sign are whole numbers too
            values = train[name]
        type = ColumnType.of_series(values.alias(name), decimal, dates.get(name, ""))
        fitter = ColumnFitter(type, Levels(room=None, clean=None), kind)
        fitter.add(values, np.ones(train.height, bool), weight, rows)
        columns += fitter.encoders(kind)
    return columns


def _kind(table: pl.DataFrame, name: str, rows: FileRows) -> str:
    values = column_of(table, name, rows)
    fitter = ColumnFitter(ColumnType.of_series(values.alias(name)), Levels(room=None))
    fitter.add(values, np.zeros(table.height, bool), None, rows)
    return fitter.kind()
