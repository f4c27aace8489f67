"""Callbacks of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torchbce.checkpoint.keeper import NOTHING, Keeper
from torchbce.monitor.history import Epoch


@dataclass(frozen=True)
class Callbacks:
    """Called while a run goes on, and the keeper of its checkpoints.

    epoch: with each finished epoch. step: with the steps done and all steps of the epoch. resumed: with the number of
    the epoch that a resumed run continues. stage: with the name of the work after the epochs that begins.
    """

    epoch: Callable[[Epoch], object] | None = None
    step: Callable[[int, int], object] | None = None
    resumed: Callable[[int], object] | None = None
    stage: Callable[[str], object] | None = None
    keeper: Keeper = NOTHING

    def begin(self, stage: str) -> None:
        """Name the stage that begins."""
        if self.stage:
            self.stage(stage)
