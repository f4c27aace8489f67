"""Encoded rows on a device."""

from __future__ import annotations

import threading
from typing import NamedTuple

import torch
from torch import Tensor

from torchbce.perceptron.rows import Rows


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to the device, without waiting for the work that is queued on a GPU."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


class RowTensors(NamedTuple):
    """Tensors of rows on a device; `bins` are int16, which torch can index there."""

    bins: Tensor
    fractions: Tensor
    numbers: Tensor
    codes: Tensor
    target: Tensor
    weight: Tensor | None

    def __len__(self) -> int:
        return len(self.target)


def select_rows(rows: RowTensors, order: Tensor) -> RowTensors:
    """Return the rows in `order`."""
    return RowTensors(*(None if part is None else part.index_select(0, order) for part in rows))  # type: ignore[arg-type]


class DeviceRows:
    """Cache of the last rows on a device: they are moved once for all trainers."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._rows: Rows | None = None
        self._moved: RowTensors | None = None
        self._lock = threading.Lock()

    def of(self, rows: Rows) -> RowTensors:
        """Return rows on the device; a number has 4,096 bins at most, so that int16 holds them.

        Waits until they are moved: the memory of rows that are read window by window is reused.
        """
        with self._lock:
            if self._moved is None or self._rows is not rows:
                self._moved = None  # room for the new ones
                parts = rows.bins.view(torch.int16), rows.fractions, rows.numbers, rows.codes, rows.target, rows.weight
                self._moved = RowTensors(*(None if part is None else part.to(self.device) for part in parts))  # type: ignore[arg-type]
                self._rows = rows
            return self._moved
