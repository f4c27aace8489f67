"""Rows of a table as numbers and codes: encoded once for training, estimate, baselines and report."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from torchbce.table.columns.columns import FittedColumn, NumericColumn, encode
from torchbce.table.columns.dataset import Dataset
from torchbce.table.columns.infer import fit_encoders


@dataclass(frozen=True)
class EncodedTable:
    """Rows (N, inputs), float32, encoded by `columns`, NaN where a cell is unknown; targets and weights."""

    columns: list[FittedColumn]
    rows: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None

    @classmethod
    def fit(cls, examples: Dataset) -> EncodedTable:
        """Fit the columns on examples, and encode the examples."""
        columns = fit_encoders(
            examples.frame, examples.kinds, examples.name, examples.decimal, examples.dates, examples.weight
        )
        return cls.of(examples, columns)

    @classmethod
    def of(cls, examples: Dataset, columns: list[FittedColumn]) -> EncodedTable:
        """Encode examples by fitted columns."""
        return cls(columns, encode(examples.frame, columns, examples.name), examples.y, examples.weight)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def base_rate(self) -> float:
        """Return the share of ones, by weight."""
        return float(np.average(self.y, weights=self.weight))

    def take(self, rows: np.ndarray) -> EncodedTable:
        """Return some of the rows, by their numbers from 0."""
        weight = None if self.weight is None else self.weight[rows]
        return replace(self, rows=self.rows[rows], y=self.y[rows], weight=weight)

    def select(self, columns: list[FittedColumn]) -> EncodedTable:
        """Return the inputs of some of the columns."""
        if len(columns) == len(self.columns):
            return self
        chosen = set(map(id, columns))
        in_order = sorted(self.columns, key=lambda column: not isinstance(column, NumericColumn))  # as encoded
        widths = [1 + column.gaps if isinstance(column, NumericColumn) else 1 for column in in_order]
        inputs = np.repeat([id(column) in chosen for column in in_order], widths)
        return replace(self, columns=columns, rows=self.rows[:, inputs])
