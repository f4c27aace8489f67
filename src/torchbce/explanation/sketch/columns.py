"""Tables of a few items as named tuples of columns, which merge by keeping the first rows in an order."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

Array = np.ndarray
Table = TypeVar("Table", bound=tuple[Array, ...])


def concatenated(first: Table, second: Table) -> Table:
    """Return the rows of both tables."""
    return type(first)(*map(np.concatenate, zip(first, second, strict=True)))


def ordered(table: Table, keys: tuple[Array, ...], most: int) -> Table:
    """Return at most so many rows of a table, in rising order of the last key, then of the key before it."""
    rows = np.lexsort(keys)[:most]
    return type(table)(*(column[rows] for column in table))
