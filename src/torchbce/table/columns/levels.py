"""How often each text of a column occurs, in bounded memory.

Up to `KEPT` different texts are counted exactly, fewer where they are so long that they take too much memory. Beyond,
those that training rows have had least often are dropped each time that `2 * KEPT` have come: a text that is frequent
everywhere is never among these, one that was rare for long may lose the count of its first rows. How many different
texts there are is then known to about 1 %, from those whose hashes are least (Bar-Yossef et al. 2002).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

from torchbce.io.kinds import missing_as_null
from torchbce.table.columns.columns import MAX_LEVELS

KEPT = 200_000
ROOM = 1 << 29  # bytes, for all columns together


class Levels:
    """Counts of each text in all rows and in training rows.

    room: bytes; None: everything is counted exactly. clean: the level of each text, null for one
    that means a gap. train: training rows that are no gaps.
    """

    def __init__(
        self, room: int | None = ROOM, clean: Callable[[pl.Series], pl.Series] | None = missing_as_null
    ) -> None:
        self.train = 0
        self._room: float = math.inf if room is None else room
        self._most: float = math.inf if room is None else KEPT
        self._clean = clean
        self._counts: list[pl.DataFrame] = []
        self._waiting = self._bytes = 0
        self._is_merged = False  # whether each level is counted once
        self._hashes = np.zeros(0, np.uint64)
        self._border = np.uint64(2**64 - 1)  # hashes beyond are not kept
        self._is_exact = True

    def add(self, values: pl.Series, train: pl.Series) -> int:
        """Add rows, texts or whole numbers, and return how many of them are no gaps.

        `train` says which are training rows.
        """
        found = pl.DataFrame({"level": values.alias("level"), "train": train.alias("train")})
        counts = found.group_by("level").agg(rows=pl.len(), train=pl.col("train").sum())
        counts = counts.with_columns(pl.col("level").cast(pl.String))
        if self._clean is not None:
            counts = counts.with_columns(level=self._clean(counts["level"]))
        counts = counts.drop_nulls("level")
        self._is_merged = self._clean is None and not self._counts
        self._counts.append(counts.cast({"rows": pl.Int64, "train": pl.Int64}))
        self._waiting += counts.height
        self._bytes += int(counts.estimated_size())
        if self._waiting > 2 * self._most or self._bytes > self._room:
            self._merge()
        self.train += int(counts["train"].sum())
        return int(counts["rows"].sum())

    def _merge(self) -> pl.DataFrame:
        if self._is_merged:
            return self._counts[0]
        sums = pl.col("rows").sum(), pl.col("train").sum()
        whole = pl.concat(self._counts).group_by("level").agg(*sums)
        crowded = 2 * whole.estimated_size() > self._room
        if not self._is_exact or whole.height > self._most or crowded:
            self._remember(whole["level"])
            self._is_exact = False
            whole = whole.sort(["train", "rows", "level"], descending=[True, True, False]).head(KEPT)
            if crowded:
                whole = whole.filter(pl.col("level").str.len_bytes().cum_sum() <= self._room // 4)
        self._counts, self._waiting = [whole], max(0, whole.height - KEPT)
        self._bytes = int(whole.estimated_size())
        self._is_merged = True
        return whole

    def _remember(self, texts: pl.Series) -> None:
        hashes = texts.hash(seed=0).to_numpy()
        self._hashes = np.union1d(self._hashes, hashes[hashes <= self._border])[:KEPT]
        if len(self._hashes) == KEPT:
            self._border = self._hashes[-1]

    @property
    def counts(self) -> pl.DataFrame:
        """Level, rows and train, in no order."""
        return (
            self._merge()
            if self._counts
            else pl.DataFrame(schema={"level": pl.String, "rows": pl.Int64, "train": pl.Int64})
        )

    @property
    def distinct(self) -> int:
        """The number of different texts, an estimate beyond `KEPT`."""
        height = self.counts.height
        if self._is_exact:
            return height
        if len(self._hashes) < KEPT:
            return len(self._hashes)
        return max(KEPT, round(len(self._hashes) / (float(self._border) / 2**64)))

    @property
    def known(self) -> str:
        """The number of different texts as messages show it."""
        return f"{self.distinct:,}" if self._is_exact else f"about {self.distinct:,}"


def most_frequent(counts: pl.DataFrame) -> pl.DataFrame:
    """Return the counts of the levels that a model keeps: the most frequent that training rows have more than once."""
    kept = counts.filter(pl.col("train") > 1).sort(["train", "level"], descending=[True, False])
    return kept.head(MAX_LEVELS)
