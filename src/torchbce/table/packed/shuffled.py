"""Shuffle a part that is larger than memory, epoch after epoch.

Each epoch visits all blocks, in an order that depends on the seed and the epoch alone; so many at a time are read
together, and a window's rows are taken in an order that depends on the seed, the epoch and the window alone. So where
it stands is two numbers, and to go on from there nothing has to be read again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from torchbce.common.errors import InputError
from torchbce.common.splitmix import ALL
from torchbce.table.packed.records import BLOCK
from torchbce.table.packed.stored import Stored, Window


class Shuffled(Iterator[tuple[Window, Tensor]]):
    """Windows of `blocks` blocks, each with an order of its rows (int32); one epoch follows the other.

    Fewer blocks, where so many take too much memory.

    All windows but an epoch's last hold the same number of rows, a multiple of 8,192. Has what torchdata's
    StatefulDataLoader asks for: `state_dict` and `load_state_dict`.
    """

    def __init__(self, stored: Stored, seed: int, blocks: int = 64) -> None:
        self._stored, self._seed = stored, seed & ALL
        self._blocks = stored.layout.blocks_within(blocks)
        self.epoch = self.window = 0  # of what comes next
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    @property
    def windows(self) -> int:
        """Return the number of windows of an epoch."""
        return -(-self._stored.blocks // self._blocks)

    @property
    def window_rows(self) -> int:
        """Return the number of rows of every window but an epoch's last."""
        return self._blocks * BLOCK

    def __next__(self) -> tuple[Window, Tensor]:
        epoch, number = self.epoch, self.window
        if self._order[0] != epoch:
            self._order = epoch, self._of_blocks(epoch)
        window = self._stored.window(self._order[1][number * self._blocks : (number + 1) * self._blocks])
        order = np.arange(len(window.numbers), dtype=np.int32)
        self._chance(epoch, number + 1).shuffle(order)
        self.epoch, self.window = (epoch, number + 1) if number + 1 < self.windows else (epoch + 1, 0)
        return window, torch.from_numpy(order)

    def _of_blocks(self, epoch: int) -> np.ndarray:
        """Return the order of the blocks, the short one last: batches cross no border between windows."""
        full = np.arange(len(self._stored) // BLOCK)
        self._chance(epoch, 0).shuffle(full)
        return np.concatenate([full, np.arange(len(full), self._stored.blocks)])

    def _chance(self, epoch: int, window: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, epoch, window])))

    def state_dict(self) -> dict[str, int]:
        """Return the position: epoch and window that come next."""
        return {"epoch": self.epoch, "window": self.window}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from a position.

        Raises:
            InputError: there is no such window.
        """
        epoch, window = int(state["epoch"]), int(state["window"])
        if epoch < 0 or not 0 <= window < self.windows:
            raise InputError(f"there is no window {window} of epoch {epoch}: an epoch has {self.windows} windows")
        self.epoch, self.window = epoch, window
