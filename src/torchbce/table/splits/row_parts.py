"""Assign the rows of a table that is read in batches to parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.shards import Shards, TableBatch
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.columns.weights_times import Times
from torchbce.table.splits.group_spans import GroupSpans
from torchbce.table.splits.groups import group_keys
from torchbce.table.splits.parts import DROPPED, OF_TIMES, TEST, SplitFractions, TimeCutoffs, hash_split
from torchbce.table.splits.row_sample import RowSample
from torchbce.table.splits.straddling import group_parts


@dataclass(frozen=True)
class TimesAndGroups:
    """Times and groups of a whole table.

    cutoffs, latest: None without times. groups: all, in rising order. straddling: those with rows in several parts by
    time, in rising order, and the part that each belongs to.
    """

    cutoffs: TimeCutoffs | None
    latest: float | None
    groups: np.ndarray
    straddling: np.ndarray
    sides: np.ndarray


NOTHING = TimesAndGroups(None, None, np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.uint8))


class RowParts:
    """Assign rows to parts by number, group or time, or by group and time."""

    def __init__(
        self, roles: ColumnRoles, fractions: SplitFractions, seed: int, decimal: str, seen: TimesAndGroups = NOTHING
    ) -> None:
        self._roles, self._fractions, self._seed = roles, fractions, seed
        self._seen = seen
        self._times = Times(roles.time, decimal) if roles.time is not None else None

    @property
    def names(self) -> list[str]:
        """Names of the columns that are needed."""
        return [name for name in (self._roles.group, self._roles.time) if name is not None]

    def of(self, batch: TableBatch) -> np.ndarray:
        """Return 0, 1 or 2 per row: to learn from, to choose an epoch by, to test on; 3: in none of these."""
        if self._times is None or self._seen.cutoffs is None:
            keys = _numbers(batch) if self._roles.group is None else groups_of(batch, self._roles.group)[0]
            return hash_split(keys, self._fractions, self._seed)
        parts = self._seen.cutoffs.parts(self._times.of(batch))
        if self._roles.group is None:
            return parts
        keys, has_group = groups_of(batch, self._roles.group)
        rows, positions = _known_groups(keys, has_group, self._seen.straddling)
        parts[rows] = np.where(parts[rows] == self._seen.sides[positions], parts[rows], DROPPED)
        return parts

    def of_test(self, batch: TableBatch) -> np.ndarray:
        """Return the parts of another table to test on: its rows later than all of this one, and of other groups."""
        parts = np.full(len(batch), TEST, np.uint8)
        if self._times is not None and self._seen.latest is not None:
            parts[self._times.of(batch) <= self._seen.latest] = DROPPED
        if self._roles.group is not None:
            keys, has_group = groups_of(batch, self._roles.group)
            parts[_known_groups(keys, has_group, self._seen.groups)[0]] = DROPPED
        return parts


def _numbers(batch: TableBatch) -> np.ndarray:
    """Return the numbers of rows in all shards."""
    return batch.first + np.arange(len(batch))


def groups_of(batch: TableBatch, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the key of each row's group, and whether it has one."""
    return group_keys(batch.frame[column], _numbers(batch), batch.rows)


def _known_groups(keys: np.ndarray, has_group: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose group is among those known, in rising order, and the positions of their groups there."""
    position = np.searchsorted(known, keys)
    rows = np.flatnonzero(has_group & (position < len(known)))
    rows = rows[known[position[rows]] == keys[rows]]
    return rows, position[rows]


def scan_times_and_groups(
    shards: Shards,
    roles: ColumnRoles,
    fractions: SplitFractions,
    *,
    seed: int,
    size: int,
    on_rows: Callable[[int], object],
) -> TimesAndGroups:
    """Read times and groups alone; see `TimeCutoffs.of` for how exact cutoffs are.

    Raises:
        InputError: rows cannot be ordered by their times.
    """
    columns = [name for name in (roles.group, roles.time) if name is not None]
    times = None if roles.time is None else Times(roles.time, shards.format.decimal)
    sample, spans, latest = RowSample(size, seed, OF_TIMES), GroupSpans(), -np.inf
    for batch in shards.batches(columns, "--group, --time"):
        row_times = np.zeros(len(batch)) if times is None else times.of(batch)
        latest = max(latest, float(row_times.max()))
        if times is not None:
            places, keys = sample.chosen(_numbers(batch), np.ones(len(batch), bool))
            sample.add(pl.DataFrame({"time": row_times[places]}), keys)
        if roles.group is not None:
            groups, has_group = groups_of(batch, roles.group)
            spans.add(groups[has_group], row_times[has_group])
        on_rows(len(batch))
    groups, first, last = spans.spans()
    if times is None:
        return TimesAndGroups(None, None, groups, NOTHING.straddling, NOTHING.sides)
    known = sample.frame()["time"].to_numpy()
    cutoffs = TimeCutoffs.of(known, fractions)
    if cutoffs.valid <= known.min():
        raise InputError(
            f"{shards.name}: all rows but the latest have one time in {roles.time!r}, or there is only one; rows "
            "cannot be ordered by it"
        )
    first_part, last_part = cutoffs.parts(first), cutoffs.parts(last)
    straddles = first_part != last_part
    sides = group_parts(groups[straddles], first_part[straddles], last_part[straddles], fractions, seed)
    return TimesAndGroups(cutoffs, latest, groups, groups[straddles], sides)
