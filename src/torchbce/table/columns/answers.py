"""The yes/no column of a table that is read in batches: its values are few, and known when all rows were read."""

from __future__ import annotations

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import PartName, row_number
from torchbce.io.kinds import missing_as_null, simplified
from torchbce.table.columns.decided import as_one_column
from torchbce.table.columns.target import Target


class Answers:
    """The texts of the column, numbered as they come; `target` and `ones` once all rows were seen."""

    def __init__(self, column: str, decimal: str) -> None:
        self.column, self._decimal = column, decimal
        self._texts: list[str] = []
        self._as_booleans = self._as_numbers = False  # whether a shard stores them so, whose columns say what they are

    def codes(self, values: pl.Series, file: PartName) -> np.ndarray:
        """The number of each row's text.

        Raises:
            InputError: a gap, or a third value; with its row.
        """
        texts = self._as_texts(values, file)
        self._as_booleans |= values.dtype == pl.Boolean
        self._as_numbers |= values.dtype.is_numeric()
        found = self._numbered(texts)
        if found is None:
            self._learn(texts, file)
            found = self._numbered(texts)
        assert found is not None
        return found

    def _as_texts(self, values: pl.Series, file: PartName) -> pl.Series:
        return simplified(values, f"{file}: column {self.column!r}").cast(pl.String)

    def _together(self, texts: list[str], name: str) -> pl.Series:
        """As they are called in a model that sees them together: beside stored numbers, true and false are 1 and 0.

        So they are in memory, where polars joins such columns.
        """
        if self._as_booleans and self._as_numbers:
            texts = [{"true": "1", "false": "0"}.get(text, text) for text in texts]
        return as_one_column(texts, name, self._decimal)

    def _numbered(self, texts: pl.Series) -> np.ndarray | None:
        """None where a text is new or missing."""
        if not self._texts:
            return None
        codes = texts.replace_strict(self._texts, range(len(self._texts)), default=None, return_dtype=pl.Int64)
        return None if codes.null_count() else np.asarray(codes)

    def _new(self, texts: pl.Series, file: PartName) -> list[str]:
        gaps = missing_as_null(texts).is_null()
        if gaps.any():
            row = row_number(file, int(gaps.arg_max() or 0))
            raise InputError(
                f"{file}: row {row} of the target column {self.column!r} is missing; remove such rows, the target "
                "cannot be filled in"
            )
        known = set(self._texts)
        return [text for text in texts.unique(maintain_order=True).to_list() if text not in known]

    def _learn(self, texts: pl.Series, file: PartName) -> None:
        new = self._new(texts, file)
        together = self._together(self._texts + new, file)
        known = together.unique(maintain_order=True).to_list()
        if len(known) > 2:
            place = len(self._texts)
            third = next(text for text, one in zip(new, together[place:], strict=True) if one not in known[:2])
            row = row_number(file, int((texts == third).arg_max() or 0))
            raise InputError(
                f"{file}: row {row} of the target column {self.column!r} is {third!r}, a third value beside "
                f"{known[0]!r} and {known[1]!r}; a yes/no column has two: name another column, or keep two values"
            )
        self._texts += new

    def target(self, positive: str | None, name: str) -> Target:
        """Of all rows that were seen.

        Raises:
            InputError: one value only, or `positive` is none of the two.
        """
        together = self._together(self._texts, name)
        return Target.of(pl.DataFrame({self.column: together}), self.column, positive, name)

    def ones(self, target: Target, name: str) -> np.ndarray:
        """Which of the numbered texts count as 1."""
        together = self._together(self._texts, name)
        return np.asarray((together == target.positive).to_numpy())

    def encode(self, values: pl.Series, target: Target, file: PartName) -> np.ndarray:
        """Which rows count as 1; they may be new.

        Raises:
            InputError: a gap, or a value that is none of the two; with its row.
        """
        texts = self._as_texts(values, file)
        found = self._numbered(texts)
        if found is not None:
            return np.asarray(self.ones(target, file)[found])
        known = self._texts + self._new(texts, file)
        named = self._together(known, file)
        both = target.positive, target.negative
        strange = [text for text, one in zip(known, named, strict=True) if one not in both]
        if strange:
            row = int(texts.is_in(strange).arg_max() or 0)
            raise InputError(
                f"{file}: row {row_number(file, row)} of the target column {self.column!r} is {texts[row]!r}; "
                f"the model knows {target.negative!r} and {target.positive!r}"
            )
        return np.asarray(texts.replace_strict(known, named == target.positive, return_dtype=pl.Boolean))
