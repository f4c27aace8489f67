"""Losses and columns in which slices are looked for."""

from __future__ import annotations

import math

import numpy as np

from torchbce.explanation.slices import evidence
from torchbce.explanation.slices.bins import choose_bins
from torchbce.explanation.slices.table import SliceTable

LN2 = math.log(2)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def answered(rng, p, truth=None):
    """Targets by the true probabilities, as the losses of the stated ones."""
    return bce(p, rng.random(len(p)) < (p if truth is None else truth))


def bce(p, y):
    return -np.log(np.where(y, p, 1 - p))


def entropy(p):
    return -(p * np.log(p) + (1 - p) * np.log(1 - p))


def table_of(p, losses, columns, weights=None, unit=None):
    bins = [choose_bins(name, column) for name, column in columns.items()]
    table = SliceTable(bins, unit=unit)
    table.add([found.codes(columns[found.name]) for found in bins], losses, p, weights)
    return table


def simulated(n=3000, seed=0, base=-1.0):
    rng = np.random.default_rng(seed)
    p = sigmoid(base + 1.3 * rng.normal(size=n))
    number = rng.normal(size=n)
    number[rng.random(n) < 0.1] = math.nan
    columns = {
        "number": number,
        "colour": rng.choice(["red", "green", "blue", None], n),
        "member": rng.random(n) < 0.3,
        "children": rng.integers(0, 4, n),
    }
    return rng, p, columns


# The bound


def evidence_of(p, weights=None):
    a, q = evidence.rarer_side(p)
    return np.stack(evidence.spreads(a, q, weights), -1).sum(0)
