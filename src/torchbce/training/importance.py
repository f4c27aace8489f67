"""How much each column is worth: what the loss of held-out rows rises by when its values are exchanged between rows.

In nats per item, with a standard error over the rows (Breiman, 2001; Fisher, Rudin and Dominici, 2019). Of columns that
say the same, each alone looks worth little.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from torchbce.common.signals import look
from torchbce.training.ensemble.calibration import bce
from torchbce.training.model import Model
from torchbce.training.table.columns import inputs_of

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


def importances(parts: list[dict[str, np.ndarray]], sizes: list[int]) -> list[Importance]:
    """Of the parts of all rows, the most important first; a column that a part's model has not is worth 0 there."""
    columns = dict.fromkeys(column for part in parts for column in part)
    found = []
    for column in columns:
        values = np.concatenate([part.get(column, np.zeros(size)) for part, size in zip(parts, sizes, strict=True)])
        error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        found.append(Importance(column, float(values.mean()), error))
    return sorted(found, key=lambda one: -one.nats)
