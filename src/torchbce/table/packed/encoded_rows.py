"""Encode the rows of a batch, with target, weight, row numbers and parts."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from torchbce.io.shards import TableBatch
from torchbce.table.columns.background import StandIns
from torchbce.table.columns.encoder import Encoder
from torchbce.table.columns.target import Target
from torchbce.table.columns.target_encoder import TargetEncoder
from torchbce.table.columns.weights_times import Weights
from torchbce.table.splits.parts import TRAIN


class Encoded(NamedTuple):
    """Rows (N, ...): numbers float32, codes int32, target float32, weight float32, numbers from 1, and parts."""

    numbers: np.ndarray
    codes: np.ndarray
    target: np.ndarray
    weight: np.ndarray | None
    rows: np.ndarray
    parts: np.ndarray


class RowEncoder:
    """Encode batches, also on several threads at once.

    `parts_of` returns the part of each row; weights are divided by their mean.

    Unknown cells get the values of `stand_ins`.
    """

    def __init__(
        self,
        encoder: Encoder,
        targets: TargetEncoder,
        target: Target,
        weights: Weights | None,
        mean_weight: float,
        parts_of: Callable[[TableBatch], np.ndarray],
        stand_ins: StandIns,
    ) -> None:
        self._encoder, self._targets, self._target = encoder, targets, target
        self._weights, self._mean_weight, self._parts_of = weights, mean_weight, parts_of
        self._stand_ins = stand_ins

    @property
    def names(self) -> list[str]:
        """Return the names of the columns that are read, besides those that `parts_of` needs."""
        weights = [] if self._weights is None else [self._weights.column]
        return [*self._encoder.names, self._target.column, *weights]

    def with_parts(self, parts_of: Callable[[TableBatch], np.ndarray]) -> RowEncoder:
        """Return a copy that assigns parts by `parts_of`."""
        other = copy.copy(self)
        other._parts_of = parts_of
        return other

    def __call__(self, batch: TableBatch) -> Encoded:
        """Return the encoded rows of a batch.

        Raises:
            InputError: a value that is not of its column's kind, or a target that is neither of the two values.
        """
        typed = self._encoder.typed(batch.frame, batch.rows)
        target = self._targets.encode(batch.frame[self._target.column], self._target, batch.rows)
        weight = None if self._weights is None else self._weights.of(batch) / self._mean_weight
        numbers, codes = self._encoder.numbers(typed, batch.rows), self._encoder.codes(typed, batch.rows)
        rows, parts = batch.first + np.arange(1, len(batch) + 1), self._parts_of(batch)
        self._stand_ins.fill(numbers, codes, rows, parts == TRAIN)
        return Encoded(
            numbers=numbers,
            codes=codes,
            target=target.to_numpy().astype(np.float32),
            weight=None if weight is None else weight.astype(np.float32),
            rows=rows,
            parts=parts,
        )
