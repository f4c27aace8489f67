"""Permutation importance: the increase of the loss of held-out rows when a column's values are exchanged between rows.

In nats per item, with a standard error over the rows (Breiman, 2001; Fisher, Rudin and Dominici, 2019). Of columns with
the same information, each alone looks unimportant.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.common.signals import look
from torchbce.table.columns.columns import inputs_of
from torchbce.table.ensemble.calibration import bce
from torchbce.table.model import Model

ROWS = 5_000  # rows that importance is measured on, at most
FEWEST = 100
WORTH = "worth of the columns"  # the stage
REPEATS = 3
WORK = 50_000_000  # inputs that the network reads: a few seconds, from 57 columns on with fewer rows


@dataclass(frozen=True)
class Importance:
    """Mean increase of the loss by one column's exchange, in nats per item, and its standard error."""

    column: str
    nats: float
    error: float


def rows_seen(model: Model, most: int) -> int:
    """Return the number of rows, at most `most`, to measure importance on: each is read once for every column."""
    inputs = inputs_of(model.columns)
    reads = REPEATS * len(inputs) * sum(map(len, inputs.values()))
    return min(most, max(WORK // max(reads, 1), FEWEST))


def permutation_increase(model: Model, encoded: np.ndarray, answers: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Return by column the increase of each row's loss, a mean over several exchanges."""
    generator = np.random.default_rng(seed)
    increase = {}
    with model.ensemble.prepared() as logits:
        before = bce(logits(encoded), answers)
        for column, inputs in inputs_of(model.columns).items():
            look()
            exchanged = np.tile(encoded, (REPEATS, 1))
            order = np.concatenate([generator.permutation(len(encoded)) for _ in range(REPEATS)])
            exchanged[:, inputs] = encoded[order][:, inputs]
            after = bce(logits(exchanged), np.tile(answers, REPEATS))
            increase[column] = after.reshape(REPEATS, -1).mean(0) - before
    return increase


def importances(parts: list[dict[str, np.ndarray]], weights: list[np.ndarray]) -> list[Importance]:
    """Average the increases of several parts of the rows, with the rows' weights; the most important column first.

    A column that a part's model does not use has an increase of 0 there.
    """
    columns, weight = dict.fromkeys(column for part in parts for column in part), np.concatenate(weights)
    rows, total, means = len(weight), float(weight.sum()), []
    for column in columns:
        values = np.concatenate([part.get(column, np.zeros(len(w))) for part, w in zip(parts, weights, strict=True)])
        mean = float((weight * values).sum()) / total if total else math.nan
        square = float(((weight * (values - mean)) ** 2).sum())
        error = math.sqrt(square * rows / (rows - 1)) / total if rows > 1 and total else math.nan
        means.append(Importance(column, mean, error))
    return sorted(means, key=lambda importance: -importance.nats)
