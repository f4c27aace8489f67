"""The items whose loss differs most between two models, in either direction."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from torchbce.explanation.sketch.columns import Array, concatenated, ordered
from torchbce.explanation.sketch.worst_items import candidates

KEPT = 100  # each way


class Changed(NamedTuple):
    """Items as columns, the one with the largest change first; `change` is b - a, in nats, with the weight in it."""

    change: Array
    source: Array
    row: Array
    a: Array
    b: Array
    target: Array

    @classmethod
    def none(cls) -> Changed:
        return cls(*(np.zeros(0, np.int64 if name in ("source", "row") else np.float64) for name in cls._fields))

    def and_(self, other: Changed) -> Changed:
        """Return the most changed of both; of equal ones the earlier."""
        joined = concatenated(self, other)
        return ordered(joined, (joined.row, joined.source, -np.abs(joined.change)), KEPT)


def most(change: Tensor, rows: Array, source: int, outputs: tuple[Tensor, Tensor], targets: Tensor) -> Changed:
    """Return the items of a batch with the largest `change`."""
    positions = candidates(change, 0.0, KEPT)
    positions = positions[change.numpy()[positions] > 0]
    columns = (column.double().numpy()[positions] for column in (*outputs, targets))
    return Changed(
        change.numpy()[positions], np.full(len(positions), source), np.asarray(rows, np.int64)[positions], *columns
    )
