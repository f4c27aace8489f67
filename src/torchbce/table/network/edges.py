"""Where numbers are cut into pieces, and in which piece each number of a table lies."""

from __future__ import annotations

import numpy as np

EDGE_ROWS = 200_000  # rows that the quantiles of a number are taken from


NARROWEST = 1e-6  # of a column's range: narrower pieces are steps that rounding decides


def quantile_edges(numbers: np.ndarray, pieces: int) -> list[np.ndarray]:
    """Per column, the quantiles of its values and of its distinct values: dense regions and rare values get pieces.

    Fewer than three edges where a column has two values at most: it need not be cut.
    """
    levels = np.linspace(0, 1, pieces + 1)
    edges = []
    for column in numbers.T:
        distinct = np.unique(column)
        cuts = np.unique(np.concatenate([np.quantile(column, levels), np.quantile(distinct, levels)]))
        cuts = np.unique(cuts.astype(np.float32))
        wide_enough = np.diff(cuts) > NARROWEST * (cuts[-1] - cuts[0])
        edges.append(cuts[np.concatenate([[True], wide_enough])])
    return edges


def pieces_of(edges: list[np.ndarray], numbers: int) -> list[int]:
    """How many pieces each number has; 0 where it is not cut: two values need none, and without edges none is."""
    return [len(cuts) - 1 if len(cuts) > 2 else 0 for cuts in edges] or [0] * numbers


def cells(numbers: np.ndarray, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per number, the piece it lies in and how much of it has passed; beyond the edges it is the first or last.

    start, length: of each column's pieces, (columns, pieces), length 0 where a column has fewer.
    """
    bins, fractions = np.zeros(numbers.shape, np.uint16), np.zeros(numbers.shape, np.float32)
    for i in range(numbers.shape[1]):
        column, used = np.ascontiguousarray(numbers[:, i]), int((length[i] > 0).sum())
        starts, lengths = start[i, :used], length[i, :used]
        piece = (np.searchsorted(starts, column, side="right") - 1).clip(0)
        bins[:, i] = piece
        fractions[:, i] = ((column - starts[piece]) / lengths[piece]).clip(0, 1)
    return bins, fractions
