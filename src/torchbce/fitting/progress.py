"""How far a run is: its history, the epoch in progress, and the best weights so far."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

from torchbce.common import processes
from torchbce.monitor.epoch_bce import EpochBCE
from torchbce.monitor.history import History


@dataclass
class Progress:
    """Progress of a run.

    base_rate: share of ones in the training data, known after the first epoch. running: the loss of the epoch's
    batches so far in this process; total: in compiled training, their sum.
    """

    loss_func: object = None
    history: History = field(default_factory=History)
    epoch: int = 1
    base_rate: float = math.nan
    total: float = 0.0
    best_weights: dict[str, Any] | None = None
    running: EpochBCE = field(init=False)

    def __post_init__(self) -> None:
        self.running = EpochBCE(self.loss_func)

    def save_best(self, weights: dict[str, Any]) -> None:
        """Copy the weights of the best epoch."""
        self.best_weights = copy.deepcopy(weights)

    def next_epoch(self) -> None:
        """Start the next epoch, without losses so far."""
        self.epoch += 1
        self.running, self.total = EpochBCE(self.loss_func), 0.0

    def state_dict(self) -> dict[str, Any]:
        """Serialize all but the best weights, of all processes; all must call it."""
        return {
            "history": self.history.state_dict(),
            "epoch": self.epoch,
            "share": self.base_rate,
            "total": self.total,
            "running": processes.all_gather(self.running.state_dict()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore from `state_dict`, also of another number of processes."""
        self.history.load_state_dict(state["history"])
        self.epoch, self.base_rate, self.total = state["epoch"], state["share"], state["total"]
        self.running = EpochBCE(self.loss_func)
        saved = state["running"]
        if len(saved) == processes.world_size():
            self.running.load_state_dict(saved[processes.rank()])
        elif processes.is_first():  # the first takes what all the others had counted
            for part in saved:
                counted = EpochBCE(self.loss_func)
                counted.load_state_dict(part)
                self.running.merge(counted)
