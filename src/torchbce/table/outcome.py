"""A run before and after training: the outline of what it will do, and its outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from torchbce.table.columns.target import Target
from torchbce.table.estimate import Estimate
from torchbce.table.model import FEWEST_OF_A_CLASS, TrainedModel


class RowCounts(NamedTuple):
    """Counts of the rows of a part of a table. base_rate: by weight."""

    rows: int
    ones: int
    base_rate: float

    @property
    def rarer(self) -> int:
        """Return the number of rows of the rarer class."""
        return min(self.ones, self.rows - self.ones)


@dataclass(frozen=True)
class Outline:
    """Description of a table, and of the use of its rows.

    train_rows: to learn from, with those that choose the epoch of a packed table, which are not in `train`. test_file:
    that the test rows are from, if it is another. folds: 0 without cross-validation. dropped: messages about rows that
    are in no part, as their groups are on both sides of a border in time, or another table's are not apart from this.
    """

    name: str
    target: Target
    kinds: dict[str, str]
    left_out: dict[str, str]
    notes: list[str]
    whole: RowCounts
    train: RowCounts
    train_rows: int
    test: RowCounts | None
    test_file: str | None
    folds: int
    dropped: list[str]

    @property
    def known(self) -> dict[str, object]:
        """Return what has to be the same in all processes, by names for users."""
        return {
            "the number of rows": self.whole.rows,
            "the kind of the columns": ", ".join(f"{name} {kind}" for name, kind in self.kinds.items()),
            "the target": self.target.predicted,
            "the number of rows kept aside": None if self.test is None else self.test.rows,
        }

    @property
    def is_reliable(self) -> bool:
        """Return whether the estimate has enough rows of both classes to judge a model."""
        return (self.test or self.train).rarer >= FEWEST_OF_A_CLASS


@dataclass(frozen=True)
class Outcome:
    """A trained model and its estimate, None without rows kept aside.

    sample: encoded training rows, for plots. reading: the share of the time that training waited for rows, None in
    memory.
    """

    outline: Outline
    trained: TrainedModel
    estimate: Estimate | None
    train_bce: float
    sample: np.ndarray
    seed: int
    reading: float | None = None
