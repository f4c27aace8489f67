"""The rows of a table that is read in batches, by the part they belong to, with their weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.files import row_number
from torchbce.io.shards import Shards, TableBatch
from torchbce.table.columns.columns import number_values
from torchbce.table.columns.decided import Decided
from torchbce.table.columns.requirements import require_weights
from torchbce.table.columns.roles import Roles
from torchbce.table.splits.group_keys import group_keys
from torchbce.table.splits.group_spans import GroupSpans
from torchbce.table.splits.parts import DROPPED, OF_TIMES, TEST, Borders, Shares, by_chance, of_straddling
from torchbce.table.splits.row_sample import RowSample


@dataclass(frozen=True)
class Looked:
    """What a pass over times and groups alone has found.

    borders, latest: None without times. groups: all, in rising order. straddling: those with rows in several parts by
    time, in rising order, and the part that each belongs to.
    """

    borders: Borders | None
    latest: float | None
    groups: np.ndarray
    straddling: np.ndarray
    sides: np.ndarray


NOTHING = Looked(None, None, np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.uint8))


class RowParts:
    """Says of each row which part it belongs to: by its number, its group or its time, or by both of these."""

    def __init__(self, roles: Roles, shares: Shares, seed: int, decimal: str, looked: Looked = NOTHING) -> None:
        self._roles, self._shares, self._seed = roles, shares, seed
        self._looked = looked
        self._times = Times(roles.time, decimal) if roles.time is not None else None

    @property
    def names(self) -> list[str]:
        """Of the columns that it needs."""
        return [name for name in (self._roles.group, self._roles.time) if name is not None]

    def of(self, batch: TableBatch) -> np.ndarray:
        """0, 1 or 2 per row: to learn from, to choose an epoch by, to test on; 3: in none of these."""
        if self._times is None or self._looked.borders is None:
            keys = _numbers(batch) if self._roles.group is None else groups_of(batch, self._roles.group)[0]
            return by_chance(keys, self._shares, self._seed)
        parts = self._looked.borders.parts(self._times.of(batch))
        if self._roles.group is None:
            return parts
        keys, has_group = groups_of(batch, self._roles.group)
        rows, place = _found(keys, has_group, self._looked.straddling)
        parts[rows] = np.where(parts[rows] == self._looked.sides[place], parts[rows], DROPPED)
        return parts

    def of_test(self, batch: TableBatch) -> np.ndarray:
        """The same for another table to test on: its rows that are later than all of this one and of other groups."""
        parts = np.full(len(batch), TEST, np.uint8)
        if self._times is not None and self._looked.latest is not None:
            parts[self._times.of(batch) <= self._looked.latest] = DROPPED
        if self._roles.group is not None:
            keys, has_group = groups_of(batch, self._roles.group)
            parts[_found(keys, has_group, self._looked.groups)[0]] = DROPPED
        return parts


def _numbers(batch: TableBatch) -> np.ndarray:
    """Of its rows in all shards."""
    return batch.first + np.arange(len(batch))


def groups_of(batch: TableBatch, column: str) -> tuple[np.ndarray, np.ndarray]:
    """The key of each row's group, and whether it has one."""
    return group_keys(batch.frame[column], _numbers(batch), batch.name)


def _found(keys: np.ndarray, has_group: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows whose group is among those known, in rising order, and where it is there."""
    place = np.searchsorted(known, keys)
    rows = np.flatnonzero(has_group & (place < len(known)))
    rows = rows[known[place[rows]] == keys[rows]]
    return rows, place[rows]


class Times:
    """The column that orders the rows."""

    def __init__(self, column: str, decimal: str) -> None:
        self._column, self._decided = column, Decided(column, decimal)

    def of(self, batch: TableBatch) -> np.ndarray:
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


def looked_at(
    shards: Shards, roles: Roles, shares: Shares, *, seed: int, size: int, on_rows: Callable[[int], object]
) -> Looked:
    """One pass over times and groups alone; see `Borders.of` for how exact borders are.

    Raises:
        InputError: rows cannot be ordered by their times.
    """
    columns = [name for name in (roles.group, roles.time) if name is not None]
    times = None if roles.time is None else Times(roles.time, shards.format.decimal)
    sample, spans, latest = RowSample(size, seed, OF_TIMES), GroupSpans(), -np.inf
    for batch in shards.batches(columns, "--group, --time"):
        found = np.zeros(len(batch)) if times is None else times.of(batch)
        latest = max(latest, float(found.max()))
        if times is not None:
            places, keys = sample.chosen(_numbers(batch), np.ones(len(batch), bool))
            sample.add(pl.DataFrame({"time": found[places]}), keys)
        if roles.group is not None:
            groups, has_group = groups_of(batch, roles.group)
            spans.add(groups[has_group], found[has_group])
        on_rows(len(batch))
    groups, first, last = spans.found()
    if times is None:
        return Looked(None, None, groups, NOTHING.straddling, NOTHING.sides)
    known = sample.frame()["time"].to_numpy()
    borders = Borders.of(known, shares)
    if borders.valid <= known.min():
        raise InputError(
            f"{shards.name}: all rows but the latest have one time in {roles.time!r}, or there is only one; rows "
            "cannot be ordered by it"
        )
    first_part, last_part = borders.parts(first), borders.parts(last)
    both = first_part != last_part
    sides = of_straddling(groups[both], first_part[both], last_part[both], shares, seed)
    return Looked(borders, latest, groups, groups[both], sides)


class Weights:
    """A column of weights."""

    def __init__(self, column: str, decimal: str) -> None:
        self.column, self._decided = column, Decided(column, decimal)

    def of(self, batch: TableBatch) -> np.ndarray:
        """Float64, from 0.

        Raises:
            InputError: a weight that is missing, negative or infinite.
        """
        values = self._decided.of(batch.frame[self.column], batch.name)
        weights = number_values(pl.DataFrame([values]), self.column, batch.name)
        require_weights(weights, self.column, batch.name)
        return weights
