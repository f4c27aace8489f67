"""Bins of numbers: their edges, and in which bin each number lies.

This is where the piecewise-linear encoding is defined in NumPy. `table_network` has it in torch, `packed/pieces` finds
the same bins faster in large tables, and `packed/decoded` inverts it.
"""

from __future__ import annotations

import numpy as np

EDGE_ROWS = 200_000  # rows that the quantiles of a number are taken from
NARROWEST = 1e-6  # of a column's range: narrower bins are steps that rounding decides


def quantile_bin_edges(numbers: np.ndarray, bins: int) -> list[np.ndarray]:
    """Return, per column, the quantiles of its values and of its distinct values: both common and rare values get bins.

    A column of two values at most has fewer than three edges: it need not be binned.
    """
    levels = np.linspace(0, 1, bins + 1)
    bin_edges = []
    for column in numbers.T:
        distinct = np.unique(column)
        edges = np.unique(np.concatenate([np.quantile(column, levels), np.quantile(distinct, levels)]))
        edges = np.unique(edges.astype(np.float32))
        wide_enough = np.diff(edges) > NARROWEST * (edges[-1] - edges[0])
        bin_edges.append(edges[np.concatenate([[True], wide_enough])])
    return bin_edges


def bin_counts(bin_edges: list[np.ndarray], numbers: int) -> list[int]:
    """Return the number of bins of each number; 0 where it is not binned: with two values, or without edges."""
    return [len(edges) - 1 if len(edges) > 2 else 0 for edges in bin_edges] or [0] * numbers


def bin_index(column: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the bin of each number of a column; beyond the edges, the first or last."""
    return (np.searchsorted(start, column, side="right") - 1).clip(0)


def bin_fraction(column: np.ndarray, index: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Return how much of its bin each number of a column has passed, from 0 to 1."""
    fraction: np.ndarray = ((column - start[index]) / length[index]).clip(0, 1)
    return fraction


def bins_and_fractions(numbers: np.ndarray, start: np.ndarray, length: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the bin of each number (N, columns), and how much of it the number has passed.

    start, length: of each column's bins, (columns, bins), length 0 where a column has fewer.
    """
    bins, fractions = np.zeros(numbers.shape, np.uint16), np.zeros(numbers.shape, np.float32)
    for i in range(numbers.shape[1]):
        column, used = np.ascontiguousarray(numbers[:, i]), int((length[i] > 0).sum())
        starts, lengths = start[i, :used], length[i, :used]
        index = bin_index(column, starts)
        bins[:, i] = index
        fractions[:, i] = bin_fraction(column, index, starts, lengths)
    return bins, fractions
