"""Dropout that depends on a seed, a step and a position alone, so that no random state has to be saved.

The same numbers as in compiled code (`perceptron/dense.py`). 32-bit integers stand in int64 here, which torch has on
every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

MASK = (1 << 32) - 1


def dropout_keys(seed: int, first: int, steps: int, layers: int) -> Tensor:
    """Return the keys of steps and layers, (steps, layers)."""
    step = torch.arange(first, first + steps).unsqueeze(1) & MASK
    return _hashed((_hashed(step ^ seed) + torch.arange(layers) * 0x9E3779B9) & MASK)


def dropout(values: Tensor, share: float, key: Tensor) -> Tensor:
    """Set about that share of the values to 0, and scale the others so that the mean stays."""
    positions = torch.arange(values.numel(), device=values.device).view_as(values)
    return torch.where(_hashed(positions ^ key) < int(share * 2**32), 0.0, values * (1.0 / (1.0 - share)))


def _hashed(x: Tensor) -> Tensor:
    """Apply Chris Wellons' lowbias32; products wrap around, and their lower 32 bits are right all the same."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & MASK
    x = ((x ^ (x >> 15)) * 0x846CA68B) & MASK
    return x ^ (x >> 16)
