"""A number for each row that is the same in all rows of a group, in any batch, shard and table."""

from __future__ import annotations

import hashlib

import numpy as np
import polars as pl

from torchbce.common.splitmix import hashed, key_of
from torchbce.io.files import PartName
from torchbce.io.kinds import missing_as_null, simplified

ALONE = 1  # key of the rows without a group, each of which is one


def group_keys(values: pl.Series, numbers: np.ndarray, file: PartName) -> tuple[np.ndarray, np.ndarray]:
    """Keys (uint64) from each group's text alone, and whether a row has one; without, its number makes its key."""
    values = simplified(values, f"{file}: column {values.name!r}")
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
        places = texts.replace_strict(known, range(len(known)), default=None, return_dtype=pl.Int64)
        keys[has_group] = digests[places.drop_nulls().to_numpy()]
    return keys, has_group
