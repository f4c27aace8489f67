"""How much each column is worth: what the loss of held-out rows rises by when its values are exchanged between rows.

In nats per item, with a standard error over the rows (Breiman, 2001; Fisher, Rudin and Dominici, 2019). Of columns that
say the same, each alone looks worth little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.common.signals import look
from torchbce.table.columns.columns import inputs_of
from torchbce.table.ensemble.calibration import bce
from torchbce.table.model import Model

ROWS = 5_000  # that the worth of columns is seen on, at most
FEWEST = 100
WORTH = "worth of the columns"  # the stage
REPEATS = 3
WORK = 50_000_000  # inputs that the network reads for it: some seconds, from 57 columns on with fewer rows


@dataclass(frozen=True)
class Importance:
    """Mean rise of the loss by one column's exchange, in nats per item, and its standard error."""

    column: str
    nats: float
    error: float


def rows_seen(model: Model, most: int) -> int:
    """On how many rows, at most `most`, the worth of columns is seen: each of them is read once for every column."""
    inputs = inputs_of(model.columns)
    reads = REPEATS * len(inputs) * sum(map(len, inputs.values()))
    return min(most, max(WORK // max(reads, 1), FEWEST))


def rises(model: Model, encoded: np.ndarray, answers: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """By column, how much each row's loss rises, a mean over some exchanges."""
    generator = np.random.default_rng(seed)
    found = {}
    with model.ensemble.prepared() as logits:
        before = bce(logits(encoded), answers)
        for column, inputs in inputs_of(model.columns).items():
            look()
            mixed = np.tile(encoded, (REPEATS, 1))
            order = np.concatenate([generator.permutation(len(encoded)) for _ in range(REPEATS)])
            mixed[:, inputs] = encoded[order][:, inputs]
            after = bce(logits(mixed), np.tile(answers, REPEATS))
            found[column] = after.reshape(REPEATS, -1).mean(0) - before
    return found


def importances(parts: list[dict[str, np.ndarray]], weights: list[np.ndarray]) -> list[Importance]:
    """Of the parts of all rows, with the rows' weights, the most important first.

    A column that a part's model has not is worth 0 there.
    """
    columns, weight = dict.fromkeys(column for part in parts for column in part), np.concatenate(weights)
    rows, total, found = len(weight), float(weight.sum()), []
    for column in columns:
        values = np.concatenate([part.get(column, np.zeros(len(w))) for part, w in zip(parts, weights, strict=True)])
        mean = float((weight * values).sum()) / total if total else math.nan
        square = float(((weight * (values - mean)) ** 2).sum())
        error = math.sqrt(square * rows / (rows - 1)) / total if rows > 1 and total else math.nan
        found.append(Importance(column, mean, error))
    return sorted(found, key=lambda one: -one.nats)
