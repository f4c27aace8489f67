"""Filter the columns of wide tables by a test against the target, on the training rows alone.

With hundreds of columns and thousands of rows a network fits the noise of columns that say nothing. Each
column is cut at quantiles and tested by chi-square; by Benjamini and Hochberg one kept column in ten may be noise.
"""

from __future__ import annotations

import numpy as np

WIDE = 300  # columns, above which they are filtered
RATE = 0.1
FEWEST = 8  # columns that are kept in any case
BINS = 16


def informative(columns: list[np.ndarray], target: np.ndarray) -> np.ndarray:
    """Return which columns, of numbers or of codes, to keep: all of a table that is not wide."""
    if len(columns) <= WIDE:
        return np.ones(len(columns), bool)
    from scipy.stats import false_discovery_control

    p = np.array([_p_value(column, target) for column in columns])
    count = max(FEWEST, int((false_discovery_control(p) <= RATE).sum()))
    chosen = np.zeros(len(p), bool)
    chosen[np.argsort(p)[:count]] = True
    return chosen


def _p_value(values: np.ndarray, target: np.ndarray) -> float:
    """Return the p-value of the chi-square test of a column, cut into bins, against the target."""
    from scipy.stats import chi2

    bin_edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    bin_index = np.searchsorted(bin_edges, values, side="right")
    counts = np.bincount(bin_index)
    ones = np.bincount(bin_index, target, len(counts))
    used = counts > 0
    expected = counts[used] * target.mean()
    spread = expected * (1 - target.mean())
    if used.sum() < 2 or not spread.all():
        return 1.0
    return float(chi2.sf((((ones[used] - expected) ** 2) / spread).sum(), used.sum() - 1))
