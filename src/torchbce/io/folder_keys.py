"""Columns in the names of folders, as Hive, Spark and others write them: `year=2024/month=01/part.parquet`.

A file that matches a pattern with open folders (`**/*.parquet`) has them beside its own columns. A file that is named
has not, as its path may mean something else, unless a model asks for them.
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
    """The name of a file whose folders hold columns, and the value of each; None for a gap."""

    keys: Keys


def name_with_keys(path: str, pattern: str) -> str:
    """Return a path that matches a pattern, with the keys of its folders from the first open one on."""
    fixed = next(i for i, part in enumerate(Path(pattern).parts) if glob.has_magic(part))
    name = KeyedName(path)
    name.keys = keys_in_folders(Path(path).parts[fixed:-1])
    return name


def keys_in_folders(folders: Sequence[str]) -> Keys:
    """Return the columns in the names of folders."""
    pairs = [folder.partition("=") for folder in folders if "=" in folder[1:]]
    return {unquote(key): None if value in ("", NO_VALUE) else unquote(value) for key, _, value in pairs}


def keys_of(name: str) -> Keys:
    """Return the keys of a file, by its name as `name_with_keys` makes it."""
    return name.keys if isinstance(name, KeyedName) else {}


def missing_keys(keys: Keys, columns: list[str]) -> dict[str, str | None]:
    """Return the keys that are not among a file's own columns."""
    own = {column.strip() for column in columns}
    return {key: value for key, value in keys.items() if key not in own}


def key_column(key: str, value: str | None, rows: int) -> pl.Series:
    """Return a column with one text in every row."""
    return pl.repeat(value, rows, dtype=pl.String, eager=True).alias(key)
