"""Read rows so many at a time that they take little memory once decoded, however tightly a file packs them.

A value that is repeated takes next to nothing in a Parquet file, in each row group and in all of them: twenty million
rows fit in 100 KB. So the size of a file says nothing, and the rows of a row group may be too many to be decoded
together; a slice of one is decoded by itself. Texts are views of a dictionary until something is made of them, so
they are counted as they will be then.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl

WINDOW_BYTES = 1 << 26  # bytes of rows at a time
SLICE_BYTES = WINDOW_BYTES // 2  # bytes that are decoded at a time, while the slice before may still be in use
# Of a value, as polars holds it; of a text without its characters. All others have 8.
VALUE_BYTES = {
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
    """Return how many bytes a row takes in memory, without its texts."""
    return max(1, sum([_value_bytes(kind) for kind in schema.dtypes()]))


def _value_bytes(kind: pl.DataType) -> int:
    if isinstance(kind, pl.Struct):
        return row_bytes(pl.Schema({field.name: field.dtype for field in kind.fields}))
    if isinstance(kind, pl.Array):
        return kind.size * _value_bytes(kind.inner)  # type: ignore[arg-type]
    return VALUE_BYTES.get(kind.base_type(), 8)


def rows_within(width: float, most: int, room: int = WINDOW_BYTES) -> int:
    """Return how many rows of `width` bytes fit in `room` bytes, from 1 to `most`."""
    return max(1, min(most, int(room / max(width, 1))))


def read_slices(table: pl.LazyFrame, columns: list[pl.Expr], start: int, end: int) -> Iterator[pl.DataFrame]:
    """Yield rows of a Parquet file in order, as many at a time as a window holds, also where a row group holds more.

    Raises:
        ValueError: there are fewer rows than the file says.
    """
    step = rows_within(row_bytes(table.select(columns).collect_schema()), end, SLICE_BYTES)
    for first in range(start, end, step):
        yield _slice(table, columns, first, min(step, end - first))


def _slice(table: pl.LazyFrame, columns: list[pl.Expr], first: int, wanted: int) -> pl.DataFrame:
    # In this order: polars decodes a whole row group, and cuts then, where columns are chosen or renamed first.
    frame = table.slice(first, wanted).select(columns).collect(engine="streaming")
    if frame.height != wanted:
        raise ValueError(f"it has {first + frame.height:,} rows, and says that it has more")
    return frame


def split_frame(frame: pl.DataFrame, rows: int) -> Iterator[pl.DataFrame]:
    """Yield a frame in order, at most `rows` rows at a time, fewer where their texts are longer than a window."""
    for part in frame.iter_slices(rows):
        ends = text_lengths(part).cumsum()
        first, before = 0, 0
        while len(ends) and ends[-1] - before > WINDOW_BYTES:
            stop = max(first + 1, int(np.searchsorted(ends, before + WINDOW_BYTES, side="right")))
            yield part[first:stop]
            first, before = stop, int(ends[stop - 1])
        if first < part.height:
            yield part[first:]


def text_lengths(frame: pl.DataFrame) -> np.ndarray:
    """Return the bytes of each row's texts, written out."""
    lengths = np.zeros(frame.height, np.int64)
    for values in frame.get_columns():
        if values.dtype == pl.String:
            lengths += values.alias("texts").str.len_bytes().fill_null(0).to_numpy()
    return lengths
