"""Read a table to learn from into memory: columns, target, weights, groups and times, before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from torchbce.common.errors import InputError
from torchbce.io.files import FileRows, Table, column_of, require_columns
from torchbce.io.source import Format
from torchbce.io.whole import read_whole
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.infer import infer_column_types
from torchbce.table.columns.requirements import require_both_classes, usable_columns
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.columns.target import Target
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.columns.weights_times import times_of, weights_of
from torchbce.table.splits.groups import group_numbers, same_numbers


@dataclass(frozen=True)
class TableInfo:
    """A dataset to learn from, with its target, the columns left out and notes on the table."""

    dataset: Dataset
    target: Target
    left_out: dict[str, str]
    notes: list[str]


def read_dataset(file: str, roles: ColumnRoles, format: Format | None = None) -> TableInfo:
    """Read a table and find out what its columns are.

    Raises:
        InputError: a column that is not there, a target that is not yes or no, too few rows of a class, nothing to
            learn from.
    """
    read = read_whole(file, format)
    table, name, rows = read.frame, read.name, FileRows(read.name)
    for columns, flag in roles.flags:
        require_columns(table, columns, name, flag)
    roles.require_apart(name)
    target, y = TargetEncoder.of_table(table, roles.target, roles.positive, rows)
    require_both_classes(y, name)
    types = infer_column_types(table, sorted(roles.not_learnt_from), roles.categorical, rows)
    usable, left_out = usable_columns(types, roles, name)
    dataset = _dataset(read, y, usable, roles, read.kinds.dates, format)
    notes = [note for note in read.kinds.notes if note.split(":")[0] not in roles.not_learnt_from]
    return TableInfo(dataset, target, left_out, notes)


def read_test(file: str, learnt_from: TableInfo, roles: ColumnRoles, format: Format | None = None) -> Dataset:
    """Read other rows, with the columns of those to learn from; their groups have the same numbers.

    Raises:
        InputError: a column that is not there, or a target that is neither of the two values.
    """
    dataset = learnt_from.dataset
    read = read_whole(file, format, set(dataset.dates))
    special = [name for name in (roles.target, roles.weight, roles.group, roles.time) if name is not None]
    require_columns(read.frame, [*dataset.kinds, *special], read.name, f"as in {dataset.name}")
    y = TargetEncoder(roles.target).encode(read.frame[roles.target], learnt_from.target, FileRows(read.name)).to_numpy()
    test = _dataset(read, y, dataset.kinds, roles, dataset.dates, format)
    if roles.group is None or dataset.groups is None:
        return test
    values, known = read.frame[roles.group], dataset.frame[roles.group]
    return replace(test, groups=same_numbers(values, test.name, known, dataset.groups, dataset.name))


def _dataset(
    read: Table,
    y: np.ndarray,
    kinds: dict[str, str],
    roles: ColumnRoles,
    dates: dict[str, str],
    format: Format | None,
) -> Dataset:
    table, rows, decimal = read.frame, FileRows(read.name), (format or Format()).decimal
    weight = None if roles.weight is None else weights_of(table, roles.weight, rows, decimal)
    if weight is not None and not weight.any():
        raise InputError(f"{rows}: all weights in {roles.weight!r} are 0; no row would count")
    form = "" if roles.time is None else dates.get(roles.time, "")
    return Dataset(
        frame=table,
        name=rows,
        kinds=kinds,
        y=y,
        decimal=decimal,
        dates=dates,
        weight=weight,
        groups=None if roles.group is None else group_numbers(column_of(table, roles.group, rows)),
        times=None if roles.time is None else times_of(table, roles.time, rows, decimal, form),
        digest=read.digest,
    )
