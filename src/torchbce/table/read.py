"""A table in memory to learn from: its target, and what a user says of the rows, before anything is fitted on them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from torchbce.common.errors import InputError
from torchbce.io.files import Table, column_of, require_columns
from torchbce.io.opened import Format
from torchbce.io.whole import read_whole
from torchbce.table.columns.examples import Examples
from torchbce.table.columns.infer import infer_column_types
from torchbce.table.columns.requirements import require_both_classes, usable_columns
from torchbce.table.columns.roles import Roles
from torchbce.table.columns.target import Target
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.columns.weights_times import times_of, weights_of
from torchbce.table.splits.groups import group_numbers, same_numbers


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
    target, answers = TargetEncoder.of_table(table, roles.target, roles.positive, name)
    require_both_classes(answers, name)
    types = infer_column_types(table, sorted(roles.not_learnt_from), roles.categorical, name)
    usable, left_out = usable_columns(types, roles, name)
    examples = _examples(read, answers, usable, roles, read.kinds.dates, format)
    notes = [note for note in read.kinds.notes if note.split(":")[0] not in roles.not_learnt_from]
    return Read(examples, target, left_out, notes)


def read_test(file: str, learnt_from: Read, roles: Roles, format: Format | None = None) -> Examples:
    """Read other rows, with the columns of those to learn from; their groups have the same numbers.

    Raises:
        InputError: a column that is not there, or a target that is neither of the two values.
    """
    examples = learnt_from.examples
    read = read_whole(file, format, set(examples.dates))
    special = [name for name in (roles.target, roles.weight, roles.group, roles.time) if name is not None]
    require_columns(read.frame, [*examples.kinds, *special], read.name, f"as in {examples.name}")
    answers = TargetEncoder(roles.target).encode(read.frame[roles.target], learnt_from.target, read.name).to_numpy()
    found = _examples(read, answers, examples.kinds, roles, examples.dates, format)
    if roles.group is None or examples.groups is None:
        return found
    values, known = read.frame[roles.group], examples.frame[roles.group]
    return replace(found, groups=same_numbers(values, read.name, known, examples.groups, examples.name))


def _examples(
    read: Table,
    answers: np.ndarray,
    kinds: dict[str, str],
    roles: Roles,
    dates: dict[str, str],
    format: Format | None,
) -> Examples:
    table, name, decimal = read.frame, read.name, (format or Format()).decimal
    weight = None if roles.weight is None else weights_of(table, roles.weight, name, decimal)
    if weight is not None and not weight.any():
        raise InputError(f"{name}: all weights in {roles.weight!r} are 0; no row would count")
    form = "" if roles.time is None else dates.get(roles.time, "")
    return Examples(
        frame=table,
        name=name,
        kinds=kinds,
        answers=answers,
        decimal=decimal,
        dates=dates,
        weight=weight,
        groups=None if roles.group is None else group_numbers(column_of(table, roles.group, name)),
        times=None if roles.time is None else times_of(table, roles.time, name, decimal, form),
        digest=read.digest,
    )
