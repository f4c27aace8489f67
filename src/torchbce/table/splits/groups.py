"""Identify rows of one group: by keys that are the same in any batch and table, and by numbers within one table.

A key is a hash of the group's text, so that rows of any batch find each other. A number is the rank of the group's
value in its table, so that folds do not depend on how the table is cut, and follow the order of the values.
"""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from torchbce.common.splitmix import hashed, key_of
from torchbce.io.files import FileRows
from torchbce.io.kinds import missing_as_null, simplified

ALONE = 1  # key of the rows without a group, each of which is one


def group_keys(values: pl.Series, numbers: np.ndarray, rows: FileRows) -> tuple[np.ndarray, np.ndarray]:
    """Return keys (uint64) from each group's text alone, and whether a row has one.

    numbers: of the rows; where a row has no group, its number makes its key.
    """
    values = simplified(values, f"{rows}: column {values.name!r}")
    if values.dtype.is_float():  # 3.0 is the 3 of another shard
        whole = values.set(values != values.floor(), None).cast(pl.Int64, strict=False).cast(pl.String)
        values = whole.zip_with(whole.is_not_null(), values.cast(pl.String))
    texts = missing_as_null(values.cast(pl.String))
    keys = hashed(numbers, key_of(ALONE))
    has_group = texts.is_not_null().to_numpy()
    known = texts.unique().drop_nulls().to_list()
    if known:
        digests = np.frombuffer(
            b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in known), "<u8"
        )
        positions = texts.replace_strict(known, range(len(known)), default=None, return_dtype=pl.Int64)
        keys[has_group] = digests[positions.drop_nulls().to_numpy()]
    return keys, has_group


def group_numbers(values: pl.Series) -> np.ndarray:
    """Return a number for each group, in the order of its values; a row without one is a group of its own."""
    codes = values.rank("dense").cast(int, strict=False).to_numpy()
    gaps = values.is_null().to_numpy()
    numbers = np.where(gaps, 0, np.nan_to_num(codes)).astype(np.int64)
    numbers[gaps] = numbers.max(initial=0) + 1 + np.arange(gaps.sum())
    return numbers


def same_numbers(
    values: pl.Series, rows: FileRows, known: pl.Series, numbers: np.ndarray, known_rows: FileRows
) -> np.ndarray:
    """Return the number that each row's group has among known rows with these numbers, or one that none of them has."""
    own, own_has_group = group_keys(values, np.arange(len(values)), rows)
    keys, has_group = group_keys(known, np.arange(len(known)), known_rows)
    keys, first = np.unique(keys[has_group], return_index=True)
    new = numbers.max() + 1 + np.unique(own, return_inverse=True)[1]
    if not len(keys):  # no known row has a group
        return np.asarray(new)
    nearest = np.minimum(np.searchsorted(keys, own), len(keys) - 1)
    is_known = own_has_group & (keys[nearest] == own)
    return np.asarray(np.where(is_known, numbers[has_group][first][nearest], new))
