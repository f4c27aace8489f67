"""What is known of a run before it trains, and when it has: the same for tables in memory and larger ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from torchbce.table.columns.target import Target
from torchbce.table.estimate import Estimate
from torchbce.table.model import FEWEST_OF_A_CLASS, Learnt


@dataclass(frozen=True)
class Outline:
    """A table, and what is done with its rows.

    rarer: rows of the rarer class among those that the estimate is made on. dropped: what is said of rows that are in
    no part, as their groups are on both sides of a border in time, or another table's are not apart from this one.
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

    @property
    def known(self) -> dict[str, object]:
        """What has to be the same in all processes."""
        return {
            "the number of rows": self.rows,
            "the kind of the columns": ", ".join(f"{name} {kind}" for name, kind in self.kinds.items()),
            "the target": self.target.predicted,
            "the number of rows kept aside": self.test_rows,
        }

    @property
    def is_reliable(self) -> bool:
        """Whether there are rows enough of both classes, where it counts, to say how good a model is."""
        return self.rarer >= FEWEST_OF_A_CLASS


@dataclass(frozen=True)
class Outcome:
    """A trained model and what it is worth; without rows kept aside there is no estimate.

    some: encoded rows that were learnt from, for pictures. reading: the share of the time that training waited for
    rows, None in memory.
    """

    outline: Outline
    learnt: Learnt
    estimate: Estimate | None
    train_bce: float
    some: np.ndarray
    seed: int
    reading: float | None = None
