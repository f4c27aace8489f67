"""Weight of the trees in the blended logit, fitted on rows that neither networks nor trees have learnt from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchbce.table.ensemble.calibration import bce

LEAST = 0.02  # weight of either, below which it is left out


class Blend(NamedTuple):
    """The trees' weight, and the mean BCE of the networks, of the trees, and of both."""

    tree_weight: float
    networks: float
    trees: float
    both: float

    def summary(self) -> str:
        """Describe the blend in a line."""
        return (
            f"boosted trees: weight {self.tree_weight:.3g} in the blended logit: {self.both:.6f} on the same rows, "
            f"networks alone {self.networks:.6f}, trees alone {self.trees:.6f}"
        )


def fit_blend(networks: np.ndarray, trees: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> Blend:
    """Find the weight of the trees' logits that minimizes the mean BCE, which is convex in it."""
    from scipy.optimize import minimize_scalar

    def loss(tree_weight: float) -> float:
        return float(np.average(bce(blend(networks, trees, tree_weight), target), weights=weight))

    best = float(minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded").x)
    best = 0.0 if best < LEAST else 1.0 if best > 1 - LEAST else best
    return Blend(best, loss(0.0), loss(1.0), loss(best))


def blend(networks: np.ndarray, trees: np.ndarray, tree_weight: float) -> np.ndarray:
    """Return blended logits."""
    return (1 - tree_weight) * networks + tree_weight * trees
