"""Rows to learn from: a table, its target, and what a user says of the rows, before anything is fitted on them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from torchbce.common.errors import InputError
from torchbce.io.files import Table, column_of, part_name, require_columns
from torchbce.io.source import Format
from torchbce.io.whole import read_whole
from torchbce.table.columns.choose import USABLE, choose_columns
from torchbce.table.columns.columns import number_values
from torchbce.table.columns.examples import Examples
from torchbce.table.columns.requirements import require_both_classes, require_weights
from torchbce.table.columns.roles import Roles
from torchbce.table.columns.target import Target
from torchbce.table.splits.group_keys import group_keys

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Read:
    """A table that was read to learn from it, and what there is to say about it."""

    examples: Examples
    target: Target
    left_out: dict[str, str]
    notes: list[str]


def read_examples(file: str, roles: Roles, format: Format | None = None) -> Read:
    """Read a table and find out what its columns are.

    Raises:
        InputError: a column that is not there, a target that is not yes or no, too few rows of a class, nothing to
            learn from.
    """
    read = read_whole(file, format)
    table, name = read.frame, read.name
    for columns, flag in roles.flags:
        require_columns(table, columns, name, flag)
    roles.require_apart(name)
    target = Target.of(table, roles.target, roles.positive, name)
    require_both_classes(target.encode(table, name).to_numpy(), name)
    unused = {*roles.exclude, roles.target, *(c for c in (roles.weight, roles.group) if c is not None)}
    kinds = choose_columns(table, sorted(unused), roles.categorical, name)
    usable = {column: kind for column, kind in kinds.items() if kind in USABLE}
    if not usable:
        reasons = ", ".join(f"{column!r} is {kind}" for column, kind in kinds.items()) or "there is no other column"
        raise InputError(f"{name}: no column to learn from besides {roles.target!r}: {reasons}")
    for column in (column for column, kind in usable.items() if kind == "numeric"):  # infinite ones, by their rows
        number_values(table, column, name, (format or Format()).decimal, read.kinds.dates.get(column, ""))
    left_out = {column: kind for column, kind in kinds.items() if kind not in USABLE}
    left_out |= dict.fromkeys(roles.exclude, "excluded")
    examples = _examples(read, target, usable, roles, read.kinds.dates, format)
    notes = [note for note in read.kinds.notes if note.split(":")[0] not in unused]
    return Read(examples, target, left_out, notes)


def read_test(file: str, learnt_from: Read, roles: Roles, format: Format | None = None) -> Examples:
    """Other rows, with the columns of those to learn from; their groups have the same numbers.

    Raises:
        InputError: a column that is not there, or a target that is neither of the two values.
    """
    examples = learnt_from.examples
    read = read_whole(file, format, set(examples.dates))
    special = [name for name in (roles.target, roles.weight, roles.group, roles.time) if name is not None]
    require_columns(read.frame, [*examples.kinds, *special], read.name, f"as in {examples.name}")
    found = _examples(read, learnt_from.target, examples.kinds, replace(roles, group=None), examples.dates, format)
    return found if roles.group is None else replace(found, groups=_groups_beside(examples, read, roles.group))


def _examples(
    read: Table, target: Target, kinds: dict[str, str], roles: Roles, dates: dict[str, str], format: Format | None
) -> Examples:
    decimal = (format or Format()).decimal
    return Examples(
        frame=read.frame,
        name=read.name,
        kinds=kinds,
        answers=target.encode(read.frame, read.name).to_numpy(),
        decimal=decimal,
        dates=dates,
        weight=None if roles.weight is None else _weights(read, roles.weight, decimal),
        groups=None if roles.group is None else _groups(read, roles.group),
        times=None if roles.time is None else _times(read, roles.time, decimal),
        digest=read.digest,
    )


def _weights(read: Table, column: str, decimal: str) -> np.ndarray:
    weights = number_values(read.frame, column, read.name, decimal)
    require_weights(weights, column, read.name)
    if not weights.any():
        raise InputError(f"{read.name}: all weights in {column!r} are 0; no row would count")
    return weights


def _groups(read: Table, column: str) -> np.ndarray:
    return group_numbers(column_of(read.frame, column, read.name))


def group_numbers(values: pl.Series) -> np.ndarray:
    """A number per group; a row without one is a group of its own."""
    codes = values.rank("dense").cast(int, strict=False).to_numpy()
    gaps = values.is_null().to_numpy()
    numbers = np.where(gaps, 0, np.nan_to_num(codes)).astype(np.int64)
    numbers[gaps] = numbers.max(initial=0) + 1 + np.arange(gaps.sum())
    return numbers


def _groups_beside(examples: Examples, read: Table, column: str) -> np.ndarray:
    """The number that a row's group has among the examples, or one that none of them has."""
    assert examples.groups is not None
    own, known = (
        group_keys(frame[column], np.arange(frame.height), part_name(name, 0))
        for frame, name in ((read.frame, read.name), (examples.frame, examples.name))
    )
    keys, first = np.unique(known[0][known[1]], return_index=True)
    numbers = examples.groups[known[1]][first]
    new = examples.groups.max() + 1 + np.unique(own[0], return_inverse=True)[1]
    if not len(keys):  # no row of the examples has a group
        return np.asarray(new)
    place = np.minimum(np.searchsorted(keys, own[0]), len(keys) - 1)
    return np.asarray(np.where(own[1] & (keys[place] == own[0]), numbers[place], new))


def _times(read: Table, column: str, decimal: str) -> np.ndarray:
    times = number_values(read.frame, column, read.name, decimal, read.kinds.dates.get(column, ""))
    gaps = np.isnan(times)
    if gaps.any():
        raise InputError(
            f"{read.name}: row {int(gaps.argmax()) + 1} of the times {column!r} is missing; rows are ordered by it, so "
            "each needs one"
        )
    return times
