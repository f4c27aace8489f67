"""Check that files which are compared row by row hold the same items in the same order, by a column of both.

Targets alone do not show it: files that were sorted by the target agree row by row though the rows are other items. A
column that is in both, differs in most rows and holds the same values in both shows it, as its order is that of the
items. The first rows decide which columns are read to the end.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from torchbce.common.errors import InputError
from torchbce.io.paired import PredictionFile, read_in_step
from torchbce.io.predictions import as_texts
from torchbce.io.scan import column_names, read_batches
from torchbce.io.source import SourceFile

DISTINCT_SHARE = 0.5  # of the rows have a value of their own
MAX_COLUMNS = 8  # columns that are read to the end
FLAGS = "columns in both files"


@dataclass
class _SharedColumn:
    """A column of both files, read side by side.

    differ: how many rows differ; `first` is the number and both values of the first.
    hashes: sums of the values' hashes, which are equal for the same values in any order.
    """

    name: str
    differ: int = 0
    first: tuple[int, str | None, str | None] | None = None
    hashes: tuple[int, int] = (0, 0)

    def add(self, number: int, a: pl.Series, b: pl.Series) -> None:
        """Update from the values of both files from row `number` on."""
        differ = a.ne_missing(b)
        if self.first is None and differ.any():
            position = int(differ.arg_max() or 0)
            self.first = number + position, a[position], b[position]
        self.differ += int(differ.sum())
        self.hashes = _add_hashes(self.hashes[0], a), _add_hashes(self.hashes[1], b)


def check_same_order(models: list[PredictionFile]) -> None:
    """Raise unless each file has its items in the order of the first one.

    Raises:
        InputError: a column that names items has the same values in another order.
    """
    first = models[0]
    for other in models[1:]:
        if other.source.path != first.source.path:
            _check_pair(first, other)


def _check_pair(a: PredictionFile, b: PredictionFile) -> None:
    used = {name for file in (a, b) for name in (file.columns.outputs, file.columns.target, file.columns.weight)}
    others = set(column_names(b.source, with_row_names=True))
    shared = [name for name in column_names(a.source, with_row_names=True) if name in others and name not in used]
    beginning = next(_side_by_side(a.source, b.source, shared), None)
    columns = [] if beginning is None else _identifying_columns(*beginning[1])
    for rows, (first, second) in _side_by_side(a.source, b.source, [column.name for column in columns]):
        for column in columns:
            column.add(int(rows[0]), first[column.name], second[column.name])
    if any(not column.differ for column in columns):
        return  # a column that names items shows that they are the same
    moved = [column for column in columns if column.hashes[0] == column.hashes[1]]
    _refuse(a, b, moved)


def _side_by_side(a: SourceFile, b: SourceFile, names: list[str]) -> Iterator[tuple[np.ndarray, list[pl.DataFrame]]]:
    """Yield the numbers of some rows, and these rows of both files as texts, until one file ends."""
    if names:
        yield from read_in_step([_texts(source, names) for source in (a, b)])


def _texts(source: SourceFile, names: list[str]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield the columns as texts, without lists and the like, which cannot name an item."""
    for start, frame in read_batches(source, names, FLAGS):
        plain = [name for name in names if not frame[name].dtype.is_nested() and frame[name].dtype != pl.Binary]
        yield start, pl.DataFrame([as_texts(frame[name], source).alias(name) for name in plain])


def _identifying_columns(a: pl.DataFrame, b: pl.DataFrame) -> list[_SharedColumn]:
    """Return the columns that differ in most of these rows: those that agree in both files, else those that do not."""
    names = [name for name in a.columns if name in b.columns and _is_distinct(a[name]) and _is_distinct(b[name])]
    agree = [name for name in names if not a[name].ne_missing(b[name]).any()]
    # Numbers of rows agree in any two files.
    identifying = [name for name in agree if not _counts_rows(a[name])]
    chosen = identifying or [name for name in names if name not in agree]
    return [_SharedColumn(name) for name in chosen[:MAX_COLUMNS]]


def _is_distinct(values: pl.Series) -> bool:
    return values.n_unique() > DISTINCT_SHARE * len(values)


def _counts_rows(values: pl.Series) -> bool:
    numbers = values.cast(pl.Int64, strict=False)
    return not numbers.null_count() and numbers[0] in (0, 1) and bool((numbers.diff().drop_nulls() == 1).all())


def _add_hashes(so_far: int, values: pl.Series) -> int:
    with np.errstate(over="ignore"):
        return int(np.uint64(so_far) + values.hash().to_numpy().sum(dtype=np.uint64))


def _refuse(a: PredictionFile, b: PredictionFile, moved: list[_SharedColumn]) -> None:
    """Raise if a column holds the same values in another order, read whole, as equal sums of hashes are no proof."""
    proofs: list[tuple[tuple[bool, bool], _SharedColumn]] = []
    for column in moved:
        frames = [_read_column(file, column.name) for file in (a, b)]
        values = [frame["values"] for frame in frames]
        if not values[0].sort().equals(values[1].sort()) or not _is_distinct(values[0]):
            continue
        if all(map(_is_rank, frames)):
            continue
        is_key = values[0].n_unique() == len(values[0]) and not values[0].null_count()
        proofs.append(((is_key, not _is_measured(values[0])), column))
    if proofs:
        (is_key, _), column = max(proofs, key=lambda proof: proof[0])  # the first of equal ones
        raise InputError(_message(a.source.name, b.source.name, column, is_key=is_key))


def _message(a: str, b: str, column: _SharedColumn, *, is_key: bool) -> str:
    assert column.first is not None
    row, in_a, in_b = column.first
    instead = f"--key {shlex.quote(column.name)}" if is_key else "--key COLUMN, a column that is different in every row"
    return (
        f"{b} has the values of column {column.name!r} in another order than {a}: row {row} of {a} is {in_a!r} and row "
        f"{row} of {b} {in_b!r} ({column.differ:,} such rows). Without --key, row 1 is compared with row 1, so both "
        f"files must hold the same items in the same order; join these with {instead}"
    )


def _read_column(model: PredictionFile, name: str) -> pl.DataFrame:
    """Return the values of a column as texts, and the outputs beside them."""
    parts = []
    for _, frame in read_batches(model.source, [name, model.columns.outputs], model.columns.flags):
        outputs = frame[model.columns.outputs].cast(pl.Float64, strict=False)
        parts.append(pl.DataFrame({"values": as_texts(frame[name], model.source), "outputs": outputs}))
    return pl.concat(parts)


def _is_rank(frame: pl.DataFrame) -> bool:
    """Return whether the values rise or fall with the outputs, as a rank does, which names no item."""
    numbers = frame.with_columns(pl.col("values").cast(pl.Float64, strict=False))
    if numbers["values"].null_count():
        return False
    return any(
        numbers.sort("outputs", "values", descending=[falls, False])["values"].is_sorted() for falls in (False, True)
    )


def _is_measured(values: pl.Series) -> bool:
    """Return whether values are numbers with a fraction, which name an item by chance only."""
    numbers = values.cast(pl.Float64, strict=False).drop_nulls()
    return bool((numbers != numbers.floor()).any())
