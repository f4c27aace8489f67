"""Rows to train on, with what each column is, before anything is fitted on them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from torchbce.io.files import FileRows

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Dataset:
    """A table with what each column is; groups: which rows belong together; times: numbers that order the rows."""

    frame: pl.DataFrame
    name: FileRows
    kinds: dict[str, str]  # of the columns to learn from
    y: np.ndarray  # 0 and 1
    decimal: str = "."
    dates: dict[str, str] = field(default_factory=dict)
    weight: np.ndarray | None = None
    groups: np.ndarray | None = None
    times: np.ndarray | None = None
    digest: str = ""  # of the file's content

    def __len__(self) -> int:
        return len(self.y)

    def of(self, rows: np.ndarray) -> Dataset:
        """Return some of the rows, by their numbers."""
        return replace(
            self,
            frame=self.frame[rows],
            y=self.y[rows],
            weight=None if self.weight is None else self.weight[rows],
            groups=None if self.groups is None else self.groups[rows],
            times=None if self.times is None else self.times[rows],
        )

    @property
    def base_rate(self) -> float:
        return float(np.average(self.y, weights=self.weight))
