"""Dropout that depends on a seed, a step and a place alone, so that no random state has to be kept.

The same draws as in compiled code (`perceptron/dense.py`). Words of 32 bits stand in int64 here, which
torch has on every device.
"""

from __future__ import annotations

import torch
from torch import Tensor

WORD = (1 << 32) - 1


def dropout_keys(seed: int, first: int, steps: int, layers: int) -> Tensor:
    """Of so many steps and layers, (steps, layers)."""
    step = torch.arange(first, first + steps).unsqueeze(1) & WORD
    return _hashed((_hashed(step ^ seed) + torch.arange(layers) * 0x9E3779B9) & WORD)


def dropped(values: Tensor, share: float, key: Tensor) -> Tensor:
    """About that share of the values is 0, and the others are larger, so that the mean is the same."""
    places = torch.arange(values.numel(), device=values.device).view_as(values)
    return torch.where(_hashed(places ^ key) < int(share * 2**32), 0.0, values * (1.0 / (1.0 - share)))


def _hashed(x: Tensor) -> Tensor:
    """Chris Wellons' lowbias32; products wrap around, and their lower 32 bits are right all the same."""
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & WORD
    x = ((x ^ (x >> 15)) * 0x846CA68B) & WORD
    return x ^ (x >> 16)
