"""Encoded rows on a device."""

from __future__ import annotations

import threading

import torch
from torch import Tensor

from torchbce.engine.numba_cpu.perceptron.machine import Rows


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device; the work that is queued on a GPU is not waited for."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def batch_of(rows: Rows, order: Tensor) -> Rows:
    """The rows in `order`."""
    return Rows(*(None if part is None else part.index_select(0, order) for part in rows))  # type: ignore[arg-type]


class DeviceRows:
    """The rows that were asked for last: they are moved once, whichever machine asks."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._asked: Rows | None = None
        self._there: Rows | None = None
        self._lock = threading.Lock()

    def of(self, rows: Rows) -> Rows:
        """There, `bins` as int16, which torch can index: a number has 4,096 pieces at most.

        Waits until they are moved: the memory of rows that are read window by window is used again.
        """
        with self._lock:
            if self._there is None or self._asked is not rows:
                self._there = None  # room for the new ones
                first, *rest = rows
                parts = [first.view(torch.int16), *rest]
                self._there = Rows(*(None if part is None else part.to(self.device) for part in parts))  # type: ignore[arg-type]
                self._asked = rows
            return self._there
