"""Batches of a table to numbers and codes, as a model reads them.

The same as `columns.encode` on the whole table, whatever a batch by itself would look like. Texts that are a level as
they are written, which are most, are looked up at once; what is left is cleaned first.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.io.files import FileRows
from torchbce.io.kinds import missing_as_null
from torchbce.table.columns.columns import CategoricalColumn, FittedColumn, NumericColumn, encode
from torchbce.table.columns.fitter import ColumnFitter


class Encoder:
    """Encodes batches by the columns that a model learns from."""

    def __init__(self, fitters: list[ColumnFitter], columns: list[FittedColumn]) -> None:
        self.columns = columns
        by_name = {fitter.type.name: fitter for fitter in fitters}
        self._types = [by_name[name].type for name in dict.fromkeys(column.name for column in columns)]
        self._numeric: list[FittedColumn] = [column for column in columns if isinstance(column, NumericColumn)]
        self._coded = [column for column in columns if not isinstance(column, NumericColumn)]
        self._codes = {
            column.name: _codes(column.levels, by_name[column.name])
            for column in self._coded
            if isinstance(column, CategoricalColumn)
        }

    @property
    def names(self) -> list[str]:
        """The columns of the table that are read."""
        return [type.name for type in self._types]

    def typed(self, frame: pl.DataFrame, rows: FileRows) -> pl.DataFrame:
        """Return a batch as its columns hold it; texts as they are written."""
        return pl.DataFrame([type.read(frame[type.name], rows) for type in self._types])

    def numbers(self, typed: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """Return float32 (rows, numbers), NaN where the training rows tell nothing."""
        return encode(typed, self._numeric, rows)

    def codes(self, typed: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """Return int32 (rows, coded columns), -1 where the training rows tell nothing."""
        found = np.zeros((typed.height, len(self._coded)), np.int32)
        for i, column in enumerate(self._coded):
            if isinstance(column, CategoricalColumn):
                found[:, i] = self._levels(typed[column.name], column, self._codes[column.name])
            else:
                found[:, i] = np.nan_to_num(column.encode(typed, rows)[0], nan=-1.0)
        return found

    def rows(self, typed: pl.DataFrame, rows: FileRows) -> np.ndarray:
        """Return float32 (rows, inputs), as `columns.encode` gives them."""
        codes = self.codes(typed, rows)
        return np.concatenate([self.numbers(typed, rows), np.where(codes < 0, np.nan, codes)], 1, dtype=np.float32)

    def _levels(
        self, values: pl.Series, column: CategoricalColumn, codes: dict[str, int] | dict[int, int]
    ) -> np.ndarray:
        values = values.alias("values")
        of_gap, of_others = (0 if learnt else -1 for learnt in (column.gaps, column.others))
        gaps = values.is_null()
        if values.dtype.is_float():  # a column of whole numbers, which holds others here
            gaps = gaps | values.is_nan()
            values = values.set(values != values.floor(), None).cast(pl.Int64, strict=False)
        if not codes:
            array = np.full(len(values), of_others, np.int32)
        else:
            found = values.replace_strict(codes, default=None, return_dtype=pl.Int32)
            array = found.fill_null(of_others).to_numpy(writable=True)
            rest = found.is_null() & values.is_not_null()
            if values.dtype == pl.String and rest.any():
                cleaned = missing_as_null(values.filter(rest))
                array[rest.to_numpy()] = cleaned.replace_strict(codes, default=of_others, return_dtype=pl.Int32)
                gaps = gaps.scatter(rest.arg_true(), cleaned.is_null())
        array[gaps.to_numpy()] = of_gap
        return array


def _codes(levels: list[str], fitter: ColumnFitter) -> dict[str, int] | dict[int, int]:
    """Return codes by the text as it is read, or by the number where levels are whole numbers."""
    codes = {level: code for code, level in enumerate(levels, 1)}
    if not fitter.type.is_text:
        return {int(level): code for level, code in codes.items()}
    names = fitter.level_names()
    return codes if names is None else {text: codes[name] for text, name in names.items() if name in codes}
