"""Rows so many at a time that they take little memory once they are decoded, whatever a file makes of them.

A value that is repeated takes next to nothing in a Parquet file, in each row group and in all of them: twenty million
rows fit in 100 KB. So the size of a file says nothing, and the rows of a row group may be too many to be decoded
together; a slice of one is decoded by itself. Texts are views of a dictionary until something is made of them, so
they are counted as they will be then.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

WINDOW = 1 << 26  # bytes of rows at a time
SLICE = WINDOW // 2  # bytes that are decoded at a time, while the slice before may still be in use
# Of a value, as polars holds it; of a text without its characters. All others have 8.
BYTES = {
    pl.Boolean: 1,
    pl.Int8: 1,
    pl.UInt8: 1,
    pl.Int16: 2,
    pl.UInt16: 2,
    pl.Int32: 4,
    pl.UInt32: 4,
    pl.Float32: 4,
    pl.Date: 4,
    pl.Int128: 16,
    pl.Decimal: 16,
    pl.String: 16,
    pl.Binary: 16,
}


def row_bytes(schema: pl.Schema) -> int:
    """What a row takes in memory, its texts left aside."""
    return max(1, sum([_value_bytes(kind) for kind in schema.dtypes()]))


def _value_bytes(kind: pl.DataType) -> int:
    if isinstance(kind, pl.Struct):
        return row_bytes(pl.Schema({field.name: field.dtype for field in kind.fields}))
    if isinstance(kind, pl.Array):
        return kind.size * _value_bytes(kind.inner)  # type: ignore[arg-type]
    return BYTES.get(kind.base_type(), 8)


def rows_within(width: float, most: int, room: int = WINDOW) -> int:
    """How many rows of so many bytes each are taken at a time, at most `most`."""
    return max(1, min(most, int(room / max(width, 1))))


def slices(table: pl.LazyFrame, columns: list[pl.Expr], start: int, end: int) -> Iterator[pl.DataFrame]:
    """Some rows of a Parquet file in order, each time as many as a window holds: of a row group, where that holds more.

    Raises:
        ValueError: there are fewer rows than the file says.
    """
    step = rows_within(row_bytes(table.select(columns).collect_schema()), end, SLICE)
    for first in range(start, end, step):
        yield _slice(table, columns, first, min(step, end - first))


def _slice(table: pl.LazyFrame, columns: list[pl.Expr], first: int, wanted: int) -> pl.DataFrame:
    # In this order: polars decodes a whole row group, and cuts then, where columns are chosen or renamed first.
    frame = table.slice(first, wanted).select(columns).collect(engine="streaming")
    if frame.height != wanted:
        raise ValueError(f"it has {first + frame.height:,} rows, and says that it has more")
    return frame


def pieces(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Its rows in order, at most so many at a time, and fewer where their texts are longer than a window."""
    for part in frame.iter_slices(rows):
        ends = text_lengths(part).cumsum()
        first, before = 0, 0
        while len(ends) and ends[-1] - before > WINDOW:
            stop = max(first + 1, int(np.searchsorted(ends, before + WINDOW, side="right")))
            yield part[first:stop]
            first, before = stop, int(ends[stop - 1])
        if first < part.height:
            yield part[first:]


def text_lengths(frame: pl.DataFrame) -> np.ndarray:
    """Bytes of each row's texts, written out."""
    found = np.zeros(frame.height, np.int64)
    for values in frame.get_columns():
        if values.dtype == pl.String:
            found += values.alias("texts").str.len_bytes().fill_null(0).to_numpy()
    return found
