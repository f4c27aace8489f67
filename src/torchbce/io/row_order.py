"""Files that are compared row by row hold the same items in the same order, as far as a column in both can tell.

Targets alone do not show it: files that were sorted by the target agree row by row though the rows are other items. A
column shows it that is in both, is different in most rows, and holds the same values in both: then its order is that of
the items. The first rows say which columns are worth reading to the end.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.opened import Source
from torchbce.io.paired import Model
from torchbce.io.predictions import as_texts
from torchbce.io.scan import batches, column_names

MOST = 0.5  # of the rows have a value of their own
WATCHED = 8  # columns that are read to the end
FLAGS = "columns in both files"


@dataclass
class _Watched:
    """A column of both files, read side by side. hashes: sums, which are equal whatever order the values have."""

    name: str
    differ: int = 0
    first: tuple[int, str | None, str | None] | None = None
    hashes: tuple[int, int] = (0, 0)

    def add(self, number: int, a: pl.Series, b: pl.Series) -> None:
        """The values of rows `number` and on."""
        differ = a.ne_missing(b)
        if self.first is None and differ.any():
            place = int(differ.arg_max() or 0)
            self.first = number + place, a[place], b[place]
        self.differ += int(differ.sum())
        self.hashes = _with_hashes(self.hashes[0], a), _with_hashes(self.hashes[1], b)


def check_same_order(models: list[Model]) -> None:
    """Each file has its items in the order of the first one's.

    Raises:
        InputError: a column that names items has the same values in another order.
    """
    first = models[0]
    for other in models[1:]:
        if other.source.path != first.source.path:
            _check(first, other)


def _check(a: Model, b: Model) -> None:
    used = {name for one in (a, b) for name in (one.columns.outputs, one.columns.target, one.columns.weight)}
    theirs = set(column_names(b.source))
    shared = [name for name in column_names(a.source) if name in theirs and name not in used]
    beginning = next(_side_by_side(a.source, b.source, shared), None)
    watched = [] if beginning is None else _worth_watching(*beginning[1:])
    for number, first, second in _side_by_side(a.source, b.source, [one.name for one in watched]):
        for one in watched:
            one.add(number, first[one.name], second[one.name])
    if any(not one.differ for one in watched):
        return  # a column that names items says that they are the same
    moved = [one for one in watched if one.hashes[0] == one.hashes[1]]
    _refuse(a, b, moved)


def _side_by_side(a: Source, b: Source, names: list[str]) -> Iterator[tuple[int, pl.DataFrame, pl.DataFrame]]:
    """The number of the first row, and as many rows of both, as texts, until one file ends."""
    if not names:
        return
    streams = [_texts(source, names) for source in (a, b)]
    left: list[pl.DataFrame] = [pl.DataFrame(), pl.DataFrame()]
    number = 1
    while True:
        for place, stream in enumerate(streams):
            while not left[place].height:
                found = next(stream, None)
                if found is None:
                    return
                left[place] = found
        size = min(frame.height for frame in left)
        yield number, left[0][:size], left[1][:size]
        left = [frame[size:] for frame in left]
        number += size


def _texts(source: Source, names: list[str]) -> Iterator[pl.DataFrame]:
    """What can be told apart; lists and the like cannot name an item."""
    for _, frame in batches(source, names, FLAGS):
        plain = [name for name in names if not frame[name].dtype.is_nested() and frame[name].dtype != pl.Binary]
        yield pl.DataFrame([as_texts(frame[name], source).alias(name) for name in plain])


def _worth_watching(a: pl.DataFrame, b: pl.DataFrame) -> list[_Watched]:
    """Of columns that differ in most of these rows those that agree, as one is enough; else all that do not."""
    names = [name for name in a.columns if name in b.columns and _is_distinct(a[name]) and _is_distinct(b[name])]
    agree = [name for name in names if not a[name].ne_missing(b[name]).any()]
    # Numbers of rows agree in any two files.
    telling = [name for name in agree if not _counts_rows(a[name])]
    chosen = telling or [name for name in names if name not in agree]
    return [_Watched(name) for name in chosen[:WATCHED]]


def _is_distinct(values: pl.Series) -> bool:
    return values.n_unique() > MOST * len(values)


def _counts_rows(values: pl.Series) -> bool:
    numbers = values.cast(pl.Int64, strict=False)
    return not numbers.null_count() and numbers[0] in (0, 1) and bool((numbers.diff().drop_nulls() == 1).all())


def _with_hashes(so_far: int, values: pl.Series) -> int:
    with np.errstate(over="ignore"):
        return int(np.uint64(so_far) + values.hash().to_numpy().sum(dtype=np.uint64))


def _refuse(a: Model, b: Model, moved: list[_Watched]) -> None:
    """The columns are read whole only here, to be sure: equal sums of hashes are no proof."""
    named: list[tuple[tuple[bool, bool], _Watched]] = []
    for one in moved:
        whole = [_whole(model, one.name) for model in (a, b)]
        values = [frame["values"] for frame in whole]
        if not values[0].sort().equals(values[1].sort()) or not _is_distinct(values[0]):
            continue
        if all(map(_is_rank, whole)):
            continue
        is_key = values[0].n_unique() == len(values[0]) and not values[0].null_count()
        named.append(((is_key, not _is_measured(values[0])), one))
    if named:
        (is_key, _), one = max(named, key=lambda found: found[0])  # of equal ones the first
        raise InputError(_refusal(a.source.name, b.source.name, one, is_key=is_key))


def _refusal(a: str, b: str, one: _Watched, *, is_key: bool) -> str:
    assert one.first is not None
    row, in_a, in_b = one.first
    instead = f"--key {shlex.quote(one.name)}" if is_key else "--key COLUMN, a column that is different in every row"
    return (
        f"{b} has the values of column {one.name!r} in another order than {a}: row {row} of {a} is {in_a!r} and row "
        f"{row} of {b} {in_b!r} ({one.differ:,} such rows). Without --key, row 1 is compared with row 1, so both files "
        f"must hold the same items in the same order; join these with {instead}"
    )


def _whole(model: Model, name: str) -> pl.DataFrame:
    """The values of a column as texts, and the outputs beside them."""
    parts = []
    for _, frame in batches(model.source, [name, model.columns.outputs], model.columns.flags):
        outputs = frame[model.columns.outputs].cast(pl.Float64, strict=False)
        parts.append(pl.DataFrame({"values": as_texts(frame[name], model.source), "outputs": outputs}))
    return pl.concat(parts)


def _is_rank(frame: pl.DataFrame) -> bool:
    """Whether the values rise or fall with the outputs, as a rank does, which names no item."""
    numbers = frame.with_columns(pl.col("values").cast(pl.Float64, strict=False))
    if numbers["values"].null_count():
        return False
    return any(
        numbers.sort("outputs", "values", descending=[falls, False])["values"].is_sorted() for falls in (False, True)
    )


def _is_measured(values: pl.Series) -> bool:
    """Numbers with a fraction, which name an item by chance only."""
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    return bool((numbers != numbers.floor()).any())
