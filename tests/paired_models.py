"""Two models of the same items."""

from __future__ import annotations

import math

import numpy as np

import torchbce


def models(n, rate=0.3, seed=0, noise=0.5):
    """The logits of two that are equally good, and targets."""
    rng = np.random.default_rng(seed)
    true = math.log(rate / (1 - rate)) + rng.normal(0, 1.5, n)
    y = (rng.random(n) < 1 / (1 + np.exp(-true))).astype(float)
    return true + noise * rng.normal(0, 1, n), true + noise * rng.normal(0, 1, n), y


def losses(z, y):
    return np.logaddexp(0, z) - y * z


def compare(a, b, y, **options):
    return torchbce.compare(a, b, y, from_logits=True, **options)
