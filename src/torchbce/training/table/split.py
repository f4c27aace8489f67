"""Rows into training and validation, at random, with the same share of ones in each."""

from __future__ import annotations

import numpy as np

from torchbce.common.errors import InputError

VALID_SHARE = 0.2


def split_rows(target: np.ndarray, seed: int, name: str) -> np.ndarray:
    """True at the validation rows, a fifth of them. Depends on the target and the seed alone."""
    counts = np.bincount(target, minlength=2)
    if counts.min() < 5:
        rare = int(counts.argmin())
        raise InputError(
            f"{name}: only {counts[rare]} of {len(target)} rows {'is' if counts[rare] == 1 else 'are'} of the "
            f"{'positive' if rare else 'negative'} class; at least 5 of each are needed to train and to validate"
        )
    valid = np.zeros(len(target), bool)
    total = round(VALID_SHARE * len(target))
    ones = min(max(round(VALID_SHARE * counts[1]), 1), total - 1)
    generator = np.random.default_rng(seed)
    for value, size in ((1, ones), (0, total - ones)):
        valid[generator.permutation(np.flatnonzero(target == value))[:size]] = True
    return valid
