"""A run before and after training: the outline of what it will do, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torchbce.table.columns.target import Target
from torchbce.table.estimate import Estimate
from torchbce.table.model import FEWEST_OF_A_CLASS, TrainedModel


class RowCounts(NamedTuple):
    """Rows of a part of a table. base_rate: by weight."""

    rows: int
    ones: int
    base_rate: float

    @property
    def rarer(self) -> int:
        """Return the rows of the rarer class."""
        return min(self.ones, self.rows - self.ones)


@dataclass(frozen=True)
class Outline:
    """A table, and what is done with its rows.

    rarer: rows of the rarer class among those that the estimate is made on. dropped: messages about rows that are in no
    part, as their groups are on both sides of a border in time, or another table's are not apart from this one.
    """

    name: str
    rows: int
    base_rate: float
    kinds: dict[str, str]
    target: Target
    left_out: dict[str, str]
    notes: list[str]
    train_rows: int
    train_base_rate: float
    test_rows: int | None
    test_file: str | None  # that the test rows are from, if it is another
    folds: int  # 0 without cross-validation
    rarer: int
    dropped: list[str]

    @classmethod
    def of(
        cls,
        name: str,
        whole: RowCounts,
        train: RowCounts,
        test: RowCounts | None,
        *,
        kinds: dict[str, str],
        target: Target,
        left_out: dict[str, str],
        notes: list[str],
        dropped: list[str],
        train_rows: int,
        test_file: str | None,
        folds: int,
    ) -> Outline:
        """Return the outline of a table and of the parts of its rows."""
        return cls(
            name=Path(name).name,
            rows=whole.rows,
            base_rate=whole.base_rate,
            kinds=kinds,
            target=target,
            left_out=left_out,
            notes=notes,
            train_rows=train_rows,
            train_base_rate=train.base_rate,
            test_rows=None if test is None else test.rows,
            test_file=None if test_file is None else Path(test_file).name,
            folds=folds,
            rarer=(train if test is None else test).rarer,
            dropped=dropped,
        )

    @property
    def known(self) -> dict[str, object]:
        """Return what has to be the same in all processes, by the names that a user knows."""
        return {
            "the number of rows": self.rows,
            "the kind of the columns": ", ".join(f"{name} {kind}" for name, kind in self.kinds.items()),
            "the target": self.target.predicted,
            "the number of rows kept aside": self.test_rows,
        }

    @property
    def is_reliable(self) -> bool:
        """Return whether the estimate has rows enough of both classes to say how good a model is."""
        return self.rarer >= FEWEST_OF_A_CLASS


@dataclass(frozen=True)
class Outcome:
    """A trained model and its estimate, None without rows kept aside.

    sample: encoded training rows, for pictures. reading: the share of the time that training waited for rows, None in
    memory.
    """

    outline: Outline
    trained: TrainedModel
    estimate: Estimate | None
    train_bce: float
    sample: np.ndarray
    seed: int
    reading: float | None = None
