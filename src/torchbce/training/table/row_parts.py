"""The rows of a table that is read in batches, by the part they belong to, with their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.common.splitmix import hashed, key_of
from torchbce.training.examples import Roles, require_weights
from torchbce.training.stream.parts import OF_TIMES, Borders, Shares, by_chance
from torchbce.training.table.columns import number_values
from torchbce.training.table.decided import Decided
from torchbce.training.table.files import PartName, row_number
from torchbce.training.table.kinds import missing_as_null, simplified
from torchbce.training.table.row_sample import RowSample
from torchbce.training.table.shards import Batch, Shards

ALONE = 1  # key of the rows without a group, each of which is one


class RowParts:
    """Says of each row which part it belongs to: by its number, its group or its time."""

    def __init__(self, roles: Roles, shares: Shares, seed: int, decimal: str, borders: Borders | None) -> None:
        self._roles, self._shares, self._seed = roles, shares, seed
        self._borders = borders
        self._times = Times(roles.time, decimal) if roles.time is not None else None

    @property
    def names(self) -> list[str]:
        """Of the columns that it needs."""
        return [name for name in (self._roles.group, self._roles.time) if name is not None]

    def of(self, batch: Batch) -> np.ndarray:
        """0, 1 or 2 per row: to learn from, to choose an epoch by, to test on."""
        if self._times is not None and self._borders is not None:
            return self._borders.parts(self._times.of(batch))
        numbers = batch.first + np.arange(len(batch))
        if self._roles.group is None:
            return by_chance(numbers, self._shares, self._seed)
        return by_chance(_group_keys(batch.frame[self._roles.group], numbers, batch.name), self._shares, self._seed)


class Times:
    """The column that orders the rows."""

    def __init__(self, column: str, decimal: str) -> None:
        self._column, self._decided = column, Decided(column, decimal)

    def of(self, batch: Batch) -> np.ndarray:
        """Float64, in days for dates.

        Raises:
            InputError: a row without a time.
        """
        values = self._decided.of(batch.frame[self._column], batch.name)
        times = number_values(pl.DataFrame([values]), self._column, batch.name)
        gaps = np.isnan(times)
        if gaps.any():
            raise InputError(
                f"{batch.name}: row {row_number(batch.name, int(gaps.argmax()))} of the times {self._column!r} is "
                "missing; rows are ordered by it, so each needs one"
            )
        return times


def borders_of(
    shards: Shards, column: str, shares: Shares, *, seed: int, size: int, on_rows: Callable[[int], object]
) -> Borders:
    """One pass over the times alone; see `Borders.of` for how exact they are."""
    times, sample = Times(column, shards.format.decimal), RowSample(size, seed, OF_TIMES)
    for batch in shards.batches([column], "--time"):
        found = times.of(batch)
        places, keys = sample.chosen(batch.first + np.arange(len(batch)), np.ones(len(batch), bool))
        sample.add(pl.DataFrame({"time": found[places]}), keys)
        on_rows(len(batch))
    known = sample.frame()["time"].to_numpy()
    borders = Borders.of(known, shares)
    if borders.valid <= known.min():
        raise InputError(
            f"{shards.name}: all rows but the latest have one time in {column!r}, or there is only one; rows cannot be "
            "ordered by it"
        )
    return borders


class Weights:
    """A column of weights."""

    def __init__(self, column: str, decimal: str) -> None:
        self.column, self._decided = column, Decided(column, decimal)

    def of(self, batch: Batch) -> np.ndarray:
        """Float64, from 0.

        Raises:
            InputError: a weight that is missing, negative or infinite.
        """
        values = self._decided.of(batch.frame[self.column], batch.name)
        weights = number_values(pl.DataFrame([values]), self.column, batch.name)
        require_weights(weights, self.column, batch.name)
        return weights


def _group_keys(values: pl.Series, numbers: np.ndarray, file: PartName) -> np.ndarray:
    """A number per row, the same in all rows of a group, from the group's text alone."""
    values = simplified(values, f"{file}: column {values.name!r}")
    if values.dtype.is_float():  # 3.0 is the 3 of another shard
        whole = values.set(values != values.floor(), None).cast(pl.Int64, strict=False).cast(pl.String)
        values = whole.zip_with(whole.is_not_null(), values.cast(pl.String))
    texts = missing_as_null(values.cast(pl.String))
    keys = hashed(numbers, key_of(ALONE))
    known = texts.unique().drop_nulls().to_list()
    if known:
        digests = np.frombuffer(
            b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in known), "<u8"
        )
        places = texts.replace_strict(known, range(len(known)), default=None, return_dtype=pl.Int64)
        of_groups = places.is_not_null().to_numpy()
        keys[of_groups] = digests[places.drop_nulls().to_numpy()]
    return keys
