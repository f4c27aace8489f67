"""Columns that the names of folders hold, as Hive, Spark and others write them: `year=2024/month=01/part.parquet`.

A file that a pattern with open folders (`**/*.parquet`) stands for has them beside its own; one that is named has not,
as its path may say the same of other things, unless a model asks for them.
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import unquote

import polars as pl

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
Keys = Mapping[str, str | None]


class KeyedName(str):
    """The name of a file that has such columns, and the value of each; None for a gap."""

    keys: Keys


def with_keys(path: str, pattern: str) -> str:
    """A path that a pattern stands for, with the keys of its folders from the first that the pattern leaves open."""
    fixed = next(i for i, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    found = KeyedName(path)
    found.keys = keys_in(Path(path).parts[fixed:-1])
    return found


def keys_in(folders: Sequence[str]) -> Keys:
    """What the names of folders hold."""
    named = [folder.partition("=") for folder in folders if "=" in folder[1:]]
    return {unquote(key): None if value in ("", NO_VALUE) else unquote(value) for key, _, value in named}


def keys_of(name: str) -> Keys:
    """Of a file, by its name as `with_keys` gives it."""
    return name.keys if isinstance(name, KeyedName) else {}


def missing_keys(keys: Keys, columns: list[str]) -> dict[str, str | None]:
    """Those that a file does not hold itself, by the names of its columns."""
    own = {column.strip() for column in columns}
    return {key: value for key, value in keys.items() if key not in own}


def key_column(key: str, value: str | None, rows: int) -> pl.Series:
    """The same in every row, as a text."""
    return pl.repeat(value, rows, dtype=pl.String, eager=True).alias(key)
