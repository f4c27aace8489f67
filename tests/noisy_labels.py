"""Labels of which a known number are wrong."""

from __future__ import annotations

import numpy as np

ANY = (0.0, 0.45)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def noisy(n: int, false_ones: float, false_zeros: float, seed: int = 0, spread: float = 4.0):
    """Logits that know the true classes as well as can be, the labels, and which of those are wrong."""
    rng = np.random.default_rng(seed)
    z = rng.normal(-0.5, spread, n)
    true = rng.random(n) < sigmoid(z)
    wrong = rng.random(n) < np.where(true, false_zeros, false_ones)
    return z, (true ^ wrong).astype(float), wrong
