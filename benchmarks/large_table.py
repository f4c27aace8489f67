"""A table of any number of rows, written batch by batch: 11 columns of real numbers, 4 of whole ones, 4 of texts.

The texts have 4, 50, 1,000 and 8 levels, four columns have 3 to 20 % gaps, and the yes/no column `y` depends on some of
all of them. Run: python benchmarks/large_table.py FILE ROWS [SEED]
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
from polars.io.plugins import register_io_source

BATCH = 131_072  # rows
LEVELS = {"s0": 4, "s1": 50, "s2": 1000, "s3": 8}
WHOLE = {"i0": 24, "i1": 60, "i2": 10_000, "i3": 1_000_000}
GAPS = {"f2": 0.03, "f5": 0.2, "i2": 0.1, "s1": 0.05}
REAL = [f"f{i}" for i in range(11)]


def batches(rows: int, seed: int, part: int = 0) -> Iterator[pl.DataFrame]:
    """The table; each batch depends on seed, part and number alone. Another part is more rows of the same kind."""
    for number, first in enumerate(range(0, rows, BATCH)):
        yield _batch(min(BATCH, rows - first), np.random.default_rng([seed, number, part]), seed)


def _batch(rows: int, chance: np.random.Generator, seed: int) -> pl.DataFrame:
    effects = np.random.default_rng([seed, 1 << 20])
    real = chance.normal(size=(rows, len(REAL))).round(4)
    whole = {name: chance.integers(0, most, rows) for name, most in WHOLE.items()}
    codes = {name: (chance.random(rows) ** 2 * levels).astype(np.int64) for name, levels in LEVELS.items()}
    logit = -0.5 + real[:, :5] @ effects.normal(size=5) * 0.5 + np.sin(2 * real[:, 5]) + (whole["i0"] > 17)
    for name, levels in LEVELS.items():
        logit = logit + effects.normal(size=levels)[codes[name]] * 0.4
    columns = {name: pl.Series(real[:, i]) for i, name in enumerate(REAL)}
    columns |= {name: pl.Series(values) for name, values in whole.items()}
    columns |= {name: pl.Series([f"{name}_{i}" for i in range(levels)])[codes[name]] for name, levels in LEVELS.items()}
    for name, share in GAPS.items():
        columns[name] = columns[name].set(pl.Series(chance.random(rows) < share), None)
    columns["y"] = pl.Series((chance.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64))
    return pl.DataFrame(columns)


def write(path: Path, rows: int, seed: int = 0, part: int = 0) -> None:
    """CSV, or Parquet where the name ends so, in bounded memory."""

    def source(
        columns: list[str] | None, predicate: pl.Expr | None, limit: int | None, size: int | None
    ) -> Iterator[pl.DataFrame]:
        yield from batches(rows, seed, part)

    schema = next(batches(1, seed)).schema
    table = register_io_source(source, schema=schema)
    if path.suffix == ".parquet":
        table.sink_parquet(path, row_group_size=BATCH)
    else:
        table.sink_csv(path)


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
