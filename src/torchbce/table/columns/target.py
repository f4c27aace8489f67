"""The yes/no column: which value counts as 1."""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ConfigDict

from torchbce.common.errors import InputError
from torchbce.common.visible import shown
from torchbce.io.files import column_of, row_number
from torchbce.io.yes_no import NO, YES


class Target(BaseModel):
    """The target column and its two values, as text."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    column: str
    positive: str
    negative: str

    @property
    def predicted(self) -> str:
        """What a model's probabilities are of, in words."""
        return f"the probability that {shown(self.column)} is {shown(self.positive)}, not {shown(self.negative)}"

    @classmethod
    def of(cls, table: pl.DataFrame, column: str, positive: str | None, name: str) -> Target:
        """The two values of a column; the positive one is named, or known (1, true, yes), or the later when sorted."""
        values = _texts(table, column, name)
        check_complete(values, column, name)
        found = values.unique().to_list()
        if len(found) == 1:
            raise InputError(
                f"{name}: the target column {column!r} holds one value only, {found[0]!r}; two are needed to learn from"
            )
        if len(found) > 2:
            raise InputError(_too_many(values, column, name))
        if positive is not None:
            chosen = [value for value in found if value == positive or _same_number(value, positive)]
            if not chosen:
                raise InputError(
                    f"{name}: the target column {column!r} has no value {positive!r} to be the positive one; "
                    f"its values are {found[0]!r} and {found[1]!r}"
                )
        else:
            chosen = [value for value in found if value.lower() in YES]
            other = [value for value in found if value.lower() in NO]
            chosen = chosen if chosen and other else [max(found, key=_order)]
        negative = next(value for value in found if value != chosen[0])
        return cls(column=column, positive=chosen[0], negative=negative)

    def encode(self, table: pl.DataFrame, name: str, *, complete: bool = True) -> pl.Series:
        """0 and 1, as unsigned bytes, null for a gap unless it has to be `complete`; raises for any other value."""
        values = _texts(table, self.column, name)
        if complete:
            check_complete(values, self.column, name)
        strange = values.is_not_null() & ~values.is_in([self.positive, self.negative])
        if strange.any():
            row = int(strange.arg_max() or 0)
            raise InputError(
                f"{name}: row {row_number(name, row)} of the target column {self.column!r} is {values[row]!r}; "
                f"the model knows {self.negative!r} and {self.positive!r}"
            )
        return (values == self.positive).cast(pl.UInt8)


def check_complete(values: pl.Series, column: str, name: str) -> None:
    """No missing value in the target."""
    gaps = values.null_count()
    if gaps:
        row = values.is_null().arg_max()
        raise InputError(
            f"{name}: the target column {column!r} is missing in {gaps} of {len(values)} rows (first: row "
            f"{int(row or 0) + 1}); remove these rows, the target cannot be filled in"
        )


def _texts(table: pl.DataFrame, column: str, name: str) -> pl.Series:
    values = column_of(table, column, name)
    if values.dtype.is_float():  # 1.0 and 1 are one value
        values = values.fill_nan(None)
        whole = values.drop_nulls()
        if len(whole) and (whole == whole.floor()).all() and (whole.abs() < 2**53).all():
            values = values.cast(pl.Int64)
    elif values.dtype == pl.String:
        values = values.str.strip_chars()
    return values.cast(pl.String)


def _too_many(values: pl.Series, column: str, name: str) -> str:
    counts = values.value_counts(sort=True)
    shown = ", ".join(f"{value!r} ({count} rows)" for value, count in counts.head(5).iter_rows())
    third = counts[2, 0]
    row = int((values == third).arg_max() or 0) + 1
    return (
        f"{name}: the target column {column!r} holds {counts.height} values, a yes/no column has two: {shown}"
        f"{', ...' if counts.height > 5 else ''} (row {row} is {third!r}); name another column, or keep two values"
    )


def _same_number(a: str, b: str) -> bool:
    try:
        return float(a) == float(b)
    except ValueError:
        return a.lower() == b.lower() if {a.lower(), b.lower()} <= {"true", "false"} else False


def _order(value: str) -> tuple[float, str]:
    try:
        return float(value), value
    except ValueError:
        return 0.0, value
