"""Cells that training tells nothing of: a category that it lacks, a gap in a column where it had none.

Such a cell is NaN in encoded rows. The answer is the mean over the values that the training rows have there, each as
often as they have it (Friedman's partial dependence, 2001), whatever the model is made of. A column's values lie evenly
over those of the training rows; which of them come together is chance, so several unknown cells are averaged too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from torchbce.common.splitmix import hashed, key_of

COUNT = 32  # values of each column: of two that are as frequent, the mean is right to 1.6 % of their difference
ROWS = 100_000  # that they are taken from, at most


def filled(rows: np.ndarray) -> np.ndarray:
    """As networks and trees are trained: an unknown number is the mean, an unknown code 0."""
    return np.nan_to_num(rows, nan=0.0) if np.isnan(rows).any() else rows


def background(rows: np.ndarray, columns: Iterable[Sequence[int]], weight: np.ndarray | None) -> np.ndarray:
    """Values for unknown cells (COUNT, inputs), float32, of encoded training rows; `columns`: the inputs of each."""
    step = -(-len(rows) // ROWS)
    rows, weight = rows[::step], np.ones(len(rows[::step])) if weight is None else weight[::step]
    found, generator = np.zeros((COUNT, rows.shape[1]), np.float32), np.random.default_rng(0)
    for inputs in columns:
        known = np.flatnonzero(~np.isnan(rows[:, inputs]).any(1) & (weight > 0))
        if not len(known):
            continue
        order = known[np.lexsort(rows[known][:, inputs[::-1]].T)]  # by its first input, then the others
        passed = np.cumsum(weight[order])
        places = np.searchsorted(passed, (np.arange(COUNT) + 0.5) / COUNT * passed[-1])
        found[:, inputs] = rows[order[generator.permutation(places)]][:, inputs]
    return found


def averaged_over(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Rows with unknown cells (N, inputs), each COUNT times, with values there: (N * COUNT, inputs)."""
    return np.where(np.isnan(rows)[:, None], values, rows[:, None]).reshape(-1, rows.shape[1])


class StandIns:
    """A value drawn for each unknown cell, by the number of its row alone, where rows are packed to be judged by."""

    def __init__(self, values: np.ndarray, columns: Iterable[Sequence[int]], numbers: int) -> None:
        self._values, self._columns, self._numbers = values, [np.array(inputs) for inputs in columns], numbers

    def fill(self, numbers: np.ndarray, codes: np.ndarray, rows: np.ndarray, learnt_from: np.ndarray) -> None:
        """In place: NaN among the numbers, codes below 0; of rows to learn from as `filled` has them."""
        lacking = np.flatnonzero(np.isnan(numbers).any(1) | (codes < 0).any(1))
        if not len(lacking):
            return
        some = np.concatenate([numbers[lacking], np.where(codes[lacking] < 0, np.nan, codes[lacking])], 1)
        for number, inputs in enumerate(self._columns):
            drawn = self._values[hashed(rows[lacking], key_of(number)) % np.uint64(COUNT)][:, inputs]
            own = some[:, inputs]
            some[:, inputs] = np.where(np.isnan(own), np.where(learnt_from[lacking, None], 0.0, drawn), own)
        numbers[lacking], codes[lacking] = some[:, : self._numbers], some[:, self._numbers :]
