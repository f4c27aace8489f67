"""Encoded rows on a device."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.perceptron.rows import Rows


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; the work that is queued on a GPU is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class Parts(NamedTuple):
    """The tensors of rows, for torch, which checks what it indexes by; `bins` are int16, which it can index."""

    bins: Tensor
    fractions: Tensor
    numbers: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor | None

    def __len__(self) -> int:
        return len(self.target)


def batch_of(parts: Parts, order: Tensor) -> Parts:
    """The rows in `order`."""
    return Parts(*(None if part is None else part.index_select(0, order) for part in parts))  # type: ignore[arg-type]


class DeviceRows:
    """The rows that were asked for last: they are moved once, whichever machine asks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._asked: Rows | None = None
        self._there: Parts | None = None
        self._lock = threading.Lock()

    def of(self, rows: Rows) -> Parts:
        """There; a number has 4,096 pieces at most, so that int16 holds them.

        Waits until they are moved: the memory of rows that are read window by window is used again.
        """
        with self._lock:
            if self._there is None or self._asked is not rows:
                self._there = None  # room for the new ones
                parts = rows.bins.view(torch.int16), rows.fractions, rows.numbers, rows.codes, rows.target, rows.weight
                self._there = Parts(*(None if part is None else part.to(self.device) for part in parts))  # type: ignore[arg-type]
                self._asked = rows
            return self._there
