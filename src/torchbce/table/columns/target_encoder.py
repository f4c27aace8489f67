"""The yes/no column of a table, in one batch or in many: its values are few, and known when all rows were read."""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows
from torchbce.io.kinds import missing_as_null, simplified
from torchbce.table.columns.column_type import level_names
from torchbce.table.columns.target import Target


class TargetEncoder:
    """Numbers the texts of the target as they come; `target` and `ones` once all rows were seen."""

    def __init__(self, column: str, decimal: str = ".") -> None:
        self.column, self._decimal = column, decimal
        self._texts: list[str] = []
        self._as_booleans = self._as_numbers = False  # whether a shard stores them so, whose columns say what they are

    @classmethod
    def of_table(
        cls, table: pl.DataFrame, column: str, positive: str | None, rows: FileRows
    ) -> tuple[Target, np.ndarray]:
        """Return the target of a table in memory, and its 0 and 1 as unsigned bytes.

        Raises:
            InputError: a gap, a third value, one value only, or `positive` is none of the two.
        """
        encoder = cls(column)
        codes = encoder.codes(table[column], rows)
        target = encoder.target(positive, str(rows))
        return target, encoder.ones(target, str(rows))[codes]

    def codes(self, values: pl.Series, rows: FileRows) -> np.ndarray:
        """Return the number of each row's text.

        Raises:
            InputError: a gap, or a third value; with its row.
        """
        texts = self._as_texts(values, rows)
        self._as_booleans |= values.dtype == pl.Boolean
        self._as_numbers |= values.dtype.is_numeric()
        codes = self._numbered(texts)
        if codes is None:
            self._learn(texts, rows)
            codes = self._numbered(texts)
        assert codes is not None
        return codes

    def _as_texts(self, values: pl.Series, rows: FileRows) -> pl.Series:
        return simplified(values, f"{rows}: column {self.column!r}").cast(pl.String)

    def _names(self, texts: list[str], name: str) -> pl.Series:
        """Return the names of texts in a model; beside stored numbers, true and false are 1 and 0.

        So they are in memory, where polars joins such columns.
        """
        if self._as_booleans and self._as_numbers:
            texts = [{"true": "1", "false": "0"}.get(text, text) for text in texts]
        return level_names(texts, name, self._decimal)

    def _numbered(self, texts: pl.Series) -> np.ndarray | None:
        """Return None where a text is new or missing."""
        if not self._texts:
            return None
        codes = texts.replace_strict(self._texts, range(len(self._texts)), default=None, return_dtype=pl.Int64)
        return None if codes.null_count() else np.asarray(codes)

    def _new(self, texts: pl.Series, rows: FileRows, *, gaps: bool = False) -> list[str]:
        is_gap = missing_as_null(texts).is_null()
        if is_gap.any() and not gaps:
            row = rows.row(int(is_gap.arg_max() or 0))
            raise InputError(
                f"{row} of the target column {self.column!r} is missing; remove such rows, the target "
                "cannot be filled in"
            )
        known = set(self._texts)
        return [text for text in texts.filter(~is_gap).unique(maintain_order=True).to_list() if text not in known]

    def _learn(self, texts: pl.Series, rows: FileRows) -> None:
        new = self._new(texts, rows)
        names = self._names(self._texts + new, str(rows))
        known = names.unique(maintain_order=True).to_list()
        if len(known) > 2:
            own = names[len(self._texts) :]
            third = next(text for text, name in zip(new, own, strict=True) if name not in known[:2])
            row = rows.row(int((texts == third).arg_max() or 0))
            raise InputError(
                f"{row} of the target column {self.column!r} is {third!r}, a third value beside "
                f"{known[0]!r} and {known[1]!r}; a yes/no column has two: name another column, or keep two values"
            )
        self._texts += new

    def target(self, positive: str | None, name: str) -> Target:
        """Return the target of all rows that were seen.

        Raises:
            InputError: one value only, or `positive` is none of the two.
        """
        values = self._names(self._texts, name).unique(maintain_order=True).to_list()
        return Target.of(values, self.column, positive, name)

    def ones(self, target: Target, name: str) -> np.ndarray:
        """Return 0 or 1 for each of the numbered texts."""
        return (self._names(self._texts, name) == target.positive).cast(pl.UInt8).to_numpy()

    def encode(self, values: pl.Series, target: Target, rows: FileRows, *, gaps: bool = False) -> pl.Series:
        """Return 0 and 1 as unsigned bytes, also of texts that are new; null at gaps, if there may be `gaps`.

        Raises:
            InputError: a gap, or a value that is none of the two; with its row.
        """
        texts = self._as_texts(values, rows)
        codes = self._numbered(texts)
        if codes is not None:
            return pl.Series(self.ones(target, str(rows))[codes])
        known = self._texts + self._new(texts, rows, gaps=gaps)
        names = self._names(known, str(rows))
        strange = [text for text, name in zip(known, names, strict=True) if name not in target.values]
        if strange:
            row = int(texts.is_in(strange).arg_max() or 0)
            raise InputError(
                f"{rows.row(row)} of the target column {self.column!r} is {texts[row]!r}; "
                f"the model knows {target.negative!r} and {target.positive!r}"
            )
        ones = (names == target.positive).cast(pl.UInt8)
        return texts.replace_strict(known, ones, default=None, return_dtype=pl.UInt8)
