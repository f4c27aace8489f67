"""Tables that are packed on disk for the tests."""

from __future__ import annotations

import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from torchbce.table.columns import fitter
from torchbce.table.columns.roles import ColumnRoles
from torchbce.table.packed.prepare import prepare_stream
from torchbce.table.splits.holdout import Holdout

ROWS = 3000


ROLES = ColumnRoles("y", weight="w", categorical=["code"])


def made(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Numbers with and without gaps, texts, dates, true and false, whole numbers of few values, and odd names."""
    r = np.random.default_rng(seed)

    def some(values: pl.Series, share: float) -> pl.Series:
        return values.set(pl.Series(r.random(rows) < share), None)

    days = pl.Series([datetime.date(2020, 1, 1) + datetime.timedelta(days=int(d)) for d in r.integers(0, 900, rows)])
    return pl.DataFrame(
        {
            "a": r.normal(size=rows),
            "^a$": some(pl.Series(r.lognormal(size=rows) * 1e6), 0.2),
            "few": r.integers(0, 6, rows),
            "gappy": some(pl.Series(r.integers(-5, 50, rows)), 0.1),
            "yes": some(pl.Series(r.random(rows) < 0.3), 0.05),
            "day": some(days, 0.1),
            "text": some(pl.Series(r.choice(["x", "yy", "z z", "ä"], rows, p=[0.5, 0.3, 0.15, 0.05])), 0.1),
            "code": r.choice([3, 14, 15, 92], rows),
            "constant": np.full(rows, 7),
            "id": np.arange(rows) + 100,
            "name": [f"n{i}" for i in range(rows)],
            "empty": pl.Series([None] * rows, dtype=pl.String),
            "w": r.integers(0, 4, rows) * 0.5 + 0.25,
            "y": np.where(r.random(rows) < 0.4, "yes", "no"),
        }
    )


@pytest.fixture(scope="module")
def table() -> pl.DataFrame:
    return made()


@pytest.fixture(autouse=True)
def few_rows_are_many(monkeypatch):
    monkeypatch.setattr(fitter, "MANY_ROWS", 1000)


def written(table: pl.DataFrame, folder: Path, kind: str, parts: int = 1) -> list[str]:
    """The table in so many files of unequal lengths."""
    folder.mkdir(exist_ok=True)
    cuts = [0, *sorted(np.random.default_rng(parts).choice(table.height, parts - 1, replace=False)), table.height]
    names = []
    for i in range(parts):
        path = folder / f"part-{i}.{kind}"
        piece = table[int(cuts[i]) : int(cuts[i + 1])]
        piece.write_parquet(path) if kind == "parquet" else piece.write_csv(path)
        names.append(str(path))
    return names


def prepared(names: list[str], place: Path, roles: ColumnRoles = ROLES, held: Holdout = Holdout(), **more):  # noqa: B008
    options = {"seed": 5, "pieces": 16, "format": None, "on_rows": None} | more
    return prepare_stream(names, roles, held, folder=place, **options)


def rows_of(stored) -> np.ndarray:
    """The numbers of a part's rows, from 0."""
    if stored is None:
        return np.zeros(0, np.int64)
    return np.concatenate([window.numbers.copy() for window in stored.in_order()]) - 1


def parts_of(stream) -> np.ndarray:
    """0, 1 or 2 for each row of the table, which is in one part."""
    rows = [rows_of(part) for part in (stream.train, stream.valid, stream.test)]
    parts = np.full(sum(map(len, rows)), 9)
    for part, some in enumerate(rows):
        parts[some] = part
    assert sorted(np.concatenate(rows)) == list(range(len(parts)))
    return parts
