"""How much trees have to say beside networks: a share of the logit, found on rows that neither has learnt from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchbce.common.text import percent
from torchbce.table.ensemble.calibration import bce

LEAST = 0.02  # share of either, below which it is left out


class Blend(NamedTuple):
    """The trees' share, and the mean BCE of the networks, of the trees, and of both."""

    share: float
    networks: float
    trees: float
    both: float

    @property
    def in_words(self) -> str:
        share = "all" if self.share == 1 else percent(self.share) if self.share else "nothing"
        return (
            f"boosted trees have {share} of the say: {self.both:.6f} on the same rows, networks alone "
            f"{self.networks:.6f}, trees alone {self.trees:.6f}"
        )


def blend(networks: np.ndarray, trees: np.ndarray, target: np.ndarray, weight: np.ndarray | None = None) -> Blend:
    """The share of the trees' logits that makes the mean BCE least; it is convex in the share."""
    from scipy.optimize import minimize_scalar

    def cost(share: float) -> float:
        return float(np.average(bce(mixed(networks, trees, share), target), weights=weight))

    share = float(minimize_scalar(cost, bounds=(0.0, 1.0), method="bounded").x)
    share = 0.0 if share < LEAST else 1.0 if share > 1 - LEAST else share
    return Blend(share, cost(0.0), cost(1.0), cost(share))


def mixed(networks: np.ndarray, trees: np.ndarray, share: float) -> np.ndarray:
    """Logits, with that share of the trees'."""
    return (1 - share) * networks + share * trees
