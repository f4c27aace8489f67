"""A table that trees learn."""

from __future__ import annotations

import numpy as np

from torchbce.table.columns.matrix import TrainingMatrix


def table(count: int = 1200, weighted: bool = False) -> TrainingMatrix:
    """A step, a product and a category decide; numbers of few values lie on thresholds."""
    rng = np.random.default_rng(0)
    few, a, b = rng.integers(-3, 4, count), rng.normal(size=count), rng.normal(size=count)
    code, other = rng.integers(0, 9, count), rng.integers(0, 300, count)
    logits = 2.0 * (few > 1) + a * b + np.sin(code) - 1
    return TrainingMatrix(
        np.stack([few, a, b, code, other], 1).astype(np.float32),
        (rng.random(count) < 1 / (1 + np.exp(-logits))).astype(np.uint8),
        [9, 300],
        rng.uniform(0.5, 2, count) if weighted else None,
    )


def halves(data: TrainingMatrix) -> list[tuple[np.ndarray, np.ndarray]]:
    rows = np.arange(len(data.target))
    return [(rows[::2], rows[1::2]), (rows[1::2], rows[::2])]
