"""Chance that depends on a number alone: splitmix64 (Steele, Lea and Flood 2014), the same on every machine.

A row's number, hashed, says where the row goes, whatever was read before it and however a table is cut into batches.
"""

from __future__ import annotations

import numpy as np

__all__ = ["ALL", "hashed", "key_of"]

ALL = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def hashed(numbers: np.ndarray, key: int) -> np.ndarray:
    """Return a uint64 for each integer that looks like chance; another key gives others."""
    z = numbers.astype(np.uint64) * np.uint64(GOLDEN) + np.uint64(key)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(z ^ (z >> np.uint64(31)))


def key_of(*numbers: int) -> int:
    """Return a key for `hashed`, of a seed and of what it is used for."""
    key = 0
    for number in numbers:
        key = int(hashed(np.array([number & ALL], np.uint64), key)[0])
    return key
