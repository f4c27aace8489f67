"""The surprise of a sum of independent parts, one of each cluster, whatever goes on inside of a cluster.

Let u be what each cluster adds, S their sum and V^2 the sum of their squares. If right predictions make u and -u
equally likely, given the sizes |u|, then S / V is a weighted sum of fair coins, and

    P(S >= x V) <= c P(Z >= x)    for every x, with c = 1 / (4 P(Z >= sqrt(2))) = 3.18 and Z standard normal

(Bentkus and Dzindzalieta 2015). Nothing is estimated, so it holds for few clusters and for very unequal ones, where
Student's t must guess its degrees of freedom. S^2 / V^2 is at most the effective number of clusters,
(sum |u|)^2 / (sum u^2), so that slices of too few clusters can have no small chance. Excess is skewed to the right, as
the less likely answer costs more than the likely one saves; there the bound is on the safe side.
"""

from __future__ import annotations

import math

import numpy as np

C = 1 / (2 * math.erfc(1.0))


def ratio(parts: np.ndarray) -> np.ndarray:
    """Return S^2 / V^2 along the last axis, 0 where nothing is added; of sizes the effective number of clusters."""
    squares = np.einsum("...i,...i->...", parts, parts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(squares > 0, parts.sum(-1) ** 2 / squares, 0.0))


def surprise(ratio: np.ndarray) -> np.ndarray:
    """Return -log of the bound on the chance of so large an S^2 / V^2 on its side."""
    from scipy.special import log_ndtr

    return np.asarray(np.maximum(-math.log(C) - log_ndtr(-np.sqrt(ratio)), 0.0))


def least_ratio(drop: float | np.ndarray) -> np.ndarray:
    """The S^2 / V^2 whose surprise is `drop`: so many clusters of equal size are needed at least."""
    from scipy.special import ndtri_exp

    return np.asarray(ndtri_exp(-math.log(C) - np.asarray(drop)) ** 2)


def interval(parts: np.ndarray, sizes: np.ndarray, drop: float) -> tuple[np.ndarray, np.ndarray]:
    """The rates r, sum by size, for which `parts - r sizes` are not more surprising than `drop` (Fieller's interval).

    Infinite where the effective number of clusters by size is too small for any rate to be surprising.
    """
    x2 = float(least_ratio(drop))
    total, size = parts.sum(-1), sizes.sum(-1)
    squares, mixed, own = (
        np.einsum("...i,...i->...", one, two) for one, two in ((parts, parts), (parts, sizes), (sizes, sizes))
    )
    a, b, c = size**2 - x2 * own, total * size - x2 * mixed, total**2 - x2 * squares
    with np.errstate(invalid="ignore", divide="ignore"):
        half = np.sqrt(np.maximum(b**2 - a * c, 0.0))
        known = a > 0
        return np.where(known, (b - half) / a, -math.inf), np.where(known, (b + half) / a, math.inf)
